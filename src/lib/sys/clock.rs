//! Clocks: a steady one for deadlines, the wall clock for log lines.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, by the clock that never goes back.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds and nanoseconds since 1970 by the wall clock; zero before that.
pub(crate) fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Since the machine started, the time that it slept included: the same for all processes.
pub(crate) fn since_boot() -> Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    now.map(Duration::from).unwrap_or_default()
}

/// Seconds since 1970 by the wall clock.
pub(crate) fn wall_seconds() -> i64 {
    i64::try_from(wall().as_secs()).unwrap_or(i64::MAX)
}

/// A moment in seconds since 1970 as asctime(3) writes it, in UTC: `Sat Jan  3 01:05:34 2026`.
pub(crate) fn asctime(seconds: i64) -> String {
    let moment = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.to_zoned(TimeZone::UTC).strftime("%a %b %e %H:%M:%S %Y").to_string()
}

/// Waits; the calling process does nothing else meanwhile.
pub(crate) fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// The local time zone, read once, so that it is there in a chroot too.
#[derive(Clone, Debug)]
pub(crate) struct Zone(TimeZone);

impl Zone {
    /// The system's zone; UTC where none is set.
    pub(crate) fn local() -> Self {
        Self(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    /// Local time as syslog takes it (RFC 3164, section 4.1.2): `Nov  3 07:55:01`.
    pub(crate) fn syslog_time(&self, wall: Duration) -> String {
        self.text(wall, "%b %e %H:%M:%S")
    }

    /// Local time with its offset (RFC 3339): `2026-11-03T07:55:01.250+01:00`.
    pub(crate) fn full_time(&self, wall: Duration) -> String {
        self.text(wall, "%Y-%m-%dT%H:%M:%S%.3f%:z")
    }

    /// Local time of a moment in seconds since 1970, with its offset (RFC 3339): `2026-11-03T07:55:01+01:00`.
    pub(crate) fn time(&self, seconds: i64) -> String {
        self.text(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)), "%Y-%m-%dT%H:%M:%S%:z")
    }

    /// What the clock on the wall shows at a moment in seconds since 1970: the day of the week, 0 for Monday, and the minute of the
    /// day.
    pub(crate) fn week_minute(&self, seconds: i64) -> (u8, u16) {
        let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.0.clone());
        let day = time.weekday().to_monday_zero_offset().unsigned_abs();
        (day, u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs()))
    }

    fn text(&self, wall: Duration, format: &str) -> String {
        let seconds = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
        let nanoseconds = i32::try_from(wall.subsec_nanos()).unwrap_or(0);
        let timestamp = Timestamp::new(seconds, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH);
        timestamp.to_zoned(self.0.clone()).strftime(format).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_times_are_local() {
        let zone = Zone(TimeZone::fixed(jiff::tz::offset(1)));
        let wall = Duration::from_millis(1_793_692_501_250);
        assert_eq!(zone.syslog_time(wall), "Nov  3 08:55:01", "RFC 3164, section 4.1.2");
        assert_eq!(zone.full_time(wall), "2026-11-03T08:55:01.250+01:00", "RFC 3339");
        assert_eq!(zone.time(1_793_692_501), "2026-11-03T08:55:01+01:00", "RFC 3339");
        assert_eq!(zone.week_minute(1_793_692_501), (1, 8 * 60 + 55), "a Tuesday");
    }

    /// Summer time moves no hour of the clock on the wall.
    #[test]
    fn the_wall_shows_the_same_hour_in_summer_and_winter() {
        let zone = Zone(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap());
        let (winter, summer) = (1_768_204_800, 1_783_929_600);
        assert_eq!(zone.time(winter), "2026-01-12T09:00:00+01:00");
        assert_eq!(zone.time(summer), "2026-07-13T10:00:00+02:00");
        assert_eq!((zone.week_minute(winter), zone.week_minute(summer - 3600)), ((0, 540), (0, 540)));
    }
}

//! Hours of the week: `mon-fri 08:00-18:00, sat 09:00-12:00`. Pure.
//!
//! They are local time as the clock on the wall shows it, so a change to or from summer time moves nothing: an hour that is there
//! twice counts twice, and one that is left out is never asked for.

use std::fmt;
use std::str::FromStr;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// What the clock on the wall shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WallTime {
    /// 0 is Monday.
    pub(crate) weekday: u8,
    /// Since midnight, 0 to 1439.
    pub(crate) minute: u16,
}

/// One part: on these days, from here to there. With `to` not behind `from` it ends on the day after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// One bit for each day, the lowest for Monday.
    days: u8,
    from: u16,
    to: u16,
}

/// Hours of the week in which something is allowed; at least one span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hours(Vec<Span>);

/// More than this is no time-table that somebody reads.
const MOST: usize = 32;

impl Hours {
    /// Whether they have this minute.
    pub(crate) fn contain(&self, time: WallTime) -> bool {
        self.0.iter().any(|span| span.contains(time))
    }
}

impl Span {
    fn contains(&self, time: WallTime) -> bool {
        let on = |weekday: u8| self.days & (1 << weekday) != 0;
        let (today, yesterday) = (on(time.weekday), on((time.weekday + 6) % 7));
        if self.from < self.to {
            return today && (self.from..self.to).contains(&time.minute);
        }
        (today && time.minute >= self.from) || (yesterday && time.minute < self.to)
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let spans: Vec<Span> = text.split(',').map(span).collect::<Result<_, _>>()?;
        if spans.len() > MOST {
            return Err(format!("at most {MOST} spans can be named"));
        }
        Ok(Self(spans))
    }
}

/// `mon-fri 08:00-18:00`; without days every day, without a time all day.
fn span(text: &str) -> Result<Span, String> {
    let wrong = || {
        format!("\"{}\" is no span such as mon-fri 08:00-18:00, sat 09:00-12:00 or 22:00-06:00", text.trim())
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let (days, times) = match words[..] {
        [word] if word.starts_with(|first: char| first.is_ascii_digit()) => (0x7f, Some(word)),
        [word] => (days(word).ok_or_else(wrong)?, None),
        [word, time] => (days(word).ok_or_else(wrong)?, Some(time)),
        _ => return Err(wrong()),
    };
    let Some((from, to)) = times.map_or(Some((0, DAY)), range) else { return Err(wrong()) };
    Ok(Span { days, from, to })
}

/// `fri`, or `fri-mon`: a week goes round.
fn days(word: &str) -> Option<u8> {
    let number = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (number(first)?, number(last)?);
    let count = (last + 7 - first) % 7;
    Some((first..=first + count).fold(0, |all, day| all | 1 << (day % 7)))
}

/// `08:00-18:00`. From a time to the same is all day from there on, so that nobody locks out somebody by it.
fn range(word: &str) -> Option<(u16, u16)> {
    let (from, to) = word.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from < DAY && to > 0 || from == to).then_some((from % DAY, to))
}

/// `08:30`, `24:00` at most.
fn minute(word: &str) -> Option<u16> {
    let number = |digits: &str| {
        let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = word.split_once(':')?;
    let (hour, minute) = (number(hour)?, number(minute).filter(|_| minute.len() == 2)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= DAY).then_some(total)
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, span) in self.0.iter().enumerate() {
            write!(f, "{}{span}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let times = format!("{}-{}", clock(self.from), clock(self.to));
        if self.days == 0x7f {
            return f.write_str(&times);
        }
        // Days that are named together follow each other, so the first is one whose day before is not among them.
        let on = |day: usize| self.days & (1 << (day % 7)) != 0;
        let first = (0..7).find(|&day| on(day) && !on(day + 6)).unwrap_or(0);
        let last = (first..first + 7).take_while(|&day| on(day)).last().unwrap_or(first) % 7;
        match (first, last) {
            (first, last) if first == last => write!(f, "{} {times}", DAYS[first]),
            (first, last) => write!(f, "{}-{} {times}", DAYS[first], DAYS[last]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn has(hours: &str, day: &str, clock: &str) -> bool {
        let weekday = u8::try_from(DAYS.iter().position(|name| *name == day).unwrap()).unwrap();
        hours.parse::<Hours>().unwrap().contain(WallTime { weekday, minute: minute(clock).unwrap() })
    }

    #[test]
    fn spans_are_of_days_and_times() {
        let office = "mon-fri 08:00-18:00, sat 9:00-12:00";
        assert!(has(office, "mon", "08:00") && has(office, "fri", "17:59") && has(office, "sat", "11:59"));
        assert!(!has(office, "mon", "07:59") && !has(office, "fri", "18:00"), "the end is not in it");
        assert!(!has(office, "sat", "08:30") && !has(office, "sun", "10:00"));
        assert_eq!(office.parse::<Hours>().unwrap().to_string(), "mon-fri 08:00-18:00, sat 09:00-12:00");
        assert!(has("SUN", "sun", "00:00") && has("sun", "sun", "23:59") && !has("sun", "mon", "00:00"));
        assert!(has("06:00-24:00", "wed", "23:59") && !has("06:00-24:00", "thu", "05:59"));
    }

    #[test]
    fn a_span_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = "fri 22:00-06:00";
        assert!(has(night, "fri", "22:00") && has(night, "sat", "05:59"));
        assert!(!has(night, "fri", "05:00") && !has(night, "sat", "22:30") && !has(night, "sat", "06:00"));
        assert!(has("sun 22:00-06:00", "mon", "00:00"), "over the end of the week");
        assert!(has("22:00-06:00", "tue", "23:00") && has("22:00-06:00", "tue", "01:00"));
        assert!(has("sat-mon 10:00-11:00", "sun", "10:30"), "days go round too");
        assert!(!has("sat-mon 10:00-11:00", "tue", "10:30"));
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for wrong in [
            "",
            "mon-",
            "monday 08:00-09:00",
            "25:00-26:00",
            "8-18",
            "08:60-09:00",
            "24:00-08:00",
            "mon 08:00",
            "mon 08:00-09:00 x",
            "08:00-00:00x",
            "+8:00-09:00",
            "08:00-24:01",
        ] {
            assert!(wrong.parse::<Hours>().is_err(), "{wrong}");
        }
    }

    proptest! {
        /// What is written is what is read, and every minute is in a span or in the one that begins where it ends.
        #[test]
        fn a_day_is_a_span_and_the_rest(from in 0_u16..DAY, to in 1_u16..DAY, weekday in 0_u8..7, minute in 0_u16..DAY) {
            prop_assume!(from != to);
            let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            let one: Hours = format!("{}-{}", clock(from), clock(to)).parse().unwrap();
            let rest: Hours = format!("{}-{}", clock(to), clock(from)).parse().unwrap_or_else(|_| one.clone());
            let time = WallTime { weekday, minute };
            if from > 0 {
                prop_assert!(one.contain(time) != rest.contain(time));
            }
            prop_assert_eq!(one.to_string().parse::<Hours>().unwrap(), one);
        }

        #[test]
        fn days_are_read_as_they_are_written(first in 0_usize..7, last in 0_usize..7, weekday in 0_u8..7) {
            let hours: Hours = format!("{}-{} 10:00-11:00", DAYS[first], DAYS[last]).parse().unwrap();
            prop_assert_eq!(&hours.to_string().parse::<Hours>().unwrap(), &hours);
            let within = (usize::from(weekday) + 7 - first) % 7 <= (last + 7 - first) % 7;
            prop_assert_eq!(hours.contain(WallTime { weekday, minute: 600 }), within);
        }
    }
}

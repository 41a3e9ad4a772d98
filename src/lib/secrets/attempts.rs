//! Wrong old secrets, counted for each user id: a few are free, then each costs a longer wait. The count is durable before the
//! secret is looked at, so that ending the program in the middle gains nothing, and it is nobody else's: no user makes another wait.
//!
//! The file `attempts-UID` beside the database has two numbers, the count and the time of the last one.

use super::{Places, failed, guard, parent, refused};
use crate::error::{Error, Kind, Result};
use crate::sys::{clock, lock};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Wrong secrets without a wait: who mistypes is not an enemy.
const FREE: u32 = 3;

/// The first wait; it doubles with each further wrong secret. With the longest one this leaves some 24 guesses a day, and a secret
/// of six letters has millions.
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// After this time without a wrong one all is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// How long one waits for another program of the same user.
const PATIENCE: Duration = Duration::from_secs(2);

/// Octets of the file: padded, so that every write covers the one before.
const WIDTH: usize = 40;

/// A counted attempt. It stays one unless it is [forgiven](Attempt::forgive).
#[derive(Debug)]
pub(crate) struct Attempt {
    file: File,
}

impl Attempt {
    /// Counts an attempt of a user's; or how long the user has to wait before the next, which is not counted then.
    ///
    /// # Errors
    /// It cannot be counted: then nothing may be tried.
    pub(crate) fn count(places: &Places, uid: u32) -> Result<std::result::Result<Self, Duration>> {
        let directory = parent(&places.database)?;
        let name = format!("attempts-{uid}");
        let path = directory.join(&name);
        let io = |cause| failed("count an attempt in", &path, cause);
        let (_, opened) = guard::directory(directory)?;
        let file = opened.open_or_create(&name, 0o600).map_err(io)?;
        let end = clock::now() + PATIENCE;
        while !lock::try_lock(&file).map_err(io)? {
            if clock::now() >= end {
                return Err(Error::new(Kind::Temporary, "another mailauth of yours is at work; try again"));
            }
            clock::wait(Duration::from_millis(5));
        }
        if !file.metadata().map_err(io)?.is_file() {
            return Err(refused(format!("{} is no regular file: rm {}", path.display(), path.display())));
        }
        let now = clock::wall();
        let mut text = [0; WIDTH];
        let length = crate::sys::file::read_at(&file, &mut text, 0).map_err(io)?;
        // What a crash tore or a clock set back spoils is counted as if it were of now.
        let (count, last) = match text.get(..length) {
            Some([]) => (0, now),
            Some(text) => parse(text).map_or((FREE, now), |(count, last)| (count, last.min(now))),
            None => (FREE, now),
        };
        let attempt = Self { file };
        let left = wait(count, now.saturating_sub(last));
        if !left.is_zero() {
            // Written anew, so that what was spoiled ends some day.
            attempt.write(count, last).map_err(io)?;
            return Ok(Err(left));
        }
        let count = if now.saturating_sub(last) >= FORGOTTEN { 0 } else { count };
        attempt.write(count.saturating_add(1), now).map_err(io)?;
        Ok(Ok(attempt))
    }

    /// The secret was right: the user starts anew.
    pub(crate) fn forgive(self) {
        // One that cannot be written stays counted, which costs the user at most a wait.
        let _ = self.write(0, Duration::ZERO);
    }

    fn write(&self, count: u32, last: Duration) -> std::io::Result<()> {
        self.file.write_all_at(line(count, last).as_bytes(), 0)?;
        self.file.sync_all()
    }
}

/// What the file has. The caller's limit on the size of files may cut a write short: since all digits have their places, the
/// beginning of a higher count with the end of the one before is no lower than that.
fn line(count: u32, last: Duration) -> String {
    format!("{count:010} {:020}{:>rest$}", last.as_secs(), '\n', rest = WIDTH - 31)
}

fn parse(text: &[u8]) -> Option<(u32, Duration)> {
    let (count, last) = std::str::from_utf8(text).ok()?.trim_end().split_once(' ')?;
    Some((count.parse().ok()?, Duration::from_secs(last.parse().ok()?)))
}

/// What is left to wait after this many wrong ones, so long after the last.
fn wait(count: u32, since: Duration) -> Duration {
    let Some(over) = count.checked_sub(FREE) else { return Duration::ZERO };
    let whole = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(over)).min(LONGEST_WAIT);
    whole.saturating_sub(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(directory: &tempfile::TempDir) -> Places {
        let auth = directory.path().join("auth");
        std::fs::create_dir(&auth).unwrap();
        std::fs::set_permissions(&auth, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Places { database: auth.join("mailauth.db"), key: auth.join("key") }
    }

    fn is_counted(places: &Places, uid: u32) -> bool {
        Attempt::count(places, uid).unwrap().is_ok()
    }

    /// Issue "mailauth": the rate of wrong old secrets is limited, for each user alone, and outlives the process.
    #[test]
    fn a_few_are_free_and_then_each_waits_longer() {
        let directory = tempfile::tempdir().unwrap();
        let places = places(&directory);
        for _ in 0..FREE {
            assert!(is_counted(&places, 1000));
        }
        let left = Attempt::count(&places, 1000).unwrap().unwrap_err();
        assert!(left > Duration::ZERO && left <= FIRST_WAIT, "{left:?}");
        assert!(is_counted(&places, 1001), "another user does not wait");
        Attempt::count(&places, 1001).unwrap().unwrap().forgive();
        for _ in 0..FREE {
            assert!(is_counted(&places, 1001), "a right secret clears the count");
        }
        assert!(!is_counted(&places, 1001));
    }

    #[test]
    fn waits_double_up_to_an_hour() {
        let seconds = |count| wait(count, Duration::ZERO).as_secs();
        assert_eq!(
            [0, 2, 3, 4, 5, 11, 12, 40, u32::MAX].map(seconds),
            [0, 0, 10, 20, 40, 2560, 3600, 3600, 3600]
        );
        assert_eq!(wait(3, Duration::from_secs(10)), Duration::ZERO);
    }

    #[test]
    fn a_damaged_file_is_three_wrong_ones_and_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let places = places(&directory);
        let file = directory.path().join("auth/attempts-7");
        for text in [&b"x"[..], b"\0\0\0", b"9", &[0xff; 60]] {
            std::fs::write(&file, text).unwrap();
            assert!(!is_counted(&places, 7));
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(text.starts_with("0000000003 ") || text.is_empty(), "{text}");
        }
        std::fs::write(&file, "9 1000").unwrap();
        assert!(is_counted(&places, 7), "long ago");
        assert!(std::fs::read_to_string(&file).unwrap().starts_with("0000000001 "), "and forgotten");
    }

    /// A caller with a limit on the size of files gains nothing by it.
    #[test]
    fn a_write_that_is_cut_short_counts_no_less() {
        for count in [0, 3, 9, 19, 99, 999, 12_345_678] {
            let (before, after) =
                (line(count, Duration::from_secs(999)), line(count + 1, Duration::from_secs(1000)));
            assert_eq!((before.len(), parse(before.as_bytes()).unwrap().0), (WIDTH, count));
            for cut in 0..=WIDTH {
                let torn = [&after[..cut], &before[cut..]].concat();
                assert!(parse(torn.as_bytes()).unwrap().0 >= count, "{torn}");
            }
        }
    }
}

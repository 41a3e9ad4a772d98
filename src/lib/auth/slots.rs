//! A limit on password checks at once that holds across processes which do not know each other (inetd starts one
//! for each connection): each check locks one byte of a file.

use crate::error::{Error, Kind, Result};
use crate::sys::slots::SlotFile;
use crate::sys::{clock, random};
use std::path::Path;
use std::time::Duration;

/// How long a check waits for its turn. A client would not wait much longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The shortest wait between two looks; a check takes about as long.
const SHORTEST_WAIT: u64 = 10;

/// The span above it that the wait is taken from at random, so that those who wait do not march in step.
const WAIT_SPAN: u64 = 40;

/// The lock file's name in `run_dir`.
const FILE: &str = "verify";

/// What the client hears.
const TOLD: &str = "server is busy, try again later";

/// A slot for one check; dropping it frees it.
#[derive(Debug)]
pub(super) struct Slot {
    _file: SlotFile,
}

/// Waits for one of `count` slots.
///
/// # Errors
/// The lock file cannot be used, or all slots were taken for as long as `patience`.
pub(super) fn take(run_dir: &Path, count: u16, patience: Duration) -> Result<Slot> {
    let failed = |error| {
        let path = run_dir.join(FILE);
        Error::io(format!("cannot lock {}", path.display()), error).tell(TOLD)
    };
    let file = SlotFile::open(run_dir, FILE).map_err(failed)?;
    let deadline = clock::now() + patience;
    loop {
        let random = random::number().map_err(failed)?;
        let first = u16::try_from(random % u64::from(count.max(1))).unwrap_or(0);
        for slot in (first..count.max(1)).chain(0..first) {
            if file.try_take(slot).map_err(failed)? {
                return Ok(Slot { _file: file });
            }
        }
        if clock::now() >= deadline {
            let what =
                format!("all {count} slots for password checks were taken for {} s", patience.as_secs());
            return Err(Error::new(Kind::Temporary, what).tell(TOLD));
        }
        clock::wait(Duration::from_millis(SHORTEST_WAIT + random % WAIT_SPAN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn no_more_slots_are_given_than_there_are() {
        let run = directory();
        let one = take(run.path(), 2, Duration::ZERO).unwrap();
        let two = take(run.path(), 2, Duration::ZERO).unwrap();
        let error = take(run.path(), 2, Duration::from_millis(30)).unwrap_err();
        assert_eq!(error.kind(), Kind::Temporary, "design, section 2: a full queue is [SYS/TEMP]");
        assert_eq!(error.reply(), "[SYS/TEMP] server is busy, try again later");
        drop(one);
        let three = take(run.path(), 2, Duration::ZERO).unwrap();
        drop((two, three));
        take(run.path(), 0, Duration::ZERO).expect("no slots at all would refuse everybody");
    }

    #[test]
    fn who_waits_gets_the_slot_that_becomes_free() {
        let run = directory();
        let held = take(run.path(), 1, Duration::ZERO).unwrap();
        let path = run.path().to_owned();
        let (ready, started) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            ready.send(()).unwrap();
            take(&path, 1, PATIENCE).is_ok()
        });
        started.recv().unwrap();
        drop(held);
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn a_missing_directory_is_made_and_a_strange_one_is_refused() {
        let parent = directory();
        let run = parent.path().join("run/poptools");
        take(&run, 1, Duration::ZERO).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&run), mode(&run.join(FILE))), (0o711, 0o600));
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = take(&run, 1, Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("others may write the directory"), "{error}");
        let link = directory();
        symlink("/dev/null", link.path().join(FILE)).unwrap();
        assert!(take(link.path(), 1, Duration::ZERO).is_err(), "a symbolic link");
    }
}

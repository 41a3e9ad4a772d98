//! A database that cannot be used any more gets another name: somebody may still read something out of it.

use super::{failed, file_name, refused};
use crate::error::Result;
use crate::sys::directory::Directory;
use std::io;
use std::path::{Path, PathBuf};

/// What SQLite keeps beside a database, by what is added to its name. It has to move first: found beside a new database, it would
/// be written into that.
const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// How many names are tried.
const NAMES: u32 = 1000;

/// Renames a database and what belongs to it; the new path. Killed in between, the rest keeps the old name, and the next call
/// gives it another new one.
///
/// # Errors
/// All names are taken, or the system's.
pub(super) fn set_aside(directory: &Directory, database: &Path) -> Result<PathBuf> {
    let failed = |cause| failed("set aside", database, cause);
    let name = file_name(database)?;
    for number in 1..=NAMES {
        let new = if number == 1 { format!("{name}.damaged") } else { format!("{name}.damaged-{number}") };
        if is_taken(directory, &new).map_err(failed)? {
            continue;
        }
        let moved = COMPANIONS.iter().chain(&[""]).try_for_each(|end| {
            let (old, new) = (format!("{name}{end}"), format!("{new}{end}"));
            match directory.rename_to_new(&old, &new) {
                // Most have none.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound && !end.is_empty() => Ok(()),
                renamed => renamed,
            }
        });
        moved.and_then(|()| directory.sync()).map_err(failed)?;
        return Ok(database.with_file_name(new));
    }
    let shown = database.display();
    Err(refused(format!("{shown}.damaged and {NAMES} more are there: move them elsewhere")))
}

fn is_taken(directory: &Directory, name: &str) -> io::Result<bool> {
    for end in COMPANIONS.iter().chain(&[""]) {
        if directory.status(&format!("{name}{end}"))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

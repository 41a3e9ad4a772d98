//! The flag file `announce` beside the database: mechanisms that some unlocked entry can use, one a line, and `LOGIN-DELAY` with the
//! longest that a user has. A server looks at it to
//! know what to announce, without opening the database; what it says decides nothing else.

use crate::sys::directory::Directory;
use crate::sys::file::{self, FileKind};
use std::io::{self, Read, Write};
use std::path::Path;

const NAME: &str = "announce";

/// A file that is not complete; only who holds the database's lock for writing makes one.
const TEMPORARY: &str = ".announce-";

/// Longer than any list of mechanisms.
const OCTETS: u64 = 1024;

/// The mechanisms that the entries beside this database can use; none where that cannot be read. Links are not followed, and
/// whoever owns the directory can at most make a server announce what nobody can use.
pub(crate) fn announced(database: &Path) -> Vec<String> {
    database.parent().and_then(|directory| read(directory).ok()).unwrap_or_default()
}

fn read(directory: &Path) -> io::Result<Vec<String>> {
    read_in(&Directory::open(directory)?)
}

fn read_in(directory: &Directory) -> io::Result<Vec<String>> {
    let file = directory.open_to_read(NAME)?;
    if file::status(&file)?.kind != FileKind::Regular {
        return Ok(Vec::new());
    }
    let mut text = String::new();
    file.take(OCTETS).read_to_string(&mut text)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Whether the file says exactly this.
pub(super) fn says(directory: &Directory, words: &[String]) -> bool {
    read_in(directory).is_ok_and(|found| found == words)
}

/// Writes the file anew, whole or not at all, unless it says so already. To be called with the database locked for writing: then
/// the last one is the newest.
///
/// # Errors
/// The system's.
pub(super) fn write(directory: &Directory, words: &[String]) -> io::Result<()> {
    if says(directory, words) {
        return Ok(());
    }
    for old in directory.names(TEMPORARY)? {
        // Of a writer that was killed. It only takes room.
        let _ = directory.remove(&old);
    }
    let (temporary, mut file) = directory.create_unguessable(TEMPORARY)?;
    let text: String = words.iter().map(|word| format!("{word}\n")).collect();
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    directory.rename(&temporary, NAME)?;
    directory.sync()
}

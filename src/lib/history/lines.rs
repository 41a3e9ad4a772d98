//! The file `history.log`: appending to it, and reading it while others append.
//!
//! Who moves its lines into the database first renames it, so that nobody waits for anybody: the next line makes a new file. One
//! who had opened the old name still writes to it, and so holds a shared lock on it meanwhile; it is removed under an
//! exclusive one (`store.rs`). A line goes to a file that has a name, or is written again to one that has.

use super::record::Entry;
use crate::error::{Error, Kind, Result};
use crate::sys::directory::Directory;
use crate::sys::file::{self, FileKind};
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The file that lines are appended to.
pub(crate) const LOG: &str = "history.log";

/// What it is called while its lines are moved.
pub(super) const MOVING: &str = "history.log.moving";

/// How often a line is written anew to a file that was removed meanwhile. Each needs a whole move between two system calls.
const TRIES: usize = 16;

/// The longest line that is read; ours have less than a quarter of it.
const LONGEST: u64 = 16 * 1024;

/// Appends a line to the log below `directory`, made when it is missing. Nothing is waited for.
///
/// Returns how large it is now, in octets.
///
/// # Errors
/// It cannot be opened, or not written as a whole: then the history lacks the line.
pub(crate) fn append(directory: &Path, entry: &Entry) -> Result<u64> {
    append_between(directory, entry, || {})
}

/// The same, where something happens between the opening of the file and the lock.
pub(super) fn append_between(directory: &Path, entry: &Entry, mut between: impl FnMut()) -> Result<u64> {
    let path = directory.join(LOG);
    let shown = &path.display();
    let failed = |what: &'static str| move |cause| Error::io(format!("cannot {what} {shown}"), cause);
    let above = Directory::open(directory).map_err(failed("open"))?;
    for _ in 0..TRIES {
        let file = above.open_to_append(LOG, 0o600).map_err(failed("open"))?;
        between();
        match file.try_lock_shared() {
            Ok(()) => {}
            // About to be removed: it has another name already.
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(cause)) => return Err(failed("lock")(cause)),
        }
        let status = file::status(&file).map_err(failed("look at"))?;
        if status.kind != FileKind::Regular {
            return Err(Error::new(Kind::Permanent, format!("{shown} is not a regular file")));
        }
        if status.links > 0 {
            return write(&file, status.identity.size, &entry.to_line()).map_err(failed("write"));
        }
    }
    Err(Error::new(Kind::Temporary, format!("{shown} is locked by another program")))
}

/// One write. What a full disk or a crash cut off before does not take this line along.
fn write(mut file: &File, size: u64, line: &str) -> io::Result<u64> {
    let mut last = [b'\n'];
    if size > 0 {
        file::read_at(file, &mut last, size - 1)?;
    }
    let line = if last == [b'\n'] { line.to_owned() } else { format!("\n{line}") };
    let written = file.write(line.as_bytes())?;
    if written < line.len() {
        // No more fits, and the rest is told why.
        file.write_all(&line.as_bytes()[written..])?;
    }
    Ok(size + line.len() as u64)
}

/// These octets as one line whose checksum is right, for the fuzz target.
pub(crate) fn seal(body: &[u8]) -> Vec<u8> {
    let body: Vec<u8> = body.iter().copied().filter(|octet| *octet != b'\n').collect();
    let sum = super::record::sum(&body);
    [&body, format!(" sum={sum}\n").as_bytes()].concat()
}

/// Whether there are lines that could be moved.
pub(crate) fn has_some(directory: &Path) -> bool {
    let size = |name| directory.join(name).symlink_metadata().map(|found| found.len());
    size(LOG).is_ok_and(|octets| octets > 0) || size(MOVING).is_ok()
}

/// Hands over each whole line from `offset` on, none for what is no line of ours; where the next one begins. What has no end
/// yet is left for later.
///
/// # Errors
/// The file cannot be read, or what `each` says.
pub(crate) fn each_line(
    file: &File,
    offset: u64,
    each: &mut dyn FnMut(Option<Entry>) -> Result<()>,
) -> Result<u64> {
    let failed = |cause| Error::io(format!("cannot read {LOG}"), cause);
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    reader.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let (mut next, mut line, mut too_long) = (offset, Vec::new(), false);
    loop {
        line.clear();
        let count = (&mut reader).take(LONGEST).read_until(b'\n', &mut line).map_err(failed)?;
        let ends = line.pop_if(|octet| *octet == b'\n').is_some();
        if !ends && (count as u64) < LONGEST {
            return Ok(next);
        }
        next += count as u64;
        if ends && !line.is_empty() {
            each(if too_long { None } else { Entry::parse(&line) })?;
        }
        too_long = !ends;
    }
}

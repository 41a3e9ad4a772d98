//! The last step of an import: all its messages show, or none.
//!
//! They wait in `new` and `cur` under names with a dot in front, which are nobody's messages. A file in the state directory decides that
//! they show. From then on whoever opens the Maildir to use it moves those that still wait: killed at any moment, an import was not made
//! or the next login sees all of it.

use super::listing::{Folder, Folders};
use crate::sys::directory::Directory;
use std::io::{self, Read, Write};

/// The file that decides.
pub(crate) const IMPORTING: &str = "importing";

/// What stands in names that a [`super::build::Builder`] makes, behind its number.
pub(super) const MARK: &[u8] = b".poptools";

/// An import whose messages are to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    /// What stands in the names of its messages and of no others.
    pub(crate) unique: u64,
    /// What tells the imported messages from others.
    pub(crate) digest: u64,
}

impl Decided {
    /// The one that is there; none, too, when it was being written.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn load(state: &Directory) -> io::Result<Option<Self>> {
        let mut text = String::new();
        match state.open_to_read(IMPORTING) {
            Ok(file) => file.take(64).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((unique, digest)) = text.strip_suffix('\n').and_then(|text| text.split_once(' ')) else {
            return Ok(None);
        };
        let number = |text: &str| u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
        Ok(number(unique).zip(number(digest)).map(|(unique, digest)| Self { unique, digest }))
    }

    /// Decides, durably.
    ///
    /// # Errors
    /// The system's. Nothing is decided once the file is removed.
    pub(crate) fn write(self, state: &Directory) -> io::Result<()> {
        state.remove(IMPORTING)?;
        let mut file = state.create(IMPORTING, 0o600)?;
        file.write_all(format!("{:016x} {:016x}\n", self.unique, self.digest).as_bytes())?;
        file.sync_all()?;
        state.sync()
    }
}

/// Shows what was decided to show; how many messages, if there was something to finish.
///
/// # Errors
/// The system's; the next one goes on.
pub(super) fn finish(folders: &Folders, state: &Directory) -> io::Result<Option<u32>> {
    if !state.may_change() || state.status(IMPORTING)?.is_none() {
        return Ok(None);
    }
    let shown = Decided::load(state)?.map(|decided| show(folders, decided.unique)).transpose()?;
    state.remove(IMPORTING)?;
    Ok(shown)
}

/// Moves what waits to its name, durably; how many messages.
///
/// # Errors
/// The system's.
pub(super) fn show(folders: &Folders, unique: u64) -> io::Result<u32> {
    let mut count = 0;
    for folder in [Folder::New, Folder::Cur] {
        let folder = folders.get(folder);
        for name in waiting(folder, |found| found == unique)? {
            let shown = name.get(1..).unwrap_or_default();
            match folder.move_entry(&name, folder, shown) {
                // Where a file system moves by a second name, that was made already.
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && is_one(folder, &name, shown)? =>
                {
                    folder.remove_entry(&name)?;
                }
                moved => moved?,
            }
            count += 1;
        }
        folder.sync()?;
    }
    Ok(count)
}

fn is_one(folder: &Directory, one: &[u8], other: &[u8]) -> io::Result<bool> {
    let inode = |name| Ok::<_, io::Error>(folder.entry_status(name)?.map(|found| found.identity.inode));
    Ok(inode(one)? == inode(other)?)
}

/// How many files an import left that was killed before it decided.
///
/// # Errors
/// The system's.
pub(crate) fn left(folders: &Folders) -> io::Result<usize> {
    let count = |folder| Ok::<_, io::Error>(waiting(folders.get(folder), |_| true)?.len());
    Ok(count(Folder::New)? + count(Folder::Cur)?)
}

/// Removes what imports left that were killed before they decided, `tmp` included. Nobody else may import meanwhile.
///
/// # Errors
/// The system's.
pub(crate) fn sweep(folders: &Folders, tmp: &Directory, state: &Directory) -> io::Result<()> {
    if state.status(IMPORTING)?.is_some() {
        return Ok(());
    }
    for folder in [&folders.new, &folders.cur] {
        waiting(folder, |_| true)?.iter().try_for_each(|name| folder.remove_entry(name).map(drop))?;
    }
    let mut drafts = Vec::new();
    tmp.for_each_entry(|name, _| {
        if name.ends_with(MARK) && unique(name).is_some() {
            drafts.push(name.to_vec());
        }
    })?;
    drafts.iter().try_for_each(|name| tmp.remove_entry(name).map(drop))
}

/// The names of messages that wait and have such a number.
fn waiting(folder: &Directory, is_meant: impl Fn(u64) -> bool) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    folder.for_each_entry(|name, _| {
        if name.strip_prefix(b".").and_then(unique).is_some_and(&is_meant) {
            names.push(name.to_vec());
        }
    })?;
    // In the order of messages, for who looks meanwhile.
    names.sort_unstable();
    Ok(names)
}

/// The number in a name that a builder has made.
fn unique(name: &[u8]) -> Option<u64> {
    let mark = memchr::memmem::find(name, MARK)?;
    let digits = name.get(mark.checked_sub(16)?..mark)?;
    let is_hex = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let behind_r = name.get(mark.checked_sub(17)?) == Some(&b'R') && name.first()?.is_ascii_digit();
    if !is_hex || !behind_r {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_of_a_builder_alone_are_meant() {
        let name = b"1767225601.M000001Q0000000001R00000000000000ff.poptools,S=3:2,S";
        assert_eq!(unique(name), Some(255));
        for other in [
            "1767225601.M1P1.host,S=3",
            "x.poptools",
            ".poptools",
            "1R00000000000000fg.poptools,S=1",
            "R.poptools",
        ] {
            assert_eq!(unique(other.as_bytes()), None, "{other}");
        }
    }

    /// A decision is a whole file: half of one decides nothing, and says nothing of a number.
    #[test]
    fn half_a_decision_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let state = Directory::open(folder.path()).unwrap();
        assert_eq!(Decided::load(&state).unwrap(), None);
        let decided = Decided { unique: 7, digest: u64::MAX };
        decided.write(&state).unwrap();
        assert_eq!(Decided::load(&state).unwrap(), Some(decided));
        let whole = fs::read(folder.path().join(IMPORTING)).unwrap();
        for length in 0..whole.len() {
            fs::write(folder.path().join(IMPORTING), &whole[..length]).unwrap();
            assert_eq!(Decided::load(&state).unwrap(), None, "{length} octets");
        }
    }
}

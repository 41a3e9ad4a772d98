//! The two directories of a Maildir, and the names in them.

use super::name;
use crate::error::{Error, Kind, Result};
use crate::maildrop::index::{Octets, Reader};
use crate::sys::clock;
use crate::sys::directory::Directory;
use crate::sys::file::{Identity, Stamp, status};
use std::io;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Folder {
    /// A mail reader has taken note of it.
    Cur,
    /// It was delivered, and nobody has looked yet.
    New,
}

impl Folder {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cur => "cur",
            Self::New => "new",
        }
    }
}

/// The directories of a Maildir that hold messages, open. Everything in them is looked up by name relative to them.
#[derive(Debug)]
pub(crate) struct Folders {
    pub(crate) new: Directory,
    pub(crate) cur: Directory,
    /// What the administrator should know of them.
    pub(super) notes: Vec<String>,
}

impl Folders {
    pub(super) const fn get(&self, folder: Folder) -> &Directory {
        match folder {
            Folder::New => &self.new,
            Folder::Cur => &self.cur,
        }
    }

    /// The same for reading alone.
    pub(crate) fn read_only(self) -> Self {
        Self { new: self.new.read_only(), cur: self.cur.read_only(), ..self }
    }

    /// The states of `new` and `cur`.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn identities(&self) -> io::Result<(Identity, Identity)> {
        Ok((status(&self.new)?.identity, status(&self.cur)?.identity))
    }
}

/// How old a change must be so that another one after it shows, by a clock that counts fractions of a second.
const TICK: i128 = 50_000_000;
/// The same by one that counts whole, or every second, seconds.
const COARSE_TICK: i128 = 2_500_000_000;

/// Whether a change that comes now would be told from the last one by its time. Until then an equal time proves nothing.
pub(super) fn has_settled((new, cur): &(Identity, Identity)) -> bool {
    let now = clock::wall();
    let now = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
    [new, cur].into_iter().flat_map(|folder| [folder.modified, folder.changed]).all(|stamp| {
        let tick = if stamp.nanoseconds == 0 { COARSE_TICK } else { TICK };
        let time = i128::from(stamp.seconds) * 1_000_000_000 + i128::from(stamp.nanoseconds);
        now.saturating_sub(time) > tick
    })
}

/// Where a message was when it was read, and what tells whether the file still is the same. The index keeps it as a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) folder: Folder,
    pub(super) name: Vec<u8>,
    pub(super) inode: u64,
    pub(super) modified: Stamp,
}

impl Place {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut octets = Octets::default();
        octets.u64(self.inode);
        octets.stamp(self.modified);
        octets.put(&[u8::from(self.folder == Folder::New)]);
        octets.put(&self.name);
        octets.0
    }

    pub(super) fn decode(note: &[u8]) -> Result<Self> {
        let damaged = || Error::new(Kind::Temporary, "the index is damaged");
        let mut reader = Reader(note);
        let inode = reader.u64().ok_or_else(damaged)?;
        let modified = reader.stamp().ok_or_else(damaged)?;
        let folder = match reader.take() {
            Some([0]) => Folder::Cur,
            Some([1]) => Folder::New,
            _ => return Err(damaged()),
        };
        // The state directory is the user's own: a name in it must not lead out of the Maildir.
        if reader.0.is_empty()
            || reader.0.starts_with(b".")
            || reader.0.iter().any(|octet| b"/\0".contains(octet))
        {
            return Err(damaged());
        }
        Ok(Self { folder, name: reader.0.to_vec(), inode, modified })
    }

    /// Its name while it waits to be shown.
    pub(super) fn waiting(&self) -> Vec<u8> {
        [b".", self.name.as_slice()].concat()
    }

    /// How the log names it.
    pub(super) fn shown(&self) -> String {
        shown(self.folder, &self.name)
    }
}

pub(super) fn shown(folder: Folder, name: &[u8]) -> String {
    format!("{}/{}", folder.name(), String::from_utf8_lossy(name))
}

/// All names, in the order of messages. One octet string for all of them: it lives as long as a scan.
pub(super) struct Listing {
    names: Vec<u8>,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    start: usize,
    length: u16,
    folder: Folder,
    regular: bool,
}

/// One name of a listing.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a> {
    pub(super) folder: Folder,
    pub(super) name: &'a [u8],
    /// Whether it may be a regular file, as far as the listing tells.
    pub(super) regular: bool,
    /// Whether another name has the same base: the file is being moved, or a program made a copy.
    pub(super) ambiguous: bool,
}

impl Listing {
    /// Lists `new`, then `cur`, so that what moves meanwhile is seen at least once. Names that begin with a dot are no
    /// messages.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn read(folders: &Folders) -> io::Result<Self> {
        let (mut names, mut slots) = (Vec::new(), Vec::new());
        for folder in [Folder::New, Folder::Cur] {
            folders.get(folder).for_each_entry(|name, regular| {
                if let (false, Ok(length)) = (name.starts_with(b"."), u16::try_from(name.len())) {
                    slots.push(Slot { start: names.len(), length, folder, regular });
                    names.extend_from_slice(name);
                }
            })?;
        }
        let text = |slot: &Slot| names.get(slot.start..slot.start + usize::from(slot.length)).unwrap_or(b"");
        slots.sort_unstable_by(|one, other| {
            let (name, other_name) = (text(one), text(other));
            let order = name::order(name, other_name);
            order.then_with(|| (one.folder, name).cmp(&(other.folder, other_name)))
        });
        Ok(Self { names, slots })
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Listed<'_>> {
        (0..self.slots.len()).filter_map(|at| {
            let (slot, name) = (self.slots.get(at)?, self.name(at)?);
            let same = |other: Option<usize>| {
                other.and_then(|other| self.name(other)).is_some_and(|it| name::base(it) == name::base(name))
            };
            let ambiguous = same(at.checked_sub(1)) || same(at.checked_add(1));
            Some(Listed { folder: slot.folder, name, regular: slot.regular, ambiguous })
        })
    }

    fn name(&self, at: usize) -> Option<&[u8]> {
        let slot = self.slots.get(at)?;
        self.names.get(slot.start..slot.start + usize::from(slot.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_from_a_later_one_after_a_tick_of_its_clock() {
        let now = clock::wall();
        let at = |back_ms: u64, whole: bool| {
            let time = now - std::time::Duration::from_millis(back_ms);
            let nanoseconds = if whole { 0 } else { i64::from(time.subsec_nanos()).max(1) };
            let modified = Stamp { seconds: time.as_secs().cast_signed(), nanoseconds };
            let long_ago = Identity { modified: Stamp { seconds: 9, nanoseconds: 9 }, ..Identity::default() };
            has_settled(&(long_ago, Identity { modified, changed: long_ago.modified, ..long_ago }))
                && has_settled(&(Identity { changed: modified, modified, ..long_ago }, long_ago))
        };
        // Seconds 0 of `changed` in `long_ago` are long ago, too.
        assert!(at(60_000, false) && at(60_000, true));
        assert!(!at(0, false), "just now");
        assert!(!at(1000, true), "by a clock of whole seconds it may be now");
    }

    #[test]
    fn a_note_says_where_a_message_is_and_leads_nowhere_else() {
        let modified = Stamp { seconds: -1, nanoseconds: 7 };
        let place = |name: &[u8]| Place { folder: Folder::New, name: name.to_vec(), inode: 9, modified };
        let good = place(b"1.a\n\xff:2,S");
        assert_eq!(Place::decode(&good.encode()).unwrap(), good);
        for name in [&b""[..], b"..", b"../../.ssh/id", b"a/b", b".hidden", b"a\0b"] {
            assert!(Place::decode(&place(name).encode()).is_err(), "{name:?}");
        }
        assert!(Place::decode(&good.encode()[..20]).is_err());
    }
}

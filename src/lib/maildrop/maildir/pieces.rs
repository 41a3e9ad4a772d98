//! The messages of a Maildir as a whole, for who makes another maildrop of them.

use super::listing::{Folder, Listing, Place};
use super::{Folders, Maildir, name, numbering};
use crate::error::{Error, Kind, Result};
use crate::maildrop::Uidl;
use crate::maildrop::flags::Flags;
use crate::maildrop::index::Record;
use crate::maildrop::uidl::twins::Naming;
use crate::sys::directory::Directory;
use crate::sys::file::Stamp;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::Path;

/// What is remembered of a message's name.
type Key = u64;

/// A message, open.
pub(crate) struct Piece {
    pub(crate) file: File,
    pub(crate) record: Record,
    pub(crate) flags: Flags,
    /// When it was received, in seconds since 1970.
    pub(crate) received: u32,
}

impl Maildir {
    /// Opens the message at this position (from 0), and checks that it is what was measured.
    ///
    /// # Errors
    /// It is gone, or was changed by another program.
    pub(crate) fn piece(&mut self, position: u32) -> Result<Piece> {
        let (record, place) = self.message(position)?;
        let Some((file, folder, name)) = self.find(&place)? else { return Err(self.vanished(&place)) };
        let same = self.is_same(&file, &record, &place);
        if !same.map_err(|error| self.failed_at("look at", folder, &name, error))? {
            return Err(self.changed(&super::listing::shown(folder, &name)));
        }
        let info = name.get(name::base(&name).len()..).unwrap_or_default();
        let flags = Flags::of_name(folder == Folder::Cur, info);
        let received = received(&name, place.modified);
        Ok(Piece { file, record, flags, received })
    }

    /// The names of all messages, as they are remembered.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn keys(&mut self) -> Result<HashSet<Key>> {
        let count = self.index.header().count;
        (0..count).map(|position| Ok(numbering::name_hash(&self.message(position)?.1.name))).collect()
    }

    /// Messages that are there by now and are not among these, oldest first.
    ///
    /// # Errors
    /// The directories cannot be listed.
    pub(crate) fn arrived_since(&self, keys: &HashSet<Key>) -> io::Result<Vec<Arrived>> {
        let listing = Listing::read(&self.folders)?;
        let arrived = listing
            .iter()
            .filter(|listed| listed.regular && !keys.contains(&numbering::name_hash(listed.name)));
        Ok(arrived.map(|listed| Arrived { folder: listed.folder, name: listed.name.to_vec() }).collect())
    }

    /// Opens one of them, with what is noted of it and when it was received; none when it is gone or no message.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open_arrived(&self, arrived: &Arrived) -> io::Result<Option<(File, Flags, u32)>> {
        let Arrived { folder, name } = arrived;
        let Some(file) = self.folders.get(*folder).open_entry(name)? else { return Ok(None) };
        let found = crate::sys::file::status(&file)?;
        if super::refresh::strange(&found, self.uid).is_some() {
            return Ok(None);
        }
        let info = name.get(name::base(name).len()..).unwrap_or_default();
        let flags = Flags::of_name(*folder == Folder::Cur, info);
        Ok(Some((file, flags, received(name, found.identity.modified))))
    }

    /// Calls `each` with position and unique id of every message, in order.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn for_each_uidl(&mut self, mut each: impl FnMut(u32, Uidl)) -> Result<()> {
        self.index.for_each(|position, record| {
            each(position, record.entry().uidl);
            Ok(())
        })
    }

    /// A Maildir that is only listed: nothing of its messages is known.
    pub(crate) fn listed(folders: Folders, path: &Path, uid: u32, state: Directory) -> Self {
        Self::without_index(folders, path, uid, state)
    }

    /// Whether every twin's number is written down.
    ///
    /// # Errors
    /// It is not, for want of room say.
    pub(crate) fn numbers_are_written(&self) -> Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Temporary, "the numbers of equal messages could not be written down"))
    }
}

/// When a message was received, in seconds since 1970: the file's time, which a copy makes later than it was, or its name's,
/// which keeps order and may be later.
fn received(name: &[u8], modified: Stamp) -> u32 {
    let file = u32::try_from(modified.seconds).ok().filter(|seconds| *seconds > 0).unwrap_or(u32::MAX);
    name::received(name, modified).min(file)
}

/// A message that came meanwhile.
pub(crate) struct Arrived {
    folder: Folder,
    name: Vec<u8>,
}

/// A message file that is being made.
pub(crate) struct Made {
    /// Where it is.
    place: Place,
}

/// What is to be written down for messages that get these numbers in a new Maildir.
pub(crate) fn namings(made: &[(Record, Made)], numbered: &HashMap<u128, u32>) -> Vec<Naming> {
    let mut namings: HashMap<u128, Naming> =
        numbered.iter().map(|(hash, next)| (*hash, (*hash, *next, Vec::new()))).collect();
    for (record, made) in made {
        if let Some((_, next, members)) = namings.get_mut(&record.hash) {
            *next = (*next).max(record.twin.saturating_add(1));
            members.push((numbering::name_hash(&made.place.name), record.twin));
        }
    }
    namings.into_values().collect()
}

impl Made {
    pub(super) const fn new(place: Place) -> Self {
        Self { place }
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }
}

/// By which a message is remembered, of its note in an index.
///
/// # Errors
/// The note is damaged.
pub(crate) fn key_of(note: &[u8]) -> Result<u64> {
    Ok(numbering::name_hash(&Place::decode(note)?.name))
}

/// What is known by the bases of names, by what is remembered of them.
pub(crate) fn keys_of<'a, T>(named: impl Iterator<Item = (&'a [u8], T)>) -> HashMap<Key, T> {
    named.map(|(base, known)| (numbering::name_hash(base), known)).collect()
}

impl Maildir {
    /// What is remembered of the name of the message at this position (from 0).
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn key(&mut self, position: u32) -> Result<Key> {
        Ok(numbering::name_hash(&self.message(position)?.1.name))
    }

    /// The hash of a message file.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn hash_of(file: &File) -> Result<u128> {
        let unreadable = |error| Error::io("cannot read a message", error);
        let found = crate::sys::file::status(file).map_err(unreadable)?;
        let measured = super::refresh::measure_file(file, &found, &mut Vec::new())?;
        measured
            .map(|measured| measured.hash)
            .ok_or_else(|| Error::new(Kind::Temporary, "a message changes while it is read"))
    }
}

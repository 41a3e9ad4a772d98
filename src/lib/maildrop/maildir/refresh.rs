//! Brings the index up to the Maildir: what is known stays, what is new is read.

use super::listing::{Folder, Folders, Listed, Listing, Place, has_settled, shown};
use super::measure::{Measured, measure};
use super::name;
use super::numbering::{self, Remembered};
use crate::error::{Error, Kind, Result};
use crate::maildrop::index::{Header, Index, Layout, Record, Writer};
use crate::maildrop::uidl::twins::{Naming, Twins};
use crate::sys::directory::Directory;
use crate::sys::file::{FileKind, Identity, Status, read_at, status};
use std::cmp::Ordering;
use std::fs::File;
use std::io;

/// How often the directories are listed at most, while messages move away under our hands.
const MOST_PASSES: u32 = 10;

/// What a look at the whole Maildir gave.
pub(super) struct Refreshed {
    pub(super) index: Index,
    /// Why the index is in memory.
    pub(super) trouble: Option<io::Error>,
    /// Twin numbers that could not be written down, and why.
    pub(super) unwritten: Option<(Vec<Naming>, io::Error)>,
    /// Files that are no messages.
    pub(super) strange: Strange,
}

/// Files that are no messages: how many, and the first.
#[derive(Default)]
pub(super) struct Strange {
    count: u32,
    first: String,
}

impl Strange {
    fn note(&mut self, listed: &Listed<'_>, why: &str) {
        if self.count == 0 {
            self.first = format!("{} {why}", shown(listed.folder, listed.name));
        }
        self.count += 1;
    }

    /// A sentence for the log.
    pub(super) fn sentence(&self, path: &str) -> Option<String> {
        let Self { count, first } = self;
        match count {
            0 => None,
            1 => Some(format!("{path}: {first}: left alone")),
            _ => Some(format!("{path}: {first}, and {} more such: left alone", count - 1)),
        }
    }
}

/// Makes the index of the Maildir: from the old one as far as that knows.
///
/// # Errors
/// A directory or a message cannot be read.
pub(super) fn refresh(
    folders: &Folders,
    uid: u32,
    mut old: Option<Index>,
    twins: &mut Twins,
    state: &Directory,
) -> Result<Refreshed> {
    let mut passes = 0;
    loop {
        passes += 1;
        let (refreshed, whole) = Pass::run(folders, uid, old.take(), twins, state)?;
        if whole || passes == MOST_PASSES {
            return Ok(refreshed);
        }
        // What was read is known now.
        old = Some(refreshed.index);
    }
}

/// One listing of both directories.
struct Pass<'a> {
    folders: &'a Folders,
    uid: u32,
    known: Known,
    buffer: Vec<u8>,
    /// Names that were gone when we came to them: moved, or deleted.
    missed: u32,
    strange: Strange,
    /// The base that is ambiguous, and the files that it names.
    same_base: (Vec<u8>, Vec<u64>),
}

impl Pass<'_> {
    fn run(
        folders: &Folders,
        uid: u32,
        old: Option<Index>,
        twins: &mut Twins,
        state: &Directory,
    ) -> Result<(Refreshed, bool)> {
        let is_first = old.is_none();
        let cannot = |error| Error::io("cannot list it", error);
        // Taken before the listing: a change behind it makes the next login look again.
        let seen = folders.identities().map_err(cannot)?;
        let settled = has_settled(&seen);
        let listing = Listing::read(folders).map_err(cannot)?;
        let moved = folders.identities().map_err(cannot)? != seen;
        let most = u32::try_from(listing.len())
            .map_err(|_| Error::new(Kind::Permanent, "more messages than POP3 can number"))?;
        let mut pass = Pass {
            folders,
            uid,
            known: Known::new(old),
            buffer: Vec::new(),
            missed: 0,
            strange: Strange::default(),
            same_base: (Vec::new(), Vec::new()),
        };
        let mut writer = Writer::with_notes(state, most)?;
        let mut remembered = Vec::with_capacity(listing.len());
        for listed in listing.iter() {
            if let Some((record, place, fresh)) = pass.message(&listed)? {
                writer.push_noted(&record, &place.encode())?;
                remembered.push(Remembered::new(&record, &place.name, fresh));
            }
        }
        let namings = numbering::number(&mut writer, &remembered, twins)?;
        let unwritten = twins.name(state, namings.clone()).err().map(|error| (namings, error));
        let complete = settled && pass.missed == 0 && pass.strange.count == 0 && unwritten.is_none();
        // An identity that no directory has makes the next login look again.
        let (identity, second) = if complete { seen } else { Default::default() };
        let header = Header { identity, second, layout: Layout::Maildir, ..Header::default() };
        let (index, trouble) = writer.finish(header)?;
        let Pass { missed, strange, known, .. } = pass;
        // A name that changes while a directory is listed may be in no part of the list (readdir(3), POSIX): whoever was known and is
        // not there, or may be and is not known yet, is looked for again.
        let overlooked = moved && (is_first || known.vanished());
        Ok((Refreshed { index, trouble, unwritten, strange }, missed == 0 && !overlooked))
    }

    /// The record of a listed name, where it is, and whether it has no number yet; none when it is no message.
    fn message(&mut self, listed: &Listed<'_>) -> Result<Option<(Record, Place, bool)>> {
        let known = self.known.find(listed.name);
        if listed.regular
            && !listed.ambiguous
            && let Some((record, place)) = known
        {
            // A message file is written once: what is known of it stays true wherever it is moved. RETR and the update
            // check this again.
            let place = Place { folder: listed.folder, name: listed.name.to_vec(), ..place };
            return Ok(Some((record, place, false)));
        }
        let looked = look(self.folders.get(listed.folder), listed.name, self.uid, &mut self.buffer).map_err(
            |error| Error::new(error.kind(), format!("{}: {error}", shown(listed.folder, listed.name))),
        )?;
        match looked {
            // Of one that is listed in both directories both names may be gone: it was moved on.
            Look::Gone => self.missed += 1,
            Look::Strange(why) => self.strange.note(listed, why),
            Look::Message(status, _) if listed.ambiguous && self.is_second_name(listed.name, &status) => {}
            Look::Message(status, measured) => {
                let Measured { length, header_length, octets, hash } = measured;
                let Identity { inode, modified, .. } = status.identity;
                let received = name::received(listed.name, modified);
                let record =
                    Record { length, header_length, octets, hash, twin: 1, received, ..Record::default() };
                let place = Place { folder: listed.folder, name: listed.name.to_vec(), inode, modified };
                return Ok(Some((record, place, true)));
            }
        }
        Ok(None)
    }

    /// Whether the file was seen under another name with the same base: a program is moving it, link by link.
    fn is_second_name(&mut self, name: &[u8], status: &Status) -> bool {
        let (base, inodes) = &mut self.same_base;
        if base != name::base(name) {
            *base = name::base(name).to_vec();
            inodes.clear();
        }
        let seen = inodes.contains(&status.identity.inode);
        inodes.push(status.identity.inode);
        seen
    }
}

/// The old index, read along with the listing, which has the same order.
struct Known {
    index: Option<Index>,
    next: u32,
    current: Option<(Record, Place)>,
    /// Whether the current one was asked for.
    met: bool,
    /// Whether one was not.
    passed_over: bool,
}

impl Known {
    fn new(index: Option<Index>) -> Self {
        let mut known = Self { index, next: 0, current: None, met: true, passed_over: false };
        known.advance();
        known
    }

    /// What is known of the message with this name's base. Names must come in order.
    fn find(&mut self, listed: &[u8]) -> Option<(Record, Place)> {
        loop {
            let (_, place) = self.current.as_ref()?;
            match name::order(&place.name, listed) {
                Ordering::Less => self.advance(),
                Ordering::Equal => {
                    self.met = true;
                    return self.current.clone();
                }
                Ordering::Greater => return None,
            }
        }
    }

    /// Whether one was never asked for. Nothing may be asked for behind this.
    fn vanished(&self) -> bool {
        let rest = self.index.as_ref().is_some_and(|index| self.next < index.header().count);
        self.passed_over || !self.met || rest
    }

    fn advance(&mut self) {
        self.passed_over |= !self.met;
        self.current = self.read();
        self.met = self.current.is_none();
        self.next = self.next.saturating_add(1);
        if self.current.is_none() {
            // It ends here, or it is damaged: the rest is read from the messages.
            self.index = None;
        }
    }

    fn read(&mut self) -> Option<(Record, Place)> {
        let index = self.index.as_mut().filter(|index| self.next < index.header().count)?;
        let record = *index.records(self.next).ok()?.first()?;
        let place = Place::decode(index.note(&record).ok()?).ok()?;
        Some((record, place))
    }
}

/// What stands behind a name.
pub(super) enum Look {
    /// There is nothing any more.
    Gone,
    /// It is no message, and why.
    Strange(&'static str),
    /// It is one.
    Message(Status, Measured),
}

/// Opens and measures a message.
///
/// # Errors
/// It is one and cannot be read.
fn look(folder: &Directory, file_name: &[u8], uid: u32, buffer: &mut Vec<u8>) -> Result<Look> {
    let cannot = |error| Error::io("cannot read it", error);
    // Looked at before it is opened: opening a device may do something.
    let Some(found) = folder.entry_status(file_name).map_err(cannot)? else { return Ok(Look::Gone) };
    if let Some(why) = strange(&found, uid) {
        return Ok(Look::Strange(why));
    }
    let file = match folder.open_entry(file_name) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Look::Gone),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Look::Strange("must not be read"));
        }
        Err(error) => return Err(cannot(error)),
    };
    let found = status(&file).map_err(cannot)?;
    if let Some(why) = strange(&found, uid) {
        return Ok(Look::Strange(why));
    }
    Ok(match measure_file(&file, &found, buffer)? {
        Some(measured) => Look::Message(found, measured),
        None => Look::Strange("changes while it is read"),
    })
}

/// Why this is no message of the user; none when it is one. A file with several names is: programs that deliver or copy
/// mail make such, and removing a name touches no other.
pub(crate) fn strange(found: &Status, uid: u32) -> Option<&'static str> {
    match found.kind {
        FileKind::Regular if found.uid == uid => None,
        FileKind::Regular => Some("belongs to another user"),
        FileKind::Directory => Some("is a directory"),
        FileKind::Link => Some("is a symbolic link"),
        FileKind::Special => Some("is not a regular file"),
    }
}

/// Reads the whole file; none when its length is not what it was.
///
/// # Errors
/// It cannot be read.
pub(super) fn measure_file(file: &File, found: &Status, buffer: &mut Vec<u8>) -> Result<Option<Measured>> {
    let mut position = 0;
    let measured = measure(buffer, |buffer| {
        let count = read_at(file, buffer, position).map_err(|error| Error::io("cannot read it", error))?;
        position += count as u64;
        if position > found.identity.size {
            // Somebody writes to it: no end is waited for.
            return Ok(0);
        }
        Ok(count)
    })?;
    Ok((position == found.identity.size && measured.length == position).then_some(measured))
}

/// Where every message is now, by the hash of its base.
///
/// # Errors
/// The directories cannot be listed.
pub(super) fn places(folders: &Folders) -> io::Result<std::collections::HashMap<u64, (Folder, Vec<u8>)>> {
    let listing = Listing::read(folders)?;
    Ok(listing
        .iter()
        .map(|listed| (numbering::name_hash(listed.name), (listed.folder, listed.name.to_vec())))
        .collect())
}

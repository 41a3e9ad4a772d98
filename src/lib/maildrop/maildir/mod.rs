//! The Maildir format: a file for each message, in `new` until somebody has looked and in `cur` then.
//!
//! Nobody locks a Maildir: files appear, move and vanish while a session lasts. What the session showed stays as it was;
//! a message that moved is found again by the part of its name that stays, and one that vanished is an `-ERR`. A login to
//! an unchanged Maildir reads the index's header. `tmp`, subfolders (`.Sent`) and names with a dot in front are other
//! programs' business.

pub(crate) mod build;
mod listing;
mod measure;
mod name;
mod numbering;
pub(crate) mod open;
pub(crate) mod pieces;
mod refresh;
pub(crate) mod staged;
mod update;

use super::index::{self, Index, Layout, Record};
use super::uidl::twins::{Naming, Twins};
use super::{Bitmap, Entry, Imported, Maildrop, Summary};
use crate::error::{Error, Kind, Result};
use crate::protocol::MsgNo;
use crate::sys::directory::Directory;
use crate::sys::file::{Identity, Status, read_at, status};
pub(crate) use listing::Folders;
use listing::{Folder, Place};
pub(crate) use refresh::strange;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// How often a message that moves while we look for it is looked for.
const MOST_TRIES: u32 = 5;

/// An open Maildir.
pub(crate) struct Maildir {
    folders: Folders,
    path: PathBuf,
    state: Directory,
    /// The user, to whom every message belongs.
    uid: u32,
    index: Index,
    /// Twin numbers that the `uidl` file does not have yet.
    unwritten: Vec<Naming>,
    /// Where messages are, once one was not where the index says.
    moved: Option<Moved>,
    /// The message that is being read.
    open: Option<(MsgNo, File)>,
    notes: Vec<String>,
    committed: bool,
}

/// All places, and the states of the directories from before they were listed.
struct Moved {
    seen: (Identity, Identity),
    settled: bool,
    places: HashMap<u64, (Folder, Vec<u8>)>,
}

impl Maildir {
    /// Opens the Maildir with these directories; `path` is for messages alone.
    ///
    /// # Errors
    /// A directory or a message cannot be read.
    pub(crate) fn open(folders: Folders, path: &Path, uid: u32, state: Directory) -> Result<Self> {
        let mut maildir = Self::without_index(folders, path, uid, state);
        maildir.finish_import();
        let seen = maildir.folders.identities().map_err(|error| maildir.failed("look at", error))?;
        match Index::load_as(&maildir.state, Layout::Maildir) {
            Some(index) if (index.header().identity, index.header().second) == seen => maildir.index = index,
            index => maildir.look_through(index)?,
        }
        Ok(maildir)
    }

    /// Shows the rest of an import that was interrupted. Where that fails there is mail all the same.
    fn finish_import(&mut self) {
        let path = self.path.display();
        let note = match staged::finish(&self.folders, &self.state) {
            Ok(None) => return,
            Ok(Some(count)) => {
                format!("an import into {path} was interrupted: it is finished now, messages: {count}")
            }
            Err(error) => Error::io(format!("cannot finish an import into {path}"), error).to_string(),
        };
        self.notes.push(note);
    }

    fn without_index(mut folders: Folders, path: &Path, uid: u32, state: Directory) -> Self {
        let notes = std::mem::take(&mut folders.notes);
        Self {
            folders,
            path: path.to_owned(),
            state,
            uid,
            index: Index::empty(Identity::default()),
            unwritten: Vec::new(),
            moved: None,
            open: None,
            notes,
            committed: false,
        }
    }

    /// Lists the directories, and reads what the index does not know.
    fn look_through(&mut self, old: Option<Index>) -> Result<()> {
        let mut twins = Twins::load(&self.state)?;
        let refreshed = refresh::refresh(&self.folders, self.uid, old, &mut twins, &self.state);
        self.notes.append(&mut twins.notes);
        let path = self.path.display().to_string();
        let refreshed = refreshed.map_err(|error| Error::new(error.kind(), format!("{path}: {error}")))?;
        self.notes.extend(refreshed.strange.sentence(&path));
        // Who only looks has it in memory in any case.
        if let Some(trouble) = refreshed.trouble.filter(|_| self.state.may_change()) {
            self.notes.push(Error::io("cannot write the index, it is kept in memory", trouble).to_string());
        }
        if let Some((unwritten, error)) = refreshed.unwritten {
            if self.state.may_change() {
                self.notes.push(Error::io("cannot write the uidl file", error).to_string());
            }
            self.unwritten = unwritten;
        }
        self.index = refreshed.index;
        Ok(())
    }

    /// The record of a message, and those behind it in its page. A damaged index is made again.
    fn records(&mut self, first: u32) -> Result<&[Record]> {
        if self.index.records(first).is_err() {
            self.make_index_again()?;
        }
        self.index.records(first)
    }

    /// The record of a message, and where it was when it was read.
    fn message(&mut self, position: u32) -> Result<(Record, Place)> {
        let record = self.records(position)?.first().copied();
        let record = record.ok_or_else(|| self.changed("the index"))?;
        if self.index.note(&record).is_err() {
            self.make_index_again()?;
        }
        let Some(record) = self.index.records(position)?.first().copied() else {
            return Err(self.changed("the index"));
        };
        let place = Place::decode(self.index.note(&record)?)?;
        Ok((record, place))
    }

    /// Reads everything again: it must come out as it was, or numbers would not be what the client knows.
    fn make_index_again(&mut self) -> Result<()> {
        let old = *self.index.header();
        self.notes.push(format!("the index of {} was damaged, it is made again", self.path.display()));
        self.look_through(None)?;
        let new = self.index.header();
        if (new.count, new.octets) == (old.count, old.octets) {
            return Ok(());
        }
        self.forget_index();
        Err(self.changed("the Maildir"))
    }

    /// The next login reads everything.
    fn forget_index(&self) {
        let _ = self.state.remove(index::NAME);
    }

    /// Opens a message wherever it is by now; none when it is gone.
    fn find(&mut self, place: &Place) -> Result<Option<(File, Folder, Vec<u8>)>> {
        for _ in 0..MOST_TRIES {
            if let Some(file) = self.open_at(place.folder, &place.name)? {
                return Ok(Some((file, place.folder, place.name.clone())));
            }
            // Where it is most often when it is not where it was.
            let base = name::base(&place.name);
            for flags in [&b":2,S"[..], b":2,"] {
                let guess = [base, flags].concat();
                if let Some(file) = self.open_at(Folder::Cur, &guess)? {
                    return Ok(Some((file, Folder::Cur, guess)));
                }
            }
            let Some((folder, name)) = self.listed_place(base)? else { return Ok(None) };
            if let Some(file) = self.open_at(folder, &name)? {
                return Ok(Some((file, folder, name)));
            }
            self.moved = None;
        }
        Ok(None)
    }

    fn open_at(&self, folder: Folder, name: &[u8]) -> Result<Option<File>> {
        let directory = self.folders.get(folder);
        // Looked at before it is opened: opening a device may do something.
        let found =
            directory.entry_status(name).map_err(|error| self.failed_at("look at", folder, name, error))?;
        match found {
            Some(found) if strange(&found, self.uid).is_none() => {
                directory.open_entry(name).map_err(|error| self.failed_at("open", folder, name, error))
            }
            Some(_) => Err(self.changed(&listing::shown(folder, name))),
            None => Ok(None),
        }
    }

    /// Where the directories have the message with this base.
    fn listed_place(&mut self, base: &[u8]) -> Result<Option<(Folder, Vec<u8>)>> {
        let seen = self.folders.identities().map_err(|error| self.failed("look at", error))?;
        let settled = listing::has_settled(&seen);
        if self.moved.as_ref().is_none_or(|moved| !moved.settled || moved.seen != seen) {
            let places = refresh::places(&self.folders).map_err(|error| self.failed("list", error))?;
            self.moved = Some(Moved { seen, settled, places });
        }
        let found = self.moved.as_ref().and_then(|moved| moved.places.get(&numbering::name_hash(base)));
        Ok(found.filter(|(_, name)| name::base(name) == base).cloned())
    }

    /// Whether the file still is the message that was measured.
    fn is_same(&self, file: &File, record: &Record, place: &Place) -> io::Result<bool> {
        let found = status(file)?;
        if strange(&found, self.uid).is_some() {
            return Ok(false);
        }
        if looks_same(&found, record, place) {
            return Ok(true);
        }
        // Written anew, by a restore from a backup say; what it holds is what counts.
        let measured = refresh::measure_file(file, &found, &mut Vec::new());
        Ok(measured.ok().flatten().is_some_and(|measured| {
            (measured.length, measured.octets, measured.hash) == (record.length, record.octets, record.hash)
        }))
    }

    /// Opens a message and checks that it is what was measured.
    fn open_message(&mut self, message: MsgNo) -> Result<(File, Record)> {
        let (record, place) = self.message(message.index())?;
        let Some((file, folder, name)) = self.find(&place)? else { return Err(self.vanished(&place)) };
        let same = self.is_same(&file, &record, &place);
        if same.map_err(|error| self.failed_at("look at", folder, &name, error))? {
            return Ok((file, record));
        }
        self.forget_index();
        Err(self.changed(&listing::shown(folder, &name)))
    }

    fn vanished(&self, place: &Place) -> Error {
        let what = format!("{}/{} was removed by another program", self.path.display(), place.shown());
        Error::new(Kind::Temporary, what).tell("this message was removed by another program")
    }

    fn changed(&self, what: &str) -> Error {
        let what = format!("{}: {what} was changed by another program", self.path.display());
        Error::new(Kind::Temporary, what).tell("the maildrop was changed by another program, log in again")
    }

    fn failed(&self, verb: &str, error: io::Error) -> Error {
        Error::io(format!("cannot {verb} {}", self.path.display()), error)
    }

    fn failed_at(&self, verb: &str, folder: Folder, name: &[u8], error: io::Error) -> Error {
        let what = format!("cannot {verb} {}/{}", self.path.display(), listing::shown(folder, name));
        Error::io(what, error)
    }
}

/// Whether it is the same file, untouched, as far as its status tells.
fn looks_same(found: &Status, record: &Record, place: &Place) -> bool {
    let Identity { inode, size, modified, .. } = found.identity;
    (inode, size, modified) == (place.inode, record.length, place.modified)
}

impl Maildrop for Maildir {
    fn count(&self) -> u32 {
        self.index.header().count
    }

    fn octets(&self) -> u64 {
        self.index.header().octets
    }

    fn summary(&self) -> Summary {
        self.index.header().summary()
    }

    fn entries(&mut self, first: MsgNo, page: &mut Vec<Entry>) -> Result<()> {
        page.clear();
        if first.index() < self.count() {
            page.extend(self.records(first.index())?.iter().map(Record::entry));
        }
        Ok(())
    }

    fn read(&mut self, message: MsgNo, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if self.committed || message.index() >= self.count() {
            return Err(Error::new(Kind::Temporary, "a message that is not there"));
        }
        let opened = self.open.take().filter(|(open, _)| offset > 0 && *open == message);
        let (file, record) = match opened {
            Some((_, file)) => match self.records(message.index())?.first().copied() {
                Some(record) => (file, record),
                None => return Err(self.changed("the index")),
            },
            None => self.open_message(message)?,
        };
        let left = record.length.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = read_at(&file, &mut buffer[..wanted], offset);
        let count = read.map_err(|error| self.failed("read a message of", error))?;
        self.open = Some((message, file));
        // Less than the record says is never passed off as the message.
        if count == wanted { Ok(count) } else { Err(self.changed("a message")) }
    }

    fn commit(&mut self, deleted: &Bitmap, retrieved: &Bitmap) -> Result<()> {
        if self.committed {
            return Err(Error::new(Kind::Temporary, "a second update in one session"));
        }
        self.update(deleted, retrieved)?;
        self.committed = true;
        Ok(())
    }

    fn imported(&self) -> Result<Imported> {
        Imported::load(&self.state)
    }

    fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

#[cfg(test)]
mod tests;

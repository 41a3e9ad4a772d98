//! The update of a Maildir: a file is removed for each deleted message, and retrieved ones move from `new` to `cur`.
//!
//! Each removal is one step that is done or not, so wherever a crash comes each message is there whole or deleted. The
//! index does not follow: the next login lists the directories and finds what is left.

use super::listing::{Folder, Place};
use super::{Maildir, looks_same, name, refresh};
use crate::error::{Error, Kind, Result};
use crate::maildrop::index::Record;
use crate::maildrop::mbox::spool::UNCERTAIN;
use crate::maildrop::uidl::twins::Twins;
use crate::maildrop::{Bitmap, is_in};
use std::collections::HashSet;
use std::io;

/// What the client is told when some messages could not be removed (RFC 1939, section 6).
const NOT_ALL: &str = "some deleted messages not removed";

/// What an update has come to.
#[derive(Default)]
struct Progress {
    /// Which directories were changed.
    new: bool,
    cur: bool,
    /// Messages that could not be removed, and the first reason.
    failures: u32,
    first: Option<Error>,
    /// Why a message could not be marked as read.
    unmarked: Option<Error>,
}

impl Progress {
    const fn touch(&mut self, folder: Folder) {
        match folder {
            Folder::New => self.new = true,
            Folder::Cur => self.cur = true,
        }
    }
}

impl Maildir {
    /// Removes the deleted messages, durably, and marks those that were retrieved.
    pub(super) fn update(&mut self, deleted: &Bitmap, retrieved: &Bitmap) -> Result<()> {
        self.open = None;
        self.write_numbers(deleted)?;
        let mut progress = Progress::default();
        for position in 0..self.index.header().count {
            if is_in(deleted, position) {
                if let Err(error) = self.remove(position, &mut progress) {
                    progress.failures += 1;
                    progress.first.get_or_insert(error);
                }
            } else if is_in(retrieved, position)
                && let Err(error) = self.mark(position, &mut progress)
            {
                progress.unmarked.get_or_insert(error);
            }
        }
        self.make_durable(&progress)?;
        if let Some(error) = progress.unmarked {
            self.notes.push(format!("cannot mark a message as read: {error}"));
        }
        match progress.first {
            None => Ok(()),
            Some(error) => {
                let what =
                    format!("{} of {} messages not removed: {error}", progress.failures, deleted.len());
                Err(Error::new(Kind::Temporary, what).tell(NOT_ALL))
            }
        }
    }

    /// What the next login must know of twins is on disk before one of them goes.
    fn write_numbers(&mut self, deleted: &Bitmap) -> Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let (mut touched, mut surviving) = (HashSet::new(), HashSet::new());
        self.index.for_each(|position, record| {
            let set = if is_in(deleted, position) { &mut touched } else { &mut surviving };
            set.insert(record.hash);
            Ok(())
        })?;
        // A group that goes as a whole leaves nothing that depends on a number.
        self.unwritten.retain(|(hash, ..)| touched.contains(hash) && surviving.contains(hash));
        let namings = std::mem::take(&mut self.unwritten);
        Twins::load(&self.state)?.name(&self.state, namings).map_err(|error| {
            Error::io("cannot write the uidl file", error).of_kind(Kind::Temporary).tell(
                "no room to remember the unique ids of equal messages; deleting all of them still works",
            )
        })
    }

    /// Removes one message wherever it is by now. One that is gone already is deleted, too.
    fn remove(&mut self, position: u32, progress: &mut Progress) -> Result<()> {
        let (record, place) = self.message(position)?;
        let found = self.folders.get(place.folder).entry_status(&place.name);
        let found = found.map_err(|error| self.failed_at("look at", place.folder, &place.name, error))?;
        let here = found.is_some_and(|found| {
            refresh::strange(&found, self.uid).is_none() && looks_same(&found, &record, &place)
        });
        if here && self.remove_name(place.folder, &place.name, progress)? {
            return self.remove_second_name(&place, progress);
        }
        for _ in 0..super::MOST_TRIES {
            let Some((file, folder, name)) = self.find(&place)? else { return Ok(()) };
            let same = self.is_same(&file, &record, &place);
            if !same.map_err(|error| self.failed_at("look at", folder, &name, error))? {
                // It is not what the client saw.
                self.forget_index();
                return Err(self.changed(&super::listing::shown(folder, &name)));
            }
            if self.remove_name(folder, &name, progress)? {
                return Ok(());
            }
            self.moved = None;
        }
        Err(self.changed(&place.shown()))
    }

    /// Removes a name; false when it was gone.
    fn remove_name(&self, folder: Folder, name: &[u8], progress: &mut Progress) -> Result<bool> {
        let removed = self.folders.get(folder).remove_entry(name);
        let removed = removed.map_err(|error| self.failed_at("remove", folder, name, error))?;
        if removed {
            progress.touch(folder);
        }
        Ok(removed)
    }

    /// A program that was killed while it moved the message by links has left it in `new` as well.
    fn remove_second_name(&self, place: &Place, progress: &mut Progress) -> Result<()> {
        let base = name::base(&place.name);
        if place.folder == Folder::New {
            return Ok(());
        }
        let found = self.folders.new.entry_status(base);
        let found = found.map_err(|error| self.failed_at("look at", Folder::New, base, error))?;
        if found.is_some_and(|found| found.identity.inode == place.inode) {
            self.remove_name(Folder::New, base, progress)?;
        }
        Ok(())
    }

    /// Moves a message that was retrieved from `new` to `cur`, unless another program has done so.
    fn mark(&mut self, position: u32, progress: &mut Progress) -> Result<()> {
        let (record, place) = self.message(position)?;
        if place.folder != Folder::New || !self.is_untouched(&record, &place) {
            return Ok(());
        }
        let Some(seen) = name::seen(&place.name) else { return Ok(()) };
        match self.folders.new.move_entry(&place.name, &self.folders.cur, &seen) {
            Ok(()) => {
                progress.touch(Folder::New);
                progress.touch(Folder::Cur);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {
                Ok(())
            }
            Err(error) => Err(self.failed_at("move", Folder::New, &place.name, error)),
        }
    }

    fn is_untouched(&self, record: &Record, place: &Place) -> bool {
        let found = self.folders.new.entry_status(&place.name).ok().flatten();
        found.is_some_and(|found| looks_same(&found, record, place))
    }

    /// What was moved must be in `cur` before it is gone from `new`.
    fn make_durable(&self, progress: &Progress) -> Result<()> {
        for (changed, folder) in [(progress.cur, Folder::Cur), (progress.new, Folder::New)] {
            if changed {
                self.folders.get(folder).sync().map_err(|error| {
                    let what = format!("cannot make {}/{} durable", self.path.display(), folder.name());
                    Error::io(what, error).of_kind(Kind::Temporary).tell(UNCERTAIN)
                })?;
            }
        }
        Ok(())
    }
}

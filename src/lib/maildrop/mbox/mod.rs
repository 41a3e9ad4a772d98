//! The mbox format: one file for all messages, shared with programs that deliver and read mail.
//!
//! A session holds the mailbox's descriptor and its own state directory; what needs the mailbox's directory
//! goes through [`spool::Spool`]. A login to an unchanged mailbox reads the index's header and takes no lock.

pub(crate) mod build;
pub(crate) mod dotlock;
pub(crate) mod envelope;
mod late;
mod leftovers;
pub(crate) mod local;
pub(crate) mod open;
pub(crate) mod reading;
mod refresh;
pub(crate) mod scan;
pub(crate) mod spool;
mod update;
pub(crate) mod whole;

pub(crate) use leftovers::{Left, leftovers};

use super::index::{self, Header, Index, Record};
use super::uidl::twins::Twins;
use super::{Bitmap, Entry, Imported, Maildrop, Summary};
use crate::error::{Error, Kind, Result};
use crate::protocol::MsgNo;
use crate::sys::directory::Directory;
use crate::sys::file::{Identity, read_at, status};
use crate::sys::lock::unlock;
use spool::{Locked, Purpose, Spool};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file in the state directory while the mailbox's locks are asked for and held. One that is found at login says that
/// somebody was killed meanwhile: a dotlock may stop deliveries, a draft or a temporary file be left in the spool.
pub(crate) const UPDATING: &str = "updating";

/// Envelope lines that stand no farther apart, in octets, are read at once, up to so many octets.
const CLOSE: u64 = 4096;
const WINDOW: u64 = 64 * 1024;

/// An open mbox.
pub(crate) struct Mbox {
    file: Option<File>,
    path: PathBuf,
    state: Directory,
    spool: Box<dyn Spool>,
    /// The mailbox in the state in which it was seen last and found good.
    seen: Identity,
    index: Index,
    notes: Vec<String>,
    committed: bool,
}

impl Mbox {
    /// Opens the mailbox that `maildrop::open_mailbox` gave; `path` is for messages alone.
    ///
    /// # Errors
    /// It is no mbox (`Kind::Permanent`), cannot be read, or stays locked (`Kind::Temporary`).
    pub(crate) fn open(
        mailbox: Option<File>,
        path: &Path,
        state: Directory,
        spool: Box<dyn Spool>,
    ) -> Result<Self> {
        let mut mbox = Self {
            file: mailbox,
            path: path.to_owned(),
            state,
            spool,
            seen: Identity::default(),
            index: Index::empty(Identity::default()),
            notes: Vec::new(),
            committed: false,
        };
        let Some(file) = &mbox.file else { return Ok(mbox) };
        let identity = status(file).map_err(|error| mbox.failed("look at", error))?.identity;
        mbox.seen = identity;
        if identity.size == 0 && !mbox.was_killed() {
            mbox.index = Index::empty(identity);
            return Ok(mbox);
        }
        match Index::load(&mbox.state) {
            Some(index) if index.is_for(&identity) && !mbox.was_killed() => mbox.index = index,
            index => mbox.look_through(index)?,
        }
        Ok(mbox)
    }

    /// Reads what the index does not know, under the mailbox's locks.
    fn look_through(&mut self, index: Option<Index>) -> Result<()> {
        // The session's own descriptor goes first: an update asks whether somebody else has the mailbox open.
        self.file = None;
        let purpose = if self.was_killed() { Purpose::Recover } else { Purpose::Scan };
        let Some(locked) = self.lock(purpose)? else {
            self.index = Index::empty(Identity::default());
            return Ok(());
        };
        self.notes.extend(locked.notes);
        let result = self.refresh(&locked.file, index);
        self.give_up_locks(&locked.file);
        self.file = Some(locked.file);
        result
    }

    fn refresh(&mut self, file: &File, index: Option<Index>) -> Result<()> {
        let identity = status(file).map_err(|error| self.failed("look at", error))?.identity;
        self.seen = identity;
        if identity.size == 0 {
            self.index = Index::empty(identity);
            return Ok(());
        }
        let mut twins = Twins::load(&self.state)?;
        update::settle(&mut twins, &self.state, file, &identity)?;
        let refreshed = refresh::refresh(file, identity, index, &twins, &self.state);
        self.notes.append(&mut twins.notes);
        self.take_index(refreshed)
    }

    fn take_index(&mut self, refreshed: Result<(Index, Option<std::io::Error>)>) -> Result<()> {
        let (index, trouble) = refreshed.map_err(|error| self.about(&error))?;
        // Who only looks has it in memory in any case.
        if let Some(trouble) = trouble.filter(|_| self.state.may_change()) {
            self.notes.push(Error::io("cannot write the index, it is kept in memory", trouble).to_string());
        }
        self.index = index;
        Ok(())
    }

    /// Whether somebody was killed while the locks were asked for or held.
    fn was_killed(&self) -> bool {
        !matches!(self.state.status(UPDATING), Ok(None))
    }

    fn lock(&mut self, purpose: Purpose) -> Result<Option<Locked>> {
        // Without room for the mark, what a killed helper leaves stays until the mailbox changes.
        let _ = self.state.create(UPDATING, 0o600);
        if purpose == Purpose::Update {
            // A power cut must not leave the temporary file and lose the mark.
            let _ = self.state.sync();
        }
        let locked = self.spool.lock(purpose)?;
        if locked.is_none() {
            let _ = self.state.remove(UPDATING);
        }
        Ok(locked)
    }

    fn give_up_locks(&mut self, file: &File) {
        let unlocked = self.spool.unlock();
        // A helper that is gone has unlocked nothing; the description is ours as well. A second time does no harm.
        let _ = unlock(file);
        let cleaned = unlocked.or_else(|error| {
            self.notes.push(error.to_string());
            // Its dotlock would keep deliveries waiting until the next login: another one removes it now.
            self.spool.lock(Purpose::Recover).and_then(|_| self.spool.unlock())
        });
        match cleaned {
            // What cannot be removed costs the next login a look at the locks, no more.
            Ok(()) => drop(self.state.remove(UPDATING)),
            Err(error) => self.notes.push(error.to_string()),
        }
    }

    /// The record of a message, and those behind it in its page. A damaged index is made again.
    fn records(&mut self, first: u32) -> Result<&[Record]> {
        if self.index.records(first).is_err() {
            self.make_index_again()?;
        }
        self.index.records(first)
    }

    /// Scans again what was known, without a lock: it must come out the same, or the mailbox is not what it was.
    fn make_index_again(&mut self) -> Result<()> {
        self.notes.push(format!("the index of {} was damaged, it is made again", self.path.display()));
        self.scan_again()
    }

    fn scan_again(&mut self) -> Result<()> {
        self.check_unchanged()?;
        let old = *self.index.header();
        let twins = Twins::load(&self.state)?;
        let Some(file) = &self.file else { return Err(self.changed()) };
        let identity = Identity { size: old.known.max(old.identity.size), ..old.identity };
        let again = refresh::whole(
            file,
            Header { identity, known: old.known, ..Header::default() },
            &twins,
            &self.state,
        );
        self.take_index(again)?;
        let new = self.index.header();
        if (new.count, new.octets, new.hidden) != (old.count, old.octets, old.hidden) {
            // The next login looks at everything again.
            let _ = self.state.remove(index::NAME);
            return Err(self.changed());
        }
        self.check_unchanged()
    }

    /// Whether the mailbox is as it was, but for mail appended to it.
    fn check_unchanged(&mut self) -> Result<()> {
        let Some(file) = &self.file else { return Err(self.changed()) };
        let found = status(file).map_err(|error| self.failed("look at", error))?;
        let now = found.identity;
        if now == self.seen {
            return Ok(());
        }
        let header = self.index.header();
        // The times alone change too: a write does that before it changes the size, and procmail sets them behind it.
        let may_be = now.same_file(&self.seen) && now.size >= self.seen.size && found.links > 0;
        if may_be && refresh::tail_check(file, header.known).ok() == Some(header.tail_check) {
            self.seen = now;
            return Ok(());
        }
        Err(self.changed())
    }

    /// The messages of the index, in their order, as one number; none where it cannot be read.
    fn fingerprint(&mut self) -> Option<u128> {
        let mut sum = 0u128;
        let summed = self.index.for_each(|_, record| {
            sum = sum.rotate_left(1) ^ record.hash ^ u128::from(record.offset);
            Ok(())
        });
        summed.ok().map(|()| sum)
    }

    /// Checks that the envelope lines of these messages are what they were. Lines that stand close together are read at
    /// once: a call costs as much as some thousand octets.
    fn check_envelopes(&self, file: &File, mut records: &[Record]) -> Result<()> {
        let mut window = Vec::new();
        while let Some(first) = records.first() {
            let (mut close, mut end) = (1, first.start());
            while let Some(next) = records.get(close)
                && next.offset.saturating_sub(end) <= CLOSE
                && next.start().saturating_sub(first.offset) <= WINDOW
            {
                (close, end) = (close + 1, next.start());
            }
            let length = end.saturating_sub(first.offset);
            window.resize(usize::try_from(length).map_err(|_| self.changed())?, 0);
            let count =
                read_at(file, &mut window, first.offset).map_err(|error| self.failed("read", error))?;
            if count < window.len() {
                return Err(self.changed());
            }
            let (checked, rest) = records.split_at(close);
            for record in checked {
                let line = usize::try_from(record.offset - first.offset)
                    .ok()
                    .and_then(|start| window.get(start..start + record.envelope_length as usize));
                if line.map(scan::envelope_check) != Some(record.envelope_check) {
                    return Err(self.changed());
                }
            }
            records = rest;
        }
        Ok(())
    }

    fn changed(&self) -> Error {
        Error::new(Kind::Temporary, format!("{} was changed by another program", self.path.display()))
            .tell("the maildrop was changed by another program, log in again")
    }

    fn failed(&self, verb: &str, error: std::io::Error) -> Error {
        Error::io(format!("cannot {verb} {}", self.path.display()), error)
    }

    /// The same error with the mailbox's path.
    fn about(&self, error: &Error) -> Error {
        Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

impl Maildrop for Mbox {
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
        let Some(&record) = self.records(message.index())?.first() else { return Err(self.changed()) };
        if offset == 0 {
            self.check_unchanged()?;
        }
        let Some(file) = &self.file else { return Err(self.changed()) };
        if offset == 0 {
            self.check_envelopes(file, &[record])?;
        }
        let left = record.length.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..wanted];
        let count = read_at(file, buffer, record.start().saturating_add(offset))
            .map_err(|error| self.failed("read", error))?;
        // Less than the record says is never passed off as the message.
        if count == wanted { Ok(count) } else { Err(self.changed()) }
    }

    fn commit(&mut self, deleted: &Bitmap, _retrieved: &Bitmap) -> Result<()> {
        if self.committed {
            return Err(Error::new(Kind::Temporary, "a second update in one session"));
        }
        if !(0..self.count()).any(|number| super::is_in(deleted, number)) {
            return Ok(());
        }
        let Some(locked) = self.lock(Purpose::Update)? else { return Err(self.changed()) };
        // Only one open description of the old mailbox may be left when late deliverers are watched.
        self.file = None;
        self.notes.extend(locked.notes);
        let result = self.update(&locked.file, deleted);
        self.give_up_locks(&locked.file);
        self.committed = result.is_ok();
        self.file = Some(locked.file);
        result
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

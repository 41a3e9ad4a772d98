//! Writes an index. A state directory without room is no reason not to serve mail: then it is kept in memory.

use super::{CHECKED, Header, Index, NAME, NEW_NAME, PAGE, PER_PAGE, Record, damaged, page_check};
use crate::error::{Error, Kind, Result};
use crate::sys::directory::Directory;
use crate::sys::file::{anonymous, read_at};
use crate::sys::random;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// An index that is being written.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    state: &'a Directory,
    file: File,
    in_memory: bool,
    seed: u64,
    page: Vec<u8>,
    count: u32,
    octets: u64,
    stored: u64,
    oldest: u32,
    newest: u32,
    kept: bool,
    /// Notes that are not written yet.
    pub(super) gathered: Vec<u8>,
    /// Where notes begin in the file, and how many octets of them there are.
    pub(super) notes: (u64, u64),
    /// Why the index is in memory.
    pub(crate) trouble: Option<io::Error>,
}

impl<'a> Writer<'a> {
    /// Begins an index.
    ///
    /// # Errors
    /// Neither a file nor memory can be had.
    pub(crate) fn new(state: &'a Directory) -> Result<Self> {
        let mut trouble = None;
        let made = state.remove(NEW_NAME).and_then(|_| state.create(NEW_NAME, 0o600));
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                trouble = Some(error);
                in_memory()?
            }
        };
        let in_memory = trouble.is_some();
        // Pages of an older file that a power cut brings back must not pass for ours.
        let seed = random::number().map_err(|error| Error::io("cannot begin an index", error))?;
        Ok(Self {
            state,
            file,
            in_memory,
            seed,
            page: Vec::with_capacity(PAGE),
            count: 0,
            octets: 0,
            stored: 0,
            oldest: 0,
            newest: 0,
            kept: false,
            gathered: Vec::new(),
            notes: (0, 0),
            trouble,
        })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// Neither the disk nor memory takes it.
    pub(crate) fn push(&mut self, record: &Record) -> Result<()> {
        let full = || Error::new(Kind::Permanent, "more messages than POP3 can number");
        record.encode(&mut self.page);
        self.count = self.count.checked_add(1).ok_or_else(full)?;
        self.octets = self.octets.saturating_add(record.octets);
        self.stored = self.stored.saturating_add(record.length);
        if record.received > 0 {
            self.newest = self.newest.max(record.received);
            self.oldest = if self.oldest == 0 { record.received } else { self.oldest.min(record.received) };
        }
        if self.count.is_multiple_of(PER_PAGE) {
            self.flush(self.count / PER_PAGE - 1)?;
        }
        Ok(())
    }

    /// Gives every record to `change` once more, and writes the pages again in which one was changed.
    ///
    /// # Errors
    /// As for `push`; what `change` returns.
    pub(crate) fn revise(&mut self, mut change: impl FnMut(&mut Record) -> Result<bool>) -> Result<()> {
        self.end_page()?;
        for number in 0..self.count.div_ceil(PER_PAGE) {
            let mut page = vec![0; PAGE];
            let offset = (u64::from(number) + 1) * PAGE as u64;
            read_at(&self.file, &mut page, offset)
                .map_err(|error| Error::io("cannot read the index", error))?;
            let records = (self.count - number * PER_PAGE).min(PER_PAGE) as usize;
            let mut changed = false;
            self.page.clear();
            for octets in page.chunks_exact(super::RECORD).take(records) {
                let mut record = Record::decode(octets).ok_or_else(damaged)?;
                changed |= change(&mut record)?;
                record.encode(&mut self.page);
            }
            if changed {
                self.flush(number)?;
            }
        }
        self.page.clear();
        Ok(())
    }

    /// Completes the index and puts it in the place of the old one; counts and totals are put in. It can be
    /// read in any case.
    ///
    /// # Errors
    /// As for `push`.
    pub(crate) fn finish(mut self, header: Header) -> Result<(Index, Option<io::Error>)> {
        self.end_page()?;
        self.flush_notes()?;
        let Self { count, octets, seed, notes, stored, oldest, newest, .. } = self;
        let header = Header { count, octets, seed, notes, stored, oldest, newest, ..header };
        self.write(&header.encode(), 0)?;
        if !self.in_memory {
            match self.state.rename(NEW_NAME, NAME) {
                Ok(()) => self.kept = true,
                Err(error) => self.trouble = Some(error),
            }
        }
        let file = self.file.try_clone().map_err(|error| Error::io("cannot keep the index open", error))?;
        Ok((Index::over(header, Some(file)), self.trouble.take()))
    }

    fn end_page(&mut self) -> Result<()> {
        if self.page.is_empty() { Ok(()) } else { self.flush(self.count.div_ceil(PER_PAGE) - 1) }
    }

    fn flush(&mut self, number: u32) -> Result<()> {
        let mut page = std::mem::take(&mut self.page);
        page.resize(CHECKED, 0);
        let check = page_check(&page, self.seed, number);
        page.extend_from_slice(&check.to_le_bytes());
        page.resize(PAGE, 0);
        self.write(&page, (u64::from(number) + 1) * PAGE as u64)?;
        page.clear();
        self.page = page;
        Ok(())
    }

    pub(super) fn write(&mut self, page: &[u8], offset: u64) -> Result<()> {
        match self.file.write_all_at(page, offset) {
            Ok(()) => Ok(()),
            Err(error) if self.in_memory => Err(Error::io("cannot keep the index in memory", error)),
            Err(error) => {
                self.move_to_memory()?;
                self.trouble = Some(error);
                self.write(page, offset)
            }
        }
    }

    fn move_to_memory(&mut self) -> Result<()> {
        let memory = in_memory()?;
        let mut from = &self.file;
        io::Seek::rewind(&mut from)
            .and_then(|()| io::copy(&mut from, &mut &memory))
            .map_err(|error| Error::io("cannot keep the index in memory", error))?;
        self.file = memory;
        self.in_memory = true;
        Ok(())
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // What is left of it is removed by the next writer.
            let _ = self.state.remove(NEW_NAME);
        }
    }
}

fn in_memory() -> Result<File> {
    anonymous(c"index").map_err(|error| Error::io("cannot keep the index in memory", error))
}

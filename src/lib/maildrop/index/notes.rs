//! Notes: octets of any length beside the records. A Maildir's say in which file each message is.
//!
//! They lie behind the pages, one behind the other in the order of the messages. A record has a note's place, length
//! and checksum.

use super::{Header, Index, PAGE, PER_PAGE, Record, Writer, damaged};
use crate::error::Result;
use crate::sys::directory::Directory;
use crate::sys::file::read_at;
use twox_hash::XxHash3_64;

/// The longest note, in octets: a name of 255 and what is known of its file.
const LONGEST: usize = 512;
/// Notes are read and written this many octets at a time.
const WINDOW: usize = 64 * 1024;

impl<'a> Writer<'a> {
    /// Begins an index with notes, of `most` messages at most.
    ///
    /// # Errors
    /// Neither a file nor memory can be had.
    pub(crate) fn with_notes(state: &'a Directory, most: u32) -> Result<Self> {
        let mut writer = Self::new(state)?;
        writer.notes.0 = (u64::from(most.div_ceil(PER_PAGE)) + 1) * PAGE as u64;
        Ok(writer)
    }

    /// Appends a record and its note.
    ///
    /// # Errors
    /// Neither the disk nor memory takes it.
    pub(crate) fn push_noted(&mut self, record: &Record, note: &[u8]) -> Result<()> {
        let length = u32::try_from(note.len()).ok().filter(|_| note.len() <= LONGEST).ok_or_else(damaged)?;
        let record =
            Record { offset: self.notes.1, envelope_length: length, envelope_check: check(note), ..*record };
        self.push(&record)?;
        self.gathered.extend_from_slice(note);
        self.notes.1 += u64::from(length);
        if self.gathered.len() >= WINDOW { self.flush_notes() } else { Ok(()) }
    }

    /// Writes the notes that were gathered.
    pub(super) fn flush_notes(&mut self) -> Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        let (begin, length) = self.notes;
        self.write(&gathered, begin + length - gathered.len() as u64)
    }
}

impl Index {
    /// The note of a message's record.
    ///
    /// # Errors
    /// It is damaged or cannot be read.
    pub(crate) fn note(&mut self, record: &Record) -> Result<&[u8]> {
        let length = record.envelope_length as usize;
        let end = record.offset.saturating_add(length as u64);
        if length > LONGEST || end > self.header.notes.1 {
            return Err(damaged());
        }
        let (begin, window) = &self.window;
        if record.offset < *begin || end > begin + window.len() as u64 {
            self.read_window(record.offset).ok_or_else(damaged)?;
        }
        let (begin, window) = &self.window;
        let start = usize::try_from(record.offset - begin).map_err(|_| damaged())?;
        let note = window.get(start..start + length).ok_or_else(damaged)?;
        if check(note) == record.envelope_check { Ok(note) } else { Err(damaged()) }
    }

    fn read_window(&mut self, from: u64) -> Option<()> {
        let Header { notes: (begin, length), .. } = self.header;
        let mut window = std::mem::take(&mut self.window).1;
        window.resize(usize::try_from(length - from).unwrap_or(usize::MAX).min(WINDOW), 0);
        let count = read_at(self.file.as_ref()?, &mut window, begin.checked_add(from)?).ok()?;
        window.truncate(count);
        self.window = (from, window);
        Some(())
    }
}

fn check(note: &[u8]) -> u32 {
    // The lower half of a good hash is as good a hash.
    #[allow(clippy::cast_possible_truncation)]
    let check = XxHash3_64::oneshot(note) as u32;
    check
}

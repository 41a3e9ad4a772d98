//! The index of a maildrop: a header and a record of fixed size per message (design, section 4, "Index").
//!
//! It is a cache. Every damage is found by a checksum or a bound and means that the maildrop is scanned
//! again; deleting the file changes nothing that a client can see. It is written to `index.new` and renamed,
//! and never synced. Where the state directory cannot be written, the index lives in memory.
//!
//! # The file
//! Pages of 4096 octets, numbers with the lowest octet first. Page 0 is the header, the others hold 63
//! records of 64 octets each and, in the last 64, a checksum (XXH3-64, seeded with the header's seed and the
//! page's number) of all before it. The index of a Maildir has notes behind the pages (`notes.rs`): where each
//! message is found.

mod notes;
mod write;

pub(crate) use write::Writer;

use super::{Entry, Summary, Uidl};
use crate::error::{Error, Kind, Result};
use crate::sys::directory::Directory;
use crate::sys::file::{FileKind, Identity, Stamp, read_at, status};
use std::fs::File;
use std::io;
use twox_hash::XxHash3_64;

/// The index's name in the state directory.
pub(crate) const NAME: &str = "index";
/// Its name until it is complete.
pub(crate) const NEW_NAME: &str = "index.new";
/// Records in a page.
pub(crate) const PER_PAGE: u32 = 63;

/// The longest envelope line that a scan takes, in octets. A record that says more is not ours.
pub(crate) const LONGEST_ENVELOPE: u32 = 64 * 1024;

const PAGE: usize = 4096;
const RECORD: usize = 64;
const CHECKED: usize = PAGE - RECORD;
/// Where the seed stands in the header: behind the magic and twelve numbers.
const SEED_AT: usize = 16 + 12 * 8;
const MAGIC: &[u8; 16] = b"poptools index\x02\n";

/// How the octets of a message end in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With an empty line behind it, which is not part of it.
    #[default]
    Separated,
    /// With a line end.
    Line,
    /// In the middle of a line.
    Open,
}

/// Which format of maildrop an index is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Records say where messages are in one file.
    #[default]
    Mbox,
    /// Each message is a file; its record says where its note is.
    Maildir,
}

/// What is known of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Where its envelope line begins in the file. Maildir: where its note begins among the notes.
    pub(crate) offset: u64,
    /// Octets of the envelope line with its line end; the message is behind it. Maildir: of the note.
    pub(crate) envelope_length: u32,
    /// Checksum of the envelope line. Maildir: of the note.
    pub(crate) envelope_check: u32,
    /// Stored octets of the message, without the separating empty line.
    pub(crate) length: u64,
    /// How many of them are header, the empty line at its end included.
    pub(crate) header_length: u64,
    /// Octets of the message as RETR sends it.
    pub(crate) octets: u64,
    /// The hash of its unique identifier.
    pub(crate) hash: u128,
    /// Its twin number.
    pub(crate) twin: u32,
    /// How it ends.
    pub(crate) ending: Ending,
    /// When it was received, in seconds since 1970: what the envelope line says, or the name of a file; 0 where nothing does.
    pub(crate) received: u32,
}

/// How an envelope's length and a message's ending share a number.
const ENDING_SHIFT: u32 = 24;

impl Record {
    /// Appends the record to a page.
    fn encode(&self, page: &mut Vec<u8>) {
        let mut octets = Octets(std::mem::take(page));
        octets.u64(self.offset);
        octets.u64(self.length);
        octets.u64(self.header_length);
        octets.u64(self.octets);
        octets.put(&self.hash.to_le_bytes());
        let ending = match self.ending {
            Ending::Separated => 0,
            Ending::Line => 1,
            Ending::Open => 2,
        };
        octets.u32(self.envelope_length.min(LONGEST_ENVELOPE + 1) | ending << ENDING_SHIFT);
        octets.u32(self.envelope_check);
        octets.u32(self.twin);
        octets.u32(self.received);
        *page = octets.0;
    }

    fn decode(octets: &[u8]) -> Option<Self> {
        let mut reader = Reader(octets);
        let (offset, length, header_length, octets) =
            (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
        let hash = u128::from_le_bytes(reader.take()?);
        let shared = reader.u32()?;
        let record = Self {
            offset,
            length,
            header_length,
            octets,
            hash,
            envelope_length: shared & ((1 << ENDING_SHIFT) - 1),
            envelope_check: reader.u32()?,
            twin: reader.u32()?,
            ending: match shared >> ENDING_SHIFT {
                0 => Ending::Separated,
                1 => Ending::Line,
                2 => Ending::Open,
                _ => return None,
            },
            received: reader.u32()?,
        };
        let sound = record.twin > 0
            && record.header_length <= record.length
            && record.envelope_length <= LONGEST_ENVELOPE;
        sound.then_some(record)
    }

    /// What a session needs to know of the message.
    pub(crate) fn entry(&self) -> Entry {
        let uidl = Uidl { hash: self.hash, twin: self.twin };
        Entry { octets: self.octets, uidl, received: self.received }
    }

    /// Where the message begins: behind its envelope line.
    pub(crate) const fn start(&self) -> u64 {
        self.offset.saturating_add(self.envelope_length as u64)
    }

    /// Where the message's own octets end.
    pub(crate) const fn end(&self) -> u64 {
        self.start().saturating_add(self.length)
    }
}

/// What is known of the maildrop as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// The mailbox in the state in which it was looked at; of a Maildir `new`.
    pub(crate) identity: Identity,
    /// Of a Maildir `cur`.
    pub(crate) second: Identity,
    /// The maildrop's format.
    pub(crate) layout: Layout,
    /// Where in the index the notes begin, and how many octets they are; the writer sets both.
    pub(crate) notes: (u64, u64),
    /// Octets of it that are scanned.
    pub(crate) known: u64,
    /// Octets of a hidden pseudo-message at its start.
    pub(crate) hidden: u64,
    /// Messages.
    pub(crate) count: u32,
    /// Octets of all messages as RETR sends them.
    pub(crate) octets: u64,
    /// Checksum of the last octets that are known.
    pub(crate) tail_check: u64,
    /// A random number that the pages' checksums begin with; the writer sets it.
    pub(crate) seed: u64,
    /// Octets of all messages as they are stored; the writer sets it, and the two below.
    pub(crate) stored: u64,
    /// When the message was received that was received first, of those that say so; 0: none does.
    pub(crate) oldest: u32,
    /// The same of the one that was received last.
    pub(crate) newest: u32,
}

impl Header {
    /// What a session, or a list of maildrops, says of it.
    pub(crate) const fn summary(&self) -> Summary {
        let Self { count, octets, stored, oldest, newest, .. } = *self;
        Summary { count, octets, stored, oldest, newest }
    }

    fn encode(&self) -> Vec<u8> {
        let mut octets = Octets::default();
        octets.put(MAGIC);
        octets.identity(&self.identity);
        for number in
            [self.known, self.hidden, u64::from(self.count), self.octets, self.tail_check, self.seed]
        {
            octets.u64(number);
        }
        octets.u64(u64::from(self.layout == Layout::Maildir));
        octets.u64(self.notes.0);
        octets.u64(self.notes.1);
        octets.identity(&self.second);
        octets.u64(self.stored);
        octets.u32(self.oldest);
        octets.u32(self.newest);
        octets.0.resize(CHECKED, 0);
        let check = XxHash3_64::oneshot(&octets.0);
        octets.u64(check);
        octets.0.resize(PAGE, 0);
        octets.0
    }

    fn decode(page: &[u8]) -> Option<Self> {
        let mut check = Reader(page.get(CHECKED..)?);
        if XxHash3_64::oneshot(&page[..CHECKED]) != check.u64()? {
            return None;
        }
        let mut reader = Reader(page.strip_prefix(MAGIC)?);
        let header = Self {
            identity: reader.identity()?,
            known: reader.u64()?,
            hidden: reader.u64()?,
            count: u32::try_from(reader.u64()?).ok()?,
            octets: reader.u64()?,
            tail_check: reader.u64()?,
            seed: reader.u64()?,
            layout: match reader.u64()? {
                0 => Layout::Mbox,
                1 => Layout::Maildir,
                _ => return None,
            },
            notes: (reader.u64()?, reader.u64()?),
            second: reader.identity()?,
            stored: reader.u64()?,
            oldest: reader.u32()?,
            newest: reader.u32()?,
        };
        (header.known <= header.identity.size && header.hidden <= header.known).then_some(header)
    }

    /// Octets of the whole index.
    fn size(&self) -> u64 {
        let pages = (u64::from(self.count.div_ceil(PER_PAGE)) + 1) * PAGE as u64;
        match self.notes {
            (_, 0) => pages,
            (begin, length) => begin.max(pages).saturating_add(length),
        }
    }
}

/// An index that is open for reading.
#[derive(Debug)]
pub(crate) struct Index {
    header: Header,
    file: Option<File>,
    /// The page that was read last: its number from 0, and its records.
    page: Option<(u32, Vec<Record>)>,
    /// Notes that were read last: where they begin among the notes, and their octets.
    window: (u64, Vec<u8>),
}

impl Index {
    /// The index of a maildrop without a message.
    pub(crate) fn empty(identity: Identity) -> Self {
        Self::over(Header { identity, ..Header::default() }, None)
    }

    const fn over(header: Header, file: Option<File>) -> Self {
        Self { header, file, page: None, window: (0, Vec::new()) }
    }

    /// Opens the index of an mbox in the state directory and reads its header alone. None where there is no usable one.
    pub(crate) fn load(state: &Directory) -> Option<Self> {
        Self::load_as(state, Layout::Mbox)
    }

    /// The same for a maildrop of this format.
    pub(crate) fn load_as(state: &Directory, layout: Layout) -> Option<Self> {
        Self::from_file(open_state_file(state, NAME).ok().flatten()?, layout)
    }

    /// The same of an open file.
    pub(crate) fn from_file(file: File, layout: Layout) -> Option<Self> {
        let mut page = vec![0; PAGE];
        let whole = read_at(&file, &mut page, 0).ok()? == PAGE;
        let header = Header::decode(&page).filter(|header| whole && header.layout == layout)?;
        let complete = status(&file).ok()?.identity.size == header.size();
        complete.then_some(Self::over(header, Some(file)))
    }

    /// What is known of the maildrop.
    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    /// Whether it is the whole index of the mailbox in this state.
    pub(crate) fn is_for(&self, identity: &Identity) -> bool {
        self.header.identity == *identity && self.header.known == identity.size
    }

    /// The records from message `first` (from 0) on that lie in one page; at least one. The caller asks for messages
    /// that exist.
    ///
    /// # Errors
    /// The page is damaged or cannot be read.
    pub(crate) fn records(&mut self, first: u32) -> Result<&[Record]> {
        let number = first / PER_PAGE;
        if self.page.as_ref().is_none_or(|(cached, _)| *cached != number) {
            let least = self.end_before(number);
            self.page = Some((number, self.read_page(number, least).ok_or_else(damaged)?));
        }
        let records = self.page.as_ref().map_or(&[][..], |(_, records)| records);
        match records.get((first % PER_PAGE) as usize..) {
            Some(rest) if !rest.is_empty() => Ok(rest),
            _ => Err(damaged()),
        }
    }

    /// Calls `each` with the number (from 0) and record of every message, in order.
    ///
    /// # Errors
    /// A damaged page; what `each` returns.
    pub(crate) fn for_each(&mut self, each: impl FnMut(u32, &Record) -> Result<()>) -> Result<()> {
        self.for_first(self.header.count, each)
    }

    /// The same of the first `count` messages.
    ///
    /// # Errors
    /// As for `for_each`.
    pub(crate) fn for_first(
        &mut self,
        count: u32,
        mut each: impl FnMut(u32, &Record) -> Result<()>,
    ) -> Result<()> {
        let mut next = 0;
        while next < count {
            let left = (count - next) as usize;
            for record in self.records(next)?.iter().take(left) {
                each(next, record)?;
                next += 1;
            }
        }
        Ok(())
    }

    /// Where the first message of a page may begin, as far as the page at hand shows it.
    fn end_before(&self, number: u32) -> u64 {
        let before = self.page.as_ref().filter(|(cached, _)| cached.checked_add(1) == Some(number));
        before.and_then(|(_, records)| records.last()).map_or(self.header.hidden, Record::end)
    }

    fn read_page(&self, number: u32, mut least: u64) -> Option<Vec<Record>> {
        let mut page = vec![0; PAGE];
        let offset = (u64::from(number) + 1) * PAGE as u64;
        if read_at(self.file.as_ref()?, &mut page, offset).ok()? != PAGE {
            return None;
        }
        if Reader(&page[CHECKED..]).u64()? != page_check(&page, self.header.seed, number) {
            return None;
        }
        let count = self.header.count.checked_sub(number.checked_mul(PER_PAGE)?)?.min(PER_PAGE);
        let records: Option<Vec<Record>> =
            page.chunks_exact(RECORD).take(count as usize).map(Record::decode).collect();
        // The checksum says that we wrote it; the bounds say that it fits this mailbox. Notes have checksums of their own.
        records.filter(|records| {
            self.header.layout == Layout::Maildir
                || records.iter().all(|record| {
                    let fits = record.offset >= least && record.end() <= self.header.known;
                    least = record.end();
                    fits
                })
        })
    }
}

/// Makes the checksums of an index right, whatever stands in it: for the fuzz target, which would not get past them.
pub(crate) fn seal(octets: &mut [u8]) {
    let mut seed = 0;
    for (number, page) in octets.chunks_exact_mut(PAGE).enumerate() {
        if number == 0 {
            page[..MAGIC.len()].copy_from_slice(MAGIC);
            seed = Reader(&page[SEED_AT..]).u64().unwrap_or(0);
        }
        let check = match u32::try_from(number) {
            Ok(0) | Err(_) => XxHash3_64::oneshot(&page[..CHECKED]),
            Ok(number) => page_check(page, seed, number - 1),
        };
        page[CHECKED..CHECKED + 8].copy_from_slice(&check.to_le_bytes());
    }
}

fn damaged() -> Error {
    Error::new(Kind::Temporary, "the index is damaged")
}

fn page_check(page: &[u8], seed: u64, number: u32) -> u64 {
    XxHash3_64::oneshot_with_seed(seed ^ u64::from(number), &page[..CHECKED])
}

/// Opens a file in the state directory; none where there is none. What has its name and is not a regular
/// file with one name is removed, where something may be: somebody planted it.
///
/// # Errors
/// The system's.
pub(crate) fn open_state_file(state: &Directory, name: &str) -> io::Result<Option<File>> {
    match state.status(name)? {
        None => return Ok(None),
        Some(status) if status.kind == FileKind::Regular && status.links == 1 => {}
        Some(_) if !state.may_change() => return Ok(None),
        Some(_) => {
            state.remove(name)?;
            return Ok(None);
        }
    }
    // Looked at again once it is open: between the two calls it may have become something else.
    let file = state.open_file(name)?;
    let found = status(&file)?;
    Ok((found.kind == FileKind::Regular && found.links == 1).then_some(file))
}

/// Numbers with the lowest octet first, to write.
#[derive(Default)]
pub(crate) struct Octets(pub(crate) Vec<u8>);

impl Octets {
    /// Appends octets.
    pub(crate) fn put(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    /// Appends a number.
    pub(crate) fn u64(&mut self, number: u64) {
        self.put(&number.to_le_bytes());
    }

    /// Appends a number.
    pub(crate) fn u32(&mut self, number: u32) {
        self.put(&number.to_le_bytes());
    }

    fn identity(&mut self, identity: &Identity) {
        let Identity { device, inode, size, modified, changed } = *identity;
        [device, inode, size].into_iter().for_each(|number| self.u64(number));
        self.stamp(modified);
        self.stamp(changed);
    }

    /// Appends a time.
    pub(crate) fn stamp(&mut self, stamp: Stamp) {
        self.put(&stamp.seconds.to_le_bytes());
        self.put(&stamp.nanoseconds.to_le_bytes());
    }
}

/// The same, to read; none where the octets end.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    /// The next octets.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next number.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// The next number.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn identity(&mut self) -> Option<Identity> {
        let (device, inode, size) = (self.u64()?, self.u64()?, self.u64()?);
        Some(Identity { device, inode, size, modified: self.stamp()?, changed: self.stamp()? })
    }

    /// The next time.
    pub(crate) fn stamp(&mut self) -> Option<Stamp> {
        let seconds = self.take().map(i64::from_le_bytes)?;
        Some(Stamp { seconds, nanoseconds: self.take().map(i64::from_le_bytes)? })
    }
}

#[cfg(test)]
mod tests;

//! Deletes messages from a locked mailbox (design, section 4, "Update"). At every instant the path names one
//! complete mailbox, the old or the new one.

use super::refresh::{begins_message, tail_check};
use super::scan::envelope_check;
use super::spool::{UNCERTAIN, not_rewritten};
use super::{Mbox, Record};
use crate::error::{Error, Kind, Result};
use crate::maildrop::index::{Ending, Header, Writer};
use crate::maildrop::is_in;
use crate::maildrop::uidl::twins::{Condition, Plan, Twins};
use crate::session::Bitmap;
use crate::sys::directory::Directory;
use crate::sys::file::{Identity, copy, read_at, set_times, status};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Ranges from this length on may be copied inside the kernel, in octets.
const LARGE: u64 = 1 << 20;
/// File systems share whole blocks of this length, or of one that divides it.
const BLOCK: u64 = 64 * 1024;
/// What is not shared is gathered into writes of this length: the kernel's own copying costs half as much again.
const GATHERED: usize = 128 * 1024;
/// More empty lines than this before new mail are taken for another program's work, in octets.
const MOST_EMPTY: usize = 4096;

/// What another program appended behind what is known.
#[derive(Clone, Copy, Debug)]
struct Appended {
    /// Octets of empty lines that belong to the last known message.
    lead: u64,
    /// Where the new messages begin.
    start: u64,
    /// Where they end: the mailbox's size.
    end: u64,
}

impl Mbox {
    /// Deletes messages from the mailbox, which is locked.
    pub(super) fn update(&mut self, file: &File, deleted: &Bitmap) -> Result<()> {
        let before = status(file).map_err(|error| self.failed("look at", error))?;
        let appended = self.verify(file, &before.identity)?;
        let mut twins = Twins::load(&self.state)?;
        settle(&mut twins, &self.state, file, &before.identity)?;
        let plan = twins.plan(&mut self.index, deleted)?;
        let result = match self.truncation(deleted, &before.identity)? {
            Some((count, length)) => self.truncate(file, count, length, &mut twins, plan),
            None => self.rewrite(file, deleted, appended, &mut twins, plan),
        };
        self.notes.append(&mut twins.notes);
        result
    }

    /// Checks that the locked mailbox is what was scanned, message by message, but for what was appended.
    fn verify(&mut self, file: &File, now: &Identity) -> Result<Appended> {
        let header = *self.index.header();
        let same = *now == self.seen;
        let grown = now.same_file(&self.seen) && now.size > self.seen.size;
        let tail = tail_check(file, header.known).is_ok_and(|check| check == header.tail_check);
        let touched = now.same_file(&self.seen) && now.size == self.seen.size && !same;
        if !tail || !(same || grown || touched) {
            return Err(self.changed());
        }
        self.seen = *now;
        if touched {
            self.verify_touched(file)?;
        }
        let mut next = 0;
        while next < header.count {
            let records = self.verified_page(file, next)?;
            next += records;
        }
        self.appended(file, now.size)
    }

    /// Nothing was appended, but the times are others: by procmail, which sets them behind a delivery, or by a program that
    /// wrote into the middle. Reading it all tells the two apart.
    fn verify_touched(&mut self, file: &File) -> Result<()> {
        let known = self.fingerprint();
        self.file = Some(file.try_clone().map_err(|error| self.failed("keep open", error))?);
        let scanned = self.scan_again();
        self.file = None;
        scanned?;
        let found = self.fingerprint();
        if known.is_none() || known == found { Ok(()) } else { Err(self.changed()) }
    }

    /// Checks the envelope lines of one page of records; returns how many.
    fn verified_page(&mut self, file: &File, first: u32) -> Result<u32> {
        if self.index.records(first).is_err() {
            // The damaged index is made again from the locked mailbox.
            self.file = Some(file.try_clone().map_err(|error| self.failed("keep open", error))?);
            self.make_index_again()?;
            self.file = None;
        }
        let records = self.index.records(first)?.to_vec();
        self.check_envelopes(file, &records)?;
        u32::try_from(records.len()).map_err(|_| self.changed())
    }

    /// Where new mail begins. What was appended must be messages that stand for themselves: they are, when a scan of
    /// the whole mailbox would find them, or when an envelope line stands right behind what is known.
    fn appended(&mut self, file: &File, size: u64) -> Result<Appended> {
        let known = self.index.header().known;
        if known == size {
            return Ok(Appended { lead: 0, start: size, end: size });
        }
        let mut window = [0; MOST_EMPTY];
        let count = read_at(file, &mut window, known).map_err(|error| self.failed("read", error))?;
        let (lead, line_ends) = empty_lines(&window[..count]);
        let start = known + lead;
        let appended = Appended { lead, start, end: size };
        if start == size {
            return Ok(appended);
        }
        let ending = self.last_ending()?;
        let stands_alone = lead == 0
            || match ending {
                Ending::Separated => true,
                Ending::Line => line_ends >= 1,
                // Its last line went on: the message is not what the client saw.
                Ending::Open => false,
            };
        let begins = begins_message(file, start).map_err(|error| self.failed("read", error))?;
        if begins && stands_alone { Ok(appended) } else { Err(self.changed()) }
    }

    fn last_ending(&mut self) -> Result<Ending> {
        match self.index.header().count.checked_sub(1) {
            Some(last) => {
                Ok(self.index.records(last)?.first().map_or(Ending::Separated, |record| record.ending))
            }
            None => Ok(Ending::Separated),
        }
    }

    /// When truncating does it: how many messages stay, and the mailbox's new length.
    fn truncation(&mut self, deleted: &Bitmap, now: &Identity) -> Result<Option<(u32, u64)>> {
        let Header { known, hidden, count, .. } = *self.index.header();
        if now.size != known {
            return Ok(None);
        }
        let first = (0..count).find(|&number| is_in(deleted, number)).unwrap_or(count);
        if !(first..count).all(|number| is_in(deleted, number)) {
            return Ok(None);
        }
        let Some(before) = first.checked_sub(1) else { return Ok(Some((0, hidden))) };
        // The last survivor must end in an empty line, or the next message delivered would become part of it.
        let separated =
            self.index.records(before)?.first().is_some_and(|record| record.ending == Ending::Separated);
        let length = self.index.records(first)?.first().map_or(known, |record| record.offset);
        Ok(separated.then_some((first, length)))
    }

    fn truncate(
        &mut self,
        file: &File,
        count: u32,
        length: u64,
        twins: &mut Twins,
        plan: Plan,
    ) -> Result<()> {
        let before = status(file).map_err(|error| self.failed("look at", error))?;
        let intent = self.condition((0, 0));
        twins.intend(&self.state, intent, plan)?;
        file.set_len(length).map_err(|error| self.failed("shorten", error))?;
        // Times that cannot be kept make mail look new, no more.
        let _ = set_times(file, before.accessed, before.identity.modified);
        // It is shorter already.
        file.sync_all().map_err(|error| self.failed("make durable", error).tell(UNCERTAIN))?;
        twins.settle(&self.state, true);
        let hidden = self.index.header().hidden;
        let result = status(file).map_err(|error| self.failed("look at", error)).and_then(|now| {
            let mut writer = Writer::new(&self.state)?;
            self.index.for_first(count, |_, record| writer.push(record))?;
            let tail_check = tail_check(file, length).map_err(|error| Error::io("cannot read it", error))?;
            let header =
                Header { identity: now.identity, known: length, hidden, tail_check, ..Header::default() };
            writer.finish(header).map(drop)
        });
        self.index_follows(result);
        Ok(())
    }

    /// Copies what stays to a new file and puts that in the mailbox's place.
    fn rewrite(
        &mut self,
        file: &File,
        deleted: &Bitmap,
        appended: Appended,
        twins: &mut Twins,
        plan: Plan,
    ) -> Result<()> {
        let new = self.spool.temporary()?;
        let mut writer = Writer::new(&self.state)?;
        let mut survivors = Copier::new(file, &new);
        let hidden = self.index.header().hidden;
        survivors.range(0, hidden).map_err(cannot)?;
        let known = self.index.header().known.saturating_add(appended.lead);
        let mut span: Option<Record> = None;
        self.index.for_each(|number, record| {
            if let Some(survivor) = span.take() {
                writer.push(&survivors.survivor(survivor, record.offset).map_err(cannot)?)?;
            }
            span = (!is_in(deleted, number)).then_some(*record);
            Ok(())
        })?;
        if let Some(survivor) = span {
            writer.push(&survivors.survivor(survivor, known).map_err(cannot)?)?;
        }
        survivors.end_in_empty_line().map_err(cannot)?;
        let copied = survivors.position();
        survivors.range(appended.start, appended.end).map_err(cannot)?;
        survivors.flush().map_err(cannot)?;
        new.sync_all().map_err(cannot)?;
        let made = status(&new).map_err(cannot)?.identity;
        let tail_check = tail_check(&new, copied).map_err(cannot)?;
        let intent = self.condition((made.device, made.inode));
        twins.intend(&self.state, intent, plan)?;
        let replaced = self.spool.replace(appended.end).map_err(|error| {
            // A helper that is gone cannot say how far it came; a mailbox without a name was replaced.
            let gone = status(file).is_ok_and(|old| old.links == 0);
            if gone { error.tell(UNCERTAIN) } else { error }
        })?;
        self.notes.extend(replaced.notes);
        twins.settle(&self.state, true);
        let header =
            Header { identity: replaced.identity, known: copied, hidden, tail_check, ..Header::default() };
        let result = writer.finish(header).map(drop);
        self.index_follows(result);
        Ok(())
    }

    const fn condition(&self, new_file: (u64, u64)) -> Condition {
        let Header { known, tail_check, .. } = *self.index.header();
        Condition { new_file, known, tail_check }
    }

    /// The mailbox is changed already: an index that could not follow means a scan at the next login, no more.
    fn index_follows(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.notes.push(format!("the index of {} does not follow: {error}", self.path.display()));
        }
    }
}

/// Finds out whether an interrupted update was done, and writes it down.
///
/// # Errors
/// The mailbox cannot be read.
pub(super) fn settle(twins: &mut Twins, state: &Directory, file: &File, now: &Identity) -> Result<()> {
    let Some(Condition { new_file, known, tail_check: check }) = twins.pending() else { return Ok(()) };
    let done = if new_file == (now.device, now.inode) {
        true
    } else {
        // The old mailbox is there as long as its end stands where it stood.
        let unchanged = now.size >= known
            && tail_check(file, known).map_err(|error| Error::io("cannot read the mailbox", error))? == check;
        !unchanged
    };
    twins.settle(state, done);
    Ok(())
}

/// How many octets of empty lines the slice begins with, and how many lines.
fn empty_lines(mut octets: &[u8]) -> (u64, u32) {
    let (mut length, mut lines) = (0, 0);
    while let Some(rest) = octets.strip_prefix(b"\n").or_else(|| octets.strip_prefix(b"\r\n")) {
        length += (octets.len() - rest.len()) as u64;
        lines += 1;
        octets = rest;
    }
    (length, lines)
}

/// What must be written at `length` so that the file ends in an empty line; nothing for an empty file.
///
/// # Errors
/// The system's.
pub(super) fn missing_line_ends(file: &File, length: u64) -> io::Result<&'static [u8]> {
    let mut end = [0; 3];
    let count = usize::try_from(length.min(3)).unwrap_or(3);
    let count = read_at(file, &mut end[..count], length - count as u64)?;
    Ok(match &end[..count] {
        [] | [.., b'\n', b'\n'] | [b'\n', b'\r', b'\n'] => b"",
        [.., b'\n'] => b"\n",
        // This CR belongs to the line, and must not become half of its end.
        [.., b'\r'] => b"\r\n\n",
        _ => b"\n\n",
    })
}

fn cannot(error: io::Error) -> Error {
    // Whatever it was (a full disk, a quota, a broken one), the old mailbox is in its place.
    let told = not_rewritten(&error);
    Error::io("cannot write the new mailbox", error).of_kind(Kind::Temporary).tell(told)
}

/// Copies ranges of one file to the end of another.
struct Copier<'a> {
    from: &'a File,
    to: &'a File,
    /// Octets written so far.
    written: u64,
    /// Octets read, not yet written.
    gathered: Vec<u8>,
    /// A range that may still grow.
    open: (u64, u64),
}

impl<'a> Copier<'a> {
    fn new(from: &'a File, to: &'a File) -> Self {
        Self { from, to, written: 0, gathered: Vec::with_capacity(GATHERED), open: (0, 0) }
    }

    /// How long the new file is once all is written.
    fn position(&self) -> u64 {
        self.written + self.gathered.len() as u64 + (self.open.1 - self.open.0)
    }

    /// Appends a range; neighbours become one.
    fn range(&mut self, start: u64, end: u64) -> io::Result<()> {
        if self.open.1 != start {
            self.close()?;
            self.open = (start, start);
        }
        self.open.1 = end.max(start);
        Ok(())
    }

    /// Appends a message that ends where the next begins, with an empty line behind it; its record in the new file.
    fn survivor(&mut self, record: Record, end: u64) -> io::Result<Record> {
        let mut new = Record { offset: self.position(), ..record };
        self.range(record.offset, end)?;
        if record.ending != Ending::Separated {
            self.end_in_empty_line()?;
            self.complete(&mut new)?;
        }
        Ok(new)
    }

    /// A message whose last line had no end has one now.
    fn complete(&self, record: &mut Record) -> io::Result<()> {
        if record.ending == Ending::Open && record.length > 0 {
            let header_alone = record.header_length == record.length;
            let mut next = [0];
            read_at(self.to, &mut next, record.end())?;
            let line_end = if next == *b"\r" { 2 } else { 1 };
            record.length += line_end;
            record.header_length += if header_alone { line_end } else { 0 };
        } else if record.ending == Ending::Open {
            record.envelope_length += 1;
            let mut line = vec![0; record.envelope_length as usize];
            read_at(self.to, &mut line, record.offset)?;
            record.envelope_check = envelope_check(&line);
        }
        record.ending = Ending::Separated;
        Ok(())
    }

    fn end_in_empty_line(&mut self) -> io::Result<()> {
        self.flush()?;
        let missing = missing_line_ends(self.to, self.written)?;
        self.to.write_all_at(missing, self.written)?;
        self.written += missing.len() as u64;
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        let (start, end) = std::mem::take(&mut self.open);
        let (first, last) = (start.next_multiple_of(BLOCK), end - end % BLOCK);
        // Blocks that lie in the new file as they lay in the old one may be shared.
        if end - start < LARGE || start % BLOCK != self.position() % BLOCK {
            return self.gather(start, end);
        }
        self.gather(start, first)?;
        self.write_gathered()?;
        let mut next = first;
        while next < last {
            let count = copy(self.from, next, self.to, self.written, last - next)?;
            if count == 0 {
                break;
            }
            next += count;
            self.written += count;
        }
        self.gather(next, end)
    }

    fn gather(&mut self, mut start: u64, end: u64) -> io::Result<()> {
        while start < end {
            let filled = self.gathered.len();
            let more = usize::try_from(end - start).unwrap_or(usize::MAX).min(GATHERED - filled);
            self.gathered.resize(filled + more, 0);
            if read_at(self.from, &mut self.gathered[filled..], start)? != more {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            start += more as u64;
            if self.gathered.len() == GATHERED {
                self.write_gathered()?;
            }
        }
        Ok(())
    }

    fn write_gathered(&mut self) -> io::Result<()> {
        self.to.write_all_at(&self.gathered, self.written)?;
        self.written += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.close()?;
        self.write_gathered()
    }
}

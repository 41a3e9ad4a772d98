//! The `uidl` file beside the index: which of several equal messages has which number. It is no cache.
//!
//! Equal messages are numbered by their order in the maildrop. While no twin was ever deleted, the numbers
//! follow from the mailbox and there is no file. A deletion among twins is written down before it is done, as
//! an intent: what will hold, and how to see whether the mailbox was changed. Behind the change follows
//! whether it was. A crash between the two leaves an intent that the next login settles by looking at the
//! mailbox.
//!
//! # The file
//! [`MAGIC`], then records: four octets [`MARK`], the payload's length (32 bits), the payload, and the XXH3-64
//! of length and payload. Numbers have the lowest octet first. A payload begins with its kind: 1 and a state;
//! 2, the intent's four numbers and its states; 3 and whether it was done (1) or not (0). A state is the hash,
//! the next number, how many runs, and for each run of numbers the first and the count. Kind 4 is in `named.rs`, kind 5 in
//! `imported.rs`.

mod imported;
mod named;

pub(crate) use imported::{Imported, is_id};
pub(crate) use named::{Names, Naming};

use crate::error::{Error, Kind, Result};
use crate::maildrop::index::{Index, Octets, Reader, Record, open_state_file};
use crate::session::Bitmap;
use crate::sys::directory::Directory;
use memchr::memmem;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use twox_hash::XxHash3_64;

/// The file's name in the state directory.
pub(crate) const NAME: &str = "uidl";
/// Its name until it is complete, when it is written anew.
pub(crate) const NEW_NAME: &str = "uidl.new";
const MAGIC: &[u8; 16] = b"poptools uidl\0\x01\n";
const MARK: &[u8; 4] = b"\xf5uid";
/// More than this is neither read nor written, in octets: it is a hundred thousand hashes with twins.
const LONGEST: usize = 16 << 20;
/// Behind damage, checksums are made over this many times the file's length at most while a whole record is looked for:
/// the file is the user's own, and may be full of marks that promise long records.
const CHECKED_AT_MOST: usize = 4;
/// A file shorter than this is never written anew to save room, in octets.
const COMPACT_FROM: u64 = 64 * 1024;

/// The numbers of the messages with one hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// The number of the next one that arrives.
    pub(crate) next: u32,
    /// The numbers of those that are there, in their order: runs of first number and count. What is read takes no more
    /// memory than its file is long, whatever it says.
    held: Vec<(u32, u32)>,
}

impl Numbers {
    /// These are held, in their order, and the next one has at least this number.
    pub(crate) fn of(next: u32, held: impl IntoIterator<Item = u32>) -> Self {
        let mut numbers = Self { next, held: Vec::new() };
        for number in held {
            numbers.next = numbers.next.max(number.saturating_add(1));
            numbers.hold(number);
        }
        numbers
    }

    /// Adds the number of one more that is there.
    fn hold(&mut self, number: u32) {
        match self.held.last_mut() {
            Some((first, count)) if first.checked_add(*count) == Some(number) => *count += 1,
            _ => self.held.push((number, 1)),
        }
    }

    /// Whether counting in order gives the same numbers without a record.
    fn are_natural(&self) -> bool {
        matches!(self.held[..], [] | [(1, _)])
    }
}

/// How to see whether an intended change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Device and inode of the file that takes the mailbox's place; 0 and 0 when it is truncated instead.
    pub(crate) new_file: (u64, u64),
    /// Octets of the unchanged mailbox that were known.
    pub(crate) known: u64,
    /// The checksum of the last of them.
    pub(crate) tail_check: u64,
}

impl Condition {
    /// The file with this device and inode takes the maildrop's place, which is no mailbox until then.
    pub(crate) fn placed(new_file: (u64, u64)) -> Self {
        // Every mailbox begins with these: none.
        Self { new_file, known: 0, tail_check: XxHash3_64::oneshot(b"") }
    }
}

/// Numbers that will hold once the mailbox is changed.
pub(crate) type Plan = Vec<(u128, Numbers)>;

/// What the `uidl` file says.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    numbers: HashMap<u128, Numbers>,
    named: HashMap<u128, Names>,
    imported: Imported,
    pending: Option<(Condition, Plan)>,
    /// Octets of the file that are readable to their end; 0: there is no file.
    length: u64,
    /// Something in the middle could not be read: the next record goes into a new file.
    damaged: bool,
    /// What the administrator should know.
    pub(crate) notes: Vec<String>,
}

impl Twins {
    /// Reads the file. A torn record at its end is left out; other damage is passed over and noted.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub(crate) fn load(state: &Directory) -> Result<Self> {
        let cannot = |error| Error::io("cannot read the uidl file", error);
        let Some(file) = open_state_file(state, NAME).map_err(cannot)? else { return Ok(Self::default()) };
        let mut octets = Vec::new();
        file.take(LONGEST as u64 + 1).read_to_end(&mut octets).map_err(cannot)?;
        Ok(Self::from_octets(&octets))
    }

    /// The same of what stands in the file.
    pub(crate) fn from_octets(octets: &[u8]) -> Self {
        let mut twins = Self::default();
        twins.read(octets);
        twins
    }

    /// The same of a file with one whole record, for the fuzz target.
    pub(crate) fn from_payload(payload: &[u8]) -> Self {
        Self::from_octets(&[&MAGIC[..], &framed(payload)].concat())
    }

    fn read(&mut self, octets: &[u8]) {
        let mut position = if octets.starts_with(MAGIC) { MAGIC.len() } else { 0 };
        let mut lost = position == 0 && !octets.is_empty() && !MAGIC.starts_with(octets);
        lost |= octets.len() > LONGEST;
        self.length = position as u64;
        let mut budget = octets.len().saturating_mul(CHECKED_AT_MOST).max(1);
        while let Some((at, payload)) = next_record(octets, position, &mut budget) {
            lost |= at != position;
            position = at + MARK.len() + 4 + payload.len() + 8;
            self.length = position as u64;
            lost |= self.take(payload).is_none();
        }
        lost |= budget == 0;
        if lost {
            self.damaged = true;
            self.notes.push("the uidl file is damaged: what is readable of it is kept".to_owned());
        }
    }

    /// Takes over one record.
    fn take(&mut self, payload: &[u8]) -> Option<()> {
        let mut reader = Reader(payload);
        match reader.take()? {
            [1] => {
                let (hash, numbers) = decode(&mut reader)?;
                self.named.remove(&hash);
                self.numbers.insert(hash, numbers);
            }
            [4] => {
                let (hash, numbers, names) = named::decode_named(&mut reader)?;
                self.numbers.insert(hash, numbers);
                self.named.insert(hash, names);
            }
            [5] => self.imported.add(imported::decode_imported(&mut reader)?),
            [2] => {
                let new_file = (reader.u64()?, reader.u64()?);
                let condition = Condition { new_file, known: reader.u64()?, tail_check: reader.u64()? };
                let mut plan = Plan::new();
                while !reader.0.is_empty() {
                    plan.push(decode(&mut reader)?);
                }
                self.pending = Some((condition, plan));
            }
            [3] => {
                let done = reader.take()? == [1];
                self.apply(done);
            }
            _ => return None,
        }
        Some(())
    }

    fn apply(&mut self, done: bool) {
        if let Some((_, plan)) = self.pending.take()
            && done
        {
            plan.iter().for_each(|(hash, _)| drop(self.named.remove(hash)));
            self.numbers.extend(plan);
        }
    }

    /// What is recorded for a hash.
    pub(crate) fn numbers(&self, hash: u128) -> Option<&Numbers> {
        self.numbers.get(&hash)
    }

    /// The hashes that something is recorded for.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = u128> {
        self.numbers.keys().copied()
    }

    /// The intent of an update that was interrupted.
    pub(crate) fn pending(&self) -> Option<Condition> {
        self.pending.as_ref().map(|(condition, _)| *condition)
    }

    /// The numbers that hold once `deleted` is deleted, for every hash that has twins or a record. Empty for
    /// a maildrop without twins.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn plan(&self, index: &mut Index, deleted: &Bitmap) -> Result<Plan> {
        let mut hashes: HashSet<u128> = self.hashes().collect();
        index.for_each(|_, record| {
            if record.twin > 1 {
                hashes.insert(record.hash);
            }
            Ok(())
        })?;
        let mut plan: HashMap<u128, (Numbers, bool)> = HashMap::new();
        if hashes.is_empty() {
            return Ok(Plan::new());
        }
        index.for_each(|number, record| {
            if hashes.contains(&record.hash) {
                let next = self.numbers(record.hash).map_or(1, |numbers| numbers.next);
                let (numbers, touched) =
                    plan.entry(record.hash).or_insert((Numbers { next, held: Vec::new() }, false));
                numbers.next = numbers.next.max(record.twin.saturating_add(1));
                if crate::maildrop::is_in(deleted, number) {
                    *touched = true;
                } else {
                    numbers.hold(record.twin);
                }
            }
            Ok(())
        })?;
        Ok(plan
            .into_iter()
            .filter(|(_, (_, touched))| *touched)
            .map(|(hash, (numbers, _))| (hash, numbers))
            .collect())
    }

    /// Writes down what is about to be done, durably. Without room for it an update that leaves no number to
    /// remember may go on: true when it was written.
    ///
    /// # Errors
    /// It cannot be written, and survivors would lose their numbers in a crash.
    pub(crate) fn intend(&mut self, state: &Directory, condition: Condition, plan: Plan) -> Result<bool> {
        if plan.is_empty() {
            return Ok(false);
        }
        let mut payload = Octets::default();
        payload.put(&[2]);
        for number in [condition.new_file.0, condition.new_file.1, condition.known, condition.tail_check] {
            payload.u64(number);
        }
        for (hash, numbers) in &plan {
            encode(&mut payload, *hash, numbers);
        }
        match self.append(state, &framed(&payload.0)) {
            Ok(()) => {
                self.pending = Some((condition, plan));
                Ok(true)
            }
            Err(error) if plan.iter().all(|(_, numbers)| numbers.are_natural()) => {
                self.notes.push(format!("cannot write the uidl file, no number depends on it: {error}"));
                Ok(false)
            }
            Err(error) => Err(Error::io("cannot write the uidl file", error).of_kind(Kind::Temporary).tell(
                "no room to remember the unique ids of equal messages; deleting all of them still works",
            )),
        }
    }

    /// The same as if the intended change were made; nothing is written.
    pub(crate) fn assuming_done(mut self) -> Self {
        self.apply(true);
        self
    }

    /// Writes down whether the intended change was made. When that fails, the next login looks again.
    pub(crate) fn settle(&mut self, state: &Directory, done: bool) {
        if self.pending.is_none() {
            return;
        }
        self.apply(done);
        if let Err(error) = self.append(state, &framed(&[3, u8::from(done)])) {
            self.notes.push(format!("cannot write the uidl file: {error}"));
        }
    }

    /// Appends framed records, durably; what a failure leaves is cut off.
    fn append(&mut self, state: &Directory, record: &[u8]) -> io::Result<()> {
        let live: u64 = self.numbers.values().map(|numbers| 40 + 8 * numbers.held.len() as u64).sum();
        let names: u64 = self.named.values().map(|names| named::NAME_OCTETS * names.len() as u64).sum();
        let live = live + names + self.imported.octets();
        let grown = |length: u64| length.saturating_add(record.len() as u64) > LONGEST as u64;
        if self.damaged || self.length > COMPACT_FROM && self.length / 4 > live || grown(self.length) {
            self.write_anew(state)?;
        }
        if grown(self.length) {
            // What is not read again must not be written.
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let file = if self.length == 0 {
            state.remove(NAME)?;
            let file = state.create(NAME, 0o600)?;
            file.write_all_at(MAGIC, 0)?;
            state.sync()?;
            self.length = MAGIC.len() as u64;
            file
        } else {
            open_state_file(state, NAME)?.ok_or(io::ErrorKind::NotFound)?
        };
        let written = file
            .set_len(self.length)
            .and_then(|()| file.write_all_at(record, self.length))
            .and_then(|()| file.sync_data());
        if written.is_err() {
            // If this fails too, the checksum tells the torn record.
            let _ = file.set_len(self.length);
        }
        written?;
        self.length += record.len() as u64;
        Ok(())
    }

    /// Whether something in the file cannot be read.
    pub(crate) const fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Writes what can be read of a damaged file into a new one, in its place.
    ///
    /// # Errors
    /// The system's; the old file is in its place then.
    pub(crate) fn mend(&mut self, state: &Directory) -> io::Result<()> {
        self.write_anew(state)
    }

    /// Writes what holds into a new file.
    fn write_anew(&mut self, state: &Directory) -> io::Result<()> {
        let mut octets = MAGIC.to_vec();
        for (hash, numbers) in &self.numbers {
            let payload = self.named.get(hash).map_or_else(
                || {
                    let mut payload = Octets(vec![1]);
                    encode(&mut payload, *hash, numbers);
                    payload.0
                },
                |names| named::named_payload(*hash, numbers, names),
            );
            octets.extend_from_slice(&framed(&payload));
        }
        if !self.imported.is_empty() {
            octets.extend_from_slice(&framed(&self.imported.payload()));
        }
        if let Some((condition, plan)) = &self.pending {
            let Condition { new_file, known, tail_check } = condition;
            let mut payload = Octets(vec![2]);
            [new_file.0, new_file.1, *known, *tail_check].into_iter().for_each(|number| payload.u64(number));
            plan.iter().for_each(|(hash, numbers)| encode(&mut payload, *hash, numbers));
            octets.extend_from_slice(&framed(&payload.0));
        }
        state.remove(NEW_NAME)?;
        let file: File = state.create(NEW_NAME, 0o600)?;
        file.write_all_at(&octets, 0)?;
        file.sync_all()?;
        state.rename(NEW_NAME, NAME)?;
        state.sync()?;
        self.length = octets.len() as u64;
        self.damaged = false;
        Ok(())
    }
}

/// Gives out numbers in a scan of a whole maildrop: those that are recorded first, in order.
pub(crate) struct Numbering<'a> {
    twins: &'a Twins,
    given: HashMap<u128, Given>,
}

/// What was given out for one hash.
struct Given {
    /// The run that is being given out, and how many of it were.
    run: usize,
    of_run: u32,
    /// The number behind all that are recorded.
    next: u32,
}

impl<'a> Numbering<'a> {
    /// A numbering that begins with what is recorded.
    pub(crate) fn new(twins: &'a Twins) -> Self {
        Self { twins, given: HashMap::new() }
    }

    /// The number of the next message with this record's hash.
    pub(crate) fn number(&mut self, record: &Record) -> u32 {
        let recorded = self.twins.numbers(record.hash);
        let first = recorded.map_or(1, |numbers| numbers.next);
        let given = self.given.entry(record.hash).or_insert(Given { run: 0, of_run: 0, next: first });
        if let Some(&(first, count)) = recorded.and_then(|numbers| numbers.held.get(given.run)) {
            let number = first.saturating_add(given.of_run);
            given.of_run += 1;
            if given.of_run >= count {
                (given.run, given.of_run) = (given.run + 1, 0);
            }
            return number;
        }
        let number = given.next;
        given.next = number.saturating_add(1);
        number
    }
}

/// The next whole record from `position` on: where it begins, and its payload. `budget`: how many octets may still be
/// hashed on the way; 0 once it was not enough.
fn next_record<'a>(octets: &'a [u8], position: usize, budget: &mut usize) -> Option<(usize, &'a [u8])> {
    for found in memmem::find_iter(octets.get(position..)?, MARK) {
        let at = position + found;
        let start = at + MARK.len();
        let Some(length) = Reader(&octets[start..]).u32() else { break };
        let end = start.saturating_add(4).saturating_add(length as usize);
        let (Some(covered), Some(check)) = (octets.get(start..end), octets.get(end..)) else { continue };
        let Some(check) = Reader(check).u64() else { continue };
        *budget = budget.saturating_sub(covered.len());
        if *budget == 0 {
            break;
        }
        if check == XxHash3_64::oneshot(covered) {
            return Some((at, &covered[4..]));
        }
    }
    None
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut record = Octets(MARK.to_vec());
    // One that is longer than a number can say is longer than the file may be.
    record.u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    record.put(payload);
    let check = XxHash3_64::oneshot(&record.0[MARK.len()..]);
    record.u64(check);
    record.0
}

fn encode(payload: &mut Octets, hash: u128, numbers: &Numbers) {
    payload.put(&hash.to_le_bytes());
    payload.u32(numbers.next);
    payload.u32(u32::try_from(numbers.held.len()).unwrap_or(u32::MAX));
    for (first, count) in &numbers.held {
        payload.u32(*first);
        payload.u32(*count);
    }
}

fn decode(reader: &mut Reader<'_>) -> Option<(u128, Numbers)> {
    let hash = u128::from_le_bytes(reader.take()?);
    let next = reader.u32()?;
    let runs = reader.u32()?;
    let (mut held, mut least) = (Vec::new(), 1);
    for _ in 0..runs {
        let (first, count) = (reader.u32()?, reader.u32()?);
        // Numbers go up, and none is held that was never given away.
        let end = first.checked_add(count)?;
        if first < least || count == 0 || end > next {
            return None;
        }
        held.push((first, count));
        least = end;
    }
    Some((hash, Numbers { next, held }))
}

#[cfg(test)]
mod tests;

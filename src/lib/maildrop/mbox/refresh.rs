//! Brings the index up to the mailbox: what was appended is scanned, or everything.

use super::scan::{self, scan};
use crate::error::{Error, Kind, Result};
use crate::maildrop::index::{Header, Index, Record, Writer};
use crate::maildrop::uidl::twins::{Numbering, Twins};
use crate::sys::directory::Directory;
use crate::sys::file::{Identity, read_at};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use twox_hash::XxHash3_64;

/// Octets at the end of what is known whose checksum is kept.
const TAIL: u64 = 4096;

/// An index, and why it could not be written to disk.
pub(super) type Refreshed = (Index, Option<io::Error>);

/// Makes the index for the locked mailbox: from the old one, when mail was only appended.
///
/// # Errors
/// The mailbox cannot be read or is no mbox.
pub(super) fn refresh(
    file: &File,
    identity: Identity,
    old: Option<Index>,
    twins: &Twins,
    state: &Directory,
) -> Result<Refreshed> {
    if let Some(mut old) = old {
        let header = *old.header();
        if old.is_for(&identity) {
            return Ok((old, None));
        }
        // The state that an update of ours left may have more in it than was scanned.
        let as_left = header.identity == identity && header.known < identity.size;
        let grown = header.identity.same_file(&identity) && identity.size > header.identity.size;
        if (as_left || grown)
            && tail_check(file, header.known).is_ok_and(|check| check == header.tail_check)
            && let Ok(refreshed) = appended(file, identity, &mut old, twins, state)
        {
            return Ok(refreshed);
        }
    }
    whole(file, Header { identity, known: identity.size, ..Header::default() }, twins, state)
}

/// Scans the mailbox from its start to `header.known`.
///
/// # Errors
/// The mailbox cannot be read or is no mbox.
pub(super) fn whole(file: &File, header: Header, twins: &Twins, state: &Directory) -> Result<Refreshed> {
    let mut writer = Writer::new(state)?;
    let mut prints: Vec<u64> = Vec::new();
    let hidden = scan(0, range(file, 0, header.known), |record| {
        prints.push(print(record.hash));
        writer.push(&record)
    })?;
    let numbered = repeated(&mut prints, twins);
    if !numbered.is_empty() {
        let mut numbering = Numbering::new(twins);
        writer.revise(|record| {
            if !numbered.contains(&print(record.hash)) {
                return Ok(false);
            }
            let number = numbering.number(record);
            Ok(std::mem::replace(&mut record.twin, number) != number)
        })?;
    }
    let tail_check = tail_check(file, header.known).map_err(unreadable)?;
    writer.finish(Header { hidden, tail_check, ..header })
}

/// Eight octets that tell most messages apart: a list of them is what finding twins costs in memory.
const fn print(hash: u128) -> u64 {
    // The lower half of a good hash is as good a hash.
    #[allow(clippy::cast_possible_truncation)]
    let print = hash as u64;
    print
}

/// The prints that occur more than once or that numbers are recorded for.
fn repeated(prints: &mut [u64], twins: &Twins) -> HashSet<u64> {
    prints.sort_unstable();
    let twice = prints.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    twice.chain(twins.hashes().map(print)).collect()
}

/// Keeps the old records and scans what is behind them.
fn appended(
    file: &File,
    identity: Identity,
    old: &mut Index,
    twins: &Twins,
    state: &Directory,
) -> Result<Refreshed> {
    let header = *old.header();
    let mut writer = Writer::new(state)?;
    // An envelope line right behind what is known begins a message, with or without an empty line before it.
    // Anything else may change the last message: that one is read again.
    let begins = begins_message(file, header.known).map_err(unreadable)?;
    let resumed = if begins { None } else { last(old)? };
    let kept = header.count - u32::from(resumed.is_some());
    old.for_each(|number, record| if number < kept { writer.push(record) } else { Ok(()) })?;
    let from = match &resumed {
        Some(record) => record.offset,
        None if begins => header.known,
        None => return Err(Error::new(Kind::Temporary, "nothing known to go on from")),
    };
    let mut fresh: Vec<Record> = Vec::new();
    let hidden = scan(from, range(file, from, identity.size), |record| {
        fresh.push(record);
        Ok(())
    })?;
    number_fresh(&mut fresh, resumed.as_ref(), kept, old, twins)?;
    fresh.iter().try_for_each(|record| writer.push(record))?;
    let tail_check = tail_check(file, identity.size).map_err(unreadable)?;
    writer.finish(Header {
        identity,
        known: identity.size,
        // The first message, read again, may have turned out to be the hidden one.
        hidden: header.hidden.max(hidden),
        tail_check,
        ..Header::default()
    })
}

fn last(old: &mut Index) -> Result<Option<Record>> {
    match old.header().count.checked_sub(1) {
        Some(position) => Ok(old.records(position)?.first().copied()),
        None => Ok(None),
    }
}

/// Gives new messages twin numbers behind those of the `kept` old ones. The message that was read again keeps its
/// number if it still is the same.
fn number_fresh(
    fresh: &mut [Record],
    resumed: Option<&Record>,
    kept: u32,
    old: &mut Index,
    twins: &Twins,
) -> Result<()> {
    let mut next: HashMap<u128, u32> = fresh
        .iter()
        .map(|record| (record.hash, twins.numbers(record.hash).map_or(1, |numbers| numbers.next)))
        .collect();
    old.for_each(|number, record| {
        if number < kept
            && let Some(next) = next.get_mut(&record.hash)
        {
            *next = (*next).max(record.twin.saturating_add(1));
        }
        Ok(())
    })?;
    let mut same = resumed;
    for record in fresh {
        let next = next.entry(record.hash).or_insert(1);
        record.twin = match same.take().filter(|old| old.hash == record.hash) {
            Some(old) => old.twin,
            None => *next,
        };
        *next = (*next).max(record.twin.saturating_add(1));
    }
    Ok(())
}

/// Whether a message begins at this offset, where what is known ends or empty lines do.
///
/// # Errors
/// The system's.
pub(super) fn begins_message(file: &File, offset: u64) -> io::Result<bool> {
    let mut window = [0; 4097];
    let count = read_at(file, &mut window, offset)?;
    let line_end = memchr::memchr(b'\n', &window[..count]).map_or(count, |end| end + 1);
    Ok(scan::begins_message(&window[..line_end], offset == 0, true))
}

/// The checksum of the last octets before `known`.
///
/// # Errors
/// The system's; the file is shorter.
pub(super) fn tail_check(file: &File, known: u64) -> io::Result<u64> {
    let length = known.min(TAIL);
    let mut tail = vec![0; usize::try_from(length).unwrap_or(0)];
    if read_at(file, &mut tail, known - length)? != tail.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(XxHash3_64::oneshot(&tail))
}

/// Reads a range of the file, all of it.
fn range(file: &File, from: u64, to: u64) -> impl FnMut(&mut [u8]) -> Result<usize> {
    let mut position = from;
    move |buffer| {
        let left = usize::try_from(to - position).unwrap_or(usize::MAX).min(buffer.len());
        let count = read_at(file, &mut buffer[..left], position).map_err(unreadable)?;
        if count < left {
            return Err(Error::new(Kind::Temporary, SHORTER));
        }
        position += count as u64;
        Ok(count)
    }
}

/// What another program did who cut off what is being read.
const SHORTER: &str = "it became shorter while it was read";

fn unreadable(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Error::new(Kind::Temporary, SHORTER);
    }
    Error::io("cannot read the mailbox", error)
}

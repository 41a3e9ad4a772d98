//! From a Maildir to an mbox. Nobody locks a Maildir: what is delivered meanwhile is brought over behind the step.

use super::{Done, Place};
use crate::config::Format;
use crate::error::{Error, Kind, Result};
use crate::maildrop::flags::Flags;
use crate::maildrop::index::Index;
use crate::maildrop::maildir::build::folders_of;
use crate::maildrop::maildir::pieces::{Arrived, Piece, key_of};
use crate::maildrop::maildir::{Maildir, open};
use crate::maildrop::mbox::build::{Frame, Message, Quoting, write};
use crate::maildrop::mbox::local::Local;
use crate::maildrop::mbox::spool::Purpose;
use crate::maildrop::mbox::whole;
use crate::maildrop::uidl::twins::{Condition, Numbers, Plan, Twins};
use crate::maildrop::{Maildrop, Uidl};
use crate::sys::file::{set_mode, status};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

/// A message in the new mailbox.
#[derive(Clone, Copy)]
struct Written {
    uidl: Uidl,
    /// A line of it was quoted, which changes its hash.
    quoted: bool,
}

pub(super) fn run(place: &Place<'_>) -> Result<Done> {
    let site = place.site;
    let mut done = Done::default();
    let folders = place
        .above
        .open_directory(place.name)
        .and_then(|maildir| folders_of(&maildir).map(Iterator::collect::<Vec<_>>))
        .map_err(|error| place.failed("look at", error))?;
    if !folders.is_empty() {
        let what = format!("{} has folders ({})", site.path.display(), folders.join(", "));
        if site.remove_old {
            let error = Error::new(Kind::Permanent, format!("{what}, which an mbox has no place for"));
            return Err(error.with_fix("without --remove-old they are kept"));
        }
        done.notes.push(format!("{what}: they stay in {}", place.aside_path().display()));
    }
    place.clear()?;
    let mut maildir = open_maildir(place, place.name)?;
    maildir.numbers_are_written()?;
    done.notes.extend(maildir.take_notes());
    let keys = maildir.keys()?;
    let twins = Twins::load(&site.state)?;
    let file = place.above.create(&place.aside, 0o600).map_err(|error| place.failed_aside("make", error))?;
    let prepared = dress(place, &file)
        .and_then(|()| fill(place, &mut maildir, &file))
        .and_then(|written| place.keep_index().map(|()| written))
        .and_then(|written| settle_numbers(place, &file, &twins, &written).map(|twins| (written, twins)));
    let (written, mut twins) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            let _ = place.remove_aside();
            return Err(error);
        }
    };
    if let Err(error) = place.exchange() {
        if !place.above.has_directory(&place.aside) {
            twins.settle(&site.state, false);
            let _ = place.remove_aside();
        }
        return Err(error);
    }
    twins.settle(&site.state, true);
    done.messages = u32::try_from(written.len()).unwrap_or(u32::MAX);
    done.late = bring_over(place, &maildir, &keys)?;
    place.finish(done)
}

fn open_maildir(place: &Place<'_>, name: &str) -> Result<Maildir> {
    let path = place.site.path.with_file_name(name);
    let folders = open::folders(Format::Maildir, &path, place.site.uid)?
        .ok_or_else(|| Error::new(Kind::Permanent, format!("{} is gone", path.display())))?;
    Maildir::open(folders, &path, place.site.uid, place.state()?)
}

/// In a spool of a group's, deliverers have that group's rights alone.
fn dress(place: &Place<'_>, file: &File) -> Result<()> {
    let cannot = |error| place.failed_aside("prepare", error);
    let (made, above) = (status(file).map_err(cannot)?, status(&place.above).map_err(cannot)?);
    if above.mode & 0o020 != 0 && above.gid == made.gid && above.uid != place.site.uid {
        set_mode(file, 0o660).map_err(cannot)?;
    }
    Ok(())
}

/// Writes the messages into the new mailbox, durably.
fn fill(place: &Place<'_>, maildir: &mut Maildir, file: &File) -> Result<Vec<Written>> {
    let cannot = |error| place.failed_aside("write", error);
    let order = order(maildir)?;
    let mut out = BufWriter::with_capacity(256 * 1024, file);
    let mut written = Vec::with_capacity(order.len());
    for position in order {
        let Piece { file, record, flags, received } = maildir.piece(position)?;
        let quoted = append(&mut out, &file, record.length, flags, received).map_err(cannot)? > 0;
        written.push(Written { uidl: record.entry().uidl, quoted });
    }
    out.into_inner().map_err(|error| cannot(error.into_error()))?;
    file.sync_all().map_err(cannot)?;
    Ok(written)
}

fn append(
    out: &mut BufWriter<&File>,
    file: &File,
    length: u64,
    flags: Flags,
    received: u32,
) -> io::Result<u32> {
    let message = Message {
        file,
        range: (0, length),
        without: None,
        frame: Frame::MadeEnvelope,
        received,
        flags: Some(flags),
        added: Vec::new(),
        unquote: false,
        quoting: Quoting::Least,
    };
    write(&message, out)
}

/// The messages' positions in the order in which they are written: that of the Maildir, but equal ones by their numbers, as an mbox
/// has them.
fn order(maildir: &mut Maildir) -> Result<Vec<u32>> {
    let mut uidls = Vec::new();
    let mut groups: HashMap<u128, Vec<u32>> = HashMap::new();
    maildir.for_each_uidl(|position, uidl| {
        groups.entry(uidl.hash).or_default().push(position);
        uidls.push(uidl);
    })?;
    let mut order: Vec<u32> = (0..u32::try_from(uidls.len()).unwrap_or(u32::MAX)).collect();
    let twin = |position: &u32| uidls.get(*position as usize).map_or(0, |uidl| uidl.twin);
    for places in groups.into_values().filter(|places| places.len() > 1) {
        let mut members = places.clone();
        members.sort_by_key(twin);
        for (place, member) in places.into_iter().zip(members) {
            if let Some(slot) = order.get_mut(place as usize) {
                *slot = member;
            }
        }
    }
    Ok(order)
}

/// Writes down which of several equal messages has which number, as an intent that holds once the new mailbox is in its place,
/// and the ids of messages that had to be changed. Then the mailbox is read as a login would.
fn settle_numbers(place: &Place<'_>, file: &File, twins: &Twins, written: &[Written]) -> Result<Twins> {
    let state = &place.site.state;
    let mut now = Twins::load(state)?;
    let made = status(file).map_err(|error| place.failed_aside("look at", error))?.identity;
    let condition = Condition::placed((made.device, made.inode));
    now.intend(state, condition, plan(twins, written))?;
    let settled = check(place, file, written, &mut now);
    if settled.is_err() {
        now.settle(state, false);
    }
    settled.map(|()| now)
}

fn plan(twins: &Twins, written: &[Written]) -> Plan {
    let next = |hash| twins.numbers(hash).map_or(1, |numbers| numbers.next);
    let mut held: HashMap<u128, (u32, Vec<u32>)> =
        twins.hashes().map(|hash| (hash, (next(hash), Vec::new()))).collect();
    for Written { uidl, .. } in written.iter().filter(|written| written.uidl.twin > 1) {
        held.entry(uidl.hash).or_insert((next(uidl.hash), Vec::new()));
    }
    for Written { uidl, quoted } in written {
        if let Some((next, held)) = held.get_mut(&uidl.hash) {
            *next = (*next).max(uidl.twin.saturating_add(1));
            if !quoted {
                held.push(uidl.twin);
            }
        }
    }
    held.into_iter().map(|(hash, (next, held))| (hash, Numbers::of(next, held))).collect()
}

/// Every message must have its unique id; one that was changed gets it as an imported one.
fn check(place: &Place<'_>, file: &File, written: &[Written], now: &mut Twins) -> Result<()> {
    let state = &place.site.state;
    let mut index = whole::index_of(file, &Twins::load(state)?.assuming_done(), state)?;
    let known: HashSet<u128> = written.iter().map(|written| written.uidl.hash).chain(now.hashes()).collect();
    let (mut ids, mut position) = (Vec::new(), 0);
    index.for_each(|_, record| {
        let found = record.entry().uidl;
        match written.get(position) {
            Some(written) if written.uidl == found => {}
            Some(Written { uidl, quoted: true }) if !known.contains(&found.hash) => {
                ids.push((found, now.imported().shown(*uidl)));
            }
            _ => return Err(place.differs(position)),
        }
        position += 1;
        Ok(())
    })?;
    if position != written.len() {
        return Err(place.differs(position));
    }
    now.import(state, &ids).map_err(|error| Error::io("cannot write the uidl file", error))
}

/// Adds what came to the old Maildir, which is open, to the mailbox; how many messages.
fn bring_over(place: &Place<'_>, maildir: &Maildir, keys: &HashSet<u64>) -> Result<u32> {
    let cannot = |error| place.failed("bring late mail over to", error);
    let arrived = maildir.arrived_since(keys).map_err(cannot)?;
    if arrived.is_empty() {
        return Ok(0);
    }
    let site = place.site;
    let mut local = Local::new(&site.path, site.locks, site.uid)?;
    let gone = || Error::new(Kind::Temporary, format!("{} is gone", site.path.display()));
    let mailbox = whole::lock(&mut local, &site.state, Purpose::Update)?.ok_or_else(gone)?.file;
    let before = status(&mailbox).map_err(cannot)?.identity.size;
    let appended = append_arrived(maildir, &arrived, &mailbox, before);
    if appended.is_err() {
        // All or nothing: who goes on begins where this one did.
        let _ = mailbox.set_len(before);
    }
    whole::unlock(&mut local, &site.state)?;
    appended.map_err(cannot)
}

fn append_arrived(
    maildir: &Maildir,
    arrived: &[Arrived],
    mut mailbox: &File,
    before: u64,
) -> io::Result<u32> {
    mailbox.seek(SeekFrom::Start(before))?;
    mailbox.write_all(whole::padding(mailbox, before)?)?;
    let (mut out, mut count) = (BufWriter::with_capacity(256 * 1024, mailbox), 0);
    for one in arrived {
        if let Some((file, flags, received)) = maildir.open_arrived(one)? {
            append(&mut out, &file, status(&file)?.identity.size, flags, received)?;
            count += 1;
        }
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    mailbox.sync_all()?;
    Ok(count)
}

/// What came to the old Maildir before somebody was killed.
pub(super) fn go_on(place: &Place<'_>, mut index: Index) -> Result<u32> {
    let mut keys = HashSet::new();
    let mut records = Vec::new();
    index.for_each(|_, record| {
        records.push(*record);
        Ok(())
    })?;
    for record in records {
        keys.insert(key_of(index.note(&record)?)?);
    }
    let path = place.aside_path();
    let folders = open::folders(Format::Maildir, &path, place.site.uid)?
        .ok_or_else(|| Error::new(Kind::Permanent, format!("{} is gone", path.display())))?;
    bring_over(place, &Maildir::listed(folders, &path, place.site.uid, place.state()?), &keys)
}

//! From an mbox to a Maildir. The mailbox's locks are held until the Maildir is in its place, so that deliveries wait.

use super::{Done, Place, Rhythm, copy_range};
use crate::config::Format;
use crate::error::{Error, Kind, Result};
use crate::maildrop::flags::Flags;
use crate::maildrop::index::{Index, Record};
use crate::maildrop::maildir::build::{Builder, Stamped};
use crate::maildrop::maildir::pieces::{Made, namings};
use crate::maildrop::maildir::{Maildir, open};
use crate::maildrop::mbox::local::Local;
use crate::maildrop::mbox::spool::Purpose;
use crate::maildrop::mbox::{envelope, scan, whole};
use crate::maildrop::uidl::twins::Twins;
use crate::maildrop::{Entry, Maildrop, Uidl};
use crate::protocol::MsgNo;
use crate::sys::file::{Identity, read_at, status};
use crate::sys::lock::{Lease, end_lease, lease};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Mail readers' fields stand within this many octets of a header.
const HEADER: usize = 64 * 1024;

/// How long a deliverer is waited for that opened the old mailbox and waits for its lock.
const LATE: Duration = Duration::from_secs(10);
/// The same where the file system does not tell whether there is one.
const LATE_BLINDLY: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(20);

pub(super) fn run(place: &Place<'_>) -> Result<Done> {
    let site = place.site;
    let mut local = Local::new(&site.path, site.locks, site.uid)?;
    let missing = || Error::new(Kind::Permanent, format!("{} does not exist", site.path.display()));
    // What a killed update left in the spool nobody would remove once there is no mbox.
    whole::lock(&mut local, &site.state, Purpose::Recover)?.ok_or_else(missing)?;
    whole::unlock(&mut local, &site.state)?;
    place.clear()?;
    let locked = whole::lock(&mut local, &site.state, Purpose::Update)?.ok_or_else(missing)?;
    let file = locked.file;
    let before = status(&file).map_err(|error| place.failed("look at", error))?.identity;
    let (mut index, twins) = whole::survey(&file, &site.state)?;
    let (builder, made) = match fill(place, &file, &mut index, &local) {
        Ok(filled) => filled,
        Err(error) => {
            // The next conversion removes what stays.
            let _ = place.remove_aside();
            return Err(error);
        }
    };
    let replaced = number(place, &mut index, &twins, &made)
        .and_then(|()| place.keep_index())
        .and_then(|()| verify(place, &made))
        .and_then(|()| look_again(place, &file, &before))
        .and_then(|()| place.exchange());
    if let Err(error) = replaced {
        if place.above.has_directory(&place.aside) {
            let _ = place.remove_aside();
        }
        return Err(error);
    }
    whole::unlock(&mut local, &site.state)?;
    let mut done = Done {
        messages: u32::try_from(made.len()).unwrap_or(u32::MAX),
        notes: locked.notes,
        ..Done::default()
    };
    done.late =
        watch(&file, before.size, builder).map_err(|error| place.failed("bring late mail over to", error))?;
    place.finish(done)
}

/// Writes the messages into a new Maildir, durably.
fn fill(
    place: &Place<'_>,
    file: &File,
    index: &mut Index,
    local: &Local,
) -> Result<(Builder, Vec<(Record, Made)>)> {
    let cannot = |error| place.failed_aside("write", error);
    let mut builder = Builder::create(&place.above, &place.aside).map_err(cannot)?;
    let (mut made, mut rhythm) = (Vec::new(), Rhythm::new());
    index.for_each(|_, record| {
        made.push((*record, add(&mut builder, file, record).map_err(cannot)?));
        rhythm.beat(|| local.touch());
        Ok(())
    })?;
    builder.sync(made.iter().map(|(_, made)| made)).map_err(cannot)?;
    place.above.open_directory(&place.aside).and_then(|maildir| maildir.sync()).map_err(cannot)?;
    Ok((builder, made))
}

/// Writes one message of the mailbox.
fn add(builder: &mut Builder, file: &File, record: &Record) -> io::Result<Made> {
    let mut line = vec![0; record.envelope_length as usize];
    let count = read_at(file, &mut line, record.offset)?;
    let received = envelope::received(&line[..count]);
    let mut header = vec![0; usize::try_from(record.header_length).unwrap_or(HEADER).min(HEADER)];
    let count = read_at(file, &mut header, record.start())?;
    let flags = Flags::of_header(&header[..count]);
    let stamped = Stamped { received, flags, octets: Some(record.octets) };
    builder.add(stamped, |out| copy_range(file, record.start(), record.length, out))
}

/// Writes down which of several equal messages has which number. For the mailbox it says nothing new.
fn number(place: &Place<'_>, index: &mut Index, twins: &Twins, made: &[(Record, Made)]) -> Result<()> {
    let next = |hash| twins.numbers(hash).map_or(1, |numbers| numbers.next);
    let mut numbered: HashMap<u128, u32> = twins.hashes().map(|hash| (hash, next(hash))).collect();
    index.for_each(|_, record| {
        if record.twin > 1 {
            numbered.insert(record.hash, next(record.hash));
        }
        Ok(())
    })?;
    let state = &place.site.state;
    let written = Twins::load(state)?.name(state, namings(made, &numbered));
    written.map_err(|error| Error::io("cannot write the uidl file", error))
}

/// Reads the new Maildir as a login would.
fn verify(place: &Place<'_>, made: &[(Record, Made)]) -> Result<()> {
    let path = place.aside_path();
    let folders = open::folders(Format::Maildir, &path, place.site.uid)?
        .ok_or_else(|| Error::new(Kind::Temporary, format!("{} is gone", path.display())))?;
    let mut maildir = Maildir::open(folders, &path, place.site.uid, place.state()?)?;
    maildir.numbers_are_written()?;
    let (mut position, mut page) = (0, Vec::new());
    while let Some(first) = MsgNo::new(u32::try_from(position + 1).unwrap_or(0)) {
        maildir.entries(first, &mut page)?;
        for entry in &page {
            let Some((record, _)) = made.get(position) else { return Err(place.differs(position)) };
            let old = Entry { ..record.entry() };
            if (entry.octets, entry.uidl) != (old.octets, Uidl { ..old.uidl }) {
                return Err(place.differs(position));
            }
            position += 1;
        }
        if page.is_empty() {
            break;
        }
    }
    if position == made.len() { Ok(()) } else { Err(place.differs(position)) }
}

/// The last look before the step: nothing was written in spite of the locks.
fn look_again(place: &Place<'_>, file: &File, before: &Identity) -> Result<()> {
    let now = status(file).map_err(|error| place.failed("look at", error))?.identity;
    let named = place.above.status(place.name).ok().flatten();
    if now == *before && named.is_some_and(|named| named.identity.same_file(before)) {
        return Ok(());
    }
    let what = format!("{} was changed by another program in spite of the locks", place.site.path.display());
    Err(Error::new(Kind::Temporary, what))
}

/// Watches the old mailbox until nobody else has it open; how many messages came.
fn watch(file: &File, known: u64, mut builder: Builder) -> io::Result<u32> {
    let (begun, mut span) = (Instant::now(), LATE);
    loop {
        match lease(file) {
            Lease::Granted => break,
            Lease::Busy => {}
            Lease::Refused => span = LATE_BLINDLY,
        }
        if begun.elapsed() >= span {
            break;
        }
        sleep(TICK);
    }
    let brought = bring_over(file, known, &mut builder);
    end_lease(file);
    brought
}

/// Adds what the old mailbox gained.
fn bring_over(file: &File, known: u64, builder: &mut Builder) -> io::Result<u32> {
    let size = status(file)?.identity.size;
    if size <= known {
        return Ok(0);
    }
    let Some(start) = whole::begin_of_appended(file, known)? else { return Ok(0) };
    let (mut position, mut records) = (start, Vec::new());
    let scanned = scan::scan(
        start,
        |buffer| {
            let count =
                read_at(file, buffer, position).map_err(|error| Error::io("cannot read it", error))?;
            position += count as u64;
            Ok(count)
        },
        |record| {
            records.push(record);
            Ok(())
        },
    );
    scanned.map_err(|error| io::Error::other(error.to_string()))?;
    let made: Vec<Made> =
        records.iter().map(|record| add(builder, file, record)).collect::<io::Result<_>>()?;
    builder.sync(made.iter())?;
    Ok(u32::try_from(made.len()).unwrap_or(u32::MAX))
}

/// What the old mailbox gained before somebody was killed.
pub(super) fn go_on(place: &Place<'_>, index: &Index) -> Result<u32> {
    let cannot = |error| place.failed("bring late mail over to", error);
    let file = place.above.open_file(&place.aside).map_err(cannot)?;
    let maildir = place.above.open_directory(place.name).map_err(cannot)?;
    let mut builder = Builder::open(&maildir).map_err(cannot)?;
    bring_over(&file, index.header().known, &mut builder).map_err(cannot)
}

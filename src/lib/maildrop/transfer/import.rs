//! Messages from one file into a maildrop, and unique ids of another server.
//!
//! All is prepared where nobody sees it: an mbox's new messages in a file of the state directory, a Maildir's in `tmp`. Then the ids
//! are written down, which say nothing while their messages are not there, and then the messages are shown, all of them: a Maildir's as
//! `maildir/staged.rs` says, an mbox's in a new mailbox that takes the place of the old one.

use super::ids::{Ids, of_header};
use super::{Done, HEADER, Opened, Site, next_twin};
use crate::config::Format;
use crate::error::{Error, Kind, Result};
use crate::maildrop::flags::Flags;
use crate::maildrop::index::Record;
use crate::maildrop::maildir::build::{Builder, Draft, Stamped};
use crate::maildrop::maildir::staged::{Decided, IMPORTING};
use crate::maildrop::maildir::{Maildir, pieces};
use crate::maildrop::mbox::build::{Frame, Message, Quoting, write};
use crate::maildrop::mbox::local::Local;
use crate::maildrop::mbox::open::split;
use crate::maildrop::mbox::spool::{Purpose, Spool};
use crate::maildrop::mbox::{envelope, scan, whole};
use crate::maildrop::uidl::twins::Twins;
use crate::maildrop::{Imported, Uidl};
use crate::sys::directory::Directory;
use crate::sys::file::{FileKind, read_at, set_mode, status};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::FileExt;
use twox_hash::XxHash3_64;

/// Files in the state directory; their names are gone as soon as they are open.
const INPUT: &str = "import";
const DRAFT: &str = "import.draft";

/// A list of ids is not longer than this, in octets.
const LONGEST_LIST: u64 = 256 << 20;

/// What is to be imported.
pub(crate) struct Import<'a> {
    /// Messages.
    pub(crate) mail: Option<&'a File>,
    /// A list of ids.
    pub(crate) list: Option<&'a File>,
    /// Whether ids stand in `X-UIDL`.
    pub(crate) headers: bool,
    /// Whether quoted lines stay as they are.
    pub(crate) as_is: bool,
}

/// Imports.
///
/// # Errors
/// Nothing was imported.
pub(crate) fn import(site: &Site, import: &Import<'_>) -> Result<Done> {
    let ids = match import.list {
        Some(list) => Some(read_list(list)?),
        None => import.headers.then_some(Ids::OfHeaders),
    };
    match import.mail {
        Some(mail) => messages(site, mail, ids.as_ref(), import.as_is),
        None => name(site, ids.as_ref()),
    }
}

fn read_list(list: &File) -> Result<Ids> {
    let mut text = Vec::new();
    let cannot = |error| Error::io("cannot read the unique ids", error);
    list.take(LONGEST_LIST + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > LONGEST_LIST {
        return Err(Error::new(Kind::Permanent, "the list of unique ids is too long"));
    }
    Ids::parse(&text)
}

/// Gives ids to the messages that are there.
fn name(site: &Site, ids: Option<&Ids>) -> Result<Done> {
    let mut opened = site.open(Purpose::Scan)?;
    let uidls = opened.uidls()?;
    let mut wanted: Vec<Option<Vec<u8>>> = vec![None; uidls.len()];
    match ids {
        None => {}
        Some(Ids::ByNumber(list)) => by_number(list, &mut wanted)?,
        Some(Ids::ByName(list)) => {
            let Opened::Maildir(maildir) = &mut opened else {
                return Err(Error::new(Kind::Permanent, "names of files are for a Maildir; this is none"));
            };
            let keys = pieces::keys_of(list.iter().map(|(name, id)| (name.as_slice(), id)));
            for (position, wanted) in wanted.iter_mut().enumerate() {
                *wanted = keys
                    .get(&maildir.key(u32::try_from(position).unwrap_or(u32::MAX))?)
                    .map(|id| (*id).clone());
            }
        }
        Some(Ids::OfHeaders) => {
            for (position, wanted) in wanted.iter_mut().enumerate() {
                *wanted = header_id(&mut opened, u32::try_from(position).unwrap_or(u32::MAX))?;
            }
        }
    }
    let mut twins = Twins::load(&site.state)?;
    let changes = changes(&twins, &[], &uidls, &wanted)?;
    write_ids(site, &mut twins, &changes)?;
    Ok(Done {
        ids: u32::try_from(changes.len()).unwrap_or(u32::MAX),
        notes: opened.notes(),
        ..Done::default()
    })
}

fn by_number(list: &HashMap<u32, Vec<u8>>, wanted: &mut [Option<Vec<u8>>]) -> Result<()> {
    for (number, id) in list {
        let slot = usize::try_from(*number - 1).ok().and_then(|at| wanted.get_mut(at));
        let missing = || {
            Error::new(Kind::Permanent, format!("the unique ids have a message {number}, which there is not"))
        };
        *slot.ok_or_else(missing)? = Some(id.clone());
    }
    Ok(())
}

fn header_id(opened: &mut Opened, position: u32) -> Result<Option<Vec<u8>>> {
    let read = |file: &File, start, length: u64| {
        let mut header = vec![0; usize::try_from(length.min(HEADER)).unwrap_or(0)];
        let count =
            read_at(file, &mut header, start).map_err(|error| Error::io("cannot read a header", error))?;
        Ok(of_header(&header[..count]).filter(|_| length <= HEADER).map(|(id, _)| id))
    };
    match opened {
        Opened::Missing => Ok(None),
        Opened::Mbox(_, file, index) => {
            let record = index.records(position)?.first().copied().unwrap_or_default();
            read(file, record.start(), record.header_length)
        }
        Opened::Maildir(maildir) => {
            let piece = maildir.piece(position)?;
            read(&piece.file, 0, piece.record.header_length)
        }
    }
}

/// The ids that have to be written down. No two messages may show the same.
fn changes(
    twins: &Twins,
    there: &[Uidl],
    uidls: &[Uidl],
    wanted: &[Option<Vec<u8>>],
) -> Result<Vec<(Uidl, Vec<u8>)>> {
    let imported: &Imported = twins.imported();
    let mut shown: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut changes = Vec::new();
    let all = there
        .iter()
        .map(|uidl| (*uidl, None))
        .chain(uidls.iter().copied().zip(wanted.iter().map(Option::as_ref)));
    for (position, (uidl, wanted)) in all.enumerate() {
        let before = imported.shown(uidl);
        let id = wanted.cloned().unwrap_or_else(|| before.clone());
        if let Some(other) = shown.insert(id.clone(), position) {
            let id = String::from_utf8_lossy(&id).into_owned();
            let name = |position: usize| match position.checked_sub(there.len()) {
                Some(new) if !there.is_empty() => format!("{} of the file", new + 1),
                _ => format!("{}", position + 1),
            };
            let (other, position) = (name(other), name(position));
            let what = format!(
                "messages {other} and {position} would both have the unique id {id}; nothing is imported"
            );
            return Err(Error::new(Kind::Permanent, what));
        }
        if id != before {
            changes.push((uidl, id));
        }
    }
    Ok(changes)
}

fn write_ids(site: &Site, twins: &mut Twins, changes: &[(Uidl, Vec<u8>)]) -> Result<()> {
    twins.import(&site.state, changes).map_err(|error| Error::io("cannot write the uidl file", error))
}

/// The messages of a file, read and understood.
struct Mail {
    file: File,
    records: Vec<Record>,
    wanted: Vec<Option<Vec<u8>>>,
    /// Where the line with the id is that an export of ours has added.
    without: Vec<Option<(u64, u64)>>,
    unquote: bool,
}

impl Mail {
    fn read(site: &Site, mail: &File, ids: Option<&Ids>, as_is: bool) -> Result<Self> {
        let cannot = |error| Error::io("cannot read the messages", error);
        let file = steady(site, mail).map_err(cannot)?;
        let (mut records, mut position) = (Vec::new(), 0);
        let fill = |buffer: &mut [u8]| {
            let count = read_at(&file, buffer, position).map_err(cannot)?;
            position += count as u64;
            Ok(count)
        };
        scan::scan(0, fill, |record| {
            records.push(record);
            Ok(())
        })
        .map_err(|error| Error::new(error.kind(), format!("the messages cannot be imported: {error}")))?;
        let mut wanted = vec![None; records.len()];
        let mut without = vec![None; records.len()];
        match ids {
            None => {}
            Some(Ids::ByNumber(list)) => by_number(list, &mut wanted)?,
            Some(Ids::ByName(_)) => {
                return Err(Error::new(
                    Kind::Permanent,
                    "names of files are for messages that are there already",
                ));
            }
            Some(Ids::OfHeaders) => {
                for (at, record) in records.iter().enumerate() {
                    let length = usize::try_from(record.header_length.min(HEADER)).unwrap_or(0);
                    let mut header = vec![0; length];
                    let count = read_at(&file, &mut header, record.start()).map_err(cannot)?;
                    let found = of_header(&header[..count]).filter(|_| record.header_length <= HEADER);
                    if let Some((id, place)) = found {
                        (wanted[at], without[at]) = (Some(id), place);
                    }
                }
            }
        }
        Ok(Self { file, records, wanted, without, unquote: !as_is })
    }

    fn message(&self, at: usize, frame: Frame, quoting: Quoting) -> Message<'_> {
        let record = self.records.get(at).copied().unwrap_or_default();
        Message {
            file: &self.file,
            range: (record.start(), record.length),
            without: self.without.get(at).copied().flatten(),
            frame,
            received: 0,
            flags: None,
            added: Vec::new(),
            unquote: self.unquote,
            quoting,
        }
    }

    fn envelope(&self, at: usize) -> io::Result<Vec<u8>> {
        let record = self.records.get(at).copied().unwrap_or_default();
        let mut line = vec![0; record.envelope_length as usize];
        read_at(&self.file, &mut line, record.offset)?;
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        Ok(line)
    }
}

/// The same octets in a file that can be read at any place.
fn steady(site: &Site, mail: &File) -> io::Result<File> {
    if status(mail)?.kind == FileKind::Regular {
        return mail.try_clone();
    }
    let mut copy = nameless(&site.state, INPUT)?;
    io::copy(&mut &*mail, &mut copy)?;
    Ok(copy)
}

fn nameless(state: &Directory, name: &str) -> io::Result<File> {
    state.remove(name)?;
    let file = state.create(name, 0o600)?;
    state.remove(name)?;
    Ok(file)
}

fn messages(site: &Site, mail: &File, ids: Option<&Ids>, as_is: bool) -> Result<Done> {
    let mail = Mail::read(site, mail, ids, as_is)?;
    let count = u32::try_from(mail.records.len()).unwrap_or(u32::MAX);
    // Opening finishes it; whoever imports the same again wants no second copy of it.
    let cannot = |error| Error::io("cannot look at the state directory", error);
    let interrupted = Decided::load(&site.state).map_err(cannot)?;
    let mut opened = match site.open(Purpose::Update)? {
        Opened::Missing => make(site)?,
        opened => opened,
    };
    let there = opened.uidls()?;
    let mut done = Done { messages: count, notes: opened.notes(), ..Done::default() };
    done.ids = match opened {
        Opened::Mbox(mut local, file, _) => {
            let joined = to_mbox(site, &mail, &there, &mut local, &file);
            whole::unlock(&mut local, &site.state)?;
            let (ids, notes) = joined?;
            done.notes.extend(notes);
            ids
        }
        Opened::Maildir(_) => to_maildir(site, &mail, &there, interrupted)?,
        Opened::Missing => return Err(Error::new(Kind::Temporary, "the maildrop is gone")),
    };
    Ok(done)
}

/// A maildrop without messages.
fn make(site: &Site) -> Result<Opened> {
    let (above, name) = split(&site.path)?;
    let cannot = |error| site.failed("make", error);
    let above = Directory::open(above).map_err(cannot)?;
    if site.format == Format::Maildir {
        Builder::create(&above, name).map_err(cannot)?;
    } else {
        let file = above.create(name, 0o600).map_err(cannot)?;
        let (made, directory) = (status(&file).map_err(cannot)?, status(&above).map_err(cannot)?);
        if directory.mode & 0o020 != 0 && directory.gid == made.gid && directory.uid != site.uid {
            set_mode(&file, 0o660).map_err(cannot)?;
        }
    }
    above.sync().map_err(cannot)?;
    site.open(Purpose::Update)
}

/// Numbers for new messages with these hashes, behind those that are there.
fn numbered(twins: &Twins, there: &[Uidl], hashes: &[u128]) -> Vec<Uidl> {
    let mut next: HashMap<u128, u32> = HashMap::new();
    for hash in hashes {
        next.entry(*hash).or_insert(0);
    }
    let mut known: HashMap<u128, Vec<Uidl>> = HashMap::new();
    for uidl in there.iter().filter(|uidl| next.contains_key(&uidl.hash)) {
        known.entry(uidl.hash).or_default().push(*uidl);
    }
    for (hash, next) in &mut next {
        *next = next_twin(twins, known.get(hash).map_or(&[], Vec::as_slice), *hash);
    }
    let number = |hash: &u128| {
        let next = next.entry(*hash).or_insert(1);
        let uidl = Uidl { hash: *hash, twin: *next };
        *next = next.saturating_add(1);
        uidl
    };
    hashes.iter().map(number).collect()
}

/// Puts a mailbox with the new messages behind the old ones in the place of the old one: whoever is killed meanwhile has imported
/// nothing.
fn to_mbox(
    site: &Site,
    mail: &Mail,
    there: &[Uidl],
    local: &mut Local,
    mailbox: &File,
) -> Result<(u32, Vec<String>)> {
    let cannot = |error| Error::io("cannot prepare the messages", error);
    let draft = nameless(&site.state, DRAFT).map_err(cannot)?;
    let mut out = BufWriter::with_capacity(256 * 1024, &draft);
    for at in 0..mail.records.len() {
        let frame = Frame::Envelope(mail.envelope(at).map_err(cannot)?);
        write(&mail.message(at, frame, Quoting::Least), &mut out).map_err(cannot)?;
    }
    out.into_inner().map_err(|error| cannot(error.into_error()))?;
    let hashes = whole::hashes(&draft)?;
    if hashes.len() != mail.records.len() {
        return Err(Error::new(
            Kind::Permanent,
            "the messages do not come out as they went in; nothing is imported",
        ));
    }
    let mut twins = Twins::load(&site.state)?;
    let changes = changes(&twins, there, &numbered(&twins, there, &hashes), &mail.wanted)?;
    write_ids(site, &mut twins, &changes)?;
    let cannot = |error| site.failed("write", error);
    let before = status(mailbox).map_err(|error| site.failed("look at", error))?.identity.size;
    let new = local.temporary()?;
    join(mailbox, before, &draft, &new, local).map_err(cannot)?;
    let notes = local.replace(before)?.notes;
    Ok((u32::try_from(changes.len()).unwrap_or(u32::MAX), notes))
}

/// The old mailbox and the new messages, durably in one file.
fn join(mailbox: &File, before: u64, draft: &File, new: &File, local: &Local) -> io::Result<()> {
    let copied = whole::transfer(mailbox, 0..before, new, 0, local)?;
    let padding = whole::padding(mailbox, before)?;
    new.write_all_at(padding, copied)?;
    let size = status(draft)?.identity.size;
    whole::transfer(draft, 0..size, new, copied + padding.len() as u64, local)?;
    new.sync_all()
}

/// What was prepared of an import.
enum Prepared {
    /// All messages; so many ids were written, and these are the messages.
    Ready(u32, u64),
    /// An import of the same messages was interrupted, and they show by now.
    Shown,
}

fn to_maildir(site: &Site, mail: &Mail, there: &[Uidl], interrupted: Option<Decided>) -> Result<u32> {
    let cannot = |error| site.failed("write into", error);
    let (above, name) = split(&site.path)?;
    let maildir = Directory::open(above).and_then(|above| above.open_directory(name)).map_err(cannot)?;
    let mut builder = Builder::open(&maildir).map_err(cannot)?.append();
    builder.sweep(&site.state).map_err(cannot)?;
    let mut drafts: Vec<Draft> = Vec::new();
    let drop_all =
        |builder: &Builder, drafts: &[Draft]| drafts.iter().for_each(|one| builder.drop_draft(one));
    let prepared = prepare(site, mail, there, &mut builder, &mut drafts, interrupted);
    let (ids, digest) = match prepared {
        Ok(Prepared::Ready(ids, digest)) => (ids, digest),
        Ok(Prepared::Shown) => {
            drop_all(&builder, &drafts);
            return Ok(u32::try_from(mail.wanted.iter().flatten().count()).unwrap_or(u32::MAX));
        }
        Err(error) => {
            drop_all(&builder, &drafts);
            return Err(error);
        }
    };
    let decided = drafts
        .iter()
        .try_for_each(|draft| builder.stage(draft))
        .and_then(|()| builder.sync(std::iter::empty()))
        .and_then(|()| Decided { unique: builder.unique(), digest }.write(&site.state));
    if let Err(error) = decided {
        // As long as the decision may stand, its messages do.
        if site.state.remove(IMPORTING).is_ok() {
            drop_all(&builder, &drafts);
        }
        return Err(cannot(error));
    }
    builder.show().map_err(|error| {
        cannot(error).with_fix("the messages are imported, and the next login shows those that are missing")
    })?;
    // Without the messages that wait the decision says nothing, and the next login removes it.
    let _ = site.state.remove(IMPORTING);
    Ok(ids)
}

/// Writes the messages where nobody sees them, durably, and their ids.
fn prepare(
    site: &Site,
    mail: &Mail,
    there: &[Uidl],
    builder: &mut Builder,
    drafts: &mut Vec<Draft>,
    interrupted: Option<Decided>,
) -> Result<Prepared> {
    let cannot = |error| site.failed("write into", error);
    let mut hashes = Vec::new();
    for (at, record) in mail.records.iter().enumerate() {
        let line = mail.envelope(at).map_err(cannot)?;
        let length = usize::try_from(record.header_length.min(HEADER)).unwrap_or(0);
        let mut header = vec![0; length];
        let count = read_at(&mail.file, &mut header, record.start()).map_err(cannot)?;
        let flags = Flags::of_header(&header[..count]);
        let stamped = Stamped { received: envelope::received(&line), flags, octets: None };
        let draft = builder.draft(stamped, |out| {
            let mut out = BufWriter::new(out);
            write(&mail.message(at, Frame::Bare, Quoting::No), &mut out)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
        });
        drafts.push(draft.map_err(cannot)?);
    }
    for draft in drafts.iter() {
        let file = builder.open_draft(draft).map_err(cannot)?;
        hashes.push(Maildir::hash_of(&file)?);
    }
    let digest = digest(&hashes);
    if interrupted.is_some_and(|decided| decided.digest == digest) {
        return Ok(Prepared::Shown);
    }
    let mut twins = Twins::load(&site.state)?;
    let changes = changes(&twins, there, &numbered(&twins, there, &hashes), &mail.wanted)?;
    write_ids(site, &mut twins, &changes)?;
    Ok(Prepared::Ready(u32::try_from(changes.len()).unwrap_or(u32::MAX), digest))
}

/// What tells these messages from others.
fn digest(hashes: &[u128]) -> u64 {
    let octets: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
    XxHash3_64::oneshot(&octets)
}

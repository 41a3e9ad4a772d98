//! A new Maildir, or new messages for one: each is written into `tmp` and moved once it is complete.

use super::listing::{Folder, Folders, Place};
use super::pieces::Made;
use super::staged;
use crate::maildrop::flags::Flags;
use crate::sys::directory::Directory;
use crate::sys::file::{Stamp, set_times, status};
use crate::sys::{clock, random};
use std::fs::File;
use std::io;

/// The directories of a Maildir.
const INNER: [&str; 3] = ["cur", "new", "tmp"];

/// Writes messages into a Maildir.
pub(crate) struct Builder {
    folders: Folders,
    tmp: Directory,
    /// The time in the next name at least: messages keep their order.
    time: u32,
    /// Of the second in which this began, so that two that begin in one second keep their order.
    micros: u32,
    sequence: u32,
    /// Nobody else makes names with this in them.
    unique: u64,
}

/// A message in `tmp`.
pub(crate) struct Draft {
    name: String,
    /// Where it will be.
    place: Place,
}

/// What a message is stored with.
#[derive(Clone, Copy)]
pub(crate) struct Stamped {
    /// When it was received, in seconds since 1970; 0: now.
    pub(crate) received: u32,
    pub(crate) flags: Flags,
    /// Octets as RETR sends them, when they are known.
    pub(crate) octets: Option<u64>,
}

impl Builder {
    /// Makes a Maildir without messages.
    ///
    /// # Errors
    /// The system's: EEXIST when the name is taken.
    pub(crate) fn create(above: &Directory, name: &str) -> io::Result<Self> {
        above.make_directory(name, 0o700)?;
        let maildir = above.open_directory(name)?;
        INNER.iter().try_for_each(|inner| maildir.make_directory(inner, 0o700))?;
        Self::open(&maildir)
    }

    /// Opens one that is there.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(maildir: &Directory) -> io::Result<Self> {
        let inner = |name| maildir.open_directory(name);
        if !maildir.has_directory("tmp") {
            maildir.make_directory("tmp", 0o700)?;
        }
        let folders = Folders { new: inner("new")?, cur: inner("cur")?, notes: Vec::new() };
        Ok(Self {
            folders,
            tmp: inner("tmp")?,
            time: 0,
            micros: clock::wall().subsec_micros(),
            sequence: 0,
            unique: random::number()?,
        })
    }

    /// From here on names say now at the earliest: what is added stands behind all that is there.
    pub(crate) fn append(mut self) -> Self {
        self.time = now();
        self
    }

    /// Writes a message, not durably yet. `fill` gets an empty file. Names go up, so that messages keep their order; their
    /// time is not later than now, so that what comes by mail stands behind them.
    ///
    /// # Errors
    /// The system's, such as a full disk.
    pub(crate) fn add(
        &mut self,
        stamped: Stamped,
        fill: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<Made> {
        let draft = self.draft(stamped, fill)?;
        self.publish(draft)
    }

    /// Writes a message that nobody sees yet.
    ///
    /// # Errors
    /// As for [`Builder::add`].
    pub(crate) fn draft(
        &mut self,
        stamped: Stamped,
        fill: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<Draft> {
        let now = now();
        let received = if stamped.received == 0 { now } else { stamped.received };
        self.time = self.time.max(received.min(now));
        self.sequence = self.sequence.saturating_add(1);
        let draft =
            format!("{}.M{:06}Q{:010}R{:016x}.poptools", self.time, self.micros, self.sequence, self.unique);
        let file = self.tmp.create(&draft, 0o600)?;
        let written = fill(&file).and_then(|()| {
            let stamp = Stamp { seconds: i64::from(received), nanoseconds: 0 };
            set_times(&file, stamp, stamp)?;
            status(&file)
        });
        let found = written.inspect_err(|_| drop(self.tmp.remove(&draft)))?;
        let size = found.identity.size;
        let sizes =
            stamped.octets.map_or_else(|| format!(",S={size}"), |octets| format!(",S={size},W={octets}"));
        let (folder, info) =
            if stamped.flags.old { (Folder::Cur, stamped.flags.info()) } else { (Folder::New, Vec::new()) };
        let name = [draft.as_bytes(), sizes.as_bytes(), &info].concat();
        let place = Place { folder, name, inode: found.identity.inode, modified: found.identity.modified };
        Ok(Draft { name: draft, place })
    }

    /// Opens a message that nobody sees yet.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open_draft(&self, draft: &Draft) -> io::Result<File> {
        self.tmp.open_file(&draft.name)
    }

    /// Shows a message.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn publish(&self, draft: Draft) -> io::Result<Made> {
        let Draft { name, place } = draft;
        self.tmp.move_entry(name.as_bytes(), self.folders.get(place.folder), &place.name)?;
        Ok(Made::new(place))
    }

    /// Puts a message where [`Builder::show`] shows it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn stage(&self, draft: &Draft) -> io::Result<()> {
        let folder = self.folders.get(draft.place.folder);
        self.tmp.move_entry(draft.name.as_bytes(), folder, &draft.place.waiting())
    }

    /// What stands in the names of this one's messages and of no others.
    pub(crate) const fn unique(&self) -> u64 {
        self.unique
    }

    /// Shows all messages that were staged.
    ///
    /// # Errors
    /// The system's; some may show, and the others wait.
    pub(crate) fn show(&self) -> io::Result<u32> {
        staged::show(&self.folders, self.unique)
    }

    /// Removes what was left by others that were killed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn sweep(&self, state: &Directory) -> io::Result<()> {
        staged::sweep(&self.folders, &self.tmp, state)
    }

    /// Takes a message away again that nobody has seen, staged or not.
    pub(crate) fn drop_draft(&self, draft: &Draft) {
        let _ = self.tmp.remove(&draft.name);
        let _ = self.folders.get(draft.place.folder).remove_entry(&draft.place.waiting());
    }

    /// Makes messages durable.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn sync<'a>(&self, made: impl Iterator<Item = &'a Made>) -> io::Result<()> {
        for made in made {
            let place = made.place();
            if let Some(file) = self.folders.get(place.folder).open_entry(&place.name)? {
                file.sync_all()?;
            }
        }
        self.folders.new.sync()?;
        self.folders.cur.sync()
    }
}

fn now() -> u32 {
    u32::try_from(clock::wall().as_secs()).unwrap_or(u32::MAX)
}

/// Removes a Maildir with all that is in it. One with other directories than those of a Maildir stays as it is: those are a user's
/// mail folders.
///
/// # Errors
/// The system's; `DirectoryNotEmpty` for one with folders.
pub(crate) fn remove(above: &Directory, name: &str) -> io::Result<()> {
    let maildir = above.open_directory(name)?;
    if folders_of(&maildir)?.next().is_some() {
        return Err(io::ErrorKind::DirectoryNotEmpty.into());
    }
    for inner in INNER {
        if maildir.has_directory(inner) {
            empty(&maildir.open_directory(inner)?)?;
            maildir.remove(inner)?;
        }
    }
    empty(&maildir)?;
    above.remove(name).map(drop)
}

/// The directories in a Maildir that are none of its own.
///
/// # Errors
/// The system's.
pub(crate) fn folders_of(maildir: &Directory) -> io::Result<impl Iterator<Item = String>> {
    let names: Vec<String> = maildir
        .names("")?
        .into_iter()
        .filter(|name| {
            !matches!(name.as_str(), "." | ".." | "cur" | "new" | "tmp") && maildir.has_directory(name)
        })
        .collect();
    Ok(names.into_iter())
}

fn empty(directory: &Directory) -> io::Result<()> {
    let mut names = Vec::new();
    directory.for_each_entry(|name, _| names.push(name.to_vec()))?;
    names.iter().try_for_each(|name| directory.remove_entry(name).map(drop))
}

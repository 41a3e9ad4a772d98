//! Maildrops to and from one file: an mbox with its quoting undone by who reads it (mboxrd), and the unique ids in it.

mod export;
pub(crate) mod ids;
mod import;
#[cfg(test)]
mod tests;

pub(crate) use export::export;
pub(crate) use import::{Import, import};

use super::index::Index;
use super::maildir::{Maildir, open};
use super::mbox::local::{Local, LockSet};
use super::mbox::open::split;
use super::mbox::spool::Purpose;
use super::mbox::whole;
use super::uidl::twins::Twins;
use super::{Maildrop, Uidl};
use crate::config::Format;
use crate::error::{Error, Kind, Result};
use crate::sys::directory::Directory;
use crate::sys::file::FileKind;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Octets of a header in which ids and marks are looked for: more than any mail system lets a sender write, since the last `X-UIDL`
/// counts, and a sender who could push ours out of sight would choose the id.
const HEADER: u64 = 16 * 1024 * 1024;

/// A maildrop that nobody else may use meanwhile: its session's lock is held.
pub(crate) struct Site {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The user.
    pub(crate) uid: u32,
    /// The user's state directory.
    pub(crate) state: Directory,
    /// The locks of an mbox.
    pub(crate) locks: LockSet,
    /// What is made where there is no maildrop.
    pub(crate) format: Format,
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Messages that were written.
    pub(crate) messages: u32,
    /// Unique ids that stand in the place of others now.
    pub(crate) ids: u32,
    /// The reader of the output has gone away.
    pub(crate) cut_off: bool,
    /// What the administrator should know.
    pub(crate) notes: Vec<String>,
}

/// The maildrop, open.
enum Opened {
    /// Locked, with what is known of it.
    Mbox(Local, File, Index),
    Maildir(Maildir),
    Missing,
}

impl Site {
    fn open(&self, purpose: Purpose) -> Result<Opened> {
        let (above, name) = split(&self.path)?;
        let found = Directory::open(above).and_then(|above| above.status(name));
        match found.map_err(|error| self.failed("look at", error))?.map(|found| found.kind) {
            Some(FileKind::Directory) => {
                let folders = open::folders(Format::Maildir, &self.path, self.uid)?
                    .ok_or_else(|| Error::new(Kind::Permanent, format!("{} is gone", self.path.display())))?;
                let maildir = Maildir::open(folders, &self.path, self.uid, self.state()?)?;
                maildir.numbers_are_written()?;
                Ok(Opened::Maildir(maildir))
            }
            Some(_) => {
                let mut local = Local::new(&self.path, self.locks, self.uid)?;
                let Some(locked) = whole::lock(&mut local, &self.state, purpose)? else {
                    return Ok(Opened::Missing);
                };
                let (index, _) = whole::survey(&locked.file, &self.state)?;
                Ok(Opened::Mbox(local, locked.file, index))
            }
            None => Ok(Opened::Missing),
        }
    }

    fn state(&self) -> Result<Directory> {
        let copy = self.state.as_fd().try_clone_to_owned();
        copy.map(Directory::from).map_err(|error| Error::io("cannot keep the state directory open", error))
    }

    fn failed(&self, verb: &str, error: io::Error) -> Error {
        Error::io(format!("cannot {verb} {}", self.path.display()), error)
    }
}

impl Opened {
    /// The unique ids of all messages, as they are computed.
    fn uidls(&mut self) -> Result<Vec<Uidl>> {
        let mut uidls = Vec::new();
        match self {
            Self::Missing => {}
            Self::Mbox(_, _, index) => index.for_each(|_, record| {
                uidls.push(record.entry().uidl);
                Ok(())
            })?,
            Self::Maildir(maildir) => maildir.for_each_uidl(|_, uidl| uidls.push(uidl))?,
        }
        Ok(uidls)
    }

    fn notes(&mut self) -> Vec<String> {
        match self {
            Self::Maildir(maildir) => maildir.take_notes(),
            _ => Vec::new(),
        }
    }
}

/// The number of the next message with each hash.
fn next_twin(twins: &Twins, uidls: &[Uidl], hash: u128) -> u32 {
    let recorded = twins.numbers(hash).map_or(1, |numbers| numbers.next);
    let there = uidls.iter().filter(|uidl| uidl.hash == hash).map(|uidl| uidl.twin.saturating_add(1));
    there.max().unwrap_or(1).max(recorded)
}

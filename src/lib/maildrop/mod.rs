//! Maildrops: one trait, the formats behind it.

pub(crate) mod convert;
pub(crate) mod flags;
pub(crate) mod glance;
pub(crate) mod index;
pub(crate) mod inspect;
pub(crate) mod maildir;
pub(crate) mod mbox;
#[cfg(test)]
mod model;
pub(crate) mod preview;
pub(crate) mod transfer;
pub(crate) mod uidl;

use crate::config::Format;
use crate::error::Result;
use crate::protocol::MsgNo;
use crate::sys::directory::Directory;
use maildir::{Folders, Maildir};
use mbox::{Mbox, spool::Spool};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

pub(crate) use crate::session::Bitmap;
pub(crate) use uidl::twins::Imported;

/// A unique identifier as UIDL shows it (RFC 1939, section 7): 1 to 70 characters from `!` to `~`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Uidl {
    /// The hash of the message (see `uidl.rs`).
    pub(crate) hash: u128,
    /// Which of several messages with this hash; the first is 1 and not shown.
    pub(crate) twin: u32,
}

/// What a session needs to know of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Exactly the octets that RETR sends, before dot-stuffing and without the final `.` line.
    pub(crate) octets: u64,
    /// Its unique identifier.
    pub(crate) uidl: Uidl,
    /// When it was received, in seconds since 1970; 0 where nothing says so.
    pub(crate) received: u32,
}

/// What is known of a maildrop without a look at its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Messages in it.
    pub(crate) count: u32,
    /// Octets of all of them, as RETR would send them.
    pub(crate) octets: u64,
    /// Octets of all of them, as they are stored.
    pub(crate) stored: u64,
    /// When the first of them was received, in seconds since 1970; 0 where none says so.
    pub(crate) oldest: u32,
    /// The same of the last.
    pub(crate) newest: u32,
}

/// An open maildrop, as it was when the session began. Numbers never change in a session.
pub(crate) trait Maildrop {
    /// Messages in it.
    fn count(&self) -> u32;

    /// Octets of all of them, as RETR would send them.
    fn octets(&self) -> u64;

    /// All that is known of it as a whole.
    fn summary(&self) -> Summary;

    /// Replaces `page` by the entries of messages from `first` on, as many as are at hand (at least one when
    /// `first` exists; at most a few hundred).
    ///
    /// # Errors
    /// The index cannot be read.
    fn entries(&mut self, first: MsgNo, page: &mut Vec<Entry>) -> Result<()>;

    /// Reads stored bytes of a message, from `offset` octets behind its first header line on, into `buffer`;
    /// 0 means its end. At offset 0 it checks that the mailbox still is what was scanned.
    ///
    /// # Errors
    /// Another program changed the mailbox (`[SYS/TEMP]`), or it cannot be read.
    fn read(&mut self, message: MsgNo, offset: u64, buffer: &mut [u8]) -> Result<usize>;

    /// Removes the messages whose bit is set, durably. `retrieved` are those that were sent as a whole.
    ///
    /// # Errors
    /// Nothing was changed, and the error says why. Or the change was made and could not be made durable: then its words
    /// for the client say that the messages may be deleted already.
    fn commit(&mut self, deleted: &Bitmap, retrieved: &Bitmap) -> Result<()>;

    /// Unique ids that stand in the place of those that [`Maildrop::entries`] gives.
    ///
    /// # Errors
    /// They cannot be read.
    fn imported(&self) -> Result<Imported>;

    /// Takes what the administrator should know since the last call: one line each, for the log alone.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// What stands at the place of a maildrop, open.
pub(crate) enum Found {
    /// No mail, or an mbox.
    Mbox(Option<File>),
    /// A Maildir.
    Maildir(Folders),
}

impl Found {
    /// The directories in which the session opens, moves and removes files by name: those of a Maildir, which is the user's own.
    pub(crate) fn directories(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Mbox(_) => Vec::new(),
            Self::Maildir(folders) => vec![folders.new.as_fd(), folders.cur.as_fd()],
        }
    }
}

/// Opens what stands at the maildrop's place as the user `uid`, before the session's sandbox. Nothing blocks, and no link is
/// followed but on the way to it.
///
/// # Errors
/// `Kind::Permanent` when it is no maildrop that belongs to the user.
pub(crate) fn find(format: Format, path: &Path, uid: u32) -> Result<Found> {
    match maildir::open::folders(format, path, uid)? {
        Some(folders) => Ok(Found::Maildir(folders)),
        None if format == Format::Maildir => Ok(Found::Mbox(None)),
        None => Ok(Found::Mbox(open_mailbox(format, path, uid)?)),
    }
}

/// The same for who only looks.
///
/// # Errors
/// As for [`find`].
pub(crate) fn find_to_read(format: Format, path: &Path, uid: u32) -> Result<Found> {
    match maildir::open::folders(format, path, uid)? {
        Some(folders) => Ok(Found::Maildir(folders.read_only())),
        None if format == Format::Maildir => Ok(Found::Mbox(None)),
        None => Ok(Found::Mbox(mbox::open::mailbox_to_read(path, uid)?)),
    }
}

/// The same for an mbox; none when there is no mail.
///
/// # Errors
/// `Kind::Permanent` when it is not a regular file with one name that belongs to the user.
pub(crate) fn open_mailbox(format: Format, path: &Path, uid: u32) -> Result<Option<File>> {
    debug_assert!(format != Format::Maildir, "a Maildir is no mbox");
    mbox::open::mailbox(path, uid)
}

/// Opens the maildrop in what [`find`] gave. `path` is for messages alone, `state` the user's state directory, `uid` the
/// user.
///
/// # Errors
/// The maildrop cannot be read, is no mbox, or stays locked.
pub(crate) fn open(
    found: Found,
    path: &Path,
    uid: u32,
    state: Directory,
    spool: Box<dyn Spool>,
) -> Result<Box<dyn Maildrop>> {
    Ok(match found {
        Found::Mbox(mailbox) => Box::new(Mbox::open(mailbox, path, state, spool)?),
        Found::Maildir(folders) => Box::new(Maildir::open(folders, path, uid, state)?),
    })
}

/// Whether the message with this position (from 0) is in the set.
fn is_in(set: &Bitmap, position: u32) -> bool {
    position.checked_add(1).and_then(MsgNo::new).is_some_and(|message| set.contains(message))
}

//! Maildrops: one trait, the formats behind it.

pub(crate) mod index;
pub(crate) mod mbox;
pub(crate) mod uidl;

use crate::error::Result;
use crate::protocol::MsgNo;

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
}

/// An open maildrop, as it was when the session began. Numbers never change in a session.
pub(crate) trait Maildrop {
    /// Messages in it.
    fn count(&self) -> u32;

    /// Octets of all of them, as RETR would send them.
    fn octets(&self) -> u64;

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
    /// Nothing was changed; the error says why.
    fn commit(&mut self, deleted: &Bitmap, retrieved: &Bitmap) -> Result<()>;
}

pub(crate) use crate::session::Bitmap;

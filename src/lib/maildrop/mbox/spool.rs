//! What a session needs of the directory that its mailbox lies in. The session itself has no right to that
//! directory: in a session process these are messages to the spool helper.

use crate::error::Result;
use crate::sys::file::Identity;
use std::fs::File;
use std::io;

/// What the client is told when the disk or a quota is full.
const NO_ROOM: &str = "no room to rewrite the maildrop: nothing was deleted; deleting all messages or only the newest still works";
/// What the client is told when no file can be made beside the mailbox.
const NO_RIGHT: &str = "the directory of the maildrop cannot be written: nothing was deleted; deleting all messages or only the newest still works";
/// What the client is told when something else is in the way of a new mailbox.
const NOT_NOW: &str = "the maildrop cannot be rewritten now: nothing was deleted; deleting all messages or only the newest may still work";
/// What the client is told when an update failed behind the change: the mailbox is the new one, but perhaps not after a power cut.
pub(crate) const UNCERTAIN: &str = "the messages may be deleted already: log in again and look";
/// What the client is told when the locks cannot be had.
pub(crate) const LOCKED: &str = "the maildrop is locked by another program, try again later";

/// What the client is told when the mailbox cannot be rewritten for this reason, and is as it was.
pub(crate) fn not_rewritten(error: &io::Error) -> &'static str {
    use io::ErrorKind as E;
    match error.kind() {
        E::StorageFull | E::QuotaExceeded | E::FileTooLarge => NO_ROOM,
        E::PermissionDenied | E::ReadOnlyFilesystem => NO_RIGHT,
        _ => NOT_NOW,
    }
}

/// What the locks are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Reading the mailbox to its end.
    Scan,
    /// The same after an update that may have been killed: what it left is removed.
    Recover,
    /// Changing it.
    Update,
}

/// A mailbox that is open and locked.
#[derive(Debug)]
pub(crate) struct Locked {
    /// The one open description, read-write; the kernel lock belongs to it.
    pub(crate) file: File,
    /// What the log should say.
    pub(crate) notes: Vec<String>,
}

/// A mailbox whose place the new file has taken.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// The new mailbox, as it was put there.
    pub(crate) identity: Identity,
    /// What the log should say.
    pub(crate) notes: Vec<String>,
}

/// What needs the spool's directory.
pub(crate) trait Spool {
    /// Opens and locks the mailbox: kernel lock, then dotlock, as configured (design, section 4, "Locks"). None: there
    /// is no mailbox.
    ///
    /// # Errors
    /// It is no mailbox of the user, or stays locked.
    fn lock(&mut self, purpose: Purpose) -> Result<Option<Locked>>;

    /// Makes the temporary file beside the locked mailbox: empty, locked and private until `replace`.
    ///
    /// # Errors
    /// It cannot be made, or there is one already.
    fn temporary(&mut self) -> Result<File>;

    /// Puts the temporary file, written and synced by the caller, in the mailbox's place, durably, and gives up the
    /// locks. `copied_to`: the octets of the old mailbox that the caller took into account; what a late deliverer adds
    /// behind them is brought over.
    ///
    /// # Errors
    /// The mailbox or the dotlock is not what was locked any more, or the system refuses: the old mailbox is in its
    /// place. Or the directory could not be synced behind the rename, or the helper is gone: the new one may be in its
    /// place, and the client is told so ([`UNCERTAIN`]).
    fn replace(&mut self, copied_to: u64) -> Result<Replaced>;

    /// Gives up the locks and removes what is left of an unfinished update.
    ///
    /// # Errors
    /// A helper that is gone.
    fn unlock(&mut self) -> Result<()>;
}

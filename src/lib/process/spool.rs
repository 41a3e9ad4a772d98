//! The spool helper: what needs the mailbox's directory, for one locked operation.
//!
//! In most spools whoever has the spool's group can read and delete everybody's mail, so the session does not have it. The helper does: it is
//! the monitor's child, runs as the user with the directory's group, parses nothing that a client or a mailbox says, and works on names that it
//! derives from what the verifier told the monitor. Landlock leaves it that directory; seccomp no process, no program, no socket.
//! It passes descriptors back, holds the locks, and ends with the session's end of the socket: then temporary file and dotlock go, and nothing is renamed.

use super::message::{Malformed, Message, Reader, Writer, put_error, take_error};
use super::notice::{Admitted, Notice};
use super::places;
use super::role::Surroundings;
use crate::config::{Config, Lock, Sandbox};
use crate::error::{Error, Kind, Result};
use crate::maildrop::mbox::{Local, LockSet, Locked, Purpose, Replaced, Spool};
use crate::sys::directory::Directory;
use crate::sys::privileges::{self, Ids};
use crate::sys::process::Limits;
use crate::sys::sandbox::{Calls, Fence, inside};
use crate::sys::socket::{self, Wait};
use crate::sys::{clock, lock};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// What this role may ask of the kernel.
pub(crate) const CALLS: &[Calls] =
    &[Calls::Base, Calls::Streams, Calls::Messages, Calls::OpenFiles, Calls::Names, Calls::Attributes];

/// A handful of descriptors, little memory.
const LIMITS: Limits =
    Limits { descriptors: Some(64), memory: Some(512 << 20), file_size: None, may_fork: false };

/// How often our dotlock is touched while it is held.
const TOUCH: Duration = Duration::from_secs(10);

/// How long a deliverer that opened the old mailbox is waited for, once the client has its answer.
const LATE: Duration = Duration::from_secs(60);

/// Session to helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Lock(Purpose),
    Temporary,
    Replace { copied: u64 },
    Unlock,
}

/// Helper to session.
#[derive(Debug)]
enum Response {
    Done,
    NoMailbox,
    /// The mailbox, or the temporary file, comes with it.
    Opened,
    Replaced(Replaced),
    Failed(Error),
}

impl Message for Request {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Lock(Purpose::Scan) => out.byte(1),
            Self::Lock(Purpose::Update) => out.byte(2),
            Self::Temporary => out.byte(3),
            Self::Replace { copied } => out.byte(4).number(*copied),
            Self::Unlock => out.byte(5),
        };
    }

    fn decode(input: &mut Reader<'_>) -> std::result::Result<Self, Malformed> {
        match input.byte()? {
            1 => Ok(Self::Lock(Purpose::Scan)),
            2 => Ok(Self::Lock(Purpose::Update)),
            3 => Ok(Self::Temporary),
            4 => Ok(Self::Replace { copied: input.number()? }),
            5 => Ok(Self::Unlock),
            _ => Err(Malformed),
        }
    }
}

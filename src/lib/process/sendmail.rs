//! The child that becomes sendmail for XTND XMIT: all of the user's rights and groups, and nothing of the server's.
//!
//! It is the monitor's child, since a session can execute nothing. It runs without `no_new_privs`: sendmail's own helpers are set-gid.
//! Its standard input is the message, which is complete: a client that leaves in the middle sends nothing.

use super::message::{Malformed, Message, Reader, Writer};
use super::notice::Admitted;
use crate::sys::privileges::{self, Ids};
use crate::sys::process::{Ended, Limits, detach, exec, go_to, private_files};
use crate::sys::{descriptors, socket};
use std::os::fd::OwnedFd;
use std::path::Path;

/// No core file; everything else as the system has it.
const LIMITS: Limits = Limits { descriptors: None, memory: None, file_size: None, may_fork: true };

/// Exit statuses of a child that did not become sendmail, as shells have them.
const NOT_PREPARED: u8 = 126;
const NOT_EXECUTED: u8 = 127;

/// Where sendmail and its helpers look for programs.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// The child's part; returns only when sendmail cannot be executed.
pub(crate) fn run(message: &OwnedFd, admitted: &Admitted, program: &Path) -> u8 {
    let prepared = enter(admitted).is_ok_and(|()| descriptors::onto_standard_input(message).is_ok());
    if !prepared {
        return NOT_PREPARED;
    }
    detach();
    private_files();
    go_to(&admitted.home);
    let environment = [
        ("PATH", PATH.to_owned()),
        ("HOME", admitted.home.display().to_string()),
        ("USER", admitted.user.clone()),
        ("LOGNAME", admitted.user.clone()),
    ];
    // -t: recipients stand in the message; -oi: a line with a single dot is text.
    exec(program, &["sendmail", "-t", "-oi"], &environment);
    NOT_EXECUTED
}

/// From root to the user with all groups, for good.
pub(super) fn enter(admitted: &Admitted) -> crate::error::Result<()> {
    let groups = privileges::groups_of(&admitted.user, admitted.gid);
    privileges::become_for_good(&Ids { uid: admitted.uid, gid: admitted.gid, groups })?;
    LIMITS.apply()
}

/// What became of a message: sendmail's exit status, or the signal that ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// 0: it was taken.
    pub(crate) status: i32,
}

impl Sent {
    /// From the way the child ended; a signal counts as 128 and its number, as a shell says it.
    pub(crate) const fn from_end(ended: Ended) -> Self {
        match ended {
            Ended::Status(status) => Self { status },
            Ended::Signal(signal) => Self { status: 128 + signal },
        }
    }
}

impl Message for Sent {
    fn encode(&self, out: &mut Writer) {
        out.number(u64::from(self.status.unsigned_abs()));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { status: i32::try_from(input.number()?).map_err(|_| Malformed)? })
    }
}

/// The monitor's part at the child's end: the session learns how it went.
pub(crate) fn report(answer: &OwnedFd, sent: Sent) {
    // A session that is gone needs no answer.
    let _ = socket::send(answer, &sent.to_bytes(), &[], false);
}

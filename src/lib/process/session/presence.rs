//! What a session shows of itself while it lives, and how it is asked to end.
//!
//! Its lock says that it is there. When it last did something is the position of the lock's descriptor, in seconds since the machine
//! started: root reads that in `/proc/PID/fdinfo`, nobody else can write it, and it costs one lseek(2) a second at most. Without
//! root's rights nobody can look there; the lock file is the user's own then, and its time of change says the same.
//!
//! SIGTERM is heard while the session waits, and looked for once a second where it never has to. A command is answered to its end,
//! an update is finished; the next command is not read. A client that takes a reply too slowly gets the rest of it no more.

use super::Stopped;
use crate::log::End;
use crate::sys::signals::Termination;
use crate::sys::socket::{self, Wait, Waited};
use crate::sys::{clock, file, privileges};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How often it is shown, at most.
const EVERY: Duration = Duration::from_secs(1);

/// How long a reply may go on when the session was asked to end.
const GRACE: Duration = Duration::from_secs(5);

/// A session's lock, and the ear for SIGTERM.
pub(super) struct Presence {
    lock: Option<File>,
    /// Whether the lock file is this user's own.
    own: bool,
    termination: Termination,
    /// When it is shown again.
    due: Instant,
    /// When the session was asked to end.
    asked: Option<Instant>,
}

impl Presence {
    /// From now on SIGTERM is a wish.
    pub(super) fn new(lock: File) -> Self {
        let own = file::status(&lock).is_ok_and(|lock| lock.uid == privileges::own().uid);
        let mut presence =
            Self { lock: Some(lock), own, termination: Termination::defer(), due: clock::now(), asked: None };
        presence.show();
        presence
    }

    /// Gives the maildrop free.
    pub(super) fn release(&mut self) {
        self.lock = None;
    }

    /// Shows that the session does something.
    pub(super) fn show(&mut self) {
        let now = clock::now();
        if now < self.due {
            return;
        }
        self.due = now + EVERY;
        self.listen(now);
        if let Some(lock) = &mut self.lock {
            // What cannot be shown is not known; nothing depends on it.
            let _ = lock.seek(SeekFrom::Start(clock::since_boot().as_secs()));
            if self.own {
                let _ = file::touch(lock);
            }
        }
    }

    fn listen(&mut self, now: Instant) {
        if self.asked.is_none() && self.termination.is_asked_for() {
            self.asked = Some(now);
        }
    }

    /// Between two commands.
    pub(super) fn may_go_on(&self) -> Stopped<()> {
        if self.asked.is_some() { Err(End::Terminated) } else { Ok(()) }
    }

    /// Waits for the client.
    pub(super) fn wait(&mut self, client: impl AsFd, what: Wait, deadline: Instant) -> Stopped<()> {
        let waited = match self.asked {
            None => socket::wait_unless(&self.termination, client.as_fd(), what, deadline),
            Some(asked) => socket::wait(client.as_fd(), what, deadline.min(asked + GRACE))
                .map(|ready| if ready { Waited::Ready } else { Waited::Interrupted }),
        };
        match waited {
            Ok(Waited::Ready) => Ok(()),
            Ok(Waited::Late) => Err(End::Idle),
            Ok(Waited::Interrupted) if what == Wait::Write && self.asked.is_none() => {
                // A reply has begun: the client may take the rest of it.
                self.asked = Some(clock::now());
                self.wait(client, what, deadline)
            }
            Ok(Waited::Interrupted) => Err(End::Terminated),
            Err(_) => Err(End::Dropped),
        }
    }
}

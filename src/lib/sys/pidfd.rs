//! A process that is held by a descriptor: its number cannot become another's meanwhile (pidfd_open(2)).

use super::socket::{Wait, wait};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Instant;

/// How a process is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It may finish what it does (SIGTERM).
    Asked,
    /// At once (SIGKILL).
    Forced,
}

/// A process of this machine, the same one as long as this lives.
#[derive(Debug)]
pub(crate) struct Process(OwnedFd);

impl Process {
    /// Opens the process that has this number now; none when there is none.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        let number = i32::try_from(pid).map_err(io::Error::other)?;
        // SAFETY: pidfd_open takes two numbers.
        match Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) }) {
            Ok(descriptor) => {
                let descriptor = RawFd::try_from(descriptor).map_err(io::Error::other)?;
                // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
                Ok(Some(Self(unsafe { OwnedFd::from_raw_fd(descriptor) })))
            }
            Err(Errno::ESRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells it to end; false when it has ended already.
    ///
    /// # Errors
    /// The system's: EPERM for a process of another user.
    pub(crate) fn end(&self, how: End) -> io::Result<bool> {
        let signal = match how {
            End::Asked => Signal::SIGTERM,
            End::Forced => Signal::SIGKILL,
        };
        let nothing = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open; without a structure the kernel fills in one as kill(2) does.
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal as i32, nothing, 0)
        };
        match Errno::result(sent) {
            Ok(_) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its end; false when the deadline came first.
    ///
    /// # Errors
    /// As poll(2).
    pub(crate) fn has_ended_by(&self, deadline: Instant) -> io::Result<bool> {
        wait(&self.0, Wait::Read, deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn a_process_is_told_to_end_and_waited_for() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let held = Process::open(child.id()).unwrap().unwrap();
        assert!(!held.has_ended_by(clock::now()).unwrap());
        assert!(held.end(End::Asked).unwrap());
        assert!(held.has_ended_by(clock::now() + Duration::from_secs(10)).unwrap());
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
        assert!(!held.end(End::Forced).unwrap(), "it has ended, and nobody else is hit");
    }
}

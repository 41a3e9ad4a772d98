//! Locks on whole files: open file description locks, leases, and the life of processes that left a pid.

use super::ofd;
use super::pidfd::Process;
use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// What became of a wish for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lease {
    /// Nobody else has the file open.
    Granted,
    /// Somebody else has it open.
    Busy,
    /// This file system grants no leases.
    Refused,
}

/// Takes the write lock on the whole file without waiting; false when another description holds a lock. It
/// belongs to the open file description, conflicts with POSIX locks of others, and goes when the last
/// descriptor of the description is closed. The file must be open for writing.
///
/// # Errors
/// The system's; a file system without locks, for one.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    ofd::try_lock_range(file, 0, 0)
}

/// Gives the lock back.
///
/// # Errors
/// The system's.
pub(crate) fn unlock(file: &File) -> io::Result<()> {
    ofd::unlock_all(file)
}

/// Asks for a write lease: granted only when no other open description of the file exists (fcntl(2)). A
/// process that asks must ignore SIGIO, see [`ignore_lease_breaks`].
pub(crate) fn lease(file: &File) -> Lease {
    // SAFETY: the descriptor is open, and the command takes a plain number.
    match Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) }) {
        Ok(_) => Lease::Granted,
        Err(Errno::EAGAIN | Errno::EINTR) => Lease::Busy,
        Err(_) => Lease::Refused,
    }
}

/// Gives the lease back.
pub(crate) fn end_lease(file: &File) {
    // A lease that is not there any more needs no giving back: the answer does not matter.
    // SAFETY: the descriptor is open, and the command takes a plain number.
    let _ = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
}

/// Ignores SIGIO, by which the kernel tells the holder of a lease that somebody wants the file.
///
/// # Errors
/// The system's.
pub(crate) fn ignore_lease_breaks() -> io::Result<()> {
    // SAFETY: ignoring a signal installs no handler.
    Ok(unsafe { signal(Signal::SIGIO, SigHandler::SigIgn) }.map(drop)?)
}

/// Whether a process with this id exists, whoever owns it. It asks for a descriptor of the process and not by a signal, which a role's
/// fence forbids.
pub(crate) fn process_exists(pid: i32) -> bool {
    match u32::try_from(pid) {
        Ok(pid @ 1..) => !matches!(Process::open(pid), Ok(None)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_belongs_to_the_open_description() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = file.as_file();
        let shared = first.try_clone().unwrap();
        let second = File::options().read(true).write(true).open(file.path()).unwrap();
        assert!(try_lock(first).unwrap());
        assert!(try_lock(&shared).unwrap(), "fcntl(2): a duplicate is the same description");
        assert!(!try_lock(&second).unwrap());
        drop(shared);
        assert!(!try_lock(&second).unwrap(), "closing a duplicate gives nothing away");
        unlock(first).unwrap();
        assert!(try_lock(&second).unwrap());
    }

    #[test]
    fn a_lease_is_granted_to_the_only_description() {
        ignore_lease_breaks().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = file.as_file();
        let shared = first.try_clone().unwrap();
        let second = File::options().append(true).open(file.path()).unwrap();
        if lease(first) == Lease::Refused {
            eprintln!("skipped: no leases on this file system");
            return;
        }
        assert_eq!(lease(first), Lease::Busy);
        drop(second);
        assert_eq!(lease(first), Lease::Granted, "a duplicate is not another description");
        end_lease(first);
        drop(shared);
    }
}

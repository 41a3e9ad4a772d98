//! Descriptors that the process was started with.

use crate::error::{Error, Kind, Result};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::io::{IsTerminal, stdin};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

/// The first descriptor that systemd passes (sd_listen_fds(3)).
const FIRST_PASSED: RawFd = 3;

/// More sockets than any unit file has.
const MOST_PASSED: u32 = 64;

/// What stands on standard input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StandardInput {
    /// A connected stream socket: started by inetd.
    Connection,
    /// A terminal: started by hand.
    Terminal,
    /// Anything else.
    Other,
}

/// Looks at standard input.
pub(crate) fn standard_input() -> StandardInput {
    if super::socket::is_connection(stdin().as_fd()) {
        StandardInput::Connection
    } else if stdin().is_terminal() {
        StandardInput::Terminal
    } else {
        StandardInput::Other
    }
}

/// Takes the socket from standard input; from then on 0, 1 and 2 are the null device, so that no stray line
/// can get between the client and the protocol.
///
/// # Errors
/// The null device cannot be opened.
pub(crate) fn take_standard_input() -> Result<OwnedFd> {
    let socket = stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|cause| Error::io("cannot take the socket from standard input", cause))?;
    silence_standard_streams()?;
    Ok(socket)
}

/// Puts the null device on descriptors 0, 1 and 2.
///
/// # Errors
/// The null device cannot be opened.
pub(crate) fn silence_standard_streams() -> Result<()> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| Error::io("cannot open /dev/null", errno.into()))?;
    for result in
        [nix::unistd::dup2_stdin(&null), nix::unistd::dup2_stdout(&null), nix::unistd::dup2_stderr(&null)]
    {
        result.map_err(|errno| Error::io("cannot redirect the standard streams", errno.into()))?;
    }
    Ok(())
}

/// Takes a descriptor of this number that the one who executed this program promised; `None` when it is not open.
pub(crate) fn promised(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: the call takes numbers; one that is not open is an error.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return None;
    }
    // SAFETY: it is open, and asked for once, before anything else is opened, so that nobody here has wrapped it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Puts a descriptor on standard input; for a program about to be executed.
///
/// # Errors
/// As dup2(2).
pub(crate) fn onto_standard_input(fd: impl AsFd) -> std::io::Result<()> {
    Ok(nix::unistd::dup2_stdin(fd)?)
}

/// A descriptor from systemd.
#[derive(Debug)]
pub(crate) struct Passed {
    /// The descriptor.
    pub(crate) socket: OwnedFd,
    /// Its name (`FileDescriptorName=`); empty when systemd gave none.
    pub(crate) name: String,
}

/// The descriptors that systemd passed to this process, with their names (sd_listen_fds_with_names(3)).
///
/// # Errors
/// One of them is not open.
pub(crate) fn passed_by_systemd() -> Result<Vec<Passed>> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").unwrap_or(0).min(MOST_PASSED);
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    (0..count)
        .map(|index| {
            let socket = pass(FIRST_PASSED + RawFd::try_from(index).unwrap_or(0))?;
            Ok(Passed { socket, name: names.next().unwrap_or_default() })
        })
        .collect()
}

fn pass(number: RawFd) -> Result<OwnedFd> {
    promised(number).ok_or_else(|| {
        let what = format!("descriptor {number}, counted by LISTEN_FDS, is not open");
        Error::new(Kind::Usage, what)
    })
}

/// Puts descriptors where a program about to be executed looks for those that were passed, in this order, and closes all others.
///
/// # Errors
/// No descriptor is left.
pub(crate) fn pass_on(all: &[RawFd]) -> std::io::Result<()> {
    let behind = RawFd::try_from(all.len()).unwrap_or(RawFd::MAX - FIRST_PASSED) + FIRST_PASSED;
    let mut away = Vec::new();
    for number in all {
        // Out of the way first, so that none is overwritten before it is moved.
        // SAFETY: the call takes numbers and makes a new one.
        away.push(unsafe { libc::fcntl(*number, libc::F_DUPFD, behind) });
    }
    for (to, from) in (FIRST_PASSED..).zip(away) {
        // SAFETY: the program about to be executed owns what is there; owners here are never dropped (see `close_range`).
        if from < 0 || unsafe { libc::dup2(from, to) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    close_range(behind, RawFd::MAX);
    Ok(())
}

/// Closes every descriptor from 3 on, except those given. For a child that has just been forked.
pub(crate) fn close_all_but(kept: &[RawFd]) {
    let mut numbers: Vec<RawFd> = kept.iter().copied().filter(|fd| *fd >= FIRST_PASSED).collect();
    numbers.sort_unstable();
    let mut from = FIRST_PASSED;
    for number in numbers {
        if number > from {
            close_range(from, number - 1);
        }
        from = number + 1;
    }
    close_range(from, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: a forked child calls this before it uses what it inherited; owners of the closed descriptors in
    // the parent's data are never dropped in the child, which ends by `_exit`.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if done != 0 {
        for number in first..=last.min(65_535) {
            // SAFETY: as above; closing a number that is not open is harmless.
            unsafe { libc::close(number) };
        }
    }
}

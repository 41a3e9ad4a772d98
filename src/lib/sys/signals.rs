//! Signals as events.

use crate::error::{Error, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a signal asks of the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A child ended.
    ChildEnded,
    /// Read the configuration again.
    Reload,
    /// Let another program take the sockets.
    HandOver,
    /// End.
    Terminate,
}

/// Signals that arrive as readable events instead of interrupting.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks SIGCHLD, SIGHUP, SIGUSR2, SIGTERM and SIGINT and receives them by descriptor.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> Result<Self> {
        let mask = watched();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)
            .and_then(|()| SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK))
            .map(Self)
            .map_err(|errno| Error::io("cannot receive signals", errno.into()))
    }

    /// The next signal, if one is waiting.
    pub(crate) fn next(&mut self) -> Option<Notice> {
        let signal = self.0.read_signal().ok()??;
        match i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()) {
            Some(Signal::SIGCHLD) => Some(Notice::ChildEnded),
            Some(Signal::SIGHUP) => Some(Notice::Reload),
            Some(Signal::SIGUSR2) => Some(Notice::HandOver),
            _ => Some(Notice::Terminate),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn watched() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGTERM, Signal::SIGINT].into_iter().collect()
}

/// In a child: signals work as in a fresh process again.
pub(crate) fn restore() {
    // Ctrl-C at a terminal goes to all; the monitor alone decides who ends.
    set(Signal::SIGINT, SigHandler::SigIgn);
    // Failure is impossible for a valid mask; a child with blocked signals would still serve.
    let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&watched()), None);
}

/// Does something while SIGINT has no effect; afterwards it has the one that it had.
pub(crate) fn without_interrupts<T>(work: impl FnOnce() -> T) -> T {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed.
    let before = unsafe { sigaction(Signal::SIGINT, &ignore) };
    let done = work();
    if let Ok(before) = before {
        // SAFETY: what is installed was there before.
        let _ = unsafe { sigaction(Signal::SIGINT, &before) };
    }
    done
}

/// SIGTERM has no effect on this process any more.
pub(crate) fn ignore_termination() {
    set(Signal::SIGTERM, SigHandler::SigIgn);
}

/// SIGTERM, heard at chosen moments alone: while the process waits, or when it asks. Whatever it does between is done to its end.
pub(crate) struct Termination(SigSet);

/// Whether SIGTERM came. A process has one such wish at most, and nobody takes it back.
static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_wish(_: i32) {
    ASKED.store(true, Ordering::Relaxed);
}

impl Termination {
    /// From now on SIGTERM has no effect but through what is returned.
    pub(crate) fn defer() -> Self {
        let action = SigAction::new(SigHandler::Handler(note_wish), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler stores one atomic number and calls nothing.
        let _ = unsafe { sigaction(Signal::SIGTERM, &action) };
        let mut others = SigSet::empty();
        // Failure is impossible for a valid mask; the wish is noted all the same then, and seen a moment later.
        let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::from(Signal::SIGTERM)), Some(&mut others));
        others.remove(Signal::SIGTERM);
        Self(others)
    }

    /// The signals that stay blocked while the process waits.
    pub(super) const fn mask(&self) -> SigSet {
        self.0
    }

    /// Whether SIGTERM was heard.
    pub(super) fn was_heard() -> bool {
        ASKED.load(Ordering::Relaxed)
    }

    /// Whether somebody asked for the end.
    pub(crate) fn is_asked_for(&self) -> bool {
        // Nothing to wait for and no time to wait: only what is pending is delivered.
        let _ = nix::poll::ppoll(&mut [], Some(std::time::Duration::ZERO.into()), Some(self.0));
        Self::was_heard()
    }
}

/// Gives SIGPIPE and SIGINT their default effect back, for a program about to be executed (Rust ignores the first, our children
/// the second).
pub(crate) fn default_for_program() {
    set(Signal::SIGPIPE, SigHandler::SigDfl);
    set(Signal::SIGINT, SigHandler::SigDfl);
}

fn set(signal: Signal, effect: SigHandler) {
    let action = SigAction::new(effect, SaFlags::empty(), SigSet::empty());
    // SAFETY: only ever called with the default effect or none, so no handler of ours is installed.
    let _ = unsafe { sigaction(signal, &action) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{clock, socket};
    use nix::sys::signal::raise;
    use std::time::Duration;

    /// For this thread alone: `raise` sends it to the caller.
    #[test]
    fn sigterm_waits_until_somebody_listens() {
        let termination = Termination::defer();
        let (here, there) = socket::pair().unwrap();
        assert!(!termination.is_asked_for());
        raise(Signal::SIGTERM).unwrap();
        assert!(!Termination::was_heard(), "nobody has listened yet");
        socket::send(&there, b"x", &[], true).unwrap();
        let wait = || {
            let deadline = clock::now() + Duration::from_secs(10);
            socket::wait_unless(&termination, &here, socket::Wait::Read, deadline).unwrap()
        };
        assert_eq!(wait(), socket::Waited::Ready, "what is there is taken first");
        socket::receive(&here, &mut [0; 8], true).unwrap();
        assert_eq!(wait(), socket::Waited::Interrupted);
        raise(Signal::SIGTERM).unwrap();
        assert!(termination.is_asked_for());
    }
}

//! Signals as events.

use crate::error::{Error, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// What a signal asks of the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A child ended.
    ChildEnded,
    /// Read the configuration again.
    Reload,
    /// End.
    Terminate,
}

/// Signals that arrive as readable events instead of interrupting.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks SIGCHLD, SIGHUP, SIGTERM and SIGINT and receives them by descriptor.
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
    [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT].into_iter().collect()
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

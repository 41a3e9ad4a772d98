//! The terminal as it was, whenever the process ends or is stopped by a signal while nothing typed is shown.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;
use std::sync::OnceLock;

/// The terminal and how it was set before anybody was asked.
struct Terminal {
    descriptor: i32,
    modes: libc::termios,
}

static TERMINAL: OnceLock<Terminal> = OnceLock::new();

/// From now on signals that end or stop the process put the terminal back first; one that was stopped takes up what it had set.
/// Without a terminal nothing happens. The descriptor stays open as long as the process lives.
pub(crate) fn restore_on_signals() {
    let Ok(terminal) = File::open("/dev/tty") else { return };
    let descriptor = terminal.into_raw_fd();
    let Some(modes) = modes(descriptor) else { return };
    if TERMINAL.set(Terminal { descriptor, modes }).is_err() {
        return;
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP] {
        let action = SigAction::new(SigHandler::Handler(put_back), SaFlags::SA_RESTART, SigSet::all());
        // SAFETY: the handler calls functions alone that are safe in one (signal-safety(7)).
        let _ = unsafe { sigaction(signal, &action) };
    }
}

fn modes(descriptor: i32) -> Option<libc::termios> {
    let mut modes = MaybeUninit::uninit();
    // SAFETY: the call writes one such structure, or answers with an error.
    let found = unsafe { libc::tcgetattr(descriptor, modes.as_mut_ptr()) } == 0;
    // SAFETY: filled, since the call succeeded.
    found.then(|| unsafe { modes.assume_init() })
}

fn apply(terminal: &Terminal, modes: &libc::termios) {
    // SAFETY: the descriptor stays open, and the structure is read alone.
    unsafe { libc::tcsetattr(terminal.descriptor, libc::TCSANOW, modes) };
}

extern "C" fn put_back(signal: libc::c_int) {
    // Reading it takes no lock: it was set before this handler was.
    let Some(terminal) = TERMINAL.get() else { return };
    let current = modes(terminal.descriptor);
    apply(terminal, &terminal.modes);
    if signal == libc::SIGTSTP {
        // SAFETY: the call takes a number.
        unsafe { libc::raise(libc::SIGSTOP) };
        // Continued: still asking.
        if let Some(current) = current {
            apply(terminal, &current);
        }
        return;
    }
    // SAFETY: plain numbers and the default effect; the signal is delivered when this handler returns.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

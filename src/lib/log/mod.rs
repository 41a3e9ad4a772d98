//! The written log: events, escape, sinks.

pub(crate) mod escape;
mod event;
mod session_id;
mod sink;
mod trace;

#[cfg(test)]
mod tests;

pub(crate) use event::{End, Event, Logout, Report, Severity, client_word};
pub(crate) use session_id::SessionId;

use crate::error::Result;
use crate::sys::clock::Zone;
use sink::{Form, Sink};
use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use trace::Trace;

/// What a [`Log`] is opened with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings<'a> {
    /// The program's name in the syslog tag; `pop3d` when empty.
    pub(crate) program: &'a str,
    /// `-d`: debug lines are written too.
    pub(crate) debug: bool,
    /// `-t FILE`: debug lines go there instead of syslog, and all other lines go there too.
    pub(crate) trace: Option<&'a Path>,
    /// Where syslog listens; the system's own place when `None`.
    pub(crate) syslog: Option<PathBuf>,
    /// Lines go to standard error too. Never under inetd: it may be the client.
    pub(crate) stderr: bool,
}

/// Where events go: syslog, the trace file, and standard error only when it was asked for. Writing never waits
/// and never fails. It stays usable after a chroot and after a fork.
#[derive(Debug)]
pub(crate) struct Log {
    program: String,
    debug: bool,
    stderr: bool,
    zone: Zone,
    sink: RefCell<Sink>,
    trace: Option<Trace>,
}

impl Log {
    /// Opens syslog and trace file; call it before privileges are dropped.
    ///
    /// # Errors
    /// The trace file cannot be opened or must not be trusted. A missing syslog is no error.
    pub(crate) fn open(settings: &Settings<'_>) -> Result<Self> {
        let program = if settings.program.is_empty() { "pop3d" } else { settings.program };
        Ok(Self {
            program: program.to_owned(),
            debug: settings.debug || settings.trace.is_some(),
            stderr: settings.stderr,
            zone: Zone::local(),
            sink: RefCell::new(Sink::open(settings.syslog.clone())),
            trace: settings.trace.map(Trace::open).transpose()?,
        })
    }

    /// Whether debug events are written, so that nobody has to word those that are not.
    pub(crate) const fn debugs(&self) -> bool {
        self.debug
    }

    /// Whether syslog is there now.
    pub(crate) fn reaches_syslog(&self) -> bool {
        self.sink.borrow().is_connected()
    }

    /// Writes an event of a session; `pid` is the process that the line is about.
    pub(crate) fn event(&self, session: &SessionId, pid: u32, event: &Event) {
        let severity = event.severity();
        if severity == Severity::Debug && !self.debug {
            return;
        }
        let line = event.to_string();
        if let Some(trace) = &self.trace {
            trace.write(&self.zone, session, pid, &line);
        }
        if severity != Severity::Debug || self.trace.is_none() {
            let tag = format!("{}/{session}", self.program);
            let form = Form { zone: &self.zone, tag: &tag, pid };
            self.sink.borrow_mut().send(&form, severity, &line);
        }
        if self.stderr {
            // Nobody to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "{}: {line}", self.program);
        }
    }
}

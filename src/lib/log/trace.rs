//! The trace file of `-t`.

use super::SessionId;
use crate::error::{Error, Kind, Result};
use crate::sys;
use crate::sys::clock::{self, Zone};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// An open trace file. It is opened with the rights that pop3d starts with; later it is only written.
#[derive(Debug)]
pub(super) struct Trace(File);

impl Trace {
    pub(super) fn open(path: &Path) -> Result<Self> {
        sys::trace::open(path).map(Self).map_err(|error| {
            Error::io(format!("cannot open trace file {}", path.display()), error).of_kind(Kind::Config)
        })
    }

    /// Appends one line with one write, so that lines of several processes do not mix. A full disk loses lines.
    pub(super) fn write(&self, zone: &Zone, session: &SessionId, pid: u32, text: &str) {
        let line = format!("{} {session}[{pid}] {text}\n", zone.full_time(clock::wall()));
        // The trace is a help to look at a session, never a reason to end it.
        let _ = (&self.0).write(line.as_bytes());
    }
}

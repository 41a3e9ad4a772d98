//! The road to syslog: a datagram socket that never blocks, so that a stuck or missing syslog delays nothing.
//!
//! The `syslog` crate gives facility, severities and the seam for formatters. Its own formatter writes UTC, which
//! daemons behind `/dev/log` take for local time (RFC 3164 has no zone), and its own connection blocks and never
//! comes back; so both are here.

use super::event::Severity;
use crate::sys::clock::{self, Zone};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use syslog::{Facility, LogFormat};

/// Longest datagram. RFC 3164, section 4.1 allows 1024 octets for the whole; a relay adds a host name.
pub(super) const MAX_OCTETS: usize = 900;

/// At most one try to connect in this time: a missing syslog must not cost a system call for each line.
const RECONNECT: Duration = Duration::from_secs(1);

/// Where syslog listens.
const PATHS: [&str; 2] = ["/dev/log", "/var/run/syslog"];

/// A connection to syslog. It never fails and never waits: lines that cannot be sent are counted.
#[derive(Debug)]
pub(super) struct Sink {
    paths: Vec<PathBuf>,
    socket: Option<UnixDatagram>,
    tried: Option<Instant>,
    lost: u64,
}

impl Sink {
    /// Connects to the first of `paths` that answers; the system's own when there are none given.
    pub(super) fn open(path: Option<PathBuf>) -> Self {
        let paths = path.map_or_else(|| PATHS.iter().map(PathBuf::from).collect(), |path| vec![path]);
        let mut sink = Self { paths, socket: None, tried: None, lost: 0 };
        sink.connect(clock::now());
        sink
    }

    /// Whether syslog is there now.
    pub(super) const fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Sends a line. Once lines were lost, the next good one follows on a line that says how many.
    pub(super) fn send(&mut self, form: &Form<'_>, severity: Severity, line: &str) {
        self.send_at(clock::now(), form, severity, line);
    }

    pub(super) fn send_at(&mut self, now: Instant, form: &Form<'_>, severity: Severity, line: &str) {
        if self.lost > 0 {
            let told = format!("lost: lines={}", self.lost);
            if !self.put(now, form, Severity::Warning, &told) {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        if !self.put(now, form, severity, line) {
            self.lost += 1;
        }
    }

    /// Whether the line went out. A socket whose daemon is gone is connected anew, once.
    fn put(&mut self, now: Instant, form: &Form<'_>, severity: Severity, line: &str) -> bool {
        let mut datagram = Vec::with_capacity(MAX_OCTETS);
        if form.format(&mut datagram, severity, line).is_err() {
            return false;
        }
        match self.try_send(&datagram) {
            Ok(()) => true,
            // Full, not gone: a new connection would find the same queue.
            Err(Some(std::io::ErrorKind::WouldBlock)) => false,
            Err(_) => {
                self.socket = None;
                self.connect(now);
                self.try_send(&datagram).is_ok()
            }
        }
    }

    fn try_send(&self, datagram: &[u8]) -> Result<(), Option<std::io::ErrorKind>> {
        let socket = self.socket.as_ref().ok_or(None)?;
        socket.send(datagram).map(drop).map_err(|error| Some(error.kind()))
    }

    fn connect(&mut self, now: Instant) {
        if self.tried.is_some_and(|tried| now.saturating_duration_since(tried) < RECONNECT) {
            return;
        }
        self.tried = Some(now);
        self.socket = self.paths.iter().find_map(|path| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            socket.connect(path).ok()?;
            Some(socket)
        });
    }
}

/// How a line looks to syslog: priority, local time, tag `pop3d/SESSION[PID]`.
pub(super) struct Form<'a> {
    pub(super) zone: &'a Zone,
    pub(super) tag: &'a str,
    pub(super) pid: u32,
}

impl LogFormat<&str> for Form<'_> {
    fn format<W: Write>(
        &self,
        writer: &mut W,
        severity: syslog::Severity,
        message: &str,
    ) -> syslog::Result<()> {
        let priority = Facility::LOG_MAIL as u32 | severity as u32;
        let time = self.zone.syslog_time(clock::wall());
        let mut text = format!("<{priority}>{time} {}[{}]: {message}", self.tag, self.pid);
        shorten(&mut text);
        writer.write_all(text.as_bytes())?;
        Ok(())
    }
}

impl Form<'_> {
    fn format(&self, datagram: &mut Vec<u8>, severity: Severity, line: &str) -> syslog::Result<()> {
        let severity = match severity {
            Severity::Error => syslog::Severity::LOG_ERR,
            Severity::Warning => syslog::Severity::LOG_WARNING,
            Severity::Notice => syslog::Severity::LOG_NOTICE,
            Severity::Debug => syslog::Severity::LOG_DEBUG,
        };
        LogFormat::format(self, datagram, severity, line)
    }
}

/// Lines are ASCII (see `escape.rs`), so any octet is the end of a character.
fn shorten(text: &mut String) {
    if text.len() > MAX_OCTETS {
        text.truncate(MAX_OCTETS - 3);
        text.push_str("...");
    }
}

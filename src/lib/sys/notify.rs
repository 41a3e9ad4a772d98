//! Notices to systemd (sd_notify(3)): one datagram to the socket that `NOTIFY_SOCKET` names.

use nix::time::{ClockId, clock_gettime};
use std::env;
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager's socket, if it has one.
#[derive(Debug, Default)]
pub(crate) struct Manager(Option<OsString>);

impl Manager {
    /// As the environment says.
    pub(crate) fn from_environment() -> Self {
        Self(env::var_os("NOTIFY_SOCKET"))
    }

    /// Clients are served.
    pub(crate) fn ready(&self) {
        self.say("READY=1");
    }

    /// The configuration is being read again; `ready` follows.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
            .map_or(0, |time| time.tv_sec() * 1_000_000 + time.tv_nsec() / 1000);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// No more clients are taken.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Another process is the service from now on.
    pub(crate) fn main_process(&self, pid: u32) {
        self.say(&format!("MAINPID={pid}"));
    }

    /// A sentence for `systemctl status`.
    pub(crate) fn status(&self, text: &str) {
        self.say(&format!("STATUS={text}"));
    }

    fn say(&self, text: &str) {
        let Some(path) = &self.0 else { return };
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(path),
        };
        // A manager that does not listen is no reason to stop.
        let _ = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address));
    }
}

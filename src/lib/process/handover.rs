//! An upgrade without a gap (SIGUSR2): the monitor starts the program anew, from the file that it was started from, with the
//! listening sockets. When that one serves, this one's login processes retire, and it ends with its last session.
//!
//! The new monitor gets the sockets as from systemd (sd_listen_fds(3)), and behind them a line to this one, on which it says that it
//! serves. One that ends before it says so changes nothing.

use super::message::{Message, Order};
use super::monitor::{Monitor, Speaker};
use super::notice::Notice;
use crate::error::{Error, Kind, Result};
use crate::sys::descriptors::{self, Passed};
use crate::sys::process::{ChildId, exec};
use crate::sys::socket;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

/// The name among those of the sockets that the line to the old monitor has.
pub(crate) const PREDECESSOR: &str = "predecessor";

/// What this process was started as.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
}

impl Program {
    /// Of this process; none when it cannot be told.
    pub(super) fn own() -> Option<Self> {
        let words = std::env::args_os().map(|word| word.into_string().ok());
        Some(Self { path: std::env::current_exe().ok()?, arguments: words.collect::<Option<_>>()? })
    }
}

/// The line to the old monitor, on which the new one says that it serves.
pub(super) struct Predecessor(OwnedFd);

impl Predecessor {
    /// Takes the line out of what was passed.
    pub(super) fn among(passed: &mut Vec<Passed>) -> Option<Self> {
        let at = passed.iter().position(|passed| passed.name == PREDECESSOR)?;
        Some(Self(passed.remove(at).socket))
    }

    /// From now on clients are served here.
    pub(super) fn relieve(self) {
        // One that is gone needs no relief.
        let _ = socket::send(&self.0, &Notice::Begun.to_bytes(), &[], false);
    }
}

impl Monitor {
    /// SIGUSR2: another program takes the sockets.
    pub(super) fn hand_over(&mut self) {
        if self.site.is_none() {
            return;
        }
        if let Err(error) = self.start_successor() {
            self.own_fault(&error);
        }
    }

    fn start_successor(&mut self) -> Result<()> {
        let Some(site) = &self.site else { return Ok(()) };
        let unknown =
            || Error::new(Kind::Permanent, "cannot start anew: it is not known what was started here");
        let Program { path, arguments } = site.program.as_ref().ok_or_else(unknown)?;
        let (path, arguments) = (path.clone(), arguments.clone());
        let (sockets, names): (Vec<RawFd>, Vec<&str>) = site
            .listeners
            .iter()
            .map(|listener| (listener.socket.as_raw_fd(), if listener.tls { "pop3s" } else { "pop3" }))
            .unzip();
        let names = [names, vec![PREDECESSOR]].concat().join(":");
        self.start_speaker(Speaker::Successor, &sockets, |surroundings| {
            let all = [sockets.clone(), vec![surroundings.control.as_raw_fd()]].concat();
            let Ok(()) = descriptors::pass_on(&all) else { return 126 };
            let known = std::env::vars_os()
                .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
            let mut environment: Vec<(String, String)> =
                known.filter(|(name, _)| !name.starts_with("LISTEN_")).collect();
            environment.push(("LISTEN_PID".to_owned(), std::process::id().to_string()));
            environment.push(("LISTEN_FDS".to_owned(), all.len().to_string()));
            environment.push(("LISTEN_FDNAMES".to_owned(), names.clone()));
            let environment: Vec<(&str, String)> =
                environment.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            // Only when that fails is there somebody to return to, and the line is closed: the end says enough.
            exec(&path, &arguments, &environment);
            127
        })
    }

    /// The new monitor serves.
    pub(super) fn succeeded(&mut self, child: ChildId) {
        let Some(site) = self.site.take() else { return };
        site.manager.main_process(child.number());
        self.own_remark(format!(
            "process {} serves from now on; sessions that are here go on",
            child.number()
        ));
        let logins = self.logins();
        self.order(&logins, Order::Retire);
        // This one does not wait for its end.
        self.children.remove(&child);
    }

    /// The new monitor ended before it served.
    pub(super) fn not_succeeded(&self, pid: u32) {
        if self.site.is_some() {
            let what = format!("process {pid} ended before it served; this one goes on: see pop3d --check");
            self.own_fault(&Error::new(Kind::Permanent, what));
        }
    }
}

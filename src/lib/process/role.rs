//! What every role but the monitor has: the configuration and a line to the monitor.

use super::message::Message;
use super::notice::Notice;
use crate::auth::Announced;
use crate::config::{Config, Plaintext, Sandbox};
use crate::error::{Error, Kind};
use crate::log::SessionId;
use crate::protocol::capability::{LoginDelay, Offer};
use crate::protocol::command::{self, Command};
use crate::protocol::line::Line;
use crate::protocol::reply::{Reply, shown};
use crate::session::Terms;
use crate::sys::sandbox::Missing;
use crate::sys::socket::{self, Peer};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// The most octets of a line for debugging.
const LONGEST_DEBUG: usize = 800;

/// A role's surroundings.
pub(crate) struct Surroundings<'a> {
    /// As it was read when the monitor started.
    pub(crate) config: &'a Config,
    /// Whether lines for debugging are wanted.
    pub(crate) debug: bool,
    /// What the secrets database had to announce when the role began.
    pub(crate) announced: Announced,
    /// The line to the monitor.
    pub(crate) control: OwnedFd,
}

impl Surroundings<'_> {
    /// Sends a notice with descriptors.
    ///
    /// # Errors
    /// The monitor is gone.
    pub(crate) fn send(&self, notice: &Notice, passed: &[BorrowedFd<'_>]) -> io::Result<()> {
        socket::send(&self.control, &notice.to_bytes(), passed, true)
    }

    /// Sends a notice whose loss changes nothing for the client: without a monitor the role goes on.
    pub(crate) fn tell(&self, notice: &Notice) {
        let _ = self.send(notice, &[]);
    }

    /// Tells the log where the role's code broke a promise, should it; the role ends with that, or its connection does.
    pub(crate) fn report_panics(&self) {
        let Ok(control) = self.control.try_clone() else { return };
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
            let error = Error::new(Kind::Temporary, format!("internal error{place}: please report it"));
            let _ = socket::send(&control, &Notice::Fault(error).to_bytes(), &[], false);
        }));
    }

    /// Tells the log what is worth knowing.
    pub(crate) fn remark(&self, remarks: Vec<String>) {
        remarks.into_iter().for_each(|remark| self.tell(&Notice::Remark(remark)));
    }

    /// Sends a line for debugging, if such are wanted and the monitor keeps up.
    pub(crate) fn debug(&self, session: SessionId, mut text: String) {
        if self.debug {
            text.truncate(text.floor_char_boundary(LONGEST_DEBUG));
            let _ = socket::send(&self.control, &Notice::Debug(session, text).to_bytes(), &[], false);
        }
    }

    /// Whether a client may send a password as it is over a connection that is encrypted or not.
    pub(crate) fn plaintext_allowed(&self, peer: &Peer, encrypted: bool) -> bool {
        match self.config.auth.plaintext {
            Plaintext::Always => true,
            Plaintext::TlsOrLoopback => encrypted || peer.is_local(),
            Plaintext::Tls => encrypted,
            Plaintext::Never => false,
        }
    }

    /// What CAPA says of the time between two logins while nobody has logged in (RFC 2449, section 6.5).
    pub(crate) fn login_delay(&self, announced: Announced) -> Option<LoginDelay> {
        let general = self.config.limits.login_delay.as_secs();
        let own = announced.login_delay.map(u64::from);
        let seconds = general.max(own.unwrap_or(0));
        (seconds > 0).then_some(LoginDelay { seconds, varies: own.is_some() })
    }

    /// What CAPA announces after a login over a connection with these terms: the same as before, but for STLS and the time until the
    /// next login, which is that of the user now.
    pub(crate) fn offer(&self, terms: &Terms, login_delay: Duration) -> Offer {
        let seconds = login_delay.as_secs();
        let is_said = seconds > 0 || self.login_delay(self.announced).is_some();
        Offer {
            login_delay: is_said.then_some(LoginDelay { seconds, varies: false }),
            stls: false,
            plaintext_allowed: terms.plaintext_allowed,
            mechanisms: terms.mechanisms,
            xlst: self.config.xtnd.xlst,
            xmit: self.config.xtnd.xmit,
            shy: self.config.shy,
        }
    }

    /// Whether a role without its whole fence must not serve.
    pub(crate) fn require_sandbox(&self) -> bool {
        self.config.sandbox == Sandbox::Require
    }

    /// Tells the log once which part of the fence the kernel could not give.
    pub(crate) fn warn_of_missing(&self, missing: &Missing) {
        let names: Vec<&str> = [(missing.landlock, "Landlock"), (missing.seccomp, "seccomp")]
            .into_iter()
            .filter_map(|(lacking, name)| lacking.then_some(name))
            .collect();
        if !names.is_empty() {
            self.tell(&Notice::Remark(format!(
                "this kernel has no {}: serving without it",
                names.join(" and no ")
            )));
        }
    }
}

/// A command as the debugging log shows it. What is not understood is not shown: it may be a mistyped password.
pub(crate) fn describe(line: &Line<'_>) -> String {
    let Line::Complete(bytes) = line else { return "C: (line too long)".to_owned() };
    match command::parse(bytes) {
        Ok(Command::Pass(_)) => "C: PASS ***".to_owned(),
        Ok(Command::Apop { user, .. }) => format!("C: APOP {} ***", shown(user)),
        Ok(Command::Auth { mechanism, .. }) => format!("C: AUTH {} ***", mechanism.unwrap_or_default()),
        Ok(_) => format!("C: {}", shown(bytes)),
        Err(_) => format!("C: (not understood, {} octets)", bytes.len()),
    }
}

/// A message of AUTH as the debugging log shows it: it may hold a password.
pub(crate) fn describe_message(line: &Line<'_>) -> String {
    match line {
        Line::Complete(b"*") => "C: *".to_owned(),
        Line::Complete(bytes) => format!("C: *** ({} octets)", bytes.len()),
        Line::TooLong => "C: (line too long)".to_owned(),
    }
}

/// A reply as the debugging log shows it.
pub(crate) fn describe_reply(reply: &Reply) -> String {
    format!("S: {} {}", if reply.is_ok() { "+OK" } else { "-ERR" }, reply.text())
}

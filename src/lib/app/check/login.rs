//! The way of one user's login, step by step: `mailusradm why`. What `pop3d --check` looks at for everybody is looked at by the same
//! code; what is the user's own is looked at with the user's rights. Nothing is changed, no lock of a maildrop taken.

use super::service::From;
use super::{
    Finding, Probes, Severity, configuration, drop, fences, places, rights, secrets, service, sources, tls,
};
use super::{account, unprivileged};
use crate::auth::{Account, Means};
use crate::config::{Config, Plaintext};

/// Who logs in, from where, how.
pub(crate) struct Login<'a> {
    /// The configuration.
    pub(crate) config: &'a Config,
    /// The machine.
    pub(crate) probes: &'a Probes<'a>,
    /// The name that is sent.
    pub(crate) user: &'a str,
    /// Where the client is.
    pub(crate) from: From,
    /// What it proves itself with, where that is known.
    pub(crate) means: Option<Means>,
}

/// A finding and the part of the way that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// A word.
    pub(crate) step: &'static str,
    /// What was found.
    pub(crate) finding: Finding,
}

/// What all of the way looks like, up to the first thing that stops the login.
pub(crate) fn walk(login: &Login<'_>) -> Vec<Step> {
    let mut way = Way { steps: Vec::new() };
    // None: the way ends there.
    let _ = login.go(&mut way);
    way.steps
}

/// The first thing that stops the login.
pub(crate) fn fault(steps: &[Step]) -> Option<&Step> {
    steps.iter().find(|step| step.finding.severity == Severity::Problem)
}

/// What of the account stops the login: before the proof, and behind it what is of the user alone.
pub(crate) fn account_problem(login: &Login<'_>) -> Option<Finding> {
    account::findings(login).0.into_iter().find(|finding| finding.severity == Severity::Problem)
}

struct Way {
    steps: Vec<Step>,
}

impl Way {
    /// Adds findings; none when the way ends with them.
    fn pass(&mut self, step: &'static str, findings: impl IntoIterator<Item = Finding>) -> Option<()> {
        for finding in findings {
            let stops = finding.severity == Severity::Problem;
            self.steps.push(Step { step, finding });
            if stops {
                return None;
            }
        }
        Some(())
    }
}

impl Login<'_> {
    fn go(&self, way: &mut Way) -> Option<()> {
        let Self { config, probes, .. } = *self;
        way.pass("configuration", [configuration(probes)])?;
        way.pass("server", [rights(probes), unprivileged(probes)])?;
        way.pass("server", places::findings(config, probes))?;
        way.pass("server", fences(config, probes))?;
        way.pass("tls", tls::for_one(config, probes, !self.may_do_without_tls()))?;
        way.pass("service", [service::finding(config, probes, self.from)])?;
        way.pass("account", secrets::for_one(config, probes))?;
        way.pass("account", secrets::counters(config, probes))?;
        way.pass("account", sources::findings(config, probes))?;
        let (findings, account, means) = account::findings(self);
        way.pass("account", findings)?;
        way.pass("plaintext", means.filter(|means| *means == Means::Password).map(|_| self.plaintext()))?;
        if let Some(account) = account {
            self.enter(way, &account)?;
        }
        Some(())
    }

    /// What comes behind the proof.
    fn enter(&self, way: &mut Way, account: &Account) -> Option<()> {
        way.pass("session", drop::in_use(self.config, account))?;
        way.pass("session", drop::delayed(self.config, account, self.probes))?;
        way.pass("disk", drop::room(self.config, account))?;
        way.pass("maildrop", drop::findings(self.config, account))
    }

    fn may_do_without_tls(&self) -> bool {
        match self.config.auth.plaintext {
            Plaintext::Always => true,
            Plaintext::TlsOrLoopback => self.from.is_local(),
            Plaintext::Tls => false,
            // No password is sent, over TLS or not.
            Plaintext::Never => true,
        }
    }

    /// Whether the password may come from there: the rule of `process/role.rs`.
    fn plaintext(&self) -> Finding {
        let (file, tls) = (self.probes.file().display(), self.config.tls.is_configured());
        if self.config.auth.plaintext == Plaintext::Never {
            return Finding::problem(
                "plaintext = \"never\": the server takes no password, and the user has no other secret",
                format!(
                    "mailauth add {}, or set plaintext = \"tls-or-loopback\" under [auth] in {file}",
                    self.user
                ),
            );
        }
        match (self.may_do_without_tls(), tls) {
            (true, _) => Finding::ok("the password may be sent over this connection"),
            (false, true) => Finding::ok("the password may be sent over TLS alone: STLS, or port 995"),
            (false, false) => {
                let whence = match self.from {
                    From::Elsewhere => "from elsewhere".to_owned(),
                    From::Address(address) => format!("from {address}"),
                };
                Finding::problem(
                    format!("a password {whence} needs TLS, and there is no certificate"),
                    format!("set certificate and key under [tls] in {file}"),
                )
            }
        }
    }
}

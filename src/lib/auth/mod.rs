//! Who may log in: sources of credentials and the verdict on them.

mod crypt;
mod slots;
mod unix;

#[cfg(test)]
mod tests;

use crate::config::{Config, Source};
use crate::error::Error;
use crate::secret::Secret;
use crate::sys;
use std::fmt;
use std::path::PathBuf;

/// The system account that a session runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The name that logged in, in the letters of the account database.
    pub(crate) name: String,
    /// Numeric user id.
    pub(crate) uid: u32,
    /// Numeric primary group id.
    pub(crate) gid: u32,
    /// Home directory.
    pub(crate) home: PathBuf,
}

/// What verification found.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The credentials are right.
    Accepted(Account),
    /// They are not; the reason is for the log alone.
    Refused(Reason),
    /// They could not be checked: `[SYS/TEMP]` or `[SYS/PERM]`.
    Unavailable(Error),
}

/// Why a login was refused. Never told to the client. `Display` is the word in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No source knows the name.
    UnknownUser,
    /// The password is wrong.
    WrongPassword,
    /// The account has no usable password (`!`, `*`, empty).
    Locked,
    /// The uid is root's or below `min_uid`.
    BelowMinUid,
    /// The hash is of a scheme that cannot be checked here; its name.
    UnsupportedScheme(String),
    /// No source can check this mechanism.
    NoSuchMechanism,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownUser => f.write_str("unknown-user"),
            Self::WrongPassword => f.write_str("wrong-password"),
            Self::Locked => f.write_str("locked"),
            Self::BelowMinUid => f.write_str("below-min-uid"),
            Self::UnsupportedScheme(scheme) => write!(f, "unsupported-scheme:{scheme}"),
            Self::NoSuchMechanism => f.write_str("no-such-mechanism"),
        }
    }
}

/// What a source says, and whether it computed a hash for it.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    paid: bool,
}

/// Checks a password. `user` is `None` for a name that the login rules refuse; that costs as much as any other
/// refusal (design, section 5), since every refusal computes one hash: the user's own, or a dummy of the site's
/// kind. It waits for a slot, so call it where waiting is no harm, in the child that verifies.
///
/// What it read of other accounts is wiped, and the C library is told to overwrite what it frees.
pub(crate) fn verify(config: &Config, user: Option<&str>, password: &Secret) -> Verdict {
    sys::memory::overwrite_freed(true);
    let slot = match slots::take(&config.run_dir, config.limits.verifications(), slots::PATIENCE) {
        Ok(slot) => slot,
        Err(error) => return Verdict::Unavailable(error),
    };
    let finding = ask(config, user, password);
    if matches!(finding.verdict, Verdict::Refused(_)) && !finding.paid {
        unix::compute_dummy(password);
    }
    drop(slot);
    finding.verdict
}

/// Asks the sources in their order; the first that knows the user decides.
fn ask(config: &Config, user: Option<&str>, password: &Secret) -> Finding {
    let unknown = Finding { verdict: Verdict::Refused(Reason::UnknownUser), paid: false };
    let Some(user) = user else { return unknown };
    for source in &config.auth.sources {
        let finding = match source {
            Source::Unix => unix::check(user, password, config.auth.min_uid),
        };
        if !matches!(finding.verdict, Verdict::Refused(Reason::UnknownUser)) {
            return finding;
        }
    }
    unknown
}

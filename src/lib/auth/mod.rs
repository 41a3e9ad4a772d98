//! Who may log in: sources of credentials and the verdict on them.

mod announce;
mod barriers;
mod checkpassword;
mod child;
mod crypt;
mod lockout;
mod mailauth;
#[cfg(feature = "pam")]
mod pam;
pub(crate) mod policy;
pub(crate) mod roster;
mod slots;
mod sources;
mod standing;
mod unix;

#[cfg(test)]
mod tests;

pub(crate) use announce::{Announced, announced, challenge, seed};
pub(crate) use barriers::{Barrier, Visit, barrier, barriers_elsewhere};
pub(crate) use checkpassword::{ARGUMENT as REPLY, reply as checkpassword_reply, trusted as trusted_program};
pub(crate) use lockout::{can_count, ended, forgive, logins, settle};
use mailauth::Said;
pub(crate) use mailauth::{apop_digest, enter as enter_as_owner, limits_of, rules, virtual_owner};
pub(crate) use standing::{By, Means, Standing, standing};
pub(crate) use unix::{LoginPassword, login_password};

use crate::config::{Config, Source};
use crate::error::{Error, Kind, Result};
use crate::protocol::sasl::scram::Claim;
use crate::secret::Secret;
use crate::secrets::Limits;
use crate::sys;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

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
    /// The path of the maildrop, where it is not as the configuration says.
    pub(crate) maildrop: Option<PathBuf>,
    /// What the secrets database limits.
    pub(crate) limits: Limits,
}

impl Account {
    /// The path of the maildrop.
    pub(crate) fn mailbox(&self, config: &Config) -> PathBuf {
        self.maildrop.clone().unwrap_or_else(|| config.maildrop.path.expand(&self.name, &self.home))
    }

    /// The time from a login to the next one.
    pub(crate) fn login_delay(&self, config: &Config) -> Duration {
        self.limits.login_delay.unwrap_or(config.limits.login_delay)
    }
}

/// What verification found.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The credentials are right.
    Accepted(Account),
    /// They are, and this signature proves to the client that we know it (RFC 5802, section 3).
    Proven(Account, [u8; 32]),
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
    /// The user exists, and has no APOP entry, which the mechanism needs.
    NoSecret,
    /// The password is wrong.
    WrongPassword,
    /// The digest of APOP or CRAM-MD5 is wrong.
    WrongDigest,
    /// The proof of SCRAM is wrong.
    WrongProof,
    /// The user has an APOP entry, and so cannot use PASS (RFC 1939, section 13).
    ApopOnly,
    /// The account has no usable password (`!`, `*`, empty), or `mailauth` locked it.
    Locked,
    /// The uid is root's or below `min_uid`.
    BelowMinUid,
    /// The hash is of a scheme that cannot be checked here; its name.
    UnsupportedScheme(String),
    /// No source can check this mechanism.
    NoSuchMechanism,
    /// PAM says that the account may not be used; its word.
    #[cfg(feature = "pam")]
    Pam(String),
    /// `mailauth` retired the user for good.
    Retired,
    /// The account has ended (shadow).
    AccountExpired,
    /// The system's password is too old, or has to be changed (shadow).
    PasswordExpired,
    /// The password is so old that the account sleeps (shadow).
    Inactive,
    /// The login shell says that nobody logs in.
    Shell,
    /// Too many wrong passwords of before.
    LockedOut,
    /// The user may not log in at this time.
    OutsideHours,
    /// The user may not log in from this address.
    Network,
}

impl Reason {
    /// Whether it is a guess that could have been right.
    const fn is_wrong_guess(&self) -> bool {
        matches!(self, Self::WrongPassword | Self::WrongDigest | Self::WrongProof)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownUser => f.write_str("unknown-user"),
            Self::NoSecret => f.write_str("no-secret"),
            Self::WrongPassword => f.write_str("wrong-password"),
            Self::WrongDigest => f.write_str("wrong-digest"),
            Self::WrongProof => f.write_str("wrong-proof"),
            Self::ApopOnly => f.write_str("apop-only"),
            Self::Locked => f.write_str("locked"),
            Self::BelowMinUid => f.write_str("below-min-uid"),
            Self::UnsupportedScheme(scheme) => write!(f, "unsupported-scheme:{scheme}"),
            Self::NoSuchMechanism => f.write_str("no-such-mechanism"),
            #[cfg(feature = "pam")]
            Self::Pam(word) => write!(f, "pam:{word}"),
            Self::Retired => f.write_str("retired"),
            Self::AccountExpired => f.write_str("account-expired"),
            Self::PasswordExpired => f.write_str("password-expired"),
            Self::Inactive => f.write_str("inactive"),
            Self::Shell => f.write_str("shell"),
            Self::LockedOut => f.write_str("locked-out"),
            Self::OutsideHours => f.write_str("outside-hours"),
            Self::Network => f.write_str("network"),
        }
    }
}

/// What a source says, and whether it computed a hash for it.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    paid: bool,
}

/// What a client proves itself with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof<'a> {
    /// PASS.
    Password(&'a Secret),
    /// APOP.
    Apop {
        /// The challenge with its angle brackets, as it is hashed.
        challenge: &'a [u8],
        /// MD5 over challenge and secret.
        digest: &'a [u8],
    },
    /// CRAM-MD5.
    Cram {
        /// The challenge.
        challenge: &'a [u8],
        /// HMAC-MD5 over it, keyed with the secret.
        digest: &'a [u8],
    },
    /// SCRAM.
    Scram(&'a Claim),
    /// A certificate of this name, which the login process found good.
    External,
}

/// Where and for whom verification is done.
pub(crate) struct Inquiry<'a> {
    /// The configuration.
    pub(crate) config: &'a Config,
    /// Where the client comes from; `None` for one that does not use the network.
    pub(crate) client: Option<IpAddr>,
    /// Tells the log what is worth knowing, whatever the verdict is.
    pub(crate) remark: &'a dyn Fn(String),
}

impl Inquiry<'_> {
    /// How long a program or module of others may take: half of what the client has for its login.
    fn patience(&self) -> Duration {
        self.config.limits.login_timeout / 2
    }
}

/// Checks credentials. `user` is `None` for a name that the login rules refuse; that costs as much as any other
/// refusal (design, section 5), since every refusal of a password computes one hash: the user's own, or a dummy of the
/// site's kind. It waits for a slot, so call it where waiting is no harm, in the child that verifies. That must have one
/// thread: the secrets database is asked by a child of its own.
///
/// What it read of other accounts is wiped, and the C library is told to overwrite what it frees.
pub(crate) fn verify(inquiry: &Inquiry<'_>, user: Option<&str>, proof: Proof<'_>) -> Verdict {
    let config = inquiry.config;
    sys::memory::overwrite_freed(true);
    let slot = match take_slot(config) {
        Ok(slot) => slot,
        Err(error) => return Verdict::Unavailable(error),
    };
    let finding = ask(inquiry, user, proof);
    if let (Verdict::Refused(_), false, Proof::Password(password)) = (&finding.verdict, finding.paid, proof) {
        unix::compute_dummy(password);
    }
    drop(slot);
    finding.verdict
}

/// A slot for one check. The cores are counted only where those that every machine has are taken.
fn take_slot(config: &Config) -> Result<slots::Slot> {
    let at_least = config.limits.verifications_at_least();
    slots::take(&config.run_dir, at_least, Duration::ZERO)
        .or_else(|_| slots::take(&config.run_dir, config.limits.verifications(), slots::PATIENCE))
}

/// Salt and iterations that SCRAM has for a name (RFC 5802, section 5), as it was sent. A name that nobody has, or that has nothing for SCRAM,
/// gets a salt too, always the same.
///
/// # Errors
/// The secrets database cannot be asked.
pub(crate) fn salt(config: &Config, user: &str) -> Result<(Vec<u8>, u32)> {
    sys::memory::overwrite_freed(true);
    let _slot = take_slot(config)?;
    mailauth::salt(config, user)
}

/// A verifier for a new password, of the scheme that the site's passwords have (`ENCRYPT_METHOD` of login.defs).
///
/// # Errors
/// The hash cannot be computed.
pub(crate) fn password_hash(password: &Secret) -> Result<Secret> {
    let failed = |cause| Error::io("cannot compute a password hash", cause);
    let mut random = [0; 16];
    sys::random::fill(&mut random).map_err(failed)?;
    match crypt::make(&unix::encrypt_method(), password.expose(), &random) {
        Ok(hash) => Ok(Secret::new(hash.into_bytes())),
        Err(crypt::Failure::System(cause)) => Err(failed(cause)),
        Err(_) => Err(Error::new(Kind::Permanent, "cannot compute a password hash that can be verified")),
    }
}

/// Whether this is the password of a verifier that [`password_hash`] made.
///
/// # Errors
/// The verifier cannot be checked here.
pub(crate) fn is_password(verifier: &Secret, password: &Secret) -> Result<bool> {
    let failed = |what: &str| Error::new(Kind::Permanent, format!("cannot check a password: {what}"));
    match crypt::verify(verifier.expose(), password.expose()) {
        Ok(right) => Ok(right),
        Err(crypt::Failure::Locked) => Ok(false),
        Err(crypt::Failure::System(cause)) => Err(Error::io("cannot compute a password hash", cause)),
        Err(crypt::Failure::Unsupported(scheme)) => Err(failed(&format!("its scheme is {scheme}"))),
        Err(crypt::Failure::TooCostly(scheme)) => Err(failed(&format!("{scheme} with too high a cost"))),
    }
}

/// The secrets database decides for everybody who has an entry in it, wherever it stands among the sources: otherwise a user with
/// an APOP entry could still send a UNIX password in the clear.
fn ask(inquiry: &Inquiry<'_>, user: Option<&str>, proof: Proof<'_>) -> Finding {
    let config = inquiry.config;
    if matches!(proof, Proof::External) && !config.takes_certificates() {
        return Finding::refused(Reason::NoSuchMechanism);
    }
    if !config.auth.sources.contains(&Source::Mailauth) {
        return sources::ask(inquiry, user, proof);
    }
    match mailauth::check(config, user, proof) {
        Said::Decided(finding) => finding,
        Said::Open(limits) => sources::ask(inquiry, user, proof).with_limits(limits),
    }
}

impl Finding {
    /// A refusal that computed no hash.
    const fn refused(reason: Reason) -> Self {
        Self { verdict: Verdict::Refused(reason), paid: false }
    }

    const fn unavailable(error: Error) -> Self {
        Self { verdict: Verdict::Unavailable(error), paid: false }
    }

    /// The same, limited so when it is a yes.
    fn with_limits(mut self, limits: Limits) -> Self {
        if let Verdict::Accepted(account) | Verdict::Proven(account, _) = &mut self.verdict {
            account.limits = limits;
        }
        self
    }
}

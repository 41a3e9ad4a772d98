//! How a user stands with the sources, as far as that can be told without the password. For the programs of the administrator: it
//! goes the way of a login (`mod.rs`, `sources.rs`), asks the same databases in the same order, and lets nobody in.

use super::crypt::{self, Failure};
use super::mailauth::{self, Own};
use super::{Account, Reason, Verdict, unix};
use crate::config::{Config, Source};
use crate::error::{Error, Kind, Result};
use crate::protocol::name::UserName;
use crate::secrets::{self, LimitsText, Places, Store, User, delegate};
use crate::sys::account;
use serde::{Deserialize, Serialize};

/// What a client proves itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// PASS, AUTH PLAIN: a password that is sent.
    Password,
    /// APOP, CRAM-MD5, SCRAM: the secret that an APOP entry holds.
    Secret,
    /// A certificate.
    Certificate,
}

/// How a user stands.
#[derive(Debug)]
pub(crate) enum Standing {
    /// A login comes to the proof; who checks it, in words.
    Checked(Account, String),
    /// The proof is a matter of a program or module of others, and so is the rest.
    Foreign(Option<Account>, String),
    /// Refused, whatever the proof; which source says so.
    Refused(Reason, By),
    /// The name is none that a login takes.
    NoName,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// passwd and shadow.
    System,
    /// The secrets database.
    Database,
    /// Nobody knows the user.
    Nobody,
}

/// What the secrets database has of a user; no secret.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    locked: bool,
    retired: bool,
    limits: LimitsText,
    has_secret: bool,
    /// Whether the secret opens, and if not why.
    closed: Option<String>,
    passwords: usize,
    /// What cannot be checked of the passwords.
    unsupported: Option<String>,
    owner: Option<Own>,
}

/// How a user stands with these means; without, those that the user has: the secret of an APOP entry, or a password.
///
/// # Errors
/// A database cannot be asked; at a login that is `[SYS/TEMP]` or `[SYS/PERM]`.
pub(crate) fn standing(config: &Config, name: &str, means: Option<Means>) -> Result<Standing> {
    let Some(name) = UserName::parse(name.as_bytes()) else { return Ok(Standing::NoName) };
    let name = name.as_str();
    if means == Some(Means::Certificate) && !config.takes_certificates() {
        return Ok(Standing::Refused(Reason::NoSuchMechanism, By::Nobody));
    }
    let entry = match config.auth.sources.contains(&Source::Mailauth) {
        true => entry(config, name)?,
        false => None,
    };
    let has_secret = entry.as_ref().is_some_and(|entry| entry.has_secret);
    let means = means.unwrap_or(if has_secret { Means::Secret } else { Means::Password });
    let limits = entry.as_ref().map(|entry| (entry.name.clone(), entry.limits.clone()));
    let limited = |standing: Standing| match &limits {
        Some((name, limits)) => standing.limited(name, limits),
        None => Ok(standing),
    };
    if let Some(entry) = entry
        && let Some(standing) = by_entry(config, entry, means)?
    {
        return limited(standing);
    }
    if means == Means::Secret {
        let known = account::user(name).is_ok_and(|found| found.is_some());
        let reason = match config.auth.sources.contains(&Source::Mailauth) && known {
            true => Reason::NoSecret,
            false => Reason::NoSuchMechanism,
        };
        return Ok(Standing::Refused(reason, By::Database));
    }
    limited(by_others(config, name, means)?)
}

impl Standing {
    /// The same with the limits of the entry, as far as a login reads them.
    fn limited(mut self, name: &str, limits: &LimitsText) -> Result<Self> {
        if let Self::Checked(account, _) | Self::Foreign(Some(account), _) = &mut self {
            account.limits = mailauth::limits_of(name, limits)?;
        }
        Ok(self)
    }
}

/// The entry as a login finds it, looked at by a child that has become the owner of the database.
fn entry(config: &Config, name: &str) -> Result<Option<Entry>> {
    let places = Places::of(config);
    if !places.database_exists()? {
        return Ok(None);
    }
    let names = mailauth::names(Some(name))?;
    let owner = secrets::owner()?;
    delegate::run(owner.as_ref(), || {
        let store = Store::open(&places)?;
        for name in &names {
            if let Some(user) = store.user(name)? {
                return seen(&store, &places, name, user).map(Some);
            }
        }
        Ok(None)
    })
}

fn seen(store: &Store, places: &Places, name: &str, user: User) -> Result<Entry> {
    let closed = user.apop.as_deref().and_then(|sealed| {
        let opened = store.key(places).and_then(|key| store.unseal(&key, name, sealed));
        opened.err().map(|error| error.to_string())
    });
    let unsupported = user.passwords.iter().find_map(|known| scheme_fault(known.verifier.expose()));
    Ok(Entry {
        name: name.to_owned(),
        locked: user.locked,
        retired: user.retired,
        limits: user.limits,
        has_secret: user.apop.is_some(),
        closed,
        passwords: user.passwords.len(),
        unsupported,
        owner: user.owner.map(Own::from),
    })
}

/// What stops a hash from being checked here: its scheme.
fn scheme_fault(hash: &[u8]) -> Option<String> {
    match crypt::verify(hash, b"") {
        Err(Failure::Unsupported(scheme)) => Some(scheme),
        Err(Failure::TooCostly(scheme)) => Some(format!("{scheme}-with-too-high-cost")),
        _ => None,
    }
}

/// What the entry decides; none where it leaves the decision to others.
fn by_entry(config: &Config, entry: Entry, means: Means) -> Result<Option<Standing>> {
    let refused = |reason| Ok(Some(Standing::Refused(reason, By::Database)));
    let by = match means {
        Means::Secret if !entry.has_secret => return refused(Reason::NoSecret),
        _ if entry.retired => return refused(Reason::Retired),
        _ if entry.locked => return refused(Reason::Locked),
        Means::Secret => match entry.closed {
            Some(what) => return Err(Error::new(Kind::Permanent, what)),
            None => "the APOP entry in the secrets database".to_owned(),
        },
        Means::Certificate => "the client's certificate".to_owned(),
        Means::Password if entry.has_secret => return refused(Reason::ApopOnly),
        Means::Password if entry.passwords == 0 => return Ok(None),
        Means::Password => match entry.unsupported {
            Some(scheme) => return refused(Reason::UnsupportedScheme(scheme)),
            None => match entry.passwords {
                1 => "the application password in the secrets database".to_owned(),
                more => format!("{more} application passwords in the secrets database"),
            },
        },
    };
    let verdict = mailauth::admit(config, entry.name, entry.owner)?.verdict;
    Ok(Some(match verdict {
        Verdict::Accepted(account) => Standing::Checked(account, by),
        Verdict::Refused(Reason::UnknownUser) => Standing::Refused(Reason::UnknownUser, By::Database),
        Verdict::Refused(reason) => Standing::Refused(reason, By::System),
        Verdict::Unavailable(error) => return Err(error),
        Verdict::Proven(account, _) => Standing::Checked(account, by),
    }))
}

/// The sources beside the secrets database, in their order.
fn by_others(config: &Config, name: &str, means: Means) -> Result<Standing> {
    for source in &config.auth.sources {
        match (source, means) {
            (Source::Unix, _) => match unix::standing(name, config.auth.min_uid)? {
                Err(Reason::UnknownUser) => {}
                Err(reason) => return Ok(Standing::Refused(reason, By::System)),
                // A certificate needs no password, but an account that is not locked.
                Ok((account, ..)) if means == Means::Certificate => {
                    return Ok(Standing::Checked(account, "the client's certificate".to_owned()));
                }
                Ok((account, hash, shadow)) => {
                    return Ok(match crypt::verify(hash.expose(), b"") {
                        Err(Failure::Locked) => Standing::Refused(Reason::Locked, By::System),
                        Err(Failure::System(cause)) => {
                            return Err(Error::io("cannot compute a password hash", cause));
                        }
                        Err(_) => {
                            let scheme = scheme_fault(hash.expose()).unwrap_or_default();
                            Standing::Refused(Reason::UnsupportedScheme(scheme), By::System)
                        }
                        Ok(_) => match unix::too_old(shadow.as_ref(), &config.auth) {
                            Some(reason) => Standing::Refused(reason, By::System),
                            None => Standing::Checked(account, "the password of the system".to_owned()),
                        },
                    });
                }
            },
            (Source::Pam | Source::Checkpassword, Means::Password) => {
                let found = account::user(name)
                    .map_err(|cause| Error::io("cannot ask for a user of the system", cause))?;
                let account = found.map(|user| unix::accepted(name, user));
                let who = match source {
                    Source::Pam => format!("PAM service {}", config.auth.pam_service),
                    _ => format!("program {}", config.auth.checkpassword.display()),
                };
                return Ok(Standing::Foreign(account, who));
            }
            _ => {}
        }
    }
    Ok(Standing::Refused(Reason::UnknownUser, By::Nobody))
}

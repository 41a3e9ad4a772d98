//! Right credentials are not all: the limits of a user, and under enhanced security the standing of the account and the wrong
//! passwords of before (design, section 5). What is decided is in `policy.rs`; here is where it is read and written.
//!
//! For whoever wants to show or end locks: [`logins`] is what is known of a user's logins, [`super::policy::locks`] which locks hold
//! by that, and [`forgive`] ends them. They work with root's rights or as the owner of the secrets, who alone open `state.db`.

use super::policy::{self, Judgement, Shown};
use super::unix;
use super::{Account, Inquiry, Reason, Verdict};
use crate::config::{Config, Network, Source, WallTime};
use crate::error::{Error, Kind, Result};
use crate::secrets::{self, LoginAttempt, Logins, Places, State, Store, delegate};
use crate::sys::account;
use crate::sys::clock::{self, Zone};
use crate::sys::privileges::Ids;
use std::net::IpAddr;
use std::time::Duration;

/// The last word on an attempt: what the sources found, and how much later than others its refusal leaves. Under enhanced security the
/// attempt is counted, durably, before this returns; when that cannot be, nobody gets in. With
/// `is_certain` the proof is a certificate, which nobody guesses.
pub(crate) fn settle(
    inquiry: &Inquiry<'_>,
    user: Option<&str>,
    is_certain: bool,
    verdict: Verdict,
) -> (Verdict, Duration) {
    let (config, from) = (inquiry.config, inquiry.client);
    let verdict = within_limits(config, from, verdict);
    if !config.auth.is_enhanced() {
        return (verdict, Duration::ZERO);
    }
    let (shown, is_known) = match &verdict {
        Verdict::Unavailable(_) => return (verdict, Duration::ZERO),
        Verdict::Accepted(_) | Verdict::Proven(..) if is_certain => (Shown::Certain, true),
        Verdict::Accepted(_) | Verdict::Proven(..) => (Shown::Right, true),
        Verdict::Refused(reason) if reason.is_wrong_guess() => (Shown::Wrong, true),
        Verdict::Refused(Reason::UnknownUser | Reason::NoSuchMechanism) => (Shown::Hopeless, false),
        Verdict::Refused(_) => (Shown::Hopeless, true),
    };
    match count(config, user.unwrap_or_default(), is_known, from, shown) {
        Err(error) => (Verdict::Unavailable(error), Duration::ZERO),
        Ok(judgement) if judgement.locked_out && shown != Shown::Hopeless => {
            (Verdict::Refused(Reason::LockedOut), judgement.delay)
        }
        Ok(judgement) => (verdict, judgement.delay),
    }
}

/// Refuses right credentials where limits or, under enhanced security, the account's standing say so.
fn within_limits(config: &Config, from: Option<IpAddr>, verdict: Verdict) -> Verdict {
    let (Verdict::Accepted(account) | Verdict::Proven(account, _)) = &verdict else { return verdict };
    match objection(config, from, account) {
        Ok(None) => verdict,
        Ok(Some(reason)) => Verdict::Refused(reason),
        Err(error) => Verdict::Unavailable(error),
    }
}

fn objection(config: &Config, from: Option<IpAddr>, account: &Account) -> Result<Option<Reason>> {
    match ended(config, &account.name)? {
        Some(reason) => Ok(Some(reason)),
        None => Ok(policy::limited(&account.limits, wall_time, from)),
    }
}

/// Why the system's account of this name has ended, if so, under enhanced security. It takes root's rights.
///
/// # Errors
/// The databases of the system cannot be asked.
pub(crate) fn ended(config: &Config, user: &str) -> Result<Option<Reason>> {
    if config.auth.is_enhanced() { unix::ended(user, &config.auth) } else { Ok(None) }
}

/// The time that allowed hours are of.
pub(super) fn wall_time() -> WallTime {
    let (weekday, minute) = Zone::local().week_minute(clock::wall_seconds());
    WallTime { weekday, minute }
}

fn count(
    config: &Config,
    user: &str,
    is_known: bool,
    from: Option<IpAddr>,
    shown: Shown,
) -> Result<Judgement> {
    let places = usable(config)?;
    let (place, network) = whence(config, from);
    let mut attempt =
        LoginAttempt { user, is_known, network: &network, place: &place, now: clock::wall_seconds() };
    // Programs and modules of others refuse names that nobody has like others.
    let is_sure =
        !config.auth.sources.iter().any(|source| matches!(source, Source::Checkpassword | Source::Pam));
    let is_of_system = is_sure || account::user(user).is_ok_and(|found| found.is_some());
    let counted = delegate::run_behind_fence(secrets::owner()?.as_ref(), &places, || {
        if !is_sure && shown != Shown::Right {
            let known =
                Store::open(&places).and_then(|store| store.user(user)).is_ok_and(|user| user.is_some());
            attempt.is_known &= is_of_system || known;
        }
        State::attempt(&places, &attempt, |tally| policy::judge(&config.lockout, tally, shown, attempt.now))
    });
    counted.map_err(|error| error.tell(unix::TOLD))
}

/// Client and range as they are kept.
pub(super) fn whence(config: &Config, from: Option<IpAddr>) -> (String, String) {
    let Some(ip) = from.map(|ip| ip.to_canonical()) else { return ("local".to_owned(), "local".to_owned()) };
    let network = Network::of(ip, config.lockout.prefix_v4, config.lockout.prefix_v6);
    (ip.to_string(), network.to_string())
}

/// Where the counters are, if there can be any.
fn usable(config: &Config) -> Result<Places> {
    let places = Places::of(config);
    let directory = places.state().parent().map(std::path::Path::to_owned).unwrap_or_default();
    if std::fs::symlink_metadata(&directory).is_err_and(|cause| cause.kind() == std::io::ErrorKind::NotFound)
    {
        let what = format!("there is no {} for state.db, which enhanced security needs", directory.display());
        return Err(Error::new(Kind::Permanent, what).tell(unix::TOLD).with_fix("mailauth init makes it"));
    }
    Ok(places)
}

/// Whether attempts can be counted, looked at as `owner`; without counters nobody gets in. The file is not made, and nothing is
/// written to it.
///
/// # Errors
/// Why they cannot.
pub(crate) fn can_count(config: &Config, owner: Option<&Ids>) -> Result<()> {
    let places = usable(config)?;
    delegate::run(owner, || State::try_to_write(&places))
}

/// What is known of a user's logins; `None` where nothing is.
///
/// # Errors
/// `state.db` cannot be read.
pub(crate) fn logins(config: &Config, user: &str) -> Result<Option<Logins>> {
    let places = Places::of(config);
    delegate::run(secrets::owner()?.as_ref(), || {
        State::open(&places)?.map_or(Ok(None), |state| state.logins(user))
    })
}

/// Ends the locks of a user by wrong passwords, from everywhere; whether there were wrong passwords.
///
/// # Errors
/// `state.db` cannot be written.
pub(crate) fn forgive(config: &Config, user: &str) -> Result<bool> {
    let places = Places::of(config);
    delegate::run(secrets::owner()?.as_ref(), || {
        State::open(&places)?.map_or(Ok(false), |mut state| state.forgive(user))
    })
}

//! What refuses a user whose proof is right, in words, with what to type against it.

use super::login::Login;
use super::service::From;
use super::{Finding, quoted};
use crate::auth::{self, Account, Barrier, Means, Reason, Visit};
use crate::config::Config;
use crate::sys::clock::Zone;
use std::path::Path;

/// What refuses a login with the right proof, or may from some places.
pub(super) fn findings(login: &Login<'_>, account: &Account, means: Means) -> Vec<Finding> {
    let Login { config, probes, user, from, .. } = *login;
    let from = match from {
        From::Address(address) => Some(address),
        From::Elsewhere => None,
    };
    let problem = |barrier: &Barrier| {
        let (what, fix) = told(config, user, barrier, probes.file());
        Finding::problem(format!("account: {what}"), fix)
    };
    let ended = || Ok(auth::ended(config, &account.name)?.map(Barrier::Ended));
    let visit = Visit { user, limits: &account.limits, from, is_certain: means == Means::Certificate };
    let found = match ended() {
        Ok(None) => auth::barrier(config, &visit),
        ended => ended,
    };
    match found {
        Ok(Some(barrier)) => vec![problem(&barrier)],
        Ok(None) if from.is_none() => {
            let some = auth::barriers_elsewhere(config, &visit).unwrap_or_default();
            let warn = |barrier: &Barrier| {
                let (what, fix) = told_of_places(config, user, barrier, probes.file());
                Finding::warning(format!("account: {what}"), fix)
            };
            some.iter().map(warn).collect()
        }
        Ok(None) => Vec::new(),
        Err(mut error) => {
            let fix = error.take_fix().unwrap_or_else(|| "pop3d --check".to_owned());
            vec![Finding::problem(format!("account: {error}"), fix)]
        }
    }
}

/// The same of what holds for some places, where it is not known where the client is.
pub(crate) fn told_of_places(
    config: &Config,
    user: &str,
    barrier: &Barrier,
    file: &Path,
) -> (String, String) {
    match barrier {
        Barrier::Network(networks) => (
            format!("{user} may log in from {networks} alone"),
            format!("mailusradm why {user} --from ADDRESS tells of one place"),
        ),
        barrier => told(config, user, barrier, file),
    }
}

/// What a barrier is, and what to type against it.
pub(crate) fn told(config: &Config, user: &str, barrier: &Barrier, file: &Path) -> (String, String) {
    match barrier {
        Barrier::Ended(reason) => ended(user, reason, file),
        Barrier::Network(networks) => (
            format!("{user} may log in from {networks} alone, and not from there"),
            format!("mailauth limit {user} --networks NETWORKS, or --networks any"),
        ),
        Barrier::Hours(hours) => (
            format!("{user} may log in {hours} alone, and not now"),
            format!("mailauth limit {user} --hours HOURS, or --hours any"),
        ),
        Barrier::LockedOut { network, until } => {
            let until = Zone::local().time(*until);
            let days = config.lockout.known_days;
            let whence = match network {
                Some(network) => format!("from {network} until {until}"),
                None => {
                    format!(
                        "until {until}, but from where there was a login of {user} in the last {days} days"
                    )
                }
            };
            let what = format!("wrong passwords have locked out {user} {whence}");
            (what, format!("mailusradm unlock {user}"))
        }
    }
}

/// What the system says of an account that has ended, or of its password.
pub(super) fn ended(user: &str, reason: &Reason, file: &Path) -> (String, String) {
    match reason {
        Reason::AccountExpired => {
            (format!("the account of {user} has expired (shadow)"), format!("chage -E -1 {user}"))
        }
        Reason::Inactive => (
            format!("the password of {user} expired so long ago that the account is inactive (shadow)"),
            format!("passwd {user}"),
        ),
        Reason::PasswordExpired => (
            format!("the password of {user} has expired or has to be changed (shadow), which POP3 cannot do"),
            format!("passwd {user}"),
        ),
        _ => (
            format!("the login shell of {user} is one whose users are refused"),
            format!(
                "usermod -s /bin/sh {user}, or take the shell out of refused_shells under [auth] in {}",
                quoted(file)
            ),
        ),
    }
}

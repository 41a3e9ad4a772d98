//! What refuses a user whose proof is right, as far as it can be told before a login: the end of the account, networks, hours, locks by
//! wrong passwords, in the order in which a login finds them (`lockout.rs`). For the programs of the administrator.

use super::{Reason, lockout, policy};
use crate::config::{Config, Hours, Networks};
use crate::error::Result;
use crate::secrets::Limits;
use crate::sys::clock;
use std::net::IpAddr;

/// What refuses the user, here and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// The system's account has ended.
    Ended(Reason),
    /// The client is in none of these networks.
    Network(Networks),
    /// It is none of these hours.
    Hours(Hours),
    /// Wrong passwords lock out the user until then, in seconds since 1970.
    LockedOut {
        /// From this address range; for `None` from all where the user has not logged in lately.
        network: Option<String>,
        /// In seconds since 1970.
        until: i64,
    },
}

/// Whose login it would be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit<'a> {
    /// The name that is sent.
    pub(crate) user: &'a str,
    /// The limits of that user.
    pub(crate) limits: &'a Limits,
    /// Where the client is. Where that is not known, what holds for some places only is left out.
    pub(crate) from: Option<IpAddr>,
    /// Whether the proof is a certificate, for which no lock by wrong passwords holds.
    pub(crate) is_certain: bool,
}

/// The first thing that refuses this login though its proof is right. The account's end is [`lockout::ended`]'s.
///
/// # Errors
/// `state.db` cannot be read.
pub(crate) fn barrier(config: &Config, visit: &Visit<'_>) -> Result<Option<Barrier>> {
    let Visit { user, limits, from, is_certain } = *visit;
    if let Some(networks) = limits.networks.as_ref()
        && from.is_some_and(|from| !networks.contain(from.to_canonical()))
    {
        return Ok(Some(Barrier::Network(networks.clone())));
    }
    if let Some(hours) = limits.hours.as_ref().filter(|hours| !hours.contain(lockout::wall_time())) {
        return Ok(Some(Barrier::Hours(hours.clone())));
    }
    if is_certain || !config.auth.is_enhanced() {
        return Ok(None);
    }
    let logins = lockout::logins(config, user)?.unwrap_or_default();
    let network = from.map(|from| lockout::whence(config, Some(from)).1);
    let lock = policy::lock_on(&config.lockout, &logins, network.as_deref(), clock::wall_seconds());
    Ok(lock.map(|(network, until)| Barrier::LockedOut { network, until }))
}

/// What refuses such a login from some places, where it is not known where the client is.
///
/// # Errors
/// `state.db` cannot be read.
pub(crate) fn barriers_elsewhere(config: &Config, visit: &Visit<'_>) -> Result<Vec<Barrier>> {
    let mut barriers: Vec<Barrier> =
        visit.limits.networks.clone().map(Barrier::Network).into_iter().collect();
    if !visit.is_certain && config.auth.is_enhanced() {
        let logins = lockout::logins(config, visit.user)?.unwrap_or_default();
        let locks = policy::locks(&config.lockout, &logins, clock::wall_seconds());
        let locked = |(network, until)| Barrier::LockedOut { network: Some(network), until };
        barriers.extend(locks.ranges.into_iter().map(locked));
    }
    Ok(barriers)
}

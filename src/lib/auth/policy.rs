//! What counts besides right credentials: pure decisions on counters, dates, hours and networks.

use super::Reason;
use crate::config::{Lockout, WallTime};
use crate::secrets::{Count, Limits, Logins, Range, Tally, Written};
use crate::sys::account::Shadow;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// What an attempt has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The right password, or what stands for it.
    Right,
    /// A certificate, which nobody guesses: no lock by wrong passwords holds for it.
    Certain,
    /// A wrong guess of what could have been right.
    Wrong,
    /// What is refused whatever the password is.
    Hopeless,
}

/// What follows from an attempt and from those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Judgement {
    /// Wrong passwords of before refuse it.
    pub(super) locked_out: bool,
    /// How much later than others its refusal leaves.
    pub(super) delay: Duration,
}

/// Judges an attempt by the counters before it: what they are after it, and what becomes of it.
///
/// All refusals count alike for the address range, since the delay that follows from it must tell nothing. For the user only wrong
/// guesses count, and none while a lock holds: who polls with an old password does not prolong it.
pub(super) fn judge(rules: &Lockout, before: Tally, shown: Shown, now: i64) -> (Written, Judgement) {
    let mut tally = remembered(rules, before, now);
    let is_shut = |count, allowed| until(rules, count, allowed) > now;
    let locked_out = shown != Shown::Certain
        && (is_shut(tally.range, rules.failures)
            || (!is_known(rules, tally.good, now)
                && rules.user_failures > 0
                && is_shut(tally.user, rules.user_failures)));
    let is_good = matches!(shown, Shown::Right | Shown::Certain) && !locked_out;
    if is_good {
        tally.user.failures = tally.user.failures.saturating_sub(tally.range.failures);
        tally.range.failures = 0;
        tally.good = Some(now);
        return (Written { tally, is_good }, Judgement { locked_out, delay: Duration::ZERO });
    }
    if shown == Shown::Wrong && !locked_out {
        for count in [&mut tally.user, &mut tally.range] {
            count.failures = count.failures.saturating_add(1);
            count.last = now;
        }
    }
    tally.address.failures = tally.address.failures.saturating_add(1);
    tally.address.last = now;
    let delay = delay(rules, tally.address.failures);
    (Written { tally, is_good }, Judgement { locked_out, delay })
}

/// The counters without what is forgotten. A clock that was set back makes no lock longer.
fn remembered(rules: &Lockout, mut tally: Tally, now: i64) -> Tally {
    for count in [&mut tally.user, &mut tally.range, &mut tally.address] {
        count.last = count.last.min(now);
        if now.saturating_sub(count.last) >= seconds(rules.forget) {
            count.failures = 0;
        }
    }
    tally.good = tally.good.map(|good| good.min(now));
    tally
}

/// Whether the user logged in from a range lately: strangers elsewhere cannot lock it out.
fn is_known(rules: &Lockout, good: Option<i64>, now: i64) -> bool {
    good.is_some_and(|good| now.saturating_sub(good) < i64::from(rules.known_days) * 86_400)
}

/// When a lock by wrong passwords ends; in the past where there is none.
fn until(rules: &Lockout, count: Count, allowed: u32) -> i64 {
    let Some(over) = count.failures.checked_sub(allowed) else { return i64::MIN };
    count.last.saturating_add(seconds(doubled(rules.first, over, rules.longest)))
}

/// How much later refusals leave after so many from one range: a second, doubled each time.
fn delay(rules: &Lockout, failures: u32) -> Duration {
    match failures.checked_sub(rules.delay_after) {
        None | Some(0) => Duration::ZERO,
        Some(over) => doubled(Duration::from_secs(1), over - 1, rules.max_delay),
    }
}

fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(most)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Which locks by wrong passwords hold for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Locks {
    /// For all ranges that are not known: until when, in seconds since 1970.
    pub(crate) user: Option<i64>,
    /// For a range, and until when.
    pub(crate) ranges: Vec<(String, i64)>,
}

impl Locks {
    /// Until when the lock of a range holds, if there is one.
    pub(crate) fn on(&self, network: &str) -> Option<i64> {
        self.ranges.iter().find(|(range, _)| range == network).map(|(_, until)| *until)
    }
}

/// The locks that hold now.
pub(crate) fn locks(rules: &Lockout, logins: &Logins, now: i64) -> Locks {
    let holds = |count: Count, allowed| {
        let count = Count { last: count.last.min(now), ..count };
        let is_forgotten = now.saturating_sub(count.last) >= seconds(rules.forget);
        Some(until(rules, count, allowed)).filter(|until| *until > now && !is_forgotten)
    };
    let user = Count { failures: logins.failures, last: logins.last_failure.unwrap_or_default() };
    let ranges = logins.ranges.iter().filter_map(|range| {
        let until = holds(range.count, rules.failures)?;
        Some((range.network.clone(), until))
    });
    Locks {
        user: holds(user, rules.user_failures).filter(|_| rules.user_failures > 0),
        ranges: ranges.collect(),
    }
}

/// The lock that refuses a user who comes from this range: the range and until when. No range stands for all without a login
/// of the user's lately, and `network` for a place that is not known is none that the user has logged in from.
pub(super) fn lock_on(
    rules: &Lockout,
    logins: &Logins,
    network: Option<&str>,
    now: i64,
) -> Option<(Option<String>, i64)> {
    let locks = locks(rules, logins, now);
    if let Some((range, until)) = network.and_then(|range| Some((range, locks.on(range)?))) {
        return Some((Some(range.to_owned()), until));
    }
    let here = |range: &&Range| network == Some(range.network.as_str());
    let good = logins.ranges.iter().find(here).and_then(|range| range.good);
    locks.user.filter(|_| !is_known(rules, good.map(|good| good.min(now)), now)).map(|until| (None, until))
}

/// Why a user with right credentials is refused now and here, if so. A client that does not come over the network comes from
/// 127.0.0.1.
pub(super) fn limited(
    limits: &Limits,
    time: impl FnOnce() -> WallTime,
    from: Option<IpAddr>,
) -> Option<Reason> {
    let from = from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if limits.networks.as_ref().is_some_and(|networks| !networks.contain(from)) {
        return Some(Reason::Network);
    }
    limits.hours.as_ref().filter(|hours| !hours.contain(time())).map(|_| Reason::OutsideHours)
}

/// Why an account is refused by the dates of shadow(5), if so, on this day since 1970. Password or not, the account has ended, or
/// nobody has renewed its password for so long that it sleeps.
pub(super) fn expired(shadow: &Shadow, today: i64) -> Option<Reason> {
    if shadow.expire.is_some_and(|day| today >= day) {
        return Some(Reason::AccountExpired);
    }
    let age = today.checked_sub(shadow.last_change?).filter(|age| *age >= 0)?;
    let end = shadow.most_days?.checked_add(shadow.inactive?)?;
    (age > end).then_some(Reason::Inactive)
}

/// Whether the system's password is too old to be used, or has to be changed (a last change on day 0), which no POP3 client can do.
pub(super) fn password_expired(shadow: &Shadow, today: i64) -> bool {
    shadow.last_change.is_some_and(|changed| {
        changed == 0 || shadow.most_days.is_some_and(|most| today.saturating_sub(changed) > most)
    })
}

/// Whether the shell's last part is among those whose users are refused.
pub(super) fn is_refused_shell(shell: &str, refused: &[String]) -> bool {
    let name = shell.rsplit('/').next().unwrap_or_default();
    refused.iter().any(|refused| refused == name)
}

#[cfg(test)]
mod tests;

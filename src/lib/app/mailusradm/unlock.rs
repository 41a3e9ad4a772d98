//! `mailusradm unlock`: lifts the locks of users, and says what it found and what stays.

use super::{Failure, NO, NO_PERMISSION, NO_USER, Outcome, remark, write};
use crate::app::check::Probes;
use crate::app::check::login::{Login, account_problem};
use crate::app::check::service::From;
use crate::app::outcome::{named, with_option};
use crate::auth::policy::{Locks, locks};
use crate::auth::{self, roster};
use crate::cli::mailusradm::Unlock;
use crate::config::{Config, Source};
use crate::error::Error;
use crate::secrets::{self, Logins, Places, Store, delegate};
use crate::sys::clock::{self, Zone};
use crate::sys::{account, privileges};
use crate::ui::{Column, Kind, Table};

const COLUMNS: &[Column] = &[
    Column::new("user", Kind::Text),
    Column::new("result", Kind::Text),
    Column::new("what", Kind::Sentence),
    Column::spare("network", Kind::Text, 2),
    Column::spare("until", Kind::Time, 1),
    Column::new("fix", Kind::Sentence),
];

/// Something that stands, or stood, in a user's way.
struct Found {
    /// What to type, for what stays.
    fix: Option<String>,
    what: String,
    network: Option<String>,
    until: Option<i64>,
}

impl Found {
    fn lifted(what: impl Into<String>) -> Self {
        Self { fix: None, what: what.into(), network: None, until: None }
    }
}

/// Lifts what can be lifted; all users have to be known. The exit status is 1 when something stays, or nothing was there.
pub(super) fn run(options: &Unlock, config: &Config) -> Outcome {
    may(config)?;
    for user in &options.users {
        if !is_known(config, user)? {
            let text = format!("there is no user {user}; no user was unlocked");
            return Err(Failure::new(NO_USER, text));
        }
    }
    let mut table = Table::of(COLUMNS);
    let mut well = true;
    let zone = Zone::local();
    for user in &options.users {
        let mut found = lift(config, user)?;
        found.extend(rest(config, user));
        if found.is_empty() {
            remark(&format!("nothing locks {user} out; mailusradm why {user} goes the whole way of a login"));
        }
        well &= !found.is_empty() && found.iter().all(|found| found.fix.is_none());
        for Found { fix, what, network, until } in found {
            let result = if fix.is_some() { "stays" } else { "lifted" };
            table.row(vec![
                user.as_str().into(),
                result.into(),
                what.into(),
                network.into(),
                until.map(|until| zone.time(until)).into(),
                fix.map(|fix| with_option(fix, named())).into(),
            ]);
        }
    }
    write(table, &options.listing)?;
    // All has been said.
    if well { Ok(()) } else { Err(Failure::new(NO, "")) }
}

/// Root may, and who owns database and counters.
fn may(config: &Config) -> Outcome {
    if privileges::is_root() || Places::of(config).directory_owner() == Some(privileges::own().uid) {
        return Ok(());
    }
    Err(Failure::new(NO_PERMISSION, format!("only root and {} may unlock users", secrets::OWNER)))
}

/// A user of the system, of the database, or of a program that has logged in, or was guessed at.
fn is_known(config: &Config, user: &str) -> Result<bool, Failure> {
    let of_system = account::user(user)
        .map_err(|cause| Error::io("cannot ask for a user of the system", cause))?
        .is_some();
    Ok(of_system || roster::account(config, user)?.is_some() || auth::logins(config, user)?.is_some())
}

/// Lifts the locks that are there.
fn lift(config: &Config, user: &str) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    if unlock(config, user)? {
        found.push(Found::lifted("locked in the secrets database"));
    }
    let Some(logins) = auth::logins(config, user)? else { return Ok(found) };
    let locks = match config.auth.is_enhanced() {
        true => locks(&config.lockout, &logins, clock::wall_seconds()),
        false => Locks::default(),
    };
    if auth::forgive(config, user)? {
        found.extend(forgiven(&logins, locks));
    }
    Ok(found)
}

/// What the wrong passwords were that are forgotten now.
fn forgiven(logins: &Logins, locks: Locks) -> Vec<Found> {
    let told = |failures: u32, network: Option<String>, until: Option<i64>| {
        let wrong = if failures == 1 { "1 wrong password" } else { "wrong passwords" };
        let many = if failures == 1 { String::new() } else { format!("{failures} ") };
        let what = match until {
            Some(_) => format!("locked out by {many}{wrong}"),
            None => format!("{many}{wrong} counted"),
        };
        Found { fix: None, what, network, until }
    };
    let mut found = Vec::new();
    if logins.failures > 0 {
        found.push(told(logins.failures, None, locks.user));
    }
    for range in logins.ranges.iter().filter(|range| range.count.failures > 0) {
        found.push(told(range.count.failures, Some(range.network.clone()), locks.on(&range.network)));
    }
    found
}

/// Undoes `mailauth lock`, as the owner of the database; whether that was in the way. Who is retired stays so.
fn unlock(config: &Config, user: &str) -> Result<bool, Failure> {
    let places = Places::of(config);
    if !config.auth.sources.contains(&Source::Mailauth) || !places.database_exists()? {
        return Ok(false);
    }
    let users = [user.to_owned()];
    let done = delegate::run(secrets::owner()?.as_ref(), || {
        let mut store = Store::open(&places)?;
        if store.user(user)?.is_none_or(|user| !user.locked || user.retired) {
            return Ok(false);
        }
        Ok(store.unlock(&users, &[])?.is_none())
    });
    Ok(done?)
}

/// What else refuses the user, which no lock is.
fn rest(config: &Config, user: &str) -> Option<Found> {
    let probes = Probes::system(named());
    let login = Login { config, probes: &probes, user, from: From::Elsewhere, means: None };
    let finding = account_problem(&login)?;
    let what = finding.what.strip_prefix("account: ").unwrap_or(&finding.what).to_owned();
    Some(Found { fix: finding.fix.or_else(|| Some(String::new())), ..Found::lifted(what) })
}

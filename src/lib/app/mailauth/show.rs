//! `mailauth show`: what is known of one user; never a secret.

use super::{Failure, NO, Outcome, time};
use crate::auth;
use crate::auth::policy::{Locks, locks};
use crate::cli::mailauth::Show;
use crate::config::Config;
use crate::secrets::{Entry, Logins, Places, Range, Shown, State, Store, Use, Visit};
use crate::sys::clock::{self, Zone};
use crate::ui::{self, Format, Table};
use serde_json::{Map, Value};

/// An entry's name stands before what is said of it; before what is said of the user, nothing.
const COLUMNS: &[&str] = &["entry", "what", "value"];

/// Writes it.
pub(super) fn run(options: &Show, config: &Config, places: &Places) -> Outcome {
    let user = &options.user;
    let (shown, logins) = (Store::open(places)?.show(user)?, known(config, user));
    if shown.is_none() && logins.is_none() {
        return Err(Failure::new(NO, format!("{user} has no entry; mailauth list shows who has")));
    }
    let (shown, logins) = (shown.unwrap_or_default(), logins.unwrap_or_default());
    let locks = locks(&config.lockout, &logins, now());
    let facts = [facts(user, &shown), summary(&logins, &locks)].concat();
    let (entries, ranges) = (entries(user, &shown, state(places).as_ref()), ranges(&logins, &locks));
    let format = options.format.unwrap_or_else(Format::usual);
    if format == Format::Json {
        let mut object = object(facts);
        for (name, parts) in [("entries", entries), ("ranges", ranges)] {
            let parts = parts.into_iter().map(|(_, facts)| Value::Object(self::object(facts))).collect();
            object.insert(name.to_owned(), Value::Array(parts));
        }
        ui::say(&format!("{:#}\n", Value::Object(object)))?;
        return Ok(());
    }
    let mut table = Table::new(COLUMNS);
    for (entry, facts) in std::iter::once((String::new(), facts)).chain(entries).chain(ranges) {
        for (what, value) in facts {
            table.row(vec![entry.as_str().into(), what.into(), value]);
        }
    }
    ui::say(&table.render(format))?;
    Ok(())
}

/// The file with the times of last use. Without it everything else can be shown.
pub(super) fn state(places: &Places) -> Option<State> {
    match State::open(places) {
        Ok(state) => state,
        Err(error) => {
            ui::complain(&format!("mailauth: times of last use are not known: {error}\n"));
            None
        }
    }
}

/// What is known of the user's logins, under enhanced security. Without it everything else can be shown.
pub(super) fn known(config: &Config, user: &str) -> Option<Logins> {
    match auth::logins(config, user) {
        Ok(logins) => logins,
        Err(error) => {
            ui::complain(&format!("mailauth: logins and wrong passwords are not known: {error}\n"));
            None
        }
    }
}

fn now() -> i64 {
    clock::wall_seconds()
}

/// The last login, the last refusal, and what wrong passwords have led to.
fn summary(logins: &Logins, locks: &Locks) -> Facts {
    let zone = Zone::local();
    let at = |visit: &Option<Visit>| time(&zone, visit.as_ref().map(|visit| visit.at));
    let from = |visit: &Option<Visit>| visit.as_ref().map(|visit| visit.place.as_str()).into();
    vec![
        ("last login", at(&logins.good)),
        ("last login from", from(&logins.good)),
        ("last refusal", at(&logins.bad)),
        ("last refusal from", from(&logins.bad)),
        ("wrong passwords", logins.failures.into()),
        ("locked out until", time(&zone, locks.user)),
    ]
}

/// The same of each address range.
fn ranges(logins: &Logins, locks: &Locks) -> Vec<(String, Facts)> {
    let zone = Zone::local();
    let range = |range: &Range| {
        let wrong = Some(range.count.last).filter(|last| *last > 0);
        let facts = vec![
            ("network", range.network.as_str().into()),
            ("last login", time(&zone, range.good)),
            ("last wrong password", time(&zone, wrong)),
            ("wrong passwords", range.count.failures.into()),
            ("locked out until", time(&zone, locks.on(&range.network))),
        ];
        (format!("from {}", range.network), facts)
    };
    logins.ranges.iter().map(range).collect()
}

/// What there is to say, in this order.
type Facts = Vec<(&'static str, Value)>;

fn object(facts: Facts) -> Map<String, Value> {
    facts.into_iter().map(|(what, value)| (what.replace(' ', "_"), value)).collect()
}

fn facts(user: &str, shown: &Shown) -> Facts {
    let mut facts = Facts::new();
    let mut fact = |what, value| facts.push((what, value));
    fact("user", user.into());
    fact("locked", shown.locked.into());
    fact("retired", shown.retired.into());
    fact("hours", shown.limits.hours.as_deref().into());
    fact("networks", shown.limits.networks.as_deref().into());
    fact("login delay", shown.limits.login_delay.into());
    fact("virtual", shown.owner.is_some().into());
    if let Some(owner) = &shown.owner {
        fact("uid", owner.ids.map(|(uid, _)| uid).into());
        fact("gid", owner.ids.map(|(_, gid)| gid).into());
        fact("home", owner.home.as_ref().map(|path| path.to_string_lossy()).into());
        fact("maildrop", owner.maildrop.as_ref().map(|path| path.to_string_lossy()).into());
    }
    facts
}

/// The entries with their names: the type, and the label where there is one.
fn entries(user: &str, shown: &Shown, state: Option<&State>) -> Vec<(String, Facts)> {
    let zone = Zone::local();
    let entry = |entry: &Entry| {
        let name = [entry.kind.as_str(), &entry.label].join(" ").trim_end().to_owned();
        let used = Use { user: user.to_owned(), kind: entry.kind, label: entry.label.clone() };
        let last = state.and_then(|state| state.last_use(&used, entry.made).ok().flatten());
        let facts = vec![
            ("type", entry.kind.as_str().into()),
            ("label", entry.label.as_str().into()),
            ("scram", entry.scram.into()),
            ("made", time(&zone, Some(entry.made))),
            ("changed", time(&zone, Some(entry.changed))),
            ("last use", time(&zone, last)),
        ];
        (name, facts)
    };
    shown.entries.iter().map(entry).collect()
}

//! `mailauth show`: what is known of one user; never a secret.

use super::{Failure, NO, Outcome, time};
use crate::cli::mailauth::Show;
use crate::secrets::{Entry, Places, Shown, State, Store, Use};
use crate::sys::clock::Zone;
use crate::ui::{self, Format, Table};
use serde_json::{Map, Value};

/// An entry's name stands before what is said of it; before what is said of the user, nothing.
const COLUMNS: &[&str] = &["entry", "what", "value"];

/// Writes it.
pub(super) fn run(options: &Show, places: &Places) -> Outcome {
    let user = &options.user;
    let Some(shown) = Store::open(places)?.show(user)? else {
        return Err(Failure::new(NO, format!("{user} has no entry; mailauth list shows who has")));
    };
    let (facts, entries) = (facts(user, &shown), entries(user, &shown, state(places).as_ref()));
    let format = options.format.unwrap_or_else(Format::usual);
    if format == Format::Json {
        let mut object = object(facts);
        let entries = entries.into_iter().map(|(_, facts)| Value::Object(self::object(facts))).collect();
        object.insert("entries".to_owned(), Value::Array(entries));
        ui::say(&format!("{:#}\n", Value::Object(object)))?;
        return Ok(());
    }
    let mut table = Table::new(COLUMNS);
    for (entry, facts) in std::iter::once((String::new(), facts)).chain(entries) {
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

//! `mailauth list`: who has a secret for what; never a secret.

use super::{Outcome, time, type_of};
use crate::cli::mailauth::List;
use crate::secrets::{Places, SecretType, State, Store, Use};
use crate::sys::clock::Zone;
use crate::ui::{self, Format, Table};

/// User and type come first, as in the original's list.
const COLUMNS: &[&str] = &["user", "type", "label", "locked", "virtual", "last use"];

/// Writes the list.
pub(super) fn run(options: &List, places: &Places) -> Outcome {
    let (mut table, zone) = (Table::new(COLUMNS), Zone::local());
    let entries = Store::open(places)?.list(options.kind.map(type_of))?;
    let state = super::show::state(places);
    for entry in entries {
        let used = entry.kind.and_then(|kind| {
            let used = Use { user: entry.user.clone(), kind, label: entry.label.clone() };
            state.as_ref().and_then(|state: &State| state.last_use(&used, entry.made).ok().flatten())
        });
        table.row(vec![
            entry.user.into(),
            entry.kind.map(SecretType::as_str).into(),
            entry.label.into(),
            entry.locked.into(),
            entry.is_virtual.into(),
            time(&zone, used),
        ]);
    }
    ui::say(&table.render(options.format.unwrap_or_else(Format::usual)))?;
    Ok(())
}

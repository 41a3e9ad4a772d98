//! `mailauth list`: who has a secret for what; never a secret.

use super::{Outcome, type_of};
use crate::cli::mailauth::List;
use crate::secrets::{Places, Store};
use crate::ui::{self, Format, Table};

/// User and type come first, as in the original's list.
const COLUMNS: &[&str] = &["user", "type", "label", "locked", "virtual"];

/// Writes the list.
pub(super) fn run(options: &List, places: &Places) -> Outcome {
    let mut table = Table::new(COLUMNS);
    for entry in Store::open(places)?.list(options.kind.map(type_of))? {
        table.row(vec![
            entry.user.into(),
            entry.kind.as_str().into(),
            entry.label.into(),
            entry.locked.into(),
            entry.is_virtual.into(),
        ]);
    }
    ui::say(&table.render(options.format.unwrap_or_else(Format::usual)))?;
    Ok(())
}

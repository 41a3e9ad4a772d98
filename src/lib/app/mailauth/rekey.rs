//! `mailauth rekey`: another key.

use super::Outcome;
use crate::secrets::{self, Places};
use crate::ui;

/// Seals everything by a new key. As root it stays root: the directory of the key is not the owner's.
pub(super) fn run(places: &Places) -> Outcome {
    let owner = super::delegate(places)?;
    let count = secrets::rekey(places, owner.as_ref())?;
    let key = places.key.display();
    ui::say(&format!(
        "sealed anew: {count}; the key is in {key}: keep a copy of it, backups need the old one\n"
    ))?;
    Ok(())
}

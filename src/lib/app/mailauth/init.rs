//! `mailauth init`: directory, key and database.

use super::{Failure, NO, NO_PERMISSION, Outcome};
use crate::cli::mailauth::Init;
use crate::secrets::{self, Places};
use crate::sys::privileges;
use crate::ui;

/// Makes what is missing. A database that is there is emptied only after a `y`, or with `--clear`.
pub(super) fn run(options: &Init, places: &Places) -> Outcome {
    let owner = secrets::owner()?;
    if owner.is_none() {
        super::become_owner(places)?;
    }
    let shown = places.database.display();
    let there = places.database_exists()? && !is_empty_file(places);
    if there && !options.clear {
        let question = format!("{shown} is there already. Remove all its entries? [y/N] ");
        match ui::confirm(&question) {
            Ok(true) => {}
            Ok(false) => return Err(Failure::new(NO, format!("{shown} is as it was"))),
            Err(_) => {
                return Err(Failure::new(NO, format!("{shown} is there already; init --clear empties it")));
            }
        }
    }
    let prepared = secrets::prepare(places, owner.as_ref());
    if let (Err(error), None) = (&prepared, &owner) {
        let hint = "root makes it, or set state_dir to a directory of your own";
        return Err(Failure::new(NO_PERMISSION, format!("{error}; {hint}")));
    }
    // Until the end nobody changes the key.
    let _held = prepared?;
    if let Some(ids) = owner {
        privileges::become_for_good(&ids)?;
    }
    secrets::create(places, there)?;
    ui::say(&format!("made {shown}; its key is {}\n", places.key.display()))?;
    Ok(())
}

/// What a killed `init` left is no database yet.
fn is_empty_file(places: &Places) -> bool {
    std::fs::symlink_metadata(&places.database).is_ok_and(|found| found.is_file() && found.len() == 0)
}

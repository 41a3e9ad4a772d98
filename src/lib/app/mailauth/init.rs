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
        let what = match secrets::count(places, owner.as_ref()) {
            Some(count) => format!("with {count} entries. Remove them all?"),
            None => "and cannot be used. Set it aside and make an empty one?".to_owned(),
        };
        match ui::confirm(&format!("{shown} is there already, {what} [y/N] ")) {
            Ok(true) => {}
            Ok(false) => return Err(Failure::new(NO, format!("{shown} is as it was"))),
            Err(_) => {
                return Err(Failure::new(NO, format!("{shown} is there already; init --clear empties it")));
            }
        }
    }
    let had_key = secrets::exists(&places.key)?;
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
    let made = secrets::create(places, there)?;
    let before = match &made.aside {
        Some(aside) => format!("what was there could not be used and is {} now\n", aside.display()),
        None if there => format!("removed {} entries\n", made.removed),
        None => String::new(),
    };
    let key = if had_key { "as before" } else { "a new one" };
    ui::say(&format!("{before}made {shown}; its key is {}, {key}\n", places.key.display()))?;
    Ok(())
}

/// What a killed `init` left is no database yet.
fn is_empty_file(places: &Places) -> bool {
    std::fs::symlink_metadata(&places.database).is_ok_and(|found| found.is_file() && found.len() == 0)
}

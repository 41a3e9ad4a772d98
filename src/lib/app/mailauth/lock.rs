//! `mailauth lock` and `unlock`: whose logins are refused.

use super::{Failure, NO, NO_USER, Outcome};
use crate::cli::mailauth::Names;
use crate::secrets::{Places, Store};

/// Locks all of them or none. A user of the system without an entry is locked too: the system's password is refused then.
pub(super) fn lock(options: &Names, places: &Places) -> Outcome {
    let mut system = Vec::new();
    for name in &options.users {
        if super::system_user(name)?.is_some() {
            system.push(name.clone());
        }
    }
    match Store::open(places)?.lock(&options.users, &system)? {
        None => Ok(()),
        Some(name) => Err(Failure::new(
            NO_USER,
            format!("neither the system nor the database has a user {name}; no user was locked"),
        )),
    }
}

/// Unlocks all of them or none.
pub(super) fn unlock(options: &Names, places: &Places) -> Outcome {
    match Store::open(places)?.unlock(&options.users)? {
        None => Ok(()),
        Some(name) => {
            Err(Failure::new(NO, format!("{name} has no entry and is not locked; no user was unlocked")))
        }
    }
}

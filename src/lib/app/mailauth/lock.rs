//! `mailauth lock` and `unlock`: whose logins are refused.

use super::{Failure, NO, NO_USER, Outcome};
use crate::auth;
use crate::cli::mailauth::{Lock, Unlock};
use crate::config::Config;
use crate::secrets::{Places, Store};

/// Locks all of them or none. A user of the system without an entry is locked too: the system's password is refused then.
pub(super) fn lock(options: &Lock, places: &Places) -> Outcome {
    let mut system = Vec::new();
    for name in &options.users {
        if super::system_user(name)?.is_some() {
            system.push(name.clone());
        }
    }
    let mut store = Store::open(places)?;
    match store.lock(&options.users, &system)? {
        None if options.retire => Ok(store.retire(&options.users)?),
        None => Ok(()),
        Some(name) => Err(Failure::new(
            NO_USER,
            format!("neither the system nor the database has a user {name}; no user was locked"),
        )),
    }
}

/// Unlocks all of them or none, and forgets wrong passwords for them, which may have locked them out too.
pub(super) fn unlock(options: &Unlock, config: &Config, places: &Places) -> Outcome {
    let mut store = Store::open(places)?;
    for user in options.users.iter().filter(|_| !options.retired) {
        if store.user(user)?.is_some_and(|user| user.retired) {
            let what = format!("{user} is retired: mailauth unlock --retired {user} brings the user back");
            return Err(Failure::new(NO, format!("{what}; no user was unlocked")));
        }
    }
    let counted = |user: &&String| {
        super::show::known(config, user).is_some_and(|logins| {
            logins.failures > 0 || logins.ranges.iter().any(|range| range.count.failures > 0)
        })
    };
    let counted: Vec<String> = options.users.iter().filter(counted).cloned().collect();
    match store.unlock(&options.users, &counted)? {
        None => {
            for user in &counted {
                auth::forgive(config, user)?;
            }
            Ok(())
        }
        Some(name) => {
            Err(Failure::new(NO, format!("{name} has no entry and is not locked; no user was unlocked")))
        }
    }
}

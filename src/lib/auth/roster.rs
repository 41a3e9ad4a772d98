//! Whose maildrops the server serves: users of the system, and those whom the secrets database adds. For the programs of the
//! administrator, which let nobody in.

use super::mailauth::{self, Own};
use super::{Account, unix};
use crate::config::{Config, Source};
use crate::error::{Error, Result};
use crate::secrets::{self, Places, Store, delegate};
use crate::sys::account::{self, User};
use crate::sys::privileges;
use std::collections::HashSet;

/// The account of a name, as a login would have it; none when nobody has it, or it may not log in.
///
/// # Errors
/// The system or the database cannot be asked, or the entry of a virtual user is wrong.
pub(crate) fn account(config: &Config, name: &str) -> Result<Option<Account>> {
    if let Some(user) = account::user(name).map_err(unasked)? {
        return Ok(may_log_in(config, &user).then(|| unix::accepted(name, user)));
    }
    match virtual_users(config, Some(name))?.pop() {
        Some((name, own)) => mailauth::virtual_account(config, name, own).map(Some),
        None => Ok(None),
    }
}

/// Everybody who has or may have a maildrop here, by name, and what is wrong with entries that give none. An ordinary user
/// is alone, but for virtual users of the own.
///
/// # Errors
/// The system or the database cannot be asked.
pub(crate) fn accounts(config: &Config) -> Result<(Vec<Account>, Vec<Error>)> {
    let mut accounts: Vec<Account> = if privileges::is_root() {
        let users = if config.auth.sources.is_empty() { Vec::new() } else { account::users() };
        users.into_iter().filter(|user| may_log_in(config, user)).map(from_system).collect()
    } else {
        let own = account::own_name().map_err(unasked)?;
        let own = own.map(|name| account::user(&name)).transpose().map_err(unasked)?.flatten();
        own.into_iter().map(from_system).collect()
    };
    let mut wrong = Vec::new();
    for (name, own) in virtual_users(config, None)? {
        match mailauth::virtual_account(config, name, own) {
            Ok(account) => accounts.push(account),
            Err(error) => wrong.push(error),
        }
    }
    // Some databases list a user twice.
    let mut seen = HashSet::new();
    accounts.retain(|account| seen.insert(account.name.clone()));
    accounts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok((accounts, wrong))
}

fn from_system(user: User) -> Account {
    unix::accepted(&user.name.clone(), user)
}

/// Root and uids below `min_uid` may not; whoever looks at the own maildrop without root's rights may.
fn may_log_in(config: &Config, user: &User) -> bool {
    let own = privileges::own().uid;
    (user.uid != 0 && user.uid >= config.auth.min_uid) || (own != 0 && user.uid == own)
}

/// The virtual users of the secrets database, or the one of this name; none where there is no database, or it is none of ours.
fn virtual_users(config: &Config, name: Option<&str>) -> Result<Vec<(String, Own)>> {
    let places = Places::of(config);
    if !config.auth.sources.contains(&Source::Mailauth) || !is_there(&places)? {
        return Ok(Vec::new());
    }
    let owner = secrets::owner()?;
    delegate::run(owner.as_ref(), || {
        let store = Store::open(&places)?;
        let names: Vec<String> = match name {
            Some(name) => vec![name.to_owned()],
            None => store
                .list(None)?
                .into_iter()
                .filter(|entry| entry.is_virtual)
                .map(|entry| entry.user)
                .collect(),
        };
        let mut users = Vec::new();
        for name in names {
            if let Some(owner) = store.user(&name)?.and_then(|user| user.owner) {
                users.push((name, Own::from(owner)));
            }
        }
        Ok(users)
    })
}

/// An ordinary user whom the database is hidden from has nobody in it.
fn is_there(places: &Places) -> Result<bool> {
    match places.database_exists() {
        Err(_) if !privileges::is_root() => Ok(false),
        found => found,
    }
}

fn unasked(cause: std::io::Error) -> Error {
    Error::io("cannot ask for a user of the system", cause)
}

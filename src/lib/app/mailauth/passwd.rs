//! `mailauth passwd`: another secret for an entry that is there.

use super::{DATA, Failure, NO, NO_USER, Outcome, USAGE, ask, type_of};
use crate::auth::{self, LoginPassword};
use crate::cli::mailauth::Passwd;
use crate::error::Error;
use crate::secrets::{Listed, Material, NewEntry, Places, SecretType, Store};
use crate::sys::account;

/// Whose secret it is: the caller's unless one is named.
pub(super) fn user(options: &Passwd) -> Result<String, Failure> {
    if let Some(user) = &options.user {
        return Ok(user.clone());
    }
    let own = account::own_name().map_err(|cause| Error::io("cannot ask for your name", cause))?;
    own.ok_or_else(|| Failure::new(NO_USER, "the system has no name for you; name the user"))
}

/// Asks for the secret and stores it.
pub(super) fn run(options: &Passwd, user: &str, places: &Places, login: Option<&LoginPassword>) -> Outcome {
    let is_root = super::system_user(user)?.is_some_and(|found| found.uid == 0);
    if is_root && options.user.is_none() {
        return Err(Failure::new(NO_USER, format!("{user} cannot log in and has no secret: name the user")));
    }
    let mut store = Store::open(places)?;
    // Before anybody types a secret for nothing.
    store.key(places)?;
    let (kind, label) = choose(options, user, store.list(options.kind.map(type_of))?)?;
    let secret = ask::new_secret(&options.source, user, login)?;
    let verifier = if kind == SecretType::Pop { Some(auth::password_hash(&secret)?) } else { None };
    let material = verifier.as_ref().map_or(Material::Sealed(&secret), Material::Verifier);
    let entry = NewEntry { user, owner: None, kind, label: &label, material };
    if !store.change(places, &entry)? {
        return Err(Failure::new(NO, format!("the {kind} entry of {user} was removed meanwhile")));
    }
    ask::tell(&options.source, &secret, user)
}

/// The one entry that is meant.
fn choose(options: &Passwd, user: &str, entries: Vec<Listed>) -> Result<(SecretType, String), Failure> {
    let is_meant = |entry: &Listed| {
        entry.user == user && options.label.as_ref().is_none_or(|label| entry.label == *label)
    };
    let found: Vec<_> = entries
        .into_iter()
        .filter(is_meant)
        .filter_map(|entry| entry.kind.map(|kind| (kind, entry.label)))
        .collect();
    match <[_; 1]>::try_from(found) {
        Ok([only]) => Ok(only),
        Err(none) if none.is_empty() => {
            let what = options.kind.map_or_else(String::new, |kind| format!("{} ", type_of(kind)));
            let label = options
                .label
                .as_ref()
                .map_or_else(String::new, |label| format!(" with the label \"{label}\""));
            let add = add_line(options, user);
            Err(Failure::new(NO, format!("{user} has no {what}entry{label}; {add} makes one")))
        }
        Err(several) => {
            let names: Vec<String> =
                several.iter().map(|(kind, label)| format!("{kind} {label}").trim_end().to_owned()).collect();
            let names = names.join(", ");
            let status = if options.kind.is_some() && options.label.is_some() { DATA } else { USAGE };
            Err(Failure::new(
                status,
                format!("{user} has several entries ({names}): choose by --type and --label"),
            ))
        }
    }
}

/// The command that adds what was to be changed. A name that the system does not know needs `--virtual`.
fn add_line(options: &Passwd, user: &str) -> String {
    let mut line = "mailauth add".to_owned();
    let kind = match (options.kind, &options.label) {
        (Some(kind), _) => Some(type_of(kind)),
        (None, Some(_)) => Some(SecretType::Pop),
        (None, None) => None,
    };
    if let Some(kind) = kind {
        line += &format!(" --type {kind}");
    }
    if let Some(label) = &options.label {
        line += &format!(" --label \"{label}\"");
    }
    if super::system_user(user).is_ok_and(|found| found.is_none()) {
        line += " --virtual";
    }
    format!("{line} {user}")
}

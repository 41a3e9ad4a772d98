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
    ask::tell(&options.source, &secret)
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
            Err(Failure::new(NO, format!("{user} has no {what}entry{label}; mailauth add {user} makes one")))
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

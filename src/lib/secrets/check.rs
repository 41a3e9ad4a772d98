//! Whether everything of the secrets is as it has to be: what `mailauth check` says.

use super::seal::{Key, UNFINISHED};
use super::state::State;
use super::store::Store;
use super::{Places, SecretType, exists, guard, parent};
use crate::error::Error;
use crate::protocol::sasl::scram::Verifier;
use crate::sys::account;
use crate::sys::directory::Directory;
use serde::{Deserialize, Serialize};

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// Whether somebody has to do something.
    pub(crate) problem: bool,
    /// What was found, and what to do.
    pub(crate) what: String,
}

impl Finding {
    fn well(what: impl Into<String>) -> Self {
        Self { problem: false, what: what.into() }
    }

    fn problem(what: impl Into<String>) -> Self {
        Self { problem: true, what: what.into() }
    }
}

impl From<Error> for Finding {
    fn from(error: Error) -> Self {
        Self::problem(error.to_string())
    }
}

/// Looks at all of it, with the ids of the owner. Users of the system have uids from `min_uid` on.
pub(crate) fn check(places: &Places, min_uid: u32) -> Vec<Finding> {
    let shown = |path: &std::path::Path| path.display().to_string();
    let mut findings = Vec::new();
    let directory = parent(&places.database).and_then(guard::directory);
    match directory {
        Ok(_) => findings.push(Finding::well("the directory is the owner's alone")),
        Err(error) => {
            // Nothing in it can be trusted or reached.
            findings.push(error.into());
            return findings;
        }
    }
    let store = match Store::open(places) {
        Ok(store) => store,
        Err(error) => {
            findings.push(error.into());
            findings.extend(Key::load(&places.key).err().map(Finding::from));
            return findings;
        }
    };
    match store.integrity() {
        Ok(faults) if faults.is_empty() => {
            findings.push(Finding::well(format!("{} is whole", shown(&places.database))));
        }
        Ok(faults) => findings.extend(faults.into_iter().map(|fault| {
            Finding::problem(format!("{}: {fault}: bring it back from a backup", shown(&places.database)))
        })),
        Err(error) => findings.push(error.into()),
    }
    let key = key(&store, places, &mut findings);
    match entries(&store, key.as_ref(), min_uid) {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(error.into()),
    }
    match store.announces_rightly() {
        Ok(true) => {}
        Ok(false) => findings.push(Finding::problem(
            "the file announce beside the database does not say what the entries can use: the next change mends it",
        )),
        Err(error) => findings.push(error.into()),
    }
    findings.extend(state(places));
    findings
}

fn key(store: &Store, places: &Places, findings: &mut Vec<Finding>) -> Option<Key> {
    let leftovers = places
        .key
        .parent()
        .and_then(|parent| Directory::open(parent).and_then(|parent| parent.names(UNFINISHED)).ok())
        .is_some_and(|names| !names.is_empty());
    if leftovers || exists(&places.new_key()).unwrap_or(true) {
        findings.push(Finding::problem(format!(
            "a change of the key was interrupted, or goes on now; {} is still there: mailauth rekey puts it in order",
            places.new_key().display()
        )));
    }
    match store.key(places) {
        Ok(key) => {
            findings.push(Finding::well(format!("{} is the database's key", places.key.display())));
            Some(key)
        }
        Err(error) => {
            findings.push(error.into());
            None
        }
    }
}

/// What is wrong with users and entries.
fn entries(store: &Store, key: Option<&Key>, min_uid: u32) -> Result<Vec<Finding>, Error> {
    let content = store.content()?;
    let mut findings = Vec::new();
    for (name, _, owner) in &content.users {
        if let Some(what) = account_fault(name, owner.is_some(), min_uid) {
            findings.push(Finding::problem(what));
        }
    }
    // The key may have been changed since: then what it opens says nothing.
    let key = key.filter(|key| *key.id() == content.key_id);
    let (mut opened, mut sealed_entries) = (0, 0);
    for entry in &content.entries {
        let (user, kind) = (&entry.user, entry.kind);
        if let Some(sealed) = &entry.sealed {
            sealed_entries += 1;
            if let Some(key) = key {
                match key.unseal(user, kind, sealed) {
                    Some(_) => opened += 1,
                    None => findings.push(Finding::problem(format!(
                        "the {kind} entry of {user} does not open: mailauth passwd --type {kind} {user}"
                    ))),
                }
            }
        }
        let unread = entry.scram.as_deref().is_some_and(|text| Verifier::parse(text).is_none());
        if unread {
            findings.push(Finding::problem(format!(
                "the SCRAM verifier of {user} is damaged: mailauth passwd --type {kind} {user}"
            )));
        } else if kind == SecretType::Apop && entry.scram.is_none() {
            findings.push(Finding::well(format!(
                "{user} has no SCRAM verifier yet, one is made at each login: mailauth passwd {user} stores one"
            )));
        }
    }
    if key.is_some() && opened == sealed_entries {
        findings.push(Finding::well(format!("{opened} sealed secrets open")));
    }
    Ok(findings)
}

/// What is wrong with the account behind a name.
fn account_fault(name: &str, is_virtual: bool, min_uid: u32) -> Option<String> {
    match (account::user(name), is_virtual) {
        (Err(cause), _) => Some(Error::io(format!("cannot ask the system for {name}"), cause).to_string()),
        (Ok(None), false) => Some(format!(
            "the system has no user {name} any more: mailauth remove {name}, mailauth unlock {name}"
        )),
        (Ok(Some(_)), true) => {
            Some(format!("{name} is a virtual user and a user of the system: mailauth remove {name}"))
        }
        (Ok(Some(user)), false) if user.uid == 0 || user.uid < min_uid => {
            Some(format!("{name} cannot log in: uid {} is root's or below auth.min_uid", user.uid))
        }
        _ => None,
    }
}

fn state(places: &Places) -> Vec<Finding> {
    let shown = places.state().display().to_string();
    let remedy = format!("rm {shown}: only the times of last use are lost");
    match State::open(places).and_then(|state| state.map(|state| state.integrity()).transpose()) {
        Ok(None) => vec![Finding::well(format!("there is no {shown} yet: the first login makes it"))],
        Ok(Some(faults)) if faults.is_empty() => vec![Finding::well(format!("{shown} is whole"))],
        Ok(Some(faults)) => {
            faults.into_iter().map(|fault| Finding::problem(format!("{shown}: {fault}; {remedy}"))).collect()
        }
        Err(error) => vec![Finding::problem(format!("{error}; or {remedy}"))],
    }
}

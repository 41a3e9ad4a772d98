//! Whether everything of the secrets is as it has to be: what `mailauth check` says.

use super::seal::{Key, UNFINISHED};
use super::state::State;
use super::store::{Known, RUINED, Store};
use super::{Owner, Places, SecretType, exists, guard, parent};
use crate::error::Error;
use crate::protocol::sasl::scram::Verifier;
use crate::sys::account;
use crate::sys::directory::Directory;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

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

/// What the configuration says of users.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// Users of the system have uids from this on, and virtual users with a uid of their own too.
    pub(crate) min_uid: u32,
    /// The uid that virtual users have in common: the one below `min_uid` that they may have.
    pub(crate) virtual_uid: Option<u32>,
}

/// Looks at all of it, with the ids of the owner.
pub(crate) fn check(places: &Places, rules: &Rules) -> Vec<Finding> {
    let (mut findings, store) = foundations(places);
    if let Some((store, key)) = store {
        match entries(&store, key.as_ref(), rules) {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(error.into()),
        }
        match store.announces_rightly() {
            Ok(true) => {}
            Ok(false) => findings.push(Finding::problem(announcement(&store))),
            Err(error) => findings.push(error.into()),
        }
        findings.extend(state(places));
    }
    without_repetition(findings)
}

/// What a server needs of it: what stands in the way of everybody, and how many findings `mailauth check` has beside.
pub(crate) fn check_briefly(places: &Places, rules: &Rules) -> (Vec<Finding>, usize) {
    let (foundations, _) = foundations(places);
    let mut bad = without_repetition(foundations);
    bad.retain(|finding| finding.problem);
    let others =
        check(places, rules).into_iter().filter(|found| found.problem && !bad.contains(found)).count();
    (bad, others)
}

/// A damaged file fails everywhere alike: once is enough.
fn without_repetition(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings {
        if !finding.problem || !kept.contains(&finding) {
            kept.push(finding);
        }
    }
    kept
}

/// Directories, database and key; the two, where they can be used.
fn foundations(places: &Places) -> (Vec<Finding>, Option<(Store, Option<Key>)>) {
    let shown = places.database.display();
    let mut findings = Vec::new();
    match parent(&places.database).and_then(guard::directory) {
        Ok(_) => findings.push(Finding::well("the directory is the owner's alone")),
        Err(error) => {
            // Nothing in it can be trusted or reached.
            findings.push(error.into());
            return (findings, None);
        }
    }
    let directory = places.database.parent().unwrap_or(&places.database);
    findings.extend([directory, &places.key].into_iter().filter_map(guard::movable).map(Finding::problem));
    let store = match Store::open(places) {
        Ok(store) => store,
        Err(error) => {
            findings.push(error.into());
            findings.extend(Key::load(&places.key).err().map(Finding::from));
            return (findings, None);
        }
    };
    match store.integrity() {
        Ok(faults) if faults.is_empty() => findings.push(Finding::well(format!("{shown} is whole"))),
        Ok(faults) => findings
            .extend(faults.into_iter().map(|fault| Finding::problem(format!("{shown}: {fault}; {RUINED}")))),
        Err(error) => findings.push(error.into()),
    }
    let key = key(&store, places, &mut findings);
    (findings, Some((store, key)))
}

/// What makes the announcement anew: a change that changes nothing else.
fn announcement(store: &Store) -> String {
    let users = store.content().map(|content| content.users).unwrap_or_default();
    let how = match users.first() {
        Some(user) if user.locked => format!("mailauth lock {}", user.name),
        Some(user) => format!("mailauth unlock {}", user.name),
        None => "mailauth rekey".to_owned(),
    };
    format!(
        "the file announce beside the database does not say what the entries can use: {how} writes it anew"
    )
}

fn key(store: &Store, places: &Places, findings: &mut Vec<Finding>) -> Option<Key> {
    if let Some(what) = guard::barred(&places.key) {
        // What is there cannot be told, nor used.
        findings.push(Finding::problem(what));
        return None;
    }
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
fn entries(store: &Store, key: Option<&Key>, rules: &Rules) -> Result<Vec<Finding>, Error> {
    let content = store.content()?;
    let mut findings = Vec::new();
    let with_entry: HashSet<&str> = content.entries.iter().map(|entry| entry.user.as_str()).collect();
    for Known { name, locked, limits, owner, .. } in &content.users {
        let state = UserState { name, locked: *locked, has_entry: with_entry.contains(name.as_str()) };
        if let Err(why) = limits.parse() {
            findings.push(Finding::problem(format!(
                "{name} cannot log in: the limits are damaged: {why}: mailauth limit {name} sets them anew"
            )));
        }
        findings.extend(account_fault(&state, owner.is_some(), rules.min_uid));
        findings
            .extend(owner.as_ref().and_then(|owner| owner_fault(name, owner, rules)).map(Finding::problem));
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

/// A user of the database.
struct UserState<'a> {
    name: &'a str,
    locked: bool,
    has_entry: bool,
}

/// What is wrong with the account behind a name.
fn account_fault(user: &UserState<'_>, is_virtual: bool, min_uid: u32) -> Option<Finding> {
    let name = user.name;
    // A lock without an entry is a wish of its own; it ends by the other verb.
    let end = if user.has_entry { "remove" } else { "unlock" };
    match (account::user(name), is_virtual) {
        (Err(cause), _) => Some(Error::io(format!("cannot ask the system for {name}"), cause).into()),
        (Ok(None), false) => {
            Some(Finding::problem(format!("the system has no user {name} any more: mailauth {end} {name}")))
        }
        (Ok(Some(_)), true) => Some(Finding::problem(format!(
            "{name} is a virtual user and a user of the system: mailauth remove {name}"
        ))),
        (Ok(Some(found)), false) if found.uid == 0 || found.uid < min_uid => {
            let why = format!("uid {} is root's or below auth.min_uid", found.uid);
            Some(if user.locked && !user.has_entry {
                Finding::well(format!("{name} is locked, and could not log in without that: {why}"))
            } else {
                Finding::problem(format!("{name} cannot log in: {why}: mailauth {end} {name}"))
            })
        }
        _ => None,
    }
}

/// What of a virtual user's own refuses every login: the rule of the server.
fn owner_fault(name: &str, owner: &Owner, rules: &Rules) -> Option<String> {
    let again = format!("mailauth remove {name}, then mailauth add --virtual {name} with");
    if let Some((uid, gid)) = owner.ids
        && rules.virtual_uid != Some(uid)
        && (uid == 0 || gid == 0 || uid < rules.min_uid)
    {
        let why = if gid == 0 {
            "group root's".to_owned()
        } else {
            format!("below auth.min_uid ({})", rules.min_uid)
        };
        return Some(format!(
            "{name} cannot log in: the entry has uid {uid} and gid {gid}, {why}: {again} another --uid"
        ));
    }
    // Where the way is closed to us nothing can be told.
    let drop = owner.maildrop.as_ref().filter(|path| path.is_dir())?;
    let is_maildir = ["cur", "new"].iter().all(|part| drop.join(part).try_exists().unwrap_or(true));
    (!is_maildir).then(|| {
        let shown = drop.display();
        format!("{name} cannot log in: the maildrop {shown} is a directory and no Maildir: make cur, new and tmp in it, or \
             {again} another --maildrop")
    })
}

fn state(places: &Places) -> Vec<Finding> {
    let shown = places.state().display().to_string();
    let remedy =
        format!("rm {shown}: counters of wrong passwords and times of last use are lost, nothing else");
    match State::open(places).and_then(|state| state.map(|state| state.integrity()).transpose()) {
        Ok(None) => vec![Finding::well(format!("there is no {shown} yet: the first login makes it"))],
        Ok(Some(faults)) if faults.is_empty() => vec![Finding::well(format!("{shown} is whole"))],
        Ok(Some(faults)) => {
            faults.into_iter().map(|fault| Finding::problem(format!("{shown}: {fault}; {remedy}"))).collect()
        }
        Err(mut error) => {
            // What mends the other database is too much here.
            error.take_fix();
            vec![Finding::problem(format!("{error}; {remedy}"))]
        }
    }
}

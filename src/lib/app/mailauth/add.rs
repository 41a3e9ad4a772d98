//! `mailauth add`: a new secret for a user.

use super::{CONFIG_FILE, DATA, Failure, NO, NO_USER, Outcome, USAGE, ask};
use crate::auth::{self, LoginPassword};
use crate::cli::mailauth::{Add, NewType};
use crate::config::{Announce, Config};
use crate::protocol::name::UserName;
use crate::secrets::{Added, Listed, Material, NewEntry, Owner, Places, SecretType, Store};
use crate::ui;
use std::path::{Component, Path, PathBuf};

/// Checks name and places; what a virtual user has of its own, `None` for a system user.
pub(super) fn owner(options: &Add, config: &Config) -> Result<Option<Owner>, Failure> {
    let user = &options.user;
    if UserName::parse(user.as_bytes()).is_none() {
        let rule = "a name has 1 to 64 octets of A-Z a-z 0-9 . _ + @ = - and begins with neither . nor -";
        return Err(Failure::new(DATA, format!("\"{user}\" is no user name: {rule}")));
    }
    match (super::system_user(user)?, options.is_virtual) {
        (Some(found), false) if found.uid == 0 || found.uid < config.auth.min_uid => Err(Failure::new(
            NO_USER,
            format!("{user} cannot log in: uid {} is root's or below auth.min_uid", found.uid),
        )),
        (Some(_), false) => Ok(None),
        (None, true) => virtual_owner(options, config).map(Some),
        (Some(_), true) => {
            Err(Failure::new(DATA, format!("{user} is a user of the system, not a virtual one")))
        }
        (None, false) => {
            Err(Failure::new(NO_USER, format!("the system has no user {user}; add --virtual is for others")))
        }
    }
}

fn virtual_owner(options: &Add, config: &Config) -> Result<Owner, Failure> {
    if options.uid.is_none() {
        // Fails where such a user could not log in.
        auth::virtual_owner(config)?;
    }
    for path in [&options.home, &options.maildrop].into_iter().flatten() {
        if !is_plain(path) {
            let what = format!("{} is no absolute path without . and ..", path.display());
            return Err(Failure::new(DATA, what));
        }
    }
    Ok(Owner { ids: options.uid, home: options.home.clone(), maildrop: options.maildrop.clone() })
}

/// An absolute path in UTF-8 that leads down only.
fn is_plain(path: &Path) -> bool {
    let down = |part| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute()
        && path.components().all(down)
        && path.to_str().is_some_and(|text| !text.chars().any(char::is_control))
        && path.components().collect::<PathBuf>().as_os_str() == path.as_os_str()
}

/// Asks for the secret and stores it. `login` is what the login password of the user is known by, where it is.
pub(super) fn run(
    options: &Add,
    config: &Config,
    places: &Places,
    owner: Option<&Owner>,
    login: Option<&LoginPassword>,
) -> Outcome {
    let (user, label) = (options.user.as_str(), options.label.as_deref().unwrap_or_default());
    let kind = match options.kind {
        NewType::Pop => SecretType::Pop,
        _ if !label.is_empty() => return Err(Failure::new(USAGE, "--label is for --type POP")),
        NewType::Apop => SecretType::Apop,
        NewType::Imap => SecretType::Imap,
    };
    let mut store = Store::open(places)?;
    // Before anybody types a secret for nothing.
    store.key(places)?;
    let is_same = |entry: &Listed| entry.user == user && entry.label == label;
    if store.list(Some(kind))?.iter().any(is_same) {
        return Err(exists(user, kind, label));
    }
    let secret = ask::new_secret(&options.source, user, login)?;
    let verifier = if kind == SecretType::Pop { Some(auth::password_hash(&secret)?) } else { None };
    let material = verifier.as_ref().map_or(Material::Sealed(&secret), Material::Verifier);
    let Added::Yes { first } = store.add_new(places, &NewEntry { user, owner, kind, label, material })?
    else {
        return Err(exists(user, kind, label));
    };
    ask::tell(&options.source, &secret)?;
    announced(first, config);
    Ok(())
}

/// Says what the first entry changes for others.
pub(super) fn announced(first: bool, config: &Config) {
    if first && config.auth.announce == Announce::Auto {
        ui::complain(&format!("mailauth: {ANNOUNCED} {CONFIG_FILE} helps them\n"));
    }
}

/// Said when the first entry makes the server announce a mechanism.
const ANNOUNCED: &str = "APOP is announced from now on; clients that take the strongest mechanism and then give up (curl) \
                         cannot log in users without an entry; announce = [] in [auth] of";

fn exists(user: &str, kind: SecretType, label: &str) -> Failure {
    let hint = format!("mailauth passwd --type {kind} {user} changes it");
    if label.is_empty() {
        Failure::new(NO, format!("{user} has such an entry already; {hint}"))
    } else {
        Failure::new(NO, format!("{user} has an entry with the label \"{label}\" already; {hint}"))
    }
}

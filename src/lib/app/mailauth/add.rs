//! `mailauth add`: a new secret for a user.

use super::{DATA, Failure, NO, NO_USER, Outcome, USAGE, ask, config_file, virtual_owner as general_owner};
use crate::auth::{self, LoginPassword};
use crate::cli::mailauth::{Add, NewType};
use crate::config::{Announce, Config};
use crate::log::escape::Sentence;
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
    match options.uid {
        // Fails where such a user could not log in.
        None => drop(general_owner(config)?),
        Some((uid, _)) => usable(uid, config)?,
    }
    for (option, path) in [("--home", &options.home), ("--maildrop", &options.maildrop)] {
        if let Some(path) = path
            && !is_plain(path)
        {
            let what = format!("{option}: {} is no absolute path without . and ..", path.display());
            return Err(Failure::new(DATA, what));
        }
    }
    if let Some(path) = &options.maildrop
        && path.is_dir()
        && ["cur", "new"].iter().any(|name| path.join(name).try_exists().is_ok_and(|there| !there))
    {
        let what = format!("{} is a directory without cur and new, and so no Maildir", path.display());
        return Err(Failure::new(DATA, format!("--maildrop: {what}; nothing was changed")));
    }
    Ok(Owner { ids: options.uid, home: options.home.clone(), maildrop: options.maildrop.clone() })
}

/// The server refuses a uid below `auth.min_uid` that is not that of `auth.virtual_owner`.
pub(super) fn usable(uid: u32, config: &Config) -> Outcome {
    let least = config.auth.min_uid;
    if uid >= least || auth::virtual_owner(config).is_ok_and(|owner| owner.uid == uid) {
        return Ok(());
    }
    let what = format!("--uid: {uid} is below auth.min_uid ({least}) and not that of auth.virtual_owner");
    Err(Failure::new(DATA, format!("{what}: every login would be refused; nothing was changed")))
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
    let known = store.user(user)?;
    if known.as_ref().is_some_and(|found| found.owner.is_some() != owner.is_some()) {
        let sort = if owner.is_some() { "system" } else { "virtual" };
        let what = format!("{user} has entries as a {sort} user: mailauth remove {user} removes them");
        return Err(Failure::new(DATA, what));
    }
    if kind == SecretType::Pop && known.is_some_and(|found| found.apop.is_some()) {
        let what =
            format!("{user} has an APOP entry, and so PASS is refused: this password works only after");
        let line = super::with_option(format!("{what} mailauth remove --type APOP {user}"), super::named());
        ui::complain(&format!("mailauth: {}\n", Sentence(line.as_bytes())));
    }
    let secret = ask::new_secret(&options.source, user, login)?;
    let verifier = if kind == SecretType::Pop { Some(auth::password_hash(&secret)?) } else { None };
    let material = verifier.as_ref().map_or(Material::Sealed(&secret), Material::Verifier);
    let Added::Yes { first } = store.add_new(places, &NewEntry { user, owner, kind, label, material })?
    else {
        return Err(exists(user, kind, label));
    };
    ask::tell(&options.source, &secret, user)?;
    announced(first, config);
    Ok(())
}

/// Says what the first entry changes for others.
pub(super) fn announced(first: bool, config: &Config) {
    if first && config.auth.announce == Announce::Auto {
        ui::complain(&format!("mailauth: {ANNOUNCED} {} helps them\n", config_file().display()));
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

//! The forms of the original, by the verbs of today.

use super::{
    Failure, NO, NO_PERMISSION, Outcome, ask, become_owner, import, init, remove, selfservice, type_of,
};
use crate::auth;
use crate::cli::historic::Historic;
use crate::cli::mailauth::{Add, AnyType, Import, Init, NewSecret, NewType, Remove};
use crate::config::Config;
use crate::secret::Secret;
use crate::secrets::{self, Batch, Material, NewEntry, Places, SecretType, Seen, Store};
use crate::sys::{privileges, tty};
use crate::ui::{self, Format, Table};
use std::path::{Path, PathBuf};

/// Where popauth kept its database: the name that it was compiled with, and those that its libraries made of it.
const OLD_DATABASES: [&str; 5] = [
    "/etc/pop.auth",
    "/etc/pop.auth.pag",
    "/etc/pop.auth.db",
    "/usr/local/etc/popper/pop.auth",
    "/var/lib/popper/pop.auth",
];

/// What `-list` shows.
const COLUMNS: &[&str] = &["user", "type"];

/// The original read secrets from the terminal alone.
const TYPED: NewSecret = NewSecret { stdin: false, generate: false, force: false };

/// Does what a line of the original asks for.
pub(super) fn run(form: Historic, config: &Config, places: &Places) -> Outcome {
    match form {
        Historic::Init | Historic::Convert(_) if !privileges::is_root() && !is_own(places) => {
            Err(Failure::new(NO_PERMISSION, "only root may do that"))
        }
        Historic::Init => init::run(&Init { clear: false }, places),
        Historic::Convert(file) => convert(file, config, places),
        Historic::List(kind) => {
            become_owner(places)?;
            list(kind, places)
        }
        Historic::User(name, kind) => user(&name, kind.map(type_of), config, places),
        Historic::Delete(user) => {
            become_owner(places)?;
            remove::run(&Remove { user, kind: None, label: None }, places)
        }
        Historic::Own => selfservice::here(config, places),
    }
}

/// Whether the installation is that of an ordinary user: for whom the superuser was asked for does not matter there.
fn is_own(places: &Places) -> bool {
    privileges::own().uid != 0 && !is_pop() && become_owner(places).is_ok()
}

fn is_pop() -> bool {
    privileges::first_user(&[secrets::OWNER]).is_some_and(|pop| pop.uid == privileges::own().uid)
}

fn convert(file: Option<PathBuf>, config: &Config, places: &Places) -> Outcome {
    let there = || OLD_DATABASES.iter().map(Path::new).find(|path| path.exists());
    let Some(file) = file.or_else(|| there().map(Path::to_owned)) else {
        let places = OLD_DATABASES.join(", ");
        let what = format!(
            "there is no old database ({places}): -convert FILE names one, mailauth import other formats"
        );
        return Err(Failure::new(NO, what));
    };
    let options = Import {
        file,
        from: None,
        kind: None,
        dry_run: false,
        replace: false,
        take_virtual: false,
        force: false,
        format: None,
    };
    import::run(&options, config, places)
}

/// Two columns, as the original's.
fn list(kind: Option<AnyType>, places: &Places) -> Outcome {
    let mut table = Table::new(COLUMNS);
    for entry in Store::open(places)?.list(kind.map(type_of))? {
        // Who is locked and has no entry is no line of the original's list.
        if let Some(kind) = entry.kind {
            table.row(vec![entry.user.into(), kind.as_str().into()]);
        }
    }
    ui::say(&table.render(Format::usual()))?;
    Ok(())
}

/// Adds a user, or changes the secret or the type. Without a type that of the entry stays, and a new one is APOP.
fn user(name: &str, kind: Option<SecretType>, config: &Config, places: &Places) -> Outcome {
    let (account, login) = (super::system_user(name)?, auth::login_password(name));
    become_owner(places)?;
    let mut store = Store::open(places)?;
    // Before anybody types a secret for nothing.
    store.key(places)?;
    let held = store.seen(name)?;
    let kind = kind.or_else(|| held.first().map(|entry| entry.kind)).unwrap_or(SecretType::Apop);
    let entry = entry_for(&held, kind);
    if held.is_empty() {
        // The same rules as for a new entry of today.
        super::add::owner(&new(name), config)?;
    }
    tty::restore_on_signals();
    // The rules are the same for all sources; how to do without a terminal is not.
    let hint = hint(name, kind, entry.is_some_and(|entry| entry.kind == kind), account.is_none());
    let secret = ask::judged(ask::entered(&TYPED, &hint)?, &TYPED, name, login.as_ref())?;
    let verifier = verifier_for(kind, &secret)?;
    let material = verifier.as_ref().map_or(Material::Sealed(&secret), Material::Verifier);
    if let Some(entry) = entry {
        return if store.change_seen(places, entry, kind, material)? { Ok(()) } else { Err(changed()) };
    }
    let is_virtual = account.is_none();
    let nobody = secrets::Owner::default();
    let new = NewEntry { user: name, owner: is_virtual.then_some(&nobody), kind, label: "", material };
    match store.add_all(places, &[new], &[], &[], false)? {
        Batch::Done { first } => {
            super::add::announced(first, config);
            Ok(())
        }
        Batch::Refused(_) => Err(changed()),
    }
}

/// The entry that gets the secret: that of the type, or the user's only one, whose type changes then. `None` for a new one.
fn entry_for(held: &[Seen], kind: SecretType) -> Option<&Seen> {
    let of_kind = || held.iter().find(|entry| entry.kind == kind && entry.label.is_empty());
    of_kind().or(match held {
        [only] => Some(only),
        _ => None,
    })
}

/// How to do without a terminal.
fn hint(name: &str, kind: SecretType, is_there: bool, is_virtual: bool) -> String {
    let verb = if is_there { "passwd" } else { "add" };
    let sort = if is_virtual && !is_there { " --virtual" } else { "" };
    format!(
        "this form needs a terminal: mailauth {verb} --type {kind}{sort} --stdin {name} reads it from a pipe"
    )
}

fn new(user: &str) -> Add {
    Add {
        user: user.to_owned(),
        kind: NewType::Apop,
        label: None,
        source: TYPED,
        is_virtual: false,
        uid: None,
        home: None,
        maildrop: None,
    }
}

/// What is stored of an application password.
pub(super) fn verifier_for(kind: SecretType, secret: &Secret) -> Result<Option<Secret>, Failure> {
    Ok(match kind {
        SecretType::Pop => Some(auth::password_hash(secret)?),
        SecretType::Apop | SecretType::Imap => None,
    })
}

/// Somebody else was faster.
pub(super) fn changed() -> Failure {
    Failure::new(75, "the entry was changed meanwhile; nothing was changed by this; try again")
}

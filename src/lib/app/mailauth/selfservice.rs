//! The own secret, for everybody: `mailauth` without arguments. The old secret is asked for first when there is one.
//!
//! Set-uid `pop`, the process that asks has the user's rights. What needs the database is done by children that become `pop` wholly,
//! one for each question: whether there is an entry, whether the old secret is right, the change itself. They answer over a socket
//! pair, and their answers have no secret.

use super::historic::{changed, verifier_for};
use super::{DATA, Failure, IO, NO, NO_PERMISSION, NO_USER, Outcome, ask};
use crate::auth;
use crate::cli::historic::{self, OwnLine};
use crate::cli::mailauth::NewSecret;
use crate::config::Config;
use crate::error::Error;
use crate::protocol::name::UserName;
use crate::secret::Secret;
use crate::secrets::{self, Attempt, Batch, Key, Material, NewEntry, Places, SecretType, Seen, Store};
use crate::sys::account::User;
use crate::sys::setuid::Service;
use crate::sys::socket::{self, Wait};
use crate::sys::{clock, memory, privileges, process, tty};
use crate::ui;
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How long a child may take: it waits for writers for two seconds, and computes some hashes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer: a sentence with a path or two.
const LARGEST: usize = 16 * 1024;

/// What a child found or did.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    /// The user has no entry.
    Unknown,
    /// The user has an entry, and so an old secret.
    Known,
    /// The old secret is right.
    Right,
    /// The old secret is wrong.
    Wrong,
    /// Too many were wrong: so many seconds are to pass.
    Wait(u64),
    /// It is done; whether this was the first entry that something is announced for.
    Done(bool),
    /// The entry was changed since it was looked at.
    Changed,
    /// It cannot be done.
    Trouble(u8, String),
}

/// Who opens the database.
enum Hands<'a> {
    /// A child that becomes its owner.
    Child(&'a Service),
    /// This process, which is its owner.
    Own,
}

impl Hands<'_> {
    /// How to do without a terminal, for those who may.
    const fn without_terminal(&self) -> &'static str {
        match self {
            Self::Child(_) => "run it on a terminal: your own secret is asked for there",
            Self::Own => {
                "this form needs a terminal: mailauth passwd --stdin reads the new secret from a pipe"
            }
        }
    }
}

/// Does what an ordinary user asks of a set-uid program; the process has that user's rights. The exit status.
pub(super) fn main(service: &Service) -> u8 {
    let args: Vec<_> = std::env::args_os().collect();
    match historic::own(&args) {
        Ok(line) => super::status(serve(service, &line)),
        Err(exit) if exit.was_asked_for() => ui::say(&exit.text).map_or(IO, |()| exit.status),
        Err(exit) => {
            ui::complain(&exit.text);
            exit.status
        }
    }
}

fn serve(service: &Service, line: &OwnLine) -> Outcome {
    let OwnLine::Change { generate } = *line else {
        let what =
            format!("only root and {} may do that; mailauth alone changes your own secret", secrets::OWNER);
        return Err(Failure::new(NO_PERMISSION, what));
    };
    let config = Config::load_of_root()?;
    let user = service.caller()?;
    change(user, &config, &Places::of(&config), &Hands::Child(service), generate)
}

/// The same for whoever owns the installation.
pub(super) fn here(config: &Config, places: &Places) -> Outcome {
    if privileges::is_root() {
        let what = "root has no secret, since root cannot log in: mailauth passwd USER changes that of another, mailauth add USER \
                    adds one; mailauth --help shows all";
        return Err(Failure::new(NO_USER, what));
    }
    super::become_owner(places)?;
    let user = crate::sys::account::user(&crate::sys::names::user(privileges::own().uid));
    let user = user.map_err(|cause| Error::io("cannot ask for a user of the system", cause))?;
    change(user, config, places, &Hands::Own, false)
}

fn change(
    user: Option<User>,
    config: &Config,
    places: &Places,
    hands: &Hands<'_>,
    generate: bool,
) -> Outcome {
    memory::overwrite_freed(true);
    memory::overwrite_freed_by_libraries();
    let name = name_of(user.as_ref(), config)?;
    let (uid, name) = (user.map(|user| user.uid).unwrap_or_default(), name.as_str());
    tty::restore_on_signals();
    let old = match question(hands, || look(places, name))? {
        Answer::Unknown => None,
        Answer::Known => Some(ask::old_secret(hands.without_terminal())?),
        other => return Err(unexpected(other)),
    };
    if let Some(old) = &old {
        match question(hands, || try_old(places, name, uid, old))? {
            Answer::Right => {}
            Answer::Wrong => return Err(Failure::new(NO, "that is not the old secret; nothing was changed")),
            Answer::Wait(seconds) => {
                let what = format!("too many wrong secrets; try again in {seconds} seconds");
                return Err(Failure::new(75, what));
            }
            other => return Err(unexpected(other)),
        }
    }
    let source = NewSecret { stdin: false, generate, force: false };
    let new = ask::entered(&source, hands.without_terminal())?;
    if let Some(fault) = secrets::fault(name, &new) {
        return Err(Failure::new(DATA, format!("{fault}; nothing was changed")));
    }
    match question(hands, || store(places, name, old.as_ref(), &new))? {
        Answer::Done(first) => {
            ask::tell(&source, &new, name)?;
            super::add::announced(first && matches!(hands, Hands::Own), config);
            Ok(())
        }
        other => Err(unexpected(other)),
    }
}

/// Under which name the user logs in, if at all.
fn name_of(user: Option<&User>, config: &Config) -> Result<String, Failure> {
    let Some(User { name, uid, .. }) = user else {
        return Err(Failure::new(NO_USER, "the system does not know who you are"));
    };
    if *uid == 0 || *uid < config.auth.min_uid {
        let what = format!(
            "{name} cannot log in: uid {uid} is root's or below auth.min_uid, and so needs no secret"
        );
        return Err(Failure::new(NO_USER, what));
    }
    match UserName::parse(name.as_bytes()) {
        Some(name) => Ok(name.as_str().to_owned()),
        None => Err(Failure::new(DATA, format!("\"{name}\" is no user name that can log in"))),
    }
}

fn unexpected(answer: Answer) -> Failure {
    match answer {
        Answer::Trouble(status, text) => Failure::new(status, text),
        Answer::Changed => changed(),
        other => Failure::new(
            75,
            format!("the database gave an answer out of place ({other:?}); nothing was changed"),
        ),
    }
}

/// Has the database asked by whoever may.
fn question(hands: &Hands<'_>, what: impl FnOnce() -> Result<Answer, Failure>) -> Result<Answer, Failure> {
    match hands {
        Hands::Own => what(),
        Hands::Child(service) => ask_child(service, what),
    }
}

fn ask_child(
    service: &Service,
    question: impl FnOnce() -> Result<Answer, Failure>,
) -> Result<Answer, Failure> {
    let failed = |cause| Failure::from(Error::io("cannot ask the secrets database", cause));
    let (here, there) = socket::pair().map_err(failed)?;
    let child = process::fork(|| {
        let answer = service.become_owner().map_err(Failure::from).and_then(|()| question());
        let answer = answer.unwrap_or_else(|Failure { status, text }| Answer::Trouble(status, text));
        // Without an answer the other side knows enough.
        let bytes = serde_json::to_vec(&answer).unwrap_or_default();
        u8::from(socket::send(&there, &bytes, &[], true).is_err())
    })?;
    drop(there);
    let mut buffer = vec![0; LARGEST];
    let ready = socket::wait(&here, Wait::Read, clock::now() + PATIENCE).map_err(failed)?;
    let received = if ready { socket::receive(&here, &mut buffer, false).ok() } else { None };
    let answer = received.and_then(|received| serde_json::from_slice(&buffer[..received.length]).ok());
    if ready {
        process::wait_for(child);
    }
    answer.ok_or_else(|| failed(io::Error::other("the process that does ended without an answer")))
}

/// The user's entries; one who is locked may not change anything.
fn open(places: &Places, name: &str) -> Result<(Store, Key, Vec<Seen>), Failure> {
    let store = Store::open(places)?;
    let key = store.key(places)?;
    if store.user(name)?.is_some_and(|user| user.locked) {
        return Err(Failure::new(NO_PERMISSION, "your entry is locked; ask the administrator"));
    }
    let held = store.seen(name)?;
    Ok((store, key, held))
}

fn look(places: &Places, name: &str) -> Result<Answer, Failure> {
    let (_, _, held) = open(places, name)?;
    Ok(if held.is_empty() { Answer::Unknown } else { Answer::Known })
}

fn try_old(places: &Places, name: &str, uid: u32, old: &Secret) -> Result<Answer, Failure> {
    // Before anything is compared: an attempt is counted whatever becomes of it.
    let attempt = match Attempt::count(places, uid)? {
        Ok(attempt) => attempt,
        Err(left) => return Ok(Answer::Wait(left.as_secs().saturating_add(1))),
    };
    let (store, key, held) = open(places, name)?;
    if whose(&store, &key, &held, old)?.is_none() {
        return Ok(Answer::Wrong);
    }
    attempt.forgive();
    Ok(Answer::Right)
}

/// The entry that gets the new secret: the one of this old secret.
fn whose<'a>(store: &Store, key: &Key, held: &'a [Seen], old: &Secret) -> Result<Option<&'a Seen>, Failure> {
    for entry in held {
        let right = match (store.open_seen(key, entry)?, entry.verifier()) {
            (Some(secret), _) => secret.expose().ct_eq(old.expose()).into(),
            (None, Some(verifier)) => auth::is_password(verifier, old)?,
            (None, None) => false,
        };
        if right {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

fn store(places: &Places, name: &str, old: Option<&Secret>, new: &Secret) -> Result<Answer, Failure> {
    let (mut store, key, held) = open(places, name)?;
    match old {
        None if held.is_empty() => {
            let material = Material::Sealed(new);
            let new = NewEntry { user: name, owner: None, kind: SecretType::Apop, label: "", material };
            Ok(match store.add_all(places, &[new], &[], &[], false)? {
                Batch::Done { first } => Answer::Done(first),
                Batch::Refused(_) => Answer::Changed,
            })
        }
        // Somebody added one since we looked: its secret was not asked for.
        None => Ok(Answer::Changed),
        Some(old) => {
            let Some(entry) = whose(&store, &key, &held, old)? else { return Ok(Answer::Changed) };
            let verifier = verifier_for(entry.kind, new)?;
            let material = verifier.as_ref().map_or(Material::Sealed(new), Material::Verifier);
            let done = store.change_seen(places, entry, entry.kind, material)?;
            Ok(if done { Answer::Done(false) } else { Answer::Changed })
        }
    }
}

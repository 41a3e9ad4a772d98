//! `mailauth`: wiring. One file for each verb.

mod add;
mod ask;
mod check;
mod export;
mod historic;
mod import;
mod init;
mod limit;
mod list;
mod lock;
mod passwd;
mod rekey;
mod remove;
mod selfservice;
mod show;
mod verify;

use super::outcome::{
    CONFIG, DATA, Failure, INTERRUPTED, IO, NO, NO_PERMISSION, NO_USER, Outcome, USAGE, config_file,
    hints_name, named, with_option,
};
use crate::auth;
use crate::cli::historic::{Historic, Line};
use crate::cli::mailauth::{AnyType, Options, Verb};
use crate::config::Config;
use crate::error::Error;
use crate::secrets::{self, Places, SecretType};
use crate::sys::clock::Zone;
use crate::sys::privileges::Ids;
use crate::sys::process;
use crate::sys::setuid::{self, Start};
use crate::sys::{account, privileges};
use serde_json::Value;
use std::path::Path;
use std::process::ExitCode;

/// Runs the program; the entry point of the binary.
pub fn main() -> ExitCode {
    // First of all: with the rights of another user nothing that the caller chose may have an effect.
    match setuid::enter(secrets::OWNER) {
        Ok(Start::Service(service)) => return ExitCode::from(selfservice::main(&service)),
        Ok(Start::Plain) => {}
        Err(error) => return ExitCode::from(status(Err(error.into()))),
    }
    process::private_files();
    let args: Vec<_> = std::env::args_os().collect();
    let status = match crate::cli::historic::parse(&args) {
        Ok(Line::Verb(options)) => status(run(options)),
        Ok(Line::Historic(form, config)) => status(run_historic(form, config.as_deref())),
        Err(exit) => super::outcome::early(&exit),
    };
    ExitCode::from(status)
}

/// The exit status, after the word of why it is not 0.
fn status(outcome: Outcome) -> u8 {
    super::outcome::status("mailauth", outcome)
}

fn run_historic(form: Historic, config: Option<&Path>) -> Outcome {
    hints_name(config);
    let config = Config::load(config)?;
    historic::run(form, &config, &Places::of(&config))
}

fn run(options: Options) -> Outcome {
    hints_name(options.config.as_deref());
    let config = Config::load(options.config.as_deref())?;
    let places = Places::of(&config);
    match options.verb {
        Verb::Init(options) => init::run(&options, &places),
        Verb::Add(options) => {
            let owner = add::owner(&options, &config)?;
            let login = auth::login_password(&options.user);
            become_owner(&places)?;
            add::run(&options, &config, &places, owner.as_ref(), login.as_ref())
        }
        Verb::Passwd(options) => {
            let user = passwd::user(&options)?;
            let login = auth::login_password(&user);
            become_owner(&places)?;
            passwd::run(&options, &user, &places, login.as_ref())
        }
        Verb::Lock(options) => {
            become_owner(&places)?;
            lock::lock(&options, &places)
        }
        Verb::Verify(options) => {
            // While we may still ask as root; others cannot see shadow.
            let ended = if privileges::is_root() { auth::ended(&config, &options.user)? } else { None };
            become_owner(&places)?;
            verify::run(&options, &config, &places, ended)
        }
        Verb::Check => {
            // While we may still ask as root.
            let rules = auth::rules(&config);
            become_owner(&places)?;
            check::run(&places, &rules)
        }
        Verb::Rekey => rekey::run(&places),
        Verb::Export(options) => export::run(&options, &places),
        Verb::Import(options) => import::run(&options, &config, &places),
        verb => {
            become_owner(&places)?;
            as_owner(verb, &config, &places)
        }
    }
}

/// The verbs that need nothing but the database.
fn as_owner(verb: Verb, config: &Config, places: &Places) -> Outcome {
    match verb {
        Verb::Remove(options) => remove::run(&options, places),
        Verb::List(options) => list::run(&options, places),
        Verb::Show(options) => show::run(&options, config, places),
        Verb::Limit(options) => limit::run(&options, places),
        Verb::Unlock(options) => lock::unlock(&options, config, places),
        // The others have been done.
        _ => Ok(()),
    }
}

/// Whom to become for the database, for verbs that have to do something as root too.
fn delegate(places: &Places) -> Result<Option<Ids>, Failure> {
    let owner = secrets::owner()?;
    if owner.is_none() {
        become_owner(places)?;
    }
    Ok(owner)
}

/// Takes on the owner's ids for good. An ordinary user may go on only where the database is the own.
fn become_owner(places: &Places) -> Outcome {
    if let Some(ids) = secrets::owner()? {
        return Ok(privileges::become_for_good(&ids)?);
    }
    match places.directory_owner() {
        Some(owner) if owner != privileges::own().uid => Err(Failure::new(
            NO_PERMISSION,
            format!("only root and {} may use {}", secrets::OWNER, places.database.display()),
        )),
        _ => Ok(()),
    }
}

/// The passwd entry of a name.
fn system_user(name: &str) -> Result<Option<account::User>, Failure> {
    let found = account::user(name);
    found.map_err(|cause| Error::io("cannot ask for a user of the system", cause).into())
}

const fn type_of(kind: AnyType) -> SecretType {
    match kind {
        AnyType::Apop => SecretType::Apop,
        AnyType::Pop => SecretType::Pop,
        AnyType::Imap => SecretType::Imap,
    }
}

/// A time as it is shown: the local one with its offset, or nothing.
fn time(zone: &Zone, seconds: Option<i64>) -> Value {
    seconds.map_or(Value::Null, |seconds| zone.time(seconds).into())
}

/// Who owns the maildrops of virtual users.
fn virtual_owner(config: &Config) -> Result<auth::Account, Failure> {
    if privileges::is_root() && config.auth.virtual_owner.is_empty() {
        let text = format!(
            "auth.virtual_owner is not set, which virtual users need: write virtual_owner = \"USER\" below [auth] in {}, \
             USER being the system user that is to own their maildrops",
            config_file().display()
        );
        return Err(Failure::new(CONFIG, text));
    }
    Ok(auth::virtual_owner(config)?)
}

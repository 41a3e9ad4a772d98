//! `mailauth`: wiring. One file for each verb.

mod add;
mod ask;
mod check;
mod export;
mod historic;
mod import;
mod init;
mod list;
mod lock;
mod passwd;
mod rekey;
mod remove;
mod selfservice;
mod show;
mod verify;

use crate::auth;
use crate::cli::historic::{Historic, Line};
use crate::cli::mailauth::{AnyType, Options, Verb};
use crate::config::{Config, defaults};
use crate::error::Error;
use crate::log::escape::Sentence;
use crate::secrets::{self, Places, SecretType};
use crate::sys::clock::Zone;
use crate::sys::privileges::Ids;
use crate::sys::process;
use crate::sys::setuid::{self, Start};
use crate::sys::{account, privileges};
use crate::ui;
use serde_json::Value;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

/// Nothing was done, and asking again does not help: the entry is there already, or there is none.
const NO: u8 = 1;

/// `EX_USAGE`: options that do not go together.
const USAGE: u8 = 64;

/// `EX_DATAERR`: a name or a secret breaks the rules.
const DATA: u8 = 65;

/// `EX_NOUSER`: the system does not know the user.
const NO_USER: u8 = 67;

/// `EX_IOERR`: nobody could be asked, or nothing be written.
const IO: u8 = 74;

/// `EX_NOPERM`: only root and the owner may.
const NO_PERMISSION: u8 = 77;

/// `EX_CONFIG`: the configuration lacks something.
const CONFIG: u8 = 78;

/// What a shell makes of SIGINT: somebody pressed Ctrl-C at a prompt.
const INTERRUPTED: u8 = 130;

/// Why a verb did not do what it is for.
#[derive(Debug)]
struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    fn new(status: u8, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.exit_status(), error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(IO, Error::io("cannot use the terminal or write the output", error).to_string())
    }
}

type Outcome = Result<(), Failure>;

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
        Err(exit) if exit.was_asked_for() => ui::say(&exit.text).map_or(IO, |()| exit.status),
        Err(exit) => {
            ui::complain(&exit.text);
            exit.status
        }
    };
    ExitCode::from(status)
}

/// The exit status, after the word of why it is not 0.
fn status(outcome: Outcome) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(Failure { status, text }) => {
            let text = with_option(text, named());
            ui::complain(&format!("mailauth: {}\n", Sentence(text.as_bytes())));
            status
        }
    }
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
            as_owner(verb, &places)
        }
    }
}

/// The verbs that need nothing but the database.
fn as_owner(verb: Verb, places: &Places) -> Outcome {
    match verb {
        Verb::Remove(options) => remove::run(&options, places),
        Verb::List(options) => list::run(&options, places),
        Verb::Show(options) => show::run(&options, places),
        Verb::Unlock(options) => lock::unlock(&options, places),
        Verb::Verify(options) => verify::run(&options, places),
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
    let directory = places.database.parent().and_then(|parent| std::fs::metadata(parent).ok());
    match directory {
        Some(found) if found.uid() != privileges::own().uid => Err(Failure::new(
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

/// What `--config` named, for hints. Set once, before anything is done.
static NAMED: OnceLock<PathBuf> = OnceLock::new();

fn hints_name(config: Option<&Path>) {
    if let Some(file) = config {
        // Only the first counts, and there is one.
        let _ = NAMED.set(file.to_owned());
    }
}

fn named() -> Option<&'static Path> {
    NAMED.get().map(PathBuf::as_path)
}

/// The configuration file that a hint names.
fn config_file() -> &'static Path {
    named().unwrap_or(Path::new(defaults::FILE))
}

/// A sentence whose commands, `mailauth` and a verb, name the configuration file too where one was named: without the option they
/// would mean another database.
fn with_option(text: String, file: Option<&Path>) -> String {
    let Some(file) = file else { return text };
    HINTED.iter().fold(text, |text, verb| {
        text.replace(&format!("mailauth {verb}"), &format!("mailauth --config {} {verb}", file.display()))
    })
}

/// The verbs that hints name.
const HINTED: [&str; 9] = ["init", "add", "passwd", "remove", "list", "lock", "unlock", "import", "rekey"];

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors name what to type next: what works with the configuration of this command.
    #[test]
    fn hints_name_the_configuration_file() {
        let text = || "ann has no entry; mailauth add ann makes one: dump f | mailauth import -".to_owned();
        assert_eq!(with_option(text(), None), text());
        assert_eq!(
            with_option(text(), Some(Path::new("c.toml"))),
            "ann has no entry; mailauth --config c.toml add ann makes one: dump f | mailauth --config c.toml import -"
        );
    }
}

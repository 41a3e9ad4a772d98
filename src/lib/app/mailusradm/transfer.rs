//! `mailusradm export` and `mailusradm import`: a maildrop to and from a file.

use super::{Outcome, account, may_change, remark};
use crate::app::outcome::{Failure, USAGE};
use crate::auth::Account;
use crate::cli::mailusradm::{Export, Import, UidlFrom};
use crate::config::Config;
use crate::error::{Error, Kind};
use crate::maildrop::transfer::{self, Done, Site};
use crate::process::overhaul::{self, Ground};
use crate::ui;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;

/// Stands for standard input or output.
const STREAM: &str = "-";

/// Writes the maildrop.
pub(super) fn export(options: &Export, config: &Config) -> Outcome {
    let account = may_change(account(config, &options.user)?)?;
    let file = options.file.as_deref().filter(|file| *file != Path::new(STREAM));
    let out = match file {
        Some(file) => File::create_new(file).map_err(|error| cannot("make", file, error))?,
        None if io::stdout().is_terminal() => {
            let text = format!("mail is not for a terminal: mailusradm export {} FILE", options.user);
            return Err(Failure::new(USAGE, text));
        }
        None => File::from(io::stdout().as_fd().try_clone_to_owned()?),
    };
    // Whoever reads the output may be slow: the user may log in again as soon as it is known what there is.
    let done = overhaul::run(config, &account, &[&out], |ground, held| {
        transfer::export(&site(ground, config), &out, || drop(held))
    });
    let synced = done.and_then(|done| match file {
        Some(file) => {
            out.sync_all().map_err(|error| Error::io(format!("cannot write {}", file.display()), error))?;
            Ok(done)
        }
        None => Ok(done),
    });
    let done = synced.inspect_err(|_| {
        // Half a file helps nobody.
        if let Some(file) = file {
            let _ = std::fs::remove_file(file);
        }
    })?;
    done.notes.iter().for_each(|note| remark(note));
    if file.is_some() {
        ui::say(&format!("messages written: {}\n", done.messages))?;
    }
    Ok(())
}

/// Adds messages, or ids of messages that are there.
pub(super) fn import(options: &Import, config: &Config) -> Outcome {
    let account = may_change(account(config, &options.user)?)?;
    let (mail, from) = match (&options.file, &options.uidl_from) {
        (None, None) => {
            let text = "name a file with messages, or - for standard input, or --uidl-from for messages that are there";
            return Err(Failure::new(USAGE, text));
        }
        (None, Some(UidlFrom::Computed)) => {
            return Err(Failure::new(USAGE, "--uidl-from computed is for messages that are imported"));
        }
        (Some(file), from) => (Some(open(file)?), from.clone().unwrap_or(UidlFrom::Headers)),
        (None, Some(from)) => (None, from.clone()),
    };
    let list = match &from {
        UidlFrom::File(file) => Some(open(file)?),
        _ => None,
    };
    let done = run_import(config, &account, mail.as_ref(), list.as_ref(), &from, options.as_is)?;
    done.notes.iter().for_each(|note| remark(note));
    let mut text = String::new();
    if mail.is_some() {
        text += &format!("messages imported: {}\n", done.messages);
    }
    if done.ids > 0 || mail.is_none() {
        text += &format!("unique ids set: {}\n", done.ids);
    }
    Ok(ui::say(&text)?)
}

fn run_import(
    config: &Config,
    account: &Account,
    mail: Option<&File>,
    list: Option<&File>,
    from: &UidlFrom,
    as_is: bool,
) -> Result<Done, Error> {
    let passed: Vec<&File> = mail.into_iter().chain(list).collect();
    let import = transfer::Import { mail, list, headers: *from == UidlFrom::Headers, as_is };
    overhaul::run(config, account, &passed, |ground, _held| transfer::import(&site(ground, config), &import))
}

fn site(ground: Ground, config: &Config) -> Site {
    let Ground { path, uid, state, locks } = ground;
    Site { path, uid, state, locks, format: config.maildrop.format }
}

fn open(file: &Path) -> Result<File, Failure> {
    if file == Path::new(STREAM) {
        return Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?));
    }
    File::open(file).map_err(|error| cannot("open", file, error).into())
}

fn cannot(verb: &str, file: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot {verb} {}", file.display()), error).of_kind(Kind::Permanent)
}

//! `mailusradm`: wiring. One file for each verb.

mod check;
mod convert;
mod history;
mod kick;
mod list;
mod sessions;
mod show;
mod stats;
mod strays;
mod transfer;
mod unlock;
mod why;

use super::outcome::{self, Failure, NO, NO_PERMISSION, NO_USER, Outcome, USAGE, hints_name};
use crate::auth::{Account, roster};
use crate::cli::mailusradm::{Listing, Options, Verb};
use crate::config::Config;
use crate::process::live;
use crate::sys::{privileges, process};
use crate::ui::{self, Format, Table};
use std::process::ExitCode;

/// The program's name, for what it says.
const PROGRAM: &str = "mailusradm";

/// Runs the program; the entry point of the binary.
pub fn main() -> ExitCode {
    process::private_files();
    let status = match crate::cli::read(std::env::args_os()) {
        Ok(options) => outcome::status(PROGRAM, run(options)),
        Err(exit) => outcome::early(&exit),
    };
    ExitCode::from(status)
}

fn run(options: Options) -> Outcome {
    hints_name(options.config.as_deref());
    let loaded = Config::load(options.config.as_deref());
    let config = match (&options.verb, loaded) {
        // What is wrong with it is an answer.
        (Verb::Why(why), loaded) => return why::run(why, loaded),
        (_, loaded) => loaded?,
    };
    match options.verb {
        Verb::List(options) => list::run(&options, &config),
        Verb::Check(options) => check::run(&options, &config),
        Verb::Show(options) => show::run(&options, &config),
        Verb::Stats(options) => stats::run(&options, &config),
        Verb::History(options) => history::run(&options, &config),
        Verb::Convert(options) => convert::run(&options, &config),
        Verb::Export(options) => transfer::export(&options, &config),
        Verb::Import(options) => transfer::import(&options, &config),
        Verb::Sessions(options) => sessions::run(&options, &live::as_served(config)),
        Verb::Unlock(options) => unlock::run(&options, &config),
        Verb::Kick(options) => kick::run(&options, &live::as_served(config)),
        // It has been done.
        Verb::Why(_) => Ok(()),
    }
}

/// Says what the administrator should know; the verb goes on.
fn remark(text: &str) {
    outcome::complain(PROGRAM, text);
}

/// The account of a user whose name somebody typed.
fn account(config: &Config, name: &str) -> Result<Account, Failure> {
    roster::account(config, name)?.ok_or_else(|| {
        let text = format!("there is no user {name} who may have a maildrop; mailusradm list shows who has");
        Failure::new(NO_USER, text)
    })
}

/// The same account, if whoever runs this may change its maildrop: root, and where all is one user's, that user.
fn may_change(account: Account) -> Result<Account, Failure> {
    only_own(account, "change")
}

/// The same account, if whoever runs this may do that to its maildrop: root, and everybody to the own.
fn only_own(account: Account, verb: &str) -> Result<Account, Failure> {
    if privileges::is_root() || account.uid == privileges::own().uid {
        return Ok(account);
    }
    Err(Failure::new(NO_PERMISSION, format!("only root may {verb} the maildrop of {}", account.name)))
}

/// Writes a list as its options say.
fn write(table: Table, listing: &Listing) -> Outcome {
    Ok(ui::say(&render(table, listing)?)?)
}

/// The same, but where a table for people would be empty, with this in its place.
fn write_or(table: Table, listing: &Listing, nothing: &str) -> Outcome {
    // A column that there is not is a mistake in any case.
    let (is_empty, text) = (table.is_empty(), render(table, listing)?);
    let for_people = listing.format.unwrap_or_else(Format::usual) == Format::Table;
    Ok(ui::say(if is_empty && for_people { nothing } else { &text })?)
}

/// The text of a list as its options say.
fn render(mut table: Table, listing: &Listing) -> Result<String, Failure> {
    table.choose(&listing.columns).map_err(|text| Failure::new(USAGE, text))?;
    Ok(table.render(listing.format.unwrap_or_else(Format::usual)))
}

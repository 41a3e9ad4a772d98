//! How the programs of the administrator end: exit statuses, the one line that says why, and hints that can be typed.

use crate::cli::{self, Exit};
use crate::config::defaults;
use crate::error::Error;
use crate::log::escape::Sentence;
use crate::ui;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The answer is no, something was found, or there is nothing to change.
pub(super) const NO: u8 = 1;

/// `EX_USAGE`: options that do not go together.
pub(super) const USAGE: u8 = 64;

/// `EX_DATAERR`: a name or a secret breaks the rules.
pub(super) const DATA: u8 = 65;

/// `EX_NOUSER`: the system does not know the user.
pub(super) const NO_USER: u8 = 67;

/// `EX_IOERR`: nobody could be asked, or nothing be written.
pub(super) const IO: u8 = 74;

/// `EX_TEMPFAIL`: not now, but later.
pub(super) const TEMPORARY: u8 = 75;

/// `EX_NOPERM`: only root and the owner may.
pub(super) const NO_PERMISSION: u8 = 77;

/// `EX_CONFIG`: the configuration lacks something.
pub(super) const CONFIG: u8 = 78;

/// What a shell makes of SIGINT: somebody pressed Ctrl-C at a prompt.
pub(super) const INTERRUPTED: u8 = 130;

/// Why a verb did not do what it is for.
#[derive(Debug)]
pub(super) struct Failure {
    /// The exit status.
    pub(super) status: u8,
    /// The sentence; empty when everything has been said.
    pub(super) text: String,
}

impl Failure {
    /// A failure with a sentence.
    pub(super) fn new(status: u8, text: impl Into<String>) -> Self {
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

/// What a verb comes to.
pub(super) type Outcome = Result<(), Failure>;

/// The exit status, after the word of why it is not 0.
pub(super) fn status(program: &str, outcome: Outcome) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(Failure { status, text }) => {
            if !text.is_empty() {
                complain(program, &text);
            }
            status
        }
    }
}

/// The exit status of a program that ends before it begins, after what clap wants said.
pub(super) fn early(exit: &Exit) -> u8 {
    if exit.was_asked_for() {
        return ui::say(&exit.text).map_or(IO, |()| exit.status);
    }
    ui::complain(&exit.text);
    exit.status
}

/// Says a sentence on standard error, harmless and with commands that work as they stand.
pub(super) fn complain(program: &str, text: &str) {
    let text = with_option(text.to_owned(), named());
    ui::complain(&format!("{program}: {}\n", Sentence(text.as_bytes())));
}

/// What `--config` named, for hints. Set once, before anything is done.
static NAMED: OnceLock<PathBuf> = OnceLock::new();

/// From now on hints name this file.
pub(super) fn hints_name(config: Option<&Path>) {
    if let Some(file) = config {
        // Only the first counts, and there is one.
        let _ = NAMED.set(file.to_owned());
    }
}

/// What `--config` named.
pub(super) fn named() -> Option<&'static Path> {
    NAMED.get().map(PathBuf::as_path)
}

/// The configuration file that a hint names.
pub(super) fn config_file() -> &'static Path {
    named().unwrap_or(Path::new(defaults::FILE))
}

/// A sentence whose commands, a program and a verb, name the configuration file too where one was named: without the
/// option they would mean another installation.
pub(super) fn with_option(text: String, file: Option<&Path>) -> String {
    let Some(file) = file else { return text };
    [cli::mailauth_command(), cli::mailusradm_command()].iter().fold(text, |text, program| {
        program.get_subcommands().fold(text, |text, verb| {
            let (program, verb) = (program.get_name(), verb.get_name());
            let named = format!("{program} --config {} {verb}", file.display());
            text.replace(&format!("{program} {verb}"), &named)
        })
    })
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
        assert_eq!(
            with_option("mailusradm check --repair ann".to_owned(), Some(Path::new("c.toml"))),
            "mailusradm --config c.toml check --repair ann"
        );
        // Every verb, also one that nobody has thought of here.
        for program in [cli::mailauth_command(), cli::mailusradm_command()] {
            for verb in program.get_subcommands() {
                let (program, verb) = (program.get_name(), verb.get_name());
                assert_eq!(
                    with_option(format!("{program} {verb} ann"), Some(Path::new("c.toml"))),
                    format!("{program} --config c.toml {verb} ann")
                );
            }
        }
    }
}

//! The command lines of the original: words with one dash, and none at all. They mean verbs of today.

use super::Exit;
use super::mailauth::{AnyType, Options};
use clap::{ColorChoice, Parser, Subcommand, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A command line of root's, of `pop`'s, or of whoever owns an installation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A verb of today.
    Verb(Options),
    /// A form of the original, and the configuration file.
    Historic(Historic, Option<PathBuf>),
}

/// The forms of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Historic {
    /// `-init`
    Init,
    /// `-convert [FILE]`
    Convert(Option<PathBuf>),
    /// `-list [-type TYPE]`
    List(Option<AnyType>),
    /// `-user NAME [-type TYPE]`
    User(String, Option<AnyType>),
    /// `-delete NAME`
    Delete(String),
    /// Nothing: the own secret.
    Own,
}

const USAGE: &str = "\
Usage: mailauth
       mailauth -init | -convert [file] | -list [-type POP|APOP|IMAP]
       mailauth -user name [-type POP|APOP|IMAP] | -delete name
mailauth --help shows the verbs of today.
";

/// Reads a command line; the first word is the program's name.
///
/// # Errors
/// There is nothing to run: help or version was asked for, or the line is wrong.
pub(crate) fn parse(args: &[OsString]) -> Result<Line, Exit> {
    let words = args.get(1..).unwrap_or_default();
    let (config, rest) = without_config(words);
    match rest.first() {
        None if config.is_some() || words.is_empty() => Ok(Line::Historic(Historic::Own, config)),
        Some(first) if is_historic(first) => {
            let historic = historic(rest)
                .map_err(|what| Exit { text: format!("mailauth: {what}\n{USAGE}"), status: 64 })?;
            Ok(Line::Historic(historic, config))
        }
        _ => Ok(Line::Verb(super::read(args)?)),
    }
}

/// `--config FILE` or `--config=FILE` in front.
fn without_config(words: &[OsString]) -> (Option<PathBuf>, &[OsString]) {
    match words {
        [option, file, rest @ ..] if option == "--config" => (Some(file.into()), rest),
        [option, rest @ ..] => match option.to_str().and_then(|word| word.strip_prefix("--config=")) {
            Some(file) => (Some(file.into()), rest),
            None => (None, words),
        },
        [] => (None, words),
    }
}

fn is_historic(word: &OsStr) -> bool {
    ["-init", "-convert", "-list", "-user", "-delete", "-type"].iter().any(|known| word == *known)
}

fn historic(words: &[OsString]) -> Result<Historic, String> {
    let (mut form, mut kind) = (None, None);
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let mut value = |what: &str| {
            let value = words.next_if(|value| !is_historic(value));
            value.ok_or_else(|| format!("{} needs {what}", word.to_string_lossy()))
        };
        let next = match word.to_str().unwrap_or_default() {
            "-init" => Historic::Init,
            "-convert" => Historic::Convert(value("a file").ok().map(Into::into)),
            "-list" => Historic::List(None),
            "-user" => Historic::User(name(value("a name")?)?, None),
            "-delete" => Historic::Delete(name(value("a name")?)?),
            "-type" if kind.is_none() => {
                let word = value("a type")?.to_string_lossy().into_owned();
                let known = AnyType::from_str(&word, true);
                kind = Some(known.map_err(|_| format!("the type {word} is none of POP, APOP and IMAP"))?);
                continue;
            }
            other => return Err(format!("{other} is one word too many")),
        };
        if form.replace(next).is_some() {
            return Err("one form at a time".to_owned());
        }
    }
    match form {
        Some(Historic::List(_)) => Ok(Historic::List(kind)),
        Some(Historic::User(name, _)) => Ok(Historic::User(name, kind)),
        Some(form) if kind.is_none() => Ok(form),
        _ => Err("-type is for -list and -user".to_owned()),
    }
}

fn name(word: &OsString) -> Result<String, String> {
    word.to_str().map(str::to_owned).ok_or_else(|| "a name is no such octets".to_owned())
}

/// Change your own secret, or add yourself; the old secret is asked for first when you have one
#[derive(Debug, Parser)]
#[command(name = "mailauth", version, color = ColorChoice::Never, term_width = 80)]
struct Own {
    #[command(subcommand)]
    verb: Option<OwnVerb>,
}

#[derive(Debug, Subcommand)]
enum OwnVerb {
    /// The same
    Passwd {
        /// Make a secret and print it once
        #[arg(long)]
        generate: bool,
    },
}

/// What an ordinary user wants of a set-uid program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OwnLine {
    /// A new secret of the own, typed, or made and printed.
    Change {
        /// Made and printed.
        generate: bool,
    },
    /// Something that is for root and the owner of the database.
    NotYours,
}

/// Reads a command line of an ordinary user's. Nothing in it names a file or a user.
///
/// # Errors
/// There is nothing to run: help or version was asked for, or the line is wrong.
pub(crate) fn own(args: &[OsString]) -> Result<OwnLine, Exit> {
    match Own::try_parse_from(args) {
        Ok(Own { verb }) => {
            let generate = matches!(verb, Some(OwnVerb::Passwd { generate: true }));
            Ok(OwnLine::Change { generate })
        }
        Err(error) => match parse(args) {
            Ok(_) => Ok(OwnLine::NotYours),
            Err(_) => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        std::iter::once("mailauth").chain(line.split_whitespace()).map(OsString::from).collect()
    }

    #[track_caller]
    fn form(line: &str) -> Historic {
        match parse(&words(line)) {
            Ok(Line::Historic(form, _)) => form,
            other => panic!("{line}: {other:?}"),
        }
    }

    /// history: `mailauth [-init] [-convert] [-list [-type T]] [-delete name] [-user name [-type T]]`, or nothing.
    #[test]
    fn the_originals_lines_are_read() {
        assert_eq!(form(""), Historic::Own);
        assert_eq!(form("-init"), Historic::Init);
        assert_eq!(form("-convert"), Historic::Convert(None));
        assert_eq!(form("-convert /etc/x"), Historic::Convert(Some("/etc/x".into())));
        assert_eq!(form("-list"), Historic::List(None));
        assert_eq!(form("-list -type pop"), Historic::List(Some(AnyType::Pop)));
        assert_eq!(form("-type APOP -user ann"), Historic::User("ann".into(), Some(AnyType::Apop)));
        assert_eq!(form("-delete ann"), Historic::Delete("ann".into()));
        for line in ["--config f -list", "--config=f -list"] {
            let expected = Line::Historic(Historic::List(None), Some("f".into()));
            assert_eq!(parse(&words(line)), Ok(expected), "{line}");
        }
        assert!(matches!(parse(&words("list")), Ok(Line::Verb(_))));
    }

    #[test]
    fn wrong_lines_are_usage_errors() {
        for line in [
            "-user",
            "-delete",
            "-list -type",
            "-list -type PAM",
            "-type APOP",
            "-init -list",
            "-init -type APOP",
            "-user ann secret",
            "-list -list",
            "-init x",
            "-safe",
            "--config",
        ] {
            let exit = parse(&words(line)).unwrap_err();
            assert_eq!(exit.status, 64, "{line}: {}", exit.text);
        }
    }

    /// Issue "mailauth": an ordinary user may change or add the own entry, and no option names a file.
    #[test]
    fn a_user_has_one_thing_to_do() {
        assert_eq!(own(&words("")), Ok(OwnLine::Change { generate: false }));
        assert_eq!(own(&words("passwd")), Ok(OwnLine::Change { generate: false }));
        assert_eq!(own(&words("passwd --generate")), Ok(OwnLine::Change { generate: true }));
        for line in [
            "-list",
            "list",
            "-user ann",
            "-user bob",
            "-init",
            "--config f",
            "--config f list",
            "import f",
            "-convert",
        ] {
            assert_eq!(own(&words(line)), Ok(OwnLine::NotYours), "{line}");
        }
        assert!(own(&words("--help")).unwrap_err().was_asked_for());
        assert_eq!(own(&words("nonsense")).unwrap_err().status, 64);
        assert!(own(&[]).is_ok(), "not even a name of the program");
    }
}

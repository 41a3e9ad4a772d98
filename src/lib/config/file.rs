//! The configuration file: TOML, with the place of every error.

use super::check::{self, Fault};
use super::hint::hint;
use super::{Config, Networks, defaults};
use crate::error::{Error, Kind, Result};
use crate::sys;
use serde::{Deserialize, Deserializer};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Config {
    /// Reads the configuration: `path`, which must exist, or the default file, which may be missing.
    ///
    /// # Errors
    /// The file cannot be read, or somebody else may write it although we are root, or it is wrong: then the
    /// error names file, line, column and key.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self> {
        let root = sys::privileges::is_root();
        let mut config = match read(path, root)? {
            Some((path, text)) => Self::parse(&text, &path)?,
            None => Self::default(),
        };
        if !root {
            config.keep_below_state_dir();
        }
        Ok(config)
    }

    /// Reads the default file as root would: for a program that works on root's installation with an ordinary user's rights.
    ///
    /// # Errors
    /// As [`Config::load`]; somebody besides root may write the file, for one.
    pub(crate) fn load_of_root() -> Result<Self> {
        match read(None, true)? {
            Some((path, text)) => Self::parse(&text, &path),
            None => Ok(Self::default()),
        }
    }

    /// Reads the text of a configuration file; `path` is for the errors.
    ///
    /// # Errors
    /// It is wrong: the error names file, line, column and key.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut config: Self = toml::from_str(text).map_err(|error| misread(text, path, &error))?;
        if config.auth.secrets == Path::new(defaults::SECRETS) {
            config.auth.secrets = config.state_dir.join(defaults::SECRETS_BELOW);
        }
        check::check(&config).map_err(|fault| misvalued(text, path, &fault))?;
        Ok(config)
    }
}

impl Config {
    /// Only root can make directories below /run and /etc: what an ordinary user does not set lies in `state_dir`.
    fn keep_below_state_dir(&mut self) {
        if self.run_dir == Path::new(defaults::RUN_DIR) {
            self.run_dir = self.state_dir.join("run");
        }
        if self.auth.key == Path::new(defaults::KEY) {
            self.auth.key = self.state_dir.join(defaults::KEY_BELOW);
        }
    }
}

/// A value that is one word or a list of words.
#[derive(Deserialize)]
#[serde(untagged, expecting = "\"auto\" or a list of mechanisms")]
pub(crate) enum WordOrList {
    /// One word.
    Word(String),
    /// A list.
    List(Vec<String>),
}

/// Networks from a list of texts; none of an empty list.
pub(super) fn networks<'de, D: Deserializer<'de>>(
    input: D,
) -> std::result::Result<Option<Networks>, D::Error> {
    let words = Vec::<String>::deserialize(input)?;
    if words.is_empty() {
        return Ok(None);
    }
    words.join(",").parse().map(Some).map_err(serde::de::Error::custom)
}

/// A duration from a number of seconds.
pub(super) fn seconds<'de, D: Deserializer<'de>>(input: D) -> std::result::Result<Duration, D::Error> {
    u64::deserialize(input).map(Duration::from_secs)
}

/// The text of the file; `None` when the default file is missing.
fn read(path: Option<&Path>, root: bool) -> Result<Option<(PathBuf, String)>> {
    let name = path.unwrap_or(Path::new(defaults::FILE));
    // Looked at before it is opened: to open a FIFO would block.
    match std::fs::metadata(name) {
        // A link that leads nowhere is a file that somebody wanted to be read.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && path.is_none()
                && std::fs::symlink_metadata(name).is_err() =>
        {
            return Ok(None);
        }
        Err(_) if name.is_symlink() && !name.exists() => {
            let link = name.display();
            return Err(Error::new(Kind::Config, format!("{link} is a symbolic link that leads nowhere"))
                .with_fix(format!("rm {link}, or make the file that it names")));
        }
        Err(error) => return Err(unreadable(name, error)),
        Ok(metadata) if !metadata.is_file() => {
            return Err(Error::new(Kind::Config, format!("{} is not a regular file", name.display())));
        }
        Ok(_) => {}
    }
    let file = File::open(name).map_err(|error| unreadable(name, error))?;
    let metadata = file.metadata().map_err(|error| unreadable(name, error))?;
    if root {
        only_root_writes(name, &metadata)?;
        only_root_replaces(name)?;
    }
    let mut text = String::new();
    file.take(defaults::FILE_OCTETS + 1)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(name, error))?;
    if text.len() as u64 > defaults::FILE_OCTETS {
        return Err(Error::new(
            Kind::Config,
            format!("{} is larger than {} octets", name.display(), defaults::FILE_OCTETS),
        ));
    }
    Ok(Some((name.to_owned(), text)))
}

fn unreadable(path: &Path, cause: io::Error) -> Error {
    Error::io(format!("cannot read {}", path.display()), cause).of_kind(Kind::Config)
}

/// Who may write the file may choose what we do as root.
///
/// # Errors
/// Somebody else may.
pub(crate) fn only_root_writes(path: &Path, metadata: &Metadata) -> Result<()> {
    let what = if metadata.uid() != 0 {
        format!("belongs to uid {}", metadata.uid())
    } else if metadata.mode() & 0o022 != 0 {
        format!("may be written by others (mode {:04o})", metadata.mode() & 0o7777)
    } else {
        return Ok(());
    };
    let path = path.display();
    Err(Error::new(Kind::Config, format!("{path} {what}"))
        .with_fix(format!("chown root {path} && chmod go-w {path}")))
}

/// So may who can put another file in its place.
///
/// # Errors
/// Somebody else can.
pub(crate) fn only_root_replaces(path: &Path) -> Result<()> {
    let real = std::fs::canonicalize(path).map_err(|error| unreadable(path, error))?;
    only_root_changes(real.parent().unwrap_or(Path::new("/")), path)
}

/// So may who can write a directory on the way to it, `path`.
///
/// # Errors
/// Somebody else can write it or one above.
pub(crate) fn only_root_changes(directory: &Path, path: &Path) -> Result<()> {
    let real = std::fs::canonicalize(directory).map_err(|error| unreadable(path, error))?;
    for above in real.ancestors() {
        let metadata = std::fs::metadata(above).map_err(|error| unreadable(above, error))?;
        let others = metadata.mode() & 0o022 != 0;
        // In a directory with the sticky bit others cannot touch what is root's.
        if metadata.uid() == 0 && (!others || metadata.mode() & 0o1000 != 0) {
            continue;
        }
        let (path, above) = (path.display(), above.display());
        let why = if metadata.uid() == 0 {
            format!("others may write the directory {above} (mode {:04o})", metadata.mode() & 0o7777)
        } else {
            format!("the directory {above} belongs to uid {}", metadata.uid())
        };
        return Err(Error::new(Kind::Config, format!("{path} can be replaced: {why}"))
            .with_fix(format!("keep it where root alone may write, as in {}", defaults::FILE)));
    }
    Ok(())
}

/// A fault of the text: not TOML, an unknown key, a value of the wrong type.
fn misread(text: &str, path: &Path, error: &toml::de::Error) -> Error {
    let message = error.message().trim().replace('\n', ", ");
    let Some(offset) = error.span().map(|span| span.start) else {
        return Error::new(Kind::Config, format!("{}: {message}", path.display()));
    };
    let (line, column) = place(text, offset);
    let key = key_at(text, line);
    let written = text.lines().nth(line - 1).unwrap_or_default();
    let hint = key.as_deref().and_then(|key| hint(key, written));
    let key = key.map(|key| format!("{key}: ")).unwrap_or_default();
    let error = Error::new(Kind::Config, format!("{}:{line}:{column}: {key}{message}", path.display()));
    match hint {
        Some(hint) => error.with_fix(hint),
        None => error,
    }
}

/// A fault of a value.
fn misvalued(text: &str, path: &Path, fault: &Fault) -> Error {
    let Fault { key, what } = fault;
    let place = assignments(text).find(|(_, full)| full == key).map(|(line, _)| {
        let written = text.lines().nth(line - 1).unwrap_or_default();
        let column = 1 + written.chars().take_while(|c| c.is_whitespace()).count();
        format!(":{line}:{column}")
    });
    Error::new(Kind::Config, format!("{}{}: {key}: {what}", path.display(), place.unwrap_or_default()))
}

/// Line and column of an offset, both from one, columns in characters.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// The key whose value stands on this line, or began above it (a list over several lines).
fn key_at(text: &str, line: usize) -> Option<String> {
    assignments(text).take_while(|(at, _)| *at <= line).last().map(|(_, key)| key)
}

/// All `key = value` lines with their numbers from one, keys with their table: `limits.idle_timeout`.
fn assignments(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut table = String::new();
    text.lines().enumerate().filter_map(move |(at, line)| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next())
            && !line.starts_with("[[")
            && line.find('=').is_none_or(|equals| line.find('#').is_some_and(|hash| hash < equals))
        {
            table = format!("{}.", name.trim());
            return None;
        }
        let key = line.split_once('=')?.0.trim();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        (!key.is_empty() && key.bytes().all(plain)).then(|| (at + 1, format!("{table}{key}")))
    })
}

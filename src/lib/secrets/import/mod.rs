//! Secrets of other programs: octets in, records out. No file, no database, nothing of the system.
//!
//! Every reader takes any octets. What it cannot use it names by its line: a *fault* is something wrong with the input, for which
//! nothing is imported; what was *left out* is right but has no secret that could be used, a hash for one.

mod backup;
mod csv;
mod dovecot;
mod dump;
mod ndbm;
mod pairs;
mod solid;
#[cfg(test)]
mod tests;
mod text;

use super::{Limited, Owner, SecretType};
use crate::secret::Secret;
use std::fmt;

/// The largest input, in octets: a hundred thousand users with long secrets, as a dump.
pub(crate) const LARGEST: usize = 32 * 1024 * 1024;

/// The most records of one input.
pub(crate) const MOST_RECORDS: usize = 200_000;

/// What an input may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines of name and secret of popauth's, the secret XORed with 0xff (`makedbm -u`).
    Popauth,
    /// What `gdbm_dump` writes, in its ASCII form.
    Gdbm,
    /// What `db_dump` writes, plain or with `-p`.
    Db,
    /// The `.pag` file of a database of ndbm's.
    Ndbm,
    /// What mailutils' `popauth --list` prints.
    Mailutils,
    /// Dovecot's passwd-file.
    Dovecot,
    /// solid-pop3d's `.spop3d` of one user.
    Solid,
    /// Lines `user,type,secret[,label]`.
    Csv,
    /// What `mailauth export` wrote.
    Backup,
}

impl Format {
    /// Whether the input says what each secret is for.
    pub(crate) const fn names_types(self) -> bool {
        matches!(self, Self::Csv | Self::Backup)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Popauth => "popauth",
            Self::Gdbm => "gdbm",
            Self::Db => "db",
            Self::Ndbm => "ndbm",
            Self::Mailutils => "mailutils",
            Self::Dovecot => "dovecot",
            Self::Solid => "solid",
            Self::Csv => "csv",
            Self::Backup => "backup",
        })
    }
}

/// One secret of a user's. `place` is the line that it began on, from one; in a binary file the number of the pair.
#[derive(Debug)]
pub(crate) struct Record {
    /// Where it was.
    pub(crate) place: usize,
    /// The user's name; whether it is a possible one was not looked at.
    pub(crate) user: String,
    /// What it is for.
    pub(crate) kind: SecretType,
    /// The label of an application password, else empty.
    pub(crate) label: String,
    /// The secret.
    pub(crate) secret: Kept,
    /// Set by a backup for a user who is no system user.
    pub(crate) owner: Option<Owner>,
    /// What the input says of ids and paths, for a user who becomes a virtual one.
    pub(crate) offered: Option<Owner>,
    /// What of the line is not taken, for people; empty when nothing is lost.
    pub(crate) remark: String,
}

/// A secret as an input has it.
#[derive(Debug)]
pub(crate) enum Kept {
    /// In plain.
    Plain(Secret),
    /// What an application password is verified by.
    Verifier(Secret),
    /// Sealed by the key that [`Found::key_id`] names.
    Sealed(Vec<u8>),
}

/// What is to be said about a place of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The line, from one.
    pub(crate) place: usize,
    /// The name that stands there, as far as there is one.
    pub(crate) user: String,
    /// Why it cannot be used. Never a secret.
    pub(crate) why: String,
}

/// What an input has.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What can be imported.
    pub(crate) records: Vec<Record>,
    /// What has no secret of use here.
    pub(crate) left_out: Vec<Note>,
    /// What is wrong.
    pub(crate) faults: Vec<Note>,
    /// Users of a backup who are locked, and where they stand.
    pub(crate) locked: Vec<(usize, String)>,
    /// Users of a backup who are limited or retired.
    pub(crate) limited: Vec<Limited>,
    /// The id of the key that sealed the secrets of a backup, in hexadecimal digits.
    pub(crate) key_id: Option<String>,
}

impl Found {
    fn fault(&mut self, place: usize, user: &[u8], why: impl Into<String>) {
        self.faults.push(Note { place, user: shown(user), why: why.into() });
    }

    fn leave_out(&mut self, place: usize, user: &[u8], why: impl Into<String>) {
        self.left_out.push(Note { place, user: shown(user), why: why.into() });
    }

    /// An APOP secret.
    fn apop(&mut self, place: usize, user: &[u8], secret: Secret) {
        self.add(place, user, SecretType::Apop, String::new(), secret);
    }

    fn add(&mut self, place: usize, user: &[u8], kind: SecretType, label: String, secret: Secret) {
        match std::str::from_utf8(user) {
            Ok(user) => {
                let (user, secret) = (user.to_owned(), Kept::Plain(secret));
                let (offered, remark) = (None, String::new());
                self.push(Record { place, user, kind, label, secret, owner: None, offered, remark });
            }
            Err(_) => self.fault(place, user, "the name is not UTF-8"),
        }
    }

    fn push(&mut self, record: Record) {
        match self.records.len() {
            0..MOST_RECORDS => self.records.push(record),
            _ if self.faults.len() < MOST_RECORDS => {
                let why = format!("this is more than {MOST_RECORDS} records: split the input");
                self.fault(record.place, record.user.as_bytes(), why);
            }
            _ => {}
        }
    }
}

/// What is known of an input besides its octets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About<'a> {
    /// The file's name, as it was given.
    pub(crate) name: &'a str,
    /// The name of the file's owner.
    pub(crate) owner: Option<&'a str>,
}

/// Reads an input in this format, or in the one that it seems to be.
///
/// # Errors
/// The format cannot be told, or it is one that another program has to dump: what to type.
pub(crate) fn read(
    octets: &[u8],
    about: About<'_>,
    format: Option<Format>,
) -> Result<(Format, Found), String> {
    if octets.len() > LARGEST {
        return Err(format!("is larger than {LARGEST} octets: split it"));
    }
    let format = match format {
        Some(format) => format,
        None => detect(octets, about)?,
    };
    if !matches!(format, Format::Ndbm)
        && let Some(advice) = binary(octets, about)
    {
        return Err(advice);
    }
    let found = match format {
        Format::Popauth | Format::Mailutils => text::read(octets, format),
        Format::Gdbm => dump::gdbm(octets),
        Format::Db => dump::db(octets),
        Format::Ndbm => ndbm::read(octets),
        Format::Dovecot => dovecot::read(octets),
        Format::Solid => solid::read(octets, about.owner),
        Format::Csv => csv::read(octets),
        Format::Backup => backup::read(octets),
    };
    Ok((format, found))
}

fn detect(octets: &[u8], about: About<'_>) -> Result<Format, String> {
    if octets.starts_with(b"# GDBM dump file") || octets.starts_with(b"#:version=") {
        return Ok(Format::Gdbm);
    }
    if octets.starts_with(b"VERSION=") && memchr::memmem::find(octets, b"HEADER=END").is_some() {
        return Ok(Format::Db);
    }
    if let Some(advice) = binary(octets, about) {
        return Err(advice);
    }
    if about.name.ends_with(".pag") {
        return Ok(Format::Ndbm);
    }
    if backup::is_like(octets) {
        return Ok(Format::Backup);
    }
    let mut lines = lines(octets).map(|(_, line)| line).filter(|line| !is_comment(line)).peekable();
    let Some(first) = lines.peek() else {
        return Err("has no entries".to_owned());
    };
    let (dovecot, csv) = (dovecot::is_like(first), csv::is_like(first));
    let solid = lines.clone().all(solid::is_like);
    if solid {
        Ok(Format::Solid)
    } else if csv {
        Ok(Format::Csv)
    } else if dovecot {
        Ok(Format::Dovecot)
    } else {
        text::detect(lines)
    }
}

/// What to type for a file that only its own program reads.
fn binary(octets: &[u8], about: About<'_>) -> Option<String> {
    let word = |at: usize| octets.get(at..at + 4).and_then(|word| word.try_into().ok());
    let either = |at, magic: &[u32]| {
        word(at).is_some_and(|word| {
            magic.contains(&u32::from_le_bytes(word)) || magic.contains(&u32::from_be_bytes(word))
        })
    };
    let name = if about.name.is_empty() || about.name == "-" { "FILE" } else { about.name };
    // gdbm(3)'s and db(3)'s numbers, as file(1) knows them.
    if either(0, &[0x1357_9acd, 0x1357_9ace, 0x1357_9acf, 0x1357_9ad0, 0x1357_9ad1]) {
        Some(format!("is a gdbm database: gdbm_dump {name} - | mailauth import -"))
    } else if either(12, &[0x0005_3162, 0x0006_1561]) || either(0, &[0x0005_3162, 0x0006_1561]) {
        Some(format!("is a database of Berkeley DB: db_dump {name} | mailauth import -"))
    } else if octets.starts_with(b"!\r\n! GDBM FLAT FILE DUMP") {
        Some(
            "is a binary dump of gdbm's: gdbm_dump --format=ascii makes one that can be read here".to_owned(),
        )
    } else if octets.starts_with(b"SQLite format 3\0") {
        Some("is an SQLite database".to_owned())
    } else {
        None
    }
}

/// The lines with their numbers from one, without their ends.
fn lines(octets: &[u8]) -> impl Iterator<Item = (usize, &[u8])> + Clone {
    let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
    let nothing = octets.is_empty();
    octets
        .split(|&octet| octet == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(move |_| !nothing)
}

fn is_comment(line: &[u8]) -> bool {
    line.trim_ascii().is_empty() || line.trim_ascii_start().starts_with(b"#")
}

/// A name for people, who do not need more of it.
fn shown(user: &[u8]) -> String {
    String::from_utf8_lossy(&user[..user.len().min(64)]).into_owned()
}

/// Two hexadecimal digits for each octet; nothing else.
fn unhex(digits: &[u8]) -> Option<Secret> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    let octets = pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?));
    // Room is taken at once: growing would leave copies behind.
    let mut plain = Secret::with_room(pairs.len());
    for octet in octets {
        plain.push(octet?);
    }
    rest.is_empty().then_some(plain)
}

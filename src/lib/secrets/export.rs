//! Backups: everything in the database as lines of JSON, each an object with one member that says what it is.
//!
//! ```text
//! {"header":{"format":"poptools secrets","version":1,"made":1790000000,"sealed":true,"key_id":"00112233aabbccdd"}}
//! {"user":{"name":"ann","locked":false}}
//! {"user":{"name":"b","locked":true,"retired":true,"limits":{"hours":"mon-fri 08:00-18:00","networks":"192.0.2.0/24","login_delay":60}}}
//! {"user":{"name":"v","locked":false,"virtual":{"uid":5000,"gid":100,"home":"/home/v","maildrop":"/mail/v"}}}
//! {"entry":{"user":"ann","type":"APOP","made":1790000000,"changed":1790000000,"sealed":"BASE64","scram":"SCRAM-SHA-256$..."}}
//! {"entry":{"user":"v","type":"POP","label":"phone","made":1790000000,"changed":1790000000,"verifier":"$6$..."}}
//! {"end":{"users":2,"entries":2}}
//! ```
//!
//! The header is first, users stand before their entries, and the end is last: without it the file is not complete. `sealed` is
//! what the key with `key_id` sealed for this user and type. A plain backup has `"sealed":false`, no `key_id`, and instead of
//! `sealed` the secret as `secret`, or as `secret_base64` when it is no UTF-8. Members that do not apply are left out.

use super::seal::Key;
use super::store::{Known, Store};
use super::{LimitsText, Places, SecretType, TOLD};
use crate::error::{Error, Kind, Result};
use crate::sys::clock;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::io::{self, BufWriter, Write};
use zeroize::{Zeroize, Zeroizing};

/// What `format` in the header says.
pub(crate) const FORMAT: &str = "poptools secrets";

/// The version of the format.
pub(crate) const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Line {
    /// The first.
    Header(Header),
    /// A user, before the entries.
    User(UserLine),
    /// An entry.
    Entry(EntryLine),
    /// The last.
    End(End),
}

/// What a backup begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// [`FORMAT`].
    pub(crate) format: String,
    /// [`VERSION`].
    pub(crate) version: u32,
    /// When it was made, in seconds since 1970.
    pub(crate) made: i64,
    /// Whether secrets are sealed.
    pub(crate) sealed: bool,
    /// The id of the key that sealed them, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_id: Option<String>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserLine {
    /// The name.
    pub(crate) name: String,
    /// Whether no entry may be used.
    pub(crate) locked: bool,
    /// Whether that is for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) retired: bool,
    /// Hours, networks, the time between two logins.
    #[serde(default, skip_serializing_if = "LimitsText::is_none")]
    pub(crate) limits: LimitsText,
    /// Set for a user who is no system user.
    #[serde(rename = "virtual", default, skip_serializing_if = "Option::is_none")]
    pub(crate) is_virtual: Option<Virtual>,
}

/// What a virtual user has of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Virtual {
    /// Numeric user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<u32>,
    /// Numeric group id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gid: Option<u32>,
    /// Home directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) home: Option<String>,
    /// The path of the maildrop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) maildrop: Option<String>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryLine {
    /// The user's name.
    pub(crate) user: String,
    /// `APOP`, `POP` or `IMAP`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Tells the application passwords of a user apart.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) label: String,
    /// When it was made, in seconds since 1970.
    pub(crate) made: i64,
    /// When its secret was set last.
    pub(crate) changed: i64,
    /// What the key sealed, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<String>,
    /// The secret of a plain backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
    /// The secret of a plain backup that is no UTF-8, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret_base64: Option<String>,
    /// What an application password is verified by, in crypt(3)'s form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verifier: Option<String>,
    /// The SCRAM verifier (RFC 5803).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scram: Option<String>,
}

impl Drop for EntryLine {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.secret_base64.zeroize();
    }
}

/// What a backup ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    /// How many lines were users.
    pub(crate) users: usize,
    /// How many lines were entries.
    pub(crate) entries: usize,
}

/// Writes a backup of what the database has at one moment; how much that is.
///
/// # Errors
/// The database cannot be read; for a plain one, the key cannot be used or a secret does not open; or the output's.
pub(crate) fn write(places: &Places, plain: bool, out: impl Write) -> Result<End> {
    let store = Store::open(places)?;
    let (key, content) = loop {
        let key = if plain { Some(store.key(places)?) } else { None };
        let content = store.content()?;
        // Once more when the key was changed in between.
        if key.as_ref().is_none_or(|key| *key.id() == content.key_id) {
            break (key, content);
        }
    };
    let mut out = BufWriter::new(out);
    let made = i64::try_from(clock::wall().as_secs()).unwrap_or(i64::MAX);
    let key_id = (!plain).then(|| content.key_id.iter().map(|octet| format!("{octet:02x}")).collect());
    let header = Header { format: FORMAT.to_owned(), version: VERSION, made, sealed: !plain, key_id };
    put(&mut out, &Line::Header(header))?;
    let end = End { users: content.users.len(), entries: content.entries.len() };
    for Known { name, locked, retired, limits, owner } in content.users {
        let is_virtual = owner.map(|owner| Virtual {
            uid: owner.ids.map(|(uid, _)| uid),
            gid: owner.ids.map(|(_, gid)| gid),
            home: owner.home.map(|path| path.to_string_lossy().into_owned()),
            maildrop: owner.maildrop.map(|path| path.to_string_lossy().into_owned()),
        });
        put(&mut out, &Line::User(UserLine { name, locked, retired, limits, is_virtual }))?;
    }
    for entry in content.entries {
        let mut line = EntryLine {
            user: entry.user,
            kind: entry.kind.as_str().to_owned(),
            label: entry.label,
            made: entry.made,
            changed: entry.changed,
            sealed: None,
            secret: None,
            secret_base64: None,
            verifier: entry.verifier,
            scram: entry.scram,
        };
        match (&key, entry.sealed) {
            (Some(key), Some(sealed)) => open(&store, key, entry.kind, &sealed, &mut line)?,
            (None, Some(sealed)) => line.sealed = Some(STANDARD.encode(sealed)),
            (_, None) => {}
        }
        put(&mut out, &Line::Entry(line))?;
    }
    put(&mut out, &Line::End(end))?;
    out.flush().map_err(failed)?;
    Ok(end)
}

/// Puts the opened secret into the line.
fn open(store: &Store, key: &Key, kind: SecretType, sealed: &[u8], line: &mut EntryLine) -> Result<()> {
    let secret = store.unseal_as(key, &line.user, kind, sealed)?;
    match std::str::from_utf8(secret.expose()) {
        Ok(text) => line.secret = Some(text.to_owned()),
        Err(_) => line.secret_base64 = Some(STANDARD.encode(secret.expose())),
    }
    Ok(())
}

fn put(out: &mut impl Write, line: &Line) -> Result<()> {
    let text = serde_json::to_vec(line).map(Zeroizing::new);
    let text = text.map_err(|cause| failed(io::Error::other(cause)))?;
    out.write_all(&text).and_then(|()| out.write_all(b"\n")).map_err(failed)
}

fn failed(cause: io::Error) -> Error {
    Error::io("cannot write the backup", cause).of_kind(Kind::Temporary).tell(TOLD)
}

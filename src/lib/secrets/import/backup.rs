//! Backups of `mailauth export`: everything of them or nothing, so that a file that was cut off is none.

use super::{Found, Kept, Record, lines};
use crate::secret::Secret;
use crate::secrets::export::{EntryLine, FORMAT, Line, UserLine, VERSION, Virtual};
use crate::secrets::{Limited, Owner, SecretType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

pub(super) fn read(octets: &[u8]) -> Found {
    let mut found = Found::default();
    let mut users: HashMap<String, Option<Owner>> = HashMap::new();
    let (mut begun, mut end, mut entries, mut place) = (false, None, 0, 0);
    for (number, line) in lines(octets) {
        place = number;
        // The parser's own sentence may have octets of a secret.
        let Ok(line) = serde_json::from_slice::<Line>(line) else {
            found.fault(number, b"", "this is no line of a backup");
            return found;
        };
        match line {
            Line::Header(header) if !begun && header.format == FORMAT => {
                if header.version > VERSION {
                    found.fault(number, b"", "the backup is of a newer version: use the newer program");
                    return found;
                }
                begun = true;
                found.key_id = header.key_id;
            }
            Line::User(user) if begun && end.is_none() => one_user(number, user, &mut users, &mut found),
            Line::Entry(entry) if begun && end.is_none() => {
                entries += 1;
                one_entry(number, &entry, &users, &mut found);
            }
            Line::End(counted) if begun && end.is_none() => end = Some(counted),
            _ => {
                found.fault(number, b"", "this line does not belong here");
                return found;
            }
        }
    }
    if end.is_none_or(|end| end.users != users.len() || end.entries != entries) {
        found.fault(place.max(1), b"", "the backup is cut off: bring back a complete one");
    }
    found
}

/// Whether a line is of a backup.
pub(super) fn is_like(line: &[u8]) -> bool {
    line.starts_with(b"{\"header\"")
}

fn one_user(place: usize, user: UserLine, users: &mut HashMap<String, Option<Owner>>, found: &mut Found) {
    let UserLine { name, locked, retired, limits, is_virtual } = user;
    let owner = match is_virtual.map(owner).transpose() {
        Ok(owner) => owner,
        Err(why) => return found.fault(place, name.as_bytes(), why),
    };
    if let Err(why) = limits.parse() {
        return found.fault(place, name.as_bytes(), format!("the limits are none: {why}"));
    }
    if locked || retired {
        found.locked.push((place, name.clone()));
    }
    if retired || !limits.is_none() {
        found.limited.push(Limited { place, user: name.clone(), limits, retired });
    }
    if users.insert(name.clone(), owner).is_some() {
        found.fault(place, name.as_bytes(), "the user stands there twice");
    }
}

/// What a virtual user has of its own, when that is what `add` takes.
fn owner(is_virtual: Virtual) -> Result<Owner, &'static str> {
    let Virtual { uid, gid, home, maildrop } = is_virtual;
    let ids = match (uid, gid) {
        (None, None) => None,
        (Some(uid @ 1..=0xffff_fffe), Some(gid @ 1..=0xffff_fffe)) => Some((uid, gid)),
        _ => return Err("uid and gid are those of nobody, or root's"),
    };
    let path = |text: Option<String>| match text.map(PathBuf::from) {
        Some(path) if !leads_down(&path) => Err("home or maildrop is no absolute path without . and .."),
        path => Ok(path),
    };
    Ok(Owner { ids, home: path(home)?, maildrop: path(maildrop)? })
}

pub(super) fn leads_down(path: &Path) -> bool {
    let down = |part| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute()
        && path.components().all(down)
        && path.to_str().is_some_and(|text| !text.chars().any(char::is_control))
}

fn one_entry(place: usize, entry: &EntryLine, users: &HashMap<String, Option<Owner>>, found: &mut Found) {
    let user = entry.user.as_bytes();
    let Some(owner) = users.get(&entry.user) else {
        return found.fault(place, user, "the entry stands before its user");
    };
    let Some(kind) = SecretType::parse(&entry.kind) else {
        return found.fault(place, user, "the type is none of APOP, POP and IMAP");
    };
    let label = entry.label.clone();
    if label.chars().any(char::is_control) || (!label.is_empty() && kind != SecretType::Pop) {
        return found.fault(place, user, "the label is none of an application password's");
    }
    match kept(entry, kind) {
        Some(secret) => {
            let (user, owner, remark) = (entry.user.clone(), owner.clone(), String::new());
            found.push(Record { place, user, kind, label, secret, owner, offered: None, remark });
        }
        None => found.fault(place, user, "the entry has not what its type needs"),
    }
}

fn kept(entry: &EntryLine, kind: SecretType) -> Option<Kept> {
    let decoded = |text: &String| STANDARD.decode(text).ok();
    let plain = |octets: Vec<u8>| Kept::Plain(Secret::new(octets));
    match (kind, &entry.verifier, &entry.sealed, &entry.secret, &entry.secret_base64) {
        (SecretType::Pop, Some(verifier), None, None, None) => {
            Some(Kept::Verifier(Secret::new(verifier.clone().into_bytes())))
        }
        (SecretType::Apop | SecretType::Imap, None, Some(sealed), None, None) => {
            decoded(sealed).map(Kept::Sealed)
        }
        (SecretType::Apop | SecretType::Imap, None, None, Some(secret), None) => {
            Some(plain(secret.clone().into_bytes()))
        }
        (SecretType::Apop | SecretType::Imap, None, None, None, Some(secret)) => decoded(secret).map(plain),
        _ => None,
    }
}

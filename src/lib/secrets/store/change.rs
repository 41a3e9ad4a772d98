//! What is changed in the database.

use super::{RACES, Store, has_apop, refused};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::secrets::scram;
use crate::secrets::seal::{Key, KeyId};
use crate::secrets::store::Owner;
use crate::secrets::{Places, SecretType};
use crate::sys::clock;
use rusqlite::{OptionalExtension, Transaction, params};
use std::path::PathBuf;

/// What of a secret is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Material<'a> {
    /// The secret itself, sealed: APOP, with a SCRAM verifier beside it, and IMAP.
    Sealed(&'a Secret),
    /// A verifier in crypt(3)'s form: POP.
    Verifier(&'a Secret),
}

/// An entry to add, or the new secret of one that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewEntry<'a> {
    /// The user's name.
    pub(crate) user: &'a str,
    /// Set for a user who is no system user. A change of the secret does not look at it.
    pub(crate) owner: Option<&'a Owner>,
    /// What it is for.
    pub(crate) kind: SecretType,
    /// Tells the application passwords of a user apart; empty for other types.
    pub(crate) label: &'a str,
    /// The secret.
    pub(crate) material: Material<'a>,
}

/// What became of a new entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is there now, and the first that its mechanism is announced for or not.
    Yes {
        /// Whether no entry could use the mechanism before.
        first: bool,
    },
    /// There was one; it is as it was.
    Exists,
}

/// What an entry's row gets.
pub(super) struct Cells {
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) verifier: Option<String>,
    pub(super) scram: Option<String>,
    pub(super) now: i64,
}

/// What became of a change.
enum Put {
    Done {
        first: bool,
    },
    /// There is such an entry already, or there is none to change.
    Not,
    KeyChanged,
}

impl Store {
    /// Adds an entry, sealed by the key that is the database's when it is added.
    ///
    /// # Errors
    /// The user has entries of the other sort, system or virtual; the key cannot be used; or the system's.
    pub(crate) fn add_new(&mut self, places: &Places, new: &NewEntry<'_>) -> Result<Added> {
        for _ in 0..RACES {
            let key = self.key(places)?;
            match self.insert(&key, new)? {
                Put::Done { first } => return Ok(Added::Yes { first }),
                Put::Not => return Ok(Added::Exists),
                Put::KeyChanged => {}
            }
        }
        Err(changed_meanwhile())
    }

    /// Changes the secret of an entry; false when there is no such entry.
    ///
    /// # Errors
    /// The key cannot be used, or the system's.
    pub(crate) fn change(&mut self, places: &Places, new: &NewEntry<'_>) -> Result<bool> {
        for _ in 0..RACES {
            let key = self.key(places)?;
            match self.update(&key, new)? {
                Put::Done { .. } => return Ok(true),
                Put::Not => return Ok(false),
                Put::KeyChanged => {}
            }
        }
        Err(changed_meanwhile())
    }

    fn insert(&mut self, key: &Key, new: &NewEntry<'_>) -> Result<Put> {
        let (cells, key_id) = (cells(key, new)?, *key.id());
        self.write(|transaction, announced| {
            if !is_current(transaction, &key_id)? {
                return Ok(Ok(Put::KeyChanged));
            }
            let Some(user) = user_row(transaction, new)? else {
                let (user, sort) = (new.user, if new.owner.is_some() { "system" } else { "virtual" });
                let what =
                    format!("{user} has entries as a {sort} user: mailauth remove {user} removes them");
                return Ok(Err(refused(what)));
            };
            let added = transaction.execute(
                "INSERT INTO entry (user, type, label, sealed, verifier, scram, made, changed) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT (user, type, label) DO NOTHING",
                params![
                    user,
                    new.kind.as_str(),
                    new.label,
                    cells.sealed,
                    cells.verifier,
                    cells.scram,
                    cells.now
                ],
            )?;
            let first = new.kind == SecretType::Apop && !has_apop(announced);
            Ok(Ok(if added == 1 { Put::Done { first } } else { Put::Not }))
        })?
    }

    fn update(&mut self, key: &Key, new: &NewEntry<'_>) -> Result<Put> {
        let (cells, key_id) = (cells(key, new)?, *key.id());
        self.write(|transaction, _| {
            if !is_current(transaction, &key_id)? {
                return Ok(Put::KeyChanged);
            }
            let changed = transaction.execute(
                "UPDATE entry SET sealed = ?4, verifier = ?5, scram = ?6, changed = ?7 \
                 WHERE user = (SELECT id FROM user WHERE name = ?1) AND type = ?2 AND label = ?3",
                params![
                    new.user,
                    new.kind.as_str(),
                    new.label,
                    cells.sealed,
                    cells.verifier,
                    cells.scram,
                    cells.now
                ],
            )?;
            Ok(if changed == 1 { Put::Done { first: false } } else { Put::Not })
        })
    }

    /// Removes all entries of a user, or those of one type or label; how many. A user without entries is forgotten, unless locked or limited.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn remove(
        &mut self,
        name: &str,
        kind: Option<SecretType>,
        label: Option<&str>,
    ) -> Result<usize> {
        self.write(|transaction, _| {
            let removed = transaction.execute(
                "DELETE FROM entry WHERE user = (SELECT id FROM user WHERE name = ?1) AND (?2 IS NULL OR type = ?2) AND (?3 IS NULL OR label = ?3)",
                params![name, kind.map(SecretType::as_str), label],
            )?;
            forget_users(transaction)?;
            Ok(removed)
        })
    }

    /// Locks users, all or none: no login is made by the database or by the system's passwords. A name that has no row gets one
    /// when it is among `system`, the names of users of the system. The first name that there is no such user for, if any.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn lock<'a>(&mut self, names: &'a [String], system: &[String]) -> Result<Option<&'a str>> {
        self.set_locked(names, true, |transaction, name| {
            if system.iter().any(|known| known == name) {
                transaction.execute("INSERT INTO user (name, locked) VALUES (?1, 1)", [name])
            } else {
                Ok(0)
            }
        })
    }

    /// Unlocks users, all or none. The first name that neither the database knows nor `others`, if any.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn unlock<'a>(&mut self, names: &'a [String], others: &[String]) -> Result<Option<&'a str>> {
        self.set_locked(names, false, |_, name| Ok(usize::from(others.iter().any(|known| known == name))))
    }

    /// `missing` is what is done for a name without a row; it answers how many rows there are then.
    fn set_locked<'a>(
        &mut self,
        names: &'a [String],
        locked: bool,
        missing: impl Fn(&Transaction<'_>, &str) -> rusqlite::Result<usize>,
    ) -> Result<Option<&'a str>> {
        self.write(|transaction, _| {
            // Rolled back as a whole when one name is unknown.
            transaction.execute_batch("SAVEPOINT names")?;
            for name in names {
                let found = transaction.execute(
                    "UPDATE user SET locked = ?2, retired = retired AND ?2 WHERE name = ?1",
                    params![name, locked],
                )?;
                if found == 0 && missing(transaction, name)? == 0 {
                    transaction.execute_batch("ROLLBACK TO names; RELEASE names")?;
                    return Ok(Some(name.as_str()));
                }
            }
            transaction.execute_batch("RELEASE names")?;
            forget_users(transaction)?;
            Ok(None)
        })
    }
}

pub(super) fn changed_meanwhile() -> Error {
    Error::new(Kind::Temporary, "the key was changed meanwhile; try again")
}

pub(super) fn cells(key: &Key, new: &NewEntry<'_>) -> Result<Cells> {
    let now = i64::try_from(clock::wall().as_secs()).unwrap_or(i64::MAX);
    let none = Cells { sealed: None, verifier: None, scram: None, now };
    Ok(match new.material {
        Material::Sealed(secret) => {
            let scram =
                if new.kind == SecretType::Apop { Some(scram::make(secret)?.to_string()) } else { None };
            Cells { sealed: Some(key.seal(new.user, new.kind, secret)?), scram, ..none }
        }
        Material::Verifier(hash) => {
            Cells { verifier: Some(String::from_utf8_lossy(hash.expose()).into_owned()), ..none }
        }
    })
}

pub(super) fn is_current(transaction: &Transaction<'_>, key_id: &KeyId) -> rusqlite::Result<bool> {
    let current: KeyId = transaction.query_row("SELECT key_id FROM meta", [], |row| row.get(0))?;
    Ok(current == *key_id)
}

/// Forgets users without entries, but for those who are locked or limited.
pub(super) fn forget_users(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
    transaction.execute(
        "DELETE FROM user WHERE NOT locked AND hours IS NULL AND networks IS NULL AND login_delay IS NULL \
         AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.user = user.id)",
        [],
    )
}

/// The user's row, made when it is missing; `None` when it is one of the other sort, system or virtual.
pub(super) fn user_row(transaction: &Transaction<'_>, new: &NewEntry<'_>) -> rusqlite::Result<Option<i64>> {
    let owner = new.owner.cloned().unwrap_or_default();
    let (uid, gid) = owner.ids.unzip();
    let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    let is_virtual = new.owner.is_some();
    transaction.execute(
        "INSERT INTO user (name, virtual, uid, gid, home, maildrop) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (name) DO NOTHING",
        params![new.user, is_virtual, uid, gid, text(&owner.home), text(&owner.maildrop)],
    )?;
    let found = transaction
        .query_row("SELECT id, virtual FROM user WHERE name = ?1", [new.user], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?))
        })
        .optional()?;
    Ok(found.filter(|(_, found)| *found == is_virtual).map(|(id, _)| id))
}

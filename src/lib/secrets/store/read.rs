//! What is read from the database.

use super::{RACES, Store, fault, refused};
use crate::error::{Error, Kind, Result};
use crate::protocol::sasl::scram::{ITERATIONS, Verifier};
use crate::secret::Secret;
use crate::secrets::scram;
use crate::secrets::seal::{Key, KeyId, SALTS};
use crate::secrets::{LimitsText, Places, SecretType, TOLD};
use rusqlite::{OptionalExtension, Row};
use std::path::PathBuf;

/// Whose maildrop a user has who is no system user; what is `None` is as the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Numeric user and group id.
    pub(crate) ids: Option<(u32, u32)>,
    /// Home directory.
    pub(crate) home: Option<PathBuf>,
    /// The path of the maildrop.
    pub(crate) maildrop: Option<PathBuf>,
}

/// An application password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Password {
    /// Tells it from the user's others.
    pub(crate) label: String,
    /// In crypt(3)'s form.
    pub(crate) verifier: Secret,
}

/// A user of the database.
#[derive(Debug)]
pub(crate) struct User {
    /// Whether no entry may be used.
    pub(crate) locked: bool,
    /// Whether that is for good.
    pub(crate) retired: bool,
    /// What limits the user.
    pub(crate) limits: LimitsText,
    /// Set for a user who is no system user.
    pub(crate) owner: Option<Owner>,
    /// The sealed APOP secret.
    pub(crate) apop: Option<Vec<u8>>,
    /// The SCRAM verifier of the APOP secret, as the database has it.
    pub(crate) scram: Option<String>,
    /// The sealed IMAP secret.
    pub(crate) imap: Option<Vec<u8>>,
    /// Application passwords, oldest first.
    pub(crate) passwords: Vec<Password>,
}

/// An entry as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The user's name.
    pub(crate) user: String,
    /// What it is for; `None` stands for a user who is locked and has no entry.
    pub(crate) kind: Option<SecretType>,
    /// Tells the application passwords of a user apart.
    pub(crate) label: String,
    /// Whether the user's entries may not be used.
    pub(crate) locked: bool,
    /// Whether the user is no system user.
    pub(crate) is_virtual: bool,
    /// When it was made, in seconds since 1970; 0 without an entry.
    pub(crate) made: i64,
}

/// Everything about a user that may be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Whether no entry may be used.
    pub(crate) locked: bool,
    /// Whether that is for good.
    pub(crate) retired: bool,
    /// What limits the user.
    pub(crate) limits: LimitsText,
    /// Set for a user who is no system user.
    pub(crate) owner: Option<Owner>,
    /// The entries, by type and label.
    pub(crate) entries: Vec<Entry>,
}

/// An entry of a user's that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What it is for.
    pub(crate) kind: SecretType,
    /// Tells the application passwords of a user apart.
    pub(crate) label: String,
    /// Whether it has a SCRAM verifier.
    pub(crate) scram: bool,
    /// When it was made, in seconds since 1970.
    pub(crate) made: i64,
    /// When its secret was set last, in seconds since 1970.
    pub(crate) changed: i64,
}

/// An entry with everything that the database has of it.
pub(in crate::secrets) struct Stored {
    pub(in crate::secrets) user: String,
    pub(in crate::secrets) kind: SecretType,
    pub(in crate::secrets) label: String,
    pub(in crate::secrets) sealed: Option<Vec<u8>>,
    pub(in crate::secrets) verifier: Option<String>,
    pub(in crate::secrets) scram: Option<String>,
    pub(in crate::secrets) made: i64,
    pub(in crate::secrets) changed: i64,
}

/// A user's row.
pub(in crate::secrets) struct Known {
    pub(in crate::secrets) name: String,
    pub(in crate::secrets) locked: bool,
    pub(in crate::secrets) retired: bool,
    pub(in crate::secrets) limits: LimitsText,
    pub(in crate::secrets) owner: Option<Owner>,
}

/// Everything that a backup has.
pub(in crate::secrets) struct Content {
    pub(in crate::secrets) key_id: KeyId,
    pub(in crate::secrets) users: Vec<Known>,
    pub(in crate::secrets) entries: Vec<Stored>,
}

impl Store {
    /// Everything about a user; `None` when there is no such name, in exactly these letters.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn user(&self, name: &str) -> Result<Option<User>> {
        self.read_user(name).map(|(user, _)| user).map_err(|cause| fault(&self.path, &cause))
    }

    /// Everything about a user, with the key that opens it even when that is being changed.
    ///
    /// # Errors
    /// Database or key cannot be used.
    pub(crate) fn user_with_key(&self, places: &Places, name: &str) -> Result<(Option<User>, Key)> {
        for _ in 0..RACES {
            let key = self.key(places)?;
            let (user, id) = self.read_user(name).map_err(|cause| fault(&self.path, &cause))?;
            if id == *key.id() {
                return Ok((user, key));
            }
        }
        Err(Error::new(Kind::Temporary, "the key was changed again and again; try again").tell(TOLD))
    }

    fn read_user(&self, name: &str) -> rusqlite::Result<(Option<User>, KeyId)> {
        let transaction = self.connection.unchecked_transaction()?;
        let key_id = transaction.query_row("SELECT key_id FROM meta", [], |row| row.get(0))?;
        let found =
            transaction.query_row(&format!("SELECT {KNOWN}, id FROM user WHERE name = ?1"), [name], |row| {
                Ok((row.get::<_, i64>(11)?, known(row)?))
            });
        let Some((id, Known { locked, retired, limits, owner, .. })) = found.optional()? else {
            return Ok((None, key_id));
        };
        let (apop, scram, imap, passwords) = (None, None, None, Vec::new());
        let mut user = User { locked, retired, limits, owner, apop, scram, imap, passwords };
        let mut entries = transaction
            .prepare("SELECT type, sealed, verifier, scram, label FROM entry WHERE user = ?1 ORDER BY id")?;
        let mut rows = entries.query([id])?;
        while let Some(row) = rows.next()? {
            match kind(row, 0)? {
                SecretType::Apop => (user.apop, user.scram) = (row.get(1)?, row.get(3)?),
                SecretType::Pop => {
                    let verifier = Secret::new(row.get::<_, String>(2)?.into_bytes());
                    user.passwords.push(Password { label: row.get(4)?, verifier });
                }
                SecretType::Imap => user.imap = row.get(1)?,
            }
        }
        Ok((Some(user), key_id))
    }

    /// Opens the sealed APOP secret of a user's.
    ///
    /// # Errors
    /// The entry is damaged or was another user's.
    pub(crate) fn unseal(&self, key: &Key, user: &str, sealed: &[u8]) -> Result<Secret> {
        self.unseal_as(key, user, SecretType::Apop, sealed)
    }

    /// Opens a sealed secret of a user's.
    ///
    /// # Errors
    /// The entry is damaged or was another user's.
    pub(crate) fn unseal_as(&self, key: &Key, user: &str, kind: SecretType, sealed: &[u8]) -> Result<Secret> {
        key.unseal(user, kind, sealed).ok_or_else(|| {
            refused(format!("the {kind} entry of {user} in {} does not open", self.path.display()))
        })
    }

    /// What SCRAM-SHA-256 checks a user by. An entry from before there were verifiers gets one that is as good, made here; a name
    /// without an APOP entry gets one that no secret has, whose salt is the same each time. `user` is what the database has under
    /// this name, `key` the key that came with it.
    ///
    /// # Errors
    /// The database cannot be read, or the entry is damaged.
    pub(crate) fn scram(&self, key: &Key, name: &str, user: Option<&User>) -> Result<Verifier> {
        let seed = self.seed(name)?;
        let Some((user, sealed)) = user.and_then(|user| user.apop.as_deref().map(|sealed| (user, sealed)))
        else {
            return Ok(scram::made_up(&seed));
        };
        match &user.scram {
            Some(text) => Verifier::parse(text).ok_or_else(|| {
                let shown = self.path.display();
                refused(format!("the SCRAM verifier of {name} in {shown} is damaged: mailauth passwd {name}"))
            }),
            None => {
                let secret = self.unseal(key, name, sealed)?;
                Ok(Verifier::of_password(secret.expose(), &scram::made_up_salt(&seed), ITERATIONS))
            }
        }
    }

    /// What stays the same for a name while the database lives.
    fn seed(&self, name: &str) -> Result<[u8; SALTS]> {
        let salts: Vec<u8> = self
            .connection
            .query_row("SELECT salts FROM meta", [], |row| row.get(0))
            .map_err(|cause| fault(&self.path, &cause))?;
        Ok(*scram::keyed(&salts, name.as_bytes()))
    }

    /// All entries, or those of one type, by name, type and label. Without a type also users who are locked or limited and have no entry.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn list(&self, wanted: Option<SecretType>) -> Result<Vec<Listed>> {
        let read = || {
            let mut entries = self.connection.prepare(
                "SELECT user.name, entry.type, coalesce(entry.label, ''), user.locked, user.virtual, \
                 coalesce(entry.made, 0) FROM user LEFT JOIN entry ON user.id = entry.user \
                 WHERE ?1 IS NULL OR entry.type = ?1 ORDER BY user.name, entry.type, entry.label",
            )?;
            let rows = entries.query_map([wanted.map(SecretType::as_str)], |row| {
                let has_entry = row.get::<_, Option<String>>(1)?.is_some();
                Ok(Listed {
                    user: row.get(0)?,
                    kind: if has_entry { Some(kind(row, 1)?) } else { None },
                    label: row.get(2)?,
                    locked: row.get(3)?,
                    is_virtual: row.get(4)?,
                    made: row.get(5)?,
                })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|cause| fault(&self.path, &cause))
    }

    /// What may be shown of a user; `None` when there is no such name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn show(&self, name: &str) -> Result<Option<Shown>> {
        let mut content = self.content()?;
        content.entries.retain(|entry| entry.user == name);
        let found = content.users.into_iter().find(|user| user.name == name);
        Ok(found.map(|Known { locked, retired, limits, owner, .. }| Shown {
            locked,
            retired,
            limits,
            owner,
            entries: content
                .entries
                .into_iter()
                .map(|entry| Entry {
                    kind: entry.kind,
                    label: entry.label,
                    scram: entry.scram.is_some(),
                    made: entry.made,
                    changed: entry.changed,
                })
                .collect(),
        }))
    }

    /// Everything, as it was at one moment.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(in crate::secrets) fn content(&self) -> Result<Content> {
        let read = || {
            let transaction = self.connection.unchecked_transaction()?;
            let key_id = transaction.query_row("SELECT key_id FROM meta", [], |row| row.get(0))?;
            let mut users = transaction.prepare(&format!("SELECT {KNOWN} FROM user ORDER BY name"))?;
            let users = users.query_map([], known)?.collect::<rusqlite::Result<_>>()?;
            let mut entries = transaction.prepare(
                "SELECT user.name, type, label, sealed, verifier, scram, made, changed \
                 FROM entry JOIN user ON user.id = entry.user ORDER BY user.name, type, label",
            )?;
            let entries = entries.query_map([], stored)?.collect::<rusqlite::Result<_>>()?;
            Ok(Content { key_id, users, entries })
        };
        read().map_err(|cause| fault(&self.path, &cause))
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        user: row.get(0)?,
        kind: kind(row, 1)?,
        label: row.get(2)?,
        sealed: row.get(3)?,
        verifier: row.get(4)?,
        scram: row.get(5)?,
        made: row.get(6)?,
        changed: row.get(7)?,
    })
}

/// The columns that [`known`] reads.
const KNOWN: &str = "name, locked, virtual, uid, gid, home, maildrop, retired, hours, networks, login_delay";

fn known(row: &Row<'_>) -> rusqlite::Result<Known> {
    Ok(Known {
        name: row.get(0)?,
        locked: row.get(1)?,
        owner: owner(row, 2)?,
        retired: row.get(7)?,
        limits: LimitsText { hours: row.get(8)?, networks: row.get(9)?, login_delay: row.get(10)? },
    })
}

/// The columns `virtual, uid, gid, home, maildrop`, of which the first is at `at`.
fn owner(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Owner>> {
    let path = |at| row.get::<_, Option<String>>(at).map(|path| path.map(PathBuf::from));
    let ids = row.get::<_, Option<u32>>(at + 1)?.zip(row.get(at + 2)?);
    let owner = Owner { ids, home: path(at + 3)?, maildrop: path(at + 4)? };
    Ok(row.get::<_, bool>(at)?.then_some(owner))
}

fn kind(row: &Row<'_>, at: usize) -> rusqlite::Result<SecretType> {
    // The table has a check, so another word is damage.
    SecretType::parse(row.get_ref(at)?.as_str()?).ok_or(rusqlite::Error::InvalidQuery)
}

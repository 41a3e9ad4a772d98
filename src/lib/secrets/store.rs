//! Typed access to the database. Whoever opens it has the owner's ids.
//!
//! It is opened for writing even to read: a reader has to roll back what a killed writer left. Writers take the lock first
//! (BEGIN IMMEDIATE) and wait for each other for up to two seconds.

use super::seal::Key;
use super::{Places, SecretType, TOLD, announce, exists, failed, guard, refused, schema};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::sys::clock;
use crate::sys::directory::Directory;
use rusqlite::config::DbConfig;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one waits for another program's transaction. Each takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The open database.
pub(crate) struct Store {
    pub(super) connection: Connection,
    directory: Directory,
    pub(super) path: PathBuf,
}

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

/// A user of the database.
#[derive(Debug)]
pub(crate) struct User {
    /// Whether no entry may be used.
    pub(crate) locked: bool,
    /// Set for a user who is no system user.
    pub(crate) owner: Option<Owner>,
    /// The sealed APOP secret.
    pub(crate) apop: Option<Vec<u8>>,
    /// Verifiers of application passwords, in crypt(3)'s form.
    pub(crate) passwords: Vec<Secret>,
}

/// What of a secret is stored.
#[derive(Debug)]
pub(crate) enum Material<'a> {
    /// The secret itself, sealed: APOP and IMAP.
    Sealed(&'a Secret),
    /// A verifier in crypt(3)'s form: POP.
    Verifier(&'a Secret),
}

/// An entry to add.
#[derive(Debug)]
pub(crate) struct NewEntry<'a> {
    /// The user's name.
    pub(crate) user: &'a str,
    /// Set for a user who is no system user.
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

/// An entry as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The user's name.
    pub(crate) user: String,
    /// What it is for.
    pub(crate) kind: SecretType,
    /// Tells the application passwords of a user apart.
    pub(crate) label: String,
    /// Whether the user's entries may not be used.
    pub(crate) locked: bool,
    /// Whether the user is no system user.
    pub(crate) is_virtual: bool,
}

impl Store {
    /// Opens the database.
    ///
    /// # Errors
    /// It is missing, damaged, another program's, of a newer version, or somebody else may use it.
    pub(crate) fn open(places: &Places) -> Result<Self> {
        if !exists(&places.database)? {
            return Err(refused(format!(
                "there is no {}: mailauth init makes it",
                places.database.display()
            )));
        }
        let mut store = Self::connect(&places.database)?;
        let version = store.inspect()?;
        if version < schema::VERSION {
            store.write(|transaction, _| schema::migrate(transaction, version))?;
        }
        Ok(store)
    }

    /// Makes the database with this key. One that is there is emptied and gets the key when `clear` is set.
    ///
    /// # Errors
    /// There is one that must not be cleared, or that is none of ours; or the system's.
    pub(super) fn create(places: &Places, key: &Key, clear: bool) -> Result<()> {
        let (_, directory) = guard::directory(super::parent(&places.database)?)?;
        let name = file_name(&places.database)?;
        let fresh =
            match directory.status(name).map_err(|cause| failed("look at", &places.database, cause))? {
                // SQLite makes readable files; ours is made before.
                None => directory.create(name, 0o600).map(|_| true),
                // What a killed `init` left.
                Some(found) => Ok(found.identity.size == 0),
            };
        let fresh = fresh.map_err(|cause| failed("make", &places.database, cause))?;
        if !fresh && !clear {
            return Err(refused(format!("{} is there already", places.database.display())));
        }
        let probe = key.probe()?;
        let mut store = Self::connect(&places.database)?;
        if !fresh {
            store.inspect()?;
        }
        store.write(|transaction, _| {
            if fresh && version_of(transaction)? == 0 {
                schema::migrate(transaction, 0)?;
            }
            transaction.execute("DELETE FROM user", [])?;
            transaction.execute(
                "INSERT OR REPLACE INTO meta (one, key_id, probe) VALUES (1, ?1, ?2)",
                params![key.id(), probe],
            )?;
            Ok(())
        })
    }

    fn connect(path: &Path) -> Result<Self> {
        let (real, directory) = guard::directory(super::parent(path)?)?;
        let name = file_name(path)?;
        guard::file(&real.join(name), "0600").map(drop)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(real.join(name), flags).and_then(|connection| {
            connection.busy_timeout(PATIENCE)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            // EXTRA: a change is durable only when its journal's name is gone for good.
            connection.execute_batch(
                "PRAGMA temp_store = MEMORY; PRAGMA synchronous = EXTRA; PRAGMA secure_delete = ON; \
                 PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON;",
            )?;
            Ok(connection)
        });
        let connection = connection.map_err(|cause| fault(path, &cause))?;
        Ok(Self { connection, directory, path: path.to_owned() })
    }

    /// Whether this is a database of ours, whole as far as its length tells; its version.
    fn inspect(&self) -> Result<u32> {
        let shown = self.path.display();
        let look = || {
            let transaction = self.connection.unchecked_transaction()?;
            let application: i32 = number(&transaction, "application_id")?;
            let version = version_of(&transaction)?;
            let pages: i64 = number(&transaction, "page_count")?;
            let size: i64 = number(&transaction, "page_size")?;
            // The read lock is held, so nobody changes the file now.
            let octets = std::fs::metadata(&self.path)
                .map_or(0, |found| i64::try_from(found.len()).unwrap_or(i64::MAX));
            Ok((application, version, octets < pages.saturating_mul(size) || pages == 0))
        };
        let (application, version, cut) = look().map_err(|cause| fault(&self.path, &cause))?;
        if cut {
            return Err(refused(format!("{shown} is cut off: bring it back from a backup")));
        }
        if application != schema::APPLICATION || version == 0 {
            return Err(refused(format!("{shown} is a database of another program")));
        }
        if version > schema::VERSION {
            let known = schema::VERSION;
            return Err(refused(format!(
                "{shown} has version {version} and this program knows {known}: use the newer program"
            )));
        }
        Ok(version)
    }

    /// The database's key.
    ///
    /// # Errors
    /// The key file cannot be used, or is that of another database.
    pub(crate) fn key(&self, places: &Places) -> Result<Key> {
        let key = Key::load(&places.key)?;
        let fits = self.fits(&self.connection, &key)?;
        if fits {
            return Ok(key);
        }
        let (key, shown) = (places.key.display(), self.path.display());
        Err(refused(format!("{key} is not the key of {shown}: bring the right one back from a backup")))
    }

    fn fits(&self, connection: &Connection, key: &Key) -> Result<bool> {
        let row = connection.query_row("SELECT key_id, probe FROM meta", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
        });
        let (id, probe) = row.map_err(|cause| fault(&self.path, &cause))?;
        Ok(id == key.id() && key.opens(&probe))
    }

    /// Everything about a user; `None` when there is no such name, in exactly these letters.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn user(&self, name: &str) -> Result<Option<User>> {
        self.read_user(name).map_err(|cause| fault(&self.path, &cause))
    }

    fn read_user(&self, name: &str) -> rusqlite::Result<Option<User>> {
        let transaction = self.connection.unchecked_transaction()?;
        let found = transaction.query_row(
            "SELECT id, locked, virtual, uid, gid, home, maildrop FROM user WHERE name = ?1",
            [name],
            |row| {
                let path = |at| row.get::<_, Option<String>>(at).map(|path| path.map(PathBuf::from));
                let ids = row.get::<_, Option<u32>>(3)?.zip(row.get(4)?);
                let owner = Owner { ids, home: path(5)?, maildrop: path(6)? };
                let owner = row.get::<_, bool>(2)?.then_some(owner);
                let user = User { locked: row.get(1)?, owner, apop: None, passwords: Vec::new() };
                Ok((row.get::<_, i64>(0)?, user))
            },
        );
        let Some((id, mut user)) = found.optional()? else { return Ok(None) };
        let mut entries =
            transaction.prepare("SELECT type, sealed, verifier FROM entry WHERE user = ?1 ORDER BY id")?;
        let mut rows = entries.query([id])?;
        while let Some(row) = rows.next()? {
            match SecretType::parse(row.get_ref(0)?.as_str()?) {
                Some(SecretType::Apop) => user.apop = row.get(1)?,
                Some(SecretType::Pop) => {
                    user.passwords.push(Secret::new(row.get::<_, String>(2)?.into_bytes()));
                }
                // For other programs.
                Some(SecretType::Imap) | None => {}
            }
        }
        Ok(Some(user))
    }

    /// Opens the sealed APOP secret of a user's.
    ///
    /// # Errors
    /// The entry is damaged or was another user's.
    pub(crate) fn unseal(&self, key: &Key, user: &str, sealed: &[u8]) -> Result<Secret> {
        key.unseal(user, SecretType::Apop, sealed).ok_or_else(|| {
            refused(format!("the APOP entry of {user} in {} does not open", self.path.display()))
        })
    }

    /// All entries, or those of one type, by name and type.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn list(&self, kind: Option<SecretType>) -> Result<Vec<Listed>> {
        let read = || {
            let mut entries = self.connection.prepare(
                "SELECT user.name, entry.type, entry.label, user.locked, user.virtual \
                 FROM entry JOIN user ON user.id = entry.user \
                 WHERE ?1 IS NULL OR entry.type = ?1 ORDER BY user.name, entry.type, entry.label",
            )?;
            let rows = entries.query_map([kind.map(SecretType::as_str)], |row| {
                let word: String = row.get(1)?;
                let kind = SecretType::parse(&word).ok_or(rusqlite::Error::InvalidQuery)?;
                Ok(Listed {
                    user: row.get(0)?,
                    kind,
                    label: row.get(2)?,
                    locked: row.get(3)?,
                    is_virtual: row.get(4)?,
                })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|cause| fault(&self.path, &cause))
    }

    /// Adds an entry. The key has been taken from [`Store::key`]; when it was changed meanwhile, nothing is added.
    ///
    /// # Errors
    /// The user has entries of the other sort, system or virtual; or the system's.
    pub(crate) fn add(&mut self, key: &Key, new: &NewEntry<'_>) -> Result<Added> {
        let (sealed, verifier) = match new.material {
            Material::Sealed(secret) => (Some(key.seal(new.user, new.kind, secret)?), None),
            Material::Verifier(hash) => (None, Some(String::from_utf8_lossy(hash.expose()))),
        };
        let (now, key_id) = (i64::try_from(clock::wall().as_secs()).unwrap_or(i64::MAX), *key.id());
        self.write(|transaction, mechanisms| {
            let current: Vec<u8> = transaction.query_row("SELECT key_id FROM meta", [], |row| row.get(0))?;
            if current != key_id {
                return Ok(Err(Error::new(Kind::Temporary, "the key was changed meanwhile; try again")));
            }
            let Some(user) = user_row(transaction, new)? else {
                let (user, sort) = (new.user, if new.owner.is_some() { "system" } else { "virtual" });
                let what =
                    format!("{user} has entries as a {sort} user: mailauth remove {user} removes them");
                return Ok(Err(refused(what)));
            };
            let added = transaction.execute(
                "INSERT INTO entry (user, type, label, sealed, verifier, made, changed) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT (user, type, label) DO NOTHING",
                params![user, new.kind.as_str(), new.label, sealed, verifier, now],
            )?;
            let first = new.kind == SecretType::Apop && mechanisms.is_empty();
            Ok(Ok(if added == 1 { Added::Yes { first } } else { Added::Exists }))
        })?
    }

    /// Removes all entries of a user, or those of one type or label; how many. A user without entries is forgotten, unless locked.
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
            transaction.execute(
                "DELETE FROM user WHERE name = ?1 AND NOT locked AND NOT EXISTS (SELECT 1 FROM entry WHERE user = user.id)",
                [name],
            )?;
            Ok(removed)
        })
    }

    /// Changes the database and then, still holding its lock, the flag file. `change` gets what was announced before.
    pub(super) fn write<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>, &[&str]) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let failed_here = |cause: rusqlite::Error| fault(&self.path, &cause);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed_here)?;
        let before = if version_of(&transaction).map_err(failed_here)? == 0 {
            Vec::new()
        } else {
            mechanisms(&transaction).map_err(failed_here)?
        };
        let done = change(&transaction, &before).map_err(failed_here)?;
        let after = mechanisms(&transaction).map_err(failed_here)?;
        announce::write(&self.directory, &after)
            .map_err(|cause| failed("write the announcement beside", &self.path, cause))?;
        match transaction.commit() {
            Ok(()) => Ok(done),
            Err(cause) => {
                // As it was; when that fails too, the next change mends it.
                let _ = announce::write(&self.directory, &before);
                Err(fault(&self.path, &cause))
            }
        }
    }
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

/// The mechanisms that some entry of a user who is not locked can use.
fn mechanisms(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<&'static str>> {
    let apop = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM entry JOIN user ON user.id = entry.user \
         WHERE entry.type = 'APOP' AND NOT user.locked)",
        [],
        |row| row.get(0),
    )?;
    Ok(if apop { vec!["APOP"] } else { Vec::new() })
}

fn version_of(connection: &Connection) -> rusqlite::Result<u32> {
    number(connection, "user_version")
}

fn number<T: rusqlite::types::FromSql>(connection: &Connection, pragma: &str) -> rusqlite::Result<T> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

fn file_name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| refused(format!("{} is no name of a file", path.display())))
}

/// SQLite's errors in our words: what may pass, and what somebody has to mend.
pub(super) fn fault(path: &Path, cause: &rusqlite::Error) -> Error {
    let shown = path.display();
    let (kind, what) = match cause.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Kind::Temporary, format!("{shown} is in use by another program; try again"))
        }
        Some(ErrorCode::DiskFull) => (Kind::Temporary, format!("cannot write {shown}: the disk is full")),
        Some(ErrorCode::OutOfMemory | ErrorCode::SystemIoFailure) => {
            (Kind::Temporary, format!("cannot use {shown}: {cause}"))
        }
        Some(ErrorCode::NotADatabase) => (Kind::Permanent, format!("{shown} is no SQLite database")),
        Some(ErrorCode::DatabaseCorrupt) => {
            (Kind::Permanent, format!("{shown} is damaged: bring it back from a backup"))
        }
        _ => (Kind::Permanent, format!("cannot use {shown}: {cause}")),
    };
    Error::new(kind, what).tell(TOLD)
}

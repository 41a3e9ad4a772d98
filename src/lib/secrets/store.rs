//! The open database: whether it can be trusted, its key, its transactions. `read.rs` and `change.rs` are what is done with it.
//! Whoever opens it has the owner's ids.
//!
//! It is opened for writing even to read: a reader has to roll back what a killed writer left. Writers take the lock first
//! (BEGIN IMMEDIATE) and wait for each other for up to two seconds.

mod aside;
mod batch;
mod change;
mod limit;
mod read;
mod rekey;
mod seen;

pub(crate) use batch::Batch;
pub(crate) use change::{Added, Material, NewEntry};
pub(crate) use limit::Change;
pub(super) use read::Known;
pub(crate) use read::{Entry, Listed, Owner, Shown, User};
pub(crate) use seen::Seen;

use super::seal::{self, Key, KeyId};
use super::{Places, TOLD, announce, exists, failed, guard, refused, schema};
use crate::error::{Error, Kind, Result};
use crate::sys::clock;
use crate::sys::directory::Directory;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one waits for another program's transaction. Each takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often one looks again meanwhile. SQLite's own pauses grow to a tenth of a second: among many writers some would then miss
/// every gap.
const PAUSE: Duration = Duration::from_millis(3);

/// How often the key may be changed while one reads it and what it seals.
const RACES: usize = 8;

/// What to do with a database that cannot be used any more.
pub(super) const RUINED: &str = "mailauth init --clear sets it aside and makes an empty one, and mailauth import brings back \
                                 a backup (\"A damaged database\" in mailauth(8))";

/// What making a database did to the one that was there.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// How many entries were removed.
    pub(crate) removed: i64,
    /// Where the one is that could not be used.
    pub(crate) aside: Option<PathBuf>,
}

/// The open database.
pub(crate) struct Store {
    connection: Connection,
    directory: Directory,
    path: PathBuf,
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
            let salts = new_salts()?;
            store.write(|transaction, _| schema::migrate(transaction, version, &salts))?;
        }
        Ok(store)
    }

    /// Makes the database with this key. One that is there is emptied and gets the key when `clear` is set; one that cannot be
    /// used any more is set aside then.
    ///
    /// # Errors
    /// There is one that must not be cleared, or that a newer program made; or the system's.
    pub(super) fn create(places: &Places, key: &Key, clear: bool) -> Result<Made> {
        let (_, directory) = guard::directory(super::parent(&places.database)?)?;
        let name = file_name(&places.database)?;
        let look = || directory.status(name).map_err(|cause| failed("look at", &places.database, cause));
        let mut found = look()?;
        let mut aside = None;
        if found.is_some_and(|found| found.identity.size > 0) {
            if !clear {
                return Err(refused(format!("{} is there already", places.database.display())));
            }
            if Self::is_ruined(places)? {
                aside = Some(aside::set_aside(&directory, &places.database)?);
                found = look()?;
            }
        }
        // What a killed `init` left is empty.
        let fresh = found.is_none_or(|found| found.identity.size == 0);
        if found.is_none() {
            // SQLite makes readable files; ours is made before.
            directory.create(name, 0o600).map_err(|cause| failed("make", &places.database, cause))?;
        }
        let (probe, salts) = (key.probe()?, new_salts()?);
        let mut store = Self::connect(&places.database)?;
        let version = if fresh { 0 } else { store.inspect()? };
        let removed = store.write(|transaction, _| {
            if version == 0 && version_of(transaction)? == 0 {
                schema::migrate(transaction, 0, &salts)?;
            } else if version > 0 {
                schema::migrate(transaction, version, &salts)?;
            }
            let removed = transaction.query_row("SELECT count(*) FROM entry", [], |row| row.get(0))?;
            transaction.execute("DELETE FROM user", [])?;
            transaction.execute(
                "INSERT OR REPLACE INTO meta (one, key_id, probe, salts) VALUES (1, ?1, ?2, ?3)",
                params![key.id(), probe, salts],
            )?;
            Ok(removed)
        })?;
        Ok(Made { removed, aside })
    }

    /// Whether the file is no database of ours, or one with damage; an error where that cannot be told.
    fn is_ruined(places: &Places) -> Result<bool> {
        let looked = Self::connect(&places.database).and_then(|store| {
            store.inspect()?;
            store.integrity()
        });
        match looked {
            Ok(faults) => Ok(!faults.is_empty()),
            Err(mut error) => match error.take_fix() {
                Some(fix) if fix == RUINED => Ok(true),
                Some(fix) => Err(error.with_fix(fix)),
                None => Err(error),
            },
        }
    }

    /// How many entries there are.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(super) fn count(&self) -> Result<i64> {
        let count = self.connection.query_row("SELECT count(*) FROM entry", [], |row| row.get(0));
        count.map_err(|cause| fault(&self.path, &cause))
    }

    fn connect(path: &Path) -> Result<Self> {
        let (real, directory) = guard::directory(super::parent(path)?)?;
        let name = file_name(path)?;
        guard::file(&real.join(name), "0600").map(drop)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(real.join(name), flags).and_then(|mut connection| {
            connection.busy_handler(Some(wait_a_little))?;
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
            return Err(refused(format!("{shown} is cut off")).with_fix(RUINED));
        }
        if application != schema::APPLICATION || version == 0 {
            return Err(refused(format!("{shown} is a database of another program")).with_fix(RUINED));
        }
        if version > schema::VERSION {
            let known = schema::VERSION;
            return Err(refused(format!(
                "{shown} has version {version} and this program knows {known}: use the newer program"
            )));
        }
        Ok(version)
    }

    /// The key that opens the database: the key file's, or after an interrupted `rekey` that of the new one beside it.
    ///
    /// # Errors
    /// The key file cannot be used, or is that of another database.
    pub(crate) fn key(&self, places: &Places) -> Result<Key> {
        let mut wanted = self.lock_row()?;
        for _ in 0..RACES {
            let found = find_key(places, &wanted);
            let now = self.lock_row()?;
            match found {
                Ok(Some(key)) => return Ok(key),
                // Not changed meanwhile: it stays so.
                _ if now.id == wanted.id => {
                    let (key, shown) = (places.key.display(), self.path.display());
                    return found.and(Err(refused(format!(
                        "{key} is not the key of {shown}: bring the right one back from a backup"
                    ))));
                }
                _ => wanted = now,
            }
        }
        Err(Error::new(Kind::Temporary, "the key was changed again and again; try again").tell(TOLD))
    }

    /// Which key is the database's, and what it was tried with.
    fn lock_row(&self) -> Result<LockRow> {
        let row = self.connection.query_row("SELECT key_id, probe FROM meta", [], |row| {
            Ok(LockRow { id: row.get(0)?, probe: row.get(1)? })
        });
        row.map_err(|cause| fault(&self.path, &cause))
    }

    /// What SQLite finds wrong inside the file.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(super) fn integrity(&self) -> Result<Vec<String>> {
        let look = || {
            let mut found: Vec<String> = Vec::new();
            let mut lines = self.connection.prepare("PRAGMA integrity_check(20)")?;
            for line in lines.query_map([], |row| row.get::<_, String>(0))? {
                found.push(line?);
            }
            found.retain(|line| line != "ok");
            let mut orphans = self.connection.prepare("PRAGMA foreign_key_check")?;
            for table in orphans.query_map([], |row| row.get::<_, String>(0))? {
                found.push(format!("a row of {} has no user", table?));
            }
            Ok(found)
        };
        look().map_err(|cause| fault(&self.path, &cause))
    }

    /// Whether the flag file says what the entries can use.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(super) fn announces_rightly(&self) -> Result<bool> {
        let transaction =
            self.connection.unchecked_transaction().map_err(|cause| fault(&self.path, &cause))?;
        let wanted = announcement(&transaction).map_err(|cause| fault(&self.path, &cause))?;
        Ok(announce::says(&self.directory, &wanted))
    }

    /// Changes the database and then, still holding its lock, the flag file. `change` gets what was announced before.
    pub(super) fn write<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>, &[String]) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let failed_here = |cause: rusqlite::Error| fault(&self.path, &cause);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed_here)?;
        let before = if version_of(&transaction).map_err(failed_here)? == 0 {
            Vec::new()
        } else {
            announcement(&transaction).map_err(failed_here)?
        };
        let done = change(&transaction, &before).map_err(failed_here)?;
        let after = announcement(&transaction).map_err(failed_here)?;
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

/// Whether APOP is among these words of an announcement.
pub(super) fn has_apop(announcement: &[String]) -> bool {
    announcement.iter().any(|word| word == APOP)
}

const APOP: &str = "APOP";

/// The mechanisms that some entry of a user who is not locked can use, and the longest time between two logins that is set for a user.
fn announcement(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<String>> {
    let apop = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM entry JOIN user ON user.id = entry.user \
         WHERE entry.type = 'APOP' AND NOT user.locked)",
        [],
        |row| row.get(0),
    )?;
    let mut words = if apop { vec![APOP.to_owned()] } else { Vec::new() };
    if version_of(transaction)? >= schema::LIMITS {
        let longest: Option<u32> =
            transaction.query_row("SELECT max(login_delay) FROM user", [], |row| row.get(0))?;
        words.extend(longest.map(|seconds| format!("LOGIN-DELAY {seconds}")));
    }
    Ok(words)
}

/// One line of the table that names the key.
struct LockRow {
    id: KeyId,
    probe: Vec<u8>,
}

/// The key file that fits, of the two that there may be; none when both are others.
fn find_key(places: &Places, wanted: &LockRow) -> Result<Option<Key>> {
    let fits = |key: &Key| key.id() == &wanted.id && key.opens(&wanted.probe);
    let usual = Key::load(&places.key);
    if let Ok(key) = usual
        && fits(&key)
    {
        return Ok(Some(key));
    }
    match Key::load(&places.new_key()) {
        Ok(key) if fits(&key) => Ok(Some(key)),
        _ => Key::load(&places.key).map(|_| None),
    }
}

fn new_salts() -> Result<[u8; seal::SALTS]> {
    let mut salts = [0; seal::SALTS];
    seal::fill(&mut salts)?;
    Ok(salts)
}

/// What SQLite calls when somebody else has the lock; false ends the waiting. `count` is how often it was called for this lock.
pub(super) fn wait_a_little(count: i32) -> bool {
    let most = PATIENCE.as_millis() / PAUSE.as_millis();
    if u128::from(count.unsigned_abs()) >= most {
        return false;
    }
    clock::wait(PAUSE);
    true
}

fn version_of(connection: &Connection) -> rusqlite::Result<u32> {
    number(connection, "user_version")
}

pub(super) fn number<T: rusqlite::types::FromSql>(
    connection: &Connection,
    pragma: &str,
) -> rusqlite::Result<T> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

pub(super) fn file_name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| refused(format!("{} is no name of a file", path.display())))
}

/// SQLite's errors in our words: what may pass, and what somebody has to mend.
pub(super) fn fault(path: &Path, cause: &rusqlite::Error) -> Error {
    let shown = path.display();
    let permanent = |what: String| Error::new(Kind::Permanent, what).tell(TOLD);
    let temporary = |what: String| Error::new(Kind::Temporary, what).tell(TOLD);
    match cause.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            temporary(format!("{shown} is in use by another program; try again"))
        }
        Some(ErrorCode::DiskFull) => temporary(format!("cannot write {shown}: the disk is full")),
        Some(ErrorCode::OutOfMemory | ErrorCode::SystemIoFailure) => {
            temporary(format!("cannot use {shown}: {cause}"))
        }
        Some(ErrorCode::NotADatabase) => permanent(format!("{shown} is no SQLite database")).with_fix(RUINED),
        Some(ErrorCode::DatabaseCorrupt) => permanent(format!("{shown} is damaged")).with_fix(RUINED),
        _ => permanent(format!("cannot use {shown}: {cause}")),
    }
}

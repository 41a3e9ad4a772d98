//! `state.db`: what happens with users and entries. By itself it decides nothing: losing it costs knowledge, no login. Under
//! enhanced security it has the counters too, and then nobody gets in without it.
//!
//! Times of last use are written after the answer to a login was given, by the child that became the owner. Nothing waits for the disk
//! (`synchronous = OFF`: a killed process leaves it whole, a power cut may not), nobody waits longer than a tenth of a second for
//! another writer, and a damaged file is set aside and begun anew. Under enhanced security everything that is written survives a
//! power cut (`Care::Durable`), and a damaged file stays for the administrator to see. `counters.rs` is what is counted.

mod counters;

pub(crate) use counters::{Attempt, Count, Logins, Range, Tally, Visit, Written};

use super::store::{fault, file_name, number, wait_a_little};
use super::{Places, SecretType, exists, failed, guard, refused};
use crate::error::{Error, Result};
use crate::sys::directory::Directory;
use crate::sys::file;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a login may be delayed by another writer.
const PATIENCE: Duration = Duration::from_millis(100);

/// Tells our files from those of other programs (`PRAGMA application_id`): "pops".
const APPLICATION: i32 = 0x706f_7073;

/// `PRAGMA user_version`.
const VERSION: u32 = 2;

/// `used`: when each entry was good for a login the last time. `login`: of each user, times (seconds since 1970) and places (the
/// client's address) of the last login that was good and the last that was not, and how many were not since the last good one.
const SCHEMA: &str = "
    CREATE TABLE used (
        user TEXT NOT NULL,
        type TEXT NOT NULL,
        label TEXT NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (user, type, label)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE login (
        user TEXT NOT NULL PRIMARY KEY,
        good INTEGER,
        good_place TEXT,
        bad INTEGER,
        bad_place TEXT,
        failures INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;";

/// What version 2 adds. `counted`: the time of the last one in `failures`, which not every refused login is. `range`: of each user and address range, wrong passwords, the time of the last one, and the time of the last
/// login. `address`: of each range wrong passwords for whomever, and the time of the last one.
const SCHEMA_2: &str = "
    ALTER TABLE login ADD COLUMN counted INTEGER;
    CREATE TABLE range (
        user TEXT NOT NULL,
        network TEXT NOT NULL,
        failures INTEGER NOT NULL DEFAULT 0,
        bad INTEGER NOT NULL DEFAULT 0,
        good INTEGER,
        PRIMARY KEY (user, network)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE address (
        network TEXT NOT NULL PRIMARY KEY,
        failures INTEGER NOT NULL,
        bad INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;";

/// What has to become of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// It may be lost, and nobody waits for it.
    Quick,
    /// It survives a power cut.
    Durable,
}

/// What to do with a file that cannot be read any more.
pub(super) const REMEDY: &str = "remove state.db and state.db-journal: counters of wrong passwords and times of last use are lost, nothing else";

/// Which entry was good for a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// The user's name in the database.
    pub(crate) user: String,
    /// What the entry is for.
    pub(crate) kind: SecretType,
    /// Tells the application passwords of a user apart.
    pub(crate) label: String,
}

/// The open file.
pub(crate) struct State {
    connection: Connection,
    path: PathBuf,
}

impl State {
    /// Opens it; `None` when nothing was written yet.
    ///
    /// # Errors
    /// It is damaged, of a newer version, another program's, or somebody else may use it.
    pub(crate) fn open(places: &Places) -> Result<Option<Self>> {
        if exists(&places.state())? {
            Ok(Some(Self::connect(places, false, Care::Durable)?))
        } else {
            Ok(None)
        }
    }

    /// Notes that an entry was used, at this time in seconds since 1970.
    ///
    /// # Errors
    /// It cannot be noted; that is of no importance for a login.
    pub(crate) fn note(places: &Places, used: &Use, now: i64, care: Care) -> Result<()> {
        let state = match Self::connect(places, true, care) {
            Err(Trouble::Damaged(_)) if care == Care::Quick => {
                set_aside(places)?;
                Self::connect(places, true, care)?
            }
            connected => connected?,
        };
        let written = state.connection.execute(
            "INSERT INTO used (user, type, label, last) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET last = max(last, excluded.last)",
            params![used.user, used.kind.as_str(), used.label, now],
        );
        written.map(drop).map_err(|cause| fault(&state.path, &cause))
    }

    /// Whether it can be written, or made where it is not there. Nothing is written.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn try_to_write(places: &Places) -> Result<()> {
        let path = places.state();
        let (real, _) = guard::directory(super::parent(&path)?)?;
        // The journal is made beside it.
        file::may_write(&real).map_err(|cause| failed("write to", &real, cause))?;
        let Some(mut state) = Self::open(places)? else { return Ok(()) };
        let tried = state.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        tried.and_then(Transaction::rollback).map_err(|cause| fault(&path, &cause))
    }

    /// When an entry was used last, in seconds since 1970: not before it was made.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn last_use(&self, used: &Use, made: i64) -> Result<Option<i64>> {
        let read = self.connection.query_row(
            "SELECT max(last) FROM used WHERE user = ?1 AND type = ?2 AND label = ?3 AND last >= ?4",
            params![used.user, used.kind.as_str(), used.label, made],
            |row| row.get(0),
        );
        read.map_err(|cause| fault(&self.path, &cause))
    }

    /// Forgets what was noted of entries that are removed: those of a user, of one type or label when told.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn forget(&self, user: &str, kind: Option<SecretType>, label: Option<&str>) -> Result<()> {
        let done = self.connection.execute(
            "DELETE FROM used WHERE user = ?1 AND (?2 IS NULL OR type = ?2) AND (?3 IS NULL OR label = ?3)",
            params![user, kind.map(SecretType::as_str), label],
        );
        done.map(drop).map_err(|cause| fault(&self.path, &cause))
    }

    /// What SQLite finds wrong inside the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn integrity(&self) -> Result<Vec<String>> {
        let look = || {
            let mut lines = self.connection.prepare("PRAGMA integrity_check(20)")?;
            let lines = lines.query_map([], |row| row.get::<_, String>(0))?;
            lines.filter(|line| !matches!(line.as_deref(), Ok("ok"))).collect::<rusqlite::Result<_>>()
        };
        look().map_err(|cause| fault(&self.path, &cause))
    }

    fn connect(places: &Places, make: bool, care: Care) -> std::result::Result<Self, Trouble> {
        let path = places.state();
        let (real, directory) = guard::directory(super::parent(&path)?)?;
        let name = file_name(&path)?;
        if make && directory.status(name).map_err(|cause| failed("look at", &path, cause))?.is_none() {
            // SQLite makes readable files. Another one may make it at the same time.
            let _ = directory.create(name, 0o600);
        }
        guard::file(&real.join(name), "0600")?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let ready = Connection::open_with_flags(real.join(name), flags).and_then(|mut connection| {
            match care {
                Care::Quick => connection.busy_timeout(PATIENCE)?,
                Care::Durable => connection.busy_handler(Some(wait_a_little))?,
            }
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            connection.execute_batch(match care {
                Care::Quick => "PRAGMA temp_store = MEMORY; PRAGMA synchronous = OFF;",
                // The journal is emptied and not removed: one directory less to wait for.
                Care::Durable => {
                    "PRAGMA temp_store = MEMORY; PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL;"
                }
            })?;
            let ours = prepare(&mut connection)?;
            Ok((connection, ours))
        });
        match ready {
            Ok((connection, None)) => Ok(Self { connection, path }),
            Ok((_, Some(why))) => Err(refused(format!("{} {why}", path.display())).into()),
            Err(cause) => Err(Trouble::of(&path, &cause)),
        }
    }
}

/// Why it cannot be opened.
enum Trouble {
    Damaged(Error),
    Other(Error),
}

impl Trouble {
    fn of(path: &Path, cause: &rusqlite::Error) -> Self {
        let damaged =
            matches!(cause.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt));
        let error = fault(path, cause);
        if damaged { Self::Damaged(error) } else { error.into() }
    }

    /// The error for who must not go on without the file, with what to type against it.
    fn unmended(self) -> Error {
        match self {
            Self::Damaged(error) => error.with_fix(REMEDY),
            Self::Other(error) => error,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Damaged(error) | Trouble::Other(error) => error,
        }
    }
}

/// Makes the tables in an empty file; what is wrong with one that is not empty.
fn prepare(connection: &mut Connection) -> rusqlite::Result<Option<String>> {
    let look = |connection: &Connection| {
        Ok::<_, rusqlite::Error>((
            number::<i32>(connection, "application_id")?,
            number::<u32>(connection, "user_version")?,
        ))
    };
    // In one transaction: between two reads another process may have made the tables.
    let mut found = look(&*connection.transaction()?)?;
    let is_old = |found| found == (0, 0) || found == (APPLICATION, 1);
    if is_old(found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = look(&transaction)?;
        if now == (0, 0) {
            transaction.execute_batch(SCHEMA)?;
        }
        if is_old(now) {
            transaction.execute_batch(SCHEMA_2)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        transaction.commit()?;
        found = look(connection)?;
    }
    Ok(match found {
        (APPLICATION, VERSION) => None,
        (APPLICATION, newer) => Some(format!("has version {newer} and this program knows {VERSION}")),
        _ => Some("is a database of another program".to_owned()),
    })
}

/// Keeps a damaged file for whoever wants to know why, out of the way.
fn set_aside(places: &Places) -> Result<()> {
    let path = places.state();
    let moved = Directory::open(super::parent(&path)?).and_then(|directory| {
        let (name, journal) = ("state.db", "state.db-journal");
        directory.remove(journal)?;
        directory.rename(name, "state.db.damaged")
    });
    moved.map_err(|cause| failed("set aside", &path, cause))
}

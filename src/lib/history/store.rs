//! The database `history.db`: whether it can be used. `moving.rs` brings lines of the log into it, `read.rs` asks both.
//!
//! Only who owns the state directory uses it. It is opened for writing even to read: a reader has to roll back what a killed
//! writer left. Writers take the lock first (BEGIN IMMEDIATE), and everybody waits for the others for up to two seconds.

mod moving;
mod read;

pub(crate) use moving::{Moved, move_log};
pub(crate) use read::{History, LastLogin, Totals};

use super::schema;
use crate::error::{Error, Kind, Result};
use crate::sys::clock;
use crate::sys::directory::Directory;
use crate::sys::file::{self, FileKind, Status};
use crate::sys::privileges;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The database's file.
const DATABASE: &str = "history.db";

/// How long one waits for another program's transaction.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often one looks again meanwhile.
const PAUSE: Duration = Duration::from_millis(3);

/// The directory with log and database, open, with its path without links: what has to be looked up before a fence closes.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) path: PathBuf,
    pub(super) directory: Directory,
    /// Whose it is, and so the database.
    owner: u32,
}

impl Place {
    /// The state directory.
    ///
    /// # Errors
    /// It is missing or cannot be entered.
    pub(crate) fn open(state_dir: &Path) -> Result<Self> {
        let failed = |cause| Error::io(format!("cannot open {}", state_dir.display()), cause);
        let path = fs::canonicalize(state_dir).map_err(failed)?;
        let directory = Directory::open(&path).map_err(failed)?;
        let found = file::status(&directory).map_err(failed)?;
        if privileges::is_root() && (found.uid != 0 || found.mode & 0o022 != 0) {
            let shown = path.display();
            return Err(refused(format!("others than root can change {shown}"))
                .with_fix(format!("chown root {shown} && chmod go-w {shown}")));
        }
        Ok(Self { path, directory, owner: found.uid })
    }

    /// The directory, for a fence around it.
    pub(crate) const fn directory(&self) -> &Directory {
        &self.directory
    }

    fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Whether there is a database. One that somebody else may change is none of ours.
    fn finds_database(&self) -> Result<bool> {
        let shown = self.database();
        let found = self.directory.status(DATABASE);
        match found.map_err(|cause| Error::io(format!("cannot look at {}", shown.display()), cause))? {
            None => Ok(false),
            Some(found) if self.trusts(&found) => Ok(true),
            Some(_) => {
                let shown = shown.display();
                Err(refused(format!("{shown} is not a file that only its owner can change"))
                    .with_fix(format!("chown root {shown} && chmod 0600 {shown}, or set it aside")))
            }
        }
    }

    fn trusts(&self, found: &Status) -> bool {
        found.kind == FileKind::Regular && found.uid == self.owner && found.mode & 0o022 == 0
    }

    /// Opens the database, made when it is missing.
    fn create(&self) -> Result<Connection> {
        if !self.finds_database()? {
            // SQLite would make one that others may read. Somebody else may have been faster.
            match self.directory.create(DATABASE, 0o600) {
                Err(cause) if cause.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::io(format!("cannot make {}", self.database().display()), cause));
                }
                _ => {}
            }
        }
        let mut connection = self.connect()?;
        let path = self.database();
        let failed = |cause: rusqlite::Error| fault(&path, &cause);
        let version = inspect(&connection, &path)?;
        if version == 0 {
            // Then what retention frees can be given back.
            connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").map_err(failed)?;
        }
        if version < schema::VERSION {
            let transaction = connection
                .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
                .map_err(failed)?;
            // Once more, with the lock.
            let version = inspect(&transaction, &path)?;
            schema::migrate(&transaction, version).and_then(|()| transaction.commit()).map_err(failed)?;
        }
        Ok(connection)
    }

    fn connect(&self) -> Result<Connection> {
        let path = self.database();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(&path, flags).and_then(|mut connection| {
            connection.busy_handler(Some(wait_a_little))?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            // EXTRA: a commit lasts before lines are removed from the log.
            connection.execute_batch(
                "PRAGMA temp_store = MEMORY; PRAGMA synchronous = EXTRA; \
                 PRAGMA cell_size_check = ON;",
            )?;
            Ok(connection)
        });
        connection.map_err(|cause| fault(&path, &cause))
    }
}

/// The version of a database of ours; 0 of an empty one.
fn inspect(connection: &Connection, path: &Path) -> Result<u32> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let look = || Ok((number("application_id")?, number("user_version")?, number("page_count")?));
    let (application, version, pages) = look().map_err(|cause| fault(path, &cause))?;
    // One page: it was about to be made.
    if pages <= 1 && application == 0 && version == 0 {
        return Ok(0);
    }
    let shown = path.display();
    if application != i64::from(schema::APPLICATION) {
        return Err(refused(format!("{shown} is a database of another program"))
            .with_fix("set it aside, and a new one is made"));
    }
    let known = schema::VERSION;
    u32::try_from(version).ok().filter(|version| *version <= known).ok_or_else(|| {
        refused(format!(
            "{shown} has version {version} and this program knows {known}: use the newer program"
        ))
    })
}

fn refused(what: String) -> Error {
    Error::new(Kind::Permanent, what)
}

/// What SQLite calls when somebody else has the lock; false ends the waiting. `count` is how often it was called for this lock.
fn wait_a_little(count: i32) -> bool {
    let most = PATIENCE.as_millis() / PAUSE.as_millis();
    if u128::from(count.unsigned_abs()) >= most {
        return false;
    }
    clock::wait(PAUSE);
    true
}

/// SQLite's errors in our words.
fn fault(path: &Path, cause: &rusqlite::Error) -> Error {
    let shown = path.display();
    let aside = "set it aside, and a new one is made";
    match cause.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::new(Kind::Temporary, format!("{shown} is in use by another program; try again"))
        }
        Some(ErrorCode::DiskFull) => {
            Error::new(Kind::Temporary, format!("cannot write {shown}: the disk is full"))
        }
        Some(ErrorCode::NotADatabase) => refused(format!("{shown} is no SQLite database")).with_fix(aside),
        Some(ErrorCode::DatabaseCorrupt) => refused(format!("{shown} is damaged")).with_fix(aside),
        Some(ErrorCode::OutOfMemory | ErrorCode::SystemIoFailure) => {
            Error::new(Kind::Temporary, format!("cannot use {shown}: {cause}"))
        }
        _ => refused(format!("cannot use {shown}: {cause}")),
    }
}

//! The secrets database: who has which secret, sealed under a key that lies elsewhere.
//!
//! `/var/lib/poptools/auth/` (pop:pop 0700) has `mailauth.db` (0600) and `announce` (what is worth announcing to clients); the key is
//! `/etc/poptools/mailauth.key` (pop:pop 0400). `state.db` beside the database is when what was used last. Owner and mode of all are looked at whenever they are opened. Who opens them has
//! the ids of `pop` and nobody else's: [`owner`] says whom to become. Without root's rights everything belongs to the one user.

mod announce;
mod attempts;
mod check;
pub(crate) mod delegate;
pub(crate) mod export;
mod guard;
pub(crate) mod import;
mod limits;
mod rekey;
mod rules;
mod schema;
pub(crate) mod scram;
mod seal;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use announce::announced;
pub(crate) use attempts::Attempt;
pub(crate) use check::{Finding as Found, Rules, check, check_briefly};
pub(crate) use limits::{Limited, Limits, LimitsText};
pub(crate) use rekey::{Held, rekey};
pub(crate) use rules::{LONGEST, SHORTEST, fault, impossible};
pub(crate) use seal::Key;
pub(crate) use state::{
    Attempt as LoginAttempt, Care, Count, Logins, Range, State, Tally, Use, Visit, Written,
};
pub(crate) use store::{
    Added, Batch, Change, Entry, Listed, Made, Material, NewEntry, Owner, Seen, Shown, Store, User,
};

use crate::config::Config;
use crate::config::defaults::USERADD;
use crate::error::{Error, Kind, Result};
use crate::sys::privileges::{self, Ids};
use std::fmt;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The system user that owns database and key.
pub(crate) const OWNER: &str = "pop";

/// What the client hears when the database cannot be asked.
const TOLD: &str = "secrets cannot be checked, please tell the administrator";

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum SecretType {
    /// A secret for APOP (RFC 1939, section 7), which the server has to know: sealed.
    Apop,
    /// An application password for PASS: a verifier alone. A user may have several.
    Pop,
    /// A secret for other programs that use the database (CRAM-MD5): sealed.
    Imap,
}

impl SecretType {
    /// The type that a word in the database means.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Apop, Self::Pop, Self::Imap].into_iter().find(|known| known.as_str() == word)
    }

    /// The word in the database, as the original wrote it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Apop => "APOP",
            Self::Pop => "POP",
            Self::Imap => "IMAP",
        }
    }
}

impl fmt::Display for SecretType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where database and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// `auth.secrets`.
    pub(crate) database: PathBuf,
    /// `auth.key`.
    pub(crate) key: PathBuf,
}

impl Places {
    /// Those of a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        Self { database: config.auth.secrets.clone(), key: config.auth.key.clone() }
    }

    /// Where a new key lies until it takes the place of the other.
    pub(crate) fn new_key(&self) -> PathBuf {
        let mut name = self.key.clone().into_os_string();
        name.push(".new");
        name.into()
    }

    /// Where it stands when what was used last.
    pub(crate) fn state(&self) -> PathBuf {
        self.database.with_file_name("state.db")
    }

    /// Who owns the directory of the database; none where it is not there or cannot be seen.
    pub(crate) fn directory_owner(&self) -> Option<u32> {
        let directory = self.database.parent()?;
        Some(std::fs::metadata(directory).ok()?.uid())
    }

    /// Whether there is a database, or something in its place.
    ///
    /// # Errors
    /// That cannot be seen.
    pub(crate) fn database_exists(&self) -> Result<bool> {
        exists(&self.database)
    }
}

/// Whom to become before database or key are opened; `None` where everything belongs to the one user that we are.
///
/// # Errors
/// We are root, and there is no user `pop`.
pub(crate) fn owner() -> Result<Option<Ids>> {
    if !privileges::is_root() {
        return Ok(None);
    }
    privileges::first_user(&[OWNER]).map(Some).ok_or_else(|| {
        Error::new(Kind::Config, format!("there is no user {OWNER}, who owns the secrets: {USERADD} {OWNER}"))
            .tell(TOLD)
    })
}

/// The first half of a new database: its directory and its key, for `owner` (none: for ourselves). What is there already stays.
/// While what it returns lives, nobody changes the key.
///
/// # Errors
/// Something cannot be made, or the key is being changed.
pub(crate) fn prepare(places: &Places, owner: Option<&Ids>) -> Result<Held> {
    let directory = parent(&places.database)?;
    let (passable, above_key) = if owner.is_some() { (0o711, 0o755) } else { (0o700, 0o700) };
    make_directories(parent(directory)?, passable)?;
    make_directories(parent(&places.key)?, above_key)?;
    make_directories(directory, 0o700)?;
    if let Some(ids) = owner {
        give(directory, ids)?;
    }
    if !exists(&places.key)? {
        Key::generate()?.create(&places.key, owner)?;
    }
    rekey::hold(&places.key)
}

/// The second half, with the ids of the owner: the database itself. One that is there is emptied when `clear` says so, or set
/// aside when it cannot be used.
///
/// # Errors
/// There is one already and `clear` is false, or the key cannot be used, or the system's errors.
pub(crate) fn create(places: &Places, clear: bool) -> Result<Made> {
    let key = Key::load(&places.key)?;
    Store::create(places, &key, clear)
}

/// Makes directory, key and database of an installation whose one user we are, as `pop3d --demo` does.
///
/// # Errors
/// As [`prepare`] and [`create`].
pub(crate) fn initialise(places: &Places) -> Result<()> {
    let _held = prepare(places, None)?;
    create(places, false).map(drop)
}

/// How many entries there are, with the ids of `owner`; `None` where the database cannot tell.
pub(crate) fn count(places: &Places, owner: Option<&Ids>) -> Option<i64> {
    delegate::run(owner, || Store::open(places)?.count()).ok()
}

/// Adds an entry without asking anybody, as `pop3d --demo` does. With an `owner` the user is no system user.
///
/// # Errors
/// The user has such an entry, or the database or key cannot be used.
pub(crate) fn add(
    places: &Places,
    user: &str,
    owner: Option<&Owner>,
    kind: SecretType,
    material: Material<'_>,
) -> Result<()> {
    let mut store = Store::open(places)?;
    match store.add_new(places, &NewEntry { user, owner, kind, label: "", material })? {
        Added::Yes { .. } => Ok(()),
        Added::Exists => Err(refused(format!("{user} has an entry of type {kind} already"))),
    }
}

pub(crate) fn exists(path: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(failed("look at", path, cause)),
    }
}

fn parent(path: &Path) -> Result<&Path> {
    path.parent().ok_or_else(|| refused(format!("{} is no name of a file", path.display())))
}

/// Makes what is missing on the way, with this mode whatever the mask for new files is.
fn make_directories(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_directories(above, mode)?;
    }
    let made = DirBuilder::new().mode(mode).create(path);
    let made = made.and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(mode)));
    made.map_err(|cause| failed("make", path, cause))
}

/// A directory that is still root's goes to its owner; a link, or what somebody else owns, stays and is judged when it is opened.
fn give(path: &Path, ids: &Ids) -> Result<()> {
    let failed = |cause| failed("give away", path, cause);
    let found = std::fs::symlink_metadata(path).map_err(failed)?;
    if found.is_dir() && found.uid() == 0 {
        std::os::unix::fs::lchown(path, Some(ids.uid), Some(ids.gid)).map_err(failed)?;
    }
    Ok(())
}

/// A failed system call; the client hears no path.
fn failed(verb: &str, path: &Path, cause: io::Error) -> Error {
    Error::io(format!("cannot {verb} {}", path.display()), cause).tell(TOLD)
}

/// Something is not as it has to be, and stays so until somebody mends it.
fn refused(what: String) -> Error {
    Error::new(Kind::Permanent, what).tell(TOLD)
}

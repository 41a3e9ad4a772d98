//! A new key, without a moment at which a crash loses anything.
//!
//! The new key lies beside the old one, as `KEY.new`, and is durable there before anything is sealed by it. One transaction seals
//! everything anew and says which key is the database's. Then `KEY.new` takes the place of `KEY`. Whoever opens the database takes
//! the one of the two that it names ([`super::Store::key`]), so that it opens at every moment. What an interrupted change left is
//! put in order by the next.

use super::seal::{Key, UNFINISHED};
use super::store::Store;
use super::{Places, delegate, exists, failed, parent};
use crate::error::{Error, Kind, Result};
use crate::sys::directory::Directory;
use crate::sys::file;
use crate::sys::privileges::Ids;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::Path;

/// The lock on the key file: while it is held no other process changes the key. A child keeps it too.
#[derive(Debug)]
pub(crate) struct Held {
    _file: File,
}

/// Which of the two key files is the database's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Valid {
    Usual,
    New,
}

/// Changes the key; how many secrets were sealed anew. `owner` is whom to become for the database, `None` for ourselves.
///
/// # Errors
/// Another change is going on, or the key or the database cannot be used, or the system's. The database opens in any case.
pub(crate) fn rekey(places: &Places, owner: Option<&Ids>) -> Result<usize> {
    let held = tidy(places, owner)?;
    Key::generate()?.create(&places.new_key(), owner)?;
    let sealed = delegate::run(owner, || {
        let mut store = Store::open(places)?;
        let (old, new) = (store.key(places)?, Key::load(&places.new_key())?);
        store.rekey(&old, &new)
    });
    // An error may have come after the change was made; the database knows.
    let settled = settle(places, owner);
    drop(held);
    let count = sealed?;
    settled.map(|_| count).map_err(|error| error.with_fix("mailauth rekey puts the key files in order"))
}

/// Takes the lock, and puts in order what an interrupted change left.
fn tidy(places: &Places, owner: Option<&Ids>) -> Result<Held> {
    loop {
        let held = hold(&places.key)?;
        remove_unfinished(&places.key);
        // Before anything is made: a wrong key changes nothing.
        if !exists(&places.new_key())? {
            delegate::run(owner, || Store::open(places)?.key(places).map(drop))?;
            return Ok(held);
        }
        if settle(places, owner)? == Valid::Usual {
            return Ok(held);
        }
        // Another file has the name now: it has to be locked.
    }
}

/// Removes key files that never got their name. They only take room.
fn remove_unfinished(key: &Path) {
    if let Some(directory) = key.parent().and_then(|parent| Directory::open(parent).ok()) {
        for name in directory.names(UNFINISHED).unwrap_or_default() {
            let _ = directory.remove(&name);
        }
    }
}

/// Gives the database's key its usual name, and removes the other.
fn settle(places: &Places, owner: Option<&Ids>) -> Result<Valid> {
    let valid = delegate::run(owner, || {
        let store = Store::open(places)?;
        let fits = |path: &Path| Key::load(path).is_ok_and(|key| store.is_sealed_by(&key).unwrap_or(false));
        if fits(&places.key) {
            Ok(Valid::Usual)
        } else if fits(&places.new_key()) {
            Ok(Valid::New)
        } else {
            // Says what is wrong; removes nothing.
            store.key(places).map(|_| Valid::New)
        }
    })?;
    let failed = |cause| failed("put in order the key files beside", &places.key, cause);
    let directory = Directory::open(parent(&places.key)?).map_err(failed)?;
    let (usual, new) = (super::store::file_name(&places.key)?, places.new_key());
    let new = super::store::file_name(&new)?;
    match valid {
        Valid::Usual => directory.remove(new).map(drop),
        Valid::New => directory.rename(new, usual),
    }
    .and_then(|()| directory.sync())
    .map_err(failed)?;
    Ok(valid)
}

/// Takes the lock on a key file.
///
/// # Errors
/// Another process has it, or the file cannot be opened.
pub(super) fn hold(path: &Path) -> Result<Held> {
    let failed = |cause| failed("open", path, cause);
    let directory = Directory::open(parent(path)?).map_err(failed)?;
    let name = super::store::file_name(path)?;
    let busy = || {
        Error::new(
            Kind::Temporary,
            format!("{} is being changed by another program; try again", path.display()),
        )
    };
    let key = directory.open_to_read(name).map_err(failed)?;
    match key.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy()),
        Err(TryLockError::Error(cause)) => return Err(failed(cause)),
    }
    let opened = file::status(&key).map_err(failed)?;
    let named = directory.status(name).map_err(failed)?;
    // Renamed between opening and locking: somebody has just changed the key.
    if named.is_some_and(|named| named.identity.same_file(&opened.identity)) {
        Ok(Held { _file: key })
    } else {
        Err(busy())
    }
}

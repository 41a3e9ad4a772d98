//! Another key for everything, in one transaction.

use super::{Store, fault, refused};
use crate::error::{Error, Kind, Result};
use crate::secrets::SecretType;
use crate::secrets::seal::{Key, KeyId};
use rusqlite::{Transaction, params};

impl Store {
    /// Seals everything by `new` that `old` has sealed, and makes `new` the database's key; how many secrets that were. From the
    /// commit on only `new` opens the database, so its key file has to be durable before.
    ///
    /// # Errors
    /// A secret does not open, or `old` is not the key any more, or the system's. Nothing is changed then, unless the commit itself
    /// met an error that the system had at its end: then [`Store::key`] tells.
    pub(in crate::secrets) fn rekey(&mut self, old: &Key, new: &Key) -> Result<usize> {
        let (probe, shown) = (new.probe()?, self.path.display().to_string());
        // What one of our own errors is rolls the transaction back too.
        let mut trouble = None;
        let done = self.write(|transaction, _| match seal_all(transaction, old, new, &probe, &shown)? {
            Ok(count) => Ok(count),
            Err(error) => {
                trouble = Some(error);
                Err(rusqlite::Error::InvalidQuery)
            }
        });
        trouble.map_or(done, Err)
    }

    /// Whether this key is the database's.
    pub(in crate::secrets) fn is_sealed_by(&self, key: &Key) -> Result<bool> {
        let read = self.connection.query_row("SELECT key_id, probe FROM meta", [], |row| {
            Ok((row.get::<_, KeyId>(0)?, row.get::<_, Vec<u8>>(1)?))
        });
        let (id, probe) = read.map_err(|cause| fault(&self.path, &cause))?;
        Ok(id == *key.id() && key.opens(&probe))
    }
}

fn seal_all(
    transaction: &Transaction<'_>,
    old: &Key,
    new: &Key,
    probe: &[u8],
    shown: &str,
) -> rusqlite::Result<Result<usize>> {
    let current: KeyId = transaction.query_row("SELECT key_id FROM meta", [], |row| row.get(0))?;
    if current != *old.id() {
        return Ok(Err(Error::new(Kind::Temporary, "the key was changed meanwhile; try again")));
    }
    let mut sealed = transaction.prepare(
        "SELECT entry.id, name, type, sealed FROM entry JOIN user ON user.id = entry.user WHERE sealed IS NOT NULL",
    )?;
    let rows = sealed.query_map([], |row| {
        let word: String = row.get(2)?;
        let kind = SecretType::parse(&word).ok_or(rusqlite::Error::InvalidQuery)?;
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, kind, row.get::<_, Vec<u8>>(3)?))
    })?;
    let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    for (id, user, kind, sealed) in &rows {
        let Some(secret) = old.unseal(user, *kind, sealed) else {
            let what = format!("the {kind} entry of {user} in {shown} does not open");
            return Ok(Err(
                refused(what).with_fix(format!("mailauth passwd --type {kind} {user}, or remove it"))
            ));
        };
        let again = match new.seal(user, *kind, &secret) {
            Ok(again) => again,
            Err(error) => return Ok(Err(error)),
        };
        transaction.execute("UPDATE entry SET sealed = ?2 WHERE id = ?1", params![id, again])?;
    }
    transaction.execute("UPDATE meta SET key_id = ?1, probe = ?2", params![new.id(), probe])?;
    Ok(Ok(rows.len()))
}

//! Several new entries in one transaction: all or none.

use super::SecretType;
use super::seal::Key;
use super::store::{self, Material, NewEntry, Store};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::sys::clock;
use rusqlite::{OptionalExtension, Transaction, params};

/// What became of a batch of entries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// All are there.
    Done {
        /// Whether no entry could use what is announced for them before.
        first: bool,
    },
    /// These, by their index, cannot be added, and why; nothing was changed.
    Refused(Vec<(usize, String)>),
}

/// What of a secret goes into a row, and when.
pub(super) struct Row {
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) verifier: Option<Secret>,
    pub(super) now: i64,
}

impl Store {
    /// Adds all entries or none. With `replace` one that is there gets the new secret, else it refuses the batch.
    ///
    /// # Errors
    /// The key was changed meanwhile; or the system's.
    pub(crate) fn add_all(&mut self, key: &Key, entries: &[NewEntry<'_>], replace: bool) -> Result<Batch> {
        let rows: Vec<Row> = entries
            .iter()
            .map(|entry| row(key, entry.user, entry.kind, &entry.material))
            .collect::<Result<_>>()?;
        let current = *key.id();
        self.write(|transaction, mechanisms| {
            if !is_current(transaction, &current)? {
                return Ok(Err(key_changed()));
            }
            // All are looked at before any is written: who is refused finds nothing to undo.
            let mut refused = Vec::new();
            for (index, entry) in entries.iter().enumerate() {
                refused.extend(conflict(transaction, entry, replace)?.map(|why| (index, why)));
            }
            if !refused.is_empty() {
                return Ok(Ok(Batch::Refused(refused)));
            }
            for (entry, row) in entries.iter().zip(&rows) {
                put(transaction, entry, row)?;
            }
            let apop = entries.iter().any(|entry| entry.kind == SecretType::Apop);
            Ok(Ok(Batch::Done { first: apop && mechanisms.is_empty() }))
        })?
    }

    /// What would refuse each entry of a batch: index and reason.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn conflicts(
        &self,
        entries: &[(&str, SecretType, &str, bool)],
        replace: bool,
    ) -> Result<Vec<(usize, String)>> {
        let read = || {
            let transaction = self.connection.unchecked_transaction()?;
            let mut refused = Vec::new();
            for (index, &(user, kind, label, is_virtual)) in entries.iter().enumerate() {
                let why = conflict_of(&transaction, user, kind, label, is_virtual, replace)?;
                refused.extend(why.map(|why| (index, why)));
            }
            Ok(refused)
        };
        read().map_err(|cause: rusqlite::Error| store::fault(&self.path, &cause))
    }
}

pub(super) fn row(key: &Key, user: &str, kind: SecretType, material: &Material<'_>) -> Result<Row> {
    let (sealed, verifier) = match material {
        Material::Sealed(secret) => (Some(key.seal(user, kind, secret)?), None),
        Material::Verifier(hash) => (None, Some((*hash).clone())),
    };
    Ok(Row { sealed, verifier, now: i64::try_from(clock::wall().as_secs()).unwrap_or(i64::MAX) })
}

pub(super) fn is_current(transaction: &Transaction<'_>, key: &[u8]) -> rusqlite::Result<bool> {
    transaction.query_row("SELECT key_id = ?1 FROM meta", [key], |row| row.get(0))
}

pub(super) fn key_changed() -> Error {
    Error::new(Kind::Temporary, "the key was changed meanwhile; try again")
}

fn conflict(
    transaction: &Transaction<'_>,
    new: &NewEntry<'_>,
    replace: bool,
) -> rusqlite::Result<Option<String>> {
    conflict_of(transaction, new.user, new.kind, new.label, new.owner.is_some(), replace)
}

fn conflict_of(
    transaction: &Transaction<'_>,
    user: &str,
    kind: SecretType,
    label: &str,
    is_virtual: bool,
    replace: bool,
) -> rusqlite::Result<Option<String>> {
    let found = transaction
        .query_row("SELECT id, virtual FROM user WHERE name = ?1", [user], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?))
        })
        .optional()?;
    let Some((id, known_as_virtual)) = found else { return Ok(None) };
    if known_as_virtual != is_virtual {
        let sort = if known_as_virtual { "virtual" } else { "system" };
        return Ok(Some(format!("has entries as a {sort} user: mailauth remove {user} removes them")));
    }
    let there: bool = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM entry WHERE user = ?1 AND type = ?2 AND label = ?3)",
        params![id, kind.as_str(), label],
        |row| row.get(0),
    )?;
    Ok((there && !replace)
        .then(|| format!("has an entry of type {kind} already: --replace gives it the new secret")))
}

fn put(transaction: &Transaction<'_>, new: &NewEntry<'_>, row: &Row) -> rusqlite::Result<()> {
    // The sort of the user was looked at in this transaction.
    let user = store::user_row(transaction, new)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    transaction.execute(
        "INSERT INTO entry (user, type, label, sealed, verifier, made, changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) \
         ON CONFLICT (user, type, label) DO UPDATE \
         SET sealed = excluded.sealed, verifier = excluded.verifier, scram = NULL, changed = excluded.changed",
        params![user, new.kind.as_str(), new.label, row.sealed, row.verifier.as_ref().map(text), row.now],
    )?;
    Ok(())
}

pub(super) fn text(verifier: &Secret) -> String {
    String::from_utf8_lossy(verifier.expose()).into_owned()
}

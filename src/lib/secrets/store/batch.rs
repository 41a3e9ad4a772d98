//! Several new entries in one transaction: all or none.

use super::change::{Cells, NewEntry, cells, changed_meanwhile, is_current, user_row};
use super::limit::restore;
use super::{RACES, Store, fault, has_apop};
use crate::error::Result;
use crate::secrets::seal::Key;
use crate::secrets::{Limited, Places, SecretType};
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

impl Store {
    /// Adds all entries or none, locks users, and limits others. With `replace` an entry that is there gets the new secret, else it refuses the
    /// batch. A user to lock or limit who has no entry then must be one of the system's.
    ///
    /// # Errors
    /// The key cannot be used, or the system's.
    pub(crate) fn add_all(
        &mut self,
        places: &Places,
        entries: &[NewEntry<'_>],
        locked: &[&str],
        limited: &[Limited],
        replace: bool,
    ) -> Result<Batch> {
        for _ in 0..RACES {
            let key = self.key(places)?;
            if let Some(batch) = self.put_all(&key, entries, locked, limited, replace)? {
                return Ok(batch);
            }
        }
        Err(changed_meanwhile())
    }

    /// `None` when the key was changed meanwhile.
    fn put_all(
        &mut self,
        key: &Key,
        entries: &[NewEntry<'_>],
        locked: &[&str],
        limited: &[Limited],
        replace: bool,
    ) -> Result<Option<Batch>> {
        let rows: Vec<Cells> = entries.iter().map(|entry| cells(key, entry)).collect::<Result<_>>()?;
        let key_id = *key.id();
        self.write(|transaction, announced| {
            if !is_current(transaction, &key_id)? {
                return Ok(None);
            }
            // All are looked at before any is written: who is refused finds nothing to undo.
            let mut refused = Vec::new();
            for (index, entry) in entries.iter().enumerate() {
                refused.extend(conflict(transaction, entry, replace)?.map(|why| (index, why)));
            }
            if !refused.is_empty() {
                return Ok(Some(Batch::Refused(refused)));
            }
            for (entry, row) in entries.iter().zip(&rows) {
                put(transaction, entry, row)?;
            }
            for name in locked {
                transaction.execute(
                    "INSERT INTO user (name, locked) VALUES (?1, 1) ON CONFLICT (name) DO UPDATE SET locked = 1",
                    [name],
                )?;
            }
            restore(transaction, limited)?;
            let apop = entries.iter().any(|entry| entry.kind == SecretType::Apop);
            Ok(Some(Batch::Done { first: apop && !has_apop(announced) }))
        })
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
        read().map_err(|cause: rusqlite::Error| fault(&self.path, &cause))
    }
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

fn put(transaction: &Transaction<'_>, new: &NewEntry<'_>, row: &Cells) -> rusqlite::Result<()> {
    // The sort of the user was looked at in this transaction.
    let user = user_row(transaction, new)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    transaction.execute(
        "INSERT INTO entry (user, type, label, sealed, verifier, scram, made, changed) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT (user, type, label) DO UPDATE \
         SET sealed = excluded.sealed, verifier = excluded.verifier, scram = excluded.scram, changed = excluded.changed",
        params![user, new.kind.as_str(), new.label, row.sealed, row.verifier, row.scram, row.now],
    )?;
    Ok(())
}

//! One entry that was looked at before: its secret, and a new one in its place if nobody else was faster.

use super::change::{is_current, key_changed, row, text};
use super::seal::Key;
use super::store::{self, Material, Store};
use super::{SecretType, refused};
use crate::error::Result;
use crate::secret::Secret;
use rusqlite::params;

/// An entry as it was when somebody looked, with what is stored of the secret.
pub(crate) struct Held {
    id: i64,
    user: String,
    /// What it is for.
    pub(crate) kind: SecretType,
    /// Tells the application passwords of a user apart.
    pub(crate) label: String,
    sealed: Option<Vec<u8>>,
    verifier: Option<Secret>,
}

impl Held {
    /// The verifier of an application password, in crypt(3)'s form.
    pub(crate) const fn verifier(&self) -> Option<&Secret> {
        self.verifier.as_ref()
    }
}

impl Store {
    /// The entries of a user, in the order in which they were made.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn held(&self, user: &str) -> Result<Vec<Held>> {
        let read = || {
            let mut entries = self.connection.prepare(
                "SELECT entry.id, type, label, sealed, verifier FROM entry JOIN user ON user.id = entry.user \
                 WHERE user.name = ?1 ORDER BY entry.id",
            )?;
            let rows = entries.query_map([user], |row| {
                let word: String = row.get(1)?;
                Ok(Held {
                    id: row.get(0)?,
                    user: user.to_owned(),
                    kind: SecretType::parse(&word).ok_or(rusqlite::Error::InvalidQuery)?,
                    label: row.get(2)?,
                    sealed: row.get(3)?,
                    verifier: row.get::<_, Option<String>>(4)?.map(|text| Secret::new(text.into_bytes())),
                })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|cause| store::fault(&self.path, &cause))
    }

    /// The secret of an entry that has one, `None` for an application password.
    ///
    /// # Errors
    /// The entry is damaged or was another user's.
    pub(crate) fn open_held(&self, key: &Key, held: &Held) -> Result<Option<Secret>> {
        let Some(sealed) = &held.sealed else { return Ok(None) };
        let opened = key.unseal(&held.user, held.kind, sealed);
        opened.map(Some).ok_or_else(|| {
            let (kind, user) = (held.kind, &held.user);
            refused(format!("the {kind} entry of {user} in {} does not open", self.path.display()))
        })
    }

    /// Gives an entry a new secret and a type, which it may have had before; false when it is not as it was any more.
    ///
    /// # Errors
    /// The key was changed meanwhile; or the system's.
    pub(crate) fn change_held(
        &mut self,
        key: &Key,
        held: &Held,
        kind: SecretType,
        material: &Material<'_>,
    ) -> Result<bool> {
        let row = row(key, &held.user, kind, material)?;
        // Application passwords alone have labels.
        let label = if kind == SecretType::Pop { held.label.as_str() } else { "" };
        let current = *key.id();
        self.write(|transaction, _| {
            if !is_current(transaction, &current)? {
                return Ok(Err(key_changed()));
            }
            let before = held.verifier.as_ref().map(text);
            let changed = transaction.execute(
                "UPDATE entry SET sealed = ?4, verifier = ?5, scram = NULL, changed = ?6, type = ?7, label = ?8 \
                 WHERE id = ?1 AND sealed IS ?2 AND verifier IS ?3",
                params![held.id, held.sealed, before, row.sealed, row.verifier.as_ref().map(text), row.now, kind.as_str(), label],
            )?;
            Ok(Ok(changed == 1))
        })?
    }
}

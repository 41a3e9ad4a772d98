//! One entry that was looked at before: its secret, and a new one in its place if nobody else was faster.

use super::change::{Material, NewEntry, cells, changed_meanwhile, is_current};
use super::{RACES, Store, fault, refused};
use crate::error::Result;
use crate::secret::Secret;
use crate::secrets::seal::Key;
use crate::secrets::{Places, SecretType};
use rusqlite::params;

/// An entry as it was when somebody looked, with what is stored of the secret.
pub(crate) struct Seen {
    id: i64,
    user: String,
    /// What it is for.
    pub(crate) kind: SecretType,
    /// Tells the application passwords of a user apart.
    pub(crate) label: String,
    sealed: Option<Vec<u8>>,
    verifier: Option<Secret>,
}

impl Seen {
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
    pub(crate) fn seen(&self, user: &str) -> Result<Vec<Seen>> {
        let read = || {
            let mut entries = self.connection.prepare(
                "SELECT entry.id, type, label, sealed, verifier FROM entry JOIN user ON user.id = entry.user \
                 WHERE user.name = ?1 ORDER BY entry.id",
            )?;
            let rows = entries.query_map([user], |row| {
                let word: String = row.get(1)?;
                Ok(Seen {
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
        read().map_err(|cause| fault(&self.path, &cause))
    }

    /// The secret of an entry that has one, `None` for an application password.
    ///
    /// # Errors
    /// The entry is damaged or was another user's.
    pub(crate) fn open_seen(&self, key: &Key, seen: &Seen) -> Result<Option<Secret>> {
        let Some(sealed) = &seen.sealed else { return Ok(None) };
        let opened = key.unseal(&seen.user, seen.kind, sealed);
        opened.map(Some).ok_or_else(|| {
            let (kind, user) = (seen.kind, &seen.user);
            refused(format!("the {kind} entry of {user} in {} does not open", self.path.display()))
        })
    }

    /// Opens what a key sealed; `None` when it was another, or what it sealed is damaged.
    pub(crate) fn open_sealed(key: &Key, user: &str, kind: SecretType, sealed: &[u8]) -> Option<Secret> {
        key.unseal(user, kind, sealed)
    }

    /// Whether a key has this id, in hexadecimal digits.
    pub(crate) fn is_key(key: &Key, id: &str) -> bool {
        key.id().iter().map(|octet| format!("{octet:02x}")).collect::<String>() == id
    }

    /// Gives an entry a new secret and a type, which it may have had before; false when it is not as it was any more.
    ///
    /// # Errors
    /// The key cannot be used, or the system's.
    pub(crate) fn change_seen(
        &mut self,
        places: &Places,
        seen: &Seen,
        kind: SecretType,
        material: Material<'_>,
    ) -> Result<bool> {
        // Application passwords alone have labels.
        let label = if kind == SecretType::Pop { seen.label.as_str() } else { "" };
        let new = NewEntry { user: &seen.user, owner: None, kind, label, material };
        for _ in 0..RACES {
            let key = self.key(places)?;
            if let Some(changed) = self.put_in_place(&key, seen, &new)? {
                return Ok(changed);
            }
        }
        Err(changed_meanwhile())
    }

    /// `None` when the key was changed meanwhile.
    fn put_in_place(&mut self, key: &Key, seen: &Seen, new: &NewEntry<'_>) -> Result<Option<bool>> {
        let (row, key_id) = (cells(key, new)?, *key.id());
        self.write(|transaction, _| {
            if !is_current(transaction, &key_id)? {
                return Ok(None);
            }
            let before =
                seen.verifier.as_ref().map(|text| String::from_utf8_lossy(text.expose()).into_owned());
            let changed = transaction.execute(
                "UPDATE entry SET sealed = ?4, verifier = ?5, scram = ?6, changed = ?7, type = ?8, label = ?9 \
                 WHERE id = ?1 AND sealed IS ?2 AND verifier IS ?3",
                params![
                    seen.id,
                    seen.sealed,
                    before,
                    row.sealed,
                    row.verifier,
                    row.scram,
                    row.now,
                    new.kind.as_str(),
                    new.label
                ],
            )?;
            Ok(Some(changed == 1))
        })
    }
}

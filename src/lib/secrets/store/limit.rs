//! Limits of users, and users who are retired.

use super::change::forget_users;
use super::{Store, refused};
use crate::error::Result;
use crate::secrets::Limited;
use rusqlite::{Transaction, params};

/// What of a user's limits is changed; `None` leaves it, `Some(None)` lifts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) hours: Option<Option<String>>,
    pub(crate) networks: Option<Option<String>>,
    /// In seconds.
    pub(crate) login_delay: Option<Option<u32>>,
}

impl Store {
    /// Changes the limits of a user; false when there is no such user. A user of the system needs no entry for it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn limit(&mut self, name: &str, is_of_system: bool, change: &Change) -> Result<bool> {
        self.write(|transaction, _| {
            if is_of_system {
                transaction.execute("INSERT INTO user (name) VALUES (?1) ON CONFLICT DO NOTHING", [name])?;
            }
            let known: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM user WHERE name = ?1)",
                [name],
                |row| row.get(0),
            )?;
            for (column, value) in [("hours", &change.hours), ("networks", &change.networks)] {
                if let Some(value) = value {
                    let set = format!("UPDATE user SET {column} = ?2 WHERE name = ?1");
                    transaction.execute(&set, params![name, value])?;
                }
            }
            if let Some(delay) = change.login_delay {
                transaction
                    .execute("UPDATE user SET login_delay = ?2 WHERE name = ?1", params![name, delay])?;
            }
            forget_users(transaction)?;
            Ok(known)
        })
    }

    /// Retires users who are locked. An unlock undoes it.
    ///
    /// # Errors
    /// The system's; or one is not locked.
    pub(crate) fn retire(&mut self, names: &[String]) -> Result<()> {
        self.write(|transaction, _| {
            for name in names {
                let done =
                    transaction.execute("UPDATE user SET retired = 1 WHERE name = ?1 AND locked", [name])?;
                if done == 0 {
                    return Ok(Err(refused(format!("{name} was unlocked meanwhile"))));
                }
            }
            Ok(Ok(()))
        })?
    }
}

/// Gives users the limits of a backup. Who is there keeps limits that the backup has not.
pub(super) fn restore(transaction: &Transaction<'_>, limited: &[Limited]) -> rusqlite::Result<()> {
    for Limited { user, limits, retired, .. } in limited {
        transaction.execute("INSERT INTO user (name) VALUES (?1) ON CONFLICT DO NOTHING", [user])?;
        transaction.execute(
            "UPDATE user SET hours = coalesce(?2, hours), networks = coalesce(?3, networks), \
             login_delay = coalesce(?4, login_delay), retired = retired OR (?5 AND locked) WHERE name = ?1",
            params![user, limits.hours, limits.networks, limits.login_delay, retired],
        )?;
    }
    Ok(())
}

//! What is counted of logins: wrong passwords by user, by user and address range, and by range alone; the last good login and the
//! last bad one.
//!
//! An attempt is one transaction that reads the counters, lets the caller decide, and writes what follows, whoever asked for whom: so
//! checks that run at the same time count each other, and a refusal costs the same for every name. A name that nobody has is kept in
//! none of the tables: such names share [`NOBODIES`] rows.
//!
//! The tables are bounded. A user has [`MOST_KNOWN`] ranges with logins and [`MOST_FAILING`] with wrong passwords, the newest; ranges
//! by themselves are at most [`MOST_ADDRESSES`] or a few more.

use super::{Care, State, Trouble};
use crate::error::Result;
use crate::secrets::Places;
use crate::secrets::store::fault;
use crate::sys::random;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Rows for all names that nobody has.
const NOBODIES: u64 = 256;

/// Ranges with logins that are kept of a user: homes, offices, telephones.
const MOST_KNOWN: u32 = 32;

/// Ranges with wrong passwords that are kept of a user.
const MOST_FAILING: u32 = 64;

/// Ranges with wrong passwords for whomever.
const MOST_ADDRESSES: u32 = 10_000;

/// One attempt in so many looks for rows to forget.
const TIDIES: u64 = 100;

/// Whose attempt it is, and where from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    /// The user's name.
    pub(crate) user: &'a str,
    /// Whether there is such a user.
    pub(crate) is_known: bool,
    /// The client's address range, as text.
    pub(crate) network: &'a str,
    /// The client's address, as text.
    pub(crate) place: &'a str,
    /// In seconds since 1970.
    pub(crate) now: i64,
}

/// Wrong passwords, and when the last one came, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) failures: u32,
    pub(crate) last: i64,
}

/// The counters of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// For the user, from everywhere.
    pub(crate) user: Count,
    /// For the user, from this range.
    pub(crate) range: Count,
    /// The last login of the user's from this range.
    pub(crate) good: Option<i64>,
    /// For whomever, from this range.
    pub(crate) address: Count,
}

/// What an attempt leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The counters from now on.
    pub(crate) tally: Tally,
    /// Whether it was a good login.
    pub(crate) is_good: bool,
}

/// When somebody was there and where from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Visit {
    /// In seconds since 1970.
    pub(crate) at: i64,
    /// The client's address, or `local`.
    pub(crate) place: String,
}

/// What is known of a user's logins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Logins {
    /// The last good login.
    pub(crate) good: Option<Visit>,
    /// The last one that was refused.
    pub(crate) bad: Option<Visit>,
    /// Wrong passwords from everywhere.
    pub(crate) failures: u32,
    /// When the last of them came, in seconds since 1970.
    pub(crate) last_failure: Option<i64>,
    /// Address ranges, the last one with a wrong password first.
    pub(crate) ranges: Vec<Range>,
}

/// An address range that a user has logged in from, or somebody with wrong passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    /// Such as `192.0.2.0/24`, or `local`.
    pub(crate) network: String,
    /// Wrong passwords.
    pub(crate) count: Count,
    /// The last login, in seconds since 1970.
    pub(crate) good: Option<i64>,
}

impl State {
    /// Makes one attempt: `decide` sees the counters and says what they are from now on. It is durable when this returns.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn attempt<T>(
        places: &Places,
        attempt: &Attempt<'_>,
        decide: impl FnOnce(Tally) -> (Written, T),
    ) -> Result<T> {
        let mut state = Self::connect(places, true, Care::Durable).map_err(Trouble::unmended)?;
        let path = state.path.clone();
        let done = state.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(
            |transaction| {
                let key = key(&transaction, attempt)?;
                let (written, said) = decide(read(&transaction, &key, attempt)?);
                write(&transaction, &key, attempt, &written)?;
                tidy(&transaction, &key)?;
                transaction.commit()?;
                Ok(said)
            },
        );
        done.map_err(|cause| Trouble::of(&path, &cause).unmended())
    }

    /// What is known of a user's logins; `None` where nothing is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn logins(&self, user: &str) -> Result<Option<Logins>> {
        let read = || {
            let user = user.to_ascii_lowercase();
            let found = self.connection.query_row(
                "SELECT good, good_place, bad, bad_place, failures, counted FROM login WHERE user = ?1",
                [&user],
                |row| {
                    let visit =
                        |at, place: Option<String>| Some(Visit { at, place: place.unwrap_or_default() });
                    let (good, bad) = (row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(2)?);
                    let (good_place, bad_place) = (row.get(1)?, row.get(3)?);
                    Ok(Logins {
                        good: good.and_then(|at| visit(at, good_place)),
                        bad: bad.and_then(|at| visit(at, bad_place)),
                        failures: row.get(4)?,
                        last_failure: row.get(5)?,
                        ranges: Vec::new(),
                    })
                },
            );
            let Some(mut logins) = found.optional()? else { return Ok(None) };
            let mut ranges = self.connection.prepare(
                "SELECT network, failures, bad, good FROM range WHERE user = ?1 ORDER BY bad DESC, good DESC, network",
            )?;
            let rows = ranges.query_map([&user], |row| {
                let count = Count { failures: row.get(1)?, last: row.get(2)? };
                Ok(Range { network: row.get(0)?, count, good: row.get(3)? })
            })?;
            logins.ranges = rows.collect::<rusqlite::Result<_>>()?;
            Ok(Some(logins))
        };
        read().map_err(|cause: rusqlite::Error| fault(&self.path, &cause))
    }

    /// Forgets the wrong passwords of a user, from everywhere; whether there were any.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn forgive(&mut self, user: &str) -> Result<bool> {
        let user = user.to_ascii_lowercase();
        let forgotten = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(
            |transaction| {
                let users = transaction
                    .execute("UPDATE login SET failures = 0 WHERE user = ?1 AND failures > 0", [&user])?;
                let ranges = transaction
                    .execute("UPDATE range SET failures = 0 WHERE user = ?1 AND failures > 0", [&user])?;
                transaction.commit()?;
                Ok(users + ranges > 0)
            },
        );
        forgotten.map_err(|cause| fault(&self.path, &cause))
    }
}

/// What a user is counted under. Some databases find `Ann` under `ann`, and whoever guesses must not have another count for every
/// spelling. No name has a question mark.
fn key(transaction: &Transaction<'_>, attempt: &Attempt<'_>) -> rusqlite::Result<(String, String)> {
    let user = attempt.user.to_ascii_lowercase();
    // Who has logged in is somebody, though no database knows the name.
    let was_here: bool = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM login WHERE user = ?1 AND good IS NOT NULL)",
        [&user],
        |row| row.get(0),
    )?;
    if attempt.is_known || was_here {
        return Ok((user, attempt.network.to_owned()));
    }
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    Ok((format!("?{}", hasher.finish() % NOBODIES), String::new()))
}

fn read(
    transaction: &Transaction<'_>,
    key: &(String, String),
    attempt: &Attempt<'_>,
) -> rusqlite::Result<Tally> {
    let count = |row: &rusqlite::Row<'_>| Ok(Count { failures: row.get(0)?, last: row.get(1)? });
    let user = transaction.query_row(
        "SELECT failures, coalesce(counted, 0) FROM login WHERE user = ?1",
        [&key.0],
        count,
    );
    let range = transaction.query_row(
        "SELECT failures, bad, good FROM range WHERE user = ?1 AND network = ?2",
        [&key.0, &key.1],
        |row| Ok((count(row)?, row.get(2)?)),
    );
    let address = transaction.query_row(
        "SELECT failures, bad FROM address WHERE network = ?1",
        [attempt.network],
        count,
    );
    let (range, good) = range.optional()?.unwrap_or_default();
    Ok(Tally {
        user: user.optional()?.unwrap_or_default(),
        range,
        good,
        address: address.optional()?.unwrap_or_default(),
    })
}

/// The same statements for everybody.
fn write(
    transaction: &Transaction<'_>,
    key: &(String, String),
    attempt: &Attempt<'_>,
    written: &Written,
) -> rusqlite::Result<()> {
    let Written { tally, is_good } = written;
    let (good, bad) = if *is_good { (Some(attempt.now), None) } else { (None, Some(attempt.now)) };
    let (good_place, bad_place) = (good.map(|_| attempt.place), bad.map(|_| attempt.place));
    transaction.execute(
        "INSERT INTO login (user, good, good_place, bad, bad_place, failures, counted) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (user) DO UPDATE SET \
         good = coalesce(excluded.good, good), good_place = coalesce(excluded.good_place, good_place), \
         bad = coalesce(excluded.bad, bad), bad_place = coalesce(excluded.bad_place, bad_place), \
         failures = excluded.failures, counted = excluded.counted",
        params![key.0, good, good_place, bad, bad_place, tally.user.failures, tally.user.last],
    )?;
    transaction.execute(
        "INSERT INTO range (user, network, failures, bad, good) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (user, network) DO UPDATE SET failures = excluded.failures, bad = excluded.bad, good = excluded.good",
        params![key.0, key.1, tally.range.failures, tally.range.last, tally.good],
    )?;
    transaction.execute(
        "INSERT INTO address (network, failures, bad) VALUES (?1, ?2, ?3) \
         ON CONFLICT (network) DO UPDATE SET failures = excluded.failures, bad = excluded.bad",
        params![attempt.network, tally.address.failures, tally.address.last],
    )?;
    Ok(())
}

/// Forgets what is too much.
fn tidy(transaction: &Transaction<'_>, key: &(String, String)) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM range WHERE user = ?1 AND network NOT IN (\
           SELECT network FROM (SELECT network FROM range WHERE user = ?1 AND good IS NOT NULL \
             ORDER BY good DESC LIMIT ?2) \
           UNION SELECT network FROM (SELECT network FROM range WHERE user = ?1 AND failures > 0 \
             ORDER BY bad DESC LIMIT ?3))",
        params![key.0, MOST_KNOWN, MOST_FAILING],
    )?;
    if random::number().is_ok_and(|number| number % TIDIES == 0) {
        transaction.execute("DELETE FROM address WHERE failures = 0", [])?;
        transaction.execute(
            "DELETE FROM address WHERE network NOT IN (SELECT network FROM address ORDER BY bad DESC LIMIT ?1)",
            [MOST_ADDRESSES],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Lines of the log into the database, each once.
//!
//! 1. With the database's lock: the log gets another name, unless one has that name still; its lines are inserted, where a line that
//!    is there already changes nothing; commit.
//! 2. With the database's lock again, and with that of the file, so that nobody is about to write to it: what was written
//!    meanwhile is inserted and committed too, until there is nothing more; then the file is removed.
//!
//! Killed anywhere, the next one begins anew with the file that still has its name, and finds the lines that are in the database.

use super::super::lines::{LOG, MOVING, each_line};
use super::super::record::{Entry, Refusal, Session};
use super::{Place, fault};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::log::End;
use crate::sys::clock;
use crate::sys::file;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::fs::{File, TryLockError};
use std::io;
use std::time::Duration;

/// How long one waits for who is about to write to the file. Each takes microseconds; then it stays for the next time.
const PATIENCE: u32 = 100;

/// What one waits between two tries.
const PAUSE: Duration = Duration::from_millis(2);

/// Seconds of a day.
const DAY: i64 = 86_400;

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// New sessions and refusals.
    pub(crate) entries: u64,
    /// Lines that were torn, or not ours.
    pub(crate) skipped: u64,
}

/// Moves all lines of the log into the database, and lets go what is older, or more, than the configuration keeps.
///
/// # Errors
/// The database or the log cannot be used: nothing is lost, and the next move tries again.
pub(crate) fn move_log(place: &Place, config: &Config) -> Result<Moved> {
    let mut connection = place.create()?;
    let mut moved = Moved::default();
    // What a killed one left comes first, and then the log itself.
    for _ in 0..2 {
        let left = exists(place, MOVING)?;
        if !left && !exists(place, LOG)? {
            break;
        }
        if !move_file(place, &mut connection, &mut moved)? || !left {
            break;
        }
    }
    let_go(place, &mut connection, config)?;
    Ok(moved)
}

fn exists(place: &Place, name: &str) -> Result<bool> {
    let found = place.directory.status(name).map_err(|cause| failed(place, "look at", cause))?;
    Ok(found.is_some_and(|found| found.identity.size > 0 || name == MOVING))
}

fn failed(place: &Place, what: &str, cause: io::Error) -> Error {
    Error::io(format!("cannot {what} {}", place.path.join(LOG).display()), cause)
}

/// Moves one file; false when it has to stay because somebody may still write to it.
fn move_file(place: &Place, connection: &mut Connection, moved: &mut Moved) -> Result<bool> {
    let fault = |cause: rusqlite::Error| fault(&place.database(), &cause);
    let here = |what: &'static str| move |cause| failed(place, what, cause);
    let transaction = lock(connection).map_err(fault)?;
    if !exists(place, MOVING)? {
        match place.directory.rename(LOG, MOVING) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(true),
            renamed => renamed.map_err(here("rename"))?,
        }
    }
    let file = place.directory.open_to_read(MOVING).map_err(here("open"))?;
    let mut skipped = 0;
    let mut read = insert(place, &transaction, &file, 0, moved, &mut skipped)?;
    transaction.commit().map_err(fault)?;

    let mut taken = false;
    loop {
        let transaction = lock(connection).map_err(fault)?;
        let found = place.directory.status(MOVING).map_err(here("look at"))?;
        let opened = file::status(&file).map_err(here("look at"))?.identity;
        if !found.is_some_and(|found| found.identity.same_file(&opened)) {
            // Somebody else has moved the same lines.
            return Ok(true);
        }
        taken = taken || take(&file).map_err(here("lock"))?;
        if !taken {
            return Ok(false);
        }
        let next = insert(place, &transaction, &file, read, moved, &mut skipped)?;
        if next == read {
            // All is in the database for good, nobody can write any more, and nobody gives another file this name without the lock.
            skipped += u64::from(file::status(&file).map_err(here("look at"))?.identity.size > read);
            moved.skipped += skipped;
            transaction.execute("UPDATE meta SET skipped = skipped + ?1", [whole(skipped)]).map_err(fault)?;
            place.directory.remove(MOVING).map_err(here("remove"))?;
            transaction.commit().map_err(fault)?;
            return Ok(true);
        }
        read = next;
        transaction.commit().map_err(fault)?;
    }
}

fn lock(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Waits until nobody is about to write to the file; false when somebody takes too long.
fn take(file: &File) -> io::Result<bool> {
    for _ in 0..PATIENCE {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => clock::wait(PAUSE),
            Err(TryLockError::Error(cause)) => return Err(cause),
        }
    }
    Ok(false)
}

/// Inserts the lines from `offset` on; where the next one begins.
fn insert(
    place: &Place,
    transaction: &Transaction<'_>,
    file: &File,
    offset: u64,
    moved: &mut Moved,
    skipped: &mut u64,
) -> Result<u64> {
    let fault = |cause: rusqlite::Error| fault(&place.database(), &cause);
    each_line(file, offset, &mut |entry| {
        match entry {
            Some(Entry::Session(session)) => {
                moved.entries += put_session(transaction, &session).map_err(fault)?;
            }
            Some(Entry::Refused(refusal)) => {
                moved.entries += put_refusal(transaction, &refusal).map_err(fault)?;
            }
            None => *skipped += 1,
        }
        Ok(())
    })
}

/// SQLite's numbers have a sign.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How many rows are new: the session, or none.
fn put_session(transaction: &Transaction<'_>, session: &Session) -> rusqlite::Result<u64> {
    let report = &session.report;
    let new = transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            session.start,
            session.id.to_string(),
            whole(session.seconds),
            session.user,
            session.client,
            session.mechanism,
            session.tls,
            session.refused,
            report.retrieved,
            report.top,
            whole(report.octets),
            report.deleted,
            whole(report.deleted_octets),
            report.left,
            whole(report.left_octets),
            report.end.word(),
        ])?;
    if new == 0 {
        return Ok(0);
    }
    // What a session that was killed left on the server nobody knows: what was known before stays.
    transaction
        .prepare_cached(
            "INSERT INTO login VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (user) DO UPDATE SET \
             last = excluded.last, client = excluded.client, \
             remaining = iif(?6, remaining, excluded.remaining), \
             remaining_octets = iif(?6, remaining_octets, excluded.remaining_octets) \
             WHERE excluded.last >= last",
        )?
        .execute(params![
            session.user,
            session.start,
            session.client,
            report.left,
            whole(report.left_octets),
            report.end == End::Killed,
        ])?;
    transaction
        .prepare_cached(
            "INSERT INTO total VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9) \
             ON CONFLICT (mechanism, tls, ending) DO UPDATE SET sessions = sessions + 1, \
             seconds = seconds + excluded.seconds, retrieved = retrieved + excluded.retrieved, \
             top = top + excluded.top, octets = octets + excluded.octets, deleted = deleted + excluded.deleted, \
             deleted_octets = deleted_octets + excluded.deleted_octets",
        )?
        .execute(params![
            session.mechanism,
            session.tls,
            report.end.word(),
            whole(session.seconds),
            report.retrieved,
            report.top,
            whole(report.octets),
            report.deleted,
            whole(report.deleted_octets),
        ])?;
    Ok(1)
}

/// How many rows are new: the refusal, or none.
fn put_refusal(transaction: &Transaction<'_>, refusal: &Refusal) -> rusqlite::Result<u64> {
    let new = transaction
        .prepare_cached("INSERT OR IGNORE INTO refusal VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute(params![
            refusal.time,
            refusal.id.to_string(),
            refusal.number,
            refusal.user,
            refusal.client,
            refusal.mechanism,
            refusal.reason,
        ])?;
    if new > 0 {
        transaction
            .prepare_cached(
                "INSERT INTO refused_total VALUES (?1, ?2, 1) \
                 ON CONFLICT (mechanism, reason) DO UPDATE SET logins = logins + 1",
            )?
            .execute(params![refusal.mechanism, refusal.reason])?;
    }
    Ok(u64::from(new > 0))
}

/// Removes what is older than the configuration keeps, and then the oldest until the rest fits.
fn let_go(place: &Place, connection: &mut Connection, config: &Config) -> Result<()> {
    let now = clock::wall_seconds();
    let fault = |cause: rusqlite::Error| fault(&place.database(), &cause);
    let transaction = lock(connection).map_err(fault)?;
    let removed = trim(&transaction, now, config).map_err(fault)?;
    transaction.commit().map_err(fault)?;
    if removed {
        give_back(connection).map_err(fault)?;
    }
    Ok(())
}

/// Makes the file as small as what is in it. One step frees one page.
fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let mut pages = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut freed = pages.query([])?;
    while freed.next()?.is_some() {}
    Ok(())
}

/// Whether something was removed. Everybody's last login and the totals stay.
fn trim(transaction: &Transaction<'_>, now: i64, config: &Config) -> rusqlite::Result<bool> {
    let newest = newest(transaction)?;
    // A clock that is ahead and a server that is idle do not make history old.
    let mut before = now.min(newest).saturating_sub(i64::from(config.log.history_days) * DAY);
    let mut removed = remove_before(transaction, before)?;
    while octets(transaction)? > config.log.history_size {
        let tenth =
            "SELECT start FROM session ORDER BY start LIMIT 1 OFFSET (SELECT count(*) / 10 FROM session)";
        let found: Option<i64> = one(transaction, tenth)?;
        let refused =
            "SELECT time FROM refusal ORDER BY time LIMIT 1 OFFSET (SELECT count(*) / 10 FROM refusal)";
        let Some(time) = found.into_iter().chain(one(transaction, refused)?).min() else { break };
        before = time.saturating_add(1).max(before);
        removed |= remove_before(transaction, before)?;
    }
    Ok(removed)
}

fn newest(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction.query_row(
        "SELECT max(ifnull((SELECT max(start) FROM session), 0), ifnull((SELECT max(time) FROM refusal), 0))",
        [],
        |row| row.get(0),
    )
}

fn one(transaction: &Transaction<'_>, query: &str) -> rusqlite::Result<Option<i64>> {
    use rusqlite::OptionalExtension;
    transaction.query_row(query, [], |row| row.get(0)).optional()
}

fn remove_before(transaction: &Transaction<'_>, time: i64) -> rusqlite::Result<bool> {
    let sessions = transaction.execute("DELETE FROM session WHERE start < ?1", [time])?;
    let refusals = transaction.execute("DELETE FROM refusal WHERE time < ?1", [time])?;
    Ok(sessions + refusals > 0)
}

/// What the rows take, in octets.
fn octets(transaction: &Transaction<'_>) -> rusqlite::Result<u64> {
    let number = |pragma| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let used = (number("page_count")? - number("freelist_count")?).saturating_mul(number("page_size")?);
    Ok(u64::try_from(used).unwrap_or(0))
}

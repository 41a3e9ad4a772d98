//! What readers see: the database, and what is in the log still. Nothing is changed.

use super::super::lines::{LOG, MOVING, each_line};
use super::super::record::{Entry, Refusal, Session};
use super::super::summary::Count;
use super::{Place, fault, inspect};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::log::{End, Report, SessionId};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;

/// Somebody's last login, and what was on the server afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastLogin {
    /// When the session began, in seconds since 1970.
    pub(crate) time: i64,
    /// Where from.
    pub(crate) client: String,
    /// Messages that were left.
    pub(crate) left: u32,
    /// Their octets.
    pub(crate) left_octets: u64,
}

/// What was counted since the history began, whatever of it is still kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Sessions by mechanism, TLS version and end.
    pub(crate) sessions: BTreeMap<(String, String, String), Count>,
    /// Refused logins by mechanism and reason.
    pub(crate) refused: BTreeMap<(String, String), u64>,
    /// Lines of the log that were torn, or not ours.
    pub(crate) skipped: u64,
}

/// The history as it is now.
pub(crate) struct History {
    /// None: no line was ever moved.
    connection: Option<Connection>,
    database: PathBuf,
    /// What was in the log when it was opened. It may be in the database, too.
    rest: Vec<Entry>,
    skipped: u64,
}

impl History {
    /// Reads what is in the log, and then opens the database: so no line on its way from the one to the other is missed.
    ///
    /// # Errors
    /// One of them cannot be read, or a newer program made the database.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let database = config.state_dir.clone();
        if !config.state_dir.exists() {
            return Ok(Self { connection: None, database, rest: Vec::new(), skipped: 0 });
        }
        let place = Place::open(&config.state_dir)?;
        let (mut rest, mut skipped) = (Vec::new(), 0);
        for name in [LOG, MOVING] {
            let failed = |cause| Error::io(format!("cannot open {}", place.path.join(name).display()), cause);
            let file = match place.directory.open_to_read(name) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            each_line(&file, 0, &mut |entry| {
                match entry {
                    Some(entry) => rest.push(entry),
                    None => skipped += 1,
                }
                Ok(())
            })?;
        }
        rest.sort_by_key(Entry::time);
        let database = place.database();
        let connection = if place.finds_database()? {
            let connection = place.connect()?;
            // One that is being made has nothing yet.
            (inspect(&connection, &database)? > 0).then_some(connection)
        } else {
            None
        };
        Ok(Self { connection, database, rest, skipped })
    }

    /// Hands over everything from `since` on: first the sessions, then the refused logins, then what is in the log still.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn each(&self, since: i64, each: &mut dyn FnMut(&Entry)) -> Result<()> {
        self.read(|reader| {
            if let Some(transaction) = reader {
                let query = "SELECT * FROM session WHERE start >= ?1 ORDER BY start";
                let mut sessions = transaction.prepare(query)?;
                let mut rows = sessions.query([since])?;
                while let Some(row) = rows.next()? {
                    each(&Entry::Session(session(row)?));
                }
                let query = "SELECT * FROM refusal WHERE time >= ?1 ORDER BY time";
                let mut refusals = transaction.prepare(query)?;
                let mut rows = refusals.query([since])?;
                while let Some(row) = rows.next()? {
                    each(&Entry::Refused(refusal(row)?));
                }
            }
            self.unmoved(reader)?.filter(|entry| entry.time() >= since).for_each(each);
            Ok(())
        })
    }

    /// One user's sessions and refused logins from `since` on, the oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn of_user(&self, user: &str, since: i64) -> Result<Vec<Entry>> {
        self.read(|reader| {
            let mut found = Vec::new();
            if let Some(transaction) = reader {
                let query = "SELECT * FROM session WHERE user = ?1 AND start >= ?2";
                let mut sessions = transaction.prepare(query)?;
                for row in sessions.query_map(params![user, since], session)? {
                    found.push(Entry::Session(row?));
                }
                let query = "SELECT * FROM refusal WHERE user = ?1 AND time >= ?2";
                let mut refusals = transaction.prepare(query)?;
                for row in refusals.query_map(params![user, since], refusal)? {
                    found.push(Entry::Refused(row?));
                }
            }
            let about = |entry: &&Entry| {
                let name = match entry {
                    Entry::Session(session) => &session.user,
                    Entry::Refused(refusal) => &refusal.user,
                };
                name == user && entry.time() >= since
            };
            found.extend(self.unmoved(reader)?.filter(about).cloned());
            found.sort_by_key(Entry::time);
            Ok(found)
        })
    }

    /// The last login of everybody who ever logged in.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn last_logins(&self) -> Result<HashMap<String, LastLogin>> {
        let mut last = self.read(|reader| {
            let Some(transaction) = reader else { return Ok(HashMap::new()) };
            let mut logins = transaction.prepare("SELECT * FROM login")?;
            logins
                .query_map([], |row| {
                    let login = LastLogin {
                        time: row.get(1)?,
                        client: row.get(2)?,
                        left: row.get(3)?,
                        left_octets: number(row, 4)?,
                    };
                    Ok((row.get(0)?, login))
                })?
                .collect::<rusqlite::Result<HashMap<String, LastLogin>>>()
        })?;
        for entry in &self.rest {
            if let Entry::Session(session) = entry {
                later(&mut last, session);
            }
        }
        Ok(last)
    }

    /// What was counted since the history began.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn totals(&self) -> Result<Totals> {
        self.read(|reader| {
            let mut totals = Totals { skipped: self.skipped, ..Totals::default() };
            if let Some(transaction) = reader {
                add_totals(transaction, &mut totals)?;
            }
            for entry in self.unmoved(reader)? {
                match entry {
                    Entry::Session(it) => {
                        let key = (it.mechanism.clone(), it.tls.clone(), it.report.end.word().to_owned());
                        totals.sessions.entry(key).or_default().add(it);
                    }
                    Entry::Refused(it) => {
                        *totals.refused.entry((it.mechanism.clone(), it.reason.clone())).or_default() += 1;
                    }
                }
            }
            Ok(totals)
        })
    }

    /// When the first session was that anything is known of.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn began(&self) -> Result<Option<i64>> {
        let first = "SELECT min(first) FROM (SELECT min(start) AS first FROM session UNION ALL SELECT min(last) FROM login)";
        let moved = self.read(|reader| {
            reader.map_or(Ok(None), |transaction| transaction.query_row(first, [], |row| row.get(0)))
        })?;
        Ok(moved.into_iter().chain(self.rest.first().map(Entry::time)).min())
    }

    /// Whether there is nothing at all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn is_empty(&self) -> Result<bool> {
        let anything = "SELECT EXISTS (SELECT 1 FROM login) OR EXISTS (SELECT 1 FROM refused_total)";
        let moved = self.read(|reader| {
            reader.map_or(Ok(false), |transaction| transaction.query_row(anything, [], |row| row.get(0)))
        })?;
        Ok(self.rest.is_empty() && !moved)
    }

    /// Reads the database as it is at one moment.
    fn read<T>(&self, look: impl FnOnce(Option<&Transaction<'_>>) -> rusqlite::Result<T>) -> Result<T> {
        let read = || match &self.connection {
            Some(connection) => look(Some(&connection.unchecked_transaction()?)),
            None => look(None),
        };
        read().map_err(|cause| fault(&self.database, &cause))
    }

    /// What was in the log and is not in the database.
    fn unmoved(&self, reader: Option<&Transaction<'_>>) -> rusqlite::Result<impl Iterator<Item = &Entry>> {
        let mut kept = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for entry in &self.rest {
            let is_moved = match (reader, entry) {
                (None, _) => false,
                (Some(transaction), Entry::Session(it)) => transaction
                    .prepare_cached("SELECT 1 FROM session WHERE start = ?1 AND id = ?2")?
                    .query_row(params![it.start, it.id.to_string()], |_| Ok(()))
                    .optional()?
                    .is_some(),
                (Some(transaction), Entry::Refused(it)) => transaction
                    .prepare_cached("SELECT 1 FROM refusal WHERE time = ?1 AND id = ?2 AND number = ?3")?
                    .query_row(params![it.time, it.id.to_string(), it.number], |_| Ok(()))
                    .optional()?
                    .is_some(),
            };
            let key = match entry {
                Entry::Session(it) => (it.start, it.id, 0),
                Entry::Refused(it) => (it.time, it.id, it.number),
            };
            // The log may have got its other name between the two looks at it.
            if !is_moved && seen.insert(key) {
                kept.push(entry);
            }
        }
        Ok(kept.into_iter())
    }
}

/// Keeps the later of two logins; what a session that was killed left on the server nobody knows.
fn later(last: &mut HashMap<String, LastLogin>, session: &Session) {
    let known = last.get(&session.user);
    if known.is_some_and(|known| known.time > session.start) {
        return;
    }
    let report = &session.report;
    let (left, left_octets) = match known {
        Some(known) if report.end == End::Killed => (known.left, known.left_octets),
        _ => (report.left, report.left_octets),
    };
    let login = LastLogin { time: session.start, client: session.client.clone(), left, left_octets };
    last.insert(session.user.clone(), login);
}

fn add_totals(transaction: &Transaction<'_>, totals: &mut Totals) -> rusqlite::Result<()> {
    let mut sessions = transaction.prepare("SELECT * FROM total")?;
    let mut rows = sessions.query([])?;
    while let Some(row) = rows.next()? {
        let count = Count {
            sessions: number(row, 3)?,
            seconds: number(row, 4)?,
            retrieved: number(row, 5)?,
            top: number(row, 6)?,
            octets: number(row, 7)?,
            deleted: number(row, 8)?,
            deleted_octets: number(row, 9)?,
            refused: 0,
        };
        totals.sessions.insert((row.get(0)?, row.get(1)?, row.get(2)?), count);
    }
    let mut refused = transaction.prepare("SELECT * FROM refused_total")?;
    let mut rows = refused.query([])?;
    while let Some(row) = rows.next()? {
        totals.refused.insert((row.get(0)?, row.get(1)?), number(row, 2)?);
    }
    totals.skipped += transaction.query_row("SELECT skipped FROM meta", [], |row| number(row, 0))?;
    Ok(())
}

/// SQLite's numbers have a sign, ours have none.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0))
}

fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<SessionId> {
    let text: String = row.get(column)?;
    SessionId::parse(text.as_bytes()).ok_or_else(|| unknown(column, text))
}

/// A word that only a later program or another one writes.
fn unknown(column: usize, text: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, text.into())
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    let end: String = row.get(15)?;
    Ok(Session {
        start: row.get(0)?,
        id: id(row, 1)?,
        seconds: number(row, 2)?,
        user: row.get(3)?,
        client: row.get(4)?,
        mechanism: row.get(5)?,
        tls: row.get(6)?,
        refused: row.get(7)?,
        report: Report {
            retrieved: row.get(8)?,
            top: row.get(9)?,
            octets: number(row, 10)?,
            deleted: row.get(11)?,
            deleted_octets: number(row, 12)?,
            left: row.get(13)?,
            left_octets: number(row, 14)?,
            end: End::from_word(&end).ok_or_else(|| unknown(15, end))?,
        },
    })
}

fn refusal(row: &Row<'_>) -> rusqlite::Result<Refusal> {
    Ok(Refusal {
        time: row.get(0)?,
        id: id(row, 1)?,
        number: row.get(2)?,
        user: row.get(3)?,
        client: row.get(4)?,
        mechanism: row.get(5)?,
        reason: row.get(6)?,
    })
}

//! The tables of `history.db`, as numbered migrations. A migration that was released is never changed; a new one goes to the end.

use rusqlite::Transaction;

/// Tells our databases from those of other programs (`PRAGMA application_id`): "poph".
pub(super) const APPLICATION: i32 = 0x706f_7068;

/// Each brings a database one version further; `PRAGMA user_version` counts those that were applied.
const MIGRATIONS: [&str; VERSION as usize] = [
    // 1: Times are seconds since 1970. `session` and `refusal` are kept as long as the configuration says; `login` (everybody's
    // last), `total` and `refused_total` (what was counted since the beginning) for ever. Within a second the id tells sessions
    // apart, and a number the refusals of one connection: so no line is counted twice. `remaining` is what was left on the server.
    "CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        skipped INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    INSERT INTO meta (one) VALUES (1);
    CREATE TABLE session (
        start INTEGER NOT NULL,
        id TEXT NOT NULL,
        seconds INTEGER NOT NULL,
        user TEXT NOT NULL,
        client TEXT NOT NULL,
        mechanism TEXT NOT NULL,
        tls TEXT NOT NULL,
        refused INTEGER NOT NULL,
        retrieved INTEGER NOT NULL,
        top INTEGER NOT NULL,
        octets INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        deleted_octets INTEGER NOT NULL,
        remaining INTEGER NOT NULL,
        remaining_octets INTEGER NOT NULL,
        ending TEXT NOT NULL,
        PRIMARY KEY (start, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_of_user ON session (user, start);
    CREATE TABLE refusal (
        time INTEGER NOT NULL,
        id TEXT NOT NULL,
        number INTEGER NOT NULL,
        user TEXT NOT NULL,
        client TEXT NOT NULL,
        mechanism TEXT NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (time, id, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX refusal_of_user ON refusal (user, time);
    CREATE TABLE login (
        user TEXT PRIMARY KEY,
        last INTEGER NOT NULL,
        client TEXT NOT NULL,
        remaining INTEGER NOT NULL,
        remaining_octets INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE total (
        mechanism TEXT NOT NULL,
        tls TEXT NOT NULL,
        ending TEXT NOT NULL,
        sessions INTEGER NOT NULL,
        seconds INTEGER NOT NULL,
        retrieved INTEGER NOT NULL,
        top INTEGER NOT NULL,
        octets INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        deleted_octets INTEGER NOT NULL,
        PRIMARY KEY (mechanism, tls, ending)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE refused_total (
        mechanism TEXT NOT NULL,
        reason TEXT NOT NULL,
        logins INTEGER NOT NULL,
        PRIMARY KEY (mechanism, reason)
    ) STRICT, WITHOUT ROWID;",
];

/// The version that this program makes and knows: the number of migrations.
pub(super) const VERSION: u32 = 1;

/// Brings a database from `version` to [`VERSION`].
///
/// # Errors
/// SQLite's; the transaction is to be rolled back then.
pub(super) fn migrate(transaction: &Transaction<'_>, version: u32) -> rusqlite::Result<()> {
    for (_, migration) in (1..).zip(MIGRATIONS).filter(|(number, _)| *number > version) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)
}

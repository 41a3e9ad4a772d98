//! The tables of the database, as numbered migrations. A migration that was released is never changed; a new one goes to the end.

use rusqlite::Transaction;

/// Tells our databases from those of other programs (`PRAGMA application_id`): "popa".
pub(super) const APPLICATION: i32 = 0x706f_7061;

/// Each brings a database one version further; `PRAGMA user_version` counts those that were applied.
const MIGRATIONS: [&str; VERSION as usize] = [
    // 1: `meta` has one row: the key, and something sealed to try it with. `user` has everybody with an entry; uid to maildrop are
    // for users who are no system users (`virtual`), where NULL means what the configuration says. An entry has either a sealed
    // secret or, for POP, a verifier in crypt(3)'s form; `scram` is a verifier (RFC 5803) beside a sealed secret. Labels tell the
    // application passwords of a user apart. Times are seconds since 1970.
    "CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        key_id BLOB NOT NULL,
        probe BLOB NOT NULL
    ) STRICT;
    CREATE TABLE user (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        locked INTEGER NOT NULL DEFAULT 0 CHECK (locked IN (0, 1)),
        virtual INTEGER NOT NULL DEFAULT 0 CHECK (virtual IN (0, 1)),
        uid INTEGER CHECK (uid BETWEEN 1 AND 4294967294),
        gid INTEGER CHECK (gid BETWEEN 1 AND 4294967294),
        home TEXT,
        maildrop TEXT,
        CHECK (virtual OR (uid IS NULL AND gid IS NULL AND home IS NULL AND maildrop IS NULL)),
        CHECK ((uid IS NULL) = (gid IS NULL))
    ) STRICT;
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY,
        user INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
        type TEXT NOT NULL CHECK (type IN ('APOP', 'POP', 'IMAP')),
        label TEXT NOT NULL DEFAULT '' CHECK (type = 'POP' OR label = ''),
        sealed BLOB,
        verifier TEXT,
        scram TEXT,
        made INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        UNIQUE (user, type, label),
        CHECK ((type = 'POP') = (verifier IS NOT NULL)),
        CHECK ((type = 'POP') = (sealed IS NULL))
    ) STRICT;",
    // 2: `salts` makes up the salt of a name that has no SCRAM verifier. It is not of the key, so that it stays when that changes.
    "ALTER TABLE meta ADD COLUMN salts BLOB;",
    // 3: What limits a user, NULL being no limit: hours and networks as `mailauth limit` reads them, seconds from one login to the
    // next. Who is retired is locked too, and `unlock` alone does not undo that.
    "ALTER TABLE user ADD COLUMN retired INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1));
    ALTER TABLE user ADD COLUMN hours TEXT;
    ALTER TABLE user ADD COLUMN networks TEXT;
    ALTER TABLE user ADD COLUMN login_delay INTEGER CHECK (login_delay BETWEEN 0 AND 86400);",
];

/// The version that this program makes and knows: the number of migrations.
pub(super) const VERSION: u32 = 3;

/// The first version whose users have limits.
pub(super) const LIMITS: u32 = 3;

/// Brings a database from `version` to [`VERSION`]; `salts` are new random octets.
///
/// # Errors
/// SQLite's; the transaction is to be rolled back then.
pub(super) fn migrate(transaction: &Transaction<'_>, version: u32, salts: &[u8]) -> rusqlite::Result<()> {
    for (_, migration) in (1..).zip(MIGRATIONS).filter(|(number, _)| *number > version) {
        transaction.execute_batch(migration)?;
    }
    transaction.execute("UPDATE meta SET salts = ?1 WHERE salts IS NULL", [salts])?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)
}

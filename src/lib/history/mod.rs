//! What sessions leave behind, for the administrator. Nothing here is ever in a client's way.
//!
//! The monitor appends one line for each session and each refused login to `history.log` (`lines.rs`): one write, no SQLite, no
//! fsync. `mailusradm` and the recorder move lines into `history.db` (`store.rs`), each once, whenever they are killed. Readers
//! take the database and what is still in the log.

pub(crate) mod lines;
pub(crate) mod record;
mod schema;
mod store;
pub(crate) mod summary;

#[cfg(test)]
mod tests;

pub(crate) use record::{Entry, Refusal, Session};
pub(crate) use store::{History, LastLogin, Moved, Place, Totals, move_log};

use crate::config::Config;
use crate::error::Result;
use std::collections::HashMap;

/// The last login of everybody who ever logged in, by name. It reads only; an installation without history has none.
///
/// # Errors
/// The history cannot be read.
pub(crate) fn last_logins(config: &Config) -> Result<HashMap<String, LastLogin>> {
    History::open(config)?.last_logins()
}

//! The recorder: moves the lines of the history from the log into the database, and ends. Nothing of SQLite runs in the monitor.
//!
//! Runs as `pop3d` (or `nobody`), without any capability, but that the files it opens are those of root: log and database are
//! root's alone (0600), since they say who logs in from where. Landlock leaves it the state directory; what lies there besides them
//! belongs to others, whom it has no right to read. Seccomp leaves it no process, no program, no network and no change of ids.
//! It reads nothing but what the monitor and itself have written.

use super::notice::Notice;
use super::role::Surroundings;
use crate::config::Config;
use crate::error::Result;
use crate::history::{self, Moved, Place};
use crate::sys::privileges::{self, Ids};
use crate::sys::process::{Limits, end_first_when_out_of_memory};
use crate::sys::sandbox::{Calls, Fence, Missing, inside};

/// What this role may ask of the kernel.
pub(crate) const CALLS: &[Calls] =
    &[Calls::Base, Calls::Streams, Calls::Messages, Calls::OpenFiles, Calls::Names, Calls::Database];

/// The database, its journal and the log; memory for SQLite's cache and a line.
const LIMITS: Limits =
    Limits { descriptors: Some(32), memory: Some(1 << 30), file_size: None, may_fork: false };

/// Moves all lines there are. The exit status of the role.
pub(crate) fn run(ids: Option<&Ids>, surroundings: &Surroundings<'_>) -> u8 {
    end_first_when_out_of_memory(500);
    match record(ids, surroundings) {
        Ok(Moved { skipped: 0, .. }) => surroundings.tell(&Notice::Begun),
        Ok(Moved { skipped, .. }) => surroundings.tell(&Notice::Remark(format!(
            "{skipped} lines of history.log were torn or not ours, and left out"
        ))),
        Err(error) => surroundings.tell(&Notice::Fault(error)),
    }
    0
}

fn record(ids: Option<&Ids>, surroundings: &Surroundings<'_>) -> Result<Moved> {
    let (place, missing) = enter(ids, surroundings.config, surroundings.require_sandbox())?;
    surroundings.warn_of_missing(&missing);
    history::move_log(&place, surroundings.config)
}

/// Gives up everything that the role does not need; the state directory is left, and what the kernel could not give is told.
///
/// # Errors
/// There is no state directory, or the system refuses.
pub(super) fn enter(ids: Option<&Ids>, config: &Config, require: bool) -> Result<(Place, Missing)> {
    let place = Place::open(&config.state_dir)?;
    match ids {
        Some(ids) => privileges::become_but_for_files(ids)?,
        None => privileges::become_for_good(&privileges::own())?,
    }
    LIMITS.apply()?;
    let missing = Fence { calls: CALLS, directories: &inside(place.directory()), require }.close()?;
    Ok((place, missing))
}

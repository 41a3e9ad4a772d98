//! What killed processes left beside a mailbox, for who looks and removes nothing.

use super::dotlock::{Dotlocks, LEFT_ALONE_FOR};
use super::local::prefix;
use crate::sys::clock;
use crate::sys::directory::Directory;
use crate::sys::file::FileKind;

/// What was found.
pub(crate) struct Leftovers {
    /// Temporary files of updates.
    pub(crate) temporary: Vec<String>,
    /// The dotlock.
    pub(crate) dotlock: Left,
}

/// A dotlock that nobody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// There is none, or somebody holds it.
    Nothing,
    /// Its process is gone.
    Stale,
    /// It belongs to another ordinary user, in a directory where everybody can make files; whose it is.
    Planted(u32),
}

/// Looks beside the mailbox with this name, which belongs to `uid`. A directory that must not be listed shows no temporary files.
/// Where something may be changed in it, nobody else is at work on the mailbox: then a file that is new is a leftover, too.
pub(crate) fn leftovers(directory: &Directory, name: &str, uid: u32) -> Leftovers {
    let alone = directory.may_change();
    let now = clock::wall_seconds();
    let is_left = |temporary: &String| {
        let found = directory.status(temporary).ok().flatten();
        found.is_some_and(|found| {
            let old = alone || now.saturating_sub(found.identity.changed.seconds) >= LEFT_ALONE_FOR;
            found.kind == FileKind::Regular && found.uid == uid && old
        })
    };
    let names = directory.names(&prefix(name)).unwrap_or_default();
    let dotlock = Dotlocks { directory, mailbox: name, uid }.left();
    Leftovers { temporary: names.into_iter().filter(is_left).collect(), dotlock }
}

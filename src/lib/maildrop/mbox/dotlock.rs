//! The dotlock, `MAILBOX.lock` (design, section 4, "Locks").
//!
//! Ours says our pid and `poptools`, and we hold a kernel lock on it for as long as it is ours: that of a
//! process that was killed is known at once, since its kernel lock is free. One of another program is stale
//! when it was not touched for 300 s by the file system's clock and names no living process.

use super::leftovers::Left;
use crate::error::{Error, Result};
use crate::sys::clock;
use crate::sys::directory::Directory;
use crate::sys::file::{FileKind, Identity, Status, set_mode, status, touch};
use crate::sys::lock::{process_exists, try_lock};
use std::fs::File;
use std::io::{self, ErrorKind as E, Read, Write};

/// After how many seconds without a touch another program's dotlock counts as forgotten.
const STALE_AFTER: i64 = 300;
/// After how many seconds a temporary file that is not written to counts as left, for who does not ask for its lock.
pub(super) const LEFT_ALONE_FOR: i64 = 60;
/// The second line of a dotlock of ours.
const SIGNATURE: &[u8] = b"poptools";
/// More of a dotlock is not read, in octets.
const LONGEST: u64 = 128;

/// A dotlock that we hold.
#[derive(Debug)]
pub(crate) struct Dotlock {
    name: String,
    file: File,
    identity: Identity,
}

/// What became of a try.
#[derive(Debug)]
pub(crate) enum Try {
    /// It is ours.
    Taken(Dotlock),
    /// Somebody holds it: whose name stands in it, and since when it was not touched, where that can be seen.
    Busy(Holder),
    /// It belongs to another ordinary user, in a directory where everybody can make files.
    Planted,
    /// None can be made here: a directory that is not writable, or a full disk.
    Impossible(io::Error),
}

/// What can be seen of another's dotlock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The process that it names.
    pub(crate) pid: Option<i32>,
    /// Seconds since its last touch, by this machine's clock.
    pub(crate) age: Option<i64>,
}

/// Makes dotlocks for one mailbox.
#[derive(Debug)]
pub(crate) struct Dotlocks<'a> {
    /// The mailbox's directory.
    pub(crate) directory: &'a Directory,
    /// The mailbox's name.
    pub(crate) mailbox: &'a str,
    /// Its owner.
    pub(crate) uid: u32,
}

impl Dotlocks<'_> {
    /// The dotlock's name.
    pub(crate) fn name(&self) -> String {
        format!("{}.lock", self.mailbox)
    }

    /// Tries once, after a stale dotlock was removed twice; `leftover` becomes true when a dead process of ours had
    /// left one. While another's stands, nothing is made in the directory.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn take(&self, leftover: &mut bool) -> Result<Try> {
        for _ in 0..2 {
            let found = self.directory.status(&self.name()).map_err(|error| self.failed("look at", error))?;
            if let Some(found) = found
                && !self.remove_stale(&found, leftover)
            {
                let planted = self.is_planted(&found);
                return Ok(if planted { Try::Planted } else { Try::Busy(self.holder(&found)) });
            }
            match self.make() {
                Ok(Some(dotlock)) => return Ok(Try::Taken(dotlock)),
                Ok(None) => {}
                Err(error) if cannot_be_made(&error) => return Ok(Try::Impossible(error)),
                Err(error) => return Err(self.failed("make", error)),
            }
        }
        Ok(Try::Busy(Holder::default()))
    }

    /// Makes the dotlock under another name and renames it when it is complete and kernel-locked, so that one that was
    /// left by a killed process always says whose it was. None when somebody else was first.
    ///
    /// The other name is unguessable, so what is renamed is this file and nobody else's. Between its making and its kernel
    /// lock a sweeper may take it for a leftover: then there is nothing to rename, and the next try makes another.
    fn make(&self) -> io::Result<Option<Dotlock>> {
        let (draft, file) = self.directory.create_unguessable(&super::local::prefix(self.mailbox))?;
        let made = self.complete(&draft, file);
        if !matches!(made, Ok(Some(_))) {
            // What stays is swept away by the next update.
            let _ = self.directory.remove(&draft);
        }
        made
    }

    fn complete(&self, draft: &str, mut file: File) -> io::Result<Option<Dotlock>> {
        if !try_lock(&file)? {
            return Ok(None);
        }
        // Others may read who has the lock; where that cannot be said, it is a lock all the same.
        let _ = set_mode(&file, 0o644);
        match writeln!(file, "{}\n{}", std::process::id(), SIGNATURE.escape_ascii()) {
            // The name is the lock; without room for the content it locks as well.
            Err(error) if !cannot_be_made(&error) => return Err(error),
            _ => {}
        }
        let identity = status(&file)?.identity;
        let dotlock = Dotlock { name: self.name(), file, identity };
        match self.directory.rename_to_new(draft, &dotlock.name) {
            // Somebody has the name, or a sweeper had the draft.
            Err(error) if matches!(error.kind(), E::AlreadyExists | E::NotFound) => return Ok(None),
            renamed => renamed?,
        }
        Ok(dotlock.is_held(self.directory).then_some(dotlock))
    }

    /// Whether a dotlock stands that nobody holds, without an attempt to take it.
    pub(super) fn left(&self) -> Left {
        let Ok(Some(found)) = self.directory.status(&self.name()) else { return Left::Nothing };
        if self.is_planted(&found) {
            return Left::Planted(found.uid);
        }
        let Holder { pid, age } = self.holder(&found);
        let gone = !pid.is_some_and(process_exists);
        let regular = found.kind == FileKind::Regular;
        let file = regular.then(|| self.directory.open_to_read(&self.name()).ok()).flatten();
        let ours = found.uid == self.uid && file.is_some_and(|file| is_ours(&content(&file)));
        let forgotten = age.is_some_and(|age| age >= STALE_AFTER);
        if gone && (ours || forgotten) { Left::Stale } else { Left::Nothing }
    }

    /// Removes temporary files and drafts that killed processes of ours left: regular, the user's, not locked by a live one.
    /// A draft that a live one has just made and not locked yet goes too, which costs that one another try.
    pub(super) fn sweep(&self) {
        let prefix = super::local::prefix(self.mailbox);
        for name in self.directory.names(&prefix).unwrap_or_default() {
            let random = &name[prefix.len()..];
            let ours = random.len() == 32 && random.bytes().all(|octet| octet.is_ascii_hexdigit());
            if ours
                && let Ok(Some(found)) = self.directory.status(&name)
                && found.kind == FileKind::Regular
                && found.uid == self.uid
                && found.links == 1
                && let Ok(file) = self.directory.open_file(&name)
                && matches!(try_lock(&file), Ok(true))
            {
                // One that cannot be removed now is found again by the next sweep.
                let _ = self.directory.remove(&name);
            }
        }
    }

    fn holder(&self, found: &Status) -> Holder {
        let touched = found.identity.modified.seconds;
        Holder { pid: self.pid_in(found), age: Some(local_now().saturating_sub(touched).max(0)) }
    }

    /// The process id that a dotlock names.
    fn pid_in(&self, found: &Status) -> Option<i32> {
        if found.kind != FileKind::Regular {
            return None;
        }
        self.directory.open_to_read(&self.name()).ok().and_then(|file| pid(&content(&file)))
    }

    fn is_planted(&self, found: &Status) -> bool {
        let open_to_all = status(self.directory).is_ok_and(|directory| directory.mode & 0o002 != 0);
        open_to_all && found.uid != 0 && found.uid != self.uid
    }

    /// Removes a dotlock whose holder is gone; false when it stands.
    fn remove_stale(&self, found: &Status, leftover: &mut bool) -> bool {
        let regular = found.kind == FileKind::Regular;
        let file = regular.then(|| self.directory.open_file(&self.name()).ok()).flatten();
        let ours = found.uid == self.uid && file.as_ref().is_some_and(|file| is_ours(&content(file)));
        if !ours && !self.is_forgotten(found) {
            return false;
        }
        let may_remove = match &file {
            // Whoever holds the kernel lock may remove it: two that find it stale cannot both do, and the second take
            // away the new lock of the first.
            Some(file) => {
                matches!(try_lock(file), Ok(true))
                    && self.still_names(file)
                    && (ours || status(file).is_ok_and(|now| now.identity == found.identity))
            }
            None => self
                .directory
                .status(&self.name())
                .is_ok_and(|now| now.is_some_and(|now| now.identity == found.identity)),
        };
        let removed = may_remove && self.directory.remove(&self.name()).unwrap_or(false);
        *leftover |= ours && removed;
        removed
    }

    fn still_names(&self, file: &File) -> bool {
        let named = self.directory.status(&self.name()).ok().flatten();
        let open = status(file).ok();
        named.zip(open).is_some_and(|(named, open)| named.identity.same_file(&open.identity))
    }

    fn is_forgotten(&self, found: &Status) -> bool {
        let untouched = |now: i64| now.saturating_sub(found.identity.modified.seconds) >= STALE_AFTER;
        // Asking the directory's clock costs a file: not while our own says that it is too early.
        untouched(local_now())
            && !self.pid_in(found).is_some_and(process_exists)
            && self.now().is_some_and(untouched)
    }

    /// Now, in seconds, by the clock that stamps files in this directory (another machine's, on a network file system).
    fn now(&self) -> Option<i64> {
        let (name, file) = self.directory.create_unguessable(&super::local::prefix(self.mailbox)).ok()?;
        let now = status(&file).ok().map(|status| status.identity.modified.seconds);
        // A probe that cannot be removed is swept away as a leftover.
        let _ = self.directory.remove(&name);
        now
    }

    fn failed(&self, verb: &str, error: io::Error) -> Error {
        Error::io(format!("cannot {verb} {}", self.name()), error)
    }
}

impl Dotlock {
    /// Whether the name still stands for our file.
    pub(crate) fn is_held(&self, directory: &Directory) -> bool {
        directory
            .status(&self.name)
            .is_ok_and(|found| found.is_some_and(|found| found.identity.same_file(&self.identity)))
    }

    /// Shows that the holder lives.
    pub(crate) fn touch(&self) {
        // A dotlock that cannot be touched is still held; others wait 300 s before they doubt it.
        let _ = touch(&self.file);
    }

    /// Removes it, if it still is ours.
    pub(crate) fn release(self, directory: &Directory) {
        if self.is_held(directory) {
            // One that cannot be removed is known as a leftover once our kernel lock on it is gone.
            let _ = directory.remove(&self.name);
        }
    }
}

/// Now, in seconds, by this machine's clock.
fn local_now() -> i64 {
    i64::try_from(clock::wall().as_secs()).unwrap_or(i64::MAX)
}

fn cannot_be_made(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        E::PermissionDenied | E::ReadOnlyFilesystem | E::StorageFull | E::QuotaExceeded | E::FileTooLarge
    )
}

fn content(file: &File) -> Vec<u8> {
    let mut content = Vec::new();
    // What cannot be read is an unreadable dotlock.
    let _ = file.take(LONGEST).read_to_end(&mut content);
    content
}

fn is_ours(content: &[u8]) -> bool {
    content.split(|&octet| octet == b'\n').nth(1) == Some(SIGNATURE)
}

fn pid(content: &[u8]) -> Option<i32> {
    std::str::from_utf8(content).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests;

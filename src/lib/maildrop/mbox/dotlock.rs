//! The dotlock, `MAILBOX.lock` (design, section 4, "Locks").
//!
//! Ours says our pid and `poptools`, and we hold a kernel lock on it for as long as it is ours: that of a
//! process that was killed is known at once, since its kernel lock is free. One of another program is stale
//! when it was not touched for 300 s by the file system's clock and names no living process.

use crate::error::{Error, Result};
use crate::sys::directory::Directory;
use crate::sys::file::{FileKind, Identity, Status, status, touch};
use crate::sys::lock::{process_exists, try_lock};
use std::fs::File;
use std::io::{self, Read, Write};

/// After how many seconds without a touch another program's dotlock counts as forgotten.
const STALE_AFTER: i64 = 300;
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
    /// Somebody holds it.
    Busy,
    /// It belongs to another ordinary user, in a directory where everybody can make files.
    Planted,
    /// None can be made here: a directory that is not writable, or a full disk.
    Impossible(io::Error),
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
    /// left one.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn take(&self, leftover: &mut bool) -> Result<Try> {
        for _ in 0..2 {
            match self.make() {
                Ok(dotlock) => return Ok(Try::Taken(dotlock)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if cannot_be_made(&error) => return Ok(Try::Impossible(error)),
                Err(error) => return Err(self.failed("make", error)),
            }
            let Some(found) =
                self.directory.status(&self.name()).map_err(|error| self.failed("look at", error))?
            else {
                continue;
            };
            if !self.remove_stale(&found, leftover) {
                return Ok(if self.is_planted(&found) { Try::Planted } else { Try::Busy });
            }
        }
        Ok(Try::Busy)
    }

    /// Makes the dotlock under another name and renames it when it is complete and kernel-locked, so that one that was
    /// left by a killed process always says whose it was.
    fn make(&self) -> io::Result<Dotlock> {
        let (draft, mut file) = self.draft()?;
        let made = (|| {
            if !try_lock(&file)? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            match writeln!(file, "{}\n{}", std::process::id(), SIGNATURE.escape_ascii()) {
                // The name is the lock; without room for the content it locks as well.
                Err(error) if !cannot_be_made(&error) => return Err(error),
                _ => {}
            }
            let identity = status(&file)?.identity;
            let name = self.name();
            self.directory.rename_to_new(&draft, &name)?;
            Ok(Dotlock { name, file, identity })
        })();
        if made.is_err() {
            // What stays is replaced by the next who makes one.
            let _ = self.directory.remove(&draft);
        }
        made
    }

    /// A new file for the dotlock. Its name is always the same, so that nothing of killed processes piles up; who has the
    /// mailbox's kernel lock, or the session's, makes it alone.
    fn draft(&self) -> io::Result<(String, File)> {
        let prefix = super::local::prefix(self.mailbox);
        let name = format!("{prefix}lock");
        match self.directory.create(&name, 0o644) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|file| (name, file)),
        }
        let leftover = self.directory.status(&name)?.is_some_and(|found| {
            found.kind == FileKind::Regular && found.uid == self.uid && found.links == 1
        });
        if leftover && self.directory.remove(&name)? {
            return self.directory.create(&name, 0o644).map(|file| (name, file));
        }
        // Somebody planted the name.
        self.directory.create_unguessable(&prefix)
    }

    fn is_planted(&self, found: &Status) -> bool {
        let open_to_all = status(self.directory).is_ok_and(|directory| directory.mode & 0o002 != 0);
        open_to_all && found.uid != 0 && found.uid != self.uid
    }

    /// Removes a dotlock whose holder is gone; false when it stands.
    fn remove_stale(&self, found: &Status, leftover: &mut bool) -> bool {
        let name = self.name();
        if found.kind == FileKind::Regular
            && found.uid == self.uid
            && let Ok(file) = self.directory.open_file(&name)
            && is_ours(&content(&file))
        {
            // Whoever holds the kernel lock may remove it: two that find it stale cannot both do.
            let removed = matches!(try_lock(&file), Ok(true))
                && self.still_names(&file)
                && self.directory.remove(&name).unwrap_or(false);
            *leftover |= removed;
            return removed;
        }
        self.is_forgotten(found)
            && self
                .directory
                .status(&name)
                .is_ok_and(|now| now.is_some_and(|now| now.identity == found.identity))
            && self.directory.remove(&name).unwrap_or(false)
    }

    fn still_names(&self, file: &File) -> bool {
        let named = self.directory.status(&self.name()).ok().flatten();
        let open = status(file).ok();
        named.zip(open).is_some_and(|(named, open)| named.identity.same_file(&open.identity))
    }

    fn is_forgotten(&self, found: &Status) -> bool {
        let pid = match found.kind {
            FileKind::Regular => {
                self.directory.open_to_read(&self.name()).ok().and_then(|file| pid(&content(&file)))
            }
            _ => None,
        };
        !pid.is_some_and(process_exists)
            && self
                .now()
                .is_some_and(|now| now.saturating_sub(found.identity.modified.seconds) >= STALE_AFTER)
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

fn cannot_be_made(error: &io::Error) -> bool {
    use io::ErrorKind as E;
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

//! The spool, by one who has the right to its directory: the spool helper, and tests.
//!
//! Dropping it aborts: the temporary file and the dotlock go, and nothing is renamed.

use super::dotlock::{Dotlock, Dotlocks, Holder, Try};
use super::late::Late;
use super::open;
use super::spool::{LOCKED, Locked, Purpose, Replaced, Spool, UNCERTAIN, not_rewritten};
use crate::config::{Config, Lock};
use crate::error::{Error, Kind, Result};
use crate::sys::directory::Directory;
use crate::sys::file::{Identity, copy_attributes, set_group, set_mode, set_times, status};
use crate::sys::lock::{try_lock, unlock};
use crate::sys::random;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a lock is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client waits, at most, for late deliverers.
const CLIENT_WAITS: Duration = Duration::from_secs(2);

/// Which locks other programs here look at (`maildrop.locks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockSet {
    /// The kernel's record locks.
    pub(crate) fcntl: bool,
    /// `MAILBOX.lock`.
    pub(crate) dotlock: bool,
}

impl LockSet {
    /// Those that the configuration lists.
    pub(crate) fn of(config: &Config) -> Self {
        let has = |lock| config.maildrop.locks.contains(&lock);
        Self { fcntl: has(Lock::Fcntl), dotlock: has(Lock::Dotlock) }
    }
}

impl Default for LockSet {
    fn default() -> Self {
        Self { fcntl: true, dotlock: true }
    }
}

/// The directory of one mailbox.
#[derive(Debug)]
pub(crate) struct Local {
    pub(super) directory: Directory,
    pub(super) name: String,
    pub(super) path: PathBuf,
    locks: LockSet,
    pub(super) uid: u32,
    patience: Duration,
    held: Option<Held>,
    temporary: Option<Temporary>,
    pub(super) late: Option<Late>,
}

/// A mailbox that we hold.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) file: File,
    pub(super) identity: Identity,
    dotlock: Option<Dotlock>,
    leftover: bool,
    note: Option<String>,
}

#[derive(Debug)]
struct Temporary {
    name: String,
    file: File,
}

/// What one try to lock came to.
enum Attempt {
    Held(Held),
    Missing,
    /// Who is in the way.
    Busy(String),
    /// A planted dotlock is.
    Planted(Held),
}

impl Local {
    /// Opens the directory of the mailbox with this path. `uid` owns the mailbox.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub(crate) fn new(mailbox: &Path, locks: LockSet, uid: u32) -> Result<Self> {
        let (folder, name) = open::split(mailbox)?;
        let directory = Directory::open(folder)
            .map_err(|error| Error::io(format!("cannot open {}", folder.display()), error))?;
        Ok(Self {
            directory,
            name: name.to_owned(),
            path: mailbox.to_owned(),
            locks,
            uid,
            patience: PATIENCE,
            held: None,
            temporary: None,
            late: None,
        })
    }

    /// The same, but it waits for locks as long as this.
    #[cfg(test)]
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Shows others that the holder of the dotlock lives; to be called every 10 s while it is held.
    pub(crate) fn touch(&self) {
        if let Some(Held { dotlock: Some(dotlock), .. }) = &self.held {
            dotlock.touch();
        }
    }

    /// Opens and locks the mailbox.
    pub(super) fn acquire(&self, purpose: Purpose, patience: Duration) -> Result<Option<Held>> {
        let begun = Instant::now();
        loop {
            let attempt = self.attempt()?;
            let waited = begun.elapsed();
            let busy = match attempt {
                Attempt::Held(held) => return Ok(Some(held)),
                Attempt::Missing => return Ok(None),
                // A program that takes dotlocks alone may be about to finish; one that never does stops no reader.
                Attempt::Planted(held) if purpose != Purpose::Update && waited >= patience / 10 => {
                    return Ok(Some(held));
                }
                Attempt::Planted(held) => held.note.unwrap_or_default(),
                Attempt::Busy(busy) => busy,
            };
            if waited >= patience {
                let seconds = waited.as_secs();
                return Err(Error::new(Kind::Temporary, format!("waited {seconds} s for a lock: {busy}"))
                    .tell(LOCKED));
            }
            // All is released here: who sleeps with a lock held stops a mail delivery.
            sleep(pause().min(patience.saturating_sub(waited)));
        }
    }

    fn attempt(&self) -> Result<Attempt> {
        let Some(file) = open::file(&self.directory, &self.name, &self.path, self.uid)? else {
            return Ok(Attempt::Missing);
        };
        let path = self.path.display();
        if self.locks.fcntl
            && !try_lock(&file).map_err(|error| Error::io(format!("cannot lock {path}"), error))?
        {
            return Ok(Attempt::Busy(format!("another program holds the lock on {path}")));
        }
        let identity = status(&file).map_err(|error| self.failed("look at", error))?.identity;
        let mut held = Held { file, identity, dotlock: None, leftover: !self.locks.dotlock, note: None };
        let mut planted = false;
        if self.locks.dotlock {
            match self.dotlocks().take(&mut held.leftover)? {
                Try::Taken(dotlock) => held.dotlock = Some(dotlock),
                Try::Busy(holder) => return Ok(Attempt::Busy(self.stands(holder))),
                Try::Planted if self.locks.fcntl => {
                    held.note = Some(format!("{path}.lock was made by another user: remove it"));
                    planted = true;
                }
                Try::Planted => {
                    return Ok(Attempt::Busy(format!("{path}.lock was made by another user: remove it")));
                }
                Try::Impossible(error) if self.locks.fcntl => {
                    held.note = Some(
                        Error::io(format!("no dotlock for {path}, kernel lock alone"), error).to_string(),
                    );
                }
                Try::Impossible(error) => return Err(Error::io(format!("cannot make {path}.lock"), error)),
            }
        }
        if !self.is_named(&held) {
            self.release(held);
            return Ok(Attempt::Busy(format!("{path} is being replaced by another program")));
        }
        Ok(if planted { Attempt::Planted(held) } else { Attempt::Held(held) })
    }

    fn dotlocks(&self) -> Dotlocks<'_> {
        Dotlocks { directory: &self.directory, mailbox: &self.name, uid: self.uid }
    }

    /// A dotlock that stands, and what to do about one that is forgotten.
    fn stands(&self, Holder { pid, age }: Holder) -> String {
        let path = self.path.display();
        let Some(age) = age else { return format!("{path}.lock comes and goes") };
        let whose = pid.map_or_else(|| "no process".to_owned(), |pid| format!("process {pid}"));
        format!("{path}.lock names {whose}, touched {age} s ago; if its program is gone: rm {path}.lock")
    }

    /// Whether the path names what we hold.
    fn is_named(&self, held: &Held) -> bool {
        let named = self.directory.status(&self.name).ok().flatten();
        named.is_some_and(|named| named.identity.same_file(&held.identity))
    }

    pub(super) fn release(&self, held: Held) {
        if let Some(dotlock) = held.dotlock {
            dotlock.release(&self.directory);
        }
        // The last descriptor's closing unlocks too, should this fail.
        let _ = unlock(&held.file);
    }

    /// Gives the temporary file the mailbox's group, mode, access list, attributes and times.
    fn dress(&self, temporary: &File, held: &Held, notes: &mut Vec<String>) -> Result<()> {
        let cannot = |error| self.cannot_rewrite("prepare the new", error).of_kind(Kind::Temporary);
        let old = status(&held.file).map_err(cannot)?;
        let mut mode = old.mode & 0o777;
        if let Err(error) = set_group(temporary, old.gid) {
            // The group's rights would be another group's: nobody gets more than he had.
            mode &= !0o070;
            let what = format!(
                "{} cannot stay with group {}, the group's rights are taken away",
                self.path.display(),
                old.gid
            );
            notes.push(Error::io(what, error).to_string());
        }
        copy_attributes(&held.file, temporary).map_err(cannot)?;
        set_mode(temporary, mode).map_err(cannot)?;
        set_times(temporary, old.accessed, old.identity.modified).map_err(cannot)?;
        temporary.sync_all().map_err(cannot)
    }

    /// The last look before the rename: the mailbox and the dotlock are what we locked, and nothing was lost.
    fn look_again(&self, held: &Held, copied_to: u64) -> Result<()> {
        let size = status(&held.file).map_err(|error| self.failed("look at", error))?.identity.size;
        let locked = held.dotlock.as_ref().is_none_or(|dotlock| dotlock.is_held(&self.directory));
        if self.is_named(held) && locked && size >= copied_to {
            return Ok(());
        }
        let what = format!(
            "{} or its lock was changed by another program in spite of the locks",
            self.path.display()
        );
        Err(Error::new(Kind::Temporary, what))
    }

    pub(super) fn failed(&self, verb: &str, error: io::Error) -> Error {
        Error::io(format!("cannot {verb} {}", self.path.display()), error)
    }

    /// Gives up the lock on the new mailbox, which has its name by now; what it is.
    fn let_go(&self, new: &File) -> Result<Identity> {
        let found = status(new);
        // The last descriptor's closing unlocks too, should this fail.
        let _ = unlock(new);
        found.map(|found| found.identity).map_err(|error| self.failed("look at", error))
    }

    /// A failure that leaves the old mailbox in its place; the client hears what still works.
    fn cannot_rewrite(&self, verb: &str, error: io::Error) -> Error {
        let told = not_rewritten(&error);
        self.failed(verb, error).tell(told)
    }

    fn abort(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let _ = self.directory.remove(&temporary.name);
        }
        if let Some(held) = self.held.take() {
            self.release(held);
        }
    }
}

impl Spool for Local {
    fn lock(&mut self, purpose: Purpose) -> Result<Option<Locked>> {
        self.abort();
        // Once we hold the locks nothing can be brought over from an earlier replacement's old file.
        self.end_watch()?;
        let Some(mut held) = self.acquire(purpose, self.patience)? else { return Ok(None) };
        if held.leftover || purpose == Purpose::Recover {
            self.dotlocks().sweep();
        }
        let notes = held.note.take().into_iter().collect();
        let file = held.file.try_clone();
        // From here on it is released whatever happens.
        self.held = Some(held);
        let file = file.map_err(|error| self.failed("keep open", error))?;
        Ok(Some(Locked { file, notes }))
    }

    fn temporary(&mut self) -> Result<File> {
        let cannot = |error| self.cannot_rewrite("make a file beside", error);
        if self.held.is_none() {
            return Err(Error::new(Kind::Temporary, "a new mailbox without a lock on the old one"));
        }
        if self.temporary.is_some() {
            return Err(Error::new(Kind::Temporary, "a second new mailbox beside an unfinished one"));
        }
        let (name, file) = self.directory.create_unguessable(&prefix(&self.name)).map_err(cannot)?;
        let copy = file.try_clone().map_err(cannot);
        let locked = try_lock(&file).map_err(cannot);
        // From here on it is removed whatever happens.
        self.temporary = Some(Temporary { name, file });
        if !locked? {
            return Err(Error::new(Kind::Temporary, "somebody locked our temporary file"));
        }
        copy
    }

    fn replace(&mut self, copied_to: u64) -> Result<Replaced> {
        let (Some(held), Some(temporary)) = (&self.held, &self.temporary) else {
            return Err(Error::new(Kind::Temporary, "nothing to put in the mailbox's place"));
        };
        let mut notes = Vec::new();
        self.dress(&temporary.file, held, &mut notes)?;
        self.look_again(held, copied_to)?;
        let renamed = self.directory.rename(&temporary.name, &self.name);
        renamed.map_err(|error| self.cannot_rewrite("replace", error))?;
        // The mailbox is the new one from here on. Nothing returns until the old one is watched.
        let durable = self.directory.sync().map_err(|error| self.failed("make durable", error));
        let identity =
            self.temporary.take().map_or_else(|| Ok(Identity::default()), |new| self.let_go(&new.file));
        if let Some(Held { file, dotlock, .. }) = self.held.take() {
            if let Some(dotlock) = dotlock {
                dotlock.release(&self.directory);
            }
            let _ = unlock(&file);
            self.late = Some(Late::new(file, copied_to));
        }
        let identity = durable.and(identity).map_err(|error| error.tell(UNCERTAIN))?;
        // What goes wrong with late mail is for the log: the update itself is done.
        if let Err(error) = self.watch(CLIENT_WAITS) {
            notes.push(error.to_string());
        }
        Ok(Replaced { identity, notes })
    }

    fn unlock(&mut self) -> Result<()> {
        self.abort();
        Ok(())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.abort();
        // Nobody is left to be told.
        let _ = self.end_watch();
    }
}

/// How the names of our temporary files begin.
pub(super) fn prefix(mailbox: &str) -> String {
    format!(".{mailbox}.poptools-")
}

/// 20 to 200 ms at random, so that two who wait for each other do not do so in step.
fn pause() -> Duration {
    // Without randomness two of us may wait in step, no more.
    let random = random::number().unwrap_or_default();
    Duration::from_millis(20 + random % 181)
}

//! Mends what was found. The caller holds the maildrop as a session does; the mailbox's own locks are taken here.
//!
//! Killed at any moment, the mailbox is the old or the new one: what is written anew is written beside it, as by an update, once the
//! copy of the old one is on disk.

use super::{Finding, Fix, Outcome, Scene, look};
use crate::error::{Error, Kind, Result};
use crate::maildrop::maildir::build::Builder;
use crate::maildrop::maildir::staged::IMPORTING;
use crate::maildrop::mbox::local::{Local, LockSet};
use crate::maildrop::mbox::spool::{Purpose, Spool};
use crate::maildrop::mbox::whole;
use crate::maildrop::uidl::twins::{self, Twins};
use crate::maildrop::{self, index};
use crate::sys::clock;
use crate::sys::directory::Directory;
use crate::sys::file::{read_at, status};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// The size of the buffer where the kernel cannot copy by itself.
const BUFFER: usize = 1 << 20;

/// Looks for damage and mends it. `places` is where the state directory is, for messages.
///
/// # Errors
/// The maildrop cannot be looked at.
pub(crate) fn mend(scene: &Scene<'_>, locks: LockSet, places: &str) -> Result<Vec<Finding>> {
    let found = maildrop::find(scene.format, scene.path, scene.uid);
    let mut findings = look(scene, found)?;
    let mut rewritten: Option<(Fix, Outcome)> = None;
    for finding in &mut findings {
        let Some(fix) = finding.fix.clone() else { continue };
        // One way of writing the mailbox anew mends all that says so.
        finding.outcome = match &rewritten {
            Some((done, outcome)) if *done == fix => outcome.clone(),
            _ => match apply(&fix, scene, locks, places) {
                Ok(kept) => Outcome::Mended(kept),
                Err(error) => Outcome::Failed(error.to_string()),
            },
        };
        if matches!(fix, Fix::Rewrite { .. }) {
            rewritten = Some((fix, finding.outcome.clone()));
        }
    }
    let changed = findings.iter().any(|finding| matches!(finding.outcome, Outcome::Mended(_)));
    // The index follows, as at a login: what was mended shows.
    if changed && let Err(error) = open(scene, locks) {
        for finding in findings.iter_mut().filter(|finding| finding.fix == Some(Fix::Index)) {
            finding.outcome = Outcome::Failed(error.to_string());
        }
    }
    Ok(findings)
}

/// Mends one thing; the path of what is kept.
fn apply(fix: &Fix, scene: &Scene<'_>, locks: LockSet, places: &str) -> Result<Option<String>> {
    let cannot = |cause| Error::io("cannot change the state directory", cause);
    match fix {
        Fix::Remove(name) => scene.state.remove(name).map_err(cannot).map(|_| None),
        Fix::Index => scene.state.remove(index::NAME).map_err(cannot).map(|_| None),
        Fix::Uidl => uidl(scene.state, places).map(Some),
        Fix::Recover => recover(scene, locks).map(|()| None),
        Fix::End => end(scene, locks).map(|()| None),
        Fix::Rewrite { skip, cut, envelope } => {
            rewrite(scene, locks, places, Cut { skip: *skip, cut: *cut, envelope: *envelope }).map(Some)
        }
        Fix::Import => import(scene, locks).map(|()| None),
        Fix::Staged => staged(scene).map(|()| None),
        Fix::Folder(name) => folder(scene, name).map(|()| None),
        // Permissions are set by who asks for the overhaul, and a state directory must be there for it.
        Fix::Mode { .. } | Fix::StateDirectory => Ok(None),
    }
}

fn open(scene: &Scene<'_>, locks: LockSet) -> Result<()> {
    let found = maildrop::find(scene.format, scene.path, scene.uid)?;
    let local = Local::new(scene.path, locks, scene.uid)?;
    let state = scene.state.as_fd().try_clone_to_owned();
    let state = state.map_err(|cause| Error::io("cannot open the state directory", cause))?;
    maildrop::open(found, scene.path, scene.uid, state.into(), Box::new(local)).map(drop)
}

/// Opens the maildrop, which shows what an import has left to show.
fn import(scene: &Scene<'_>, locks: LockSet) -> Result<()> {
    open(scene, locks)?;
    match scene.state.status(IMPORTING) {
        Ok(None) => Ok(()),
        _ => Err(Error::new(
            Kind::Temporary,
            "its messages could not be moved; the log of the next login says why",
        )),
    }
}

/// Removes what an import left that nobody has seen.
fn staged(scene: &Scene<'_>) -> Result<()> {
    let cannot = |cause| Error::io("cannot remove what an import left", cause);
    let Some(maildir) = super::folders::maildir(scene) else { return Ok(()) };
    Builder::open(&maildir).and_then(|builder| builder.sweep(scene.state)).map_err(cannot)
}

/// Keeps the damaged file under another name, and writes what can be read of it anew.
fn uidl(state: &Directory, places: &str) -> Result<String> {
    let cannot = |cause| Error::io("cannot write the uidl file anew", cause);
    let mut twins = Twins::load(state)?;
    let kept = format!("uidl.damaged-{}", stamp());
    let old = state.open_to_read(twins::NAME).map_err(cannot)?;
    keep(&old, state, &kept)?;
    twins.mend(state).map_err(cannot)?;
    Ok(format!("{places}/{kept}"))
}

/// Takes the locks, which removes what was left, and gives them up.
fn recover(scene: &Scene<'_>, locks: LockSet) -> Result<()> {
    let mut local = Local::new(scene.path, locks, scene.uid)?;
    let locked = whole::lock(&mut local, scene.state, Purpose::Recover)?;
    let note = locked.and_then(|locked| locked.notes.into_iter().next());
    whole::unlock(&mut local, scene.state)?;
    note.map_or(Ok(()), |note| Err(Error::new(Kind::Temporary, note)))
}

/// Puts line ends behind the last message. A deliverer that is killed in the middle of this loses nothing, and so do we.
fn end(scene: &Scene<'_>, locks: LockSet) -> Result<()> {
    let cannot = |cause| Error::io("cannot write behind the last message", cause);
    let mut local = Local::new(scene.path, locks, scene.uid)?;
    if let Some(locked) = whole::lock(&mut local, scene.state, Purpose::Update)? {
        let size = status(&locked.file).map_err(cannot)?.identity.size;
        let padding = whole::padding(&locked.file, size).map_err(cannot)?;
        let written = locked.file.write_all_at(padding, size).and_then(|()| locked.file.sync_all());
        if written.is_err() {
            // Half a line end would be worse than none.
            let _ = locked.file.set_len(size);
        }
        written.map_err(cannot)?;
    }
    whole::unlock(&mut local, scene.state)
}

/// What a mailbox that is written anew has more and less.
#[derive(Clone, Copy)]
struct Cut {
    skip: u64,
    cut: u64,
    envelope: bool,
}

/// Writes the mailbox anew beside the old one, and puts it in its place; the path of the copy.
fn rewrite(scene: &Scene<'_>, locks: LockSet, places: &str, what: Cut) -> Result<String> {
    let cannot = |cause| Error::io("cannot write the mailbox anew", cause);
    let mut local = Local::new(scene.path, locks, scene.uid)?;
    let Some(locked) = whole::lock(&mut local, scene.state, Purpose::Update)? else {
        return Err(Error::new(Kind::Temporary, "the mailbox is gone"));
    };
    let size = status(&locked.file).map_err(cannot)?.identity.size;
    // Looked at once more, now that nobody else writes to it: what is taken out is nothing.
    let to = size.checked_sub(what.cut).filter(|to| *to >= what.skip);
    let to = to.ok_or_else(|| Error::new(Kind::Temporary, "the mailbox was changed meanwhile; try again"))?;
    if !is_nothing(&locked.file, 0, what.skip).map_err(cannot)?
        || !is_nothing(&locked.file, to, size).map_err(cannot)?
    {
        return Err(Error::new(Kind::Temporary, "the mailbox was changed meanwhile; try again"));
    }
    let kept = format!("mailbox.before-{}", stamp());
    keep_touched(&locked.file, size, scene.state, &kept, &local)?;
    let new = local.temporary()?;
    let mut length = 0;
    if what.envelope {
        let line = format!("From MAILER-DAEMON {}\n", clock::asctime(clock::wall_seconds()));
        new.write_all_at(line.as_bytes(), 0).map_err(cannot)?;
        length = line.len() as u64;
    }
    length += whole::transfer(&locked.file, what.skip..to, &new, length, &local).map_err(cannot)?;
    let padding = if length > 0 { whole::padding(&new, length).map_err(cannot)? } else { b"" };
    new.write_all_at(padding, length).and_then(|()| new.sync_all()).map_err(cannot)?;
    // The old index would be for another file.
    let _ = scene.state.remove(index::NAME);
    local.replace(size)?;
    whole::unlock(&mut local, scene.state)?;
    Ok(format!("{places}/{kept}"))
}

/// Whether there is nothing but NUL and line ends in a range.
fn is_nothing(file: &File, from: u64, to: u64) -> io::Result<bool> {
    let (mut buffer, mut position) = (vec![0; BUFFER], from);
    while position < to {
        let wanted = usize::try_from(to - position).unwrap_or(BUFFER).min(BUFFER);
        let count = read_at(file, &mut buffer[..wanted], position)?;
        if count < wanted || buffer[..count].iter().any(|octet| !matches!(octet, 0 | b'\n' | b'\r')) {
            return Ok(false);
        }
        position += count as u64;
    }
    Ok(true)
}

/// Keeps a copy of a file in the state directory, durably.
fn keep(file: &File, state: &Directory, name: &str) -> Result<()> {
    let cannot = |cause| Error::io(format!("cannot keep a copy as {name}"), cause);
    let size = status(file).map_err(cannot)?.identity.size;
    let mut octets = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(64 << 20)];
    let count = read_at(file, &mut octets, 0).map_err(cannot)?;
    let copy = state.create(name, 0o600).map_err(cannot)?;
    let written = copy.write_all_at(&octets[..count], 0).and_then(|()| copy.sync_all());
    written.and_then(|()| state.sync()).map_err(|cause| {
        let _ = state.remove(name);
        cannot(cause)
    })
}

/// The same of a mailbox of any size.
fn keep_touched(file: &File, size: u64, state: &Directory, name: &str, local: &Local) -> Result<()> {
    let cannot = |cause| Error::io(format!("cannot keep a copy as {name}, so nothing was changed"), cause);
    let copy = state.create(name, 0o600).map_err(cannot)?;
    let copied = whole::transfer(file, 0..size, &copy, 0, local);
    copied.and_then(|_| copy.sync_all()).and_then(|()| state.sync()).map_err(|cause| {
        let _ = state.remove(name);
        cannot(cause)
    })
}

fn folder(scene: &Scene<'_>, name: &str) -> Result<()> {
    let cannot = |cause| Error::io(format!("cannot make {}/{name}", scene.path.display()), cause);
    let maildir = Directory::open(scene.path).map_err(cannot)?;
    maildir.make_directory(name, 0o700).and_then(|()| maildir.sync()).map_err(cannot)
}

/// A moment for a name: seconds and nanoseconds since 1970.
fn stamp() -> String {
    let now = clock::wall();
    format!("{}-{:09}", now.as_secs(), now.subsec_nanos())
}

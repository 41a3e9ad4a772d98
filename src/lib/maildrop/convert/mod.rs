//! Makes a Maildir of an mbox, and an mbox of a Maildir, in the same place: the path names the old or the new one, whole, whenever
//! the work is cut off, and every message keeps its unique id.
//!
//! The new maildrop is made beside the old one, under the name that the old one will have: `.ann.old-mbox` is a Maildir while
//! it is filled, `.ann.old-maildir` a file. It is read again as a login would and compared with the old one. Then the two names
//! change places in one step. So what bears such a name tells by its kind whether it is an old maildrop or was never finished.
//!
//! Behind the step comes what arrived in the old maildrop meanwhile. The old index is kept as `converting` in the state directory
//! until that is done, so that who was killed can go on.

#[cfg(test)]
mod tests;
mod to_maildir;
mod to_mbox;

use super::index::{self, Index, Layout, open_state_file};
use super::maildir;
use super::mbox::local::LockSet;
use super::mbox::open::split;
use crate::error::{Error, Kind, Result};
use crate::sys::directory::Directory;
use crate::sys::file::{FileKind, read_at};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The old index, while mail that came to the old maildrop may be missing in the new one.
const MARK: &str = "converting";

/// How often a dotlock is touched.
const TOUCH: Duration = Duration::from_secs(10);

/// A maildrop that nobody else may use meanwhile: its session's lock is held.
pub(crate) struct Site {
    /// Where it is, the old one and the new one.
    pub(crate) path: PathBuf,
    /// The user.
    pub(crate) uid: u32,
    /// The user's state directory.
    pub(crate) state: Directory,
    /// The locks of an mbox.
    pub(crate) locks: LockSet,
    /// Whether the old maildrop goes, and one that an earlier conversion left.
    pub(crate) remove_old: bool,
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Target {
    /// One file with all messages.
    Mbox,
    /// A directory with a file for each.
    Maildir,
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// It had the format already.
    pub(crate) already: bool,
    /// Messages that were converted.
    pub(crate) messages: u32,
    /// Messages that came meanwhile and were brought over.
    pub(crate) late: u32,
    /// Where the old maildrop is.
    pub(crate) kept: Option<PathBuf>,
    /// An old maildrop of before was removed.
    pub(crate) removed: bool,
    /// What the administrator should know.
    pub(crate) notes: Vec<String>,
}

/// Converts the maildrop.
///
/// # Errors
/// The old maildrop is in its place, or the words say that it may not be.
pub(crate) fn run(site: &Site, target: Target) -> Result<Done> {
    let (above_path, name) = split(&site.path)?;
    let above = Directory::open(above_path)
        .map_err(|error| Error::io(format!("cannot open {}", above_path.display()), error))?;
    let place = Place { site, above, name, aside: format!(".{name}.old-{}", old_word(target)), target };
    let found = place.above.status(name).map_err(|error| place.failed("look at", error))?;
    match (found.map(|found| found.kind), target) {
        (None, _) => Err(Error::new(Kind::Permanent, format!("{} does not exist", site.path.display()))),
        (Some(FileKind::Regular), Target::Maildir) => to_maildir::run(&place),
        (Some(FileKind::Directory), Target::Mbox) => to_mbox::run(&place),
        (Some(FileKind::Regular), Target::Mbox) | (Some(FileKind::Directory), Target::Maildir) => {
            place.already()
        }
        (Some(_), _) => Err(Error::new(Kind::Permanent, format!("{} is no maildrop", site.path.display()))),
    }
}

/// How the name of what is kept ends.
const fn old_word(target: Target) -> &'static str {
    match target {
        Target::Maildir => "mbox",
        Target::Mbox => "maildir",
    }
}

/// A maildrop's directory and names.
struct Place<'a> {
    site: &'a Site,
    above: Directory,
    name: &'a str,
    /// The new maildrop's name while it is made, the old one's from then on.
    aside: String,
    target: Target,
}

impl Place<'_> {
    /// What an interrupted conversion left is removed; an old maildrop of before is in the way.
    fn clear(&self) -> Result<()> {
        let cannot = |error| self.failed_aside("remove", error);
        let _ = self.site.state.remove(MARK);
        let found = self.above.status(&self.aside).map_err(cannot)?;
        let unfinished = match self.target {
            Target::Maildir => FileKind::Directory,
            Target::Mbox => FileKind::Regular,
        };
        match found.map(|found| found.kind) {
            None => Ok(()),
            Some(kind) if kind == unfinished || self.site.remove_old => self.remove_aside().map(drop),
            Some(_) => {
                let aside = self.aside_path();
                let what =
                    format!("{} is there, the maildrop of before an earlier conversion", aside.display());
                Err(Error::new(Kind::Permanent, what).with_fix("--remove-old removes it"))
            }
        }
    }

    /// Removes what has the old maildrop's name; false when nothing has.
    fn remove_aside(&self) -> Result<bool> {
        let cannot = |error| self.failed_aside("remove", error);
        let Some(found) = self.above.status(&self.aside).map_err(cannot)? else { return Ok(false) };
        if found.kind == FileKind::Directory {
            maildir::build::remove(&self.above, &self.aside).map_err(cannot)?;
        } else {
            self.above.remove(&self.aside).map_err(cannot)?;
        }
        self.above.sync().map_err(cannot)?;
        Ok(true)
    }

    /// The maildrop has the format. Who was killed when it had just got it left mail in the old one.
    fn already(&self) -> Result<Done> {
        let mut done = Done { already: true, ..Done::default() };
        let layout = match self.target {
            Target::Maildir => Layout::Mbox,
            Target::Mbox => Layout::Maildir,
        };
        let mark = open_state_file(&self.site.state, MARK).ok().flatten();
        let old = self.above.status(&self.aside).map_err(|error| self.failed_aside("look at", error))?;
        if let (Some(mark), true) = (mark, old.is_some()) {
            if let Some(index) = Index::from_file(mark, layout) {
                done.late = match self.target {
                    Target::Maildir => to_maildir::go_on(self, &index)?,
                    Target::Mbox => to_mbox::go_on(self, index)?,
                };
            }
            let _ = self.site.state.remove(MARK);
        }
        if self.site.remove_old {
            done.removed = self.remove_aside()?;
        }
        done.kept = (old.is_some() && !done.removed).then(|| self.aside_path());
        Ok(done)
    }

    /// Keeps the old index, from before another one takes its place.
    fn keep_index(&self) -> Result<()> {
        match self.site.state.rename(index::NAME, MARK) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("cannot rename the index", error))
            }
            _ => self.site.state.sync().map_err(|error| Error::io("cannot keep the index", error)),
        }
    }

    /// The step: from here on the path names the new maildrop.
    fn exchange(&self) -> Result<()> {
        self.above.exchange(&self.aside, self.name).map_err(|error| match error.raw_os_error() {
            Some(22 | 95) => {
                let what = format!(
                    "{}: this file system cannot let two names change places",
                    self.site.path.display()
                );
                Error::new(Kind::Permanent, what)
            }
            _ => self.failed("replace", error),
        })?;
        self.above.sync().map_err(|error| self.failed("make durable the conversion of", error))
    }

    /// The end of a conversion.
    fn finish(&self, mut done: Done) -> Result<Done> {
        let _ = self.site.state.remove(MARK);
        if self.site.remove_old {
            done.removed = self.remove_aside()?;
        } else {
            done.kept = Some(self.aside_path());
        }
        Ok(done)
    }

    fn state(&self) -> Result<Directory> {
        let copy = self.site.state.as_fd().try_clone_to_owned();
        copy.map(Directory::from).map_err(|error| Error::io("cannot keep the state directory open", error))
    }

    fn aside_path(&self) -> PathBuf {
        self.site.path.parent().unwrap_or(Path::new("/")).join(&self.aside)
    }

    fn failed(&self, verb: &str, error: io::Error) -> Error {
        Error::io(format!("cannot {verb} {}", self.site.path.display()), error)
    }

    fn failed_aside(&self, verb: &str, error: io::Error) -> Error {
        Error::io(format!("cannot {verb} {}", self.aside_path().display()), error)
    }

    /// The new maildrop would not be the old one.
    fn differs(&self, position: usize) -> Error {
        let what = format!(
            "message {} of {} would get another unique id, nothing was changed",
            position + 1,
            self.site.path.display()
        );
        Error::new(Kind::Permanent, what)
    }
}

/// Appends a range of one file to another.
fn copy_range(from: &File, start: u64, length: u64, to: &File) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    let (mut offset, end) = (start, start + length);
    let mut to = to;
    while offset < end {
        let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
        if read_at(from, &mut buffer[..wanted], offset)? != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&buffer[..wanted])?;
        offset += wanted as u64;
    }
    Ok(())
}

/// Does something now and then.
struct Rhythm(Instant);

impl Rhythm {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn beat(&mut self, work: impl FnOnce()) {
        if self.0.elapsed() >= TOUCH {
            work();
            self.0 = Instant::now();
        }
    }
}

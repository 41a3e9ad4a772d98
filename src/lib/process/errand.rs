//! An errand: a look into one user's maildrop for the administrator, by a child that is to that maildrop what a session is.
//!
//! The child becomes the user for good and closes a session's fence before it looks at a single octet of the user's; what it
//! finds it tells over a socket pair, in messages that the asking process takes for words of a stranger. So nothing of
//! anybody's mail is parsed with root's rights, and what a hostile message could do stays in its user's own reach.
//!
//! It changes nothing whatever happens, takes no lock and makes no file, so that it disturbs neither a session nor a delivery.
//! What changes a maildrop is an overhaul (`overhaul.rs`).

use super::worker::{Worker, cannot};
use super::{places, session};
use crate::auth::Account;
use crate::config::{Config, Sandbox};
use crate::error::Result;
use crate::maildrop::mbox::reading::Reading;
use crate::maildrop::mbox::spool::Spool;
use crate::maildrop::{self, Found, Maildrop};
use crate::sys::descriptors::silence_standard_streams;
use crate::sys::directory::Directory;
use crate::sys::privileges;
use crate::sys::sandbox::{Calls, Fence, Missing, inside};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

pub(crate) use super::worker::Tell;

/// What the child may ask of the kernel: what a session may, and whether the holder of a dotlock lives.
pub(crate) const CALLS: &[Calls] =
    &[Calls::Base, Calls::Streams, Calls::Messages, Calls::OpenFiles, Calls::Names, Calls::Processes];

/// What the child works with, behind its fence.
pub(crate) struct Site {
    /// The maildrop's path, for messages alone.
    pub(crate) path: PathBuf,
    /// The user.
    pub(crate) uid: u32,
    /// What stands there, or why it is none.
    pub(crate) found: Result<Found>,
    /// The directory that it lies in, for reading alone, where the user may look at it.
    pub(crate) above: Option<Directory>,
    /// The user's state directory; of one who has none, or when looking, one that nothing can be made in.
    pub(crate) state: Directory,
    /// What takes the mailbox's locks.
    pub(crate) spool: Box<dyn Spool>,
}

impl Site {
    /// Opens the maildrop as a session does.
    ///
    /// # Errors
    /// As `maildrop::open`.
    pub(crate) fn open(self) -> Result<Box<dyn Maildrop>> {
        maildrop::open(self.found?, &self.path, self.uid, self.state, self.spool)
    }
}

/// Looks at a maildrop: `work` in the child, `part` here for each part that it tells. Nothing is changed.
///
/// # Errors
/// The work's and those of `part`, or the child ended without an answer.
pub(crate) fn look<P, T>(
    config: &Config,
    account: &Account,
    work: impl FnOnce(Site, Tell<'_, P>) -> Result<T>,
    part: impl FnMut(P) -> Result<()>,
) -> Result<T>
where
    P: Serialize + DeserializeOwned,
    T: Serialize + DeserializeOwned,
{
    let worker = Worker::start(&[], |tell| {
        // Which parts the kernel lacks the server's own log and `pop3d --check` say.
        let (site, _) = enter(config, account)?;
        work(site, tell)
    })?;
    let heard = worker.hear(part);
    if heard.is_ok() {
        worker.wait();
    } else {
        worker.stop();
    }
    heard
}

struct Errand<'a> {
    config: &'a Config,
    account: &'a Account,
}

/// From root to the user, behind the fence; for the self-test. What the kernel lacks comes with it.
///
/// # Errors
/// The user's maildrop cannot be opened, or the system refuses.
pub(super) fn enter(config: &Config, account: &Account) -> Result<(Site, Missing)> {
    Errand { config, account }.enter()
}

impl Errand<'_> {
    /// From root to the user, behind the fence.
    fn enter(&self) -> Result<(Site, Missing)> {
        silence_standard_streams()?;
        let Account { uid, .. } = *self.account;
        privileges::become_for_good(&places::session_ids(self.account))?;
        let path = self.account.mailbox(self.config);
        let found = maildrop::find_to_read(self.config.maildrop.format, &path, uid);
        let above = Directory::open(path.parent().unwrap_or(Path::new("/"))).ok().map(Directory::read_only);
        let state = self.state_to_read()?;
        session::limits(self.config).apply()?;
        let missing = self.fence(found.as_ref().ok(), &state, above.as_ref())?;
        let spool = Box::new(Reading::of(found.as_ref().ok())?);
        Ok((Site { path, uid, found, above, state, spool }, missing))
    }

    /// The user's state directory as the user finds it; one that is another's, or missing, is none.
    fn state_to_read(&self) -> Result<Directory> {
        let above = self.config.state_dir.join("maildrop");
        let opened = Directory::open(&above).and_then(|above| above.open_directory(&self.account.name));
        match opened {
            Ok(state) => Ok(state.read_only()),
            Err(_) => Directory::nowhere().map_err(cannot),
        }
    }

    fn fence(&self, found: Option<&Found>, state: &Directory, above: Option<&Directory>) -> Result<Missing> {
        let mut directories: Vec<BorrowedFd<'_>> = found.map(Found::directories).unwrap_or_default();
        directories.extend(inside(state).into_iter().filter(|_| !state.is_nowhere()));
        directories.extend(above.map(AsFd::as_fd));
        let require = self.config.sandbox == Sandbox::Require;
        let fence = Fence { calls: CALLS, directories: &directories, require };
        fence.close_to_read()
    }
}

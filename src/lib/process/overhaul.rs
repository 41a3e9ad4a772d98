//! Work that makes a maildrop anew, for the administrator: a child that is to the maildrop what a session and its spool helper are
//! together.
//!
//! It holds the session's lock, so that nobody logs in meanwhile, becomes the user with the group of the mailbox's directory, and
//! closes a fence that leaves it that directory and the user's state directory. What is in the maildrop is read behind the fence
//! alone. Whoever asked hears one answer; a key that ends programs ends that one, and the work goes on to its end.

use super::places;
use super::spool::CALLS;
use crate::auth::Account;
use crate::config::{Config, Lock, Sandbox};
use crate::error::{Error, Kind, Result};
use crate::log::SessionId;
use crate::maildrop::mbox::local::LockSet;
use crate::sys::descriptors::{close_all_but, silence_standard_streams};
use crate::sys::directory::Directory;
use crate::sys::privileges::{self, Ids};
use crate::sys::process::{self, Limits};
use crate::sys::sandbox::{Fence, Missing};
use crate::sys::socket::{self, Peer};
use crate::sys::{lock, signals};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A handful of descriptors, and memory for what is kept of a million messages.
const LIMITS: Limits =
    Limits { descriptors: Some(64), memory: Some(1 << 30), file_size: None, may_fork: false };

/// The longest answer: some paths and sentences.
const LARGEST: usize = 64 * 1024;

/// What the child works with.
pub(crate) struct Ground {
    /// The maildrop's path.
    pub(crate) path: PathBuf,
    /// The user.
    pub(crate) uid: u32,
    /// The user's state directory.
    pub(crate) state: Directory,
    /// The locks of an mbox.
    pub(crate) locks: LockSet,
}

/// What the child says.
#[derive(Serialize, Deserialize)]
enum Said<T> {
    Done(T),
    Failed { in_use: bool, temporary: bool, what: String },
}

/// Does the work. `passed` are open files that it has in the child too.
///
/// # Errors
/// `Kind::InUse` when somebody is logged in; the work's; or the child ended without an answer.
pub(crate) fn run<T: Serialize + DeserializeOwned>(
    config: &Config,
    account: &Account,
    passed: &[&File],
    work: impl FnOnce(Ground) -> Result<T>,
) -> Result<T> {
    places::prepare(config)?;
    let nobody = Peer::direct(None);
    let held = places::take_maildrop(config, account, SessionId::random()?, &nobody)?;
    let state = places::state_directory(config, account)?;
    let (here, there) = socket::pair().map_err(cannot)?;
    let kept: Vec<i32> = [there.as_raw_fd(), held.as_raw_fd(), state.as_fd().as_raw_fd()]
        .into_iter()
        .chain(passed.iter().map(|file| file.as_raw_fd()))
        .collect();
    let child = process::fork(|| {
        close_all_but(&kept);
        let said = match enter(config, account, state).and_then(|(ground, _)| work(ground)) {
            Ok(done) => Said::Done(done),
            Err(error) => failed(&error),
        };
        u8::from(!say(&there, &said))
    })?;
    drop(there);
    let mut buffer = vec![0; LARGEST];
    // End of file when it died.
    let received = socket::receive(&here, &mut buffer, true);
    process::wait_for(child);
    let length = received.map_err(cannot)?.length;
    match serde_json::from_slice(&buffer[..length]) {
        Ok(Said::Done(done)) => Ok(done),
        Ok(Said::Failed { in_use, temporary, what }) => Err(Error::new(
            match (in_use, temporary) {
                (true, _) => Kind::InUse,
                (_, true) => Kind::Temporary,
                _ => Kind::Permanent,
            },
            what,
        )),
        Err(_) => Err(cannot(io::Error::other("the process that does ended without an answer"))),
    }
}

/// From root to the user with the directory's group, for good.
pub(super) fn enter(config: &Config, account: &Account, state: Directory) -> Result<(Ground, Missing)> {
    silence_standard_streams()?;
    process::detach();
    signals::ignore_termination();
    lock::ignore_lease_breaks().map_err(|cause| Error::io("cannot ignore a signal", cause))?;
    let path = account.mailbox(config);
    let mut groups = vec![account.gid];
    groups.extend(places::spool_group(&path));
    privileges::become_for_good(&Ids { uid: account.uid, gid: account.gid, groups })?;
    let above = path.parent().unwrap_or(Path::new("/"));
    let directory = Directory::open(above)
        .map_err(|cause| Error::io(format!("cannot open {}", above.display()), cause))?;
    LIMITS.apply()?;
    let require = config.sandbox == Sandbox::Require;
    let directories = [directory.as_fd(), state.as_fd()];
    let missing = Fence { calls: CALLS, directories: &directories, require }.close()?;
    let locks = LockSet {
        fcntl: config.maildrop.locks.contains(&Lock::Fcntl),
        dotlock: config.maildrop.locks.contains(&Lock::Dotlock),
    };
    Ok((Ground { path, uid: account.uid, state, locks }, missing))
}

fn failed<T>(error: &Error) -> Said<T> {
    let mut what = error.to_string();
    what.truncate(what.floor_char_boundary(LARGEST / 8));
    let kind = error.kind();
    Said::Failed { in_use: kind == Kind::InUse, temporary: kind == Kind::Temporary, what }
}

fn say<T: Serialize>(there: &OwnedFd, said: &Said<T>) -> bool {
    let octets = serde_json::to_vec(said).unwrap_or_default();
    socket::send(there, &octets, &[], true).is_ok()
}

fn cannot(cause: io::Error) -> Error {
    Error::io("cannot work in the maildrop", cause)
}

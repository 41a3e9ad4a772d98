//! Work that makes a maildrop anew, for the administrator: a child that is to the maildrop what a session and its spool helper are
//! together.
//!
//! It holds the session's lock, so that nobody logs in meanwhile, becomes the user with the group of the mailbox's directory, and
//! closes a fence that leaves it that directory and the user's state directory. What is in the maildrop is read behind the fence
//! alone. Whoever asked hears one answer; a key that ends programs ends that one, and the work goes on to its end.

use super::places;
use super::spool::{CALLS, become_helper};
use super::worker::{Tell, Worker};
use crate::auth::Account;
use crate::config::{Config, Sandbox};
use crate::error::Result;
use crate::log::SessionId;
use crate::maildrop::mbox::local::LockSet;
use crate::sys::descriptors::silence_standard_streams;
use crate::sys::directory::Directory;
use crate::sys::process::{self, Limits};
use crate::sys::sandbox::{Fence, Missing};
use crate::sys::socket::Peer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;

/// A handful of descriptors, and memory for what is kept of a million messages.
const LIMITS: Limits =
    Limits { descriptors: Some(64), memory: Some(1 << 30), file_size: None, may_fork: false };

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

/// Does the work. `passed` are open files that it has in the child too; the file that the work gets is the session's lock, which lasts
/// as long as that is open.
///
/// # Errors
/// `Kind::InUse` when somebody is logged in; the work's; or the child ended without an answer.
pub(crate) fn run<T: Serialize + DeserializeOwned>(
    config: &Config,
    account: &Account,
    passed: &[&File],
    work: impl FnOnce(Ground, File) -> Result<T>,
) -> Result<T> {
    places::prepare(config)?;
    let nobody = Peer::direct(None);
    let held = places::take_maildrop(config, account, SessionId::random()?, &nobody)?;
    let state = places::state_directory(config, account)?;
    let kept: Vec<RawFd> = [held.as_raw_fd(), state.as_fd().as_raw_fd()]
        .into_iter()
        .chain(passed.iter().map(|file| file.as_raw_fd()))
        .collect();
    let worker = Worker::start(&kept, |_: Tell<'_, ()>| {
        let (ground, _) = enter(config, account, state)?;
        work(ground, held)
    })?;
    let heard = worker.hear(|()| Ok(()));
    worker.wait();
    heard
}

/// From root to the user with the directory's group, for good.
pub(super) fn enter(config: &Config, account: &Account, state: Directory) -> Result<(Ground, Missing)> {
    silence_standard_streams()?;
    process::detach();
    let path = account.mailbox(config);
    let directory = become_helper(account.uid, account.gid, &path)?;
    LIMITS.apply()?;
    let require = config.sandbox == Sandbox::Require;
    let directories = [directory.as_fd(), state.as_fd()];
    let missing = Fence { calls: CALLS, directories: &directories, require }.close()?;
    Ok((Ground { path, uid: account.uid, state, locks: LockSet::of(config) }, missing))
}

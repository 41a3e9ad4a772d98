//! Directories of the server's own, and the lock that gives a maildrop to one session.
//!
//! `/run/poptools` (root, 0711): `empty` is the login process's root directory, `session/KEY` the lock of a maildrop; `verify` counts
//! verifications. `/var/lib/poptools/maildrop/USER` (0700, the user's) is a session's state directory. Nothing in a directory
//! that root owns is trusted to be there; nothing in one that a user owns is trusted at all. Without root's rights
//! everything lies where the configuration says, owned by the one user.

use crate::auth::Account;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::{SessionId, client_word};
use crate::sys::directory::Directory;
use crate::sys::file::{self, FileKind};
use crate::sys::privileges::{self, Ids};
use crate::sys::socket::Peer;
use crate::sys::{clock, random};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, Metadata, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// Nobody but the owner changes it, others may pass through.
const PASSABLE: u32 = 0o711;

/// Makes the directories that a monitor needs; the path of the empty one.
///
/// # Errors
/// One cannot be made, or somebody else could change it.
pub(crate) fn prepare(config: &Config) -> Result<PathBuf> {
    let empty = config.run_dir.join("empty");
    for (directory, mode) in [
        (config.run_dir.clone(), PASSABLE),
        (config.run_dir.join("session"), PASSABLE),
        (empty.clone(), 0o555),
        (config.state_dir.clone(), PASSABLE),
        (config.state_dir.join("maildrop"), PASSABLE),
    ] {
        own_directory(&directory, mode)?;
    }
    Ok(empty)
}

fn own_directory(path: &Path, mode: u32) -> Result<()> {
    // What is there is looked at, and what is not is made, and looked at then.
    let safe = |found: &Metadata| {
        found.is_dir() && found.uid() == privileges::own().uid && found.mode() & 0o022 == 0
    };
    if fs::symlink_metadata(path).is_ok_and(|found| safe(&found)) {
        return Ok(());
    }
    match DirBuilder::new()
        .mode(mode)
        .recursive(path.parent().is_some_and(|parent| !parent.exists()))
        .create(path)
    {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io(format!("cannot make {}", path.display()), cause));
        }
        _ => {}
    }
    let found = fs::symlink_metadata(path)
        .map_err(|cause| Error::io(format!("cannot look at {}", path.display()), cause))?;
    if safe(&found) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Permanent,
        format!(
            "{} is not a directory that only this server's user can change: chown root, chmod go-w",
            path.display()
        ),
    ))
}

/// The ids of a session: the user's own, and no group but the first.
pub(crate) fn session_ids(account: &Account) -> Ids {
    Ids { uid: account.uid, gid: account.gid, groups: vec![account.gid] }
}

/// Takes the maildrop for a session that begins now, unless its user logged in too short a time ago (RFC 2449, section 6.5). The
/// lock file knows when that was: it is written at each login anyway, so that nothing else has to be.
///
/// # Errors
/// `[IN-USE]`: another session has it. `[LOGIN-DELAY]`. Or the lock file cannot be made.
pub(crate) fn take_for_login(config: &Config, account: &Account, id: SessionId, peer: &Peer) -> Result<File> {
    let (now, delay) = (clock::wall().as_secs(), account.login_delay(config).as_secs());
    take(config, account, id, peer, |last| match wait_after(last, now, delay) {
        None => Ok(Some(now)),
        Some(left) => {
            let what = format!("{} logged in a moment ago and may again in {left} s", account.name);
            Err(Error::new(Kind::LoginDelay, what))
        }
    })
}

/// How long the user has to wait after the last login, in seconds; a clock that was set back delays nobody.
fn wait_after(last: Option<u64>, now: u64, delay: u64) -> Option<u64> {
    let passed = now.checked_sub(last?)?;
    delay.checked_sub(passed).filter(|left| *left > 0)
}

/// How long a login has to wait for the last one, in seconds; none where it need not, or we may not know.
pub(crate) fn login_wait(config: &Config, account: &Account) -> Option<u64> {
    let (directory, key) = lock_of(config, account);
    let file = Directory::open(&directory).ok()?.open_to_read(&key).ok()?;
    wait_after(last_login(&file), clock::wall().as_secs(), account.login_delay(config).as_secs())
}

/// Takes the maildrop for a program of the administrator's.
///
/// # Errors
/// `[IN-USE]`: a session has it. Or the lock file cannot be made.
pub(crate) fn take_maildrop(config: &Config, account: &Account, id: SessionId, peer: &Peer) -> Result<File> {
    take(config, account, id, peer, Ok)
}

/// Takes the maildrop. `login` sees when the last login was and says when it was from now on, in seconds since 1970.
///
/// The lock lasts as long as the file is open, whatever happens to the process.
///
/// With root's rights the file is open for reading alone, so that a session that was taken over cannot fill root's file system; a
/// lock that lasts on such a file is flock(2)'s. Without them it is open for writing, as network file systems want it.
fn take(
    config: &Config,
    account: &Account,
    id: SessionId,
    peer: &Peer,
    login: impl FnOnce(Option<u64>) -> Result<Option<u64>>,
) -> Result<File> {
    let path = account.mailbox(config);
    let (directory, key) = lock_of(config, account);
    let failed = |cause| Error::io(format!("cannot open {}/{key}", directory.display()), cause);
    let above = Directory::open(&directory).map_err(failed)?;
    let file = above.open_or_create(&key, 0o600).map_err(failed)?;
    let lock = if privileges::is_root() { above.open_to_read(&key) } else { file.try_clone() };
    let lock = lock.map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::new(Kind::InUse, format!("{} is in use by another session", path.display())));
        }
        Err(TryLockError::Error(cause)) => return Err(failed(cause)),
    }
    let login = login(last_login(&file))?.map(|last| format!(" {last}")).unwrap_or_default();
    let since = clock::wall().as_secs();
    let holder = format!(
        "{} {} {since} {id} {}{login}\n",
        std::process::id(),
        account.name,
        client_word(peer.address)
    );
    // What is written is for `mailusradm sessions` and the next login; the lock is what counts.
    let _ = file.set_len(0).and_then(|()| file.write_all_at(holder.as_bytes(), 0));
    Ok(lock)
}

/// When the last login was, by the last of what the file says.
fn last_login(file: &File) -> Option<u64> {
    let mut octets = [0; LONGEST];
    let length = file::read_at(file, &mut octets, 0).ok()?;
    let line = std::str::from_utf8(octets.get(..length)?).ok()?.strip_suffix('\n')?;
    line.split(' ').nth(5)?.parse().ok()
}

/// What the file says is shorter.
const LONGEST: usize = 512;

/// The maildrop's path as its lock counts it: without links where root alone decides the way, else as the configuration writes it.
/// So two ways to one spool meet, and no user can give the own maildrop a new name by moving links about.
fn lasting(path: &Path) -> PathBuf {
    let way = path.parent().and_then(roots_way);
    way.zip(path.file_name()).map_or_else(|| path.to_owned(), |(way, name)| way.path.join(name))
}

/// Where the lock of the account's maildrop is: directory and name.
pub(crate) fn lock_of(config: &Config, account: &Account) -> (PathBuf, String) {
    (config.run_dir.join("session"), key(account.uid, &lasting(&account.mailbox(config))))
}

/// The lock's name: 128 bits of SHA-256 over the owner and the path. With the owner in it, no user can take another's.
fn key(uid: u32, path: &Path) -> String {
    let digest = Sha256::new().chain_update(uid.to_be_bytes()).chain_update(path.as_os_str().as_bytes());
    digest.finalize().iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The way to a directory, when nobody but root decides where it leads.
struct Way {
    /// Without links. What does not exist yet is as it was written.
    path: PathBuf,
    /// The directory at its end, if there is one.
    end: Option<Metadata>,
    /// Groups whose members can change the way: those of directories with group write permission.
    groups: Vec<u32>,
}

/// More links than this on one way are a loop, as for the kernel.
const MOST_LINKS: usize = 40;

/// Goes to a directory from `/` on, and looks at nothing below the first directory that somebody else than root owns or everybody
/// can change. None: such a directory is on the way, or something that is no directory.
fn roots_way(directory: &Path) -> Option<Way> {
    let mut way = Way { path: PathBuf::from("/"), end: None, groups: Vec::new() };
    let mut left: Vec<OsString> = components(directory);
    let mut links = 0;
    while let Some(name) = left.pop() {
        way.step_through()?;
        if name == ".." {
            way.path.pop();
            continue;
        }
        let next = way.path.join(&name);
        let found = match fs::symlink_metadata(&next) {
            Ok(found) if found.uid() == 0 => found,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                way.path = next;
                way.path.extend(left.iter().rev());
                return Some(way);
            }
            Ok(_) | Err(_) => return None,
        };
        if found.is_symlink() {
            links += 1;
            let target = fs::read_link(&next).ok().filter(|_| links <= MOST_LINKS)?;
            if target.is_absolute() {
                way.path = PathBuf::from("/");
            }
            left.extend(components(&target));
        } else {
            way.path = next;
        }
    }
    way.end = Some(fs::symlink_metadata(&way.path).ok().filter(|end| end.is_dir() && end.uid() == 0)?);
    Some(way)
}

impl Way {
    /// Notes who may change names in the directory that the way has come to; none when it is not root's, or open to all. The sticky
    /// bit keeps what is root's from everybody else.
    fn step_through(&mut self) -> Option<()> {
        let here = fs::symlink_metadata(&self.path).ok()?;
        let sticky = here.mode() & 0o1000 != 0;
        if !here.is_dir() || here.uid() != 0 || (here.mode() & 0o002 != 0 && !sticky) {
            return None;
        }
        if here.mode() & 0o020 != 0 && !sticky && here.gid() != 0 {
            self.groups.push(here.gid());
        }
        Some(())
    }
}

/// The names of a path, the last first; `.` is left out.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<OsString> = names.collect();
    names.reverse();
    names
}

/// Opens the user's state directory, made when it is missing. One that others may look into is closed to them; one that is not the
/// user's own is set aside.
///
/// # Errors
/// It cannot be made.
pub(crate) fn state_directory(config: &Config, account: &Account) -> Result<Directory> {
    let parent = config.state_dir.join("maildrop");
    let failed = |cause| Error::io(format!("cannot open {}/{}", parent.display(), account.name), cause);
    let above = Directory::open(&parent).map_err(failed)?;
    let name = &account.name;
    let found = above.status(name).map_err(failed)?;
    let usable =
        found.as_ref().is_some_and(|found| found.kind == FileKind::Directory && found.uid == account.uid);
    if !usable {
        if found.is_some() {
            set_aside(&above, name).map_err(failed)?;
        }
        above.make_directory(name, 0o700).map_err(failed)?;
        above.give_to(name, account.uid, account.gid).map_err(failed)?;
    }
    let directory = above.open_directory(name).map_err(failed)?;
    if found.is_some_and(|found| usable && found.mode != 0o700) {
        let open = directory.as_fd().try_clone_to_owned().map(File::from).map_err(failed)?;
        file::set_mode(&open, 0o700).map_err(failed)?;
    }
    Ok(directory)
}

/// The most names that are removed from a directory that was set aside; ours has a handful.
const MOST_REMOVED: usize = 100;

/// Gives a name of another owner a new name that nobody can guess, and removes what was set aside before. Users cannot bring this
/// about: the directory above is root's.
fn set_aside(above: &Directory, name: &str) -> io::Result<()> {
    let prefix = format!("{name}.aside-");
    for old in above.names(&prefix)? {
        // What cannot be removed, since it has directories in it, say, stays: it is in nobody's way.
        if let Ok(inside) = above.open_directory(&old) {
            for inner in inside.names("")?.iter().take(MOST_REMOVED).filter(|inner| !is_dots(inner)) {
                let _ = inside.remove(inner);
            }
        }
        let _ = above.remove(&old);
    }
    above.rename(name, &format!("{prefix}{:016x}", random::number()?))
}

fn is_dots(name: &str) -> bool {
    name == "." || name == ".."
}

/// Which group the spool helper needs besides the user's own: that of the mailbox's directory. Only when root alone decides where
/// the path leads, or members of that very group, who gain nothing by it: no user shall send the helper to a directory of another
/// group.
pub(crate) fn spool_group(mailbox: &Path) -> Option<u32> {
    let Way { end, groups, .. } = roots_way(mailbox.parent()?)?;
    let end = end?;
    let shared = end.mode() & 0o020 != 0 && end.gid() != 0;
    (shared && groups.iter().all(|group| *group == end.gid())).then(|| end.gid())
}

#[cfg(test)]
mod tests;

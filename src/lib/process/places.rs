//! Directories of the server's own, and the lock that gives a maildrop to one session.
//!
//! `/run/poptools` (root, 0711): `empty` is the login process's root directory, `session/KEY` the lock of a maildrop; `verify` counts
//! verifications. `/var/lib/poptools/maildrop/USER` (0700, the user's) is a session's state directory. Nothing in a directory
//! that root owns is trusted to be there; nothing in one that a user owns is trusted at all. Without root's rights
//! everything lies where the configuration says, owned by the one user.

use crate::auth::Account;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::SessionId;
use crate::sys::directory::Directory;
use crate::sys::file;
use crate::sys::privileges::{self, Ids};
use crate::sys::socket::Peer;
use crate::sys::{clock, lock};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

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
    let safe = found.is_dir() && found.uid() == privileges::own().uid && found.mode() & 0o022 == 0;
    if safe {
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

/// Takes the maildrop for this session. The lock lasts as long as the file is open, whatever happens to the process.
///
/// # Errors
/// `[IN-USE]`: another session has it. Or the lock file cannot be made.
pub(crate) fn take_maildrop(config: &Config, account: &Account, id: SessionId, peer: &Peer) -> Result<File> {
    let path = canonical(&account.mailbox(config), account)?;
    let directory = config.run_dir.join("session");
    let key = key(&path);
    let failed = |cause| Error::io(format!("cannot open {}/{key}", directory.display()), cause);
    let mut file = Directory::open(&directory)
        .and_then(|directory| directory.open_or_create(&key, 0o600))
        .map_err(failed)?;
    if !lock::try_lock(&file).map_err(failed)? {
        return Err(Error::new(Kind::InUse, format!("{} is in use by another session", path.display()))
            .tell("Maildrop lock busy!  Is another session active?"));
    }
    let since = clock::wall().as_secs();
    let holder = format!("{} {} {since} {id} {}\n", std::process::id(), account.name, client_word(peer));
    // What is written is for `mailusradm sessions` alone; the lock is what counts.
    let _ = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
    Ok(file)
}

fn client_word(peer: &Peer) -> String {
    peer.address.map_or_else(|| "local".to_owned(), |address| address.ip().to_canonical().to_string())
}

/// The maildrop's path without links in its directories, found with the user's rights.
fn canonical(path: &Path, account: &Account) -> Result<PathBuf> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(Kind::Permanent, format!("{} names no mailbox", path.display())));
    };
    let parent = privileges::as_user(&session_ids(account), || fs::canonicalize(parent))?
        .map_err(|cause| Error::io(format!("cannot find {}", parent.display()), cause))?;
    Ok(parent.join(name))
}

/// The lock's name: 128 bits of SHA-256 over the canonical path.
fn key(path: &Path) -> String {
    Sha256::digest(path.as_os_str().as_bytes()).iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Opens the user's state directory, made when it is missing. One that is not the user's own is set aside.
///
/// # Errors
/// It cannot be made.
pub(crate) fn state_directory(config: &Config, account: &Account) -> Result<Directory> {
    let parent = config.state_dir.join("maildrop");
    let failed = |cause| Error::io(format!("cannot open {}/{}", parent.display(), account.name), cause);
    let above = Directory::open(&parent).map_err(failed)?;
    let name = &account.name;
    let found = above.status(name).map_err(failed)?;
    let usable = found.as_ref().is_some_and(|found| {
        found.kind == file::FileKind::Directory && found.uid == account.uid && found.mode & 0o077 == 0
    });
    if !usable {
        if found.is_some() {
            let aside = format!("{name}.aside-{}", clock::wall().as_secs());
            above.rename(name, &aside).map_err(failed)?;
        }
        above.make_directory(name, 0o700).map_err(failed)?;
        above.give_to(name, account.uid, account.gid).map_err(failed)?;
    }
    above.open_directory(name).map_err(failed)
}

/// Which group the spool helper needs besides the user's own: that of the mailbox's directory, when root owns every
/// directory on the way (so that no user can send the helper to a directory of another group).
pub(crate) fn spool_group(mailbox: &Path) -> Option<u32> {
    let directory = mailbox.parent()?;
    let roots = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.uid() == 0);
    if !directory.ancestors().all(roots) {
        return None;
    }
    let found = fs::metadata(directory).ok()?;
    (found.uid() == 0 && found.mode() & 0o020 != 0 && found.gid() != 0).then(|| found.gid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_the_whole_path() {
        assert_eq!(key(Path::new("/var/mail/ann")).len(), 32);
        assert_ne!(key(Path::new("/var/mail/ann")), key(Path::new("/var/mail/bob")));
    }

    #[test]
    fn a_directory_of_a_user_gives_no_group() {
        let home = tempfile::tempdir().unwrap();
        let mailbox = home.path().join("mailbox");
        // The directory itself has no group write permission; design, section 2, "spool helper".
        assert_eq!(spool_group(&mailbox), None);
    }
}

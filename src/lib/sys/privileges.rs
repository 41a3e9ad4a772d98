//! Who the process runs as.

use crate::error::{Error, Result};
use nix::unistd::{
    Gid, Uid, User, chdir, chroot, getegid, geteuid, getgroups, getresgid, getresuid, setegid, seteuid,
    setgroups, setresgid, setresuid,
};
use std::ffi::CString;
use std::path::Path;

/// A set of ids that a process takes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
    /// Supplementary group ids.
    pub(crate) groups: Vec<u32>,
}

/// Whether the process has root's rights now.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// The process's own effective ids.
pub(crate) fn own() -> Ids {
    Ids { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups: Vec::new() }
}

/// Takes on the ids for good: real, effective and saved; proves that root cannot be regained. Without root it only checks
/// that the ids are the process's own.
///
/// # Errors
/// The system refuses, or the process could still become root.
pub(crate) fn become_for_good(ids: &Ids) -> Result<()> {
    if !is_root() {
        return if ids.uid == geteuid().as_raw() {
            Ok(())
        } else {
            Err(failed("become another user without root's rights", nix::errno::Errno::EPERM))
        };
    }
    let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
    let groups: Vec<Gid> = ids.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).map_err(|errno| failed("set the supplementary groups", errno))?;
    setresgid(gid, gid, gid).map_err(|errno| failed("set the group", errno))?;
    setresuid(uid, uid, uid).map_err(|errno| failed("set the user", errno))?;
    check_dropped(uid, gid)
}

fn check_dropped(uid: Uid, gid: Gid) -> Result<()> {
    let user = getresuid().map_err(|errno| failed("read the user ids", errno))?;
    let group = getresgid().map_err(|errno| failed("read the group ids", errno))?;
    let all_user = [user.real, user.effective, user.saved].iter().all(|id| *id == uid);
    let all_group = [group.real, group.effective, group.saved].iter().all(|id| *id == gid);
    let way_back = !uid.is_root() && seteuid(Uid::from_raw(0)).is_ok();
    if all_user && all_group && !way_back {
        Ok(())
    } else {
        Err(failed("give up root's rights for good", nix::errno::Errno::EPERM))
    }
}

/// Does something with another user's effective ids and groups, and comes back. Without root it is a plain call.
///
/// # Errors
/// The ids cannot be changed; nothing was done.
pub(crate) fn as_user<T>(ids: &Ids, work: impl FnOnce() -> T) -> Result<T> {
    if !is_root() {
        return Ok(work());
    }
    let own_groups = getgroups().map_err(|errno| failed("read the supplementary groups", errno))?;
    let own_gid = getegid();
    let groups: Vec<Gid> = ids.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).map_err(|errno| failed("set the supplementary groups", errno))?;
    setegid(Gid::from_raw(ids.gid)).map_err(|errno| failed("set the group", errno))?;
    seteuid(Uid::from_raw(ids.uid)).map_err(|errno| failed("set the user", errno))?;
    let done = work();
    seteuid(Uid::from_raw(0)).map_err(|errno| failed("return to root", errno))?;
    setegid(own_gid).map_err(|errno| failed("return to root's group", errno))?;
    setgroups(&own_groups).map_err(|errno| failed("return to root's groups", errno))?;
    Ok(done)
}

/// The ids of the first of these system users that exists.
pub(crate) fn first_user(names: &[&str]) -> Option<Ids> {
    names.iter().find_map(|name| {
        let user = User::from_name(name).ok()??;
        Some(Ids { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups: Vec::new() })
    })
}

/// All groups of a user (initgroups(3)).
pub(crate) fn groups_of(name: &str, gid: u32) -> Vec<u32> {
    let Ok(name) = CString::new(name) else { return vec![gid] };
    nix::unistd::getgrouplist(&name, Gid::from_raw(gid))
        .map_or_else(|_| vec![gid], |groups| groups.iter().map(|group| group.as_raw()).collect())
}

/// Makes a directory the root of the file system for this process. Needs root's rights.
///
/// # Errors
/// As chroot(2).
pub(crate) fn confine_to(directory: &Path) -> Result<()> {
    chroot(directory)
        .and_then(|()| chdir("/"))
        .map_err(|errno| failed(&format!("make {} the root directory", directory.display()), errno))
}

fn failed(what: &str, errno: nix::errno::Errno) -> Error {
    Error::io(format!("cannot {what}"), errno.into())
}

//! Who the process runs as.

use crate::error::{Error, Result};
use nix::unistd::{
    Gid, Uid, chdir, chroot, getegid, geteuid, getgroups, getresgid, getresuid, setegid, seteuid, setfsuid,
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
/// that the ids are the process's own. At no time may the user trace the process or look into its memory, whatever the
/// system's `fs.suid_dumpable` says: what root left there is none of the user's business.
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
    // A change of the effective id lets users trace the process as fs.suid_dumpable says. While the saved id is root's the user
    // cannot, and a change of the saved id alone leaves it as it is (ptrace(2), credentials(7)).
    setresuid(uid, uid, Uid::from_raw(0)).map_err(|errno| failed("set the user", errno))?;
    hide()?;
    setresuid(uid, uid, uid).map_err(|errno| failed("set the user", errno))?;
    check_dropped(uid, gid)
}

/// Takes on the ids for good, but that the process still opens, makes and removes files as root: as their owner, without any of root's
/// capabilities (credentials(7), file-system user id). A fence has to say which files. Without root's rights it only checks that
/// the ids are the process's own.
///
/// # Errors
/// The system refuses.
pub(crate) fn become_but_for_files(ids: &Ids) -> Result<()> {
    if !is_root() {
        return become_for_good(ids);
    }
    let kept = |kept| nix::sys::prctl::set_keepcaps(kept).map_err(|errno| failed("keep a capability", errno));
    kept(true)?;
    become_for_good(ids)?;
    // The one capability that setfsuid(2) needs, for a moment.
    set_capabilities(CAP_SETUID)?;
    setfsuid(Uid::from_raw(0));
    set_capabilities(0)?;
    kept(false)?;
    // There is no other way to ask.
    let now = setfsuid(Uid::from_raw(u32::MAX));
    if now.is_root() {
        Ok(())
    } else {
        Err(failed("stay the owner of root's files", nix::errno::Errno::EPERM))
    }
}

/// The bit of the right to change user ids (capabilities(7)).
const CAP_SETUID: u32 = 1 << 7;

/// Sets the permitted and the effective capabilities of this process; of those above the 32nd it has none.
fn set_capabilities(wanted: u32) -> Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`
    const VERSION: u32 = 0x2008_0522;
    let header = [VERSION, 0];
    let (low, high) = ([wanted, wanted, 0], [0_u32; 3]);
    let data = [low, high];
    // SAFETY: header and data have the layout of capset(2), and the kernel only reads them.
    let answer = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    nix::errno::Errno::result(answer).map(drop).map_err(|errno| failed("set the capabilities", errno))
}

/// Forbids to trace this process and to dump its memory (prctl(2), `PR_SET_DUMPABLE`).
fn hide() -> Result<()> {
    nix::sys::prctl::set_dumpable(false).map_err(|errno| failed("hide this process", errno))
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

/// Does something with another user's rights and comes back: for a look at what is the user's, never for anything that parses
/// what the user wrote. The user cannot trace the process meanwhile. Without root's rights it is done with one's own.
///
/// # Errors
/// The system refuses to change the ids.
pub(crate) fn with_rights_of<T>(ids: &Ids, work: impl FnOnce() -> T) -> Result<T> {
    if !is_root() {
        return Ok(work());
    }
    let _back = Borrowed::take(ids)?;
    Ok(work())
}

/// Another user's rights, given back when this goes.
struct Borrowed {
    gid: Gid,
    groups: Vec<Gid>,
}

impl Borrowed {
    fn take(ids: &Ids) -> Result<Self> {
        hide()?;
        let groups: Vec<Gid> = ids.groups.iter().copied().map(Gid::from_raw).collect();
        let own = getgroups().map_err(|errno| failed("read the supplementary groups", errno))?;
        // From here on whatever fails is undone.
        let back = Self { gid: getegid(), groups: own };
        setgroups(&groups).map_err(|errno| failed("set the supplementary groups", errno))?;
        setegid(Gid::from_raw(ids.gid)).map_err(|errno| failed("set the group", errno))?;
        seteuid(Uid::from_raw(ids.uid)).map_err(|errno| failed("set the user", errno))?;
        Ok(back)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let back =
            seteuid(Uid::from_raw(0)).and_then(|()| setegid(self.gid)).and_then(|()| setgroups(&self.groups));
        // A process with half of another's rights must not go on.
        if back.is_err() {
            std::process::abort();
        }
    }
}

/// The ids of the first of these system users that exists.
pub(crate) fn first_user(names: &[&str]) -> Option<Ids> {
    names.iter().find_map(|name| {
        let user = super::account::user(name).ok()??;
        Some(Ids { uid: user.uid, gid: user.gid, groups: Vec::new() })
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

//! Children: fork, wait, exec, limits.

use crate::error::{Error, Kind, Result};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A child's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChildId(Pid);

impl ChildId {
    /// The process id.
    pub(crate) fn number(self) -> u32 {
        self.0.as_raw().unsigned_abs()
    }

    /// Ends the child (SIGKILL).
    pub(crate) fn end(self) {
        // As below.
        let _ = kill(self.0, Signal::SIGKILL);
    }

    /// Asks the child to end (SIGTERM).
    pub(crate) fn terminate(self) {
        // It may have ended meanwhile; it is not reaped yet, so the number is still its own.
        let _ = kill(self.0, Signal::SIGTERM);
    }
}

/// The number of the signal that asks a process to end.
pub(crate) const SIGTERM: i32 = Signal::SIGTERM as i32;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It exited with this status.
    Status(i32),
    /// A signal ended it.
    Signal(i32),
}

/// Forks. The child runs `role` and ends with its exit status; it never returns into the parent's code.
///
/// # Errors
/// No process can be made now, or this process has more than one thread (a child could inherit a held lock).
pub(crate) fn fork(role: impl FnOnce() -> u8) -> Result<ChildId> {
    if threads() > 1 {
        return Err(Error::new(Kind::Permanent, "cannot fork: this process has more than one thread"));
    }
    // SAFETY: the process has one thread, so the child may do all that the parent may.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Parent { child }) => Ok(ChildId(child)),
        Ok(ForkResult::Child) => {
            let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(role)).unwrap_or(70);
            leave(status)
        }
        Err(errno) => Err(Error::io("cannot fork", errno.into())),
    }
}

/// Threads of this process, from the link count of its task directory (one call); 1 where /proc is missing.
pub(crate) fn threads() -> u64 {
    std::fs::metadata("/proc/self/task").map_or(1, |task| task.nlink().saturating_sub(2).max(1))
}

/// Ends the process at once; nothing of the parent's is flushed or removed.
fn leave(status: u8) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(i32::from(status)) }
}

/// A child that has ended, if any.
pub(crate) fn reap() -> Option<(ChildId, Ended)> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, status)) => Some((ChildId(pid), Ended::Status(status))),
        Ok(WaitStatus::Signaled(pid, signal, _)) => Some((ChildId(pid), Ended::Signal(signal as i32))),
        _ => None,
    }
}

/// Waits for the end of one child; `None` when it is not ours or was waited for already.
pub(crate) fn wait_for(child: ChildId) -> Option<Ended> {
    loop {
        match waitpid(child.0, None) {
            Ok(WaitStatus::Exited(_, status)) => return Some(Ended::Status(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Some(Ended::Signal(signal as i32)),
            Err(nix::errno::Errno::EINTR) | Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// Limits of a role's resources.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Open descriptors (`RLIMIT_NOFILE`).
    pub(crate) descriptors: Option<u64>,
    /// Octets of address space (`RLIMIT_AS`).
    pub(crate) memory: Option<u64>,
    /// Octets of a file that is written (`RLIMIT_FSIZE`).
    pub(crate) file_size: Option<u64>,
    /// Whether more processes may be made (`RLIMIT_NPROC`).
    pub(crate) may_fork: bool,
}

impl Limits {
    /// Puts the limits in force for good; no role leaves a core file.
    ///
    /// # Errors
    /// As setrlimit(2).
    pub(crate) fn apply(&self) -> Result<()> {
        let mut wanted = vec![(Resource::RLIMIT_CORE, 0)];
        wanted.extend(self.descriptors.map(|most| (Resource::RLIMIT_NOFILE, most)));
        wanted.extend(self.memory.map(|most| (Resource::RLIMIT_AS, most)));
        wanted.extend(self.file_size.map(|most| (Resource::RLIMIT_FSIZE, most)));
        if !self.may_fork {
            wanted.push((Resource::RLIMIT_NPROC, 0));
        }
        for (resource, most) in wanted {
            let (_, hard) = nix::sys::resource::getrlimit(resource)
                .map_err(|errno| Error::io("cannot read a resource limit", errno.into()))?;
            let most = most.min(hard);
            setrlimit(resource, most, most)
                .map_err(|errno| Error::io(format!("cannot set the limit {resource:?}"), errno.into()))?;
        }
        Ok(())
    }
}

/// No core file of this process and its children, for good.
pub(crate) fn forbid_core() {
    // A limit can be lowered whoever one is.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

/// Lets this process have as many descriptors as the system's hard limit allows. Best effort.
pub(crate) fn raise_descriptor_limit() {
    if let Ok((_, hard)) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Tells the kernel which process to end first when memory runs out: higher goes first. Best effort.
pub(crate) fn end_first_when_out_of_memory(adjustment: i16) {
    let _ = std::fs::write("/proc/self/oom_score_adj", adjustment.to_string());
}

/// Makes the process a session leader of its own, away from any terminal.
pub(crate) fn detach() {
    // It fails only for a process that is a group's leader already, which is as good.
    let _ = nix::unistd::setsid();
}

/// Sets the file mode creation mask: nothing for group and others.
pub(crate) fn private_files() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
}

/// Goes to a directory, or to `/` when that cannot be.
pub(crate) fn go_to(directory: &Path) {
    if nix::unistd::chdir(directory).is_err() {
        let _ = nix::unistd::chdir("/");
    }
}

/// Becomes another program. Returns only when that fails.
pub(crate) fn exec(program: &Path, arguments: &[&str], environment: &[(&str, String)]) -> Error {
    let text = |bytes: Vec<u8>| CString::new(bytes).unwrap_or_default();
    let path = text(program.as_os_str().as_encoded_bytes().to_vec());
    let arguments: Vec<CString> = arguments.iter().map(|word| text(word.as_bytes().to_vec())).collect();
    let environment: Vec<CString> =
        environment.iter().map(|(name, value)| text(format!("{name}={value}").into_bytes())).collect();
    super::signals::default_for_program();
    let errno = nix::unistd::execve(&path, &arguments, &environment).err();
    Error::io(
        format!("cannot execute {}", program.display()),
        errno.map_or_else(std::io::Error::last_os_error, Into::into),
    )
}

//! The fence around a role: system calls (seccomp), files (Landlock), no new privileges, no core.
//!
//! A role names groups of system calls; what a group holds stands here, so that a review of a role is a review
//! of a few words. A call that is not allowed fails with EPERM.

use crate::error::{Error, Kind, Result};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

/// A group of system calls that a role may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Memory (never executable), time, random numbers, the role's own end: what the language needs.
    Base,
    /// Reading, writing, waiting on and closing descriptors that are open.
    Streams,
    /// Messages with descriptors over sockets that are open, and UNIX socket pairs.
    Messages,
    /// The event queue of the login process.
    Events,
    /// Taking connections from sockets that listen.
    Accept,
    /// Reading, writing, locking, truncating and syncing files that are open.
    OpenFiles,
    /// Opening, making, renaming and removing files by name (Landlock says where).
    Names,
    /// Owner, mode and attributes of files that are open.
    Attributes,
    /// Asking whether a process exists.
    Processes,
}

/// The highest Landlock version whose rights are asked for; older kernels enforce what they know.
const LANDLOCK: ABI = ABI::V6;

/// Which parts of the fence the kernel does not have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// No system-call filter.
    pub(crate) seccomp: bool,
    /// No Landlock.
    pub(crate) landlock: bool,
}

/// What a role is left with.
pub(crate) struct Fence<'a> {
    /// Groups of system calls.
    pub(crate) calls: &'a [Calls],
    /// Directories below which files may be opened, made and removed by name.
    pub(crate) directories: &'a [BorrowedFd<'a>],
    /// Whether a missing part is an error (`sandbox = "require"`).
    pub(crate) require: bool,
}

impl Fence<'_> {
    /// Closes the fence around this process, for good.
    ///
    /// # Errors
    /// A part is missing and required, or the kernel refuses.
    pub(crate) fn close(&self) -> Result<Missing> {
        forbid_new_privileges()?;
        let missing = Missing { landlock: !self.restrict_files()?, seccomp: !self.restrict_calls()? };
        if self.require && (missing.landlock || missing.seccomp) {
            return Err(Error::new(
                Kind::Permanent,
                "sandbox = \"require\", but this kernel lacks Landlock or seccomp; see pop3d --check",
            ));
        }
        Ok(missing)
    }

    fn restrict_files(&self) -> Result<bool> {
        let failed = |cause: &dyn std::fmt::Display| {
            Error::new(Kind::Permanent, format!("cannot set up Landlock: {cause}"))
        };
        let every = AccessFs::from_all(LANDLOCK);
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(every)
            .and_then(|rules| rules.handle_access(AccessNet::from_all(LANDLOCK)))
            .and_then(|rules| rules.scope(Scope::from_all(LANDLOCK)))
            .and_then(Ruleset::create)
            .map_err(|cause| failed(&cause))?;
        for directory in self.directories {
            let rights = (AccessFs::from_all(LANDLOCK) & !AccessFs::Execute)
                & !AccessFs::MakeBlock
                & !AccessFs::MakeChar;
            rules = rules.add_rule(PathBeneath::new(directory, rights)).map_err(|cause| failed(&cause))?;
        }
        let status = rules.restrict_self().map_err(|cause| failed(&cause))?;
        Ok(status.ruleset != landlock::RulesetStatus::NotEnforced)
    }

    fn restrict_calls(&self) -> Result<bool> {
        let failed = |cause: &dyn std::fmt::Display| {
            Error::new(Kind::Permanent, format!("cannot set up the system-call filter: {cause}"))
        };
        let architecture = std::env::consts::ARCH.try_into().map_err(|cause| failed(&cause))?;
        let filter = SeccompFilter::new(
            rules(self.calls),
            SeccompAction::Errno(libc::EPERM.unsigned_abs()),
            SeccompAction::Allow,
            architecture,
        )
        .map_err(|cause| failed(&cause))?;
        let program: BpfProgram = filter.try_into().map_err(|cause| failed(&cause))?;
        match seccompiler::apply_filter(&program) {
            Ok(()) => Ok(true),
            Err(seccompiler::Error::Seccomp(cause)) if cause.raw_os_error() == Some(libc::EINVAL) => {
                Ok(false)
            }
            Err(cause) => Err(failed(&cause)),
        }
    }
}

/// No set-id program run from here gains anything, and nobody may look into this process.
///
/// # Errors
/// As prctl(2).
fn forbid_new_privileges() -> Result<()> {
    nix::sys::prctl::set_no_new_privs()
        .and_then(|()| nix::sys::prctl::set_dumpable(false))
        .map_err(|errno| Error::io("cannot give up new privileges", errno.into()))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules(groups: &[Calls]) -> Rules {
    let mut rules = Rules::new();
    for group in groups {
        for call in plain(*group) {
            rules.insert(*call, Vec::new());
        }
        match group {
            Calls::Base => {
                let no_exec =
                    condition(2, SeccompCmpOp::MaskedEq(u64::from(libc::PROT_EXEC.unsigned_abs())), 0);
                rules.insert(libc::SYS_mmap, no_exec.clone());
                rules.insert(libc::SYS_mprotect, no_exec);
            }
            Calls::Messages => {
                let local = condition(0, SeccompCmpOp::Eq, u64::from(libc::AF_UNIX.unsigned_abs()));
                rules.insert(libc::SYS_socketpair, local);
            }
            _ => {}
        }
    }
    rules
}

/// A rule that one argument meets a condition. It cannot fail: the argument number is below six.
fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Vec<SeccompRule> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_or_else(|_| Vec::new(), |rule| vec![rule])
}

/// What a group holds, but for calls with a condition (see `rules`).
const fn plain(group: Calls) -> &'static [i64] {
    match group {
        Calls::Base => BASE,
        Calls::Streams => STREAMS,
        Calls::Messages => MESSAGES,
        Calls::Events => EVENTS,
        Calls::Accept => ACCEPT,
        Calls::OpenFiles => OPEN_FILES,
        Calls::Names => NAMES,
        Calls::Attributes => ATTRIBUTES,
        Calls::Processes => PROCESSES,
    }
}

const BASE: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_futex,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

const STREAMS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

const MESSAGES: &[i64] = &[libc::SYS_sendmsg, libc::SYS_recvmsg];

const EVENTS: &[i64] = &[
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

const ACCEPT: &[i64] = &[libc::SYS_accept4];

const OPEN_FILES: &[i64] = &[
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_copy_file_range,
    libc::SYS_utimensat,
    libc::SYS_fadvise64,
    libc::SYS_memfd_create,
];

const NAMES: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_linkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_getdents64,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    libc::SYS_readlinkat,
];

const ATTRIBUTES: &[i64] = &[
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
];

const PROCESSES: &[i64] = &[libc::SYS_pidfd_open];

/// Which parts of the fence this kernel has, without closing anything. For `pop3d --check`.
pub(crate) fn available() -> Missing {
    // SAFETY: the call only asks for the version; it reads no memory.
    let landlock = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, 1) };
    // SAFETY: PR_GET_SECCOMP has no memory arguments.
    let seccomp = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) };
    Missing { seccomp: seccomp < 0, landlock: landlock < 1 }
}

/// The null set of directories, for roles that open nothing.
pub(crate) const NOWHERE: &[BorrowedFd<'static>] = &[];

/// A fence with one directory left open.
pub(crate) fn inside(directory: &impl AsFd) -> [BorrowedFd<'_>; 1] {
    [directory.as_fd()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_group_makes_processes_programs_or_network_sockets() {
        let everything = [
            Calls::Base,
            Calls::Streams,
            Calls::Messages,
            Calls::Events,
            Calls::Accept,
            Calls::OpenFiles,
            Calls::Names,
            Calls::Attributes,
            Calls::Processes,
        ];
        let rules = rules(&everything);
        for forbidden in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_ptrace,
            libc::SYS_kill,
            libc::SYS_setresuid,
            libc::SYS_process_vm_readv,
            libc::SYS_mount,
            libc::SYS_chroot,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_io_uring_setup,
        ] {
            assert!(!rules.contains_key(&forbidden), "system call {forbidden}");
        }
        assert_eq!(rules[&libc::SYS_socketpair].len(), 1, "socket pairs are UNIX ones alone");
        assert_eq!(rules[&libc::SYS_mmap].len(), 1, "no executable memory");
    }
}

//! The fence around a role: system calls (seccomp), files (Landlock), no new privileges, no core.
//!
//! A role names groups of system calls; what a group holds stands here, so that a review of a role is a review
//! of a few words. A call that is not allowed fails with EPERM.

mod filter;

use crate::error::{Error, Kind, Result};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope, make_bitflags,
};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

/// Declares the groups, so that the list of all of them cannot miss one.
macro_rules! groups {
    ($($(#[$doc:meta])* $group:ident = $plain:ident,)*) => {
        /// A group of system calls that a role may use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Calls {
            $($(#[$doc])* $group,)*
        }

        impl Calls {
            /// Every group.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$group,)*];

            /// What the group holds, but for calls with a condition (see `conditional`).
            const fn plain(self) -> &'static [i64] {
                match self {
                    $(Self::$group => $plain,)*
                }
            }
        }
    };
}

groups! {
    /// Memory (never executable), time, random numbers, the role's own end: what the language needs.
    Base = BASE,
    /// Reading, writing, waiting on and closing descriptors that are open.
    Streams = STREAMS,
    /// Messages with descriptors over sockets that are open, and UNIX socket pairs that keep messages apart.
    Messages = MESSAGES,
    /// The event queue of the login process.
    Events = EVENTS,
    /// Pairs of connected streams, for what goes between a client with TLS and its session.
    Pairs = PAIRS,
    /// Taking connections from sockets that listen.
    Accept = ACCEPT,
    /// Reading, writing, locking, truncating and syncing files that are open.
    OpenFiles = OPEN_FILES,
    /// Opening, making, renaming and removing files by name (Landlock says where).
    Names = NAMES,
    /// Owner, mode and attributes of files that are open, and leases on them.
    Attributes = ATTRIBUTES,
    /// What SQLite needs besides files: its locks, looking at names, and asking who one is.
    Database = DATABASE,
    /// Asking whether a process exists.
    Processes = PROCESSES,
}

/// The highest Landlock version whose rights are asked for; older kernels enforce what they know.
const LANDLOCK: ABI = ABI::V6;

/// What is left of a directory's files to who may only read.
const READING: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

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
        self.close_but_read(NOWHERE)
    }

    /// The same, and below these further directories files may be read.
    ///
    /// # Errors
    /// As [`Self::close`].
    pub(crate) fn close_but_read(&self, others: &[BorrowedFd<'_>]) -> Result<Missing> {
        let rights =
            (AccessFs::from_all(LANDLOCK) & !AccessFs::Execute) & !AccessFs::MakeBlock & !AccessFs::MakeChar;
        self.close_with(rights, others)
    }

    /// The same, and nothing below the directories can be changed.
    ///
    /// # Errors
    /// As [`Self::close`].
    pub(crate) fn close_to_read(&self) -> Result<Missing> {
        self.close_with(READING, NOWHERE)
    }

    fn close_with(&self, rights: BitFlags<AccessFs>, to_read: &[BorrowedFd<'_>]) -> Result<Missing> {
        forbid_new_privileges()?;
        let missing =
            Missing { landlock: !self.restrict_files(rights, to_read)?, seccomp: !self.restrict_calls()? };
        if self.require && (missing.landlock || missing.seccomp) {
            return Err(Error::new(
                Kind::Permanent,
                "sandbox = \"require\", but this kernel lacks Landlock or seccomp; see pop3d --check",
            ));
        }
        Ok(missing)
    }

    fn restrict_files(&self, rights: BitFlags<AccessFs>, to_read: &[BorrowedFd<'_>]) -> Result<bool> {
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
        let to_change = self.directories.iter().map(|directory| (directory, rights));
        let to_read = to_read.iter().map(|directory| (directory, READING));
        for (directory, rights) in to_change.chain(to_read) {
            rules = rules.add_rule(PathBeneath::new(directory, rights)).map_err(|cause| failed(&cause))?;
        }
        let status = rules.restrict_self().map_err(|cause| failed(&cause))?;
        Ok(status.ruleset != landlock::RulesetStatus::NotEnforced)
    }

    fn restrict_calls(&self) -> Result<bool> {
        let made;
        let program = match PREPARED.get() {
            Some((calls, program)) if *calls == self.calls => program,
            _ => {
                made = filter::compile(&rules(self.calls))?;
                &made
            }
        };
        filter::install(program).map_err(|cause| {
            Error::new(Kind::Permanent, format!("cannot set up the system-call filter: {cause}"))
        })
    }
}

/// The program of a role that many processes take on.
static PREPARED: OnceLock<(&'static [Calls], Vec<libc::sock_filter>)> = OnceLock::new();

/// Compiles the filter of one role now, so that children that take it on find it in what they inherit.
pub(crate) fn prepare(calls: &'static [Calls]) {
    // A child that finds none meets the same error.
    if let Ok(program) = filter::compile(&rules(calls)) {
        PREPARED.get_or_init(|| (calls, program));
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

/// Numbers of calls, each with the ways in which it is allowed: all conditions of one of them are met. None at all: always.
type Rules = BTreeMap<i64, Vec<Vec<Condition>>>;

fn rules(groups: &[Calls]) -> Rules {
    let mut rules = Rules::new();
    for group in groups {
        rules.extend(group.plain().iter().map(|call| (*call, Vec::new())));
    }
    for group in groups {
        for (call, conditions) in conditional(*group) {
            rules.entry(call).or_default().push(conditions);
        }
    }
    rules
}

/// A condition on one argument of a call, counted from zero.
#[derive(Clone, Copy, Debug)]
enum Condition {
    /// A number of 32 bits has this value.
    Is(u8, i32),
    /// Of the bits of a number none is set but these.
    Within(u8, i32),
    /// A pointer is null.
    Null(u8),
}

/// The calls of a group that are allowed when all conditions of a line are met.
fn conditional(group: Calls) -> Vec<(i64, Vec<Condition>)> {
    use Condition::{Is, Null, Within};
    // Without MSG_FASTOPEN, which connects.
    const SENDING: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let control = |command| (libc::SYS_fcntl, vec![Is(1, command)]);
    match group {
        Calls::Base => {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            [libc::SYS_mmap, libc::SYS_mprotect].map(|call| (call, vec![Within(2, protection)])).into()
        }
        Calls::Streams => {
            let commands =
                [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC];
            let mut calls: Vec<_> = commands.map(control).into();
            // Without an address: over a datagram socket one could reach any socket of the machine.
            calls.push((libc::SYS_sendto, vec![Within(3, SENDING), Null(4)]));
            calls.push((libc::SYS_shutdown, vec![Is(1, libc::SHUT_WR)]));
            calls
        }
        Calls::Messages => {
            // The address of sendmsg is in memory, where a filter cannot look; a connected socket of this type ignores it.
            let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
            vec![
                (libc::SYS_socketpair, vec![Is(0, libc::AF_UNIX), Is(1, kind)]),
                (libc::SYS_sendmsg, vec![Within(2, SENDING)]),
            ]
        }
        Calls::Pairs => {
            let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
            vec![(libc::SYS_socketpair, vec![Is(0, libc::AF_UNIX), Is(1, kind)])]
        }
        Calls::OpenFiles => vec![control(libc::F_OFD_SETLK)],
        Calls::Attributes => vec![control(libc::F_SETLEASE)],
        Calls::Database => [libc::F_SETLK, libc::F_GETLK].map(control).into(),
        Calls::Events | Calls::Accept | Calls::Names | Calls::Processes => Vec::new(),
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
    libc::SYS_close,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

const MESSAGES: &[i64] = &[libc::SYS_recvmsg];

const EVENTS: &[i64] = &[
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

const PAIRS: &[i64] = &[];

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

const DATABASE: &[i64] = &[
    libc::SYS_flock,
    libc::SYS_fchmod,
    libc::SYS_geteuid,
    libc::SYS_getegid,
    libc::SYS_getcwd,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
];

const PROCESSES: &[i64] = &[libc::SYS_pidfd_open];

/// Which parts of the fence this kernel has, without closing anything. For `pop3d --check`.
pub(crate) fn available() -> Missing {
    const VERSION: u32 = 1;
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: the arguments have the types of landlock_create_ruleset(2); with this flag it only tells its version and reads no
    // memory.
    let landlock = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, VERSION) };
    let unused: libc::c_ulong = 0;
    // SAFETY: PR_GET_SECCOMP has no memory arguments.
    let seccomp = unsafe { libc::prctl(libc::PR_GET_SECCOMP, unused, unused, unused, unused) };
    Missing { seccomp: seccomp < 0, landlock: landlock < 1 }
}

/// The null set of directories, for roles that open nothing.
pub(crate) const NOWHERE: &[BorrowedFd<'static>] = &[];

/// A fence with one directory left open.
pub(crate) fn inside(directory: &impl AsFd) -> [BorrowedFd<'_>; 1] {
    [directory.as_fd()]
}

#[cfg(test)]
mod tests;

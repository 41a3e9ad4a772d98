use super::*;
use crate::process::{errand, login, recorder, session, spool};
use crate::secrets::delegate;
use crate::sys::{clock, lock, socket};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socketpair};
use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

/// System calls with their names, for messages.
macro_rules! calls {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name)),)*] };
}

type Named = &'static [(i64, &'static str)];

const BASE: Named = calls![
    SYS_brk SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_clock_gettime SYS_clock_nanosleep SYS_nanosleep
    SYS_getrandom SYS_futex SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sigaltstack SYS_restart_syscall
    SYS_getpid SYS_gettid SYS_exit SYS_exit_group
    SYS_read SYS_write SYS_readv SYS_writev SYS_recvfrom SYS_sendto SYS_shutdown SYS_close SYS_fcntl SYS_ppoll
    SYS_sendmsg SYS_recvmsg SYS_socketpair
];
const LOGIN: Named = calls![SYS_epoll_ctl SYS_epoll_pwait SYS_accept4];
const SESSION: Named = calls![
    SYS_pread64 SYS_pwrite64 SYS_lseek SYS_fstat SYS_newfstatat SYS_statx SYS_ftruncate SYS_fallocate SYS_fsync SYS_fdatasync
    SYS_copy_file_range SYS_utimensat SYS_fadvise64 SYS_memfd_create
    SYS_openat SYS_unlinkat SYS_mkdirat SYS_linkat SYS_renameat SYS_renameat2 SYS_getdents64 SYS_readlinkat
];
const HELPER: Named =
    calls![SYS_fchmod SYS_fchown SYS_fgetxattr SYS_flistxattr SYS_fsetxattr SYS_fremovexattr SYS_pidfd_open];
#[cfg(target_arch = "x86_64")]
const OLD: [Named; 3] = [calls![SYS_poll], calls![SYS_epoll_wait], calls![SYS_open SYS_rename SYS_unlink]];
#[cfg(not(target_arch = "x86_64"))]
const OLD: [Named; 3] = [&[], &[], &[]];

#[test]
fn each_role_has_exactly_these_calls() {
    // Design, section 2: the system-call table of each role. A role that gains a call fails here, so that somebody decides it.
    for (role, groups, expected) in [
        ("login", login::CALLS, &[BASE, LOGIN, OLD[0], OLD[1]][..]),
        ("session", session::CALLS, &[BASE, SESSION, OLD[0], OLD[2]]),
        ("spool helper", spool::CALLS, &[BASE, SESSION, HELPER, OLD[0], OLD[2]]),
    ] {
        let rules = rules(groups);
        let expected: Vec<_> = expected.iter().copied().flatten().collect();
        let missing: Vec<_> = expected.iter().filter(|(call, _)| !rules.contains_key(call)).collect();
        assert!(missing.is_empty(), "{role} has lost {missing:?}");
        let known: BTreeSet<i64> = expected.iter().map(|(call, _)| *call).collect();
        let gained: Vec<_> = rules.keys().filter(|call| !known.contains(call)).collect();
        assert!(gained.is_empty(), "{role} has gained the system calls {gained:?}");
    }
}

#[test]
fn each_role_has_exactly_these_groups() {
    // The review of a role is that of these words. A group may add no call of its own, and still widen what a call may do (`Pairs`).
    use Calls::{
        Accept, Attributes, Base, Database, Events, Messages, Names, OpenFiles, Pairs, Processes, Streams,
    };
    assert_eq!(login::CALLS, [Base, Streams, Messages, Events, Accept, Pairs]);
    assert_eq!(session::CALLS, [Base, Streams, Messages, OpenFiles, Names]);
    assert_eq!(spool::CALLS, [Base, Streams, Messages, OpenFiles, Names, Attributes, Processes]);
    assert_eq!(recorder::CALLS, [Base, Streams, Messages, OpenFiles, Names, Database]);
    assert_eq!(delegate::CALLS, [Base, Streams, Messages, OpenFiles, Names, Database]);
    assert_eq!(errand::CALLS, [Base, Streams, Messages, OpenFiles, Names, Processes]);
}

#[test]
fn no_group_makes_processes_programs_users_or_network_sockets() {
    let rules = rules(Calls::ALL);
    let forbidden = calls![
        SYS_execve SYS_execveat SYS_clone SYS_clone3 SYS_socket SYS_connect SYS_bind SYS_listen SYS_sendmmsg SYS_setsockopt
        SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_kill SYS_tkill SYS_tgkill SYS_pidfd_getfd SYS_pidfd_send_signal
        SYS_setuid SYS_setgid SYS_setgroups SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setfsuid SYS_setfsgid SYS_capset
        SYS_mount SYS_umount2 SYS_chroot SYS_pivot_root SYS_unshare SYS_setns SYS_bpf SYS_keyctl SYS_add_key SYS_io_uring_setup
        SYS_io_uring_enter SYS_userfaultfd SYS_perf_event_open SYS_prctl SYS_seccomp SYS_ioctl SYS_prlimit64 SYS_personality
        SYS_mknodat SYS_symlinkat SYS_fchmodat SYS_fchownat SYS_openat2 SYS_open_by_handle_at SYS_open_tree SYS_truncate
    ];
    let old: Named = old_ones();
    for (call, name) in forbidden.iter().chain(old) {
        assert!(!rules.contains_key(call), "{name} is allowed");
    }
    let names: Vec<i64> = rules_of(&[Calls::Names]);
    for group in Calls::ALL.iter().filter(|group| **group != Calls::Names) {
        let both: Vec<_> = rules_of(&[*group]).into_iter().filter(|call| names.contains(call)).collect();
        assert!(both.is_empty(), "{group:?} works on names: {both:?}");
    }
}

#[cfg(target_arch = "x86_64")]
fn old_ones() -> Named {
    calls![SYS_fork SYS_vfork SYS_mknod SYS_link SYS_symlink SYS_chmod SYS_chown SYS_lchown SYS_creat]
}

#[cfg(not(target_arch = "x86_64"))]
fn old_ones() -> Named {
    &[]
}

fn rules_of(groups: &[Calls]) -> Vec<i64> {
    rules(groups).into_keys().collect()
}

#[test]
fn a_condition_is_never_an_empty_list() {
    // An empty list of conditions means always: what has a condition must not be allowed by another group without one.
    let rules = rules(Calls::ALL);
    for group in Calls::ALL {
        for (call, conditions) in conditional(*group) {
            assert!(!conditions.is_empty() && !rules[&call].is_empty(), "system call {call}");
            assert!(Calls::ALL.iter().all(|other| !other.plain().contains(&call)), "system call {call}");
        }
    }
}

/// Does something in a thread of its own behind a role's filter (seccomp(2): a filter is the thread's).
fn behind<T: Send>(calls: &[Calls], work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let fenced = scope.spawn(|| {
            nix::sys::prctl::set_no_new_privs().unwrap();
            let closed = Fence { calls, directories: NOWHERE, require: true }.restrict_calls().unwrap();
            assert!(closed, "this kernel has seccomp");
            work()
        });
        fenced.join().unwrap()
    })
}

const ROLES: [&[Calls]; 3] = [login::CALLS, session::CALLS, spool::CALLS];

#[test]
fn no_role_can_talk_to_the_sockets_of_the_machine() {
    // A datagram socket, connected or not, could send to /dev/log and forge what the monitor writes.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let log = UnixDatagram::bind(&path).unwrap();
    log.set_nonblocking(true).unwrap();
    let address = UnixAddr::new(&path).unwrap();
    let (old, _other) = UnixDatagram::pair().unwrap();
    for role in ROLES {
        let (datagrams, streams, sent, fast) = behind(role, || {
            let pair =
                |kind| socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).map(drop).err();
            let raw = old.as_raw_fd();
            let fast = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
            (
                pair(SockType::Datagram),
                pair(SockType::Stream),
                sendto(raw, b"<21>forged", &address, MsgFlags::empty()).err(),
                nix::sys::socket::send(raw, b"x", fast).err(),
            )
        });
        assert_eq!([datagrams, sent, fast], [Some(Errno::EPERM); 3]);
        // The login process makes pairs of connected streams, which lead to nobody else.
        let makes_streams = role.contains(&Calls::Pairs);
        assert_eq!(makes_streams, role == login::CALLS);
        assert_eq!(streams, (!makes_streams).then_some(Errno::EPERM));
    }
    assert!(log.recv(&mut [0; 16]).is_err(), "nothing has arrived");
}

#[test]
fn every_role_can_pass_messages() {
    for role in ROLES {
        let heard = behind(role, || {
            let (here, there) = socket::pair().unwrap();
            let copy = there.try_clone().unwrap();
            socket::send(&here, b"hello", &[copy.as_fd()], false).unwrap();
            let waited = socket::wait(&there, socket::Wait::Read, clock::now()).unwrap();
            let received = socket::receive(&there, &mut [0; 16], false).unwrap();
            (waited, received.length, received.descriptors.len())
        });
        assert_eq!(heard, (true, 5, 1));
    }
}

#[test]
fn descriptors_cannot_be_made_to_send_signals() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let raw = file.as_raw_fd();
    for role in ROLES {
        let denied = behind(role, || {
            [(libc::F_SETOWN, 0), (libc::F_SETPIPE_SZ, 0), (libc::F_DUPFD, 0), (libc::F_NOTIFY, 0)].map(
                |(command, value)| {
                    // SAFETY: the descriptor is open, and these commands take a plain number.
                    Errno::result(unsafe { libc::fcntl(raw, command, value) }).unwrap_err()
                },
            )
        });
        assert_eq!(denied, [Errno::EPERM; 4]);
    }
    let locked = behind(session::CALLS, || lock::try_lock(file.as_file()).unwrap());
    assert!(locked, "a session locks its files");
    let leased = behind(spool::CALLS, || lock::lease(file.as_file()));
    assert_ne!(leased, lock::Lease::Refused, "the helper may ask for a lease");
}

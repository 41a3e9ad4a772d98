//! Programs that are run for their answer: what they are given, what they say, and the end of all that they leave behind.

use super::process::ChildId;
use super::socket::retry;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials, recvmsg, setsockopt,
    socketpair, sockopt,
};
use nix::sys::wait::waitpid;
use std::fs;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Descriptors are put aside from this number on before they get their places.
const ASIDE: RawFd = 16;

/// Children of children, and so on: each round ends one generation.
const GENERATIONS: usize = 1000;

/// Two connected ends that keep messages apart. At the first the kernel tells who sent a message.
///
/// # Errors
/// No descriptor is left.
pub(crate) fn pair_that_names_senders() -> io::Result<(OwnedFd, OwnedFd)> {
    let (here, there) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    setsockopt(&here, sockopt::PassCred, &true)?;
    Ok((here, there))
}

/// Who sent a message, by the kernel's word: real ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
}

/// A message that is there, and its sender; `None` at the end.
///
/// # Errors
/// As recvmsg(2); `InvalidData` when it is longer than the buffer or the kernel names no sender.
pub(crate) fn receive(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<(usize, Sender)>> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "message too long, or of nobody");
    let mut room = cmsg_space!(UnixCredentials);
    let raw = fd.as_fd().as_raw_fd();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let (length, sender, cut) = retry(|| {
        let mut parts = [IoSliceMut::new(buffer)];
        let received = recvmsg::<()>(raw, &mut parts, Some(&mut room), flags)?;
        let sender = received.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|message| match message {
                ControlMessageOwned::ScmCredentials(ids) => Some(Sender { uid: ids.uid(), gid: ids.gid() }),
                _ => None,
            })
        });
        Ok((received.bytes, sender, received.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC)))
    })?;
    match sender {
        _ if length == 0 => Ok(None),
        Some(sender) if !cut => Ok(Some((length, sender))),
        _ => Err(invalid()),
    }
}

/// Waits until one of the descriptors has something to read or has come to its end; which of them. None of them when the
/// deadline came first.
///
/// # Errors
/// As poll(2).
pub(crate) fn wait_for_any<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    deadline: Instant,
) -> io::Result<[bool; N]> {
    loop {
        let left = deadline.saturating_duration_since(super::clock::now()) + Duration::from_micros(999);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut polled, timeout) {
            Ok(0) if super::clock::now() >= deadline => return Ok([false; N]),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(polled.map(|one| one.any().unwrap_or(true))),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A descriptor that can be read when the child has ended.
///
/// # Errors
/// As pidfd_open(2).
pub(crate) fn end_of(child: ChildId) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers.
    let opened = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, child.number(), 0) })?;
    let number = RawFd::try_from(opened).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives a program about to be executed these descriptors under these numbers, and no others from 3 on.
///
/// # Errors
/// As dup2(2).
pub(crate) fn hand_over(descriptors: &[(BorrowedFd<'_>, RawFd)]) -> io::Result<()> {
    let mut aside = Vec::new();
    for (fd, number) in descriptors {
        aside.push((fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(ASIDE))?, *number));
    }
    let numbers: Vec<RawFd> = descriptors.iter().map(|(_, number)| *number).collect();
    for (from, to) in &aside {
        // SAFETY: dup2 takes two numbers. What was at `to` is closed: this child of ours has no use for it and never drops it, since it
        // becomes a program or ends.
        Errno::result(unsafe { libc::dup2(*from, *to) })?;
    }
    super::descriptors::close_all_but(&numbers);
    Ok(())
}

/// Orphans of this process's children become its own, so that [`end_all`] finds them.
///
/// # Errors
/// As prctl(2).
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Ends all children of this process, and theirs, and waits for their end. They cannot refuse.
pub(crate) fn end_all() {
    let list = format!("/proc/self/task/{}/children", nix::unistd::gettid());
    for _ in 0..GENERATIONS {
        let children = fs::read_to_string(&list).unwrap_or_default();
        let children: Vec<nix::unistd::Pid> = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok().map(nix::unistd::Pid::from_raw))
            .collect();
        if children.is_empty() {
            return;
        }
        for child in &children {
            // It is not reaped yet, so the number is still its own.
            let _ = kill(*child, Signal::SIGKILL);
        }
        for child in children {
            let _ = waitpid(child, None);
        }
    }
}

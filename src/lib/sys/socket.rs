//! Sockets: message pairs between roles, and what is known of a client's connection.

use super::signals::Termination;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrStorage, getpeername,
    getsockopt, sendmsg, setsockopt, socketpair, sockopt,
};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// The most descriptors in one message.
pub(crate) const MOST_DESCRIPTORS: usize = 2;

/// The other end of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// Its address and port; none for a connection that never leaves the machine (a UNIX socket).
    pub(crate) address: Option<SocketAddr>,
    /// Whether a proxy stands between, which told the address.
    pub(crate) proxied: bool,
}

impl Peer {
    /// Whoever is at the other end of the socket itself.
    pub(crate) const fn direct(address: Option<SocketAddr>) -> Self {
        Self { address, proxied: false }
    }

    /// Whether nobody but this machine can listen in. Of what lies behind a proxy that is not known: an address that it tells may be
    /// local to the proxy, and the way to it is not.
    pub(crate) fn is_local(&self) -> bool {
        !self.proxied && self.address.is_none_or(|address| address.ip().to_canonical().is_loopback())
    }
}

/// Whether the descriptor is a connected stream socket.
pub(crate) fn is_connection(fd: impl AsFd) -> bool {
    getsockopt(&fd, sockopt::SockType) == Ok(SockType::Stream)
        && getsockopt(&fd, sockopt::AcceptConn) == Ok(false)
        && getpeername::<SockaddrStorage>(fd.as_fd().as_raw_fd()).is_ok()
}

/// Who is at the other end.
pub(crate) fn peer(fd: impl AsFd) -> Peer {
    let storage = getpeername::<SockaddrStorage>(fd.as_fd().as_raw_fd()).ok();
    let address = storage.as_ref().and_then(|storage| {
        let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
    });
    Peer::direct(address)
}

/// Sends every write at once (no Nagle), keeps the connection probed; harmless where the socket is not TCP.
pub(crate) fn prepare(fd: impl AsFd) {
    let _ = setsockopt(&fd, sockopt::TcpNoDelay, &true);
    let _ = setsockopt(&fd, sockopt::KeepAlive, &true);
}

/// Turns on the kernel's debugging of the socket (`SO_DEBUG`), as far as the rights go.
pub(crate) fn debug(fd: impl AsFd) {
    let one: libc::c_int = 1;
    // SAFETY: the value and its length describe one int, and the kernel copies it.
    unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DEBUG,
            (&raw const one).cast(),
            libc::socklen_t::try_from(size_of_val(&one)).unwrap_or(4),
        );
    }
}

/// Makes reads and writes return at once.
///
/// # Errors
/// As fcntl(2).
pub(crate) fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_truncate(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Reads from a stream socket; 0 is the end.
///
/// # Errors
/// As recv(2); `WouldBlock` when nothing is there.
pub(crate) fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    retry(|| nix::sys::socket::recv(fd.as_fd().as_raw_fd(), buffer, MsgFlags::empty()))
}

/// Looks at what can be read, and leaves it there; 0 is the end.
///
/// # Errors
/// As recv(2); `WouldBlock` when nothing is there.
pub(crate) fn peek(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    retry(|| nix::sys::socket::recv(fd.as_fd().as_raw_fd(), buffer, MsgFlags::MSG_PEEK))
}

/// Writes to a stream socket, without SIGPIPE.
///
/// # Errors
/// As send(2); `WouldBlock` when there is no room.
pub(crate) fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    retry(|| nix::sys::socket::send(fd.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL))
}

/// Tells the other end that nothing more will be sent.
pub(crate) fn finish(fd: impl AsFd) {
    let _ = nix::sys::socket::shutdown(fd.as_fd().as_raw_fd(), nix::sys::socket::Shutdown::Write);
}

/// Lets more clients wait for `accept` than the default.
///
/// # Errors
/// As listen(2).
pub(crate) fn lengthen_queue(fd: impl AsFd) -> io::Result<()> {
    Ok(nix::sys::socket::listen(&fd, Backlog::MAXCONN)?)
}

/// Whether the descriptor is a listening socket.
pub(crate) fn is_listening(fd: impl AsFd) -> bool {
    getsockopt(&fd, sockopt::AcceptConn) == Ok(true)
}

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Something to read, or the end.
    Read,
    /// Room to write.
    Write,
}

/// Waits until the descriptor is ready; false when the deadline came first.
///
/// # Errors
/// As poll(2).
pub(crate) fn wait(fd: impl AsFd, what: Wait, deadline: Instant) -> io::Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let events = if what == Wait::Read { PollFlags::POLLIN } else { PollFlags::POLLOUT };
    loop {
        let left = deadline.saturating_duration_since(super::clock::now());
        // Rounded up, so that the loop does not spin through the last millisecond.
        let left = left + Duration::from_micros(999);
        let timeout =
            PollTimeout::try_from(left.min(Duration::from_secs(86_400))).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(fd.as_fd(), events)], timeout) {
            Ok(0) if super::clock::now() >= deadline => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// What a wait that somebody may interrupt ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The descriptor is ready.
    Ready,
    /// The deadline came first.
    Late,
    /// SIGTERM came first.
    Interrupted,
}

/// As [`wait`], but SIGTERM is heard meanwhile.
///
/// # Errors
/// As ppoll(2).
pub(crate) fn wait_unless(
    termination: &Termination,
    fd: impl AsFd,
    what: Wait,
    deadline: Instant,
) -> io::Result<Waited> {
    use nix::poll::{PollFd, PollFlags, ppoll};
    let events = if what == Wait::Read { PollFlags::POLLIN } else { PollFlags::POLLOUT };
    loop {
        let left = deadline.saturating_duration_since(super::clock::now());
        match ppoll(&mut [PollFd::new(fd.as_fd(), events)], Some(left.into()), Some(termination.mask())) {
            Ok(0) if super::clock::now() >= deadline => return Ok(Waited::Late),
            Err(Errno::EINTR) if Termination::was_heard() => return Ok(Waited::Interrupted),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(Waited::Ready),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Two connected ends that keep messages apart (`SOCK_SEQPACKET`).
///
/// # Errors
/// No descriptor is left.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Two connected ends of a stream.
///
/// # Errors
/// No descriptor is left.
pub(crate) fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?)
}

/// The port at this end of a network connection, or of a socket that listens.
pub(crate) fn local_port(fd: impl AsFd) -> Option<u16> {
    let storage = nix::sys::socket::getsockname::<SockaddrStorage>(fd.as_fd().as_raw_fd()).ok()?;
    let v4 = storage.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::port);
    v4.or_else(|| storage.as_sockaddr_in6().map(nix::sys::socket::SockaddrIn6::port))
}

/// Sends one message with descriptors. With `patient` false it does not wait for room.
///
/// # Errors
/// As sendmsg(2); `WouldBlock` when there is no room.
pub(crate) fn send(fd: impl AsFd, bytes: &[u8], passed: &[BorrowedFd<'_>], patient: bool) -> io::Result<()> {
    let raw: Vec<RawFd> = passed.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let flags =
        if patient { MsgFlags::MSG_NOSIGNAL } else { MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT };
    let slices = [IoSlice::new(bytes)];
    retry(|| sendmsg::<()>(fd.as_fd().as_raw_fd(), &slices, control, flags, None)).map(drop)
}

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Received {
    /// How many octets of the buffer are filled; 0: the other end is closed. An empty message looks the same to the kernel's
    /// callers, and nobody here sends one: who does has hung up.
    pub(crate) length: usize,
    /// Descriptors that came with it, close-on-exec; at most [`MOST_DESCRIPTORS`].
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// The most descriptors that the kernel passes with one message (`SCM_MAX_FD`).
const KERNELS_MOST: u32 = 253;

/// Room for control messages with that many descriptors, in units that are aligned as their headers are.
// SAFETY: CMSG_SPACE only calculates.
const ROOM: usize = unsafe { libc::CMSG_SPACE(KERNELS_MOST * 4) as usize }.div_ceil(size_of::<u64>());

/// Receives one message. With `patient` false it does not wait.
///
/// # Errors
/// As recvmsg(2); `WouldBlock` when none is there; `InvalidData` when it is longer than the buffer, has more than
/// [`MOST_DESCRIPTORS`] descriptors or lost some on the way, or has descriptors and no octet. Such a message is gone, its
/// descriptors are closed, and the next one can be received.
pub(crate) fn receive(fd: impl AsFd, buffer: &mut [u8], patient: bool) -> io::Result<Received> {
    receive_with_room(fd, buffer, &mut [0; ROOM], patient)
}

/// The same into a buffer as large as the message, which is at most so large: what is never used need be neither made nor wiped.
///
/// # Errors
/// As [`receive`].
pub(crate) fn receive_whole(fd: impl AsFd, largest: usize) -> io::Result<(Vec<u8>, Received)> {
    let flags = libc::MSG_PEEK | libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    let descriptor = fd.as_fd().as_raw_fd();
    // SAFETY: nothing is written, since the buffer has no octets.
    let peek = || unsafe { libc::recv(descriptor, std::ptr::null_mut(), 0, flags) };
    let length = retry(|| Errno::result(peek()));
    let length = match length {
        // As `receive` has it.
        Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => 0,
        other => usize::try_from(other?).map_err(io::Error::other)?,
    };
    let mut buffer = vec![0; length.min(largest)];
    let received = receive(fd, &mut buffer, false)?;
    Ok((buffer, received))
}

fn receive_with_room(
    fd: impl AsFd,
    buffer: &mut [u8],
    room: &mut [u64],
    patient: bool,
) -> io::Result<Received> {
    let flags = libc::MSG_CMSG_CLOEXEC | if patient { 0 } else { libc::MSG_DONTWAIT };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zero is a valid header: no name, no parts, no control messages.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = room.as_mut_ptr().cast();
    // The type of the field varies between C libraries; the room is 1 KiB.
    header.msg_controllen = size_of_val(room) as _;
    // SAFETY: the header describes the buffer and the room, both borrowed for the length of the call, and both of octets and
    // numbers that may have any value.
    let received =
        retry(|| Errno::result(unsafe { libc::recvmsg(fd.as_fd().as_raw_fd(), &raw mut header, flags) }));
    let length = match received {
        // A peer that ended with unread messages: for us the same as its end.
        Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => {
            return Ok(Received { length: 0, descriptors: Vec::new() });
        }
        other => usize::try_from(other?).map_err(io::Error::other)?,
    };
    // SAFETY: recvmsg has succeeded with this header, whose room is still borrowed; its descriptors are new.
    let descriptors = unsafe { take_descriptors(&header) };
    let cut = header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    if cut || descriptors.len() > MOST_DESCRIPTORS || (length == 0 && !descriptors.is_empty()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message too long, or with too much"));
    }
    Ok(Received { length, descriptors })
}

/// All descriptors of a message, owned.
///
/// # Safety
/// recvmsg(2) has just filled the header, its room for control messages is still borrowed, and nobody has taken the descriptors.
#[allow(clippy::unnecessary_cast, reason = "the type of cmsg_len varies between C libraries")]
unsafe fn take_descriptors(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut taken = Vec::new();
    // SAFETY: the caller's promise; the kernel has written whole headers, and as many octets of data as they say.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = control.as_ref() {
            if (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let data = libc::CMSG_DATA(control);
                let octets =
                    (found.cmsg_len as usize).saturating_sub(data.offset_from_unsigned(control.cast()));
                for index in 0..octets / size_of::<RawFd>() {
                    let number = data.cast::<RawFd>().add(index).read_unaligned();
                    taken.push(OwnedFd::from_raw_fd(number));
                }
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    taken
}

pub(super) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_descriptor() {
        let (here, there) = pair().unwrap();
        let (passed, kept) = pair().unwrap();
        send(&here, b"hello", &[passed.as_fd()], true).unwrap();
        let mut buffer = [0; 16];
        let received = receive(&there, &mut buffer, true).unwrap();
        assert_eq!((&buffer[..received.length], received.descriptors.len()), (&b"hello"[..], 1));
        send(&received.descriptors[0], b"x", &[], true).unwrap();
        assert_eq!(receive(&kept, &mut buffer, true).unwrap().length, 1);
    }

    #[test]
    fn a_message_longer_than_the_buffer_is_an_error() {
        let (here, there) = pair().unwrap();
        send(&here, &[0; 32], &[], true).unwrap();
        let error = receive(&there, &mut [0; 16], true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    /// Sends a message with this many copies of one end of a pair; the other end, which sees when all are closed.
    fn send_copies(to: &OwnedFd, bytes: &[u8], count: usize) -> OwnedFd {
        let (passed, kept) = pair().unwrap();
        send(to, bytes, &vec![passed.as_fd(); count], true).unwrap();
        kept
    }

    fn assert_all_closed(kept: &OwnedFd) {
        assert_eq!(receive(kept, &mut [0; 1], false).unwrap().length, 0, "a descriptor is left open");
    }

    #[test]
    fn a_message_with_too_many_descriptors_is_ignored_and_not_the_end() {
        // Design, section 2: nothing that another role sends ends the monitor, nor its line to that role.
        let (here, there) = pair().unwrap();
        for count in [MOST_DESCRIPTORS + 1, 30, 253] {
            let kept = send_copies(&here, b"x", count);
            send(&here, b"next", &[], true).unwrap();
            let error = receive(&there, &mut [0; 16], false).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{count} descriptors");
            assert_all_closed(&kept);
            assert_eq!(receive(&there, &mut [0; 16], false).unwrap().length, 4);
        }
    }

    #[test]
    fn descriptors_that_came_with_a_cut_message_are_closed() {
        // The kernel installs as many as fit, or as the limit of descriptors allows, and cuts the rest off.
        let (here, there) = pair().unwrap();
        let kept = send_copies(&here, b"x", 3);
        let mut room = [0; 3];
        let error = receive_with_room(&there, &mut [0; 16], &mut room, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_all_closed(&kept);
        let kept = send_copies(&here, &[0; 32], 2);
        assert_eq!(receive(&there, &mut [0; 16], false).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_all_closed(&kept);
    }

    #[test]
    fn descriptors_without_an_octet_are_not_the_end() {
        let (here, there) = pair().unwrap();
        let kept = send_copies(&here, b"", 1);
        assert_eq!(receive(&there, &mut [0; 16], false).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_all_closed(&kept);
        drop(here);
        assert_eq!(receive(&there, &mut [0; 16], false).unwrap().length, 0);
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let (_here, there) = pair().unwrap();
        let deadline = crate::sys::clock::now() + Duration::from_millis(5);
        assert!(!wait(&there, Wait::Read, deadline).unwrap());
    }
}

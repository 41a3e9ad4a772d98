//! The client's end of a connection as octets, whatever lies below. Today the socket itself; TLS becomes another
//! implementation, which keeps its socket and is relayed.

use crate::sys::socket;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Octets to and from a client. Nothing blocks: `WouldBlock` says that the descriptor has to be waited for.
pub(crate) trait Stream {
    /// Reads what the client sent; 0 is the end.
    ///
    /// # Errors
    /// As recv(2).
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes to the client.
    ///
    /// # Errors
    /// As send(2).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Says that nothing more will be sent.
    fn finish(&mut self);

    /// What to wait for readiness on.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// The descriptor that the session process gets: the client's own where nothing lies between.
    fn into_session_end(self: Box<Self>) -> OwnedFd;
}

/// A stream in the clear.
pub(crate) struct Plain(OwnedFd);

impl Plain {
    /// Takes over a connected stream socket.
    ///
    /// # Errors
    /// It cannot be made non-blocking.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        socket::set_nonblocking(&socket)?;
        Ok(Self(socket))
    }
}

impl Stream for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        socket::read(&self.0, buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        socket::write(&self.0, bytes)
    }

    fn finish(&mut self) {
        socket::finish(&self.0);
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn into_session_end(self: Box<Self>) -> OwnedFd {
        self.0
    }
}

//! The client's end of a connection as octets, in the clear or through TLS.

use super::relay::Relay;
use super::tls::{Facts, Tls};
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
}

/// A client's socket in the login process: it begins in the clear or with TLS, and may go on with TLS.
pub(crate) struct Endpoint {
    client: OwnedFd,
    tls: Option<Box<Tls>>,
}

/// What becomes of a client that has logged in.
pub(crate) enum Handover {
    /// The session gets its socket.
    Socket(OwnedFd),
    /// The session gets one end of a socket pair, and what lies between stays here.
    Relayed(OwnedFd, Relay),
}

impl Endpoint {
    /// Takes over a connected stream socket, in the clear.
    ///
    /// # Errors
    /// It cannot be made non-blocking.
    pub(crate) fn new(client: OwnedFd) -> io::Result<Self> {
        socket::set_nonblocking(&client)?;
        Ok(Self { client, tls: None })
    }

    /// From now on all goes through TLS, the handshake first.
    pub(crate) fn secure(&mut self, tls: Tls) {
        self.tls = Some(Box::new(tls));
    }

    /// Goes on with the handshake; what came of it.
    ///
    /// # Errors
    /// As [`Tls::handshake`].
    pub(crate) fn handshake(&mut self) -> io::Result<Option<Facts>> {
        let Some(tls) = &mut self.tls else { return Ok(None) };
        tls.handshake(&self.client)?;
        Ok(Some(tls.facts()))
    }

    /// Whether something was written that the client did not take yet.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn has_unsent(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        match tls.flush(&self.client) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(tls.has_unsent()),
        }
    }

    /// What the session gets, and what stays.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn hand_over(self, patience: std::time::Duration) -> io::Result<Handover> {
        match self.tls {
            None => Ok(Handover::Socket(self.client)),
            Some(tls) => {
                let (here, there) = socket::stream_pair()?;
                Ok(Handover::Relayed(there, Relay::new(self.client, tls, here, patience)?))
            }
        }
    }
}

impl Stream for Endpoint {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => socket::read(&self.client, buffer),
            Some(tls) => tls.read(&self.client, buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => socket::write(&self.client, bytes),
            Some(tls) => tls.write(&self.client, bytes).map(|()| bytes.len()),
        }
    }

    fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close();
            // A client that takes nothing more does not wait for it.
            let _ = tls.flush(&self.client);
        }
        socket::finish(&self.client);
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }
}

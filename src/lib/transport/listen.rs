//! Sockets that clients connect to.

use crate::config::Address;
use crate::error::{Error, Result};
use crate::sys::socket;
use std::net::TcpListener;

/// Opens a listening socket.
///
/// # Errors
/// The address is taken, or not this machine's, or the port is below 1024 and this is not root.
pub(crate) fn open(address: &Address) -> Result<TcpListener> {
    let failed = |cause| Error::io(format!("cannot listen on {address}"), cause);
    let listener = TcpListener::bind(address.0).map_err(failed)?;
    prepare(&listener).map_err(failed)?;
    Ok(listener)
}

/// What clients' sockets inherit (tcp(7)): no delay, keep-alive; and a queue that a burst does not overrun.
///
/// # Errors
/// As fcntl(2) and listen(2).
pub(crate) fn prepare(listener: &TcpListener) -> std::io::Result<()> {
    socket::prepare(listener);
    socket::lengthen_queue(listener)?;
    listener.set_nonblocking(true)
}

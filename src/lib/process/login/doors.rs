//! The doors of a login process: taking connections, and what the monitor says of them.

use super::{Door, LISTENER, Server};
use crate::error::{Error, Result};
use crate::log::SessionId;
use crate::process::message::{Message, Order};
use crate::process::notice::{Departure, Notice};
use crate::sys::clock;
use crate::sys::socket::{self, Peer};
use mio::Interest;
use mio::unix::SourceFd;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// How many connections are taken before others are served.
const TAKEN_AT_ONCE: usize = 64;

/// How long no connection is taken after one could not be.
const PAUSE: Duration = Duration::from_millis(200);

impl Server<'_> {
    /// Takes connections from these sockets from now on.
    pub(super) fn watch(&mut self, doors: Vec<Door>) -> Result<()> {
        for door in &doors {
            let raw = door.socket.as_raw_fd();
            self.poll
                .registry()
                .register(&mut SourceFd(&raw), LISTENER, Interest::READABLE)
                .map_err(|cause| Error::io("cannot watch a listening socket", cause))?;
        }
        self.doors = doors;
        Ok(())
    }

    /// Takes what waits, but not all at once; transient errors are told and survived.
    pub(super) fn take_connections(&mut self) {
        self.resume = None;
        for door in 0..self.doors.len() {
            let tls = self.doors[door].tls;
            for _ in 0..TAKEN_AT_ONCE {
                match self.doors[door].socket.accept() {
                    Ok((stream, address)) => {
                        let peer = Peer::direct(Some(address));
                        self.take(OwnedFd::from(stream), peer, tls);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // The client left before it was taken.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        self.surroundings.tell(&Notice::Fault(Error::io("cannot take a connection", error)));
                        self.resume = Some(clock::now() + PAUSE);
                        return;
                    }
                }
                // More may wait; the queue tells of new ones alone.
                self.resume = Some(clock::now());
            }
        }
    }

    fn take(&mut self, client: OwnedFd, peer: Peer, tls: bool) {
        let taken = SessionId::random().and_then(|session| self.welcome(client, peer, session, tls));
        if let Err(error) = taken {
            self.surroundings.tell(&Notice::Fault(error));
        }
    }

    /// Does what the monitor says; without a monitor nobody can log in any more.
    pub(super) fn hear_orders(&mut self) {
        let mut buffer = [0; 128];
        loop {
            let order = match socket::receive(&self.surroundings.control, &mut buffer, false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(message) if message.length > 0 => Order::from_bytes(&buffer[..message.length]),
                Ok(_) | Err(_) => {
                    self.retire();
                    self.close_idle();
                    self.arrivals.clear();
                    return;
                }
            };
            match order {
                Ok(Order::Retire) => self.retire(),
                Ok(Order::End) => {
                    self.retire();
                    self.close_idle();
                    self.arrivals.clear();
                }
                Ok(Order::Reject(id)) => self.reject(id),
                Ok(Order::Announce(announced)) => self.announced = announced,
                Err(_) => {}
            }
        }
    }

    fn retire(&mut self) {
        for door in self.doors.drain(..) {
            let raw = door.socket.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        }
        self.resume = None;
    }

    fn close_idle(&mut self) {
        let idle: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.is_idle())
            .map(|(number, _)| *number)
            .collect();
        for number in idle {
            self.with(number, |connection| {
                connection.send_away("[SYS/TEMP] the server is shutting down", Departure::Expelled)
            });
        }
    }

    fn reject(&mut self, id: SessionId) {
        let found = self.connections.iter().find(|(_, connection)| connection.session == id);
        if let Some(number) = found.map(|(number, _)| *number) {
            self.with(number, |connection| {
                connection.send_away("[SYS/TEMP] too many connections, try again later", Departure::Crowded)
            });
        }
    }
}

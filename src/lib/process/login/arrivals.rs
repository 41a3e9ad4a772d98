//! Connections from proxies, until they have said for whom they come.
//!
//! Only peers in `listen.proxy` are asked. The header stays in the socket until it is complete, and then is taken out of it to the last
//! octet: what follows is the client's, TLS too. A proxy that sends something else, or nothing in time, is refused without a word.

use super::{Server, client_token};
use crate::error::{Error, Result};
use crate::log::SessionId;
use crate::process::notice::{Departure, Notice};
use crate::protocol::proxy::{self, Progress, Source};
use crate::sys::clock;
use crate::sys::socket::{self, Peer};
use mio::Interest;
use mio::unix::SourceFd;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a proxy may take: it sends the header first of all, in one piece.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection whose client is not known yet.
struct Arrival {
    socket: OwnedFd,
    proxy: Peer,
    session: SessionId,
    tls: bool,
    until: Instant,
}

/// All of them. Numbers rise, so that the first has the earliest deadline.
pub(super) struct Arrivals(BTreeMap<usize, Arrival>);

impl Arrivals {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.first_key_value().map(|(_, arrival)| arrival.until)
    }
}

impl Server<'_> {
    /// Takes on a client; one that comes through a proxy, as soon as that has said who it is.
    pub(super) fn welcome(
        &mut self,
        socket: OwnedFd,
        peer: Peer,
        session: SessionId,
        tls: bool,
    ) -> Result<()> {
        let config = self.surroundings.config;
        if !config.listen.is_proxy(&peer) {
            return self.admit(socket, peer, session, tls);
        }
        let failed = |cause| Error::io("cannot take on a proxy's connection", cause);
        socket::set_nonblocking(&socket).map_err(failed)?;
        let (number, raw) = (self.next, socket.as_raw_fd());
        self.next += 1;
        self.poll
            .registry()
            .register(&mut SourceFd(&raw), client_token(number), Interest::READABLE)
            .map_err(failed)?;
        let until = clock::now() + PATIENCE.min(config.limits.login_timeout);
        self.arrivals.0.insert(number, Arrival { socket, proxy: peer, session, tls, until });
        self.read_header(number);
        Ok(())
    }

    /// Looks at what a proxy has sent; false when there is no such arrival.
    pub(super) fn read_header(&mut self, number: usize) -> bool {
        let Some(arrival) = self.arrivals.0.get(&number) else { return false };
        let mut octets = [0; proxy::LONGEST];
        let found = match socket::peek(&arrival.socket, &mut octets) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Ok(length) if length > 0 => proxy::read(&octets[..length]),
            Ok(_) | Err(_) => {
                self.turn_away(number, Departure::Dropped);
                return true;
            }
        };
        match found {
            Ok(Progress::Begun) => {}
            Ok(Progress::Complete(source, length)) => self.bring_in(number, source, length),
            Err(proxy::Malformed) => self.turn_away(number, Departure::Header),
        }
        true
    }

    /// The header is known: out of the socket with it, and in with the client.
    fn bring_in(&mut self, number: usize, source: Source, length: usize) {
        let Some(Arrival { socket, proxy, session, tls, .. }) = self.remove(number) else { return };
        let peer = match source {
            Source::Own => proxy,
            Source::Client(address) => Peer { address: Some(address), proxied: true },
            Source::Nameless => Peer { proxied: true, ..proxy },
        };
        let mut header = [0; proxy::LONGEST];
        let taken = match socket::read(&socket, &mut header[..length]) {
            Ok(octets) if octets == length => self.admit(socket, peer, session, tls),
            // What was there is there.
            Ok(_) => Err(Error::io("cannot read a proxy's header", io::ErrorKind::UnexpectedEof.into())),
            Err(cause) => Err(Error::io("cannot read a proxy's header", cause)),
        };
        if let Err(error) = taken {
            self.surroundings.tell(&Notice::Fault(error));
        }
    }

    fn turn_away(&mut self, number: usize, why: Departure) {
        let Some(Arrival { proxy, session, .. }) = self.remove(number) else { return };
        self.surroundings.tell(&Notice::Connected(session, proxy));
        self.surroundings.tell(&Notice::Disconnected(session, proxy, why, 0));
    }

    /// Out of the event queue too: the descriptor may live on.
    fn remove(&mut self, number: usize) -> Option<Arrival> {
        let arrival = self.arrivals.0.remove(&number)?;
        let raw = arrival.socket.as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        Some(arrival)
    }

    pub(super) fn expire_arrivals(&mut self, now: Instant) {
        while let Some((number, arrival)) = self.arrivals.0.first_key_value()
            && arrival.until <= now
        {
            let number = *number;
            self.turn_away(number, Departure::Header);
        }
    }
}

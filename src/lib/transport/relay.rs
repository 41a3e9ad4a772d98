//! What stays of a TLS connection in the login process after the login: octets are decrypted for the session and encrypted for the
//! client, each in its turn.
//!
//! Little waits here: 64 KiB towards the client, which are taken off the session only when the last ones have left, and 64 KiB towards the
//! session. Who is slow is felt by the other side, as through a socket. Nothing is kept while nothing flows.

use super::tls::Tls;
use crate::sys::{clock, socket};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Octets of one turn in each direction: four full records of TLS (RFC 8446, section 5.1).
pub(crate) const TURN: usize = 64 * 1024;

/// How long a client may take to close after the last octets.
const LINGER: Duration = Duration::from_secs(2);

/// What a relay needs after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Another turn, when others had theirs.
    More,
    /// One of its descriptors to become ready, or its deadline.
    Wait,
    /// Nothing: it is over.
    Over,
}

/// A client with TLS, and its session.
pub(crate) struct Relay {
    client: OwnedFd,
    tls: Box<Tls>,
    session: OwnedFd,
    /// What the session has not taken yet.
    waiting: Vec<u8>,
    /// The client will send nothing more that counts.
    client_ended: bool,
    /// The session will send nothing more.
    session_ended: bool,
    /// When the last octets had left, after the session's end.
    finished: Option<Instant>,
    /// How long the client may take nothing of what waits for it.
    patience: Duration,
    /// Since when it has taken nothing of what waits.
    stuck_since: Option<Instant>,
}

impl Relay {
    /// Between a client whose handshake is done and one end of a pair, the other of which is the session's.
    ///
    /// # Errors
    /// The pair cannot be made non-blocking.
    pub(crate) fn new(
        client: OwnedFd,
        tls: Box<Tls>,
        session: OwnedFd,
        patience: Duration,
    ) -> io::Result<Self> {
        socket::set_nonblocking(&session)?;
        Ok(Self {
            client,
            tls,
            session,
            waiting: Vec::new(),
            client_ended: false,
            session_ended: false,
            finished: None,
            patience,
            stuck_since: None,
        })
    }

    /// Moves what can be moved without waiting, at most [`TURN`] octets each way; `room` is for them, and says nothing afterwards.
    pub(crate) fn turn(&mut self, room: &mut [u8]) -> Turn {
        let down = self.feed_client(room);
        let up = self.feed_session(room);
        match (down, up) {
            (Err(_), _) | (_, Err(_)) => Turn::Over,
            _ if self.finished.is_some() && self.client_ended => Turn::Over,
            (Ok(false), Ok(false)) => Turn::Wait,
            _ => Turn::More,
        }
    }

    /// When something has to happen even if nothing becomes ready. A session feels through the pair that its client takes nothing, and
    /// its own deadline comes first, so that the log says how it ended.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let stuck = self.stuck_since.map(|since| since + self.patience + LINGER);
        stuck.or_else(|| self.finished.map(|time| time + LINGER))
    }

    /// The descriptors to wait for: the client's and the session's.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.client.as_fd(), self.session.as_fd()]
    }

    /// From the session to the client; whether there is more to do at once.
    fn feed_client(&mut self, room: &mut [u8]) -> io::Result<bool> {
        let mut left = TURN;
        loop {
            if !self.flush()? {
                return Ok(false);
            }
            if self.session_ended {
                self.finish();
                return Ok(false);
            }
            if left == 0 {
                return Ok(true);
            }
            let most = left.min(room.len());
            match socket::read(&self.session, &mut room[..most]) {
                Ok(0) => self.end_of_session(),
                Ok(octets) => {
                    left -= octets;
                    self.tls.write(&self.client, &room[..octets])?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                // It died with octets unread.
                Err(_) => self.end_of_session(),
            }
        }
    }

    fn end_of_session(&mut self) {
        self.session_ended = true;
        self.tls.close();
    }

    /// All is sent, the farewell of TLS too.
    fn finish(&mut self) {
        if self.finished.is_none() {
            socket::finish(&self.client);
            self.finished = Some(clock::now());
        }
    }

    /// Sends what is encrypted; whether all has left. The time of a client that takes something begins anew.
    fn flush(&mut self) -> io::Result<bool> {
        let sent = match self.tls.flush(&self.client) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };
        let unsent = self.tls.has_unsent();
        if !unsent {
            self.stuck_since = None;
        } else if sent > 0 || self.stuck_since.is_none() {
            self.stuck_since = Some(clock::now());
        }
        Ok(!unsent)
    }

    /// From the client to the session; whether there is more to do at once.
    fn feed_session(&mut self, room: &mut [u8]) -> io::Result<bool> {
        let mut left = TURN;
        while !self.client_ended {
            if !self.deliver() {
                return Ok(false);
            }
            if left == 0 {
                return Ok(true);
            }
            let most = left.min(room.len());
            match self.tls.read(&self.client, &mut room[..most]) {
                // Without the farewell of TLS somebody on the way may have cut it. For a session both are a client that is gone.
                Ok(0) => self.end_of_client(),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.end_of_client(),
                Ok(octets) => {
                    left -= octets;
                    if !self.session_ended {
                        self.waiting.extend_from_slice(&room[..octets]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// The end comes to the session behind all octets.
    fn end_of_client(&mut self) {
        self.client_ended = true;
        socket::finish(&self.session);
    }

    /// Gives the session what waits for it; whether all is gone.
    fn deliver(&mut self) -> bool {
        let mut sent = 0;
        while sent < self.waiting.len() {
            match socket::write(&self.session, &self.waiting[sent..]) {
                Ok(octets) => sent += octets,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting.drain(..sent);
                    return false;
                }
                // It is gone, and takes nothing any more.
                Err(_) => break,
            }
        }
        self.waiting = Vec::new();
        true
    }
}

#[cfg(test)]
mod tests;

//! TLS of one connection: from STLS, or from its first octet, to the end of the handshake.

use super::{Connection, LINGER, Next, Phase};
use crate::process::notice::Departure;
use crate::protocol::line::Lines;
use crate::protocol::reply::Reply;
use crate::sys::clock;
use crate::transport::tls::{Facts, Tls};
use std::io;

impl Connection {
    /// Goes on with TLS, from its handshake.
    pub(crate) fn begin_tls(&mut self, tls: Tls) {
        self.stream.secure(tls);
        self.phase = Phase::Shaking;
    }

    /// TLS cannot begin: the client, which has been told that it would, is sent away.
    pub(crate) fn cannot_begin_tls(&mut self) {
        self.phase =
            Phase::Closing { finished: false, until: clock::now() + LINGER, why: Departure::Handshake };
    }

    /// What came behind STLS came in the clear, perhaps from somebody on the way: it is not for the encrypted connection.
    pub(super) fn prepare_tls(&mut self, reply: &Reply) {
        self.say(reply);
        self.lines = Lines::new();
        self.phase = Phase::Securing;
    }

    /// Goes on with the handshake: none when it is done.
    pub(super) fn shake_hands(&mut self) -> Option<Next> {
        match self.stream.handshake() {
            Ok(facts) => {
                if let Some(facts) = &facts {
                    self.machine.encrypted(facts.tls.clone());
                }
                self.facts = facts;
                self.phase = Phase::Talking;
                self.commanded = clock::now();
                if !self.greeted {
                    self.greet();
                }
                None
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Next::Wait),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.failure = Some(error.to_string());
                Some(Next::Gone(Departure::Handshake))
            }
            Err(_) => Some(Next::Gone(Departure::Dropped)),
        }
    }

    /// Whether all goes through TLS.
    pub(crate) const fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// Why the handshake failed.
    pub(crate) fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }
}

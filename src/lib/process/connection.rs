//! One connection in the AUTHORIZATION state: its stream, its parser, what waits to be sent, and until when it may wait.

mod security;

use super::message::{Answer, Attempt, Message};
use super::notice::Departure;
use super::role::{describe, describe_message, describe_reply};
use crate::log::SessionId;
use crate::protocol::line::Lines;
use crate::protocol::listing;
use crate::protocol::reply::Reply;
use crate::protocol::sasl::{self, Mechanism};
use crate::session::Rejection;
use crate::session::authorization::{Authorization, Effect, Login, incorrect};
use crate::sys::socket::Peer;
use crate::sys::{clock, socket};
use crate::transport::output::Output;
use crate::transport::relay::Relay;
use crate::transport::stream::{Endpoint, Handover, Stream};
use crate::transport::tls::{Facts, Tls};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Replies that may wait before more commands are parsed, in octets.
const MOST_WAITING: usize = 16 * 1024;

/// Commands and reads of one turn.
const TURN: usize = 32;

/// How long a client may take to read the last reply.
const LINGER: Duration = Duration::from_secs(2);

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// For a whole command.
    pub(crate) idle: Duration,
    /// For everything until the login.
    pub(crate) login: Duration,
    /// From a wrong password to the answer.
    pub(crate) failure_delay: Duration,
    /// For a verdict.
    pub(crate) verdict: Duration,
}

/// What a connection waits for.
enum Phase {
    /// Commands.
    Talking,
    /// The reply to STLS to leave, before TLS begins.
    Securing,
    /// The handshake of TLS.
    Shaking,
    /// The verdict on a login.
    Verifying { attempt: OwnedFd, since: Instant, user: String },
    /// The moment at which a refusal leaves.
    Delayed { until: Instant, refusal: Refusal },
    /// The last replies to leave before the client's socket goes to the session.
    Leaving { attempt: OwnedFd },
    /// The client to read the last reply and close.
    Closing { finished: bool, until: Instant, why: Departure },
}

/// How a login was refused.
enum Refusal {
    /// Wrong credentials of this name.
    Wrong(String),
    /// Something else, said behind `-ERR `.
    Other(String),
}

/// What the event loop has to do for a connection.
pub(crate) enum Next {
    /// Wait for its descriptors or its deadline.
    Wait,
    /// Let others have their turn, then go on: there is more to do.
    Again,
    /// Have these credentials verified.
    Verify(Login),
    /// Tell the log why credentials of this name are refused without a verifier, then go on.
    Rejected(String, Mechanism, Rejection),
    /// Begin TLS.
    Secure,
    /// Hand the client over.
    HandOver,
    /// Forget it.
    Gone(Departure),
}

/// An attempt whose yes waits for the client, and its user's name.
struct Proven {
    attempt: OwnedFd,
    user: String,
}

/// A client that is not logged in.
pub(crate) struct Connection {
    pub(crate) session: SessionId,
    pub(crate) peer: Peer,
    pub(crate) began: Instant,
    stream: Endpoint,
    machine: Authorization,
    /// What the handshake of TLS has brought about.
    facts: Option<Facts>,
    /// Why it failed.
    failure: Option<String>,
    lines: Lines,
    output: Output,
    phase: Phase,
    commanded: Instant,
    /// A verifier that has said yes and signed it, until the client agrees.
    proven: Option<Proven>,
    times: Times,
    /// Lines for debugging, when wanted.
    spoken: Option<Vec<String>>,
    greeted: bool,
}

impl Connection {
    /// A connection that begins with the greeting, or with TLS and then the greeting.
    pub(crate) fn new(
        stream: Endpoint,
        peer: Peer,
        session: SessionId,
        machine: Authorization,
        times: Times,
        debug: bool,
        tls: Option<Tls>,
    ) -> Self {
        let now = clock::now();
        let mut connection = Self {
            session,
            peer,
            began: now,
            stream,
            machine,
            facts: None,
            failure: None,
            lines: Lines::new(),
            output: Output::default(),
            phase: Phase::Talking,
            commanded: now,
            proven: None,
            times,
            spoken: debug.then(Vec::new),
            greeted: false,
        };
        match tls {
            Some(tls) => connection.begin_tls(tls),
            None => connection.greet(),
        }
        connection
    }

    fn greet(&mut self) {
        self.greeted = true;
        let greeting = self.machine.greeting();
        self.say(&greeting);
    }

    /// Goes on as far as it can without waiting, but not for longer than one turn: a client that never pauses must not keep
    /// others from being served, nor outlive its deadline.
    pub(crate) fn advance(&mut self) -> Next {
        for _ in 0..TURN {
            if matches!(self.phase, Phase::Talking) && clock::now() >= self.deadline() {
                return self.expire();
            }
            if matches!(self.phase, Phase::Talking)
                && self.output.len() < MOST_WAITING
                && let Some(next) = self.next_command()
            {
                match next {
                    Some(next) => return next,
                    None => continue,
                }
            }
            if matches!(self.phase, Phase::Shaking) {
                match self.shake_hands() {
                    Some(next) => return next,
                    None => continue,
                }
            }
            match self.output.flush(&mut self.stream).and_then(|_| self.stream.has_unsent()) {
                Err(_) => return Next::Gone(Departure::Dropped),
                Ok(unsent) if unsent || !self.output.is_empty() => return Next::Wait,
                Ok(_) => {}
            }
            match self.phase {
                Phase::Securing => return Next::Secure,
                Phase::Shaking => {}
                Phase::Leaving { .. } => return Next::HandOver,
                Phase::Closing { .. } => return self.linger(),
                Phase::Verifying { .. } | Phase::Delayed { .. } => return Next::Wait,
                Phase::Talking => match self.receive() {
                    Ok(0) => return Next::Gone(Departure::Dropped),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Wait,
                    Err(_) => return Next::Gone(Departure::Dropped),
                },
            }
        }
        Next::Again
    }

    /// Executes one command: none when no line is complete, else what it asks of the event loop, if it does.
    fn next_command(&mut self) -> Option<Option<Next>> {
        let line = self.lines.next_line(self.machine.line_limit())?;
        self.commanded = clock::now();
        if let Some(spoken) = &mut self.spoken {
            let is_message = self.machine.is_exchanging();
            spoken.push(if is_message { describe_message(&line) } else { describe(&line) });
        }
        let effect = self.machine.step(line);
        // Whatever the client says but yes, the verifier need not wait for it any more.
        let proven = self.proven.take();
        if effect != Effect::Proceed {
            return Some(self.carry_out(effect));
        }
        match proven {
            Some(Proven { attempt, user }) if tell(&attempt, &Attempt::Proceed) => {
                self.phase = Phase::Verifying { attempt, since: clock::now(), user };
            }
            _ => self.unavailable(),
        }
        Some(None)
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Next> {
        match effect {
            Effect::Reply(reply) => self.say(&reply),
            Effect::Challenge(octets) => self.challenge(&octets),
            Effect::Lines(reply, lines) => {
                self.say(&reply);
                listing::write_lines(&lines, self.output.buffer());
            }
            Effect::Close(reply) => {
                let why = if reply.is_ok() { Departure::Quit } else { Departure::Expelled };
                self.close_with(&reply, why);
            }
            Effect::StartTls(reply) => self.prepare_tls(&reply),
            Effect::Verify(login) => return Some(Next::Verify(login)),
            Effect::Reject(user, mechanism, why) => {
                let until = clock::now() + self.times.failure_delay;
                self.phase = Phase::Delayed { until, refusal: Refusal::Wrong(user.clone()) };
                return Some(Next::Rejected(user, mechanism, why));
            }
            // Said by the client alone, in `next_command`.
            Effect::Proceed => {}
        }
        None
    }

    /// Sends a message of AUTH (RFC 5034, section 4).
    fn challenge(&mut self, octets: &[u8]) {
        if let Some(spoken) = &mut self.spoken {
            spoken.push(format!("S: + *** ({} octets)", octets.len()));
        }
        let line = format!("+ {}\r\n", sasl::encode(octets));
        self.output.buffer().extend_from_slice(line.as_bytes());
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = zeroize::Zeroizing::new([0u8; 4096]);
        let most = buffer.len().min(self.lines.space());
        let octets = self.stream.read(&mut buffer[..most])?;
        let taken = self.lines.feed(&buffer[..octets]);
        debug_assert_eq!(taken, octets, "no more than there is space for was read");
        Ok(octets)
    }

    fn say(&mut self, reply: &Reply) {
        if let Some(spoken) = &mut self.spoken {
            spoken.push(describe_reply(reply));
        }
        reply.in_language(self.machine.language()).write_to(self.output.buffer());
    }

    fn close_with(&mut self, reply: &Reply, why: Departure) {
        self.say(reply);
        self.phase = Phase::Closing { finished: false, until: clock::now() + LINGER, why };
    }

    /// Waits for the client to close, so that unread commands of its do not destroy the last reply (a socket closed with unread
    /// input resets the connection).
    fn linger(&mut self) -> Next {
        let Phase::Closing { finished, why, .. } = &mut self.phase else { return Next::Wait };
        if !*finished {
            self.stream.finish();
            *finished = true;
        }
        let mut ignored = [0; 4096];
        for _ in 0..TURN {
            match self.stream.read(&mut ignored) {
                Ok(0) => return Next::Gone(*why),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Wait,
                Err(_) => return Next::Gone(*why),
            }
        }
        Next::Again
    }

    /// Waits for the verdict that comes over this socket.
    pub(crate) fn await_verdict(&mut self, attempt: OwnedFd, user: String) {
        // The line that held the password.
        self.lines.wipe();
        self.phase = Phase::Verifying { attempt, since: clock::now(), user };
    }

    /// The socket of the attempt under way.
    pub(crate) fn attempt(&self) -> Option<&OwnedFd> {
        match &self.phase {
            Phase::Verifying { attempt, .. } | Phase::Leaving { attempt } => Some(attempt),
            _ => self.proven.as_ref().map(|proven| &proven.attempt),
        }
    }

    /// Takes in what the verifier says.
    pub(crate) fn verdict(&mut self, answer: Answer) {
        let phase = std::mem::replace(&mut self.phase, Phase::Talking);
        let Phase::Verifying { attempt, since, user } = phase else {
            self.phase = phase;
            return;
        };
        let until = since + self.times.failure_delay;
        // A client has its time for each message.
        self.commanded = clock::now();
        self.phase = match answer {
            Answer::Salt(salt, iterations) => {
                let effect = self.machine.salted(&salt, iterations);
                self.carry_out(effect);
                return;
            }
            Answer::Proven(signature) => {
                let effect = self.machine.proven(&signature);
                self.carry_out(effect);
                self.proven = Some(Proven { attempt, user });
                return;
            }
            Answer::Ready => Phase::Leaving { attempt },
            Answer::Refused(more) => Phase::Delayed { until: until + more, refusal: Refusal::Wrong(user) },
            Answer::Unavailable { reply, delayed } => {
                let until = if delayed { until } else { clock::now() };
                Phase::Delayed { until, refusal: Refusal::Other(reply) }
            }
        };
    }

    /// Says that credentials cannot be checked now.
    pub(crate) fn unavailable(&mut self) {
        self.proven = None;
        let refusal = Refusal::Other("[SYS/TEMP] logins cannot be checked now, try again later".to_owned());
        self.phase = Phase::Delayed { until: clock::now(), refusal };
    }

    /// When something has to happen even if nobody sends anything.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.phase {
            Phase::Talking | Phase::Securing | Phase::Shaking | Phase::Leaving { .. } => {
                (self.began + self.times.login).min(self.commanded + self.times.idle)
            }
            Phase::Verifying { since, .. } => *since + self.times.verdict,
            Phase::Delayed { until, .. } | Phase::Closing { until, .. } => *until,
        }
    }

    /// Whether it waits for nothing but its client.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Talking | Phase::Securing | Phase::Shaking)
    }

    /// Says why and closes. In a handshake there is nothing that could be said.
    pub(crate) fn send_away(&mut self, why: &str, departure: Departure) -> Next {
        if matches!(self.phase, Phase::Shaking) {
            return Next::Gone(departure);
        }
        self.close_with(&Reply::err_text(why.to_owned()), departure);
        self.advance()
    }

    /// The deadline has come.
    pub(crate) fn expire(&mut self) -> Next {
        match std::mem::replace(&mut self.phase, Phase::Talking) {
            // RFC 1939, section 3: the connection is closed without a response.
            Phase::Talking | Phase::Securing | Phase::Shaking | Phase::Leaving { .. } => {
                // What was said before is sent as far as the client takes it.
                let _ = self.output.flush(&mut self.stream);
                Next::Gone(Departure::TimedOut)
            }
            Phase::Closing { why, .. } => Next::Gone(why),
            Phase::Verifying { .. } => {
                self.unavailable();
                Next::Wait
            }
            Phase::Delayed { refusal, .. } => {
                self.refuse(refusal);
                // The answer restarts the command's time, not the login's.
                self.commanded = clock::now();
                self.advance()
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Other(text) => {
                self.machine.unavailable();
                self.say(&Reply::err_text(text));
            }
            Refusal::Wrong(user) => {
                // It replies or closes, nothing else.
                let effect = self.machine.refused(incorrect(&user));
                self.carry_out(effect);
            }
        }
    }

    /// Gives the client away: a descriptor and what was read but not parsed go over the attempt's socket. With TLS the
    /// descriptor is one end of a pair, and what lies between it and the client is left.
    ///
    /// # Errors
    /// The verifier is gone, or no descriptor is left.
    pub(crate) fn hand_over(mut self, patience: Duration) -> io::Result<Option<Relay>> {
        let Phase::Leaving { attempt } = self.phase else { return Ok(None) };
        let unread = Attempt::Client(self.lines.take_rest(), self.machine.terms());
        let (client, relay) = match self.stream.hand_over(patience)? {
            Handover::Socket(client) => (client, None),
            Handover::Relayed(session, relay) => (session, Some(relay)),
        };
        socket::send(&attempt, &unread.to_bytes(), &[client.as_fd()], true)?;
        Ok(relay)
    }

    /// The machine, for what it remembers of the client.
    pub(crate) const fn machine(&self) -> &Authorization {
        &self.machine
    }

    /// What was said since the last call, for debugging.
    pub(crate) fn take_spoken(&mut self) -> Vec<String> {
        self.spoken.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The descriptor of the client.
    pub(crate) fn client(&self) -> std::os::fd::BorrowedFd<'_> {
        self.stream.descriptor()
    }
}

/// Sends a message to the verifier; false when it is gone.
fn tell(attempt: &OwnedFd, message: &Attempt) -> bool {
    socket::send(attempt, &message.to_bytes(), &[], true).is_ok()
}

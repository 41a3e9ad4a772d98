//! The monitor: keeps root's rights, forks the other roles, writes the log.
//!
//! One thread. It parses no octet of a client beyond the typed notices of the other roles, holds no secret, and opens nothing in
//! a spool. Nothing that another role sends ends it: what does not decode, or is not for that role to say, is logged and ignored.
//! It has no system-call filter and may execute programs, since the child that becomes sendmail needs both; the descriptors of
//! that child are the message and nothing else.

use super::login::{self, Cell};
use super::message::{Answer, LARGEST, Message};
use super::notice::{Admitted, Notice, Report};
use super::role::Surroundings;
use super::sendmail::{self, Sent};
use super::{spool, verifier};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::{End, Event, Log, Logout, SessionId};
use crate::sys::process::{ChildId, Ended, fork, reap};
use crate::sys::queue::Queue;
use crate::sys::signals::{self, Signals};
use crate::sys::socket::{self, Peer};
use crate::sys::{clock, descriptors};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// The queue's number of the signals; channels count from one.
const SIGNALS: u64 = 0;

/// The monitor and what it knows of its children.
pub(crate) struct Monitor<'a> {
    config: &'a Config,
    debug: bool,
    log: Log,
    /// The session that the monitor's own lines are about.
    own: SessionId,
    queue: Queue,
    signals: Signals,
    channels: HashMap<u64, Channel>,
    children: HashMap<ChildId, Child>,
    next: u64,
    buffer: Vec<u8>,
}

/// The line to a child.
struct Channel {
    socket: OwnedFd,
    child: ChildId,
    speaker: Speaker,
}

/// Who speaks on a channel, which decides what may be said.
enum Speaker {
    Login,
    Session(Box<Visit>),
    /// A spool helper, for this session.
    Helper {
        id: SessionId,
        peer: Peer,
        user: String,
    },
}

/// A login attempt and the session that it becomes.
struct Visit {
    id: SessionId,
    peer: Peer,
    admitted: Option<Admitted>,
    began: Option<Instant>,
    report: Option<Report>,
}

/// A message that sendmail has now.
struct Sending {
    id: SessionId,
    peer: Peer,
    user: String,
    octets: u64,
    answer: OwnedFd,
}

/// What a child is, for its end.
enum Child {
    Speaker(u64),
    Sendmail(Box<Sending>),
}

impl<'a> Monitor<'a> {
    /// A monitor without children.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new(config: &'a Config, log: Log, own: SessionId) -> Result<Self> {
        let failed = |cause| Error::io("cannot make an event queue", cause);
        let queue = Queue::new().map_err(failed)?;
        let signals = Signals::new()?;
        queue.add(&signals, SIGNALS).map_err(failed)?;
        Ok(Self {
            config,
            debug: log.debugs(),
            log,
            own,
            queue,
            signals,
            channels: HashMap::new(),
            children: HashMap::new(),
            next: SIGNALS + 1,
            buffer: vec![0; LARGEST],
        })
    }

    /// Forks a login process for one client.
    ///
    /// # Errors
    /// No process or descriptor is left.
    pub(crate) fn start_login(&mut self, client: &OwnedFd, session: SessionId, cell: &Cell) -> Result<()> {
        self.start_speaker(Speaker::Login, &[client.as_fd()], |surroundings| {
            login::serve_one(client, session, surroundings, cell)
        })
    }

    /// Serves until the last child has ended.
    pub(crate) fn run(&mut self) {
        while !self.children.is_empty() {
            match self.queue.wait() {
                Ok(ready) => ready.into_iter().for_each(|number| self.attend(number)),
                Err(cause) => self.own_fault(&Error::io("cannot wait for events", cause)),
            }
        }
    }

    fn attend(&mut self, number: u64) {
        if number == SIGNALS {
            while let Some(notice) = self.signals.next() {
                match notice {
                    signals::Notice::ChildEnded => self.bury(),
                    signals::Notice::Terminate => self.children.keys().for_each(|child| child.terminate()),
                }
            }
        } else {
            self.hear(number);
        }
    }

    /// Takes one message off a channel; false when there is none.
    fn hear(&mut self, number: u64) -> bool {
        let Some(channel) = self.channels.get(&number) else { return false };
        let received = match socket::receive(&channel.socket, &mut self.buffer, false) {
            Ok(message) if message.length > 0 => message,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.own_fault(&Error::io("a message was ignored", error));
                return true;
            }
            Ok(_) | Err(_) => {
                self.queue.remove(&channel.socket);
                return false;
            }
        };
        match Notice::from_bytes(&self.buffer[..received.length]) {
            Ok(notice) => self.act(number, notice, received.descriptors),
            Err(_) => self.own_fault(&Error::new(Kind::Temporary, "a malformed message was ignored")),
        }
        true
    }

    fn act(&mut self, number: u64, notice: Notice, descriptors: Vec<OwnedFd>) {
        let Some(mut channel) = self.channels.remove(&number) else { return };
        let pid = channel.child.number();
        let done = match &mut channel.speaker {
            Speaker::Login => self.act_for_login(pid, notice, descriptors),
            Speaker::Session(visit) => self.act_for_session(pid, visit, notice, descriptors),
            Speaker::Helper { id, peer, user } => self.act_for_helper(pid, *id, *peer, user, notice),
        };
        self.channels.insert(number, channel);
        if let Err(error) = done {
            self.own_fault(&error);
        }
    }

    fn act_for_login(&mut self, pid: u32, notice: Notice, descriptors: Vec<OwnedFd>) -> Result<()> {
        let (id, event) = match notice {
            Notice::Connected(id, peer) => (id, Event::Connect { client: peer.address }),
            Notice::Disconnected(id, peer, why, seconds) => {
                (id, Event::Disconnect { client: peer.address, seconds, reason: why.word() })
            }
            Notice::Probe(id, peer, user) => (id, Event::Probe { client: peer.address, user }),
            Notice::Debug(id, text) => (id, Event::Debug { text }),
            Notice::Fault(error) => {
                (self.own, Event::Error { client: None, user: None, text: error.to_string() })
            }
            Notice::Remark(text) => (self.own, Event::Notice { text }),
            Notice::Attempt(id, peer) => return self.start_verifier(id, peer, only(descriptors)?),
            _ => return Err(not_its_to_say("login")),
        };
        self.log.event(&id, pid, &event);
        Ok(())
    }

    fn act_for_session(
        &mut self,
        pid: u32,
        visit: &mut Visit,
        notice: Notice,
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        let client = visit.peer.address;
        let event = match (notice, &visit.admitted) {
            (Notice::Refused(user, mechanism, reason), None) => {
                Event::Refused { client, user, mechanism: mechanism.name(), reason }
            }
            (Notice::Admitted(admitted), None) => {
                visit.admitted = Some(admitted);
                return Ok(());
            }
            (Notice::Begun, Some(admitted)) if visit.began.is_none() => {
                visit.began = Some(clock::now());
                let user = admitted.user.clone().into_bytes();
                Event::Login { client, user, mechanism: admitted.mechanism.name() }
            }
            (Notice::Fault(error), admitted) => {
                let user = admitted.as_ref().map(|admitted| admitted.user.clone().into_bytes());
                Event::Error { client, user, text: error.to_string() }
            }
            (Notice::Remark(text), _) => Event::Notice { text },
            (Notice::Debug(_, text), _) => Event::Debug { text },
            (Notice::Spool, Some(admitted)) => {
                return self.start_spool(visit, admitted.clone(), only(descriptors)?);
            }
            (Notice::Transmit(octets), Some(admitted)) if self.config.xtnd.xmit => {
                return self.start_sendmail(visit.id, visit.peer, admitted, octets, descriptors);
            }
            (Notice::Report(report), Some(_)) if visit.report.is_none() => {
                visit.report = Some(report);
                return Ok(());
            }
            _ => return Err(not_its_to_say("session")),
        };
        self.log.event(&visit.id, pid, &event);
        Ok(())
    }

    fn act_for_helper(&self, pid: u32, id: SessionId, peer: Peer, user: &str, notice: Notice) -> Result<()> {
        let Notice::Fault(error) = notice else { return Err(not_its_to_say("helper")) };
        let user = Some(user.as_bytes().to_vec());
        self.log.event(&id, pid, &Event::Error { client: peer.address, user, text: error.to_string() });
        Ok(())
    }

    fn start_verifier(&mut self, id: SessionId, peer: Peer, attempt: OwnedFd) -> Result<()> {
        let visit = Visit { id, peer, admitted: None, began: None, report: None };
        let kept = attempt.as_fd();
        let started = self.start_speaker(Speaker::Session(Box::new(visit)), &[kept], |surroundings| {
            verifier::run(&attempt, id, peer, surroundings)
        });
        if started.is_err() {
            let reply = "[SYS/TEMP] the server is too busy, try again later".to_owned();
            let answer = Answer::Unavailable { reply, delayed: false };
            // The login process may be gone; then nobody waits for it.
            let _ = socket::send(&attempt, &answer.to_bytes(), &[], false);
        }
        started
    }

    fn start_spool(&mut self, visit: &Visit, admitted: Admitted, socket: OwnedFd) -> Result<()> {
        let speaker = Speaker::Helper { id: visit.id, peer: visit.peer, user: admitted.user.clone() };
        self.start_speaker(speaker, &[socket.as_fd()], |surroundings| {
            spool::run(&socket, &admitted, surroundings)
        })
    }

    fn start_sendmail(
        &mut self,
        id: SessionId,
        peer: Peer,
        admitted: &Admitted,
        octets: u64,
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        let [answer, message] = <[OwnedFd; 2]>::try_from(descriptors).map_err(|_| {
            Error::new(Kind::Temporary, "a request for sendmail came without its descriptors")
        })?;
        let program = &self.config.xtnd.sendmail;
        let child = fork(|| {
            become_child(&[message.as_fd()]);
            sendmail::run(&message, admitted, program)
        })?;
        let user = admitted.user.clone();
        self.children.insert(child, Child::Sendmail(Box::new(Sending { id, peer, user, octets, answer })));
        Ok(())
    }

    /// Forks a child that has a line to the monitor.
    fn start_speaker(
        &mut self,
        speaker: Speaker,
        kept: &[BorrowedFd<'_>],
        role: impl FnOnce(&Surroundings<'_>) -> u8,
    ) -> Result<()> {
        let (ours, theirs) = socket::pair().map_err(|cause| Error::io("cannot make a socket pair", cause))?;
        let (config, debug, number) = (self.config, self.debug, self.next);
        self.next += 1;
        let child = fork(|| {
            let mut all = kept.to_vec();
            all.push(theirs.as_fd());
            become_child(&all);
            role(&Surroundings { config, debug, control: theirs })
        })?;
        self.queue.add(&ours, number).map_err(|cause| Error::io("cannot watch a child", cause))?;
        self.channels.insert(number, Channel { socket: ours, child, speaker });
        self.children.insert(child, Child::Speaker(number));
        Ok(())
    }

    /// Learns which children have ended.
    fn bury(&mut self) {
        while let Some((child, ended)) = reap() {
            match self.children.remove(&child) {
                Some(Child::Speaker(number)) => {
                    while self.hear(number) {}
                    if let Some(channel) = self.channels.remove(&number) {
                        self.queue.remove(&channel.socket);
                        self.close_visit(channel.child.number(), channel.speaker, ended);
                    }
                }
                Some(Child::Sendmail(sending)) => self.close_sending(child.number(), *sending, ended),
                None => {}
            }
        }
    }

    fn close_sending(&mut self, pid: u32, sending: Sending, ended: Ended) {
        let sent = Sent::from_end(ended);
        sendmail::report(&sending.answer, sent);
        let Sending { id, peer, user, octets, .. } = sending;
        let event =
            Event::Xmit { client: peer.address, user: user.into_bytes(), octets, status: sent.status };
        self.log.event(&id, pid, &event);
    }

    fn close_visit(&mut self, pid: u32, speaker: Speaker, ended: Ended) {
        let Speaker::Session(visit) = speaker else {
            if let Ended::Signal(signal) = ended {
                let what = format!("process {pid} ended by signal {signal}");
                self.own_fault(&Error::new(Kind::Temporary, what));
            }
            return;
        };
        let Visit { id, peer, admitted: Some(admitted), began: Some(began), report } = *visit else { return };
        let report = report.unwrap_or_else(|| Report::ended(End::Killed));
        let logout = Logout {
            client: peer.address,
            user: admitted.user.into_bytes(),
            retrieved: report.retrieved,
            top: report.tops,
            octets: report.sent,
            deleted: report.deleted,
            deleted_octets: report.deleted_octets,
            left: report.left,
            left_octets: report.left_octets,
            seconds: began.elapsed().as_secs(),
            end: report.end,
        };
        let user = logout.user.clone();
        self.log.event(&id, pid, &Event::Logout(logout));
        if self.config.log.statistics && report.end != End::Killed {
            let Report { deleted, deleted_octets, left, left_octets, .. } = report;
            self.log.event(&id, pid, &Event::Stats { user, deleted, deleted_octets, left, left_octets });
        }
    }

    fn own_fault(&mut self, error: &Error) {
        let event = Event::Error { client: None, user: None, text: error.to_string() };
        self.log.event(&self.own, std::process::id(), &event);
    }
}

/// The first thing in a child: what it does not need is closed, signals are as in a fresh process.
fn become_child(kept: &[BorrowedFd<'_>]) {
    descriptors::close_all_but(kept);
    signals::restore();
}

fn only(descriptors: Vec<OwnedFd>) -> Result<OwnedFd> {
    let [one] = <[OwnedFd; 1]>::try_from(descriptors)
        .map_err(|_| Error::new(Kind::Temporary, "a request came without its socket"))?;
    Ok(one)
}

fn not_its_to_say(role: &str) -> Error {
    Error::new(Kind::Temporary, format!("a {role} process said what is not its to say; ignored"))
}

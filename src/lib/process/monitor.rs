//! The monitor: keeps root's rights, forks the other roles, writes the log.
//!
//! One thread. It parses no octet of a client beyond the typed notices of the other roles, holds no secret, and opens nothing in
//! a spool. Nothing that another role sends ends it: what does not decode, or is not for that role to say, is logged and ignored.
//! It has no system-call filter and may execute programs, since the child that becomes sendmail needs both; the descriptors of
//! that child are the message and nothing else.

use super::books::Books;
use super::endings::busy;
use super::intake::{Intake, Limits, Turn};
use super::login::{self, Cell};
use super::message::{LARGEST, Mechanism, Message};
use super::notice::{Admitted, Notice, only};
use super::role::Surroundings;
use super::standalone::Site;
use super::{session, verifier};
use crate::auth::{self, Announced};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::{Event, Log, Report, SessionId};
use crate::sys::process::{self, ChildId, fork};
use crate::sys::queue::Queue;
use crate::sys::signals::{self, Signals};
use crate::sys::socket::{self, Peer};
use crate::sys::{clock, descriptors, sandbox};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Instant;

/// The queue's number of the signals; channels count from one.
const SIGNALS: u64 = 0;

/// The monitor and what it knows of its children.
pub(crate) struct Monitor {
    pub(super) config: Rc<Config>,
    debug: bool,
    pub(super) log: Log,
    /// The session that the monitor's own lines are about.
    pub(super) own: SessionId,
    pub(super) queue: Queue,
    signals: Signals,
    pub(super) channels: HashMap<u64, Channel>,
    pub(super) children: HashMap<ChildId, Child>,
    next: u64,
    pub(super) intake: Intake<Waiting>,
    /// What is listened on; none under inetd.
    pub(super) site: Option<Site>,
    /// What the secrets database has to announce.
    pub(super) announced: Announced,
    pub(super) books: Books,
}

/// The line to a child.
pub(super) struct Channel {
    pub(super) socket: OwnedFd,
    pub(super) child: ChildId,
    pub(super) speaker: Speaker,
    pub(super) began: Instant,
}

/// Who speaks on a channel, which decides what may be said.
pub(super) enum Speaker {
    /// A login process; one that retires is not replaced.
    Login {
        retiring: bool,
        /// Under inetd its one client, whatever it says of it.
        client: Option<(SessionId, Peer)>,
    },
    Session(Box<Visit>),
    /// It moves the history.
    Recorder,
    /// The program started anew.
    Successor,
    /// A spool helper, for this session.
    Helper {
        id: SessionId,
        peer: Peer,
        user: String,
    },
}

/// Where a login process's notice comes from.
struct LoginLine<'a> {
    number: u64,
    pid: u32,
    socket: &'a OwnedFd,
    client: Option<(SessionId, Peer)>,
}

/// A login attempt and the session that it becomes.
pub(super) struct Visit {
    pub(super) id: SessionId,
    pub(super) peer: Peer,
    /// Whether the verdict is still to come.
    pub(super) verifying: bool,
    pub(super) admitted: Option<Admitted>,
    pub(super) began: Option<Instant>,
    /// The same by the wall clock, in seconds since 1970.
    pub(super) start: i64,
    pub(super) report: Option<Report>,
    pub(super) sending: bool,
    /// Whether the log knows why there is no session.
    pub(super) explained: bool,
    /// Version and cipher suite of TLS.
    pub(super) tls: String,
}

/// A login attempt that waits to be verified.
#[derive(Debug)]
pub(super) struct Waiting {
    id: SessionId,
    peer: Peer,
    attempt: OwnedFd,
    tls: String,
}

/// A message that sendmail has now.
pub(super) struct Sending {
    pub(super) visit: u64,
    pub(super) id: SessionId,
    pub(super) peer: Peer,
    pub(super) user: String,
    pub(super) octets: u64,
    pub(super) answer: OwnedFd,
}

/// What a child is, for its end.
pub(super) enum Child {
    Speaker(u64),
    Sendmail(Box<Sending>),
}

impl Monitor {
    /// A monitor without children.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new(config: Config, log: Log, own: SessionId, limits: Limits) -> Result<Self> {
        get_ready();
        let failed = |cause| Error::io("cannot make an event queue", cause);
        let queue = Queue::new().map_err(failed)?;
        let signals = Signals::new()?;
        queue.add(&signals, SIGNALS).map_err(failed)?;
        Ok(Self {
            debug: log.debugs(),
            log,
            own,
            queue,
            signals,
            channels: HashMap::new(),
            children: HashMap::new(),
            next: SIGNALS + 1,
            intake: Intake::new(limits),
            announced: auth::announced(&config),
            config: Rc::new(config),
            site: None,
            books: Books::default(),
        })
    }

    /// Forks a login process for one client, who begins with TLS or not.
    ///
    /// # Errors
    /// No process or descriptor is left.
    pub(crate) fn start_login(
        &mut self,
        client: &OwnedFd,
        session: SessionId,
        cell: &Cell,
        tls: bool,
    ) -> Result<()> {
        let known = Some((session, socket::peer(client)));
        let speaker = Speaker::Login { retiring: true, client: known };
        self.start_speaker(speaker, &[client.as_raw_fd()], |surroundings| {
            login::serve_one(client, session, surroundings, cell, tls)
        })
    }

    /// Serves until the last child has ended.
    pub(crate) fn run(&mut self) {
        while !self.children.is_empty() || self.site.is_some() {
            let within = self.tend();
            match self.queue.wait(within) {
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
                    signals::Notice::Reload => self.reload(),
                    signals::Notice::HandOver => self.hand_over(),
                    signals::Notice::Terminate => self.terminate(),
                }
            }
        } else {
            self.hear(number);
        }
    }

    /// Takes one message off a channel; false when there is none.
    pub(super) fn hear(&mut self, number: u64) -> bool {
        let Some(channel) = self.channels.get(&number) else { return false };
        let (octets, received) = match socket::receive_whole(&channel.socket, LARGEST) {
            Ok((octets, message)) if message.length > 0 => (octets, message),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // What could not be received is lost; the role is not.
            Err(error) => {
                self.own_fault(&Error::io("a message was ignored", error));
                return true;
            }
            Ok(_) => {
                self.queue.remove(&channel.socket);
                return false;
            }
        };
        match Notice::from_bytes(octets.get(..received.length).unwrap_or_default()) {
            Ok(notice) => self.act(number, notice, received.descriptors),
            Err(_) => self.own_fault(&Error::new(Kind::Temporary, "a malformed message was ignored")),
        }
        true
    }

    fn act(&mut self, number: u64, notice: Notice, descriptors: Vec<OwnedFd>) {
        let Some(mut channel) = self.channels.remove(&number) else { return };
        let pid = channel.child.number();
        let done = match &mut channel.speaker {
            Speaker::Login { client, .. } => {
                let from = LoginLine { number, pid, socket: &channel.socket, client: *client };
                self.act_for_login(&from, notice, descriptors)
            }
            Speaker::Session(visit) => self.act_for_session(number, pid, visit, notice, descriptors),
            Speaker::Helper { id, peer, user } => self.act_for_helper(pid, *id, *peer, user, notice),
            Speaker::Recorder => self.act_for_recorder(notice),
            Speaker::Successor if matches!(notice, Notice::Begun) => {
                self.succeeded(channel.child);
                Ok(())
            }
            Speaker::Successor => Err(not_its_to_say("successor")),
        };
        self.channels.insert(number, channel);
        if let Err(error) = done {
            self.own_fault(&error);
        }
    }

    fn act_for_login(
        &mut self,
        from: &LoginLine<'_>,
        notice: Notice,
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        let known = |id, peer| self.known(from, id, peer);
        let (id, event) = match notice {
            Notice::Connected(id, peer) => {
                let (id, peer) = known(id, peer);
                if !self.intake.connected(id, &peer, from.number, clock::now()) {
                    self.reject(from.socket, id);
                }
                (id, Event::Connect { client: peer.address })
            }
            Notice::Disconnected(id, peer, why, seconds) => {
                let (id, peer) = known(id, peer);
                self.intake.left(&id);
                (id, Event::Disconnect { client: peer.address, seconds, reason: why.word() })
            }
            Notice::Probe(id, peer, user, refused) => {
                let ((id, peer), mechanism) = (known(id, peer), Mechanism::Pass.name());
                let client = peer.address;
                match refused {
                    true => (id, Event::Refused { client, user, mechanism, reason: "plaintext".to_owned() }),
                    false => (id, Event::Probe { client, user }),
                }
            }
            Notice::Rejected(id, peer, user, mechanism, reason) => {
                let (id, peer) = known(id, peer);
                (id, Event::Refused { client: peer.address, user, mechanism: mechanism.name(), reason })
            }
            Notice::Debug(id, text) => (id, Event::Debug { text }),
            Notice::Fault(error) => {
                (self.own, Event::Error { client: None, user: None, text: error.to_string() })
            }
            Notice::Remark(text) => (self.own, Event::Notice { text }),
            Notice::Handshake(id, peer, text) => {
                let (id, peer) = known(id, peer);
                (id, Event::Handshake { client: peer.address, text })
            }
            Notice::Attempt(id, peer, user, tls) => {
                let (id, peer) = known(id, peer);
                let waiting = Waiting { id, peer, attempt: only(descriptors)?, tls };
                return self.take_turn(user, waiting);
            }
            _ => return Err(not_its_to_say("login")),
        };
        self.tell(&id, from.pid, &event);
        Ok(())
    }

    /// What is known of a client of whom a login process speaks. Under inetd it has one client, and of that nothing is believed but
    /// what a proxy told.
    fn known(&self, from: &LoginLine<'_>, id: SessionId, peer: Peer) -> (SessionId, Peer) {
        match from.client {
            Some((own, at)) if !self.config.listen.is_proxy(&at) => (own, at),
            Some((own, _)) => (own, peer),
            None => (id, peer),
        }
    }

    fn act_for_session(
        &mut self,
        number: u64,
        pid: u32,
        visit: &mut Visit,
        notice: Notice,
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        let client = visit.peer.address;
        if matches!(notice, Notice::Refused(..) | Notice::Admitted(_) | Notice::Answered | Notice::Fault(_)) {
            self.verified(visit);
            visit.explained |= !matches!(notice, Notice::Admitted(_) | Notice::Answered);
        }
        let event = match (notice, &visit.admitted) {
            (Notice::Refused(user, mechanism, reason), None) => {
                Event::Refused { client, user, mechanism: mechanism.name(), reason }
            }
            (Notice::Answered, None) => return Ok(()),
            (Notice::Admitted(admitted), None) => {
                visit.admitted = Some(admitted);
                return Ok(());
            }
            (Notice::Begun, Some(admitted)) if visit.began.is_none() => {
                visit.began = Some(clock::now());
                visit.start = clock::wall_seconds();
                let user = admitted.user.clone().into_bytes();
                let mechanism = admitted.mechanism.name();
                Event::Login { client, user, mechanism, tls: visit.tls.clone() }
            }
            (Notice::Fault(error), admitted) => {
                let user = admitted.as_ref().map(|admitted| admitted.user.clone().into_bytes());
                Event::Error { client, user, text: error.to_string() }
            }
            (Notice::Remark(text), _) => Event::Notice { text },
            (Notice::Debug(_, text), _) => Event::Debug { text },
            (Notice::Spool, Some(admitted)) => {
                let admitted = admitted.clone();
                return self.start_spool(visit, &admitted, &only(descriptors)?);
            }
            (Notice::Transmit(octets), Some(_)) if self.config.xtnd.xmit && !visit.sending => {
                return self.start_sendmail(number, visit, octets, descriptors);
            }
            (Notice::Report(report), Some(_)) if visit.report.is_none() => {
                visit.report = Some(report);
                return Ok(());
            }
            _ => return Err(not_its_to_say("session")),
        };
        self.tell(&visit.id, pid, &event);
        Ok(())
    }

    fn act_for_helper(&self, pid: u32, id: SessionId, peer: Peer, user: &str, notice: Notice) -> Result<()> {
        let Notice::Fault(error) = notice else { return Err(not_its_to_say("helper")) };
        let user = Some(user.as_bytes().to_vec());
        self.log.event(&id, pid, &Event::Error { client: peer.address, user, text: error.to_string() });
        Ok(())
    }

    /// An attempt is verified now, or when its turn comes.
    fn take_turn(&mut self, user: u64, waiting: Waiting) -> Result<()> {
        let peer = waiting.peer;
        match self.intake.ask(&peer, user, waiting) {
            Turn::Now(waiting) => self.start_verifier(waiting),
            Turn::Later => Ok(()),
            Turn::Full(waiting) => {
                busy(&waiting.attempt);
                Err(Error::new(Kind::Temporary, "too many logins wait to be checked: one was refused"))
            }
        }
    }

    /// A verification is over: the next has its turn.
    pub(super) fn verified(&mut self, visit: &mut Visit) {
        if std::mem::take(&mut visit.verifying)
            && let Some(waiting) = self.intake.done()
            && let Err(error) = self.start_verifier(waiting)
        {
            self.own_fault(&error);
        }
    }

    fn start_verifier(&mut self, waiting: Waiting) -> Result<()> {
        let Waiting { id, peer, attempt, tls } = waiting;
        let visit = Visit {
            id,
            peer,
            verifying: true,
            admitted: None,
            began: None,
            start: 0,
            report: None,
            sending: false,
            explained: false,
            tls,
        };
        let speaker = Speaker::Session(Box::new(visit));
        let started = self.start_speaker(speaker, &[attempt.as_raw_fd()], |surroundings| {
            verifier::run(&attempt, id, peer, surroundings)
        });
        if started.is_err() {
            busy(&attempt);
            self.intake.give_up().iter().for_each(|waiting| busy(&waiting.attempt));
        }
        started
    }

    /// Forks a child that has a line to the monitor.
    pub(super) fn start_speaker(
        &mut self,
        speaker: Speaker,
        kept: &[RawFd],
        role: impl FnOnce(&Surroundings<'_>) -> u8,
    ) -> Result<()> {
        let (ours, theirs) = socket::pair().map_err(|cause| Error::io("cannot make a socket pair", cause))?;
        let (config, debug, announced) = (Rc::clone(&self.config), self.debug, self.announced);
        let number = self.next;
        self.next += 1;
        self.queue.add(&ours, number).map_err(|cause| Error::io("cannot watch a child", cause))?;
        let forked = fork(|| {
            let mut all = kept.to_vec();
            all.push(theirs.as_raw_fd());
            become_child(&all);
            let surroundings = Surroundings { config: &config, debug, announced, control: theirs };
            surroundings.report_panics();
            role(&surroundings)
        });
        let child = forked.inspect_err(|_| self.queue.remove(&ours))?;
        self.children.insert(child, Child::Speaker(number));
        self.channels.insert(number, Channel { socket: ours, child, speaker, began: clock::now() });
        Ok(())
    }

    pub(super) fn own_fault(&self, error: &Error) {
        let event = Event::Error { client: None, user: None, text: error.to_string() };
        self.log.event(&self.own, std::process::id(), &event);
    }

    pub(super) fn own_remark(&self, text: String) {
        self.log.event(&self.own, std::process::id(), &Event::Notice { text });
    }
}

/// What children need that costs each of them the same: their filter, and what the processor can, which is asked by instructions that
/// trap in a virtual machine.
fn get_ready() {
    sandbox::prepare(session::CALLS);
    memchr::memchr(b'\n', b"\n");
    Sha256::digest(b"");
}

/// The first thing in a child: what it does not need is closed, signals are as in a fresh process. Before it learns a secret it is made
/// sure that no core file can hold one, whatever the service manager allows.
pub(super) fn become_child(kept: &[RawFd]) {
    process::forbid_core();
    descriptors::close_all_but(kept);
    signals::restore();
}

pub(super) fn not_its_to_say(role: &str) -> Error {
    Error::new(Kind::Temporary, format!("a {role} process said what is not its to say; ignored"))
}

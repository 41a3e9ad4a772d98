//! The login process: everything that a stranger can send is parsed here.
//!
//! Runs as `pop3d` (or `nobody`), in an empty root directory, without capabilities; Landlock leaves it no file and no network,
//! seccomp no process, no program and no socket but UNIX pairs. It sees passwords on their way, keeps none, and has nothing else to lose.
//!
//! It is the TLS end of its clients, before their login and, as a relay, after it (`relays.rs`).
//!
//! It is an event loop over all connections that are not logged in. A login attempt gets a socket pair of its own: one end goes to
//! the monitor, whose child verifies; over the other go the credentials, the verdict and, after a yes, the client's socket with the
//! octets that were read but not parsed. From PASS or APOP until the verdict nothing of that client is parsed.

mod arrivals;
mod doors;
mod security;

use super::connection::{Connection, Next, Times};
use super::message::{Answer, Attempt, Credentials, Encryption, LARGEST, Mechanism, Message};
use super::notice::{Departure, Notice};
use super::relays::Relays;
use super::role::Surroundings;
use super::vault::Sealed;
use crate::auth::{self, Announced};
use crate::error::{Error, Result};
use crate::log::SessionId;
use crate::protocol::sasl;
use crate::session::Rejection;
use crate::session::authorization::{Authorization, Login, Setup};
use crate::sys::privileges::{self, Ids};
use crate::sys::process::{Limits, end_first_when_out_of_memory};
use crate::sys::sandbox::{Calls, Fence, NOWHERE};
use crate::sys::socket::{self, Peer};
use crate::sys::{clock, sandbox};
use crate::transport::relay::Relay;
use crate::transport::stream::Endpoint;
use crate::transport::tls::Facts;
use arrivals::Arrivals;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use security::Security;
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What this role may ask of the kernel.
pub(crate) const CALLS: &[Calls] =
    &[Calls::Base, Calls::Streams, Calls::Messages, Calls::Events, Calls::Accept, Calls::Pairs];

/// No file is written; descriptors and memory are those of many connections.
const LIMITS: Limits =
    Limits { descriptors: Some(65_536), memory: None, file_size: Some(0), may_fork: false };

/// How long a verdict may take: a queue for verification, a wait for the mailbox's locks, a scan.
const VERDICT: Duration = Duration::from_secs(120);

/// A socket that listens.
pub(crate) struct Door {
    /// The socket.
    pub(crate) socket: TcpListener,
    /// Whether its connections begin with TLS.
    pub(crate) tls: bool,
}

/// Where the role goes before it reads a byte.
pub(crate) struct Cell {
    /// Its ids; none when the server was started without root's rights.
    pub(crate) ids: Option<Ids>,
    /// The empty directory that becomes its root.
    pub(crate) root: PathBuf,
    /// `limits.max_login_memory`.
    pub(crate) memory: u64,
}

impl Cell {
    /// Gives up everything that the role does not need; what the kernel could not give is returned.
    pub(super) fn enter(&self, require: bool) -> Result<sandbox::Missing> {
        end_first_when_out_of_memory(500);
        if let Some(ids) = &self.ids {
            privileges::confine_to(&self.root)?;
            privileges::become_for_good(ids)?;
        }
        Limits { memory: Some(self.memory), ..LIMITS }.apply()?;
        Fence { calls: CALLS, directories: NOWHERE, require }.close()
    }
}

/// Serves one connection until it is handed over or gone. The exit status of the role.
pub(crate) fn serve_one(
    client: &OwnedFd,
    session: SessionId,
    surroundings: &Surroundings<'_>,
    cell: &Cell,
    tls: bool,
) -> u8 {
    let peer = socket::peer(client);
    run_role(surroundings, || {
        let security = Security::read(surroundings.config).unwrap_or_else(|error| {
            // Without TLS the client is served as far as that is allowed.
            surroundings.tell(&Notice::Fault(error));
            Security::None
        });
        let mut server = Server::new(surroundings, security)?;
        // Both need rights or calls that the cell does not have.
        socket::prepare(client);
        if surroundings.debug {
            socket::debug(client);
        }
        surroundings.warn_of_missing(&cell.enter(surroundings.require_sandbox())?);
        let client = client.try_clone().map_err(|cause| Error::io("cannot take on a connection", cause))?;
        server.welcome(client, peer, session, tls)?;
        server.run();
        Ok(())
    })
}

/// Serves all that connect to these sockets, until it is told to retire. The exit status of the role.
pub(crate) fn serve_many(
    doors: Vec<Door>,
    sealed: Option<Sealed>,
    surroundings: &Surroundings<'_>,
    cell: &Cell,
) -> u8 {
    run_role(surroundings, || {
        let age = sealed.as_ref().map_or(Duration::ZERO, |sealed| sealed.since.elapsed());
        let security = Security::take(sealed.map(|sealed| sealed.file).as_ref(), age, surroundings.config)?;
        let mut server = Server::new(surroundings, security)?;
        server.watch(doors)?;
        surroundings.warn_of_missing(&cell.enter(surroundings.require_sandbox())?);
        server.run();
        Ok(())
    })
}

fn run_role(surroundings: &Surroundings<'_>, role: impl FnOnce() -> Result<()>) -> u8 {
    role().map_or_else(
        |error| {
            let status = error.exit_status();
            surroundings.tell(&Notice::Fault(error));
            status
        },
        |()| 0,
    )
}

struct Server<'a> {
    poll: Poll,
    doors: Vec<Door>,
    security: Security,
    relays: Relays,
    /// What can be used besides passwords.
    announced: Announced,
    /// When connections may be taken again, after descriptors or memory ran out.
    resume: Option<Instant>,
    surroundings: &'a Surroundings<'a>,
    connections: HashMap<usize, Connection>,
    /// Connections of proxies that have not said yet for whom they come.
    arrivals: Arrivals,
    /// What `Connection::deadline` said last, so that the earliest is at hand.
    deadlines: BTreeSet<(Instant, usize)>,
    /// Connections that have more to do than fits into one turn.
    eager: Vec<usize>,
    next: usize,
}

/// Tokens of the line to the monitor and of all that listens; connections have two each, above them: the client's and the
/// attempt's.
const CONTROL: Token = Token(0);
const LISTENER: Token = Token(1);

const fn client_token(number: usize) -> Token {
    Token(number * 2)
}

const fn attempt_token(number: usize) -> Token {
    Token(number * 2 + 1)
}

impl<'a> Server<'a> {
    fn new(surroundings: &'a Surroundings<'a>, security: Security) -> Result<Self> {
        let poll = Poll::new().map_err(|cause| Error::io("cannot make an event queue", cause))?;
        let control = surroundings.control.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&control), CONTROL, Interest::READABLE)
            .map_err(|cause| Error::io("cannot watch the monitor", cause))?;
        Ok(Self {
            poll,
            doors: Vec::new(),
            security,
            relays: Relays::new(),
            resume: None,
            announced: surroundings.announced,
            surroundings,
            connections: HashMap::new(),
            arrivals: Arrivals::new(),
            deadlines: BTreeSet::new(),
            eager: Vec::new(),
            next: 1,
        })
    }

    /// Takes on a client and greets it, in the clear or with TLS from the first octet.
    fn admit(&mut self, client: OwnedFd, peer: Peer, session: SessionId, tls: bool) -> Result<()> {
        let failed = |cause| Error::io("cannot take on a connection", cause);
        let stream = Endpoint::new(client).map_err(failed)?;
        let tls = if tls { Some(self.security.begin(self.surroundings.config)?) } else { None };
        let machine = Authorization::new(self.setup(&peer));
        let connection =
            Connection::new(stream, peer, session, machine, self.times(), self.surroundings.debug, tls);
        let (number, both) = (self.next, Interest::READABLE | Interest::WRITABLE);
        self.next += 1;
        let raw = connection.client().as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&raw), client_token(number), both).map_err(failed)?;
        self.surroundings.tell(&Notice::Connected(session, peer));
        self.deadlines.insert((connection.deadline(), number));
        self.connections.insert(number, connection);
        self.with(number, Connection::advance);
        Ok(())
    }

    fn setup(&self, peer: &Peer) -> Setup {
        let config = self.surroundings.config;
        Setup {
            host: config.hostname.clone(),
            shy: config.shy,
            challenge: self.announced.apop.then(|| auth::challenge(&config.hostname)),
            plaintext_allowed: self.surroundings.plaintext_allowed(peer, false),
            xlst: config.xtnd.xlst,
            xmit: config.xtnd.xmit,
            mechanisms: self.announced.mechanisms,
            stls: self.security.is_there(),
            plaintext_over_tls: self.surroundings.plaintext_allowed(peer, true),
            tls: None,
            login_delay: self.surroundings.login_delay(self.announced),
            max_errors: config.limits.max_errors,
            max_refusals: config.limits.max_refusals,
            seed: auth::seed(),
        }
    }

    const fn times(&self) -> Times {
        let config = self.surroundings.config;
        Times {
            idle: config.limits.idle_timeout,
            login: config.limits.login_timeout,
            failure_delay: config.auth.failure_delay,
            verdict: VERDICT,
        }
    }

    /// The event loop; it ends with the last connection and the last relay when nothing is listened on.
    fn run(&mut self) {
        let mut events = Events::with_capacity(256);
        while !(self.connections.is_empty()
            && self.arrivals.is_empty()
            && self.doors.is_empty()
            && self.relays.is_empty())
        {
            let until = self.deadline();
            let timeout = match self.eager.is_empty() && !self.relays.is_busy() {
                true => until.map(|deadline| deadline.saturating_duration_since(clock::now())),
                false => Some(Duration::ZERO),
            };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                self.surroundings.tell(&Notice::Fault(Error::io("cannot wait for events", error)));
                return;
            }
            for event in &events {
                let number = event.token().0 / 2;
                if event.token() == CONTROL {
                    self.hear_orders();
                } else if event.token() == LISTENER {
                    self.resume = Some(clock::now());
                } else if self.relays.ready(number) || self.read_header(number) {
                    // A relay has its turn when the logins had theirs.
                } else if event.token() == client_token(number) {
                    self.with(number, Connection::advance);
                } else {
                    self.hear_verdict(number);
                }
            }
            for number in std::mem::take(&mut self.eager) {
                self.with(number, Connection::advance);
            }
            self.expire();
            if self.resume.is_some_and(|time| time <= clock::now()) {
                self.take_connections();
            }
            for (relay, session) in self.relays.serve(clock::now()) {
                self.end_relay(&relay, session);
            }
        }
    }

    /// Out of the event queue: the session may hold its end for a while.
    fn end_relay(&self, relay: &Relay, session: SessionId) {
        for descriptor in relay.descriptors() {
            let raw = descriptor.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        }
        self.surroundings.debug(session, "the TLS end of the session is closed".to_owned());
    }

    fn deadline(&self) -> Option<Instant> {
        let first = self.deadlines.first().map(|(deadline, _)| *deadline);
        [first, self.resume, self.relays.deadline(), self.arrivals.deadline()].into_iter().flatten().min()
    }

    fn expire(&mut self) {
        let now = clock::now();
        self.expire_arrivals(now);
        while let Some((deadline, number)) = self.deadlines.first().copied() {
            if deadline > now {
                return;
            }
            self.with(number, Connection::expire);
        }
    }

    /// Lets a connection do something, then what it asks for, then notes its new deadline.
    fn with(&mut self, number: usize, work: impl FnOnce(&mut Connection) -> Next) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        self.deadlines.remove(&(connection.deadline(), number));
        let mut next = work(connection);
        loop {
            match next {
                Next::Verify(login) => self.begin_attempt(number, login),
                Next::Rejected(user, mechanism, why) => self.report_rejection(number, user, mechanism, why),
                Next::Secure => self.begin_tls(number),
                _ => break,
            }
            let Some(connection) = self.connections.get_mut(&number) else { return };
            next = connection.advance();
        }
        self.report_debug(number);
        match next {
            Next::Gone(why) => self.forget(number, why),
            Next::HandOver => self.hand_over(number),
            Next::Again => {
                self.eager.push(number);
                if let Some(connection) = self.connections.get(&number) {
                    self.deadlines.insert((connection.deadline(), number));
                }
            }
            Next::Wait | Next::Secure | Next::Verify(_) | Next::Rejected(..) => {
                if let Some(connection) = self.connections.get(&number) {
                    self.deadlines.insert((connection.deadline(), number));
                }
            }
        }
    }

    /// STLS was answered, and its turn has come.
    fn begin_tls(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match self.security.begin(self.surroundings.config) {
            Ok(tls) => connection.begin_tls(tls),
            Err(error) => {
                self.surroundings.tell(&Notice::Fault(error));
                connection.cannot_begin_tls();
            }
        }
    }

    fn begin_attempt(&mut self, number: usize, login: Login) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let user = login.shown.clone();
        let begun = socket::pair().and_then(|(here, there)| {
            let tls = connection.facts().map(|facts| format!("{} {}", facts.tls.version, facts.cipher));
            let name = as_number(&login.shown);
            let notice = Notice::Attempt(connection.session, connection.peer, name, tls.unwrap_or_default());
            self.surroundings.send(&notice, &[there.as_fd()])?;
            socket::send(
                &here,
                &Attempt::Credentials(credentials(login, connection.facts())).to_bytes(),
                &[],
                true,
            )?;
            let raw = here.as_raw_fd();
            self.poll.registry().register(&mut SourceFd(&raw), attempt_token(number), Interest::READABLE)?;
            Ok(here)
        });
        match begun {
            Ok(attempt) => connection.await_verdict(attempt, user),
            Err(error) => {
                self.surroundings.tell(&Notice::Fault(Error::io("cannot have a login checked", error)));
                connection.unavailable();
            }
        }
    }

    fn hear_verdict(&mut self, number: usize) {
        let Some(attempt) = self.connections.get(&number).and_then(Connection::attempt) else { return };
        let heard = match socket::receive_whole(attempt, LARGEST) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok((buffer, message)) if message.length > 0 => Answer::from_bytes(&buffer[..message.length]).ok(),
            _ => None,
        };
        if !matches!(heard, Some(Answer::Ready | Answer::Proven(_))) {
            let raw = attempt.as_raw_fd();
            // Deregistering fails only for a descriptor that is not registered.
            let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        }
        self.with(number, |connection| {
            match heard {
                Some(answer) => connection.verdict(answer),
                None => connection.unavailable(),
            }
            connection.advance()
        });
    }

    /// Out of the event queue first: the client's socket lives on elsewhere and would stay in it.
    fn hand_over(&mut self, number: usize) {
        let Some(connection) = self.connections.remove(&number) else { return };
        let raw = connection.client().as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        if let Some(attempt) = connection.attempt() {
            let raw = attempt.as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        }
        let (session, peer, seconds) =
            (connection.session, connection.peer, connection.began.elapsed().as_secs());
        let patience = self.surroundings.config.limits.idle_timeout;
        let relayed = connection
            .hand_over(patience)
            .and_then(|relay| relay.map_or(Ok(()), |relay| self.add_relay(number, session, relay)));
        if let Err(error) = relayed {
            self.surroundings.tell(&Notice::Disconnected(session, peer, Departure::Dropped, seconds));
            self.surroundings.tell(&Notice::Fault(Error::io("cannot hand over a client", error)));
        }
    }

    fn add_relay(&mut self, number: usize, session: SessionId, relay: Relay) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let tokens = [client_token(number), attempt_token(number)];
        for (descriptor, token) in relay.descriptors().iter().zip(tokens) {
            let raw = descriptor.as_raw_fd();
            self.poll.registry().register(&mut SourceFd(&raw), token, both)?;
        }
        self.relays.add(number, session, relay);
        Ok(())
    }

    fn forget(&mut self, number: usize, why: Departure) {
        let Some(mut connection) = self.connections.remove(&number) else { return };
        let raw = connection.client().as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&raw));
        if let Some(reason) = connection.take_failure() {
            self.surroundings.tell(&Notice::Handshake(connection.session, connection.peer, reason));
        }
        if let Some(name) = connection.machine().probed() {
            let name = name.as_bytes().to_vec();
            let refused = !connection.machine().takes_passwords();
            self.surroundings.tell(&Notice::Probe(connection.session, connection.peer, name, refused));
        }
        let seconds = connection.began.elapsed().as_secs();
        self.surroundings.tell(&Notice::Disconnected(connection.session, connection.peer, why, seconds));
    }

    fn report_rejection(&self, number: usize, user: String, mechanism: sasl::Mechanism, why: Rejection) {
        let Some(connection) = self.connections.get(&number) else { return };
        let (session, peer, reason) = (connection.session, connection.peer, why.word().to_owned());
        let mechanism = Mechanism::Sasl(mechanism);
        self.surroundings.tell(&Notice::Rejected(session, peer, user.into_bytes(), mechanism, reason));
    }

    fn report_debug(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let session = connection.session;
        for text in connection.take_spoken() {
            self.surroundings.debug(session, text);
        }
    }
}

/// A name as a number, for turns.
fn as_number(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn credentials(login: Login, facts: Option<&Facts>) -> Credentials {
    let version = facts.map(|facts| facts.tls.version.clone()).unwrap_or_default();
    Credentials { user: login.shown.into_bytes(), proof: login.proof, encryption: Encryption { version } }
}

//! Standalone mode: listening sockets, login processes in generations, reload and end. The monitor's part.
//!
//! A generation is one login process for each core. SIGHUP reads the configuration again; when it is good, a new generation takes
//! over the listening sockets, and the old one ends with its last connection. A login process that dies is replaced; sessions
//! are not its children and go on.

use super::handover::{Predecessor, Program};
use super::intake::limits;
use super::login::{self, Cell, Door};
use super::message::{Message, Order};
use super::monitor::{Channel, Monitor, Speaker};
use super::vault::{self, Sealed};
use super::{inetd, places};
use crate::auth;
use crate::config::{self, Address, Config, defaults};
use crate::error::{Error, Kind, Result};
use crate::log::{Log, SessionId};
use crate::sys::descriptors::Passed;
use crate::sys::notify::Manager;
use crate::sys::{clock, process, socket};
use crate::transport::listen;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A login process that dies sooner than this is replaced only after this time.
const BREATH: Duration = Duration::from_secs(1);

/// How often the secrets database is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the configuration as it was read at the start, command line included.
type Load = Box<dyn Fn() -> Result<Config>>;

/// How a standalone server goes on and ends.
pub(crate) struct Plan {
    /// Reads the configuration again.
    pub(crate) load: Load,
    /// Whether sessions end by themselves after the first signal to end.
    pub(crate) patient: bool,
}

/// What a standalone server has besides its children.
pub(crate) struct Site {
    pub(super) listeners: Vec<Listener>,
    cell: Cell,
    plan: Plan,
    pub(super) manager: Manager,
    /// What is started anew for an upgrade.
    pub(super) program: Option<Program>,
    /// Certificates and keys.
    sealed: Option<Sealed>,
    /// When login processes that died are to be replaced.
    due: Vec<Instant>,
}

/// A socket that listens; systemd's have no address of the configuration.
pub(super) struct Listener {
    address: Option<Address>,
    pub(super) socket: TcpListener,
    /// Whether its connections begin with TLS.
    pub(super) tls: bool,
}

/// A monitor that listens, with its first generation of login processes.
///
/// # Errors
/// An address cannot be listened on, or nothing can be served.
pub(crate) fn start(
    mut passed: Vec<Passed>,
    config: Config,
    plan: Plan,
    log: Log,
    own: SessionId,
) -> Result<Monitor> {
    process::raise_descriptor_limit();
    let predecessor = Predecessor::among(&mut passed);
    let mut listeners = Vec::new();
    for passed in passed {
        let tls = begins_with_tls(&passed);
        let socket = TcpListener::from(passed.socket);
        listen::prepare(&socket).map_err(|cause| Error::io("cannot use a socket from systemd", cause))?;
        let address = configured(&socket, tls, &config);
        listeners.push(Listener { address, socket, tls });
    }
    let listeners = open_listeners(listeners, &config)?;
    let sealed = vault::seal(&config)?;
    needs_certificate(&listeners, sealed.as_ref())?;
    if log.debugs() {
        // What is accepted from them inherits it.
        listeners.iter().for_each(|listener| socket::debug(&listener.socket));
    }
    let cell = Cell {
        ids: inetd::login_ids()?,
        root: places::prepare(&config)?,
        memory: config.limits.max_login_memory,
    };
    let limits = limits(&config);
    let mut monitor = Monitor::new(config, log, own, limits)?;
    let (manager, program) = (Manager::from_environment(), Program::own());
    monitor.site = Some(Site { listeners, cell, plan, manager, program, sealed, due: Vec::new() });
    monitor.start_generation();
    if let Some(predecessor) = predecessor {
        predecessor.relieve();
    }
    monitor.say_ready();
    Ok(monitor)
}

/// Whether connections to a socket from systemd begin with TLS: its name says so (`FileDescriptorName=`), or else its port.
pub(crate) fn begins_with_tls(passed: &Passed) -> bool {
    match passed.name.trim_end_matches(".socket") {
        "pop3s" => true,
        "pop3" => false,
        _ => socket::local_port(&passed.socket) == Some(defaults::POP3S_PORT),
    }
}

/// The address in the configuration that a socket which was passed has; one from systemd has none as a rule.
fn configured(socket: &TcpListener, tls: bool, config: &Config) -> Option<Address> {
    let here = socket.local_addr().ok()?;
    let wanted = if tls { &config.listen.pop3s } else { &config.listen.pop3 };
    wanted.iter().find(|address| address.0 == here).copied()
}

/// Keeps the sockets of systemd and those whose address stays, opens what is new.
fn open_listeners(old: Vec<Listener>, config: &Config) -> Result<Vec<Listener>> {
    let wanted = [(false, &config.listen.pop3), (true, &config.listen.pop3s)];
    let mut kept = old;
    kept.retain(|listener| {
        let stays =
            |address: &Address| wanted.iter().any(|(tls, all)| *tls == listener.tls && all.contains(address));
        listener.address.as_ref().is_none_or(stays)
    });
    for (tls, address) in wanted.into_iter().flat_map(|(tls, all)| all.iter().map(move |one| (tls, one))) {
        if !kept.iter().any(|listener| listener.address.as_ref() == Some(address)) {
            kept.push(Listener { address: Some(*address), socket: listen::open(address)?, tls });
        }
    }
    Ok(kept)
}

fn needs_certificate(listeners: &[Listener], sealed: Option<&Sealed>) -> Result<()> {
    match sealed.is_none() && listeners.iter().any(|listener| listener.tls) {
        false => Ok(()),
        true => Err(Error::new(
            Kind::Config,
            "a socket for TLS is to be listened on, but there is no certificate",
        )
        .with_fix("set certificate and key under [tls]")),
    }
}

impl Monitor {
    /// Where clients can connect, for people.
    pub(crate) fn listens_on(&self) -> Vec<String> {
        let Some(site) = &self.site else { return Vec::new() };
        site.listeners
            .iter()
            .filter_map(|listener| Some((listener.socket.local_addr().ok()?, listener.tls)))
            .map(|(address, tls)| format!("{address}{}", if tls { " (TLS)" } else { "" }))
            .collect()
    }

    fn say_ready(&self) {
        let places = self.listens_on().join(", ");
        if let Some(site) = &self.site {
            site.manager.ready();
            site.manager.status(&format!("serving {places}"));
        }
        self.own_remark(format!("serving POP3 on {places}"));
    }

    /// One login process for each core; one that cannot be started now is started later.
    fn start_generation(&mut self) {
        for _ in 0..config::cores() {
            if let Err(error) = self.start_login_process() {
                self.own_fault(&error);
                let later = clock::now() + BREATH;
                self.site.iter_mut().for_each(|site| site.due.push(later));
            }
        }
    }

    fn start_login_process(&mut self) -> Result<()> {
        let Some(mut site) = self.site.take() else { return Ok(()) };
        let sealed = site.sealed.as_ref();
        let kept: Vec<RawFd> = site
            .listeners
            .iter()
            .map(|listener| listener.socket.as_raw_fd())
            .chain(sealed.map(|sealed| sealed.file.as_raw_fd()))
            .collect();
        let started =
            self.start_speaker(Speaker::Login { retiring: false, client: None }, &kept, |surroundings| {
                // In the child: the listening sockets are its own now, so that it can close them.
                let doors = std::mem::take(&mut site.listeners)
                    .into_iter()
                    .map(|Listener { socket, tls, .. }| Door { socket, tls })
                    .collect();
                // And so is the file with the keys, which is closed before a stranger comes.
                let sealed = site.sealed.take();
                login::serve_many(doors, sealed, surroundings, &site.cell)
            });
        self.site = Some(site);
        started
    }

    /// What has to be done by the clock; how long until the next of it.
    pub(super) fn tend(&mut self) -> Option<Duration> {
        let now = clock::now();
        let due: Vec<Instant> = self.site.as_mut().map(|site| std::mem::take(&mut site.due))?;
        let (ripe, mut later): (Vec<_>, Vec<_>) = due.into_iter().partition(|time| *time <= now);
        for _ in ripe {
            if let Err(error) = self.start_login_process() {
                self.own_fault(&error);
                later.push(now + BREATH);
            }
        }
        self.look_at_secrets();
        self.look_at_history();
        let next = later.iter().min().map_or(LOOK, |time| time.saturating_duration_since(now).min(LOOK));
        self.site.as_mut()?.due.append(&mut later);
        Some(next)
    }

    /// Whether somebody can use APOP may have changed; the login processes learn it.
    fn look_at_secrets(&mut self) {
        let announced = auth::announced(&self.config);
        if announced != self.announced {
            self.announced = announced;
            for channel in self.channels.values() {
                if matches!(channel.speaker, Speaker::Login { .. }) {
                    // One that does not keep up announces what it knew.
                    let _ = socket::send(&channel.socket, &Order::Announce(announced).to_bytes(), &[], false);
                }
            }
        }
    }

    /// A login process has ended: its clients are gone, and it is replaced unless it was told to retire.
    pub(super) fn login_ended(&mut self, number: u64, retiring: bool, began: Instant) {
        let goes_on: Vec<SessionId> =
            self.intake.clients_of(number).filter(|id| self.has_session(id)).collect();
        self.intake.login_gone(number, |id| goes_on.contains(id));
        if let Some(site) = &mut self.site
            && !retiring
        {
            let now = clock::now();
            site.due.push(if began.elapsed() < BREATH { now + BREATH } else { now });
        }
    }

    /// There are too many connections for this one.
    pub(super) fn reject(&self, login: &OwnedFd, id: SessionId) {
        // A login process that does not keep up will see it leave some other way.
        let _ = socket::send(login, &Order::Reject(id).to_bytes(), &[], false);
    }

    /// SIGHUP: a new generation with the configuration as it is now; a bad one changes nothing.
    pub(super) fn reload(&mut self) {
        let Some(site) = &self.site else { return };
        site.manager.reloading();
        if let Err(error) = self.try_reload() {
            self.own_fault(&error);
            self.own_remark("the configuration stays as it was".to_owned());
            if let Some(site) = &self.site {
                site.manager.ready();
            }
        }
    }

    fn try_reload(&mut self) -> Result<()> {
        let Some(site) = &mut self.site else { return Ok(()) };
        let config = (site.plan.load)()?;
        let root = places::prepare(&config)?;
        let sealed = vault::seal(&config)?;
        let copies = site
            .listeners
            .iter()
            .map(|listener| {
                let Listener { address, socket, tls } = listener;
                Ok(Listener { address: *address, socket: socket.try_clone()?, tls: *tls })
            })
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|cause| Error::io("cannot keep the listening sockets", cause))?;
        let listeners = open_listeners(copies, &config)?;
        needs_certificate(&listeners, sealed.as_ref())?;
        site.listeners = listeners;
        site.sealed = sealed;
        site.cell.root = root;
        site.due.clear();
        self.intake.set_limits(limits(&config));
        self.config = Rc::new(config);
        let old = self.logins();
        self.start_generation();
        self.order(&old, Order::Retire);
        self.say_ready();
        Ok(())
    }

    /// SIGTERM: no more connections; sessions end by themselves. The second one ends them.
    pub(super) fn terminate(&mut self) {
        match self.site.take() {
            Some(site) => {
                site.manager.stopping();
                self.own_remark("taking no more connections, waiting for sessions to end".to_owned());
                let logins = self.logins();
                self.order(&logins, Order::End);
                if !site.plan.patient {
                    self.terminate();
                }
            }
            // Spool helpers finish what they do, and end with their sessions; sendmail has a message.
            None => {
                let ends = |channel: &&Channel| !matches!(channel.speaker, Speaker::Helper { .. });
                self.channels.values().filter(ends).for_each(|channel| channel.child.terminate());
            }
        }
    }

    /// The channels of all login processes.
    pub(super) fn logins(&self) -> Vec<u64> {
        let is_login = |channel: &Channel| matches!(channel.speaker, Speaker::Login { .. });
        self.channels.iter().filter(|(_, channel)| is_login(channel)).map(|(number, _)| *number).collect()
    }

    /// Tells these login processes to go. One that does not take the message is ended: it would keep the sockets.
    pub(super) fn order(&mut self, logins: &[u64], order: Order) {
        for number in logins {
            let Some(channel) = self.channels.get_mut(number) else { continue };
            if let Speaker::Login { retiring, .. } = &mut channel.speaker {
                *retiring = true;
            }
            if socket::send(&channel.socket, &order.to_bytes(), &[], false).is_err() {
                channel.child.terminate();
            }
        }
    }

    /// Whether a session with this id goes on, whatever became of its login process.
    fn has_session(&self, id: &SessionId) -> bool {
        self.channels
            .values()
            .any(|channel| matches!(&channel.speaker, Speaker::Session(visit) if visit.id == *id))
    }
}

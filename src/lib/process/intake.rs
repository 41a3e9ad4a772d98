//! Who may come in, and whose turn it is to be verified. Pure.
//!
//! Verification is expensive on purpose (one yescrypt check is 18 MB and 44 ms), so only so many run at once. The rest wait, first
//! come first served for one name of one address, but in turns between addresses, and in turns between names of an address:
//! who guesses at one user makes nobody else wait.

use super::pace::Pace;
use crate::config::{self, Config, defaults};
use crate::log::SessionId;
use crate::sys::socket::Peer;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::time::Instant;

/// Those who count as one: an address as a whole (IPv4) or its network of 64 bits (IPv6) unless configured otherwise; none is this
/// machine's own.
type Network = Option<config::Network>;

/// Keys in the order of their turns, with what waits under each.
type Round<K, V> = VecDeque<(K, V)>;

/// What the limits are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections and sessions in all.
    pub(crate) connections: u32,
    /// The same from one network.
    pub(crate) per_address: u32,
    /// Verifications at once.
    pub(crate) verifications: u32,
    /// Verifications that wait.
    pub(crate) waiting: usize,
    /// New connections in a minute from one network that is not this machine's own.
    pub(crate) per_minute: Option<NonZeroU32>,
    /// How many bits of an IPv4 and an IPv6 address make a network.
    pub(crate) prefixes: (u8, u8),
}

impl Limits {
    /// One client, one attempt at a time.
    pub(crate) const ONE: Self = Self {
        connections: 1,
        per_address: 1,
        verifications: 1,
        waiting: 1,
        per_minute: None,
        prefixes: (32, 128),
    };
}

/// What the configuration allows.
pub(crate) fn limits(config: &Config) -> Limits {
    let given = &config.limits;
    Limits {
        connections: given.max_connections,
        per_address: given.max_per_address,
        verifications: u32::from(given.verifications()),
        waiting: defaults::MAX_WAITING,
        per_minute: NonZeroU32::new(given.max_rate),
        prefixes: (given.prefix_v4, given.prefix_v6),
    }
}

/// Whether an attempt can be verified now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn<A> {
    /// Now.
    Now(A),
    /// When others are done.
    Later,
    /// Too many wait.
    Full(A),
}

/// A connection or a session.
#[derive(Debug)]
struct Client {
    network: Network,
    /// The login process that it came to.
    login: u64,
    /// Logins of it that were refused.
    refused: u32,
}

/// Connections, and attempts that wait; `A` is an attempt.
#[derive(Debug)]
pub(crate) struct Intake<A> {
    limits: Limits,
    clients: HashMap<SessionId, Client>,
    networks: HashMap<Network, u32>,
    pace: Pace<Network>,
    running: u32,
    waiting: usize,
    rounds: Round<Network, Round<u64, VecDeque<A>>>,
}

impl<A> Intake<A> {
    /// Nobody is here yet.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            clients: HashMap::new(),
            networks: HashMap::new(),
            pace: Pace::new(),
            running: 0,
            waiting: 0,
            rounds: VecDeque::new(),
        }
    }

    /// Limits from now on.
    pub(crate) const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A client came to the login process with this number; false when there are too many, or too many of its network came lately:
    /// then it does not count.
    pub(crate) fn connected(&mut self, id: SessionId, peer: &Peer, login: u64, now: Instant) -> bool {
        let network = self.network(peer);
        // Programs of this machine, a web mailer say, come as often as they like.
        if let Some(rate) = self.limits.per_minute
            && !peer.is_local()
            && !self.pace.allows(network, rate, now)
        {
            return false;
        }
        let all = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        let here = self.networks.entry(network).or_insert(0);
        let room = all < self.limits.connections && *here < self.limits.per_address;
        if room && self.clients.insert(id, Client { network, login, refused: 0 }).is_none() {
            *here += 1;
        }
        room
    }

    /// A client is gone, or its session is.
    pub(crate) fn left(&mut self, id: &SessionId) {
        let Some(Client { network, .. }) = self.clients.remove(id) else { return };
        if let Some(here) = self.networks.get_mut(&network) {
            *here -= 1;
            if *here == 0 {
                self.networks.remove(&network);
            }
        }
    }

    /// A login process is gone, and with it its clients, but for those whose session goes on.
    pub(crate) fn login_gone(&mut self, login: u64, goes_on: impl Fn(&SessionId) -> bool) {
        let gone: Vec<SessionId> = self
            .clients
            .iter()
            .filter(|(id, client)| client.login == login && !goes_on(id))
            .map(|(id, _)| *id)
            .collect();
        gone.iter().for_each(|id| self.left(id));
    }

    /// The clients of a login process.
    pub(crate) fn clients_of(&self, login: u64) -> impl Iterator<Item = SessionId> + '_ {
        self.clients.iter().filter(move |(_, client)| client.login == login).map(|(id, _)| *id)
    }

    /// A login of this client was refused.
    pub(crate) fn refused(&mut self, id: &SessionId) {
        if let Some(client) = self.clients.get_mut(id) {
            client.refused = client.refused.saturating_add(1);
        }
    }

    /// Logins of this client that were refused.
    pub(crate) fn refusals(&self, id: &SessionId) -> u32 {
        self.clients.get(id).map_or(0, |client| client.refused)
    }

    /// An attempt for a user's name (as a number) wants to be verified.
    pub(crate) fn ask(&mut self, peer: &Peer, user: u64, attempt: A) -> Turn<A> {
        if self.running < self.limits.verifications {
            self.running += 1;
            return Turn::Now(attempt);
        }
        if self.waiting >= self.limits.waiting {
            return Turn::Full(attempt);
        }
        self.waiting += 1;
        let network = self.network(peer);
        let users = entry(&mut self.rounds, network);
        entry(users, user).push_back(attempt);
        Turn::Later
    }

    fn network(&self, peer: &Peer) -> Network {
        let (v4, v6) = self.limits.prefixes;
        peer.address.map(|address| config::Network::of(address.ip(), v4, v6))
    }

    /// A verification is done; the next whose turn it is.
    pub(crate) fn done(&mut self) -> Option<A> {
        self.running = self.running.saturating_sub(1);
        if self.running >= self.limits.verifications {
            return None;
        }
        let (network, mut users) = self.rounds.pop_front()?;
        let (user, mut attempts) = users.pop_front()?;
        let attempt = attempts.pop_front()?;
        if !attempts.is_empty() {
            users.push_back((user, attempts));
        }
        if !users.is_empty() {
            self.rounds.push_back((network, users));
        }
        self.waiting -= 1;
        self.running += 1;
        Some(attempt)
    }

    /// A verification could not be begun: its slot is free. Those who wait would fare no better, and nobody may be left to call them
    /// later, so all leave.
    pub(crate) fn give_up(&mut self) -> Vec<A> {
        std::iter::from_fn(|| self.done()).collect()
    }
}

/// The value under a key in a short round, made at its end when it is missing.
fn entry<K: PartialEq, V: Default>(round: &mut Round<K, V>, key: K) -> &mut V {
    let place = round.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        round.push_back((key, V::default()));
        round.len() - 1
    });
    &mut round[place].1
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { connections: 3, per_address: 2, waiting: 4, prefixes: (32, 64), ..Limits::ONE };

    fn peer(text: &str) -> Peer {
        Peer::direct(Some(text.parse().unwrap()))
    }

    fn id(bits: u64) -> SessionId {
        SessionId::from_bits(bits)
    }

    #[test]
    fn connections_are_counted_by_network_and_in_all() {
        let (mut intake, now): (Intake<()>, _) = (Intake::new(LIMITS), crate::sys::clock::now());
        assert!(intake.connected(id(1), &peer("[2001:db8::1]:1"), 0, now));
        assert!(intake.connected(id(2), &peer("[2001:db8::2]:1"), 0, now));
        assert!(!intake.connected(id(3), &peer("[2001:db8::3]:1"), 0, now), "the network of 64 bits has two");
        intake.left(&id(3));
        assert!(intake.connected(id(4), &peer("192.0.2.1:1"), 1, now));
        assert!(!intake.connected(id(5), &peer("192.0.2.2:1"), 1, now), "three in all");
        intake.left(&id(5));
        intake.login_gone(0, |session| *session == id(2));
        assert!(
            intake.connected(id(6), &peer("192.0.2.2:1"), 1, now),
            "one of the dead login process's is free again"
        );
    }

    #[test]
    fn networks_are_as_wide_as_configured() {
        let wide = Limits { connections: 9, per_address: 1, prefixes: (24, 48), ..LIMITS };
        let (mut intake, now): (Intake<()>, _) = (Intake::new(wide), crate::sys::clock::now());
        assert!(intake.connected(id(1), &peer("192.0.2.1:1"), 0, now));
        assert!(!intake.connected(id(2), &peer("[::ffff:192.0.2.200]:1"), 0, now), "the same 24 bits");
        assert!(intake.connected(id(3), &peer("192.0.3.1:1"), 0, now));
        assert!(intake.connected(id(4), &peer("[2001:db8:0:1::1]:1"), 0, now));
        assert!(!intake.connected(id(5), &peer("[2001:db8:0:2::1]:1"), 0, now), "the same 48 bits");
    }

    #[test]
    fn who_comes_too_often_waits_and_this_machine_does_not() {
        let slow = Limits { connections: 99, per_address: 99, per_minute: NonZeroU32::new(2), ..LIMITS };
        let (mut intake, now): (Intake<()>, _) = (Intake::new(slow), crate::sys::clock::now());
        let mut come = |number, from: &Peer, after: u64| {
            intake.connected(id(number), from, 0, now + std::time::Duration::from_secs(after))
        };
        let far = peer("192.0.2.1:1");
        assert!(come(1, &far, 0) && come(2, &far, 0));
        assert!(!come(3, &far, 0) && !come(4, &far, 29), "two in a minute");
        assert!(come(5, &peer("192.0.2.2:1"), 0), "others are not held up");
        assert!(come(6, &far, 31), "half a minute later there is room for one");
        assert!((10..20).all(|number| come(number, &peer("127.0.0.1:1"), 0)));
        let told = Peer { proxied: true, ..peer("127.0.0.1:1") };
        assert!(!(20..30).all(|number| come(number, &told, 0)), "what a proxy tells is never this machine");
    }

    /// However many wait when a process cannot be made, no slot is lost for those who come later.
    #[test]
    fn who_cannot_be_verified_keeps_no_slot() {
        let (mut intake, one) = (Intake::new(Limits { verifications: 2, ..LIMITS }), peer("192.0.2.1:1"));
        assert_eq!(intake.ask(&one, 1, 1), Turn::Now(1));
        assert_eq!(intake.ask(&one, 2, 2), Turn::Now(2));
        (3..6).for_each(|attempt| assert_eq!(intake.ask(&one, 7, attempt), Turn::Later));
        assert_eq!(intake.give_up(), [3, 4, 5], "the second was not begun");
        assert_eq!((intake.running, intake.waiting), (1, 0), "the first is at work");
        assert_eq!(intake.done(), None);
        assert_eq!(intake.running, 0);
        assert_eq!(intake.ask(&one, 9, 6), Turn::Now(6));
        assert_eq!(intake.ask(&one, 9, 7), Turn::Now(7));
    }

    #[test]
    fn turns_go_round_addresses_and_then_names() {
        let mut intake = Intake::new(LIMITS);
        let (guesser, other) = (peer("192.0.2.1:1"), peer("192.0.2.2:1"));
        assert_eq!(intake.ask(&guesser, 7, "a1"), Turn::Now("a1"));
        assert_eq!(intake.ask(&guesser, 7, "a2"), Turn::Later);
        assert_eq!(intake.ask(&guesser, 7, "a3"), Turn::Later);
        assert_eq!(intake.ask(&guesser, 8, "b1"), Turn::Later);
        assert_eq!(intake.ask(&other, 7, "c1"), Turn::Later);
        assert_eq!(intake.ask(&other, 7, "c2"), Turn::Full("c2"));
        let order: Vec<_> = std::iter::from_fn(|| intake.done()).collect();
        assert_eq!(order, ["a2", "c1", "b1", "a3"]);
        assert_eq!(intake.ask(&guesser, 7, "a4"), Turn::Now("a4"), "all are done");
    }
}

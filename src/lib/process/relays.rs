//! The relays of a login process: whose turn it is.
//!
//! Each in its turn moves some octets, and logins come first: after a few turns the event queue is asked again. So neither a client who
//! fetches much nor many of them keep others from being served.

use crate::log::SessionId;
use crate::transport::relay::{Relay, TURN, Turn};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

/// Turns before logins are looked at again: about a megabyte, a millisecond's work.
const TURNS: usize = 16;

/// All relays, by the numbers of their connections.
pub(super) struct Relays {
    relays: HashMap<usize, Entry>,
    /// Those that have something to do, in the order of their turns; each once.
    waiting: VecDeque<usize>,
    deadlines: BTreeSet<(Instant, usize)>,
    /// Where octets pass through, one relay after the other.
    room: Vec<u8>,
}

struct Entry {
    session: SessionId,
    relay: Relay,
    queued: bool,
    deadline: Option<Instant>,
}

impl Relays {
    pub(super) fn new() -> Self {
        Self {
            relays: HashMap::new(),
            waiting: VecDeque::new(),
            deadlines: BTreeSet::new(),
            room: Vec::new(),
        }
    }

    /// Takes on a relay; it has its first turn soon.
    pub(super) fn add(&mut self, number: usize, session: SessionId, relay: Relay) {
        self.relays.insert(number, Entry { session, relay, queued: false, deadline: None });
        self.ready(number);
    }

    /// One of its descriptors has become ready; false when there is no such relay.
    pub(super) fn ready(&mut self, number: usize) -> bool {
        let Some(entry) = self.relays.get_mut(&number) else { return false };
        if !std::mem::replace(&mut entry.queued, true) {
            self.waiting.push_back(number);
        }
        true
    }

    /// Whether somebody has something to do now.
    pub(super) fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.relays.is_empty()
    }

    /// When the next one has waited too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Gives some of them a turn; those that are over are returned, with their sessions.
    pub(super) fn serve(&mut self, now: Instant) -> Vec<(Relay, SessionId)> {
        let mut over = Vec::new();
        while let Some((deadline, number)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.deadlines.remove(&(deadline, number));
            over.extend(self.relays.remove(&number).map(|entry| (entry.relay, entry.session)));
        }
        if !self.waiting.is_empty() {
            self.room.resize(TURN, 0);
        }
        for _ in 0..TURNS {
            let Some(number) = self.waiting.pop_front() else { break };
            over.extend(self.take_turn(number).map(|entry| (entry.relay, entry.session)));
        }
        if self.waiting.is_empty() {
            // What passed through is nobody's any more, and an idle process is small.
            self.room = Vec::new();
        }
        over
    }

    /// The relay, when it is over.
    fn take_turn(&mut self, number: usize) -> Option<Entry> {
        let entry = self.relays.get_mut(&number)?;
        entry.queued = false;
        let turn = entry.relay.turn(&mut self.room);
        if let Some(deadline) = entry.deadline.take() {
            self.deadlines.remove(&(deadline, number));
        }
        match turn {
            Turn::Over => return self.relays.remove(&number),
            Turn::More => {
                entry.queued = true;
                self.waiting.push_back(number);
            }
            Turn::Wait => {}
        }
        entry.deadline = entry.relay.deadline();
        self.deadlines.extend(entry.deadline.map(|deadline| (deadline, number)));
        None
    }
}

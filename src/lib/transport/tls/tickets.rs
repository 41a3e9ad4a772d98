//! Tickets, with which a client comes back without a whole handshake (RFC 5077; RFC 8446, section 2.2). Stateless: what the server would
//! have to remember goes to the client, encrypted.
//!
//! All login processes of a generation make the same keys from one seed. The key changes every six hours and cannot be turned
//! back: who takes over a login process learns the keys of the last twelve hours and no older ones. A new generation has a new seed.

use crate::sys::random;
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use rustls::server::ProducesTickets;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long tickets are made with one key.
const PERIOD: Duration = Duration::from_secs(6 * 3600);

/// Octets of the nonce in front of a ticket's contents.
const NONCE: usize = 24;

/// Makes and opens tickets.
pub(super) struct Tickets(Mutex<Ring>);

/// The key of this period and that of the one before.
struct Ring {
    began: Instant,
    period: u64,
    key: Zeroizing<[u8; 32]>,
    before: Option<Zeroizing<[u8; 32]>>,
}

impl Tickets {
    /// Keys from a seed that is as old as said.
    pub(super) fn new(seed: &[u8; 32], now: Instant, age: Duration) -> Self {
        let key = Zeroizing::new(step(b"poptools ticket 0", seed));
        let began = now.checked_sub(age).unwrap_or(now);
        Self(Mutex::new(Ring { began, period: 0, key, before: None }))
    }

    fn seal(&self, plain: &[u8], now: Instant) -> Option<Vec<u8>> {
        let mut ring = self.0.lock().ok()?;
        ring.turn(now);
        let mut ticket = vec![0; NONCE];
        random::fill(&mut ticket).ok()?;
        let nonce = XNonce::try_from(ticket.as_slice()).ok()?;
        ticket.extend(cipher(&ring.key).encrypt(&nonce, plain).ok()?);
        Some(ticket)
    }

    fn open(&self, ticket: &[u8], now: Instant) -> Option<Vec<u8>> {
        let mut ring = self.0.lock().ok()?;
        ring.turn(now);
        let (nonce, sealed) = ticket.split_at_checked(NONCE)?;
        let nonce = XNonce::try_from(nonce).ok()?;
        let keys = std::iter::once(&ring.key).chain(&ring.before);
        keys.filter_map(|key| cipher(key).decrypt(&nonce, sealed).ok()).next()
    }
}

impl Ring {
    /// Goes on to the key of now; keys that are older than the last one are forgotten.
    fn turn(&mut self, now: Instant) {
        let wanted = now.saturating_duration_since(self.began).as_secs() / PERIOD.as_secs();
        while self.period < wanted {
            let next = Zeroizing::new(step(b"poptools ticket +", &self.key));
            self.before = Some(std::mem::replace(&mut self.key, next));
            self.period += 1;
        }
    }
}

fn step(label: &[u8], key: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(label).chain_update(key).finalize().into()
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key))
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // A ticket of the beginning of a period lives for two of them, one of its end for one.
        u32::try_from(PERIOD.as_secs()).unwrap_or(0)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, crate::sys::clock::now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, crate::sys::clock::now())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue of forward secrecy: RFC 9325, section 3.4 wants ticket keys changed.
    #[test]
    fn a_ticket_is_good_for_one_period_more_and_for_all_processes() {
        let now = Instant::now();
        let one = Tickets::new(&[1; 32], now, Duration::ZERO);
        let ticket = one.seal(b"state", now).unwrap();
        assert_eq!(one.open(&ticket, now + PERIOD).unwrap(), b"state");
        assert_eq!(one.open(&ticket, now + 2 * PERIOD), None, "its key is forgotten");
        let later = Tickets::new(&[1; 32], now + PERIOD, PERIOD);
        assert_eq!(later.open(&ticket, now + PERIOD).unwrap(), b"state", "a process that came later");
        let other = Tickets::new(&[2; 32], now, Duration::ZERO);
        assert_eq!(other.open(&ticket, now), None, "another generation");
        assert_eq!(one.open(&ticket[..10], now), None);
    }
}

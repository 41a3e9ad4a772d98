//! Design, section 8: whatever a stranger sends, in whatever order, nothing panics, and nobody gets in whom the verdict did not let in.
//! 100,000 conversations with the two machines; the same ones every time.

#![allow(clippy::unwrap_used, clippy::panic)]

use poptools::protocol::capability::Offer;
use poptools::protocol::line::{Line, Lines};
use poptools::protocol::reply::{MAX_REPLY, Reply};
use poptools::protocol::sasl::{Mechanism, Mechanisms, TlsFacts, encode};
use poptools::session::authorization::{self, Authorization, Effect, Proof, incorrect};
use poptools::session::transaction::{self, Transaction};

const SESSIONS: u64 = 100_000;

/// Lines that lead somewhere; others are made of octets.
const LINES: &[&str] = &[
    "USER ann",
    "PASS x",
    "APOP ann c4c9334bac560ecc979e58001b3e22fb",
    "CAPA",
    "NOOP",
    "STAT",
    "LIST",
    "LIST 1",
    "RETR 1",
    "DELE 2",
    "RSET",
    "TOP 1 0",
    "UIDL",
    "UIDL 9",
    "LAST",
    "UTF8",
    "LANG",
    "LANG de",
    "LANG *",
    "LANG x-y-z",
    "XTND XLST Subject",
    "XTND XMIT",
    "STLS",
    "AUTH",
    "AUTH PLAIN",
    "AUTH PLAIN =",
    "AUTH PLAIN AGFubgB4",
    "AUTH CRAM-MD5",
    "AUTH EXTERNAL",
    "AUTH EXTERNAL =",
    "AUTH SCRAM-SHA-256 biwsbj1hbm4scj1h",
    "AUTH SCRAM-SHA-256-PLUS",
    "AUTH SCRAM-SHA-256",
    "biwsbj1hbm4scj1h",
    "AGFubgB4",
    "*",
    "=",
    "",
    "YW5uIGM0YzkzMzRiYWM1NjBlY2M5NzllNTgwMDFiM2UyMmZi",
    "cD10bHMtZXhwb3J0ZXIsLG49YW5uLHI9YQ==",
    "QUIT",
];

/// Xorshift: no two runs differ.
struct Dice {
    state: u64,
    /// What the server said last in an exchange.
    challenge: Vec<u8>,
}

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % sides
    }

    fn octets(&mut self) -> Vec<u8> {
        (0..self.roll(60)).map(|_| self.roll(256).to_le_bytes()[0]).collect()
    }

    fn line(&mut self) -> Vec<u8> {
        match self.roll(10) {
            0 => self.octets(),
            1 => encode(&self.octets()).into_bytes(),
            // What a client of SCRAM would say to that, with any proof.
            2..=5 if self.challenge.starts_with(b"r=") => {
                let said = String::from_utf8(std::mem::take(&mut self.challenge)).unwrap();
                let nonce = said.split(',').next().unwrap();
                encode(format!("c=biws,{nonce},p={}", encode(&[0; 32])).as_bytes()).into_bytes()
            }
            2..=5 if self.challenge.starts_with(b"v=") => Vec::new(),
            _ => LINES[usize::try_from(self.roll(LINES.len() as u64)).unwrap()].as_bytes().to_vec(),
        }
    }
}

#[test]
fn nothing_panics_and_nobody_slips_in() {
    let (mut logins, mut proven) = (0, 0);
    for number in 1..=SESSIONS {
        let state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut dice = Dice { state, challenge: Vec::new() };
        let (login, by_proof) = converse(&mut dice);
        logins += u32::from(login);
        proven += u32::from(by_proof);
    }
    println!("{SESSIONS} sessions, {logins} logins, {proven} of them by SCRAM; nothing panicked");
    assert!(logins > 1000 && proven > 10, "the walk gets everywhere: {logins} logins, {proven} by SCRAM");
}

/// One conversation; whether it logged in, and whether by a signature.
fn converse(dice: &mut Dice) -> (bool, bool) {
    let mut machine = Authorization::new(setup(dice));
    let mut signed = false;
    for _ in 0..15 {
        let mut line = dice.line();
        line.extend_from_slice(b"\r\n");
        let mut lines = Lines::new();
        assert_eq!(lines.feed(&line), line.len());
        while let Some(line) = lines.next_line(machine.line_limit()) {
            let effect = machine.step(line);
            match settle(dice, &mut machine, effect, &mut signed) {
                Outcome::Talking => {}
                Outcome::Closed => return (false, false),
                Outcome::In => {
                    transact(dice, &machine);
                    return (true, signed);
                }
            }
        }
    }
    (false, false)
}

enum Outcome {
    Talking,
    Closed,
    In,
}

/// Does what a driver does, with a verdict by dice.
fn settle(dice: &mut Dice, machine: &mut Authorization, effect: Effect, signed: &mut bool) -> Outcome {
    let waits = std::mem::take(signed);
    match effect {
        Effect::Reply(reply) => check(&reply, machine),
        Effect::Lines(reply, lines) => {
            check(&reply, machine);
            assert!(lines.iter().all(|line| line.len() < 510));
        }
        Effect::Challenge(octets) => {
            assert!(machine.is_exchanging());
            dice.challenge = octets;
        }
        Effect::StartTls(reply) => {
            check(&reply, machine);
            assert!(!machine.is_exchanging());
            machine.encrypted(facts(dice));
        }
        Effect::Close(_) => return Outcome::Closed,
        Effect::Proceed => {
            assert!(waits, "consent without a proof");
            *signed = true;
            return Outcome::In;
        }
        Effect::Reject(shown, ..) => {
            let effect = machine.refused(incorrect(&shown));
            return settle(dice, machine, effect, signed);
        }
        Effect::Verify(login) => {
            assert!(login.shown.len() <= 64 && login.shown.is_ascii());
            let next = match (login.proof, dice.roll(4)) {
                (_, 0) => machine.refused(incorrect(&login.shown)),
                (_, 1) => {
                    machine.unavailable();
                    return Outcome::Talking;
                }
                (Proof::Salt { .. }, _) => machine.salted(b"salt", 4096),
                (Proof::Scram { .. }, _) => {
                    let effect = machine.proven(&[1; 32]);
                    let _ = settle(dice, machine, effect, signed);
                    *signed = true;
                    return Outcome::Talking;
                }
                _ => return Outcome::In,
            };
            return settle(dice, machine, next, signed);
        }
    }
    Outcome::Talking
}

fn check(reply: &Reply, machine: &Authorization) {
    let mut wire = Vec::new();
    reply.in_language(machine.language()).write_to(&mut wire);
    assert!(wire.len() <= MAX_REPLY && wire.ends_with(b"\r\n") && std::str::from_utf8(&wire).is_ok());
    assert_eq!(wire.iter().filter(|octet| **octet == b'\n').count(), 1, "RFC 1939, section 3: one line");
}

fn facts(dice: &mut Dice) -> TlsFacts {
    TlsFacts {
        exporter: (dice.roll(2) == 0).then_some([7; 32]),
        client_name: (dice.roll(2) == 0).then(|| String::from_utf8_lossy(&dice.octets()).into_owned()),
        ..TlsFacts::default()
    }
}

fn setup(dice: &mut Dice) -> authorization::Setup {
    let tls = facts(dice);
    authorization::Setup {
        max_errors: 10,
        max_refusals: 3,
        host: "mx.example".to_owned(),
        shy: false,
        challenge: Some("1@mx".to_owned()),
        plaintext_allowed: dice.roll(4) > 0,
        xlst: true,
        login_delay: None,
        xmit: true,
        mechanisms: Mechanism::ALL.into_iter().fold(Mechanisms::NONE, Mechanisms::with),
        stls: dice.roll(2) == 0,
        plaintext_over_tls: dice.roll(4) > 0,
        tls: (dice.roll(2) == 0).then_some(tls),
        seed: [1; 32],
    }
}

fn transact(dice: &mut Dice, before: &Authorization) {
    let terms = before.terms();
    let mut machine = Transaction::new(transaction::Setup {
        user: "ann".to_owned(),
        host: "mx.example".to_owned(),
        count: 3,
        octets: 600,
        offer: Offer {
            plaintext_allowed: terms.plaintext_allowed,
            xlst: true,
            login_delay: None,
            xmit: true,
            shy: false,
            mechanisms: terms.mechanisms,
            stls: false,
        },
        language: terms.language,
    });
    for _ in 0..10 {
        let line = dice.line();
        match machine.step(Line::Complete(&line)) {
            transaction::Effect::Delete(message) => drop(machine.deleted(message, 200)),
            transaction::Effect::Close(_) | transaction::Effect::Commit => return,
            _ => {}
        }
    }
}

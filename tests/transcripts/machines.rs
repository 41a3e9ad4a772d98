//! The pure machines with a maildrop in memory, as a stream: the smallest driver that there can be.

use super::fixture::{Fixture, octets};
use super::replay::{Peer, Site};
use poptools::protocol::MsgNo;
use poptools::protocol::capability::Offer;
use poptools::protocol::header::field;
use poptools::protocol::language::Language;
use poptools::protocol::line::{COMMAND_LIMIT, Lines};
use poptools::protocol::listing::{END, write_header_line, write_lines, write_list_line, write_uidl_line};
use poptools::protocol::multiline::Encoder;
use poptools::protocol::reply::Reply;
use poptools::protocol::sasl::{self, Mechanism, Mechanisms};
use poptools::protocol::unstuff::Unstuffer;
use poptools::session::Terms;
use poptools::session::authorization::{self, Authorization, Effect as Before, Login, Proof, incorrect};
use poptools::session::transaction::{self, Effect as After, Scope, Transaction};
use std::io::{self, Read, Write};

const HOST: &str = "mx.example";

/// A message with what names it.
#[derive(Clone)]
struct Message {
    stored: Vec<u8>,
    hash: u128,
    twin: u32,
}

/// A server without processes.
pub(crate) struct Machines {
    maildrop: Vec<Message>,
    setup: authorization::Setup,
}

impl Machines {
    /// A server for one script.
    pub(crate) fn new(fixture: &Fixture, setup: &[String]) -> Self {
        let has = |word: &str| setup.iter().any(|set| set == word);
        let setup = authorization::Setup {
            max_errors: 10,
            max_refusals: 3,
            host: HOST.to_owned(),
            shy: has("shy"),
            challenge: has("challenge").then(|| "0123456789abcdef@mx.example".to_owned()),
            plaintext_allowed: !has("encrypted-only"),
            xlst: !has("no-xlst"),
            xmit: !has("no-xmit"),
            mechanisms: if has("sasl") { secret_mechanisms() } else { Mechanisms::NONE },
            stls: false,
            plaintext_over_tls: true,
            tls: None,
            login_delay: None,
            seed: [7; 32],
        };
        Self { maildrop: identify(&fixture.messages), setup }
    }
}

/// Gives each message its hash (FNV-1a) and its number among equals.
fn identify(messages: &[Vec<u8>]) -> Vec<Message> {
    let mut named: Vec<Message> = Vec::new();
    for stored in messages {
        let hash = stored.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, &octet| {
            (hash ^ u128::from(octet)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        });
        let twin = 1 + u32::try_from(named.iter().filter(|message| message.hash == hash).count()).unwrap();
        named.push(Message { stored: stored.clone(), hash, twin });
    }
    named
}

impl Site for Machines {
    fn connect(&mut self) -> io::Result<Box<dyn Peer + '_>> {
        let authorization = Authorization::new(self.setup.clone());
        let mut out = Vec::new();
        authorization.greeting().write_to(&mut out);
        let state = State::Before(Box::new(authorization));
        Ok(Box::new(Connection { site: self, lines: Lines::new(), out, read: 0, state }))
    }
}

enum State {
    Before(Box<Authorization>),
    After(Box<Transaction>),
    Receiving(Box<Transaction>, Unstuffer),
    Closed,
}

struct Connection<'a> {
    site: &'a mut Machines,
    lines: Lines,
    out: Vec<u8>,
    read: usize,
    state: State,
}

impl Read for Connection<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.out[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        match (&self.state, count) {
            (State::Closed, _) | (_, 1..) => Ok(count),
            _ => Err(io::Error::new(io::ErrorKind::WouldBlock, "the server waits for the client")),
        }
    }
}

impl Write for Connection<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if matches!(self.state, State::Closed) {
            // The server reads on behind its last reply, so that the client can read it.
            return Ok(bytes.len());
        }
        let taken = self.lines.feed(bytes);
        while self.advance() {}
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection<'_> {
    /// Does what the next line wants; false when there is none.
    fn advance(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Before(mut machine) => {
                let Some(line) = self.lines.next_line(machine.line_limit()) else {
                    self.state = State::Before(machine);
                    return false;
                };
                let effect = machine.step(line);
                self.before(machine, effect);
            }
            State::After(mut machine) => {
                let Some(line) = self.lines.next_line(COMMAND_LIMIT) else {
                    self.state = State::After(machine);
                    return false;
                };
                let effect = machine.step(line);
                self.after(machine, effect);
            }
            State::Receiving(machine, decoder) => return self.receive(machine, decoder),
            State::Closed => return false,
        }
        true
    }

    fn before(&mut self, mut machine: Box<Authorization>, effect: Before) {
        match effect {
            Before::Reply(reply) => self.say(&reply, machine.language()),
            Before::Lines(reply, lines) => {
                self.say(&reply, machine.language());
                write_lines(&lines, &mut self.out);
            }
            Before::Challenge(octets) => {
                self.out.extend_from_slice(format!("+ {}\r\n", sasl::encode(&octets)).as_bytes());
            }
            Before::Close(reply) => return self.say(&reply, machine.language()),
            Before::StartTls(_) => unreachable!("these machines have no certificate"),
            Before::Verify(login) => {
                if matches!(login.proof, Proof::Salt { .. }) {
                    let effect = machine.salted(b"salt", 4096);
                    return self.before(machine, effect);
                }
                if is_right(&login) {
                    return self.welcome(&machine.terms());
                }
                let effect = machine.refused(incorrect(&login.shown));
                return self.before(machine, effect);
            }
            Before::Reject(shown, ..) => {
                let effect = machine.refused(incorrect(&shown));
                return self.before(machine, effect);
            }
            Before::Proceed => return self.welcome(&machine.terms()),
        }
        self.state = State::Before(machine);
    }

    /// The hand-over, with the bytes that came behind the login.
    fn welcome(&mut self, terms: &Terms) {
        let rest = self.lines.take_rest();
        self.lines = Lines::new();
        assert_eq!(self.lines.feed(&rest), rest.len());
        let authorization::Setup { xlst, xmit, shy, .. } = self.site.setup;
        let Terms { plaintext_allowed, mechanisms, language } = *terms;
        let messages = &self.site.maildrop;
        let machine = Transaction::new(transaction::Setup {
            user: "ann".to_owned(),
            host: HOST.to_owned(),
            count: u32::try_from(messages.len()).unwrap(),
            octets: messages.iter().map(|message| octets(&message.stored)).sum(),
            offer: Offer { plaintext_allowed, xlst, xmit, shy, mechanisms, stls: false, login_delay: None },
            language,
        });
        self.say(&machine.welcome(), language);
        self.state = State::After(Box::new(machine));
    }

    fn after(&mut self, mut machine: Box<Transaction>, effect: After) {
        match effect {
            After::Reply(reply) => self.say(&reply, machine.language()),
            After::Lines(reply, lines) => {
                self.say(&reply, machine.language());
                write_lines(&lines, &mut self.out);
            }
            After::List(scope) => self.list(&machine, scope),
            After::Uidl(scope) => self.uidl(&machine, scope),
            After::Header { field, scope } => self.header(&machine, &field, scope),
            After::Retrieve { message, lines } => self.retrieve(&mut machine, message, lines),
            After::Delete(message) => {
                let octets = octets(&self.message(message).stored);
                let reply = machine.deleted(message, octets);
                self.say(&reply, machine.language());
            }
            After::Receive => {
                machine.receive_reply().write_to(&mut self.out);
                self.state = State::Receiving(machine, Unstuffer::new());
                return;
            }
            After::Commit => {
                self.commit(&machine);
                return self.say(&machine.quit_reply(Ok(())), machine.language());
            }
            After::Close(reply) => return self.say(&reply, machine.language()),
        }
        self.state = State::After(machine);
    }

    fn say(&mut self, reply: &Reply, language: Language) {
        reply.in_language(language).write_to(&mut self.out);
    }

    fn message(&self, message: MsgNo) -> &Message {
        &self.site.maildrop[message.index() as usize]
    }

    /// The messages that a listing is for.
    fn listed(&self, machine: &Transaction, scope: Scope) -> Vec<(MsgNo, Message)> {
        let all = (1..).map_while(MsgNo::new).zip(self.site.maildrop.iter().cloned());
        all.filter(|(number, _)| match scope {
            Scope::One(one) => *number == one,
            Scope::All => !machine.is_deleted(*number),
        })
        .collect()
    }

    fn list(&mut self, machine: &Transaction, scope: Scope) {
        if let Scope::One(number) = scope {
            return machine.list_one(number, octets(&self.message(number).stored)).write_to(&mut self.out);
        }
        machine.list_all().write_to(&mut self.out);
        for (number, message) in self.listed(machine, scope) {
            write_list_line(number, octets(&message.stored), &mut self.out);
        }
        self.out.extend_from_slice(END);
    }

    fn uidl(&mut self, machine: &Transaction, scope: Scope) {
        if let Scope::One(number) = scope {
            let Message { hash, twin, .. } = *self.message(number);
            return machine.uidl_one(number, hash, twin).write_to(&mut self.out);
        }
        machine.uidl_all().write_to(&mut self.out);
        for (number, message) in self.listed(machine, scope) {
            write_uidl_line(number, message.hash, message.twin, &mut self.out);
        }
        self.out.extend_from_slice(END);
    }

    fn header(&mut self, machine: &Transaction, name: &str, scope: Scope) {
        machine.header_reply().write_to(&mut self.out);
        for (number, message) in self.listed(machine, scope) {
            write_header_line(number, name, field(name, &message.stored).as_deref(), &mut self.out);
        }
        self.out.extend_from_slice(END);
    }

    fn retrieve(&mut self, machine: &mut Transaction, number: MsgNo, lines: Option<u64>) {
        let stored = self.message(number).stored.clone();
        let reply =
            if lines.is_some() { machine.top_reply() } else { machine.retrieve_reply(octets(&stored)) };
        self.say(&reply, machine.language());
        let mut encoder = Encoder::new(lines);
        // A prime, so that pieces end everywhere.
        let _ = stored.chunks(13).all(|piece| encoder.encode(piece, &mut self.out));
        encoder.finish(&mut self.out);
        if lines.is_none() {
            machine.retrieved(number);
        }
    }

    fn receive(&mut self, machine: Box<Transaction>, mut decoder: Unstuffer) -> bool {
        let taken = decoder.decode(self.lines.unread(), &mut Vec::new());
        self.lines.consume(taken);
        if decoder.is_finished() {
            Reply::ok("Message sent.").write_to(&mut self.out);
            self.state = State::After(machine);
            return true;
        }
        self.state = State::Receiving(machine, decoder);
        false
    }

    fn commit(&mut self, machine: &Transaction) {
        let kept = (1..).map_while(MsgNo::new).zip(self.site.maildrop.drain(..).collect::<Vec<_>>());
        let kept = kept.filter(|(number, _)| !machine.is_deleted(*number)).map(|(_, message)| message);
        self.site.maildrop = kept.collect();
    }
}

/// The one user.
fn is_right(login: &Login) -> bool {
    let is_ann = login.user.as_ref().is_some_and(|user| user.as_str() == "ann");
    let right = match &login.proof {
        Proof::Password(password) | Proof::Plain(password) => {
            let prepared = password.prepared.as_ref();
            prepared.into_iter().chain([&password.given]).any(|given| given.expose() == b"correct horse")
        }
        _ => false,
    };
    is_ann && right
}

/// The mechanisms for those who have a secret.
fn secret_mechanisms() -> Mechanisms {
    Mechanisms::NONE.with(Mechanism::CramMd5).with(Mechanism::ScramSha256)
}

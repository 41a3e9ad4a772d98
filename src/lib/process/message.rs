//! The typed messages between roles. Pure: values to bytes and back.
//!
//! Every message is one datagram on a `SOCK_SEQPACKET` pair: a tag, then its fields; numbers little-endian,
//! texts with their length before them. A message that does not decode exactly is refused as a whole. Who asks for
//! something brings the socket for the answer: a login attempt, the spool helper and XTND XMIT each have a pair of their own.

use crate::auth::Announced;
use crate::log::SessionId;
use crate::protocol::language::Language;
use crate::protocol::sasl::scram::Claim;
use crate::protocol::sasl::{self, Mechanisms};
use crate::secret::Secret;
use crate::session::Terms;
use crate::session::authorization::{Password, Proof};
use crate::sys::socket::Peer;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use zeroize::Zeroizing;

/// The largest message, in octets: an AUTH line of 12 KiB or a whole input buffer of 64 KiB fits.
pub(crate) const LARGEST: usize = 80 * 1024;

/// Why a message cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What a role can say in bytes.
pub(crate) trait Message: Sized {
    /// Appends the message's bytes.
    fn encode(&self, out: &mut Writer);

    /// Reads the message from exactly these bytes.
    ///
    /// # Errors
    /// The bytes are not such a message.
    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed>;

    /// The message as bytes, wiped when dropped: some carry a password.
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Writer(Zeroizing::new(Vec::with_capacity(256)));
        self.encode(&mut out);
        out.0
    }

    /// The message that these bytes are.
    ///
    /// # Errors
    /// Too short, too long, or not of this kind.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let message = Self::decode(&mut input)?;
        if input.0.is_empty() { Ok(message) } else { Err(Malformed) }
    }
}

/// Appends fields.
pub(crate) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(crate) fn byte(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn number(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn flag(&mut self, value: bool) -> &mut Self {
        self.byte(u8::from(value))
    }

    fn password(&mut self, password: &Password) -> &mut Self {
        self.bytes(password.given.expose()).flag(password.prepared.is_some());
        if let Some(prepared) = &password.prepared {
            self.bytes(prepared.expose());
        }
        self
    }

    pub(crate) fn session(&mut self, session: SessionId) -> &mut Self {
        self.bytes(session.as_bytes())
    }

    pub(crate) fn peer(&mut self, peer: &Peer) -> &mut Self {
        self.flag(peer.proxied);
        match peer.address {
            None => self.bytes(&[]),
            Some(address) => {
                match address.ip() {
                    IpAddr::V4(ip) => self.bytes(&ip.octets()),
                    IpAddr::V6(ip) => self.bytes(&ip.octets()),
                };
                self.number(u64::from(address.port()))
            }
        }
    }
}

/// Takes fields off.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let (head, rest) = self.0.split_first_chunk::<8>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*head))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        let (value, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(value)
    }

    /// Exactly so many octets.
    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Malformed> {
        self.bytes()?.try_into().map_err(|_| Malformed)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn secret(&mut self) -> Result<Secret, Malformed> {
        Ok(Secret::new(self.bytes()?.to_vec()))
    }

    fn password(&mut self) -> Result<Password, Malformed> {
        let given = self.secret()?;
        let prepared = if self.flag()? { Some(self.secret()?) } else { None };
        Ok(Password { given, prepared })
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        std::str::from_utf8(self.bytes()?).map(str::to_owned).map_err(|_| Malformed)
    }

    pub(crate) fn small(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| Malformed)
    }

    pub(crate) fn session(&mut self) -> Result<SessionId, Malformed> {
        SessionId::parse(self.bytes()?).ok_or(Malformed)
    }

    pub(crate) fn peer(&mut self) -> Result<Peer, Malformed> {
        let proxied = self.flag()?;
        let bytes = self.bytes()?;
        let ip = match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            _ if bytes.is_empty() => return Ok(Peer { address: None, proxied }),
            (Ok(v4), _) => IpAddr::from(v4),
            (_, Ok(v6)) => IpAddr::from(v6),
            _ => return Err(Malformed),
        };
        let port = u16::try_from(self.number()?).map_err(|_| Malformed)?;
        Ok(Peer { address: Some(SocketAddr::new(ip, port)), proxied })
    }
}

/// Reads octets as every kind of message, and those that are one again as they are written then; for the fuzz target.
pub(crate) fn any_message(octets: &[u8]) {
    fn both_ways<M: Message>(octets: &[u8]) {
        if let Ok(message) = M::from_bytes(octets) {
            let written = message.to_bytes();
            let again = M::from_bytes(&written).map(|message| message.to_bytes());
            assert_eq!(again, Ok(written), "a message survives the wire");
        }
    }
    both_ways::<super::notice::Notice>(octets);
    both_ways::<Attempt>(octets);
    both_ways::<Answer>(octets);
    both_ways::<Order>(octets);
    both_ways::<super::sendmail::Sent>(octets);
    both_ways::<super::spool::Request>(octets);
    both_ways::<super::spool::Response>(octets);
}

/// How a client proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// USER and PASS (RFC 1939, section 7).
    Pass,
    /// APOP (RFC 1939, section 7).
    Apop,
    /// AUTH (RFC 5034).
    Sasl(sasl::Mechanism),
}

impl Mechanism {
    /// That of a proof.
    pub(crate) const fn of(proof: &Proof) -> Self {
        match (proof.mechanism(), proof) {
            (Some(mechanism), _) => Self::Sasl(mechanism),
            (None, Proof::Apop { .. }) => Self::Apop,
            (None, _) => Self::Pass,
        }
    }

    /// The name for the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Apop => "APOP",
            Self::Sasl(mechanism) => mechanism.name(),
        }
    }

    pub(super) const fn tag(self) -> u8 {
        match self {
            Self::Pass => 1,
            Self::Apop => 2,
            Self::Sasl(mechanism) => SASL + mechanism as u8,
        }
    }

    pub(super) fn from_tag(tag: u8) -> Result<Self, Malformed> {
        let sasl = |tag| sasl::Mechanism::ALL.into_iter().find(|known| SASL + *known as u8 == tag);
        match tag {
            1 => Ok(Self::Pass),
            2 => Ok(Self::Apop),
            _ => sasl(tag).map(Self::Sasl).ok_or(Malformed),
        }
    }
}

/// The tag of the first SASL mechanism.
const SASL: u8 = 3;

/// What the connection's encryption adds to an attempt; all empty in the clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encryption {
    /// Protocol version, such as `TLSv1.3`; empty in the clear.
    pub(crate) version: String,
}

/// Credentials as the client sent them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// The name, printable; whoever uses it checks it against the rules of names.
    pub(crate) user: Vec<u8>,
    /// How it proves itself.
    pub(crate) proof: Proof,
    /// Facts of TLS.
    pub(crate) encryption: Encryption,
}

/// Login process to verifier, on the attempt's socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Check these.
    Credentials(Credentials),
    /// The client agrees to the server's signature.
    Proceed,
    /// The verdict was yes: the client's socket comes with this message, and what was read but not parsed.
    Client(Vec<u8>, Terms),
}

impl Message for Attempt {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Credentials(it) => {
                put_proof(out.byte(1).bytes(&it.user), &it.proof);
                out.bytes(it.encryption.version.as_bytes());
            }
            Self::Proceed => {
                out.byte(2);
            }
            Self::Client(unread, terms) => {
                out.byte(3).bytes(unread).flag(terms.plaintext_allowed);
                out.byte(terms.mechanisms.bits()).byte(terms.language.number());
            }
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        match input.byte()? {
            1 => Ok(Self::Credentials(Credentials {
                user: input.bytes()?.to_vec(),
                proof: take_proof(input)?,
                encryption: Encryption { version: input.text()? },
            })),
            2 => Ok(Self::Proceed),
            3 => Ok(Self::Client(
                input.bytes()?.to_vec(),
                Terms {
                    plaintext_allowed: input.flag()?,
                    mechanisms: Mechanisms::from_bits(input.byte()?).ok_or(Malformed)?,
                    language: Language::from_number(input.byte()?).ok_or(Malformed)?,
                },
            )),
            _ => Err(Malformed),
        }
    }
}

fn put_proof(out: &mut Writer, proof: &Proof) {
    match proof {
        Proof::Password(password) => out.byte(1).password(password),
        Proof::Apop { challenge, digest } => out.byte(2).bytes(challenge.as_bytes()).bytes(digest),
        Proof::Plain(password) => out.byte(3).password(password),
        Proof::Cram { challenge, digest } => out.byte(4).bytes(challenge.as_bytes()).bytes(digest),
        Proof::Salt { plus } => out.byte(5).flag(*plus),
        Proof::Scram { plus, claim } => {
            out.byte(6).flag(*plus).bytes(claim.auth_message.as_bytes()).bytes(&claim.proof)
        }
        Proof::External => out.byte(7),
    };
}

fn take_proof(input: &mut Reader<'_>) -> Result<Proof, Malformed> {
    Ok(match input.byte()? {
        1 => Proof::Password(input.password()?),
        2 => Proof::Apop { challenge: input.text()?, digest: input.array()? },
        3 => Proof::Plain(input.password()?),
        4 => Proof::Cram { challenge: input.text()?, digest: input.array()? },
        5 => Proof::Salt { plus: input.flag()? },
        6 => Proof::Scram {
            plus: input.flag()?,
            claim: Claim { auth_message: input.text()?, proof: input.array()? },
        },
        7 => Proof::External,
        _ => return Err(Malformed),
    })
}

/// Verifier to login process, on the attempt's socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// SCRAM: the salt of the name, and how often the hash is iterated. The attempt is over.
    Salt(Vec<u8>, u32),
    /// SCRAM: right, and this signature proves that the server knows the user too. [`Attempt::Proceed`] says that the client agrees.
    Proven([u8; 32]),
    /// Wrong; the client is told so after the failure delay and this.
    Refused(Duration),
    /// It cannot be now; what to say behind `-ERR `. With `delayed` it leaves when a refusal would.
    Unavailable {
        /// Response code and text.
        reply: String,
        /// Nothing was verified yet, so that its time must tell nothing.
        delayed: bool,
    },
    /// Right, and the maildrop is open: hand over the client.
    Ready,
}

impl Message for Answer {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Salt(salt, iterations) => out.byte(1).bytes(salt).number(u64::from(*iterations)),
            Self::Proven(signature) => out.byte(5).bytes(signature),
            Self::Refused(more) => out.byte(2).number(more.as_secs()),
            Self::Unavailable { reply, delayed } => {
                out.byte(3).bytes(reply.as_bytes()).byte(u8::from(*delayed))
            }
            Self::Ready => out.byte(4),
        };
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        match input.byte()? {
            1 => Ok(Self::Salt(input.bytes()?.to_vec(), input.small()?)),
            5 => Ok(Self::Proven(input.array()?)),
            2 => Ok(Self::Refused(Duration::from_secs(input.small()?.into()))),
            3 => Ok(Self::Unavailable { reply: input.text()?, delayed: input.byte()? == 1 }),
            4 => Ok(Self::Ready),
            _ => Err(Malformed),
        }
    }
}

/// Monitor to login process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Take no more connections, and end with the last that there is.
    Retire,
    /// The same, and close those that wait for nothing but the client.
    End,
    /// There are too many connections for this one.
    Reject(SessionId),
    /// Which mechanisms somebody can use.
    Announce(Announced),
}

impl Message for Order {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Retire => out.byte(1),
            Self::End => out.byte(2),
            Self::Reject(session) => out.byte(3).session(*session),
            Self::Announce(Announced { apop, mechanisms, login_delay }) => {
                let next = login_delay.map_or(0, |seconds| u64::from(seconds) + 1);
                out.byte(4).flag(*apop).byte(mechanisms.bits()).number(next)
            }
        };
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        match input.byte()? {
            1 => Ok(Self::Retire),
            2 => Ok(Self::End),
            3 => Ok(Self::Reject(input.session()?)),
            4 => Ok(Self::Announce(Announced {
                apop: input.flag()?,
                mechanisms: Mechanisms::from_bits(input.byte()?).ok_or(Malformed)?,
                login_delay: input.small()?.checked_sub(1),
            })),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proofs() -> Vec<Proof> {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        let claim = Claim { auth_message: "n=ann".to_owned(), proof: [3; 32] };
        vec![
            Proof::Password(Password { given: secret("x"), prepared: None }),
            Proof::Plain(Password { given: secret("x"), prepared: Some(secret("y")) }),
            Proof::Apop { challenge: "<1@mx>".to_owned(), digest: [1; 16] },
            Proof::Cram { challenge: "<2@mx>".to_owned(), digest: [2; 16] },
            Proof::Salt { plus: true },
            Proof::Scram { plus: false, claim },
            Proof::External,
        ]
    }

    /// A message that does not decode exactly is refused as a whole.
    fn survives<M: Message + PartialEq + std::fmt::Debug>(message: &M) {
        let bytes = message.to_bytes();
        assert_eq!(M::from_bytes(&bytes).as_ref(), Ok(message));
        for length in 0..bytes.len() {
            assert!(M::from_bytes(&bytes[..length]).is_err(), "{message:?} cut to {length}");
        }
        assert!(M::from_bytes(&[&bytes[..], &[0]].concat()).is_err(), "{message:?} and more");
    }

    #[test]
    fn attempts_and_answers_survive_the_wire() {
        for proof in proofs() {
            assert_eq!(Mechanism::from_tag(Mechanism::of(&proof).tag()), Ok(Mechanism::of(&proof)));
            let encryption = Encryption { version: "TLSv1.3".to_owned() };
            survives(&Attempt::Credentials(Credentials { user: b"ann".to_vec(), proof, encryption }));
        }
        let mechanisms = Mechanisms::NONE.with(sasl::Mechanism::Plain);
        let terms = Terms { plaintext_allowed: true, mechanisms, language: Language::German };
        survives(&Attempt::Client(b"STAT\r\n".to_vec(), terms));
        survives(&Attempt::Proceed);
        survives(&Answer::Salt(b"salt".to_vec(), 4096));
        survives(&Answer::Proven([5; 32]));
        survives(&Answer::Ready);
        survives(&Order::Announce(Announced { apop: true, mechanisms, login_delay: Some(60) }));
        assert_eq!(Mechanism::from_tag(SASL + 5), Err(Malformed));
    }
}

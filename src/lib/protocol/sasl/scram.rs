//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): both sides prove that they know what came of the password, and
//! neither says it.
//!
//! The words of RFC 5802: the client sends its first message, the server its first, the client its final one with the
//! proof, and the server its final one with a signature. The proof is over the *auth message*: all that was said before.

use super::{TlsFacts, decode, encode, prepared_name};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Iterations of a verifier that is not stored (RFC 7677, section 4: at least 4096). The client pays them at each login, an old
/// telephone too.
pub const ITERATIONS: u32 = 16_384;

/// More would keep a client busy for seconds, and the verifier's child when it makes up for a missing one.
const MOST_ITERATIONS: u32 = 10_000_000;

/// The longest salt that is read, in octets.
const LONGEST_SALT: usize = 256;

/// A message that is none of SCRAM's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What the client says about channel binding (RFC 5802, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// `n`: it cannot bind.
    Unable,
    /// `y`: it could, and believes that the server cannot.
    Unwanted,
    /// `p=tls-exporter` (RFC 9266).
    Exporter,
    /// `p=tls-server-end-point` (RFC 5929).
    EndPoint,
    /// A type that this server does not have.
    Unknown,
}

impl Binding {
    /// What is bound to, when this connection has it.
    fn data(self, tls: Option<&TlsFacts>) -> Option<&[u8]> {
        match self {
            Self::Unable | Self::Unwanted => Some(&[]),
            Self::Exporter => tls?.exporter.as_ref().map(<[u8; 32]>::as_slice),
            Self::EndPoint => tls?.end_point.as_deref(),
            Self::Unknown => None,
        }
    }

    /// Whether this connection has what the client binds to.
    pub fn can_be_had(self, tls: Option<&TlsFacts>) -> bool {
        self.data(tls).is_some()
    }

    /// Whether the client binds.
    pub const fn is_used(self) -> bool {
        matches!(self, Self::Exporter | Self::EndPoint | Self::Unknown)
    }
}

/// The client's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFirst {
    /// What it says about channel binding.
    pub binding: Binding,
    /// As whom it wants to act, prepared by SASLprep; `None` for itself.
    pub authorization: Option<String>,
    /// Its name, prepared by SASLprep.
    pub name: String,
    /// What stands before the bare message, as it is bound.
    header: String,
    /// The part that the proof is over.
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// Parses the message (RFC 5802, section 7).
    ///
    /// # Errors
    /// It is none, or has a mandatory extension, and no such is known.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(message).map_err(|_| Malformed)?;
        let (flag, rest) = text.split_once(',').ok_or(Malformed)?;
        let (authorization, bare) = rest.split_once(',').ok_or(Malformed)?;
        let binding = match flag {
            "n" => Binding::Unable,
            "y" => Binding::Unwanted,
            "p=tls-exporter" => Binding::Exporter,
            "p=tls-server-end-point" => Binding::EndPoint,
            _ if flag.strip_prefix("p=").is_some_and(is_binding_name) => Binding::Unknown,
            _ => return Err(Malformed),
        };
        let authorization = match authorization {
            "" => None,
            given => Some(name(given.strip_prefix("a=").ok_or(Malformed)?)?),
        };
        let mut attributes = bare.split(',');
        let mut next = |key| attributes.next().and_then(|attribute: &str| attribute.strip_prefix(key));
        let name = name(next("n=").ok_or(Malformed)?)?;
        let nonce = next("r=").filter(|nonce| is_nonce(nonce)).ok_or(Malformed)?.to_owned();
        if !attributes.all(is_extension) {
            return Err(Malformed);
        }
        let header = text.get(..text.len() - bare.len()).ok_or(Malformed)?.to_owned();
        Ok(Self { binding, authorization, name, header, bare: bare.to_owned(), nonce })
    }

    /// The server's first message: the client's nonce with ours behind it, salt and iterations.
    pub fn answer(&self, nonce: &str, salt: &[u8], iterations: u32) -> ServerFirst {
        let nonce = format!("{}{nonce}", self.nonce);
        ServerFirst { text: format!("r={nonce},s={},i={iterations}", encode(salt)), nonce }
    }
}

/// The server's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFirst {
    text: String,
    nonce: String,
}

impl ServerFirst {
    /// The message.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Why a final message proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no final message.
    Malformed,
    /// It belongs to another exchange, or to another connection: a nonce or a channel that are not ours.
    Elsewhere,
}

/// What the client claims: a proof, and what it is over.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// All that was said before the proof.
    pub auth_message: String,
    /// The proof.
    pub proof: [u8; 32],
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim(..)")
    }
}

impl Claim {
    /// Parses the client's final message and checks that it belongs to this exchange on this connection.
    ///
    /// # Errors
    /// It does not, or is no such message.
    pub fn parse(
        message: &[u8],
        first: &ClientFirst,
        answer: &ServerFirst,
        tls: Option<&TlsFacts>,
    ) -> Result<Self, Fault> {
        let text = std::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Fault::Malformed)?;
        let mut attributes = without_proof.split(',');
        let mut next = |key| attributes.next().and_then(|attribute: &str| attribute.strip_prefix(key));
        let channel = next("c=").and_then(|channel| decode(channel.as_bytes())).ok_or(Fault::Malformed)?;
        let nonce = next("r=").ok_or(Fault::Malformed)?;
        let proof = decode(proof.as_bytes()).and_then(|proof| proof.as_slice().try_into().ok());
        let proof = proof.filter(|_| attributes.all(is_extension)).ok_or(Fault::Malformed)?;
        let bound = first.binding.data(tls).ok_or(Fault::Elsewhere)?;
        let expected = [first.header.as_bytes(), bound].concat();
        if nonce != answer.nonce || *channel != expected {
            return Err(Fault::Elsewhere);
        }
        Ok(Self { auth_message: format!("{},{},{without_proof}", first.bare, answer.text), proof })
    }
}

/// What the server keeps of a password (RFC 5802, section 3): enough to check a proof, not to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// The salt.
    pub salt: Vec<u8>,
    /// How often the hash was iterated.
    pub iterations: u32,
    /// StoredKey.
    pub stored_key: Zeroizing<[u8; 32]>,
    /// ServerKey.
    pub server_key: Zeroizing<[u8; 32]>,
}

impl Verifier {
    /// The verifier in RFC 5803's form, `SCRAM-SHA-256$4096:SALT$STOREDKEY:SERVERKEY`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once('$')?;
        let (information, value) = rest.split_once('$')?;
        let (iterations, salt) = information.split_once(':')?;
        let (stored_key, server_key) = value.split_once(':')?;
        let digits = iterations.bytes().all(|octet| octet.is_ascii_digit());
        let iterations =
            iterations.parse().ok().filter(|count| digits && (1..=MOST_ITERATIONS).contains(count))?;
        let key = |text: &str| decode(text.as_bytes())?.as_slice().try_into().ok().map(Zeroizing::new);
        let salt = decode(salt.as_bytes()).filter(|salt| (1..=LONGEST_SALT).contains(&salt.len()))?.to_vec();
        (scheme == "SCRAM-SHA-256").then_some(Self {
            salt,
            iterations,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }

    /// The verifier of a password, prepared by SASLprep where it can be (RFC 5802, section 2.2).
    pub fn of_password(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let prepared = super::prepared_password(password);
        let password = prepared.as_ref().map_or(password, |prepared| prepared.as_slice());
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, salted.as_mut_slice());
        let client_key = Zeroizing::new(hmac(salted.as_slice(), b"Client Key"));
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: Zeroizing::new(Sha256::digest(client_key.as_slice()).into()),
            server_key: Zeroizing::new(hmac(salted.as_slice(), b"Server Key")),
        }
    }

    /// The server's signature (RFC 5802, section 3), when the claim is true.
    pub fn check(&self, claim: &Claim) -> Option<[u8; 32]> {
        let message = claim.auth_message.as_bytes();
        let mask = hmac(self.stored_key.as_slice(), message);
        let mut key = Zeroizing::new(claim.proof);
        key.iter_mut().zip(mask).for_each(|(octet, mask)| *octet ^= mask);
        let right: bool = Sha256::digest(key.as_slice()).ct_eq(self.stored_key.as_slice()).into();
        right.then(|| hmac(self.server_key.as_slice(), message))
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, stored) = (encode(&self.salt), encode(self.stored_key.as_slice()));
        write!(f, "SCRAM-SHA-256${}:{salt}${stored}:{}", self.iterations, encode(self.server_key.as_slice()))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} iterations)", self.iterations)
    }
}

/// The server's final message.
pub fn final_message(signature: &[u8]) -> String {
    format!("v={}", encode(signature))
}

/// Letters that nobody can foresee who does not know the seed: another number, other letters.
pub fn nonce(seed: &[u8; 32], number: u64) -> String {
    let octets = hmac(seed, &number.to_le_bytes());
    let (half, _) = octets.split_at(16);
    half.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// HMAC-SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes keys of every length.
    Hmac::<Sha256>::new_from_slice(key)
        .map(|hmac| hmac.chain_update(message).finalize().into_bytes().into())
        .unwrap_or_default()
}

/// A name with `=2C` for a comma and `=3D` for an equals sign (RFC 5802, section 5.1), prepared.
fn name(text: &str) -> Result<String, Malformed> {
    let mut pieces = text.split('=');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (sign, rest) = match piece.split_at_checked(2) {
            Some(("2C", rest)) => (',', rest),
            Some(("3D", rest)) => ('=', rest),
            _ => return Err(Malformed),
        };
        name.push(sign);
        name.push_str(rest);
    }
    if name.is_empty() || name.contains('\0') { Err(Malformed) } else { Ok(prepared_name(name.as_bytes())) }
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',')
}

fn is_binding_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-'))
}

/// An extension that may be ignored: a letter, `=`, a value. Mandatory ones (`m=`) are refused.
fn is_extension(attribute: &str) -> bool {
    let (key, value) = attribute.split_once('=').unwrap_or_default();
    let letter = key.len() == 1 && key.bytes().all(|octet| octet.is_ascii_alphabetic());
    letter && key != "m" && !value.is_empty() && !value.contains('\0')
}

#[cfg(test)]
mod tests;

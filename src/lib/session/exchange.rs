//! One AUTH exchange (RFC 5034, section 4): the messages of a mechanism in their order.

use super::authorization::{Login, Password, Proof};
use crate::protocol::name::{MAX_NAME, UserName};
use crate::protocol::reply::shown;
use crate::protocol::sasl::scram::{Binding, Claim, ClientFirst, Fault, ServerFirst};
use crate::protocol::sasl::{Mechanism, TlsFacts, cram, plain, prepared_name, prepared_password};
use crate::secret::Secret;

/// What the exchange needs to know of its connection.
pub(super) struct Surroundings<'a> {
    pub(super) host: &'a str,
    pub(super) tls: Option<&'a TlsFacts>,
    /// Whether SCRAM-SHA-256-PLUS was offered.
    pub(super) plus_offered: bool,
    /// Random letters that were never used before.
    pub(super) nonce: String,
}

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Exchange {
    mechanism: Mechanism,
    stage: Stage,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    /// The client's first message.
    First,
    /// CRAM-MD5: the answer to this challenge.
    Digest(String),
    /// SCRAM: salt and iterations of the name, from the verifier.
    Salt(Box<ClientFirst>),
    /// SCRAM: the client's final message.
    Proof(Box<(ClientFirst, ServerFirst)>),
    /// SCRAM: the client's consent to the server's signature.
    Consent,
}

/// What the exchange wants.
#[derive(Debug)]
pub(super) enum Step {
    /// Have it verified.
    Verify(Login),
    /// The verifier's yes holds.
    Proceed,
    /// The message proves nothing, which is known without a verifier.
    Reject(String, Rejection),
    /// It is no message of the mechanism's.
    Malformed,
}

/// Why a message proves nothing. Never told to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The client wants to act for another user.
    Authorization,
    /// The client believes that the server cannot bind to the channel, which it offered: somebody between them struck it out
    /// (RFC 5802, section 6).
    Downgrade,
    /// The message was bound to another connection, to nothing where it has to be, or is of another exchange.
    Binding,
}

impl Rejection {
    /// The word in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Authorization => "other-identity",
            Self::Downgrade => "downgrade",
            Self::Binding => "channel-binding",
        }
    }
}

impl Exchange {
    /// The beginning; what to ask the client for when it sent no initial response.
    pub(super) fn begin(mechanism: Mechanism, around: &Surroundings<'_>) -> (Self, Vec<u8>) {
        if mechanism == Mechanism::CramMd5 {
            let challenge = cram::challenge(&around.nonce, around.host);
            let octets = challenge.as_bytes().to_vec();
            return (Self { mechanism, stage: Stage::Digest(challenge) }, octets);
        }
        (Self { mechanism, stage: Stage::First }, Vec::new())
    }

    /// The mechanism.
    pub(super) const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Whether the client has the first word (RFC 4422, section 5): in CRAM-MD5 the server has it.
    pub(super) const fn takes_initial(&self) -> bool {
        !matches!(self.stage, Stage::Digest(_))
    }

    /// Takes a message of the client's.
    pub(super) fn receive(&mut self, message: &[u8], around: &Surroundings<'_>) -> Step {
        match std::mem::replace(&mut self.stage, Stage::First) {
            Stage::First => match self.mechanism {
                Mechanism::Plain => plain(message),
                Mechanism::External => external(message, around.tls),
                Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => self.scram_first(message, around),
                Mechanism::CramMd5 => Step::Malformed,
            },
            Stage::Digest(challenge) => match cram::parse(message) {
                Some((name, digest)) => verify(&prepared_name(name), Proof::Cram { challenge, digest }),
                None => Step::Malformed,
            },
            Stage::Proof(said) => self.scram_final(message, &said, around.tls),
            Stage::Consent if message.is_empty() => Step::Proceed,
            Stage::Salt(_) | Stage::Consent => Step::Malformed,
        }
    }

    /// SCRAM: salt and iterations are here; the server's first message. `None` when nobody asked for them.
    pub(super) fn salted(&mut self, nonce: &str, salt: &[u8], iterations: u32) -> Option<Vec<u8>> {
        let Stage::Salt(first) = std::mem::replace(&mut self.stage, Stage::First) else { return None };
        let answer = first.answer(nonce, salt, iterations);
        let message = answer.text().as_bytes().to_vec();
        self.stage = Stage::Proof(Box::new((*first, answer)));
        Some(message)
    }

    /// SCRAM: the proof is right, and the client is shown ours.
    pub(super) fn proven(&mut self) {
        self.stage = Stage::Consent;
    }

    fn scram_first(&mut self, message: &[u8], around: &Surroundings<'_>) -> Step {
        let Ok(first) = ClientFirst::parse(message) else { return Step::Malformed };
        let plus = self.mechanism == Mechanism::ScramSha256Plus;
        if plus != first.binding.is_used() || !first.binding.can_be_had(around.tls) {
            return Step::Reject(limited(&first.name), Rejection::Binding);
        }
        if first.binding == Binding::Unwanted && around.plus_offered {
            return Step::Reject(limited(&first.name), Rejection::Downgrade);
        }
        if first.authorization.as_ref().is_some_and(|identity| *identity != first.name) {
            return Step::Reject(limited(&first.name), Rejection::Authorization);
        }
        let step = verify(&first.name, Proof::Salt { plus });
        self.stage = Stage::Salt(Box::new(first));
        step
    }

    fn scram_final(&self, message: &[u8], said: &(ClientFirst, ServerFirst), tls: Option<&TlsFacts>) -> Step {
        let (first, answer) = said;
        let plus = self.mechanism == Mechanism::ScramSha256Plus;
        match Claim::parse(message, first, answer, tls) {
            Ok(claim) => verify(&first.name, Proof::Scram { plus, claim }),
            Err(Fault::Elsewhere) => Step::Reject(limited(&first.name), Rejection::Binding),
            Err(Fault::Malformed) => Step::Malformed,
        }
    }
}

/// RFC 4616, section 2.
fn plain(message: &[u8]) -> Step {
    let Some(plain) = plain::parse(message) else { return Step::Malformed };
    let name = prepared_name(plain.name);
    if !plain.authorization.is_empty() && prepared_name(plain.authorization) != name {
        return Step::Reject(limited(&name), Rejection::Authorization);
    }
    verify(&name, Proof::Plain(password(plain.password, true)))
}

/// RFC 4422, appendix A: the message says as whom the client wants to act, empty for whom the certificate names.
fn external(message: &[u8], tls: Option<&TlsFacts>) -> Step {
    let Some(name) = tls.and_then(|tls| tls.client_name.as_deref()) else { return Step::Malformed };
    if message.contains(&0) || std::str::from_utf8(message).is_err() {
        return Step::Malformed;
    }
    let name = prepared_name(name.as_bytes());
    if !message.is_empty() && prepared_name(message) != name {
        return Step::Reject(limited(&name), Rejection::Authorization);
    }
    verify(&name, Proof::External)
}

/// The password as it was sent and, where it is to be text, what it becomes by SASLprep.
pub(super) fn password(given: &[u8], is_text: bool) -> Password {
    let prepared = is_text.then(|| prepared_password(given)).flatten();
    Password {
        given: Secret::new(given.to_vec()),
        prepared: prepared.map(|octets| Secret::new(octets.to_vec())),
    }
}

fn verify(name: &str, proof: Proof) -> Step {
    Step::Verify(Login { shown: limited(name), user: UserName::parse(name.as_bytes()), proof })
}

/// A name as it may be shown and logged. One that is too long ends in a `?`, so that it is nobody's name.
fn limited(name: &str) -> String {
    let mut text = shown(name.as_bytes());
    if text.len() > MAX_NAME {
        text.truncate(MAX_NAME - 1);
        text.push('?');
    }
    text
}

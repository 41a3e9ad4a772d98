//! SASL (RFC 4422) as POP3 uses it (RFC 5034): mechanisms, their messages, and what proves what. Pure.

pub mod cram;
pub mod plain;
pub mod scram;

use super::reply::shown;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What an encrypted connection adds to logins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The protocol's version, such as `TLSv1.3`.
    pub version: String,
    /// The channel binding `tls-exporter` (RFC 9266); `None` where it must not be used (TLS 1.2 without extended
    /// master secret).
    pub exporter: Option<[u8; 32]>,
    /// The channel binding `tls-server-end-point` (RFC 5929, section 4): the hash of the server's certificate.
    pub end_point: Option<Vec<u8>>,
    /// The user whom the client's certificate names, when it was asked for and is good.
    pub client_name: Option<String>,
}

/// A mechanism that this server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// By the client's certificate (RFC 4422, appendix A).
    External,
    /// SCRAM bound to the TLS connection (RFC 5802, RFC 7677).
    ScramSha256Plus,
    /// SCRAM (RFC 5802, RFC 7677).
    ScramSha256,
    /// RFC 2195.
    CramMd5,
    /// RFC 4616.
    Plain,
}

impl Mechanism {
    /// All of them, the strongest first.
    pub const ALL: [Self; 5] =
        [Self::External, Self::ScramSha256Plus, Self::ScramSha256, Self::CramMd5, Self::Plain];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::External => "EXTERNAL",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::CramMd5 => "CRAM-MD5",
            Self::Plain => "PLAIN",
        }
    }

    /// The mechanism of this name, in either case (RFC 5034, section 4, has commands' rules).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of mechanisms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms(u8);

impl Mechanisms {
    /// The set without any.
    pub const NONE: Self = Self(0);

    /// The same set with one more.
    #[must_use]
    pub const fn with(self, mechanism: Mechanism) -> Self {
        Self(self.0 | mechanism.bit())
    }

    /// The same set, with this mechanism when it is wanted.
    #[must_use]
    pub const fn with_if(self, wanted: bool, mechanism: Mechanism) -> Self {
        if wanted { self.with(mechanism) } else { self }
    }

    /// Whether it has this one.
    pub const fn has(self, mechanism: Mechanism) -> bool {
        self.0 & mechanism.bit() != 0
    }

    /// Those in it, the strongest first.
    pub fn iter(self) -> impl Iterator<Item = Mechanism> {
        Mechanism::ALL.into_iter().filter(move |mechanism| self.has(*mechanism))
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as a number, for messages between processes.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set that is this number; `None` when it has bits that mean nothing.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits < 1 << Mechanism::ALL.len() { Some(Self(bits)) } else { None }
    }
}

/// A line of the client's as octets: base64 with all of its padding and nothing else (RFC 4648, section 4; RFC 5034,
/// section 4, wants other lines rejected).
pub fn decode(line: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    STANDARD.decode(line).ok().map(Zeroizing::new)
}

/// Octets as base64.
pub fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// A name as it is compared: prepared by SASLprep (RFC 4013) where it is text that may be, else as it is shown. What comes
/// out is still to be judged by the rules of names.
pub fn prepared_name(name: &[u8]) -> String {
    let text = std::str::from_utf8(name).ok().and_then(|name| stringprep::saslprep(name).ok());
    text.map_or_else(|| shown(name), |text| text.into_owned())
}

/// What a password becomes by SASLprep (RFC 4013), when that is not the same and not nothing.
pub fn prepared_password(password: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let prepared =
        Zeroizing::new(stringprep::saslprep(std::str::from_utf8(password).ok()?).ok()?.into_owned());
    let differs = !prepared.is_empty() && prepared.as_bytes() != password;
    differs.then(|| Zeroizing::new(prepared.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests;

//! The name of a session in log lines, trace and history.

use crate::error::{Error, Kind, Result};
use crate::sys;
use std::fmt;

/// Ten characters of `0-9a-z` (51 bits): unguessable enough to be unique, short enough to be read out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId([u8; Self::LENGTH]);

impl SessionId {
    /// Characters of an id.
    pub(crate) const LENGTH: usize = 10;

    /// A new id of random bits.
    ///
    /// # Errors
    /// The kernel gives no random bits.
    pub(crate) fn random() -> Result<Self> {
        sys::random::number()
            .map(Self::from_bits)
            .map_err(|error| Error::io("cannot get random bits", error).of_kind(Kind::Temporary))
    }

    /// The id that these bits make; those above 36^10 go round.
    pub(crate) fn from_bits(mut bits: u64) -> Self {
        let mut characters = [b'0'; Self::LENGTH];
        for character in characters.iter_mut().rev() {
            let digit = u32::try_from(bits % 36).unwrap_or(0);
            *character = char::from_digit(digit, 36).and_then(|c| u8::try_from(c).ok()).unwrap_or(b'0');
            bits /= 36;
        }
        Self(characters)
    }

    /// Reads an id from its characters; `None` for anything else.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let characters: [u8; Self::LENGTH] = bytes.try_into().ok()?;
        let good = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        characters.iter().all(good).then_some(Self(characters))
    }

    /// Its characters, for the messages between processes.
    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_ten_characters_and_reads_back() {
        for bits in [0, 35, 36, u64::MAX] {
            let id = SessionId::from_bits(bits);
            assert_eq!(id.to_string().len(), SessionId::LENGTH);
            assert_eq!(SessionId::parse(id.to_string().as_bytes()), Some(id));
            assert_eq!(SessionId::parse(id.as_bytes()), Some(id));
        }
        assert_eq!(SessionId::from_bits(36 + 35).to_string(), "000000001z");
        assert_ne!(SessionId::random().unwrap(), SessionId::random().unwrap());
        for wrong in [&b"00000000"[..], b"000000000A", b"000000000]", b"00000000000"] {
            assert_eq!(SessionId::parse(wrong), None);
        }
    }
}

//! Bytes that must not be seen: wiped when dropped, never printed.

use std::fmt;
use zeroize::Zeroizing;

/// A password or another secret as the client sent it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// No bytes yet, with room for this many, so that [`Secret::push`] leaves no copies behind.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self::new(Vec::with_capacity(bytes))
    }

    /// Appends a byte.
    pub(crate) fn push(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// The same without what stands behind the first `length` bytes.
    pub(crate) fn first(mut self, length: usize) -> Self {
        self.0.truncate(length);
        self
    }

    /// The bytes, for the one who checks them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

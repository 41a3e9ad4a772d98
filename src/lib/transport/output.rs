//! Replies on their way to a client: gathered, so that each leaves in one write.

use super::stream::Stream;
use std::io;

/// What was not yet sent.
#[derive(Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    sent: usize,
}

impl Output {
    /// An empty queue with room for so many octets.
    pub(crate) fn with_capacity(octets: usize) -> Self {
        Self { bytes: Vec::with_capacity(octets), sent: 0 }
    }

    /// Where replies are appended.
    pub(crate) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Octets that wait.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends what waits, as far as the client takes it; the number of octets that left.
    ///
    /// # Errors
    /// The connection is gone. A client that takes nothing now is no error: see `is_empty`.
    pub(crate) fn flush(&mut self, stream: &mut dyn Stream) -> io::Result<usize> {
        let before = self.sent;
        while self.sent < self.bytes.len() {
            match stream.write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(octets) => self.sent += octets,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(self.sent - before),
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        let octets = self.sent - before;
        self.sent = 0;
        Ok(octets)
    }
}

//! Received bytes, cut into lines with bounded memory.

use memchr::memchr;
use std::mem::replace;
use zeroize::Zeroize;

/// The longest command line in octets, CRLF included (RFC 2449, section 4).
pub const COMMAND_LIMIT: usize = 255;

/// The longest line of an AUTH exchange in octets, CRLF included (design, section 3; RFC 5034, section 4
/// leaves it to the mechanism, and OAuth tokens are long).
pub const AUTH_LIMIT: usize = 12 * 1024;

/// How many unread octets are kept at most.
pub const CAPACITY: usize = 64 * 1024;

/// The first block that is allocated; most clients never need more.
const FIRST_BLOCK: usize = 1024;

/// One line as the client sent it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line without its end (CRLF, or a bare LF).
    Complete(&'a [u8]),
    /// A line over the limit. It is reported once and skipped to its end.
    TooLong,
}

/// Received bytes that were not yet used. Used bytes are wiped, since a password may have been among them: the
/// line that was handed out last by the next call of any method with `&mut self`, the rest on drop.
#[derive(Default)]
pub struct Lines {
    block: Vec<u8>,
    /// Where the unread bytes begin; all before is wiped but the line that was handed out last.
    start: usize,
    /// No LF between `start` and here: not searched again when bytes drip in.
    searched: usize,
    /// Octets of the line that was handed out last, directly before `start`.
    handed: usize,
    /// In the middle of a line that was too long.
    skipping: bool,
}

impl Lines {
    /// An empty buffer. It allocates with the first bytes.
    pub const fn new() -> Self {
        Self { block: Vec::new(), start: 0, searched: 0, handed: 0, skipping: false }
    }

    /// How many octets may be fed now.
    pub fn space(&self) -> usize {
        CAPACITY.saturating_sub(self.unread().len())
    }

    /// Takes received bytes, at most [`Lines::space`] of them, and says how many it took.
    #[must_use = "what was not taken is to be fed again later"]
    pub fn feed(&mut self, received: &[u8]) -> usize {
        self.wipe();
        let taken = received.len().min(self.space());
        let received = received.get(..taken).unwrap_or_default();
        self.make_room(taken);
        self.block.extend_from_slice(received);
        taken
    }

    /// The next line, when its end or more than `limit` octets (line end included) are here.
    pub fn next_line(&mut self, limit: usize) -> Option<Line<'_>> {
        self.wipe();
        if self.skipping {
            self.skip()?;
        }
        let Some(length) = self.find_end() else {
            if self.unread().len() < limit {
                return None;
            }
            self.skipping = true;
            self.consume(self.unread().len());
            return Some(Line::TooLong);
        };
        if length > limit {
            self.consume(length);
            return Some(Line::TooLong);
        }
        self.start += length;
        self.handed = length;
        let line = self.block.get(self.start - length..self.start - 1).unwrap_or_default();
        Some(Line::Complete(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// The bytes that were received and not yet used.
    pub fn unread(&self) -> &[u8] {
        self.block.get(self.start..).unwrap_or_default()
    }

    /// Marks the first `count` unread bytes as used: they are wiped. More than there are means all.
    pub fn consume(&mut self, count: usize) {
        self.wipe();
        let count = count.min(self.unread().len());
        self.start += count;
        self.handed = count;
        self.wipe();
    }

    /// Takes all unread bytes out, for the process that goes on with this client.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.unread().to_vec();
        self.consume(rest.len());
        rest
    }

    /// Wipes the line that was handed out last. Call it before waiting long for something else.
    pub fn wipe(&mut self) {
        let handed = replace(&mut self.handed, 0);
        if let Some(used) = self.block.get_mut(self.start.saturating_sub(handed)..self.start) {
            used.zeroize();
        }
        self.searched = self.searched.max(self.start);
        if self.start == self.block.len() {
            // Nothing behind `start`, and all before it is wiped.
            self.block.clear();
            self.start = 0;
            self.searched = 0;
        }
    }

    /// Length of the first unread line with its end.
    fn find_end(&mut self) -> Option<usize> {
        let new = self.block.get(self.searched..).unwrap_or_default();
        match memchr(b'\n', new) {
            Some(at) => Some(self.searched + at + 1 - self.start),
            None => {
                self.searched = self.block.len();
                None
            }
        }
    }

    /// Drops the rest of a line that was too long; `None` while its end has not come.
    fn skip(&mut self) -> Option<()> {
        let end = self.find_end();
        self.consume(end.unwrap_or(self.unread().len()));
        self.skipping = end.is_none();
        end.map(|_| ())
    }

    /// Makes room for `more` octets. Moves the unread bytes only when at least as many used ones lie before
    /// them, or into a block of twice the size: so each octet is moved a bounded number of times.
    fn make_room(&mut self, more: usize) {
        if self.block.capacity() - self.block.len() >= more {
            return;
        }
        let unread = self.unread().len();
        if self.start >= unread && self.block.capacity() - unread >= more {
            self.block.copy_within(self.start.., 0);
            self.block.get_mut(unread..).unwrap_or_default().zeroize();
            self.block.truncate(unread);
        } else {
            let mut larger = Vec::with_capacity((unread + more).next_power_of_two().max(FIRST_BLOCK) * 2);
            larger.extend_from_slice(self.unread());
            replace(&mut self.block, larger).zeroize();
        }
        self.searched -= self.start;
        self.start = 0;
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.block.zeroize();
    }
}

#[cfg(test)]
mod tests;

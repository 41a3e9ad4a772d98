//! From stored bytes to the wire, streaming: line ends, dot-stuffing, TOP (RFC 1939, sections 3, 5, 7).

use memchr::{memchr, memchr_iter};

/// How far the current line has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partial {
    /// Nothing of it yet.
    Start,
    /// One CR and nothing else: with a LF next it is an empty line.
    OneCr,
    /// Some text; whether its last octet is a CR.
    Text { cr: bool },
}

impl Partial {
    /// How far it has come with `more`, the next octets of the line.
    fn after(self, more: &[u8]) -> Self {
        match (more.last(), self, more.len()) {
            (None, ..) => self,
            (Some(b'\r'), Self::Start, 1) => Self::OneCr,
            (Some(&last), ..) => Self::Text { cr: last == b'\r' },
        }
    }

    const fn ends_in_cr(self) -> bool {
        matches!(self, Self::OneCr | Self::Text { cr: true })
    }

    const fn is_empty_line(self) -> bool {
        matches!(self, Self::Start | Self::OneCr)
    }
}

/// Which part of the message comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The header, up to and with the empty line; then this many lines of the body.
    Header { body_lines: u64 },
    /// This many lines of the body, at least one.
    Body { lines: u64 },
    /// All of it: RETR.
    All,
    /// Nothing more.
    Done,
}

/// Encodes one message for RETR or TOP. LF becomes CRLF, CRLF stays, a lone CR, NUL and 8-bit octets stay as
/// they are, and a line that begins with `.` gets a second one. The stored bytes may come in any pieces.
#[derive(Debug)]
pub struct Encoder {
    part: Part,
    line: Partial,
}

impl Encoder {
    /// An encoder for RETR (`None`) or for TOP with so many lines of the body.
    pub const fn new(top: Option<u64>) -> Self {
        let part = match top {
            Some(body_lines) => Part::Header { body_lines },
            None => Part::All,
        };
        Self { part, line: Partial::Start }
    }

    /// Appends what the next stored bytes are on the wire. False when no more are wanted: TOP has its lines.
    pub fn encode(&mut self, stored: &[u8], out: &mut Vec<u8>) -> bool {
        out.reserve(stored.len() + stored.len() / 16);
        let mut rest = stored;
        while self.part != Part::Done && !rest.is_empty() {
            let end = memchr(b'\n', rest);
            let Some((text, behind)) = rest.split_at_checked(end.unwrap_or(rest.len())) else { break };
            self.text(text, out);
            rest = behind.get(1..).unwrap_or_default();
            if end.is_some() {
                self.end_line(out);
            }
        }
        self.part != Part::Done
    }

    /// Appends the missing end of the last line, if it is missing, and the `.` line.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.line != Partial::Start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(super::listing::END);
    }

    fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if self.line == Partial::Start && text.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(text);
        self.line = self.line.after(text);
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.line.ends_in_cr() { b"\n" } else { b"\r\n" });
        self.part = match self.part {
            Part::Header { body_lines: 0 } if self.line.is_empty_line() => Part::Done,
            Part::Header { body_lines } if self.line.is_empty_line() => Part::Body { lines: body_lines },
            Part::Body { lines: 0 | 1 } => Part::Done,
            Part::Body { lines } => Part::Body { lines: lines - 1 },
            part @ (Part::Header { .. } | Part::All | Part::Done) => part,
        };
        self.line = Partial::Start;
    }
}

/// Counts the octets that RETR sends for stored bytes, before dot-stuffing and without the `.` line (RFC 1939,
/// section 11): the same rule as [`Encoder`]'s.
#[derive(Debug, Default)]
pub struct Counter {
    octets: u64,
    last: Option<u8>,
}

impl Counter {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self { octets: 0, last: None }
    }

    /// Counts the next stored bytes.
    pub fn add(&mut self, stored: &[u8]) {
        let before = |at: usize| match at.checked_sub(1) {
            Some(at) => stored.get(at).copied(),
            None => self.last,
        };
        let bare = memchr_iter(b'\n', stored).filter(|&at| before(at) != Some(b'\r')).count();
        self.octets += (stored.len() + bare) as u64;
        self.last = stored.last().copied().or(self.last);
    }

    /// The octets, with the end of the last line when it is missing.
    pub const fn finish(self) -> u64 {
        match self.last {
            None | Some(b'\n') => self.octets,
            Some(_) => self.octets + 2,
        }
    }
}

#[cfg(test)]
mod tests;

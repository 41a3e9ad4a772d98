//! Measures one message that is a file of its own: octets as RETR sends them, and the UIDL's hash. Pure.
//!
//! Counts as the mbox scanner does (design, section 4, "UIDL"): the same message has the same identifier in both
//! formats.

use crate::error::Result;
use crate::maildrop::uidl::MessageHash;
use memchr::{memchr, memchr_iter, memmem};

/// How much is read at once, in octets; a longer line is taken in pieces.
const CHUNK: usize = 64 * 1024;

/// What is known of a message once it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measured {
    /// Stored octets.
    pub(super) length: u64,
    /// How many of them are header, the empty line at its end included.
    pub(super) header_length: u64,
    /// Octets as RETR sends them.
    pub(super) octets: u64,
    /// The hash of its unique identifier.
    pub(super) hash: u128,
}

/// Reads a message to its end. `fill` puts octets into the buffer and returns how many, 0 at the end.
///
/// # Errors
/// What `fill` returns.
pub(super) fn measure(
    buffer: &mut Vec<u8>,
    mut fill: impl FnMut(&mut [u8]) -> Result<usize>,
) -> Result<Measured> {
    buffer.resize(CHUNK, 0);
    let mut message = Message::default();
    let mut length = 0;
    loop {
        let count = fill(&mut buffer[length..])?;
        length += count;
        let mut done = 0;
        while let (true, Some(end)) = (message.in_header(), memchr(b'\n', &buffer[done..length])) {
            message.header(&buffer[done..=done + end], true);
            done += end + 1;
        }
        // A CR stays for the next piece, since it may be the first half of a line end; so does a header line's
        // beginning as long as there is room, since a field's name is looked for in one piece.
        let held = usize::from(count > 0 && done < length && buffer[length - 1] == b'\r');
        let most = length - held;
        if !message.in_header() {
            message.body(&buffer[done..most]);
            done = most;
        } else if count == 0 || done == 0 && length == buffer.len() {
            message.header(&buffer[done..most], false);
            done = most;
        }
        if count == 0 {
            return Ok(message.finish());
        }
        buffer.copy_within(done..length, 0);
        length -= done;
    }
}

/// The message that is being read.
#[derive(Default)]
struct Message {
    measured: Measured,
    hash: MessageHash,
    header_ended: bool,
    /// A piece of a line was taken, its end not yet.
    line_open: bool,
    /// Octets of the body as RETR sends them.
    body: u64,
    /// How many of them are line ends at its end.
    line_ends: u64,
}

impl Message {
    const fn in_header(&self) -> bool {
        !self.header_ended
    }

    /// Takes the next octets of a header line; `ended`: its line end is among them.
    fn header(&mut self, piece: &[u8], ended: bool) {
        if piece.is_empty() {
            return;
        }
        let content = if ended { without_line_end(piece) } else { piece };
        self.measured.length += piece.len() as u64;
        self.measured.octets += content.len() as u64 + if ended { 2 } else { 0 };
        if ended && content.is_empty() && !self.line_open {
            self.header_ended = true;
            self.measured.header_length = self.measured.length;
            return;
        }
        if self.line_open {
            self.hash.more(content);
        } else {
            self.hash.line(content);
        }
        if ended {
            self.hash.line_end();
        }
        self.line_open = !ended;
    }

    /// Takes octets of the body, which do not end between CR and LF.
    fn body(&mut self, piece: &[u8]) {
        let Some(last) = piece.last() else { return };
        self.measured.length += piece.len() as u64;
        let lines = memchr_iter(b'\n', piece).count() as u64;
        let with_cr = memmem::find_iter(piece, b"\r\n").count() as u64;
        self.body += piece.len() as u64 + lines - with_cr;
        self.line_open = *last != b'\n';
        let (mut text, mut ends) = (piece, 0);
        while let Some(rest) = text.strip_suffix(b"\n") {
            text = rest.strip_suffix(b"\r").unwrap_or(rest);
            ends += 2;
        }
        self.line_ends = if text.is_empty() { self.line_ends + ends } else { ends };
    }

    fn finish(mut self) -> Measured {
        let text = self.body - self.line_ends;
        if self.header_ended {
            self.measured.octets += self.body;
        } else {
            self.measured.header_length = self.measured.length;
        }
        if self.line_open {
            // The last line has an end on the wire alone.
            self.measured.octets += 2;
            if !self.header_ended {
                self.hash.line_end();
            }
        }
        self.measured.hash = self.hash.finish(text);
        self.measured
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildrop::index::Record;
    use crate::maildrop::mbox::scan::scan;
    use proptest::prelude::*;

    /// Measures in pieces of this many octets at most.
    fn measured(mut message: &[u8], piece: usize) -> Measured {
        measure(&mut Vec::new(), |buffer| {
            let count = message.len().min(buffer.len()).min(piece);
            buffer[..count].copy_from_slice(&message[..count]);
            message = &message[count..];
            Ok(count)
        })
        .unwrap()
    }

    /// The record of the same message in an mbox.
    fn scanned(message: &[u8]) -> Record {
        let mbox = [b"From a Thu Jan  1 00:00:01 2026\n", message].concat();
        let (mut left, mut records) = (&mbox[..], Vec::new());
        scan(
            0,
            |buffer| {
                let count = left.len().min(buffer.len());
                buffer[..count].copy_from_slice(&left[..count]);
                left = &left[count..];
                Ok(count)
            },
            |record| {
                records.push(record);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(records.len(), 1, "one message");
        records[0]
    }

    /// What RETR sends, counted the slow way.
    fn wire(message: &[u8]) -> u64 {
        let lines = message.split_inclusive(|octet| *octet == b'\n');
        lines.map(|line| without_line_end_slow(line).len() as u64 + 2).sum()
    }

    fn without_line_end_slow(line: &[u8]) -> &[u8] {
        match line {
            [content @ .., b'\r', b'\n'] | [content @ .., b'\n'] => content,
            content => content,
        }
    }

    #[test]
    fn octets_are_counted_with_crlf() {
        // RFC 1939, section 11; the last line gets the end that it lacks.
        for (message, octets) in
            [("", 0), ("a", 3), ("a\n", 3), ("a\r\n", 3), ("\n", 2), ("a\n\nb\r", 3 + 2 + 4), ("a\r\r\n", 4)]
        {
            assert_eq!(measured(message.as_bytes(), 3).octets, octets, "{message:?}");
        }
        assert_eq!(measured(b"S: x\n\nbody\n", 100).header_length, 6);
        assert_eq!(measured(b"S: x\nT: y", 100).header_length, 9, "no empty line: all is header");
    }

    #[test]
    fn a_long_line_is_one_line() {
        let long = [&b"Subject: "[..], &vec![b'x'; 3 * CHUNK], b"\r\nStatus: RO\n\nbody"].concat();
        let whole = measured(&long, usize::MAX);
        assert_eq!(whole, measured(&long, 1000));
        assert_eq!((whole.octets, whole.hash), (wire(&long), scanned(&long).hash));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn a_message_has_the_same_uidl_in_an_mbox(
            message in "((Status: O|X: y| z|:|a|\u{e9})?(\r|\n|\r\n|\r\r\n)){0,12}(end|\r)?",
            piece in 1_usize..9,
        ) {
            // Design, section 4, "UIDL": conversion mbox to Maildir.
            let message = message.as_bytes();
            let (file, mbox) = (measured(message, piece), scanned(message));
            prop_assert_eq!(file.hash, mbox.hash);
            prop_assert_eq!(file.length, message.len() as u64);
            prop_assert_eq!(file.octets, wire(message));
        }
    }
}

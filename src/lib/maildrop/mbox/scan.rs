//! Finds the messages in the octets of an mbox. Pure: octets come from a source, records go to a sink.
//!
//! A message begins at an envelope line at the start of the file or after an empty line. The empty line
//! before the next envelope line, or at the end of the file, is not part of the message (design, section 4).

use super::envelope::{is_envelope, received};
use crate::error::{Error, Kind, Result};
use crate::maildrop::index::{Ending, LONGEST_ENVELOPE, Record};
use crate::maildrop::uidl::MessageHash;
use memchr::{memchr, memchr_iter, memmem, memrchr};
use twox_hash::XxHash3_64;

/// How much is read at once, in octets; a longer line is taken in pieces.
const CHUNK: usize = LONGEST_ENVELOPE as usize;

/// The subject of the message in which UW imapd and Dovecot keep their own numbers.
const INTERNAL_SUBJECT: &[u8] = b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA";

/// Scans from `offset`, where a message begins, to the source's end. `fill` puts octets into the buffer and
/// returns how many, 0 at the end. Each record is given to `found`, with twin number 1. Returns the length of
/// the hidden pseudo-message at the start of the file, with all that belongs to it.
///
/// # Errors
/// The first line is not an envelope line; what `fill` and `found` return.
pub(crate) fn scan(
    offset: u64,
    mut fill: impl FnMut(&mut [u8]) -> Result<usize>,
    found: impl FnMut(Record) -> Result<()>,
) -> Result<u64> {
    let hash = MessageHash::default();
    let mut scanner =
        Scanner { offset, message: None, hash, empty_line: 0, line_open: false, hidden: 0, found };
    let envelope = memmem::Finder::new(b"\nFrom ");
    let mut buffer = vec![0; CHUNK];
    let mut length = 0;
    loop {
        let count = fill(&mut buffer[length..])?;
        length += count;
        let mut done = 0;
        while done < length {
            let rest = &buffer[done..length];
            // Lines of a body are taken together, up to one that may be an envelope line.
            let together = scanner.takes_lines() && !rest.starts_with(b"From ");
            let line_end = if together {
                envelope.find(rest).or_else(|| memrchr(b'\n', rest))
            } else {
                memchr(b'\n', rest)
            };
            let Some(line_end) = line_end else { break };
            let taken = &rest[..=line_end];
            if together {
                scanner.lines(taken);
            } else {
                scanner.piece(taken, true)?;
            }
            done += taken.len();
        }
        if count == 0 {
            scanner.piece(&buffer[done..length], false)?;
            return scanner.finish();
        }
        if done == 0 && length == buffer.len() {
            // A CR stays for the next piece: it may be the first half of a line end.
            done = length - usize::from(buffer[length - 1] == b'\r');
            scanner.piece(&buffer[..done], false)?;
        }
        buffer.copy_within(done..length, 0);
        length -= done;
    }
}

/// Whether a message begins with this line, the one place for this rule (design, section 4). `first`: it must, whatever
/// its date looks like, as the first line of a mailbox; but it must be a line. `separated`: an empty line is before
/// it, or the end of what was known.
pub(crate) fn begins_message(line: &[u8], first: bool, separated: bool) -> bool {
    line.starts_with(b"From ") && (first && line.len() < CHUNK - 1 || separated && is_envelope(line))
}

/// The checksum of an envelope line, line end included, by which it is known again.
pub(crate) fn envelope_check(line: &[u8]) -> u32 {
    // The lower half of a good hash is as good a hash.
    #[allow(clippy::cast_possible_truncation)]
    let check = XxHash3_64::oneshot(line) as u32;
    check
}

struct Scanner<F> {
    /// Where the next octet stands in the file.
    offset: u64,
    message: Option<Message>,
    /// Of the message's header.
    hash: MessageHash,
    /// Octets of an empty line that was read last and may turn out to be the separator.
    empty_line: u64,
    /// A piece of a line was taken, its end not yet.
    line_open: bool,
    hidden: u64,
    found: F,
}

impl<F: FnMut(Record) -> Result<()>> Scanner<F> {
    /// Whether a line begins here and belongs to a body, unless it is an envelope line.
    const fn takes_lines(&self) -> bool {
        matches!(&self.message, Some(message) if !message.in_header) && !self.line_open
    }

    /// Takes whole lines of a body, at least one; none of them begins a message.
    fn lines(&mut self, lines: &[u8]) {
        let Some(message) = &mut self.message else { return };
        if self.empty_line > 0 {
            message.empty_line(self.empty_line);
        }
        self.offset += lines.len() as u64;
        let (text, last) = without_empty_line(lines);
        self.empty_line = last as u64;
        message.lines(text);
    }

    /// Takes the next octets of a line; `ended`: its line end is among them.
    fn piece(&mut self, piece: &[u8], ended: bool) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        let starts = !self.line_open;
        if starts && begins_message(piece, self.message.is_none(), self.empty_line > 0) {
            return self.begin(piece, ended);
        }
        let Some(message) = &mut self.message else {
            return Err(Error::new(Kind::Permanent, "it does not begin with an mbox envelope line (From )"));
        };
        if self.empty_line > 0 {
            message.empty_line(self.empty_line);
            self.empty_line = 0;
        }
        let content = if ended { without_line_end(piece) } else { piece };
        if starts && ended && content.is_empty() {
            self.empty_line = piece.len() as u64;
        } else {
            message.text(content, piece.len() as u64, starts, ended, &mut self.hash);
        }
        self.line_open = !ended;
        self.offset += piece.len() as u64;
        Ok(())
    }

    fn begin(&mut self, line: &[u8], ended: bool) -> Result<()> {
        self.end_message()?;
        let length = u32::try_from(line.len()).map_err(|_| Error::new(Kind::Permanent, "an endless line"))?;
        let mut message = Message::new(self.offset, length, envelope_check(line), ended);
        message.record.received = received(line);
        self.message = Some(message);
        self.offset += line.len() as u64;
        Ok(())
    }

    /// Gives away the message that ends where the next one begins.
    fn end_message(&mut self) -> Result<()> {
        let Some(message) = self.message.take() else { return Ok(()) };
        let separated = std::mem::take(&mut self.empty_line) > 0;
        if message.record.offset == 0 && message.is_internal() {
            self.hash.reset();
            self.hidden = self.offset;
            return Ok(());
        }
        (self.found)(message.finish(separated, &mut self.hash))
    }

    fn finish(mut self) -> Result<u64> {
        if self.line_open
            && let Some(message) = &mut self.message
        {
            message.close_line(&mut self.hash);
        }
        self.end_message()?;
        Ok(self.hidden)
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Splits whole lines before the last one, if that is empty; how many octets that has.
fn without_empty_line(lines: &[u8]) -> (&[u8], usize) {
    let text = without_line_end(lines);
    if text.is_empty() || text.ends_with(b"\n") { (text, lines.len() - text.len()) } else { (lines, 0) }
}

/// How many line ends have no CR.
fn bare_line_ends(lines: &[u8]) -> u64 {
    let all = memchr_iter(b'\n', lines).count() as u64;
    if memchr(b'\r', lines).is_none() {
        return all;
    }
    // Octets of a block are counted in an octet, which is what the compiler has vectors for.
    let before = lines.chunks(255).zip(lines.get(1..).unwrap_or_default().chunks(255));
    let with_cr = before.map(|(before, octets)| {
        let found = before.iter().zip(octets).map(|(cr, lf)| u8::from(*cr == b'\r' && *lf == b'\n'));
        u64::from(found.sum::<u8>())
    });
    all - with_cr.sum::<u64>()
}

/// The message that is being read.
struct Message {
    record: Record,
    in_header: bool,
    /// Octets of the body as RETR sends them.
    body: u64,
    /// The same, up to the last one that is not part of a line end.
    body_text: u64,
    internal_subject: bool,
    internal_field: bool,
}

impl Message {
    fn new(offset: u64, envelope_length: u32, envelope_check: u32, ended: bool) -> Self {
        let ending = if ended { Ending::Line } else { Ending::Open };
        Self {
            record: Record { offset, envelope_length, envelope_check, ending, ..Record::default() },
            in_header: true,
            body: 0,
            body_text: 0,
            internal_subject: false,
            internal_field: false,
        }
    }

    /// An empty line of the message: in a header its end.
    fn empty_line(&mut self, stored: u64) {
        self.record.length += stored;
        self.record.octets += 2;
        if self.in_header {
            self.in_header = false;
            self.record.header_length = self.record.length;
        } else {
            self.body += 2;
        }
    }

    /// Whole lines of the body: the same as `text` and `empty_line` for each.
    fn lines(&mut self, lines: &[u8]) {
        let stored = lines.len() as u64;
        let octets = stored + bare_line_ends(lines);
        self.record.length += stored;
        self.record.octets += octets;
        self.body += octets;
        let (mut text, mut empty) = (lines, 0);
        loop {
            match without_empty_line(text) {
                (_, 0) => break,
                (before, _) => (text, empty) = (before, empty + 1),
            }
        }
        if !text.is_empty() {
            self.body_text = self.body - 2 * (empty + 1);
        }
    }

    /// Text of a line: its content, and how many octets are stored with the line end.
    fn text(&mut self, content: &[u8], stored: u64, starts: bool, ended: bool, hash: &mut MessageHash) {
        let octets = content.len() as u64;
        self.record.length += stored;
        self.record.octets += octets;
        if self.in_header {
            self.header_text(content, starts, hash);
        } else {
            self.body += octets;
            if octets > 0 {
                self.body_text = self.body;
            }
        }
        self.record.ending = Ending::Open;
        if ended {
            self.close_line(hash);
            self.record.ending = Ending::Line;
        }
    }

    fn header_text(&mut self, content: &[u8], starts: bool, hash: &mut MessageHash) {
        if !starts {
            return hash.more(content);
        }
        hash.line(content);
        if self.record.offset == 0 {
            self.internal_subject |= content == INTERNAL_SUBJECT;
            self.internal_field |=
                content.starts_with(b"X-IMAP:") || content.starts_with(b"From: Mail System Internal Data");
        }
    }

    /// A line ends, here or (where the file ends without a line end) on the wire alone.
    fn close_line(&mut self, hash: &mut MessageHash) {
        self.record.octets += 2;
        if self.in_header {
            hash.line_end();
        } else {
            self.body += 2;
        }
    }

    const fn is_internal(&self) -> bool {
        self.internal_subject && self.internal_field
    }

    fn finish(mut self, separated: bool, hash: &mut MessageHash) -> Record {
        if self.in_header {
            self.record.header_length = self.record.length;
        }
        if separated {
            self.record.ending = Ending::Separated;
        }
        self.record.hash = hash.finish(self.body_text);
        self.record.twin = 1;
        self.record
    }
}

#[cfg(test)]
#[path = "scan/tests.rs"]
mod tests;

//! Messages for an mbox: envelope line, the message, an empty line.
//!
//! A line of a message that would begin another one gets a `>` in front, as delivery agents do it: one that is an envelope line
//! and stands behind an empty line.

use super::scan::begins_message;
use crate::maildrop::flags::{Flags, is_status};
use crate::sys::clock;
use crate::sys::file::read_at;
use memchr::memchr;
use std::fs::File;
use std::io::{self, BufWriter, Write};

/// How much is read at once; lines that mean something are shorter.
const CHUNK: usize = 64 * 1024;

/// Which lines of a message get a `>` in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// None: it stands for itself.
    No,
    /// Those that would begin a message.
    Least,
    /// All that begin with `From `, and those that begin so behind some `>` (mboxrd), so that it can be undone.
    Reversible,
}

/// What stands around a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Nothing.
    Bare,
    /// This envelope line, line end included, and an empty line.
    Envelope(Vec<u8>),
    /// The same with an envelope line that is made of what is known.
    MadeEnvelope,
}

/// A message that is written.
pub(crate) struct Message<'a> {
    pub(crate) file: &'a File,
    /// Where it begins in the file, and how many octets it has.
    pub(crate) range: (u64, u64),
    /// Lines of its header that are left out: where they begin behind its beginning, and where they end.
    pub(crate) without: Option<(u64, u64)>,
    pub(crate) frame: Frame,
    /// When it was received, in seconds since 1970.
    pub(crate) received: u32,
    /// What `Status` and `X-Status` shall say; none: what they say already.
    pub(crate) flags: Option<Flags>,
    /// Lines that are put at the end of the header, each with a line end.
    pub(crate) added: Vec<u8>,
    /// Whether lines lose a `>` first that [`Quoting::Reversible`] has put there.
    pub(crate) unquote: bool,
    pub(crate) quoting: Quoting,
}

/// Appends a message; how many of its lines were quoted.
///
/// # Errors
/// The system's, such as a full disk.
pub(crate) fn write(message: &Message<'_>, out: &mut BufWriter<impl Write>) -> io::Result<u32> {
    let mut beginning = vec![0; CHUNK];
    let (start, length) = message.range;
    let count = usize::try_from(length).unwrap_or(CHUNK).min(CHUNK);
    let count = read_at(message.file, &mut beginning[..count], start)?;
    let beginning = &beginning[..count];
    match &message.frame {
        Frame::Bare => {}
        Frame::Envelope(line) => out.write_all(line)?,
        Frame::MadeEnvelope => out.write_all(envelope(beginning, message.received).as_bytes())?,
    }
    let flags = message.flags.filter(|flags| Flags::of_header(beginning) != *flags);
    let mut lines = Lines {
        message,
        flags,
        out,
        in_header: true,
        dropping: false,
        after_empty: false,
        quoted: 0,
        last: [0; 2],
    };
    match message.without {
        Some((from, to)) if from <= to && to <= length => {
            lines.copy(start, from)?;
            lines.copy(start + to, length - to)?;
        }
        _ => lines.copy(start, length)?,
    }
    lines.finish()
}

/// The envelope line of a message that has none: its return path, and the time in UTC (RFC 4155).
fn envelope(header: &[u8], received: u32) -> String {
    let path = header
        .split(|octet| *octet == b'\n')
        .take_while(|line| !line.is_empty() && *line != b"\r")
        .find(|line| line.get(..12).is_some_and(|name| name.eq_ignore_ascii_case(b"return-path:")));
    let sender = path.and_then(|line| {
        let text = std::str::from_utf8(&line[12..]).ok()?;
        let sender = text.trim().trim_start_matches('<').trim_end_matches('>');
        let plain =
            !sender.is_empty() && sender.len() < 300 && sender.bytes().all(|octet| octet.is_ascii_graphic());
        plain.then(|| sender.to_owned())
    });
    format!("From {} {}\n", sender.as_deref().unwrap_or("MAILER-DAEMON"), clock::asctime(i64::from(received)))
}

struct Lines<'a, W: Write> {
    message: &'a Message<'a>,
    /// Set when the fields that say it are written anew.
    flags: Option<Flags>,
    out: &'a mut BufWriter<W>,
    in_header: bool,
    /// A field is left out, with its continuation lines.
    dropping: bool,
    after_empty: bool,
    quoted: u32,
    /// The last octets that were written.
    last: [u8; 2],
}

impl<W: Write> Lines<'_, W> {
    fn copy(&mut self, start: u64, length: u64) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        let (mut offset, end, mut filled) = (start, start + length, 0);
        // A line that goes on, and whether it is left out.
        let (mut open, mut left_out) = (false, false);
        loop {
            let wanted = usize::try_from(end - offset).unwrap_or(CHUNK).min(CHUNK - filled);
            let count = read_at(self.message.file, &mut buffer[filled..filled + wanted], offset)?;
            if count < wanted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            (offset, filled) = (offset + count as u64, filled + count);
            let mut done = 0;
            while done < filled {
                let line_end = memchr(b'\n', &buffer[done..filled]).map(|at| done + at + 1);
                // The rest of a line is waited for, unless it is too long, or the last.
                if line_end.is_none() && offset < end && done > 0 {
                    break;
                }
                let line = &buffer[done..line_end.unwrap_or(filled)];
                done += line.len();
                let mut line = line;
                if !open {
                    if self.message.unquote && !self.in_header && line.starts_with(b">") && is_from(line) {
                        line = &line[1..];
                    }
                    left_out = self.line_begins(line)?;
                }
                if !left_out {
                    write_counted(self.out, line, &mut self.last)?;
                }
                open = line_end.is_none();
            }
            buffer.copy_within(done..filled, 0);
            filled -= done;
            if offset == end && filled == 0 {
                return Ok(());
            }
        }
    }

    /// Whether the line is left out.
    fn line_begins(&mut self, line: &[u8]) -> io::Result<bool> {
        let empty = line == b"\n" || line == b"\r\n";
        if self.in_header {
            if empty {
                self.end_header(line)?;
            } else {
                let continued = matches!(line.first(), Some(b' ' | b'\t'));
                self.dropping =
                    if continued { self.dropping } else { self.flags.is_some() && is_status(line) };
                if self.dropping {
                    return Ok(true);
                }
            }
        } else if self.is_quoted(line) {
            self.quoted += 1;
            write_counted(self.out, b">", &mut self.last)?;
        }
        self.after_empty = empty;
        Ok(false)
    }

    fn is_quoted(&self, line: &[u8]) -> bool {
        match self.message.quoting {
            Quoting::No => false,
            Quoting::Least => self.after_empty && begins_message(line, false, true),
            Quoting::Reversible => is_from(line),
        }
    }

    fn end_header(&mut self, line_end: &[u8]) -> io::Result<()> {
        self.in_header = false;
        if let Some(flags) = self.flags {
            write_counted(self.out, &flags.lines(line_end), &mut self.last)?;
        }
        for added in self.message.added.split_inclusive(|octet| *octet == b'\n') {
            write_counted(self.out, added.trim_ascii_end(), &mut self.last)?;
            write_counted(self.out, line_end, &mut self.last)?;
        }
        Ok(())
    }

    /// The message ends in a line end, and an empty line stands behind it, unless it is bare.
    fn finish(mut self) -> io::Result<u32> {
        if self.message.frame == Frame::Bare {
            return Ok(self.quoted);
        }
        let missing: &[u8] = match self.last {
            [_, b'\n'] | [0, 0] => b"",
            // This CR belongs to the line, and must not become half of its end.
            [_, b'\r'] => b"\r\n",
            _ => b"\n",
        };
        write_counted(self.out, missing, &mut self.last)?;
        if self.in_header {
            self.end_header(b"\n")?;
        }
        self.out.write_all(b"\n")?;
        Ok(self.quoted)
    }
}

/// Whether the line is `From `, behind some `>` or none.
fn is_from(line: &[u8]) -> bool {
    let behind = line.iter().position(|octet| *octet != b'>').unwrap_or(line.len());
    line[behind..].starts_with(b"From ")
}

fn write_counted(out: &mut impl Write, octets: &[u8], last: &mut [u8; 2]) -> io::Result<()> {
    match octets {
        [] => return Ok(()),
        [one] => *last = [last[1], *one],
        [.., one, other] => *last = [*one, *other],
    }
    out.write_all(octets)
}

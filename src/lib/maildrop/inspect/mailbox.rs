//! The inside of an mbox: where it begins and ends, lines that look like envelope lines, and whether the index says the same.

use super::{Finding, Fix, Scene, state};
use crate::error::{Error, Result};
use crate::maildrop::index::{Index, Layout, Record};
use crate::maildrop::mbox::{envelope::is_envelope, scan, whole};
use crate::sys::file::{Identity, read_at, status};
use memchr::memmem;
use std::fs::File;
use std::io;

/// How much is read at once, in octets.
const CHUNK: usize = 1 << 20;
/// A line that is longer is no envelope line.
const LONGEST_LINE: usize = 4096;

/// Looks at the whole mailbox.
///
/// # Errors
/// It cannot be read.
pub(super) fn look(scene: &Scene<'_>, file: &File, findings: &mut Vec<Finding>) -> Result<()> {
    let identity = status(file).map_err(unreadable)?.identity;
    if identity.size == 0 {
        return Ok(());
    }
    let shape = Shape::of(file, identity.size).map_err(unreadable)?;
    let rewritten = shape.findings(identity.size, findings);
    if !rewritten && shape.begins {
        end(file, identity.size, findings).map_err(unreadable)?;
        joined(file, identity.size, findings).map_err(unreadable)?;
    }
    if let Some(index) = state::index(scene, Layout::Mbox, findings).filter(|index| index.is_for(&identity)) {
        if shape.begins {
            compare(index, file, &identity, findings)?;
        } else {
            findings.push(state::wrong_index(
                "the index knows messages, and the mailbox does not begin with one",
            ));
        }
    }
    Ok(())
}

/// What stands where a mailbox has nothing.
struct Shape {
    /// NULs and line ends at its beginning, and NULs at its end: what a file system leaves that lost what was written.
    leading: u64,
    trailing: u64,
    /// Whether a message begins at its beginning, and behind the NULs.
    begins: bool,
    begins_behind: bool,
}

impl Shape {
    fn of(file: &File, size: u64) -> io::Result<Self> {
        let leading = nuls(file, size, Direction::Forward)?;
        let trailing = if leading == size { 0 } else { nuls(file, size, Direction::Backward)? };
        Ok(Self {
            leading,
            trailing,
            begins: begins(file, 0)?,
            begins_behind: leading == size || begins(file, leading)?,
        })
    }

    /// Whether the mailbox would be written anew.
    fn findings(&self, size: u64, findings: &mut Vec<Finding>) -> bool {
        let &Self { leading, trailing, begins_behind, .. } = self;
        let (skip, cut, envelope) = (leading, trailing, !begins_behind);
        if skip == 0 && cut == 0 && !envelope {
            return false;
        }
        let fix = || Fix::Rewrite { skip, cut, envelope };
        if skip == size {
            findings.push(Finding::new(
                format!("the mailbox has nothing but {skip} octets NUL or empty lines: the system lost what was written"),
                "it becomes empty, and a copy is kept",
                fix(),
            ));
            return true;
        }
        if skip > 0 {
            findings.push(Finding::new(
                format!(
                    "{skip} octets NUL or empty lines stand at the beginning of the mailbox, so that nobody can log in"
                ),
                "they are taken out, and a copy of the mailbox is kept",
                fix(),
            ));
        }
        if cut > 0 {
            findings.push(Finding::new(
                format!("{cut} octets NUL stand at the end of the mailbox: the system lost what was written"),
                "they are taken out, and a copy of the mailbox is kept",
                fix(),
            ));
        }
        if envelope {
            findings.push(Finding::new(
                "the mailbox does not begin with an envelope line (From ), so that nobody can log in",
                "what stands there becomes a message of its own, with an envelope line in front; a copy is kept",
                fix(),
            ));
        }
        true
    }
}

fn begins(file: &File, offset: u64) -> io::Result<bool> {
    let line = line_at(file, offset)?;
    Ok(scan::begins_message(&line, true, true))
}

enum Direction {
    Forward,
    Backward,
}

/// How many octets of nothing stand at one end of a file.
fn nuls(file: &File, size: u64, direction: Direction) -> io::Result<u64> {
    let (mut buffer, mut found) = (vec![0; CHUNK], 0);
    while found < size {
        let wanted = usize::try_from(size - found).unwrap_or(CHUNK).min(CHUNK);
        let piece = &mut buffer[..wanted];
        let from = match direction {
            Direction::Forward => found,
            Direction::Backward => size - found - wanted as u64,
        };
        let count = read_at(file, piece, from)?;
        let piece = &piece[..count];
        let run = match direction {
            Direction::Forward => piece.iter().take_while(|octet| matches!(octet, 0 | b'\n' | b'\r')).count(),
            Direction::Backward => piece.iter().rev().take_while(|octet| **octet == 0).count(),
        };
        found += run as u64;
        if run < wanted {
            break;
        }
    }
    Ok(found)
}

/// Whether the next message that is delivered would be one.
fn end(file: &File, size: u64, findings: &mut Vec<Finding>) -> io::Result<()> {
    let mut last = [0; 1];
    read_at(file, &mut last, size - 1)?;
    if whole::padding(file, size)?.is_empty() {
        return Ok(());
    }
    let what = if last == *b"\n" {
        "the last message has no empty line behind it: the next one may become part of it"
    } else {
        "the last message ends in the middle of a line: its delivery was cut off, or the next one becomes part of it"
    };
    findings.push(Finding::new(what, "line ends are put behind it; nothing else is changed", Fix::End));
    Ok(())
}

/// Lines that look like the beginning of a message, with its header below, and have no empty line in front: a message that was
/// delivered behind one that was cut off, or one that somebody quotes.
fn joined(file: &File, size: u64, findings: &mut Vec<Finding>) -> io::Result<()> {
    let (mut buffer, mut position) = (vec![0; CHUNK], 0);
    let (mut count, mut first) = (0_u64, 0);
    while position < size {
        let length = read_at(file, &mut buffer, position)?;
        for at in memmem::find_iter(&buffer[..length], b"\nFrom ") {
            let line = position + at as u64 + 1;
            if is_joined(file, line)? {
                count += 1;
                first = if first == 0 { line } else { first };
            }
        }
        if length < buffer.len() {
            break;
        }
        position += (length - b"\nFrom".len()) as u64;
    }
    if count > 0 {
        findings.push(Finding::refused(
            format!("{count} lines look like the beginning of a message and have no empty line in front, the first at octet {first}"),
            "a message that somebody quotes looks the same, so they stay as they are; an empty line in front makes one a message",
        ));
    }
    Ok(())
}

fn is_joined(file: &File, line: u64) -> io::Result<bool> {
    let mut before = [0; 2];
    let start = line.saturating_sub(3);
    let length = usize::try_from(line - 1 - start).unwrap_or(0);
    read_at(file, &mut before[..length], start)?;
    if matches!(before[..length], [.., b'\n'] | [b'\n', b'\r']) {
        return Ok(false);
    }
    let text = line_at(file, line)?;
    if !is_envelope(&text) {
        return Ok(false);
    }
    let below = line_at(file, line + text.len() as u64)?;
    let name = memchr::memchr(b':', &below).and_then(|colon| below.get(..colon)).unwrap_or_default();
    Ok(!name.is_empty() && name.iter().all(|octet| octet.is_ascii_graphic()))
}

/// A line with its end; of a longer one the beginning.
fn line_at(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut line = vec![0; LONGEST_LINE + 1];
    let count = read_at(file, &mut line, offset)?;
    let end = memchr::memchr(b'\n', &line[..count]).map_or(count, |end| end + 1);
    line.truncate(end);
    Ok(line)
}

/// Whether the index says of the mailbox what a scan says.
fn compare(mut index: Index, file: &File, identity: &Identity, findings: &mut Vec<Finding>) -> Result<()> {
    let mut position = 0;
    let fill = |buffer: &mut [u8]| {
        let left = usize::try_from(identity.size - position).unwrap_or(usize::MAX).min(buffer.len());
        let count = read_at(file, &mut buffer[..left], position).map_err(unreadable)?;
        position += count as u64;
        Ok(count)
    };
    let (count, mut number, mut wrong) = (index.header().count, 0_u32, None);
    let mut damaged = false;
    let scanned = scan::scan(0, fill, |record| {
        if wrong.is_none() && !damaged && number < count {
            match index.records(number) {
                Ok(known) => {
                    let differs = known.first().is_none_or(|known| Record { twin: 1, ..*known } != record);
                    wrong = differs.then_some(number + 1);
                }
                Err(_) => damaged = true,
            }
        }
        number = number.saturating_add(1);
        Ok(())
    });
    // What cannot be scanned was said already.
    if scanned.is_err() {
        return Ok(());
    }
    if damaged {
        findings.push(state::wrong_index("a page of the index is damaged"));
    } else if let Some(message) = wrong {
        findings.push(state::wrong_index(&format!(
            "the index says something else of message {message} than the mailbox"
        )));
    } else if number != count {
        findings
            .push(state::wrong_index(&format!("the index has {count} messages and the mailbox {number}")));
    }
    Ok(())
}

fn unreadable(cause: io::Error) -> Error {
    Error::io("cannot read the mailbox", cause)
}

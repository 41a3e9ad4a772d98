//! The maildrops, read in the plainest way: nothing here is shared with the server.

use super::script::folder;
use std::fs;

/// A maildrop of user `ann`.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    /// The mbox file's bytes; `None` when there is no maildrop.
    pub(crate) mbox: Option<Vec<u8>>,
    /// The messages as they are stored, without envelope line and separator.
    pub(crate) messages: Vec<Vec<u8>>,
}

/// Those that are made by program.
const GENERATED: [&str; 2] = ["long_line", "many"];

impl Fixture {
    /// The maildrop of that name.
    pub(crate) fn load(name: &str) -> Self {
        let mbox = match name {
            "none" => None,
            "long_line" => Some(long_line()),
            "many" => Some(many()),
            _ => Some(
                fs::read(folder().join(format!("maildrops/{name}.mbox")))
                    .unwrap_or_else(|error| panic!("{name}: {error}")),
            ),
        };
        let messages = messages(mbox.as_deref().unwrap_or_default());
        Self { mbox, messages }
    }

    /// The names of all.
    pub(crate) fn names() -> Vec<String> {
        let files = fs::read_dir(folder().join("maildrops")).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "mbox"));
        let files = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
        files.chain(GENERATED.map(str::to_owned)).collect()
    }
}

/// A message as RETR sends it, or as TOP with so many lines, with dot-stuffing and the `.` line.
pub(crate) fn wire(stored: &[u8], top: Option<usize>) -> Vec<u8> {
    let lines = lines(stored);
    let header = lines.iter().position(|line| line.is_empty()).map_or(lines.len(), |empty| empty + 1);
    let count = top.map_or(lines.len(), |body| header.saturating_add(body).min(lines.len()));
    let mut wire = Vec::new();
    for line in &lines[..count] {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// Octets of a message with CRLF ends, before dot-stuffing (RFC 1939, section 11).
pub(crate) fn octets(stored: &[u8]) -> u64 {
    lines(stored).iter().map(|line| line.len() as u64 + 2).sum()
}

/// The lines without their ends.
fn lines(stored: &[u8]) -> Vec<&[u8]> {
    let without_end = |line: &'_ [u8]| match line {
        [.., b'\r', b'\n'] => line.len() - 2,
        [.., b'\n'] => line.len() - 1,
        _ => line.len(),
    };
    stored.split_inclusive(|&octet| octet == b'\n').map(|line| &line[..without_end(line)]).collect()
}

/// Cuts an mbox file at its envelope lines and takes away the empty line that separates messages.
fn messages(mbox: &[u8]) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut after_empty = true;
    for line in mbox.split_inclusive(|&octet| octet == b'\n') {
        if after_empty && is_envelope(line) {
            messages.push(Vec::new());
        } else if let Some(message) = messages.last_mut() {
            message.extend_from_slice(line);
        }
        after_empty = line == b"\n" || line == b"\r\n";
    }
    for message in &mut messages {
        for separator in [b"\n\r\n".as_slice(), b"\n\n"] {
            if message.ends_with(separator) {
                message.truncate(message.len() - separator.len() + 1);
                break;
            }
        }
    }
    messages
}

/// `From address Www Mmm ...`; enough for the files here.
fn is_envelope(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    let words: Vec<&str> = line.split_whitespace().collect();
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    line.starts_with("From ") && words.len() >= 7 && days.contains(&words[2]) && words[5].contains(':')
}

/// A line of a mebioctet, more than any buffer.
fn long_line() -> Vec<u8> {
    let mut mbox = b"From ann@example.org Mon Jan  5 10:00:00 2026\nSubject: long\n\n.".to_vec();
    mbox.extend(std::iter::repeat_n(b'x', 1 << 20));
    mbox.extend_from_slice(b"\n.\nend\n\n");
    mbox
}

/// More messages than a page of the index holds.
fn many() -> Vec<u8> {
    let message = |number: u32| {
        let body = "line\n".repeat(number as usize % 7);
        format!(
            "From ann@example.org Mon Jan  5 10:00:00 2026\nSubject: number {number}\nMessage-Id: <{number}@example.org>\n\n{body}\n"
        )
    };
    (1..=600).flat_map(|number| message(number).into_bytes()).collect()
}

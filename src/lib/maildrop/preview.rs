//! What people want to see of a message: sender and subject decoded, header, text. What a stranger wrote is parsed here, so this
//! belongs into a process that has the user's rights alone, behind a fence.

use super::Maildrop;
use crate::error::Result;
use crate::protocol::MsgNo;
use mail_parser::{Address, MessageParser};
use memchr::memmem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Sender and subject stand at the beginning of a header; so much of it is looked at, in octets.
const PREVIEWED: usize = 64 * 1024;
/// Most headers fit into this.
const FIRST: usize = 4096;
/// The most characters that are kept of each.
const KEPT: usize = 200;
/// Of a longer message the beginning is shown, in octets.
const LONGEST: usize = 16 << 20;

/// Who wrote it about what, decoded; empty where the header does not say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preview {
    /// The first sender's name, or address.
    pub(crate) from: String,
    /// The subject.
    pub(crate) subject: String,
}

/// Reads the header's beginning and decodes it.
///
/// # Errors
/// The maildrop cannot be read, or was changed.
pub(crate) fn preview(maildrop: &mut dyn Maildrop, message: MsgNo, buffer: &mut Vec<u8>) -> Result<Preview> {
    buffer.clear();
    let mut whole = false;
    while !whole && buffer.len() < PREVIEWED && header_end(buffer).is_none() {
        whole = !read_more(maildrop, message, FIRST.max(buffer.len()), buffer)?;
    }
    let end = header_end(buffer).unwrap_or(buffer.len());
    Ok(decoded(&buffer[..end]))
}

/// Sender and subject of a header.
pub(crate) fn decoded(header: &[u8]) -> Preview {
    // A header that makes the parser fail is one without sender and subject.
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let parser = MessageParser::new().with_message_ids();
        let parser = parser
            .header_address(mail_parser::HeaderName::From)
            .header_text(mail_parser::HeaderName::Subject);
        let parsed = parser.parse_headers(header)?;
        let from = parsed.from().and_then(Address::first);
        let from = from
            .and_then(|from| from.name().filter(|name| !name.trim().is_empty()).or_else(|| from.address()));
        Some(Preview { from: cut(from), subject: cut(parsed.subject()) })
    }));
    parsed.ok().flatten().unwrap_or_default()
}

fn cut(text: Option<&str>) -> String {
    text.unwrap_or_default().trim().chars().take(KEPT).collect()
}

/// The whole message as it is stored; of one that is longer than shown the beginning, and how many octets that leaves out.
///
/// # Errors
/// As for [`preview`].
pub(crate) fn whole(maildrop: &mut dyn Maildrop, message: MsgNo) -> Result<(Vec<u8>, bool)> {
    let mut octets = Vec::new();
    while octets.len() < LONGEST {
        if !read_more(maildrop, message, 64 * 1024, &mut octets)? {
            return Ok((octets, false));
        }
    }
    Ok((octets, true))
}

/// The header of a message, without the empty line at its end.
pub(crate) fn header(message: &[u8]) -> &[u8] {
    let end = header_end(message).unwrap_or(message.len());
    message[..end].trim_ascii_end()
}

/// The text of a message, decoded: of several parts those that are text, of HTML what it says.
pub(crate) fn text(message: &[u8]) -> String {
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let parsed = MessageParser::default().parse(message)?;
        let parts = 0..parsed.text_body_count();
        let texts: Vec<String> =
            parts.filter_map(|part| parsed.body_text(part)).map(|text| text.into_owned()).collect();
        Some(texts.join("\n"))
    }));
    parsed.ok().flatten().unwrap_or_else(|| {
        let end = header_end(message).unwrap_or(message.len());
        String::from_utf8_lossy(&message[end..]).into_owned()
    })
}

/// Where the header ends: behind its empty line.
fn header_end(octets: &[u8]) -> Option<usize> {
    if octets.starts_with(b"\n") || octets.starts_with(b"\r\n") {
        return Some(0);
    }
    let plain = memmem::find(octets, b"\n\n").map(|at| at + 2);
    let with_cr = memmem::find(octets, b"\n\r\n").map(|at| at + 3);
    match (plain, with_cr) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Appends more octets of the message; false at its end.
fn read_more(maildrop: &mut dyn Maildrop, message: MsgNo, most: usize, octets: &mut Vec<u8>) -> Result<bool> {
    let length = octets.len();
    octets.resize(length + most, 0);
    let count = maildrop.read(message, length as u64, &mut octets[length..]);
    octets.truncate(length + count.as_ref().map_or(0, |count| *count));
    Ok(count? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> (String, String) {
        let Preview { from, subject } = decoded(header.as_bytes());
        (from, subject)
    }

    /// RFC 2047 and its neighbours; whatever else is there, there is an answer.
    #[test]
    fn senders_and_subjects_are_decoded() {
        let plain = of("From: Ann <ann@example.org>\nSubject: hello\n\n");
        assert_eq!(plain, ("Ann".into(), "hello".into()));
        let coded = of("From: =?iso-8859-1?Q?J=FCrgen?= <j@x>\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\r\n\r\n");
        assert_eq!(coded, ("Jürgen".into(), "Grüße".into()));
        assert_eq!(of("From: ann@example.org\nSubject: a\n b\n\n").0, "ann@example.org");
        assert_eq!(of("To: x\n\n"), (String::new(), String::new()));
        let japanese = of("Subject: =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=\n\n");
        assert_eq!(japanese.1, "日本");
        assert!(of("Subject: =?no-such-charset?Q?abc?=\n\n").1.contains("abc"));
    }

    #[test]
    fn hostile_headers_have_an_end() {
        let endless = format!("Subject: {}\n\n", "x".repeat(PREVIEWED * 2));
        assert!(of(&endless).1.len() <= KEPT);
        for octets in [&b"\xff\xfe\x00"[..], b"", b":", b"From:\0\n", b"From: <<<<>>>>,,,;:\n\n"] {
            let _ = decoded(octets);
            let _ = text(octets);
        }
        assert_eq!(header(b"A: b\nC: d\n\nbody\n"), b"A: b\nC: d");
        assert_eq!(header(b"A: b\r\n\r\nbody\r\n"), b"A: b");
        assert_eq!(text(b"A: b\n\nbody \\ text\n"), "body \\ text\n");
    }

    proptest::proptest! {
        #[test]
        fn whatever_stands_there_is_read(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = decoded(&octets);
            let _ = text(&octets);
        }
    }
}

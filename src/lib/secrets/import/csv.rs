//! `user,type,secret[,label]` (RFC 4180), with or without a line of titles.

use super::{Found, SecretType};
use crate::secret::Secret;
use csv::{ByteRecord, ReaderBuilder};

pub(super) fn read(octets: &[u8]) -> Found {
    let mut found = Found::default();
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(octets);
    let mut record = ByteRecord::new();
    let (mut first, mut line) = (true, Line { octets, at: 0, number: 1 });
    loop {
        let begin = reader.position().byte();
        let place = line.at(begin);
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return found,
            Err(_) => {
                // In memory it can be nothing but malformed; the sentence of the crate may have octets of the input.
                found.fault(place, b"", "this is no CSV");
                return found;
            }
        }
        if !(first && is_title(&record)) {
            one(place, &record, &mut found);
        }
        first = false;
    }
}

/// Lines by their offsets: the crate counts a line before it has read all of CRLF.
struct Line<'a> {
    octets: &'a [u8],
    at: usize,
    number: usize,
}

impl Line<'_> {
    /// The line of the first octet from this offset on that ends no line. Offsets grow from call to call.
    fn at(&mut self, offset: u64) -> usize {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).clamp(self.at, self.octets.len());
        let ends = self.octets[offset..].iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
        self.number += memchr::memchr_iter(b'\n', &self.octets[self.at..offset + ends]).count();
        self.at = offset + ends;
        self.number
    }
}

fn one(place: usize, record: &ByteRecord, found: &mut Found) {
    let field = |at| record.get(at).unwrap_or_default();
    let (user, kind) = (field(0), String::from_utf8_lossy(field(1)).trim().to_ascii_uppercase());
    if !(3..=4).contains(&record.len()) {
        // Where quotes are wrong, a name may be a secret.
        found.fault(place, b"", "expected user,type,secret or user,type,secret,label");
        return;
    }
    let Some(kind) = SecretType::parse(&kind) else {
        return found.fault(place, user, "the type is none of APOP, POP and IMAP");
    };
    let Ok(label) = std::str::from_utf8(field(3)) else {
        return found.fault(place, user, "the label is not UTF-8");
    };
    if !label.is_empty() && kind != SecretType::Pop {
        return found.fault(place, user, "a label is for type POP");
    }
    if label.chars().count() > 64 || label.chars().any(char::is_control) {
        return found.fault(place, user, "a label has 1 to 64 characters and none that control a terminal");
    }
    found.add(place, user, kind, label.to_owned(), Secret::new(field(2).to_vec()));
}

fn is_title(record: &ByteRecord) -> bool {
    let is =
        |at, word: &[u8]| record.get(at).is_some_and(|field| field.trim_ascii().eq_ignore_ascii_case(word));
    is(0, b"user") && is(1, b"type") && is(2, b"secret")
}

/// Whether a line is a title or has a type where one belongs.
pub(super) fn is_like(line: &[u8]) -> bool {
    let mut fields = line.split(|&octet| octet == b',').skip(1);
    let second = String::from_utf8_lossy(fields.next().unwrap_or_default())
        .trim_matches(['"', ' '])
        .to_ascii_uppercase();
    (second == "TYPE" || SecretType::parse(&second).is_some()) && fields.next().is_some()
}

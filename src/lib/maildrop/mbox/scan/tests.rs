//! The scanner against a naive reference, and the forms of mbox that it must know.

use super::*;
use proptest::prelude::*;

const ANN: &str = "From ann@example.org Sat Jan  3 01:05:34 2026\n";
const BOB: &str = "From bob Sun Jan  4 01:05 2026\n";

/// Scans octets that come in chunks of at most `chunk`.
fn scanned(octets: &[u8], chunk: usize) -> Result<(Vec<Record>, u64)> {
    let mut rest = octets;
    let mut records = Vec::new();
    let fill = |buffer: &mut [u8]| {
        let count = rest.len().min(buffer.len()).min(chunk);
        buffer[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        Ok(count)
    };
    let hidden = scan(0, fill, |record| {
        records.push(record);
        Ok(())
    })?;
    Ok((records, hidden))
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

fn texts(octets: &str) -> Vec<String> {
    let (records, _) = scanned(octets.as_bytes(), 7).unwrap();
    let range = |record: &Record| octets[place(record.start())..place(record.end())].to_owned();
    records.iter().map(range).collect()
}

/// What RETR would send, written in the plainest way.
fn wire(stored: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    for line in stored.split_inclusive(|&octet| octet == b'\n') {
        sent.extend_from_slice(content(line));
        sent.extend_from_slice(b"\r\n");
    }
    sent
}

/// The messages of an mbox, line by line.
fn reference(octets: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut messages: Vec<(usize, Vec<u8>)> = Vec::new();
    let (mut offset, mut after_empty) = (0, true);
    for line in octets.split_inclusive(|&octet| octet == b'\n') {
        if after_empty && (offset == 0 || is_envelope(line)) {
            if let Some((_, text)) = messages.last_mut() {
                drop_separator(text);
            }
            messages.push((offset, Vec::new()));
            after_empty = false;
        } else {
            messages.last_mut().unwrap().1.extend_from_slice(line);
            after_empty = line == b"\n" || line == b"\r\n";
        }
        offset += line.len();
    }
    if let Some((_, text)) = messages.last_mut() {
        let last_line = text.split_inclusive(|&octet| octet == b'\n').next_back().unwrap_or_default();
        if last_line == b"\n" || last_line == b"\r\n" {
            drop_separator(text);
        }
    }
    messages
}

fn drop_separator(text: &mut Vec<u8>) {
    assert_eq!(text.pop(), Some(b'\n'));
    if text.last() == Some(&b'\r') {
        text.pop();
    }
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("\n".to_owned()),
        2 => Just("\r\n".to_owned()),
        3 => Just(ANN.to_owned()),
        1 => Just(BOB.replace('\n', "\r\n")),
        1 => Just("From here on\n".to_owned()),
        2 => Just("Subject: x\n".to_owned()),
        1 => Just(" folded\r\n".to_owned()),
        1 => Just("Status: RO\n".to_owned()),
        2 => "[ -~\r\0]{0,20}\n",
        1 => (60_000usize..70_000).prop_map(|length| format!("{}\n", "a\r".repeat(length / 2))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_scanner_finds_what_a_naive_one_finds(
        lines in prop::collection::vec(line(), 0..30),
        cut in 0usize..4,
        chunk in prop_oneof![Just(1usize << 20), Just(65_536usize), 1usize..100],
    ) {
        let mut octets = ANN.as_bytes().to_vec();
        lines.iter().for_each(|line| octets.extend_from_slice(line.as_bytes()));
        octets.truncate(octets.len() - cut);
        compare(&octets, chunk)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn megabytes_without_a_line_end_are_one_line(
        before in prop::collection::vec(line(), 0..6),
        filling in prop::collection::vec(prop_oneof![Just(0u8), Just(b'\r'), Just(b'F'), Just(b' ')], 1..5),
        length in 1_000_000usize..4_000_000,
        after in prop::collection::vec(line(), 0..6),
        chunk in prop_oneof![Just(1usize << 20), Just(65_536usize), Just(1000usize)],
    ) {
        let mut octets = ANN.as_bytes().to_vec();
        before.iter().for_each(|line| octets.extend_from_slice(line.as_bytes()));
        octets.extend(filling.iter().cycle().take(length));
        after.iter().for_each(|line| octets.extend_from_slice(line.as_bytes()));
        compare(&octets, chunk)?;
    }
}

/// A line without its end.
fn content(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The header's lines.
fn header_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&octet| octet == b'\n').take_while(|line| !content(line).is_empty())
}

/// The octets of the body on the wire, up to and without the line ends at its end.
fn body_octets(text: &[u8]) -> u64 {
    let header: usize = header_lines(text).map(<[u8]>::len).sum();
    let lines = text[header..].split_inclusive(|&octet| octet == b'\n').skip(1);
    let mut lines: Vec<&[u8]> = lines.map(content).collect();
    while lines.pop_if(|line| line.is_empty()).is_some() {}
    let octets: usize = lines.iter().map(|line| line.len() + 2).sum();
    octets.saturating_sub(2) as u64
}

/// Compares the scanner with the reference.
fn compare(octets: &[u8], chunk: usize) -> std::result::Result<(), TestCaseError> {
    let (records, _) = scanned(octets, chunk).unwrap();
    let expected = reference(octets);
    prop_assert_eq!(records.len(), expected.len());
    for (record, (offset, text)) in records.iter().zip(&expected) {
        prop_assert_eq!(place(record.offset), *offset);
        prop_assert_eq!(&octets[place(record.start())..place(record.end())], &text[..]);
        prop_assert_eq!(record.octets, wire(text).len() as u64, "RFC 1939, section 11");
        let mut hash = MessageHash::default();
        header_lines(text).for_each(|line| {
            hash.line(content(line));
            hash.line_end();
        });
        prop_assert_eq!(record.hash, hash.finish(body_octets(text)), "uidl.rs, the format");
        let (alone, _) = scanned(&[ANN.as_bytes(), text].concat(), 1 << 20).unwrap();
        if alone.len() == 1 && alone[0].length == record.length {
            prop_assert_eq!(alone[0].hash, record.hash, "design, section 4: the same message, the same UIDL");
        }
    }
    Ok(())
}

#[test]
fn the_separating_empty_line_is_no_part_of_a_message() {
    let mbox = format!("{ANN}S: 1\n\nbody\n\n{BOB}S: 2\r\n\r\nbody\r\n\r\n");
    assert_eq!(texts(&mbox), ["S: 1\n\nbody\n", "S: 2\r\n\r\nbody\r\n"], "design, section 4");
    assert_eq!(texts(&format!("{ANN}S: 1\n\nbody\n\n\n")), ["S: 1\n\nbody\n\n"]);
    assert_eq!(texts(&format!("{ANN}\n{BOB}")), ["", ""]);
    assert_eq!(texts(&format!("{ANN}S: 1\n\n{BOB}S: 2\n")), ["S: 1\n", "S: 2\n"]);
}

#[test]
fn text_that_begins_with_from_is_text() {
    let mbox = format!("{ANN}S: 1\n\nFrom here on\nx\n{BOB}\nFrom ann\n");
    assert_eq!(texts(&mbox).len(), 1, "an envelope line needs an empty line before it and a date");
}

#[test]
fn what_is_no_mbox_is_refused() {
    for octets in ["Subject: x\n\n", "\nFrom ann Sat Jan  3 01:05:34 2026\n", "\0", "From"] {
        let error = scanned(octets.as_bytes(), 9).unwrap_err();
        assert_eq!(error.kind(), Kind::Permanent, "design, section 4: refused with a clear error");
    }
    let endless = format!("From {}", "x".repeat(1 << 20));
    assert!(scanned(endless.as_bytes(), 1 << 16).is_err());
    assert_eq!(scanned(b"From somebody, some day\nS: 1\n", 9).unwrap().0.len(), 1);
}

#[test]
fn internal_data_is_hidden() {
    let internal = format!(
        "{ANN}From: Mail System Internal Data <M@x>\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\
         X-IMAP: 1 2\n\ntext\n\n"
    );
    let (records, hidden) = scanned(format!("{internal}{BOB}S: 1\n").as_bytes(), 100).unwrap();
    assert_eq!((records.len(), hidden), (1, internal.len() as u64), "design, section 4");
    assert_eq!(records[0].offset, hidden);
    let second = format!("{BOB}S: 1\n\n{internal}");
    assert_eq!(scanned(second.as_bytes(), 100).unwrap().0.len(), 2, "only at the start of the file");
}

#[test]
fn long_lines_and_headers_without_end_are_counted() {
    let long = "x".repeat(1 << 20);
    let mbox = format!("{ANN}Subject: {long}\nS: {long}");
    let (records, _) = scanned(mbox.as_bytes(), 1 << 20).unwrap();
    assert_eq!(records[0].octets, 9 + 2 + 3 + 2 + 2 * (1 << 20));
    assert_eq!(records[0].header_length, records[0].length);
    assert_eq!(records[0].ending, Ending::Open);
}

#[test]
fn the_identifier_survives_what_programs_do_to_a_message() {
    let hash = |text: &str| scanned(format!("{ANN}{text}").as_bytes(), 50).unwrap().0[0].hash;
    let plain = hash("A: 1\nB: 2\n\nbody\n.\n");
    for same in [
        "A: 1\r\nB: 2\r\n\r\nbody\r\n.\r\n",
        "A: 1\nB: 2\n\nbody\n.",
        "A: 1\nB: 2\n\nbody\n.\n\n\n\n",
        "Status: RO\nA: 1\nX-UID: 7\nX-Keywords: a\n b\nB: 2\nContent-Length: 7\n\nbody\n.\n",
    ] {
        assert_eq!(hash(same), plain, "design, section 4, UIDL: {same:?}");
    }
    for other in ["A: 1\nB: 3\n\nbody\n.\n", "A: 1\nB: 2\n\nbody\n..\n", "A: 1\n B: 2\n\nbody\n.\n"] {
        assert_ne!(hash(other), plain, "{other:?}");
    }
}

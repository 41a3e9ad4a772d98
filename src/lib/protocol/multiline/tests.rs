use super::*;
use crate::protocol::unstuff::Unstuffer;
use proptest::prelude::*;

/// Encodes pieces; stops when the encoder wants no more.
fn encode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, top: Option<u64>) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(top), Vec::new());
    for piece in pieces {
        if !encoder.encode(piece, &mut out) {
            break;
        }
    }
    encoder.finish(&mut out);
    out
}

/// The lines of a message without their ends, cut in the plainest way: the reference.
fn plain_lines(stored: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = stored.split(|&octet| octet == b'\n').collect();
    let ended = lines.last().is_some_and(|last| last.is_empty());
    let count = lines.len();
    for line in lines.iter_mut().take(count - 1) {
        *line = line.strip_suffix(b"\r").unwrap_or(line);
    }
    if ended {
        lines.pop();
    }
    lines
}

fn plain_crlf(lines: &[&[u8]]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line, b"\r\n".as_slice()].concat()).collect()
}

fn plain_wire(lines: &[&[u8]]) -> Vec<u8> {
    let stuffed =
        |line: &&[u8]| [if line.starts_with(b".") { b".".as_slice() } else { b"" }, line, b"\r\n"].concat();
    lines.iter().flat_map(stuffed).chain(*b".\r\n").collect()
}

fn plain_top<'a, 'b>(lines: &'b [&'a [u8]], body: u64) -> &'b [&'a [u8]] {
    let header = lines.iter().position(|line| line.is_empty()).map_or(lines.len(), |empty| empty + 1);
    let end = header.saturating_add(usize::try_from(body).unwrap_or(usize::MAX)).min(lines.len());
    &lines[..end]
}

fn wire(stored: &str, top: Option<u64>) -> String {
    String::from_utf8(encode([stored.as_bytes()], top)).unwrap()
}

/// RFC 1939, section 3 (dot-stuffing, end) and section 11 (line ends).
#[test]
fn stored_bytes_become_lines() {
    for (stored, expected) in [
        ("", ".\r\n"),
        ("a: b\n\nc\n", "a: b\r\n\r\nc\r\n.\r\n"),
        ("a\r\nb\r\n", "a\r\nb\r\n.\r\n"),
        ("a", "a\r\n.\r\n"),
        (".", "..\r\n.\r\n"),
        (".\n", "..\r\n.\r\n"),
        (".\r\n", "..\r\n.\r\n"),
        ("..a\n.\n", "...a\r\n..\r\n.\r\n"),
        ("a.\n.b", "a.\r\n..b\r\n.\r\n"),
        ("a\rb\r\r\n\r", "a\rb\r\r\n\r\r\n.\r\n"),
        ("a\0b\n", "a\0b\r\n.\r\n"),
        (">From x\nFrom y\n", ">From x\r\nFrom y\r\n.\r\n"),
    ] {
        assert_eq!(wire(stored, None), expected, "{stored:?}");
    }
    assert_eq!(encode([b"\xe4\xff\n".as_slice()], None), b"\xe4\xff\r\n.\r\n", "8-bit stays");
}

/// Design, section 3: right at every border of pieces.
#[test]
fn borders_change_nothing() {
    assert_eq!(
        encode([b"a\r".as_slice(), b"\n", b".b\n", b".", b"\r", b"\n"], None),
        b"a\r\n..b\r\n..\r\n.\r\n"
    );
    assert_eq!(encode([b"a\n".as_slice(), b"", b".b"], None), b"a\r\n..b\r\n.\r\n");
    assert_eq!(encode([b"h\n\r".as_slice(), b"\n", b"b\nc\n"], Some(1)), b"h\r\n\r\nb\r\n.\r\n");
}

/// RFC 1939, section 11: an empty piece between CR and LF does not part them.
#[test]
fn an_empty_piece_counts_nothing() {
    let mut counter = Counter::new();
    [b"a\r".as_slice(), b"", b"\n", b"", b"b"].into_iter().for_each(|piece| counter.add(piece));
    assert_eq!(counter.finish(), 6);
    assert_eq!(Counter::new().finish(), 0);
}

/// RFC 1939, section 7, TOP: the header, the empty line, so many lines of the body.
#[test]
fn top_sends_header_and_lines() {
    let message = "a: b\nc: d\n\n1\n\n.3\n";
    for (lines, expected) in [
        (0, "a: b\r\nc: d\r\n\r\n.\r\n"),
        (1, "a: b\r\nc: d\r\n\r\n1\r\n.\r\n"),
        (2, "a: b\r\nc: d\r\n\r\n1\r\n\r\n.\r\n"),
        (3, "a: b\r\nc: d\r\n\r\n1\r\n\r\n..3\r\n.\r\n"),
        (u64::MAX, "a: b\r\nc: d\r\n\r\n1\r\n\r\n..3\r\n.\r\n"),
    ] {
        assert_eq!(wire(message, Some(lines)), expected, "TOP {lines}");
    }
    assert_eq!(wire("a: b\n", Some(5)), "a: b\r\n.\r\n", "no empty line, no body");
    assert_eq!(wire("a: b\n\n", Some(5)), "a: b\r\n\r\n.\r\n", "no body");
    assert_eq!(wire("\nbody\nmore\n", Some(1)), "\r\nbody\r\n.\r\n", "no header");
    assert_eq!(wire("a: b\r\n\r\n1\r\n2", Some(1)), "a: b\r\n\r\n1\r\n.\r\n");
    assert_eq!(wire("a: b\n\n1\n2", Some(2)), "a: b\r\n\r\n1\r\n2\r\n.\r\n", "last line without end");
}

/// A TOP that has its lines wants no more bytes, so that a large message is not read on.
#[test]
fn top_stops_early() {
    let (mut encoder, mut out) = (Encoder::new(Some(0)), Vec::new());
    assert!(encoder.encode(b"a: b\n", &mut out));
    assert!(!encoder.encode(b"\nbody\n", &mut out));
    assert!(!encoder.encode(b"more\n", &mut out));
    assert_eq!(out, b"a: b\r\n\r\n");
}

/// Bytes with many of the octets that matter.
fn stored() -> impl Strategy<Value = Vec<u8>> {
    let octet =
        prop_oneof![3 => Just(b'\n'), 3 => Just(b'\r'), 3 => Just(b'.'), 3 => Just(b'a'), 1 => any::<u8>()];
    prop::collection::vec(octet, 0..200)
}

/// Cuts the bytes into pieces of the given lengths, in turn.
fn cut<'a>(mut stored: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &length in lengths.iter().cycle() {
        if stored.is_empty() {
            break;
        }
        let (piece, rest) = stored.split_at(length.min(stored.len()));
        pieces.push(piece);
        stored = rest;
    }
    pieces
}

proptest! {
    // What fails once becomes a test by name instead of a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any pieces give what the plain reference gives, for RETR and TOP.
    #[test]
    fn any_pieces_give_the_same(stored in stored(), lengths in prop::collection::vec(1_usize..9, 1..8), body in 0_u64..6) {
        let lines = plain_lines(&stored);
        prop_assert_eq!(encode(cut(&stored, &lengths), None), plain_wire(&lines));
        prop_assert_eq!(encode(cut(&stored, &lengths), Some(body)), plain_wire(plain_top(&lines, body)));
    }

    /// RFC 1939, section 11: octets are what is sent before dot-stuffing.
    #[test]
    fn octets_are_what_is_sent(stored in stored(), lengths in prop::collection::vec(1_usize..9, 1..8)) {
        let mut counter = Counter::new();
        cut(&stored, &lengths).into_iter().for_each(|piece| counter.add(piece));
        prop_assert_eq!(counter.finish(), plain_crlf(&plain_lines(&stored)).len() as u64);
    }

    /// Decoding what was encoded gives the message with CRLF ends, however it is cut.
    #[test]
    fn decoding_undoes_encoding(stored in stored(), lengths in prop::collection::vec(1_usize..9, 1..8)) {
        let mut wire = encode([stored.as_slice()], None);
        let length = wire.len();
        wire.extend_from_slice(b"QUIT\r\n");
        let (mut decoder, mut message, mut taken) = (Unstuffer::new(), Vec::new(), 0);
        for piece in cut(&wire, &lengths) {
            taken += decoder.decode(piece, &mut message);
        }
        prop_assert_eq!(taken, length);
        // The decoder writes LF ends: the same lines, each with a LF.
        let expected: Vec<u8> = plain_lines(&stored).iter().flat_map(|line| [line, b"\n".as_slice()].concat()).collect();
        prop_assert_eq!(message, expected);
    }
}

//! Mailboxes for the tests, and what they must look like on the wire.

/// An envelope line as local delivery writes it, without its line end.
pub(crate) const ENVELOPE: &str = "From sender@example.org Thu Jan  1 00:00:01 2026";

/// A message as it is stored: header, empty line, body.
pub(crate) type Stored = Vec<u8>;

/// A small message; `number` makes it different from the others.
pub(crate) fn message(number: usize) -> Stored {
    format!(
        "From: sender@example.org\nTo: ann@example.org\nSubject: number {number}\n\
         Message-Id: <{number}@example.org>\n\nThis is the body of message {number}.\n"
    )
    .into_bytes()
}

/// Small messages, numbered from 1.
pub(crate) fn messages(count: usize) -> Vec<Stored> {
    (1..=count).map(message).collect()
}

/// An mbox with these messages, each with an envelope line and an empty line behind it.
pub(crate) fn mbox<M: AsRef<[u8]>>(messages: &[M]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend_from_slice(ENVELOPE.as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(message.as_ref());
        bytes.push(b'\n');
    }
    bytes
}

/// What RETR sends for a message, without dot-stuffing and the final dot: every line ends in CRLF (design,
/// section 3). STAT and LIST count these octets.
pub(crate) fn wire(stored: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(stored.len() + 64);
    for line in stored.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        bytes.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The octets of a maildrop with these messages (RFC 1939, section 11).
pub(crate) fn octets<M: AsRef<[u8]>>(messages: &[M]) -> usize {
    messages.iter().map(|message| wire(message.as_ref()).len()).sum()
}

fn with_body(subject: &str, body: &[u8]) -> Stored {
    let mut stored =
        format!("From: sender@example.org\nTo: ann@example.org\nSubject: {subject}\n\n").into_bytes();
    stored.extend_from_slice(body);
    stored
}

/// Messages that servers and clients get wrong: dots, quoted `From `, 8-bit bytes, a line of 1 MiB, CRLF ends,
/// an empty body.
pub(crate) fn difficult() -> Vec<Stored> {
    vec![
        message(1),
        with_body("dots", b".\n..\n.hidden\n...three\ntext\n.\n"),
        with_body("quoted", b">From the beginning\n>>From twice\nFrom here no envelope\n"),
        with_body("8 bit", b"gr\xfc\xdfe \x80\xff \xe2\x82\xac\n\xa0\n"),
        with_body("long line", &[&[b'x'; 1 << 20][..], b"\n.end\n"].concat()),
        b"From: sender@example.org\r\nSubject: crlf\r\n\r\nfirst\r\n.second\r\n\r\nthird\r\n".to_vec(),
        with_body("empty body", b""),
        with_body("empty lines", b"\n\nbody\n\n\n"),
    ]
}

/// A mailbox of the [`difficult`] messages and a last one without a final newline, with all of them as they are
/// stored.
pub(crate) fn difficult_mbox() -> (Vec<u8>, Vec<Stored>) {
    let mut stored = difficult();
    let last = with_body("unfinished", b"the last line has no end");
    let mut bytes = mbox(&stored);
    bytes.extend_from_slice(format!("{ENVELOPE}\n").as_bytes());
    bytes.extend_from_slice(&last);
    stored.push(last);
    (bytes, stored)
}

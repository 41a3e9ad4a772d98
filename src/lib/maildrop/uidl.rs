//! Unique identifiers (RFC 1939, section 7; design, section 4, "UIDL").
//!
//! # The format, fixed for ever
//! The identifier is XXH3-128 (seed 0) over these octets, in this order:
//! 1. each header line up to the first empty line or the end of the message, with LF as its line end
//!    whatever it was, and with one added where it is missing; left out are the fields `Status`, `X-Status`,
//!    `X-Keywords`, `X-UID`, `X-UIDL`, `X-IMAP`, `X-IMAPbase`, `Content-Length`, `Lines` and all that begin
//!    with `X-Mozilla-`, with their continuation lines (which begin with a space or tab);
//! 2. one LF;
//! 3. the length of the body in octets as RETR sends it (each line end two octets), up to and without the
//!    line ends at its very end, as eight octets, lowest first; 0 where there is no body.
//!
//! A field's name reaches to the first `:` among the first 64 octets of its line, without blanks before it;
//! letters count alike in both cases. The envelope line of an mbox is not part of the message.
//!
//! On the wire it is 32 hexadecimal digits, and `-N` behind them for the twin number N from 2 on. Twin
//! numbers are kept in [`twins`].

pub(crate) mod twins;

use twox_hash::XxHash3_128;
use twox_hash::xxhash3_128::Hasher;

/// How far into a line the end of a field's name is looked for.
const NAME_WITHIN: usize = 64;

/// Fields that programs on the mail's own machine rewrite.
const LOCAL_FIELDS: [&[u8]; 9] = [
    b"status",
    b"x-status",
    b"x-keywords",
    b"x-uid",
    b"x-uidl",
    b"x-imap",
    b"x-imapbase",
    b"content-length",
    b"lines",
];

/// Header lines up to this many octets are gathered and hashed at once, which costs less than piece by piece.
const GATHERED: usize = 4096;

/// Hashes messages as their lines come, one behind the other.
#[derive(Default)]
pub(crate) struct MessageHash {
    gathered: Vec<u8>,
    /// Has all before what is gathered, when that became too long.
    hasher: Option<Hasher>,
    skipping: bool,
}

impl MessageHash {
    /// Takes the beginning of a header line, without its line end; at least 64 octets of it or all.
    pub(crate) fn line(&mut self, start: &[u8]) {
        let continued = matches!(start.first(), Some(b' ' | b'\t'));
        if !continued {
            self.skipping = is_local(start);
        }
        self.more(start);
    }

    /// Takes more of the same line.
    pub(crate) fn more(&mut self, piece: &[u8]) {
        if !self.skipping {
            self.add(piece);
        }
    }

    fn add(&mut self, octets: &[u8]) {
        if self.gathered.len() + octets.len() > GATHERED {
            let hasher = self.hasher.get_or_insert_with(Hasher::new);
            hasher.write(&self.gathered);
            hasher.write(octets);
            self.gathered.clear();
        } else {
            self.gathered.extend_from_slice(octets);
        }
    }

    /// The header line ends.
    pub(crate) fn line_end(&mut self) {
        self.more(b"\n");
    }

    /// The message ends; `body` is the length of its body without the line ends at its end. The next one may follow.
    pub(crate) fn finish(&mut self, body: u64) -> u128 {
        self.add(b"\n");
        self.add(&body.to_le_bytes());
        let hash = match &mut self.hasher {
            None => XxHash3_128::oneshot(&self.gathered),
            Some(hasher) => {
                hasher.write(&self.gathered);
                hasher.finish_128()
            }
        };
        self.reset();
        hash
    }

    /// Forgets the message.
    pub(crate) fn reset(&mut self) {
        self.gathered.clear();
        (self.hasher, self.skipping) = (None, false);
    }
}

fn is_local(line: &[u8]) -> bool {
    // Most lines are told by their first octet.
    if !matches!(line.first(), Some(b's' | b'S' | b'x' | b'X' | b'c' | b'C' | b'l' | b'L')) {
        return false;
    }
    let start = &line[..line.len().min(NAME_WITHIN)];
    let Some(colon) = memchr::memchr(b':', start) else { return false };
    let name = start[..colon].trim_ascii_end();
    LOCAL_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
        || name.get(..10).is_some_and(|begin| begin.eq_ignore_ascii_case(b"x-mozilla-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(lines: &[&str], body: u64) -> u128 {
        let mut hash = MessageHash::default();
        for line in lines {
            hash.line(line.as_bytes());
            hash.line_end();
        }
        hash.finish(body)
    }

    #[test]
    fn what_local_programs_rewrite_does_not_count() {
        let plain = hash(&["Subject: x", "To: ann"], 7);
        let marked = [
            "Status: RO",
            "Subject: x",
            "X-UID : 5",
            "X-Keywords: a",
            "\tb",
            "To: ann",
            "x-mozilla-status: 1",
        ];
        assert_eq!(hash(&marked, 7), plain, "design, section 4, UIDL");
        assert_ne!(hash(&["Subject: x", "To: ann"], 8), plain);
        assert_ne!(hash(&["Subject: x", "To: bob"], 7), plain);
        assert_ne!(hash(&["X-Statusx: x", "Subject: x", "To: ann"], 7), plain);
    }

    #[test]
    fn the_format_is_fixed() {
        // Clients know messages by these numbers: a change here makes every client download again.
        let mut octets = b"Subject: x\nTo: ann\n\n".to_vec();
        octets.extend_from_slice(&7u64.to_le_bytes());
        assert_eq!(hash(&["Subject: x", "Status: O", "To: ann"], 7), XxHash3_128::oneshot(&octets));
        assert_eq!(hash(&["Subject: x", "To: ann"], 7), 0x41fa_c4b4_cd53_d3ce_13f6_bae2_340b_a84f);
    }
}

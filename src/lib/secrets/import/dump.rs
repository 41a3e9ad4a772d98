//! Dumps as text: of `gdbm_dump` (gdbm(3), "ASCII dump format") and of `db_dump` (Berkeley DB).

use super::pairs::{self, Pair, Writing};
use super::{Found, lines, unhex};
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A name is never longer, and a secret with what may stand behind it neither; more is no database of popauth's.
const LONGEST_DATUM: usize = 4096;

/// `#:len=4`, lines of base64, and so on: a key and then its value. `#:count=` and `# End of data` end it.
pub(super) fn gdbm(octets: &[u8]) -> Found {
    let mut found = Found::default();
    let mut data: Vec<(usize, Secret)> = Vec::new();
    let mut open: Option<Datum> = None;
    let (mut count, mut ended) = (None, false);
    for (place, line) in lines(octets) {
        if !line.starts_with(b"#") {
            match &mut open {
                Some(datum) => datum.more(line),
                None => return broken(found, place, "base64 without a length before it"),
            }
            continue;
        }
        if let Some(datum) = open.take() {
            match datum.close() {
                Ok(datum) => data.push(datum),
                Err((place, why)) => return broken(found, place, why),
            }
        }
        if let Some(length) = line.strip_prefix(b"#:len=") {
            let Some(length) = number(length).filter(|length| *length <= LONGEST_DATUM) else {
                return broken(found, place, "this is no length of a name or a secret");
            };
            open = Some(Datum { place, length, text: Secret::with_room(length.div_ceil(3) * 4 + 8) });
        } else if let Some(counted) = line.strip_prefix(b"#:count=") {
            count = number(counted);
        } else if line.starts_with(b"# End of data") {
            ended = true;
        }
    }
    if !ended
        || open.is_some()
        || !data.len().is_multiple_of(2)
        || count.is_some_and(|count| count != data.len() / 2)
    {
        return broken(found, lines(octets).count(), "the dump is cut off: dump the database again");
    }
    pairs::records(pairs_of(data), Writing::Unknown, &mut found);
    found
}

/// A datum that is being read.
struct Datum {
    place: usize,
    length: usize,
    text: Secret,
}

impl Datum {
    fn more(&mut self, line: &[u8]) {
        // What is longer than the datum may be does not decode to its length: the rest need not be kept.
        let room = (self.length.div_ceil(3) * 4 + 8).saturating_sub(self.text.expose().len());
        line.iter().take(room).for_each(|octet| self.text.push(*octet));
    }

    fn close(self) -> Result<(usize, Secret), (usize, &'static str)> {
        let mut plain = vec![0; self.length + 3];
        let decoded = STANDARD.decode_slice(self.text.expose(), &mut plain);
        let secret = Secret::new(plain);
        match decoded {
            Ok(length) if length == self.length => Ok((self.place, secret.first(length))),
            Ok(_) => Err((self.place, "the datum does not have its length")),
            Err(_) => Err((self.place, "the datum is no base64")),
        }
    }
}

/// `VERSION=3`, other `name=value` lines, `HEADER=END`; lines that begin with a blank, a key and then its value; `DATA=END`. With
/// `format=print` octets stand for themselves but for `\\` and `\hh`.
pub(super) fn db(octets: &[u8]) -> Found {
    let mut found = Found::default();
    let mut data = Vec::new();
    let (mut in_header, mut print, mut place) = (true, false, 0);
    for (number, line) in lines(octets) {
        place = number;
        if in_header {
            match line {
                b"HEADER=END" => in_header = false,
                b"format=print" => print = true,
                b"format=bytevalue" => print = false,
                b"type=btree" | b"type=hash" => {}
                _ if line.starts_with(b"type=") => {
                    return broken(found, number, "a database of popauth's is a hash or a btree");
                }
                _ if line.contains(&b'=') => {}
                _ => return broken(found, number, "this is no header of db_dump's"),
            }
        } else if line == b"DATA=END" {
            // Another database of the same file may follow.
            (in_header, print) = (true, false);
            if !data.len().is_multiple_of(2) {
                return broken(found, number, "the last name has no secret");
            }
        } else if let Some(text) = line.strip_prefix(b" ") {
            if text.len() > 4 * LONGEST_DATUM {
                return broken(found, number, "this is longer than a name or a secret");
            }
            match if print { unescape(text) } else { unhex(text) } {
                Some(datum) => data.push((number, datum)),
                None => return broken(found, number, "this is not what db_dump writes"),
            }
        } else {
            return broken(found, number, "expected a blank and data, or DATA=END");
        }
    }
    if !in_header {
        return broken(found, place, "the dump is cut off: dump the database again");
    }
    pairs::records(pairs_of(data), Writing::Unknown, &mut found);
    found
}

fn unescape(text: &[u8]) -> Option<Secret> {
    let mut plain = Secret::with_room(text.len());
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet != b'\\' {
            plain.push(octet);
        } else if let Some(after) = rest.strip_prefix(b"\\") {
            plain.push(b'\\');
            rest = after;
        } else {
            plain.push(*unhex(rest.get(..2)?)?.expose().first()?);
            rest = &rest[2..];
        }
    }
    Some(plain)
}

fn pairs_of(data: Vec<(usize, Secret)>) -> Vec<Pair> {
    let mut data = data.into_iter();
    let next = || {
        let ((place, key), (_, value)) = (data.next()?, data.next()?);
        Some(Pair { place, key: key.expose().to_vec(), value })
    };
    std::iter::from_fn(next).collect()
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

/// A dump that is broken somewhere is not trusted anywhere.
fn broken(mut found: Found, place: usize, why: &str) -> Found {
    found.fault(place.max(1), b"", why);
    found
}

//! Lines of a name and a secret: popauth's, whose secrets are XORed, and those of mailutils' `popauth --list`, where they are not.

use super::pairs::{self, Pair, Writing};
use super::{Format, Found, is_comment, lines};
use crate::secret::Secret;

/// One separator, so that a secret may begin with a blank.
pub(super) fn read(octets: &[u8], format: Format) -> Found {
    let mut found = Found::default();
    let mut all = Vec::new();
    for (place, line) in lines(octets).filter(|(_, line)| !is_comment(line)) {
        match split(line) {
            Some((key, value)) => {
                all.push(Pair { place, key: key.to_vec(), value: Secret::new(value.to_vec()) });
            }
            // What stands there may be a secret alone: it is not shown.
            None => found.fault(place, b"", "expected a name, a blank and a secret"),
        }
    }
    let writing = if format == Format::Popauth { Writing::Flipped } else { Writing::Plain };
    let is_plain = |pair: &&Pair| !pair.value.expose().is_empty() && pair.value.expose().is_ascii();
    if writing == Writing::Flipped
        && let Some(pair) = all.iter().find(is_plain)
    {
        found.fault(pair.place, b"", "this secret is not XORed with 0xff: is it --from mailutils?");
        return found;
    }
    pairs::records(all, writing, &mut found);
    found
}

/// Which of the two it is.
pub(super) fn detect<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Format, String> {
    let (mut plain, mut flipped) = (false, false);
    for line in lines {
        let Some((_, value)) = split(line) else {
            return Err(UNKNOWN.to_owned());
        };
        plain |= value.is_ascii();
        flipped |= value.iter().all(|octet| *octet >= 0x80 || *octet == 0);
    }
    match (plain, flipped) {
        (true, false) => Ok(Format::Mailutils),
        (false, true) => Ok(Format::Popauth),
        _ => Err(UNKNOWN.to_owned()),
    }
}

const UNKNOWN: &str = "is of no format that can be told by looking: name it by --from";

/// Name and secret: behind the first blank or tab, a colon of the name's aside.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|octet| matches!(octet, b' ' | b'\t'))?;
    let (key, value) = (&line[..at], &line[at + 1..]);
    (!key.is_empty()).then_some((key, value))
}

//! Names of message files. Pure.
//!
//! `1767398734.M21P7.host,S=310:2,FS`: a base that stays as long as the message does, and behind a colon the info,
//! which other programs change (flags, each a letter, in order). The base begins with the time of delivery in seconds
//! since 1970. Sizes in the base (`,S=` stored octets, `,W=` octets with CRLF) are another program's word and are not
//! used: the UIDL needs the header and the true length of the body, so each message is read once anyway, when it is
//! seen first; a number that is wrong would change the UIDL on the day it is found out.

use crate::sys::file::Stamp;
use std::cmp::Ordering;

/// The longest name that file systems take, in octets.
const LONGEST: usize = 255;

/// What stays of a name when a message is moved or marked.
pub(super) fn base(name: &[u8]) -> &[u8] {
    memchr::memchr(b':', name).map_or(name, |colon| name.get(..colon).unwrap_or(name))
}

/// When the message was delivered, as its name says; the end of time where it says nothing.
fn delivered(name: &[u8]) -> u64 {
    let digits = name.iter().take_while(|octet| octet.is_ascii_digit());
    let mut number = None;
    for digit in digits {
        let before: u64 = number.unwrap_or(0);
        number = Some(before.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    }
    number.unwrap_or(u64::MAX)
}

/// When the message was received, in seconds since 1970: as its name says, or when the file was changed last. 0 for what is
/// out of bounds.
pub(super) fn received(name: &[u8], modified: Stamp) -> u32 {
    let named = u32::try_from(delivered(name)).ok().filter(|seconds| *seconds > LEAST_TIME);
    named.or_else(|| u32::try_from(modified.seconds).ok()).unwrap_or(0)
}

/// A smaller number at the beginning of a name is no time: 1980.
const LEAST_TIME: u32 = 315_532_800;

/// The order of messages: by time of delivery, then by base. What another program does with a message changes nothing
/// about its place.
pub(super) fn order(one: &[u8], other: &[u8]) -> Ordering {
    delivered(one).cmp(&delivered(other)).then_with(|| base(one).cmp(base(other)))
}

/// The name in `cur` of a message that was read: flag `S` is added to those that are there. None when that would be too
/// long.
pub(super) fn seen(name: &[u8]) -> Option<Vec<u8>> {
    let base = base(name);
    let info = name.get(base.len()..).unwrap_or_default();
    let seen = match info.strip_prefix(b":2,") {
        Some(flags) if flags.contains(&b'S') => name.to_vec(),
        Some(flags) => {
            // Flags stand in the order of ASCII.
            let place = flags.iter().position(|flag| *flag > b'S').unwrap_or(flags.len());
            let (before, behind) = flags.split_at(place);
            [base, b":2,", before, b"S", behind].concat()
        }
        None if info.is_empty() => [base, b":2,S"].concat(),
        // Info of another kind (`:1,`) is experimental: it is not ours to change.
        None => name.to_vec(),
    };
    (seen.len() <= LONGEST).then_some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_folders_change_no_order() {
        assert_eq!(base(b"17.M1P2.host,S=3:2,FS"), b"17.M1P2.host,S=3");
        assert_eq!(order(b"17.a.h:2,S", b"17.a.h"), Ordering::Equal, "design, section 4: numbers are stable");
        assert_eq!(order(b"9.z", b"17.a"), Ordering::Less, "by time, not by letter");
        assert_eq!(order(b"17.a", b"17.b"), Ordering::Less);
        assert_eq!(order(b"99999999999999999999999.a", b"17.b"), Ordering::Greater);
        assert_eq!(order(b"no time", b"17.b"), Ordering::Greater, "behind all that say when they came");
        assert_eq!(order(b"\xff\n", b"\xff\n:2,"), Ordering::Equal, "odd octets are octets");
    }

    #[test]
    fn a_message_that_was_read_has_the_flag() {
        let seen = |name: &[u8]| seen(name).map(|name| String::from_utf8(name).unwrap());
        assert_eq!(seen(b"17.a.h").unwrap(), "17.a.h:2,S");
        assert_eq!(seen(b"17.a.h:2,FT").unwrap(), "17.a.h:2,FST");
        assert_eq!(seen(b"17.a.h:2,S").unwrap(), "17.a.h:2,S");
        assert_eq!(seen(b"17.a.h:1,x").unwrap(), "17.a.h:1,x");
        assert_eq!(seen(&[b'a'; 252]), None);
    }
}

//! Pairs of a name and a secret, as databases of popauth's family have them.
//!
//! qpopper and its relatives store name and secret with a final NUL, each octet of the secret but that NUL XORed with 0xff; mailutils
//! stores both as they are, without NUL, and the name with the colon that stood in the file it was made from.

use super::Found;
use crate::secret::Secret;

/// A pair, and the line where it began.
pub(super) struct Pair {
    pub(super) place: usize,
    pub(super) key: Vec<u8>,
    pub(super) value: Secret,
}

/// How secrets are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// XORed with 0xff.
    Flipped,
    /// As they are.
    Plain,
    /// To be seen: flipped ASCII has no octet below 128, and ASCII has no other.
    Unknown,
}

/// Makes records of pairs.
pub(super) fn records(pairs: Vec<Pair>, writing: Writing, found: &mut Found) {
    let values = || pairs.iter().map(|pair| value(&pair.value)).filter(|value| !value.is_empty());
    let (some_plain, some_flipped) = (values().any(<[u8]>::is_ascii), values().any(all_high));
    for Pair { place, key, value: stored } in &pairs {
        let name = name(key);
        let octets = value(stored);
        if name.is_empty() {
            found.fault(*place, name, "there is no name");
            continue;
        }
        if octets.is_empty() {
            found.leave_out(*place, name, "the secret is empty");
            continue;
        }
        let flipped = match writing {
            Writing::Flipped => true,
            Writing::Plain => false,
            Writing::Unknown if octets.is_ascii() => false,
            Writing::Unknown if all_high(octets) && !some_plain => true,
            Writing::Unknown if some_plain && !some_flipped => false,
            Writing::Unknown if some_flipped && !some_plain => true,
            Writing::Unknown => {
                found.fault(
                    *place,
                    name,
                    "is this secret in plain or XORed with 0xff? name the format by --from popauth or --from mailutils",
                );
                continue;
            }
        };
        found.apop(*place, name, if flipped { flip(octets) } else { Secret::new(octets.to_vec()) });
    }
}

/// The name without what stands behind it.
fn name(key: &[u8]) -> &[u8] {
    let key = up_to_nul(key);
    key.strip_suffix(b":").unwrap_or(key)
}

/// The octets of a stored secret. Behind the NUL later versions of qpopper have other things.
fn value(stored: &Secret) -> &[u8] {
    up_to_nul(stored.expose())
}

fn up_to_nul(octets: &[u8]) -> &[u8] {
    octets.split(|&octet| octet == 0).next().unwrap_or_default()
}

fn all_high(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|octet| *octet >= 0x80)
}

/// Undoes the XOR. A flipped NUL ends the secret as a plain one does.
pub(super) fn flip(octets: &[u8]) -> Secret {
    let mut plain = Secret::with_room(octets.len());
    octets.iter().take_while(|octet| **octet != 0xff).for_each(|octet| plain.push(octet ^ 0xff));
    plain
}

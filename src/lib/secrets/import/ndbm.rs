//! The `.pag` file of ndbm(3), read without the library that wrote it.
//!
//! It is made of pages of 1024 octets. A page begins with a count of data and as many offsets, 16 bits each in the order of octets of
//! the machine; data are packed from the page's end downwards, a key and then its value, and each offset says where a datum begins.
//! `.dir` tells which page a key is on, which who reads all pages does not need. Pages that were never written are zero.

use super::Found;
use super::pairs::{self, Pair, Writing};
use crate::secret::Secret;

const PAGE: usize = 1024;

pub(super) fn read(octets: &[u8]) -> Found {
    let mut found = Found::default();
    let (pages, rest) = octets.as_chunks::<PAGE>();
    if pages.is_empty() || !rest.is_empty() {
        found.fault(
            1,
            b"",
            "this is no .pag file of ndbm's, which has pages of 1024 octets: dump it by its own program",
        );
        return found;
    }
    for order in [u16::from_le_bytes, u16::from_be_bytes] {
        let all: Option<Vec<_>> = pages.iter().map(|page| data(page, order)).collect();
        if let Some(all) = all {
            let data = all.into_iter().flatten();
            let pairs = data.enumerate().map(|(at, (key, value))| Pair {
                place: at + 1,
                key: key.to_vec(),
                value: Secret::new(value.to_vec()),
            });
            pairs::records(pairs.collect(), Writing::Unknown, &mut found);
            return found;
        }
    }
    found.fault(1, b"", "the pages are not those of ndbm: dump the database by its own program");
    found
}

/// The pairs of a page; `None` when it is no page.
fn data(page: &[u8; PAGE], order: fn([u8; 2]) -> u16) -> Option<Vec<(&[u8], &[u8])>> {
    let word = |at: usize| page.get(2 * at..2 * at + 2)?.try_into().ok().map(|word| usize::from(order(word)));
    let count = word(0)?;
    let header = 2 * (count + 1);
    if !count.is_multiple_of(2) || header > PAGE {
        return None;
    }
    let mut end = PAGE;
    let mut data = Vec::with_capacity(count);
    for at in 1..=count {
        let begin = word(at).filter(|begin| (header..=end).contains(begin))?;
        data.push(page.get(begin..end)?);
        end = begin;
    }
    let (pairs, _) = data.as_chunks::<2>();
    Some(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

//! Unique ids that another server gave: they stand in the place of those that are computed (design, section 4, "UIDL").
//!
//! A record of kind 5: how many, and for each the hash, the twin number, and the id with its length (one octet) before it.

use super::{Octets, Reader, Twins, framed};
use crate::error::Result;
use crate::maildrop::Uidl;
use crate::protocol::listing::write_uidl;
use crate::sys::directory::Directory;
use std::collections::HashMap;
use std::io;

/// Characters of a unique id (RFC 1939, section 7).
pub(crate) const LONGEST_ID: usize = 70;

/// Ids by the messages that they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imported(HashMap<Uidl, Vec<u8>>);

impl Imported {
    /// Those that the `uidl` file in this state directory says.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub(crate) fn load(state: &Directory) -> Result<Self> {
        Ok(Twins::load(state)?.imported)
    }

    /// The id of a message that has one.
    pub(crate) fn get(&self, uidl: Uidl) -> Option<&[u8]> {
        self.0.get(&uidl).map(Vec::as_slice)
    }

    /// The id that UIDL shows.
    pub(crate) fn shown(&self, uidl: Uidl) -> Vec<u8> {
        self.get(uidl).map_or_else(
            || {
                let mut text = Vec::new();
                write_uidl(uidl.hash, uidl.twin, &mut text);
                text
            },
            <[u8]>::to_vec,
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Octets of them in the file.
    pub(super) fn octets(&self) -> u64 {
        self.0.values().map(|id| 21 + id.len() as u64).sum()
    }

    pub(super) fn add(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// The payload of a record with all of them.
    pub(super) fn payload(&self) -> Vec<u8> {
        payload(self.0.iter())
    }
}

/// Whether RFC 1939, section 7, allows this as a unique id.
pub(crate) fn is_id(id: &[u8]) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.iter().all(|octet| (0x21..=0x7e).contains(octet))
}

impl Twins {
    /// All that are recorded.
    pub(crate) const fn imported(&self) -> &Imported {
        &self.imported
    }

    /// Writes ids down, durably.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn import(&mut self, state: &Directory, ids: &[(Uidl, Vec<u8>)]) -> io::Result<()> {
        let fresh: Vec<&(Uidl, Vec<u8>)> =
            ids.iter().filter(|(uidl, id)| self.imported.get(*uidl) != Some(id)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        self.append(state, &framed(&payload(fresh.iter().map(|(uidl, id)| (uidl, id)))))?;
        self.imported.0.extend(fresh.into_iter().cloned());
        Ok(())
    }
}

/// The payload of a record of kind 5.
fn payload<'a>(ids: impl Iterator<Item = (&'a Uidl, &'a Vec<u8>)>) -> Vec<u8> {
    let (mut count, mut listed) = (0, Octets::default());
    for (uidl, id) in ids {
        count += 1;
        listed.put(&uidl.hash.to_le_bytes());
        listed.u32(uidl.twin);
        listed.put(&[u8::try_from(id.len()).unwrap_or(0)]);
        listed.put(id);
    }
    let mut payload = Octets(vec![5]);
    payload.u32(count);
    payload.put(&listed.0);
    payload.0
}

/// Reads what stands behind the kind.
pub(super) fn decode_imported(reader: &mut Reader<'_>) -> Option<Imported> {
    let count = reader.u32()?;
    let mut imported = HashMap::new();
    for _ in 0..count {
        let (hash, twin) = (u128::from_le_bytes(reader.take()?), reader.u32()?);
        let [length] = reader.take()?;
        let (id, rest) = reader.0.split_at_checked(usize::from(length))?;
        reader.0 = rest;
        if twin == 0 || !is_id(id) {
            return None;
        }
        imported.insert(Uidl { hash, twin }, id.to_vec());
    }
    Some(Imported(imported))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = Directory::open(folder.path()).unwrap();
        let (one, two) = (Uidl { hash: 7, twin: 1 }, Uidl { hash: 7, twin: 2 });
        let mut twins = Twins::default();
        twins.import(&state, &[(one, b"0001".to_vec()), (two, b"0002".to_vec())]).unwrap();
        twins.import(&state, &[(two, b"0003".to_vec())]).unwrap();
        let length = twins.length;
        twins.import(&state, &[(two, b"0003".to_vec())]).unwrap();
        assert_eq!(twins.length, length, "what is known is not written again");
        let mut again = Twins::load(&state).unwrap();
        assert_eq!(again.imported(), twins.imported());
        assert_eq!(again.imported().get(two), Some(&b"0003"[..]));
        again.write_anew(&state).unwrap();
        assert_eq!(Twins::load(&state).unwrap().imported(), twins.imported());
        assert!(
            is_id(&[b'!'; 70]) && !is_id(&[b'!'; 71]) && !is_id(b"") && !is_id(b"a b") && !is_id(b"\xe4")
        );
    }
}

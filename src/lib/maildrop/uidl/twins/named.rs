//! Twin numbers by name: in a Maildir each message has a name that stays, so its number is written down beside it as
//! soon as there are twins. Deleting some of them, here or by another program, then changes no other's number, wherever
//! a crash comes, and needs no intent.
//!
//! A record of kind 4: a state as in kind 1, how many names there are, and for each XXH3-64 of the name's base and the
//! number. The state is for the day on which the maildrop becomes an mbox; a state of kind 1 or 2 takes the names'
//! place.

use super::{Numbers, Octets, Reader, Twins, decode, encode, framed};
use crate::sys::directory::Directory;
use std::collections::HashMap;
use std::io;

/// Octets of a name in the file.
pub(super) const NAME_OCTETS: u64 = 12;

/// The numbers of the messages with one hash, by name.
pub(crate) type Names = HashMap<u64, u32>;

/// What is to be written down for one hash: the number of the next one that arrives, and all that are there.
pub(crate) type Naming = (u128, u32, Vec<(u64, u32)>);

impl Twins {
    /// What is recorded by name for a hash.
    pub(crate) fn names(&self, hash: u128) -> Option<&Names> {
        self.named.get(&hash)
    }

    /// Whether writing this down would change nothing.
    pub(crate) fn has(&self, (hash, next, members): &Naming) -> bool {
        let same_next = self.numbers(*hash).is_some_and(|numbers| numbers.next == *next);
        same_next
            && self
                .names(*hash)
                .is_some_and(|names| members.iter().all(|(name, number)| names.get(name) == Some(number)))
    }

    /// Writes numbers down, durably.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn name(&mut self, state: &Directory, namings: Vec<Naming>) -> io::Result<()> {
        if namings.is_empty() {
            return Ok(());
        }
        let mut frames = Vec::new();
        let mut states = Vec::new();
        for (hash, next, members) in namings {
            let mut held: Vec<u32> = members.iter().map(|(_, number)| *number).collect();
            held.sort_unstable();
            let mut numbers = Numbers { next, held: Vec::new() };
            held.into_iter().for_each(|number| numbers.hold(number));
            let names: Names = members.into_iter().collect();
            frames.extend_from_slice(&framed(&named_payload(hash, &numbers, &names)));
            states.push((hash, numbers, names));
        }
        self.append(state, &frames)?;
        for (hash, numbers, names) in states {
            self.numbers.insert(hash, numbers);
            self.named.insert(hash, names);
        }
        Ok(())
    }
}

/// The payload of a record of kind 4.
pub(super) fn named_payload(hash: u128, numbers: &Numbers, names: &Names) -> Vec<u8> {
    let mut payload = Octets(vec![4]);
    encode(&mut payload, hash, numbers);
    payload.u32(u32::try_from(names.len()).unwrap_or(u32::MAX));
    for (name, number) in names {
        payload.u64(*name);
        payload.u32(*number);
    }
    payload.0
}

/// Reads what stands behind the kind.
pub(super) fn decode_named(reader: &mut Reader<'_>) -> Option<(u128, Numbers, Names)> {
    let (hash, numbers) = decode(reader)?;
    let count = reader.u32()?;
    let mut names = Names::new();
    for _ in 0..count {
        let (name, number) = (reader.u64()?, reader.u32()?);
        // None is held that was never given away.
        if number == 0 || number >= numbers.next {
            return None;
        }
        names.insert(name, number);
    }
    Some((hash, numbers, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_again_and_give_way_to_a_state_without() {
        let folder = tempfile::tempdir().unwrap();
        let state = Directory::open(folder.path()).unwrap();
        let naming: Naming = (7, 4, vec![(100, 3), (200, 1)]);
        let mut twins = Twins::default();
        assert!(!twins.has(&naming));
        twins.name(&state, vec![naming.clone()]).unwrap();
        let mut again = Twins::load(&state).unwrap();
        assert!(again.has(&naming) && again.notes.is_empty());
        assert_eq!(again.numbers(7).unwrap().held, [(1, 1), (3, 1)], "for the day of an mbox");
        again.write_anew(&state).unwrap();
        assert!(Twins::load(&state).unwrap().has(&naming));
        let plan = vec![(7, Numbers { next: 5, held: vec![(3, 1)] })];
        let condition = super::super::Condition { new_file: (1, 2), known: 3, tail_check: 4 };
        assert!(again.intend(&state, condition, plan).unwrap());
        again.settle(&state, true);
        let mbox = Twins::load(&state).unwrap();
        assert!(mbox.names(7).is_none());
        assert_eq!(mbox.numbers(7).unwrap().next, 5);
    }
}

//! Twin numbers of a Maildir: which of several equal messages has which number (design, section 4, "UIDL").

use super::name;
use crate::error::Result;
use crate::maildrop::index::{Record, Writer};
use crate::maildrop::uidl::twins::{Names, Naming, Numbering, Twins};
use std::collections::{HashMap, HashSet};
use twox_hash::XxHash3_64;

/// What is remembered of each message while an index is written: what finding twins costs in memory.
#[derive(Clone, Copy)]
pub(super) struct Remembered {
    /// Eight octets of its hash.
    print: u64,
    /// The hash of its base.
    name: u64,
    /// Whether its record has no number yet.
    fresh: bool,
}

impl Remembered {
    pub(super) fn new(record: &Record, file_name: &[u8], fresh: bool) -> Self {
        Self { print: print(record.hash), name: name_hash(file_name), fresh }
    }
}

/// By which a message's name is known in the `uidl` file.
pub(super) fn name_hash(file_name: &[u8]) -> u64 {
    XxHash3_64::oneshot(name::base(file_name))
}

const fn print(hash: u128) -> u64 {
    // The lower half of a good hash is as good a hash.
    #[allow(clippy::cast_possible_truncation)]
    let print = hash as u64;
    print
}

/// The messages with one hash: position, name, and the number that they have already.
type Group = Vec<(usize, u64, Option<u32>)>;

/// Gives numbers to new twins, and returns what the `uidl` file does not say of twins yet.
///
/// # Errors
/// The index that is being written cannot be read again.
pub(super) fn number(
    writer: &mut Writer<'_>,
    remembered: &[Remembered],
    twins: &Twins,
) -> Result<Vec<Naming>> {
    let repeated = repeated(remembered, twins);
    if repeated.is_empty() {
        return Ok(Vec::new());
    }
    let groups = groups(writer, remembered, &repeated, twins)?;
    let (mut given, mut namings) = (HashMap::new(), Vec::new());
    for (hash, group) in groups {
        let naming = assign(hash, &group, twins, &mut given);
        // One that was never a twin is number 1 by nature.
        let natural = group.len() == 1 && naming.1 == 2 && twins.numbers(hash).is_none();
        if !natural && !twins.has(&naming) {
            namings.push(naming);
        }
    }
    let mut position = 0;
    writer.revise(|record| {
        let number = given.get(&position).copied();
        position += 1;
        Ok(number.is_some_and(|number| std::mem::replace(&mut record.twin, number) != number))
    })?;
    Ok(namings)
}

/// The prints that occur more than once or that numbers are recorded for.
fn repeated(remembered: &[Remembered], twins: &Twins) -> HashSet<u64> {
    let mut prints: Vec<u64> = remembered.iter().map(|message| message.print).collect();
    prints.sort_unstable();
    let twice = prints.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    twice.chain(twins.hashes().map(print)).collect()
}

fn groups(
    writer: &mut Writer<'_>,
    remembered: &[Remembered],
    repeated: &HashSet<u64>,
    twins: &Twins,
) -> Result<HashMap<u128, Group>> {
    let mut groups: HashMap<u128, Group> = HashMap::new();
    let mut taken: HashSet<(u128, u32)> = HashSet::new();
    let mut bases: HashMap<(u128, u64), u64> = HashMap::new();
    let mut messages = remembered.iter().enumerate();
    writer.revise(|record| {
        if let Some((position, message)) = messages.next()
            && repeated.contains(&message.print)
        {
            // Copies under one base are told apart by their order.
            let copies = bases.entry((record.hash, message.name)).or_insert(0);
            let name = message.name.wrapping_add(*copies);
            *copies += 1;
            let recorded = twins.names(record.hash).and_then(|names: &Names| names.get(&name));
            let known = recorded.copied().or_else(|| (!message.fresh).then_some(record.twin));
            let known = known.filter(|number| taken.insert((record.hash, *number)));
            groups.entry(record.hash).or_default().push((position, name, known));
        }
        Ok(false)
    })?;
    Ok(groups)
}

/// The numbers of one group: known ones stay. New ones come behind all that were ever given, or where the group has
/// no names yet, in the order that is recorded.
fn assign(hash: u128, group: &Group, twins: &Twins, given: &mut HashMap<usize, u32>) -> Naming {
    let recorded = twins.numbers(hash).map_or(1, |numbers| numbers.next);
    let highest = group.iter().filter_map(|(.., known)| *known).max();
    let mut next = recorded.max(highest.map_or(1, |number| number.saturating_add(1)));
    let in_order = highest.is_none() && twins.names(hash).is_none();
    let mut numbering = Numbering::new(twins);
    let mut members = Vec::with_capacity(group.len());
    for (position, name, known) in group {
        let number = known.unwrap_or_else(|| {
            if in_order { numbering.number(&Record { hash, ..Record::default() }) } else { next }
        });
        next = next.max(number.saturating_add(1));
        given.insert(*position, number);
        members.push((*name, number));
    }
    (hash, next, members)
}

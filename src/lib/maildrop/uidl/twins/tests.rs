//! Twin numbers outlive the index, crashes, and damage.

use super::*;

const CONDITION: Condition = Condition { new_file: (1, 2), known: 100, tail_check: 3 };

fn state() -> (tempfile::TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    (folder, directory)
}

fn numbers(next: u32, held: &[u32]) -> Numbers {
    let mut numbers = Numbers { next, held: Vec::new() };
    held.iter().for_each(|&number| numbers.hold(number));
    numbers
}

fn change(state: &Directory, hash: u128, numbers: Numbers, done: bool) {
    let mut twins = Twins::load(state).unwrap();
    assert!(twins.intend(state, CONDITION, vec![(hash, numbers)]).unwrap());
    twins.settle(state, done);
}

#[test]
fn what_was_done_holds_and_what_was_not_does_not() {
    let (_folder, state) = state();
    assert!(Twins::load(&state).unwrap().numbers(7).is_none(), "design, section 4: no file, no twins");
    change(&state, 7, numbers(4, &[2, 3]), true);
    change(&state, 8, numbers(9, &[1, 5, 6, 8]), true);
    change(&state, 7, numbers(5, &[3]), false);
    let twins = Twins::load(&state).unwrap();
    assert_eq!(twins.numbers(7), Some(&numbers(4, &[2, 3])));
    assert_eq!(twins.numbers(8), Some(&numbers(9, &[1, 5, 6, 8])));
    assert!(twins.pending().is_none() && twins.notes.is_empty());
}

#[test]
fn an_intent_waits_for_the_next_login() {
    let (_folder, state) = state();
    Twins::load(&state).unwrap().intend(&state, CONDITION, vec![(7, numbers(4, &[2]))]).unwrap();
    let mut twins = Twins::load(&state).unwrap();
    assert_eq!(twins.pending(), Some(CONDITION));
    assert!(twins.numbers(7).is_none());
    twins.settle(&state, true);
    assert_eq!(Twins::load(&state).unwrap().numbers(7), Some(&numbers(4, &[2])));
}

#[test]
fn a_torn_record_at_the_end_is_cut_off() {
    let (folder, state) = state();
    change(&state, 7, numbers(4, &[2]), true);
    let path = folder.path().join(NAME);
    let good = std::fs::read(&path).unwrap();
    change(&state, 8, numbers(4, &[3]), true);
    let whole = std::fs::read(&path).unwrap();
    for length in good.len()..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let twins = Twins::load(&state).unwrap();
        assert!(twins.notes.is_empty(), "a crash does this: nothing to report");
        assert_eq!(twins.numbers(7), Some(&numbers(4, &[2])));
        assert!(twins.numbers(8).is_none());
    }
    // What follows the torn one is readable.
    std::fs::write(&path, &whole[..good.len() + 5]).unwrap();
    change(&state, 9, numbers(4, &[3]), true);
    let twins = Twins::load(&state).unwrap();
    assert!(twins.numbers(9).is_some() && twins.notes.is_empty());
}

#[test]
fn other_damage_costs_the_damaged_record_alone() {
    let (folder, state) = state();
    change(&state, 7, numbers(4, &[2]), true);
    let first = std::fs::read(folder.path().join(NAME)).unwrap().len();
    change(&state, 8, numbers(4, &[3]), true);
    let path = folder.path().join(NAME);
    let good = std::fs::read(&path).unwrap();
    for position in 0..first {
        let mut bad = good.clone();
        bad[position] ^= 0x41;
        std::fs::write(&path, &bad).unwrap();
        let twins = Twins::load(&state).unwrap();
        assert_eq!(twins.numbers(8), Some(&numbers(4, &[3])), "octet {position}");
        assert_eq!(twins.notes.len(), 1, "octet {position}: damage is told");
    }
    change(&state, 9, numbers(4, &[3]), true);
    let twins = Twins::load(&state).unwrap();
    assert!(twins.numbers(8).is_some() && twins.numbers(9).is_some());
    assert!(twins.notes.is_empty(), "written anew without the damage");
}

#[test]
fn the_file_does_not_grow_for_ever() {
    let (folder, state) = state();
    for next in 2..1000 {
        change(&state, 7, numbers(next + 1, &[next]), true);
    }
    assert!(std::fs::metadata(folder.path().join(NAME)).unwrap().len() < COMPACT_FROM + 4096);
    assert_eq!(Twins::load(&state).unwrap().numbers(7), Some(&numbers(1000, &[999])));
}

#[test]
fn without_room_only_natural_numbers_may_go_unwritten() {
    let (folder, state) = state();
    let mut twins = Twins::load(&state).unwrap();
    drop(folder);
    assert!(!twins.intend(&state, CONDITION, vec![(7, numbers(4, &[1, 2]))]).unwrap());
    assert!(!twins.intend(&state, CONDITION, vec![(7, numbers(4, &[]))]).unwrap());
    let error = twins.intend(&state, CONDITION, vec![(7, numbers(4, &[2]))]).unwrap_err();
    assert_eq!(error.kind(), Kind::Temporary);
}

#[test]
fn recorded_numbers_are_given_out_first() {
    let (_folder, state) = state();
    change(&state, 7, numbers(6, &[2, 5]), true);
    let twins = Twins::load(&state).unwrap();
    let mut numbering = Numbering::new(&twins);
    let given = |hash| Record { hash, ..Record::default() };
    let order = [7, 8, 7, 7, 8, 7].map(|hash| numbering.number(&given(hash)));
    assert_eq!(order, [2, 1, 5, 6, 2, 7], "a number is never given twice");
}

#[test]
fn what_a_hostile_file_says_takes_no_more_memory_than_the_file() {
    // The file is the user's own: 16 octets may claim four thousand million numbers, which as a list took 16 GB.
    let (folder, state) = state();
    let mut octets = MAGIC.to_vec();
    for hash in 0..40u128 {
        let mut payload = Octets(vec![1]);
        payload.put(&hash.to_le_bytes());
        [u32::MAX, 1, 1, (1 << 24) - 1].into_iter().for_each(|number| payload.u32(number));
        octets.extend_from_slice(&framed(&payload.0));
    }
    std::fs::write(folder.path().join(NAME), &octets).unwrap();
    let twins = Twins::load(&state).unwrap();
    let held: usize = twins.numbers.values().map(|numbers| numbers.held.capacity() * 8).sum();
    assert!(twins.numbers.len() == 40 && held < octets.len(), "{held} octets");
    let mut numbering = Numbering::new(&twins);
    let record = Record { hash: 3, ..Record::default() };
    assert_eq!([1, 2, 3].map(|_| numbering.number(&record)), [1, 2, 3]);
}

#[test]
fn a_file_full_of_marks_costs_a_bounded_time() {
    let (folder, state) = state();
    let mut octets = MAGIC.to_vec();
    while octets.len() < 4 << 20 {
        octets.extend_from_slice(MARK);
        octets.extend_from_slice(&(1u32 << 21).to_le_bytes());
    }
    std::fs::write(folder.path().join(NAME), &octets).unwrap();
    let begun = crate::sys::testing::thread_time();
    let twins = Twins::load(&state).unwrap();
    let took = crate::sys::testing::thread_time() - begun;
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
    assert_eq!(twins.notes.len(), 1, "and it is told");
}

#[test]
fn what_would_be_too_long_to_read_is_not_written() {
    let (folder, state) = state();
    change(&state, 7, numbers(4, &[2, 3]), true);
    let odd: Vec<u32> = (0..2 << 20).map(|number| 2 * number + 1).collect();
    let mut twins = Twins::load(&state).unwrap();
    let plan = vec![(8, numbers(4 << 20, &odd))];
    assert!(twins.intend(&state, CONDITION, plan).is_err(), "two million runs of 8 octets");
    let length = std::fs::metadata(folder.path().join(NAME)).unwrap().len();
    assert!(length <= LONGEST as u64 && Twins::load(&state).unwrap().numbers(7).is_some());
}

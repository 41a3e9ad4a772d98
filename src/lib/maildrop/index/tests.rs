//! Damage of an index is found wherever it is; without room the index lives in memory.

use super::*;
use std::os::unix::fs::FileExt;

fn record(number: u64) -> Record {
    Record {
        offset: number * 100,
        envelope_length: 40,
        envelope_check: 7,
        length: 50,
        header_length: 20,
        octets: 55,
        hash: u128::from(number) << 90,
        twin: 1,
        ending: Ending::Separated,
        received: u32::try_from(number).unwrap(),
    }
}

fn written(state: &Directory, count: u64) -> Header {
    let mut writer = Writer::new(state).unwrap();
    (0..count).for_each(|number| writer.push(&record(number)).unwrap());
    let identity = Identity { device: 1, inode: 2, size: count * 100, ..Identity::default() };
    let header = Header { identity, known: count * 100, tail_check: 9, ..Header::default() };
    let (mut index, trouble) = writer.finish(header).unwrap();
    assert!(trouble.is_none());
    assert_eq!(all(&mut index).unwrap().len() as u64, count);
    *index.header()
}

fn all(index: &mut Index) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    index.for_each(|_, record| {
        records.push(*record);
        Ok(())
    })?;
    Ok(records)
}

#[test]
fn an_index_says_what_was_put_in() {
    let folder = tempfile::tempdir().unwrap();
    let state = Directory::open(folder.path()).unwrap();
    for count in [0, 1, 62, 63, 64, 126, 200] {
        let header = written(&state, count);
        let mut index = Index::load(&state).unwrap();
        assert_eq!(*index.header(), header);
        let last = u32::try_from(count).unwrap().saturating_sub(1);
        assert_eq!(
            (header.stored, header.oldest, header.newest),
            (count * 50, last.min(1), last),
            "0 says that nothing is known"
        );
        assert_eq!(all(&mut index).unwrap(), (0..count).map(record).collect::<Vec<_>>());
    }
    let mode = state.status(NAME).unwrap().unwrap().mode;
    assert_eq!(mode, 0o600);
    assert!(state.status(NEW_NAME).unwrap().is_none());
}

#[test]
fn a_revision_changes_what_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let state = Directory::open(folder.path()).unwrap();
    let mut writer = Writer::new(&state).unwrap();
    (0..100).for_each(|number| writer.push(&record(number)).unwrap());
    writer
        .revise(|record| {
            let change = record.offset == 7000;
            record.twin += u32::from(change);
            Ok(change)
        })
        .unwrap();
    let header = Header {
        identity: Identity { size: 10_000, ..Identity::default() },
        known: 10_000,
        ..Header::default()
    };
    let (mut index, _) = writer.finish(header).unwrap();
    let twins: Vec<u32> = all(&mut index).unwrap().iter().map(|record| record.twin).collect();
    assert_eq!((twins.len(), twins.iter().sum::<u32>(), twins[70]), (100, 101, 2));
}

#[test]
fn every_damaged_octet_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let state = Directory::open(folder.path()).unwrap();
    written(&state, 70);
    let good = std::fs::read(folder.path().join(NAME)).unwrap();
    let sound = |octets: &[u8]| {
        std::fs::write(folder.path().join(NAME), octets).unwrap();
        Index::load(&state).is_some_and(|mut index| all(&mut index).is_ok())
    };
    assert!(sound(&good));
    // The last octets of a page are not used.
    let unused = |position: usize| position % PAGE >= CHECKED + 8;
    for position in (0..good.len()).filter(|&position| !unused(position)).step_by(5) {
        let mut bad = good.clone();
        bad[position] ^= 0x10;
        assert!(!sound(&bad), "octet {position}: design, section 4, Index: every damage is found");
    }
    for length in [0, 1, 4095, 4096, 8192, good.len() - 1] {
        assert!(!sound(&good[..length]), "cut off at {length}");
        let mut zeroed = good.clone();
        zeroed[length..].fill(0);
        assert!(zeroed == good || !sound(&zeroed), "zeroes from {length}");
    }
    assert!(!sound(&[&good[..], b"x"].concat()));
    assert!(!sound(&[&good[..4096], &good[8192..], &good[4096..8192]].concat()), "pages in another order");
}

#[test]
fn a_page_of_an_older_index_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let state = Directory::open(folder.path()).unwrap();
    written(&state, 70);
    let old = std::fs::read(folder.path().join(NAME)).unwrap();
    written(&state, 70);
    let file = File::options().write(true).open(folder.path().join(NAME)).unwrap();
    file.write_all_at(&old[4096..8192], 4096).unwrap();
    assert!(all(&mut Index::load(&state).unwrap()).is_err(), "a power cut may bring it back");
}

#[test]
fn records_beyond_the_mailbox_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let state = Directory::open(folder.path()).unwrap();
    for bad in [
        Record { offset: u64::MAX - 3, ..record(1) },
        Record { length: u64::MAX, header_length: 0, ..record(1) },
        Record { offset: 50, ..record(1) },
    ] {
        let mut writer = Writer::new(&state).unwrap();
        writer.push(&record(0)).unwrap();
        writer.push(&bad).unwrap();
        let identity = Identity { size: 200, ..Identity::default() };
        let (mut index, _) = writer.finish(Header { identity, known: 200, ..Header::default() }).unwrap();
        assert!(all(&mut index).is_err(), "{bad:?}");
    }
}

#[test]
fn what_is_planted_is_removed_and_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let state = Directory::open(folder.path()).unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("target"), b"precious").unwrap();
    for name in [NAME, NEW_NAME] {
        std::os::unix::fs::symlink("target", at(name)).unwrap();
    }
    assert!(Index::load(&state).is_none());
    written(&state, 3);
    assert!(Index::load(&state).is_some());
    assert!(state.remove(NAME).unwrap());
    assert!(std::process::Command::new("mkfifo").arg(at(NAME)).status().unwrap().success());
    assert!(Index::load(&state).is_none(), "without blocking");
    std::fs::hard_link(at("target"), at(NAME)).unwrap();
    assert!(Index::load(&state).is_none());
    assert_eq!(std::fs::read(at("target")).unwrap(), b"precious");
}

#[test]
fn without_a_directory_to_write_to_the_index_is_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let state = Directory::open(folder.path()).unwrap();
    // A removed directory refuses new files, even from root.
    drop(folder);
    let mut writer = Writer::new(&state).unwrap();
    (0..100).for_each(|number| writer.push(&record(number)).unwrap());
    let identity = Identity { size: 10_000, ..Identity::default() };
    let (mut index, trouble) =
        writer.finish(Header { identity, known: 10_000, ..Header::default() }).unwrap();
    assert!(trouble.is_some());
    assert_eq!(all(&mut index).unwrap().len(), 100, "design, section 4: reading mail goes on");
}

#[test]
fn a_forged_index_asks_for_no_more_than_a_scan_would() {
    // The index is the user's own, and a sparse mailbox is as long as one likes.
    let folder = tempfile::tempdir().unwrap();
    let state = Directory::open(folder.path()).unwrap();
    let known = 1 << 40;
    for (envelope_length, good) in [(LONGEST_ENVELOPE, true), (LONGEST_ENVELOPE + 1, false), (3 << 30, false)]
    {
        let mut writer = Writer::new(&state).unwrap();
        writer.push(&Record { envelope_length, ..record(1) }).unwrap();
        let identity = Identity { size: known, ..Identity::default() };
        let (mut index, _) = writer.finish(Header { identity, known, ..Header::default() }).unwrap();
        assert_eq!(all(&mut index).is_ok(), good, "{envelope_length}");
    }
}

#[test]
fn messages_are_in_order_from_page_to_page() {
    let folder = tempfile::tempdir().unwrap();
    let state = Directory::open(folder.path()).unwrap();
    let mut writer = Writer::new(&state).unwrap();
    (100..163).for_each(|number| writer.push(&record(number)).unwrap());
    writer.push(&record(99)).unwrap();
    let identity = Identity { size: 20_000, ..Identity::default() };
    let (mut index, _) = writer.finish(Header { identity, known: 20_000, ..Header::default() }).unwrap();
    assert!(all(&mut index).is_err());
}

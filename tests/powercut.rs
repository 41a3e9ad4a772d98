//! Power cuts: the changes of an update are recorded in their order, every state is rebuilt that a power failure may leave,
//! and each is looked at as the next login would (design, section 4, "Update").
//!
//! What is assumed of the file system is little: what was synced is there. What was not may be missing, alone or with others,
//! or be torn at 512 octets; changes of one directory come back in their order, but as few of the last as the cut took; nothing is
//! assumed between files and directories. `POPTOOLS_LONG=1` logs in to every state instead of an even choice of them.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/disk.rs"]
mod disk;
#[path = "support/record.rs"]
mod record;
#[path = "support/scenario.rs"]
mod scenario;
#[path = "support/tracer.rs"]
mod tracer;

use common::client::assert_same;
use common::{World, isolated, mail, root_or_skip};
use disk::{Disk, Folder};
use record::{Node, Operation};
use scenario::{CASES, Case, Doing};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tracer::{Call, Effect, Plan, Role};
use twox_hash::XxHash3_64;

/// The longest draft of a dotlock: a process id and a word, in octets.
const DRAFT: u64 = 32;

/// States of one case that a login is tried with.
const LOGINS: usize = 100;

const RECORDING: Plan =
    Plan { role: Role::Login, nth: 0, counts: record::changes, effect: Effect::None, record: true };

/// A state: the mailbox's directory and the user's state directory.
type State = (Folder, Folder);

#[test]
fn a_power_cut_loses_no_message() {
    if !root_or_skip() {
        return;
    }
    let names = ["first", "last", "all", "all but one", "every second, mail comes", "all, mail comes"];
    let cases: Vec<&Case> = CASES.iter().filter(|case| names.contains(&case.name)).collect();
    scenario::for_each_job(&cases, |world, ids, case| {
        let (before, calls) = recorded(world, case);
        order_of_syncs(world, case, &calls);
        let operations: Vec<&Operation> = calls.iter().filter_map(|call| call.note.as_ref()).collect();
        let states = states(&before, &operations, node(&world.spool), node(scenario::state_directory()));
        for (place, (spool, _)) in states.iter().enumerate() {
            mailbox(case, spool, &format!("{}: state {place}", case.name));
        }
        let step = if scenario::long_run() { 1 } else { states.len().div_ceil(LOGINS) };
        let chosen: Vec<&State> = states.iter().step_by(step).collect();
        eprintln!(
            "power cut, {}: {} changes, {} states, {} logins",
            case.name,
            operations.len(),
            states.len(),
            chosen.len()
        );
        for state in chosen {
            login(world, case, ids, state);
        }
    });
}

fn node(path: &Path) -> Node {
    let found = fs::metadata(path).unwrap();
    (found.dev(), found.ino())
}

/// The disk before the update, and the calls of the update.
fn recorded(world: &World, case: &Case) -> (Disk, Vec<Call>) {
    let mut disk = None;
    let spool = world.spool.clone();
    let (reply, traced) = scenario::update_after(world, case, RECORDING, || {
        disk = Some(Disk::read(&[&spool, scenario::state_directory()]));
    });
    assert!(reply.is_some_and(|reply| reply.starts_with("+OK")), "{}", case.name);
    (disk.unwrap(), traced.calls)
}

/// The order that the promise rests on: data before the name, the name before the answer.
fn order_of_syncs(world: &World, case: &Case, calls: &[Call]) {
    let spool = node(&world.spool);
    let place = |wanted: &dyn Fn(&Call) -> bool| calls.iter().position(wanted);
    let noted = |call: &Call, wanted: &dyn Fn(&Operation) -> bool| call.note.as_ref().is_some_and(wanted);
    let answered = place(&|call| {
        call.role == Role::Session
            && [libc::SYS_write, libc::SYS_writev, libc::SYS_sendto].contains(&call.number)
            && !call.to_file
    })
    .expect("an answer");
    let renamed =
        place(&|call| noted(call, &|done| matches!(done, Operation::Rename { to, .. } if to == "ann")));
    let Some(renamed) = renamed else {
        let cut = place(&|call| {
            noted(call, &|done| matches!(done, Operation::Truncate { .. })) && call.role == Role::Session
        });
        let synced = calls[..answered]
            .iter()
            .rposition(|call| noted(call, &|done| matches!(done, Operation::Sync { .. })));
        assert!(cut.unwrap() < synced.unwrap(), "{}: shortened, synced, answered", case.name);
        return;
    };
    let Some(Operation::Rename { from, .. }) = &calls[renamed].note else { panic!("no rename") };
    let file = calls.iter().find_map(|call| match &call.note {
        Some(Operation::Create { name, file, .. }) if name == from => Some(*file),
        _ => None,
    });
    let written = |done: &Operation| matches!(done, Operation::Write { file: to, .. } if Some(*to) == file);
    let synced = |done: &Operation| matches!(done, Operation::Sync { node } if Some(*node) == file);
    let last =
        |wanted: &dyn Fn(&Operation) -> bool| calls[..renamed].iter().rposition(|call| noted(call, wanted));
    assert!(
        last(&written).unwrap() < last(&synced).unwrap(),
        "{}: the data are synced before the name",
        case.name
    );
    let directory = |done: &Operation| *done == Operation::Sync { node: spool };
    let name = calls[renamed..answered].iter().any(|call| noted(call, &directory));
    assert!(name, "{}: the name is synced before the answer", case.name);
}

/// Every state that a cut may leave, without repetition. The two directories' states meet in all ways.
fn states(before: &Disk, operations: &[&Operation], spool: Node, state: Node) -> Vec<State> {
    let mut seen = HashSet::new();
    let mut states = Vec::new();
    for cut in 0..=operations.len() {
        let done = &operations[..cut];
        let (mailboxes, caches) = (before.left(done, spool), before.left(done, state));
        for mailbox in &mailboxes {
            for cache in &caches {
                if seen.insert((mailbox.clone(), cache.clone())) {
                    states.push((mailbox.clone(), cache.clone()));
                }
            }
        }
    }
    states
}

/// The mailbox is the old or the new one; whether it is the new one.
fn mailbox(case: &Case, spool: &Folder, what: &str) -> bool {
    let (_, stored) = spool.get("ann").unwrap_or_else(|| panic!("{what}: no mailbox"));
    let made = *stored == mail::mbox(&case.after());
    if !made {
        assert_same(&format!("{what}: neither new nor old"), stored, &mail::mbox(&case.before()));
    }
    made
}

/// Rebuilds a state and logs in.
fn login(world: &World, case: &Case, ids: &[String], (spool, state): &State) {
    let sizes = |folder: &Folder| -> Vec<String> {
        folder.iter().map(|(name, (_, octets))| format!("{name} {}", octets.len())).collect()
    };
    let what = format!("{}: spool {:?}, state {:?}", case.name, sizes(spool), sizes(state));
    let _doing = Doing(what.clone());
    scenario::clean(world);
    fs::create_dir(scenario::state_directory()).unwrap();
    common::machine::chmod(scenario::state_directory(), 0o700);
    let owner = (common::world::uid("ann"), common::world::group("mail"));
    chown(scenario::state_directory(), Some(owner.0), Some(owner.0)).unwrap();
    let mut nodes = BTreeMap::new();
    for (folder, place, group) in
        [(spool, world.spool.as_path(), owner.1), (state, scenario::state_directory(), owner.0)]
    {
        for (name, (old, octets)) in folder {
            let path = place.join(name);
            common::machine::write(&path, octets, if name.ends_with(".lock") { 0o644 } else { 0o660 });
            chown(&path, Some(owner.0), Some(group)).unwrap();
            nodes.insert(*old, node(&path));
        }
    }
    if let Some((_, octets)) = spool.get("ann.lock")
        && !octets.ends_with(b"\npoptools\n")
    {
        // One that does not say whose it was is stale when it is 300 s old (design, section 4, "Locks").
        let long_ago = SystemTime::now() - Duration::from_secs(301);
        let file = fs::File::options().write(true).open(world.spool.join("ann.lock")).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    same_file(&world.mailbox("ann"), spool["ann"].0);
    same_number(&nodes);
    let made = mailbox(case, spool, &what);
    scenario::look_at_all(DRAFT, world, case, ids, made, &what);
}

/// The rebuilt mailbox has another number and other times than the one that the index knows: the index is told, if it is whole
/// so far, since it shall not be spared.
fn same_file(mailbox: &Path, old: Node) {
    let path = scenario::state_directory().join("index");
    let Ok(mut octets) = fs::read(&path) else { return };
    let number = |octets: &[u8], at: usize| u64::from_le_bytes(octets[at..at + 8].try_into().unwrap());
    if octets.len() < 4096 || number(&octets, 4032) != XxHash3_64::oneshot(&octets[..4032]) {
        return;
    }
    let found = fs::metadata(mailbox).unwrap();
    if (number(&octets, 16), number(&octets, 24)) != old || number(&octets, 32) != found.size() {
        return;
    }
    let times =
        [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()].map(i64::cast_unsigned);
    let values = [found.dev(), found.ino(), found.size()].into_iter().chain(times);
    for (place, value) in values.enumerate() {
        octets[16 + 8 * place..24 + 8 * place].copy_from_slice(&value.to_le_bytes());
    }
    let check = XxHash3_64::oneshot(&octets[..4032]);
    octets[4032..4040].copy_from_slice(&check.to_le_bytes());
    fs::write(&path, octets).unwrap();
}

/// The same for intents in the `uidl` file, which name the file that takes the mailbox's place.
fn same_number(nodes: &BTreeMap<Node, Node>) {
    let path = scenario::state_directory().join("uidl");
    let Ok(mut octets) = fs::read(&path) else { return };
    let mut at = 16;
    while let Some(length) = octets.get(at + 4..at + 8) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let (start, end) = (at + 8, at + 8 + length);
        if octets.len() < end + 8
            || octets[end..end + 8] != XxHash3_64::oneshot(&octets[at + 4..end]).to_le_bytes()
        {
            return;
        }
        if octets[start] == 2 {
            let number = |from: usize| u64::from_le_bytes(octets[from..from + 8].try_into().unwrap());
            let old = (number(start + 1), number(start + 9));
            if let Some((device, inode)) = nodes.get(&old) {
                octets[start + 1..start + 9].copy_from_slice(&device.to_le_bytes());
                octets[start + 9..start + 17].copy_from_slice(&inode.to_le_bytes());
                let check = XxHash3_64::oneshot(&octets[at + 4..end]);
                octets[end..end + 8].copy_from_slice(&check.to_le_bytes());
            }
        }
        at = end + 8;
    }
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&octets, 0).unwrap();
}

#[test]
fn the_model_of_a_disk_loses_what_was_not_synced() {
    // The test's own tool: without it a missing fsync would pass.
    isolated(|| {
        let (directory, file) = ((0, 1), (0, 2));
        let disk = Disk::default();
        let create = Operation::Create { directory, name: "ann".into(), file };
        let write = Operation::Write { file, offset: 0, data: vec![b'x'; 1024] };
        let contents = |done: &[&Operation]| -> HashSet<Option<usize>> {
            let left = disk.left(done, directory);
            left.iter().map(|folder| folder.get("ann").map(|(_, octets)| octets.len())).collect()
        };
        assert_eq!(contents(&[&create, &write]), [None, Some(0), Some(512), Some(1024)].into());
        let synced = Operation::Sync { node: file };
        assert_eq!(contents(&[&create, &write, &synced]), [None, Some(1024)].into());
        let named = Operation::Sync { node: directory };
        assert_eq!(contents(&[&create, &write, &synced, &named]), [Some(1024)].into());
    });
}

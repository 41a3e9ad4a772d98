//! Power cuts in the update of a Maildir, and while a login writes `index` and `uidl` (design, section 4).
//!
//! Of the Maildir: a removal that was not synced may be missing, alone or with others. A message that moves is in `new`, in
//! both directories, or in `cur`; it is gone from `new` for certain when that was synced, and in `cur` only when that was.

use super::common::World;
use super::common::machine::{chmod, write};
use super::common::world::uid;
use super::disk::{Disk, Folder};
use super::record::{Node, Operation};
use super::scenario::{self, Case, Doing, Kept};
use super::tracer::{Call, Role};
use super::{RECORDING, node};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::chown;

/// States of one case that a login is tried with.
const LOGINS: usize = 25;

/// Names in `new`, and in `cur`.
type Names = [BTreeSet<String>; 2];

const FOLDERS: [&str; 2] = ["new", "cur"];

/// Cuts the power in an update.
pub(crate) fn update(world: &World, ids: &[String], case: &Case) {
    let (mut before, mut nodes, mut state) = (Names::default(), [(0, 0); 2], Folder::new());
    let (reply, traced) = scenario::update_after(world, case, RECORDING, || {
        before = FOLDERS.map(|folder| names(world, folder));
        nodes = FOLDERS.map(|folder| node(&world.mailbox("ann").join(folder)));
        let directory = scenario::state_directory();
        state = Disk::read(&[directory]).left(&[], node(directory)).pop_first().unwrap();
    });
    assert!(reply.is_some_and(|reply| reply.starts_with("+OK")), "{}", case.title());
    order_of_syncs(case, &traced.calls, nodes);
    let operations: Vec<&Operation> = traced.calls.iter().filter_map(|call| call.note.as_ref()).collect();
    let mut states = BTreeSet::new();
    for cut in 0..=operations.len() {
        states.extend(left(&before, &operations[..cut], nodes));
    }
    for state in &states {
        for number in case.numbers(true) {
            let found = state.iter().flatten().any(|name| number_of(name) == number);
            assert!(found, "{}: message {number} is lost: {state:?}", case.title());
        }
    }
    let step = if scenario::long_run() { 1 } else { states.len().div_ceil(LOGINS) };
    eprintln!("power cut, {}: {} states, every {step}. is logged in to", case.title(), states.len());
    for names in states.iter().step_by(step) {
        let what = format!("{}: {names:?}", case.title());
        let _doing = Doing(what.clone());
        scenario::clean(world);
        rebuild(world, names);
        write_state(&state);
        let numbers = scenario::left_in_maildir(world, case, &what);
        scenario::look_at_all(0, world, Kept::Maildir, ids, &numbers, &what);
    }
}

fn names(world: &World, folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(world.mailbox("ann").join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn number_of(name: &str) -> usize {
    name.split('.').next().unwrap().parse::<usize>().unwrap() - 1000
}

/// What must be on the disk before +OK: the names that are gone, and those in `cur` before they are gone from `new`.
fn order_of_syncs(case: &Case, calls: &[Call], nodes: [Node; 2]) {
    let answered = answer(calls);
    let last = |wanted: &dyn Fn(&Operation) -> bool| {
        calls[..answered].iter().rposition(|call| call.note.as_ref().is_some_and(wanted))
    };
    let synced = nodes.map(|folder| last(&|done| *done == Operation::Sync { node: folder }));
    for (folder, synced) in nodes.iter().zip(synced) {
        let changed = last(&|done| match done {
            Operation::Remove { directory, .. } => directory == folder,
            Operation::Rename { directory, into, .. } => directory == folder || into == folder,
            _ => false,
        });
        assert!(changed <= synced, "{}: changed, synced, answered", case.title());
    }
    if last(&|done| matches!(done, Operation::Rename { into, .. } if *into == nodes[1])).is_some() {
        assert!(synced[1] < synced[0], "{}: in cur before it is gone from new", case.title());
    }
}

fn answer(calls: &[Call]) -> usize {
    let writes = [libc::SYS_write, libc::SYS_writev, libc::SYS_sendto];
    let answer = |call: &Call| {
        call.role == Role::Session && writes.contains(&call.number) && !call.to_file && call.arguments[2] > 0
    };
    calls.iter().position(answer).expect("an answer")
}

/// The names that may be left when the power fails behind these changes: all that were not synced are missing, or are there,
/// or came as far as one of them, or one alone is missing or there.
fn left(before: &Names, done: &[&Operation], nodes: [Node; 2]) -> Vec<Names> {
    let changes: Vec<(usize, &Operation)> = (0..).zip(done.iter().copied()).collect();
    let changes: Vec<(usize, &Operation)> = changes
        .into_iter()
        .filter(|(_, change)| match change {
            Operation::Remove { directory, .. } | Operation::Rename { directory, .. } => {
                nodes.contains(directory)
            }
            _ => false,
        })
        .collect();
    let synced = |place: usize| {
        nodes.map(|folder| done[place..].iter().any(|later| **later == Operation::Sync { node: folder }))
    };
    let state = |stage: &dyn Fn(usize) -> u8| {
        let mut names = before.clone();
        for (at, (place, change)) in changes.iter().enumerate() {
            apply(&mut names, change, stage(at), synced(*place), nodes);
        }
        names
    };
    let mut states = vec![state(&|_| 0), state(&|_| 1), state(&|_| 2)];
    for one in 0..changes.len() {
        states.push(state(&|at| if at < one { 2 } else { 0 }));
        states.push(state(&|at| if at == one { 2 } else { 0 }));
        states.push(state(&|at| if at == one { 0 } else { 2 }));
    }
    states
}

/// Applies a change as far as the stage says (0: not, 1: the message has both names, 2: wholly) or as the syncs demand.
fn apply(names: &mut Names, change: &Operation, stage: u8, synced: [bool; 2], nodes: [Node; 2]) {
    match change {
        Operation::Remove { directory, name } => {
            let folder = usize::from(*directory == nodes[1]);
            if stage > 0 || synced[folder] {
                names[folder].remove(name);
            }
        }
        Operation::Rename { from, to, .. } => {
            if stage > 0 || synced[1] {
                names[1].insert(to.clone());
            }
            if stage > 1 || synced[0] {
                names[0].remove(from);
            }
        }
        _ => {}
    }
}

/// Makes a Maildir with these names.
fn rebuild(world: &World, names: &Names) {
    scenario::fill(world, Kept::Maildir);
    let maildir = world.mailbox("ann");
    for folder in FOLDERS {
        for name in self::names(world, folder) {
            fs::remove_file(maildir.join(folder).join(name)).unwrap();
        }
    }
    for (folder, names) in FOLDERS.iter().zip(names) {
        for name in names {
            let path = maildir.join(folder).join(name);
            let other = FOLDERS.map(|folder| maildir.join(folder).join(name.split(':').next().unwrap()));
            if other[0].exists() {
                fs::hard_link(&other[0], &path).unwrap();
            } else {
                scenario::put_as(world, number_of(name), &path);
            }
        }
    }
}

fn write_state(state: &Folder) {
    let directory = scenario::state_directory();
    fs::create_dir(directory).unwrap();
    chmod(directory, 0o700);
    chown(directory, Some(uid("ann")), Some(uid("ann"))).unwrap();
    for (name, (_, octets)) in state {
        write(&directory.join(name), octets, 0o600);
        chown(directory.join(name), Some(uid("ann")), Some(uid("ann"))).unwrap();
    }
}

/// Cuts the power in a login, which writes `index` and `uidl`; `known`: for the first time, or when mail has come.
pub(crate) fn login(world: &World, ids: &[String], kept: Kept, known: bool) {
    let last = scenario::COUNT + usize::from(known);
    let prepare = || {
        scenario::clean(world);
        scenario::fill(world, kept);
    };
    prepare();
    let client = world.log_in("ann");
    client.hang_up();
    let directory = scenario::state_directory();
    if known {
        scenario::deliver(world, kept, last);
    } else {
        fs::read_dir(directory).unwrap().for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap());
    }
    let disk = Disk::read(&[directory]);
    let place = node(directory);
    let (reply, traced) = scenario::login(world, RECORDING);
    assert!(reply.is_some_and(|reply| reply.starts_with("+OK")));
    let operations: Vec<&Operation> = traced.calls.iter().filter_map(|call| call.note.as_ref()).collect();
    let states: BTreeSet<Folder> =
        (0..=operations.len()).flat_map(|cut| disk.left(&operations[..cut], place)).collect();
    let ended = disk.left(&operations, place);
    let step = if scenario::long_run() { 1 } else { states.len().div_ceil(LOGINS) };
    eprintln!(
        "power cut, login, {kept:?}, known {known}: {} changes, {} states, every {step}. is logged in to",
        operations.len(),
        states.len()
    );
    for state in states.iter().step_by(step) {
        let sizes: Vec<_> = state.iter().map(|(name, (_, octets))| (name, octets.len())).collect();
        let what = format!("login, {kept:?}, known {known}: {sizes:?}");
        let _doing = Doing(what.clone());
        prepare();
        if known {
            scenario::deliver(world, kept, last);
        }
        fs::remove_dir_all(directory).unwrap_or_default();
        write_state(state);
        let mut numbers: Vec<usize> = (1..=last).collect();
        if kept == Kept::Maildir && ended.contains(state) {
            // The client has been told: a twin that goes by another program's hand takes no number away.
            fs::remove_file(world.mailbox("ann").join("new/1007.M1.host")).unwrap();
            numbers.retain(|number| *number != 7);
        }
        scenario::look_at_all(0, world, kept, ids, &numbers, &what);
    }
}

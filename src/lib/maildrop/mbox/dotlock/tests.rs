//! Which dotlocks stand and which are stale (design, section 4, "Locks").

use super::*;
use crate::sys::file::{Stamp, set_times};
use crate::sys::lock::unlock;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Spool {
    folder: tempfile::TempDir,
    directory: Directory,
}

impl Spool {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        Self { folder, directory }
    }

    fn take(&self) -> (Try, bool) {
        let uid = std::fs::metadata(self.folder.path()).unwrap().uid();
        let mut leftover = false;
        let dotlocks = Dotlocks { directory: &self.directory, mailbox: "ann", uid };
        (dotlocks.take(&mut leftover).unwrap(), leftover)
    }

    /// Another program's dotlock, this many seconds old.
    fn foreign(&self, content: &str, age: i64) {
        let path = self.folder.path().join("ann.lock");
        std::fs::write(&path, content).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let Stamp { seconds, .. } = status(&file).unwrap().identity.modified;
        let old = Stamp { seconds: seconds - age, nanoseconds: 0 };
        set_times(&file, old, old).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.directory.names("").unwrap();
        names.retain(|name| !matches!(name.as_str(), "." | ".."));
        names
    }
}

/// The pid of a process that is gone.
fn dead() -> u32 {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

fn content_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn ours_says_who_we_are_and_goes_when_released() {
    let spool = Spool::new();
    let (Try::Taken(dotlock), false) = spool.take() else { panic!("not taken") };
    let path = spool.folder.path().join("ann.lock");
    assert_eq!(content_of(&path), format!("{}\npoptools\n", std::process::id()));
    assert!(dotlock.is_held(&spool.directory));
    assert!(matches!(spool.take(), (Try::Busy(_), false)), "a live one of ours stands");
    dotlock.release(&spool.directory);
    assert!(spool.names().is_empty());
}

#[test]
fn one_that_a_killed_process_of_ours_left_is_known_at_once() {
    let spool = Spool::new();
    let (Try::Taken(dotlock), _) = spool.take() else { panic!("not taken") };
    // The kernel does this for a process that is killed.
    unlock(&dotlock.file).unwrap();
    assert!(matches!(spool.take(), (Try::Taken(_), true)), "its kernel lock is free: it is a leftover");
    assert!(!dotlock.is_held(&spool.directory), "the next one is not ours");
    dotlock.release(&spool.directory);
    assert_eq!(spool.names(), ["ann.lock"], "nor ours to remove");
}

#[test]
fn a_foreign_one_is_stale_when_it_is_old_and_its_holder_is_gone() {
    let alive = std::process::id().to_string();
    let dead = dead().to_string();
    for (content, age, stale) in [
        (alive.as_str(), 400, false),
        (&dead, 290, false),
        (&dead, 310, true),
        ("", 290, false),
        ("", 310, true),
        ("0", 310, true),
        ("-5", 310, true),
        ("not a pid", 310, true),
    ] {
        let spool = Spool::new();
        spool.foreign(content, age);
        let (found, leftover) = spool.take();
        assert_eq!(matches!(found, Try::Taken(_)), stale, "{content:?}, {age} s old");
        assert!(!leftover);
        assert_eq!(spool.names(), ["ann.lock"], "no probe is left behind");
    }
}

#[test]
fn a_planted_one_is_told_from_a_lock() {
    let spool = Spool::new();
    spool.foreign("1", 0);
    let path = spool.folder.path().join("ann.lock");
    if std::os::unix::fs::chown(&path, Some(54_321), None).is_err() {
        eprintln!("skipped: needs root to give files away");
        return;
    }
    assert!(matches!(spool.take(), (Try::Busy(_), _)), "nobody else can make files here");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(spool.folder.path(), everybody).unwrap();
    assert!(matches!(spool.take(), (Try::Planted, _)));
    std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    assert!(matches!(spool.take(), (Try::Busy(_), _)), "root's is a lock");
}

#[test]
fn the_holder_is_told_and_nothing_is_made_while_it_stands() {
    let spool = Spool::new();
    spool.foreign("4711\n", 40);
    let before = status(&spool.directory).unwrap().identity;
    let (Try::Busy(holder), _) = spool.take() else { panic!("not busy") };
    assert_eq!(holder.pid, Some(4711));
    assert!(holder.age.is_some_and(|age| (40..60).contains(&age)), "{holder:?}");
    assert_eq!(
        status(&spool.directory).unwrap().identity,
        before,
        "no draft, no probe: who waits asks often"
    );
}

/// Takes the dotlock `rounds` times; `inside` counts who has it.
fn race(spool: &Spool, rounds: usize, inside: &AtomicUsize) {
    let uid = std::fs::metadata(spool.folder.path()).unwrap().uid();
    let dotlocks = Dotlocks { directory: &spool.directory, mailbox: "ann", uid };
    for round in 0..rounds {
        loop {
            // Leftovers are looked for at any time: a sweeper must take nothing that counts.
            dotlocks.sweep();
            match dotlocks.take(&mut false).unwrap() {
                Try::Taken(dotlock) => {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two holders, round {round}");
                    assert!(dotlock.is_held(&spool.directory));
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    dotlock.release(&spool.directory);
                    break;
                }
                Try::Busy(_) => std::thread::yield_now(),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_dotlock_alone_has_one_holder_at_a_time() {
    let spool = Spool::new();
    let inside = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| race(&spool, 200, &inside));
        }
    });
    assert!(spool.names().is_empty(), "design, section 4, Locks: {:?}", spool.names());
}

#[test]
fn a_draft_that_a_killed_process_left_is_swept_and_a_live_one_stays() {
    let spool = Spool::new();
    let uid = std::fs::metadata(spool.folder.path()).unwrap().uid();
    let dotlocks = Dotlocks { directory: &spool.directory, mailbox: "ann", uid };
    let (_, dead) = spool.directory.create_unguessable(".ann.poptools-").unwrap();
    let (name, live) = spool.directory.create_unguessable(".ann.poptools-").unwrap();
    assert!(try_lock(&live).unwrap());
    drop(dead);
    dotlocks.sweep();
    assert_eq!(spool.names(), [name]);
}

#[test]
fn of_many_that_find_a_stale_one_a_single_one_takes_it() {
    const MANY: usize = 4;
    let spool = Spool::new();
    for round in 0..200 {
        spool.foreign("0", 400);
        let all_tried = std::sync::Barrier::new(MANY);
        let taken = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..MANY {
                scope.spawn(|| {
                    let (found, _) = spool.take();
                    all_tried.wait();
                    if let Try::Taken(dotlock) = found {
                        taken.fetch_add(1, Ordering::SeqCst);
                        dotlock.release(&spool.directory);
                    }
                });
            }
        });
        assert!(taken.into_inner() <= 1, "two holders, round {round}");
    }
}

//! Other programs that use the mailbox at the same time.

use super::*;
use crate::maildrop::mbox::spool::{Purpose, Spool};
use crate::sys::file::{Stamp, set_times};
use crate::sys::lock::{ignore_lease_breaks, try_lock, unlock};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::Instant;

fn locker(home: &Home) -> File {
    let file = File::options().read(true).append(true).open(home.path()).unwrap();
    assert!(try_lock(&file).unwrap());
    file
}

#[test]
fn a_mailbox_that_another_program_changed_is_neither_read_nor_updated() {
    type Change = fn(&Home);
    let changes: [Change; 5] = [
        |home| {
            let end = home.content().len() as u64;
            File::options().write(true).open(home.path()).unwrap().write_all_at(b"X", end - 4).unwrap();
            home.append(&message(4));
        },
        |home| std::fs::write(home.path(), mailbox([1, 2, 4])).unwrap(),
        |home| File::options().write(true).open(home.path()).unwrap().set_len(150).unwrap(),
        |home| File::options().write(true).open(home.path()).unwrap().write_all_at(b"X", 90).unwrap(),
        |home| {
            std::fs::write(home.path().with_extension("new"), mailbox(1..=3)).unwrap();
            std::fs::rename(home.path().with_extension("new"), home.path()).unwrap();
        },
    ];
    for (which, change) in changes.iter().enumerate() {
        let home = Home::new(&mailbox(1..=3));
        let mut mbox = home.open();
        change(&home);
        let after = home.content();
        let error = text(&mut mbox, 3).unwrap_err();
        assert_eq!(error.kind(), Kind::Temporary, "change {which}: design, section 4, Other writers");
        assert!(error.to_string().contains("changed by another program"), "{error}");
        assert_eq!(delete(&mut mbox, [1]).unwrap_err().kind(), Kind::Temporary, "change {which}");
        assert_eq!(home.content(), after, "change {which}: nothing changed");
        assert_eq!(home.names(), ["ann"]);
        assert!(home.open().count() > 0, "the next login scans again");
    }
}

#[test]
fn a_change_of_the_times_alone_stops_nobody() {
    // procmail sets them behind a delivery, and a write changes them before the size.
    let home = Home::new(&mailbox(1..=3));
    let mut mbox = home.open();
    let file = File::options().write(true).open(home.path()).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    assert!(text(&mut mbox, 3).is_ok(), "design, section 4, Other writers");
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_001)).unwrap();
    delete(&mut mbox, [1]).unwrap();
    assert_eq!(home.content(), mailbox(2..=3));
}

#[test]
fn another_message_of_the_same_length_is_found_before_an_update() {
    // Far from the end and not in an envelope line: the times say that there was a write, and all is read again.
    let long = "a line\n".repeat(2000);
    let filled =
        format!("{}{long}\n{}", mailbox([1]).trim_end_matches('\n').to_owned() + "\n", mailbox(2..=3));
    let home = Home::new(&filled);
    let mut mbox = home.open();
    let at = home.content().find("Subject: 1").unwrap() as u64 + 9;
    File::options().write(true).open(home.path()).unwrap().write_all_at(b"9", at).unwrap();
    let after = home.content();
    assert_eq!(
        delete(&mut mbox, [2]).unwrap_err().kind(),
        Kind::Temporary,
        "design, section 4, Other writers"
    );
    assert_eq!(home.content(), after, "nothing changed");
}

#[test]
fn less_than_the_message_is_never_the_message() {
    let home = Home::new(&mailbox(1..=3));
    let mut mbox = home.open();
    let (third, mut buffer) = (MsgNo::new(3).unwrap(), [0; 8]);
    assert_eq!(mbox.read(third, 0, &mut buffer).unwrap(), 8);
    File::options().write(true).open(home.path()).unwrap().set_len(home.content().len() as u64 - 6).unwrap();
    let error = mbox.read(third, 8, &mut [0; 100]).unwrap_err();
    assert_eq!(error.kind(), Kind::Temporary, "it shrank while it was sent");
}

#[test]
fn every_envelope_line_is_checked_before_an_update() {
    let home = Home::new(&mailbox(1..=200));
    let mut mbox = home.open();
    // Another program rewrote the first envelope line, hid its times, and more mail came.
    let file = File::options().write(true).open(home.path()).unwrap();
    file.write_all_at(b"v", 5).unwrap();
    home.append(&message(201));
    assert!(text(&mut mbox, 2).is_ok(), "the tail is as it was: mail was appended");
    assert!(text(&mut mbox, 1).is_err(), "RETR checks its envelope line");
    assert!(delete(&mut mbox, [200]).is_err(), "the update checks all");
}

#[test]
fn appended_mail_disturbs_no_reader() {
    let home = Home::new(&mailbox(1..=3));
    let mut mbox = home.open();
    home.append(&message(4));
    assert_eq!(texts(&mut mbox).len(), 3, "numbers never change in a session");
}

#[test]
fn a_lock_is_waited_for_and_then_given_up() {
    let mut home = Home::new(&mailbox(1..=2));
    let other = locker(&home);
    assert!(home.try_open().err().unwrap().reply().starts_with("[SYS/TEMP]"));
    home.patience = Duration::from_secs(20);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| home.open().count());
        unlock(&other).unwrap();
        assert_eq!(waiting.join().unwrap(), 2);
    });
    assert_eq!(home.names(), ["ann"]);
}

#[test]
fn who_holds_a_session_open_holds_no_lock() {
    let home = Home::new(&mailbox(1..=2));
    let _mbox = home.open();
    assert!(!home.path().with_extension("lock").exists());
    drop(locker(&home));
}

#[test]
fn an_update_holds_both_locks_and_gives_them_back() {
    let home = Home::new(&mailbox(1..=2));
    let mut local = home.local();
    let locked = local.lock(Purpose::Update).unwrap().unwrap();
    assert_eq!(home.names(), ["ann", "ann.lock"]);
    let other = File::options().read(true).append(true).open(home.path()).unwrap();
    assert!(!try_lock(&other).unwrap());
    let temporary = local.temporary().unwrap();
    assert_eq!(home.names().len(), 3);
    drop(local);
    assert_eq!(home.names(), ["ann"], "design, section 2: end of file means abort");
    assert!(try_lock(&other).unwrap());
    drop((locked, temporary));
    assert_eq!(home.content(), mailbox(1..=2));
}

#[test]
fn leftovers_of_a_killed_update_are_removed_by_the_next_login() {
    let home = Home::new(&mailbox(1..=2));
    let mut local = home.local();
    let locked = local.lock(Purpose::Update).unwrap();
    let temporary = local.temporary().unwrap();
    temporary.write_all_at(b"half", 0).unwrap();
    // A killed process runs no destructor, and the kernel closes its descriptors.
    let dead = home.names();
    assert_eq!(dead.len(), 3);
    let saved = home.folder.path().join("saved");
    std::fs::create_dir(&saved).unwrap();
    for name in &dead[..] {
        std::fs::copy(home.path().with_file_name(name), saved.join(name)).unwrap();
    }
    drop((local, locked, temporary));
    for name in dead.iter().filter(|name| *name != "ann") {
        std::fs::copy(saved.join(name), home.path().with_file_name(name)).unwrap();
    }
    assert_eq!(home.names(), dead);
    assert_eq!(home.open().count(), 2);
    assert_eq!(home.names(), ["ann"], "design, section 4, Update, 3");
}

#[test]
fn leftovers_are_removed_although_the_mailbox_is_unchanged() {
    for dotlock_too in [true, false] {
        let home = Home::new(&mailbox(1..=2));
        drop(home.open());
        let leave = |name: &str, text: &str| std::fs::write(home.path().with_file_name(name), text).unwrap();
        if dotlock_too {
            leave("ann.lock", "77\npoptools\n");
        }
        leave(&format!(".ann.poptools-{}", "0".repeat(32)), "half");
        drop(home.state().create(UPDATING, 0o600).unwrap());
        assert_eq!(home.open().count(), 2);
        assert_eq!(home.names(), ["ann"], "design, section 4, Update, 3: a leftover stops no delivery");
        assert!(!home.open().was_killed());
    }
}

#[test]
fn a_dotlock_left_beside_an_empty_mailbox_is_removed() {
    let home = Home::new("");
    std::fs::write(home.path().with_extension("lock"), "77\npoptools\n").unwrap();
    drop(home.state().create(UPDATING, 0o600).unwrap());
    assert_eq!(home.open().count(), 0);
    assert_eq!(home.names(), ["ann"], "killed behind the truncation, it would stop deliveries");
}

#[test]
fn an_update_leaves_a_mark_until_its_locks_are_given_back() {
    let home = Home::new(&mailbox(1..=2));
    let mut mbox = home.open();
    let other = locker(&home);
    assert!(delete(&mut mbox, [1]).is_err());
    drop(other);
    assert!(mbox.was_killed(), "as far as the next login can know");
    drop(mbox);
    assert_eq!(texts(&mut home.open()).len(), 2);
    delete(&mut home.open(), [1]).unwrap();
    assert!(!home.open().was_killed());
}

#[test]
fn only_our_own_dead_temporary_files_are_swept() {
    let mut home = Home::new(&mailbox(1..=2));
    home.locks.dotlock = false;
    let make = |name: &str| std::fs::write(home.path().with_file_name(name), "x").unwrap();
    let random = "0123456789abcdef0123456789abcdef";
    make(&format!(".ann.poptools-{random}"));
    make(&format!(".bob.poptools-{random}"));
    make(".ann.poptools-notes");
    std::os::unix::fs::symlink(
        "ann",
        home.path().with_file_name(format!(".ann.poptools-{random}").replace('0', "f")),
    )
    .unwrap();
    drop(home.open());
    let names = home.names();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(!names.contains(&format!(".ann.poptools-{random}")));
    assert!(names.contains(&format!(".bob.poptools-{random}")));
}

#[test]
fn a_planted_dotlock_stops_no_reader_and_is_named() {
    let home = Home::new(&mailbox(1..=2));
    let lock = home.path().with_extension("lock");
    std::fs::write(&lock, "").unwrap();
    if std::os::unix::fs::chown(&lock, Some(54_321), None).is_err() {
        eprintln!("skipped: needs root to give files away");
        return;
    }
    std::fs::set_permissions(home.path().parent().unwrap(), PermissionsExt::from_mode(0o1777)).unwrap();
    let mut mbox = home.open();
    assert_eq!(mbox.count(), 2, "design, section 4, Locks: reading goes on under the kernel lock");
    assert!(mbox.take_notes()[0].contains("ann.lock"));
    let error = delete(&mut mbox, [1]).unwrap_err();
    assert_eq!(error.kind(), Kind::Temporary);
    assert!(error.to_string().contains("ann.lock"), "{error}");
    assert_eq!(home.content(), mailbox(1..=2));
}

#[test]
fn a_forgotten_dotlock_blocks_nobody() {
    let home = Home::new(&mailbox(1..=2));
    let lock = home.path().with_extension("lock");
    std::fs::write(&lock, "0\n").unwrap();
    let long_ago = Stamp { seconds: 1_000_000_000, nanoseconds: 0 };
    set_times(&File::options().write(true).open(&lock).unwrap(), long_ago, long_ago).unwrap();
    assert_eq!(home.open().count(), 2);
    assert_eq!(home.names(), ["ann"]);
}

/// A deliverer that opens the mailbox, waits for its lock, checks nothing, and writes. `opened` is told when it
/// has the mailbox open.
fn deliver_late(path: &Path, opened: &std::sync::mpsc::Sender<()>, text: &str) {
    let mut file = File::options().read(true).append(true).open(path).unwrap();
    opened.send(()).unwrap();
    let begun = Instant::now();
    while !try_lock(&file).unwrap() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::yield_now();
    }
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_late_deliverer_loses_nothing() {
    ignore_lease_breaks().unwrap();
    let home = Home::new(&mailbox(1..=3));
    let mut local = home.local();
    let locked = local.lock(Purpose::Update).unwrap().unwrap();
    let (opened, wait) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let path = home.path();
        scope.spawn(move || deliver_late(&path, &opened, &message(4)));
        wait.recv().unwrap();
        let temporary = local.temporary().unwrap();
        temporary.write_all_at(mailbox([2, 3]).as_bytes(), 0).unwrap();
        local.replace(locked.file.metadata().unwrap().len()).unwrap();
    });
    assert!(local.watch(Duration::from_secs(20)).unwrap());
    assert_eq!(home.content(), mailbox([2, 3, 4]), "design, section 4, Update, 2");
    assert_eq!(home.names(), ["ann"]);
}

#[test]
fn late_mail_is_brought_over_when_the_helper_ends() {
    ignore_lease_breaks().unwrap();
    let home = Home::new(&mailbox(1..=3));
    let mut local = home.local();
    let locked = local.lock(Purpose::Update).unwrap().unwrap();
    let mut reader = File::options().append(true).open(home.path()).unwrap();
    local.temporary().unwrap().write_all_at(mailbox([2, 3]).as_bytes(), 0).unwrap();
    let begun = Instant::now();
    local.replace(locked.file.metadata().unwrap().len()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "the client waits 2 s at most");
    reader.write_all(message(4).as_bytes()).unwrap();
    assert!(!local.watch(Duration::ZERO).unwrap(), "somebody still has it open");
    drop(local);
    assert_eq!(home.content(), mailbox([2, 3, 4]));
}

#[test]
fn nobody_waits_when_nobody_else_has_the_mailbox() {
    ignore_lease_breaks().unwrap();
    let took = || {
        let home = Home::new(&mailbox(1..=3));
        let mut mbox = home.open();
        let begun = Instant::now();
        delete(&mut mbox, [1]).unwrap();
        begun.elapsed()
    };
    // A disk that is busy may take as long as one waits for others, but not always.
    assert!((0..20).any(|_| took() < Duration::from_millis(1500)));
}

#[test]
fn a_mailbox_that_is_exchanged_under_the_locks_is_not_replaced() {
    let home = Home::new(&mailbox(1..=3));
    let mut local = home.local();
    let locked = local.lock(Purpose::Update).unwrap().unwrap();
    let size = locked.file.metadata().unwrap().len();
    local.temporary().unwrap();
    std::fs::write(home.path().with_extension("new"), mailbox([9])).unwrap();
    std::fs::rename(home.path().with_extension("new"), home.path()).unwrap();
    assert!(local.replace(size).is_err());
    assert_eq!(home.content(), mailbox([9]));
    // The same for the dotlock.
    let locked = local.lock(Purpose::Update).unwrap().unwrap();
    let size = locked.file.metadata().unwrap().len();
    local.temporary().unwrap();
    std::fs::write(home.path().with_extension("lock2"), "1").unwrap();
    std::fs::rename(home.path().with_extension("lock2"), home.path().with_extension("lock")).unwrap();
    assert!(local.replace(size).is_err());
    drop(local);
    assert_eq!(home.names(), ["ann", "ann.lock"], "another's lock is not ours to remove");
}

/// Delivers one message as a program does that opens the mailbox, waits for its lock, and checks nothing.
fn deliver(home: &Home, number: usize) {
    let mut file = File::options().read(true).append(true).open(home.path()).unwrap();
    std::thread::yield_now();
    while !try_lock(&file).unwrap() {
        std::thread::yield_now();
    }
    file.write_all(message(number).as_bytes()).unwrap();
}

#[test]
fn nothing_is_lost_or_doubled_among_deliverers() {
    const DELIVERERS: usize = 3;
    const EACH: usize = 60;
    ignore_lease_breaks().unwrap();
    let mut home = Home::new("");
    home.patience = Duration::from_secs(30);
    let home = &home;
    let mut seen = Vec::new();
    let mut collect = |every: u32| {
        let mut mbox = home.open();
        let numbers: Vec<u32> = (1..=mbox.count()).filter(|number| number % every == 0).collect();
        let texts: Vec<String> = numbers.iter().map(|&number| text(&mut mbox, number).unwrap()).collect();
        delete(&mut mbox, numbers).unwrap();
        seen.extend(texts);
    };
    std::thread::scope(|scope| {
        let deliverers: Vec<_> = (0..DELIVERERS)
            .map(|who| scope.spawn(move || (0..EACH).for_each(|number| deliver(home, who * EACH + number))))
            .collect();
        let mut turn = 0;
        while deliverers.iter().any(|deliverer| !deliverer.is_finished()) {
            turn += 1;
            collect(1 + turn % 3);
        }
    });
    collect(1);
    assert_eq!(home.content(), "");
    let mut expected: Vec<String> =
        (0..DELIVERERS * EACH).map(|number| format!("Subject: {number}\n\nbody {number}\n")).collect();
    seen.sort();
    expected.sort();
    assert!(seen == expected, "{} of {} messages", seen.len(), expected.len());
    assert_eq!(home.names(), ["ann"]);
}

#[test]
fn a_dotlock_that_was_waited_for_in_vain_is_named_with_what_to_type() {
    let home = Home::new(&mailbox(1..=2));
    let lock = home.path().with_extension("lock");
    std::fs::write(&lock, format!("{}\n", std::process::id())).unwrap();
    let error = home.try_open().err().unwrap().to_string();
    for part in [format!("names process {}, touched ", std::process::id()), format!("rm {}", lock.display())]
    {
        assert!(error.contains(&part), "{error}");
    }
}

#[test]
fn a_second_temporary_file_is_refused() {
    let home = Home::new(&mailbox(1..=2));
    let mut local = home.local();
    let _locked = local.lock(Purpose::Update).unwrap();
    let _first = local.temporary().unwrap();
    assert_eq!(local.temporary().unwrap_err().kind(), Kind::Temporary);
    assert_eq!(home.names().len(), 3, "whoever asks again and again fills no spool");
    drop(local);
    assert_eq!(home.names(), ["ann"]);
}

#[test]
fn an_earlier_watch_is_ended_before_the_next_locks() {
    ignore_lease_breaks().unwrap();
    let home = Home::new(&mailbox(1..=3));
    let mut local = home.local();
    let locked = local.lock(Purpose::Update).unwrap().unwrap();
    let mut late = File::options().append(true).open(home.path()).unwrap();
    local.temporary().unwrap().write_all_at(mailbox([2, 3]).as_bytes(), 0).unwrap();
    local.replace(locked.file.metadata().unwrap().len()).unwrap();
    late.write_all(message(4).as_bytes()).unwrap();
    let locked = local.lock(Purpose::Update).unwrap().unwrap();
    assert_eq!(home.content(), mailbox([2, 3, 4]), "under our own locks it could not be brought over");
    assert!(locked.notes.is_empty());
}

#[test]
fn what_a_helper_that_was_killed_in_a_scan_left_is_swept_by_the_next_login() {
    let home = Home::new(&mailbox(1..=2));
    // A draft of a dotlock, and the mark that somebody asked for the locks.
    let other = locker(&home);
    assert!(home.try_open().is_err());
    drop(other);
    std::fs::write(home.path().with_file_name(format!(".ann.poptools-{}", "0".repeat(32))), "").unwrap();
    assert_eq!(home.open().count(), 2);
    assert_eq!(home.names(), ["ann"], "design, section 4, Update, 3");
}

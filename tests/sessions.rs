//! Sessions as the administrator sees them: who is there, and how they end (design, sections 4 and 7).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/admin.rs"]
mod admin;
mod common;

use admin::{Ran, admin, admin_as};
use common::client::assert_same;
use common::mail;
use common::processes::{self, Process};
use common::world::uid;
use common::{World, eventually, isolated};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Whether SIGTERM waits to be delivered to the process.
fn is_pending(process: &Process) -> Option<()> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?;
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"))?;
    let mask = u64::from_str_radix(pending.trim(), 16).ok()?;
    (mask & (1 << (Signal::SIGTERM as u32 - 1)) != 0).then_some(())
}

/// RFC 1939, section 3: a session that ends without QUIT removes nothing, and closes without a reply.
#[test]
fn one_that_is_asked_to_end_deletes_nothing_and_says_nothing() {
    isolated(|| {
        let world = World::start();
        let stored = world.small_maildrop(3);
        let mut client = world.log_in("ann");
        client.ok("DELE 1");
        let session = world.session(&client, "ann");
        processes::signal(session.pid, Signal::SIGTERM);
        assert_eq!(client.rest(), b"", "half a reply would be none");
        let line = world.log_line(&["logout: ", "user=ann"]);
        assert!(line.contains(" deleted=0 ") && line.ends_with("end=terminated"), "{line}");
        client.server_ends();
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored));
        world.log_in("ann").ok("STAT");
    });
}

/// Design, section 4: an update that has begun is finished, and answered.
#[test]
fn one_that_is_in_an_update_finishes_it() {
    isolated(|| {
        let world = World::start();
        let stored = world.small_maildrop(3);
        let mut client = world.log_in("ann");
        let session = world.session(&client, "ann");
        let dotlock = world.spool.join("ann.lock");
        fs::write(&dotlock, format!("{}\n", std::process::id())).unwrap();
        client.ok("DELE 1");
        client.send(b"QUIT\r\n");
        eventually("a spool helper, which waits for the lock", || {
            let owner = Some(&session.uids[0]);
            let mut all = world.processes(&client).into_iter();
            all.find(|process| process.uids.first() == owner && process.pid != session.pid)
        });
        processes::signal(session.pid, Signal::SIGTERM);
        eventually("a signal that waits", || is_pending(&session));
        fs::remove_file(&dotlock).unwrap();
        assert!(client.line().starts_with("+OK"), "RFC 1939, section 6");
        let line = world.log_line(&["logout: ", "user=ann"]);
        assert!(line.contains(" deleted=1 ") && line.ends_with("end=quit"), "{line}");
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[1..]));
    });
}

fn mailusradm(world: &World, line: &str) -> (i32, String, String) {
    said(admin(world, &line.split(' ').collect::<Vec<_>>()))
}

fn mailusradm_as(world: &World, user: &str, line: &str) -> (i32, String, String) {
    said(admin_as(world, uid(user), &line.split(' ').collect::<Vec<_>>()))
}

/// Status, standard output, standard error.
fn said(ran: Ran) -> (i32, String, String) {
    (ran.status, ran.out, ran.err)
}

/// The sessions as JSON has them.
fn sessions(world: &World) -> Vec<Value> {
    serde_json::from_value(admin(world, &["sessions", "--format", "json"]).json()).unwrap()
}

#[test]
fn who_is_logged_in_is_listed() {
    isolated(|| {
        let world = World::start();
        assert_eq!(mailusradm(&world, "sessions"), (0, String::new(), String::new()), "nothing ran yet");
        let mut ann = world.log_in("ann");
        let _bob = world.log_in("bob");
        let line = world.log_line(&["login: ", "user=ann"]);
        let all = eventually("both sessions, begun", || {
            let all = sessions(&world);
            all.iter().all(|one| one["idle"].is_number()).then_some(all)
        });
        assert_eq!(all.len(), 2, "{all:?}");
        let one = all.iter().find(|one| one["user"] == "ann").unwrap();
        assert_eq!(one["client"], "127.0.0.1");
        assert_eq!(one["pid"], world.session(&ann, "ann").pid);
        assert!(line.contains(one["id"].as_str().unwrap()), "the id in the log: {line} {one}");
        let (since, day) = (one["since"].as_str().unwrap(), "2026-11-27T".len());
        assert!(since.len() > day && since.as_bytes()[day - 1] == b'T', "RFC 3339: {since}");
        let (_, chosen, _) = mailusradm(&world, "sessions ann --columns client,user");
        assert_eq!(chosen, "127.0.0.1\tann\n");
        assert_eq!(mailusradm(&world, "sessions nobody-here").0, 67, "EX_NOUSER");
        let idle = || {
            let all = sessions(&world);
            all.iter().find(|one| one["user"] == "ann").unwrap()["idle"].as_u64().unwrap()
        };
        let long = eventually("time passes", || Some(idle()).filter(|seconds| *seconds >= 2));
        // Perhaps it is long before anybody looks.
        eventually("it did something", || {
            ann.ok("NOOP");
            (idle() < long).then_some(())
        });
        ann.quit();
        ann.server_ends();
        assert_eq!(sessions(&world).len(), 1);
        assert_eq!(mailusradm(&world, "sessions --watch").0, 64, "for a terminal");
    });
}

/// Design, section 4, Locks: a lock file is never removed, and the lock is what counts. A number in it may be another's by now.
#[test]
fn no_lock_no_session() {
    isolated(|| {
        let world = World::start();
        let client = world.log_in("ann");
        let pid = world.session(&client, "ann").pid;
        drop(client);
        eventually("the end", || sessions(&world).is_empty().then_some(()));
        let lock = only_file(Path::new("/run/poptools/session"));
        assert!(fs::read_to_string(&lock).unwrap().starts_with(&format!("{pid} ann ")), "it stays");
        // A process that has the number now, and holds nothing.
        let own = std::process::id();
        fs::write(&lock, format!("{own} ann 1793692501 x 192.0.2.1\n")).unwrap();
        assert!(sessions(&world).is_empty());
        assert_eq!(mailusradm(&world, "kick ann").0, 1);
        // One that holds the lock, and is no server.
        let held = File::open(&lock).unwrap();
        held.lock().unwrap();
        let (status, _, said) = mailusradm(&world, "kick ann");
        assert!(said.contains("which is no session"), "{said}");
        assert_eq!(status, 74, "{said}");
    });
}

fn only_file(directory: &Path) -> PathBuf {
    let mut entries = fs::read_dir(directory).unwrap();
    entries.next().unwrap().unwrap().path()
}

#[test]
fn a_session_is_kicked() {
    isolated(|| {
        let world = World::start();
        let stored = world.small_maildrop(2);
        let mut client = world.log_in("ann");
        client.ok("DELE 1");
        let (status, said, _) = mailusradm(&world, "kick ann");
        assert_eq!(status, 0);
        assert!(said.starts_with("the session of ann from 127.0.0.1 (pid "), "{said}");
        assert_eq!(client.rest(), b"");
        assert!(world.log_line(&["logout: ", "user=ann"]).ends_with("end=terminated"));
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored));
        let (status, _, said) = mailusradm(&world, "kick ann");
        assert!(said.starts_with("mailusradm: ann has no session; "), "{said}");
        assert_eq!(status, 1);
        assert_eq!(mailusradm(&world, "kick nobody-here").0, 67, "EX_NOUSER");
    });
}

/// One that does not end is left alone, unless somebody says otherwise; then nothing is lost either (design, section 4).
#[test]
fn a_session_that_does_not_end_is_forced() {
    isolated(|| {
        let world = World::start();
        let stored = world.small_maildrop(2);
        let mut client = world.log_in("ann");
        fs::write(world.spool.join("ann.lock"), format!("{}\n", std::process::id())).unwrap();
        client.ok("DELE 1");
        let session = world.session(&client, "ann");
        client.send(b"QUIT\r\n");
        eventually("a spool helper, which waits for the lock", || {
            (world.processes(&client).iter().filter(|one| one.uids[0] == session.uids[0]).count() > 1)
                .then_some(())
        });
        let (status, _, said) = mailusradm(&world, "kick ann --wait 1");
        assert!(said.contains("mailusradm --config ") && said.contains("kick --force ann"), "{said}");
        assert_eq!(status, 75, "{said}");
        assert_eq!(mailusradm(&world, "kick ann --wait 1 --force").0, 0);
        client.expect_end();
        assert!(world.log_line(&["logout: ", "user=ann"]).ends_with("end=killed"));
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored));
    });
}

/// An ordinary user sees the own session, without what root's file has, and may end it; no other.
#[test]
fn users_look_after_their_own() {
    isolated(|| {
        let world = World::start();
        let ann = world.log_in("ann");
        let _bob = world.log_in("bob");
        let pid = world.session(&ann, "ann").pid;
        let (status, listed, said) = mailusradm_as(&world, "ann", "sessions --columns user,client,idle,pid");
        assert_eq!((status, listed, said), (0, format!("ann\t-\t-\t{pid}\n"), String::new()));
        let (status, _, said) = mailusradm_as(&world, "ann", "kick bob");
        assert_eq!((status, said.as_str()), (77, "mailusradm: only root and bob may end a session of bob\n"));
        let (status, said, _) = mailusradm_as(&world, "ann", "kick ann");
        assert_eq!((status, said), (0, format!("the session of ann (pid {pid}) has ended\n")));
        assert_eq!(sessions(&world).len(), 1, "bob's is still there");
    });
}

//! The recorder: who it is, what it is left with, and that lines of the history get from the log into the database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::processes::Process;
use common::site::Site;
use common::world::POP3D_UID;
use common::{World, eventually, isolated, isolated_with_network, mail};
use nix::sys::signal::Signal;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const STATE: &str = "/run/lib/poptools";

fn log() -> String {
    fs::read_to_string(format!("{STATE}/history.log")).unwrap_or_default()
}

/// The log when it has this many lines: a line is written when the client is gone already.
fn lines(count: usize) -> String {
    eventually(&format!("{count} lines of the history"), || {
        Some(log()).filter(|text| text.lines().count() >= count)
    })
}

fn count(table: &str) -> i64 {
    let database = Connection::open(format!("{STATE}/history.db")).unwrap();
    database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// A wrong and a right login of ann's, who retrieves one of two messages and deletes the other.
fn visit(world: &World) {
    world.small_maildrop(2);
    let mut client = world.connect();
    client.ok("USER ann");
    assert!(client.command("PASS wrong horse").starts_with("-ERR"));
    client.log_in("ann");
    client.retrieve(1);
    client.ok("DELE 2");
    client.quit();
    client.server_ends();
}

#[test]
fn a_session_leaves_a_line_that_root_alone_can_read() {
    // Design, section 6, History.
    isolated(|| {
        let world = World::setup().config("[auth]\nfailure_delay = 0").start();
        visit(&world);
        let text = lines(2);
        let [refused, session] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        let has = |line: &str, words: &str| {
            for word in words.split(' ') {
                assert!(line.split(' ').any(|field| field == word), "{word}: {line}");
            }
        };
        has(refused, "1 refused number=1 user=ann client=127.0.0.1 mechanism=PASS reason=wrong-password");
        has(
            session,
            "1 session user=ann client=127.0.0.1 mechanism=PASS tls=none refused=1 retrieved=1 top=0",
        );
        has(session, "deleted=1 left=1 end=quit");
        let found = fs::metadata(format!("{STATE}/history.log")).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid()), (0o600, 0));
        let id = |line: &str| line.split(' ').find(|field| field.starts_with("id=")).unwrap().to_owned();
        assert_eq!(id(refused), id(session), "one connection");
        assert!(world.log_lines().iter().any(|line| line.contains(&id(session)[3..])), "as in the log");
    });
}

#[test]
fn a_history_that_cannot_be_written_stops_nobody_and_is_logged_once() {
    isolated(|| {
        let world = World::setup().config("[auth]\nfailure_delay = 0").start();
        fs::create_dir_all(format!("{STATE}/history.log")).unwrap();
        fs::set_permissions(STATE, fs::Permissions::from_mode(0o711)).unwrap();
        visit(&world);
        let complaints: Vec<String> = world
            .log_lines()
            .into_iter()
            .filter(|line| line.contains("the history lacks sessions"))
            .collect();
        assert_eq!(complaints.len(), 1, "of two lines: {complaints:?}");
        assert!(
            complaints[0].contains("error: text=cannot open /run/lib/poptools/history.log: Is a directory")
        );
        fs::remove_dir(format!("{STATE}/history.log")).unwrap();
        let world = World::setup().config("[log]\nhistory = false").start();
        visit(&world);
        assert!(!Path::new(STATE).join("history.log").exists(), "switched off");
    });
}

/// A full disk: mail is served, deletions of mail elsewhere are done, and the log says once what is lost; what comes later is whole.
#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    isolated(|| {
        let world = World::setup().config("[auth]\nfailure_delay = 0").start();
        visit(&world);
        lines(2);
        let mut mounts = common::machine::Mounts::default();
        mounts.empty(Path::new(STATE), "mode=711,size=64k");
        visit(&world);
        let whole = lines(2);
        // All room that is left goes to another file; the rest of a page of the log is room for half a line yet.
        let log_file = format!("{STATE}/history.log");
        fs::write(&log_file, whole.clone() + &"x".repeat(4096 - whole.len() - 61) + "\n").unwrap();
        let filler = format!("{STATE}/filler");
        let mut file = fs::File::create(&filler).unwrap();
        while std::io::Write::write(&mut file, &[0; 4096]).is_ok_and(|octets| octets > 0) {}
        visit(&world);
        assert_eq!(mail::mbox(&mail::messages(1)), world.stored("ann"), "the session did what it was for");
        let told =
            |line: &String| line.contains("cannot write") && line.contains("the history lacks sessions");
        eventually("the log says that lines are lost", || world.log_lines().iter().any(told).then_some(()));
        assert_eq!(world.log_lines().iter().filter(|line| told(line)).count(), 1, "of two lines, once");
        assert!(!log().ends_with('\n'), "half a line");
        drop(file);
        fs::remove_file(&filler).unwrap();
        visit(&world);
        let after = lines(6);
        let last: Vec<&str> = after.lines().rev().take(3).collect();
        assert!(last[0].starts_with("1 session ") && last[1].starts_with("1 refused "), "{last:#?}");
        assert!(
            last[2].starts_with("1 refused ") && !last[2].contains(" sum="),
            "the torn one has a line of its own: {last:#?}"
        );
    });
}

#[test]
fn the_recorder_is_nobody_who_owns_roots_files_in_one_directory() {
    // It waits for somebody else who works with the database, so that it can be looked at.
    isolated_with_network(|| {
        let world = World::setup().config("[auth]\nfailure_delay = 0").start();
        visit(&world);
        let before = lines(2);
        let database = format!("{STATE}/history.db");
        let mut somebody = Connection::open(&database).unwrap();
        fs::set_permissions(&database, fs::Permissions::from_mode(0o600)).unwrap();
        let lock = somebody.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive).unwrap();
        let site = Site::start(&world);
        let recorder: Process = eventually("a recorder, fenced", || {
            let mut all = site.processes().into_iter();
            all.find(|process| process.uids == [POP3D_UID, POP3D_UID, POP3D_UID, 0] && process.seccomp == 2)
        });
        // It waits two seconds for the others, and stands still while it is looked at.
        common::processes::signal(recorder.pid, Signal::SIGSTOP);
        let what = recorder.describe();
        assert_eq!(recorder.gids, [POP3D_UID; 4], "{what}");
        assert_eq!(recorder.groups, [0_u32; 0], "{what}");
        let [inheritable, permitted, effective, _bounding, ambient] = recorder.capabilities;
        assert_eq!([inheritable, permitted, effective, ambient], [0; 4], "no capability: {what}");
        assert_eq!((recorder.no_new_privs, recorder.threads), (1, 1), "{what}");
        for (number, target) in recorder.descriptors() {
            let own = target == STATE || target.starts_with(&format!("{STATE}/history."));
            let usual = target.starts_with("socket:") || target == "/dev/null";
            assert!(own || usual, "descriptor {number} of the recorder is {target}");
        }
        drop(lock);
        drop(somebody);
        common::processes::signal(recorder.pid, Signal::SIGCONT);
        eventually("the lines are moved", || log().is_empty().then_some(()));
        eventually("the recorder is gone", || {
            site.processes().iter().all(|process| process.pid != recorder.pid).then_some(())
        });
        assert_eq!((count("session"), count("refusal")), (1, 1), "as in the log: {before}");
        let found = fs::metadata(&database).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid()), (0o600, 0), "root's alone");
        assert!(world.log_lines().iter().all(|line| !line.contains("error: ")), "{:?}", world.log_lines());
    });
}

#[test]
fn a_large_log_is_moved_under_inetd_too() {
    isolated(|| {
        let world = World::setup().config("[auth]\nfailure_delay = 0").start();
        visit(&world);
        let line = lines(2).lines().last().unwrap().to_owned() + "\n";
        fs::write(format!("{STATE}/history.log"), line.repeat((1 << 20) / line.len() + 1)).unwrap();
        world.maildrop("ann", &mail::mbox(&mail::messages(1)));
        let mut client = world.log_in("ann");
        client.quit();
        client.server_ends();
        eventually("the lines are moved", || log().is_empty().then_some(()));
        assert_eq!(count("session"), 2, "the same line again and again is one session");
    });
}

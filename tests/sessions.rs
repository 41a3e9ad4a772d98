//! Sessions as the administrator sees them: how they end when they are asked to (design, sections 4 and 7).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::client::assert_same;
use common::mail;
use common::processes::{self, Process};
use common::{World, eventually, isolated};
use nix::sys::signal::Signal;
use std::fs;

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

//! Locks with programs that deliver (design, section 4, "Locks" and "Late deliverers"): whatever the order in which a
//! delivery and an update come, neither loses a message.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/deliverers.rs"]
mod deliverers;

use common::client::text;
use common::mail;
use common::world::{group, uid};
use common::{World, isolated, programs_or_skip};
use deliverers::{DELIVERERS, Deliverer, finished, marks};
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::{Duration, SystemTime};

fn with_each(test: fn(&Deliverer)) {
    for deliverer in &DELIVERERS {
        if programs_or_skip(&[deliverer.program]) {
            isolated(|| test(deliverer));
        }
    }
}

/// Everything that must be there is, once, and the next login shows it.
fn all_there(world: &World, what: &str, kept: &[usize], delivered: &[String]) {
    let octets = world.stored("ann");
    for mark in delivered {
        assert_eq!(marks(&octets, mark), 1, "{what}: {mark} in {}", text(&octets));
    }
    for number in kept {
        let id = format!("Message-Id: <{number}@example.org>\n");
        assert_eq!(memchr::memmem::find_iter(&octets, &id).count(), 1, "{what}: message {number}");
    }
    let count = kept.len() + delivered.len();
    let mut client = world.log_in("ann");
    assert!(client.ok("STAT").starts_with(&format!("+OK {count} ")), "{what}: {}", text(&octets));
    client.quit();
    client.server_ends();
}

/// Whether QUIT deleted. It must, but where the program that delivered rewrote what the session knew (design, section 4, "Other
/// writers"): dovecot-lda and mailutils' mda write headers into other messages, mda by putting a new file in the mailbox's place.
/// Whoever only appends leaves `known` where it was, and no excuse.
fn updated(world: &World, name: &str, known: &[u8], reply: &str) -> bool {
    if reply.starts_with("+OK") {
        return true;
    }
    assert!(reply.starts_with("-ERR [SYS/TEMP] the maildrop was changed"), "{name}: {reply}");
    assert!(!world.stored("ann").starts_with(known), "{name}: nothing was rewritten, and {reply}");
    false
}

#[test]
fn a_delivery_that_waits_while_an_update_waits_is_not_lost() {
    with_each(|deliverer| {
        let name = deliverer.name;
        let world = World::start();
        world.small_maildrop(3);
        deliverer.prepare(&world);
        let known = world.stored("ann");
        let mut client = world.log_in("ann");
        client.ok("DELE 1");
        let barrier = OpenOptions::new().read(true).append(true).open(world.mailbox("ann")).unwrap();
        let kind = i16::try_from(libc::F_WRLCK).unwrap();
        let whole = libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
        fcntl(&barrier, FcntlArg::F_OFD_SETLK(&whole)).unwrap();
        client.send(b"QUIT\r\n");
        let delivery = deliverer.start(&world, "waited");
        drop(barrier);
        let reply = client.line();
        finished(delivery).unwrap_or_else(|why| panic!("{name}: {why}"));
        client.server_ends();
        let kept: &[usize] = if updated(&world, name, &known, &reply) { &[2, 3] } else { &[1, 2, 3] };
        all_there(&world, name, kept, &["waited".to_owned()]);
    });
}

#[test]
fn deliveries_and_updates_at_the_same_moment_lose_nothing() {
    with_each(|deliverer| {
        let name = deliverer.name;
        for mode in [0o2775, 0o1777] {
            let world = World::setup().spool_mode(mode).start();
            world.small_maildrop(6);
            deliverer.prepare(&world);
            let (mut delivered, mut deleted) = (Vec::new(), 0);
            for round in 1..=4 {
                let known = world.stored("ann");
                let mut client = world.log_in("ann");
                client.ok("DELE 1");
                let mark = format!("round {round} {mode:o}");
                let delivery = deliverer.start(&world, &mark);
                let reply = client.command("QUIT");
                finished(delivery).unwrap_or_else(|why| panic!("{name}, spool {mode:o}: {why}"));
                client.server_ends();
                deleted += usize::from(updated(&world, name, &known, &reply));
                delivered.push(mark);
            }
            let kept: Vec<usize> = (1 + deleted..=6).collect();
            all_there(&world, name, &kept, &delivered);
        }
    });
}

/// A dotlock as a helper that was killed leaves it.
fn dead_dotlock(world: &World, age: Duration) {
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let lock = world.spool.join("ann.lock");
    common::machine::write(&lock, format!("{}\npoptools\n", ended.id()).as_bytes(), 0o644);
    chown(&lock, Some(uid("ann")), Some(group("mail"))).unwrap();
    let touched = SystemTime::now() - age;
    File::options().write(true).open(&lock).unwrap().set_modified(touched).unwrap();
}

#[test]
fn a_dead_helpers_dotlock_keeps_no_delivery_away() {
    // Design, section 4, "Locks". By their manuals procmail waits 1024 s, and exim 30 min since the lock was made, which its
    // configuration here shortens; others 300 s at most.
    with_each(|deliverer| {
        let name = deliverer.name;
        let age = match name {
            "procmail" => 1025,
            _ => 301,
        };
        let world = World::start();
        world.small_maildrop(1);
        // Dovecot asks how long the mailbox was not changed, too.
        let long_ago = SystemTime::now() - Duration::from_secs(age);
        File::options().write(true).open(world.mailbox("ann")).unwrap().set_modified(long_ago).unwrap();
        deliverer.prepare(&world);
        dead_dotlock(&world, Duration::from_secs(age));
        let begun = std::time::Instant::now();
        deliverer.deliver(&world, "through").unwrap_or_else(|why| panic!("{name}: {why}"));
        eprintln!("dotlock of a dead process, {age} s old: {name} is through after {:?}", begun.elapsed());
        all_there(&world, name, &[1], &["through".to_owned()]);
    });
}

#[test]
fn a_login_removes_what_a_dead_helper_left_before_anybody_waits() {
    // The same dotlock, fresh: no delivery has to wait for its age once the user has logged in.
    isolated(|| {
        let world = World::start();
        world.small_maildrop(1);
        dead_dotlock(&world, Duration::ZERO);
        world.log_in("ann").quit();
        assert_eq!(world.spool_names(), ["ann"]);
    });
}

#[test]
fn spools_of_every_kind_are_updated() {
    // Design, section 4: path templates, `maildrop.locks`, and the modes of spools.
    let locks = ["[\"fcntl\", \"dotlock\"]", "[\"fcntl\"]", "[\"dotlock\"]"];
    for (mode, locks) in [0o2775, 0o1777].into_iter().flat_map(|mode| locks.map(|locks| (mode, locks))) {
        isolated(|| {
            let toml =
                format!("[maildrop]\npath = \"/var/mail/{{user:1}}/{{user:2}}/{{user}}\"\nlocks = {locks}\n");
            let world = World::setup().spool_mode(mode).config(&toml).start();
            let folder = world.spool.join("a/an");
            for folder in [world.spool.join("a"), folder.clone()] {
                common::machine::make_directory(&folder, 0o755);
                chown(&folder, Some(0), Some(group("mail"))).unwrap();
                common::machine::chmod(&folder, mode);
            }
            let mailbox = folder.join("ann");
            let owner = (uid("ann"), group("mail"));
            for number in 1..=3 {
                deliverers::postfix(&mailbox, &mail::message(number), owner).unwrap();
            }
            let mut client = world.log_in("ann");
            client.ok("DELE 2");
            deliverers::postfix(&mailbox, &mail::message(4), owner).unwrap();
            client.quit();
            client.server_ends();
            let left = mail::mbox(&[mail::message(1), mail::message(3), mail::message(4)]);
            assert_eq!(fs::read(&mailbox).unwrap(), left, "{mode:o}, {locks}");
            assert_eq!(names(&folder), ["ann"], "{mode:o}, {locks}");
        });
    }
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

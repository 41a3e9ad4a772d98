//! `mailusradm list` and `show` where there is much: many maildrops, many messages. `POPTOOLS_LONG=1` takes ten thousand maildrops of
//! 5 GiB in all and a million messages; the time and the memory that it took are printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "support/admin.rs"]
mod admin;
mod common;

use common::World;
use common::mail::{ENVELOPE, mbox, messages};
use common::world::{FIRST_UID, QUICK_HASH, group};
use nix::sys::resource::{UsageWho, getrusage};
use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn is_long() -> bool {
    std::env::var_os("POPTOOLS_LONG").is_some()
}

/// Runs it with the output thrown away; the lines that it printed, how long it took, and the most memory of any child so far in KiB.
fn timed(world: &World, arguments: &[&str]) -> (usize, Duration, i64) {
    let begun = Instant::now();
    let output = admin::command(world, arguments).stdin(Stdio::null()).output().unwrap();
    let took = begun.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.iter().filter(|octet| **octet == b'\n').count();
    (lines, took, getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss())
}

/// A list reads the headers of the indexes alone: its time does not grow with the mail (design, section 4).
#[test]
fn many_maildrops_are_listed_by_their_headers() {
    common::isolated(|| {
        let (count, size) = (if is_long() { 10_000 } else { 500 }, 512 << 10);
        let mut setup = World::setup();
        for number in 2..count {
            setup = setup.user(&format!("user{number:05}"), QUICK_HASH);
        }
        let world = setup.start();
        // All have the mail of ann and her index, but for the marks of the file; what is behind it is a hole, which nobody reads.
        world.maildrop("ann", &mbox(&messages(3)));
        File::options().write(true).open(world.mailbox("ann")).unwrap().set_len(size).unwrap();
        let mut client = world.log_in("ann");
        client.quit();
        client.server_ends();
        let states = Path::new("/run/lib/poptools/maildrop");
        let (mail, index) = (group("mail"), fs::read(states.join("ann/index")).unwrap());
        for number in 1..count {
            let name = if number == 1 { "bob".to_owned() } else { format!("user{number:05}") };
            let id = FIRST_UID + number;
            let (mailbox, state) = (world.mailbox(&name), states.join(&name));
            File::create(&mailbox).unwrap().set_len(size).unwrap();
            chown(&mailbox, Some(id), Some(mail)).unwrap();
            common::machine::chmod(&mailbox, 0o660);
            common::machine::make_directory(&state, 0o700);
            common::machine::write(&state.join("index"), &index, 0o600);
            admin::forge_identity(&state, &mailbox);
            [state.join("index"), state].iter().for_each(|path| chown(path, Some(id), Some(id)).unwrap());
        }
        let (lines, first, _) = timed(&world, &["list"]);
        assert_eq!(lines, count as usize);
        let (_, took, memory) = timed(&world, &["list"]);
        eprintln!(
            "list: {count} maildrops, {} MiB in all: {first:?} at first, {took:?} warm, peak memory {memory} KiB",
            (u64::from(count) * size) >> 20
        );
        assert!(took < Duration::from_secs(20), "it reads mail: {took:?}");
        assert!(memory < 256 << 10, "{memory} KiB");
    });
}

/// Messages are told and written as they are read: memory does not grow with them, beyond the index.
#[test]
fn many_messages_are_shown_page_by_page() {
    common::isolated(|| {
        let world = World::start();
        let count = if is_long() { 1_000_000 } else { 20_000 };
        let mut octets = Vec::new();
        for number in 0..count {
            octets.extend_from_slice(
                format!("{ENVELOPE}\nFrom: a@b\nSubject: number {number}\n\nx\n\n").as_bytes(),
            );
        }
        world.maildrop("ann", &octets);
        drop(octets);
        for format in ["tsv", "json", "table"] {
            let (lines, took, memory) = timed(&world, &["show", "ann", "--format", format]);
            assert!(lines >= count, "{format}: {lines}");
            eprintln!("show: {count} messages as {format}: {took:?}, peak memory {memory} KiB");
            assert!(memory < 512 << 10, "{memory} KiB");
        }
    });
}

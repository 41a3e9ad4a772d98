//! `mailusradm import`, killed at any call that changes a file, or with that call failing: all messages are imported, or none.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "support/admin.rs"]
mod admin;
mod common;
#[path = "support/record.rs"]
mod record;
#[path = "support/tracer.rs"]
mod tracer;
#[path = "support/waiting.rs"]
mod waiting;

use admin::{admin, command};
use common::mail::{mbox, messages, wire};
use common::{World, isolated};
use record::changes;
use std::fs;
use tracer::{Effect, Plan, Role};
use waiting::Waiting;

/// Messages that are there before, and with those that are imported.
const BEFORE: usize = 2;
const AFTER: usize = 7;

fn reset(world: &World, is_maildir: bool) {
    for name in world.spool_names() {
        let path = world.spool.join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    let _ = fs::remove_dir_all("/run/lib/poptools/maildrop/ann");
    world.maildrop("ann", &mbox(&messages(BEFORE)));
    if is_maildir {
        assert_eq!(admin(world, &["convert", "ann", "--to", "maildir", "--remove-old"]).status, 0);
    }
}

/// What a client gets, each message once.
fn seen(world: &World) -> Vec<Vec<u8>> {
    let mut client = world.log_in("ann");
    let count = client.listing("LIST").len();
    let all = (1..=count).map(|number| client.retrieve(number)).collect();
    client.quit();
    client.server_ends();
    all
}

fn killed_everywhere(is_maildir: bool) {
    isolated(|| {
        let world = World::start();
        let file = world.directory().join("mail");
        fs::write(&file, mbox(&messages(AFTER)[BEFORE..])).unwrap();
        let words = ["import", "ann", file.to_str().unwrap(), "--uidl-from", "computed"];
        let import = || command(&world, &words);
        let plan = |nth, effect| Plan { role: Role::Session, nth, counts: changes, effect, record: false };
        let whole: Vec<Vec<u8>> = messages(AFTER).iter().map(|message| wire(message)).collect();
        reset(&world, is_maildir);
        let (points, _) = Waiting::start(&world, &import()).run(plan(0, Effect::None));
        assert_eq!(seen(&world), whole);
        assert!(points > 10, "{points} calls that change files");
        let (mut old, mut new) = (0, 0);
        for nth in 1..=points {
            for effect in [Effect::Kill(Role::Session), Effect::Fail(libc::ENOSPC)] {
                // Whoever comes first is the next login, or the same import again.
                let is_kill = effect == Effect::Kill(Role::Session);
                for login_first in [true, false].into_iter().filter(|first| is_kill || *first) {
                    reset(&world, is_maildir);
                    Waiting::start(&world, &import()).run(plan(nth, effect));
                    let what = format!("{effect:?} at call {nth}, login first: {login_first}");
                    if login_first {
                        let seen = seen(&world);
                        assert!(
                            seen == whole || seen == whole[..BEFORE],
                            "{what}: {} of {AFTER}",
                            seen.len()
                        );
                        old += usize::from(seen.len() == BEFORE);
                        new += usize::from(seen.len() == AFTER);
                        if seen.len() == AFTER {
                            continue;
                        }
                    }
                    // What is on disk and does not show yet is no other import.
                    let undecided = !login_first;
                    let again = admin(&world, &words);
                    assert_eq!(again.status, 0, "{what}: {again:?}");
                    let seen = seen(&world);
                    let twice = seen.len() == 2 * AFTER - BEFORE && seen[..AFTER] == whole;
                    // It was complete: nothing told of it, and who imports twice has it twice.
                    assert!(seen == whole || undecided && twice, "{what}: {} of {AFTER}", seen.len());
                    let check = admin(&world, &["check", "ann"]);
                    assert_eq!((check.status, check.out.as_str()), (0, ""), "{what}");
                    let left = ["new", "cur", "tmp"].map(|name| world.mailbox("ann").join(name));
                    let left = left.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
                    let names = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
                    let waiting: Vec<String> = names.filter(|name| name.starts_with('.')).collect();
                    assert!(waiting.is_empty(), "{what}: {waiting:?}");
                }
            }
        }
        eprintln!("import: {points} points, {old} times nothing was imported, {new} times all");
        assert!(old > 0 && new > 0);
    });
}

#[test]
fn an_import_into_a_maildir_that_is_killed_is_whole_or_none() {
    killed_everywhere(true);
}

#[test]
fn an_import_into_an_mbox_that_is_killed_is_whole_or_none() {
    killed_everywhere(false);
}

/// Whoever reads an export may be slow: the user logs in meanwhile, and the export is what there was.
#[test]
fn nobody_is_kept_out_while_an_export_is_read() {
    for is_maildir in [false, true] {
        isolated(|| {
            let world = World::start();
            let stored = messages(3000);
            world.maildrop("ann", &mbox(&stored));
            if is_maildir {
                assert_eq!(admin(&world, &["convert", "ann", "--to", "maildir", "--remove-old"]).status, 0);
            }
            let mut export = command(&world, &["export", "ann"]);
            let mut child = export.stdout(std::process::Stdio::piped()).spawn().unwrap();
            let mut out = child.stdout.take().unwrap();
            let mut first = [0; 5];
            std::io::Read::read_exact(&mut out, &mut first).unwrap();
            // Much more is to come than a pipe holds.
            let mut client = world.log_in("ann");
            assert_eq!(client.listing("LIST").len(), stored.len());
            client.quit();
            let mut rest = Vec::new();
            std::io::Read::read_to_end(&mut out, &mut rest).unwrap();
            assert!(child.wait().unwrap().success());
            let envelopes = rest.windows(6).filter(|window| *window == b"\nFrom ").count();
            assert_eq!((&first[..], envelopes), (&b"From "[..], stored.len() - 1));
        });
    }
}

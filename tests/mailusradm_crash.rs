//! `mailusradm check --repair`, killed at any call that changes a file, or with that call failing: every message is there, in the
//! mailbox as it was or in the repaired one; and what the program does as root is nothing in the spool.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "support/admin.rs"]
mod admin;
mod common;
#[path = "support/damages.rs"]
mod damages;
#[path = "support/record.rs"]
mod record;
#[path = "support/tracer.rs"]
mod tracer;
#[path = "support/waiting.rs"]
mod waiting;

use admin::{admin, command};
use common::mail::{mbox, messages, wire};
use common::trace::{Call, NAMES, Trace, arguments};
use common::world::uid;
use common::{World, isolated, programs_or_skip};
use damages::{DAMAGES, Damage, STATE, Then};
use record::changes;
use std::fs;
use std::path::Path;
use std::process::Command;
use tracer::{Effect, Plan, Role};
use waiting::Waiting;

/// What is wrong with the mailbox: NUL in front and behind, so that it is written anew.
fn damaged() -> Vec<u8> {
    [&[0; 6000][..], &mbox(&messages(3)), &[0; 500]].concat()
}

fn clear(world: &World) {
    for name in world.spool_names() {
        let path = world.spool.join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    let _ = fs::remove_dir_all(STATE);
}

fn reset(world: &World) {
    clear(world);
    world.maildrop("ann", &damaged());
}

/// Design, section 4, "Update": at every instant the path names one complete mailbox.
#[test]
fn a_repair_killed_anywhere_loses_nothing() {
    isolated(|| {
        let world = World::start();
        let repair = || command(&world, &["check", "--repair", "ann"]);
        let plan = |nth, effect| Plan { role: Role::Session, nth, counts: changes, effect, record: false };
        reset(&world);
        let (points, _) = Waiting::start(&world, &repair()).run(plan(0, Effect::None));
        assert!(points > 15, "{points} calls that change files");
        let repaired = world.stored("ann");
        assert_eq!(repaired, mbox(&messages(3)));
        let (mut met, mut old) = (0, 0);
        for nth in 1..=points {
            for effect in [Effect::Kill(Role::Session), Effect::Fail(libc::ENOSPC)] {
                reset(&world);
                let (_, hit) = Waiting::start(&world, &repair()).run(plan(nth, effect));
                met += usize::from(hit);
                let now = world.stored("ann");
                old += usize::from(now == damaged());
                assert!(now == damaged() || now == repaired, "{effect:?} at call {nth}: neither old nor new");
                // Whoever begins again comes to the end, and a client sees everything.
                let again = admin(&world, &["check", "--repair", "ann"]);
                assert_eq!(again.status, 0, "{effect:?} at call {nth}: {again:?}");
                let mut client = world.log_in("ann");
                for (number, message) in messages(3).iter().enumerate() {
                    assert_eq!(client.retrieve(number + 1), wire(message), "{effect:?} at call {nth}");
                }
                client.quit();
                client.server_ends();
                assert_eq!(world.spool_names(), ["ann"], "{effect:?} at call {nth}: leftovers");
            }
        }
        eprintln!("repair: {points} points, {met} of {} met, {old} times the old mailbox stood", 2 * points);
        assert!(met * 10 >= points * 2 * 9 && old > 0 && old < 2 * points);
    });
}

/// Every other repair, of the index, the uidl file, leftovers, permissions, imports and Maildirs: whoever is killed, or has no room, at
/// any call, a second repair comes to the end, and every message is there.
#[test]
fn other_repairs_killed_anywhere_lose_nothing() {
    let others: Vec<&Damage> = DAMAGES
        .iter()
        .filter(|(name, _, _, then)| {
            let of_mailbox = ["NUL", "beginning", "same marks"].iter().any(|word| name.contains(word));
            !of_mailbox && matches!(then, Then::Repaired | Then::More(_))
        })
        .collect();
    assert!(others.len() > 15, "{} kinds", others.len());
    // Two at a time, for they are many.
    std::thread::scope(|scope| {
        for half in others.chunks(others.len().div_ceil(2)) {
            scope.spawn(move || {
                isolated(move || {
                    let world = World::start();
                    let points: usize = half.iter().map(|damage| killed_at_each_call(&world, damage)).sum();
                    eprintln!("{} kinds of damage: {points} points", half.len());
                });
            });
        }
    });
}

/// Harms ann's maildrop, which was looked at before.
fn harm(world: &World, plant: fn(&World)) {
    clear(world);
    world.small_maildrop(3);
    let mut client = world.log_in("ann");
    client.quit();
    client.server_ends();
    plant(world);
}

fn killed_at_each_call(world: &World, &(name, plant, _, then): &Damage) -> usize {
    let repair = || command(world, &["check", "--repair", "ann"]);
    let plan = |nth, effect| Plan { role: Role::Session, nth, counts: changes, effect, record: false };
    harm(world, plant);
    let (points, _) = Waiting::start(world, &repair()).run(plan(0, Effect::None));
    let more = if let Then::More(more) = then { more } else { 0 };
    for nth in 1..=points {
        let effect = if nth % 3 == 0 { Effect::Fail(libc::ENOSPC) } else { Effect::Kill(Role::Session) };
        harm(world, plant);
        Waiting::start(world, &repair()).run(plan(nth, effect));
        let again = admin(world, &["check", "--repair", "ann"]);
        assert_eq!(again.status, 0, "{name}, {effect:?} at call {nth}: {again:?}");
        let healthy = admin(world, &["check", "ann"]);
        assert_eq!((healthy.status, healthy.out.as_str()), (0, ""), "{name}, {effect:?} at call {nth}");
        let mut client = world.log_in("ann");
        assert_eq!(client.listing("LIST").len(), 3 + more, "{name}, {effect:?} at call {nth}");
        for (number, message) in messages(3).iter().enumerate() {
            let (got, mut whole) = (client.retrieve(number + 1), wire(message));
            if name == "line that was cut off" && number == 2 {
                // It ends all the same.
                whole = [&whole[..got.len() - 2], b"\r\n"].concat();
            }
            assert_eq!(got, whole, "{name}, {effect:?} at call {nth}");
        }
        client.quit();
        client.server_ends();
    }
    points
}

/// SECURITY: nothing in the spool is opened, made or removed with root's rights (design, section 2).
#[test]
fn nothing_in_the_spool_is_touched_as_root() {
    if !programs_or_skip(&["strace"]) {
        return;
    }
    isolated(|| {
        for mode in [0o2775, 0o1777] {
            let world = World::setup().spool_mode(mode).start();
            for arguments in [
                &["list"][..],
                &["list", "ann"],
                &["show", "ann"],
                &["check", "--all"],
                &["check", "--repair", "ann"],
            ] {
                reset(&world);
                let touched = touched(&world, arguments);
                assert!(!touched.is_empty(), "{arguments:?}: the mailbox was looked at by somebody");
                let as_root: Vec<&str> =
                    touched.iter().filter(|call| call.user == 0).map(|call| call.line.as_str()).collect();
                assert!(as_root.is_empty(), "{arguments:?}, done as root:\n{}", as_root.join("\n"));
                let others: Vec<&Call> = touched.iter().filter(|call| call.user != uid("ann")).collect();
                assert!(others.is_empty(), "{arguments:?}, done as somebody else: {others:#?}");
            }
        }
    });
}

/// The calls that name something in the spool.
fn touched(world: &World, words: &[&str]) -> Vec<Call> {
    let output = world.directory().join("trace");
    let _ = fs::remove_dir_all(&output);
    fs::create_dir(&output).unwrap();
    let program = command(world, words);
    let strace = arguments(&output.join("calls"), NAMES);
    let mut traced = Command::new(&strace[0]);
    traced.args(&strace[1..]).arg(program.get_program()).args(program.get_args());
    common::run(&mut traced);
    let in_spool =
        |path: &std::path::PathBuf| path.starts_with("/var/mail") && path != Path::new("/var/mail");
    let calls = Trace::read(&output.join("calls")).calls;
    calls.into_iter().filter(|call| call.names_a_file() && call.paths().iter().any(in_spool)).collect()
}

//! `mailusradm convert` (mailusradm(8); design, section 4): every message keeps its unique id, and whoever is killed leaves the old
//! maildrop or the new one, whole.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/record.rs"]
mod record;
#[path = "support/tracer.rs"]
mod tracer;
#[path = "support/waiting.rs"]
mod waiting;

use common::world::uid;
use common::{Child, World, isolated, mail};
use record::changes;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;
use tracer::{Effect, Plan, Role};
use waiting::Waiting;

const DIRECTIONS: [(&str, &str); 2] = [("maildir", "mbox"), ("mbox", "maildir")];

fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailusradm"));
    command.args(arguments).arg("--config").arg(&world.config);
    command
}

fn convert(world: &World, to: &str, more: &[&str]) -> Output {
    common::run(&mut command(world, &[&["convert", "ann", "--to", to], more].concat()))
}

fn converted(world: &World, to: &str, more: &[&str]) -> String {
    let output = convert(world, to, more);
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    said.into_owned()
}

fn uidls(world: &World) -> Vec<String> {
    let mut client = world.log_in("ann");
    let listing = client.listing("UIDL");
    client.quit();
    listing
}

fn aside(world: &World, word: &str) -> PathBuf {
    world.spool.join(format!(".ann.old-{word}"))
}

/// The maildrops of before: some messages, two of them alike.
fn maildrop(count: usize) -> Vec<u8> {
    let mut messages = mail::messages(count);
    let twin = messages[0].clone();
    messages.push(twin);
    mail::mbox(&messages)
}

#[test]
fn ten_thousand_messages_there_and_back() {
    isolated(|| {
        let world = World::start();
        world.maildrop("ann", &maildrop(9_999));
        let before = uidls(&world);
        assert_eq!(before.len(), 10_000);
        for to in ["maildir", "mbox", "maildir"] {
            let begun = Instant::now();
            let said = converted(&world, to, &["--remove-old"]);
            eprintln!("{} {:?}", said.lines().next().unwrap(), begun.elapsed());
            assert_eq!(uidls(&world), before, "to {to}");
        }
        let (new, cur) = (world.mailbox("ann").join("new"), world.mailbox("ann").join("cur"));
        let names = |folder: &PathBuf| fs::read_dir(folder).unwrap().count();
        assert_eq!(names(&new) + names(&cur), 10_000);
        let session = fs::metadata(&new).unwrap();
        assert_eq!((session.uid(), session.mode() & 0o777), (uid("ann"), 0o700));
        converted(&world, "mbox", &["--remove-old"]);
        assert_eq!(world.spool_names(), ["ann"]);
        let mailbox = fs::metadata(world.mailbox("ann")).unwrap();
        assert_eq!(mailbox.mode() & 0o777, 0o660, "deliverers of the spool's group go on");
        assert_eq!(mailbox.gid(), common::world::group("mail"));
    });
}

/// A maildrop of the format that is not `to`, as nothing had happened.
fn reset(world: &World, to: &str, text: &[u8]) {
    let path = world.mailbox("ann");
    for old in [path, aside(world, "mbox"), aside(world, "maildir")] {
        if old.is_dir() {
            fs::remove_dir_all(&old).unwrap();
        } else {
            let _ = fs::remove_file(&old);
        }
    }
    let _ = fs::remove_dir_all("/run/lib/poptools/maildrop/ann");
    world.maildrop("ann", text);
    if to == "mbox" {
        converted(world, "maildir", &["--remove-old"]);
    }
}

/// `step`: how far one call that is tried is from the next.
fn killed_everywhere(to: &str, step: usize, effects: &[fn(usize) -> Effect]) {
    isolated(|| {
        let world = World::start();
        let text = maildrop(3);
        reset(&world, to, &text);
        let before = uidls(&world);
        let plan = |nth, effect| Plan { role: Role::Session, nth, counts: changes, effect, record: false };
        reset(&world, to, &text);
        let (points, _) = Waiting::start(&world, &command(&world, &["convert", "ann", "--to", to]))
            .run(plan(0, Effect::None));
        assert_eq!(uidls(&world), before);
        assert!(points > 20, "{points} calls that change files");
        let (mut met, mut tried, mut old) = (0, 0, 0);
        for nth in (1..=points).step_by(step) {
            for effect in effects {
                let effect = effect(nth);
                reset(&world, to, &text);
                let (_, hit) = Waiting::start(&world, &command(&world, &["convert", "ann", "--to", to]))
                    .run(plan(nth, effect));
                met += usize::from(hit);
                tried += 1;
                let is_new = world.mailbox("ann").is_dir() == (to == "maildir");
                old += usize::from(!is_new);
                assert_eq!(uidls(&world), before, "to {to}, {effect:?} at call {nth}");
                let lock = world.spool.join("ann.lock");
                assert!(is_new || !lock.exists(), "deliveries wait after {effect:?} at call {nth}");
                // Whoever begins again comes to the end.
                let again = convert(&world, to, &[]);
                let status = again.status.code();
                let said = String::from_utf8_lossy(&again.stderr).into_owned();
                assert!(status == Some(0) || is_new && status == Some(1), "{effect:?} at call {nth}: {said}");
                assert_eq!(world.mailbox("ann").is_dir(), to == "maildir");
                assert_eq!(uidls(&world), before, "to {to}, again after {effect:?} at call {nth}");
            }
        }
        eprintln!("to {to}: {points} points, {tried} tried, {met} met, {old} times the old maildrop stood");
        assert!(met * 10 >= tried * 9, "{met} of {tried} met");
        assert!(old > 0 && old < tried);
    });
}

#[test]
fn killed_at_any_call_on_the_way_to_a_maildir() {
    killed_everywhere(
        "maildir",
        1,
        &[|nth| if nth % 3 == 0 { Effect::KillAll } else { Effect::Kill(Role::Session) }],
    );
}

#[test]
fn killed_at_any_call_on_the_way_to_an_mbox() {
    killed_everywhere(
        "mbox",
        1,
        &[|nth| if nth % 3 == 0 { Effect::KillAll } else { Effect::Kill(Role::Session) }],
    );
}

/// A call that fails, for want of room say, changes nothing, or the conversion goes on without it.
#[test]
fn no_room_at_any_call() {
    for (to, _) in DIRECTIONS {
        // The longer run takes every call.
        let step = if std::env::var_os("POPTOOLS_LONG").is_some() || to == "mbox" { 1 } else { 3 };
        killed_everywhere(to, step, &[|_| Effect::Fail(libc::ENOSPC)]);
    }
}

#[test]
fn who_is_logged_in_is_not_disturbed() {
    isolated(|| {
        let world = World::start();
        world.maildrop("ann", &maildrop(3));
        let mut client = world.log_in("ann");
        let output = convert(&world, "maildir", &[]);
        assert_eq!(output.status.code(), Some(75), "in use");
        assert!(String::from_utf8_lossy(&output.stderr).contains("is in use by another session"));
        assert_eq!(client.ok("STAT").split(' ').nth(1), Some("4"));
        client.quit();
        converted(&world, "maildir", &[]);
        let output = convert(&world, "maildir", &[]);
        assert_eq!(output.status.code(), Some(1), "already");
    });
}

/// One that opened the old mailbox before and checks nothing (design, section 4, "Update", 2): its mail is brought over.
#[test]
fn a_late_deliverer_loses_no_mail() {
    isolated(|| {
        let world = World::start();
        world.maildrop("ann", &maildrop(3));
        let before = uidls(&world);
        let mut late = fs::OpenOptions::new().append(true).open(world.mailbox("ann")).unwrap();
        let mut conversion = Child::start(command(&world, &["convert", "ann", "--to", "maildir"]));
        common::eventually("the Maildir is in its place", || world.mailbox("ann").is_dir().then_some(()));
        late.write_all(&mail::mbox(&[mail::message(9)])).unwrap();
        assert!(
            conversion.wait(std::time::Duration::ZERO).is_none(),
            "it waits for who has the mailbox open"
        );
        drop(late);
        assert!(conversion.wait(common::PATIENCE).is_some_and(|status| status.success()));
        let after = uidls(&world);
        assert_eq!((&after[..4], after.len()), (&before[..], 5));
    });
}

/// Mail that comes to a Maildir while it is converted, until the last moment, is in the mbox.
#[test]
fn mail_that_comes_meanwhile_is_brought_over() {
    isolated(|| {
        let world = World::start();
        world.maildrop("ann", &maildrop(2000));
        converted(&world, "maildir", &["--remove-old"]);
        let before = uidls(&world);
        let mut conversion = Child::start(command(&world, &["convert", "ann", "--to", "mbox"]));
        let (path, owner) = (world.mailbox("ann"), uid("ann"));
        let mut delivered = 0;
        while conversion.wait(std::time::Duration::ZERO).is_none() {
            // As deliverers do it: by the path, each time.
            let (tmp, new) = (path.join("tmp/late"), path.join(format!("new/9999999{delivered:03}.late")));
            let written = fs::write(&tmp, mail::message(5000 + delivered))
                .and_then(|()| std::os::unix::fs::chown(&tmp, Some(owner), Some(owner)))
                .and_then(|()| fs::rename(&tmp, &new));
            delivered += usize::from(written.is_ok());
        }
        let after = uidls(&world);
        eprintln!("{delivered} messages came meanwhile");
        assert!(delivered > 0, "none came meanwhile");
        assert_eq!(after.len(), before.len() + delivered, "each that was delivered is there");
        assert_eq!(after[..before.len()], before[..]);
    });
}

#[test]
fn what_the_configuration_would_not_find_is_refused() {
    isolated(|| {
        let world = World::setup().config("[maildrop]\nformat = \"mbox\"").start();
        world.maildrop("ann", &maildrop(3));
        let output = convert(&world, "maildir", &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("set it to \"auto\" or \"maildir\" first"), "{said}");
        let nobody = common::run(&mut command(&world, &["convert", "nobody-here", "--to", "mbox"]));
        assert_eq!(nobody.status.code(), Some(67));
    });
}

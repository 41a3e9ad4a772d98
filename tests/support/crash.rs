//! Crashes and failures in the middle of an update: the mailbox is the old or the new one, byte for byte, and the
//! next login finds no obstacle (design, sections 4 and 8).

use super::common::client::{assert_same, text};
use super::common::fault::{CHANGING, Fault};
use super::common::mail;
use super::common::{PASSWORD, World, isolated, processes, programs_or_skip, within};
use super::{append, kept};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// How long after a crash a login may still fail.
const RECOVERY: Duration = Duration::from_secs(2);

#[test]
fn a_killed_session_leaves_no_obstacle() {
    isolated(|| {
        let world = World::start();
        world.small_maildrop(3);
        let before = world.stored("ann");
        let mut client = world.log_in("ann");
        client.ok("DELE 1");
        let session = world.session(&client, "ann");
        processes::signal(session.pid, Signal::SIGKILL);
        client.rest();
        let reply = world.connect().login("ann", PASSWORD);
        assert!(reply.starts_with("+OK"), "at once: {reply}");
        assert_same("nothing was deleted", &world.stored("ann"), &before);
    });
}

/// What one attempt to update is: the messages that are deleted, of how many.
struct Case {
    count: usize,
    deleted: &'static [usize],
    appended: bool,
}

/// Both ways of updating: a new file, and a shorter one.
const CASES: &[Case] = &[
    Case { count: 4, deleted: &[1, 3], appended: false },
    Case { count: 3, deleted: &[3], appended: false },
    Case { count: 2, deleted: &[2], appended: true },
];

/// The outcome of an update that met a fault.
struct Outcome {
    struck: bool,
    reply: Option<String>,
    new: bool,
    calls: String,
}

fn update_with_fault(world: &World, case: &Case, calls: &str, effect: &str, nth: usize) -> Outcome {
    let stored = world.small_maildrop(case.count);
    let mut client = world.log_in("ann");
    for number in case.deleted {
        client.ok(&format!("DELE {number}"));
    }
    let mut left = kept(&stored, case.deleted);
    let mut before = world.stored("ann");
    if case.appended {
        append(&world.mailbox("ann"), &mail::message(9));
        left.push(mail::message(9));
        before = world.stored("ann");
    }
    let what = format!("{effect} at call {nth} of {calls}, deleting {:?} of {}", case.deleted, case.count);
    let fault = Fault::arm(world, &client, calls, effect, nth);
    let reply = client.try_command("QUIT");
    let (struck, called) = (fault.struck(), fault.calls());
    let after = world.stored("ann");
    let new = after == mail::mbox(&left);
    assert!(new || after == before, "{what}: neither old nor new:\n{}\n{called}", text(&after));
    if reply.as_ref().is_some_and(|reply| reply.starts_with("+OK")) {
        assert!(new, "{what}: +OK, but the mailbox is the old one\n{called}");
    }
    drop(fault);
    drop(client);
    let _trouble = Trouble(format!("{what}; {reply:?}\n{called}"));
    recovers(world, &what, if new { left.len() } else { case.count + usize::from(case.appended) });
    Outcome { struck, reply, new, calls: called }
}

/// Tells what came before when a later check fails: the fault, and who holds which lock.
struct Trouble(String);

impl Drop for Trouble {
    #[allow(clippy::print_stderr)] // a test's own output
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("after {}\n{}", self.0, std::fs::read_to_string("/proc/locks").unwrap_or_default());
        }
    }
}

/// The next login works, sees `count` messages, and can update.
fn recovers(world: &World, what: &str, count: usize) {
    let began = Instant::now();
    let mut client = within(RECOVERY, || {
        let mut client = world.connect();
        client.login("ann", PASSWORD).starts_with("+OK").then_some(client)
    })
    .unwrap_or_else(|| panic!("{what}: no login within {RECOVERY:?}"));
    assert!(began.elapsed() < RECOVERY, "{what}: the login took {:?}", began.elapsed());
    assert_eq!(client.ok("STAT").split(' ').nth(1), Some(count.to_string().as_str()), "{what}");
    client.ok("DELE 1");
    client.quit();
    client.server_ends();
    assert_eq!(world.spool_names(), ["ann"], "{what}: leftovers are removed");
}

fn for_every_call(
    effect_of: impl Fn(&str) -> Option<&'static str> + Sync,
    check: impl Fn(&str, &Outcome) + Sync,
) {
    if !programs_or_skip(&["strace"]) {
        return;
    }
    isolated(|| {
        let world = World::start();
        let mut struck = 0;
        for case in CASES {
            for calls in CHANGING {
                let Some(effect) = effect_of(calls) else { continue };
                for nth in 1..200 {
                    let outcome = update_with_fault(&world, case, calls, effect, nth);
                    check(&format!("{effect} at call {nth} of {calls}"), &outcome);
                    if !outcome.struck {
                        break;
                    }
                    struck += 1;
                }
            }
        }
        assert!(struck >= 10, "the faults meet the update: {struck}");
    });
}

#[test]
fn killed_anywhere_in_an_update_the_mailbox_is_the_old_or_the_new_one() {
    for_every_call(|_| Some("signal=KILL"), |_, _| ());
}

#[test]
fn an_update_that_fails_says_so_and_changes_nothing() {
    // Design, section 4: +OK only when the deletions are durable.
    let error = |calls: &str| match calls {
        "?write,?writev" | "?pwrite64,?pwritev" | "?copy_file_range" => Some("error=ENOSPC"),
        "?fsync,?fdatasync" | "?ftruncate" | "?rename,?renameat,?renameat2" => Some("error=EIO"),
        "?open,?openat,?openat2" => Some("error=EDQUOT"),
        _ => None,
    };
    for_every_call(error, |what, outcome| {
        if let Some(reply) = outcome.reply.as_ref().filter(|reply| reply.starts_with("-ERR")) {
            assert!(reply.starts_with("-ERR [SYS/"), "{what}: {reply}");
            // Once the new file has its name, a failed fsync of the directory cannot be undone.
            let renamed = outcome.calls.contains("rename") || what.contains("fsync");
            assert!(!outcome.new || renamed, "{what}: {reply}, but the mailbox is the new one");
            let told = reply.contains("may be deleted already");
            assert!(!outcome.new || told, "{what}: {reply} hides that the mailbox is the new one");
        }
    });
}

//! `mailusradm show` and `list` on a maildrop that somebody changes between two of their reads: they say what they saw, or that it was
//! changed, and write nothing.

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

use admin::{command, state_of};
use common::mail::{mbox, messages};
use common::{World, isolated};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tracer::{Call, Effect, Plan, Role};
use waiting::Waiting;

/// What the spool is after the change: nobody else may change it.
static AFTER: Mutex<String> = Mutex::new(String::new());

/// A change: its name, and what is done.
type Change = (&'static str, fn());

const OF_MAILBOX: [Change; 4] = [
    ("append", || {
        changed(|| {
            let more = mbox(&messages(1));
            File::options().append(true).open("/var/mail/ann").unwrap().write_all(&more).unwrap();
        });
    }),
    ("replace", || {
        changed(|| {
            fs::write("/var/mail/other", mbox(&messages(1))).unwrap();
            to_ann("/var/mail/other");
            fs::rename("/var/mail/other", "/var/mail/ann").unwrap();
        });
    }),
    ("truncate", || {
        changed(|| File::options().write(true).open("/var/mail/ann").unwrap().set_len(100).unwrap());
    }),
    ("delete", || changed(|| fs::remove_file("/var/mail/ann").unwrap())),
];

const OF_MAILDIR: [Change; 4] = [
    ("append", || {
        changed(|| {
            let path = "/var/mail/ann/new/1767225699.M1P1.host";
            fs::write(path, "Subject: x\n\nx\n").unwrap();
            to_ann(path);
        });
    }),
    ("replace", || {
        changed(|| {
            fs::write("/var/mail/ann/tmp/x", "Subject: another\n\nand longer than it was before\n").unwrap();
            to_ann("/var/mail/ann/tmp/x");
            fs::rename("/var/mail/ann/tmp/x", second()).unwrap();
        });
    }),
    ("truncate", || changed(|| File::options().write(true).open(second()).unwrap().set_len(10).unwrap())),
    ("delete", || changed(|| fs::remove_file(second()).unwrap())),
];

fn to_ann(path: &str) {
    let id = common::world::uid("ann");
    std::os::unix::fs::chown(path, Some(id), Some(id)).unwrap();
}

fn second() -> PathBuf {
    let mut names: Vec<PathBuf> =
        fs::read_dir("/var/mail/ann/new").unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.swap_remove(1)
}

fn spool() -> String {
    format!("{:?}", state_of(Path::new("/var/mail")))
}

fn changed(change: impl FnOnce()) {
    change();
    *AFTER.lock().unwrap() = spool();
}

fn reads(call: &Call) -> bool {
    [libc::SYS_pread64, libc::SYS_openat, libc::SYS_getdents64].contains(&call.number)
}

fn reset(world: &World, is_maildir: bool) {
    for name in world.spool_names() {
        let path = world.spool.join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    let _ = fs::remove_dir_all("/run/lib/poptools/maildrop/ann");
    world.maildrop("ann", &mbox(&messages(4)));
    if is_maildir {
        let convert = &mut command(world, &["convert", "ann", "--to", "maildir", "--remove-old"]);
        assert!(common::run(convert).status.success());
        // So that it is read.
        fs::remove_file("/run/lib/poptools/maildrop/ann/index").unwrap();
    }
}

/// What may be said of a maildrop that changes.
const WORDS: [&str; 7] = [
    "changed by another program",
    "became shorter while it was read",
    "removed by another program",
    "is gone",
    "changes while",
    "cut off",
    "No such file",
];

fn one(world: &World, is_maildir: bool, verb: &str, &(name, change): &Change) {
    let (out, err) = (world.directory().join("out"), world.directory().join("err"));
    let words = [verb, "ann", "--format", "json"];
    let run = |plan| {
        let files = (out.to_str().unwrap(), err.to_str().unwrap());
        Waiting::start_into(world, &command(world, &words), files.0, files.1).run_to_status(plan)
    };
    let plan = |nth, effect| Plan { role: Role::Session, nth, counts: reads, effect, record: false };
    reset(world, is_maildir);
    let (points, _, status) = run(plan(0, Effect::None));
    assert!(status.success() && points > 2, "{verb}: {points} reads, {status}");
    let (mut fine, mut refused) = (0, 0);
    // A login's reads are many in a Maildir, and alike.
    let step = if verb == "show" && !is_maildir { 1 } else { 3 };
    for nth in (1..=points).step_by(step) {
        reset(world, is_maildir);
        let before = (state_of(Path::new("/run/lib")), state_of(Path::new("/run/poptools")));
        let (_, met, status) = run(plan(nth, Effect::First(change)));
        let what = format!("{verb}, {name} before read {nth} of {points}, Maildir: {is_maildir}");
        let text = |path| fs::read_to_string(path).unwrap();
        let (out, err) = (text(&out), text(&err));
        if met {
            assert!(spool() == *AFTER.lock().unwrap(), "{what}: the spool was written to");
        }
        let after = (state_of(Path::new("/run/lib")), state_of(Path::new("/run/poptools")));
        assert!(before == after, "{what}: something was written");
        let said = format!("{what}: {status}\n{out}\n{err}");
        match status.code() {
            Some(0) => {
                fine += 1;
                assert_eq!(err, "", "{said}");
                let rows: serde_json::Value = serde_json::from_str(&out).expect(&said);
                let problem = rows.get(0).and_then(|row| row.get("problems")).and_then(|text| text.as_str());
                assert!(problem.is_none_or(|text| WORDS.iter().any(|word| text.contains(word))), "{said}");
                let count = if verb == "show" { rows.as_array().unwrap().len() } else { 0 };
                assert!(count <= 5, "{said}");
            }
            Some(75) => {
                refused += 1;
                assert!(err.starts_with("mailusradm: ") && err.lines().count() == 1, "{said}");
                assert!(WORDS.iter().any(|word| err.contains(word)), "{said}");
            }
            _ => panic!("{said}"),
        }
    }
    eprintln!(
        "{verb}, {name}, Maildir: {is_maildir}: {points} reads, {fine} times fine, {refused} times refused"
    );
}

#[test]
fn who_looks_at_a_maildrop_that_changes_says_so_and_writes_nothing() {
    isolated(|| {
        let world = World::start();
        for verb in ["show", "list"] {
            OF_MAILBOX.iter().for_each(|change| one(&world, false, verb, change));
            OF_MAILDIR.iter().for_each(|change| one(&world, true, verb, change));
        }
    });
}

//! `mailauth` killed at every call that changes a file, and each such call failing: the database opens, with the old or the new
//! state (design, section 8). In an installation of one user, so that all is done by one process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/own.rs"]
mod own;
#[path = "support/points.rs"]
mod points;
#[path = "support/said.rs"]
mod said;
#[path = "support/terminal.rs"]
mod terminal;

use common::programs_or_skip;
use own::Own;
use said::{Said, run};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

const SECRET: &str = "tanstaaf";
const OTHER: &str = "a better one";

/// A verb that changes something: its line, its input, and how a database in the new state is told.
struct Case {
    line: &'static str,
    input: &'static str,
    /// Whether `mailauth` says that the new state is there.
    is_new: fn(&Own) -> bool,
}

/// To try another verb, add a line.
const CASES: &[Case] = &[
    Case { line: "add w --virtual --stdin", input: OTHER, is_new: |own| right(own, "w", OTHER) },
    Case { line: "passwd v --stdin", input: OTHER, is_new: |own| right(own, "v", OTHER) },
    Case {
        line: "lock v",
        input: "",
        is_new: |own| own.run("list", "").well().starts_with("v\tAPOP\t\tyes"),
    },
    Case { line: "remove v", input: "", is_new: |own| own.run("list", "").well().is_empty() },
    Case {
        line: "import --virtual --replace --from csv -",
        input: "v,APOP,a better one\nw,APOP,a better one\n",
        is_new: |own| {
            let (one, other) = (right(own, "v", OTHER), right(own, "w", OTHER));
            assert_eq!(one, other, "both or neither");
            one
        },
    },
    Case {
        line: "rekey",
        input: "",
        is_new: |own| key_of(own) != KEY_BEFORE.with(|key| key.borrow().clone()),
    },
];

thread_local! {
    /// The key's id in the database before a verb ran.
    static KEY_BEFORE: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

fn right(own: &Own, user: &str, secret: &str) -> bool {
    let said = own.run(&format!("verify {user} --stdin"), secret);
    assert!([0, 1].contains(&said.status), "the database opens: {said:?}");
    said.status == 0
}

/// The id of the key that the database names.
fn key_of(own: &Own) -> String {
    let backup = own.run("export", "").well();
    let header: serde_json::Value = serde_json::from_str(backup.lines().next().unwrap()).unwrap();
    header["header"]["key_id"].as_str().unwrap().to_owned()
}

/// Everything in the database; the first line has the time of the backup.
fn content(own: &Own) -> Vec<String> {
    own.run("export", "").well().lines().skip(1).map(str::to_owned).collect()
}

/// The files of an installation, to bring it back.
struct Snapshot(BTreeMap<String, (Vec<u8>, u32)>);

const PLACES: [&str; 2] = ["state", "state/auth"];

impl Snapshot {
    fn take(own: &Own) -> Self {
        let files = PLACES.iter().flat_map(|place| {
            let entries = fs::read_dir(own.path(place)).unwrap().map(Result::unwrap);
            entries.filter(|entry| entry.file_type().unwrap().is_file()).map(move |entry| {
                let name = format!("{place}/{}", entry.file_name().to_str().unwrap());
                (name, (fs::read(entry.path()).unwrap(), entry.metadata().unwrap().permissions().mode()))
            })
        });
        Self(files.collect())
    }

    fn bring_back(&self, own: &Own) {
        for place in PLACES {
            for entry in fs::read_dir(own.path(place)).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_file() {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        }
        for (name, (octets, mode)) in &self.0 {
            let path = own.path(name);
            common::machine::write(&path, octets, *mode);
            chown(&path, own.run_as, own.run_as).unwrap();
        }
    }
}

/// Runs the verb under strace, with a fault at the `nth` call of a kind when told; what it said, and strace's lines.
fn traced(own: &Own, case: &Case, fault: Option<(&str, usize, &str)>) -> (Said, String) {
    let output = own.path("state/trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", &points::traced(), "-o"]).arg(&output);
    if let Some((call, nth, effect)) = fault {
        command.arg("-e").arg(format!("inject={call}:{effect}:when={nth}"));
    }
    command.arg(own.path("mailauth")).arg("--config").arg(own.path("pop3d.toml"));
    command.args(case.line.split_whitespace());
    let said = run(own.ids(command), case.input);
    (said, fs::read_to_string(output).unwrap_or_default())
}

/// What the database is after a fault: the new state, or exactly the old one. Then the verb is done once more.
fn is_whole(own: &Own, case: &Case, before: &[String], what: &str) -> bool {
    let new = (case.is_new)(own);
    if !new {
        assert_eq!(content(own), before, "{what}: neither old nor new");
    }
    let untouched = ["remove", "passwd", "import"].iter().any(|verb| case.line.starts_with(verb));
    if !untouched || !new {
        let still = if case.line.starts_with("lock") && new { 1 } else { 0 };
        assert_eq!(own.run("verify v --stdin", SECRET).status, still, "{what}: v's secret opens");
    }
    let again = own.run(case.line, case.input);
    let done_already = new && again.status == 1;
    assert!(again.status == 0 || done_already, "{what}: the next one works: {again:?}");
    let leftovers: Vec<String> = ["state", "state/auth"]
        .iter()
        .flat_map(|place| fs::read_dir(own.path(place)).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with("-journal") || name.ends_with(".new") || name.starts_with(".mailauth"))
        .collect();
    assert!(leftovers.is_empty(), "{what}: {leftovers:?}");
    assert!(own.run("check", "").well().contains("sealed secrets open"), "{what}");
    new
}

fn for_every_point(effects: &[&'static str], check: impl Fn(&str, &str, &Said, bool, &str)) {
    if !programs_or_skip(&["strace"]) {
        return;
    }
    let own = Own::new();
    own.run("init", "").well();
    own.run("add v --virtual --stdin", SECRET).well();
    let (snapshot, before) = (Snapshot::take(&own), content(&own));
    KEY_BEFORE.with(|key| key.replace(key_of(&own)));
    let (mut total, mut old, mut new) = (0, 0, 0);
    for case in CASES {
        let (said, trace) = traced(&own, case, None);
        assert_eq!(said.status, 0, "{}: {said:?}", case.line);
        let points = points::points(&trace);
        assert!(points.len() >= 5, "{}: the calls are found:\n{trace}", case.line);
        eprintln!("{}: {} points", case.line, points.len());
        for (call, nth) in points {
            for effect in effects {
                snapshot.bring_back(&own);
                let (said, trace) = traced(&own, case, Some((call, nth, effect)));
                let what = format!("{}: {effect} at call {nth} of {call}", case.line);
                assert!(
                    trace.contains("INJECTED") || trace.contains("killed by SIGKILL"),
                    "{what}: met\n{trace}"
                );
                let is_new = is_whole(&own, case, &before, &what);
                check(case.line, &what, &said, is_new, &trace);
                total += 1;
                *(if is_new { &mut new } else { &mut old }) += 1;
            }
        }
        snapshot.bring_back(&own);
    }
    eprintln!("{total} faults: {old} left the old state, {new} the new one");
    assert!(old > 0 && new > 0);
}

#[test]
fn killed_anywhere_the_database_is_the_old_or_the_new_one() {
    for_every_point(&["signal=KILL"], |_, what, said, _, _| {
        assert_ne!(said.status, 0, "{what}");
    });
}

/// An error says so. Where it comes after the change was made, the change stays, and nobody is told that it is done.
#[test]
fn an_error_leaves_the_database_as_it_was() {
    for_every_point(&["error=ENOSPC", "error=EIO"], |line, what, said, is_new, trace| {
        assert!(said.status != 0 || is_new, "{what}: said to be done: {said:?}");
        if said.status != 0 {
            assert!(said.err.starts_with("mailauth: "), "{what}: {said:?}");
            // The key's new name comes after the commit; the old name of the journal is the commit.
            let after = line == "rekey" || trace.contains("unlink");
            assert!(!is_new || after, "{what}: an error, but the new state: {said:?}");
        }
    });
}

/// A name in a directory is enough to see what a killed verb leaves: nothing that the tests do not look at.
#[test]
fn nothing_else_lies_beside_the_database() {
    let own = Own::new();
    own.run("init", "").well();
    own.run("add v --virtual --stdin", SECRET).well();
    own.run("rekey", "").well();
    let names = |place: &Path| {
        let mut names: Vec<String> = fs::read_dir(place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&own.path("state")), ["auth", "mailauth.key"]);
    assert_eq!(names(&own.path("state/auth")), ["announce", "mailauth.db"]);
}

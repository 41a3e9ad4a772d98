//! `pop3d --sandbox-selftest` (design, section 2): from inside each role everything fails that must, the table says so, and it says
//! otherwise where the kernel has no fence.

// A helper's failure is the failure of the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::world::FIRST_UID;
use common::{World, find_program, isolated, programs_or_skip, run};
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

/// What each role that strangers or users talk to must be denied.
const FENCED: &[&str] = &[
    "open a file elsewhere",
    "make a file elsewhere",
    "list a directory elsewhere",
    "read another user's maildrop",
    "connect to an address",
    "connect to a UNIX socket",
    "listen on a port",
    "execute a program",
    "make a process",
    "trace the monitor",
    "read the monitor's memory",
    "send the monitor a signal",
    "regain root",
    "make a namespace",
    "change the root directory",
    "make a device",
    "make memory executable",
    "change a resource limit",
    "allow a core file",
    "use io_uring",
    "use the kernel's keys",
];

/// What an ordinary user may do, so that a fence alone denies it.
const ALLOWED_WITHOUT: &[&str] = &[
    "open a file elsewhere",
    "make a file elsewhere",
    "list a directory elsewhere",
    "connect to an address",
    "connect to a UNIX socket",
    "listen on a port",
    "execute a program",
    "make memory executable",
    "change a resource limit",
    "allow a core file",
    "use the kernel's keys",
];

struct Row {
    role: String,
    attempt: String,
    result: String,
    error: String,
}

fn rows(output: &Output) -> Vec<Row> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [role, attempt, result, error] = fields[..] else { panic!("four fields: {line:?}") };
            let [role, attempt, result, error] = [role, attempt, result, error].map(str::to_owned);
            Row { role, attempt, result, error }
        })
        .collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_all_denied(output: &Output) {
    let rows = rows(output);
    for role in ["login", "secrets", "session", "spool helper", "recorder", "errand", "overhaul"] {
        let tried: BTreeSet<&str> =
            rows.iter().filter(|row| row.role == role).map(|row| row.attempt.as_str()).collect();
        let left_out: Vec<_> = FENCED.iter().filter(|attempt| !tried.contains(*attempt)).collect();
        assert!(left_out.is_empty(), "{role} does not try to {left_out:?}");
    }
    for Row { role, attempt, result, error } in &rows {
        assert_eq!(result, "denied", "{role}: {attempt}: {error}");
        assert!(["EPERM", "EACCES", "ENOSYS"].contains(&error.as_str()), "{role}: {attempt}: {error}");
    }
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    assert!(stderr(output).contains(&format!("all {} attempts were denied", rows.len())));
}

fn selftest(program: &Path, config: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg("--config").arg(config).arg("--sandbox-selftest").args(more);
    command
}

fn left_over(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.contains("selftest")).collect()
}

#[test]
fn as_root_everything_is_denied() {
    isolated(|| {
        let world = World::start();
        let output = run(&mut selftest(&world.program, &world.config, &[]));
        assert_all_denied(&output);
        let of_sendmail = rows(&output).iter().filter(|row| row.role == "sendmail").count();
        assert!(of_sendmail > 3, "sendmail has the user's rights, and those alone");
        assert_eq!(left_over(Path::new("/run")), [""; 0], "all that was made is removed");
    });
}

#[test]
fn as_an_ordinary_user_everything_is_denied() {
    // One uid for all roles: what is denied is denied by the fences alone.
    if nix::unistd::geteuid().is_root() {
        return isolated(|| {
            let world = World::start();
            let mut command = selftest(&world.program, &world.config, &[]);
            assert_all_denied(&command.uid(FIRST_UID).gid(FIRST_UID).env_remove("TMPDIR").output().unwrap());
        });
    }
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("pop3d.toml");
    std::fs::write(&config, format!("state_dir = \"{}\"\n", place.path().display())).unwrap();
    let mut command = selftest(Path::new(env!("CARGO_BIN_EXE_pop3d")), &config, &[]);
    assert_all_denied(&command.env("TMPDIR", place.path()).output().unwrap());
    assert_eq!(left_over(place.path()), [""; 0], "all that was made is removed");
}

#[test]
fn the_table_has_three_forms() {
    isolated(|| {
        let world = World::start();
        let table = run(&mut selftest(&world.program, &world.config, &["--format", "table"]));
        let text = String::from_utf8(table.stdout).unwrap();
        assert!(text.contains(" role ") && text.contains(" regain root "), "{text}");
        let json = run(&mut selftest(&world.program, &world.config, &["--format", "json"]));
        let rows: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(rows[0]["role"], "login");
        assert_eq!(rows[0]["result"], "denied");
    });
}

#[test]
fn a_kernel_without_fences_is_told_of() {
    // The calls that make the fences fail as they do where the kernel does not have them. This is also how it is known that the
    // attempts can succeed.
    if !programs_or_skip(&["strace"]) {
        return;
    }
    isolated(|| {
        let world = World::start();
        let mut command = Command::new(find_program("strace").unwrap());
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=landlock_create_ruleset,seccomp"]);
        command.args([
            "-e",
            "inject=landlock_create_ruleset:error=ENOSYS",
            "-e",
            "inject=seccomp:error=EINVAL",
        ]);
        command.arg(&world.program).arg("--config").arg(&world.config).arg("--sandbox-selftest");
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("no Landlock") && said.contains("no seccomp"), "{said}");
        let rows = rows(&output);
        for role in ["secrets", "session", "spool helper", "recorder"] {
            let allowed: BTreeSet<&str> = rows
                .iter()
                .filter(|row| row.role == role && row.result == "ALLOWED")
                .map(|row| row.attempt.as_str())
                .collect();
            let denied: Vec<_> = ALLOWED_WITHOUT.iter().filter(|one| !allowed.contains(*one)).collect();
            assert!(denied.is_empty(), "{role}, without a fence: {denied:?} was not allowed");
        }
        let root: Vec<_> = rows.iter().filter(|row| row.attempt == "regain root").collect();
        assert!(
            root.iter().all(|row| row.result == "denied"),
            "the ids do not depend on the kernel's fences"
        );
    });
}

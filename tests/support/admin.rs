//! `mailusradm` in a world, and what it prints against what is kept.

// Each test binary uses a part of this module.
#![allow(dead_code)]

use crate::common::World;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program under test.
pub(crate) const MAILUSRADM: &str = env!("CARGO_BIN_EXE_mailusradm");

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// What was printed, by a run that went well.
    #[track_caller]
    pub(crate) fn fine(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// The same as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.fine()).unwrap()
    }
}

/// Runs `mailusradm` as root with this world's configuration; its output is a pipe.
pub(crate) fn admin(world: &World, arguments: &[&str]) -> Ran {
    run(&mut command(world, arguments))
}

/// The same as another user.
pub(crate) fn admin_as(world: &World, uid: u32, arguments: &[&str]) -> Ran {
    // A copy: the build directory may be closed to the user. Another process makes it, so that no child of another test's inherits
    // it open for writing, which would keep it from being executed.
    let program = world.directory().join("mailusradm");
    if !program.exists() {
        assert!(Command::new("cp").arg(MAILUSRADM).arg(&program).status().unwrap().success());
    }
    let mut command = Command::new(program);
    prepare(&mut command, world, arguments);
    run(command.uid(uid).gid(uid))
}

/// The command, to be started in another way.
pub(crate) fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(MAILUSRADM);
    prepare(&mut command, world, arguments);
    command
}

fn prepare(command: &mut Command, world: &World, arguments: &[&str]) {
    command.arg("--config").arg(&world.config).args(arguments);
    command.env("TZ", "UTC").env_remove("COLUMNS").env_remove("NO_COLOR");
}

fn run(command: &mut Command) -> Ran {
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).expect("what is printed is UTF-8");
    Ran { status: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A list as a table of this many columns.
pub(crate) fn table(world: &World, width: u16, arguments: &[&str]) -> String {
    let mut command = command(world, arguments);
    command.args(["--format", "table"]).env("COLUMNS", width.to_string());
    run(&mut command).fine()
}

/// Compares what was printed with `tests/snapshots/NAME.txt`; `BLESS=1` writes that anew. No line is wider than the terminal.
#[track_caller]
pub(crate) fn snapshot(name: &str, printed: &str) {
    assert!(!printed.contains('\u{1b}'), "an escape reaches the terminal: {printed:?}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, printed).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == printed,
        "{name} is not what it was; BLESS=1 writes it anew:\n{printed}\nit was:\n{kept}"
    );
}

/// The same of a list at widths 60, 80 and 120, and piped.
#[track_caller]
pub(crate) fn snapshots(world: &World, name: &str, arguments: &[&str]) {
    for width in [60, 80, 120] {
        let printed = table(world, width, arguments);
        let widest = printed.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(widest <= usize::from(width), "{name}: {widest} characters of {width}:\n{printed}");
        snapshot(&format!("{name}-{width}"), &printed);
    }
    snapshot(&format!("{name}-piped"), &admin(world, arguments).fine());
}

/// Everything below a directory with its kind, owner, mode, content and time of change: equal means that nothing was written.
pub(crate) fn state_of(directory: &Path) -> Vec<(PathBuf, u32, u32, Vec<u8>, i64, i64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let status = path.symlink_metadata().unwrap();
        if status.is_dir() {
            found.extend(state_of(&path));
        }
        let content = if status.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        found.push((path, status.uid(), status.mode(), content, status.ctime(), status.ctime_nsec()));
    }
    found.sort();
    found
}

/// Makes an index say that it is of the mailbox as that is now, with right checksums, whatever its records say.
pub(crate) fn forge_identity(state: &Path, mailbox: &Path) {
    const CHECKED: usize = 4096 - 64;
    let status = std::fs::metadata(mailbox).unwrap();
    let path = state.join("index");
    let mut index = std::fs::read(&path).unwrap();
    let numbers = [
        status.dev(),
        status.ino(),
        status.size(),
        status.mtime().cast_unsigned(),
        status.mtime_nsec().cast_unsigned(),
        status.ctime().cast_unsigned(),
        status.ctime_nsec().cast_unsigned(),
    ];
    for (at, number) in numbers.into_iter().enumerate() {
        index[16 + 8 * at..24 + 8 * at].copy_from_slice(&number.to_le_bytes());
    }
    let check = twox_hash::XxHash3_64::oneshot(&index[..CHECKED]);
    index[CHECKED..CHECKED + 8].copy_from_slice(&check.to_le_bytes());
    std::fs::write(path, index).unwrap();
}

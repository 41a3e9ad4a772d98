//! `mailauth` with an installation of an ordinary user's own: everything below `state_dir`, owned by the one uid.

// Each test binary uses a part of this module.
#![allow(dead_code)]

use super::common::machine;
use super::said::{Said, run};
use super::terminal;
use nix::unistd::geteuid;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program.
pub(crate) const MAILAUTH: &str = env!("CARGO_BIN_EXE_mailauth");

/// Whose files an ordinary user's are when the tests run as root.
const NOBODY: u32 = 65_534;

/// A copy for other users: the build directory may be closed to them. Made by a program, since a descriptor of ours for writing
/// could live on in another test's child, and then the copy cannot be started.
pub(crate) fn copy_program(to: &Path) {
    let copied = Command::new("install").args(["-m", "755", MAILAUTH]).arg(to).status().unwrap();
    assert!(copied.success());
}

/// An ordinary user's installation: everything below `state_dir`, owned by the one uid.
pub(crate) struct Own {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) run_as: Option<u32>,
}

impl Own {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let run_as = geteuid().is_root().then_some(NOBODY);
        machine::chmod(dir, 0o755);
        machine::make_directory(&dir.join("state"), 0o700);
        chown(dir.join("state"), run_as, run_as).unwrap();
        machine::write(
            &dir.join("pop3d.toml"),
            format!("state_dir = \"{}/state\"\n", dir.display()).as_bytes(),
            0o644,
        );
        copy_program(&dir.join("mailauth"));
        Self { directory, run_as }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn ids(&self, mut command: Command) -> Command {
        if let Some(id) = self.run_as {
            command.uid(id).gid(id);
        }
        command.current_dir("/");
        command
    }

    pub(crate) fn run(&self, line: &str, input: &str) -> Said {
        let mut command = Command::new(self.path("mailauth"));
        command.arg("--config").arg(self.path("pop3d.toml")).args(line.split_whitespace());
        run(self.ids(command), input)
    }

    /// Runs it on a terminal of its own and types an answer after each prompt; what the terminal showed.
    pub(crate) fn on_a_terminal(&self, line: &str, talk: &[(&str, &str)]) -> (i32, String) {
        let mut command = terminal::on_a_terminal(&self.path("mailauth"), talk);
        command.arg("--config").arg(self.path("pop3d.toml")).args(line.split_whitespace());
        let said = run(self.ids(command), "");
        (said.status, said.out + &said.err)
    }
}

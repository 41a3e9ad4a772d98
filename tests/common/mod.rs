//! What the integration tests share: a private view of the machine, users and maildrops in it, a client, and eyes
//! for processes and their system calls. Nothing of it touches the machine: every mount is seen by the test's
//! own thread and its children alone.
//!
//! Environment: `POP3D` names another server to test than the one just built, and `POPTOOLS_NO_SKIP=1` makes a
//! test fail that would skip itself.

// Each test binary uses a part of this module, and a helper's failure is the failure of the test that called it.
#![allow(dead_code, unused_imports)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

pub(crate) mod client;
pub(crate) mod fault;
pub(crate) mod machine;
pub(crate) mod mail;
pub(crate) mod processes;
pub(crate) mod site;
pub(crate) mod trace;
pub(crate) mod world;

pub(crate) use client::Client;
pub(crate) use world::World;

use nix::sched::{CloneFlags, unshare};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long any single event may take before the test calls it missing. Nothing that works waits for it to elapse, so it
/// is long: the machine may be busy with much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The password of every user of a [`World`].
pub(crate) const PASSWORD: &str = "correct horse";

/// Says on stderr why this test cannot run here. With `POPTOOLS_NO_SKIP` set it fails instead.
pub(crate) fn skip(needs: &str) {
    assert!(std::env::var_os("POPTOOLS_NO_SKIP").is_none(), "this test needs {needs}");
    eprintln!("skipped: needs {needs}");
}

/// Whether the test may go on; an ordinary user is told `skipped: needs root`.
pub(crate) fn root_or_skip() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        // An ordinary user's run is complete without these tests, so `POPTOOLS_NO_SKIP` means nothing here.
        eprintln!("skipped: needs root");
        return false;
    }
    let private = machine::mounts_can_be_private();
    if !private {
        skip("mounts of its own (CAP_SYS_ADMIN, and a root directory that is a mount point)");
    }
    private
}

/// Whether these programs are installed.
pub(crate) fn programs_or_skip(names: &[&str]) -> bool {
    match names.iter().find(|name| find_program(name).is_none()) {
        Some(name) => {
            skip(name);
            false
        }
        None => true,
    }
}

/// Where a program is; the directories of system programs count even when they are not in PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').chain(["/usr/sbin", "/sbin", "/usr/local/sbin"]);
    places.map(|place| Path::new(place).join(name)).find(|program| program.is_file())
}

/// Runs a test as root with mounts of its own. The thread is a new one, so that no other test sees them.
pub(crate) fn isolated(test: impl FnOnce() + Send) {
    in_namespaces(CloneFlags::CLONE_NEWNS, test);
}

/// The same with a network of its own, which has a loopback interface and every port free.
pub(crate) fn isolated_with_network(test: impl FnOnce() + Send) {
    if !programs_or_skip(&["ip"]) {
        return;
    }
    in_namespaces(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET, || {
        let up = Command::new(find_program("ip").unwrap()).args(["link", "set", "lo", "up"]).status();
        assert!(up.unwrap().success(), "the loopback interface comes up");
        test();
    });
}

fn in_namespaces(flags: CloneFlags, test: impl FnOnce() + Send) {
    if !root_or_skip() {
        return;
    }
    let run = move || match unshare(flags) {
        Ok(()) => {
            machine::keep_mounts_private();
            test();
        }
        Err(why) => skip(&format!("namespaces ({why})")),
    };
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Looks again and again, for what gives no event (`/proc`), until there is an answer.
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("{what}: not within {PATIENCE:?}"))
}

/// Like [`eventually`] with a time limit of the caller's.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// A child that is ended by its pid when the test is done with it.
pub(crate) struct Child {
    pid: u32,
    exit: mpsc::Receiver<ExitStatus>,
    status: Option<ExitStatus>,
}

impl Child {
    /// Starts a program. Its end is an event: a thread waits for it. The command is taken, since it holds on to
    /// the descriptors that the child gets.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|why| panic!("cannot start {command:?}: {why}"));
        let pid = child.id();
        let (sender, exit) = mpsc::channel();
        std::thread::spawn(move || {
            if let Ok(status) = child.wait() {
                // The receiver may be gone: nobody waits any more.
                let _ = sender.send(status);
            }
        });
        Self { pid, exit, status: None }
    }

    /// Stands for a process that nobody started, such as that of a client of a server that runs already.
    pub(crate) fn nobody() -> Self {
        Self { pid: 0, exit: mpsc::channel().1, status: Some(ExitStatus::default()) }
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Its exit status, when it ends within `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.exit.recv_timeout(limit).ok();
        }
        self.status
    }

    /// Sends a signal to it, when it still runs.
    pub(crate) fn signal(&mut self, signal: nix::sys::signal::Signal) {
        if self.wait(Duration::ZERO).is_none() {
            processes::signal(self.pid, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.wait(Duration::ZERO).is_none() {
            for process in processes::tree(self.pid).iter().rev() {
                processes::signal(process.pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

/// Runs a program to its end, at most two minutes long.
pub(crate) fn run(command: &mut Command) -> Output {
    let mut timed = Command::new("timeout");
    timed.args(["-k", "1", "120"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        timed.current_dir(directory);
    }
    timed.stdin(Stdio::null()).output().unwrap_or_else(|why| panic!("cannot run {command:?}: {why}"))
}

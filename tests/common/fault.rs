//! Faults in the middle of an update: strace attaches to a session's processes and kills them at, or fails, the
//! N-th system call of a kind.

use super::{Child, Client, World, eventually, processes};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Calls that change files, or pass an update from one process to the other; one family a line.
pub(crate) const CHANGING: &[&str] = &[
    "?rename,?renameat,?renameat2",
    "?unlink,?unlinkat",
    "?link,?linkat",
    "?open,?openat,?openat2",
    "?write,?writev",
    "?pwrite64,?pwritev",
    "?copy_file_range",
    "?fsync,?fdatasync",
    "?ftruncate",
    "?fchown,?fchownat",
    "?fchmod,?fchmodat",
    "?utimensat",
    "?fsetxattr",
    "?fcntl",
    "?sendmsg,?sendto",
];

/// A tracer that is in place. When the test fails it tells where the fault was.
pub(crate) struct Fault {
    _strace: Child,
    output: PathBuf,
    what: String,
}

impl Fault {
    /// From now on each process of the connection, and each that it makes, meets `effect` (`signal=KILL`,
    /// `error=EIO`) at its own `nth` call of the family.
    pub(crate) fn arm(world: &World, client: &Client, calls: &str, effect: &str, nth: usize) -> Self {
        let output = world.directory().join("fault");
        let messages = world.directory().join("fault.messages");
        let mut command = Command::new("strace");
        command.args(["-f", "-e"]).arg(format!("trace={calls}")).arg("-o").arg(&output);
        command.arg("-e").arg(format!("inject={calls}:{effect}:when={nth}"));
        let pids: Vec<u32> = processes::tree(client.server.pid()).iter().map(|process| process.pid).collect();
        for pid in &pids {
            command.arg("-p").arg(pid.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&messages).unwrap());
        let mut strace = Child::start(command);
        eventually("strace attaches", || {
            let said = fs::read_to_string(&messages).ok()?;
            // The login process may just have ended: the session has taken over.
            let gone = |pid: u32| processes::read(pid).is_none_or(|process| process.state == "Z");
            let attached =
                pids.iter().all(|&pid| said.contains(&format!("Process {pid} attached")) || gone(pid));
            let ended = strace.wait(std::time::Duration::ZERO);
            assert!(attached || ended.is_none(), "strace ended: {said}");
            attached.then_some(())
        });
        let what = format!("{effect} at call {nth} of {calls}, processes {pids:?}");
        Self { _strace: strace, output, what }
    }

    /// What strace wrote so far.
    pub(crate) fn calls(&self) -> String {
        fs::read(&self.output).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Whether the fault happened.
    pub(crate) fn struck(&self) -> bool {
        let calls = self.calls();
        calls.contains("(INJECTED)") || calls.contains("killed by SIGKILL")
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("fault: {}\n{}", self.what, self.calls());
        }
    }
}

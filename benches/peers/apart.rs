//! A run apart from the machine: processes of a namespace of its own, which end with it however it ends, and somebody who tidies up.
//!
//! What was started supervises. Its child is the first process of the namespace and takes care of orphans; the run itself is that one's
//! child. Whichever of the three is killed, the kernel ends all the others and every server. The sweeper is outside, in a session
//! of its own, and sees the end by a pipe: it removes the control groups and the directories, mailboxes of gigabytes among them.

use super::common::machine;
use super::meter;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::time::Duration;

/// What all control groups of a run begin with.
pub(crate) const GROUPS: &str = "poptools-bench-";

/// Where a run, which its supervisor's process id names, has its files: on the disk of the build, and where every user may look.
fn places(target: &Path, run: &str) -> [PathBuf; 2] {
    [target.join(format!("run-{run}")), std::env::temp_dir().join(format!("{GROUPS}{run}"))]
}

/// Supervises: starts the sweeper and the namespace, and gives the status of the run.
pub(crate) fn supervise(target: &Path) -> ! {
    // cargo does not end what it has started when it is killed.
    if parent_is("cargo") {
        die_with_parent();
    }
    let run = std::process::id().to_string();
    for place in places(target, &run) {
        fs::create_dir_all(&place).unwrap_or_else(|why| panic!("cannot make {}: {why}", place.display()));
        machine::chmod(&place, 0o755);
    }
    let own = std::env::current_exe().unwrap();
    let mut sweeper = Command::new(&own);
    sweeper.arg("--sweep").arg(&run).stdin(Stdio::piped());
    // SAFETY: setsid is a system call and nothing else, which may be made between fork and exec.
    unsafe { sweeper.pre_exec(|| Ok(nix::unistd::setsid().map(|_| ())?)) };
    let mut sweeper = sweeper.spawn().unwrap();
    unshare(CloneFlags::CLONE_NEWPID).unwrap_or_else(|why| {
        panic!("cannot make a namespace of processes, without which servers would be left behind: {why}")
    });
    let mut first = Command::new(&own);
    first.arg("--first").arg(&run).args(std::env::args_os().skip(1));
    first.env("TMPDIR", &places(target, &run)[1]);
    // SAFETY: prctl is a system call and nothing else.
    unsafe {
        first.pre_exec(|| {
            die_with_parent();
            Ok(())
        });
    }
    let status = first.status().unwrap();
    drop(sweeper.stdin.take());
    let _ = sweeper.wait();
    exit(status.code().unwrap_or(70));
}

fn die_with_parent() {
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
}

fn parent_is(name: &str) -> bool {
    let parent = nix::unistd::getppid();
    fs::read_to_string(format!("/proc/{parent}/comm")).is_ok_and(|comm| comm.trim() == name)
}

/// The first process of the namespace: it has a `/proc` that shows no other processes, starts the run, and waits for orphans, too.
// Its end is seen among those of all children.
#[allow(clippy::zombie_processes)]
pub(crate) fn first(words: &[String]) -> ! {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    machine::keep_mounts_private();
    nix::mount::mount(Some("proc"), "/proc", Some("proc"), nix::mount::MsFlags::empty(), None::<&str>)
        .unwrap_or_else(|why| panic!("cannot mount a /proc of its own: {why}"));
    let run = Command::new(std::env::current_exe().unwrap()).arg("--run").args(words).spawn().unwrap();
    let run = Pid::from_raw(run.id().cast_signed());
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == run => exit(code),
            Ok(WaitStatus::Signaled(pid, ..)) if pid == run => exit(70),
            // An orphan's end, or a signal.
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(why) => panic!("cannot wait for the run: {why}"),
        }
    }
}

/// Waits for the end of the run, however it comes, and removes what it has left.
pub(crate) fn sweep(target: &Path, run: &str) {
    // Nothing is ever sent: this is the end of the supervisor.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    machine::keep_mounts_private();
    let [disk, small] = places(target, run);
    let groups = meter::mount_groups(&small);
    let prefix = format!("{GROUPS}{run}-");
    // The kernel needs a moment to end everybody.
    for _ in 0..200 {
        let mut left = 0;
        for group in fs::read_dir(&groups).into_iter().flatten().flatten() {
            if group.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::write(group.path().join("cgroup.kill"), "1");
                left += usize::from(fs::remove_dir(group.path()).is_err());
            }
        }
        if left == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = nix::mount::umount2(&groups, nix::mount::MntFlags::MNT_DETACH);
    for place in [disk, small] {
        if let Err(why) = fs::remove_dir_all(&place) {
            eprintln!("peers: cannot remove {}: {why}", place.display());
        }
    }
}

/// The directory on a disk of this run.
pub(crate) fn disk(target: &Path, run: &str) -> PathBuf {
    let [disk, _] = places(target, run);
    disk
}

//! What a server costs: CPU time of all its processes, those that have ended included, and memory.

use nix::mount::{MsFlags, mount};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A file system of control groups of our own view: the machine's is left alone but for our groups, which go with the meters.
pub(crate) fn mount_groups(directory: &Path) -> PathBuf {
    let place = directory.join("groups");
    fs::create_dir(&place).unwrap();
    mount(Some("none"), &place, Some("cgroup2"), MsFlags::empty(), None::<&str>)
        .unwrap_or_else(|why| panic!("cannot mount a cgroup2, by which servers are measured: {why}"));
    place
}

/// The control group of one server.
pub(crate) struct Meter(PathBuf);

impl Meter {
    pub(crate) fn new(groups: &Path, run: &str, name: &str) -> Self {
        let place = groups.join(format!("{}{run}-{name}", super::apart::GROUPS));
        fs::create_dir(&place).unwrap();
        Self(place)
    }

    /// A command that runs in the group.
    pub(crate) fn command(&self, words: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs")).args(words);
        command
    }

    /// All its CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        let text = fs::read_to_string(self.0.join("cpu.stat")).unwrap();
        let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
        Duration::from_micros(usage.parse().unwrap())
    }

    pub(crate) fn processes(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Waits until there are at most so many processes, and their parents know of the ends of the others.
    pub(crate) fn settle(&self, processes: usize) {
        for _ in 0..400 {
            if self.processes().len() <= processes {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(20));
    }

    /// Memory of the process that runs as the user which is nobody else's, in KiB: the most of any.
    pub(crate) fn private_of(&self, uid: u32) -> u64 {
        let of_user = |pid: &i32| fs::metadata(format!("/proc/{pid}")).is_ok_and(|found| found.uid() == uid);
        let all = self.processes().into_iter().filter(of_user);
        all.map(|pid| kib(pid, &["Private_Clean:", "Private_Dirty:"])).max().unwrap_or_default()
    }

    /// Memory of all processes in KiB, shared pages in proportion.
    pub(crate) fn share(&self) -> u64 {
        self.processes().into_iter().map(|pid| kib(pid, &["Pss:"])).sum()
    }

    /// Puts all its processes, and what they fork, on these cores.
    pub(crate) fn pin(&self, cores: &[usize]) {
        for pid in self.processes() {
            pin(pid, cores);
        }
    }

    /// Ends what still runs.
    pub(crate) fn end(&self) {
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for pid in left {
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// Puts one thread (0: this one) on these cores.
pub(crate) fn pin(pid: i32, cores: &[usize]) {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core).unwrap();
    }
    // It may have ended.
    let _ = sched_setaffinity(Pid::from_raw(pid), &set);
}

fn kib(pid: i32, fields: &[&str]) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let wanted = |line: &&str| fields.iter().any(|field| line.starts_with(field));
    text.lines().filter(wanted).filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// Free memory of the machine in KiB.
pub(crate) fn available() -> i64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// CPU time of this thread.
pub(crate) fn own_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(
        text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or_default(),
    )
}

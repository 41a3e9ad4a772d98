//! Processes as `/proc` shows them: who runs as whom, with which rights and descriptors.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// One process, as it was when it was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// Z for one that ended and was not waited for.
    pub(crate) state: String,
    /// Real, effective, saved and file-system user id.
    pub(crate) uids: Vec<u32>,
    /// Real, effective, saved and file-system group id.
    pub(crate) gids: Vec<u32>,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// The bits of CapInh, CapPrm, CapEff, CapBnd and CapAmb.
    pub(crate) capabilities: [u64; 5],
    /// 2: a seccomp filter is on.
    pub(crate) seccomp: u32,
    pub(crate) no_new_privs: u32,
    pub(crate) threads: u32,
}

/// Reads one process; `None` when it is gone.
pub(crate) fn read(pid: u32) -> Option<Process> {
    Some(parse(pid, &fs::read_to_string(format!("/proc/{pid}/status")).ok()?))
}

/// What `/proc/PID/status` says.
pub(crate) fn parse(pid: u32, status: &str) -> Process {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).unwrap_or_default()
    };
    let numbers =
        |name| field(name).split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>();
    let number = |name| numbers(name).first().copied().unwrap_or_default();
    let bits = |name| u64::from_str_radix(field(name), 16).unwrap_or(u64::MAX);
    Process {
        pid,
        parent: number("PPid"),
        state: field("State").chars().take(1).collect(),
        uids: numbers("Uid"),
        gids: numbers("Gid"),
        groups: numbers("Groups"),
        capabilities: ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(bits),
        seccomp: number("Seccomp"),
        no_new_privs: number("NoNewPrivs"),
        threads: number("Threads"),
    }
}

/// A process and everything below it, parents before children.
pub(crate) fn tree(root: u32) -> Vec<Process> {
    let mut left: Vec<Process> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(read)
        .filter(|process| process.state != "Z")
        .collect();
    let mut found: Vec<Process> = Vec::new();
    loop {
        let (below, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|process| {
            process.pid == root || found.iter().any(|parent| parent.pid == process.parent)
        });
        if below.is_empty() {
            return found;
        }
        found.extend(below);
        left = others;
    }
}

/// Sends a signal to a process that the test started or one below it.
pub(crate) fn signal(pid: u32, signal: Signal) {
    // It may have ended by itself meanwhile.
    let _ = kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal);
}

impl Process {
    /// Its open descriptors: number and what they name (`/path`, `socket:[inode]`).
    pub(crate) fn descriptors(&self) -> Vec<(u32, String)> {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return Vec::new() };
        entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = fs::read_link(entry.path()).ok()?;
                Some((entry.file_name().to_str()?.parse().ok()?, name.to_string_lossy().into_owned()))
            })
            .collect()
    }

    /// Whether it holds the socket with this inode.
    pub(crate) fn holds_socket(&self, inode: u64) -> bool {
        let name = format!("socket:[{inode}]");
        self.descriptors().iter().any(|(_, target)| *target == name)
    }

    /// Its memory in KiB, pages that it shares counted in proportion; `None` when it is gone.
    pub(crate) fn share_kib(&self) -> Option<u64> {
        self.kib("smaps_rollup", "Pss:")
    }

    /// Its heap and stack in KiB, whoever shares them; `None` when it is gone.
    pub(crate) fn heap_kib(&self) -> Option<u64> {
        self.kib("status", "RssAnon:")
    }

    fn kib(&self, file: &str, field: &str) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Its root directory as seen by everybody else, and what is in it.
    pub(crate) fn root_directory(&self) -> (PathBuf, Vec<String>) {
        let link = format!("/proc/{}/root", self.pid);
        let entries = fs::read_dir(format!("{link}/")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        (fs::read_link(link).unwrap(), names.collect())
    }

    /// Everything that it has written or could write to: the bytes of its writable mappings. Nothing when it has ended.
    pub(crate) fn memory(&self) -> Vec<Region> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap_or_default();
        let memory = fs::File::open(format!("/proc/{}/mem", self.pid));
        memory.map_or_else(
            |_| Vec::new(),
            |memory| maps.lines().filter_map(|line| region(line, &memory)).collect(),
        )
    }

    /// Its ids, rights and sandbox, for the message of a failed test.
    pub(crate) fn describe(&self) -> String {
        format!("{self:?}")
    }
}

/// A writable mapping: its line in `/proc/PID/maps` and its bytes.
pub(crate) struct Region {
    name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Region {
    /// Where bytes stand in it, with what is around them, for a message.
    pub(crate) fn find(&self, wanted: &[u8]) -> Option<String> {
        let at = memchr::memmem::find(&self.bytes, wanted)?;
        let around = &self.bytes[at.saturating_sub(48)..self.bytes.len().min(at + wanted.len() + 16)];
        Some(format!("at {at:#x} of {}: {}", self.name, around.escape_ascii()))
    }
}

fn region(line: &str, memory: &fs::File) -> Option<Region> {
    let mut fields = line.split_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
    if !fields.next()?.contains('w') {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(to - from).ok()?];
    let mut read = 0;
    // A page may be missing at the end of a mapping; what comes before it counts.
    while let Ok(count @ 1..) = memory.read_at(&mut bytes[read..], from + read as u64) {
        read += count;
    }
    bytes.truncate(read);
    Some(Region { name: line.to_owned(), bytes })
}

/// What `/proc/PID/limits` says of a program or module of others: no core file, and bounds of descriptors, files and memory.
pub(crate) fn assert_limited(limits: &str, memory: u64) {
    for (what, expected) in [
        ("Max core file size", 0),
        ("Max open files", 256),
        ("Max file size", 1 << 30),
        ("Max address space", memory),
    ] {
        let hard = limits.lines().find_map(|line| line.strip_prefix(what)?.split_whitespace().nth(1));
        assert_eq!(hard, Some(expected.to_string().as_str()), "{what}: {limits}");
    }
}

//! System calls as `strace -ff -y` writes them, with the rights that each process had at the time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Options for [`Trace::read`]: one file a process, descriptors with their names.
pub(crate) fn arguments(output: &Path, calls: &str) -> Vec<String> {
    let credentials = "setuid,setgid,setreuid,setregid,setresuid,setresgid,setfsuid,setfsgid,setgroups";
    let forks = "clone,clone3,fork,vfork";
    let trace = format!("trace={calls},{credentials},{forks}");
    let output = output.to_str().unwrap();
    ["strace", "-ff", "-qq", "-y", "-s", "4096", "-o", output, "-e", "signal=none", "-e", &trace]
        .map(str::to_owned)
        .to_vec()
}

/// Calls that open, make, change or remove a name.
pub(crate) const NAMES: &str = "?open,?openat,?openat2,?creat,?unlink,?unlinkat,?rename,?renameat,?renameat2,?link,?linkat,\
     ?symlink,?symlinkat,?mkdir,?mkdirat,?rmdir,?mknod,?mknodat,?truncate,?chmod,?fchmodat,?chown,?lchown,?fchownat";

/// Calls that receive bytes.
pub(crate) const RECEIVING: &str = "?read,?readv,?pread64,?recvfrom,?recvmsg,?recvmmsg,?splice";

/// One call of one process.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) pid: u32,
    /// The effective user id at the time.
    pub(crate) user: u32,
    /// The effective group id at the time.
    pub(crate) group: u32,
    pub(crate) name: String,
    /// The line that strace wrote.
    pub(crate) line: String,
    arguments: Vec<String>,
}

/// All calls, each process's own in order.
pub(crate) struct Trace {
    pub(crate) calls: Vec<Call>,
}

#[derive(Clone, Copy)]
struct Rights {
    user: u32,
    group: u32,
}

impl Trace {
    /// Reads the files that strace wrote for a program that root started.
    pub(crate) fn read(output: &Path) -> Self {
        let mut files = files_of(output);
        let mut calls = Vec::new();
        let first = *files.keys().find(|pid| !is_child(**pid, &files)).expect("strace wrote a file");
        let mut next = vec![(first, Rights { user: 0, group: 0 })];
        while let Some((pid, rights)) = next.pop() {
            if let Some(text) = files.remove(&pid) {
                follow(pid, rights, &text, &mut calls, &mut next);
            }
        }
        assert!(files.is_empty(), "a process without a parent in the trace: {:?}", files.keys());
        Self { calls }
    }
}

impl Call {
    /// The paths that it names, with `/` in front whatever directory they are relative to.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let mut directory = PathBuf::from("/");
        let mut paths = Vec::new();
        for argument in &self.arguments {
            if let Some(quoted) = argument.strip_prefix('"') {
                let name = quoted.trim_end_matches("...").trim_end_matches('"');
                paths.push(directory.join(name));
            } else if let Some(name) = descriptor_name(argument) {
                directory = PathBuf::from(name);
            }
        }
        paths
    }

    /// What its first argument, a descriptor, names.
    pub(crate) fn descriptor(&self) -> Option<&str> {
        descriptor_name(self.arguments.first()?)
    }

    /// Whether it is one of those that open, make, change or remove a name.
    pub(crate) fn names_a_file(&self) -> bool {
        NAMES.split(',').any(|name| name.trim().trim_start_matches('?') == self.name)
    }
}

/// `/var/mail` of `5</var/mail>`.
fn descriptor_name(argument: &str) -> Option<&str> {
    let (number, rest) = argument.split_once('<')?;
    let number_ok = number == "AT_FDCWD" || number.bytes().all(|byte| byte.is_ascii_digit());
    number_ok.then(|| rest.strip_suffix('>').unwrap_or(rest).trim_end_matches("(deleted)"))
}

fn files_of(output: &Path) -> BTreeMap<u32, String> {
    let prefix = format!("{}.", output.file_name().unwrap().to_str().unwrap());
    let entries = fs::read_dir(output.parent().unwrap()).unwrap();
    let numbered = entries.filter_map(|entry| {
        let entry = entry.unwrap();
        let pid = entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok()?;
        Some((pid, String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned()))
    });
    numbered.collect()
}

fn is_child(pid: u32, files: &BTreeMap<u32, String>) -> bool {
    let end = format!(" = {pid}");
    files.values().any(|text| text.lines().any(|line| forks(line) && line.ends_with(&end)))
}

fn forks(line: &str) -> bool {
    ["clone(", "clone3(", "fork(", "vfork("].iter().any(|call| line.starts_with(call))
}

fn follow(
    pid: u32,
    mut rights: Rights,
    text: &str,
    calls: &mut Vec<Call>,
    children: &mut Vec<(u32, Rights)>,
) {
    for line in text.lines() {
        let Some((name, arguments, result)) = split(line) else { continue };
        if let (true, Ok(child)) = (forks(line), result.parse()) {
            children.push((child, rights));
        }
        if result == "0" {
            rights = rights.after(name, &arguments);
        }
        let call = Call {
            pid,
            user: rights.user,
            group: rights.group,
            name: name.to_owned(),
            line: line.to_owned(),
            arguments,
        };
        calls.push(call);
    }
}

impl Rights {
    /// The effective ids after a call that worked. Root's real and saved ids change with them or not: what counts
    /// here is only what a file access is checked against.
    fn after(self, call: &str, arguments: &[String]) -> Self {
        let id = |position: usize| arguments.get(position).and_then(|id| id.parse().ok());
        match call {
            "setuid" => Self { user: id(0).unwrap_or(self.user), ..self },
            "setgid" => Self { group: id(0).unwrap_or(self.group), ..self },
            // -1, which strace writes as such, is no u32: the id stays.
            "setreuid" | "setresuid" => Self { user: id(1).unwrap_or(self.user), ..self },
            "setregid" | "setresgid" => Self { group: id(1).unwrap_or(self.group), ..self },
            _ => self,
        }
    }
}

/// `name(arguments) = result`, a failed call included.
fn split(line: &str) -> Option<(&str, Vec<String>, &str)> {
    let (name, rest) = line.split_once('(')?;
    let (inside, result) = rest.rsplit_once(") = ").or_else(|| {
        let (inside, result) = rest.rsplit_once(" = ")?;
        Some((inside.trim_end().strip_suffix(')')?, result))
    })?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    Some((name, split_arguments(inside.trim_end().trim_end_matches(')')), result.trim()))
}

/// Cuts at the commas that stand outside of quotes and brackets.
fn split_arguments(text: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut quoted, mut escaped) = (0_i32, false, false);
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' | '(' if !quoted => depth += 1,
            '}' | ']' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().unwrap().push(character);
    }
    arguments.iter().map(|argument| argument.trim().to_owned()).collect()
}

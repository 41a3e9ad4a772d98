//! Where a program can be killed or refused: its calls that change files, as strace tells of them.

use std::collections::BTreeMap;

/// Calls that change files. `openat` counts only where it makes or empties a file, `write` only behind standard output and error.
const CHANGING: &[&str] = &[
    "openat",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "fchownat",
    "mkdir",
    "mkdirat",
];

/// strace's expression for all of them.
pub(crate) fn traced() -> String {
    let calls: Vec<String> = CHANGING.iter().map(|call| format!("?{call}")).collect();
    format!("trace={}", calls.join(","))
}

/// The calls of an undisturbed run that change something: which, and how many of its kind came before.
pub(crate) fn points(trace: &str) -> Vec<(&'static str, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for line in trace.lines() {
        let called = CHANGING.iter().find(|call| line.contains(&format!(" {call}(")));
        let Some(&call) = called else { continue };
        let count = counts.entry(call).or_default();
        *count += 1;
        if changes(line, call) {
            found.push((call, *count));
        }
    }
    found
}

fn changes(line: &str, call: &str) -> bool {
    match call {
        "openat" => line.contains("O_CREAT") || line.contains("O_TRUNC"),
        "write" => !["write(1", "write(2"]
            .iter()
            .any(|other| line.contains(&format!("{other}<")) || line.contains(&format!("{other},"))),
        _ => true,
    }
}

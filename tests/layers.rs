//! The layers of the library (design, section 2a): arrows go down only, system calls have one door, the protocol
//! is pure, and files stay short enough to read.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "app",
        &[
            "cli",
            "ui",
            "process",
            "transport",
            "auth",
            "history",
            "maildrop",
            "secrets",
            "session",
            "protocol",
            "config",
            "error",
            "log",
            "secret",
            "sys",
        ],
    ),
    ("fuzzing", &["process", "history", "maildrop", "secrets", "protocol", "sys"]),
    ("cli", &["ui", "config", "error"]),
    ("ui", &["error", "secret"]),
    (
        "process",
        &[
            "transport",
            "auth",
            "history",
            "maildrop",
            "session",
            "protocol",
            "config",
            "log",
            "error",
            "secret",
            "sys",
        ],
    ),
    ("transport", &["protocol", "config", "error", "log", "sys", "secret"]),
    ("auth", &["secrets", "protocol", "config", "error", "secret", "sys", "log"]),
    ("history", &["config", "error", "log", "sys"]),
    ("secrets", &["protocol", "config", "error", "secret", "sys"]),
    ("maildrop", &["session", "protocol", "config", "error", "sys", "log"]),
    ("session", &["protocol", "secret"]),
    ("protocol", &["secret"]),
    ("config", &["error", "sys"]),
    ("log", &["error", "sys", "config"]),
    ("error", &[]),
    ("secret", &[]),
    ("sys", &["error", "secret"]),
];

/// The longest file that is still read as one piece.
const MOST_LINES: usize = 500;

/// A line of code that breaks a rule: `src/lib/x.rs:12: rule`.
type Complaint = String;

#[test]
fn arrows_go_down_only() {
    let complaints: Vec<Complaint> = sources().iter().flat_map(check_uses).collect();
    assert!(complaints.is_empty(), "design, section 2a:\n{}", complaints.join("\n"));
}

#[test]
fn every_module_has_its_place_in_the_table() {
    for source in sources().iter().filter(|source| source.module != "lib") {
        let known = MAY_USE.iter().any(|(module, _)| *module == source.module);
        assert!(known, "{}: {} has no line in MAY_USE", source.name, source.module);
    }
}

#[test]
fn system_calls_have_one_door() {
    let complaints: Vec<Complaint> = sources()
        .iter()
        .filter(|source| source.module != "sys")
        .flat_map(|source| {
            let code = source.code().filter(|(_, line)| {
                let line =
                    if source.module == "error" { line.replace("nix::errno", "") } else { line.clone() };
                mentions(&line, "unsafe") || has_path(&line, "libc") || has_path(&line, "nix")
            });
            code.map(|(number, line)| format!("{}:{number}: only sys may: {}", source.name, line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(complaints.is_empty(), "design, section 2a:\n{}", complaints.join("\n"));
}

#[test]
fn protocol_and_session_are_pure() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| ["protocol", "session"].contains(&source.module.as_str()))
    {
        for (number, line) in source.code() {
            for effect in ["fs", "net", "time", "env", "process", "thread", "os"] {
                // The compiler's own `env!` reads the version when it builds, not the environment.
                if has_path(&line, &format!("std::{effect}"))
                    || line.contains(&format!("use std::{effect}"))
                    || grouped(&line, effect)
                {
                    complaints.push(format!(
                        "{}:{number}: {} must not use std::{effect}",
                        source.name, source.module
                    ));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "design, section 3:\n{}", complaints.join("\n"));
}

#[test]
fn files_are_short_enough_to_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = files_below(&root.join("src"));
    files.extend(files_below(&root.join("tests")));
    let long: Vec<String> = files
        .iter()
        .map(|file| (file, fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "more than {MOST_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn the_checks_see_what_they_look_for() {
    let source =
        |module: &str, text: &str| Source { name: "x.rs".into(), module: module.into(), text: text.into() };
    let complaints = |module, text| check_uses(&source(module, text)).len();
    assert_eq!(complaints("protocol", "use crate::session::Bitmap;"), 1);
    assert_eq!(complaints("protocol", "use crate::secret::Secret;"), 0);
    assert_eq!(
        complaints("protocol", "use crate::{\n    secret::Secret,\n    maildrop::{Maildrop, Uidl},\n};"),
        1
    );
    assert_eq!(complaints("protocol", "fn f() { crate::sys::clock::now() }"), 1);
    assert_eq!(complaints("protocol", "// crate::sys is not for us"), 0);
    assert_eq!(
        complaints("protocol", "use super::line; pub(crate) fn f() {} pub(in crate::protocol) fn g() {}"),
        0
    );
    assert!(
        has_path("libc::close(3)", "libc") && has_path("use libc;", "libc") && !has_path("mylibc::x", "libc")
    );
    assert!(grouped("use std::{fmt, fs};", "fs") && !grouped("use std::{fmt, offset};", "fs"));
    assert_eq!(
        source("x", "a /* b\n c */ d // e\n").code().map(|(_, line)| line).collect::<String>(),
        "a  d "
    );
}

/// One source file of the library.
struct Source {
    name: String,
    module: String,
    text: String,
}

impl Source {
    /// Its lines with their numbers, without comments and unit tests in the same file.
    fn code(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        let end =
            self.text.find("\n#[cfg(test)]\nmod ").filter(|at| self.text[*at..].contains("mod tests {"));
        let text = &self.text[..end.unwrap_or(self.text.len())];
        let mut in_comment = false;
        text.lines()
            .enumerate()
            .map(move |(index, line)| (index + 1, without_comments(line, &mut in_comment)))
    }
}

fn without_comments(line: &str, in_comment: &mut bool) -> String {
    let mut code = String::new();
    let mut rest = line;
    loop {
        if *in_comment {
            let Some((_, after)) = rest.split_once("*/") else { return code };
            *in_comment = false;
            rest = after;
        }
        let (line_comment, block) = (rest.find("//"), rest.find("/*"));
        match (line_comment, block) {
            (Some(at), None) => return code + &rest[..at],
            (Some(at), Some(block)) if at < block => return code + &rest[..at],
            (_, Some(at)) => {
                code.push_str(&rest[..at]);
                rest = &rest[at + 2..];
                *in_comment = true;
            }
            (None, None) => return code + rest,
        }
    }
}

fn check_uses(source: &Source) -> Vec<Complaint> {
    let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == source.module) else {
        return Vec::new();
    };
    let mut complaints = Vec::new();
    let lines: Vec<(usize, String)> = source.code().collect();
    for (index, (number, line)) in lines.iter().enumerate() {
        for used in used_modules(line, &lines[index + 1..]) {
            if used != source.module && !allowed.contains(&used.as_str()) {
                complaints.push(format!("{}:{number}: {} must not use {used}", source.name, source.module));
            }
        }
    }
    complaints
}

/// The modules behind each `crate::` of a line; a group in braces may go on in the lines below.
fn used_modules(line: &str, below: &[(usize, String)]) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let before = line[..at].chars().next_back();
        let restricted = line[..at].ends_with("pub(in ");
        if restricted || before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &line[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let whole: String = std::iter::once(group)
                .chain(below.iter().map(|(_, line)| line.as_str()))
                .collect::<Vec<_>>()
                .join(" ");
            used.extend(group_heads(&whole));
        } else {
            used.push(identifier(rest));
        }
    }
    used
}

/// The first names in `a::b, c::{d, e}, f}`.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut item = String::new();
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut item)),
            _ if depth == 0 => item.push(character),
            _ => {}
        }
    }
    heads.push(item);
    heads.iter().map(|item| identifier(item.trim())).filter(|head| !head.is_empty()).collect()
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether a whole word stands in a line.
fn mentions(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

/// Whether `path::` or `use path` stands in a line.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let behind = &line[at + path.len()..];
        let whole = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        whole && (behind.starts_with("::") || line[..at].trim_end().ends_with("use"))
    })
}

/// Whether `use std::{...}` in one line names this module.
fn grouped(line: &str, module: &str) -> bool {
    line.split_once("std::{").is_some_and(|(_, group)| group_heads(group).iter().any(|head| head == module))
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = root.join("src/lib");
    let files = files_below(&library);
    assert!(files.len() > 10, "the library is where it was");
    let source = |file: &PathBuf| {
        let below = file.strip_prefix(&library).unwrap();
        let module = below
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        Source {
            name: file.strip_prefix(root).unwrap().display().to_string(),
            module,
            text: fs::read_to_string(file).unwrap(),
        }
    };
    // Unit tests in a file of their own may look at neighbours.
    files.iter().filter(|file| !file.ends_with("tests.rs")).map(source).collect()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

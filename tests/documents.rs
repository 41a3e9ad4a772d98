//! Documents say what the programs do: manual pages, README, CHANGELOG and the links between documents.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What README's commands may call besides this package's programs.
const PROGRAMS: &[&str] = &[
    "apt",
    "apt-get",
    "cargo",
    "cat",
    "chmod",
    "chown",
    "cp",
    "curl",
    "echo",
    "git",
    "inetd",
    "install",
    "journalctl",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "nc",
    "printf",
    "service",
    "sudo",
    "systemctl",
    "tail",
    "tee",
    "telnet",
    "useradd",
    "adduser",
    "groupadd",
    "xz",
    "cd",
    "man",
    "mandoc",
    "openssl",
    "fetchmail",
    "python3",
    "strace",
    "groupmod",
    "rm",
    "make",
    "passwd",
    "userdel",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|why| panic!("cannot read {name}: {why}"))
}

/// The programs and their pages.
fn programs() -> [(clap::Command, &'static str); 3] {
    [
        (poptools::pop3d_command(), "man/pop3d.8"),
        (poptools::mailauth_command(), "man/mailauth.8"),
        (poptools::mailusradm_command(), "man/mailusradm.8"),
    ]
}

/// The options of a program and of its verbs.
fn options(command: &clap::Command) -> impl Iterator<Item = &clap::Arg> {
    command.get_arguments().chain(command.get_subcommands().flat_map(clap::Command::get_arguments))
}

#[test]
fn every_option_and_verb_stands_in_the_manual_page() {
    for (command, name) in programs() {
        let page = document(name);
        for argument in options(&command) {
            let long = argument.get_long().map(|name| format!("Fl -{name}"));
            let short = argument.get_short().map(|name| format!("Fl {name}"));
            for flag in long.into_iter().chain(short) {
                assert!(stands_in(&page, &flag), "{name} does not have `{flag}`");
            }
        }
        for verb in command.get_subcommands() {
            assert!(stands_in(&page, &format!("It Cm {}", verb.get_name())), "{name}: {}", verb.get_name());
        }
    }
}

#[test]
fn the_manual_page_has_no_option_that_does_not_exist() {
    for (command, name) in programs() {
        let longs: BTreeSet<&str> = options(&command).filter_map(clap::Arg::get_long).collect();
        let built_in = ["help", "version"];
        let page = document(name);
        for (at, _) in page.match_indices("Fl -") {
            let option: String =
                page[at + 4..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            assert!(
                longs.contains(option.as_str()) || built_in.contains(&option.as_str()),
                "{name}: --{option}"
            );
        }
    }
}

/// Whether a flag stands there as a whole: `Fl d` is not found in `Fl debug`.
fn stands_in(page: &str, flag: &str) -> bool {
    page.match_indices(flag).any(|(at, _)| {
        let behind = page[at + flag.len()..].chars().next();
        !behind.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

#[test]
fn every_key_stands_in_the_manual_page() {
    let page = document("man/pop3d.toml.5");
    let top = keys_of("");
    assert!(top.contains("hostname"), "the keys are found: {top:?}");
    for key in &top {
        assert!(mentions(&page, key), "man/pop3d.toml.5 does not have `{key}`");
        for inner in keys_of(key) {
            assert!(mentions(&page, &inner), "man/pop3d.toml.5 does not have `{inner}` of [{key}]");
        }
    }
}

fn mentions(page: &str, key: &str) -> bool {
    page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == key)
}

/// The keys of a table, as the error for an unknown key lists them. A key that is no table has none.
fn keys_of(table: &str) -> BTreeSet<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pop3d.toml");
    let header = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
    common::machine::write(&file, format!("{header}no_such_key = 1\n").as_bytes(), 0o644);
    let output =
        common::run(Command::new(env!("CARGO_BIN_EXE_pop3d")).arg("--check").arg("--config").arg(&file));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let Some((_, expected)) = said.split_once("expected") else { return BTreeSet::new() };
    if !said.contains("no_such_key") {
        return BTreeSet::new();
    }
    // The names stand between backquotes: "expected one of `path`, `format`, `locks`".
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A line of the log: its name and its keys, in their order.
type LogLine = (String, Vec<String>);

/// `pop3d(8)`, DIAGNOSTICS, is the written grammar: filters are made from it (design, section 6).
#[test]
fn diagnostics_show_each_log_line_with_its_keys() {
    let page = document("man/pop3d.8");
    let shown: Vec<LogLine> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".It Li "))
        .filter_map(|line| line.split_once(": ").filter(|(name, _)| is_word(name)))
        .map(|(name, rest)| (name.to_owned(), keys_in(rest)))
        .collect();
    let written = written_lines();
    assert!(written.len() >= 10, "the lines are found in event.rs: {written:?}");
    for line in &written {
        assert!(shown.contains(line), "DIAGNOSTICS does not have {line:?}");
    }
    for line in &shown {
        assert!(written.contains(line), "DIAGNOSTICS has {line:?}, which is not written");
    }
}

/// The words behind `reason=` and `end=` are part of the grammar too.
#[test]
fn diagnostics_explain_each_word_of_the_log() {
    let page = document("man/pop3d.8");
    let diagnostics = page.split_once(".Sh DIAGNOSTICS").unwrap().1;
    let reasons = document("src/lib/auth/mod.rs");
    let (_, reasons) = reasons.split_once("impl fmt::Display for Reason").unwrap();
    let reasons = reasons.split_once("\n}\n").unwrap().0;
    let ends = document("src/lib/log/event.rs");
    let ends = ends.split_once("impl End {").unwrap().1.split_once("\n}\n").unwrap().0;
    let mut words = literals(reasons);
    words.extend(literals(ends));
    assert!(words.len() >= 10, "the words are found: {words:?}");
    for word in words {
        let word = word.split(':').next().unwrap();
        let explained = diagnostics.contains(&format!("Ql {word}\n"))
            || diagnostics.contains(&format!("Ql {word} "))
            || diagnostics.contains(&format!("reason={word}\n"));
        assert!(explained, "DIAGNOSTICS does not explain `{word}`");
    }
}

/// What the log's source writes: format strings, those of one line one after the other.
fn written_lines() -> Vec<LogLine> {
    let event = document("src/lib/log/event.rs");
    let (_, display) = event.split_once("impl fmt::Display for Event").unwrap();
    let (display, client) = display.split_once("struct Client").unwrap();
    let sink = document("src/lib/log/sink.rs");
    let lost = literals(&sink).into_iter().find(|text| text.starts_with("lost:")).unwrap();
    // The last text of a client is that of one without an address.
    let client = literals(client).into_iter().find(|text| text.contains(' ')).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for text in literals(display).into_iter().chain([lost]) {
        let begins = text.split_once(':').is_some_and(|(name, _)| is_word(name));
        match lines.last_mut() {
            Some(line) if !begins => line.push_str(&text),
            _ => lines.push(text),
        }
    }
    lines
        .into_iter()
        .map(|line| {
            let (name, rest) = line.split_once(':').unwrap();
            let client = if rest.contains(" {}") && name != "Stats" { client.as_str() } else { "" };
            (name.to_owned(), keys_in(&format!("{client} {rest}")))
        })
        .collect()
}

/// The string literals of a piece of source; comments are left out.
fn literals(source: &str) -> Vec<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    code.join("\n").split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn keys_in(text: &str) -> Vec<String> {
    let behind_text = |pair: &&str| !pair.starts_with("text=");
    let mut keys: Vec<String> = text
        .split_whitespace()
        .take_while(behind_text)
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, _)| key.to_owned())
        .collect();
    keys.extend(text.contains("text=").then(|| "text".to_owned()));
    keys
}

#[test]
fn manual_pages_pass_mandoc() {
    if !common::programs_or_skip(&["mandoc"]) {
        return;
    }
    let entries = fs::read_dir(root().join("man")).unwrap();
    let pages: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(pages.iter().any(|page| page.ends_with("pop3d.8")), "there is a page for pop3d");
    let output = common::run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(&pages));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}

/// People read them in terminals and in diffs.
#[test]
fn documents_have_no_long_lines() {
    let mut files = markdown(root());
    files.extend(fs::read_dir(root().join("man")).unwrap().map(|entry| entry.unwrap().path()));
    for file in files {
        for (at, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            // A log line of the manual page cannot be broken.
            let most = if line.starts_with(".It Li ") { 160 } else { 120 };
            assert!(line.chars().count() <= most, "{}:{}: longer than {most}", file.display(), at + 1);
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for file in markdown(root()) {
        let text = fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            let target = link.split('#').next().unwrap_or_default();
            let elsewhere = link.contains("://") || link.starts_with("mailto:") || target.is_empty();
            if !elsewhere && !file.parent().unwrap().join(target).exists() {
                dead.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(dead.is_empty(), "links to missing files:\n{}", dead.join("\n"));
}

/// ARCHITECTURE.md says of each crate what it is for, once.
#[test]
fn every_dependency_has_its_reason() {
    let manifest = document("Cargo.toml");
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let dependencies = dependencies.split_once("\n[").unwrap().0;
    let table = document("ARCHITECTURE.md");
    let (_, table) = table.split_once("\n## Dependencies\n").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    let named: Vec<&str> = rows.flat_map(|(crates, _)| crates.split(", ")).collect();
    for line in dependencies.lines().filter(|line| !line.is_empty()) {
        let (name, _) = line.split_once(" =").unwrap();
        let times = named.iter().filter(|named| **named == name).count();
        assert_eq!(times, 1, "ARCHITECTURE.md names {name} {times} times");
    }
}

#[test]
fn tests_that_the_table_names_exist() {
    let sources: String =
        ["tests", "src"].iter().flat_map(|name| files(&root().join(name), ".rs")).map(read).collect();
    let document = document("docs/original.md");
    let words = document.split('`').skip(1).step_by(2);
    let tests: Vec<&str> =
        words.filter(|word| word.matches('_').count() >= 2 && !word.contains([' ', '.'])).collect();
    assert!(tests.len() >= 30, "the table names tests: {tests:?}");
    for test in tests {
        assert!(sources.contains(&format!("fn {test}()")), "docs/original.md names {test}, which is no test");
    }
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

fn markdown(directory: &Path) -> Vec<PathBuf> {
    files(directory, ".md")
}

/// The files below whose names end so, but for what is built and what is hidden.
fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files.extend(self::files(&path, end));
        } else if name.ends_with(end) {
            files.push(path);
        }
    }
    files
}

#[test]
fn commands_of_the_readme_exist() {
    let commands = commands(&document("README.md"));
    assert!(!commands.is_empty(), "README shows what to type");
    for command in &commands {
        check_command(command);
    }
}

/// The lines of the README's shell blocks, without prompts and comments.
fn commands(text: &str) -> Vec<String> {
    let mut shell = false;
    let mut found: Vec<String> = Vec::new();
    let mut unfinished = false;
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            shell = ["sh", "bash", "console", "shell"].contains(&language);
            unfinished = false;
        } else if shell && unfinished {
            let last = found.last_mut().unwrap();
            last.push(' ');
            last.push_str(line.trim_end_matches('\\').trim());
            unfinished = line.ends_with('\\');
        } else if shell {
            let command = line.trim().trim_start_matches("$ ");
            if !command.is_empty() && !command.starts_with('#') {
                found.push(command.trim_end_matches('\\').to_owned());
                unfinished = line.ends_with('\\');
            }
        }
    }
    found
}

fn check_command(line: &str) {
    let line = line.split(" #").next().unwrap_or_default();
    for part in line.split(['|', ';']).flat_map(|part| part.split("&&")) {
        let words: Vec<&str> =
            part.split_whitespace().skip_while(|word| *word == "sudo" || word.contains('=')).collect();
        let Some((program, arguments)) = words.split_first() else { continue };
        let name = program.rsplit('/').next().unwrap();
        if program.starts_with('.') {
            assert!(root().join(program).exists(), "README: {program} does not exist");
        } else if let Some((command, _)) = programs().iter().find(|(command, _)| command.get_name() == name) {
            check_options(command, arguments);
        } else {
            assert!(PROGRAMS.contains(&name), "README: what is {program}?");
        }
        for file in arguments
            .iter()
            .filter(|word| ["contrib/", "man/", "completions/"].iter().any(|d| word.starts_with(d)))
        {
            let plain = file.split(['*', '{']).next().unwrap();
            assert!(root().join(plain).exists(), "README: {file} does not exist");
        }
    }
}

fn check_options(command: &clap::Command, arguments: &[&str]) {
    let program = command.get_name();
    for option in arguments.iter().filter_map(|word| word.strip_prefix("--")) {
        let name = option.split('=').next().unwrap();
        let known = options(command).any(|argument| argument.get_long() == Some(name));
        assert!(known || ["help", "version"].contains(&name), "README: {program} has no --{name}");
    }
    let verb = arguments.first().filter(|_| command.has_subcommands());
    assert!(
        verb.is_none_or(|verb| command.find_subcommand(verb).is_some()),
        "README: {program} {arguments:?}"
    );
}

#[test]
fn the_changelog_names_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let named =
        document("CHANGELOG.md").lines().any(|line| line.starts_with("## ") && line.contains(version));
    assert!(named, "CHANGELOG.md has a heading for {version}");
}

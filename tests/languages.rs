//! Every text that is said to a client is there in every language (RFC 6856, section 3), and every `-ERR` in the manual page.
//! Texts are found in the sources.

#![allow(clippy::unwrap_used, clippy::panic)]

use poptools::protocol::language::Language;
use std::fs;
use std::path::{Path, PathBuf};

/// What comes before a text that a client reads.
const SAYS: &[&str] =
    &["Reply::ok(", "Reply::err(", "Reply::coded(", ".tell(", ".faulty(", "send_away(", "Refusal::Other("];

/// Numbers and names are the same in all languages; the greeting comes before LANG, and so does what `app` says; what has another text in
/// it stands as a whole in the table.
const SAME: &[&str] = &["{product}", "{} {octets}", "{} {}", "Maildrop has {}"];

/// Entries of the table that are `+OK`, and do not stand behind `Reply::ok` as they are.
const GOOD: &[&str] = &[
    "{} octets",
    "{} message(s) ({} octets).",
    "{} has {} message(s) ({} octets).",
    "Maildrop has {} message(s) ({} octets).",
    "Capability list follows.",
];

#[test]
fn no_text_is_missing_in_german() {
    let mut found = 0;
    let mut missing = Vec::new();
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib")) {
        let name = file.display().to_string();
        if name.contains("/app/") || name.contains("tests") {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for text in texts(code) {
            found += 1;
            let said = filled(&text);
            let is_data = said.chars().all(|character| character.is_ascii_digit() || character == ' ');
            let is_same = SAME.iter().any(|same| text.starts_with(same)) || is_data;
            if !is_same && Language::German.translate(&said) == said {
                missing.push(format!("{name}: {text}"));
            }
        }
    }
    assert!(found > 60, "the texts are found: {found}");
    assert!(missing.is_empty(), "protocol/language.rs has no German for:\n{}", missing.join("\n"));
}

/// `pop3d(8)`, DIAGNOSTICS, lists what clients are told besides `+OK`, as it is told, and nothing that nobody says.
#[test]
fn the_manual_page_has_every_refusal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("man/pop3d.8")).unwrap().replace("\\\n", "");
    let shown: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".It Li -ERR "))
        .map(|text| text.split_once("] ").map_or(text, |(_, words)| words))
        .map(|text| text.replace("\\(dq", "\"").replace("\\ ", " "))
        .collect();
    let said = table(root);
    let good = said_by(root, &["Reply::ok("]);
    let told: Vec<&String> =
        said.iter().filter(|text| !good.contains(&filled(text)) && !GOOD.contains(&text.as_str())).collect();
    assert!(told.len() > 50, "the refusals are found: {}", told.len());
    let missing: Vec<_> = told.iter().filter(|text| !shown.iter().any(|shown| is_of(shown, text))).collect();
    assert!(missing.is_empty(), "DIAGNOSTICS does not have {missing:#?}");
    let made_up: Vec<_> = shown.iter().filter(|shown| !said.iter().any(|text| is_of(shown, text))).collect();
    assert!(made_up.is_empty(), "DIAGNOSTICS has what nobody says: {made_up:#?}");
}

/// The texts behind status and response code: those of the table of languages, which has all, and those of a server that cannot start.
fn table(root: &Path) -> Vec<String> {
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let languages = read("src/lib/protocol/language.rs");
    let (_, entries) = languages.split_once("const GERMAN").unwrap();
    let entries = entries.split_once("\n];").unwrap().0.split("\n    (");
    let mut texts: Vec<String> =
        entries.filter_map(|entry| entry.trim_start().strip_prefix('"').map(literal)).collect();
    let start = read("src/lib/app/pop3d.rs");
    let coded = start.split("\"[SYS/").skip(1);
    texts.extend(coded.filter_map(|rest| rest.split_once("] ")).map(|(_, text)| literal(text)));
    texts
}

/// What is said by these calls, a number in each hole.
fn said_by(root: &Path, calls: &[&str]) -> Vec<String> {
    let files = sources(&root.join("src/lib")).into_iter();
    files
        .flat_map(|file| texts_behind(&fs::read_to_string(file).unwrap(), calls))
        .map(|text| filled(&text))
        .collect()
}

/// Whether what the page shows is this text, with words in its holes.
fn is_of(shown: &str, text: &str) -> bool {
    let mut rest = shown;
    for (at, fixed) in text.split("{}").enumerate() {
        let Some(found) = rest.find(fixed).filter(|found| at > 0 || *found == 0) else { return false };
        rest = &rest[found + fixed.len()..];
    }
    rest.is_empty() || text.ends_with("{}")
}

/// String literals that are said to clients: arguments of what says, and constants whose comment says that a client hears them.
fn texts(code: &str) -> Vec<String> {
    let mut texts = texts_behind(code, SAYS);
    let lines: Vec<&str> = code.lines().collect();
    for pair in lines.windows(2) {
        if pair[0].contains("client is told") || pair[0].contains("client hears") {
            texts.extend(pair[1].split_once("&str = \"").map(|(_, rest)| literal(rest)));
        }
    }
    texts
}

/// The string literals that are arguments of these calls.
fn texts_behind(code: &str, calls: &[&str]) -> Vec<String> {
    let mut texts = Vec::new();
    for says in calls {
        for (at, _) in code.match_indices(says) {
            let behind = code[at + says.len()..].trim_start();
            let behind = match behind.strip_prefix("Code::") {
                Some(coded) => coded.split_once(',').unwrap().1.trim_start(),
                None => behind,
            };
            let behind = behind.strip_prefix("format!(").unwrap_or(behind).trim_start();
            texts.extend(behind.strip_prefix('"').map(literal));
        }
    }
    texts
}

/// A string literal up to its closing quote, as it is in memory.
fn literal(source: &str) -> String {
    let (mut text, mut characters) = (String::new(), source.chars());
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => match characters.next() {
                Some('\n') => {
                    let rest = characters.as_str().trim_start();
                    characters = rest.chars();
                }
                Some(escaped) => text.push(escaped),
                None => {}
            },
            other => text.push(other),
        }
    }
    text
}

/// The text with a number in each hole.
fn filled(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('{') {
        out.push_str(before);
        out.push('7');
        rest = behind.split_once('}').map_or("", |(_, rest)| rest);
    }
    out + rest
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(sources(&path)),
            false => files.push(path),
        }
    }
    files
}

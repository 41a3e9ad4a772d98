//! Every text that is said to a client is there in every language (RFC 6856, section 3). Texts are found in the sources.

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

/// String literals that are said to clients: arguments of what says, and constants whose comment says that a client hears them.
fn texts(code: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for says in SAYS {
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
    let lines: Vec<&str> = code.lines().collect();
    for pair in lines.windows(2) {
        if pair[0].contains("client is told") || pair[0].contains("client hears") {
            texts.extend(pair[1].split_once("&str = \"").map(|(_, rest)| literal(rest)));
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

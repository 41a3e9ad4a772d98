//! What to write instead of a line that cannot be read. The types are asked, so that no second list of keys grows old.

use super::Config;

/// The kind of value that a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Switch,
    Number,
    List,
    Text,
}

/// What to write for a key (`limits.idle_timeout`, or `hostname`) with the line that it stands on.
pub(super) fn hint(key: &str, line: &str) -> Option<String> {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    if complaint(table, name, "0").contains("unknown field") {
        return place(table, name);
    }
    if table.is_empty() && is_table(name) {
        return Some(format!("write [{name}] on a line of its own, and its keys below it"));
    }
    let written = value(line)?;
    match kind(table, name) {
        Kind::Switch => Some(match switched(written) {
            Some(on) => format!("write {name} = {on}"),
            None => format!("write {name} = true or {name} = false"),
        }),
        Kind::Number => match written.trim_matches(QUOTES).parse::<u64>() {
            Ok(number) if written.starts_with(QUOTES) => Some(format!("write {name} = {number}")),
            _ => Some(format!("write {name} = and a whole number without quotes or unit")),
        },
        Kind::List => listed(name, written),
        Kind::Text if written.starts_with(QUOTES) => None,
        Kind::Text => Some(format!("write {name} = \"{written}\"")),
    }
}

/// TOML's two kinds of quotes.
const QUOTES: [char; 2] = ['"', '\''];

/// Where a key belongs that the table does not know.
fn place(table: &str, name: &str) -> Option<String> {
    let tables: Vec<String> = names("").into_iter().filter(|word| is_table(word)).collect();
    let here = |table: &str| !complaint(table, name, "0").contains("unknown field");
    if !table.is_empty() && here("") {
        return Some(format!("write {name} above the first table, in front of [{table}]"));
    }
    tables
        .iter()
        .find(|other| other.as_str() != table && here(other))
        .map(|other| format!("write {name} under [{other}]"))
}

/// The keys of a table, as the complaint about an unknown one lists them.
fn names(table: &str) -> Vec<String> {
    let said = complaint(table, "no_such_key", "0");
    let listed = said.split_once("expected").map_or("", |(_, rest)| rest);
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether the word is the name of a table.
fn is_table(word: &str) -> bool {
    toml::from_str::<Config>(&format!("[{word}]")).is_ok()
}

/// What is said to `key = value` in a table; nothing when it is right.
fn complaint(table: &str, key: &str, value: &str) -> String {
    let header = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
    toml::from_str::<Config>(&format!("{header}{key} = {value}\n"))
        .map_or_else(|error| error.message().to_owned(), |_| String::new())
}

fn kind(table: &str, key: &str) -> Kind {
    [(Kind::Switch, "true"), (Kind::Number, "1"), (Kind::List, "[]")]
        .into_iter()
        .find(|(_, value)| complaint(table, key, value).is_empty())
        .map_or(Kind::Text, |(kind, _)| kind)
}

/// What stands behind the `=` of a line, without a comment.
fn value(line: &str) -> Option<&str> {
    let behind = line.split_once('=')?.1.trim();
    let plain = if behind.contains(QUOTES) { behind } else { behind.split('#').next()?.trim() };
    (!plain.is_empty()).then_some(plain)
}

/// What the words for on and off mean that other configurations have.
fn switched(written: &str) -> Option<bool> {
    match written.trim_matches(QUOTES).to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn listed(name: &str, written: &str) -> Option<String> {
    let inner = written.trim_start_matches('[').trim_end_matches(']');
    let words: Vec<String> = inner
        .split(',')
        .map(|word| word.trim().trim_matches(QUOTES))
        .filter(|word| !word.is_empty())
        .map(|word| format!("\"{word}\""))
        .collect();
    let list = format!("[{}]", words.join(", "));
    (!words.is_empty() && list != written).then(|| format!("write {name} = {list}"))
}

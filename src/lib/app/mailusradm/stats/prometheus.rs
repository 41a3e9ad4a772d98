//! The text format of Prometheus (version 0.0.4), for node_exporter's textfile collector. Counters count since the history began: they
//! never go back, whatever of the history is still kept.

use crate::history::Totals;
use crate::history::summary::Count;
use std::fmt::Write as _;

/// A metric of sessions: its name, its help, its number.
type Metric = (&'static str, &'static str, fn(&Count) -> u64);

/// What is counted of sessions, each with the labels mechanism, tls and end.
const OF_SESSIONS: [Metric; 7] = [
    ("poptools_sessions_total", "Sessions that have ended.", |count| count.sessions),
    ("poptools_session_seconds_total", "How long they were together.", |count| count.seconds),
    ("poptools_messages_retrieved_total", "Messages sent as a whole.", |count| count.retrieved),
    ("poptools_messages_topped_total", "Messages sent in part.", |count| count.top),
    ("poptools_retrieved_bytes_total", "Octets sent to clients.", |count| count.octets),
    ("poptools_messages_deleted_total", "Messages deleted for good.", |count| count.deleted),
    ("poptools_deleted_bytes_total", "Octets of messages deleted for good.", |count| count.deleted_octets),
];

/// The whole text.
pub(super) fn text(totals: &Totals) -> String {
    let mut text = String::new();
    for (name, help, number) in OF_SESSIONS {
        head(&mut text, name, help);
        for ((mechanism, tls, end), count) in &totals.sessions {
            sample(&mut text, name, &[("mechanism", mechanism), ("tls", tls), ("end", end)], number(count));
        }
    }
    let name = "poptools_logins_refused_total";
    head(&mut text, name, "Logins that were refused.");
    for ((mechanism, reason), count) in &totals.refused {
        sample(&mut text, name, &[("mechanism", mechanism), ("reason", reason)], *count);
    }
    let name = "poptools_history_lines_skipped_total";
    head(&mut text, name, "Lines of the history that could not be read.");
    sample(&mut text, name, &[], totals.skipped);
    text
}

fn head(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
}

fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{name}{labels} {value}");
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashMap};

    /// The rules of `promtool check metrics`, and those of the format.
    fn check(text: &str) {
        let word = |name: &str| {
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        assert!(text.ends_with('\n'));
        let (mut described, mut typed, mut seen) = (BTreeSet::new(), HashMap::new(), BTreeSet::new());
        let mut current = "";
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                assert!(described.insert(name) && !help.is_empty(), "one HELP each: {line}");
                current = name;
            } else if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                assert!(typed.insert(name, kind).is_none() && name == current, "TYPE behind HELP: {line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(
                    word(name) && name.starts_with("poptools_") && !name.contains("octet"),
                    "base units: {line}"
                );
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                assert_eq!(name, current, "the samples of a metric stand together");
                let inner = labels.strip_suffix('}').unwrap();
                let mut rest = inner;
                while !rest.is_empty() {
                    let (label, behind) = rest.split_once("=\"").unwrap();
                    assert!(word(label) && !label.starts_with("__"), "{line}");
                    let end = behind
                        .match_indices('"')
                        .map(|(at, _)| at)
                        .find(|at| behind[..*at].chars().rev().take_while(|c| *c == '\\').count() % 2 == 0);
                    rest = behind[end.unwrap() + 1..].trim_start_matches(',');
                }
                assert!(seen.insert(series), "no series twice: {line}");
            }
        }
        assert_eq!(described.len(), typed.len());
    }

    #[test]
    fn the_text_keeps_the_rules_of_the_format() {
        check(&text(&Totals::default()));
        let mut totals = Totals { skipped: 3, ..Totals::default() };
        let count = Count { sessions: 5, octets: u64::MAX, ..Count::default() };
        let key = |mechanism: &str| (mechanism.to_owned(), "TLSv1.3".to_owned(), "quit".to_owned());
        totals.sessions.insert(key("PASS"), count);
        totals.sessions.insert(key("A\"\\\nB\\"), count);
        totals.refused.insert(("PASS".to_owned(), "wrong-password".to_owned()), 7);
        let text = text(&totals);
        check(&text);
        for line in [
            "poptools_sessions_total{mechanism=\"PASS\",tls=\"TLSv1.3\",end=\"quit\"} 5\n",
            "poptools_sessions_total{mechanism=\"A\\\"\\\\\\nB\\\\\",tls=\"TLSv1.3\",end=\"quit\"} 5\n",
            "poptools_logins_refused_total{mechanism=\"PASS\",reason=\"wrong-password\"} 7\n",
            "poptools_history_lines_skipped_total 3\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}

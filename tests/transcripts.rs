//! Replays the conversations of `tests/transcripts/` (see its README).

// Test code outside of test functions, which clippy.toml's exceptions do not reach.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "transcripts/fixture.rs"]
mod fixture;
#[path = "transcripts/machines.rs"]
mod machines;
#[path = "transcripts/replay.rs"]
mod replay;
#[path = "transcripts/script.rs"]
mod script;
#[path = "transcripts/server.rs"]
mod server;

use fixture::Fixture;
use machines::Machines;
use replay::{Site, replay};
use script::Script;
use std::collections::{BTreeSet, HashMap};
use std::io::Write;

/// Replays all files; `site` makes the server for one, or says that it cannot (`None`). Returns what failed.
fn replay_all<'a>(
    scripts: &'a [Script],
    mut site: impl FnMut(&'a Script, &Fixture) -> Option<Box<dyn Site>>,
) -> Vec<String> {
    let replay_one = |script: &'a Script| {
        let fixture = Fixture::load(&script.maildrop);
        replay(script, site(script, &fixture)?.as_mut(), &fixture).err()
    };
    scripts.iter().filter_map(replay_one).collect()
}

/// Each conversation, held by the pure machines. The server itself is tested with the same files.
#[test]
fn the_machines_hold_every_transcript() {
    let failures =
        replay_all(&Script::all(), |script, fixture| Some(Box::new(Machines::new(fixture, &script.setup))));
    assert!(failures.is_empty(), "{} transcripts failed:\n{}", failures.len(), failures.join("\n"));
}

/// Each conversation, held by the server itself.
#[test]
fn the_server_holds_every_transcript_over_inetd() {
    common::isolated(|| {
        let server::Outcome { replayed, skipped, failures } = server::replay_all(&Script::all());
        writeln!(std::io::stderr(), "over inetd: {replayed} transcripts replayed, {} skipped", skipped.len())
            .unwrap();
        for script in &skipped {
            writeln!(std::io::stderr(), "skipped: {script}").unwrap();
        }
        assert!(failures.is_empty(), "{} transcripts failed:\n{}", failures.len(), failures.join("\n"));
        assert!(replayed >= 290, "only {replayed} transcripts were replayed");
    });
}

/// Design, section 8: every rule that is claimed has a test that cites it.
#[test]
fn every_transcript_cites_a_rule() {
    for script in Script::all() {
        let cites =
            ["RFC ", "design section ", "history"].iter().any(|source| script.rule.starts_with(source));
        assert!(cites, "{}: the rule names no source: {:?}", script.path, script.rule);
        let section = !script.rule.starts_with("RFC ") || script.rule.contains("section ");
        assert!(section, "{}: the rule names no section: {:?}", script.path, script.rule);
    }
}

#[test]
fn there_are_enough_and_no_two_are_the_same() {
    let scripts = Script::all();
    assert!(scripts.len() >= 150, "only {} transcripts", scripts.len());
    let mut seen: HashMap<String, &str> = HashMap::new();
    for script in &scripts {
        let same =
            seen.insert(format!("{} {:?} {:?}", script.maildrop, script.setup, script.steps), &script.path);
        assert_eq!(same, None, "{} says the same", script.path);
    }
}

/// Every maildrop is a mailbox (RFC 4155) or empty, and is used, so that none rots.
#[test]
fn every_maildrop_is_a_mailbox_and_used() {
    let used: BTreeSet<String> = Script::all().into_iter().map(|script| script.maildrop).collect();
    for name in Fixture::names() {
        assert!(used.contains(&name), "no transcript uses {name}");
        let mbox = Fixture::load(&name).mbox.unwrap_or_default();
        assert!(mbox.is_empty() || mbox.starts_with(b"From "), "{name} is no mailbox");
    }
}

/// The runner notices what is wrong: a conversation that differs by one character, by a line more, by a close.
#[test]
fn the_runner_notices_what_is_wrong() {
    let cases = [
        ("S~ +OK POP3\n", "the greeting"),
        ("G:\nC: QUIT\nS: +OK Pop server at mx.example signing of.\nE:\n", "one character"),
        ("G:\nC: FOO\n", "an answer too many"),
        ("G:\nE:\n", "no close"),
        ("G:\nL:\nC: RETR 1\nS: +OK *\n", "a star is itself"),
        ("G:\nL:\nC: RETR 1\nS~ +OK * octets\nM: 2\n", "another message"),
        ("G:\nL:\nC: RETR 1\nS~ +OK * octets\nM: 1 top 0\n", "a message cut short"),
        ("G:\nL:\nC: UIDL\nS~ +OK *\nS~ 1 {a}\nS~ 2 {a}\nS...\n", "two identifiers are one"),
        ("G:\nC: QUIT\nS~ *\nE:\nC: NOOP\nS~ *\n", "talk behind the end"),
    ];
    for (text, what) in cases {
        let script =
            Script::parse("case", &format!("# rule: RFC 1939 section 3\n# maildrop: three\n{text}")).unwrap();
        let fixture = Fixture::load(&script.maildrop);
        let mut site = Machines::new(&fixture, &script.setup);
        assert!(replay(&script, &mut site, &fixture).is_err(), "not noticed: {what}");
    }
}

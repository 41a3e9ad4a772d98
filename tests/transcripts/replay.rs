//! Replays one conversation over any stream.

use super::fixture::{Fixture, wire};
use super::script::{Script, Step};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};

/// A connected client's end of a stream.
pub(crate) trait Peer: Read + Write {}
impl<T: Read + Write> Peer for T {}

/// A server with the maildrop of one script.
pub(crate) trait Site {
    /// Connects; each connection gets to the same maildrop. The one before is closed, and its session must have
    /// ended when this returns, so that the maildrop is free.
    fn connect(&mut self) -> io::Result<Box<dyn Peer + '_>>;
}

/// Replays the script. The error names file, line, what was expected and what came.
pub(crate) fn replay(script: &Script, site: &mut dyn Site, fixture: &Fixture) -> Result<(), String> {
    let mut names = HashMap::new();
    let parts: Vec<&[(usize, Step)]> =
        script.steps.split(|(_, step)| matches!(step, Step::Reconnect)).collect();
    for (index, steps) in parts.iter().enumerate() {
        let peer = site.connect().map_err(|error| format!("{}: connect: {error}", script.path))?;
        let mut talk = Talk { peer: BufReader::new(peer), names: &mut names, fixture, ended: false };
        for (line, step) in *steps {
            talk.step(step).map_err(|what| format!("{}:{line}: {what}", script.path))?;
        }
        if index + 1 == parts.len() && !talk.ended {
            talk.end().map_err(|what| format!("{}: at the end: {what}", script.path))?;
        }
    }
    Ok(())
}

/// One connection.
struct Talk<'a, 'p> {
    peer: BufReader<Box<dyn Peer + 'p>>,
    names: &'a mut HashMap<String, String>,
    fixture: &'a Fixture,
    ended: bool,
}

impl Talk<'_, '_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(bytes) => self.send(bytes),
            Step::Line(expected) => self.expect(&[expected.as_bytes(), b"\r\n"].concat()),
            Step::Match(pattern) => self.expect_match(pattern),
            Step::Lines => self.lines().map(|_| ()),
            Step::Message { number, top } => {
                let stored = number.checked_sub(1).and_then(|index| self.fixture.messages.get(index));
                let stored = stored.ok_or_else(|| format!("the maildrop has no message {number}"))?;
                self.expect_message(&wire(stored, *top))
            }
            Step::End => self.closed(),
            Step::Reconnect => Ok(()),
        }
    }

    /// Ends a conversation that its file leaves open: nothing may be left to read.
    fn end(&mut self) -> Result<(), String> {
        self.send(b"QUIT\r\n")?;
        self.expect_match("+OK Pop server at * signing off.")?;
        self.closed()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let peer = self.peer.get_mut();
        peer.write_all(bytes).and_then(|()| peer.flush()).map_err(|error| format!("cannot send: {error}"))
    }

    fn expect(&mut self, expected: &[u8]) -> Result<(), String> {
        let line = self.line()?;
        if line == expected { Ok(()) } else { Err(differ(expected, &line)) }
    }

    fn expect_match(&mut self, pattern: &str) -> Result<(), String> {
        let line = self.line()?;
        let text = line.strip_suffix(b"\r\n").and_then(|text| std::str::from_utf8(text).ok());
        match text.and_then(|text| matches(pattern, text, self.names)) {
            Some(names) => {
                *self.names = names;
                Ok(())
            }
            None => Err(differ(pattern.as_bytes(), &line)),
        }
    }

    fn expect_message(&mut self, expected: &[u8]) -> Result<(), String> {
        let message = self.lines()?;
        let at = message.iter().zip(expected).take_while(|(a, b)| a == b).count();
        let near = |bytes: &[u8]| bytes.iter().skip(at).take(60).copied().collect::<Vec<u8>>();
        if message == expected {
            Ok(())
        } else {
            Err(format!("octet {at}: {}", differ(&near(expected), &near(&message))))
        }
    }

    /// Lines up to the lone dot, with it.
    fn lines(&mut self) -> Result<Vec<u8>, String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            lines.extend_from_slice(&line);
            if line == b".\r\n" {
                return Ok(lines);
            }
        }
    }

    /// One line with its LF.
    fn line(&mut self) -> Result<Vec<u8>, String> {
        let mut line = Vec::new();
        let read = self.peer.read_until(b'\n', &mut line);
        let behind = || format!("behind \"{}\"", shown(&line));
        match read {
            Ok(_) if line.ends_with(b"\n") => Ok(line),
            Ok(_) => Err(format!("the server closed {}", behind())),
            Err(error) => Err(format!("cannot read {}: {error}", behind())),
        }
    }

    fn closed(&mut self) -> Result<(), String> {
        self.ended = true;
        let mut rest = [0; 100];
        match self.peer.read(&mut rest) {
            Ok(0) => Ok(()),
            Ok(count) => Err(differ(b"the end", &rest[..count])),
            Err(error) => Err(format!("expected the end: {error}")),
        }
    }
}

fn differ(expected: &[u8], found: &[u8]) -> String {
    format!("\n  expected {}\n  found    {}", shown(expected), shown(found))
}

/// The beginning of a line: some have a mebioctet.
fn shown(bytes: &[u8]) -> String {
    match bytes.get(..300) {
        Some(begin) => format!("{}... ({} octets)", begin.escape_ascii(), bytes.len()),
        None => bytes.escape_ascii().to_string(),
    }
}

/// Whether the text matches the pattern; then the names with those that the pattern gave.
fn matches(pattern: &str, text: &str, names: &HashMap<String, String>) -> Option<HashMap<String, String>> {
    if let Some(rest) = pattern.strip_prefix('*') {
        return text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .find_map(|at| matches(rest, &text[at..], names));
    }
    if let Some((name, rest)) = pattern.strip_prefix('{').and_then(|pattern| pattern.split_once('}')) {
        return named(name, rest, text, names);
    }
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => Some(names.clone()),
        (Some(expected), Some(found)) if expected == found => {
            matches(&pattern[expected.len_utf8()..], &text[found.len_utf8()..], names)
        }
        _ => None,
    }
}

fn named(
    name: &str,
    rest: &str,
    text: &str,
    names: &HashMap<String, String>,
) -> Option<HashMap<String, String>> {
    if let Some(value) = names.get(name) {
        return matches(rest, text.strip_prefix(value.as_str())?, names);
    }
    let length = text.bytes().take_while(|octet| octet.is_ascii_graphic()).count();
    (1..=length.min(70)).rev().find_map(|end| {
        // Different names are different texts.
        let fresh = !names.values().any(|value| *value == text[..end]);
        let mut names = names.clone();
        names.insert(name.to_owned(), text[..end].to_owned());
        fresh.then(|| matches(rest, &text[end..], &names)).flatten()
    })
}

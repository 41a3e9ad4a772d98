//! The files: one conversation each.

use std::fs;
use std::path::{Path, PathBuf};

/// One conversation.
#[derive(Debug)]
pub(crate) struct Script {
    /// `TOPIC/NAME.pop3`.
    pub(crate) path: String,
    /// The rule it cites.
    pub(crate) rule: String,
    /// The maildrop of user `ann`; `none` for none.
    pub(crate) maildrop: String,
    /// How the server differs from its defaults.
    pub(crate) setup: Vec<String>,
    /// What happens, each with its line in the file.
    pub(crate) steps: Vec<(usize, Step)>,
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The client sends these bytes.
    Send(Vec<u8>),
    /// The server sends exactly this line.
    Line(String),
    /// The server sends a line that matches.
    Match(String),
    /// The server sends lines up to the lone dot.
    Lines,
    /// The server sends this message, or the header and so many lines of it.
    Message { number: usize, top: Option<usize> },
    /// The server closes.
    End,
    /// The client connects again.
    Reconnect,
}

const GREETING: &str = "+OK poptools POP3 server (version *) at * starting.*";

/// Where the files are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

impl Script {
    /// All files, by name.
    pub(crate) fn all() -> Vec<Self> {
        let mut scripts = Vec::new();
        for topic in
            fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
        {
            for path in fs::read_dir(topic).unwrap().map(|entry| entry.unwrap().path()) {
                if path.extension().is_some_and(|extension| extension == "pop3") {
                    let name = path.strip_prefix(folder()).unwrap().display().to_string();
                    let text = fs::read_to_string(&path).unwrap();
                    scripts.push(Self::parse(&name, &text).unwrap_or_else(|error| panic!("{error}")));
                }
            }
        }
        scripts.sort_by(|a, b| a.path.cmp(&b.path));
        scripts
    }

    /// One file's text. The error names file, line and what is wrong.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, String> {
        let mut script = Self {
            path: path.to_owned(),
            rule: String::new(),
            maildrop: "none".to_owned(),
            setup: Vec::new(),
            steps: Vec::new(),
        };
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |what: &str| format!("{path}:{number}: {what}");
            if let Some(comment) = line.strip_prefix('#') {
                script.comment(comment);
            } else if !line.is_empty() {
                let steps = steps(line).ok_or_else(|| wrong("no step"))?;
                script.steps.extend(steps.into_iter().map(|step| (number, step)));
            }
        }
        if script.rule.is_empty() { Err(format!("{path}: no rule")) } else { Ok(script) }
    }

    fn comment(&mut self, comment: &str) {
        match comment.trim().split_once(": ") {
            Some(("rule", rule)) => rule.clone_into(&mut self.rule),
            Some(("maildrop", maildrop)) => maildrop.clone_into(&mut self.maildrop),
            Some(("setup", setup)) => self.setup = setup.split(' ').map(str::to_owned).collect(),
            _ => {}
        }
    }
}

/// The steps of one line: several for the shorthands.
fn steps(line: &str) -> Option<Vec<Step>> {
    let argument = |prefix: &str| line.strip_prefix(prefix);
    let one = match line {
        "G:" => Step::Match(GREETING.to_owned()),
        "L:" => return Some(login()),
        "E:" => Step::End,
        "R:" => Step::Reconnect,
        "S..." => Step::Lines,
        "S:" => Step::Line(String::new()),
        "C:" => Step::Send(b"\r\n".to_vec()),
        _ => None
            .or_else(|| {
                argument("C: ").map(|text| Some(Step::Send([unescape(text)?, b"\r\n".to_vec()].concat())))
            })
            .or_else(|| argument("C! ").map(|text| Some(Step::Send(unescape(text)?))))
            .or_else(|| argument("S: ").map(|text| Some(Step::Line(text.to_owned()))))
            .or_else(|| argument("S~ ").map(|text| Some(Step::Match(text.to_owned()))))
            .or_else(|| argument("M: ").map(message))??,
    };
    Some(vec![one])
}

fn login() -> Vec<Step> {
    vec![
        Step::Send(b"USER ann\r\n".to_vec()),
        Step::Line("+OK Password required for ann.".to_owned()),
        Step::Send(b"PASS correct horse\r\n".to_vec()),
        Step::Match("+OK ann has * message(s) (* octets).".to_owned()),
    ]
}

fn message(text: &str) -> Option<Step> {
    let (number, top) = match text.split_once(" top ") {
        Some((number, top)) => (number, Some(top.parse().ok()?)),
        None => (text, None),
    };
    Some(Step::Message { number: number.parse().ok()?, top })
}

/// The bytes of a `C` line.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let kind = escape.chars().next()?;
        rest = escape.get(kind.len_utf8()..)?;
        match kind {
            'r' => out.push(b'\r'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            '0' => out.push(0),
            '\\' => out.push(b'\\'),
            'x' => {
                out.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
                rest = rest.get(2..)?;
            }
            '*' => {
                let (count, behind) = rest.split_once('(')?;
                let (text, behind) = behind.split_once(')')?;
                out.extend(unescape(text)?.repeat(count.parse().ok()?));
                rest = behind;
            }
            _ => return None,
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

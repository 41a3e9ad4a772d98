//! Running a checkpassword program: what it gets, how long it may take, and what it says.

use super::reply::{self, Reply};
use crate::secret::Secret;
use crate::sys::clock;
use crate::sys::process::{self, ChildId, Ended, Limits};
use crate::sys::program::{self, Sender};
use serde::{Deserialize, Serialize};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Between the end of the time limit and the supervisor's word of it.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// What it may complain of; the rest is thrown away.
const MOST_WORDS: usize = 2048;

/// Where it looks for programs.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// Exit statuses of a child that did not become the program.
const NOT_PREPARED: u8 = 126;
const NOT_EXECUTED: u8 = 127;

/// How it ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum End {
    /// It executed its argument.
    Admitted(#[serde(with = "Ids")] Sender, Reply),
    /// It exited.
    Status(i32),
    /// A signal ended it.
    Signal(i32),
    /// It took too long.
    Late,
    /// It could not be run.
    Trouble(String),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Sender")]
struct Ids {
    uid: u32,
    gid: u32,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) end: End,
    /// What it said on standard error.
    pub(super) words: Vec<u8>,
}

/// What the program reads: name, password and a time stamp, each with a NUL behind it. `None` for what does not fit in.
pub(super) fn question(name: &str, password: &Secret) -> Option<Secret> {
    let stamp = clock::wall().as_secs().to_string();
    let parts = [name.as_bytes(), password.expose(), stamp.as_bytes()];
    let length = parts.iter().map(|part| part.len() + 1).sum::<usize>();
    if length > super::MOST_OCTETS || parts.iter().any(|part| part.contains(&0)) {
        return None;
    }
    let mut question = Secret::with_room(length);
    for part in parts {
        part.iter().chain(&[0]).for_each(|octet| question.push(*octet));
    }
    Some(question)
}

/// What a program said, without the password, should it be in there.
pub(super) fn without(words: &[u8], password: &Secret) -> String {
    let text = String::from_utf8_lossy(words).into_owned();
    match std::str::from_utf8(password.expose()) {
        Ok(password) if !password.is_empty() => text.replace(password, "***"),
        _ => text,
    }
}

/// A run.
pub(super) struct Run<'a> {
    pub(super) program: &'a Path,
    /// See [`question`].
    pub(super) question: Secret,
    /// Where the client comes from.
    pub(super) address: Option<String>,
    /// How long it may take.
    pub(super) patience: Duration,
    /// What it may use.
    pub(super) limits: Limits,
}

/// Where a running program says something.
struct Heard {
    answers: OwnedFd,
    errors: PipeReader,
    words: Vec<u8>,
}

impl Run<'_> {
    /// Runs the program and ends all of it. For a process of its own, which ends then.
    pub(super) fn supervise(&self) -> Outcome {
        let trouble = |cause: io::Error| Outcome { end: End::Trouble(cause.to_string()), words: Vec::new() };
        let prepared = program::adopt_orphans().and_then(|()| self.start());
        let (child, mut heard) = match prepared {
            Ok(started) => started,
            Err(cause) => return trouble(cause),
        };
        let end = self.watch(child, &mut heard).unwrap_or_else(|cause| End::Trouble(cause.to_string()));
        program::end_all();
        // Nobody is left who could write more.
        while heard.listen().unwrap_or(false) {}
        Outcome { end, words: heard.words }
    }

    fn start(&self) -> io::Result<(ChildId, Heard)> {
        let (answers, reply) = program::pair_that_names_senders()?;
        let (input, mut question) = io::pipe()?;
        let (errors, complaints) = io::pipe()?;
        // A pipe has room for that much.
        question.write_all(self.question.expose())?;
        drop(question);
        let child = process::fork(|| self.become_program(&input, &reply, &complaints))
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok((child, Heard { answers, errors, words: Vec::new() }))
    }

    fn watch(&self, child: ChildId, heard: &mut Heard) -> io::Result<End> {
        let ended = program::end_of(child)?;
        let deadline = clock::now() + self.patience;
        let (mut may_answer, mut may_speak) = (true, true);
        loop {
            // What is closed is not waited for any more.
            let answers = if may_answer { heard.answers.as_fd() } else { ended.as_fd() };
            let errors = if may_speak { heard.errors.as_fd() } else { ended.as_fd() };
            let [gone, answered, spoke] = program::wait_for_any([ended.as_fd(), answers, errors], deadline)?;
            if !(gone || answered || spoke) {
                return Ok(End::Late);
            }
            if spoke && may_speak {
                may_speak = heard.listen()?;
            }
            if answered && may_answer {
                match heard.answer()? {
                    Some((sender, reply)) => return Ok(End::Admitted(sender, reply)),
                    None => may_answer = false,
                }
            }
            if gone {
                return Ok(match process::wait_for(child) {
                    Some(Ended::Signal(signal)) => End::Signal(signal),
                    Some(Ended::Status(status)) => End::Status(status),
                    None => End::Late,
                });
            }
        }
    }

    /// The child's part.
    fn become_program(&self, input: &impl AsFd, reply: &impl AsFd, errors: &impl AsFd) -> u8 {
        process::detach();
        process::private_files();
        process::go_to(Path::new("/"));
        let given = [(input.as_fd(), 3), (reply.as_fd(), reply::DESCRIPTOR), (errors.as_fd(), 2)];
        if program::hand_over(&given).is_err() || self.limits.apply().is_err() {
            return NOT_PREPARED;
        }
        let mut environment =
            vec![("PATH", PATH.to_owned()), ("PROTO", "TCP".to_owned()), ("SERVICE", "pop3".to_owned())];
        environment.extend(self.address.clone().map(|address| ("TCPREMOTEIP", address)));
        let own = super::own_program().unwrap_or_default();
        let (own, name) = (own.to_string_lossy(), self.program.to_string_lossy());
        process::exec(self.program, &[&name, &own, reply::ARGUMENT], &environment);
        NOT_EXECUTED
    }
}

impl Heard {
    /// Takes what stands on standard error; false at its end.
    fn listen(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let count = self.errors.read(&mut buffer)?;
        let room = MOST_WORDS - self.words.len();
        self.words.extend_from_slice(&buffer[..count.min(room)]);
        Ok(count > 0)
    }

    /// The reply and its sender; `None` when all who could have sent one are gone.
    fn answer(&self) -> io::Result<Option<(Sender, Reply)>> {
        let mut buffer = vec![0; reply::LARGEST];
        let Some((length, sender)) = program::receive(&self.answers, &mut buffer)? else { return Ok(None) };
        let reply = serde_json::from_slice(&buffer[..length])
            .map_err(|_| io::Error::other("what it executed is not this server"))?;
        Ok(Some((sender, reply)))
    }
}

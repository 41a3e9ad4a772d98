//! What a command-line program says.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// What a program said: its exit status, standard output and standard error.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Its standard output; it must have ended well.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.out
    }

    /// Whether it ended with this status and these words on stderr, and nothing on stdout.
    #[allow(dead_code)] // Not every test binary is refused something.
    #[track_caller]
    pub(crate) fn refused(&self, status: i32, words: &str) {
        assert!(
            self.status == status && self.err.contains(words) && self.out.is_empty(),
            "{status} {words}: {self:?}"
        );
        assert!(self.err.starts_with("mailauth: "), "{self:?}");
    }
}

/// Runs a program to its end with this input.
pub(crate) fn run(mut command: Command, input: &str) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { status: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

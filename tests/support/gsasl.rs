//! GNU SASL's command line, whose lines a test carries to the server and back.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

/// One exchange.
pub(crate) struct Gsasl {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Gsasl {
    /// Begins one as bob. With a binding it is told what TLS says (`tls-exporter`, in base64), else it binds to nothing.
    pub(crate) fn start(mechanism: &str, secret: &str, binding: Option<&str>) -> Self {
        let mut process = Command::new("timeout")
            .args(["120", "gsasl", "--client", "--quiet", "--mechanism", mechanism])
            .args(["--authentication-id", "bob", "--password", secret])
            .args(binding.is_none().then_some("--no-cb"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut gsasl = Self { process, said };
        assert_eq!(gsasl.message(), mechanism);
        if let Some(binding) = binding {
            gsasl.say(binding);
        }
        gsasl
    }

    /// What it says next.
    pub(crate) fn message(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        // It asks in the same line.
        line.trim().rsplit(": ").next().unwrap_or_default().to_owned()
    }

    /// What it says to a challenge.
    pub(crate) fn answer(&mut self, challenge: &str) -> String {
        self.say(challenge);
        self.message()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Gsasl {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

//! `pop3d --demo`: what it prints works as printed, and Ctrl-C leaves nothing behind. Any user can run these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::client::text;
use common::{Child, PATIENCE, programs_or_skip, run};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

/// The messages of each maildrop of the demo, as they are stored.
const MAIL: &str = include_str!("../src/lib/app/demo.mbox");

/// A demo that runs.
struct Demo {
    child: Child,
    /// What it said on its standard output until it began to serve.
    said: String,
    rest: mpsc::Receiver<String>,
}

fn pop3d() -> Command {
    let program = std::env::var_os("POP3D").map_or_else(|| env!("CARGO_BIN_EXE_pop3d").into(), PathBuf::from);
    let mut command = Command::new(program);
    command.env_remove("LISTEN_FDS").env_remove("LISTEN_PID").stdin(Stdio::null());
    command
}

impl Demo {
    /// Starts one on a free port, in a process group of its own as a shell does, and waits until it serves.
    fn start(directory: Option<&Path>) -> Self {
        let (output, theirs) = pipe().unwrap();
        let mut command = pop3d();
        command
            .arg("--demo")
            .args(directory)
            .args(["--listen", "127.0.0.1:0"])
            .stdout(theirs)
            .process_group(0);
        let child = Child::start(command);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // Ends with the demo, or with the test.
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut said = String::new();
        while !said.contains("Ctrl-C") {
            let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the demo said only: {said}"));
            said += &format!("{line}\n");
        }
        Self { child, said, rest: lines }
    }

    /// The commands with this word in them; they stand indented.
    fn commands(&self, word: &str) -> Vec<&str> {
        let commands: Vec<&str> = self
            .said
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| line.contains(word))
            .collect();
        assert!(!commands.is_empty(), "no command with {word} in:\n{}", self.said);
        commands
    }

    /// Runs a printed command in a shell, unchanged; its output.
    fn type_in(command: &str, home: &Path) -> String {
        let output =
            run(Command::new("sh").args(["-c", command]).env("HOME", home).env("FETCHMAILHOME", home));
        let (said, complaint) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{command}: {:?}\n{said}\n{complaint}", output.status);
        said
    }

    fn directory(&self) -> PathBuf {
        let line = self.said.lines().next().unwrap();
        PathBuf::from(line.rsplit_once(", from ").unwrap_or_else(|| panic!("no directory in {line}")).1)
    }

    fn connect(&self) -> BufReader<TcpStream> {
        let command = self.commands("telnet")[0];
        let words: Vec<&str> = command.split_whitespace().collect();
        let stream = TcpStream::connect((words[1], words[2].parse().unwrap())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        BufReader::new(stream)
    }

    /// Ctrl-C: the terminal sends SIGINT to every process of the group. What was said after the start.
    fn interrupt(mut self) -> String {
        killpg(Pid::from_raw(i32::try_from(self.child.pid()).unwrap()), Signal::SIGINT).unwrap();
        let status = self.child.wait(PATIENCE).expect("Ctrl-C ends the demo");
        assert_eq!(status.code(), Some(0), "Ctrl-C is how a demo ends: {status}");
        self.rest.iter().map(|line| line + "\n").collect()
    }
}

/// The messages of a mailbox, each with the line ends of the wire.
fn messages() -> Vec<String> {
    let messages = MAIL.split("\nFrom ").map(|message| message.split_once('\n').unwrap().1);
    messages.map(|message| format!("{}\r\n", message.trim_end_matches('\n').replace('\n', "\r\n"))).collect()
}

fn read_line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    assert!(line.ends_with("\r\n"), "RFC 1939, section 3: {line:?}");
    line
}

#[test]
fn curl_works_as_printed() {
    if !programs_or_skip(&["curl"]) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let demo = Demo::start(None);
    let messages = messages();
    assert!(messages.len() >= 3, "a handful of messages: {}", messages.len());
    let listing: String = messages
        .iter()
        .enumerate()
        .map(|(index, message)| format!("{} {}\r\n", index + 1, message.len()))
        .collect();
    let [list, first] = demo.commands("curl")[..] else { panic!("two commands: {}", demo.said) };
    assert_eq!(Demo::type_in(list, home.path()), listing, "{list}");
    assert_eq!(Demo::type_in(first, home.path()), messages[0], "{first}");
    assert_eq!(demo.interrupt(), "", "nothing is wrong at the end");
}

#[test]
fn fetchmail_works_as_printed() {
    if !programs_or_skip(&["fetchmail"]) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let demo = Demo::start(None);
    for command in demo.commands("fetchmail") {
        let said = Demo::type_in(command, home.path());
        let count = format!("{} messages", messages().len());
        assert!(said.contains(&count), "{command} counts {count}: {said}");
    }
    demo.interrupt();
}

#[test]
fn the_dialogue_works_as_printed() {
    let demo = Demo::start(None);
    let hint = demo.said.lines().find_map(|line| line.split_once("; type ")?.1.strip_suffix(':')).unwrap();
    let mut client = demo.connect();
    let greeting = read_line(&mut client);
    assert!(greeting.starts_with("+OK poptools POP3 server"), "{greeting}");
    for command in hint.split(", ") {
        // A terminal's telnet sends CRLF.
        client.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let reply = read_line(&mut client);
        assert!(reply.starts_with("+OK"), "{command}: {reply}");
        if matches!(command.split(' ').next(), Some("LIST" | "RETR")) {
            let lines: Vec<String> = std::iter::repeat_with(|| read_line(&mut client))
                .take_while(|line| line != ".\r\n")
                .collect();
            assert!(lines.len() >= messages().len(), "{command}: {lines:?}");
        }
    }
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "RFC 1939, section 6: QUIT closes the connection");
    demo.interrupt();
}

#[test]
fn the_secrets_database_can_be_looked_at_as_printed() {
    let home = tempfile::tempdir().unwrap();
    let demo = Demo::start(None);
    if nix::unistd::geteuid().is_root() {
        assert!(
            !demo.said.contains("mailauth"),
            "the files are nobody's, so root is not told to: {}",
            demo.said
        );
    } else {
        let said = Demo::type_in(demo.commands("mailauth")[0], home.path());
        assert!(said.contains("ann") && said.contains("bob"), "{said}");
    }
    demo.interrupt();
}

#[test]
fn control_c_removes_the_directory_and_drops_clients() {
    let demo = Demo::start(None);
    let directory = demo.directory();
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700, "nobody else looks into {}", directory.display());
    let mut client = demo.connect();
    read_line(&mut client);
    for command in ["USER bob", "PASS looking-glass", "DELE 1"] {
        client.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let reply = read_line(&mut client);
        assert!(reply.starts_with("+OK"), "{command}: {reply}");
    }
    assert_eq!(demo.interrupt(), "", "nothing is wrong at the end");
    assert!(!directory.exists(), "{} stays behind", directory.display());
    let mut rest = Vec::new();
    // The end, or a reset: what counts is that nobody serves it any more.
    let _ = client.read_to_end(&mut rest);
}

#[test]
fn a_directory_that_is_named_is_kept() {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let named = parent.path().join("my demo");
    let demo = Demo::start(Some(&named));
    assert_eq!(demo.directory(), named);
    demo.interrupt();
    assert_eq!(fs::read_to_string(named.join("mail/ann")).unwrap(), MAIL, "the maildrop stays");
    for file in ["pop3d.toml", "mailauth.key", "auth/mailauth.db"] {
        assert!(named.join(file).is_file(), "{file} stays");
    }
}

#[test]
fn a_directory_that_is_not_empty_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let precious = directory.path().join("precious");
    fs::write(&precious, "mine").unwrap();
    let output = run(pop3d().arg("--demo").arg(directory.path()).args(["--listen", "127.0.0.1:0"]));
    let said = text(&[output.stdout, output.stderr].concat());
    assert_eq!(output.status.code(), Some(64), "usage (design, section 7): {said}");
    assert!(said.contains("is not empty"), "{said}");
    let names: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["precious"], "nothing was touched");
}

#[test]
fn two_demos_work_side_by_side() {
    let (one, other) = (Demo::start(None), Demo::start(None));
    assert_ne!(one.directory(), other.directory());
    for demo in [&one, &other] {
        assert!(read_line(&mut demo.connect()).starts_with("+OK"));
    }
    let directory = other.directory();
    one.interrupt();
    assert!(directory.is_dir(), "the other's directory is its own");
    assert!(read_line(&mut other.connect()).starts_with("+OK"), "the other goes on");
    other.interrupt();
}

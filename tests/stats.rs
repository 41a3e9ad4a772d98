//! A thousand scripted sessions with known numbers: what `mailusradm stats` and `history` say is what the script's own books say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use common::site::{ADDRESS, Site};
use common::world::{QUICK_HASH, Setup};
use common::{Child, PASSWORD, PATIENCE, World, isolated_with_network, mail, within};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

/// Users, each with clients of the own, one after the other.
const USERS: usize = 40;
/// Sessions and refused connections of each.
const EACH: usize = 32;
/// Messages in each maildrop at the beginning.
const MESSAGES: usize = 60;

/// What one user did, as the script knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Books {
    sessions: u64,
    refused: u64,
    retrieved: u64,
    top: u64,
    octets: u64,
    deleted: u64,
    deleted_octets: u64,
    ends: BTreeMap<String, u64>,
    /// One line for each in the order in which they began.
    lines: Vec<Vec<(&'static str, Value)>>,
}

impl Books {
    fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.refused += other.refused;
        self.retrieved += other.retrieved;
        self.top += other.top;
        self.octets += other.octets;
        self.deleted += other.deleted;
        self.deleted_octets += other.deleted_octets;
        other.ends.iter().for_each(|(end, count)| *self.ends.entry(end.clone()).or_default() += count);
    }
}

/// A connection that counts what it is sent.
struct Counted {
    stream: TcpStream,
    unread: Vec<u8>,
    octets: u64,
}

impl Counted {
    fn connect() -> Self {
        let stream = TcpStream::connect(ADDRESS).unwrap();
        stream.set_read_timeout(Some(PATIENCE * 3)).unwrap();
        let mut client = Self { stream, unread: Vec::new(), octets: 0 };
        client.line();
        client
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.iter().position(|octet| *octet == b'\n') {
                self.octets += end as u64 + 1;
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            let mut buffer = [0; 16_384];
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the connection ended");
            self.unread.extend_from_slice(&buffer[..count]);
        }
    }

    fn say(&mut self, line: &str) -> String {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.line()
    }

    fn lines(&mut self, line: &str) {
        assert!(self.say(line).starts_with("+OK"), "{line}");
        while self.line() != "." {}
    }

    /// Logs in; counts from the welcome on, which is the session's first word.
    fn log_in(&mut self, user: &str) {
        assert!(self.say(&format!("USER {user}")).starts_with("+OK"));
        self.octets = 0;
        let reply = self.say(&format!("PASS {PASSWORD}"));
        assert!(reply.starts_with("+OK"), "{user}: {reply}");
    }

    fn guess(&mut self, user: &str) {
        assert!(self.say(&format!("USER {user}")).starts_with("+OK"));
        assert!(self.say("PASS wrong horse").starts_with("-ERR"));
    }

    /// The connection ends, by the server's doing.
    fn end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "not counted");
    }
}

/// Plays one user's part of the script; the maildrop is known all the time.
fn play(user: &str, part: std::ops::Range<usize>, maildrop: &mut Vec<u64>) -> Books {
    let mut books = Books::default();
    for number in part {
        let mut client = Counted::connect();
        let kind = (number + user.len()) % 5;
        let guesses = if kind == 1 { 2 } else { u64::from(kind == 2) };
        for _ in 0..guesses {
            client.guess(user);
            books.refused += 1;
            books.lines.push(vec![("result", "refused".into()), ("reason", "wrong-password".into())]);
        }
        if kind == 1 {
            client.say("QUIT");
            continue;
        }
        // The maildrop is the user's again when its last session has ended; QUIT frees it before the reply, a lost client does not.
        let freed = within(PATIENCE, || {
            assert!(client.say(&format!("USER {user}")).starts_with("+OK"));
            client.octets = 0;
            let reply = client.say(&format!("PASS {PASSWORD}"));
            assert!(reply.starts_with("+OK") || reply.contains("[IN-USE]"), "{user}: {reply}");
            reply.starts_with("+OK").then_some(())
        });
        assert!(freed.is_some(), "{user}: the maildrop is in use");
        let (retrieved, topped) = (number % 4, number % 3);
        (1..=retrieved).for_each(|message| client.lines(&format!("RETR {message}")));
        (1..=topped).for_each(|message| client.lines(&format!("TOP {message} 1")));
        let marked = (number % 3).min(maildrop.len());
        (1..=marked).for_each(|message| assert!(client.say(&format!("DELE {message}")).starts_with("+OK")));
        let end = match kind {
            3 => {
                drop(client.stream.shutdown(std::net::Shutdown::Both));
                "dropped"
            }
            // Each of them takes the time limit, so there is one a user, all at the same time.
            4 if number < 5 => {
                client.end();
                "idle"
            }
            _ => {
                assert!(client.say("QUIT").starts_with("+OK"));
                client.end();
                "quit"
            }
        };
        let deleted: Vec<u64> = if end == "quit" { maildrop.drain(..marked).collect() } else { Vec::new() };
        let (left, left_octets) = (maildrop.len() as u64, maildrop.iter().sum::<u64>());
        let (count, octets) = (deleted.len() as u64, deleted.iter().sum::<u64>());
        books.sessions += 1;
        books.retrieved += retrieved as u64;
        books.top += topped as u64;
        books.octets += client.octets;
        books.deleted += count;
        books.deleted_octets += octets;
        *books.ends.entry(end.to_owned()).or_default() += 1;
        books.lines.push(vec![
            ("result", end.into()),
            ("refused", guesses.into()),
            ("retrieved", retrieved.into()),
            ("top", topped.into()),
            ("octets", client.octets.into()),
            ("deleted", count.into()),
            ("deleted_octets", octets.into()),
            ("left", left.into()),
            ("left_octets", left_octets.into()),
            ("mechanism", "PASS".into()),
            ("tls", "none".into()),
            ("client", "127.0.0.1".into()),
        ]);
    }
    books
}

fn mailusradm(world: &World, words: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailusradm"));
    command.arg("--config").arg(&world.config).args(words.split_whitespace());
    let output = common::run(&mut command);
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(world: &World, words: &str) -> Value {
    serde_json::from_str(&mailusradm(world, &format!("{words} --format json"))).unwrap()
}

fn numbers(object: &Value) -> Books {
    let number = |name: &str| object[name].as_u64().unwrap();
    Books {
        sessions: number("sessions"),
        refused: number("refused"),
        retrieved: number("retrieved"),
        top: number("top"),
        octets: number("octets"),
        deleted: number("deleted"),
        deleted_octets: number("deleted_octets"),
        ..Books::default()
    }
}

/// Plays a part of the script, all users at once; adds it to the books.
fn play_all(names: &[String], part: std::ops::Range<usize>, maildrops: &mut [Vec<u64>], books: &mut [Books]) {
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (name, maildrop) in names.iter().zip(maildrops.iter_mut()) {
            let part = part.clone();
            threads.push(scope.spawn(move || play(name, part, maildrop)));
        }
        for (thread, books) in threads.into_iter().zip(books.iter_mut()) {
            let part = thread.join().unwrap();
            books.add(&part);
            books.lines.extend(part.lines);
        }
    });
}

/// Compares everything that the program says with the books. A line of the history is written when its client is gone, so it may take a
/// moment until all are there.
fn compare(world: &World, names: &[String], books: &[Books]) {
    let mut wanted = Books::default();
    books.iter().for_each(|books| wanted.add(books));
    let complete = within(PATIENCE * 3, || {
        let found = json(world, "stats");
        let total = &found["total"];
        (total["sessions"] == wanted.sessions && total["refused"] == wanted.refused).then_some(found)
    });
    let found = complete.unwrap_or_else(|| json(world, "stats"));
    let ends: BTreeMap<String, u64> = serde_json::from_value(found["ends"].clone()).unwrap();
    let total = Books { ends, ..numbers(&found["total"]) };
    assert_eq!(total, Books { lines: Vec::new(), ..wanted.clone() });
    assert_eq!(found["total"]["users"], names.len());
    assert_eq!(found["tls"]["none"], wanted.sessions);
    assert_eq!(found["reasons"]["wrong-password"], wanted.refused);
    for by in ["day", "hour", "client", "mechanism"] {
        let mut sum = Books::default();
        let rows = json(world, &format!("stats --by {by}"));
        rows["rows"].as_array().unwrap().iter().for_each(|row| sum.add(&numbers(row)));
        assert_eq!(sum, Books { lines: Vec::new(), ends: BTreeMap::new(), ..wanted.clone() }, "by {by}");
    }
    let by_user = json(world, "stats --by user");
    for row in by_user["rows"].as_array().unwrap() {
        let at = names.iter().position(|name| row["user"] == name.as_str()).expect("a user of ours");
        assert_eq!(
            numbers(row),
            Books { lines: Vec::new(), ends: BTreeMap::new(), ..books[at].clone() },
            "{}",
            names[at]
        );
    }
    let prometheus = mailusradm(world, "stats --format prometheus");
    let sum = |name: &str| -> u64 {
        let samples = prometheus.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    };
    assert_eq!(
        (sum("poptools_sessions_total"), sum("poptools_retrieved_bytes_total")),
        (wanted.sessions, wanted.octets)
    );
    assert_eq!(sum("poptools_logins_refused_total"), wanted.refused);
    assert!(prometheus.contains("poptools_history_lines_skipped_total 0\n"));
    for (name, books) in names.iter().zip(books).step_by(7) {
        compare_history(&json(world, &format!("history {name}")), &books.lines, name);
    }
}

/// Sessions and refusals, each in the order of the script. (Within one second their common order is not told.)
fn compare_history(found: &Value, lines: &[Vec<(&'static str, Value)>], name: &str) {
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), lines.len(), "{name}");
    let is_refused = |line: &Value| line["result"] == "refused";
    let fields = |line: &Value, like: &[(&'static str, Value)]| -> Vec<(&'static str, Value)> {
        like.iter().map(|(key, _)| (*key, line[*key].clone())).collect()
    };
    for refused in [false, true] {
        let mut wanted: Vec<_> =
            lines.iter().filter(|line| (line[0].1 == "refused") == refused).cloned().collect();
        let like = wanted.first().cloned().unwrap_or_default();
        let mut got: Vec<_> =
            found.iter().filter(|line| is_refused(line) == refused).map(|line| fields(line, &like)).collect();
        let key = |line: &Vec<(&str, Value)>| format!("{line:?}");
        wanted.sort_by_key(key);
        got.sort_by_key(key);
        assert_eq!(got, wanted, "{name}, refused: {refused}");
    }
}

#[test]
fn a_thousand_sessions_are_in_the_history_as_they_were() {
    isolated_with_network(|| {
        let names: Vec<String> = (0..USERS).map(|number| format!("user{number}")).collect();
        let limits = "[auth]\nfailure_delay = 0\n[limits]\nmax_per_address = 1000\nidle_timeout = 10\n";
        let add = |setup: Setup, name: &String| setup.user(name, QUICK_HASH);
        let world = names.iter().fold(World::setup().config(limits).spool_size(256 << 20), add).start();
        let messages = mail::messages(MESSAGES);
        let octets: Vec<u64> = messages.iter().map(|message| mail::wire(message).len() as u64).collect();
        names.iter().for_each(|name| world.maildrop(name, &mail::mbox(&messages)));
        let (mut maildrops, mut books) = (vec![octets; USERS], vec![Books::default(); USERS]);

        let mut site = Site::start(&world);
        play_all(&names, 0..EACH / 2, &mut maildrops, &mut books);
        compare(&world, &names, &books);
        // The second half, and then the monitor is killed while some are logged in; of those that had ended nothing is missing.
        play_all(&names, EACH / 2..EACH, &mut maildrops, &mut books);
        let all: usize = books.iter().map(|books| books.lines.len()).sum();
        within(PATIENCE * 3, || {
            let log = fs::read_to_string("/run/lib/poptools/history.log").unwrap_or_default();
            let moved = json(&world, "stats --by mechanism")["rows"][0].clone();
            (log.is_empty() && moved["sessions"].as_u64()? + moved["refused"].as_u64()? == all as u64)
                .then_some(())
        })
        .expect("all that had ended is written down");
        let mut open: Vec<Counted> = names[..5]
            .iter()
            .map(|name| {
                let mut client = Counted::connect();
                client.log_in(name);
                client
            })
            .collect();
        let tree = site.processes();
        site.server.signal(Signal::SIGKILL);
        site.server.wait(PATIENCE).expect("killed");
        compare(&world, &names, &books);
        open.iter_mut().for_each(|client| drop(client.say("QUIT")));
        drop(open);
        // Whatever is left of the old server, so that the new one can listen.
        within(PATIENCE, || {
            let alive = |pid: u32| common::processes::read(pid).is_some_and(|process| process.state != "Z");
            (!tree.iter().any(|process| alive(process.pid))).then_some(())
        })
        .expect("nothing is left of the old server");
        let _site = Site { world: &world, server: Child::start(again(&world)) };
        within(PATIENCE, || TcpStream::connect(ADDRESS).ok()).expect("a new server");
        let (name, part) = (&names[..1], EACH..EACH + 5);
        play_all(name, part, &mut maildrops[..1], &mut books[..1]);
        compare(&world, &names, &books);
        let sessions: u64 = books.iter().map(|books| books.sessions).sum();
        let refused: u64 = books.iter().map(|books| books.refused).sum();
        eprintln!("{sessions} sessions and {refused} refused logins: as in the books");
        assert!(USERS * EACH >= 1000 && sessions + refused >= 1000, "{sessions} and {refused}");
    });
}

/// The same server once more.
fn again(world: &World) -> Command {
    let mut command = Command::new(&world.program);
    command.arg("--config").arg(&world.config).args(["--listen", ADDRESS]).current_dir("/");
    command.env_remove("LISTEN_FDS").env_remove("LISTEN_PID").env_remove("NOTIFY_SOCKET");
    let null = std::process::Stdio::null;
    command.stdin(null()).stdout(null()).stderr(null());
    command
}

//! A secret is found nowhere (issue "mailauth"), and nobody hears that the database is locked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/said.rs"]
mod said;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use common::{Client, World, eventually, isolated, world};
use md5::{Digest, Md5};
use said::{Said, run};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const MAILAUTH: &str = env!("CARGO_BIN_EXE_mailauth");
const POP: u32 = 20_998;
const KEY: &str = "/run/lib/keys/mailauth.key";
const AUTH: &str = "/run/lib/poptools/auth";

/// Long, so that no part of it turns up by chance.
const FIRST: &str = "Zu9-geheim.first/secret";
const SECOND: &str = "Qx7-another.second/secret";
const PASSWORD: &str = "Mv3-password.of/the-phone";

struct Site(World);

impl Site {
    fn new(users: &[&str], options: &[&str]) -> Self {
        let auth = format!("[auth]\nfailure_delay = 0\nkey = \"{KEY}\"\n");
        let setup = users.iter().fold(World::setup(), |setup, user| setup.user(user, world::QUICK_HASH));
        let site = Self(setup.user_with_uid("pop", POP, "!").config(&auth).options(options).start());
        site.run("init", "").well();
        site
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(MAILAUTH);
        command.arg("--config").arg(&self.0.config).args(line.split_whitespace());
        command
    }

    fn run(&self, line: &str, input: &str) -> Said {
        run(self.command(line), input)
    }

    /// Logs in by APOP.
    fn apop(&self, user: &str, secret: &str) -> (Client, String) {
        let mut client = self.0.connect();
        let at = client.greeting.find('<').expect("a challenge in the greeting");
        let digest = Md5::new().chain_update(&client.greeting[at..]).chain_update(secret).finalize();
        let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        let reply = client.command(&format!("APOP {user} {hex}"));
        (client, reply)
    }
}

/// The forms in which a secret could be hidden badly. Base64 in each of the three places that it can begin at.
fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let octets = secret.as_bytes();
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let mut forms = vec![
        ("plain", octets.to_vec()),
        ("reversed", octets.iter().rev().copied().collect()),
        ("XOR 0xff", octets.iter().map(|octet| octet ^ 0xff).collect()),
        ("hex", hex.clone().into_bytes()),
        ("HEX", hex.to_uppercase().into_bytes()),
    ];
    for begin in 0..3 {
        let whole = &octets[begin..][..(octets.len() - begin) / 3 * 3];
        forms.push(("base64", STANDARD_NO_PAD.encode(whole).into_bytes()));
        forms.push(("base64url", URL_SAFE_NO_PAD.encode(whole).into_bytes()));
    }
    forms
}

#[track_caller]
fn has_none(what: &str, octets: &[u8]) {
    for secret in [FIRST, SECOND, PASSWORD] {
        for (form, wanted) in forms(secret) {
            let found = memchr::memmem::find(octets, &wanted);
            assert_eq!(found, None, "{what} has {secret} in {form}");
        }
    }
}

/// Every file below, with how many octets that were.
fn scan(place: &Path) -> usize {
    let entries = fs::read_dir(place).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let path = entry.path();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => scan(&path),
                kind if kind.is_file() => {
                    let octets = fs::read(&path).unwrap();
                    has_none(&path.display().to_string(), &octets);
                    octets.len()
                }
                _ => 0,
            }
        })
        .sum()
}

/// Runs a verb and looks at what everybody can see of it while it has the secret.
fn watched(site: &Site, line: &str, secret: &str) {
    let mut command = site.command(line);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(secret.as_bytes()).unwrap();
    let proc = format!("/proc/{}", child.id());
    eventually("it has started", || {
        fs::read(format!("{proc}/cmdline")).ok().filter(|line| line.starts_with(MAILAUTH.as_bytes()))
    });
    for name in ["cmdline", "environ", "comm"] {
        has_none(name, &fs::read(format!("{proc}/{name}")).unwrap());
    }
    drop(input);
    assert!(child.wait().unwrap().success(), "{line}");
}

/// Issue "mailauth": a scan of database, journal, backup, log and trace, and of ps, finds no secret.
#[test]
fn a_secret_is_found_nowhere() {
    isolated(|| {
        let site = Site::new(&[], &["-d", "-t", "/run/trace"]);
        fs::create_dir("/run/backups").unwrap();
        let look = || {
            assert!(
                scan(Path::new("/run/lib")) + scan(Path::new("/run/backups")) > 20_000,
                "something is read"
            );
        };
        watched(&site, "add ann --stdin", FIRST);
        watched(&site, "add bob --type POP --label phone --stdin", PASSWORD);
        look();
        let (mut client, reply) = site.apop("ann", FIRST);
        assert!(reply.starts_with("+OK"), "{reply}");
        client.quit();
        let mut client = site.0.connect();
        assert!(client.login("bob", PASSWORD).starts_with("+OK"));
        client.quit();
        site.run("export /run/backups/one", "").well();
        watched(&site, "passwd ann --stdin", SECOND);
        site.run("verify ann --stdin", SECOND).well();
        assert!(!site.apop("ann", FIRST).1.starts_with("+OK"));
        site.run("export /run/backups/two", "").well();
        look();
        site.run("rekey", "").well();
        site.run("show ann --format json", "").well();
        assert!(site.apop("ann", SECOND).1.starts_with("+OK"));
        look();
        let trace = fs::read("/run/trace").unwrap();
        assert!(trace.len() > 200, "the trace was written");
        has_none("the trace", &trace);
        let log = site.0.log_lines().join("\n");
        assert!(log.contains("user=ann"), "{log}");
        has_none("the log", log.as_bytes());
    });
}

/// The journal that a killed writer leaves has no secret either, and a reader puts the database in order.
#[test]
fn a_journal_has_no_secret() {
    if !common::programs_or_skip(&["strace"]) {
        return;
    }
    isolated(|| {
        let site = Site::new(&[], &[]);
        site.run("add ann --stdin", FIRST).well();
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/run/strace", "-e", "inject=?unlink:signal=KILL:when=1"]);
        command.arg(MAILAUTH).arg("--config").arg(&site.0.config).args(["passwd", "ann", "--stdin"]);
        assert_ne!(run(command, SECOND).status, 0);
        let journal = fs::read(format!("{AUTH}/mailauth.db-journal")).expect("killed before the commit");
        assert!(journal.len() > 512);
        has_none("the journal", &journal);
        has_none("the database", &fs::read(format!("{AUTH}/mailauth.db")).unwrap());
        site.run("verify ann --stdin", FIRST).well();
    });
}

/// 8 writers and 8 who log in, for ten seconds: nobody hears of each other.
#[test]
fn writers_and_logins_do_not_disturb_each_other() {
    let users = ["u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"];
    isolated(|| {
        let site = Site::new(&users, &[]);
        for user in users {
            site.run(&format!("add {user} --stdin"), FIRST).well();
        }
        let (writes, logins) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let end = Instant::now() + Duration::from_secs(10);
        // Twice each, however busy the machine is.
        let enough = |round: usize| round >= 2 && Instant::now() >= end;
        std::thread::scope(|scope| {
            let (site, writes, logins) = (&site, &writes, &logins);
            for (number, user) in users.into_iter().enumerate() {
                scope.spawn(move || {
                    for round in 0.. {
                        if enough(round) {
                            break;
                        }
                        let (mut client, reply) = site.apop(user, FIRST);
                        assert!(reply.starts_with("+OK"), "{user}: {reply}");
                        client.quit();
                        client.server_ends();
                        logins.fetch_add(1, Ordering::Relaxed);
                    }
                });
                scope.spawn(move || {
                    let own = format!("bob --type POP --label {user}");
                    for round in 0.. {
                        if enough(round) {
                            break;
                        }
                        match number % 4 {
                            0 => site.run(&format!("add {own} --generate"), "").well(),
                            1 => site.run(&format!("passwd {user} --stdin"), FIRST).well(),
                            2 => site.run("unlock u0 u7", "").well(),
                            _ => site.run(&format!("add {own} --stdin"), SECOND).well(),
                        };
                        if number % 4 == 0 || number % 4 == 3 {
                            site.run(&format!("remove {own}"), "").well();
                        }
                        writes.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        eprintln!(
            "{} changes and {} logins in {:?}",
            writes.load(Ordering::Relaxed),
            logins.load(Ordering::Relaxed),
            Duration::from_secs(10) + end.elapsed()
        );
        let log = site.0.log_lines();
        assert!(!log.iter().any(|line| line.contains("in use by another")), "{log:#?}");
        assert!(writes.load(Ordering::Relaxed) >= 16 && logins.load(Ordering::Relaxed) >= 16);
    });
}

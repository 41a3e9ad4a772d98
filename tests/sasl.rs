//! AUTH with clients that were not written here, and with a client that does what those do not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/gsasl.rs"]
mod gsasl;
#[path = "support/scram.rs"]
mod scram;

use common::client::text;
use common::site::{ADDRESS, Site};
use common::{Client, PASSWORD, World, isolated_with_network, machine, programs_or_skip, run};
use gsasl::Gsasl;
use poptools::protocol::sasl::{decode, encode};
use scram::{SECRET, Scram, challenge};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A world with bob's secret in the database.
fn world(config: &str) -> World {
    let world = scram::setup(config).start();
    scram::keep_secret(&world);
    for user in ["ann", "bob"] {
        world.maildrop(user, b"From x@example.org Thu Jan  1 00:00:00 1970\nSubject: one\n\nbody\n");
    }
    world
}

/// A running standalone server, with a home for clients.
fn served(programs: &[&str], config: &str, test: impl FnOnce(&World, &Path) + Send) {
    if !common::root_or_skip() || !programs_or_skip(programs) {
        return;
    }
    isolated_with_network(|| {
        let world = world(config);
        let site = Site::start(&world);
        let home = world.directory().join("home");
        machine::make_directory(&home, 0o700);
        test(&world, &home);
        drop(site);
    });
}

fn file(home: &Path, name: &str, content: &str) -> PathBuf {
    let path = home.join(name);
    machine::write(&path, content.as_bytes(), 0o600);
    path
}

/// Runs a client in its home; what it said.
fn client(home: &Path, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .current_dir(home)
        .env("HOME", home)
        .env("FETCHMAILHOME", home)
        .env("LC_ALL", "C");
    let output = run(&mut command);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(said) }
}

fn user_of(mechanism: &str) -> (&'static str, &'static str) {
    if mechanism.eq_ignore_ascii_case("plain") { ("ann", PASSWORD) } else { ("bob", SECRET) }
}

/// The login that the log has, by this mechanism.
fn logged(world: &World, user: &str, mechanism: &str) -> String {
    world.log_line(&[" login: ", &format!("user={user}"), &format!("mechanism={}", mechanism.to_uppercase())])
}

/// RFC 4616, RFC 2195, RFC 7677: mpop (GNU SASL).
#[test]
fn mpop_logs_in() {
    served(&["mpop"], "failure_delay = 0", |world, home| {
        for mechanism in ["plain", "cram-md5", "scram-sha-256"] {
            let (user, secret) = user_of(mechanism);
            let try_with = |secret: &str| {
                let rc = format!(
                    "account default\nhost 127.0.0.1\nport 110\ntls off\nauth {mechanism}\nuser {user}\n\
                     password \"{secret}\"\nkeep on\nonly_new off\nreceived_header off\ndelivery mda \"cat >got\"\n"
                );
                file(home, "rc", &rc);
                client(home, &["mpop", "--quiet", "-C", "rc", "--uidls-file=uidls"])
            };
            try_with(secret).unwrap_or_else(|said| panic!("{mechanism}: {said}"));
            assert!(std::fs::read_to_string(home.join("got")).unwrap().contains("Subject: one"));
            logged(world, user, mechanism);
            let said = try_with("wrong-one").unwrap_err();
            assert!(said.contains("authentication failed"), "{mechanism}: {said}");
        }
    });
}

/// RFC 4616, RFC 2195: curl.
#[test]
fn curl_logs_in() {
    served(&["curl"], "failure_delay = 0", |world, home| {
        for mechanism in ["PLAIN", "CRAM-MD5"] {
            let (user, secret) = user_of(mechanism);
            let (login, options) = (format!("{user}:{secret}"), format!("AUTH={mechanism}"));
            let words = ["curl", "-sS", "--user", &login, "--login-options", &options, "pop3://127.0.0.1/1"];
            let got = client(home, &words).unwrap_or_else(|said| panic!("{mechanism}: {said}"));
            assert!(got.contains("Subject: one"), "{got}");
            logged(world, user, mechanism);
            let ir = client(home, &[&words[..], &["--sasl-ir"]].concat());
            assert!(ir.is_ok(), "{mechanism}, initial response: {ir:?}");
        }
    });
}

/// RFC 2195: fetchmail.
#[test]
fn fetchmail_logs_in() {
    served(&["fetchmail"], "", |world, home| {
        let rc = format!(
            "set invisible\nset no bouncemail\npoll 127.0.0.1 protocol pop3 auth cram-md5 port 110 no dns timeout 20\n\
             \x20 username \"bob\" password \"{SECRET}\" is \"root\" here fetchall sslproto '' mda \"cat\"\n"
        );
        file(home, "rc", &rc);
        let words =
            ["fetchmail", "--nosyslog", "--nodetach", "--keep", "-f", "rc", "--pidfile", "pid", "-i", "ids"];
        let said = client(home, &words).unwrap_or_else(|said| panic!("{said}"));
        assert!(said.contains("Subject: one"), "{said}");
        logged(world, "bob", "CRAM-MD5");
    });
}

/// RFC 5802, section 5; RFC 5034, section 4: GNU SASL believes the server's signature, and then the server believes the client.
#[test]
fn gnu_sasl_logs_in_by_scram() {
    served(&["gsasl"], "failure_delay = 0", |world, _| {
        for (secret, right) in [(SECRET, true), ("wrong-one", false)] {
            let mut client = world.connect();
            let mut gsasl = Gsasl::start("SCRAM-SHA-256", secret, None);
            let first = gsasl.message();
            let line = client.command(&format!("AUTH SCRAM-SHA-256 {first}"));
            let last = gsasl.answer(challenge(&line));
            let line = client.command(&last);
            if !right {
                assert_eq!(line, "-ERR [AUTH] Password supplied for \"bob\" is incorrect.");
                continue;
            }
            assert_eq!(gsasl.answer(challenge(&line)), "", "it has nothing more to say");
            assert!(client.command("").starts_with("+OK bob has 1 message(s)"));
            client.ok("QUIT");
        }
        logged(world, "bob", "SCRAM-SHA-256");
        world.log_line(&[" refused: ", "user=bob mechanism=SCRAM-SHA-256 reason=wrong-proof"]);
    });
}

/// A proof by hand; what the server says to it.
fn prove(client: &mut Client, user: &str, secret: &str) -> String {
    let scram = Scram { flag: "n,,", binding: Vec::new(), user, secret };
    let line = client.command(&format!("AUTH SCRAM-SHA-256 {}", scram.first()));
    client.command(&scram.last(&line))
}

/// Design, section 2: nobody holds a verification, or the maildrop's lock, while it waits for a client. What follows the last line
/// is for the session.
#[test]
fn who_waits_for_consent_makes_nobody_wait() {
    served(&[], "failure_delay = 0\n[limits]\nmax_verifications = 1", |world, _| {
        let connect =
            || Client::new(std::net::TcpStream::connect(ADDRESS).unwrap(), common::Child::nobody(), 0);
        let mut slow = connect();
        assert!(prove(&mut slow, "bob", SECRET).starts_with("+ dj"), "v=");
        let mut other = connect();
        assert!(prove(&mut other, "bob", SECRET).starts_with("+ dj"), "there is a turn for others");
        other.send(b"\r\nSTAT\r\nQUIT\r\n");
        assert!(other.line().starts_with("+OK bob has 1"), "and the maildrop is free");
        assert!(other.line().starts_with("+OK 1 "));
        assert!(other.line().starts_with("+OK Pop server"));
        assert!(slow.command("").starts_with("+OK bob has 1"));
        let mut third = connect();
        assert!(prove(&mut third, "bob", SECRET).starts_with("+ dj"));
        assert_eq!(third.command("*"), "-ERR Authentication cancelled.");
        world.log_line(&[" refused: ", "user=bob mechanism=SCRAM-SHA-256 reason=cancelled"]);
        third.ok("CAPA");
    });
}

/// A way to be refused; what the server says.
type Refuse = dyn Fn(&mut Client, &str) -> String;

/// Design, section 5: every refusal has the same words and takes the same time, whoever it is and whatever was tried. The salt of a
/// name that nobody has stays, over restarts too.
#[test]
fn refusals_are_alike() {
    served(&[], "failure_delay = 1", |world, _| {
        let plain = |client: &mut Client, user: &str| {
            client.command(&format!("AUTH PLAIN {}", encode(format!("\0{user}\0wrong").as_bytes())))
        };
        let cram = |client: &mut Client, user: &str| {
            let _ = client.command("AUTH CRAM-MD5");
            client.command(&encode(format!("{user} {}", "0".repeat(32)).as_bytes()))
        };
        let scram = |client: &mut Client, user: &str| prove(client, user, "wrong");
        let ways: [&Refuse; 3] = [&plain, &cram, &scram];
        for (way, refuse) in ways.into_iter().enumerate() {
            for user in ["bob", "ann", "nobody7"] {
                let began = Instant::now();
                let reply = refuse(&mut world.connect(), user);
                assert_eq!(reply, format!("-ERR [AUTH] Password supplied for \"{user}\" is incorrect."));
                let took = began.elapsed();
                assert!(took >= Duration::from_secs(1), "{way}, {user}: {took:?}");
            }
        }
        let salt = |user: &str| {
            let line = world
                .connect()
                .command(&format!("AUTH SCRAM-SHA-256 {}", encode(format!("n,,n={user},r=a").as_bytes())));
            let answer = text(&decode(challenge(&line).as_bytes()).unwrap());
            answer.split_once(",s=").unwrap().1.to_owned()
        };
        assert_eq!(salt("nobody7"), salt("nobody7"), "each of these is a server of its own");
        assert_ne!(salt("nobody7"), salt("nobody8"));
        assert_eq!(salt("nobody7").len(), salt("bob").len());
    });
}

/// Design, section 6: no secret is in a log, whatever the mechanism, with debugging lines too.
#[test]
fn no_secret_is_logged() {
    served(&[], "failure_delay = 0", |world, _| {
        let message = encode(format!("\0ann\0{PASSWORD}").as_bytes());
        for line in [format!("AUTH PLAIN {message}"), "AUTH PLAIN".to_owned()] {
            let mut client = world.connect_with(&["-d"]);
            let mut reply = client.command(&line);
            if reply.starts_with('+') && !reply.starts_with("+OK") {
                reply = client.command(&message);
            }
            assert!(reply.starts_with("+OK"), "{reply}");
            client.ok("QUIT");
        }
        let mut client = world.connect_with(&["-d"]);
        let proven = prove(&mut client, "bob", SECRET);
        client.command("");
        client.ok("QUIT");
        world.log_line(&[" debug: ", "C: *** ("]);
        world.log_line(&[" logout: ", "user=bob"]);
        let log = world.log_lines().join("\n");
        for secret in [PASSWORD, SECRET, message.as_str(), challenge(&proven)] {
            assert!(!log.contains(secret), "the log has {secret}");
        }
    });
}

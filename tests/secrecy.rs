//! Design, section 6: no secret, nor what it could be told from, is ever in a log, a trace or a core file: every mechanism, in the
//! clear and over TLS, right and wrong, with `-d` and `-t`.

// A helper's failure is the failure of the test that called it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "support/scram.rs"]
mod scram;
#[path = "support/tls.rs"]
mod tls;

use common::client::text;
use common::world::{QUICK_HASH, tcp_pair};
use common::{Child, Client, PASSWORD, PATIENCE, World, eventually, isolated, processes};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use nix::sys::signal::Signal;
use poptools::protocol::sasl::{decode, encode};
use scram::{SECRET, Scram, challenge};
use std::fs;
use std::path::Path;
use tls::{Authority, Secure};

/// What went over the wire and must not be found again.
#[derive(Default)]
struct Said(Vec<Vec<u8>>);

impl Said {
    fn add(&mut self, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref();
        assert!(secret.len() >= 8, "too short to be looked for: {}", text(secret));
        self.0.push(secret.to_vec());
    }

    /// A message of AUTH, as octets and as a line.
    fn message(&mut self, octets: &[u8]) -> String {
        let line = encode(octets);
        self.add(octets);
        self.add(&line);
        line
    }

    /// The secrets that are in these octets.
    fn found_in(&self, octets: &[u8]) -> Vec<String> {
        let found = |secret: &&Vec<u8>| memchr::memmem::find(octets, secret).is_some();
        self.0.iter().filter(found).map(|secret| text(secret)).collect()
    }
}

/// Whoever speaks lines.
trait Speaker {
    fn say(&mut self, line: &str) -> String;
    fn greeting(&self) -> String;
    /// What SCRAM-SHA-256-PLUS binds to, where there is something.
    fn exporter(&mut self) -> Option<Vec<u8>>;
}

impl Speaker for Client {
    fn say(&mut self, line: &str) -> String {
        self.command(line)
    }

    fn greeting(&self) -> String {
        self.greeting.clone()
    }

    fn exporter(&mut self) -> Option<Vec<u8>> {
        None
    }
}

impl Speaker for Secure {
    fn say(&mut self, line: &str) -> String {
        self.command(line)
    }

    fn greeting(&self) -> String {
        self.greeting.clone()
    }

    fn exporter(&mut self) -> Option<Vec<u8>> {
        self.tls().export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).ok()
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A way to log in with a secret; the last line that the server says.
type Way = fn(&mut dyn Speaker, &mut Said, &str) -> String;

fn pass(client: &mut dyn Speaker, said: &mut Said, secret: &str) -> String {
    said.add(secret);
    client.say("USER ann");
    client.say(&format!("PASS {secret}"))
}

fn apop(client: &mut dyn Speaker, said: &mut Said, secret: &str) -> String {
    let greeting = client.greeting();
    let challenge = greeting.split(' ').find(|word| word.starts_with('<')).unwrap_or("<none>").to_owned();
    let digest = hex(&Md5::digest(format!("{challenge}{secret}")));
    said.add(secret);
    said.add(&digest);
    client.say(&format!("APOP bob {digest}"))
}

fn plain(client: &mut dyn Speaker, said: &mut Said, secret: &str) -> String {
    said.add(secret);
    let line = said.message(format!("\0ann\0{secret}").as_bytes());
    client.say(&format!("AUTH PLAIN {line}"))
}

fn plain_later(client: &mut dyn Speaker, said: &mut Said, secret: &str) -> String {
    said.add(secret);
    let line = said.message(format!("\0ann\0{secret}").as_bytes());
    client.say("AUTH PLAIN");
    client.say(&line)
}

fn cram(client: &mut dyn Speaker, said: &mut Said, secret: &str) -> String {
    let asked = client.say("AUTH CRAM-MD5");
    let asked = decode(challenge(&asked).as_bytes()).unwrap();
    let digest: Vec<u8> = Hmac::<Md5>::new_from_slice(secret.as_bytes())
        .unwrap()
        .chain_update(&*asked)
        .finalize()
        .into_bytes()
        .to_vec();
    said.add(secret);
    said.add(hex(&digest));
    let line = said.message(format!("bob {}", hex(&digest)).as_bytes());
    client.say(&line)
}

fn scram_sha(client: &mut dyn Speaker, said: &mut Said, secret: &str) -> String {
    prove(client, said, "SCRAM-SHA-256", &Scram { flag: "n,,", binding: Vec::new(), user: "bob", secret })
}

fn scram_plus(client: &mut dyn Speaker, said: &mut Said, secret: &str) -> String {
    let Some(binding) = client.exporter() else { return scram_sha(client, said, secret) };
    prove(
        client,
        said,
        "SCRAM-SHA-256-PLUS",
        &Scram { flag: "p=tls-exporter,,", binding, user: "bob", secret },
    )
}

fn prove(client: &mut dyn Speaker, said: &mut Said, mechanism: &str, scram: &Scram<'_>) -> String {
    let asked = client.say(&format!("AUTH {mechanism} {}", scram.first()));
    let last = scram.last(&asked);
    said.add(scram.secret);
    said.add(&last);
    let octets = text(&decode(last.as_bytes()).unwrap());
    said.add(octets.rsplit_once(",p=").unwrap().1);
    let signed = client.say(&last);
    match signed.strip_prefix("+ ") {
        Some(signature) => {
            said.add(signature);
            said.add(&text(&decode(signature.as_bytes()).unwrap())[2..]);
            client.say("")
        }
        None => signed,
    }
}

const WAYS: [(&str, Way, &str); 7] = [
    ("PASS", pass, PASSWORD),
    ("APOP", apop, SECRET),
    ("PLAIN", plain, PASSWORD),
    ("PLAIN", plain_later, PASSWORD),
    ("CRAM-MD5", cram, SECRET),
    ("SCRAM-SHA-256", scram_sha, SECRET),
    ("SCRAM-SHA-256-PLUS", scram_plus, SECRET),
];

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug)]
enum How {
    Clear,
    Stls,
    Tls,
}

fn connect(
    world: &World,
    authority: &Authority,
    how: How,
    more: &[&str],
) -> (Box<dyn Speaker>, Option<Child>) {
    let (ours, theirs) = tcp_pair("127.0.0.1:0");
    let tls: &[&str] = if matches!(how, How::Tls) { &["--tls"] } else { &[] };
    let server = Child::start(world.command(&[], &[more, tls].concat(), theirs.into()));
    match how {
        How::Clear => (Box::new(Client::new(ours, server, 0)), None),
        How::Stls => (Box::new(authority.client().stls(ours)), Some(server)),
        How::Tls => (Box::new(authority.client().connect(ours)), Some(server)),
    }
}

fn setup() -> (World, Authority) {
    let config = format!("{}client_ca = \"/run/tls/ca.pem\"\n", tls::config());
    let world = scram::setup("failure_delay = 0").config(&config).start();
    scram::keep_secret(&world);
    let authority = Authority::new();
    world.small_maildrop(1);
    world.maildrop(
        "bob",
        b"From x@example.org Thu Jan  1 00:00:00 1970\nSubject: one\n\nbody of bob's mail\n",
    );
    (world, authority)
}

#[test]
fn no_secret_is_in_log_or_trace() {
    isolated(|| {
        let (world, authority) = setup();
        let trace = world.directory().join("trace");
        let (mut said, mut log, mut logins) = (Said::default(), String::new(), 0);
        said.add("body of bob's mail");
        for more in [&["-d"][..], &["-d", "-s", "-t", trace.to_str().unwrap()]] {
            for how in [How::Clear, How::Stls, How::Tls] {
                for (number, (mechanism, way, right)) in WAYS.into_iter().enumerate() {
                    let wrong = format!("wrong-{number}-{how:?}-{}", more.len());
                    let (mut client, _server) = connect(&world, &authority, how, more);
                    // Words that are no command may be a mistyped secret.
                    for line in [
                        &wrong,
                        &format!("PAS {wrong}"),
                        &format!("USER ann {wrong}"),
                        &format!("AUTH PLAIN {wrong} x"),
                    ] {
                        client.say(line);
                    }
                    if !(mechanism == "APOP" && matches!(how, How::Stls)) {
                        let reply = way(&mut *client, &mut said, &wrong);
                        assert!(reply.starts_with("-ERR"), "{mechanism} {how:?}: {reply}");
                        let reply = way(&mut *client, &mut said, right);
                        assert!(reply.starts_with("+OK"), "{mechanism} {how:?}: {reply}");
                        logins += 1;
                        client.say("RETR 1");
                    }
                    drop(client);
                    // What the log says is taken out of a short queue.
                    log += &world.log_lines().join("\n");
                }
            }
        }
        world.log_line(&["logout: ", "user=bob"]);
        log += &world.log_lines().join("\n");
        let traced = fs::read(&trace).unwrap();
        assert!(
            traced.windows(4).any(|four| four == b"RETR") && log.contains("C: PASS ***"),
            "they say much"
        );
        for (place, octets) in [("the log", log.as_bytes()), ("the trace", &traced)] {
            let found = said.found_in(octets);
            assert!(found.is_empty(), "{place} has {found:?}");
        }
        println!(
            "{logins} logins and {logins} refusals; none of {} secrets and proofs is written",
            said.0.len()
        );
        assert_eq!(said.found_in(text(&said.0[0]).as_bytes()).len(), 1, "what is there is found");
    });
}

/// RFC 4422, appendix A: EXTERNAL has no secret but the client's key.
#[test]
fn external_leaves_nothing_either() {
    isolated(|| {
        let (world, authority) = setup();
        authority.issue("ann-", &["ann"]);
        let trace = world.directory().join("trace");
        let (ours, theirs) = tcp_pair("127.0.0.1:0");
        let more = ["--tls", "-t", trace.to_str().unwrap()];
        let _server = Child::start(world.command(&[], &more, theirs.into()));
        let plan = tls::Plan { shown: Some("ann-"), ..authority.client() };
        let mut client = plan.connect(ours);
        assert!(client.command("AUTH EXTERNAL =").starts_with("+OK ann"));
        client.quit();
        let mut said = Said::default();
        for key in ["key.pem", "ann-key.pem"] {
            let pem = fs::read_to_string(tls::path(key)).unwrap();
            pem.lines().filter(|line| !line.starts_with('-')).for_each(|line| said.add(line));
        }
        world.log_line(&["login: ", "mechanism=EXTERNAL"]);
        world.log_line(&["logout: ", "end=quit"]);
        let log = [world.log_lines().join("\n"), fs::read_to_string(&trace).unwrap()].concat();
        assert!(said.found_in(log.as_bytes()).is_empty());
    });
}

/// Core files in a directory.
fn cores(directory: &Path) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("core")).collect()
}

#[test]
fn no_process_that_has_secrets_leaves_a_core() {
    // However many octets of core files are allowed: a verifier that has checked a proof and waits for the client's consent, its login
    // process, a session. The monitor may leave one: it never had a secret.
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with('|') || pattern.starts_with('/') {
        return common::skip("core files in the current directory (kernel.core_pattern)");
    }
    isolated(|| {
        let (world, _authority) = setup();
        let place = world.directory().join("cores");
        common::machine::make_directory(&place, 0o777);
        common::machine::chmod(&place, 0o777);
        let unlimited = ["sh", "-c", "ulimit -c unlimited; exec \"$0\" \"$@\""];
        let start = || {
            let (ours, theirs) = tcp_pair("127.0.0.1:0");
            let inode = common::world::inode(&theirs);
            let mut command = world.command(&unlimited, &[], theirs.into());
            command.current_dir(&place);
            Client::new(ours, Child::start(command), inode)
        };
        let kill = |pid: u32| {
            processes::signal(pid, Signal::SIGABRT);
            eventually("it ends", || {
                processes::read(pid).is_none_or(|process| process.state == "Z").then_some(())
            });
        };
        let mut said = Said::default();
        let mut client = start();
        let scram = Scram { flag: "n,,", binding: Vec::new(), user: "bob", secret: SECRET };
        let asked = client.command(&format!("AUTH SCRAM-SHA-256 {}", scram.first()));
        let last = scram.last(&asked);
        said.add(SECRET);
        said.add(&last);
        assert!(client.command(&last).starts_with("+ "));
        let monitor = client.server.pid();
        let all: Vec<u32> = processes::tree(monitor).iter().map(|process| process.pid).collect();
        assert!(all.len() >= 3, "monitor, login process and verifier: {all:?}");
        all[1..].iter().copied().for_each(kill);
        assert_eq!(cores(&place), [""; 0].map(std::path::PathBuf::from), "of login process or verifier");
        drop(client);
        let mut client = start();
        client.log_in("ann");
        said.add(PASSWORD);
        said.add(QUICK_HASH.rsplit('$').next().unwrap());
        let session = world.session(&client, "ann").pid;
        kill(session);
        assert_eq!(cores(&place), [""; 0].map(std::path::PathBuf::from), "of a session");
        let mut client = start();
        client.log_in("ann");
        kill(client.server.pid());
        assert!(client.server.wait(PATIENCE).is_some());
        for core in cores(&place) {
            let found = said.found_in(&fs::read(&core).unwrap());
            assert!(found.is_empty(), "{}: {found:?}", core.display());
        }
    });
}

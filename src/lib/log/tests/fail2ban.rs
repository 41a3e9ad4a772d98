//! `contrib/fail2ban`: the filter matches every line that it is for, and no other, whatever clients send. The lines are the server's
//! own, and a kind of line that is added does not compile here before it is thought of.

use super::*;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

/// What hostile clients would like the filter to find: another's address.
const VICTIM: &str = "203.0.113.66";

const FILTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/fail2ban/filter.d/pop3d.conf");

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fails {
    /// In every mode.
    Always,
    /// In the aggressive mode alone.
    Aggressive,
    Never,
}

/// The number of the kind of line, and whether it is one to be found.
fn kind(event: &Event) -> (usize, Fails) {
    match event {
        Event::Connect { .. } => (0, Fails::Never),
        Event::Login { .. } => (1, Fails::Never),
        Event::Handshake { .. } => (2, Fails::Aggressive),
        Event::Refused { .. } => (3, Fails::Always),
        Event::Error { .. } => (4, Fails::Never),
        Event::Logout(_) => (5, Fails::Never),
        Event::Disconnect { reason: "errors" | "limit", .. } => (6, Fails::Aggressive),
        Event::Disconnect { .. } => (6, Fails::Never),
        Event::Probe { .. } => (7, Fails::Aggressive),
        Event::Xmit { .. } => (8, Fails::Never),
        Event::Notice { .. } => (9, Fails::Never),
        Event::Debug { .. } => (10, Fails::Never),
        Event::Stats { .. } => (11, Fails::Never),
    }
}

/// How many kinds there are.
const KINDS: usize = 12;

/// Names, and texts, that clients might send.
fn hostile() -> Vec<Vec<u8>> {
    let forged = format!("refused: client={VICTIM} port=1 user=x mechanism=PASS reason=wrong-password");
    let mut all: Vec<Vec<u8>> =
        ["ann", "", " ", "\"\"", "=", "\\", "<ADDR>", "%(__prefix_line)s", "\u{1F600}", "a b"]
            .map(|text| text.as_bytes().to_vec())
            .into();
    all.push(forged.clone().into_bytes());
    all.push(format!("x client={VICTIM} port=1").into_bytes());
    all.push(format!("x\n{forged}").into_bytes());
    all.push(format!("x\r\nNov 27 12:00:01 mx pop3d/000000001z[77]: {forged}\r\n").into_bytes());
    all.push(format!("pop3d/000000001z[77]: {forged}").into_bytes());
    all.push(format!("x mechanism=PASS reason=y port=1 client={VICTIM}").into_bytes());
    all.push((0..=255).collect());
    all.push(vec![b'a'; 64]);
    all
}

/// Every kind of line, with all that clients may put into it.
fn events(client: Option<SocketAddr>) -> Vec<Event> {
    let mut events = vec![Event::Connect { client }];
    for mechanism in ["PASS", "APOP", "PLAIN", "CRAM-MD5", "SCRAM-SHA-256-PLUS", "EXTERNAL"] {
        let user = b"ann".to_vec();
        let tls = "TLSv1.3 TLS_AES_128_GCM_SHA256".to_owned();
        events.push(Event::Login { client, user: user.clone(), mechanism, tls });
        let reason = "unsupported-scheme:$9$".to_owned();
        events.push(Event::Refused { client, user, mechanism, reason });
    }
    for reason in ["quit", "dropped", "timeout", "errors", "handshake", "limit", "proxy"] {
        events.push(Event::Disconnect { client, seconds: 3, reason });
    }
    for user in hostile() {
        let text = String::from_utf8_lossy(&user).into_owned();
        let report = Report::ended(End::Quit);
        events.extend([
            Event::Login { client, user: user.clone(), mechanism: "PASS", tls: String::new() },
            Event::Handshake { client, text: text.clone() },
            Event::Refused {
                client,
                user: user.clone(),
                mechanism: "PASS",
                reason: "wrong-password".to_owned(),
            },
            Event::Refused { client, user: b"ann".to_vec(), mechanism: "PASS", reason: text.clone() },
            Event::Error { client, user: Some(user.clone()), text: text.clone() },
            Event::Error { client: None, user: None, text: text.clone() },
            Event::Logout(Logout { client, user: user.clone(), report, seconds: 1 }),
            Event::Probe { client, user: user.clone() },
            Event::Xmit { client, user: user.clone(), octets: 9, status: 75 },
            Event::Notice { text: text.clone() },
            Event::Debug { text },
            Event::Stats { user, deleted: 1, deleted_octets: 2, left: 3, left_octets: 4 },
        ]);
    }
    events
}

/// A log in which every line has an address of its own, IPv4 and IPv6 in turns, and the addresses that are to be found.
fn log(mode: Fails) -> (String, BTreeSet<String>) {
    let (mut log, mut expected, mut seen) = (String::new(), BTreeSet::new(), BTreeSet::new());
    let count = events(None).len();
    for (number, at) in (0..count).map(|at| (at + 256, at)) {
        let address = match at % 2 {
            0 => format!("198.18.{}.{}", number / 256, number % 256),
            _ => format!("2001:db8::{number:x}"),
        };
        let client = Some(SocketAddr::new(address.parse().unwrap(), 40_000));
        let event = events(client).swap_remove(at);
        let (kind, fails) = kind(&event);
        seen.insert(kind);
        if fails <= mode {
            expected.insert(address);
        }
        // As syslog daemons write it, with the host's name.
        log += &format!("Nov 27 12:00:01 mx pop3d/000000001z[77]: {event}\n");
    }
    assert_eq!(seen.len(), KINDS, "every kind of line is there");
    for event in events(None) {
        // A client that does not use the network has no address that could be banned.
        log += &format!("Nov 27 12:00:01 mx pop3d/000000001z[77]: {event}\n");
    }
    let forged = format!("refused: client={VICTIM} port=1 user=x mechanism=PASS reason=wrong-password");
    for tag in ["sshd[1]", "xpop3d[77]", "pop3d/UPPER[77]", "sshd[1]: pop3d[77]"] {
        log += &format!("Nov 27 12:00:01 mx {tag}: {forged}\n");
    }
    log += "Nov 27 12:00:01 mx pop3d/000000001z[77]: lost: lines=3\n";
    (log, expected)
}

/// The addresses that fail2ban finds.
fn found(log: &Path, filter: &str) -> Option<BTreeSet<String>> {
    let mut command = Command::new("fail2ban-regex");
    let output = command.args(["--no-check-all", "-o", "ip"]).arg(log).arg(filter).output();
    let output = match output {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            assert!(std::env::var_os("POPTOOLS_NO_SKIP").is_none(), "this test needs fail2ban-regex");
            eprintln!("skipped: needs fail2ban-regex");
            return None;
        }
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.is_empty(), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let addresses: BTreeSet<String> = lines.iter().cloned().collect();
    assert_eq!(addresses.len(), lines.len(), "each line once");
    Some(addresses)
}

#[test]
fn the_filter_finds_every_failing_line_and_no_other() {
    let fixture = Fixture::new();
    let common = Path::new("/etc/fail2ban/filter.d/common.conf");
    if common.exists() {
        // It is looked for beside the filter.
        fs::copy(common, fixture.path("common.conf")).unwrap();
    }
    let filter = fixture.path("pop3d.conf").display().to_string();
    fs::copy(FILTER, &filter).unwrap();
    for (mode, filter) in
        [(Fails::Always, filter.clone()), (Fails::Aggressive, format!("{filter}[mode=aggressive]"))]
    {
        let (log, expected) = log(mode);
        let path = fixture.path("mail.log");
        fs::write(&path, &log).unwrap();
        let Some(found) = found(&path, &filter) else { return };
        let missed: Vec<_> = expected.difference(&found).collect();
        let wrong: Vec<_> = found.difference(&expected).collect();
        let of = |address: &&&String| log.lines().find(|line| line.contains(address.as_str()));
        let lines =
            |list: &[&String]| list.iter().filter_map(|address| of(&address)).collect::<Vec<_>>().join("\n");
        assert!(missed.is_empty(), "not found ({mode:?}):\n{}", lines(&missed));
        assert!(wrong.is_empty(), "found ({mode:?}): {wrong:?}\n{}", lines(&wrong));
        eprintln!("{mode:?}: {} of {} lines, as it should be", found.len(), log.lines().count());
    }
}

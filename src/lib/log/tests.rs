//! The written log (design, section 6).

mod fail2ban;

use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

fn session() -> SessionId {
    SessionId::from_bits(36 + 35)
}

fn at(text: &str) -> Option<std::net::SocketAddr> {
    Some(text.parse().unwrap())
}

fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 2048];
    let octets = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..octets].to_vec()).unwrap()
}

fn notice(text: &str) -> Event {
    Event::Notice { text: text.to_owned() }
}

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn daemon(&self) -> UnixDatagram {
        UnixDatagram::bind(self.path("log")).unwrap()
    }

    fn log(&self, debug: bool, trace: Option<&Path>) -> Result<Log> {
        let syslog = Some(self.path("log"));
        Log::open(&Settings { program: "pop3d", debug, trace, syslog, stderr: false })
    }
}

/// Log grammar, version 1: these lines are an interface; filters and scripts read them.
#[test]
fn lines_are_worded_as_the_grammar_says() {
    let (client, user) = (at("192.0.2.1:4711"), b"ann".to_vec());
    let report = Report {
        retrieved: 2,
        top: 1,
        octets: 812,
        deleted: 2,
        deleted_octets: 700,
        left: 3,
        left_octets: 1234,
        end: End::Quit,
    };
    let logout = Logout { client, user: user.clone(), report, seconds: 4 };
    let reason = "wrong-password".to_owned();
    let text = "cannot open /var/mail/ann: Permission denied".to_owned();
    let lines = [
        (Event::Connect { client }, "connect: client=192.0.2.1 port=4711"),
        (Event::Connect { client: at("[::ffff:192.0.2.1]:9") }, "connect: client=192.0.2.1 port=9"),
        (Event::Connect { client: at("[2001:db8::1]:9") }, "connect: client=2001:db8::1 port=9"),
        (Event::Connect { client: None }, "connect: client=local"),
        (
            Event::Login { client, user: user.clone(), mechanism: "PASS", tls: String::new() },
            "login: client=192.0.2.1 port=4711 user=ann mechanism=PASS tls=none cipher=none",
        ),
        (
            Event::Login {
                client,
                user: user.clone(),
                mechanism: "PASS",
                tls: "TLSv1.3 TLS_AES_128_GCM_SHA256".to_owned(),
            },
            "login: client=192.0.2.1 port=4711 user=ann mechanism=PASS tls=TLSv1.3 \
             cipher=TLS_AES_128_GCM_SHA256",
        ),
        (
            Event::Handshake { client, text: "peer is incompatible".to_owned() },
            "handshake: client=192.0.2.1 port=4711 text=peer is incompatible",
        ),
        (
            Event::Refused { client, user: user.clone(), mechanism: "PASS", reason },
            "refused: client=192.0.2.1 port=4711 user=ann mechanism=PASS reason=wrong-password",
        ),
        (
            Event::Error { client, user: Some(user.clone()), text },
            "error: client=192.0.2.1 port=4711 user=ann text=cannot open /var/mail/ann: Permission denied",
        ),
        (Event::Error { client: None, user: None, text: "x".to_owned() }, "error: text=x"),
        (
            Event::Logout(logout),
            "logout: client=192.0.2.1 port=4711 user=ann retrieved=2 top=1 octets=812 deleted=2 \
             deleted_octets=700 left=3 left_octets=1234 seconds=4 end=quit",
        ),
        (
            Event::Disconnect { client, seconds: 3, reason: "quit" },
            "disconnect: client=192.0.2.1 port=4711 seconds=3 reason=quit",
        ),
        (Event::Probe { client, user: user.clone() }, "probe: client=192.0.2.1 port=4711 user=ann"),
        (
            Event::Xmit { client, user, octets: 9, status: 75 },
            "xmit: client=192.0.2.1 port=4711 user=ann octets=9 status=75",
        ),
        (notice("a b"), "notice: text=a b"),
        (
            Event::Stats {
                user: b"alice".to_vec(),
                deleted: 0,
                deleted_octets: 0,
                left: 3,
                left_octets: 1234,
            },
            "Stats: alice 0 0 3 1234",
        ),
    ];
    for (event, line) in lines {
        assert_eq!(event.to_string(), line);
    }
}

#[test]
fn a_client_cannot_forge_a_line_or_an_address() {
    let user = b"x client=198.51.100.7 port=1\nlogin: client=6.6.6.6".to_vec();
    let reason = "unknown-user".to_owned();
    let line = Event::Refused { client: at("192.0.2.1:1"), user, mechanism: "PASS", reason }.to_string();
    assert_eq!(line.matches(" client=").count(), 1, "{line}");
    assert!(line.starts_with("refused: client=192.0.2.1 port=1 user=x\\x20client\\x3d198"), "{line}");
    assert!(!line.contains('\n'));
}

#[test]
fn a_line_has_priority_local_time_and_a_tag_with_the_session() {
    let fixture = Fixture::new();
    let daemon = fixture.daemon();
    let log = fixture.log(true, None).unwrap();
    log.event(&session(), 77, &notice("hello"));
    let line = receive(&daemon);
    let (head, rest) = line.split_at("<21>Nov  3 08:55:01".len());
    assert!(head.starts_with("<21>"), "facility mail (2 * 8), severity notice (5): {line}");
    assert_eq!(rest, " pop3d/000000001z[77]: notice: text=hello");
    log.event(&session(), 77, &Event::Debug { text: "d".to_owned() });
    assert!(receive(&daemon).starts_with("<23>"), "severity debug (7)");
    log.event(&session(), 77, &Event::Error { client: None, user: None, text: "e".to_owned() });
    assert!(receive(&daemon).starts_with("<19>"), "severity err (3)");
}

#[test]
fn debug_lines_are_written_only_when_asked_for() {
    let fixture = Fixture::new();
    let daemon = fixture.daemon();
    let log = fixture.log(false, None).unwrap();
    log.event(&session(), 1, &Event::Debug { text: "hidden".to_owned() });
    log.event(&session(), 1, &notice("shown"));
    assert!(receive(&daemon).ends_with("text=shown"));
}

/// The queue of a datagram socket is short (`net.unix.max_dgram_qlen`); nobody reads it here.
#[test]
fn a_stuck_syslog_delays_nothing_and_the_loss_is_told() {
    let fixture = Fixture::new();
    let daemon = fixture.daemon();
    let log = fixture.log(false, None).unwrap();
    let begun = Instant::now();
    for number in 0..2000 {
        log.event(&session(), 1, &notice(&number.to_string()));
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    daemon.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2048];
    let read = std::iter::from_fn(|| daemon.recv(&mut buffer).ok()).count();
    assert!((1..2000).contains(&read), "the queue filled up");
    log.event(&session(), 1, &notice("again"));
    assert!(receive(&daemon).ends_with(&format!("lost: lines={}", 2000 - read)));
    assert!(receive(&daemon).ends_with("text=again"));
}

#[test]
fn a_restarted_syslog_is_found_again_at_most_once_a_second() {
    let fixture = Fixture::new();
    let zone = Zone::local();
    let form = Form { zone: &zone, tag: "pop3d/x", pid: 1 };
    let mut sink = Sink::open(Some(fixture.path("log")));
    assert!(!sink.is_connected(), "syslog is not there yet");
    let daemon = fixture.daemon();
    let now = Instant::now();
    sink.send_at(now, &form, Severity::Notice, "early");
    assert!(!sink.is_connected(), "within the second after the first try");
    sink.send_at(now + Duration::from_secs(2), &form, Severity::Notice, "one");
    assert!(receive(&daemon).ends_with("lost: lines=1"));
    assert!(receive(&daemon).ends_with(": one"));
    drop(daemon);
    fs::remove_file(fixture.path("log")).unwrap();
    sink.send_at(now + Duration::from_secs(3), &form, Severity::Notice, "gone");
    let daemon = fixture.daemon();
    sink.send_at(now + Duration::from_secs(5), &form, Severity::Notice, "two");
    assert!(receive(&daemon).ends_with("lost: lines=1"));
    assert!(receive(&daemon).ends_with(": two"));
}

#[test]
fn a_long_line_is_cut_and_keeps_the_client() {
    let fixture = Fixture::new();
    let daemon = fixture.daemon();
    let log = fixture.log(false, None).unwrap();
    let (user, reason) = (vec![0xff; 5000], "unknown-user".to_owned());
    log.event(&session(), 1, &Event::Refused { client: at("192.0.2.1:1"), user, mechanism: "PASS", reason });
    let line = receive(&daemon);
    assert_eq!(line.len(), sink::MAX_OCTETS);
    assert!(line.contains("refused: client=192.0.2.1 ") && line.ends_with("..."), "{line}");
}

#[test]
fn a_trace_file_takes_the_debug_lines_from_syslog() {
    let fixture = Fixture::new();
    let daemon = fixture.daemon();
    let path = fixture.path("trace");
    let log = fixture.log(false, Some(&path)).unwrap();
    assert!(log.debugs(), "pop3d(8): -t turns on debugging");
    log.event(&session(), 5, &Event::Debug { text: "d".to_owned() });
    log.event(&session(), 5, &notice("n"));
    assert!(receive(&daemon).ends_with("text=n"), "the debug line is not in syslog");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines, ["000000001z[5] debug: text=d", "000000001z[5] notice: text=n"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    fixture.log(false, Some(&path)).unwrap().event(&session(), 6, &notice("more"));
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3, "history: -t appends");
}

#[test]
fn a_trace_file_that_others_could_have_made_is_refused() {
    let fixture = Fixture::new();
    let path = fixture.path("trace");
    let refused = |path: &Path| fixture.log(false, Some(path)).unwrap_err().to_string();
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o602)).unwrap();
    assert!(refused(&path).contains("others may write it"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(fixture.log(false, Some(&path)).is_ok());
    symlink(&path, fixture.path("link")).unwrap();
    assert!(fixture.log(false, Some(&fixture.path("link"))).is_err(), "a symbolic link");
    fs::hard_link(&path, fixture.path("second")).unwrap();
    assert!(refused(&path).contains("more than one name"));
    fs::remove_file(fixture.path("second")).unwrap();
    assert!(fixture.log(false, Some(fixture.directory.path())).is_err(), "a directory");
    let _socket = UnixDatagram::bind(fixture.path("socket")).unwrap();
    assert!(fixture.log(false, Some(&fixture.path("socket"))).is_err(), "no regular file");
    if !crate::sys::privileges::is_root() {
        eprintln!("not root: a file of another user is not tried");
        return;
    }
    std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
    assert!(refused(&path).contains("belongs to another user"));
}

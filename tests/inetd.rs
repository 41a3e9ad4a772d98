//! `pop3d` as inetd and systemd start it: logins, refusals, ends of a connection, options, and what it says to
//! the log and to nobody else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::client::{assert_same, text};
use common::world::{NEIGHBOURS_HASH, QUICK_HASH, Syslog, tcp_pair};
use common::{Child, Client, PASSWORD, PATIENCE, World, eventually, isolated, isolated_with_network, mail};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The schemes that current systems use for `correct horse` (`mkpasswd`, `openssl passwd`).
const HASHES: &[(&str, &str)] = &[
    ("yescrypt", "$y$j9T$qEkaUsxDEtQzsQ/r12D9l.$XIqbGW4KHyNM95CAWa.I8CzrOX6PMAR/JXRo7toMG04"),
    (
        "SHA-512",
        "$6$poptoolsSalt$qDvFe.kP05Dfw/sOXZSrn57WniyGQgHta3TL7mJz8JdJtswQoa1jljQAiFo6l6ROQ0EOHC/vUmh26hLonUoBs1",
    ),
    ("SHA-256", "$5$poptoolsSalt$VDJe9ENfdGpDk9ye6wPZbr1Gwe2GJfY.3sJONlL1em0"),
    ("bcrypt", "$2b$05$XepZhBPulCYLLaqMLPEc8ei/Cm0egQ4ipxwlYJ9Qu8zxCKKj3B7LW"),
    ("MD5", "$1$popsalt1$erK52JaCFalQqNXtna5aT/"),
    ("DES", "pt5dhg1Yx/wP2"),
];

/// Refusals come at once in these tests; that they are delayed is a test of its own.
const AT_ONCE: &str = "[auth]\nfailure_delay = 0\n";

fn refusal(reply: &str) -> bool {
    reply.starts_with("-ERR [AUTH] ") || reply.starts_with("-ERR Password supplied ")
}

#[test]
fn every_common_hash_scheme_logs_in() {
    isolated(|| {
        for (scheme, hash) in HASHES {
            let world = World::setup().user("ann", hash).config(AT_ONCE).start();
            world.small_maildrop(2);
            let mut client = world.connect();
            assert!(refusal(&client.login("ann", "korrekt horse")), "{scheme}: a wrong password is refused");
            let welcome = client.login("ann", PASSWORD);
            assert!(welcome.starts_with("+OK ann has 2 message(s)"), "{scheme}: {welcome}");
            client.quit();
        }
    });
}

#[test]
fn greeting_names_product_version_and_host() {
    // Design, section 3.
    isolated(|| {
        let world = World::start();
        let greeting = world.connect().greeting.clone();
        let expected = format!(
            "+OK poptools POP3 server (version {}) at mail.example.org starting.",
            env!("CARGO_PKG_VERSION")
        );
        assert!(greeting.starts_with(&expected), "{greeting}");
        let shy = World::setup().config("shy = true").start().connect().greeting.clone();
        assert!(shy.starts_with("+OK") && !shy.contains("poptools"), "{shy}");
    });
}

#[test]
fn before_login_it_works_without_root() {
    // Design, section 2: started without root the same processes run under the one uid.
    let world = World::unprivileged();
    let mut client = world.connect();
    assert!(client.greeting.starts_with("+OK poptools POP3 server"), "{}", client.greeting);
    let capabilities = client.listing("CAPA");
    for needed in ["TOP", "UIDL", "USER", "RESP-CODES"] {
        assert!(capabilities.iter().any(|line| line == needed), "RFC 2449: {needed} in {capabilities:?}");
    }
    client.refused("STAT");
    client.refused("NONSENSE");
    client.refused(&"X".repeat(400));
    client.quit();
}

#[test]
fn tcp_over_ipv6_and_unix_sockets_are_served() {
    isolated(|| {
        let world = World::start();
        world.small_maildrop(1);
        let mut clients = vec![world.connect_unix()];
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            clients.push(world.connect_to("[::1]:0"));
        }
        for mut client in clients {
            client.log_in("ann");
            assert_eq!(client.retrieve(1), mail::wire(&mail::message(1)));
            client.quit();
            client.server_ends();
        }
    });
}

#[test]
fn systemd_gives_the_connection_as_descriptor_three() {
    // sd_listen_fds(3): LISTEN_FDS=1, LISTEN_PID is the service's pid, descriptors begin at 3.
    isolated(|| {
        let world = World::start();
        world.small_maildrop(1);
        let (ours, theirs) = tcp_pair("127.0.0.1:0");
        let inode = common::world::inode(&theirs);
        let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
        let mut command = world.command(&["/bin/sh", "-c", script, "sh"], &[], OwnedFd::from(theirs));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = Client::new(ours, Child::start(command), inode);
        client.log_in("ann");
        assert_eq!(client.retrieve(1), mail::wire(&mail::message(1)));
        client.quit();
    });
}

#[test]
fn strangers_learn_nothing_from_refusals() {
    // Design, section 5: the same answer for a wrong password, an unknown user, one below min_uid, and root.
    isolated(|| {
        let world = World::setup()
            .user_with_uid("root", 0, QUICK_HASH)
            .user_with_uid("low", 900, QUICK_HASH)
            .user("locked", "!")
            .config(AT_ONCE)
            .start();
        let mut replies = Vec::new();
        for (user, password) in [
            ("ann", "wrong"),
            ("nosuch", PASSWORD),
            ("low", PASSWORD),
            ("root", PASSWORD),
            ("locked", PASSWORD),
        ] {
            let mut client = world.connect();
            let reply = client.login(user, password);
            assert!(refusal(&reply), "{user}: {reply}");
            replies.push(reply.replace(user, "USER"));
            client.refused("STAT");
        }
        replies.dedup();
        assert_eq!(replies.len(), 1, "all are alike: {replies:?}");
        // History: failed logins were logged without the client's address.
        for user in ["ann", "nosuch", "low", "root", "locked"] {
            let line = world.log_line(&["refused:", &format!("user={user}")]);
            assert!(line.contains("127.0.0.1"), "{line}");
        }
        assert!(!world.log_lines().concat().contains(PASSWORD), "a password is never logged");
    });
}

#[test]
fn refusals_leave_after_the_failure_delay() {
    isolated(|| {
        let world = World::setup().config("[auth]\nfailure_delay = 1\n").start();
        for user in ["ann", "nosuch"] {
            let mut client = world.connect();
            client.ok(&format!("USER {user}"));
            let began = Instant::now();
            client.refused("PASS wrong");
            assert!(began.elapsed() >= Duration::from_secs(1), "{user} answered after {:?}", began.elapsed());
        }
    });
}

#[test]
fn min_uid_can_be_lowered_but_root_stays_out() {
    isolated(|| {
        let world = World::setup()
            .user_with_uid("root", 0, QUICK_HASH)
            .user_with_uid("low", 900, NEIGHBOURS_HASH)
            .config("[auth]\nmin_uid = 500\nfailure_delay = 0\n")
            .start();
        world.log_in("low").quit();
        assert!(refusal(&world.connect().login("root", PASSWORD)), "design, section 5: root is refused");
    });
}

#[test]
fn plaintext_is_refused_before_the_password_where_it_is_not_allowed() {
    // Design, section 5: only from loopback unless `plaintext = "always"`.
    isolated_with_network(|| {
        let elsewhere = ["address", "add", "192.0.2.1/32", "dev", "lo"];
        assert!(
            common::run(Command::new("ip").args(elsewhere)).status.success(),
            "an address that is not loopback"
        );
        let world = World::start();
        world.small_maildrop(1);
        let mut client = world.connect_to("192.0.2.1:0");
        assert!(!client.listing("CAPA").contains(&"USER".to_owned()), "what is announced is what works");
        assert!(client.command("USER ann").starts_with("-ERR"), "no password is asked for");
        assert!(client.command(&format!("PASS {PASSWORD}")).starts_with("-ERR"), "and none is taken");
        world.log_in("ann").quit();
        let world = World::setup().config("[auth]\nplaintext = \"always\"\n").start();
        world.connect_to("192.0.2.1:0").log_in("ann");
    });
}

#[test]
fn a_second_login_is_told_that_the_maildrop_is_in_use() {
    // RFC 2449, section 8.1.2.
    isolated(|| {
        let world = World::start();
        world.small_maildrop(1);
        let mut first = world.log_in("ann");
        let reply = world.connect().login("ann", PASSWORD);
        assert!(reply.starts_with("-ERR [IN-USE]"), "{reply}");
        world.log_in("bob").quit();
        first.quit();
        first.server_ends();
        world.log_in("ann").quit();
    });
}

#[test]
fn a_dropped_connection_deletes_nothing() {
    // RFC 1939, section 6: no UPDATE state without QUIT.
    isolated(|| {
        let world = World::start();
        world.small_maildrop(3);
        let before = world.stored("ann");
        for reset in [false, true] {
            let mut client = world.log_in("ann");
            client.ok("DELE 1");
            client.ok("DELE 3");
            let mut server = if reset { client.reset() } else { client.hang_up() };
            assert!(server.wait(PATIENCE).is_some(), "pop3d ends with its connection (reset: {reset})");
            assert_same(&format!("nothing is deleted (reset: {reset})"), &world.stored("ann"), &before);
        }
        assert_eq!(world.spool_names(), ["ann"], "no lock stays behind");
        world.log_in("ann").quit();
    });
}

#[test]
fn an_idle_client_is_closed_and_deletes_nothing() {
    // RFC 1939, section 3: an autologout must not remove messages.
    isolated(|| {
        let world = World::setup().config("[limits]\nidle_timeout = 2").start();
        world.small_maildrop(2);
        let before = world.stored("ann");
        let mut client = world.log_in("ann");
        let began = Instant::now();
        client.ok("DELE 1");
        let last = client.rest();
        assert!(last.is_empty() || last.starts_with(b"-ERR"), "{}", text(&last));
        assert!(began.elapsed() >= Duration::from_secs(2), "not before its time: {:?}", began.elapsed());
        client.server_ends();
        assert_same("the mailbox", &world.stored("ann"), &before);
        // A drip of bytes is no command: the deadline is one for the whole line.
        let mut dripping = world.log_in("ann");
        let drip = || {
            std::thread::sleep(Duration::from_millis(200));
            (!dripping.try_send(b"N")).then_some(())
        };
        eventually("a client that drips bytes is closed too", drip);
    });
}

#[test]
fn a_client_that_never_logs_in_is_closed() {
    isolated(|| {
        let world = World::setup().config("[auth]\nfailure_delay = 0\n[limits]\nlogin_timeout = 1\n").start();
        let mut client = world.connect();
        let last = client.rest();
        assert!(last.is_empty() || last.starts_with(b"-ERR"), "{}", text(&last));
        client.server_ends();
    });
}

#[test]
fn statistics_keep_their_historic_form() {
    // History: "Stats: USER ndeleted bytesdeleted nleft bytesleft".
    isolated(|| {
        let world = World::setup().options(&["-s"]).start();
        let stored = [mail::message(1), [&b"A: b\n\n"[..], &[b'x'; 100], b"\n"].concat(), mail::message(3)];
        world.maildrop("ann", &mail::mbox(&stored));
        let mut client = world.log_in("ann");
        client.ok("DELE 2");
        client.quit();
        let left = mail::octets(&[&stored[0], &stored[2]]);
        let line = world.log_line(&["Stats: "]);
        let expected = format!("Stats: ann 1 {} 2 {left}", mail::wire(&stored[1]).len());
        assert!(line.trim_end().ends_with(&expected), "{line} is not {expected}");
    });
}

#[test]
fn logs_and_traces_never_hold_the_password() {
    isolated(|| {
        let world = World::setup().options(&["-d"]).config(AT_ONCE).start();
        world.small_maildrop(1);
        let trace = world.directory().join("trace");
        for more in [vec![], vec!["-t", trace.to_str().unwrap()]] {
            let mut client = world.connect_with(&more);
            client.login("ann", "secretlywrong");
            client.log_in("ann");
            client.retrieve(1);
            client.quit();
            client.server_ends();
        }
        let traced = fs::read_to_string(&trace).unwrap();
        assert!(traced.contains("RETR"), "a trace shows commands: {traced}");
        assert_eq!(fs::metadata(&trace).unwrap().permissions().mode() & 0o7777, 0o600);
        let logged = world.log_lines().join("\n");
        for written in [&traced, &logged] {
            for secret in [PASSWORD, "secretlywrong", "This is the body"] {
                assert!(!written.contains(secret), "{secret} is in {written}");
            }
        }
    });
}

#[test]
fn a_trace_never_goes_through_a_symbolic_link() {
    isolated(|| {
        let world = World::start();
        let (target, link) = (world.directory().join("target"), world.directory().join("link"));
        fs::write(&target, "as it was").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let (ours, theirs) = tcp_pair("127.0.0.1:0");
        let inode = common::world::inode(&theirs);
        let command = world.command(&[], &["-t", link.to_str().unwrap()], OwnedFd::from(theirs));
        let mut client = Client::silent(ours, Child::start(command), inode);
        client.try_send(b"QUIT\r\n");
        protocol_only(&client.rest());
        assert_eq!(fs::read(&target).unwrap(), b"as it was");
    });
}

#[test]
fn a_syslog_that_is_missing_or_stuck_stops_nothing() {
    isolated(|| {
        for syslog in [Syslog::Missing, Syslog::Stuck] {
            let world = World::setup().syslog(syslog).options(&["-d"]).start();
            world.small_maildrop(1);
            let began = Instant::now();
            let mut client = world.log_in("ann");
            for _ in 0..50 {
                client.ok("NOOP");
            }
            client.ok("DELE 1");
            client.quit();
            client.server_ends();
            assert!(began.elapsed() < PATIENCE, "took {:?}", began.elapsed());
            assert_same("the mailbox", &world.stored("ann"), b"");
        }
    });
}

#[test]
fn by_hand_on_a_terminal_it_says_what_to_type() {
    // Design, section 7; history: "Unable to obtain socket and address of client".
    let world = World::unprivileged();
    let script = "import os, pty, sys\n\
                  pid, fd = pty.fork()\n\
                  if pid == 0: os.execv(sys.argv[1], sys.argv[1:])\n\
                  said = b''\n\
                  while True:\n\
                  \x20   try: part = os.read(fd, 4096)\n\
                  \x20   except OSError: break\n\
                  \x20   if not part: break\n\
                  \x20   said += part\n\
                  sys.stdout.buffer.write(said)\n\
                  sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n";
    if !common::programs_or_skip(&["python3"]) {
        return;
    }
    let output = common::run(Command::new("python3").args(["-c", script]).arg(&world.program));
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("inetd"), "it says who starts it: {said}");
}

#[test]
fn wrong_options_by_hand_are_explained_on_stderr() {
    let world = World::unprivileged();
    for wrong in [&["--nonsense"][..], &["-T", "soon"], &["-T"], &["-T", "0"], &["operand"]] {
        let output = common::run(Command::new(&world.program).args(wrong));
        assert_eq!(output.status.code(), Some(64), "{wrong:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{wrong:?}");
    }
}

#[test]
fn nothing_but_protocol_reaches_the_socket() {
    // Design, section 7: under inetd nothing is ever written to fd 1 or 2 but the protocol.
    isolated(|| {
        let world = World::start();
        let broken = world.directory().join("broken.toml");
        fs::write(&broken, "no_such_key = 1\n").unwrap();
        let broken = broken.to_str().unwrap();
        for wrong in [
            &["--nonsense"][..],
            &["-T", "soon"],
            &["operand"],
            &["--config", broken],
            &["--config", "/nonexistent"],
        ] {
            let (ours, theirs) = tcp_pair("127.0.0.1:0");
            let inode = common::world::inode(&theirs);
            let command = world.command(&[], wrong, OwnedFd::from(theirs));
            let mut client = Client::silent(ours, Child::start(command), inode);
            client.try_send(b"QUIT\r\n");
            protocol_only(&client.rest());
        }
        assert!(!world.log_lines().is_empty(), "the administrator is told");
    });
}

/// Whole reply lines, each `+OK` or `-ERR`, or nothing at all.
fn protocol_only(bytes: &[u8]) {
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let proper = line.ends_with(b"\r\n") && (line.starts_with(b"+OK") || line.starts_with(b"-ERR"));
        assert!(proper, "not a reply: {:?} in {:?}", text(line), text(bytes));
    }
}

#[test]
fn pipelined_commands_survive_the_hand_over() {
    // RFC 2449, section 6.6: what is sent behind PASS reaches the session.
    isolated(|| {
        let world = World::start();
        let stored = world.small_maildrop(2);
        let mut client = world.connect();
        client.send(format!("USER ann\r\nPASS {PASSWORD}\r\nSTAT\r\nDELE 1\r\nQUIT\r\n").as_bytes());
        let replies: Vec<String> = (0..5).map(|_| client.line()).collect();
        assert!(replies.iter().all(|reply| reply.starts_with("+OK")), "{replies:?}");
        assert_eq!(replies[2], format!("+OK 2 {}", mail::octets(&stored)));
        client.expect_end();
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[1..]));
    });
}

#[test]
fn it_serves_without_an_account_of_its_own() {
    // Design, section 2: `nobody` where the package has not made `pop3d`.
    isolated(|| {
        let world = World::setup().without_pop3d_account().start();
        world.small_maildrop(1);
        world.log_in("ann").quit();
    });
}

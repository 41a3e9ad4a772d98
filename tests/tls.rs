//! TLS (RFC 2595, RFC 8314): STLS and port 995, who gets which certificate, what the relay does, and where keys are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/tls.rs"]
mod tls;

use common::client::assert_same;
use common::site::Site;
use common::world::QUICK_HASH;
use common::{PASSWORD, World, eventually, isolated_with_network, mail, processes};
use rustls::HandshakeKind;
use std::io::Write;
use std::net::TcpStream;
use tls::{ONE_THREE, ONE_TWO, Plan, Secure, plain_line, said_stls, secure, start, world};

fn plain() -> TcpStream {
    TcpStream::connect(common::site::ADDRESS).unwrap()
}

/// Both ways to TLS.
fn both(plan: &Plan) -> [Secure; 2] {
    [plan.stls(plain()), plan.connect(secure())]
}

#[test]
fn a_session_over_tls_is_a_session() {
    // RFC 2595, section 4; RFC 8314, section 3.2; design, section 6: version and cipher in the log.
    isolated_with_network(|| {
        let (world, authority) = world("");
        let site = Site::start(&world);
        for versions in [ONE_TWO, ONE_THREE] {
            let plan = Plan { versions, alpn: Some(b"pop3"), ..authority.client() };
            for mut client in both(&plan) {
                let stored = mail::messages(3);
                world.maildrop("ann", &mail::mbox(&stored));
                assert!(!client.capabilities().contains(&"STLS".to_owned()), "it is encrypted already");
                assert!(client.command("STLS").starts_with("-ERR"));
                client.log_in("ann");
                assert_same("message 3", &client.retrieve(3), &mail::wire(&stored[2]));
                assert!(!client.capabilities().contains(&"STLS".to_owned()));
                client.ok("DELE 2");
                client.quit();
                assert_eq!(client.tls().alpn_protocol(), Some(&b"pop3"[..]));
                assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&[&stored[0], &stored[2]]));
            }
        }
        world.log_line(&["login: ", "user=ann mechanism=PASS tls=TLSv1.3 cipher=TLS_"]);
        world.log_line(&["login: ", "user=ann mechanism=PASS tls=TLSv1.2 cipher=TLS_ECDHE_"]);
        eventually("all sessions and relays end", || {
            (site.processes().len() == 1 + site.logins().len()).then_some(())
        });
    });
}

#[test]
fn what_came_in_the_clear_behind_stls_is_not_obeyed() {
    // Command injection: RFC 2595, section 4 (and CVE-2011-0411, of other servers).
    isolated_with_network(|| {
        let (world, authority) = world("");
        let _site = Site::start(&world);
        let mut stream = plain();
        plain_line(&mut stream);
        stream.write_all(b"USER ann\r\nSTLS\r\nNOOP\r\nQUIT\r\n").unwrap();
        assert!(plain_line(&mut stream).starts_with("+OK Password"));
        assert_eq!(plain_line(&mut stream), "+OK Begin TLS negotiation.");
        let plan = authority.client();
        let mut client = plan.shake(stream, &plan.config()).unwrap();
        assert_eq!(client.command(&format!("PASS {PASSWORD}")), "-ERR USER comes first.", "nor remembered");
        client.log_in("ann");
        client.quit();
    });
}

#[test]
fn passwords_wait_for_encryption_where_they_have_to() {
    // Design, section 7: plaintext = "tls"; RFC 2449, section 6.2.
    isolated_with_network(|| {
        let (world, authority) = world("[auth]\nplaintext = \"tls\"");
        let site = Site::start(&world);
        let mut client = site.connect();
        let offered = client.listing("CAPA");
        assert!(offered.contains(&"STLS".to_owned()) && !offered.contains(&"USER".to_owned()), "{offered:?}");
        assert!(client.refused("USER ann").starts_with("-ERR [SYS/PERM]"));
        for mut client in both(&authority.client()) {
            assert!(client.capabilities().contains(&"USER".to_owned()));
            client.log_in("ann");
            assert!(
                client.capabilities().contains(&"USER".to_owned()),
                "RFC 2449, section 6: after login too"
            );
            client.quit();
        }
    });
}

#[test]
fn old_versions_and_other_protocols_are_refused_and_logged_once() {
    isolated_with_network(|| {
        let (world, authority) = world("min_version = \"1.3\"");
        let _site = Site::start(&world);
        let old = Plan { versions: ONE_TWO, ..authority.client() };
        assert!(old.shake(secure(), &old.config()).is_err());
        let line = world.log_line(&["handshake: client=127.0.0.1 port="]);
        assert!(line.contains("text="), "{line}");
        world.log_line(&["disconnect: client=127.0.0.1", "reason=handshake"]);
        // RFC 7301, section 3.2.
        let other = Plan { alpn: Some(b"http/1.1"), ..authority.client() };
        assert!(other.shake(said_stls(plain()), &other.config()).is_err());
        world.log_line(&["handshake: ", "known protocol"]);
        let mut stray = secure();
        stray.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        world.log_line(&["handshake: ", "InvalidContentType"]);
        let lines = world.log_lines();
        assert_eq!(lines.iter().filter(|line| line.contains(" handshake: ")).count(), 3, "{lines:#?}");
    });
}

#[test]
fn the_name_chooses_the_certificate() {
    // RFC 6066, section 3.
    isolated_with_network(|| {
        let more = "[[tls.certificates]]\ncertificate = \"/run/tls/other-cert.pem\"\nkey = \"/run/tls/other-key.pem\"";
        let (world, authority) = world(more);
        authority.issue("other-", &["*.example.net"]);
        let _site = Site::start(&world);
        for name in ["mail.example.org", "pop.example.net", "localhost"] {
            Plan { name, ..authority.client() }.connect(secure()).quit();
        }
        let stranger = Plan { name: "elsewhere.example", ..authority.client() };
        let why = stranger.shake(secure(), &stranger.config()).err().unwrap();
        assert!(why.contains("mail.example.org"), "it gets the first, and judges: {why}");
    });
}

#[test]
fn a_client_comes_back_with_a_ticket_until_a_reload() {
    // RFC 5077; RFC 8446, section 2.2. The login processes of a generation share their keys.
    isolated_with_network(|| {
        let (world, authority) = world("");
        let mut site = Site::start(&world);
        for versions in [ONE_TWO, ONE_THREE] {
            let plan = Plan { versions, ..authority.client() };
            let config = plan.config();
            let again = || {
                let mut client = plan.shake(secure(), &config).unwrap();
                client.line();
                client.quit();
                client.tls().handshake_kind()
            };
            assert_eq!(again(), Some(HandshakeKind::Full));
            // Whichever login process takes them.
            for _ in 0..6 {
                assert_eq!(again(), Some(HandshakeKind::Resumed), "{versions:?}");
            }
            let old = site.logins();
            let times = world.log_lines().iter().filter(|line| line.contains("serving POP3 on")).count();
            site.reload(&["serving POP3 on"], times + 1);
            site.new_logins(&old);
            assert_ne!(again(), Some(HandshakeKind::Resumed), "keys are the generation's");
        }
    });
}

#[test]
fn a_reload_changes_the_certificate_and_drops_no_session() {
    // Design, section 2, generations: a retired login process ends with its last relay.
    isolated_with_network(|| {
        let (world, authority) = world("");
        let stored = mail::messages(3);
        let mut site = Site::start(&world);
        let plan = authority.client();
        let mut session = plan.connect(secure());
        session.log_in("ann");
        let old = site.logins();
        let first = std::fs::read(tls::path("cert.pem")).unwrap();
        // A key that belongs to nothing: all stays as it was.
        std::fs::write(tls::path("key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        site.reload(&["the configuration stays as it was"], 1);
        world.log_line(&["error: text=the key /run/tls/key.pem does not belong to the certificate"]);
        assert_eq!(site.logins(), old);
        plan.connect(secure()).quit();
        authority.issue("", &tls::NAMES);
        assert_ne!(std::fs::read(tls::path("cert.pem")).unwrap(), first);
        site.reload(&["serving POP3 on"], 2);
        let mut new = plan.connect(secure());
        let shown = new.tls().peer_certificates().unwrap()[0].clone();
        assert_ne!(session.tls().peer_certificates().unwrap()[0], shown);
        new.quit();
        assert_eq!(session.retrieve(2), mail::wire(&stored[1]));
        session.ok("DELE 1");
        session.quit();
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[1..]));
        site.new_logins(&old);
    });
}

#[test]
fn an_end_without_farewell_deletes_nothing() {
    // RFC 1939, section 3, and RFC 8446, section 6.1: anybody on the way can cut a connection.
    isolated_with_network(|| {
        let (world, authority) = world("");
        let stored = mail::messages(3);
        let _site = Site::start(&world);
        let mut client = authority.client().connect(secure());
        client.log_in("ann");
        client.ok("DELE 1");
        client.cut();
        world.log_line(&["logout: ", "user=ann", "deleted=0", "end=dropped"]);
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored));
    });
}

#[test]
fn a_half_close_comes_behind_all_that_was_sent() {
    // Design, section 2: half-closes are passed on after all earlier octets.
    isolated_with_network(|| {
        let (world, authority) = world("");
        let stored = mail::messages(200);
        world.maildrop("ann", &mail::mbox(&stored));
        let _site = Site::start(&world);
        let mut client = authority.client().connect(secure());
        let retrieved: String = (1..=200).map(|number| format!("RETR {number}\r\n")).collect();
        client.send(format!("USER ann\r\nPASS {PASSWORD}\r\n{retrieved}DELE 7\r\nQUIT\r\n").as_bytes());
        client.half_close();
        for _ in 0..2 {
            assert!(client.line().starts_with("+OK"));
        }
        for message in &stored {
            assert!(client.line().starts_with("+OK"));
            assert_same("a message", &client.multiline(), &mail::wire(message));
        }
        assert!(client.line().starts_with("+OK") && client.line().starts_with("+OK"));
        assert_eq!(client.try_raw_line(), None);
        let left: Vec<_> =
            stored.iter().enumerate().filter(|(at, _)| *at != 6).map(|(_, message)| message).collect();
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&left));
    });
}

#[test]
fn many_log_in_at_once() {
    isolated_with_network(|| {
        let users: Vec<String> = (0..64).map(|number| format!("user{number}")).collect();
        let more = "[limits]\nmax_per_address = 1000\nmax_verifications = 8";
        let setup = users.iter().fold(World::setup(), |setup, user| setup.user(user, QUICK_HASH));
        let (world, authority) = start(setup, more);
        let stored = mail::messages(2);
        users.iter().for_each(|user| world.maildrop(user, &mail::mbox(&stored)));
        let site = Site::start(&world);
        let plan = authority.client();
        std::thread::scope(|scope| {
            for user in &users {
                let (plan, stored) = (&plan, &stored);
                let stream = secure();
                scope.spawn(move || {
                    let mut client = plan.connect(stream);
                    client.log_in(user);
                    assert_eq!(client.retrieve(2), mail::wire(&stored[1]));
                    client.quit();
                });
            }
        });
        eventually("all relays end", || (site.processes().len() == 1 + site.logins().len()).then_some(()));
    });
}

/// A mailbox with one message of this many octets.
fn large(octets: usize) -> Vec<u8> {
    let mut message = b"Subject: large\n\n".to_vec();
    while message.len() < octets {
        message
            .extend_from_slice(b"0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz\n");
    }
    mail::mbox(&[&message])
}

#[test]
fn who_does_not_read_costs_little_and_holds_up_nobody() {
    // Design, section 2: two buffers of 64 KiB, logins first. The downloads stand still or run while others log in.
    isolated_with_network(|| {
        let (world, authority) = world("[limits]\nmax_per_address = 1000");
        world.maildrop("bob", &large(64 << 20));
        let site = Site::start(&world);
        let memory = || -> u64 {
            let logins = site.logins();
            let all = site.processes();
            all.iter()
                .filter(|process| logins.contains(&process.pid))
                .filter_map(processes::Process::heap_kib)
                .sum()
        };
        let plan = authority.client();
        plan.connect(secure()).quit();
        let before = memory();
        let mut slow = plan.connect(secure());
        slow.log_in("bob");
        slow.send(b"RETR 1\r\n");
        for _ in 0..5 {
            let mut client = plan.connect(secure());
            client.log_in("ann");
            client.retrieve(1);
            client.quit();
        }
        let grown = memory().saturating_sub(before);
        eprintln!("login processes with a client that does not read 64 MiB: {grown} KiB more");
        assert!(grown < 1024, "{grown} KiB");
        // It gets all of it, whole.
        assert!(slow.line().starts_with("+OK"));
        assert!(slow.multiline().len() > 64 << 20);
        slow.quit();
        let session_is_gone = || site.sessions("bob").is_empty().then_some(());
        eventually("the session ends", session_is_gone);
        let after = memory().saturating_sub(before);
        assert!(after < 1024, "{after} KiB");
    });
}

/// Whether some process still holds the server's end of the connection from this port (proc(5), /proc/net/tcp).
fn is_held(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[2].ends_with(&format!(":{port:04X}")) && fields[9] != "0"
    })
}

#[test]
fn one_who_never_reads_is_gone_at_the_time_limit() {
    // Design, section 3: a deadline for the progress of a reply.
    isolated_with_network(|| {
        // Long enough for a client on a busy machine to say something.
        let (world, authority) = world("[limits]\nidle_timeout = 5");
        world.maildrop("bob", &large(32 << 20));
        let _site = Site::start(&world);
        let mut slow = authority.client().connect(secure());
        slow.log_in("bob");
        slow.send(b"RETR 1\r\n");
        world.log_line(&["logout: ", "user=bob", "end=idle"]);
        let port = slow.socket().local_addr().unwrap().port();
        eventually("its relay ends too", || (!is_held(port)).then_some(()));
    });
}

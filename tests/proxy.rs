//! The PROXY protocol (HAProxy's `proxy-protocol.txt`): who is listed says for whom it comes, and nobody else is asked. The grammar is
//! tested in `protocol/proxy/tests.rs`.

// A helper's failure is the failure of the test that called it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "support/tls.rs"]
mod tls;

use common::client::text;
use common::site::Site;
use common::world::Setup;
use common::{Child, Client, World, eventually, isolated, isolated_with_network};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// The proxy is 127.0.0.2. Passwords may come in the clear, but where a test says otherwise.
const LISTED: &str = "[listen]\nproxy = [\"127.0.0.2\", \"2001:db8::/32\"]\n";
const ALWAYS: &str = "[auth]\nplaintext = \"always\"\nfailure_delay = 0\n";

const V1: &[u8] = b"PROXY TCP4 198.51.100.7 192.0.2.2 40000 110\r\n";

/// Version 2 for a client with this address.
fn v2(address: [u8; 4]) -> Vec<u8> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let tlv = [0x04, 0, 1, 0];
    let block = [&address[..], &[192, 0, 2, 2], &40000_u16.to_be_bytes(), &[0, 110], &tlv].concat();
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&signature[..], &[0x21, 0x11], &length, &block].concat()
}

/// A connection to port 110 or 995 from 127.0.0.`last`, which has said nothing.
fn stream_from(last: u8, port: u16) -> TcpStream {
    let raw = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(raw.as_raw_fd(), &SockaddrIn::new(127, 0, 0, last, 0)).unwrap();
    connect(raw.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
    TcpStream::from(raw)
}

fn proxy(header: &[u8]) -> Client {
    let mut stream = stream_from(2, 110);
    stream.write_all(header).unwrap();
    Client::new(stream, Child::nobody(), 0)
}

fn silent(last: u8) -> Client {
    Client::silent(stream_from(last, 110), Child::nobody(), 0)
}

fn setup(more: &str) -> Setup {
    World::setup().config(LISTED).config(more)
}

#[test]
fn the_address_that_a_proxy_tells_is_the_clients() {
    isolated_with_network(|| {
        let world = setup(ALWAYS).start();
        world.small_maildrop(1);
        let _site = Site::start(&world);
        for (header, address) in [(V1.to_vec(), "198.51.100.7"), (v2([198, 51, 100, 8]), "198.51.100.8")] {
            let mut client = proxy(&header);
            assert!(client.login("ann", "wrong").starts_with("-ERR [AUTH]"));
            client.log_in("ann");
            client.quit();
            drop(client);
            for line in ["connect:", "refused:", "login:", "logout:"] {
                world.log_line(&[line, &format!(" client={address} port=40000")]);
            }
        }
        let lines = world.log_lines();
        assert!(!lines.iter().any(|line| line.contains("127.0.0.2")), "{lines:#?}");
    });
}

#[test]
fn a_header_may_come_in_pieces_and_commands_at_once() {
    isolated_with_network(|| {
        let world = setup(ALWAYS).start();
        world.small_maildrop(1);
        let _site = Site::start(&world);
        for header in [V1.to_vec(), v2([198, 51, 100, 8])] {
            let mut client = silent(2);
            client.stream().set_nodelay(true).unwrap();
            for octet in &header {
                client.send(&[*octet]);
            }
            assert!(client.line().starts_with("+OK"), "octet by octet");
            client.log_in("ann");
            client.quit();
            let whole = [&header[..], b"USER ann\r\nPASS correct horse\r\nSTAT\r\nQUIT\r\n"].concat();
            let mut client = silent(2);
            client.send(&whole);
            let replies = text(&client.rest());
            assert_eq!(
                replies.matches("+OK").count(),
                5,
                "what follows in the same segment is the client's: {replies}"
            );
        }
    });
}

#[test]
fn a_listed_peer_without_a_header_is_refused() {
    isolated_with_network(|| {
        let world = setup("[limits]\nlogin_timeout = 3\n[auth]\nfailure_delay = 1\n").start();
        let _site = Site::start(&world);
        for wrong in
            [&b"USER ann\r\n"[..], b"PROXY TCP4 1 2 3 4\r\n", b"\r\n\r\n\0\r\nQUIT\n\x41", &[0x16, 3, 1]]
        {
            let mut client = silent(2);
            client.send(wrong);
            assert_eq!(text(&client.rest()), "", "without a word: {}", wrong.escape_ascii());
        }
        world.log_line(&["disconnect: client=127.0.0.2 ", " reason=proxy"]);
        // One that says nothing at all.
        assert_eq!(text(&silent(2).rest()), "");
        let line = world.log_line(&["disconnect: client=127.0.0.2 "]);
        assert!(line.contains("reason=proxy"), "{line}");
    });
}

#[test]
fn an_unlisted_peer_with_a_header_says_an_unknown_command() {
    isolated_with_network(|| {
        let world = setup("").start();
        let _site = Site::start(&world);
        let mut client = silent(3);
        client.send(V1);
        assert!(client.line().starts_with("+OK"), "the greeting, as for everybody");
        let header = client.line();
        assert_eq!(client.command("FOO TCP4 198.51.100.7"), header, "as any syntax error");
        assert!(header.starts_with("-ERR"), "{header}");
        client.quit();
        world.log_line(&["connect: client=127.0.0.3 "]);
    });
}

#[test]
fn a_client_behind_a_proxy_is_never_local() {
    // plaintext = "tls-or-loopback", the default.
    isolated_with_network(|| {
        let world = setup("").start();
        let _site = Site::start(&world);
        for header in [
            &b"PROXY TCP4 127.0.0.1 127.0.0.1 40000 110\r\n"[..],
            b"PROXY TCP6 ::1 ::1 40000 110\r\n",
            &v2([127, 0, 0, 1]),
        ] {
            let mut client = proxy(header);
            assert!(client.command("USER ann").starts_with("-ERR"), "{}", header.escape_ascii());
        }
        let unix = [b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8".to_vec(), vec![0; 216]].concat();
        assert!(proxy(&unix).command("USER ann").starts_with("-ERR"), "a UNIX socket of the proxy's machine");
        // LOCAL is the proxy's own connection, and the proxy is on this machine.
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        proxy(local).ok("USER ann");
        // A client that the proxy does not name is a client.
        for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"] {
            assert!(proxy(header).command("USER ann").starts_with("-ERR"), "{}", header.escape_ascii());
        }
    });
}

#[test]
fn limits_count_the_clients_of_a_proxy() {
    isolated_with_network(|| {
        let world = setup("[limits]\nmax_per_address = 2\nmax_rate = 3\n").start();
        let _site = Site::start(&world);
        let from = |last: u8| proxy(&v2([198, 51, 100, last]));
        let (_one, _two) = (from(1), from(1));
        // The monitor hears of some later than they are greeted.
        eventually("both are counted", || {
            let comes = |line: &&String| line.contains(" connect: client=198.51.100.1 ");
            (world.log_lines().iter().filter(comes).count() == 2).then_some(())
        });
        let mut three = from(1);
        assert!(three.line().contains("too many connections"), "of one client two may be here");
        // What the log says is taken out of a short queue.
        world.log_line(&["disconnect: client=198.51.100.1 ", " reason=limit"]);
        let others: Vec<Client> = (2..6).map(from).collect();
        assert_eq!(others.len(), 4, "and of one proxy as many as come");
        world.log_line(&["connect: client=198.51.100.5 "]);
        for visit in 1..=3 {
            from(9).quit();
            // Each has to be gone before the next comes: only two may be here.
            eventually("the end of each visit in the log", || {
                let gone = |line: &&String| {
                    line.contains("disconnect: client=198.51.100.9 ") && line.contains(" reason=quit")
                };
                (world.log_lines().iter().filter(gone).count() == visit).then_some(())
            });
        }
        assert!(from(9).line().contains("too many connections"), "the fourth within a minute");
        world.log_line(&["disconnect: client=198.51.100.9 ", " reason=limit"]);
    });
}

#[test]
fn tls_begins_behind_the_header() {
    isolated_with_network(|| {
        let (world, authority) = tls::start(setup(""), "");
        let _site = Site::start(&world);
        let plan = authority.client();
        for header in [V1.to_vec(), v2([198, 51, 100, 7])] {
            let mut stream = stream_from(2, 995);
            stream.write_all(&header).unwrap();
            let mut client = plan.connect(stream);
            client.log_in("ann");
            assert!(!client.retrieve(1).is_empty());
            client.quit();
            world.log_line(&["login: client=198.51.100.7 port=40000 user=ann", "tls=TLSv1.3"]);
        }
    });
}

#[test]
fn under_inetd_it_is_the_same() {
    isolated(|| {
        let listed = "[listen]\nproxy = [\"127.0.0.1\"]\n";
        let world = World::setup().config(listed).config(ALWAYS).start();
        world.small_maildrop(1);
        let (mut ours, theirs) = common::world::tcp_pair("127.0.0.1:0");
        let server = Child::start(world.command(&[], &[], theirs.into()));
        ours.write_all(V1).unwrap();
        let mut client = Client::new(ours, server, 0);
        client.log_in("ann");
        client.quit();
        client.server_ends();
        for line in ["connect:", "login:", "logout:"] {
            world.log_line(&[line, " client=198.51.100.7 port=40000"]);
        }
        let (mut ours, theirs) = common::world::tcp_pair("127.0.0.1:0");
        let server = Child::start(world.command(&[], &[], theirs.into()));
        ours.write_all(b"CAPA\r\n").unwrap();
        let mut client = Client::silent(ours, server, 0);
        assert_eq!(text(&client.rest()), "", "a listed peer without a header");
        client.server_ends();
        world.log_line(&["disconnect: client=127.0.0.1 ", " reason=proxy"]);
    });
}

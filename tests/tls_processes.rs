//! TLS and processes (design, section 2): where keys are, who stays, and what says that a connection begins with TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "support/tls.rs"]
mod tls;

use common::client::text;
use common::site::Site;
use common::world::{POP3D_UID, tcp_pair, uid};
use common::{Child, Client, World, isolated, isolated_with_network, mail, processes};
use rustls::ProtocolVersion;
use std::net::TcpStream;
use std::process::Command;
use tls::{Authority, ONE_TWO, Plan, SECURE, secure, world};

/// The 32 octets of the private key, and the file's own text, as they could stand in memory.
fn traces_of_the_key() -> Vec<Vec<u8>> {
    let pem = std::fs::read_to_string(tls::path("key.pem")).unwrap();
    let der = rcgen::KeyPair::from_pem(&pem).unwrap().serialize_der();
    // PKCS #8 of P-256 (RFC 5915): the key stands behind its own header, 04 20.
    let at = der.windows(2).position(|pair| pair == [0x04, 0x20]).unwrap() + 2;
    let scalar = der[at..at + 32].to_vec();
    let reversed = scalar.iter().rev().copied().collect();
    vec![scalar, reversed, pem.lines().nth(1).unwrap().as_bytes().to_vec()]
}

#[test]
fn keys_are_in_login_processes_alone() {
    // Design, section 2: TLS is the login process's; the monitor holds no secret, and so nobody inherits one.
    isolated_with_network(|| {
        let (world, authority) = world("");
        let site = Site::start(&world);
        let mut client = authority.client().connect(secure());
        client.log_in("ann");
        let holders = holders(site.processes());
        assert!(holders.contains(&POP3D_UID), "the key is found where it has to be: {holders:?}");
        assert!(holders.iter().all(|owner| *owner == POP3D_UID), "and nowhere else: {holders:?}");
        client.quit();
    });
}

/// The users of the processes that have something of the key in memory.
fn holders(all: Vec<processes::Process>) -> Vec<u32> {
    let traces = traces_of_the_key();
    let users: Vec<u32> = all.iter().map(|process| process.uids[0]).collect();
    assert!(users.contains(&0) && users.contains(&uid("ann")), "monitor and session are searched: {users:?}");
    let has = |process: &processes::Process| {
        let memory = process.memory();
        traces.iter().any(|trace| memory.iter().any(|region| region.find(trace).is_some()))
    };
    all.iter().filter(|process| has(process)).map(|process| process.uids[0]).collect()
}

#[test]
fn under_inetd_the_login_process_stays_as_the_end_of_tls() {
    isolated(|| {
        let world = World::setup().config(&tls::config()).start();
        let authority = Authority::new();
        let stored = world.small_maildrop(3);
        for implicit in [false, true] {
            let (ours, theirs) = tcp_pair("127.0.0.1:0");
            let more: &[&str] = if implicit { &["--tls"] } else { &[] };
            let mut server = Child::start(world.command(&[], more, theirs.into()));
            let plan = authority.client();
            let mut client = if implicit { plan.connect(ours) } else { plan.stls(ours) };
            client.log_in("ann");
            assert_eq!(client.retrieve(2), mail::wire(&stored[1]));
            let holders = holders(processes::tree(server.pid()));
            assert_eq!(holders, [POP3D_UID], "one login process, the relay");
            client.quit();
            drop(client);
            assert!(server.wait(common::PATIENCE).is_some_and(|status| status.success()));
        }
        world.log_line(&["logout: ", "user=ann", "end=quit"]);
    });
}

#[test]
fn a_key_that_cannot_be_used_leaves_inetd_what_is_left() {
    isolated(|| {
        let world = World::setup().config(&tls::config()).start();
        Authority::new();
        world.small_maildrop(1);
        std::fs::remove_file(tls::path("key.pem")).unwrap();
        let mut client = world.connect();
        assert!(!client.listing("CAPA").contains(&"STLS".to_owned()));
        world.log_line(&["error: ", "cannot read /run/tls/key.pem"]);
        client.log_in("ann");
        client.quit();
    });
}

#[test]
fn clients_may_show_certificates() {
    // RFC 4422, appendix A needs them; who has none is served too.
    isolated_with_network(|| {
        let (world, authority) = world("client_ca = \"/run/tls/ca.pem\"");
        authority.issue("ann-", &["ann"]);
        let _site = Site::start(&world);
        for shown in [None, Some("ann-")] {
            Plan { shown, ..authority.client() }.connect(secure()).quit();
        }
        let other = Authority::new();
        other.issue("eve-", &["ann"]);
        let eve = Plan { shown: Some("eve-"), versions: ONE_TWO, ..authority.client() };
        assert!(eve.shake(secure(), &eve.config()).is_err());
        world.log_line(&["handshake: ", "invalid peer certificate"]);
    });
}

#[test]
fn names_of_sockets_say_whether_tls_begins() {
    // sd_listen_fds_with_names(3): a service with two sockets, neither on a port that tells.
    isolated_with_network(|| {
        let world = World::setup().config(&tls::config()).start();
        let authority = Authority::new();
        let sockets = ["127.0.0.1:1110", "127.0.0.1:1995"].map(|at| std::net::TcpListener::bind(at).unwrap());
        let script = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=pop3:pop3s.socket \
                      exec \"$@\"";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh"]).arg(&world.program).arg("--config").arg(&world.config);
        let [first, second] = sockets.map(std::os::fd::OwnedFd::from);
        command.stdin(first).stdout(second).stderr(std::process::Stdio::null());
        let _server = Child::start(command);
        world.log_line(&["serving POP3 on 127.0.0.1:1110, 127.0.0.1:1995 (TLS)"]);
        authority.client().connect(TcpStream::connect("127.0.0.1:1995").unwrap()).quit();
        let mut clear = Client::new(TcpStream::connect("127.0.0.1:1110").unwrap(), Child::nobody(), 0);
        clear.quit();
    });
}

#[test]
fn a_socket_for_tls_needs_a_certificate() {
    isolated_with_network(|| {
        let world = World::start();
        let mut command = Command::new(&world.program);
        command.arg("--config").arg(&world.config).args(["--listen-tls", SECURE]);
        let output = common::run(&mut command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("there is no certificate; set certificate and key under [tls]"), "{said}");
    });
}

#[test]
fn a_monitor_that_dies_leaves_sessions_over_tls() {
    // Design, section 2: sessions go on reading.
    isolated_with_network(|| {
        let (world, authority) = world("");
        let stored = mail::messages(3);
        let mut site = Site::start(&world);
        let mut client = authority.client().connect(secure());
        client.log_in("ann");
        site.server.signal(nix::sys::signal::Signal::SIGKILL);
        assert!(site.server.wait(common::PATIENCE).is_some());
        assert_eq!(client.retrieve(3), mail::wire(&stored[2]));
        assert_eq!(client.tls().protocol_version(), Some(ProtocolVersion::TLSv1_3));
        client.quit();
    });
}

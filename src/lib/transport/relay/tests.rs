//! What a relay does with what it gets (design, section 2), without processes.

use super::*;
use crate::config::{Config, TlsVersion};
use crate::transport::tls::Acceptor;
use crate::transport::tls::files::Material;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A client, its relay, and the session's end of the pair.
struct Line {
    client: ClientConnection,
    wire: TcpStream,
    relay: Relay,
    session: UnixStream,
    room: Vec<u8>,
}

impl Line {
    /// With the handshake done.
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let mut config = Config::default();
        config.tls.certificate = place.path().join("cert.pem");
        config.tls.key = place.path().join("key.pem");
        std::fs::write(&config.tls.certificate, made.cert.pem()).unwrap();
        std::fs::write(&config.tls.key, made.signing_key.serialize_pem()).unwrap();
        let material = Material::read(&config).unwrap().unwrap();
        let mut tls = Acceptor::new(&material, TlsVersion::V1_2, Duration::ZERO).unwrap().accept().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut wire = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = OwnedFd::from(listener.accept().unwrap().0);
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        // The server waits, and the client goes on until both are done.
        std::thread::scope(|scope| {
            scope.spawn(|| tls.handshake(&server).unwrap());
            while client.is_handshaking() || client.wants_write() {
                client.complete_io(&mut wire).unwrap();
            }
        });
        socket::set_nonblocking(&server).unwrap();
        let (here, there) = socket::stream_pair().unwrap();
        let relay = Relay::new(server, Box::new(tls), here, Duration::from_secs(600)).unwrap();
        let session = UnixStream::from(there);
        for limit in [wire.set_read_timeout(Some(LINGER * 5)), session.set_read_timeout(Some(LINGER * 5))] {
            limit.unwrap();
        }
        Self { client, wire, relay, session, room: vec![0; TURN] }
    }

    fn turn(&mut self) -> Turn {
        self.relay.turn(&mut self.room)
    }

    /// What the client gets until so many octets, or the end, are there.
    fn client_reads(&mut self, octets: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < octets {
            match self.client.reader().read(&mut self.room) {
                Ok(0) => break,
                Ok(count) => got.extend_from_slice(&self.room[..count]),
                Err(_) => {
                    self.client.read_tls(&mut self.wire).unwrap();
                    self.client.process_new_packets().unwrap();
                }
            }
        }
        got
    }
}

#[test]
fn records_are_full() {
    // RFC 8446, section 5.1: 2^14 octets at most; fewer would cost each time.
    let mut line = Line::new();
    // Tickets come first.
    line.turn();
    line.session.write_all(&[b'x'; TURN]).unwrap();
    assert_eq!(line.turn(), Turn::More);
    let mut records = Vec::new();
    let mut seen = 0;
    while seen < TURN {
        let mut header = [0; 5];
        line.wire.read_exact(&mut header).unwrap();
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let mut body = vec![0; length];
        line.wire.read_exact(&mut body).unwrap();
        // One octet of type, sixteen of authentication. Small ones are tickets.
        if length > 1024 {
            records.push(length - 17);
            seen += length - 17;
        }
    }
    assert_eq!(records, [16384; 4]);
}

#[test]
fn a_client_that_takes_nothing_is_felt_by_the_session() {
    let mut line = Line::new();
    line.session.set_nonblocking(true).unwrap();
    let mut written = 0;
    loop {
        match line.session.write(&[b'x'; TURN]) {
            Ok(octets) => written += octets,
            Err(_) if line.relay.stuck_since.is_some() => break,
            Err(_) => assert_ne!(line.turn(), Turn::Over),
        }
    }
    assert_eq!(line.turn(), Turn::Wait, "it waits for the client");
    assert!(line.relay.deadline().is_some(), "but not for ever");
    assert_eq!(line.relay.waiting.capacity(), 0);
    let reader = std::thread::spawn(move || {
        line.session.shutdown(Shutdown::Write).unwrap();
        let mut got = 0;
        while got < written {
            line.turn();
            got += line.client_reads(1).len();
        }
        (got, line)
    });
    let (got, mut line) = reader.join().unwrap();
    assert_eq!(got, written, "nothing is lost");
    while line.relay.finished.is_none() {
        line.turn();
    }
    assert_eq!(line.client_reads(1), b"", "the orderly end comes last");
}

#[test]
fn the_end_of_a_client_comes_behind_its_octets() {
    for orderly in [true, false] {
        let mut line = Line::new();
        line.client.writer().write_all(b"RETR 1\r\nQUIT\r\n").unwrap();
        if orderly {
            line.client.send_close_notify();
        }
        while line.client.wants_write() {
            line.client.write_tls(&mut line.wire).unwrap();
        }
        line.wire.shutdown(Shutdown::Write).unwrap();
        while !line.relay.client_ended {
            assert_ne!(line.turn(), Turn::Over);
        }
        let mut got = Vec::new();
        line.session.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"RETR 1\r\nQUIT\r\n");
        line.session.write_all(b"+OK\r\n").unwrap();
        drop(line.session.try_clone());
        line.session.shutdown(Shutdown::Write).unwrap();
        while line.turn() != Turn::Over {}
        assert_eq!(line.client_reads(100), b"+OK\r\n", "and it can still read");
    }
}

#[test]
fn nothing_is_kept_while_nothing_flows() {
    let mut line = Line::new();
    line.client.writer().write_all(&[b'x'; TURN]).unwrap();
    while line.client.wants_write() {
        line.client.write_tls(&mut line.wire).unwrap();
        line.turn();
    }
    let mut got = vec![0; TURN];
    line.session.read_exact(&mut got).unwrap();
    line.session.write_all(b"+OK\r\n").unwrap();
    while line.turn() != Turn::Wait {}
    assert_eq!((line.relay.waiting.capacity(), line.relay.deadline()), (0, None));
}

#[test]
fn what_is_no_tls_ends_it() {
    let mut line = Line::new();
    line.wire.write_all(b"QUIT\r\n, in the clear").unwrap();
    while line.turn() != Turn::Over {}
    let Line { relay, mut session, .. } = line;
    drop(relay);
    let mut got = Vec::new();
    session.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"", "nothing of it reaches the session");
}

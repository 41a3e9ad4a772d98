//! TLS (RFC 8446, RFC 5246), in login processes alone: rustls behind the words of this crate.
//!
//! `files` reads what the administrator named, `certificates` chooses among it, `tickets` lets clients come back.

pub(crate) mod certificates;
pub(crate) mod files;
mod tickets;

use crate::config::TlsVersion;
use crate::error::{Error, Kind, Result};
use crate::protocol::sasl::TlsFacts;
use crate::sys::{clock, socket};
use certificates::{Certificates, Choice};
use files::Material;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, version};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tickets::Tickets;

/// The name of POP3 in ALPN (RFC 7301, in IANA's list). A client that offers other protocols alone is no
/// client of ours, and may be somebody else's that was led here.
const ALPN: &[u8] = b"pop3";

/// RFC 9266, section 4.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// How often a client comes back with one handshake: most open two or three connections.
const TICKETS: usize = 2;

/// What is known of a connection once its handshake is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The cipher suite, by its registered name.
    pub(crate) cipher: String,
    /// Whether the client came back with a ticket.
    pub(crate) resumed: bool,
    /// What logins are concerned with. The exporter is there in TLS 1.3 only: in 1.2 it is not unique to the connection unless
    /// both sides agree on more than clients do (RFC 9266, section 3).
    pub(crate) tls: TlsFacts,
}

/// Makes connections secure.
pub(crate) struct Acceptor {
    config: ServerConfig,
    certificates: Arc<Certificates>,
}

impl Acceptor {
    /// From certificates, keys, and the age of the tickets' seed.
    ///
    /// # Errors
    /// A certificate, a key or the authority of clients cannot be used: the error names the file.
    pub(crate) fn new(material: &Material, oldest: TlsVersion, age: Duration) -> Result<Self> {
        let unusable =
            |cause: &dyn std::fmt::Display| Error::new(Kind::Config, format!("cannot set up TLS: {cause}"));
        let certificates = Arc::new(Certificates::new(material)?);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[_] = match oldest {
            TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|cause| unusable(&cause))?;
        let builder = match &material.client_ca {
            Some((name, pem)) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots(name, pem)?), provider)
                        .allow_unauthenticated()
                        .build()
                        .map_err(|cause| unusable(&cause))?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Choice::new(Arc::clone(&certificates))));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(Tickets::new(&material.seed, clock::now(), age));
        config.send_tls13_tickets = TICKETS;
        config.ignore_client_order = true;
        Ok(Self { config, certificates })
    }

    /// The server's side of a connection that begins.
    ///
    /// # Errors
    /// The library cannot make one.
    pub(crate) fn accept(&self) -> Result<Tls> {
        let choice = Arc::new(Choice::new(Arc::clone(&self.certificates)));
        // A copy of some pointers, so that each connection knows which certificate it got.
        let mut config = self.config.clone();
        config.cert_resolver = Arc::clone(&choice) as _;
        let mut connection = ServerConnection::new(Arc::new(config))
            .map_err(|cause| Error::new(Kind::Temporary, format!("cannot begin TLS: {cause}")))?;
        // Callers write no more than they want to wait.
        connection.set_buffer_limit(None);
        Ok(Tls { connection, choice })
    }
}

fn roots(name: &str, pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates::chain(name, pem)? {
        roots.add(certificate).map_err(|cause| {
            Error::new(Kind::Config, format!("{name} holds an authority that cannot be used: {cause}"))
                .with_fix("name a file with the authorities' own certificates")
        })?;
    }
    Ok(roots)
}

/// The TLS of one connection. It keeps no socket: each call gets it.
pub(crate) struct Tls {
    connection: ServerConnection,
    choice: Arc<Choice>,
}

impl Tls {
    /// Goes on with the handshake; done when it returns.
    ///
    /// # Errors
    /// `WouldBlock` when the client's turn has come; `InvalidData` when TLS failed, with the reason; as recv(2) and send(2).
    pub(crate) fn handshake(&mut self, socket: &OwnedFd) -> io::Result<()> {
        loop {
            self.flush(socket)?;
            if !self.connection.is_handshaking() {
                return Ok(());
            }
            if self.receive(socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// What the handshake has brought about; call it when that is done.
    pub(crate) fn facts(&self) -> Facts {
        let connection = &self.connection;
        let newest = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let exporter = || connection.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[])).ok();
        Facts {
            // The library's names of TLS 1.3 suites are its own.
            cipher: suite.unwrap_or("unknown").replacen("TLS13_", "TLS_", 1),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            tls: TlsFacts {
                version: if newest { "TLSv1.3" } else { "TLSv1.2" }.to_owned(),
                exporter: if newest { exporter() } else { None },
                end_point: self.choice.end_point(),
                client_name: shown.and_then(certificates::user_name),
            },
        }
    }

    /// Reads what the client sent; 0 is its orderly end (close_notify).
    ///
    /// # Errors
    /// `WouldBlock`; `UnexpectedEof` for an end that anybody on the way could have made; `InvalidData` for what is no TLS; as recv(2).
    pub(crate) fn read(&mut self, socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.receive(socket)?;
            // Answers to messages of the protocol itself; what cannot leave now leaves with the next octets.
            match self.flush(socket) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    /// Encrypts octets, which leave as far as the socket takes them; the rest leaves with [`Tls::flush`]. All are taken.
    ///
    /// # Errors
    /// As send(2), but for `WouldBlock`.
    pub(crate) fn write(&mut self, socket: &OwnedFd, octets: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(octets)?;
        match self.flush(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other.map(drop),
        }
    }

    /// Sends what is encrypted; how many octets left.
    ///
    /// # Errors
    /// `WouldBlock` when the socket does not take all; as send(2).
    pub(crate) fn flush(&mut self, socket: &OwnedFd) -> io::Result<usize> {
        let mut sent = 0;
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Raw(socket)) {
                Ok(octets) => sent += octets,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && sent > 0 => return Ok(sent),
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Whether something is encrypted and has not left.
    pub(crate) fn has_unsent(&self) -> bool {
        self.connection.wants_write()
    }

    /// Says that nothing more will be sent, so that the client can tell this end from one that others made.
    pub(crate) fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// Takes octets off the socket and works them in; 0 at the end.
    fn receive(&mut self, socket: &OwnedFd) -> io::Result<usize> {
        let octets = self.connection.read_tls(&mut Raw(socket))?;
        if let Err(cause) = self.connection.process_new_packets() {
            // The client learns why, when it still can.
            let _ = self.flush(socket);
            return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
        }
        Ok(octets)
    }
}

/// A socket for the library.
struct Raw<'a>(&'a OwnedFd);

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        socket::read(self.0, buffer)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        socket::write(self.0, octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

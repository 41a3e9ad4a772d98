//! TLS for tests: an authority with its certificates, files for a server, and a client that sees every octet.

#![allow(dead_code)]

use super::common::client::text;
use super::common::machine::{make_directory, write};
use super::common::world::Setup;
use super::common::{PASSWORD, PATIENCE, World};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, version};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where an authority of a test puts its files: a place that is only root's.
pub(crate) const PLACE: &str = "/run/tls";

/// Names in the first certificate.
pub(crate) const NAMES: [&str; 2] = ["mail.example.org", "localhost"];

/// An authority that lives as long as its test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one; its own certificate is `ca.pem`, and `cert.pem` and `key.pem` are for [`NAMES`].
    pub(crate) fn new() -> Self {
        let mut made = CertificateParams::default();
        made.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        made.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        made.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().unwrap();
        let pem = made.self_signed(&key).unwrap().pem();
        let authority = Self { issuer: Issuer::new(made, key), pem };
        if !Path::new(PLACE).exists() {
            make_directory(Path::new(PLACE), 0o755);
        }
        write(&path("ca.pem"), authority.pem.as_bytes(), 0o644);
        authority.issue("", &NAMES);
        authority
    }

    /// Writes `PREFIXcert.pem` and `PREFIXkey.pem` for these names.
    pub(crate) fn issue(&self, prefix: &str, names: &[&str]) {
        let mut made =
            CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        made.distinguished_name.push(DnType::CommonName, names[0]);
        made.use_authority_key_identifier_extension = true;
        made.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        made.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let now = std::time::SystemTime::now();
        made.not_before = (now - std::time::Duration::from_secs(86_400)).into();
        made.not_after = (now + std::time::Duration::from_secs(90 * 86_400)).into();
        made.crl_distribution_points =
            vec![rcgen::CrlDistributionPoint { uris: vec!["http://crl.example.org/".to_owned()] }];
        let key = KeyPair::generate().unwrap();
        let pem = made.signed_by(&key, &self.issuer).unwrap().pem();
        write(&path(&format!("{prefix}cert.pem")), format!("{pem}{}", self.pem).as_bytes(), 0o644);
        write(&path(&format!("{prefix}key.pem")), key.serialize_pem().as_bytes(), 0o600);
    }

    /// How clients of this authority connect.
    pub(crate) fn client(&self) -> Plan {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        Plan { roots, versions: rustls::ALL_VERSIONS, name: NAMES[0], alpn: None, shown: None }
    }
}

/// A file of the authority's.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(PLACE).join(name)
}

/// The lines of a configuration that name [`Authority::new`]'s files; more keys of `[tls]` may follow.
pub(crate) fn config() -> String {
    format!("[tls]\ncertificate = \"{PLACE}/cert.pem\"\nkey = \"{PLACE}/key.pem\"\n")
}

/// A client of TLS 1.2 alone.
pub(crate) static ONE_TWO: &[&SupportedProtocolVersion] = &[&version::TLS12];
/// A client of TLS 1.3 alone.
pub(crate) static ONE_THREE: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// Where the sites of these tests take connections that begin with TLS.
pub(crate) const SECURE: &str = "127.0.0.1:995";

/// A world whose server has a certificate, with more configuration behind `[tls]`.
pub(crate) fn world(more: &str) -> (World, Authority) {
    start(World::setup(), more)
}

/// The same from a setup of the test's own.
pub(crate) fn start(setup: Setup, more: &str) -> (World, Authority) {
    let config = format!("{}{more}\n", config());
    let world = setup.config(&config).options(&["--listen-tls", SECURE]).start();
    let authority = Authority::new();
    world.small_maildrop(3);
    (world, authority)
}

/// A new connection that has to begin with TLS.
pub(crate) fn secure() -> TcpStream {
    TcpStream::connect(SECURE).unwrap()
}

/// What a client wants of TLS.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) roots: RootCertStore,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    pub(crate) name: &'static str,
    pub(crate) alpn: Option<&'static [u8]>,
    /// The prefix of the certificate that it shows.
    pub(crate) shown: Option<&'static str>,
}

impl Plan {
    /// What makes connections; tickets are kept in it.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match self.shown {
            None => builder.with_no_client_auth(),
            Some(prefix) => {
                let chain = CertificateDer::pem_file_iter(path(&format!("{prefix}cert.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(path(&format!("{prefix}key.pem"))).unwrap();
                builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.map(<[u8]>::to_vec).into_iter().collect();
        Arc::new(config)
    }

    /// Connects to a port where TLS begins at once; the greeting is read.
    pub(crate) fn connect(&self, stream: TcpStream) -> Secure {
        let mut client = self.shake(stream, &self.config()).unwrap();
        client.greeting = client.line();
        client
    }

    /// Says STLS on a connection whose greeting is not read yet.
    pub(crate) fn stls(&self, stream: TcpStream) -> Secure {
        self.shake(said_stls(stream), &self.config()).unwrap()
    }

    /// The handshake alone.
    pub(crate) fn shake(&self, stream: TcpStream, config: &Arc<ClientConfig>) -> Result<Secure, String> {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from(self.name).unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|why| why.to_string())?;
        }
        Ok(Secure { greeting: String::new(), stream: BufReader::new(stream) })
    }
}

/// The connection once STLS was answered.
pub(crate) fn said_stls(mut stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(plain_line(&mut stream).starts_with("+OK"));
    stream.write_all(b"STLS\r\n").unwrap();
    assert_eq!(plain_line(&mut stream), "+OK Begin TLS negotiation.");
    stream
}

/// A line in the clear, octet by octet, so that nothing of TLS is read.
pub(crate) fn plain_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut octet = [0];
        assert_eq!(stream.read(&mut octet).unwrap(), 1, "the connection ended behind {:?}", text(&line));
        line.push(octet[0]);
    }
    line.truncate(line.len() - 2);
    text(&line)
}

/// A client that speaks TLS.
pub(crate) struct Secure {
    pub(crate) greeting: String,
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Secure {
    pub(crate) fn tls(&mut self) -> &mut ClientConnection {
        &mut self.stream.get_mut().conn
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.stream.get_ref().sock
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    /// The next line without its CRLF; `None` at the orderly end of TLS.
    pub(crate) fn try_raw_line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap_or_else(|why| panic!("no answer: {why}"));
        let whole = line.strip_suffix(b"\r\n").map(<[u8]>::to_vec);
        assert!(whole.is_some() || line.is_empty(), "{:?}", text(&line));
        whole
    }

    pub(crate) fn line(&mut self) -> String {
        text(&self.try_raw_line().expect("a line, and not the end"))
    }

    pub(crate) fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.line()
    }

    pub(crate) fn ok(&mut self, line: &str) -> String {
        let reply = self.command(line);
        assert!(reply.starts_with("+OK"), "{line}: {reply}");
        reply
    }

    /// The lines of a multi-line answer, unstuffed, each with its CRLF.
    pub(crate) fn multiline(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let line = self.try_raw_line().expect("the lone dot");
            match line.strip_prefix(b".") {
                Some(b"") => return all,
                Some(rest) => all.extend_from_slice(rest),
                None => all.extend_from_slice(&line),
            }
            all.extend_from_slice(b"\r\n");
        }
    }

    pub(crate) fn retrieve(&mut self, message: usize) -> Vec<u8> {
        self.ok(&format!("RETR {message}"));
        self.multiline()
    }

    pub(crate) fn capabilities(&mut self) -> Vec<String> {
        self.ok("CAPA");
        text(&self.multiline()).lines().map(str::to_owned).collect()
    }

    pub(crate) fn log_in(&mut self, user: &str) -> String {
        self.ok(&format!("USER {user}"));
        self.ok(&format!("PASS {PASSWORD}"))
    }

    /// QUIT, and the orderly end of TLS.
    pub(crate) fn quit(&mut self) {
        self.ok("QUIT");
        assert_eq!(self.try_raw_line(), None);
    }

    /// Says that nothing more is sent, and sends no more.
    pub(crate) fn half_close(&mut self) {
        self.tls().send_close_notify();
        self.stream.get_mut().flush().unwrap();
        self.socket().shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection without the farewell of TLS.
    pub(crate) fn cut(self) {
        let _ = self.socket().shutdown(Shutdown::Both);
    }
}

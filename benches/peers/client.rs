//! A client that gives up rather than wait for ever, in the clear or over TLS.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use std::io::{Error, Read, Result, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// The longest that any answer may take: Dovecot needs half a minute for a large mbox that it does not know.
const PATIENCE: Duration = Duration::from_secs(180);

enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

pub(crate) struct Client {
    wire: Wire,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether what comes is acknowledged at once, or as the kernel likes.
    acknowledge: bool,
}

impl Client {
    pub(crate) fn connect(port: u16, tls: bool) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let wire = match tls {
            false => Wire::Clear(stream),
            true => {
                let name = ServerName::try_from("mail.example.org").unwrap();
                let connection = ClientConnection::new(trusting(), name).map_err(Error::other)?;
                Wire::Tls(Box::new(StreamOwned::new(connection, stream)))
            }
        };
        let mut client = Self { wire, buffer: vec![0; 4096], start: 0, end: 0, acknowledge: false };
        client.ok_line()?;
        Ok(client)
    }

    /// From now on acknowledges at once: a server that sends a message in pieces then need not stall for 44 ms at each.
    pub(crate) fn acknowledge_at_once(&mut self) {
        self.acknowledge = true;
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match &self.wire {
            Wire::Clear(stream) => stream,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    pub(crate) fn log_in(port: u16, tls: bool, user: &str, password: &str) -> Result<Self> {
        let mut client = Self::connect(port, tls)?;
        client.ok(&format!("USER {user}"))?;
        client.ok(&format!("PASS {password}"))?;
        Ok(client)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.wire {
            Wire::Clear(stream) => stream.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    fn fill(&mut self) -> Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() && self.buffer.len() < 1 << 20 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let space = &mut self.buffer[self.end..];
        let count = match &mut self.wire {
            Wire::Clear(stream) => stream.read(space)?,
            Wire::Tls(stream) => stream.read(space)?,
        };
        self.end += count;
        if self.acknowledge {
            // The kernel forgets it as it goes along.
            quick_acknowledgements(self.socket(), true);
        }
        if count == 0 { Err(Error::other("the server closed the connection")) } else { Ok(()) }
    }

    fn line(&mut self) -> Result<String> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.start + searched..self.end]) {
                let line = &self.buffer[self.start..=self.start + searched + at];
                let line = String::from_utf8_lossy(line).trim_end().to_owned();
                self.start += searched + at + 1;
                return Ok(line);
            }
            searched = self.end - self.start;
            self.fill()?;
        }
    }

    pub(crate) fn ok_line(&mut self) -> Result<String> {
        let line = self.line()?;
        if line.starts_with("+OK") { Ok(line) } else { Err(Error::other(format!("the server says {line}"))) }
    }

    pub(crate) fn ok(&mut self, command: &str) -> Result<String> {
        self.send(format!("{command}\r\n").as_bytes())?;
        self.ok_line()
    }

    /// The rest of a multi-line answer as it comes, through the final dot; its octets are given piece by piece.
    pub(crate) fn multiline(&mut self, mut take: impl FnMut(&[u8])) -> Result<()> {
        const END: &[u8] = b"\r\n.\r\n";
        loop {
            let have = &self.buffer[self.start..self.end];
            if have.starts_with(b".\r\n") {
                self.start += 3;
                return Ok(());
            }
            if let Some(at) = memchr::memmem::find(have, END) {
                take(&have[..at + 2]);
                self.start += at + END.len();
                return Ok(());
            }
            // What may be the beginning of the end stays, and so does the line that it ends.
            if have.len() > 64 * 1024 {
                let take_now = memchr::memrchr(b'\n', &have[..have.len() - END.len()]).map_or(0, |at| at + 1);
                take(&have[..take_now]);
                self.start += take_now;
            }
            self.fill()?;
        }
    }

    /// RETR of one message; whether it is what it should be.
    pub(crate) fn receives(&mut self, expected: &[u8]) -> Result<bool> {
        self.ok_line()?;
        let (mut at, mut same) = (0, true);
        self.multiline(|piece| {
            same &= expected.get(at..at + piece.len()) == Some(piece);
            at += piece.len();
        })?;
        Ok(same && at == expected.len())
    }

    /// What CAPA lists, in one line.
    pub(crate) fn capabilities(&mut self) -> Result<String> {
        self.ok("CAPA")?;
        let mut said = Vec::new();
        self.multiline(|piece| said.extend_from_slice(piece))?;
        let said = String::from_utf8_lossy(&said).into_owned();
        Ok(said.lines().map(str::trim).collect::<Vec<_>>().join(", "))
    }

    pub(crate) fn quit(mut self) -> Result<()> {
        self.ok("QUIT")?;
        // To the end of the connection, as most clients wait for it.
        while self.fill().is_ok() {}
        Ok(())
    }
}

/// Whether what comes next is acknowledged at once.
pub(crate) fn quick_acknowledgements(socket: &TcpStream, at_once: bool) {
    let wanted = libc::c_int::from(at_once);
    // SAFETY: the descriptor is open, and the kernel reads one int.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_QUICKACK,
            (&raw const wanted).cast(),
            libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap(),
        );
    }
}

fn trusting() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(Trusting(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // A full handshake each time, which is what is measured.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// Takes any certificate: servers are measured here, not trusted.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

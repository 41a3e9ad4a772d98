//! A POP3 client that sees every byte. Nothing it does waits for ever.

use super::{Child, PASSWORD, PATIENCE};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A connection to one `pop3d` in inetd mode.
pub(crate) struct Client {
    /// The greeting, without its CRLF.
    pub(crate) greeting: String,
    /// The process that was started for this connection (`strace` when it runs under that).
    pub(crate) server: Child,
    /// The inode of the server's end of the connection.
    pub(crate) socket: u64,
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    /// Takes over a connection and reads the greeting.
    pub(crate) fn new(stream: TcpStream, server: Child, socket: u64) -> Self {
        let mut client = Self::silent(stream, server, socket);
        client.greeting = client.line();
        client
    }

    /// Takes over a connection and reads nothing.
    pub(crate) fn silent(stream: TcpStream, server: Child, socket: u64) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { greeting: String::new(), server, socket, stream, unread: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .unwrap_or_else(|why| panic!("the server does not take our bytes: {why}"));
    }

    /// Sends bytes when the server still takes them.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next line, which must end in CRLF (RFC 1939, section 3), without it.
    pub(crate) fn raw_line(&mut self) -> Vec<u8> {
        match self.try_raw_line() {
            Some(line) => line,
            None => panic!("the connection ended instead of a line; unread: {:?}", text(&self.unread)),
        }
    }

    /// The next line; `None` when the connection ends before one.
    pub(crate) fn try_raw_line(&mut self) -> Option<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread[searched..]) {
                let mut line: Vec<u8> = self.unread.drain(..=searched + end).collect();
                assert!(line.ends_with(b"\r\n"), "RFC 1939, section 3: CRLF ends {:?}", text(&line));
                line.truncate(line.len() - 2);
                return Some(line);
            }
            searched = self.unread.len();
            if !self.fill() {
                return None;
            }
        }
    }

    /// The next line as text.
    pub(crate) fn line(&mut self) -> String {
        text(&self.raw_line())
    }

    /// Reads what is there, or waits for it; false at the end of the connection.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                true
            }
            Err(why) if why.kind() == ErrorKind::ConnectionReset => false,
            Err(why) => panic!("no answer within {PATIENCE:?}: {why}; so far: {:?}", text(&self.unread)),
        }
    }

    /// Sends a command and gives its first line.
    pub(crate) fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.line()
    }

    /// Sends a command; its first line, or `None` when the connection ends instead.
    pub(crate) fn try_command(&mut self, line: &str) -> Option<String> {
        if self.try_send(format!("{line}\r\n").as_bytes()) {
            self.try_raw_line().map(|line| text(&line))
        } else {
            None
        }
    }

    /// Sends a command that must be answered `+OK`.
    pub(crate) fn ok(&mut self, line: &str) -> String {
        let reply = self.command(line);
        assert!(reply.starts_with("+OK"), "{line}: {reply}");
        reply
    }

    /// Sends a command that must be answered `-ERR`.
    pub(crate) fn refused(&mut self, line: &str) -> String {
        let reply = self.command(line);
        assert!(reply.starts_with("-ERR"), "{line}: {reply}");
        reply
    }

    /// The lines of a multi-line answer, without dot-stuffing and the final dot (RFC 1939, section 3).
    pub(crate) fn multiline(&mut self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        loop {
            let mut line = self.raw_line();
            if line == b"." {
                return lines;
            }
            if line.first() == Some(&b'.') {
                assert!(line.starts_with(b".."), "RFC 1939, section 3: not stuffed: {:?}", text(&line));
                line.remove(0);
            }
            lines.push(line);
        }
    }

    /// The lines of a command's multi-line answer as text.
    pub(crate) fn listing(&mut self, command: &str) -> Vec<String> {
        self.ok(command);
        self.multiline().iter().map(|line| text(line)).collect()
    }

    /// A message as RETR sends it, each line with its CRLF.
    pub(crate) fn retrieve(&mut self, message: usize) -> Vec<u8> {
        self.ok(&format!("RETR {message}"));
        self.multiline().into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect()
    }

    /// USER and PASS; the reply to PASS.
    pub(crate) fn login(&mut self, user: &str, password: &str) -> String {
        self.ok(&format!("USER {user}"));
        self.command(&format!("PASS {password}"))
    }

    /// Logs in with the right password, which must work; the welcome.
    pub(crate) fn log_in(&mut self, user: &str) -> String {
        let reply = self.login(user, PASSWORD);
        assert!(reply.starts_with("+OK"), "login as {user}: {reply}");
        reply
    }

    /// QUIT, which must be answered `+OK`, and then the end of the connection (RFC 1939, section 6).
    pub(crate) fn quit(&mut self) -> String {
        let reply = self.ok("QUIT");
        self.expect_end();
        reply
    }

    /// The server must close the connection now, and say nothing more.
    pub(crate) fn expect_end(&mut self) {
        while self.fill() {}
        assert_eq!(text(&self.unread), "", "nothing comes before the end of the connection");
    }

    /// Everything until the server closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.unread)
    }

    /// Closes the connection as a lost client does; the server process is left to watch.
    pub(crate) fn hang_up(mut self) -> Child {
        self.close();
        self.take_server()
    }

    fn close(&self) {
        // The server may have closed it already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn take_server(&mut self) -> Child {
        std::mem::replace(&mut self.server, Child::nobody())
    }

    /// Closes the connection with a TCP reset.
    pub(crate) fn reset(mut self) -> Child {
        let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&self.stream, nix::sys::socket::sockopt::Linger, &at_once).unwrap();
        self.take_server()
    }

    /// Waits for the end of the process that served this connection.
    pub(crate) fn server_ends(self) {
        let mut server = self.hang_up();
        assert!(server.wait(PATIENCE).is_some(), "pop3d ends with its connection");
    }

    /// Another handle for the same connection, such as for a half-close.
    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Changes the time limit of each read.
    pub(crate) fn patience(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).unwrap();
    }
}

/// A client that leaves lets its server come to its own end, so that all that it logs and writes is there;
/// only one that does not is killed.
impl Drop for Client {
    fn drop(&mut self) {
        self.close();
        self.server.wait(PATIENCE / 2);
    }
}

/// Bytes as text for messages and comparisons.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Fails with the place of the first difference: a megabyte of message is no help to a reader.
pub(crate) fn assert_same(what: &str, got: &[u8], expected: &[u8]) {
    if got != expected {
        let at = got.iter().zip(expected).take_while(|(one, other)| one == other).count();
        let show = |bytes: &[u8]| text(&bytes[at.saturating_sub(20)..bytes.len().min(at + 60)]);
        let (got_octets, octets) = (got.len(), expected.len());
        panic!(
            "{what}: {got_octets} octets, expected {octets}; they part at {at}: {:?} is not {:?}",
            show(got),
            show(expected)
        );
    }
}

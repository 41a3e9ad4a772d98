//! What no server can do without: reading a file and writing to a socket, a copy with CRLF, and the cipher.
//! `cargo bench` compiles this as it does the server, with all optimisations.

use super::meter::own_cpu;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// Octets that are read and written at once: what fits into the cache.
const PIECE: usize = 64 * 1024;

/// CPU seconds per GB of what is sent: one loop of pread and write, and apart from it one copy with CRLF in memory.
pub(crate) fn send_and_copy(path: &Path, on_the_wire: usize) -> f64 {
    send(path) + copy(path, on_the_wire)
}

fn send(path: &Path) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let reader = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut buffer = vec![0; 256 * 1024];
        while stream.read(&mut buffer).unwrap() > 0 {}
    });
    let (mut stream, _) = listener.accept().unwrap();
    let file = fs::File::open(path).unwrap();
    let (mut buffer, mut offset) = (vec![0; PIECE], 0);
    let before = own_cpu();
    loop {
        let count = file.read_at(&mut buffer, offset).unwrap();
        if count == 0 {
            break;
        }
        stream.write_all(&buffer[..count]).unwrap();
        offset += count as u64;
    }
    let cost = (own_cpu() - before).as_secs_f64() / (offset as f64 / 1e9);
    drop(stream);
    reader.join().unwrap();
    cost
}

fn copy(path: &Path, on_the_wire: usize) -> f64 {
    let stored = fs::read(path).unwrap();
    let mut out = vec![0; 2 * PIECE];
    let before = own_cpu();
    let octets: usize = stored.chunks(PIECE).map(|piece| copy_with_crlf(piece, &mut out)).sum();
    let cost = (own_cpu() - before).as_secs_f64() / (on_the_wire as f64 / 1e9);
    assert!(octets >= on_the_wire, "the copy is of the whole message");
    cost
}

/// Into memory that is there already, without a check for dots or for CRLF in what is stored.
fn copy_with_crlf(from: &[u8], to: &mut [u8]) -> usize {
    let (mut start, mut at) = (0, 0);
    for end in memchr::memchr_iter(b'\n', from) {
        let line = &from[start..end];
        to[at..at + line.len()].copy_from_slice(line);
        at += line.len();
        to[at..at + 2].copy_from_slice(b"\r\n");
        at += 2;
        start = end + 1;
    }
    let rest = &from[start..];
    to[at..at + rest.len()].copy_from_slice(rest);
    std::hint::black_box(&*to);
    at + rest.len()
}

/// What `openssl speed` says of the cipher of most TLS connections, for records as large as they get, in seconds per GB.
pub(crate) fn cipher() -> Option<f64> {
    let words = ["speed", "-mr", "-seconds", "1", "-bytes", "16384", "-evp", "aes-256-gcm"];
    let said = Command::new("openssl").args(words).output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let line = said.lines().rfind(|line| line.starts_with("+F:"))?;
    let per_second: f64 = line.rsplit(':').next()?.trim().parse().ok()?;
    (per_second > 0.0).then(|| 1e9 / per_second)
}

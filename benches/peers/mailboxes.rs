//! Mailboxes of any size, the same for every server.

use super::common::machine::make_directory;
use super::common::mail::ENVELOPE;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::chown;
use std::path::Path;

const LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

/// How a server keeps mail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Mbox,
    Maildir,
}

/// A message of about this many octets, as it is stored.
pub(crate) fn message(number: usize, octets: usize) -> Vec<u8> {
    let mut text = format!(
        "Return-Path: <sender@example.org>\nReceived: from relay.example.org (relay.example.org [192.0.2.{}])\n\
         \tby mail.example.org (Postfix) with ESMTPS id {number:010X}\n\tfor <ann@example.org>; Thu, 01 Jan 2026 00:00:01 +0000\n\
         From: Some Sender <sender@example.org>\nTo: ann@example.org\nSubject: message number {number}\n\
         Message-Id: <{number}@example.org>\nDate: Thu, 01 Jan 2026 00:00:01 +0000\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=us-ascii\n\n",
        number % 250
    )
    .into_bytes();
    let mut state = number as u64 + 1;
    while text.len() < octets {
        // Lines as people and mail programs write them: 40 to 76 octets.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = 40 + (state >> 33) as usize % 37;
        let first = (state >> 20) as usize % 26;
        text.extend((0..length).map(|at| if at % 7 == 6 { b' ' } else { LETTERS[(first + at) % 26] }));
        text.push(b'\n');
    }
    text
}

/// What RETR sends of it, through the last line's end: CRLF, and no line here starts with a dot.
pub(crate) fn wire(stored: &[u8]) -> Vec<u8> {
    super::common::mail::wire(stored)
}

/// Writes a maildrop, or adds to it.
pub(crate) fn add(
    path: &Path,
    format: Format,
    numbers: std::ops::Range<usize>,
    octets: usize,
    uid: u32,
    gid: u32,
) {
    match format {
        Format::Mbox => {
            let file = File::options().append(true).create(true).open(path).unwrap();
            let mut out = BufWriter::with_capacity(1 << 20, file);
            for number in numbers {
                out.write_all(ENVELOPE.as_bytes()).unwrap();
                out.write_all(b"\n").unwrap();
                out.write_all(&message(number, octets)).unwrap();
                out.write_all(b"\n").unwrap();
            }
            out.flush().unwrap();
            chown(path, Some(uid), Some(gid)).unwrap();
            super::common::machine::chmod(path, 0o660);
        }
        Format::Maildir => {
            if !path.exists() {
                make_directory(path, 0o700);
                chown(path, Some(uid), Some(uid)).unwrap();
                for name in ["cur", "new", "tmp"] {
                    make_directory(&path.join(name), 0o700);
                    chown(path.join(name), Some(uid), Some(uid)).unwrap();
                }
            }
            for number in numbers {
                let bytes = message(number, octets);
                let name = format!("{}.M{number}P1.mail,S={}:2,", 1_767_225_600 + number, bytes.len());
                let file = path.join("cur").join(name);
                fs::write(&file, &bytes).unwrap();
                chown(&file, Some(uid), Some(uid)).unwrap();
            }
        }
    }
}

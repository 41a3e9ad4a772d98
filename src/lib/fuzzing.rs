//! Entry points for the fuzz targets (`fuzz/`), the benchmarks, and the test that replays the corpora: whatever the octets are, nothing panics,
//! and what was promised of the outcome holds. Not part of the library's interface.

mod files;
mod wire;

pub use files::{history, ids};
pub use wire::{header, import, message, proxy, sasl, xmit};

use crate::maildrop::index::{self, Index, Layout, Record};
use crate::maildrop::mbox::scan::scan;
use crate::maildrop::uidl::twins::Twins;
use crate::protocol::command;
use crate::sys::file::anonymous;
use std::os::unix::fs::FileExt;

/// A target: its name, which is its folder in `fuzz/corpus`, and its entry point.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("scanner", scanner),
    ("index", index),
    ("uidl", uidl),
    ("command", command),
    ("sasl", sasl),
    ("proxy", proxy),
    ("message", message),
    ("xmit", xmit),
    ("header", header),
    ("import", import),
    ("history", history),
    ("ids", ids),
];

/// The scanner of mbox files: however the octets come, it finds the same messages, in order and inside the file.
pub fn scanner(octets: &[u8]) {
    let Some((&size, octets)) = octets.split_first() else { return };
    let whole = scanned(octets, octets.len().max(1));
    let parts = scanned(octets, usize::from(size).max(1));
    assert_eq!(whole, parts, "the same, whatever comes at once");
    let Some((records, hidden)) = whole else { return };
    let mut end = hidden;
    for record in &records {
        assert!(record.offset >= end, "messages do not overlap");
        assert!(record.header_length <= record.length && record.twin == 1);
        end = record.end();
    }
    assert!(end <= octets.len() as u64, "a message ends in the file");
}

/// How many messages the scanner finds; for benchmarks.
pub fn messages(octets: &[u8]) -> usize {
    let (mut rest, mut count) = (octets, 0);
    let fill = |buffer: &mut [u8]| {
        let (now, later) = rest.split_at(rest.len().min(buffer.len()));
        buffer[..now.len()].copy_from_slice(now);
        rest = later;
        Ok(now.len())
    };
    let found = |_| {
        count += 1;
        Ok(())
    };
    scan(0, fill, found).map_or(0, |_| count)
}

fn scanned(octets: &[u8], size: usize) -> Option<(Vec<Record>, u64)> {
    let (mut rest, mut records) = (octets, Vec::new());
    let fill = |buffer: &mut [u8]| {
        let count = rest.len().min(buffer.len()).min(size);
        let (now, later) = rest.split_at(count);
        buffer[..count].copy_from_slice(now);
        rest = later;
        Ok(count)
    };
    let found = |record| {
        records.push(record);
        Ok(())
    };
    let hidden = scan(0, fill, found).ok()?;
    Some((records, hidden))
}

/// The reader of the index: every record that it gives lies inside what is known. If the first octet is odd, checksums are made
/// right first, so that what they guard is reached.
pub fn index(octets: &[u8]) {
    let Some((&seal, octets)) = octets.split_first() else { return };
    let mut octets = octets.to_vec();
    if seal % 2 == 1 {
        index::seal(&mut octets);
    }
    let Ok(file) = anonymous(c"fuzz") else { return };
    if file.write_all_at(&octets, 0).is_err() {
        return;
    }
    let Some(mut index) = Index::from_file(file, Layout::Mbox) else { return };
    let header = *index.header();
    let (mut count, mut end) = (0, header.hidden);
    let read = index.for_each(|number, record| {
        assert_eq!(number, count, "in order");
        assert!(record.offset >= end && record.end() <= header.known, "inside the mailbox");
        end = record.end();
        count += 1;
        Ok(())
    });
    assert!(read.is_err() || count == header.count, "all of them, or an error");
}

/// The reader of the `uidl` file. If the first octet is odd, the rest is the payload of a whole record.
pub fn uidl(octets: &[u8]) {
    let Some((&frame, octets)) = octets.split_first() else { return };
    let twins = if frame % 2 == 1 { Twins::from_payload(octets) } else { Twins::from_octets(octets) };
    for hash in twins.hashes() {
        assert!(twins.numbers(hash).is_some());
    }
    let _ = twins.pending();
}

/// The grammar of commands.
pub fn command(octets: &[u8]) {
    // What matters is that there is an answer to every line.
    let _ = command::parse(octets);
}

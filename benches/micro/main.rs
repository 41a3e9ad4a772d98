//! `cargo bench --bench micro`: the parts that touch every octet, beside memchr and a plain copy, which are the limit.
//!
//! `micro --once NAME N` does one operation N times and nothing else: `benches/callgrind/run` counts its instructions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]

use poptools::fuzzing;
use poptools::protocol::command;
use poptools::protocol::line::{COMMAND_LIMIT, Line, Lines};
use poptools::protocol::multiline::{Counter, Encoder};
use poptools::protocol::reply::Reply;
use poptools::protocol::unstuff::Unstuffer;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Octets that come at once, as in a session.
const CHUNK: usize = 64 * 1024;

/// Octets of text that an operation is given.
const TEXT: usize = 1 << 20;

/// Messages and their headers: lines of 40 to 76 octets; every so many lines begin with a dot.
fn mailbox(dots: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(TEXT + 200);
    let (mut line, mut left) = (0_usize, 0_usize);
    while text.len() < TEXT {
        if left == 0 {
            left = 200;
            text.extend_from_slice(b"From sender@example.org Thu Jan  1 00:00:01 2026\nFrom: sender@example.org\nSubject: text\n\n");
        }
        if dots > 0 && line.is_multiple_of(dots) {
            text.push(b'.');
        }
        let letter = b"abcdefghijklmnopqrstuvwxyz"[line % 26];
        text.extend(std::iter::repeat_n(letter, 40 + line * 7 % 37));
        text.push(b'\n');
        left -= 1;
        if left == 0 {
            text.push(b'\n');
        }
        line += 1;
    }
    text
}

fn with_crlf(text: &[u8]) -> Vec<u8> {
    text.split_inclusive(|octet| *octet == b'\n')
        .flat_map(|line| [&line[..line.len() - 1], b"\r\n"].concat())
        .collect()
}

fn encode(text: &[u8], top: Option<u64>, out: &mut Vec<u8>) {
    let mut encoder = Encoder::new(top);
    for piece in text.chunks(CHUNK) {
        out.clear();
        if !encoder.encode(piece, out) {
            break;
        }
        black_box(&out);
    }
    encoder.finish(out);
}

/// The operations: name, octets that each works on, what it does.
type Operation = (&'static str, usize, Box<dyn FnMut()>);

fn operations() -> Vec<Operation> {
    let plain = mailbox(0);
    let (dotted, crlf) = (mailbox(5), with_crlf(&plain));
    let buffer = || Vec::with_capacity(2 * CHUNK);
    let (mut copied, mut one, mut two, mut three, mut four) =
        (buffer(), buffer(), buffer(), buffer(), buffer());
    let [a, b, c, d, e, f] = [0; 6].map(|_| plain.clone());
    let crlf_length = crlf.len();
    vec![
        (
            "memcpy",
            TEXT,
            Box::new(move || {
                for piece in a.chunks(CHUNK) {
                    copied.clear();
                    copied.extend_from_slice(piece);
                    black_box(&copied);
                }
            }),
        ),
        (
            "memchr",
            TEXT,
            Box::new(move || {
                black_box(memchr::memchr_iter(b'\n', &b).count());
            }),
        ),
        ("encode", TEXT, Box::new(move || encode(&c, None, &mut one))),
        ("encode-crlf", crlf_length, Box::new(move || encode(&crlf, None, &mut two))),
        ("encode-dots", TEXT, Box::new(move || encode(&dotted, None, &mut three))),
        ("top", 4096, Box::new(move || encode(&d[..4096], Some(20), &mut four))),
        (
            "count",
            TEXT,
            Box::new(move || {
                let mut counter = Counter::new();
                counter.add(&e);
                black_box(counter.finish());
            }),
        ),
        (
            "scan",
            TEXT,
            Box::new(move || {
                black_box(fuzzing::messages(&f));
            }),
        ),
    ]
}

/// Those that work on what clients send, and on the index.
fn small_operations() -> Vec<Operation> {
    let dotted = mailbox(5);
    let stuffed = {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(None);
        encoder.encode(&dotted, &mut out);
        encoder.finish(&mut out);
        out
    };
    let index = include_bytes!("../../fuzz/corpus/index/two").as_slice();
    let commands: Vec<u8> = b"USER ann\r\nRETR 17\r\nTOP 3 0\r\nUIDL\r\nNOOP\r\nDELE 4\r\n".repeat(20);
    let (commands_length, stuffed_length, index_length) = (commands.len(), stuffed.len(), index.len());
    vec![
        (
            "unstuff",
            stuffed_length,
            Box::new(move || {
                let mut message = Vec::with_capacity(TEXT * 2);
                Unstuffer::new().decode(&stuffed, &mut message);
                black_box(message);
            }),
        ),
        (
            "commands",
            commands_length,
            Box::new(move || {
                let (mut lines, mut rest) = (Lines::new(), &commands[..]);
                while !rest.is_empty() {
                    rest = &rest[lines.feed(rest)..];
                    while let Some(line) = lines.next_line(COMMAND_LIMIT) {
                        if let Line::Complete(octets) = line {
                            let _ = black_box(command::parse(octets));
                        }
                    }
                }
            }),
        ),
        (
            "reply",
            60,
            Box::new(|| {
                let mut out = Vec::with_capacity(128);
                Reply::ok("ann has 5 message(s) (10372 octets).").write_to(&mut out);
                black_box(out);
            }),
        ),
        ("index", index_length, Box::new(move || fuzzing::index(index))),
    ]
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let mut all = operations();
    all.extend(small_operations());
    if let Some(at) = words.iter().position(|word| word == "--once") {
        let (name, times): (&str, usize) = (&words[at + 1], words[at + 2].parse().unwrap());
        let (.., work) = all.iter_mut().find(|(found, ..)| *found == name).expect("a name of an operation");
        (0..times).for_each(|_| work());
        return;
    }
    println!("{:<12} {:>12} {:>9}", "", "us", "GB/s");
    for (name, octets, work) in &mut all {
        // The best of many: other load only adds.
        let (began, mut best) = (Instant::now(), Duration::MAX);
        while began.elapsed() < Duration::from_millis(400) {
            let one = Instant::now();
            work();
            best = best.min(one.elapsed());
        }
        let seconds = best.as_secs_f64();
        println!("{name:<12} {:>12.2} {:>9.2}", seconds * 1e6, *octets as f64 / seconds / 1e9);
    }
}

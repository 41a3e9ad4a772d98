use super::*;

/// The lines that come out, as text; `!` for one that is too long.
fn lines(pieces: &[&[u8]], limit: usize) -> Vec<String> {
    let (mut lines, mut out) = (Lines::new(), Vec::new());
    for piece in pieces {
        assert_eq!(lines.feed(piece), piece.len());
        while let Some(line) = lines.next_line(limit) {
            out.push(match line {
                Line::Complete(line) => line.escape_ascii().to_string(),
                Line::TooLong => "!".to_owned(),
            });
        }
    }
    out
}

/// RFC 1939, section 3: a line ends with CRLF. Design, section 3: a bare LF ends one too.
#[test]
fn crlf_or_lf_ends_a_line() {
    assert_eq!(lines(&[b"STAT\r\nNOOP\nQU"], 255), ["STAT", "NOOP"]);
    assert_eq!(lines(&[b"\r\n\n"], 255), ["", ""]);
    assert_eq!(lines(&[b"a\rb\r\r\n"], 255), ["a\\rb\\r"]);
    assert_eq!(lines(&[b"ST", b"AT", b"\r", b"\n", b"", b"NOOP\r\n"], 255), ["STAT", "NOOP"]);
}

/// RFC 2449, section 4: 255 octets, the CRLF among them.
#[test]
fn a_line_of_255_octets_is_the_longest() {
    let line = |octets: usize| [vec![b'x'; octets - 2], b"\r\n".to_vec()].concat();
    assert_eq!(lines(&[&line(255)], COMMAND_LIMIT), ["x".repeat(253)]);
    assert_eq!(lines(&[&line(256)], COMMAND_LIMIT), ["!"]);
    assert_eq!(lines(&[&line(256), b"NOOP\r\n"], COMMAND_LIMIT), ["!", "NOOP"]);
    let (head, tail) = (line(255), line(256));
    assert_eq!(lines(&[&head[..254], &head[254..]], COMMAND_LIMIT), ["x".repeat(253)]);
    assert_eq!(lines(&[&tail[..254], &tail[254..]], COMMAND_LIMIT), ["!"]);
}

/// RFC 2449, section 4: 255 octets without a line end among them are too long, whatever may come.
#[test]
fn a_line_is_too_long_as_soon_as_that_is_sure() {
    assert_eq!(lines(&[&[b'x'; 254]], COMMAND_LIMIT), [""; 0]);
    assert_eq!(lines(&[&[b'x'; 254], b"x"], COMMAND_LIMIT), ["!"]);
}

/// Design, section 3: an over-long line is reported once and skipped with bounded memory.
#[test]
fn an_endless_line_costs_one_report_and_no_memory() {
    let mut lines = Lines::new();
    let mut reports = 0;
    for _ in 0..1000 {
        assert_eq!(lines.feed(&[b'x'; 10_000]), 10_000);
        while let Some(line) = lines.next_line(COMMAND_LIMIT) {
            assert!(line == Line::TooLong);
            reports += 1;
        }
        assert_eq!(lines.space(), CAPACITY, "nothing of it is kept");
    }
    assert_eq!(reports, 1);
    assert_eq!(lines.feed(b"x\r\nQUIT\r\n"), 9);
    assert!(lines.next_line(COMMAND_LIMIT) == Some(Line::Complete(b"QUIT")));
    assert!(lines.block.capacity() <= 2 * CAPACITY);
}

/// Design, section 3: AUTH continuation lines have up to 12 KiB.
#[test]
fn the_limit_is_the_callers() {
    let token = [vec![b'A'; AUTH_LIMIT - 2], b"\r\n".to_vec()].concat();
    assert_eq!(lines(&[&token], AUTH_LIMIT), ["A".repeat(AUTH_LIMIT - 2)]);
    assert_eq!(lines(&[&token], AUTH_LIMIT - 1), ["!"]);
}

/// The buffer takes 64 KiB and says so.
#[test]
fn what_is_kept_is_bounded() {
    let mut lines = Lines::new();
    assert_eq!(lines.space(), CAPACITY);
    assert_eq!(lines.feed(&vec![b'\n'; CAPACITY + 10]), CAPACITY);
    assert_eq!((lines.space(), lines.feed(b"x")), (0, 0));
    assert!(lines.next_line(255).is_some());
    assert_eq!((lines.space(), lines.feed(b"xyz")), (1, 1));
    assert_eq!(lines.unread().len(), CAPACITY);
    assert!(lines.block.capacity() <= 2 * CAPACITY);
}

/// Design, section 2: bytes that were read but not parsed go to the session.
#[test]
fn the_rest_is_handed_over() {
    let mut lines = Lines::new();
    assert_eq!(lines.feed(b"PASS secret\r\nSTAT\r\nLI"), 21);
    assert!(lines.next_line(255) == Some(Line::Complete(b"PASS secret")));
    assert_eq!(lines.unread(), b"STAT\r\nLI");
    assert_eq!(lines.take_rest(), b"STAT\r\nLI");
    assert!(lines.unread().is_empty() && lines.next_line(255).is_none());
}

/// XTND XMIT data is read past the line cutter.
#[test]
fn data_is_consumed_by_count() {
    let mut lines = Lines::new();
    assert_eq!(lines.feed(b"data\r\n.\r\nQUIT\r\n"), 15);
    assert!(lines.next_line(255).is_some());
    lines.consume(3);
    assert!(lines.next_line(255) == Some(Line::Complete(b"QUIT")));
    lines.consume(100);
    assert!(lines.unread().is_empty());
}

/// Design, section 2: nothing of a password survives. All bytes of the block are looked at.
#[test]
fn used_bytes_are_wiped() {
    let holds = |lines: &Lines| lines.block.windows(6).any(|bytes| bytes == b"secret");
    let mut lines = Lines::new();
    assert_eq!(lines.feed(b"PASS secret\r\nSTAT\r\n"), 19);
    assert!(lines.next_line(255).is_some());
    assert!(holds(&lines), "the caller looks at it");
    lines.wipe();
    assert!(!holds(&lines));
    assert_eq!(lines.feed(b"PASS secret\r\nNOOP"), 17);
    for expected in [b"STAT".as_slice(), b"PASS secret"] {
        assert!(lines.next_line(255) == Some(Line::Complete(expected)));
    }
    assert!(lines.next_line(255).is_none());
    assert!(!holds(&lines));
    assert_eq!(lines.feed(&[&[b'x'; 300], b"secret\r\n ".as_slice()].concat()), 309);
    assert!(lines.next_line(255) == Some(Line::TooLong));
    assert!(!holds(&lines), "a line that was too long may have been a PASS");
    assert_eq!(lines.feed(b"PASS secret\r\n"), 13);
    let _ = lines.take_rest();
    assert!(!holds(&lines));
}

/// Many small lines, and bytes that drip in, cost linear time: each octet is moved a bounded number of times.
#[test]
fn lines_come_out_in_order_whatever_the_pieces() {
    let text: Vec<u8> = (0..40_000).flat_map(|number| format!("NOOP {number}\r\n").into_bytes()).collect();
    let (mut lines, mut next, mut rest) = (Lines::new(), 0, text.as_slice());
    while next < 40_000 {
        let piece = rest.len().min(1 + next % 7919);
        let taken = lines.feed(&rest[..piece]);
        rest = &rest[taken..];
        if let Some(line) = lines.next_line(255) {
            assert!(line == Line::Complete(format!("NOOP {next}").as_bytes()));
            next += 1;
        }
    }
    assert!(lines.block.capacity() <= 2 * CAPACITY);
}

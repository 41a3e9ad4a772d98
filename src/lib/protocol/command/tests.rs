use super::*;
use proptest::prelude::*;

fn number(number: u32) -> MsgNo {
    MsgNo::new(number).unwrap()
}

/// RFC 1939, sections 5 and 7; RFC 1460; RFC 2449; RFC 2595; RFC 6856; history: every command.
#[test]
fn every_command() {
    let cases: [(&str, Command<'_>); 24] = [
        ("USER ann", Command::User(b"ann")),
        ("PASS x", Command::Pass(Hidden(b"x"))),
        ("AUTH", Command::Auth { mechanism: None, initial: None }),
        ("AUTH PLAIN", Command::Auth { mechanism: Some("PLAIN"), initial: None }),
        ("AUTH PLAIN AGE=", Command::Auth { mechanism: Some("PLAIN"), initial: Some(Hidden(b"AGE=")) }),
        ("STAT", Command::Stat),
        ("LIST", Command::List(None)),
        ("LIST 3", Command::List(Some(number(3)))),
        ("RETR 1", Command::Retr(number(1))),
        ("DELE 4294967295", Command::Dele(number(u32::MAX))),
        ("NOOP", Command::Noop),
        ("RSET", Command::Rset),
        ("TOP 1 0", Command::Top { message: number(1), lines: 0 }),
        ("UIDL", Command::Uidl(None)),
        ("UIDL 2", Command::Uidl(Some(number(2)))),
        ("LAST", Command::Last),
        ("QUIT", Command::Quit),
        ("CAPA", Command::Capa),
        ("STLS", Command::Stls),
        ("UTF8", Command::Utf8),
        ("LANG en", Command::Lang(Some("en"))),
        ("XTND XMIT", Command::Xmit),
        ("XTND XLST Subject", Command::Xlst { header: "Subject", message: None }),
        ("XTND XLIST Message-Id 2", Command::Xlst { header: "Message-Id", message: Some(number(2)) }),
    ];
    for (line, command) in cases {
        assert_eq!(parse(line.as_bytes()), Ok(command), "{line}");
    }
}

/// RFC 1939, section 3: keywords are case-insensitive.
#[test]
fn keywords_know_no_case() {
    assert_eq!(parse(b"qUiT"), Ok(Command::Quit));
    assert_eq!(parse(b"pass X"), Ok(Command::Pass(Hidden(b"X"))));
    assert_eq!(parse(b"xtnd xmit"), Ok(Command::Xmit));
    assert_eq!(parse(b"top 1 2"), Ok(Command::Top { message: number(1), lines: 2 }));
}

/// RFC 1939, section 7, PASS: the argument may contain spaces.
#[test]
fn a_password_is_all_behind_the_first_space() {
    for password in ["correct horse", " x", "x ", "  ", "a\tb", "\u{e9}", &"p".repeat(248)] {
        let line = format!("PASS {password}");
        assert_eq!(parse(line.as_bytes()), Ok(Command::Pass(Hidden(password.as_bytes()))), "{password:?}");
    }
    assert_eq!(parse(b"PASS"), Err(Syntax::Missing("PASS password")));
    assert_eq!(parse(b"PASS "), Err(Syntax::Missing("PASS password")));
    assert_eq!(parse(b"PASS a\0b"), Err(Syntax::Control));
    assert_eq!(parse(b"PASSx y"), Err(Syntax::Unknown));
    assert_eq!(parse(b"PASS\tx"), Err(Syntax::Control));
}

/// RFC 1939, section 7, APOP: 16 octets in hexadecimal digits.
#[test]
fn a_digest_has_32_hexadecimal_digits() {
    let digest = 0xc4c9_334b_ac56_0ecc_979e_5800_1b3e_22fb_u128.to_be_bytes();
    let apop = Ok(Command::Apop { user: b"mrose", digest });
    assert_eq!(parse(b"APOP mrose c4c9334bac560ecc979e58001b3e22fb"), apop);
    assert_eq!(parse(b"APOP mrose C4C9334BAC560ECC979E58001B3E22FB"), apop);
    for bad in ["c4c9", "+4c9334bac560ecc979e58001b3e22fb", "g4c9334bac560ecc979e58001b3e22fb"] {
        let line = format!("APOP mrose {bad}");
        assert_eq!(parse(line.as_bytes()), Err(Syntax::Argument("APOP name digest")), "{bad}");
    }
    assert_eq!(parse(b"APOP mrose"), Err(Syntax::Missing("APOP name digest")));
}

/// Design, section 3: message numbers are decimal digits only.
#[test]
fn a_message_number_is_digits() {
    assert_eq!(parse(b"RETR 007"), Ok(Command::Retr(number(7))));
    for bad in [
        "0",
        "00",
        "-1",
        "+1",
        "1x",
        "x",
        "1.0",
        "0x1",
        "4294967296",
        "99999999999999999999999",
        "1,2",
        "\u{0661}",
    ] {
        let line = format!("RETR {bad}");
        assert_eq!(parse(line.as_bytes()), Err(Syntax::Number("RETR message")), "{bad}");
    }
}

/// RFC 1939, section 7, TOP: a non-negative number of lines, and more than there are means all.
#[test]
fn a_line_count_may_be_zero_or_huge() {
    let lines = |text: &str| {
        parse(format!("TOP 1 {text}").as_bytes()).map(|command| match command {
            Command::Top { lines, .. } => lines,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(lines("0"), Ok(0));
    assert_eq!(lines("99999999999999999999"), Ok(u64::MAX));
    for bad in ["-1", "x", "1x"] {
        assert_eq!(lines(bad), Err(Syntax::Argument("TOP message lines")), "{bad}");
    }
    assert_eq!(lines(""), Err(Syntax::Missing("TOP message lines")));
    assert_eq!(lines("1 2"), Err(Syntax::Extra("TOP message lines")));
}

/// RFC 1939, section 3: arguments have at most 40 octets; design, section 3: names 64.
#[test]
fn arguments_are_bounded() {
    let with = |command: &str, octets: usize| format!("{command} {}", "1".repeat(octets));
    assert!(parse(with("USER", 64).as_bytes()).is_ok());
    assert_eq!(parse(with("USER", 65).as_bytes()), Err(Syntax::Argument("USER name")));
    assert!(parse(with("LANG", 40).as_bytes()).is_ok());
    assert!(parse(with("LANG", 41).as_bytes()).is_err());
    assert!(parse(with("XTND XLST", 40).as_bytes()).is_ok());
    assert!(parse(with("XTND XLST", 41).as_bytes()).is_err());
    assert!(parse(with("TOP 1", 41).as_bytes()).is_err());
    assert_eq!(parse(format!("RETR {}1", "0".repeat(40)).as_bytes()), Err(Syntax::Number("RETR message")));
    assert!(parse(with("AUTH PLAIN", 200).as_bytes()).is_ok(), "SASL data is bounded by the line");
}

/// Design, section 3: each error says what was expected, in words of its own.
#[test]
fn errors_are_told_apart() {
    let told = |line: &[u8]| parse(line).unwrap_err().reply().text().to_owned();
    assert_eq!(told(b""), "A command is expected.");
    assert_eq!(told(b"   "), "A command is expected.");
    assert_eq!(told(b"HELO x"), "Unknown command.");
    assert_eq!(told(b"TO"), "Unknown command.");
    assert_eq!(told(b"STATUS"), "Unknown command.");
    assert_eq!(told(b" STAT"), "Unknown command.");
    assert_eq!(told(b"ST\0AT"), "Control characters are not allowed in commands.");
    assert_eq!(told(b"TOP\0"), "Control characters are not allowed in commands.");
    assert_eq!(told(b"USER ann\0root"), "Control characters are not allowed in commands.");
    assert_eq!(told(b"LIST\t1"), "Control characters are not allowed in commands.");
    assert_eq!(told(b"TOP"), "Argument missing, usage: TOP message lines");
    assert_eq!(told(b"USER"), "Argument missing, usage: USER name");
    assert_eq!(told(b"STAT x"), "Too many arguments, usage: STAT");
    assert_eq!(told(b"USER ann lee"), "Too many arguments, usage: USER name");
    assert_eq!(told(b"DELE x"), "Not a message number, usage: DELE message");
    assert_eq!(told(b"XTND BULL"), "Malformed argument, usage: XTND XMIT, or XTND XLST header [message]");
    assert_eq!(told(b"XTND XLST a:b"), "Malformed argument, usage: XTND XMIT, or XTND XLST header [message]");
    assert_eq!(
        told(b"XTND XLST \xe4"),
        "Malformed argument, usage: XTND XMIT, or XTND XLST header [message]"
    );
}

/// Real clients send spaces at the end of a command.
#[test]
fn spaces_at_the_end_are_dropped() {
    assert_eq!(parse(b"STAT "), Ok(Command::Stat));
    assert_eq!(parse(b"LIST  2  "), Ok(Command::List(Some(number(2)))));
    assert_eq!(parse(b"USER ann "), Ok(Command::User(b"ann")));
}

/// Design, section 6: no password in any log, also not by accident.
#[test]
fn a_password_is_not_printed() {
    let printed = format!("{:?} {:?}", parse(b"PASS horse"), parse(b"AUTH PLAIN horse"));
    assert!(!printed.contains("horse") && !printed.contains("104"), "{printed}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a client sends, the answer is one clean line that repeats nothing unprintable.
    #[test]
    fn nothing_breaks_the_parser(line in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(error) = parse(&line) {
            let mut out = Vec::new();
            error.reply().write_to(&mut out);
            prop_assert!(out.starts_with(b"-ERR ") && out.ends_with(b"\r\n"));
            prop_assert!(out[..out.len() - 2].iter().all(|octet| (b' '..=b'~').contains(octet)));
        }
    }
}

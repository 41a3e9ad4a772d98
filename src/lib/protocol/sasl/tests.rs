use super::*;
use proptest::prelude::*;

/// RFC 5034, section 3: names as CAPA lists them; section 4: a command's argument is of either case.
#[test]
fn mechanisms_have_their_registered_names() {
    let names = Mechanism::ALL.map(Mechanism::name);
    assert_eq!(names, ["EXTERNAL", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "CRAM-MD5", "PLAIN"]);
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::parse(&mechanism.name().to_lowercase()), Some(mechanism));
    }
    for unknown in ["", "PLAI", "PLAINX", "SCRAM-SHA-1", "ANONYMOUS", "LOGIN"] {
        assert_eq!(Mechanism::parse(unknown), None, "{unknown}");
    }
}

#[test]
fn a_set_of_mechanisms_is_a_number() {
    let some =
        Mechanisms::NONE.with(Mechanism::Plain).with(Mechanism::CramMd5).with_if(false, Mechanism::External);
    assert_eq!(
        some.iter().collect::<Vec<_>>(),
        [Mechanism::CramMd5, Mechanism::Plain],
        "the strongest first"
    );
    assert_eq!(Mechanisms::from_bits(some.bits()), Some(some));
    assert_eq!(Mechanisms::from_bits(0x20), None);
    assert!(Mechanisms::NONE.is_empty() && !some.is_empty() && !some.has(Mechanism::External));
}

/// RFC 5034, section 4: a line that is no base64 is rejected. RFC 4648, section 3: no line ends, no missing padding, no bits
/// behind the end.
#[test]
fn base64_is_taken_strictly() {
    assert_eq!(decode(b"AGFubgB4").as_deref().map(Vec::as_slice), Some(b"\0ann\0x".as_slice()));
    assert_eq!(decode(b"").as_deref().map(Vec::as_slice), Some(b"".as_slice()));
    for wrong in
        ["A", "AA", "AA=", "AAA", "AB==", "AAB=", "AA==AA==", "A A=", "AAAA\r", "-_8=", "=", "*", "AAAA="]
    {
        assert_eq!(decode(wrong.as_bytes()), None, "{wrong:?}");
    }
    assert_eq!(encode(b"\0ann\0x"), "AGFubgB4");
}

/// RFC 4013, section 3: the examples.
#[test]
fn names_and_passwords_are_prepared() {
    assert_eq!(prepared_name("I\u{ad}X".as_bytes()), "IX");
    assert_eq!((prepared_name(b"user"), prepared_name(b"USER")), ("user".to_owned(), "USER".to_owned()));
    assert_eq!(prepared_name("\u{aa}".as_bytes()), "a");
    assert_eq!(prepared_name("\u{2168}".as_bytes()), "IX");
    assert_eq!(prepared_name(b"a\x07"), "a?", "prohibited");
    assert_eq!(prepared_name(b"ann\xff"), "ann?", "no text");
    let password = |text: &str| prepared_password(text.as_bytes()).map(|octets| octets.to_vec());
    assert_eq!(password("p\u{a0}w"), Some(b"p w".to_vec()), "a space that is none of ASCII's");
    assert_eq!(password("correct horse"), None, "nothing changes");
    assert_eq!(password("\u{7}"), None, "prohibited");
    assert_eq!(password("\u{627}1"), None, "the rules of writing from right to left");
    assert_eq!(password("\u{ad}"), None, "nothing is left");
    assert_eq!(prepared_password(b"\xff"), None);
}

/// RFC 4616, section 4: the examples.
#[test]
fn plain_has_three_parts() {
    let first = plain::parse(b"\0tim\0tanstaaftanstaaf").unwrap();
    assert_eq!(
        (first.authorization, first.name, first.password),
        (&b""[..], &b"tim"[..], &b"tanstaaftanstaaf"[..])
    );
    let second = plain::parse(b"Ursel\0Kurt\0xipj3plmq").unwrap();
    assert_eq!(
        (second.authorization, second.name, second.password),
        (&b"Ursel"[..], &b"Kurt"[..], &b"xipj3plmq"[..])
    );
    for wrong in [
        &b""[..],
        b"\0",
        b"\0\0",
        b"ann",
        b"\0ann",
        b"\0ann\0",
        b"\0\0x",
        b"ann\0x",
        b"\0ann\0x\0",
        b"\0ann\0x\0y",
    ] {
        assert!(plain::parse(wrong).is_none(), "{wrong:?}");
    }
    let long = |octets| [b"\0ann\0".as_slice(), &vec![b'x'; octets]].concat();
    assert!(
        plain::parse(&long(plain::MAX_PASSWORD)).is_some()
            && plain::parse(&long(plain::MAX_PASSWORD + 1)).is_none()
    );
}

/// RFC 2195, section 2: the example.
#[test]
fn cram_md5_gives_the_rfcs_digest() {
    let response = decode(b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw").unwrap();
    let (name, digest) = cram::parse(&response).unwrap();
    assert_eq!(name, b"tim");
    assert_eq!(cram::digest(b"tanstaaftanstaaf", b"<1896.697170952@postoffice.reston.mci.net>"), digest);
    assert_ne!(cram::digest(b"tanstaaftanstaaf", b"<1896.697170953@postoffice.reston.mci.net>"), digest);
    assert_eq!(cram::challenge("12", "mx.example"), "<12@mx.example>");
    for wrong in [
        "",
        " ",
        "tim",
        "tim ",
        " b913a602c7eda7a495b4e6e7334d3890",
        "tim b913a602c7eda7a495b4e6e7334d389",
        "tim xx13a602c7eda7a495b4e6e7334d3890",
    ] {
        assert!(cram::parse(wrong.as_bytes()).is_none(), "{wrong:?}");
    }
}

proptest! {
    /// Design, section 8: whatever a stranger sends, nothing panics.
    #[test]
    fn any_octets_are_parsed_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = (decode(&octets), plain::parse(&octets).is_some(), cram::parse(&octets));
        let _ = (prepared_name(&octets), prepared_password(&octets));
        let _ = scram::ClientFirst::parse(&octets);
    }

    /// The same for text that looks like SCRAM.
    #[test]
    fn any_text_like_scram_is_parsed_or_refused(first in "[nyp]=?(tls-exporter)?,(a=)?[a-z=,2CD3]{0,9},[nmr]=.{0,9},r=.{0,9}", last in "[cr]=[A-Za-z=]{0,8},r=[ -~]{0,9},p=.{0,50}") {
        let example = scram::ClientFirst::parse(b"n,,n=user,r=x").unwrap();
        let first = scram::ClientFirst::parse(first.as_bytes()).unwrap_or(example);
        let answer = first.answer("nonce", b"salt", 4096);
        let _ = scram::Claim::parse(last.as_bytes(), &first, &answer, None);
    }
}

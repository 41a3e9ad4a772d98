//! Every scheme that distributions use (design, section 5). The vectors were made by openssl passwd, mkpasswd
//! and libxcrypt.

use super::*;
use proptest::prelude::*;

const PASSWORD: &[u8] = b"correct horse";
const WRONG: &[u8] = b"correct hors";

const YESCRYPT: &str = "$y$j9T$3DmoXfPq8WIoJWlEyd/w31$BGgSslYaWRgQqjCC4L8GjiRhaV4wlPJanRaemfmLwL5";
const BCRYPT: &str = "$2b$05$yBrT3njebXckJF7HQVkuqeMdf6nDrtXxNgBE0ujjRDhZtB5ep/tAG";
const DES_HASH: &str = "ewEvCbCVY338w";

/// Those that are computed by crates, so everywhere.
const BY_CRATES: &[&str] = &[
    YESCRYPT,
    BCRYPT,
    "$2a$05$98cx1hEYqhcY1H8E0yq0Ce2AZf9LdHyMUPBKn1edAv.BLTgWjiVqG",
    "$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
    "$6$iP25HVHi1ndBCqtE$UG/geiv0Hbv66XfLAFOMJpUpCAMKP1f/1xXmlUdG6yXIbyn24rxHonK1BOe16DpOeGgcmL3qYmWjbwsHaqR8n/",
    "$6$M6.1yyW/whv.Y7sn$GmqwLNH1M2amit1OmlYFBNM8k4NMNCRH.tPDfE46jK/E1y9Ug8pmcGkk9eEMA6yXVYo9mVG3/l6yieFwORlBi.",
    "$6$rounds=10000$abcdefgh$4QtuTRriJ3drZ4BfaTQD7R63rJSGHaht/poPXhZcaUXiAO/1Sq1c5nQsZMCg6WsanGq8pAvH.4NpzJCbVZRjJ1",
    "$5$Vp7tlKvkNgYNUXXr$qOrpiOpDFZ4J1z8tOQwSB1czb1y6QeR7xjraGeWi.u9",
    "$5$rounds=10000$8koaCYRHL5Ua0pRe$.o2ADg8WLpNhKVsdRBY8soLjQW4BJ/x2jW4LI8HbOs6",
    "$1$rv9ozLSC$uJkcvm5gE6AWfuRDD/Qv.1",
    "_J9..Wn2ojEMLbtteWrE",
];

/// Those that need the system's libcrypt.
const BY_LIBCRYPT: &[&str] = &[
    "$gy$j9T$R5ZWypxeoR9683bWZd4Y81$.9GdAbTgrgspZYrdAfUCZguu5LMjpYPHep4XBU8guTB",
    "$7$BU..../....UJBH2hO8HM2aB/0SProIu/$q674Rm.zKQ17DvejNR6wQYRfO0blNZH3LNFD/eslgk4",
    "$2x$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
    "$md5,rounds=5000$abcdefgh$$Jpu1dvBFS1UCXM1beRIVt0",
    "$sha1$1000$abcdefgh$LpGT5uib.TPY6JU14eMS/Z58xRQB",
    "$3$$cfc43211ba8dc470832267827cac1407",
];

fn right(hash: &str, password: &[u8]) -> bool {
    verify(hash.as_bytes(), password).unwrap_or_else(|failure| panic!("{hash}: {failure:?}"))
}

#[test]
fn crates_verify_their_schemes_without_libcrypt() {
    for hash in BY_CRATES {
        assert!(verify_with(|| None, hash.as_bytes(), PASSWORD).unwrap(), "{hash}");
        assert!(!verify_with(|| None, hash.as_bytes(), WRONG).unwrap(), "{hash}");
    }
    assert!(right(DES_HASH, PASSWORD) && right(DES_HASH, b"correct "), "DES looks at eight octets");
    assert!(!right(DES_HASH, b"correct"));
}

#[test]
fn libcrypt_verifies_the_others() {
    if Libcrypt::load().is_none() {
        eprintln!("no libcrypt here: its schemes are not tried");
        return;
    }
    for hash in BY_LIBCRYPT.iter().chain([&YESCRYPT]) {
        match verify(hash.as_bytes(), PASSWORD) {
            Err(Failure::Unsupported(name)) => eprintln!("this libcrypt was built without {name}"),
            other => {
                assert!(other.unwrap(), "{hash}");
                assert!(!right(hash, WRONG), "{hash}");
            }
        }
    }
}

#[test]
fn an_unknown_scheme_is_named_and_the_hash_is_not() {
    let name = |hash: &str| match verify_with(|| None, hash.as_bytes(), PASSWORD) {
        Err(Failure::Unsupported(name)) => name,
        other => panic!("{hash}: {other:?}"),
    };
    assert_eq!(name(BY_LIBCRYPT[0]), "gost-yescrypt");
    assert_eq!(name("$argon2id$v=19$m=65536$c2FsdA$aGFzaA"), "$argon2id$");
    assert_eq!(name("$apr1$abcdefgh$xyz"), "$apr1$");
}

#[test]
fn no_hash_is_a_locked_account() {
    for field in
        ["", "!", "*", "x", "!!", "*LK*", "NP", "!$6$abc$def", "{SHA}xyz", "ewEvCbCVY338", "\u{fc}$6$"]
    {
        assert!(matches!(verify(field.as_bytes(), b""), Err(Failure::Locked)), "{field}");
    }
}

/// A hash must not hang us, whoever wrote it.
#[test]
fn costs_are_limited() {
    for hash in [
        "$6$rounds=999999999$abcdefgh$xx",
        "$5$rounds=2000001$abcdefgh$xx",
        "$6$rounds=x$abcdefgh$xx",
        "$2b$31$yBrT3njebXckJF7HQVkuqeMdf6nDrtXxNgBE0ujjRDhZtB5ep/tAG",
        "_zzzzWn2ojEMLbtteWrE",
        "$y$jzT$3DmoXfPq8WIoJWlEyd/w31$BGgSslYaWRgQqjCC4L8GjiRhaV4wlPJanRaemfmLwL5",
        "$y$j9T1.zzz$3DmoXfPq8WIoJWlEyd/w31$BGgSslYaWRgQqjCC4L8GjiRhaV4wlPJanRaemfmLwL5",
        "$7$zU..../....UJBH2hO8HM2aB/0SProIu/$q674Rm.zKQ17DvejNR6wQYRfO0blNZH3LNFD/eslgk4",
        "$7$BUzzzz/....UJBH2hO8HM2aB/0SProIu/$q674Rm.zKQ17DvejNR6wQYRfO0blNZH3LNFD/eslgk4",
        "$sha1$4294967295$abcdefgh$xx",
        "$md5,rounds=4294967295$abcdefgh$$xx",
    ] {
        assert!(matches!(verify(hash.as_bytes(), PASSWORD), Err(Failure::TooCostly(_))), "{hash}");
    }
}

#[test]
fn passwords_with_nul_and_long_ones_are_refused() {
    let long = vec![b'a'; MAX_PASSWORD + 1];
    for hash in BY_CRATES {
        assert!(!right(hash, b"correct horse\0"), "crypt(3) would stop at the NUL: {hash}");
    }
    let of_long = pwhash::sha512_crypt::hash(&long).unwrap();
    assert!(!right(&of_long, &long));
    let of_empty = pwhash::sha512_crypt::hash("").unwrap();
    assert!(!right(&of_empty, &long) && !right(&of_empty, b"\0") && right(&of_empty, b""));
    for octets in [MAX_PASSWORD - 1, MAX_PASSWORD] {
        assert!(!right(YESCRYPT, &vec![b'a'; octets]), "no failure at the library's own limit");
    }
}

/// The crate compares as many octets as the digest has: with none every password would be right.
#[test]
fn a_truncated_hash_never_verifies() {
    for hash in BY_CRATES.iter().filter(|hash| !hash.starts_with("$y$")) {
        for end in 0..hash.len() {
            assert!(!verify(&hash.as_bytes()[..end], PASSWORD).unwrap_or(false), "{}", &hash[..end]);
        }
    }
    // A yescrypt takes 30 to 70 ms: those at which something ends.
    for end in [3, 7, 8, 28, 29, 30, 31, 71, 72] {
        for libcrypt in [Libcrypt::load, || None] {
            let cut = &YESCRYPT.as_bytes()[..end];
            assert!(!verify_with(libcrypt, cut, PASSWORD).unwrap_or(false), "{}", &YESCRYPT[..end]);
        }
    }
}

#[test]
fn a_dummy_costs_the_same_and_tells_nothing() {
    assert_eq!(
        dummy_of(BY_CRATES[6].as_bytes()).unwrap(),
        format!("$6$rounds=10000$........${}", ".".repeat(86))
    );
    assert_eq!(dummy_of(BCRYPT.as_bytes()).unwrap(), format!("$2b$05${}", ".".repeat(53)));
    assert_eq!(dummy_of(b"!"), None);
    for hash in BY_CRATES.iter().chain(BY_LIBCRYPT).chain([&DES_HASH]) {
        let Some(dummy) = dummy_of(hash.as_bytes()) else { continue };
        assert_eq!(dummy.len(), hash.len());
        // Twelve characters in a row of salt or digest are never those of the original.
        assert!(
            !hash
                .as_bytes()
                .windows(12)
                .rev()
                .take(20)
                .any(|part| { dummy.as_bytes().windows(12).any(|other| other == part) })
        );
        match verify(dummy.as_bytes(), PASSWORD) {
            Ok(verified) => assert!(!verified, "{dummy}"),
            Err(failure) => assert!(matches!(failure, Failure::Unsupported(_)), "{dummy}: {failure:?}"),
        }
    }
    for (method, prefix) in [("SHA512", "$6$"), ("sha256", "$5$"), ("YESCRYPT", "$y$j9T$"), ("", "$y$")] {
        let dummy = dummy_named(method);
        assert!(dummy.starts_with(prefix));
        assert!(!right(&dummy, PASSWORD), "{dummy}");
    }
    assert!(!right(&dummy_named("DES"), PASSWORD) && !right(&dummy_named("MD5"), PASSWORD));
}

/// Were the setting refused at once, the dummy would cost nothing and betray who exists.
#[test]
fn a_dummy_is_really_computed() {
    for hash in BY_CRATES {
        let dummy = dummy_of(hash.as_bytes()).unwrap();
        if let Some(computed) =
            pwhash::unix::crypt(PASSWORD, &dummy).ok().filter(|_| !dummy.starts_with("$y$"))
        {
            assert_eq!(computed.len(), hash.len(), "{dummy}");
        } else {
            assert!(dummy.starts_with("$y$"), "{dummy}");
        }
    }
    if let Some(library) = Libcrypt::load() {
        let dummy = dummy_of(YESCRYPT.as_bytes()).unwrap();
        assert_eq!(library.crypt(PASSWORD, dummy.as_bytes()).unwrap().len(), YESCRYPT.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_mutated_hash_never_verifies_and_never_panics(
        which in 2..BY_CRATES.len(), at in 0..200_usize, byte in 1..127_u8
    ) {
        let mut hash = BY_CRATES[which].as_bytes().to_vec();
        let at = at % hash.len();
        prop_assume!(hash[at] != byte);
        // The prefixes of bcrypt differ in how they treat octets over 127 alone; and bcrypt, `$1$` and BSDI run
        // at the same cost whatever is changed.
        prop_assume!(!(hash.starts_with(b"$2") && at == 2));
        hash[at] = byte;
        prop_assert!(!verify(&hash, PASSWORD).unwrap_or(false), "{:?}", String::from_utf8_lossy(&hash));
    }

    #[test]
    fn any_bytes_are_taken_as_a_hash_without_panic(
        prefix in "(\\$(y|gy|7|2[abxy]|1|5|6|sha1|md5|3)\\$)?", rest in proptest::collection::vec(0..255_u8, 0..12)
    ) {
        let mut hash = prefix.into_bytes();
        hash.extend(rest);
        prop_assert!(!verify(&hash, PASSWORD).unwrap_or(false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_mutated_yescrypt_hash_never_verifies(at in 7..73_usize, byte in 33..127_u8, crates in any::<bool>()) {
        let mut hash = YESCRYPT.as_bytes().to_vec();
        prop_assume!(hash[at] != byte);
        hash[at] = byte;
        let libcrypt = if crates { || None } else { Libcrypt::load };
        prop_assert!(!verify_with(libcrypt, &hash, PASSWORD).unwrap_or(false));
    }
}

/// Issue "mailauth": application passwords are kept as verifiers of the site's scheme.
#[test]
fn new_hashes_verify_and_are_never_the_same() {
    for (method, prefix) in [("YESCRYPT", "$y$j9T$"), ("", "$y$j9T$"), ("sha512", "$6$"), ("SHA256", "$5$")] {
        let hash = make(method, b"a good secret", &[0xa7; 16]).unwrap();
        assert!(hash.starts_with(prefix), "{method}: {hash}");
        assert!(
            verify(hash.as_bytes(), b"a good secret").unwrap()
                && !verify(hash.as_bytes(), b"another").unwrap()
        );
        assert_ne!(hash, make(method, b"a good secret", &[0xa6; 16]).unwrap(), "{method}: the salt counts");
        let alone = make_without_library(
            hash.get(..hash.rfind('$').unwrap()).unwrap(),
            b"a good secret",
            &[0xa7; 16],
        );
        assert_eq!(alone.unwrap(), hash.as_bytes(), "{method}: the same without libcrypt");
    }
    let octets: Vec<u8> = (0..=255).collect();
    for length in 0..octets.len() {
        assert_eq!(decode(&encode(&octets[..length])).unwrap(), &octets[..length]);
    }
}

use super::*;

/// RFC 7677, section 3: the example.
const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const ANSWER: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn first(message: &str) -> ClientFirst {
    ClientFirst::parse(message.as_bytes()).unwrap()
}

fn salt() -> Vec<u8> {
    decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().to_vec()
}

fn verifier() -> Verifier {
    Verifier::of_password(b"pencil", &salt(), 4096)
}

fn facts() -> TlsFacts {
    TlsFacts { exporter: Some([7; 32]), end_point: Some(vec![9; 48]), ..TlsFacts::default() }
}

#[test]
fn the_rfcs_exchange_succeeds() {
    let first = first(FIRST);
    assert_eq!((first.binding, first.name.as_str(), &first.authorization), (Binding::Unable, "user", &None));
    let answer = first.answer(NONCE, &salt(), 4096);
    assert_eq!(answer.text(), ANSWER);
    let claim = Claim::parse(LAST.as_bytes(), &first, &answer, None).unwrap();
    assert_eq!(final_message(&verifier().check(&claim).unwrap()), SIGNATURE);
    let others = Verifier::of_password(b"pencils", &salt(), 4096);
    assert_eq!(others.check(&claim), None, "another password");
    let mut wrong = claim.clone();
    wrong.proof[31] ^= 1;
    assert_eq!(verifier().check(&wrong), None, "another proof");
    let changed = Claim { auth_message: claim.auth_message.replace("i=4096", "i=1"), ..claim };
    assert_eq!(verifier().check(&changed), None, "something else was said");
}

/// RFC 5803, section 3.
#[test]
fn a_stored_verifier_is_read() {
    let Verifier { stored_key, server_key, .. } = verifier();
    let text = format!(
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==${}:{}",
        encode(stored_key.as_slice()),
        encode(server_key.as_slice())
    );
    assert!(Verifier::parse(&text) == Some(verifier()));
    for (from, to) in [
        ("SHA-256", "SHA-1"),
        ("4096", "0"),
        ("4096", "x"),
        ("4096", "99999999"),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        (":W", "W"),
    ] {
        assert!(Verifier::parse(&text.replacen(from, to, 1)).is_none(), "{from} {to}");
    }
    assert!(Verifier::parse(&text[..text.len() - 1]).is_none());
}

/// RFC 5802, section 7: the grammar of the first message.
#[test]
fn first_messages_are_taken_strictly() {
    assert_eq!(first("n,,n=a=2Cb=3Dc,r=x").name, "a,b=c");
    assert_eq!(first("n,a=b=2Cob,n=ann,r=x").authorization.as_deref(), Some("b,ob"));
    assert_eq!(first("n,,n=I\u{ad}X,r=x").name, "IX", "RFC 5802, section 5.1: SASLprep");
    assert_eq!(first("y,,n=ann,r=x,z=1").binding, Binding::Unwanted);
    assert_eq!(first("p=tls-unique,,n=ann,r=x").binding, Binding::Unknown);
    for wrong in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=ann",
        "n,,r=x,n=ann",
        "n,,n=,r=x",
        "n,,n=a=b,r=x",
        "n,,n=a=2,r=x",
        "n,,n=a=2c,r=x",
        "n,,n=ann,r=",
        "n,,n=ann,r=a b",
        "n,,n=ann,r=\u{e9}",
        "n,,m=1,n=ann,r=x",
        "n,,n=ann,r=x,m=1",
        "n,,n=ann,r=x,",
        "n,b=1,n=ann,r=x",
        "n,a=,n=ann,r=x",
        "p=,,n=ann,r=x",
        "p=tls exporter,,n=ann,r=x",
        "x,,n=ann,r=x",
        "N,,n=ann,r=x",
        "n,,n=an\0n,r=x",
    ] {
        assert_eq!(ClientFirst::parse(wrong.as_bytes()), Err(Malformed), "{wrong:?}");
    }
}

/// RFC 5802, section 5.1: the nonce is the server's, whole; what was bound is what the first message said.
#[test]
fn a_claim_belongs_to_its_exchange() {
    let first = first(FIRST);
    let answer = first.answer(NONCE, &salt(), 4096);
    let claim = |message: &str| Claim::parse(message.as_bytes(), &first, &answer, None).map(|_| ());
    assert_eq!(claim(LAST), Ok(()));
    assert_eq!(claim(&LAST.replace(NONCE, "")), Err(Fault::Elsewhere), "the client's half alone");
    assert_eq!(claim(&LAST.replace("k0", "k1")), Err(Fault::Elsewhere));
    assert_eq!(
        claim(&LAST.replace("biws", "eSws")),
        Err(Fault::Elsewhere),
        "RFC 5802, section 6: y,, where n,, was said"
    );
    for wrong in [
        "",
        "c=biws",
        "c=biws,p=",
        &LAST.replace("c=", "d="),
        &LAST.replace("r=", "s="),
        &LAST.replace("VQ=", "VQ"),
        &LAST.replace(",p=", ",m=1,p="),
        &LAST.replace("dHzb", ""),
    ] {
        assert_eq!(claim(wrong), Err(Fault::Malformed), "{wrong:?}");
    }
    assert_eq!(claim(&LAST.replace(",p=", ",x=1,p=")), Ok(()), "an extension that may be ignored");
}

/// RFC 5802, section 6; RFC 9266, section 2; RFC 5929, section 4: what is bound is this connection.
#[test]
fn a_claim_is_bound_to_its_connection() {
    for (name, data) in [("tls-exporter", vec![7; 32]), ("tls-server-end-point", vec![9; 48])] {
        let header = format!("p={name},,");
        let first = first(&format!("{header}n=ann,r=x"));
        let answer = first.answer("y", b"salt", 4096);
        let bound = |data: &[u8]| encode(&[header.as_bytes(), data].concat());
        let claim = |channel: String, tls: Option<&TlsFacts>| {
            let message = format!("c={channel},r=xy,p={}", encode(&[0; 32]));
            Claim::parse(message.as_bytes(), &first, &answer, tls).map(|_| ())
        };
        assert_eq!(claim(bound(&data), Some(&facts())), Ok(()));
        assert_eq!(
            claim(bound(&[8; 32]), Some(&facts())),
            Err(Fault::Elsewhere),
            "{name}: another connection"
        );
        assert_eq!(claim(bound(&[]), Some(&facts())), Err(Fault::Elsewhere), "{name}: nothing bound");
        assert_eq!(
            claim(bound(&data), Some(&TlsFacts::default())),
            Err(Fault::Elsewhere),
            "{name}: not to be had"
        );
        assert_eq!(claim(bound(&data), None), Err(Fault::Elsewhere), "{name}: in the clear");
    }
    let unknown = first("p=tls-unique,,n=ann,r=x");
    let message = format!("c={},r=xy,p={}", encode(b"p=tls-unique,,"), encode(&[0; 32]));
    let claimed = Claim::parse(message.as_bytes(), &unknown, &unknown.answer("y", b"s", 1), Some(&facts()));
    assert!(claimed == Err(Fault::Elsewhere));
}

/// Design, section 6: nothing secret is printed.
#[test]
fn a_claim_is_not_printed() {
    let claim = Claim { auth_message: "n=ann".to_owned(), proof: [1; 32] };
    assert_eq!(format!("{claim:?}"), "Claim(..)");
}

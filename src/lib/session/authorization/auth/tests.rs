use super::*;
use crate::protocol::line::{AUTH_LIMIT, COMMAND_LIMIT};
use crate::protocol::sasl::scram::{Claim, Verifier};
use crate::protocol::sasl::{TlsFacts, cram, encode};
use crate::session::Rejection;
use crate::session::authorization::{Login, Proof};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const SECRETS: Mechanisms =
    Mechanisms::NONE.with(Mechanism::CramMd5).with(Mechanism::ScramSha256).with(Mechanism::ScramSha256Plus);

fn machine(tls: Option<TlsFacts>) -> Authorization {
    Authorization::new(Setup {
        host: "mx.example".to_owned(),
        shy: false,
        challenge: None,
        plaintext_allowed: true,
        xlst: true,
        login_delay: None,
        xmit: true,
        mechanisms: SECRETS,
        stls: tls.is_none(),
        plaintext_over_tls: true,
        tls,
        max_errors: 10,
        max_refusals: 2,
        seed: [1; 32],
    })
}

fn facts() -> TlsFacts {
    TlsFacts { exporter: Some([7; 32]), end_point: Some(vec![9; 32]), ..TlsFacts::default() }
}

fn say(machine: &mut Authorization, line: &str) -> Effect {
    machine.step(Line::Complete(line.as_bytes()))
}

fn reply(machine: &mut Authorization, line: &str) -> String {
    match say(machine, line) {
        Effect::Reply(reply) => reply.text().to_owned(),
        other => panic!("{line}: {other:?}"),
    }
}

fn challenge(effect: Effect) -> Vec<u8> {
    match effect {
        Effect::Challenge(octets) => octets,
        other => panic!("{other:?}"),
    }
}

fn login(effect: Effect) -> Login {
    match effect {
        Effect::Verify(login) => login,
        other => panic!("{other:?}"),
    }
}

fn rejection(effect: Effect) -> (String, Mechanism, Rejection) {
    match effect {
        Effect::Reject(shown, mechanism, why) => (shown, mechanism, why),
        other => panic!("{other:?}"),
    }
}

fn names(machine: &mut Authorization) -> String {
    match say(machine, "AUTH") {
        Effect::Lines(reply, names) if reply.is_ok() => names.join(" "),
        other => panic!("{other:?}"),
    }
}

/// Design, section 3: what is announced is what works, on this connection; RFC 5034, section 3: CAPA says the same.
#[test]
fn mechanisms_depend_on_the_connection() {
    assert_eq!(names(&mut machine(None)), "SCRAM-SHA-256 CRAM-MD5 PLAIN");
    assert_eq!(names(&mut machine(Some(facts()))), "SCRAM-SHA-256-PLUS SCRAM-SHA-256 CRAM-MD5 PLAIN");
    let unbound = TlsFacts { client_name: Some("ann".to_owned()), ..TlsFacts::default() };
    let mut encrypted = Authorization::new(Setup { plaintext_over_tls: false, ..machine(None).setup });
    encrypted.encrypted(unbound);
    assert_eq!(names(&mut encrypted), "EXTERNAL SCRAM-SHA-256 CRAM-MD5");
    match say(&mut encrypted, "CAPA") {
        Effect::Lines(_, lines) => {
            assert!(lines.contains(&"SASL EXTERNAL SCRAM-SHA-256 CRAM-MD5".to_owned()));
        }
        other => panic!("{other:?}"),
    }
    let mut nobody = Authorization::new(Setup { mechanisms: Mechanisms::NONE, ..machine(None).setup });
    assert_eq!(names(&mut nobody), "PLAIN");
    for (line, text) in [
        ("AUTH CRAM-MD5", "CRAM-MD5 is not offered on this connection."),
        ("AUTH EXTERNAL =", "EXTERNAL is not offered on this connection."),
        ("AUTH SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS is not offered on this connection."),
        ("AUTH LOGIN", "This server has no mechanism of that name."),
    ] {
        assert_eq!(reply(&mut nobody, line), text);
    }
    assert!(reply(&mut encrypted, "AUTH PLAIN AGFubgB4").starts_with("[SYS/PERM] "), "design, section 5");
}

/// RFC 4616; RFC 5034, section 4: with and without initial response.
#[test]
fn plain_makes_a_login() {
    let proof = |effect| match login(effect) {
        Login { shown, user: Some(user), proof: Proof::Plain(password) } => {
            assert_eq!(shown, user.as_str());
            let prepared = password.prepared.map(|prepared| prepared.expose().to_vec());
            (shown, password.given.expose().to_vec(), prepared)
        }
        other => panic!("{other:?}"),
    };
    let mut one = machine(None);
    assert_eq!(proof(say(&mut one, "AUTH plain AGFubgB4")), ("ann".to_owned(), b"x".to_vec(), None));
    let mut other = machine(None);
    assert_eq!(challenge(say(&mut other, "AUTH PLAIN")), b"", "the server has nothing to say");
    let message = encode("ann\0ann\0p\u{a0}w".as_bytes());
    let expected = ("ann".to_owned(), "p\u{a0}w".as_bytes().to_vec(), Some(b"p w".to_vec()));
    assert_eq!(proof(say(&mut other, &message)), expected, "RFC 4616, section 2: SASLprep");
    let identity = rejection(say(&mut machine(None), &format!("AUTH PLAIN {}", encode(b"bob\0ann\0x"))));
    assert_eq!(identity, ("ann".to_owned(), Mechanism::Plain, Rejection::Authorization));
}

/// RFC 2195, section 2; design, section 3: challenges are never the same.
#[test]
fn cram_md5_begins_with_a_challenge() {
    let mut machine = machine(None);
    let first = challenge(say(&mut machine, "AUTH CRAM-MD5"));
    let text = String::from_utf8(first.clone()).unwrap();
    assert!(text.starts_with('<') && text.ends_with("@mx.example>") && text.len() == 45, "{text}");
    let digest = cram::digest(b"secret", &first);
    let hexadecimal: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    let login = login(say(&mut machine, &encode(format!("ann {hexadecimal}").as_bytes())));
    assert_eq!(login.proof, Proof::Cram { challenge: text, digest });
    machine.unavailable();
    assert_ne!(challenge(say(&mut machine, "AUTH CRAM-MD5")), first);
    machine.unavailable();
    assert_eq!(reply(&mut machine, "AUTH CRAM-MD5 AGFubgB4"), "This mechanism begins with a challenge.");
}

/// RFC 5034, section 4: `*` cancels, and what is no base64 is rejected. Both end the exchange.
#[test]
fn an_exchange_can_be_broken_off() {
    let mut machine = machine(None);
    assert_eq!((machine.line_limit(), machine.is_exchanging()), (COMMAND_LIMIT, false));
    let _ = challenge(say(&mut machine, "AUTH PLAIN"));
    assert_eq!((machine.line_limit(), machine.is_exchanging()), (AUTH_LIMIT, true), "RFC 5034, section 4");
    assert_eq!(reply(&mut machine, "*"), "Authentication cancelled.");
    assert_eq!(machine.line_limit(), COMMAND_LIMIT);
    for (line, text) in [
        ("not base64", "This is not base64."),
        ("=", "This is not base64."),
        ("QUIT", "This is no message of the mechanism."),
        ("", "This is no message of the mechanism."),
    ] {
        let _ = challenge(say(&mut machine, "AUTH PLAIN"));
        assert_eq!(reply(&mut machine, line), text, "{line:?}");
        assert_eq!(reply(&mut machine, "PASS x"), "USER comes first.", "commands again");
    }
    let _ = challenge(say(&mut machine, "AUTH PLAIN"));
    match machine.step(Line::TooLong) {
        Effect::Reply(reply) => assert!(reply.text().starts_with("Line too long")),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        reply(&mut machine, "AUTH PLAIN ="),
        "This is no message of the mechanism.",
        "an empty response"
    );
}

/// Design, section 3: faults of an exchange are faults of syntax, and the last one closes.
#[test]
fn faults_are_counted() {
    let mut machine = machine(None);
    for _ in 1..machine.setup.max_errors {
        assert_eq!(reply(&mut machine, "AUTH PLAIN x"), "This is not base64.");
    }
    assert!(matches!(say(&mut machine, "AUTH PLAIN x"), Effect::Close(_)));
}

/// RFC 4422, appendix A: the certificate's name, which the message may say again.
#[test]
fn external_takes_the_certificates_name() {
    let facts = TlsFacts { client_name: Some("ann".to_owned()), ..facts() };
    for line in ["AUTH EXTERNAL =", "AUTH EXTERNAL YW5u"] {
        let login = login(say(&mut machine(Some(facts.clone())), line));
        assert_eq!((login.shown.as_str(), &login.proof), ("ann", &Proof::External), "{line}");
    }
    let other = rejection(say(&mut machine(Some(facts)), "AUTH EXTERNAL Ym9i"));
    assert_eq!(other, ("ann".to_owned(), Mechanism::External, Rejection::Authorization));
}

/// A client of SCRAM, written from RFC 5802, section 3.
fn final_message(first: &str, answer: &str, bound: &[u8], password: &[u8]) -> String {
    let hmac = |key: &[u8], text: &[u8]| -> [u8; 32] {
        Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().into()
    };
    let mut parts = answer.split(',').map(|part| &part[2..]);
    let (nonce, salt) = (parts.next().unwrap(), sasl::decode(parts.next().unwrap().as_bytes()).unwrap());
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, parts.next().unwrap().parse().unwrap(), &mut salted);
    let header_end = first.find("n=").unwrap();
    let channel = encode(&[&first.as_bytes()[..header_end], bound].concat());
    let without_proof = format!("c={channel},r={nonce}");
    let message = format!("{},{answer},{without_proof}", &first[header_end..]);
    let client_key = hmac(&salted, b"Client Key");
    let signature = hmac(&Sha256::digest(client_key), message.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(one, other)| one ^ other).collect();
    format!("{without_proof},p={}", encode(&proof))
}

fn claim(login: Login) -> Claim {
    match login.proof {
        Proof::Scram { claim, .. } => claim,
        other => panic!("{other:?}"),
    }
}

/// RFC 5802, sections 3 and 5; RFC 7677; RFC 5034, section 4: the server's last message is a challenge, the client's an empty
/// line.
#[test]
fn scram_goes_through_all_its_messages() {
    for (tls, mechanism, header, bound) in [
        (None, "SCRAM-SHA-256", "n,,", Vec::new()),
        (None, "SCRAM-SHA-256", "y,a=ann,", Vec::new()),
        (Some(facts()), "SCRAM-SHA-256", "n,,", Vec::new()),
        (Some(facts()), "SCRAM-SHA-256-PLUS", "p=tls-exporter,,", vec![7; 32]),
        (Some(facts()), "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", vec![9; 32]),
    ] {
        let mut machine = machine(tls);
        let first = format!("{header}n=ann,r=abc");
        let asked = login(say(&mut machine, &format!("AUTH {mechanism} {}", encode(first.as_bytes()))));
        assert_eq!(
            (asked.shown.as_str(), &asked.proof),
            ("ann", &Proof::Salt { plus: mechanism.ends_with('S') })
        );
        let answer = String::from_utf8(challenge(machine.salted(b"NaCl", 4096))).unwrap();
        assert!(
            answer.starts_with("r=abc") && answer.len() > "r=abc,s=TmFDbA==,i=4096".len() + 20,
            "{answer}"
        );
        let last = final_message(&first, &answer, &bound, b"secret");
        let login = login(say(&mut machine, &encode(last.as_bytes())));
        let signature = Verifier::of_password(b"secret", b"NaCl", 4096).check(&claim(login)).unwrap();
        assert!(challenge(machine.proven(&signature)).starts_with(b"v="), "{mechanism}");
        assert_eq!(say(&mut machine, ""), Effect::Proceed);
    }
}

/// RFC 5802, section 6: a client that could bind, and was told that the server cannot, when it can.
#[test]
fn a_downgrade_is_noticed() {
    let message =
        |header: &str| format!("AUTH SCRAM-SHA-256 {}", encode(format!("{header}n=ann,r=abc").as_bytes()));
    let found = rejection(say(&mut machine(Some(facts())), &message("y,,")));
    assert_eq!(found, ("ann".to_owned(), Mechanism::ScramSha256, Rejection::Downgrade));
    let binding = |line: &str| rejection(say(&mut machine(Some(facts())), line)).2;
    assert_eq!(binding(&message("p=tls-exporter,,")), Rejection::Binding, "without PLUS nothing is bound");
    let plus = |header: &str| message(header).replace("256 ", "256-PLUS ");
    for header in ["n,,", "y,,", "p=tls-unique,,"] {
        assert_eq!(binding(&plus(header)), Rejection::Binding, "{header}");
    }
    let old = TlsFacts { end_point: Some(vec![9; 32]), ..TlsFacts::default() };
    let found = rejection(say(&mut machine(Some(old)), &plus("p=tls-exporter,,")));
    assert_eq!(
        found.2,
        Rejection::Binding,
        "RFC 9266, section 4.2: not to be had without extended master secret"
    );
    assert_eq!(rejection(say(&mut machine(None), &message("n,a=bob,"))).2, Rejection::Authorization);
}

/// RFC 5802, section 5.1: a final message of another exchange, or with a channel that was not announced.
#[test]
fn a_final_message_of_another_exchange_proves_nothing() {
    let first = "n,,n=ann,r=abc";
    let mut machine = machine(None);
    let line = format!("AUTH SCRAM-SHA-256 {}", encode(first.as_bytes()));
    let _ = login(say(&mut machine, &line));
    let answer = String::from_utf8(challenge(machine.salted(b"NaCl", 4096))).unwrap();
    let last = final_message(first, &answer, b"", b"secret");
    machine.unavailable();
    let _ = login(say(&mut machine, &line));
    let _ = challenge(machine.salted(b"NaCl", 4096));
    assert_eq!(rejection(say(&mut machine, &encode(last.as_bytes()))).2, Rejection::Binding, "replayed");
}

/// The client has the last word, and nothing but an empty line is a yes.
#[test]
fn the_signature_wants_a_yes() {
    for (line, text) in [("*", "Authentication cancelled."), ("AAAA", "This is no message of the mechanism.")]
    {
        let first = "n,,n=ann,r=abc";
        let mut machine = machine(None);
        let _ = login(say(&mut machine, &format!("AUTH SCRAM-SHA-256 {}", encode(first.as_bytes()))));
        let answer = String::from_utf8(challenge(machine.salted(b"NaCl", 4096))).unwrap();
        let _ = login(say(&mut machine, &encode(final_message(first, &answer, b"", b"x").as_bytes())));
        let _ = challenge(machine.proven(&[0; 32]));
        assert_eq!(reply(&mut machine, line), text);
        assert!(!machine.is_exchanging());
    }
}

/// A verifier that answers out of turn changes nothing.
#[test]
fn nobody_is_proven_out_of_turn() {
    assert!(matches!(machine(None).salted(b"NaCl", 4096), Effect::Reply(_)));
    assert!(matches!(machine(None).proven(&[0; 32]), Effect::Reply(_)));
    let mut early = machine(None);
    let _ = challenge(say(&mut early, "AUTH PLAIN"));
    assert!(matches!(early.salted(b"NaCl", 4096), Effect::Reply(_)), "PLAIN has no salt");
}

/// Design, section 4: names that the rules refuse go on like any other, and never become somebody's.
#[test]
fn refused_names_stay_nobodys() {
    let long = "a".repeat(65);
    for name in ["../ann", "ann\u{e9}", ".ann", long.as_str()] {
        let line = format!("AUTH PLAIN {}", encode(format!("\0{name}\0x").as_bytes()));
        let login = login(say(&mut machine(None), &line));
        assert_eq!(login.user, None, "{name}");
        assert!(crate::protocol::name::UserName::parse(login.shown.as_bytes()).is_none(), "{}", login.shown);
        assert!(login.shown.len() <= 64 && login.shown.is_ascii());
    }
}

/// RFC 2595, section 4: after STLS the client begins anew. RFC 6856, section 2.1, lets servers refuse STLS after UTF8, which would
/// leave the client in the clear.
#[test]
fn encryption_forgets_what_was_said() {
    let mut machine = machine(None);
    for line in ["LANG de", "UTF8", "USER ann"] {
        assert!(matches!(say(&mut machine, line), Effect::Reply(reply) if reply.is_ok()), "{line}");
    }
    assert!(matches!(say(&mut machine, "STLS"), Effect::StartTls(_)));
    machine.encrypted(facts());
    assert_eq!(machine.terms().language, crate::protocol::language::Language::Default);
    assert_eq!(reply(&mut machine, "PASS x"), "USER comes first.");
    let _ = reply(&mut machine, "USER ann");
    let login = login(say(&mut machine, "PASS \u{a0}x"));
    assert!(
        matches!(login.proof, Proof::Password(password) if password.prepared.is_none()),
        "no UTF8 any more"
    );
}

/// RFC 5034, section 3: what AUTH takes after STLS is what CAPA says then, and what the session will say.
#[test]
fn terms_are_those_of_the_encrypted_connection() {
    let mut machine = Authorization::new(Setup { plaintext_allowed: false, ..machine(None).setup });
    let before = machine.terms();
    assert!(!before.plaintext_allowed && !before.mechanisms.has(Mechanism::ScramSha256Plus));
    machine.encrypted(TlsFacts { client_name: Some("ann".to_owned()), ..facts() });
    let after = machine.terms();
    assert!(after.plaintext_allowed);
    assert!(Mechanism::ALL.into_iter().all(|mechanism| after.mechanisms.has(mechanism)));
}

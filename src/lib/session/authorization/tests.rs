use super::*;

fn setup() -> Setup {
    let host = "mx.example".to_owned();
    Setup {
        host,
        shy: false,
        challenge: None,
        plaintext_allowed: true,
        xlst: true,
        login_delay: None,
        xmit: true,
        mechanisms: Mechanisms::NONE,
        stls: false,
        plaintext_over_tls: true,
        tls: None,
        max_errors: 4,
        max_refusals: 2,
        seed: [1; 32],
    }
}

fn machine() -> Authorization {
    Authorization::new(setup())
}

fn say(machine: &mut Authorization, line: &str) -> Effect {
    machine.step(Line::Complete(line.as_bytes()))
}

fn reply(machine: &mut Authorization, line: &str) -> Reply {
    match say(machine, line) {
        Effect::Reply(reply) => reply,
        other => panic!("{line}: {other:?}"),
    }
}

fn login(machine: &mut Authorization, line: &str) -> Login {
    match say(machine, line) {
        Effect::Verify(login) => login,
        other => panic!("{line}: {other:?}"),
    }
}

fn password(login: &Login) -> &[u8] {
    match &login.proof {
        Proof::Password(password) => password.given.expose(),
        other => panic!("{other:?}"),
    }
}

/// RFC 1939, section 7, USER and PASS; history: the words.
#[test]
fn user_and_pass_make_a_login() {
    let mut machine = machine();
    assert_eq!(reply(&mut machine, "USER ann"), Reply::ok("Password required for ann."));
    let login = login(&mut machine, "PASS correct horse ");
    assert_eq!(login.user, UserName::parse(b"ann"));
    assert_eq!((login.shown.as_str(), password(&login)), ("ann", b"correct horse ".as_slice()));
    assert!(!format!("{login:?}").contains("horse"), "design, section 6: no password in any log");
}

/// Design, sections 4 and 5: a name that the rules refuse is answered like any other.
#[test]
fn a_refused_name_is_asked_for_its_password_too() {
    let mut machine = machine();
    assert_eq!(reply(&mut machine, "USER ../ann"), Reply::ok("Password required for ../ann."));
    let login = login(&mut machine, "PASS x");
    assert_eq!((login.user, login.shown.as_str()), (None, "../ann"));
    assert_eq!(reply(&mut machine, "USER \u{e9}"), Reply::ok("Password required for ??."));
    assert_eq!(incorrect("ann"), Reply::coded(Code::Auth, "Password supplied for \"ann\" is incorrect."));
}

/// RFC 1939, section 7, PASS: only directly after a successful USER.
#[test]
fn pass_follows_user_directly() {
    let first = Reply::err("USER comes first.");
    let mut machine = machine();
    assert_eq!(reply(&mut machine, "PASS x"), first);
    for between in ["STAT", "AUTH", "STLS", "FOO", "", "USER"] {
        assert!(reply(&mut machine, "USER ann").is_ok());
        let _ = say(&mut machine, between);
        assert_eq!(reply(&mut machine, "PASS x"), first, "after {between}");
    }
    for harmless in ["CAPA", "NOOP", "UTF8", "LANG de", "LANG"] {
        assert!(reply(&mut machine, "USER ann").is_ok());
        let _ = say(&mut machine, harmless);
        assert_eq!(login(&mut machine, "PASS x").shown, "ann", "after {harmless}");
    }
    assert_eq!(reply(&mut machine, "PASS x"), first, "one USER, one PASS");
}

/// A second USER replaces the first.
#[test]
fn the_last_user_counts() {
    let mut machine = machine();
    assert!(reply(&mut machine, "USER bob").is_ok() && reply(&mut machine, "USER ann").is_ok());
    assert_eq!(login(&mut machine, "PASS x").shown, "ann");
}

/// RFC 1939, section 4: after a refusal the client may try again or QUIT; the last refusal that is allowed closes.
#[test]
fn refusals_are_counted() {
    let mut machine = machine();
    for attempt in 1..=2 {
        assert!(reply(&mut machine, "USER ann").is_ok());
        let _ = login(&mut machine, "PASS x");
        let effect = machine.refused(incorrect("ann"));
        if attempt < 2 {
            assert_eq!(effect, Effect::Reply(incorrect("ann")));
            assert_eq!(
                reply(&mut machine, "PASS x"),
                Reply::err("USER comes first."),
                "the name is forgotten"
            );
        } else {
            assert_eq!(effect, Effect::Close(incorrect("ann")));
        }
    }
}

/// RFC 1939, section 7, APOP: the challenge of the greeting, brackets included, is what is hashed.
#[test]
fn apop_answers_the_greetings_challenge() {
    for given in ["1896.697@dbc", "<1896.697@dbc>"] {
        let mut machine = Authorization::new(Setup { challenge: Some(given.to_owned()), ..setup() });
        assert!(machine.greeting().text().ends_with(" at mx.example starting. <1896.697@dbc>"));
        let login = login(&mut machine, "APOP mrose c4c9334bac560ecc979e58001b3e22fb");
        let digest = 0xc4c9_334b_ac56_0ecc_979e_5800_1b3e_22fb_u128.to_be_bytes();
        assert_eq!(login.proof, Proof::Apop { challenge: "<1896.697@dbc>".to_owned(), digest });
        assert_eq!(login.user, UserName::parse(b"mrose"));
    }
}

/// RFC 1939, section 7, APOP: without a challenge in the greeting there is none.
#[test]
fn apop_needs_a_challenge() {
    let answer = reply(&mut machine(), "APOP mrose c4c9334bac560ecc979e58001b3e22fb");
    assert_eq!(answer, Reply::err("APOP is not offered: the greeting has no challenge."));
}

/// Design, section 5: no plaintext password over an unencrypted connection; RFC 3206, section 4: the code.
#[test]
fn plaintext_is_refused_before_the_password_is_looked_at() {
    let mut machine = Authorization::new(Setup { plaintext_allowed: false, ..setup() });
    for line in ["USER ann", "PASS secret"] {
        assert!(reply(&mut machine, line).text().starts_with("[SYS/PERM] "), "{line}");
    }
    match say(&mut machine, "CAPA") {
        Effect::Lines(_, lines) => assert!(!lines.contains(&"USER".to_owned()), "RFC 2449, section 6.2"),
        other => panic!("{other:?}"),
    }
}

/// Design, section 3: the last syntax error that is allowed before login closes the connection.
#[test]
fn errors_close() {
    let mut machine = machine();
    for error in 1..machine.setup.max_errors {
        let line = if error % 2 == 0 { Line::TooLong } else { Line::Complete(b"GET / HTTP/1.1") };
        assert!(matches!(machine.step(line), Effect::Reply(reply) if !reply.is_ok()));
        assert!(!reply(&mut machine, "STAT").is_ok(), "a command of the other state is no syntax error");
    }
    let closed = Effect::Close(Reply::err("Too many errors: closing the connection."));
    assert_eq!(say(&mut machine, "GET / HTTP/1.1"), closed);
}

/// RFC 1939, section 3: a command of the other state gets -ERR. RFC 2449, section 5: CAPA works in both states.
#[test]
fn commands_of_the_other_state() {
    let mut machine = machine();
    let commands =
        ["STAT", "LIST", "RETR 1", "DELE 1", "NOOP", "RSET", "TOP 1 0", "UIDL", "LAST", "XTND XMIT"];
    for line in commands {
        assert!(reply(&mut machine, line).text().starts_with("Not logged in"), "{line}");
    }
    assert!(reply(&mut machine, "STLS").text().ends_with(" is not supported by this server."));
    assert!(
        matches!(say(&mut machine, "CAPA"), Effect::Lines(_, lines) if lines.contains(&"UIDL".to_owned()))
    );
}

/// RFC 6856, sections 2.1 and 3: UTF8, and LANG with its languages; what was selected goes into the session.
#[test]
fn utf8_and_lang() {
    let mut machine = machine();
    assert_eq!(reply(&mut machine, "UTF8"), Reply::ok("UTF-8 is understood."));
    match say(&mut machine, "LANG") {
        Effect::Lines(reply, lines) if reply.is_ok() => {
            assert_eq!(lines, ["i-default Plain English", "en English", "de Deutsch"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        reply(&mut machine, "LANG de-AT"),
        Reply::ok("de Language selected."),
        "the tag that was selected"
    );
    assert_eq!(machine.language(), Language::German);
    assert!(
        !reply(&mut machine, "LANG fr").is_ok() && machine.language() == Language::German,
        "nothing changes"
    );
    assert_eq!(machine.terms().language, Language::German);
    let german = reply(&mut machine, "USER ann").in_language(machine.language());
    assert_eq!(german.text(), "Passwort f\u{fc}r ann erforderlich.");
    assert_eq!(reply(&mut machine, "LANG *"), Reply::ok("i-default Language selected."));
}

/// RFC 4013 for PASS once it is text (RFC 6856, section 2.2); before, the octets are what they are.
#[test]
fn pass_is_text_after_utf8() {
    for (before, prepared) in [("NOOP", None), ("UTF8", Some(b"p w".to_vec()))] {
        let mut machine = machine();
        let _ = (say(&mut machine, before), say(&mut machine, "USER ann"));
        let Proof::Password(password) = login(&mut machine, "PASS p\u{a0}w").proof else { panic!() };
        assert_eq!(password.given.expose(), "p\u{a0}w".as_bytes());
        assert_eq!(password.prepared.map(|prepared| prepared.expose().to_vec()), prepared, "{before}");
    }
}

/// RFC 1939, section 4, QUIT; history: the farewell.
#[test]
fn quit_before_login_closes() {
    let farewell = Reply::ok("Pop server at mx.example signing off.");
    assert_eq!(say(&mut machine(), "QUIT"), Effect::Close(farewell));
}

fn with_tls(plaintext_allowed: bool, over_tls: bool) -> Authorization {
    Authorization::new(Setup { plaintext_allowed, plaintext_over_tls: over_tls, stls: true, ..setup() })
}

fn facts() -> TlsFacts {
    TlsFacts { version: "TLSv1.3".to_owned(), ..TlsFacts::default() }
}

fn announces(machine: &mut Authorization, capability: &str) -> bool {
    match say(machine, "CAPA") {
        Effect::Lines(_, lines) => lines.contains(&capability.to_owned()),
        other => panic!("{other:?}"),
    }
}

/// RFC 2595, section 4: what was known before is discarded, and STLS is not possible any more.
#[test]
fn stls_forgets_what_was_said_before() {
    let mut machine = with_tls(true, true);
    assert!(announces(&mut machine, "STLS"));
    reply(&mut machine, "USER ann");
    assert!(matches!(say(&mut machine, "STLS"), Effect::StartTls(reply) if reply.is_ok()));
    machine.encrypted(facts());
    assert!(!reply(&mut machine, "PASS secret").is_ok(), "the name was given in the clear");
    assert!(!announces(&mut machine, "STLS"));
    assert_eq!(reply(&mut machine, "STLS"), Reply::err("The connection is encrypted already."));
}

/// Design, section 5, and section 7: `plaintext = "tls"` and `"never"`.
#[test]
fn passwords_wait_for_encryption() {
    let mut machine = with_tls(false, true);
    assert!(reply(&mut machine, "USER ann").text().ends_with("use STLS first."));
    assert!(!announces(&mut machine, "USER"));
    machine.encrypted(facts());
    assert!(announces(&mut machine, "USER"));
    assert!(reply(&mut machine, "USER ann").is_ok());
    let mut never = with_tls(false, false);
    assert!(!reply(&mut never, "USER ann").text().contains("STLS"), "it would not help");
    never.encrypted(facts());
    assert!(reply(&mut never, "USER ann").text().ends_with("use another mechanism."));
    assert!(!announces(&mut never, "USER"));
}

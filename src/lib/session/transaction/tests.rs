use super::*;
use crate::protocol::sasl::Mechanisms;

const OFFER: Offer = Offer {
    plaintext_allowed: true,
    xlst: true,
    login_delay: None,
    xmit: true,
    shy: false,
    mechanisms: Mechanisms::NONE,
    stls: false,
};

/// Three messages of 100, 200 and 300 octets.
fn session() -> Transaction {
    with(OFFER)
}

fn with(offer: Offer) -> Transaction {
    let (user, host) = ("ann".to_owned(), "mx.example".to_owned());
    Transaction::new(Setup { user, host, count: 3, octets: 600, offer, language: Language::default() })
}

fn number(number: u32) -> MsgNo {
    MsgNo::new(number).unwrap()
}

fn say(session: &mut Transaction, line: &str) -> Effect {
    session.step(Line::Complete(line.as_bytes()))
}

fn reply(session: &mut Transaction, line: &str) -> Reply {
    match say(session, line) {
        Effect::Reply(reply) => reply,
        other => panic!("{line}: {other:?}"),
    }
}

/// DELE as a driver carries it out.
fn delete(session: &mut Transaction, message: u32) -> Reply {
    assert_eq!(say(session, &format!("DELE {message}")), Effect::Delete(number(message)));
    session.deleted(number(message), u64::from(message) * 100)
}

/// History: the words of the welcome.
#[test]
fn the_welcome_counts() {
    assert_eq!(session().welcome(), Reply::ok("ann has 3 message(s) (600 octets)."));
}

/// RFC 1939, section 5, STAT: messages marked as deleted are not counted.
#[test]
fn stat_counts_what_is_left() {
    let mut session = session();
    assert_eq!(reply(&mut session, "STAT"), Reply::ok("3 600"));
    assert_eq!(delete(&mut session, 2), Reply::ok("Message 2 has been deleted."));
    assert_eq!(reply(&mut session, "STAT"), Reply::ok("2 400"));
    assert_eq!(session.list_all(), Reply::ok("2 message(s) (400 octets)."));
    let statistics = Statistics { deleted: 1, deleted_octets: 200, left: 2, left_octets: 400 };
    assert_eq!(session.statistics(), statistics);
}

/// RFC 1939, section 5, LIST and section 7, UIDL; history, XTND XLST: one or all.
#[test]
fn listings_are_for_one_or_all() {
    let mut session = session();
    let one = Scope::One(number(3));
    assert_eq!(say(&mut session, "LIST"), Effect::List(Scope::All));
    assert_eq!(say(&mut session, "LIST 3"), Effect::List(one));
    assert_eq!(say(&mut session, "UIDL"), Effect::Uidl(Scope::All));
    assert_eq!(say(&mut session, "UIDL 3"), Effect::Uidl(one));
    let header = |scope| Effect::Header { field: "Subject".to_owned(), scope };
    assert_eq!(say(&mut session, "XTND XLST Subject"), header(Scope::All));
    assert_eq!(say(&mut session, "XTND XLIST Subject 3"), header(one));
    assert_eq!(session.list_one(number(3), 300), Reply::ok("3 300"));
    assert_eq!(session.uidl_one(number(3), 0xab, 2), Reply::ok(format!("3 {:0>32}-2", "ab")));
}

/// RFC 1939, section 5, RETR and section 7, TOP.
#[test]
fn retr_and_top_retrieve() {
    let mut session = session();
    assert_eq!(say(&mut session, "RETR 1"), Effect::Retrieve { message: number(1), lines: None });
    assert_eq!(say(&mut session, "TOP 1 0"), Effect::Retrieve { message: number(1), lines: Some(0) });
    assert_eq!(session.retrieve_reply(100), Reply::ok("100 octets"));
    session.retrieved(number(1));
    assert!(session.retrievals().contains(number(1)) && session.retrievals().len() == 1);
}

/// RFC 1939, section 5, DELE: any later reference to the message is an error.
#[test]
fn a_deleted_message_is_gone() {
    let mut session = session();
    let _ = delete(&mut session, 2);
    let gone = Reply::err("Message 2 has been deleted.");
    for line in ["LIST 2", "RETR 2", "DELE 2", "TOP 2 0", "UIDL 2", "XTND XLST Subject 2"] {
        assert_eq!(reply(&mut session, line), gone, "{line}");
    }
    assert!(session.is_deleted(number(2)) && !session.is_deleted(number(1)));
}

/// RFC 1939, section 5: a number that is larger than the number of messages.
#[test]
fn a_message_that_does_not_exist() {
    let mut session = session();
    let absent = Reply::err("Message 4 does not exist: 3 in the maildrop.");
    for line in ["LIST 4", "RETR 4", "DELE 4", "TOP 4 0", "UIDL 4", "XTND XLST Subject 4"] {
        assert_eq!(reply(&mut session, line), absent, "{line}");
    }
}

/// RFC 1460, section 5, LAST: the highest message that RETR or DELE accessed.
#[test]
fn last_is_the_highest_accessed() {
    let mut session = session();
    assert_eq!(reply(&mut session, "LAST"), Reply::ok("0"));
    session.retrieved(number(2));
    assert_eq!(reply(&mut session, "LAST"), Reply::ok("2"));
    session.retrieved(number(1));
    assert_eq!(reply(&mut session, "LAST"), Reply::ok("2"));
    let _ = say(&mut session, "TOP 3 0");
    assert_eq!(reply(&mut session, "LAST"), Reply::ok("2"));
    let _ = delete(&mut session, 3);
    assert_eq!(reply(&mut session, "LAST"), Reply::ok("3"));
    assert!(reply(&mut session, "RSET").is_ok());
    assert_eq!(reply(&mut session, "LAST"), Reply::ok("0"));
}

/// RFC 1939, section 5, RSET: nothing is marked any more.
#[test]
fn rset_takes_deletions_back() {
    let mut session = session();
    let _ = (delete(&mut session, 1), delete(&mut session, 3));
    assert_eq!(reply(&mut session, "RSET"), Reply::ok("Maildrop has 3 message(s) (600 octets)."));
    assert_eq!(reply(&mut session, "STAT"), Reply::ok("3 600"));
    assert!(session.deletions().is_empty());
    assert!(matches!(say(&mut session, "QUIT"), Effect::Close(_)));
}

/// RFC 1939, section 6, QUIT; design, section 4: +OK only when the deletions are durable.
#[test]
fn quit_commits_deletions() {
    let farewell = Reply::ok("Pop server at mx.example signing off.");
    let mut session = session();
    assert_eq!(say(&mut session, "QUIT"), Effect::Close(farewell.clone()));
    let _ = delete(&mut session, 1);
    assert_eq!(say(&mut session, "QUIT"), Effect::Commit);
    assert_eq!(session.quit_reply(Ok(())), farewell);
    let failed = session.quit_reply(Err("[SYS/TEMP] No space, nothing was deleted.".to_owned()));
    assert_eq!(failed, Reply::err("[SYS/TEMP] No space, nothing was deleted."));
}

/// RFC 1939, section 5: commands of the other state; RFC 6856, section 2: UTF8 is for before the login, LANG for both.
#[test]
fn commands_of_the_other_state() {
    let mut session = session();
    for line in ["USER ann", "PASS x", "APOP ann c4c9334bac560ecc979e58001b3e22fb", "AUTH PLAIN"] {
        assert_eq!(reply(&mut session, line), Reply::err("Already logged in."), "{line}");
    }
    for line in ["STLS", "UTF8", "LANG fr"] {
        assert!(!reply(&mut session, line).is_ok(), "{line}");
    }
    assert_eq!(reply(&mut session, "LANG de"), Reply::ok("de Language selected."));
    assert_eq!(session.language(), Language::German);
    assert_eq!(reply(&mut session, "NOOP"), Reply::ok(""));
}

/// Syntax errors of somebody who has logged in close nothing, however many.
#[test]
fn errors_after_login_close_nothing() {
    let mut session = session();
    for _ in 0..100 {
        assert!(!reply(&mut session, "FOO").is_ok());
        assert!(matches!(session.step(Line::TooLong), Effect::Reply(reply) if !reply.is_ok()));
    }
    assert_eq!(reply(&mut session, "STAT"), Reply::ok("3 600"));
}

/// RFC 2449, section 5: CAPA after login; design, section 7: the switches of [xtnd].
#[test]
fn extensions_can_be_switched_off() {
    let mut on = session();
    assert_eq!(say(&mut on, "XTND XMIT"), Effect::Receive);
    let Effect::Lines(_, lines) = say(&mut on, "CAPA") else { panic!("CAPA") };
    assert!(lines.contains(&"UIDL".to_owned()) && lines.contains(&"X-XTND XLST XMIT".to_owned()));
    let mut off = with(Offer { xlst: false, xmit: false, ..OFFER });
    assert_eq!(reply(&mut off, "XTND XMIT"), Reply::err("XTND XMIT is switched off here."));
    assert_eq!(reply(&mut off, "XTND XLST Subject"), Reply::err("XTND XLST is switched off here."));
    let Effect::Lines(_, lines) = say(&mut off, "CAPA") else { panic!("CAPA") };
    assert!(!lines.iter().any(|line| line.starts_with("X-XTND")));
}

//! Hostile surroundings, and failures.

use super::*;
use std::os::unix::fs::symlink;

fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    crate::sys::privileges::is_root()
}

#[test]
fn what_is_no_message_is_left_alone_and_told_once() {
    let home = Home::new();
    home.put("cur/1.a.h:2,", &message(1));
    std::fs::write(home.0.path().join("secret"), "secret").unwrap();
    symlink("../../secret", home.at("new/2.link.h")).unwrap();
    symlink("nowhere", home.at("new/3.link.h")).unwrap();
    fifo(&home.at("new/4.fifo.h"));
    std::fs::create_dir(home.at("cur/5.directory.h")).unwrap();
    home.put("new/6.closed.h", &message(6));
    chmod(&home.at("new/6.closed.h"), 0);
    home.put("new/7.a.h", &message(7));
    let strange = if is_root() { 4 } else { 5 };
    for _ in 0..2 {
        let mut maildir = home.open();
        let notes = maildir.take_notes();
        assert_eq!(notes.len(), 1, "one line: {notes:?}");
        assert!(notes[0].contains("new/2.link.h is a symbolic link"), "{notes:?}");
        assert!(notes[0].contains(&format!("and {} more such", strange - 1)), "{notes:?}");
        let texts = texts(&mut maildir);
        assert_eq!((texts.first(), texts.last()), (Some(&message(1)), Some(&message(7))));
        maildir.commit(&Bitmap::new(), &set(1..=maildir.count())).unwrap();
    }
    chmod(&home.at(if is_root() { "cur/6.closed.h:2,S" } else { "new/6.closed.h" }), 0o600);
    assert_eq!(home.open().count(), 3, "what can be read by now is there");
    assert!(home.at("new/2.link.h").is_symlink() && home.at("new/4.fifo.h").exists());
}

#[test]
fn what_takes_a_messages_place_is_neither_followed_nor_removed() {
    let home = Home::new();
    for number in 1..=4 {
        home.put(format!("new/{number}.a.h"), &message(number));
    }
    let mut maildir = home.open();
    for number in 1..=3 {
        std::fs::remove_file(home.at(format!("new/{number}.a.h"))).unwrap();
    }
    symlink("4.a.h", home.at("new/1.a.h")).unwrap();
    fifo(&home.at("new/2.a.h"));
    std::fs::create_dir(home.at("new/3.a.h")).unwrap();
    for number in 1..=3 {
        assert!(text(&mut maildir, number).unwrap_err().reply().starts_with("[SYS/TEMP]"), "{number}");
    }
    delete(&mut maildir, [1, 2, 3]).unwrap_err();
    assert_eq!(home.names(), ["new/1.a.h", "new/2.a.h", "new/3.a.h", "new/4.a.h"]);
}

#[test]
fn another_users_message_is_no_message() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let home = Home::new();
    home.put("new/1.a.h", &message(1));
    std::os::unix::fs::chown(home.at("new/1.a.h"), Some(12_345), None).unwrap();
    let mut maildir = home.open();
    assert_eq!(maildir.count(), 0);
    assert!(maildir.take_notes()[0].contains("belongs to another user"));
    std::os::unix::fs::chown(home.at("new/1.a.h"), Some(home.uid()), None).unwrap();
    assert_eq!(home.open().count(), 1);
    std::os::unix::fs::chown(home.at("cur"), Some(12_345), None).unwrap();
    let error = home.try_open().err().unwrap();
    assert!(error.to_string().contains("Maildir/cur belongs to uid 12345"), "{error}");
}

#[test]
fn what_is_no_maildir_is_refused() {
    let home = Home::new();
    let at = |name: &str| home.0.path().join(name);
    std::fs::create_dir_all(at("half/cur")).unwrap();
    std::fs::write(at("file"), "").unwrap();
    symlink("Maildir", at("link")).unwrap();
    for (name, why) in [
        ("half", "no directories cur and new"),
        ("file", "is not a directory"),
        ("link", "is a symbolic link"),
    ] {
        let error = maildrop::find(Format::Maildir, &at(name), home.uid()).err().unwrap();
        assert_eq!(error.kind(), Kind::Permanent, "{name}");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(matches!(maildrop::find(Format::Auto, &at("file"), home.uid()), Ok(Found::Mbox(Some(_)))));
    for format in [Format::Auto, Format::Maildir] {
        assert!(matches!(maildrop::find(format, &at("absent"), home.uid()), Ok(Found::Mbox(None))));
        assert!(matches!(maildrop::find(format, &at("no/mail/yet"), home.uid()), Ok(Found::Mbox(None))));
        assert!(maildrop::find(format, &at("half"), home.uid()).is_err());
        assert!(maildrop::find(format, &at("link"), home.uid()).is_err());
        assert!(maildrop::find(format, &at("Maildir"), home.uid() + 1).is_err());
    }
    assert!(maildrop::find(Format::Mbox, &at("Maildir"), home.uid()).is_err());
    symlink("/", at("half/new")).unwrap();
    assert!(maildrop::find(Format::Maildir, &at("half"), home.uid()).is_err(), "new is a link");
}

#[test]
fn a_maildir_that_everybody_can_write_is_told() {
    let home = Home::new();
    chmod(&home.at("new"), 0o777);
    let notes = home.open().take_notes();
    assert!(notes.len() == 1 && notes[0].contains("chmod o-w"), "{notes:?}");
}

#[test]
fn what_cannot_be_removed_is_told_and_stays() {
    if is_root() {
        // Nothing is closed to root; tests/maildir.rs fails the calls themselves.
        return;
    }
    let home = Home::new();
    home.put("new/1.a.h", &message(1));
    home.put("cur/2.a.h:2,", &message(2));
    let mut maildir = home.open();
    chmod(&home.at("new"), 0o500);
    let error = delete(&mut maildir, [1, 2]).unwrap_err();
    assert_eq!(error.reply(), "[SYS/TEMP] some deleted messages not removed", "RFC 1939, section 6");
    chmod(&home.at("new"), 0o700);
    assert_eq!(home.names(), ["new/1.a.h"]);
}

#[test]
fn without_room_in_the_state_directory_mail_is_served() {
    let home = Home::new();
    for number in 1..=70 {
        home.put(format!("new/{number}.a.h"), &message(number % 60));
    }
    let before = entries(&mut home.open());
    std::fs::remove_dir_all(home.0.path().join("state")).unwrap();
    std::fs::create_dir(home.0.path().join("state")).unwrap();
    let state = home.state();
    // A directory that is gone takes no file, whoever asks.
    std::fs::remove_dir(home.0.path().join("state")).unwrap();
    let mut maildir = Maildir::open(home.folders(), &home.path(), home.uid(), state).unwrap();
    assert_eq!(entries(&mut maildir), before);
    assert!(maildir.take_notes().iter().any(|note| note.contains("cannot write the index")));
    assert_eq!(text(&mut maildir, 70).unwrap(), message(10));
    let error = delete(&mut maildir, [1]).unwrap_err();
    assert!(error.reply().contains("no room to remember the unique ids"), "{}", error.reply());
    assert_eq!(home.names().len(), 70, "nothing was changed");
}

#[test]
fn a_hundred_thousand_messages() {
    // Times are printed and not judged: the machine may be busy.
    let home = Home::in_memory();
    (0..100_000).for_each(|number| home.put(format!("new/{number}.M{number}.host"), &message(number)));
    let time = |what: &str, begun: std::time::Instant| eprintln!("{what}: {:?}", begun.elapsed());
    home.settle();
    let begun = std::time::Instant::now();
    assert_eq!(home.open().count(), 100_000);
    time("first login", begun);
    let begun = std::time::Instant::now();
    assert_eq!(home.open().count(), 100_000);
    time("unchanged", begun);
    home.put("new/100000.x", &message(100_000));
    let begun = std::time::Instant::now();
    let mut maildir = home.open();
    assert_eq!(maildir.count(), 100_001);
    time("one more", begun);
    let begun = std::time::Instant::now();
    delete(&mut maildir, 1..=50_000).unwrap();
    time("50,000 deleted", begun);
    assert_eq!(home.open().count(), 50_001);
}

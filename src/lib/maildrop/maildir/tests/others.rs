//! Other programs that work in the Maildir while a session lasts.

use super::*;

fn three() -> Home {
    let home = Home::new();
    (1..=3).for_each(|number| home.put(format!("new/{number}.a.h"), &message(number)));
    home
}

#[test]
fn what_appears_moves_or_vanishes_leaves_the_rest_as_it_was() {
    // RFC 1939, section 8: numbers do not change while a session lasts.
    let home = three();
    let mut maildir = home.open();
    home.rename("new/1.a.h", "cur/1.a.h:2,S");
    std::fs::remove_file(home.at("new/2.a.h")).unwrap();
    home.rename("new/3.a.h", "cur/3.a.h:2,FRS");
    home.put("new/4.a.h", &message(4));
    assert_eq!(maildir.count(), 3);
    assert_eq!(text(&mut maildir, 1).unwrap(), message(1));
    assert_eq!(
        text(&mut maildir, 2).unwrap_err().reply(),
        "[SYS/TEMP] this message was removed by another program"
    );
    assert_eq!(text(&mut maildir, 3).unwrap(), message(3));
    home.rename("cur/3.a.h:2,FRS", "cur/3.a.h:2,FRST");
    assert_eq!(text(&mut maildir, 3).unwrap(), message(3), "and moves again");
    delete(&mut maildir, [2, 3]).unwrap();
    assert_eq!(home.names(), ["cur/1.a.h:2,S", "new/4.a.h"]);
    assert_eq!(texts(&mut home.open()), [1, 4].map(message));
}

#[test]
fn a_message_that_moves_while_it_is_read_is_read_to_its_end() {
    let home = three();
    let mut maildir = home.open();
    let mut buffer = [0; 10];
    assert_eq!(maildir.read(MsgNo::FIRST, 0, &mut buffer).unwrap(), 10);
    std::fs::remove_file(home.at("new/1.a.h")).unwrap();
    assert_eq!(maildir.read(MsgNo::FIRST, 10, &mut buffer).unwrap(), 10);
}

#[test]
fn a_message_that_is_not_what_was_shown_is_not_removed() {
    let home = three();
    let mut maildir = home.open();
    home.put("new/2.a.h", "Subject: another\n\nthat nobody has seen\n");
    let error = delete(&mut maildir, [1, 2]).unwrap_err();
    assert_eq!(error.reply(), "[SYS/TEMP] some deleted messages not removed", "RFC 1939, section 6");
    assert!(
        error.to_string().contains("1 of 2 messages") && error.to_string().contains("new/2.a.h"),
        "{error}"
    );
    assert_eq!(home.names(), ["new/2.a.h", "new/3.a.h"]);
}

#[test]
fn a_restored_message_is_the_same_message() {
    // Another inode and another time, the same octets.
    let home = three();
    let mut maildir = home.open();
    std::fs::remove_file(home.at("new/2.a.h")).unwrap();
    home.put("cur/2.a.h:2,S", &message(2));
    assert_eq!(text(&mut maildir, 2).unwrap(), message(2));
    delete(&mut maildir, [2]).unwrap();
    assert_eq!(home.names(), ["new/1.a.h", "new/3.a.h"]);
}

#[test]
fn a_message_with_two_names_is_one_message() {
    // A program that moves by link and unlink, seen or killed between the two.
    let home = three();
    std::fs::hard_link(home.at("new/2.a.h"), home.at("cur/2.a.h:2,S")).unwrap();
    let mut maildir = home.open();
    assert_eq!(texts(&mut maildir), [1, 2, 3].map(message));
    delete(&mut maildir, [2]).unwrap();
    assert_eq!(home.names(), ["new/1.a.h", "new/3.a.h"]);
}

#[test]
fn two_messages_with_one_base_are_two_messages() {
    let home = three();
    home.put("cur/2.a.h:2,F", &message(7));
    home.put("cur/3.a.h:2,F", &message(3));
    let mut maildir = home.open();
    assert_eq!(texts(&mut maildir), [1, 7, 2, 3, 3].map(message));
    assert_eq!(entries(&mut maildir).iter().filter(|entry| entry.uidl.twin == 2).count(), 1);
    let before = uidls(&home);
    home.delete_index();
    assert_eq!(uidls(&home), before);
    delete(&mut home.open(), [3]).unwrap();
    assert_eq!(texts(&mut home.open()), [1, 7, 3, 3].map(message));
}

#[test]
fn logins_while_everything_moves_lose_nothing() {
    let home = Home::new();
    (0..200).for_each(|number| home.put(format!("new/{number}.a.h"), &message(number)));
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            for number in 0..200 {
                home.rename(&format!("new/{number}.a.h"), &format!("cur/{number}.a.h:2,"));
                home.rename(&format!("cur/{number}.a.h:2,"), &format!("cur/{number}.a.h:2,S"));
            }
        });
        while !mover.is_finished() {
            home.delete_index();
            assert_eq!(home.open().count(), 200, "each is there once, wherever it is");
        }
    });
}

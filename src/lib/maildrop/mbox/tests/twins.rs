//! Equal messages keep their numbers (design, section 4, "UIDL").

use super::*;
use crate::maildrop::uidl::twins;

fn twin() -> String {
    message(7)
}

fn numbers(home: &Home) -> Vec<u32> {
    entries(&mut home.open()).iter().map(|entry| entry.uidl.twin).collect()
}

#[test]
fn a_twin_keeps_its_number_when_another_is_deleted() {
    let home = Home::new(&twin().repeat(3));
    assert_eq!(numbers(&home), [1, 2, 3]);
    assert!(home.state().status(twins::NAME).unwrap().is_none(), "nothing deleted, nothing to remember");
    delete(&mut home.open(), [1]).unwrap();
    assert_eq!(numbers(&home), [2, 3]);
    home.delete_index();
    assert_eq!(numbers(&home), [2, 3], "the numbers outlive the index");
    home.append(&twin());
    assert_eq!(numbers(&home), [2, 3, 4]);
    home.delete_index();
    assert_eq!(numbers(&home), [2, 3, 4]);
    delete(&mut home.open(), [3]).unwrap();
    assert_eq!(numbers(&home), [2, 3]);
    home.append(&twin());
    assert_eq!(numbers(&home), [2, 3, 5], "a number is never used again");
    delete(&mut home.open(), [1, 2, 3]).unwrap();
    home.append(&twin());
    assert_eq!(numbers(&home), [6]);
}

#[test]
fn a_mailbox_without_twins_has_no_file() {
    let home = Home::new(&mailbox(1..=5));
    delete(&mut home.open(), [1, 3]).unwrap();
    delete(&mut home.open(), [3]).unwrap();
    assert!(home.state().status(twins::NAME).unwrap().is_none());
}

/// What a crash leaves: the state directory as it was when the intent had just been written.
fn with_pending_intent(mail: &str, deleted: u32, changed: bool) -> Home {
    let home = Home::new(mail);
    let mut mbox = home.open();
    let before = std::fs::read(home.path()).unwrap();
    delete(&mut mbox, [deleted]).unwrap();
    drop(mbox);
    // The record that says how it went is the last one: mark, length, two octets, checksum.
    let uidl = home.folder.path().join("state/uidl");
    let file = File::options().write(true).open(uidl).unwrap();
    file.set_len(file.metadata().unwrap().len() - 18).unwrap();
    if !changed {
        std::fs::write(home.path(), before).unwrap();
        home.delete_index();
    }
    assert!(Twins::load(&home.state()).unwrap().pending().is_some());
    home
}

#[test]
fn an_update_that_was_interrupted_before_the_change_leaves_the_numbers() {
    for deleted in 1..=3 {
        let home = with_pending_intent(&twin().repeat(3), deleted, false);
        if deleted < 3 {
            // The intent names the new file; an old one has another inode.
            std::fs::copy(home.path(), home.path().with_extension("old")).unwrap();
            std::fs::rename(home.path().with_extension("old"), home.path()).unwrap();
        }
        assert_eq!(numbers(&home), [1, 2, 3], "{deleted} deleted");
        assert!(Twins::load(&home.state()).unwrap().pending().is_none(), "settled");
    }
}

#[test]
fn an_update_that_was_interrupted_behind_the_change_leaves_the_new_numbers() {
    for (deleted, left) in [(1, [2, 3]), (2, [1, 3]), (3, [1, 2])] {
        for (index_lost, appended) in [(false, false), (true, false), (true, true)] {
            let home = with_pending_intent(&twin().repeat(3), deleted, true);
            if index_lost {
                home.delete_index();
            }
            if appended {
                // Delivered later, so with another date on its envelope line.
                home.append(&twin().replace("01:05:34", "02:06:35"));
                assert_eq!(numbers(&home), [&left[..], &[4]].concat(), "{deleted} deleted");
            } else {
                assert_eq!(numbers(&home), left, "{deleted} deleted");
            }
        }
    }
}

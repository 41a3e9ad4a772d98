//! `mailusradm check`: each kind of damage is found, repaired or refused with a reason, and no message is lost. Without
//! `--repair` nothing is written at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "support/admin.rs"]
mod admin;
mod common;
#[path = "support/damages.rs"]
mod damages;

use admin::{admin, admin_as, state_of};
use common::World;
use common::machine::{chmod, write};
use common::mail::{mbox, messages, wire};
use common::world::uid;
use damages::{DAMAGES, Damage, Then, mailbox, old, with_mailbox};
use nix::unistd::{Gid, Uid, chown};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[test]
fn each_damage_is_repaired_or_refused_and_no_message_is_lost() {
    assert!(DAMAGES.len() >= 20);
    common::isolated(|| {
        for damage in DAMAGES {
            one(damage);
        }
        eprintln!("kinds of damage: {}", DAMAGES.len());
    });
}

fn one(&(name, plant, said, then): &Damage) {
    let world = World::start();
    let stored = world.small_maildrop(3);
    let mut client = world.log_in("ann");
    client.quit();
    client.server_ends();
    plant(&world);
    let seen =
        || (state_of(&world.spool), state_of(Path::new("/run/lib")), state_of(Path::new("/run/poptools")));
    let before = seen();
    let found = admin(&world, &["check", "ann", "--format", "json"]);
    assert_eq!(found.status, 1, "{name}: {found:?}");
    let rows: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["problem"].as_str().unwrap().contains(said));
    let row = row.unwrap_or_else(|| panic!("{name}: {said} is not said: {rows:#}"));
    let refused = matches!(then, Then::Refused | Then::Harmless) && name != "NUL alone";
    assert_eq!(row["result"], if refused { "refused" } else { "found" }, "{name}");
    assert!(!row["repair"].as_str().unwrap().is_empty(), "{name}: what would be done, or why not, is said");
    assert!(seen() == before, "{name}: check without --repair writes nothing");

    let mail = || if mailbox().is_file() { fs::read(mailbox()).unwrap() } else { Vec::new() };
    let mail_before = mail();
    let repaired = admin(&world, &["check", "--repair", "ann", "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&repaired.out).unwrap();
    let results: Vec<&str> =
        rows.as_array().unwrap().iter().map(|row| row["result"].as_str().unwrap()).collect();
    if refused {
        assert_eq!(repaired.status, 1, "{name}: {repaired:?}");
        assert!(results.contains(&"refused"), "{name}: {rows:#}");
        assert_eq!(mail(), mail_before, "{name}");
        if then == Then::Refused {
            return;
        }
    } else {
        assert_eq!((repaired.status, repaired.err.as_str()), (0, ""), "{name}: {rows:#}");
        assert!(results.iter().all(|result| *result == "repaired"), "{name}: {rows:#}");
        let again = admin(&world, &["check", "ann"]);
        assert_eq!((again.status, again.out.as_str()), (0, ""), "{name}: nothing is left: {again:?}");
    }
    let taken_out = ["NUL", "beginning"].iter().any(|word| name.contains(word));
    if taken_out {
        let copy = rows[0]["copy"].as_str().unwrap_or_else(|| panic!("{name}: no copy: {rows:#}"));
        assert_eq!(fs::read(copy).unwrap(), mail_before, "{name}: the copy is the mailbox as it was");
    }
    if name == "NUL alone" {
        return;
    }
    let mut client = world.log_in("ann");
    let more = if let Then::More(more) = then { more } else { 0 };
    assert_eq!(client.listing("LIST").len(), 3 + more, "{name}");
    let retrieved: Vec<Vec<u8>> = (1..=3 + more).map(|message| client.retrieve(message)).collect();
    for (number, message) in stored.iter().enumerate() {
        let changed = String::from_utf8(message.clone()).unwrap().replacen("number 2", "number 9", 1);
        let whole = [message.clone(), changed.into_bytes()];
        let kept = retrieved.iter().any(|got| {
            whole.iter().any(|whole| {
                let whole = wire(whole);
                // A cut line ends all the same.
                *got == whole || name == "line that was cut off" && whole.starts_with(&got[..got.len() - 2])
            })
        });
        assert!(kept, "{name}: message {} is lost", number + 1);
    }
    client.quit();
}

#[test]
fn a_healthy_maildrop_has_nothing_and_all_are_checked() {
    common::isolated(|| {
        let world = World::start();
        world.small_maildrop(3);
        world.maildrop("bob", &mbox(&messages(2)));
        for arguments in [&["check", "ann", "bob"][..], &["check", "--all"], &["check", "--all", "--repair"]]
        {
            assert_eq!(admin(&world, arguments).fine(), "", "{arguments:?}");
            let shown = admin::table(&world, 80, arguments);
            assert_eq!(shown, "nothing is wrong\n", "{arguments:?}: a header alone tells nobody anything");
        }
        chmod(&world.mailbox("bob"), 0o666);
        let all = admin(&world, &["check", "--all", "--columns", "user,result"]);
        assert_eq!((all.status, all.out.as_str()), (1, "bob\tfound\n"));
        assert_eq!(admin(&world, &["check"]).status, 64);
        assert_eq!(admin(&world, &["check", "nobody-here"]).status, 67);
        assert_eq!(admin_as(&world, uid("ann"), &["check", "bob"]).status, 77);
        assert_eq!(admin_as(&world, uid("ann"), &["check", "ann"]).fine(), "");
    });
}

/// Design, section 4, "Locks": one session a maildrop, and who repairs is one.
#[test]
fn nothing_is_repaired_while_somebody_is_logged_in() {
    common::isolated(|| {
        let world = World::start();
        world.small_maildrop(3);
        let mut client = world.log_in("ann");
        chmod(&world.mailbox("ann"), 0o666);
        let refused = admin(&world, &["check", "--repair", "ann"]);
        assert_eq!(refused.status, 75, "{refused:?}");
        assert!(refused.err.contains("in use by another session"), "{}", refused.err);
        assert_eq!(fs::metadata(world.mailbox("ann")).unwrap().mode() & 0o777, 0o666, "and nothing was done");
        assert_eq!(client.listing("LIST").len(), 3);
        client.quit();
    });
}

/// What another user planted in a spool for all stays, and is named.
#[test]
fn a_planted_dotlock_is_named_and_left() {
    common::isolated(|| {
        let world = World::setup().spool_mode(0o1777).start();
        world.small_maildrop(3);
        let lock = Path::new("/var/mail/ann.lock");
        write(lock, b"", 0o644);
        chown(lock, Some(Uid::from_raw(uid("bob"))), Some(Gid::from_raw(uid("bob")))).unwrap();
        old(lock, 5000);
        let found = admin(&world, &["check", "--repair", "ann", "--format", "json"]);
        assert_eq!(found.status, 1);
        assert!(
            found.out.contains("ann.lock belongs to uid") && found.out.contains("rm /var/mail/ann.lock"),
            "{}",
            found.out
        );
        assert!(lock.exists());
    });
}

#[test]
fn check_snapshots() {
    common::isolated(|| {
        let world = World::start();
        world.small_maildrop(3);
        with_mailbox(|octets| octets.truncate(octets.len() - 1));
        chmod(&world.mailbox("ann"), 0o666);
        let lines = |width| {
            let mut command = admin::command(&world, &["check", "ann", "--format", "table"]);
            let output = command.env("COLUMNS", width).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "something is found");
            String::from_utf8(output.stdout).unwrap()
        };
        for width in ["60", "80", "120"] {
            let printed = lines(width);
            let most = width.parse().unwrap();
            assert!(printed.lines().all(|line| line.chars().count() <= most), "{printed}");
            admin::snapshot(&format!("check-{width}"), &printed);
        }
        let piped = admin(&world, &["check", "ann"]);
        admin::snapshot("check-piped", &piped.out);
    });
}

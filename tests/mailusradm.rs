//! `mailusradm list` and `show`: what they tell is what a session would, and they write nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "support/admin.rs"]
mod admin;
mod common;

use admin::{admin, admin_as, snapshots, state_of};
use common::World;
use common::machine::write;
use common::world::uid;
use nix::unistd::{Uid, chown};
use std::fs;
use std::path::Path;

/// ann has looked at her three messages, bob never at his two; carol's mailbox is a link, and nobody has dave's.
fn several() -> World {
    let world = World::setup().user("carol", common::world::QUICK_HASH).start();
    world.small_maildrop(3);
    world.maildrop("bob", &common::mail::mbox(&common::mail::messages(2)));
    let mut client = world.log_in("ann");
    client.quit();
    client.server_ends();
    std::os::unix::fs::symlink("/etc/passwd", world.mailbox("carol")).unwrap();
    write(&world.mailbox("dave"), b"From x Thu Jan  1 00:00:01 2026\n\n", 0o660);
    chown(&world.mailbox("dave"), Some(Uid::from_raw(29_000)), None).unwrap();
    world
}

/// What may have been written: the spool and the server's own directories.
fn written(world: &World) -> impl PartialEq + std::fmt::Debug + use<> {
    [world.spool.clone(), "/run/lib".into(), "/run/poptools".into(), world.directory().to_owned()]
        .map(|place| state_of(&place))
}

#[test]
fn list_tells_what_a_session_would_and_writes_nothing() {
    common::isolated(|| {
        let world = several();
        let before = written(&world);
        let list = admin(&world, &["list", "--format", "json"]).json();
        let row = |user: &str| list.as_array().unwrap().iter().find(|row| row["user"] == user).cloned();
        let octets = common::mail::octets(&common::mail::messages(3));
        let ann = row("ann").unwrap();
        assert_eq!((ann["messages"].as_u64(), ann["octets"].as_u64()), (Some(3), Some(octets as u64)));
        assert_eq!(ann["oldest"], "2026-01-01T00:00:01+00:00", "what the envelope line says");
        assert_eq!(ann["format"], "mbox");
        assert_eq!(ann["disk"].as_u64(), Some(world.stored("ann").len() as u64));
        assert_eq!(row("bob").unwrap()["messages"], 2, "scanned, as there is no index");
        let problem = row("carol").unwrap()["problems"].clone();
        assert_eq!(problem, "/var/mail/carol is a symbolic link");
        assert!(row("dave").is_none(), "nobody is called so");
        let orphan = list.as_array().unwrap().iter().find(|row| row["user"].is_null()).unwrap();
        assert_eq!(orphan["maildrop"], "/var/mail/dave");
        assert_eq!(written(&world), before, "design, section 4: list never writes");
    });
}

#[test]
fn list_has_filters_orders_and_columns() {
    common::isolated(|| {
        let world = several();
        let users = |arguments: &[&str]| {
            let all = [&["list", "--columns", "user"], arguments].concat();
            admin(&world, &all).fine().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(users(&[]), ["-", "ann", "bob", "carol"]);
        assert_eq!(users(&["--sort", "messages"])[..2], ["ann", "bob"]);
        assert_eq!(users(&["--sort", "messages", "--reverse"])[2..], ["bob", "ann"]);
        let size = world.stored("bob").len().to_string();
        assert_eq!(users(&["--over", &size]), ["ann"], "more than bob has");
        assert_eq!(users(&["--over", "100M"]), Vec::<String>::new());
        assert_eq!(
            admin(&world, &["list", "--orphaned", "--columns", "maildrop"]).fine(),
            "/var/mail/dave\n"
        );
        assert_eq!(users(&["bob", "ann"]), ["ann", "bob"], "only those named");
        let wrong = admin(&world, &["list", "--columns", "size"]);
        assert_eq!(wrong.status, 64);
        assert!(wrong.err.contains("there is no column \"size\", but user, messages"), "{}", wrong.err);
        let unknown = admin(&world, &["list", "nobody-here"]);
        assert_eq!(unknown.status, 67, "{}", unknown.err);
    });
}

#[test]
fn list_knows_who_is_logged_in_and_who_was() {
    common::isolated(|| {
        let world = several();
        let row = || admin(&world, &["list", "ann", "--format", "json"]).json()[0].clone();
        common::eventually("the session of before is in the history", || {
            let row = row();
            (row["in_use"].is_null() && row["last_login"].is_string()).then_some(())
        });
        let mut client = world.log_in("ann");
        assert_eq!(row()["in_use"], "127.0.0.1");
        client.quit();
        common::eventually("the session ends", || row()["in_use"].is_null().then_some(()));
        let idle = admin(&world, &["list", "--idle", "1d", "--columns", "user"]).fine();
        assert!(!idle.contains("ann") && idle.contains("bob"), "bob never logged in: {idle}");
    });
}

#[test]
fn list_snapshots() {
    common::isolated(|| {
        let world = several();
        // When ann logged in is not the same from day to day.
        fs::remove_dir_all("/run/lib/poptools").unwrap();
        snapshots(&world, "list", &["list"]);
    });
}

/// Nobody but root sees another's maildrop, and everybody the own.
#[test]
fn an_ordinary_user_may_look_at_the_own_maildrop_alone() {
    common::isolated(|| {
        let world = several();
        let own = admin_as(&world, uid("ann"), &["list", "--columns", "user,messages"]);
        assert_eq!(own.fine(), "ann\t3\n");
        let other = admin_as(&world, uid("ann"), &["list", "bob"]);
        assert_eq!((other.status, other.out.as_str()), (77, ""));
        assert!(other.err.contains("only root may look at the maildrop of bob"), "{}", other.err);
    });
}

/// SECURITY: nothing in the spool is opened by a process that has effective uid 0.
#[test]
fn what_is_missing_or_strange_is_said() {
    common::isolated(|| {
        let world = several();
        let list = |user: &str| {
            let rows = admin(&world, &["list", user, "--format", "json"]).json();
            rows[0]["problems"].as_str().map(str::to_owned)
        };
        fs::remove_file(world.mailbox("carol")).unwrap();
        assert_eq!(list("carol"), None, "no mail yet");
        nix::unistd::mkfifo(&world.mailbox("carol"), nix::sys::stat::Mode::from_bits_truncate(0o666))
            .unwrap();
        assert_eq!(
            list("carol").unwrap(),
            "/var/mail/carol is not a regular file",
            "and nobody waits for a writer"
        );
        world.maildrop("bob", b"no mailbox at all\n");
        assert!(
            list("bob").unwrap().contains("does not begin with an mbox envelope line"),
            "{:?}",
            list("bob")
        );
        fs::set_permissions(world.mailbox("ann"), std::os::unix::fs::PermissionsExt::from_mode(0o664))
            .unwrap();
        assert_eq!(list("ann").unwrap(), "everybody may read it");
        assert!(Path::new("/var/mail/ann").exists());
    });
}

/// Messages as strangers write them.
const HOSTILE: &[&str] = &[
    "From: =?iso-8859-1?Q?J=FCrgen?= <j@example.org>\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\nDate: x\n\nhello\n",
    "From: ann@example.org\nSubject: \u{1b}[2J\u{1b}]0;owned\u{7} \u{9b}31m\u{202e}txt.exe\n\n\u{1b}[2Jbody \\ \u{8}\u{8}\n",
    "Subject: =?utf-8?B?G1sySg==?= =?no-such-charset?Q?a=1Bb?=\nFrom: \"=?utf-8?Q?=1B=5B2J?=\" <x@y>\n\n.\n",
    "No header at all\n\nnothing\n",
];

fn hostile() -> World {
    let world = World::start();
    world.maildrop("ann", &common::mail::mbox(HOSTILE));
    world
}

#[test]
fn show_tells_what_a_client_sees() {
    common::isolated(|| {
        let world = hostile();
        let before = written(&world);
        let list = admin(&world, &["show", "ann", "--format", "json"]).json();
        assert_eq!(written(&world), before, "show never writes");
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), HOSTILE.len());
        assert_eq!((list[0]["from"].as_str(), list[0]["subject"].as_str()), (Some("Jürgen"), Some("Grüße")));
        assert_eq!(list[0]["received"], "2026-01-01T00:00:01+00:00");
        let mut client = world.log_in("ann");
        let (uidls, octets) = (client.listing("UIDL"), client.listing("LIST"));
        for (message, (uidl, octets)) in list.iter().zip(uidls.iter().zip(&octets)) {
            let number = message["message"].as_u64().unwrap();
            assert_eq!(
                *uidl,
                format!("{number} {}", message["uidl"].as_str().unwrap()),
                "RFC 1939, section 7"
            );
            assert_eq!(*octets, format!("{number} {}", message["octets"]), "RFC 1939, section 5");
        }
        let none = admin(&world, &["show", "ann", "5"]);
        assert_eq!((none.status, none.out.as_str()), (1, ""));
        assert!(none.err.contains("messages: 4"), "{}", none.err);
        assert_eq!(admin(&world, &["show", "ann", "0"]).status, 64);
        assert_eq!(admin(&world, &["show", "ann", "--text"]).status, 64);
        let one = admin(&world, &["show", "ann", "1", "--text", "--format", "json"]).json();
        assert_eq!(
            (one["text"].as_str(), one["header"][2]["name"].as_str()),
            (Some("hello\n"), Some("Date"))
        );
        assert_eq!(admin(&world, &["show", "bob"]).fine(), "", "no mail, no lines");
        assert_eq!(admin(&world, &["show", "bob", "--format", "json"]).fine(), "[]\n");
    });
}

/// Whatever stands in a message, no octet of it moves a cursor or changes a terminal.
#[test]
fn no_escape_of_a_message_reaches_the_terminal() {
    common::isolated(|| {
        let world = hostile();
        let mut all = admin(&world, &["show", "ann"]).fine();
        for format in ["table", "tsv"] {
            all += &admin(&world, &["show", "ann", "--format", format]).fine();
            for number in ["1", "2", "3", "4"] {
                all += &admin(&world, &["show", "ann", number, "--text", "--format", format]).fine();
            }
        }
        let escapes = |c: &char| (c.is_control() && !"\n\t".contains(*c)) || *c == '\u{202e}';
        assert_eq!(all.chars().find(escapes), None, "{all:?}");
        assert!(all.contains("\\u{1b}[2J") && all.contains("body \\ "), "it is shown what there is: {all}");
    });
}

#[test]
fn show_snapshots() {
    common::isolated(|| {
        let world = hostile();
        let printed = |width| {
            let table = admin::table(&world, width, &["show", "ann"]);
            // How old messages are depends on the day.
            table.split_once("\n age").map_or(table.clone(), |(list, _)| format!("{list}\n"))
        };
        for width in [60, 80, 120] {
            let printed = printed(width);
            assert!(printed.lines().all(|line| line.chars().count() <= usize::from(width)), "{printed}");
            admin::snapshot(&format!("show-{width}"), &printed);
        }
        admin::snapshot("show-piped", &admin(&world, &["show", "ann"]).fine());
        admin::snapshot("show-one", &admin(&world, &["show", "ann", "1", "--text"]).fine());
    });
}

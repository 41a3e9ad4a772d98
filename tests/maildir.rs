//! Maildirs over inetd (design, section 4): what clients see, hostile surroundings, and an update that is killed at, or
//! refused, each of its system calls.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/maildir.rs"]
mod support;

use common::client::text;
use common::mail;
use common::world::{becomes, uid};
use common::{PASSWORD, find_program, isolated, programs_or_skip};
use nix::sys::stat::Mode;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use support::{Home, update_faults};

#[test]
fn a_maildir_is_served_like_an_mbox() {
    isolated(|| {
        let world = support::world();
        let home = Home::of(&world, "ann");
        let stored = mail::difficult();
        for (number, message) in stored.iter().enumerate() {
            let place = if number % 2 == 0 { "new" } else { "cur" };
            home.put(&format!("{place}/{}.M1.host", 1000 + number), message);
        }
        let mut client = world.log_in("ann");
        let octets: usize = mail::octets(&stored);
        assert_eq!(client.ok("STAT"), format!("+OK {} {octets}", stored.len()), "RFC 1939, section 5");
        for (number, message) in stored.iter().enumerate() {
            assert_eq!(client.retrieve(number + 1), mail::wire(message), "message {}", number + 1);
        }
        let uidls = client.listing("UIDL");
        client.ok("DELE 1");
        client.ok("DELE 4");
        client.quit();
        client.server_ends();
        let names = home.names();
        assert!(names.iter().all(|name| name.starts_with("cur/")), "retrieved, so in cur: {names:?}");
        assert!(names.contains(&"cur/1002.M1.host:2,S".to_owned()), "{names:?}");
        assert_eq!(names.len(), stored.len() - 2);
        let mut client = world.log_in("ann");
        let left: Vec<String> =
            client.listing("UIDL").into_iter().map(|line| support::second(&line)).collect();
        let before: Vec<String> = uidls.iter().map(|line| support::second(line)).collect();
        assert_eq!(left, [&before[1..3], &before[4..]].concat(), "RFC 1939, section 7: UIDLs persist");
        client.quit();
    });
}

#[test]
fn the_same_messages_have_the_same_uidls_in_both_formats() {
    // Design, section 4, "UIDL": no client downloads again after a conversion.
    isolated(|| {
        let world = support::world_with("[maildrop]\npath = \"/var/mail/{user}\"");
        let mut stored = mail::difficult();
        stored.push(stored[0].clone());
        world.maildrop("ann", &mail::mbox(&stored));
        let of_mbox = world.log_in("ann").listing("UIDL");
        fs::remove_file(world.mailbox("ann")).unwrap();
        let home = Home::at(world.mailbox("ann"), "ann");
        for (number, message) in stored.iter().enumerate() {
            home.put(&format!("new/{}.M1.host", 1000 + number), message);
        }
        assert_eq!(world.log_in("ann").listing("UIDL"), of_mbox);
    });
}

#[test]
fn curl_and_poplib_read_and_delete() {
    if !programs_or_skip(&["curl", "python3"]) {
        return;
    }
    common::isolated_with_network(|| {
        let world = support::world();
        let home = Home::of(&world, "ann");
        let stored = home.small(3);
        let site = common::site::Site::start(&world);
        let curl = |arguments: &[&str]| {
            let mut command = std::process::Command::new(find_program("curl").unwrap());
            command.args(["-s", "-u", &format!("ann:{PASSWORD}")]).args(arguments);
            common::run(&mut command)
        };
        let fetched = curl(&["pop3://127.0.0.1/2"]);
        assert_eq!(text(&fetched.stdout), text(&mail::wire(&stored[1])));
        assert!(curl(&["-X", "DELE", "-l", "pop3://127.0.0.1/1"]).status.success());
        let script = format!(
            "import poplib\np = poplib.POP3('127.0.0.1')\np.user('ann')\np.pass_('{PASSWORD}')\n\
             n, _ = p.stat()\nprint(n, len(p.uidl()[1]), len(p.retr(n)[1]))\np.dele(n)\np.quit()"
        );
        let said = common::run(std::process::Command::new("python3").args(["-c", &script]));
        assert_eq!(text(&said.stdout), "2 2 6\n", "{}", text(&said.stderr));
        assert_eq!(home.names(), ["cur/2.M2.host:2,S"]);
        drop(site);
    });
}

#[test]
fn a_second_login_gets_in_use_and_a_dropped_session_changes_nothing() {
    isolated(|| {
        let world = support::world();
        let home = Home::of(&world, "ann");
        home.small(3);
        let before = home.names();
        let mut client = world.log_in("ann");
        client.retrieve(1);
        client.ok("DELE 2");
        let reply = world.connect().login("ann", PASSWORD);
        assert!(reply.starts_with("-ERR [IN-USE]"), "RFC 2449, section 8.1.2: {reply}");
        client.ok("RSET");
        client.ok("DELE 3");
        let session = world.session(&client, "ann");
        common::processes::signal(session.pid, nix::sys::signal::Signal::SIGKILL);
        client.rest();
        assert_eq!(home.names(), before, "RFC 1939, section 3: no UPDATE state without QUIT");
        assert!(world.log_in("ann").ok("STAT").starts_with("+OK 3 "));
    });
}

#[test]
fn the_session_is_the_user_and_reaches_nothing_but_the_two_directories() {
    // Design, sections 2 and 4: a Maildir is the user's own, and there is no spool helper.
    isolated(|| {
        let world = support::world();
        let home = Home::of(&world, "ann");
        home.small(2);
        let mut client = world.log_in("ann");
        let session = world.session(&client, "ann");
        assert!(session.uids.iter().all(|id| *id == uid("ann")));
        let open: Vec<String> = session.descriptors().into_iter().map(|(_, name)| name).collect();
        for directory in ["/run/home/ann/Maildir/new", "/run/home/ann/Maildir/cur"] {
            assert!(open.iter().any(|name| name == directory), "{open:?}");
        }
        for outside in ["/run/home/ann", "/run/home/ann/Maildir"] {
            assert!(!open.iter().any(|name| name == outside), "{open:?}");
        }
        client.ok("DELE 1");
        let before = world.processes(&client).len();
        client.quit();
        assert!(before <= 2, "monitor and session");
    });
}

#[test]
fn strange_surroundings_are_not_followed_opened_or_waited_for() {
    isolated(|| {
        let world = support::world();
        let home = Home::of(&world, "ann");
        let stored = home.small(2);
        symlink("/etc/shadow", home.path("new/1.link.host")).unwrap();
        symlink("/run/nothing", home.path("cur/1.dangling.host")).unwrap();
        nix::unistd::mkfifo(&home.path("new/1.fifo.host"), Mode::from_bits_truncate(0o666)).unwrap();
        let kind = nix::sys::stat::SFlag::S_IFCHR;
        let null = nix::sys::stat::makedev(1, 5);
        nix::sys::stat::mknod(&home.path("new/1.zero.host"), kind, Mode::from_bits_truncate(0o666), null)
            .unwrap();
        fs::hard_link("/etc/shadow", home.path("new/1.hard.host")).unwrap_or_else(|_| {
            // Another file system: a file of root's is as good.
            fs::write(home.path("new/1.hard.host"), "root:x").unwrap();
        });
        fs::create_dir(home.path("cur/1.directory.host")).unwrap();
        home.put("new/1.closed.host", b"Subject: closed\n\n");
        common::machine::chmod(&home.path("new/1.closed.host"), 0);
        let before = home.names();
        let mut client = world.log_in("ann");
        assert!(client.ok("STAT").starts_with("+OK 2 "), "the rest is served");
        assert_eq!(client.retrieve(2), mail::wire(&stored[1]));
        client.quit();
        client.server_ends();
        let line = world.log_line(&["/run/home/ann/Maildir", "left alone"]);
        assert!(line.contains("and 6 more such"), "{line}");
        assert_eq!(home.names().len(), before.len());
    });
}

/// How long deliverers and clients race.
const RACE: Duration = Duration::from_secs(5);

/// What the log says, and how to make it so.
type Case = (&'static str, fn(&Home));

#[test]
fn a_maildir_that_is_not_the_users_is_refused() {
    isolated(|| {
        let cases: [Case; 5] = [
            ("belongs to uid", |home| chown(home.path(""), Some(0), None).unwrap()),
            ("belongs to uid", |home| chown(home.path("cur"), Some(uid("bob")), None).unwrap()),
            ("no Maildir", |home| fs::remove_dir(home.path("new")).unwrap()),
            ("no Maildir", |home| {
                fs::remove_dir(home.path("new")).unwrap();
                symlink("/tmp", home.path("new")).unwrap();
            }),
            ("Permission denied", |home| common::machine::chmod(&home.path("cur"), 0)),
        ];
        for (why, change) in cases {
            let world = support::world();
            let home = Home::of(&world, "ann");
            change(&home);
            let reply = world.connect().login("ann", PASSWORD);
            assert!(reply.starts_with("-ERR [SYS/PERM]"), "{why}: {reply}");
            assert!(world.log_line(&["/run/home/ann/Maildir"]).contains(why), "{why}");
        }
    });
}

#[test]
fn an_index_or_state_that_was_planted_is_not_believed() {
    isolated(|| {
        let world = support::world();
        let home = Home::of(&world, "ann");
        home.small(2);
        world.log_in("ann").quit();
        let state = std::path::Path::new("/run/lib/poptools/maildrop/ann");
        let secret = std::path::Path::new("/run/secret");
        common::machine::write(secret, b"root's", 0o600);
        for name in ["index", "index.new", "uidl"] {
            let _ = fs::remove_file(state.join(name));
            symlink(secret, state.join(name)).unwrap();
            let mut client = world.log_in("ann");
            assert!(client.ok("STAT").starts_with("+OK 2 "), "{name}");
            client.quit();
            client.server_ends();
        }
        assert!(becomes(secret, b"root's"));
        assert_eq!(fs::metadata(secret).unwrap().uid(), 0);
    });
}

#[test]
fn deliveries_and_clients_at_full_speed_lose_and_tear_nothing() {
    isolated(|| {
        let world = support::world();
        let home = Home::of(&world, "ann");
        let end = Instant::now() + RACE;
        let fetched: Mutex<BTreeSet<Vec<u8>>> = Mutex::default();
        let delivered: usize = std::thread::scope(|scope| {
            let deliverers = [0, 1].map(|which| scope.spawn(move || support::deliver_until(end, which)));
            let clients: Vec<_> =
                (0..4).map(|_| scope.spawn(|| support::fetch_until(end, &world, &fetched))).collect();
            clients.into_iter().for_each(|client| client.join().unwrap());
            deliverers.into_iter().map(|deliverer| deliverer.join().unwrap()).sum()
        });
        let mut found = fetched.into_inner().unwrap();
        let downloaded = found.len();
        found.extend(home.stored().iter().map(|message| mail::wire(message)));
        eprintln!("{delivered} delivered, {downloaded} of them downloaded");
        assert!(downloaded > 0);
        assert_eq!(found.len(), delivered, "none lost, none torn: each text is there once");
    });
}

#[test]
fn killed_anywhere_in_an_update_each_message_is_whole_or_deleted() {
    update_faults(|_| Some("signal=KILL"));
}

#[test]
fn an_update_that_fails_says_so_and_loses_nothing() {
    // RFC 1939, section 6, and design, section 4: +OK only when the deletions are durable.
    let files = ["unlink", "rename", "open", "fsync", "newfstatat"];
    for error in ["EIO", "ENOSPC", "EDQUOT", "ENOMEM", "EMFILE", "ENFILE", "EROFS", "EACCES"] {
        let of_files = |calls: &str| files.iter().any(|call| calls.contains(call));
        update_faults(|calls| of_files(calls).then(|| support::injected(error)));
    }
}

#[test]
fn a_login_that_fails_loses_nothing() {
    support::login_faults();
}

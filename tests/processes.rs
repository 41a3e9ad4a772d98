//! Who runs as whom, with what (design, section 2): read from `/proc` while the server serves, and from its
//! system calls.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::client::assert_same;
use common::processes::{Process, Region};
use common::trace::{Call, NAMES, RECEIVING, Trace, arguments};
use common::world::{FRIENDS_GID, NEIGHBOURS_HASH, POP3D_UID, QUICK_HASH, group, uid};
use common::{Client, PASSWORD, World, eventually, isolated, mail, programs_or_skip};
use std::fs;
use std::path::Path;

/// The process that reads a stranger's bytes: of those that hold the connection, not the one that was started.
fn login_process(world: &World, client: &Client) -> Process {
    eventually("a login process that holds the connection and is no longer root", || {
        world.processes(client).into_iter().find(|process| {
            process.pid != client.server.pid() && process.uids[1] != 0 && process.holds_socket(client.socket)
        })
    })
}

/// No way back to any other rights: ids, groups, capabilities, and no new ones by exec.
fn assert_confined(process: &Process, user: u32, group: u32) {
    let what = process.describe();
    assert_eq!(process.uids, [user; 4], "real, effective, saved, file-system uid: {what}");
    assert_eq!(process.gids, [group; 4], "real, effective, saved, file-system gid: {what}");
    let [inheritable, permitted, effective, _bounding, ambient] = process.capabilities;
    assert_eq!([inheritable, permitted, effective, ambient], [0; 4], "no capability: {what}");
    assert_eq!(process.no_new_privs, 1, "nothing that it executes has more rights: {what}");
    assert_eq!(process.seccomp, 2, "a seccomp filter is on: {what}");
    assert_eq!(process.threads, 1, "single-threaded: {what}");
}

#[test]
fn strangers_bytes_are_read_in_an_empty_room() {
    isolated(|| {
        let world = World::start();
        let client = world.connect();
        let login = login_process(&world, &client);
        assert_confined(&login, POP3D_UID, POP3D_UID);
        assert_eq!(login.groups, [0_u32; 0], "no supplementary group: {}", login.describe());
        let (root, names) = login.root_directory();
        assert_ne!(root.to_str(), Some("/"), "it is in a chroot");
        assert_eq!(names, [""; 0], "its root directory is empty: {}", root.display());
        for (number, target) in login.descriptors() {
            let allowed =
                ["socket:", "anon_inode:", "pipe:", "/dev/null"].iter().any(|kind| target.starts_with(kind));
            assert!(allowed, "descriptor {number} of the login process is {target}");
        }
    });
}

#[test]
fn the_same_holds_for_nobody() {
    isolated(|| {
        let world = World::setup().without_pop3d_account().start();
        let client = world.connect();
        let nobody = uid("nobody");
        let login = login_process(&world, &client);
        assert_eq!(login.uids, [nobody; 4], "design, section 2: nobody instead of pop3d");
        assert_eq!(login.groups, [0_u32; 0], "{}", login.describe());
    });
}

#[test]
fn a_session_is_its_user_and_nothing_more() {
    isolated(|| {
        for mode in [0o2775, 0o1777] {
            let world = World::setup().spool_mode(mode).start();
            world.small_maildrop(3);
            let mut client = world.log_in("ann");
            client.retrieve(1);
            let ann = uid("ann");
            let session = world.session(&client, "ann");
            assert_confined(&session, ann, ann);
            assert!(
                !session.groups.contains(&group("mail")),
                "not the spool's group: {}",
                session.describe()
            );
            let usual = session.groups.iter().all(|&id| id == ann || id == FRIENDS_GID);
            assert!(usual, "no groups but ann's: {}", session.describe());
            for (number, target) in session.descriptors() {
                assert_ne!(target, "/var/mail", "descriptor {number}: the directory is not the session's");
                let foreign = target.starts_with("/var/mail/") && target != "/var/mail/ann";
                assert!(!foreign, "descriptor {number}: {target}");
                assert!(!target.contains("shadow"), "descriptor {number}: {target}");
            }
        }
    });
}

#[test]
fn the_login_process_goes_when_the_session_has_come() {
    // Design, section 2: after a plaintext login the socket itself goes to the session.
    isolated(|| {
        let world = World::start();
        world.small_maildrop(1);
        let client = world.log_in("ann");
        let session = world.session(&client, "ann").pid;
        eventually("nobody but monitor and session holds the connection", || {
            let all = world.processes(&client);
            let mut others = all.iter().filter(|process| process.pid != session && process.uids[1] != 0);
            others.all(|process| !process.holds_socket(client.socket)).then_some(())
        });
    });
}

#[test]
fn a_spool_helper_is_its_user_with_the_spools_group() {
    // Design, section 2, spool helper. Another program holds the mailbox's dotlock, so that the helper waits and can be looked at.
    isolated(|| {
        let world = World::start();
        world.small_maildrop(2);
        let mut client = world.log_in("ann");
        let session = world.session(&client, "ann").pid;
        let dotlock = world.spool.join("ann.lock");
        fs::write(&dotlock, format!("{}\n", std::process::id())).unwrap();
        client.ok("DELE 1");
        client.send(b"QUIT\r\n");
        let helper = eventually("a spool helper, fenced", || {
            let mut all = world.processes(&client).into_iter();
            all.find(|process| {
                process.uids.first() == Some(&uid("ann")) && process.pid != session && process.seccomp == 2
            })
        });
        assert_confined(&helper, uid("ann"), uid("ann"));
        let mut groups = helper.groups.clone();
        groups.sort_unstable();
        assert_eq!(groups, [group("mail"), uid("ann")], "the spool's group and ann's own, not her others");
        assert!(!helper.holds_socket(client.socket), "the client is not its business");
        for (number, target) in helper.descriptors() {
            let own =
                target == "/var/mail" || target.starts_with("/var/mail/ann") || target.starts_with("socket:");
            assert!(own || target == "/dev/null", "descriptor {number} of the helper is {target}");
        }
        fs::remove_file(&dotlock).unwrap();
        assert!(client.line().starts_with("+OK"), "the lock is given back, and QUIT goes on");
    });
}

#[test]
fn a_maildrop_in_a_missing_directory_is_empty() {
    // As a missing mailbox is: the first delivery makes both.
    isolated(|| {
        let world = World::setup().config("[maildrop]\npath = \"{home}/Mail/deep/inbox\"").start();
        let mut client = world.log_in("ann");
        assert_eq!(client.ok("STAT"), "+OK 0 0");
        client.quit();
    });
}

#[test]
fn sendmail_has_nothing_of_the_server() {
    // Design, section 2: it lives without no_new_privs, since its helpers are set-gid; its descriptors are the message alone.
    isolated(|| {
        let world = World::setup().config("[xtnd]\nsendmail = \"/run/lib/sendmail\"").start();
        let script = "#!/bin/sh\ncd /run/home/ann || exit 70\ncat /proc/$$/status >status\n\
                      ls -l /proc/$$/fd >descriptors\ncat >/dev/null\n";
        common::machine::write(Path::new("/run/lib/sendmail"), script.as_bytes(), 0o755);
        world.small_maildrop(1);
        let mut client = world.log_in("ann");
        client.ok("XTND XMIT");
        client.send(b"To: bob@example.org\r\n\r\nx\r\n.\r\n");
        assert!(client.line().starts_with("+OK"));
        let status = fs::read_to_string("/run/home/ann/status").unwrap();
        let sendmail = common::processes::parse(0, &status);
        let ann = uid("ann");
        assert_eq!((&sendmail.uids, &sendmail.gids), (&vec![ann; 4], &vec![ann; 4]), "{sendmail:?}");
        let mut groups = sendmail.groups.clone();
        groups.sort_unstable();
        assert_eq!(groups, [ann, FRIENDS_GID], "all of ann's groups and no other");
        let [inheritable, permitted, effective, _bounding, ambient] = sendmail.capabilities;
        assert_eq!([inheritable, permitted, effective, ambient], [0; 4], "{sendmail:?}");
        assert_eq!(
            (sendmail.no_new_privs, sendmail.seccomp),
            (0, 0),
            "its set-gid helpers work: {sendmail:?}"
        );
        let listing = fs::read_to_string("/run/home/ann/descriptors").unwrap();
        let targets: Vec<&str> =
            listing.lines().filter_map(|line| line.split_once(" -> ")).map(|(_, target)| target).collect();
        // The shell's own: its script, and the file that it writes to.
        let own = ["/dev/null", "/run/lib/sendmail", "/run/home/ann/descriptors"];
        let others: Vec<&&str> = targets.iter().filter(|target| !own.contains(target)).collect();
        assert_eq!(others.len(), 1, "{listing}");
        assert!(others[0].starts_with("/memfd:message"), "the message: {listing}");
    });
}

#[test]
fn nobody_stays_when_the_connection_ends() {
    isolated(|| {
        let world = World::start();
        world.small_maildrop(1);
        for log_in in [false, true] {
            let mut client = world.connect();
            if log_in {
                client.log_in("ann");
            }
            let pids: Vec<u32> = world.processes(&client).iter().map(|process| process.pid).collect();
            let server = client.hang_up();
            eventually("all processes of the connection end", || {
                let gone =
                    |&pid: &u32| common::processes::read(pid).is_none_or(|process| process.state == "Z");
                pids.iter().all(gone).then_some(())
            });
            drop(server);
        }
    });
}

/// Runs a session that reads, deletes and quits under strace; what it called.
fn traced(world: &World, calls: &str) -> Trace {
    let output = world.directory().join("calls");
    let words = arguments(&output, calls);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let stored = world.small_maildrop(4);
    let mut client = world.connect_under(&words, &[]);
    client.log_in("ann");
    assert_eq!(client.retrieve(2), mail::wire(&stored[1]));
    client.ok("DELE 1");
    client.ok("DELE 3");
    client.quit();
    client.server_ends();
    assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&[&stored[1], &stored[3]]));
    Trace::read(&output)
}

#[test]
fn root_never_opens_makes_or_removes_anything_in_the_spool() {
    // Design, section 2, spool helper. Failing calls count too: a user could make them succeed.
    if !programs_or_skip(&["strace"]) {
        return;
    }
    isolated(|| {
        for mode in [0o2775, 0o1777] {
            let world = World::setup().spool_mode(mode).start();
            let trace = traced(&world, NAMES);
            let in_spool = |call: &&Call| {
                call.names_a_file()
                    && call.paths().iter().any(|path| path.starts_with("/var/mail") && *path != *"/var/mail")
            };
            let touched: Vec<&Call> = trace.calls.iter().filter(in_spool).collect();
            assert!(!touched.is_empty(), "the mailbox was opened by somebody");
            let as_root: Vec<&str> =
                touched.iter().filter(|call| call.user == 0).map(|call| call.line.as_str()).collect();
            assert!(as_root.is_empty(), "done as root in a spool of mode {mode:o}:\n{}", as_root.join("\n"));
            let strangers: Vec<&&Call> = touched.iter().filter(|call| call.user != uid("ann")).collect();
            assert!(strangers.is_empty(), "done as somebody else: {strangers:#?}");
        }
    });
}

#[test]
fn root_never_reads_a_byte_of_the_client() {
    // Design, section 2: the monitor parses no client byte.
    if !programs_or_skip(&["strace"]) {
        return;
    }
    isolated(|| {
        let world = World::start();
        let trace = traced(&world, RECEIVING);
        let from_client = |call: &&Call| {
            RECEIVING.split(',').any(|name| name.trim_start_matches('?') == call.name)
                && call.line.contains(PASSWORD)
                && call
                    .descriptor()
                    .is_some_and(|name| name.starts_with("socket:") || name.starts_with("TCP:"))
        };
        let readers: Vec<&Call> = trace.calls.iter().filter(from_client).collect();
        assert!(readers.iter().any(|call| call.user == POP3D_UID), "the login process reads PASS");
        let first = readers.iter().find(|call| call.user == POP3D_UID).unwrap();
        let socket = first.descriptor().unwrap().to_owned();
        let by_root: Vec<&Call> = trace
            .calls
            .iter()
            .filter(|call| call.user == 0 && call.descriptor() == Some(&socket))
            .filter(|call| RECEIVING.split(',').any(|name| name.trim_start_matches('?') == call.name))
            .collect();
        assert!(by_root.is_empty(), "read by root from the client: {by_root:#?}");
    });
}

#[test]
fn nobody_can_trace_a_process_that_gives_up_root() {
    // With fs.suid_dumpable=1 a change of ids lets the user trace the process: it forbids that while its saved id is still root's.
    if !programs_or_skip(&["strace"]) {
        return;
    }
    isolated(|| {
        let world = World::start();
        let trace = traced(&world, "prctl");
        let mut seen = 0;
        for (index, call) in trace.calls.iter().enumerate() {
            let saved = call.line.split([',', ')']).nth(2).map(str::trim);
            // The last change; seteuid is the same call with -1 for what it leaves.
            if call.name != "setresuid" || matches!(saved, Some("0" | "-1") | None) {
                continue;
            }
            let before: Vec<&str> = trace.calls[..index]
                .iter()
                .filter(|other| other.pid == call.pid)
                .map(|other| other.line.as_str())
                .collect();
            let end = &before[before.len().saturating_sub(2)..];
            assert!(end[0].starts_with("setresuid(") && end[0].contains(", 0)"), "{end:?} {}", call.line);
            assert!(end[1].contains("PR_SET_DUMPABLE, SUID_DUMP_DISABLE"), "{end:?} {}", call.line);
            seen += 1;
        }
        assert!(seen >= 3, "login process, session and spool helper: {seen}");
    });
}

/// `correct horse` with yescrypt (`mkpasswd -m yescrypt`).
const YESCRYPT_HASH: &str = "$y$j9T$qEkaUsxDEtQzsQ/r12D9l.$XIqbGW4KHyNM95CAWa.I8CzrOX6PMAR/JXRo7toMG04";

/// Salt and tail of a hash: neither alone may stay in memory either.
fn parts(hash: &'static str) -> Vec<(&'static str, &'static [u8])> {
    let fields: Vec<&str> = hash.split('$').collect();
    let (salt, tail) = (fields[fields.len() - 2], fields[fields.len() - 1]);
    vec![
        ("salt", salt.as_bytes()),
        ("hash", tail.as_bytes()),
        ("end of the hash", &tail.as_bytes()[tail.len() - 20..]),
    ]
}

#[test]
fn nothing_of_the_verification_survives_into_the_session() {
    // Design, section 2: a test searches a session's memory for a neighbour's hash and the password.
    isolated(|| search_a_session(QUICK_HASH));
}

#[test]
fn nothing_of_a_yescrypt_verification_survives() {
    // It needs megabytes of memory of its own, and may be done by another library.
    isolated(|| search_a_session(YESCRYPT_HASH));
}

fn search_a_session(own: &'static str) {
    let world = World::setup().user("ann", own).start();
    let stored = world.small_maildrop(2);
    let mut client = world.log_in("ann");
    client.retrieve(1);
    let session = world.session(&client, "ann");
    let memory = session.memory();
    assert!(find(&memory, b"ann").is_some(), "the memory that is searched is the session's");
    let mut left = Vec::new();
    left.extend(find(&memory, PASSWORD.as_bytes()).map(|place| format!("the password {place}")));
    for (whose, hash) in [("ann's own", own), ("bob's", NEIGHBOURS_HASH)] {
        for (part, bytes) in parts(hash) {
            left.extend(find(&memory, bytes).map(|place| format!("{part} of {whose} shadow entry {place}")));
        }
    }
    assert!(left.is_empty(), "in the session's memory:\n{}", left.join("\n"));
    // The session still works: it was looked at, not broken.
    assert_eq!(client.retrieve(2), mail::wire(&stored[1]));
    client.quit();
}

fn find(memory: &[Region], wanted: &[u8]) -> Option<String> {
    memory.iter().find_map(|region| region.find(wanted))
}

#[test]
fn one_users_session_cannot_reach_another_users_mail() {
    // What the kernel says of the session's descriptors is all that it has: bob's mailbox is in the same spool.
    isolated(|| {
        let world = World::start();
        world.small_maildrop(1);
        world.maildrop("bob", &mail::mbox(&mail::messages(2)));
        let (ann, bob) = (world.log_in("ann"), world.log_in("bob"));
        for (client, user, other) in [(&ann, "ann", "bob"), (&bob, "bob", "ann")] {
            let session = world.session(client, user);
            let other_mailbox = world.mailbox(other);
            let holds = session
                .descriptors()
                .iter()
                .any(|(_, target)| target.contains(other_mailbox.to_str().unwrap()));
            assert!(!holds, "{user}'s session holds {}", other_mailbox.display());
        }
        let limits = fs::read_to_string(format!("/proc/{}/limits", world.session(&ann, "ann").pid)).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert!(core.split_whitespace().nth(4) == Some("0"), "a core file would hold mail: {core}");
    });
}

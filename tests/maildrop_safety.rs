//! No message is ever lost: other writers, crashes and failures in the middle of an update, and maildrops that
//! must not be touched (design, section 4).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "support/crash.rs"]
mod crash;
#[path = "support/xmit.rs"]
mod xmit;

use common::client::assert_same;
use common::mail::{self, Stored};
use common::world::{becomes, group, uid};
use common::{PASSWORD, World, eventually, isolated};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;
use std::time::Duration;

fn append(mailbox: &Path, message: &Stored) {
    let mut file = OpenOptions::new().append(true).open(mailbox).unwrap();
    file.write_all(&mail::mbox(&[message])).unwrap();
}

#[test]
fn mail_that_comes_during_a_session_survives_its_update() {
    isolated(|| {
        for deleted in [&[1][..], &[3], &[1, 2, 3], &[2]] {
            let world = World::start();
            let stored = world.small_maildrop(3);
            let mut client = world.log_in("ann");
            append(&world.mailbox("ann"), &mail::message(4));
            assert!(
                client.ok("STAT").starts_with("+OK 3 "),
                "RFC 1939, section 8: numbers stay as they were"
            );
            for number in deleted {
                client.ok(&format!("DELE {number}"));
            }
            append(&world.mailbox("ann"), &mail::message(5));
            client.quit();
            let mut left = kept(&stored, deleted);
            left.extend([mail::message(4), mail::message(5)]);
            assert_same(&format!("deleted {deleted:?}"), &world.stored("ann"), &mail::mbox(&left));
            client.server_ends();
            assert!(world.log_in("ann").ok("STAT").starts_with(&format!("+OK {} ", left.len())));
        }
    });
}

fn kept(stored: &[Stored], deleted: &[usize]) -> Vec<Stored> {
    let numbered = stored.iter().enumerate();
    numbered
        .filter(|(index, _)| !deleted.contains(&(index + 1)))
        .map(|(_, message)| message.clone())
        .collect()
}

#[test]
fn what_comes_after_the_last_message_was_deleted_stands_alone() {
    isolated(|| {
        for deleted in [&[3][..], &[1, 2, 3], &[2, 3]] {
            let world = World::start();
            let stored = world.small_maildrop(3);
            let mut client = world.log_in("ann");
            for number in deleted {
                client.ok(&format!("DELE {number}"));
            }
            client.quit();
            client.server_ends();
            append(&world.mailbox("ann"), &mail::message(9));
            let left = kept(&stored, deleted);
            let mut client = world.log_in("ann");
            let number = left.len() + 1;
            assert_eq!(client.ok("STAT").split(' ').nth(1), Some(number.to_string().as_str()), "{deleted:?}");
            assert_eq!(client.retrieve(number), mail::wire(&mail::message(9)), "{deleted:?}");
            client.quit();
        }
    });
}

#[test]
fn a_missing_or_empty_maildrop_has_no_messages() {
    isolated(|| {
        let world = World::start();
        assert!(world.log_in("ann").ok("STAT").starts_with("+OK 0 0"), "missing");
        assert_eq!(world.spool_names(), [""; 0], "reading makes no mailbox");
        world.maildrop("ann", b"");
        let mut client = world.log_in("ann");
        assert_eq!(client.listing("UIDL"), [""; 0]);
        append(&world.mailbox("ann"), &mail::message(1));
        client.quit();
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&mail::messages(1)));
    });
}

#[test]
fn reading_changes_nothing() {
    // Design, section 4: no header is added, and "You have new mail" stays true.
    isolated(|| {
        let world = World::start();
        let stored = world.small_maildrop(3);
        let before = fs::metadata(world.mailbox("ann")).unwrap();
        let mut client = world.log_in("ann");
        for number in 1..=3 {
            assert_eq!(client.retrieve(number), mail::wire(&stored[number - 1]));
        }
        client.quit();
        client.server_ends();
        let after = fs::metadata(world.mailbox("ann")).unwrap();
        let times = |data: &fs::Metadata| {
            (data.ino(), data.mtime(), data.mtime_nsec(), data.atime(), data.atime_nsec())
        };
        assert_eq!(times(&before), times(&after), "inode, mtime and atime");
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored));
        assert_eq!(world.spool_names(), ["ann"]);
    });
}

#[test]
fn an_update_keeps_owner_group_mode_and_times() {
    isolated(|| {
        for mode in [0o2775, 0o1777] {
            let world = World::setup().spool_mode(mode).start();
            world.small_maildrop(3);
            let before = fs::metadata(world.mailbox("ann")).unwrap();
            let mut client = world.log_in("ann");
            client.ok("DELE 1");
            client.quit();
            let after = fs::metadata(world.mailbox("ann")).unwrap();
            let kept = |data: &fs::Metadata| {
                (data.uid(), data.gid(), data.mode(), data.nlink(), data.mtime(), data.mtime_nsec())
            };
            assert_eq!(kept(&before), kept(&after), "spool {mode:o}: owner, group, mode, links, mtime");
        }
    });
}

fn lock(file: &File, kind: i32, how: fn(&libc::flock) -> FcntlArg<'_>) {
    let whole =
        libc::flock { l_type: i16::try_from(kind).unwrap(), l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(file, how(&whole)).unwrap();
}

/// A delivery agent that opened the mailbox before the update, waits for the lock, and checks nothing.
fn open_for_delivery(mailbox: &Path) -> File {
    OpenOptions::new().read(true).append(true).open(mailbox).unwrap()
}

#[test]
fn a_delivery_that_opened_the_old_mailbox_loses_nothing_after_the_update() {
    // Design, section 4, "Late deliverers".
    isolated(|| {
        let world = World::start();
        let stored = world.small_maildrop(3);
        let mut client = world.log_in("ann");
        let late = open_for_delivery(&world.mailbox("ann"));
        client.ok("DELE 1");
        assert!(client.command("QUIT").starts_with("+OK"));
        lock(&late, libc::F_WRLCK, |whole| FcntlArg::F_SETLKW(whole));
        (&late).write_all(&mail::mbox(&[mail::message(9)])).unwrap();
        drop(late);
        let left = mail::mbox(&[&stored[1], &stored[2], &mail::message(9)]);
        assert!(becomes(&world.mailbox("ann"), &left), "{:?}", common::client::text(&world.stored("ann")));
    });
}

#[test]
fn a_delivery_that_waits_for_the_lock_during_the_update_loses_nothing() {
    isolated(|| {
        let world = World::start();
        let stored = world.small_maildrop(3);
        let mut client = world.log_in("ann");
        client.ok("DELE 1");
        // Holds up the update and the delivery alike, by a description's lock, which conflicts with both.
        let barrier = open_for_delivery(&world.mailbox("ann"));
        lock(&barrier, libc::F_WRLCK, |whole| FcntlArg::F_OFD_SETLKW(whole));
        let late = open_for_delivery(&world.mailbox("ann"));
        let inode = late.metadata().unwrap().ino();
        client.send(b"QUIT\r\n");
        std::thread::scope(|scope| {
            let delivery = scope.spawn(move || {
                lock(&late, libc::F_WRLCK, |whole| FcntlArg::F_SETLKW(whole));
                (&late).write_all(&mail::mbox(&[mail::message(9)])).unwrap();
            });
            eventually("the delivery waits for its lock", || {
                let locks = fs::read_to_string("/proc/locks").unwrap();
                locks
                    .lines()
                    .any(|line| line.contains("->") && line.contains(&format!(":{inode} ")))
                    .then_some(())
            });
            drop(barrier);
            delivery.join().unwrap();
        });
        assert!(client.line().starts_with("+OK"));
        let left = mail::mbox(&[&stored[1], &stored[2], &mail::message(9)]);
        assert!(becomes(&world.mailbox("ann"), &left), "{:?}", common::client::text(&world.stored("ann")));
    });
}

/// What must stay as it was of a file that is refused.
fn look(path: &Path) -> String {
    let data = fs::symlink_metadata(path).unwrap();
    let bytes = if data.is_file() { fs::read(path).unwrap() } else { Vec::new() };
    format!(
        "inode {} mode {:o} links {} owner {}:{} device {} size {} mtime {}.{} ctime {}.{} {bytes:?}",
        data.ino(),
        data.mode(),
        data.nlink(),
        data.uid(),
        data.gid(),
        data.rdev(),
        data.size(),
        data.mtime(),
        data.mtime_nsec(),
        data.ctime(),
        data.ctime_nsec()
    )
}

/// A maildrop that must not be served: its name, and how to make it.
type Strange = (&'static str, fn(&World, &Path));

const STRANGE: &[Strange] = &[
    ("directory", |_, path| fs::create_dir(path).unwrap()),
    ("fifo", |_, path| nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o660)).unwrap()),
    ("device", |_, path| {
        let kind = nix::sys::stat::SFlag::S_IFCHR;
        nix::sys::stat::mknod(path, kind, Mode::from_bits_truncate(0o660), nix::sys::stat::makedev(1, 5))
            .unwrap();
    }),
    ("symbolic link", |world, path| {
        world.maildrop("bob", &mail::mbox(&mail::messages(1)));
        symlink(world.mailbox("bob"), path).unwrap();
    }),
    ("dangling link", |_, path| symlink("/run/nothing", path).unwrap()),
    ("hard link", |world, path| {
        world.small_maildrop(1);
        fs::hard_link(path, world.spool.join("other")).unwrap();
    }),
    ("foreign owner", |world, path| {
        world.small_maildrop(1);
        chown(path, Some(uid("bob")), Some(group("mail"))).unwrap();
        common::machine::chmod(path, 0o666);
    }),
    ("mode 0", |world, path| {
        world.small_maildrop(1);
        common::machine::chmod(path, 0);
    }),
    ("no mbox", |world, _| world.maildrop("ann", b"Subject: this is no mbox\n\nFrom nobody\n")),
    ("empty line first", |world, _| {
        world.maildrop("ann", &[b"\n", &mail::mbox(&mail::messages(1))[..]].concat());
    }),
];

#[test]
fn a_strange_maildrop_is_refused_and_not_touched() {
    isolated(|| {
        for (name, make) in STRANGE {
            let world = World::start();
            let mailbox = world.mailbox("ann");
            make(&world, &mailbox);
            if !["foreign owner", "mode 0", "no mbox", "empty line first", "hard link"].contains(name) {
                nix::unistd::fchownat(
                    nix::fcntl::AT_FDCWD,
                    &mailbox,
                    Some(uid("ann").into()),
                    Some(group("mail").into()),
                    nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
                )
                .unwrap();
            }
            let before = look(&mailbox);
            let reply = world.connect().login("ann", PASSWORD);
            assert!(reply.starts_with("-ERR [SYS/PERM]"), "{name}: {reply}");
            assert!(!reply.contains("/var/mail"), "{name}: paths are not for clients: {reply}");
            assert_eq!(look(&mailbox), before, "{name}: not touched");
            let line = world.log_line(&["/var/mail/ann"]);
            let (_, cause) = line.split_once("/var/mail/ann").unwrap();
            assert!(cause.trim().len() > 5, "{name}: the log says why: {line}");
        }
    });
}

#[test]
fn a_mailbox_that_another_program_rewrites_is_not_updated() {
    // Design, section 4, "Other writers": changed otherwise means refusing the update.
    isolated(|| {
        let world = World::start();
        world.small_maildrop(3);
        let mut client = world.log_in("ann");
        client.ok("DELE 1");
        let other = mail::mbox(&[mail::message(7), mail::message(8)]);
        world.maildrop("ann", &other);
        let reply = client.command("QUIT");
        assert!(reply.starts_with("-ERR [SYS/TEMP]"), "{reply}");
        assert_same("nothing changed", &world.stored("ann"), &other);
    });
}

#[test]
fn a_full_disk_is_told_and_changes_nothing() {
    isolated(|| {
        let world = World::setup().spool_size(256 * 1024).start();
        let large = |number| [mail::message(number), vec![b'x'; 80_000], b"\n".to_vec()].concat();
        let stored = [large(1), large(2)];
        world.maildrop("ann", &mail::mbox(&stored));
        let mut client = world.log_in("ann");
        fill(&world.spool.join("filler"));
        client.ok("DELE 1");
        let reply = client.command("QUIT");
        let told =
            "-ERR [SYS/TEMP] no room to rewrite the maildrop: nothing was deleted; deleting all messages";
        assert!(reply.starts_with(told), "{reply}");
        client.server_ends();
        assert_same("as it was", &world.stored("ann"), &mail::mbox(&stored));
        assert_eq!(world.spool_names(), ["ann", "filler"], "no temporary file stays");
        // Design, section 4: deleting the newest needs no space.
        let mut client = world.log_in("ann");
        client.ok("DELE 2");
        client.quit();
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[..1]));
        client.server_ends();
        let mut client = world.log_in("ann");
        client.ok("DELE 1");
        fill(&world.spool.join("more"));
        client.quit();
        assert_same("deleting everything needs no space", &world.stored("ann"), b"");
    });
}

#[test]
fn a_spool_that_cannot_be_written_is_told_and_changes_nothing() {
    // Design, section 4, "Update", 4: the reply says so and what still works.
    isolated(|| {
        let world = World::setup().spool_mode(0o755).start();
        let stored = world.small_maildrop(3);
        let mut client = world.log_in("ann");
        client.ok("DELE 1");
        let reply = client.command("QUIT");
        assert!(
            reply.starts_with("-ERR [SYS/PERM] the directory of the maildrop cannot be written"),
            "{reply}"
        );
        client.server_ends();
        assert_same("as it was", &world.stored("ann"), &mail::mbox(&stored));
        let mut client = world.log_in("ann");
        client.ok("DELE 3");
        client.quit();
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[..2]));
    });
}

fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}

#[test]
fn a_stale_dotlock_of_a_dead_process_hides_no_mail() {
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    for pid in [0, ended.id()] {
        a_dotlock_that_names(pid);
    }
}

fn a_dotlock_that_names(pid: u32) {
    isolated(move || {
        let world = World::start();
        let stored = world.small_maildrop(2);
        let lock = world.spool.join("ann.lock");
        common::machine::write(&lock, format!("{pid}\n").as_bytes(), 0o644);
        chown(&lock, Some(uid("ann")), Some(group("mail"))).unwrap();
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        File::options().write(true).open(&lock).unwrap().set_modified(long_ago).unwrap();
        let mut client = world.log_in("ann");
        client.ok("DELE 1");
        client.quit();
        client.server_ends();
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[1..]));
        assert_eq!(world.spool_names(), ["ann"], "design, section 4: it was stale");
    });
}

//! Hostile surroundings (design, section 4): what is planted beside a mailbox or in a user's state directory is neither followed
//! nor overwritten nor waited for; and what an update must keep of the mailbox's attributes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::client::assert_same;
use common::world::{group, uid};
use common::{PASSWORD, World, isolated, machine, mail};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;

const STATE: &str = "/run/lib/poptools/maildrop/ann";
/// A file of root's on the state directory's file system, with what must stay in it.
const PRECIOUS: &str = "/run/lib/precious";
const CONTENT: &[u8] = b"root's own\n";

/// How something is planted under a name.
type Plant = (&'static str, fn(&Path));

const PLANTS: [Plant; 8] = [
    ("a link to root's file", |path| symlink(PRECIOUS, path).unwrap()),
    ("a hard link to root's file", |path| fs::hard_link(PRECIOUS, path).unwrap()),
    ("a link to nowhere", |path| symlink("/run/lib/nowhere", path).unwrap()),
    ("a link to the mailbox", |path| symlink("/var/mail/ann", path).unwrap()),
    ("a fifo", |path| nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o666)).unwrap()),
    ("a device", |path| {
        mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).unwrap();
    }),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("a directory that is not empty", |path| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("x"), b"x").unwrap();
    }),
];

#[test]
fn what_is_planted_in_the_state_directory_harms_nobody() {
    for name in ["index", "index.new", "uidl", "uidl.new", "updating"] {
        isolated(|| {
            for (what, plant) in PLANTS {
                planted_in_state(name, what, plant);
            }
        });
    }
}

fn planted_in_state(name: &str, what: &str, plant: fn(&Path)) {
    let world = World::start();
    // Two that are equal, so that the numbers of twins are written down too.
    let stored = [mail::message(1), mail::message(1), mail::message(2)];
    world.maildrop("ann", &mail::mbox(&stored));
    world.log_in("ann").quit();
    machine::write(Path::new(PRECIOUS), CONTENT, 0o600);
    let path = Path::new(STATE).join(name);
    let _ = fs::remove_file(&path);
    plant(&path);
    let mut client = world.connect();
    let reply = client.login("ann", PASSWORD);
    if reply.starts_with("+OK") {
        client.ok("DELE 1");
        let reply = client.command("QUIT");
        assert!(reply.starts_with("+OK") || reply.starts_with("-ERR [SYS/"), "{name}, {what}: {reply}");
        let left = if reply.starts_with("+OK") { &stored[1..] } else { &stored[..] };
        assert_same(&format!("{name}, {what}"), &world.stored("ann"), &mail::mbox(left));
    } else {
        // A directory in the way of the uidl file is the user's own doing, and costs this user alone.
        assert!(reply.starts_with("-ERR [SYS/") && what.ends_with("not empty"), "{name}, {what}: {reply}");
        assert_same(&format!("{name}, {what}"), &world.stored("ann"), &mail::mbox(&stored));
    }
    client.server_ends();
    assert_eq!(fs::read(PRECIOUS).unwrap(), CONTENT, "{name}, {what}: root's file is as it was");
    let found = fs::metadata(PRECIOUS).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o600), "{name}, {what}");
    assert!(!Path::new("/run/lib/nowhere").exists(), "{name}, {what}: a link was followed");
}

#[test]
fn what_is_planted_in_a_world_writable_spool_harms_nobody() {
    // SECURITY.md, "A world-writable spool": reading goes on; an update works or answers [SYS/TEMP], and the log names the file.
    isolated(|| {
        for (what, plant) in PLANTS {
            let world = World::setup().spool_mode(0o1777).start();
            let stored = world.small_maildrop(3);
            machine::write(Path::new(PRECIOUS), CONTENT, 0o600);
            // Names like those of our temporary files; ours are unguessable.
            let temporary = world.spool.join(format!(".ann.poptools-{:032x}", 7));
            if what != "a hard link to root's file" {
                plant(&temporary);
            }
            let mut client = world.log_in("ann");
            client.ok("DELE 1");
            client.quit();
            client.server_ends();
            assert_same(what, &world.stored("ann"), &mail::mbox(&stored[1..]));
            assert_eq!(fs::read(PRECIOUS).unwrap(), CONTENT, "{what}");
            assert!(!Path::new("/run/lib/nowhere").exists(), "{what}: a link was followed");
        }
    });
}

#[test]
fn a_planted_dotlock_of_every_kind_stops_no_reader() {
    isolated(|| {
        for (what, plant) in PLANTS {
            let world = World::setup().spool_mode(0o1777).start();
            let stored = world.small_maildrop(2);
            machine::write(Path::new(PRECIOUS), CONTENT, 0o600);
            let lock = world.spool.join("ann.lock");
            if what == "a hard link to root's file" {
                continue;
            }
            plant(&lock);
            let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
            nix::unistd::fchownat(nix::fcntl::AT_FDCWD, &lock, Some(uid("bob").into()), None, flags).unwrap();
            let mut client = world.connect();
            let reply = client.login("ann", PASSWORD);
            assert!(reply.starts_with("+OK"), "{what}: {reply}");
            assert_eq!(client.retrieve(1), mail::wire(&stored[0]), "{what}");
            client.quit();
            client.server_ends();
            assert_eq!(fs::read(PRECIOUS).unwrap(), CONTENT, "{what}");
            assert!(fs::symlink_metadata(&lock).is_ok(), "{what}: another user's file is not removed");
        }
    });
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn set_attribute(path: &Path, name: &CStr, value: &[u8]) -> bool {
    let path = c_path(path);
    // SAFETY: both names end in NUL, and the kernel reads as many octets as the slice has.
    unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) == 0 }
}

fn attribute(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let (path, mut value) = (c_path(path), vec![0; 256]);
    // SAFETY: both names end in NUL, and the kernel writes at most as many octets as the buffer has.
    let length =
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}

/// An access control list (acl(5)) as the kernel keeps it: the owner, one more user who may read, group, mask, others.
fn list(reader: u32) -> Vec<u8> {
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in
        [(1u16, 6u16, u32::MAX), (2, 4, reader), (4, 6, u32::MAX), (16, 6, u32::MAX), (32, 0, u32::MAX)]
    {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&rights.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}

#[test]
fn a_new_file_has_all_attributes_of_the_old_one() {
    // Design, section 4, "Update", 2: owner, group, mode, access list, user attributes; "Other writers": atime and mtime.
    isolated(|| {
        let world = World::start();
        let stored = world.small_maildrop(3);
        let mailbox = world.mailbox("ann");
        let acl = set_attribute(&mailbox, c"system.posix_acl_access", &list(uid("bob")));
        let user = set_attribute(&mailbox, c"user.note", b"kept");
        if !acl || !user {
            common::skip("access lists and user attributes on tmpfs");
        }
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000);
        let file = fs::File::options().write(true).open(&mailbox).unwrap();
        file.set_times(fs::FileTimes::new().set_accessed(long_ago).set_modified(long_ago)).unwrap();
        drop(file);
        let facts = || {
            let found = fs::metadata(&mailbox).unwrap();
            let times = (found.atime(), found.atime_nsec(), found.mtime(), found.mtime_nsec());
            let lists = (attribute(&mailbox, c"system.posix_acl_access"), attribute(&mailbox, c"user.note"));
            (found.uid(), found.gid(), found.mode(), found.nlink(), times, lists)
        };
        let before = facts();
        let inode = fs::metadata(&mailbox).unwrap().ino();
        let mut client = world.log_in("ann");
        assert_eq!(client.retrieve(2), mail::wire(&stored[1]));
        client.ok("DELE 1");
        client.quit();
        client.server_ends();
        assert_ne!(fs::metadata(&mailbox).unwrap().ino(), inode, "it is a new file");
        assert_eq!(facts(), before);
    });
}

#[test]
fn a_group_that_may_not_be_given_gets_no_rights() {
    // Design, section 4, "Update", 2: its bits are cleared, never widened, and logged.
    isolated(|| {
        let world = World::setup().spool_mode(0o1777).start();
        let stored = world.small_maildrop(2);
        let mailbox = world.mailbox("ann");
        chown(&mailbox, Some(uid("ann")), Some(group("daemon"))).unwrap();
        machine::chmod(&mailbox, 0o660);
        let mut client = world.log_in("ann");
        client.ok("DELE 1");
        client.quit();
        client.server_ends();
        let found = fs::metadata(&mailbox).unwrap();
        assert_eq!(found.mode() & 0o777, 0o600, "owned by {}:{}", found.uid(), found.gid());
        world.log_line(&["cannot stay with group", "the group's rights are taken away"]);
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[1..]));
    });
}

//! Kinds of damage of a maildrop: how each is made, what is said of it, what is expected of a repair.

use crate::admin;
use crate::common::World;
use crate::common::machine::{chmod, make_directory, write};
use crate::common::mail::{ENVELOPE, messages};
use crate::common::world::uid;
use nix::unistd::{Uid, chown};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Where ann's state directory is.
pub(crate) const STATE: &str = "/run/lib/poptools/maildrop/ann";

/// What is expected of a kind of damage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is repaired, and a client sees all three messages.
    Repaired,
    /// The same, and this many messages more.
    More(usize),
    /// It is left as it is, and so is the mailbox.
    Refused,
    /// The same, and a client sees the three messages.
    Harmless,
}

/// A kind of damage: its name, how it is made, what is said of it, and what is expected.
pub(crate) type Damage = (&'static str, fn(&World), &'static str, Then);

pub(crate) fn mailbox() -> PathBuf {
    "/var/mail/ann".into()
}

fn ann(path: impl AsRef<Path>) {
    let id = uid("ann");
    std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
}

fn in_state(name: &str, octets: &[u8]) {
    let path = Path::new(STATE).join(name);
    write(&path, octets, 0o600);
    ann(path);
}

fn change_index(at: u64, what: &[u8]) {
    let index = File::options().write(true).open(Path::new(STATE).join("index")).unwrap();
    index.write_all_at(what, at).unwrap();
}

pub(crate) fn with_mailbox(change: impl FnOnce(&mut Vec<u8>)) {
    let mut octets = fs::read(mailbox()).unwrap();
    change(&mut octets);
    fs::write(mailbox(), octets).unwrap();
}

pub(crate) fn old(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

/// A mailbox of three messages becomes a Maildir of them.
fn maildir() {
    fs::remove_file(mailbox()).unwrap();
    fs::remove_dir_all(STATE).unwrap();
    for name in ["", "new", "cur", "tmp"] {
        let path = mailbox().join(name);
        make_directory(&path, 0o700);
        ann(path);
    }
    for (number, message) in messages(3).iter().enumerate() {
        let path = mailbox().join("new").join(format!("{}.M1P1.host", 1_767_225_601 + number));
        write(&path, message, 0o600);
        ann(path);
    }
}

/// A message that an import has brought and not shown yet.
fn wait_to_be_shown() {
    let path = mailbox().join("new/.1767225609.M000001Q0000000001R00000000000000ff.poptools,S=14");
    write(&path, b"Subject: x\n\nx\n", 0o600);
    ann(path);
}

pub(crate) const DAMAGES: &[Damage] = &[
    (
        "mailbox that is a symbolic link",
        |_| {
            fs::rename(mailbox(), "/var/mail/elsewhere").unwrap();
            symlink("elsewhere", mailbox()).unwrap();
        },
        "is a symbolic link",
        Then::Refused,
    ),
    (
        "mailbox with another name",
        |_| fs::hard_link(mailbox(), "/var/mail/other").unwrap(),
        "hard links",
        Then::Refused,
    ),
    (
        "mailbox of another user",
        |_| chown(&mailbox(), Some(Uid::from_raw(uid("bob"))), None).unwrap(),
        "belongs to uid",
        Then::Refused,
    ),
    (
        "directory that is no Maildir",
        |_| {
            fs::remove_file(mailbox()).unwrap();
            make_directory(&mailbox(), 0o700);
            ann(mailbox());
        },
        "no Maildir",
        Then::Refused,
    ),
    (
        "FIFO",
        |_| {
            fs::remove_file(mailbox()).unwrap();
            nix::unistd::mkfifo(&mailbox(), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
            ann(mailbox());
        },
        "not a regular file",
        Then::Refused,
    ),
    (
        "mailbox that everybody may read",
        |_| chmod(&mailbox(), 0o664),
        "everybody may look at it",
        Then::Repaired,
    ),
    (
        "mailbox that its owner cannot open",
        |_| chmod(&mailbox(), 0),
        "its owner cannot use it",
        Then::Repaired,
    ),
    (
        "NUL at the beginning",
        |_| with_mailbox(|octets| drop(octets.splice(0..0, [0; 5000]))),
        "stand at the beginning",
        Then::Repaired,
    ),
    (
        "empty lines at the beginning",
        |_| with_mailbox(|octets| drop(octets.splice(0..0, *b"\n\r\n\n"))),
        "stand at the beginning",
        Then::Repaired,
    ),
    (
        "NUL at the end",
        |_| with_mailbox(|octets| octets.extend([0; 4096])),
        "octets NUL stand at the end",
        Then::Repaired,
    ),
    ("NUL alone", |_| fs::write(mailbox(), [0; 9999]).unwrap(), "nothing but 9999 octets", Then::Refused),
    (
        "text at the beginning",
        |_| with_mailbox(|octets| drop(octets.splice(0..0, *b"half a message\n\n"))),
        "does not begin with an envelope line",
        Then::More(1),
    ),
    (
        "line that was cut off",
        |_| with_mailbox(|octets| octets.truncate(octets.len() - 2)),
        "in the middle of a line",
        Then::Repaired,
    ),
    (
        "no empty line at the end",
        |_| with_mailbox(|octets| octets.truncate(octets.len() - 1)),
        "no empty line behind it",
        Then::Repaired,
    ),
    (
        "message behind one that was cut off",
        |_| {
            with_mailbox(|octets| {
                octets.truncate(octets.len() - 1);
                octets.extend_from_slice(format!("{ENVELOPE}\nSubject: glued\n\nx\n\n").as_bytes());
                fs::remove_file(Path::new(STATE).join("index")).unwrap();
            });
        },
        "lines look like the beginning of a message",
        Then::Refused,
    ),
    (
        "index with a damaged header",
        |_| change_index(100, b"damage"),
        "the index cannot be used",
        Then::Repaired,
    ),
    (
        "index with a damaged page",
        |_| change_index(4096 + 70, b"damage"),
        "a page of the index is damaged",
        Then::Repaired,
    ),
    (
        "index that is cut off",
        |_| {
            let index = File::options().write(true).open(Path::new(STATE).join("index")).unwrap();
            index.set_len(5000).unwrap();
        },
        "the index cannot be used",
        Then::Repaired,
    ),
    (
        "index of another mailbox with the same marks",
        |world| {
            // Another program that restores the times of what it changed, and a file system that counts no changes.
            let _ = world;
            let octets = fs::read(mailbox()).unwrap();
            let changed = String::from_utf8(octets).unwrap().replacen("number 2", "number 9", 1);
            fs::write(mailbox(), changed).unwrap();
            admin::forge_identity(Path::new(STATE), &mailbox());
        },
        "the index says something else of message 2",
        Then::More(0),
    ),
    (
        "half-written index",
        |_| in_state("index.new", b"half"),
        "index.new is a half-written index",
        Then::Repaired,
    ),
    (
        "index that is a link",
        |_| {
            fs::remove_file(Path::new(STATE).join("index")).unwrap();
            symlink("/etc/passwd", Path::new(STATE).join("index")).unwrap();
        },
        "index in the state directory is a symbolic link",
        Then::Repaired,
    ),
    (
        "index that is a directory",
        |_| {
            fs::remove_file(Path::new(STATE).join("index")).unwrap();
            make_directory(&Path::new(STATE).join("index"), 0o700);
        },
        "index in the state directory is a directory",
        Then::Repaired,
    ),
    (
        "damaged uidl file",
        |_| in_state("uidl", b"what a disk makes of records"),
        "the uidl file is damaged",
        Then::Repaired,
    ),
    (
        "uidl file that is a link",
        |_| symlink("/etc/passwd", Path::new(STATE).join("uidl")).unwrap(),
        "uidl in the state directory is a symbolic link",
        Then::Repaired,
    ),
    (
        "half-written uidl file",
        |_| in_state("uidl.new", b"half"),
        "uidl.new is a half-written uidl file",
        Then::Repaired,
    ),
    (
        "update that was interrupted",
        |_| in_state("updating", b""),
        "an update was interrupted",
        Then::Repaired,
    ),
    (
        "temporary file of an update that was killed",
        |_| {
            let path = PathBuf::from(format!("/var/mail/.ann.poptools-{}", "0a".repeat(16)));
            write(&path, b"half", 0o600);
            ann(path);
            in_state("updating", b"");
        },
        "an update was interrupted",
        Then::Repaired,
    ),
    (
        "stale dotlock",
        |_| {
            let path = Path::new("/var/mail/ann.lock");
            write(path, b"999999999\n", 0o644);
            ann(path);
            old(path, 1000);
        },
        "ann.lock is held by nobody",
        Then::Repaired,
    ),
    (
        "state directory of another user",
        |_| chown(STATE, Some(Uid::from_raw(uid("bob"))), None).unwrap(),
        "is not a directory of uid",
        Then::Repaired,
    ),
    (
        "state directory that is open to others",
        |_| chmod(Path::new(STATE), 0o755),
        "has mode 0755",
        Then::Repaired,
    ),
    (
        "import into a Maildir that was killed before it was decided",
        |_| {
            maildir();
            wait_to_be_shown();
        },
        "files of an import that was killed",
        Then::Repaired,
    ),
    (
        "import into a Maildir that was decided and interrupted",
        |_| {
            maildir();
            wait_to_be_shown();
            make_directory(Path::new(STATE), 0o700);
            ann(STATE);
            in_state("importing", b"00000000000000ff 0000000000000001\n");
        },
        "an import was interrupted",
        Then::More(1),
    ),
    (
        "Maildir without new",
        |_| {
            maildir();
            fs::create_dir(mailbox().join("kept")).unwrap();
            for entry in fs::read_dir(mailbox().join("new")).unwrap() {
                let path = entry.unwrap().path();
                fs::rename(&path, mailbox().join("cur").join(path.file_name().unwrap())).unwrap();
            }
            fs::remove_dir(mailbox().join("new")).unwrap();
        },
        "the Maildir has no directory new",
        Then::Repaired,
    ),
    (
        "Maildir without tmp",
        |_| {
            maildir();
            fs::remove_dir(mailbox().join("tmp")).unwrap();
        },
        "the Maildir has no directory tmp",
        Then::Repaired,
    ),
    (
        "Maildir that everybody may write",
        |_| {
            maildir();
            chmod(&mailbox().join("new"), 0o777);
        },
        "everybody may look at it",
        Then::Repaired,
    ),
    (
        "message that its owner cannot read",
        |_| {
            maildir();
            let first = fs::read_dir(mailbox().join("new")).unwrap().next().unwrap().unwrap().path();
            chmod(&first, 0);
        },
        "must not be read by its owner",
        Then::Repaired,
    ),
    (
        "link among messages",
        |_| {
            maildir();
            symlink("/etc/passwd", mailbox().join("new/1767225600.link.host")).unwrap();
        },
        "is a symbolic link",
        Then::Harmless,
    ),
];

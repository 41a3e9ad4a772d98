//! The Maildir as a session sees it, and other programs beside it.

mod others;
mod trouble;

use super::*;
use crate::maildrop::Uidl;
use crate::maildrop::{self, Format, Found};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// A Maildir, and the user's state directory.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self::with(tempfile::tempdir().unwrap())
    }

    fn in_memory() -> Self {
        Self::with(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn with(folder: tempfile::TempDir) -> Self {
        for name in ["Maildir/new", "Maildir/cur", "Maildir/tmp", "state"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("Maildir")
    }

    fn at(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.path().join(std::ffi::OsStr::from_bytes(name.as_ref()))
    }

    fn uid(&self) -> u32 {
        std::fs::metadata(self.0.path()).unwrap().uid()
    }

    fn put(&self, name: impl AsRef<[u8]>, text: &str) {
        std::fs::write(self.at(name), text).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.at(from), self.at(to)).unwrap();
    }

    fn state(&self) -> Directory {
        Directory::open(&self.0.path().join("state")).unwrap()
    }

    fn try_open(&self) -> Result<Maildir> {
        match maildrop::find(Format::Auto, &self.path(), self.uid())? {
            Found::Maildir(folders) => Maildir::open(folders, &self.path(), self.uid(), self.state()),
            Found::Mbox(_) => panic!("not taken for a Maildir"),
        }
    }

    fn open(&self) -> Maildir {
        self.try_open().unwrap()
    }

    /// All names in `new` and `cur`, sorted.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in ["cur", "new"] {
            for entry in std::fs::read_dir(self.at(folder)).unwrap() {
                names.push(format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()));
            }
        }
        names.sort();
        names
    }

    /// Makes the directories look as if nothing had happened in them for a minute.
    fn settle(&self) {
        let past = SystemTime::now() - Duration::from_secs(60);
        for folder in ["new", "cur"] {
            File::open(self.at(folder)).unwrap().set_modified(past).unwrap();
        }
        // The time of the last change of attributes cannot be set: it has to pass.
        while !listing::has_settled(&self.folders().identities().unwrap()) {
            std::thread::yield_now();
        }
    }

    fn folders(&self) -> Folders {
        open::folders(Format::Maildir, &self.path(), self.uid()).unwrap().unwrap()
    }

    fn delete_index(&self) {
        let _ = self.state().remove(index::NAME);
    }
}

fn message(number: usize) -> String {
    format!("Subject: {number}\nFrom: user{number}@example.org\n\nbody {number}\n")
}

fn set(numbers: impl IntoIterator<Item = u32>) -> Bitmap {
    let mut set = Bitmap::new();
    for number in numbers {
        set.insert(MsgNo::new(number).unwrap());
    }
    set
}

fn delete(maildir: &mut Maildir, numbers: impl IntoIterator<Item = u32>) -> Result<()> {
    maildir.commit(&set(numbers), &Bitmap::new())
}

fn text(maildir: &mut Maildir, number: u32) -> Result<String> {
    let (message, mut text, mut buffer) = (MsgNo::new(number).unwrap(), Vec::new(), [0; 10]);
    loop {
        match maildir.read(message, text.len() as u64, &mut buffer)? {
            0 => return Ok(String::from_utf8(text).unwrap()),
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
}

fn texts(maildir: &mut Maildir) -> Vec<String> {
    (1..=maildir.count()).map(|number| text(maildir, number).unwrap()).collect()
}

fn entries(maildir: &mut dyn Maildrop) -> Vec<Entry> {
    let (mut all, mut page) = (Vec::new(), Vec::new());
    while all.len() < maildir.count() as usize {
        maildir.entries(MsgNo::new(u32::try_from(all.len()).unwrap() + 1).unwrap(), &mut page).unwrap();
        all.append(&mut page);
    }
    all
}

fn uidls(home: &Home) -> Vec<Uidl> {
    entries(&mut home.open()).iter().map(|entry| entry.uidl).collect()
}

#[test]
fn messages_come_in_the_order_of_delivery_from_both_directories() {
    let home = Home::new();
    home.put("new/100.b.host", &message(3));
    home.put("cur/99.z.host,S=9,W=9:2,FS", &message(1));
    home.put("cur/100.a.host:2,", &message(2));
    home.put("cur/odd \n name", &message(5));
    home.put(b"new/\xff\xfe", &message(4));
    home.put("new/.hidden", "no message");
    home.put("tmp/100.c.host", "not delivered yet");
    std::fs::create_dir_all(home.at(".Sent/cur")).unwrap();
    home.put(".Sent/cur/1.a.host", "another folder's");
    let mut maildir = home.open();
    assert_eq!(texts(&mut maildir), [1, 2, 3, 5, 4].map(message));
    let octets: u64 =
        [1, 2, 3, 5, 4].map(|number| message(number).replace('\n', "\r\n").len() as u64).iter().sum();
    assert_eq!(maildir.octets(), octets, "RFC 1939, section 11");
    assert!(maildir.take_notes().is_empty());
}

#[test]
fn a_size_in_a_name_is_not_believed() {
    // Both sizes are another program's word. These are plausible and wrong.
    let home = Home::new();
    let wire = message(1).replace('\n', "\r\n").len() as u64;
    home.put(format!("new/1.a.h,S={},W={}", message(1).len(), wire + 3), &message(1));
    let first = entries(&mut home.open())[0];
    assert_eq!(first.octets, wire, "RFC 1939, section 11");
    home.delete_index();
    home.rename(&home.names()[0].clone(), "cur/1.a.h:2,S");
    assert_eq!(entries(&mut home.open())[0], first, "the UIDL depends on no name");
}

#[test]
fn a_login_to_an_unchanged_maildir_lists_nothing() {
    // Design, section 4, "Index".
    let home = Home::new();
    (1..=200).for_each(|number| home.put(format!("new/{number}.a.h"), &message(number)));
    home.settle();
    let before = entries(&mut home.open());
    let index = || std::fs::metadata(home.0.path().join("state/index")).unwrap();
    let inode = index().ino();
    assert_eq!(entries(&mut home.open()), before);
    assert_eq!(index().ino(), inode, "the index is not written again");
    home.put("new/201.a.h", &message(201));
    assert_eq!(home.open().count(), 201);
    assert_ne!(index().ino(), inode);
    home.delete_index();
    assert_eq!(entries(&mut home.open())[..200], before);
}

#[test]
fn a_change_within_the_clocks_tick_is_seen() {
    // Two changes in one tick of the file system's clock leave the same time: an index from then proves nothing.
    let home = Home::new();
    home.put("new/1.a.h", &message(1));
    // Later than now is as young as can be.
    let soon = SystemTime::now() + Duration::from_secs(60);
    let same_time = || File::open(home.at("cur")).unwrap().set_modified(soon).unwrap();
    same_time();
    assert_eq!(home.open().count(), 1);
    let index = Index::load_as(&home.state(), Layout::Maildir).unwrap();
    assert_eq!(index.header().identity, Identity::default(), "no directory's");
    for number in 2..=20 {
        home.put(format!("cur/{number}.a.h:2,"), &message(number));
        same_time();
        assert_eq!(home.open().count(), u32::try_from(number).unwrap());
    }
}

#[test]
fn only_new_messages_are_read() {
    let home = Home::new();
    (1..=3).for_each(|number| home.put(format!("new/{number}.a.h"), &message(number)));
    let before = entries(&mut home.open());
    // What is known is not looked at again until it is asked for: the same length tells the difference.
    home.put("new/2.a.h", &message(7));
    home.rename("new/3.a.h", "cur/3.a.h:2,RS");
    home.put("new/4.a.h", &message(4));
    let mut maildir = home.open();
    assert_eq!(entries(&mut maildir)[..3], before);
    let error = text(&mut maildir, 2).unwrap_err();
    assert_eq!(error.reply(), "[SYS/TEMP] the maildrop was changed by another program, log in again");
    assert_eq!(text(&mut maildir, 3).unwrap(), message(3));
    assert_eq!(text(&mut maildir, 4).unwrap(), message(4));
    // The next login has read it again.
    assert_eq!(texts(&mut home.open()), [1, 7, 3, 4].map(message));
}

#[test]
fn an_update_removes_what_was_deleted_and_marks_what_was_read() {
    let home = Home::new();
    for number in 1..=3 {
        home.put(format!("new/{number}.a.h"), &message(number));
        home.put(format!("cur/{number}.b.h:2,F"), &message(10 + number));
    }
    let mut maildir = home.open();
    maildir.commit(&set([1, 4]), &set([1, 3, 6])).unwrap();
    assert_eq!(
        home.names(),
        ["cur/1.b.h:2,F", "cur/2.a.h:2,S", "cur/3.b.h:2,F", "new/3.a.h"],
        "design, section 4: retrieved messages move from new to cur"
    );
    assert!(maildir.commit(&set([2]), &Bitmap::new()).is_err(), "one update a session");
    assert_eq!(texts(&mut home.open()), [11, 2, 3, 13].map(message), "a message that moved keeps its place");
    drop(home.open());
    assert_eq!(home.names().len(), 4, "a session without an update changes nothing");
}

#[test]
fn the_same_messages_have_the_same_uidls_in_an_mbox() {
    // Design, section 4, "UIDL".
    let home = Home::new();
    let texts = [
        message(1),
        message(2),
        message(1),
        "Subject: x\r\n\r\nline\r\n.\r\n".into(),
        "Subject: end\n\nno end".into(),
    ];
    let mut mbox = String::new();
    for (number, text) in texts.iter().enumerate() {
        home.put(format!("new/{number}.a.h"), text);
        let end = if text.ends_with('\n') { "\n" } else { "\n\n" };
        mbox.push_str(&format!("From a Thu Jan  1 00:00:01 2026\nStatus: RO\n{text}{end}"));
    }
    let spool = tempfile::tempdir().unwrap();
    std::fs::create_dir(spool.path().join("state")).unwrap();
    let path = spool.path().join("ann");
    std::fs::write(&path, mbox).unwrap();
    let found = maildrop::find(Format::Auto, &path, home.uid()).unwrap();
    let local =
        maildrop::mbox::local::Local::new(&path, maildrop::mbox::local::LockSet::default(), home.uid());
    let state = Directory::open(&spool.path().join("state")).unwrap();
    let mut mbox = maildrop::open(found, &path, home.uid(), state, Box::new(local.unwrap())).unwrap();
    let of_mbox: Vec<Uidl> = entries(mbox.as_mut()).iter().map(|entry| entry.uidl).collect();
    assert_eq!(uidls(&home), of_mbox);
    assert_eq!(of_mbox[2].twin, 2);
}

#[test]
fn a_twin_keeps_its_number() {
    // Design, section 4, "UIDL": over deletion of others, here or by another program, and index loss.
    let home = Home::new();
    for number in [1, 2, 3, 5] {
        home.put(format!("new/{number}.a.h"), &message(1));
    }
    let twins = |home: &Home| uidls(home).iter().map(|uidl| uidl.twin).collect::<Vec<_>>();
    assert_eq!(twins(&home), [1, 2, 3, 4]);
    delete(&mut home.open(), [2]).unwrap();
    assert_eq!(twins(&home), [1, 3, 4]);
    home.delete_index();
    assert_eq!(twins(&home), [1, 3, 4]);
    std::fs::remove_file(home.at("new/1.a.h")).unwrap();
    home.rename("new/3.a.h", "cur/3.a.h:2,S");
    home.put("new/4.a.h", &message(1));
    home.delete_index();
    assert_eq!(twins(&home), [3, 5, 4], "a new one has a new number, wherever it stands");
    delete(&mut home.open(), [1, 2, 3]).unwrap();
    home.put("new/9.a.h", &message(1));
    home.delete_index();
    assert_eq!(twins(&home), [6], "a number that was given away is not given again");
}

#[test]
fn a_damaged_index_changes_nothing_that_a_client_sees() {
    let home = Home::new();
    (1..=100).for_each(|number| home.put(format!("new/{number}.a.h"), &message(number)));
    home.settle();
    let before = entries(&mut home.open());
    let path = home.0.path().join("state/index");
    let good = std::fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(211) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        std::fs::write(&path, &bad).unwrap();
        let mut maildir = home.open();
        assert_eq!(entries(&mut maildir), before, "octet {at}");
        assert_eq!(text(&mut maildir, 70).unwrap(), message(70), "octet {at}");
        assert_eq!(text(&mut maildir, 1).unwrap(), message(1), "octet {at}");
    }
}

//! The mbox as a session sees it: with the spool in the same process, and other programs beside it.

mod others;
mod trouble;
mod twins;

use super::local::{Local, LockSet};
use super::*;
use crate::maildrop::{self, Format};
use proptest::prelude::*;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// A spool with one mailbox, and the user's state directory.
struct Home {
    folder: tempfile::TempDir,
    locks: LockSet,
    patience: Duration,
}

impl Home {
    fn new(mailbox: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("spool")).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let home = Self { folder, locks: LockSet::default(), patience: Duration::from_millis(300) };
        std::fs::write(home.path(), mailbox).unwrap();
        home
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("spool/ann")
    }

    fn uid(&self) -> u32 {
        std::fs::metadata(self.folder.path()).unwrap().uid()
    }

    fn local(&self) -> Local {
        Local::new(&self.path(), self.locks, self.uid()).unwrap().with_patience(self.patience)
    }

    fn state(&self) -> Directory {
        Directory::open(&self.folder.path().join("state")).unwrap()
    }

    fn try_open(&self) -> Result<Mbox> {
        let file = maildrop::open_mailbox(Format::Auto, &self.path(), self.uid())?;
        Mbox::open(file, &self.path(), self.state(), Box::new(self.local()))
    }

    fn open(&self) -> Mbox {
        self.try_open().unwrap()
    }

    fn content(&self) -> String {
        String::from_utf8(std::fs::read(self.path()).unwrap()).unwrap()
    }

    fn append(&self, text: &str) {
        use std::io::Write;
        File::options().append(true).open(self.path()).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// The names in the spool, to see what is left behind.
    fn names(&self) -> Vec<String> {
        let mut names = Directory::open(&self.folder.path().join("spool")).unwrap().names("").unwrap();
        names.retain(|name| !matches!(name.as_str(), "." | ".."));
        names.sort();
        names
    }

    fn delete_index(&self) {
        let _ = self.state().remove(index::NAME);
    }
}

fn message(number: usize) -> String {
    format!("From user{number}@example.org Sat Jan  3 01:05:34 2026\nSubject: {number}\n\nbody {number}\n\n")
}

fn mailbox(numbers: impl IntoIterator<Item = usize>) -> String {
    numbers.into_iter().map(message).collect()
}

fn set(numbers: impl IntoIterator<Item = u32>) -> Bitmap {
    let mut set = Bitmap::new();
    for number in numbers {
        set.insert(MsgNo::new(number).unwrap());
    }
    set
}

fn delete(mbox: &mut Mbox, numbers: impl IntoIterator<Item = u32>) -> Result<()> {
    mbox.commit(&set(numbers), &Bitmap::new())
}

fn text(mbox: &mut Mbox, number: u32) -> Result<String> {
    let (message, mut text, mut buffer) = (MsgNo::new(number).unwrap(), Vec::new(), [0; 10]);
    loop {
        match mbox.read(message, text.len() as u64, &mut buffer)? {
            0 => return Ok(String::from_utf8(text).unwrap()),
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
}

fn texts(mbox: &mut Mbox) -> Vec<String> {
    (1..=mbox.count()).map(|number| text(mbox, number).unwrap()).collect()
}

fn entries(mbox: &mut Mbox) -> Vec<Entry> {
    let (mut all, mut page) = (Vec::new(), Vec::new());
    let mut next = MsgNo::FIRST;
    while all.len() < mbox.count() as usize {
        mbox.entries(next, &mut page).unwrap();
        all.append(&mut page);
        next = MsgNo::new(u32::try_from(all.len()).unwrap() + 1).unwrap();
    }
    all
}

#[test]
fn a_mailbox_is_read_as_it_is_stored() {
    let home = Home::new(&mailbox(1..=200));
    for round in 0..2 {
        let mut mbox = home.open();
        assert_eq!(mbox.count(), 200);
        assert_eq!(text(&mut mbox, 200).unwrap(), "Subject: 200\n\nbody 200\n");
        let octets: u64 = entries(&mut mbox).iter().map(|entry| entry.octets).sum();
        assert_eq!(octets, mbox.octets(), "RFC 1939, section 5: STAT and LIST agree");
        assert!(mbox.take_notes().is_empty(), "round {round}");
        assert_eq!(home.names(), ["ann"]);
    }
}

#[test]
fn no_mailbox_and_an_empty_one_are_an_empty_maildrop() {
    let home = Home::new("");
    assert_eq!((home.open().count(), home.open().octets()), (0, 0));
    std::fs::remove_file(home.path()).unwrap();
    let mut mbox = home.open();
    assert_eq!(mbox.count(), 0);
    assert!(delete(&mut mbox, [1]).is_ok(), "nothing to do");
    let mut page = Vec::new();
    mbox.entries(MsgNo::FIRST, &mut page).unwrap();
    assert!(page.is_empty());
}

#[test]
fn a_login_to_an_unchanged_mailbox_takes_no_lock() {
    let home = Home::new(&mailbox(1..=3));
    drop(home.open());
    let other = File::options().read(true).write(true).open(home.path()).unwrap();
    assert!(crate::sys::lock::try_lock(&other).unwrap());
    assert_eq!(home.open().count(), 3, "design, section 4, Index");
    home.append(&message(4));
    assert_eq!(home.try_open().err().unwrap().kind(), Kind::Temporary, "but a changed one needs it");
}

#[test]
fn appended_mail_is_found_with_and_without_the_index() {
    let home = Home::new(&mailbox(1..=100));
    let before = entries(&mut home.open());
    home.append(&mailbox(101..=150));
    let after = entries(&mut home.open());
    assert_eq!((&after[..100], after.len()), (&before[..], 150));
    home.delete_index();
    assert_eq!(entries(&mut home.open()), after, "design, section 4: the index is a cache");
}

#[test]
fn what_is_appended_without_an_empty_line_is_seen_as_what_it_is() {
    let known = "From a Sat Jan  3 01:05:34 2026\nS: 1\n\nbody\n";
    let home = Home::new(known);
    assert_eq!(home.open().count(), 1);
    home.append(&message(2));
    assert_eq!(
        home.open().count(),
        2,
        "an envelope line at the end of what the index knows begins a message"
    );
    let home = Home::new(known);
    home.open();
    home.append("more\n");
    assert_eq!(texts(&mut home.open()), ["S: 1\n\nbody\nmore\n"]);
    home.append(&format!("\n{}", message(2)));
    assert_eq!(texts(&mut home.open())[0], "S: 1\n\nbody\nmore\n");
    assert_eq!(home.open().count(), 2);
}

/// Deletes in one session, and checks the mailbox octet by octet and what later sessions see.
fn check_update(count: usize, appended: usize, deleted: impl Fn(usize) -> bool) {
    let home = Home::new(&mailbox(1..=count));
    let before = entries(&mut home.open());
    let mut mbox = home.open();
    home.append(&mailbox(count + 1..=count + appended));
    let modified = std::fs::metadata(home.path()).unwrap().modified().unwrap();
    let accessed = std::fs::metadata(home.path()).unwrap().accessed().unwrap();
    let numbers: Vec<u32> = (1..=count).filter(|&n| deleted(n)).map(|n| u32::try_from(n).unwrap()).collect();
    delete(&mut mbox, numbers).unwrap();
    let left: Vec<usize> = (1..=count + appended).filter(|&n| n > count || !deleted(n)).collect();
    let status = std::fs::metadata(home.path()).unwrap();
    assert_eq!(home.content(), mailbox(left.iter().copied()));
    assert_eq!(status.modified().unwrap(), modified, "design, section 4: You have new mail stays true");
    assert_eq!(status.accessed().unwrap(), accessed);
    assert_eq!(home.names(), ["ann"]);
    if appended == 0 && !left.is_empty() {
        let header = *Index::load(&home.state()).unwrap().header();
        assert_eq!(header.known, header.identity.size);
        assert_eq!(header.identity, status_of(&home), "the next login reads the header alone");
    }
    let after = entries(&mut home.open());
    let kept: Vec<Entry> = left.iter().filter(|&&n| n <= count).map(|&n| before[n - 1]).collect();
    assert_eq!(after[..kept.len()], kept[..], "the same message, the same UIDL");
    assert_eq!(after.len(), left.len());
    home.delete_index();
    assert_eq!(entries(&mut home.open()), after);
}

fn status_of(home: &Home) -> Identity {
    status(&File::open(home.path()).unwrap()).unwrap().identity
}

#[test]
fn an_update_removes_exactly_what_is_deleted() {
    for appended in [0, 1, 70] {
        for count in [1, 2, 10, 130] {
            check_update(count, appended, |n| n == 1);
            check_update(count, appended, |n| n == count / 2 + 1);
            check_update(count, appended, |n| n == count);
            check_update(count, appended, |n| n % 2 == 0);
            check_update(count, appended, |n| n != count);
            check_update(count, appended, |n| n > count / 2);
            check_update(count, appended, |_| true);
        }
    }
}

#[test]
fn large_messages_are_copied_whole() {
    let large = |n: usize| format!("{}{}\n\n", message(n).trim_end(), "0123456789abcde\n".repeat(200_000));
    let all: Vec<String> = (1..=4).map(large).collect();
    let home = Home::new(&all.concat());
    delete(&mut home.open(), [2]).unwrap();
    assert!(home.content() == [&all[0][..], &all[2], &all[3]].concat());
    // What is behind 128 KiB that are taken out lies in its blocks as before, and is copied in the kernel.
    let head = message(9);
    let gap = format!("{}{}\n\n", head.trim_end(), "x".repeat(128 * 1024 - head.trim_end().len() - 2));
    let home = Home::new(&[&all[0][..], &gap, &all[2], &all[3]].concat());
    delete(&mut home.open(), [2]).unwrap();
    assert!(home.content() == [&all[0][..], &all[2], &all[3]].concat());
}

/// Design, section 4, "Other writers": the update checks all envelope lines, however far apart they are.
#[test]
fn an_update_sees_each_envelope_line_that_was_changed() {
    let sized = |n: usize| {
        let body = "x".repeat([10, 3000, 5000, 70_000][n % 4]);
        format!("From user@example.org Sat Jan  3 01:05:34 2026\nSubject: {n}\n\n{body}\n\n")
    };
    let all: Vec<String> = (0..130).map(sized).collect();
    for changed in [0, 1, 2, 3, 4, 62, 63, 64, 128] {
        let home = Home::new(&all.concat());
        let mut mbox = home.open();
        let place = all[..changed].iter().map(String::len).sum::<usize>() + "From u".len();
        let file = File::options().write(true).open(home.path()).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"z", place as u64).unwrap();
        // Mail that came explains the file's times: the end of what is known alone would not show it.
        home.append(&message(999));
        let before = home.content();
        assert_eq!(delete(&mut mbox, [130]).unwrap_err().kind(), Kind::Temporary, "{changed}");
        assert_eq!(home.content(), before, "nothing is changed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_deleted_the_rest_stays(
        bodies in prop::collection::vec("[a-z \r\n]{0,40}", 1..8),
        deleted in prop::collection::vec(any::<bool>(), 8),
        cut in 0usize..3,
        late in any::<bool>(),
    ) {
        let mut mail: String = bodies.iter().enumerate()
            .map(|(n, body)| format!("From u{n} Sat Jan  3 01:05:34 2026\nSubject: {n}\n\n{body}x\n\n"))
            .collect();
        mail.truncate(mail.len() - cut);
        let home = Home::new(&mail);
        let mut mbox = home.open();
        let (before, read) = (entries(&mut mbox), texts(&mut mbox));
        if late {
            home.append(&message(99));
        }
        let numbers = (1..=mbox.count()).filter(|&n| deleted[n as usize - 1]);
        delete(&mut mbox, numbers.collect::<Vec<_>>()).unwrap();
        drop(mbox);
        for _ in 0..2 {
            let mut mbox = home.open();
            let kept: Vec<usize> = (0..before.len()).filter(|&n| !deleted[n]).collect();
            prop_assert_eq!(mbox.count() as usize, kept.len() + usize::from(late));
            let after = entries(&mut mbox);
            for (now, &then) in kept.iter().enumerate() {
                prop_assert_eq!(after[now], before[then]);
                let text = text(&mut mbox, u32::try_from(now).unwrap() + 1).unwrap();
                prop_assert_eq!(text.trim_end_matches('\n'), read[then].trim_end_matches('\n'));
            }
            // After an update a new message stands for itself, whatever was last: a scan of all finds the same.
            if !late || cut == 0 || kept.len() < before.len() {
                home.delete_index();
            }
        }
    }
}

#[test]
fn the_next_message_stands_alone_after_an_update() {
    let unfinished = "From a Sat Jan  3 01:05:34 2026\nS: 1\n\nno end";
    for deleted in [vec![2], vec![1], vec![1, 2]] {
        let home = Home::new(unfinished);
        home.open();
        home.append(&message(2));
        let mut mbox = home.open();
        assert_eq!(mbox.count(), 2);
        let left = 2 - u32::try_from(deleted.len()).unwrap();
        delete(&mut mbox, deleted).unwrap();
        drop(mbox);
        home.append(&message(3));
        home.delete_index();
        assert_eq!(
            home.open().count(),
            left + 1,
            "design, section 4: the last survivor ends in an empty line"
        );
    }
}

#[test]
fn a_survivor_without_an_empty_line_gets_one() {
    let home = Home::new(&format!("{}From a Sat Jan  3 01:05:34 2026\nS: 2\n\nno end\r", message(1)));
    home.open();
    home.append(&message(3));
    let before = entries(&mut home.open());
    assert_eq!(before.len(), 3);
    delete(&mut home.open(), [1]).unwrap();
    assert_eq!(entries(&mut home.open()), before[1..]);
    home.delete_index();
    assert_eq!(entries(&mut home.open()), before[1..], "the index alone knew where the last one begins");
}

#[test]
fn hidden_internal_data_is_kept() {
    let internal = "From M Sat Jan  3 01:05:34 2026\nFrom: Mail System Internal Data <M@x>\n\
                    Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\ntext\n\n";
    for deleted in [vec![1], vec![2], vec![1, 2]] {
        let home = Home::new(&format!("{internal}{}", mailbox(1..=2)));
        let mut mbox = home.open();
        assert_eq!(mbox.count(), 2, "design, section 4: hidden");
        delete(&mut mbox, deleted.clone()).unwrap();
        let left = (1..=2).filter(|&n| !deleted.contains(&n)).map(|n| n as usize);
        assert_eq!(home.content(), format!("{internal}{}", mailbox(left)), "and kept");
        assert_eq!(home.open().count() as usize, 2 - deleted.len());
    }
}

#[test]
fn a_message_that_turns_out_to_be_internal_data_is_hidden_and_kept() {
    let home = Home::new(
        "From M Sat Jan  3 01:05:34 2026\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n",
    );
    assert_eq!(home.open().count(), 1, "not yet whole, it is a message like others");
    home.append("X-IMAP: 1 2\n\ntext\n\n");
    let internal = home.content();
    home.append(&mailbox(1..=2));
    let mut mbox = home.open();
    assert_eq!(mbox.count(), 2, "design, section 4: hidden");
    delete(&mut mbox, [1]).unwrap();
    assert_eq!(home.content(), format!("{internal}{}", message(2)), "and kept");
    delete(&mut home.open(), [1]).unwrap();
    assert_eq!(home.content(), internal);
}

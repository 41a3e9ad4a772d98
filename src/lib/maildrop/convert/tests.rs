//! Conversions in a directory of the test's own (design, section 4, "UIDL": same message, same id over conversion).

use super::*;
use crate::config::Format;
use crate::maildrop::mbox::local::Local;
use crate::protocol::MsgNo;
use std::fs;
use std::os::unix::fs::MetadataExt;

struct Home {
    folder: tempfile::TempDir,
    site: Site,
}

impl Home {
    fn new(mbox: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        fs::create_dir(folder.path().join("spool")).unwrap();
        let path = folder.path().join("spool/ann");
        fs::write(&path, mbox).unwrap();
        let site = Site {
            uid: fs::metadata(&path).unwrap().uid(),
            path,
            state: Directory::open(&folder.path().join("state")).unwrap(),
            locks: LockSet::default(),
            remove_old: false,
        };
        Self { folder, site }
    }

    fn aside(&self, word: &str) -> PathBuf {
        self.folder.path().join("spool").join(format!(".ann.old-{word}"))
    }

    fn convert(&self, target: Target) -> Done {
        run(&self.site, target).unwrap()
    }

    /// Octets and unique ids as a client sees them, and the messages.
    fn seen(&self) -> Vec<(u64, Vec<u8>, Vec<u8>)> {
        let Site { path, uid, .. } = &self.site;
        let found = crate::maildrop::find(Format::Auto, path, *uid).unwrap();
        let state = || Directory::open(&self.folder.path().join("state")).unwrap();
        let spool = Box::new(Local::new(path, LockSet::default(), *uid).unwrap());
        let mut maildrop = crate::maildrop::open(found, path, *uid, state(), spool).unwrap();
        let (mut seen, mut page) = (Vec::new(), Vec::new());
        for number in 1..=maildrop.count() {
            let number = MsgNo::new(number).unwrap();
            maildrop.entries(number, &mut page).unwrap();
            let entry = page[0];
            let mut text = vec![0; 65536];
            let count = maildrop.read(number, 0, &mut text).unwrap();
            text.truncate(count);
            let id = maildrop.imported().unwrap().shown(entry.uidl);
            seen.push((entry.octets, id, text));
        }
        seen
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("spool")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

const MBOX: &str = "From ann@example.org Sat Jan  3 01:05:34 2026\nReturn-Path: <ann@example.org>\nSubject: one\n\nfirst\n\n\
    From MAILER-DAEMON Sat Jan  3 02:05:34 2026\nSubject: twin\nStatus: RO\nX-Status: AF\n\nsame\n\n\
    From MAILER-DAEMON Fri Jan  2 01:05:34 2026\nSubject: twin\nStatus: RO\nX-Status: AF\n\nalso\n\n\
    From MAILER-DAEMON Sat Jan  3 03:05:34 2026\nSubject: twin\n\nmore\n>From x Sat Jan  3 03:05:34 2026\n\n\n\n\
    From MAILER-DAEMON Sat Jan  3 04:05:34 2026\nStatus: O\nSubject: header alone\n\n\n";

#[test]
fn there_and_back_nothing_changes() {
    let home = Home::new(MBOX.as_bytes());
    let before = home.seen();
    assert_eq!(before.len(), 5);
    let done = home.convert(Target::Maildir);
    assert_eq!((done.messages, done.late, done.kept), (5, 0, Some(home.aside("mbox"))));
    assert_eq!(home.seen(), before, "design, section 4: octets, ids, messages");
    assert_eq!(fs::read(home.aside("mbox")).unwrap(), MBOX.as_bytes(), "the old one is kept");
    let of = |folder: &str| {
        let entries = fs::read_dir(home.site.path.join(folder)).unwrap();
        let mut names: Vec<(String, i64)> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().mtime()))
            .collect();
        names.sort();
        names
    };
    assert_eq!(of("new").len(), 2, "nobody has looked at these");
    let cur = of("cur");
    let ends: Vec<&str> = cur.iter().map(|(name, _)| name.rsplit(':').next().unwrap()).collect();
    assert_eq!(ends, ["2,FRS", "2,FRS", "2,"], "Status and X-Status");
    assert_eq!(cur[1].1, 1_767_315_934, "the envelope's time, though an older message stands before it");
    let done = home.convert(Target::Mbox);
    assert_eq!((done.messages, done.kept), (5, Some(home.aside("maildir"))));
    assert_eq!(home.seen(), before);
    assert_eq!(String::from_utf8(fs::read(&home.site.path).unwrap()).unwrap(), MBOX, "octet by octet");
    assert_eq!(home.names(), [".ann.old-maildir", ".ann.old-mbox", "ann"]);
    // What is kept is in the way of a second time, until told otherwise.
    let error = run(&home.site, Target::Maildir).unwrap_err();
    assert!(error.to_string().contains(".ann.old-mbox is there"), "{error}");
    assert_eq!(home.seen(), before);
    let site = Site { remove_old: true, ..home.site };
    let home = Home { site, ..home };
    assert!(home.convert(Target::Maildir).removed);
    assert_eq!(home.seen(), before);
    assert!(home.convert(Target::Mbox).removed);
    assert_eq!(home.seen(), before);
    assert_eq!(home.names(), ["ann"]);
    let again = home.convert(Target::Mbox);
    assert!(again.already && !again.removed);
}

/// A twin keeps its number when another is deleted, over conversions too.
#[test]
fn twins_keep_their_numbers() {
    let home = Home::new(MBOX.as_bytes());
    let before = home.seen();
    home.convert(Target::Maildir);
    let mut names: Vec<PathBuf> =
        fs::read_dir(home.site.path.join("cur")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    fs::remove_file(&names[0]).unwrap();
    let left = home.seen();
    assert_eq!(left[1], before[2], "the second twin");
    home.convert(Target::Mbox);
    assert_eq!(home.seen(), left);
    let site = Site { remove_old: true, ..home.site };
    let home = Home { site, ..home };
    home.convert(Target::Maildir);
    assert_eq!(home.seen(), left);
    home.convert(Target::Mbox);
    assert_eq!(home.seen(), left);
}

/// A line that would begin a message gets a `>`; the message keeps its id, which is not that of its octets any more.
#[test]
fn a_message_that_must_be_changed_keeps_its_id() {
    let home = Home::new(MBOX.as_bytes());
    home.convert(Target::Maildir);
    let text =
        "Subject: hostile\n\nx\n\nFrom thief@example.org Sat Jan  3 01:05:34 2026\nSubject: two of one\n\nx";
    for (name, text) in
        [("1.hostile", text), ("2.short", "Subject: x"), ("3.empty", ""), ("4.none", "\n\nx\n\n\n")]
    {
        fs::write(home.site.path.join("new").join(name), text).unwrap();
    }
    let before = home.seen();
    assert_eq!(before.len(), 9);
    home.convert(Target::Mbox);
    let after = home.seen();
    let ids = |seen: &[(u64, Vec<u8>, Vec<u8>)]| seen.iter().map(|(_, id, _)| id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&after), ids(&before));
    assert!(String::from_utf8_lossy(&after[0].2).contains("\n\n>From thief@"));
    assert_eq!(after[4..], before[4..]);
}

/// Mail readers' marks that were made in the Maildir stand in the mbox; a message's own octets stay.
#[test]
fn marks_are_taken_along() {
    let home = Home::new(MBOX.as_bytes());
    let before = home.seen();
    home.convert(Target::Maildir);
    for name in ["new", "cur"] {
        for entry in fs::read_dir(home.site.path.join(name)).unwrap() {
            let entry = entry.unwrap().path();
            let base = entry.file_name().unwrap().to_str().unwrap().split(':').next().unwrap().to_owned();
            fs::rename(&entry, home.site.path.join("cur").join(format!("{base}:2,ST"))).unwrap();
        }
    }
    home.convert(Target::Mbox);
    let after = home.seen();
    for ((_, id, text), (_, old, _)) in after.iter().zip(&before) {
        assert_eq!(id, old);
        let text = String::from_utf8_lossy(text);
        assert_eq!(text.matches("Status: RO\nX-Status: D\n").count(), 1, "{text}");
        assert_eq!(text.matches("Status: ").count(), 2, "{text}");
    }
}

/// What was killed before the step is begun anew; behind it what came to the old maildrop is brought over.
#[test]
fn who_was_killed_goes_on() {
    let home = Home::new(MBOX.as_bytes());
    let before = home.seen();
    // Before the step: a Maildir that was never finished.
    fs::create_dir_all(home.aside("mbox").join("tmp")).unwrap();
    fs::write(home.aside("mbox").join("tmp/1.x"), "half").unwrap();
    home.convert(Target::Maildir);
    assert_eq!(home.seen(), before);
    // Behind it: the old index is still there.
    let late = "From late@example.org Sat Jan  3 05:05:34 2026\nSubject: late\n\nlate\n\n";
    fs::write(home.aside("mbox"), format!("{MBOX}{late}")).unwrap();
    let known = home.folder.path().join("state/converting");
    let mbox = Home::new(MBOX.as_bytes());
    mbox.seen();
    fs::copy(mbox.folder.path().join("state/index"), &known).unwrap();
    let done = home.convert(Target::Maildir);
    assert_eq!((done.already, done.late), (true, 1));
    assert_eq!(home.seen().len(), 6);
    assert!(!known.exists());
    assert_eq!(home.convert(Target::Maildir).late, 0, "once");
    // The same the other way.
    let maildir_index = || fs::read(home.folder.path().join("state/index")).unwrap();
    let index = maildir_index();
    home.convert(Target::Mbox);
    fs::write(home.aside("maildir").join("new/9999999999.late"), "Subject: later\n\nx\n").unwrap();
    fs::write(&known, index).unwrap();
    let done = home.convert(Target::Mbox);
    assert_eq!((done.already, done.late), (true, 1));
    assert_eq!(home.seen().len(), 7);
}

#[test]
fn what_is_none_is_refused_with_words() {
    let home = Home::new(b"no mbox\n");
    let error = run(&home.site, Target::Maildir).unwrap_err();
    assert!(error.to_string().contains("does not begin with an mbox envelope line"), "{error}");
    assert_eq!(home.names(), ["ann"]);
    fs::remove_file(&home.site.path).unwrap();
    let error = run(&home.site, Target::Maildir).unwrap_err();
    assert!(error.to_string().ends_with("spool/ann does not exist"), "{error}");
    // Folders of a mail reader are nobody's to remove.
    fs::write(&home.site.path, MBOX).unwrap();
    home.convert(Target::Maildir);
    fs::create_dir(home.site.path.join(".Sent")).unwrap();
    let site = Site { remove_old: true, ..home.site };
    let home = Home { site, ..home };
    let error = run(&home.site, Target::Mbox).unwrap_err();
    assert!(error.to_string().contains("has folders (.Sent)"), "{error}");
    let site = Site { remove_old: false, ..home.site };
    let home = Home { site, ..home };
    let done = home.convert(Target::Mbox);
    assert!(done.notes[0].contains("they stay in"), "{:?}", done.notes);
    assert!(home.aside("maildir").join(".Sent").is_dir());
}

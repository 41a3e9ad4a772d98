//! Maildrops to and from a file, in a directory of the test's own.

use super::ids::Ids;
use super::*;
use crate::protocol::MsgNo;
use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::MetadataExt;

struct Home {
    folder: tempfile::TempDir,
    site: Site,
}

type Seen = Vec<(String, String)>;

impl Home {
    fn new(format: Format) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        let uid = fs::metadata(folder.path()).unwrap().uid();
        let state = Directory::open(&folder.path().join("state")).unwrap();
        let path = folder.path().join("ann");
        Self { site: Site { path, uid, state, locks: LockSet::default(), format }, folder }
    }

    fn file(&self, text: &str) -> File {
        let mut file = tempfile::tempfile_in(self.folder.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn export(&self) -> (Done, String) {
        let out = self.folder.path().join("out");
        let done = export(&self.site, &File::create(&out).unwrap(), || ()).unwrap();
        (done, fs::read_to_string(out).unwrap())
    }

    fn try_import(&self, mail: Option<&str>, list: Option<&str>, headers: bool) -> Result<Done> {
        let (mail, list) = (mail.map(|text| self.file(text)), list.map(|text| self.file(text)));
        import(&self.site, &Import { mail: mail.as_ref(), list: list.as_ref(), headers, as_is: false })
    }

    fn import(&self, mail: &str) -> Done {
        self.try_import(Some(mail), None, true).unwrap()
    }

    /// Unique ids and messages, as a client sees them.
    fn seen(&self) -> Seen {
        let Site { path, uid, .. } = &self.site;
        let found = crate::maildrop::find(Format::Auto, path, *uid).unwrap();
        let spool = Box::new(Local::new(path, LockSet::default(), *uid).unwrap());
        let mut maildrop =
            crate::maildrop::open(found, path, *uid, self.site.state().unwrap(), spool).unwrap();
        let (imported, mut page) = (maildrop.imported().unwrap(), Vec::new());
        let mut seen = Vec::new();
        for number in (1..=maildrop.count()).map(|number| MsgNo::new(number).unwrap()) {
            maildrop.entries(number, &mut page).unwrap();
            let mut text = vec![0; 4096];
            let count = maildrop.read(number, 0, &mut text).unwrap();
            text.truncate(count);
            let id = String::from_utf8(imported.shown(page[0].uidl)).unwrap();
            seen.push((id, String::from_utf8(text).unwrap()));
        }
        seen
    }
}

const MBOX: &str = "From ann@example.org Sat Jan  3 01:05:34 2026\nSubject: one\nStatus: RO\n\nfirst\n>From here\n\n>>From there\n\n\
    From ann@example.org Sat Jan  3 01:05:35 2026\nSubject: twin\n\nx\n\n\
    From ann@example.org Sat Jan  3 01:05:36 2026\nSubject: twin\n\ny\n\nFrom here on\n\n";

/// However long a sender's header is, the id that an export adds behind it is the one that an import takes.
#[test]
fn no_sender_chooses_an_id_by_a_long_header() {
    let home = Home::new(Format::Auto);
    let padding = format!("X-Pad: {}\n", "x".repeat(990)).repeat(80);
    let mail = |text: &str| {
        format!("From a@b Sat Jan  3 01:05:34 2026\nX-UIDL: dup\n{padding}Subject: {text}\n\n{text}\n\n")
    };
    fs::write(&home.site.path, mail("one") + &mail("two")).unwrap();
    let ids = |home: &Home| home.seen().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let (before, (_, text)) = (ids(&home), home.export());
    let other = Home::new(Format::Auto);
    assert_eq!(other.import(&text).messages, 2);
    assert_eq!(ids(&other), before);
}

/// mailusradm(8): what is exported and imported again is the same, unique ids and quoted lines too.
#[test]
fn an_export_that_is_imported_is_the_same_maildrop() {
    let home = Home::new(Format::Auto);
    fs::write(&home.site.path, MBOX).unwrap();
    let list = "1 old-one\n3 old-three\n";
    assert_eq!(home.try_import(None, Some(list), false).unwrap().ids, 2);
    let seen = home.seen();
    assert_eq!((seen[0].0.as_str(), seen[2].0.as_str(), seen.len()), ("old-one", "old-three", 3));
    let (done, text) = home.export();
    assert_eq!(done.messages, 3);
    assert!(
        text.contains("\nStatus: RO\nX-UIDL: old-one\n\nfirst\n>>From here\n\n>>>From there\n"),
        "{text}"
    );
    assert!(text.contains("\n\n>From here on\n"), "{text}");
    for format in [Format::Auto, Format::Maildir] {
        let other = Home::new(format);
        assert_eq!(other.import(&text).messages, 3);
        assert_eq!(other.seen(), seen, "{format:?}");
        assert_eq!(other.site.path.is_dir(), format == Format::Maildir);
        // And once more, from there.
        let (_, again) = other.export();
        let third = Home::new(Format::Auto);
        third.import(&again);
        assert_eq!(third.seen(), seen, "{format:?}");
        assert!(fs::read_to_string(&third.site.path).unwrap().contains("Status: RO"));
    }
}

/// An import is added behind what is there; nothing there changes, and no id is given twice.
#[test]
fn an_import_appends_and_gives_no_id_twice() {
    for format in [Format::Auto, Format::Maildir] {
        let home = Home::new(format);
        home.import(MBOX);
        let before = home.seen();
        let (_, text) = home.export();
        let error = home.try_import(Some(&text), None, true).unwrap_err();
        assert!(error.to_string().starts_with("messages 1 and 1 of the file would both have"), "{error}");
        assert_eq!(home.seen(), before, "nothing is imported");
        assert_eq!(home.try_import(Some(&text), None, false).unwrap().messages, 3);
        let after = home.seen();
        assert_eq!((&after[..3], after.len()), (&before[..], 6));
        assert_eq!(after[3].0, format!("{}-2", before[0].0), "an equal message");
        assert_eq!(after[5].0, before[2].0.clone() + "-2");
        assert_eq!(home.try_import(Some(""), None, true).unwrap().messages, 0);
        let names = fs::read_dir(home.folder.path().join("state")).unwrap().count();
        assert!(names <= 2, "index and uidl, no draft");
    }
}

#[test]
fn what_cannot_be_imported_changes_nothing() {
    let home = Home::new(Format::Auto);
    home.import(MBOX);
    let before = fs::read(&home.site.path).unwrap();
    for (mail, list, words) in [
        (Some("no mbox\n"), None, "does not begin with an mbox envelope line"),
        (Some(MBOX), Some("4 x\n"), "the unique ids have a message 4, which there is not"),
        (Some(MBOX), Some("1 x\n2 x\n"), "would both have the unique id x"),
        (None, Some("1 x\n2 x\n"), "messages 1 and 2 would both have the unique id x"),
        (None, Some("1 x y\n"), "line 1 of the unique ids: not a number and an id"),
        (None, Some("3 V5 N2\n1 :a\n"), "names of files are for a Maildir"),
    ] {
        let error = home.try_import(mail, list, false).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(fs::read(&home.site.path).unwrap(), before);
    }
}

/// Dovecot's list for a Maildir that Dovecot has served: ids by the names of files.
#[test]
fn ids_of_dovecot_are_those_of_its_files() {
    let home = Home::new(Format::Maildir);
    home.import(MBOX);
    let mut names: Vec<String> = ["new", "cur"]
        .iter()
        .flat_map(|inner| fs::read_dir(home.site.path.join(inner)).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let list: String =
        names.iter().enumerate().map(|(at, name)| format!("{} W1 :{name}\n", at + 7)).collect();
    let list = format!("3 V1275660208 N25022\n{list}99 :1.gone\n");
    assert!(matches!(Ids::parse(list.as_bytes()), Ok(Ids::ByName(_))));
    assert_eq!(home.try_import(None, Some(&list), false).unwrap().ids, 3);
    let ids: Vec<String> = home.seen().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["000000074C0907B0", "000000084C0907B0", "000000094C0907B0"]);
    assert_eq!(home.try_import(None, Some(&list), false).unwrap().ids, 0, "they are set already");
}

//! Full disks, damaged indexes, rights that cannot be kept.

use super::*;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

#[test]
fn a_damaged_index_is_never_seen() {
    let home = Home::new(&mailbox(1..=150));
    let expected = (entries(&mut home.open()), texts(&mut home.open()));
    let path = home.folder.path().join("state/index");
    let good = std::fs::read(&path).unwrap();
    for position in (0..good.len()).step_by(509) {
        let mut bad = good.clone();
        let end = (position + 300).min(bad.len());
        bad[position..end].fill(if position % 2 == 0 { 0 } else { 0xff });
        std::fs::write(&path, bad).unwrap();
        let mut mbox = home.open();
        assert_eq!((entries(&mut mbox), texts(&mut mbox)), expected, "damaged from {position} on");
    }
    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert_eq!(texts(&mut home.open()), expected.1);
}

#[test]
fn an_index_that_is_damaged_in_a_session_costs_nothing() {
    let home = Home::new(&mailbox(1..=150));
    drop(home.open());
    for update in [false, true] {
        let mut mbox = home.open();
        let file = File::options().write(true).open(home.folder.path().join("state/index")).unwrap();
        file.write_all_at(&[7; 9000], 4096).unwrap();
        if update {
            delete(&mut mbox, [1]).unwrap();
            assert_eq!(home.content(), mailbox(2..=150));
        } else {
            assert_eq!(text(&mut mbox, 100).unwrap(), "Subject: 100\n\nbody 100\n");
        }
        assert!(mbox.take_notes()[0].contains("damaged"));
    }
    assert_eq!(home.open().count(), 149);
}

#[test]
fn a_state_directory_that_cannot_be_written_stops_no_reader() {
    let home = Home::new(&mailbox(1..=150));
    let state = home.state();
    std::fs::remove_dir(home.folder.path().join("state")).unwrap();
    let file = maildrop::open_mailbox(Format::Auto, &home.path(), home.uid()).unwrap();
    let mut mbox = Mbox::open(file, &home.path(), state, Box::new(home.local())).unwrap();
    assert_eq!(texts(&mut mbox).len(), 150, "design, section 4: reading mail goes on");
    assert!(mbox.take_notes()[0].contains("memory"));
    delete(&mut mbox, [150, 1]).unwrap();
    assert_eq!(home.content(), mailbox(2..=149));
}

#[test]
fn what_is_no_mbox_is_refused_and_left_alone() {
    let home = Home::new("Subject: a letter\n\nno mbox\n");
    let error = home.try_open().err().unwrap();
    assert_eq!(error.kind(), Kind::Permanent);
    assert!(error.to_string().contains("spool/ann"), "{error}");
    assert_eq!(home.content(), "Subject: a letter\n\nno mbox\n");
    assert_eq!(home.names(), ["ann"]);
}

#[test]
fn owner_mode_and_attributes_are_kept() {
    let home = Home::new(&mailbox(1..=3));
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o660)).unwrap();
    let file = File::options().write(true).open(home.path()).unwrap();
    let attributes = crate::sys::file::set_attribute(&file, c"user.poptools", b"kept").is_ok();
    let group = std::os::unix::fs::chown(home.path(), None, Some(54_321)).is_ok();
    drop(file);
    delete(&mut home.open(), [1]).unwrap();
    let status = std::fs::metadata(home.path()).unwrap();
    assert_eq!(status.permissions().mode() & 0o777, 0o660, "design, section 4, Update, 2");
    assert_eq!(status.uid(), home.uid());
    assert!(!group || status.gid() == 54_321);
    let kept = crate::sys::file::attribute(&File::open(home.path()).unwrap(), c"user.poptools").unwrap();
    assert!(!attributes || kept.unwrap() == b"kept");
}

/// An access list as the kernel takes it (acl(5)): owner, one named user, group, mask, others.
fn access_list(user: u32, rights: u16) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in
        [(1, 6, NOBODY), (2, rights, user), (4, 6, NOBODY), (0x10, 6, NOBODY), (0x20, 0, NOBODY)]
    {
        list.extend_from_slice(&u16::to_le_bytes(tag));
        list.extend_from_slice(&u16::to_le_bytes(rights));
        list.extend_from_slice(&u32::to_le_bytes(id));
    }
    list
}

#[test]
fn an_access_list_is_kept_and_a_default_one_adds_nothing() {
    use crate::sys::file::{ACL, attribute, set_attribute};
    let home = Home::new(&mailbox(1..=3));
    let list = || attribute(&File::open(home.path()).unwrap(), ACL).unwrap();
    let spool = File::open(home.path().parent().unwrap()).unwrap();
    if set_attribute(&spool, c"system.posix_acl_default", &access_list(54_321, 6)).is_err() {
        eprintln!("skipped: the file system has no access lists");
        return;
    }
    delete(&mut home.open(), [1]).unwrap();
    assert!(list().is_none(), "nobody gets more than he had");
    set_attribute(&File::open(home.path()).unwrap(), ACL, &access_list(54_322, 4)).unwrap();
    let before = list();
    delete(&mut home.open(), [1]).unwrap();
    assert!(before.is_some() && list() == before);
}

/// A small file system of its own, where root can make one.
struct Small(PathBuf);

impl Small {
    fn mount(home: &Home) -> Option<Self> {
        let spool = home.path().parent().unwrap().to_owned();
        let mail = std::fs::read(home.path()).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&spool).status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("skipped: needs root to mount a small file system");
            return None;
        }
        std::fs::write(home.path(), mail).unwrap();
        Some(Self(spool))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_changes_nothing_and_deleting_the_newest_or_all_still_works() {
    let body = "0123456789abcde\n".repeat(2000);
    let large = |n: usize| format!("{}\n{body}\n", message(n).trim_end());
    let all: String = (1..=6).map(large).collect();
    let home = Home::new(&all);
    let Some(_small) = Small::mount(&home) else { return };
    let mut mbox = home.open();
    let error = delete(&mut mbox, [1]).unwrap_err();
    assert_eq!(error.kind(), Kind::Temporary, "{error}");
    assert!(error.reply().contains("deleting all messages or only the newest still works"));
    assert_eq!(home.content(), all, "design, section 4, Update, 4");
    assert_eq!(home.names(), ["ann"]);
    // The disk is quite full now: not even a dotlock's content fits.
    let _ = std::fs::write(home.path().with_file_name("filler"), vec![0; 300_000]);
    delete(&mut home.open(), [6]).unwrap();
    assert_eq!(home.content(), (1..=5).map(large).collect::<String>());
    delete(&mut home.open(), 1..=5).unwrap();
    assert_eq!(home.content(), "");
    assert_eq!(home.names(), ["ann", "filler"]);
}

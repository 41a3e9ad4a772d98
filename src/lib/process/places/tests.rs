use super::*;
use crate::config::Config;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use tempfile::TempDir;

/// Directories of a server below a temporary one, and two users with homes.
struct Machine {
    root: TempDir,
    config: Config,
}

const ANN: u32 = 21_001;
const BOB: u32 = 21_002;

impl Machine {
    fn new(maildrop: &str) -> Self {
        // Not below /tmp as the path writes it, if that is a link.
        let root = TempDir::new_in(fs::canonicalize(std::env::temp_dir()).unwrap()).unwrap();
        let place = root.path().display();
        let text = format!(
            "state_dir = \"{place}/state\"\nrun_dir = \"{place}/run\"\n[maildrop]\npath = \"{maildrop}\"\n"
        )
        .replace("ROOT", &place.to_string());
        let config = Config::parse(&text, Path::new("test")).unwrap();
        prepare(&config).unwrap();
        for name in ["ann", "bob"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        Self { root, config }
    }

    fn account(&self, name: &str, uid: u32) -> Account {
        // Without root everything is the one user's; the ids below are those of the accounts as they would be.
        Account {
            name: name.to_owned(),
            uid,
            gid: uid,
            home: self.root.path().join(name),
            maildrop: None,
            limits: Default::default(),
        }
    }

    fn take(&self, name: &str, uid: u32) -> Result<File> {
        let id = SessionId::random().unwrap();
        take_maildrop(&self.config, &self.account(name, uid), id, &Peer::direct(None))
    }

    fn locks(&self) -> usize {
        fs::read_dir(self.config.run_dir.join("session")).unwrap().count()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

fn root_or_skip() -> bool {
    let root = privileges::is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_maildrop_has_one_session() {
    // Design, section 4, locks (a).
    let machine = Machine::new("ROOT/spool/{user}");
    fs::create_dir(machine.path("spool")).unwrap();
    let first = machine.take("ann", ANN).unwrap();
    let second = machine.take("ann", ANN).unwrap_err();
    assert!(second.reply().starts_with("[IN-USE] "), "{}", second.reply());
    let _bob = machine.take("bob", BOB).unwrap();
    drop(first);
    machine.take("ann", ANN).unwrap();
}

#[test]
fn two_ways_to_one_spool_are_one_maildrop() {
    if !root_or_skip() {
        return;
    }
    let mut machine = Machine::new("ROOT/spool/{user}");
    chmod(machine.root.path(), 0o755);
    fs::create_dir(machine.path("spool")).unwrap();
    symlink("spool", machine.path("mail")).unwrap();
    let _first = machine.take("ann", ANN).unwrap();
    machine.config.maildrop.path =
        crate::config::Template::parse(machine.path("mail/{user}").to_str().unwrap()).unwrap();
    assert!(machine.take("ann", ANN).is_err());
}

#[test]
fn no_user_can_take_another_ones_maildrop() {
    // ann's mail directory is a link to bob's: bob must still get in.
    let machine = Machine::new("{home}/mail/inbox");
    fs::create_dir(machine.path("bob/mail")).unwrap();
    symlink(machine.path("bob/mail"), machine.path("ann/mail")).unwrap();
    let _ann = machine.take("ann", ANN).unwrap();
    machine.take("bob", BOB).unwrap();
}

#[test]
fn links_of_a_user_make_no_new_locks() {
    // The directory of locks would grow with every link, and a second session would get in.
    let machine = Machine::new("{home}/mail/inbox");
    if privileges::is_root() {
        chown(machine.path("ann"), Some(ANN), None).unwrap();
    }
    let mut held = Vec::new();
    for target in ["a", "b", "c"] {
        let directory = machine.path("ann").join(target);
        fs::create_dir(&directory).unwrap();
        symlink(&directory, machine.path("ann/mail")).unwrap();
        held.extend(machine.take("ann", ANN).ok());
        fs::remove_file(machine.path("ann/mail")).unwrap();
    }
    assert_eq!((held.len(), machine.locks()), (1, 1));
}

#[test]
fn a_maildrop_whose_directory_is_missing_can_be_taken() {
    // A missing mailbox is an empty maildrop, and so is one in a directory that nobody has made yet.
    for template in ["ROOT/none/deep/{user}", "{home}/none/deep/inbox"] {
        let machine = Machine::new(template);
        let first = machine.take("ann", ANN).unwrap();
        assert!(machine.take("ann", ANN).is_err());
        drop(first);
    }
}

#[test]
fn a_session_cannot_write_the_lock_file() {
    // A session that was taken over could fill the file system of root's.
    if !root_or_skip() {
        return;
    }
    let machine = Machine::new("ROOT/spool/{user}");
    let mut lock = machine.take("ann", ANN).unwrap();
    assert!(lock.write_all(b"x").is_err() && lock.set_len(1 << 20).is_err());
    let mut holder = String::new();
    io::Read::read_to_string(&mut lock, &mut holder).unwrap();
    assert!(holder.starts_with(&format!("{} ann ", std::process::id())), "{holder}");
}

#[test]
fn a_spools_group_is_the_helpers() {
    // Design, section 2, spool helper.
    if !root_or_skip() {
        return;
    }
    let machine = Machine::new("ROOT/spool/{user}");
    chmod(machine.root.path(), 0o755);
    fs::create_dir_all(machine.path("spool/a")).unwrap();
    for directory in ["spool", "spool/a"] {
        chown(machine.path(directory), None, Some(8)).unwrap();
        chmod(&machine.path(directory), 0o2775);
    }
    symlink("spool/a", machine.path("link")).unwrap();
    for path in ["spool/ann", "spool/a/ann", "link/ann"] {
        assert_eq!(spool_group(&machine.path(path)), Some(8), "{path}");
    }
    chmod(&machine.path("spool/a"), 0o755);
    assert_eq!(spool_group(&machine.path("spool/a/ann")), None, "it needs no group");
    assert_eq!(spool_group(&machine.path("spool/none/ann")), None, "it is not there");
}

#[test]
fn a_directory_of_a_user_gives_no_group() {
    // A user could send the helper to a directory of another group.
    if !root_or_skip() {
        return;
    }
    let machine = Machine::new("ROOT/spool/{user}");
    chmod(machine.root.path(), 0o755);
    for directory in ["ann/spool", "shared", "shared/spool", "open", "open/spool"] {
        fs::create_dir(machine.path(directory)).unwrap();
    }
    for directory in ["ann/spool", "shared/spool", "open/spool"] {
        chown(machine.path(directory), None, Some(8)).unwrap();
        chmod(&machine.path(directory), 0o2775);
    }
    assert_eq!(spool_group(&machine.path("ann/spool/x")), Some(8), "all is root's so far");
    chown(machine.path("ann"), Some(ANN), Some(ANN)).unwrap();
    chown(machine.path("shared"), None, Some(100)).unwrap();
    chmod(&machine.path("shared"), 0o775);
    chmod(&machine.path("open"), 0o777);
    symlink(machine.path("ann/spool"), machine.path("link")).unwrap();
    symlink(machine.path("shared/spool"), machine.path("ann/link")).unwrap();
    for path in ["ann/spool/x", "shared/spool/x", "open/spool/x", "link/x", "ann/link/x"] {
        assert_eq!(spool_group(&machine.path(path)), None, "{path}");
    }
    chmod(&machine.path("open"), 0o1777);
    assert_eq!(spool_group(&machine.path("open/spool/x")), Some(8), "the sticky bit keeps what is root's");
    symlink(machine.path("open/spool"), machine.path("open/planted")).unwrap();
    std::os::unix::fs::lchown(machine.path("open/planted"), Some(ANN), None).unwrap();
    assert_eq!(spool_group(&machine.path("open/planted/x")), None, "a user's link in a sticky directory");
}

#[test]
fn a_state_directory_is_closed_to_others_and_not_set_aside() {
    let machine = Machine::new("ROOT/spool/{user}");
    let own = privileges::own().uid;
    let account = Account { gid: privileges::own().gid, ..machine.account("ann", own) };
    state_directory(&machine.config, &account).unwrap();
    let path = machine.config.state_dir.join("maildrop/ann");
    fs::write(path.join("uidl"), b"x").unwrap();
    chmod(&path, 0o755);
    state_directory(&machine.config, &account).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
    assert!(path.join("uidl").exists());
}

#[test]
fn a_state_directory_of_another_owner_is_set_aside_once() {
    // Design, section 4, state directory.
    if !root_or_skip() {
        return;
    }
    let machine = Machine::new("ROOT/spool/{user}");
    let above = machine.config.state_dir.join("maildrop");
    let account = machine.account("ann", ANN);
    for _ in 0..3 {
        state_directory(&machine.config, &account).unwrap();
        assert_eq!(fs::metadata(above.join("ann")).unwrap().uid(), ANN);
        fs::write(above.join("ann/index"), b"x").unwrap();
        chown(above.join("ann"), Some(BOB), None).unwrap();
    }
    state_directory(&machine.config, &account).unwrap();
    let mut names: Vec<_> = fs::read_dir(&above).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len(), 2, "one is kept: {names:?}");
    assert!(names[1].to_str().unwrap().starts_with("ann.aside-"));
    // A link is set aside like anything else, and not followed.
    fs::remove_dir(above.join("ann")).unwrap();
    symlink(machine.path("bob"), above.join("ann")).unwrap();
    state_directory(&machine.config, &account).unwrap();
    assert!(fs::symlink_metadata(above.join("ann")).unwrap().is_dir());
    assert_eq!(fs::metadata(machine.path("bob")).unwrap().uid(), 0);
}

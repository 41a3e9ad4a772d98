//! What `mailauth check` and `pop3d --check` find of the secrets, and what brings a damaged database back to work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/own.rs"]
mod own;
#[path = "support/said.rs"]
mod said;
#[path = "support/terminal.rs"]
mod terminal;

use common::{World, isolated, machine};
use own::{MAILAUTH, Own};
use said::{Said, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const SECRET: &str = "tanstaaf";

const POP: u32 = 20_998;
const KEY: &str = "/run/lib/keys/mailauth.key";
const AUTH: &str = "/run/lib/poptools/auth";
const DATABASE: &str = "/run/lib/poptools/auth/mailauth.db";

/// A machine with ann, bob, pop and a database.
struct Site(World);

impl Site {
    fn new() -> Self {
        let auth = format!("[auth]\nkey = \"{KEY}\"\nvirtual_owner = \"bob\"\n");
        let site = Self(World::setup().user_with_uid("pop", POP, "!").config(&auth).start());
        site.run("init", "").well();
        site
    }

    fn run(&self, line: &str, input: &str) -> Said {
        self.program(MAILAUTH, line, input)
    }

    fn program(&self, program: &str, line: &str, input: &str) -> Said {
        let mut command = Command::new(program);
        command.arg("--config").arg(&self.0.config).args(line.split_whitespace());
        run(command, input)
    }

    /// The one problem that `mailauth check` has; none of it without these words.
    #[track_caller]
    fn finds(&self, words: &str) {
        let said = self.run("check", "");
        let problems: Vec<_> = said.out.lines().filter(|line| line.starts_with("problem: ")).collect();
        assert!(said.status == 1 && problems.len() == 1 && problems[0].contains(words), "{words}: {said:?}");
    }

    /// What `pop3d --check` says of the secrets database.
    #[track_caller]
    fn server_says(&self, words: &str) {
        let said = self.program(env!("CARGO_BIN_EXE_pop3d"), "--check", "");
        let found = said.out.lines().any(|line| line.contains("secrets database") && line.contains(words));
        assert!(found, "{words}: {said:?}");
    }
}

fn chmod(path: &str, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Design, section 4: database and key are the owner's alone, so nobody else may put others in their place.
#[test]
fn who_can_replace_database_or_key_is_found() {
    isolated(|| {
        let site = Site::new();
        site.run("check", "").well();
        site.server_says("ok ");
        for (directory, mode, kept) in
            [("/run/lib/poptools", 0o711, AUTH), ("/run/lib/keys", 0o755, KEY), ("/run/lib", 0o755, AUTH)]
        {
            chmod(directory, 0o777);
            let said = site.run("check", "");
            let words = format!("{directory} (mode 0777) and so replace {kept}: chmod go-w {directory}");
            assert!(said.status == 1 && said.out.contains(&words), "{words}: {said:?}");
            site.server_says(&words);
            chmod(directory, mode);
            site.run("check", "").well();
        }
    });
}

/// The key cannot be reached: that is what is said, with what to type, and no guess about an interrupted change.
#[test]
fn a_key_that_cannot_be_opened_is_explained() {
    isolated(|| {
        let site = Site::new();
        chmod("/run/lib/keys", 0o750);
        let words = format!(
            "pop cannot enter /run/lib/keys (mode 0750), so not reach {KEY}: chmod a+x /run/lib/keys"
        );
        site.finds(&words);
        site.server_says(&words);
        site.run("add ann --stdin", SECRET).refused(74, &words);
        chmod("/run/lib/keys", 0o755);
        std::os::unix::fs::chown(KEY, Some(0), Some(0)).unwrap();
        let words = format!("belongs to uid 0 and not to {POP}: chown {POP}:{POP} {KEY}");
        site.finds(&words);
        site.run("add ann --stdin", SECRET).refused(74, &words);
        fs::remove_file(KEY).unwrap();
        let words =
            "No such file or directory; bring it back from a backup, with owner and mode; without one, rm";
        site.finds(words);
        site.server_says(words);
        site.run("add ann --stdin", SECRET).refused(74, words);
        machine::write(Path::new(KEY), b"", 0o400);
        std::os::unix::fs::chown(KEY, Some(POP), Some(POP)).unwrap();
        site.finds("is no key of mailauth's; bring it back from a backup");
        site.server_says("is no key of mailauth's");
        fs::remove_file(KEY).unwrap();
        site.run("init --clear", "").well();
        site.run("check", "").well();
    });
}

/// Each finding says one thing to type, and what is as the administrator wants it is none.
#[test]
fn findings_about_users_name_one_remedy() {
    isolated(|| {
        let site = Site::new();
        site.run("lock root", "").well();
        let said = site.run("check", "").well();
        assert!(said.contains("ok: root is locked, and could not log in without that"), "{said}");
        site.run("lock bob", "").well();
        let sql = |text: &str| {
            rusqlite::Connection::open(DATABASE).unwrap().execute_batch(text).unwrap();
        };
        sql("UPDATE user SET name = 'gone' WHERE name = 'bob'");
        site.finds("the system has no user gone any more: mailauth unlock gone");
        site.run("unlock gone", "").well();
        sql("INSERT OR IGNORE INTO user (name, virtual) VALUES ('v', 1)");
        sql("UPDATE user SET uid = 5, gid = 5 WHERE name = 'v'");
        site.finds("v cannot log in: the entry has uid 5 and gid 5, below auth.min_uid");
        site.server_says("1 findings");
        let bob = common::world::uid("bob");
        sql(&format!("UPDATE user SET uid = {bob}, gid = {bob} WHERE name = 'v'"));
        site.run("check", "").well();
        fs::create_dir("/run/drop").unwrap();
        sql("UPDATE user SET maildrop = '/run/drop' WHERE name = 'v'");
        site.finds("v cannot log in: the maildrop /run/drop is a directory and no Maildir");
        ["cur", "new"].iter().for_each(|part| fs::create_dir(format!("/run/drop/{part}")).unwrap());
        site.run("check", "").well();
    });
}

/// The command that a finding names mends it.
#[test]
fn the_announcement_is_written_anew_by_what_check_says() {
    let own = Own::new();
    own.run("init", "").well();
    for (line, remedy) in [("", "rekey"), ("add v --virtual --stdin", "unlock v"), ("lock v", "lock v")] {
        if !line.is_empty() {
            own.run(line, SECRET).well();
        }
        fs::write(own.path("state/auth/announce"), "SOMETHING\n").unwrap();
        let said = own.run("check", "");
        let words = format!("can use: mailauth {remedy} writes it anew");
        assert!(said.status == 1 && said.out.contains(&words), "{words}: {said:?}");
        own.run(remedy, "").well();
        own.run("check", "").well();
    }
}

/// A damaged `state.db` decides nothing: it goes.
#[test]
fn damage_is_said_once_with_what_to_type() {
    let own = Own::new();
    own.run("init", "").well();
    let (state, database) = (own.path("state/auth/state.db"), own.path("state/auth/mailauth.db"));
    fs::copy(&database, &state).unwrap();
    chmod(state.to_str().unwrap(), 0o600);
    std::os::unix::fs::chown(&state, own.run_as, own.run_as).unwrap();
    fs::write(&state, "garbage\n".repeat(2000)).unwrap();
    let said = own.run("check", "");
    let words = format!("state.db is no SQLite database; rm {}: counters of wrong", state.display());
    assert!(said.out.contains(&words) && !said.out.contains("--clear"), "{said:?}");
    fs::remove_file(&state).unwrap();
    let mut octets = fs::read(&database).unwrap();
    octets[4096..].fill(0x55);
    fs::write(&database, octets).unwrap();
    let said = own.run("check", "");
    let damaged = said.out.lines().filter(|line| line.contains("is damaged;")).count();
    assert_eq!(damaged, 1, "{said:?}");
    assert!(said.out.contains("mailauth init --clear sets it aside"), "{said:?}");
}

/// A damaged database, or another program's, is no dead end: it is set aside under a name that is printed, whatever was there.
#[test]
fn clearing_sets_aside_what_cannot_be_used() {
    let own = Own::new();
    own.run("init", "").well();
    own.run("add v --virtual --stdin", SECRET).well();
    let (database, backup) = (own.path("state/auth/mailauth.db"), own.path("state/backup"));
    own.run(&format!("export {}", backup.display()), "").well();
    let whole = fs::read(&database).unwrap();
    let mut holed = whole.clone();
    holed[4096..8192].fill(0x55);
    let text = "garbage\n".repeat(900);
    for (octets, name) in [
        (&whole[..9000], "mailauth.db.damaged"),
        (&holed, "mailauth.db.damaged-2"),
        (text.as_bytes(), "mailauth.db.damaged-3"),
    ] {
        fs::write(&database, octets).unwrap();
        own.run("list", "");
        own.run("init", "").refused(1, "init --clear empties it");
        assert_eq!(fs::read(&database).unwrap(), octets, "nothing is done unasked");
        // Beside the new one it would be taken for that one's.
        fs::write(own.path("state/auth/mailauth.db-wal"), "left").unwrap();
        std::os::unix::fs::chown(own.path("state/auth/mailauth.db-wal"), own.run_as, own.run_as).unwrap();
        let said = own.run("init --clear", "").well();
        let aside = own.path("state/auth").join(name);
        assert!(said.contains(&format!("is {} now\n", aside.display())), "{name}: {said}");
        assert!(said.contains("mailauth.key, as before\n"), "{said}");
        assert_eq!(fs::read(&aside).unwrap(), octets);
        assert!(!own.path("state/auth/mailauth.db-wal").exists());
        own.run(&format!("import {}", backup.display()), "").well();
        own.run("verify v --stdin", SECRET).well();
        own.run("check", "").well();
    }
    let said = own.run("init --clear", "").well();
    assert!(said.starts_with("removed 1 entries\n"), "{said}");
}

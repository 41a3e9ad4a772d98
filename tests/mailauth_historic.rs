//! The forms of the original: `mailauth -init | -convert | -list [-type T] | -user NAME [-type T] | -delete NAME`, on a terminal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/said.rs"]
mod said;
#[path = "support/terminal.rs"]
mod terminal;

use common::world::uid;
use common::{World, isolated, programs_or_skip};
use md5::{Digest, Md5};
use said::{Said, run};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const MAILAUTH: &str = env!("CARGO_BIN_EXE_mailauth");

/// The user `pop` of a [`World`].
const POP: u32 = 20_998;

const SECRET: &str = "tanstaaf";

/// A machine with ann, bob and pop; no database yet.
struct Site(World);

impl Site {
    fn new() -> Self {
        let auth = "[auth]\nfailure_delay = 0\nkey = \"/run/lib/keys/mailauth.key\"\n";
        let site = Self(World::setup().user_with_uid("pop", POP, "!").config(auth).start());
        let installed =
            Command::new("install").args(["-m", "755", MAILAUTH]).arg(site.program()).status().unwrap();
        assert!(installed.success());
        site
    }

    fn program(&self) -> PathBuf {
        self.0.directory().join("mailauth")
    }

    fn run_as(&self, id: u32, line: &str) -> Said {
        let mut command = Command::new(self.program());
        command.arg("--config").arg(&self.0.config).args(line.split_whitespace());
        run(with_ids(command, id), "")
    }

    fn on_a_terminal(&self, id: u32, line: &str, talk: &[(&str, &str)]) -> (i32, String) {
        let mut command = terminal::on_a_terminal(&self.program(), talk);
        command.arg("--config").arg(&self.0.config).args(line.split_whitespace());
        let said = run(with_ids(command, id), "");
        (said.status, said.out + &said.err)
    }

    #[track_caller]
    fn user(&self, id: u32, line: &str, secret: &str) {
        let (status, shown) = self.on_a_terminal(id, line, &twice(secret, secret));
        assert!(status == 0 && !shown.contains(secret), "{line}: {status} {shown}");
    }

    fn list(&self) -> String {
        self.run_as(0, "-list").well()
    }

    #[track_caller]
    fn logs_in(&self, user: &str, secret: &str) {
        let mut client = self.0.connect();
        let at = client.greeting.find('<').expect("a challenge in the greeting");
        let digest = Md5::new().chain_update(&client.greeting[at..]).chain_update(secret).finalize();
        let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        client.ok(&format!("APOP {user} {hex}"));
        client.ok("QUIT");
    }
}

fn with_ids(mut command: Command, id: u32) -> Command {
    if id != 0 {
        command.uid(id).gid(id);
    }
    command.current_dir("/");
    command
}

fn twice<'a>(first: &'a str, second: &'a str) -> [(&'static str, &'a str); 2] {
    [("New password:", first), ("Retype new password:", second)]
}

/// history, mailauth(8): what root does, with the original's prompts and words.
#[test]
fn root_administers() {
    if !programs_or_skip(&["python3"]) {
        return;
    }
    isolated(|| {
        let site = Site::new();
        assert!(site.run_as(0, "-init").well().contains("made "));
        site.user(0, "-user bob", SECRET);
        site.user(0, "-user ann -type POP", "for the phone");
        assert_eq!(site.list(), "ann\tPOP\nbob\tAPOP\n");
        assert_eq!(site.run_as(0, "-list -type APOP").well(), "bob\tAPOP\n");
        let (status, shown) = site.on_a_terminal(0, "-list", &[]);
        assert!(status == 0 && shown.contains(" user ") && shown.contains(" POP "), "{shown}");
        site.logs_in("bob", SECRET);
        site.user(0, "-user bob", "another secret");
        site.logs_in("bob", "another secret");
        let (status, shown) = site.on_a_terminal(0, "-user bob", &twice(SECRET, "something else"));
        assert!(status == 65 && shown.contains("Mismatch - password unchanged."), "{status} {shown}");
        site.logs_in("bob", "another secret");
        site.user(0, "-user ann", "for the new phone");
        assert_eq!(site.list(), "ann\tPOP\nbob\tAPOP\n", "without -type the type stays");
        site.user(0, "-user ann -type APOP", "secret of ann");
        assert_eq!(site.list(), "ann\tAPOP\nbob\tAPOP\n", "the type is changed");
        site.logs_in("ann", "secret of ann");
        site.run_as(0, "-delete bob").well();
        site.run_as(0, "-delete bob").refused(1, "bob has no entry");
        assert_eq!(site.list(), "ann\tAPOP\n");
        for (answer, left) in [("n", "ann\tAPOP\n"), ("y", "")] {
            let (status, shown) = site.on_a_terminal(0, "-init", &[("[y/N]", answer)]);
            assert_eq!((status, site.list().as_str()), (i32::from(answer == "n"), left), "{shown}");
        }
        site.run_as(0, "-user nobody-here").refused(67, "the system has no user nobody-here");
        site.run_as(0, "-user root").refused(67, "root cannot log in");
        site.run_as(0, "").refused(67, "passwd USER changes");
    });
}

/// history, mailauth(8): root and pop add, remove and list; -init and -convert are root's.
#[test]
fn pop_administers_and_others_do_not() {
    if !programs_or_skip(&["python3"]) {
        return;
    }
    isolated(|| {
        let site = Site::new();
        site.run_as(0, "-init").well();
        site.run_as(0, "-list -type PAM").refused(64, "none of POP, APOP and IMAP");
        assert_eq!(site.run_as(POP, "-list").well(), "");
        fs::write("/run/old", "bob secret of bob\n").unwrap();
        site.run_as(0, "-convert /run/old").well();
        assert_eq!(site.run_as(POP, "-list").well(), "bob\tAPOP\n");
        for line in ["-init", "-convert", "-convert /run/old"] {
            site.run_as(POP, line).refused(77, "only root may");
        }
        for line in ["-init", "-convert", "-list", "-user ann", "-user bob", "-delete bob", ""] {
            site.run_as(uid("ann"), line).refused(77, "only root");
        }
        site.run_as(POP, "-delete bob").well();
        assert_eq!(site.list(), "");
    });
}

/// `-convert` takes the old database or says that there is none.
#[test]
fn convert_reads_the_old_database() {
    isolated(|| {
        let site = Site::new();
        site.run_as(0, "-init").well();
        if !Path::new("/etc/pop.auth").exists() {
            site.run_as(0, "-convert").refused(1, "there is no old database (/etc/pop.auth");
        }
        let secret: Vec<u8> = SECRET.bytes().map(|octet| octet ^ 0xff).collect();
        let mut page = vec![0; 1024];
        let (at_key, at_value) = (1024 - 4, 1024 - 4 - secret.len());
        page[at_key..].copy_from_slice(b"ann\0");
        page[at_value..at_key].copy_from_slice(&secret);
        for (at, word) in [2, at_key, at_value].into_iter().enumerate() {
            page[2 * at..2 * at + 2].copy_from_slice(&u16::try_from(word).unwrap().to_le_bytes());
        }
        fs::write("/run/pop.auth.pag", page).unwrap();
        fs::write("/run/pop.auth.dir", []).unwrap();
        let said = site.run_as(0, "-convert /run/pop.auth.dir");
        assert!(said.status == 0 && said.err.contains("(ndbm)"), "{said:?}");
        assert_eq!(site.list(), "ann\tAPOP\n");
        site.logs_in("ann", SECRET);
    });
}

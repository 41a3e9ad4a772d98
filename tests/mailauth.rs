//! `mailauth` by its real binary, and logins by what it stored: as root on a machine of the test's own, and as an ordinary
//! user under a directory of the own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/own.rs"]
mod own;
#[path = "support/said.rs"]
mod said;
#[path = "support/terminal.rs"]
mod terminal;

use common::world::uid;
use common::{Client, PASSWORD, World, isolated, machine, programs_or_skip};
use md5::{Digest, Md5};
use nix::unistd::geteuid;
use own::{MAILAUTH, Own, copy_program};
use said::{Said, run};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The user `pop` of a [`World`].
const POP: u32 = 20_998;

const SECRET: &str = "tanstaaf";

const KEY: &str = "/run/lib/keys/mailauth.key";
const AUTH: &str = "/run/lib/poptools/auth";
const DATABASE: &str = "/run/lib/poptools/auth/mailauth.db";

fn mode(path: &str) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap_or_else(|why| panic!("{path}: {why}"));
    (found.mode() & 0o7777, found.uid())
}

fn chmod(path: &str, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A machine with ann, bob, pop and a database.
struct Site(World);

impl Site {
    fn without_database() -> Self {
        let auth = format!("[auth]\nfailure_delay = 0\nkey = \"{KEY}\"\nvirtual_owner = \"bob\"\n");
        Self(World::setup().user_with_uid("pop", POP, "!").config(&auth).start())
    }

    fn new() -> Self {
        let site = Self::without_database();
        site.run("init", "").well();
        site
    }

    fn with_ann() -> Self {
        let site = Self::new();
        site.run("add ann --stdin", SECRET).well();
        site
    }

    fn run(&self, line: &str, input: &str) -> Said {
        run(self.command(line), input)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(MAILAUTH);
        command.arg("--config").arg(&self.0.config).args(line.split_whitespace());
        command
    }

    /// The answer to PASS.
    fn pass(&self, user: &str, password: &str) -> String {
        let mut client = self.0.connect();
        let reply = client.login(user, password);
        // Who leaves at once ends the server too, maybe before it has written its log.
        client.server_ends();
        reply
    }

    /// A connection with its challenge: somebody can use APOP, so it is announced.
    fn challenged(&self) -> (Client, String) {
        let client = self.0.connect();
        let at = client.greeting.find('<').expect("a challenge in the greeting");
        let challenge = client.greeting[at..].to_owned();
        (client, challenge)
    }

    /// The answer to APOP.
    fn apop(&self, user: &str, secret: &str) -> String {
        let (mut client, challenge) = self.challenged();
        let reply = client.command(&apop(user, &challenge, secret));
        client.server_ends();
        reply
    }
}

fn apop(user: &str, challenge: &str, secret: &str) -> String {
    let digest = Md5::new().chain_update(challenge).chain_update(secret).finalize();
    let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("APOP {user} {hex}")
}

/// Design, section 4: pop:pop 0700, 0600, and the key 0400 elsewhere.
#[test]
fn root_makes_everything_for_pop() {
    isolated(|| {
        let site = Site::without_database();
        site.run("list", "").refused(74, "init makes it");
        assert!(site.run("init", "").well().contains(DATABASE));
        assert_eq!(mode(AUTH), (0o700, POP));
        assert_eq!(mode(DATABASE), (0o600, POP));
        assert_eq!(mode(KEY), (0o400, POP));
        assert_eq!(mode("/run/lib/poptools"), (0o711, 0));
        site.run("add ann --stdin", SECRET).well();
        assert_eq!(mode(&format!("{AUTH}/announce")), (0o600, POP));
        site.run("init", "").refused(1, "is there already; init --clear empties it");
        assert_eq!(site.run("list", "").well(), "ann\tAPOP\t\tno\tno\t-\n");
        site.run("init --clear", "").well();
        assert_eq!(site.run("list", "").well(), "");
    });
}

/// mailauth(8): root and pop add, remove and list, nobody else.
#[test]
fn pop_administers_and_others_do_not() {
    isolated(|| {
        let site = Site::with_ann();
        let program = site.0.directory().join("mailauth");
        copy_program(&program);
        let run_as = |id: u32, line: &str, input: &str| {
            let mut command = Command::new(&program);
            command.arg("--config").arg(&site.0.config).args(line.split_whitespace()).uid(id).gid(id);
            run(command, input)
        };
        run_as(POP, "add bob --stdin", SECRET).well();
        assert_eq!(
            run_as(POP, "list --type apop", "").well(),
            "ann\tAPOP\t\tno\tno\t-\nbob\tAPOP\t\tno\tno\t-\n"
        );
        run_as(POP, "remove bob", "").well();
        for line in ["list", "remove ann", "add ann --stdin", "init", "init --clear"] {
            run_as(uid("ann"), line, SECRET).refused(77, "only root and pop may use");
        }
        assert_eq!(site.run("list", "").well(), "ann\tAPOP\t\tno\tno\t-\n");
    });
}

#[test]
fn refusals_name_cause_and_status() {
    isolated(|| {
        let site = Site::with_ann();
        let long = "x".repeat(129);
        for (line, input, status, words) in [
            ("add ann --stdin", SECRET, 1, "ann has such an entry already"),
            ("add nobody-here --stdin", SECRET, 67, "the system has no user nobody-here"),
            ("add root --stdin", SECRET, 67, "root cannot log in"),
            ("add pop3d/x --stdin", SECRET, 65, "is no user name"),
            ("add bob --virtual --stdin", SECRET, 65, "bob is a user of the system"),
            ("add bob --stdin", "", 65, "standard input has no secret"),
            ("add bob --stdin", "fives", 65, "at least 6 octets"),
            ("add bob --stdin", &long, 65, "at most 128 octets"),
            ("add bob --stdin", "nul\0nul", 65, "no NUL"),
            ("add bob --stdin", "one line\nanother", 65, "more than one line"),
            ("add v --virtual --maildrop mail/v --stdin", SECRET, 65, "no absolute path"),
            ("add v --virtual --home /home/../etc --stdin", SECRET, 65, "no absolute path"),
            ("remove bob", "", 1, "bob has no entry"),
            ("add ann --label x --stdin", SECRET, 64, "--label is for --type POP"),
            ("remove ann --type POP", "", 1, "ann has no POP entry"),
        ] {
            site.run(line, input).refused(status, words);
        }
        site.run("add virginia --virtual --stdin", "Virginia").refused(65, "not the user's name");
        let usage = site.run("add bob secret", "");
        assert_eq!((usage.status, usage.out.as_str()), (64, ""), "no secret is an argument");
        assert_eq!(site.run("list", "").well(), "ann\tAPOP\t\tno\tno\t-\n", "nothing was changed");
    });
}

/// RFC 1939, section 13: who has an APOP entry cannot use PASS; refused alike to a wrong password.
#[test]
fn an_apop_entry_ends_pass_and_its_removal_brings_it_back() {
    isolated(|| {
        let site = Site::new();
        assert!(site.pass("ann", PASSWORD).starts_with("+OK"), "an empty database knows nobody");
        site.run("add ann --stdin", SECRET).well();
        let refusal = site.pass("ann", PASSWORD);
        assert_eq!(refusal, site.pass("ann", "wrong"));
        assert_eq!(
            refusal.replace("ann", "bob"),
            site.pass("bob", "wrong"),
            "nobody learns who has an entry"
        );
        assert_eq!(refusal, site.pass("ann", SECRET), "the secret is not for PASS");
        site.0.log_line(&["refused:", "user=ann", "mechanism=PASS", "reason=apop-only"]);
        assert!(site.pass("bob", PASSWORD).starts_with("+OK"));
        site.run("remove ann", "").well();
        assert!(site.pass("ann", PASSWORD).starts_with("+OK"));
    });
}

/// Application passwords: verifiers, good for PASS in the place of the system's password.
#[test]
fn application_passwords_log_in() {
    isolated(|| {
        let site = Site::new();
        site.run("add ann --type pop --label phone --stdin", "for the phone").well();
        site.run("add ann --type pop --label tablet --stdin", "for the tablet").well();
        site.run("add ann --type pop --label phone --stdin", SECRET)
            .refused(1, "the label \"phone\" already");
        for (password, good) in [("for the phone", true), ("for the tablet", true), (PASSWORD, false)] {
            assert_eq!(site.pass("ann", password).starts_with("+OK"), good, "{password}");
        }
        site.run("remove ann --label phone", "").well();
        let list = site.run("list", "").well();
        assert!(list.starts_with("ann\tPOP\ttablet\tno\tno\t20"), "used, at the time of: {list}");
        assert_eq!(list.lines().count(), 1);
        assert!(site.pass("ann", "for the phone").starts_with("-ERR"));
        assert!(site.pass("ann", "for the tablet").starts_with("+OK"));
        site.run("add v --virtual --type POP --stdin", SECRET).well();
        assert!(site.pass("v", SECRET).starts_with("+OK"), "a virtual user with PASS");
    });
}

/// RFC 1939, section 7.
#[test]
fn apop_logs_in_with_the_secret_alone() {
    isolated(|| {
        let site = Site::with_ann();
        site.0.small_maildrop(2);
        let (mut client, challenge) = site.challenged();
        client.ok(&apop("ann", &challenge, SECRET));
        assert!(client.ok("STAT").starts_with("+OK 2 "));
        nothing_of_the_secrets_is_in(&site.0.session(&client, "ann"));
        client.ok("QUIT");
        site.0.log_line(&["login:", "user=ann", "mechanism=APOP"]);
        let (_, other) = site.challenged();
        assert_ne!(challenge, other, "a challenge is never the same twice");
        let wrong = site.apop("ann", "another secret");
        assert!(wrong.starts_with("-ERR"), "{wrong}");
        site.0.log_line(&["refused:", "user=ann", "mechanism=APOP", "reason=wrong-digest"]);
        for name in ["bob", "nobody-here", "Ann"] {
            assert_eq!(site.apop(name, SECRET).replace(name, "ann"), wrong, "{name}");
        }
        site.0.log_line(&["refused:", "user=bob", "mechanism=APOP", "reason=no-secret"]);
    });
}

/// Design, section 2: neither key nor secrets were ever in a session's memory.
fn nothing_of_the_secrets_is_in(session: &common::processes::Process) {
    let (memory, key) = (session.memory(), fs::read(KEY).unwrap());
    let find = |wanted: &[u8]| memory.iter().find_map(|region| region.find(wanted));
    assert!(find(b"ann").is_some(), "the memory that is searched is the session's");
    for wanted in [SECRET.as_bytes(), &key[key.len() - 32..], b"SQLite format 3\0", b"poptools key 1\n\0"] {
        assert_eq!(find(wanted), None, "{}", wanted.escape_ascii());
    }
}

/// Virtual users: the maildrop belongs to `auth.virtual_owner`, which is bob here, or to the entry's own ids.
#[test]
fn virtual_users_log_in() {
    isolated(|| {
        let site = Site::new();
        site.run("add v@example.org --virtual --stdin", SECRET).well();
        let message = b"From a@b Mon Nov 23 08:00:00 2026\nSubject: x\n\nx\n";
        machine::write(&site.0.mailbox("v@example.org"), message, 0o600);
        chown(site.0.mailbox("v@example.org"), Some(uid("bob")), Some(uid("bob"))).unwrap();
        machine::make_directory(Path::new("/run/own"), 0o700);
        chown("/run/own", Some(24_000), Some(24_000)).unwrap();
        machine::write(Path::new("/run/own/mbox"), message, 0o600);
        chown("/run/own/mbox", Some(24_000), Some(24_000)).unwrap();
        site.run("add w --virtual --uid 24000 --maildrop /run/own/mbox --stdin", SECRET).well();
        assert!(site.run("list --format json", "").well().contains("\"virtual\": true"));
        for name in ["v@example.org", "w"] {
            assert!(site.pass(name, SECRET).starts_with("-ERR"), "PASS is not for APOP users");
            let (mut client, challenge) = site.challenged();
            client.ok(&apop(name, &challenge, SECRET));
            assert!(client.ok("STAT").starts_with("+OK 1 "), "{name}");
            client.ok("QUIT");
        }
    });
}

#[test]
fn a_virtual_user_needs_an_owner() {
    isolated(|| {
        let auth = format!("[auth]\nkey = \"{KEY}\"\n");
        let site = Site(World::setup().user_with_uid("pop", POP, "!").config(&auth).start());
        site.run("init", "").well();
        site.run("add v --virtual --stdin", SECRET).refused(78, "auth.virtual_owner is not set");
        site.run("add v --virtual --uid 24000 --stdin", SECRET).well();
    });
}

/// Design, section 5: the database fails closed, and says so to the log.
#[test]
fn a_database_that_cannot_be_trusted_is_no_empty_database() {
    isolated(|| {
        let site = Site::with_ann();
        let broken = |words: &[&str]| {
            for user in ["ann", "bob"] {
                let reply = site.pass(user, PASSWORD);
                assert!(reply.starts_with("-ERR [SYS/PERM]"), "{user}: {reply}");
                assert!(!reply.contains("/run"), "no path for clients");
            }
            site.0.log_line(words);
            site.run("list", "").refused(74, words[0]);
        };
        chmod(DATABASE, 0o644);
        broken(&["mailauth.db may be used by others (mode 0644): chmod 0600"]);
        chmod(DATABASE, 0o600);
        chmod(AUTH, 0o755);
        broken(&["auth may be used by others (mode 0755)"]);
        chmod(AUTH, 0o700);
        chown(DATABASE, Some(uid("bob")), None).unwrap();
        broken(&["mailauth.db belongs to uid "]);
        chown(DATABASE, Some(POP), None).unwrap();
        let whole = fs::read(DATABASE).unwrap();
        fs::write(DATABASE, &whole[..whole.len() / 2]).unwrap();
        broken(&["import brings back a backup"]);
        fs::write(DATABASE, &whole).unwrap();
        assert!(site.pass("bob", PASSWORD).starts_with("+OK"), "mended");
    });
}

/// With a wrong key APOP is `[SYS/PERM]`, whoever asks, and others are served.
#[test]
fn a_wrong_key_stops_apop_alone() {
    isolated(|| {
        let site = Site::with_ann();
        let mut key = fs::read(KEY).unwrap();
        *key.last_mut().unwrap() ^= 1;
        fs::write(KEY, key).unwrap();
        assert!(site.pass("bob", PASSWORD).starts_with("+OK"));
        assert!(
            site.pass("ann", PASSWORD).starts_with("-ERR [AUTH]")
                || site.pass("ann", PASSWORD).starts_with("-ERR Password")
        );
        site.run("add bob --stdin", SECRET).refused(74, "is not the key of");
        for name in ["ann", "bob"] {
            let reply = site.apop(name, SECRET);
            assert!(reply.starts_with("-ERR [SYS/PERM]"), "{name}: {reply}");
        }
    });
}

#[test]
fn an_ordinary_user_has_an_installation_of_the_own() {
    let own = Own::new();
    own.run("init", "").well();
    own.run("add v --virtual --stdin", SECRET).well();
    let made = own.run("add w --virtual --generate", "").well();
    assert_eq!((made.len(), made.ends_with('\n')), (25, true), "printed once, alone: {made}");
    assert_eq!(own.run("list", "").well(), "v\tAPOP\t\tno\tyes\t-\nw\tAPOP\t\tno\tyes\t-\n");
    let table = own.run("list --format table", "").well();
    assert!(table.contains(" user ") && table.contains(" v "), "{table}");
    own.run("remove v", "").well();
    let owner = own.run_as.unwrap_or_else(|| geteuid().as_raw());
    for (name, wanted) in
        [("auth", 0o700), ("auth/mailauth.db", 0o600), ("auth/announce", 0o600), ("mailauth.key", 0o400)]
    {
        assert_eq!(mode(own.path("state").join(name).to_str().unwrap()), (wanted, owner), "{name}");
    }
    let octets = fs::read(own.path("state/auth/mailauth.db")).unwrap();
    assert!(!octets.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
}

/// What mailauth(8) asked, and that nothing typed is shown.
#[test]
fn secrets_are_asked_twice_on_the_terminal() {
    if !programs_or_skip(&["python3"]) {
        return;
    }
    let own = Own::new();
    own.run("init", "").well();
    let twice = |second| [("New password:", SECRET), ("Retype new password:", second)];
    let (status, shown) = own.on_a_terminal("add v --virtual", &twice("another"));
    assert!(status == 65 && shown.contains("Mismatch - password unchanged."), "{status} {shown}");
    assert_eq!(own.run("list", "").well(), "");
    let (status, shown) = own.on_a_terminal("add v --virtual", &twice(SECRET));
    assert!(status == 0 && !shown.contains(SECRET), "{status} {shown}");
    assert_eq!(own.run("list", "").well(), "v\tAPOP\t\tno\tyes\t-\n");
    let (status, shown) = own.on_a_terminal("list", &[]);
    assert!(status == 0 && shown.contains(" user "), "a table on a terminal: {shown}");
    let (status, shown) = own.on_a_terminal("init", &[("[y/N]", "n")]);
    assert!(status == 1 && shown.contains("is as it was"), "{status} {shown}");
    let (status, shown) = own.on_a_terminal("init", &[("[y/N]", "y")]);
    assert!(status == 0, "{status} {shown}");
    assert_eq!(own.run("list", "").well(), "");
}

#[test]
fn without_a_terminal_the_other_ways_are_named() {
    let own = Own::new();
    own.run("init", "").well();
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(own.path("mailauth")).arg("--config").arg(own.path("pop3d.toml"));
    if !programs_or_skip(&["setsid"]) {
        return;
    }
    command.args(["add", "v", "--virtual"]);
    run(own.ids(command), "").refused(74, "--stdin and --generate need no terminal");
}

/// Writers wait for each other: nobody hears that the database is locked.
#[test]
fn many_writers_at_once_all_succeed() {
    let own = Own::new();
    own.run("init", "").well();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let own = &own;
            scope.spawn(move || {
                for round in 0..3 {
                    own.run(&format!("add u{writer}.{round} --virtual --stdin"), SECRET).well();
                    own.run("list", "").well();
                }
            });
        }
    });
    assert_eq!(own.run("list", "").well().lines().count(), 24);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let own = Own::new();
    own.run("init", "").well();
    own.run("add v --virtual --stdin", SECRET).well();
    let mut command = Command::new(own.path("mailauth"));
    command.arg("--config").arg(own.path("pop3d.toml")).arg("list");
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let status = own.ids(command).stdout(writer).status().unwrap();
    assert!(status.success(), "{status}");
}

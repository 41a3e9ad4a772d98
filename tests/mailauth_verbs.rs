//! The verbs of `mailauth` that change, show, lock, verify, export and check, by the real binary, and what logins make of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/own.rs"]
mod own;
#[path = "support/said.rs"]
mod said;
#[path = "support/terminal.rs"]
mod terminal;

use common::{PASSWORD, World, isolated, programs_or_skip};
use md5::{Digest, Md5};
use own::{MAILAUTH, Own};
use said::{Said, run};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

const SECRET: &str = "tanstaaf";
const OTHER: &str = "a better one";

/// RFC 1939, section 7.
const CHALLENGE: &str = "<1896.697170952@dbc.mtview.ca.us>";
const DIGEST: &str = "c4c9334bac560ecc979e58001b3e22fb";

const POP: u32 = 20_998;
const KEY: &str = "/run/lib/keys/mailauth.key";
const AUTH: &str = "/run/lib/poptools/auth";

/// A machine with ann, bob, pop and a database.
struct Site(World);

impl Site {
    fn new() -> Self {
        let auth = format!("[auth]\nfailure_delay = 0\nkey = \"{KEY}\"\n");
        let site = Self(World::setup().user_with_uid("pop", POP, "!").config(&auth).start());
        site.run("init", "").well();
        site
    }

    fn run(&self, line: &str, input: &str) -> Said {
        let mut command = Command::new(MAILAUTH);
        command.arg("--config").arg(&self.0.config).args(line.split_whitespace());
        run(command, input)
    }

    fn pass(&self, user: &str, password: &str) -> bool {
        let mut client = self.0.connect();
        let reply = client.login(user, password);
        // Who leaves at once ends the server too, maybe before it has written its log.
        client.server_ends();
        reply.starts_with("+OK")
    }

    fn apop(&self, user: &str, secret: &str) -> String {
        let mut client = self.0.connect();
        let at = client.greeting.find('<').expect("a challenge in the greeting");
        let digest = Md5::new().chain_update(&client.greeting[at..]).chain_update(secret).finalize();
        let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        let reply = client.command(&format!("APOP {user} {hex}"));
        client.server_ends();
        reply
    }
}

fn with_v() -> Own {
    let own = Own::new();
    own.run("init", "").well();
    own.run("add v --virtual --stdin", SECRET).well();
    own
}

#[test]
fn passwd_changes_the_one_entry_that_is_meant() {
    let own = with_v();
    own.run("passwd v --stdin", OTHER).well();
    own.run("verify v --stdin", SECRET).refused(1, "this is no secret of v");
    assert_eq!(own.run("verify v --stdin", OTHER).well(), "right: APOP\n");
    own.run("add v --virtual --type pop --label phone --stdin", "for the phone").well();
    own.run("add v --virtual --type pop --label tablet --stdin", "for the tablet").well();
    own.run("add v --virtual --type imap --stdin", "for imap alone").well();
    own.run("passwd v --stdin", SECRET)
        .refused(64, "several entries (APOP, IMAP, POP phone, POP tablet): choose by --type and --label");
    own.run("passwd v --type pop --stdin", SECRET).refused(64, "(POP phone, POP tablet)");
    own.run("passwd v --label phone --stdin", "for a new phone").well();
    for (secret, entry) in [(OTHER, "APOP"), ("for imap alone", "IMAP")] {
        assert_eq!(own.run("verify v --stdin", secret).well(), format!("right: {entry}\n"));
    }
    // mailauth(8): who has an APOP entry besides cannot use PASS at all.
    for (secret, entry) in [("for a new phone", "POP phone"), ("for the tablet", "POP tablet")] {
        own.run("verify v --stdin", secret)
            .refused(1, &format!("right ({entry}), but v has an APOP entry, and so PASS is refused"));
    }
    own.run("verify v --stdin --type pop", OTHER).refused(1, "no secret");
    own.run("passwd nobody-here --stdin", SECRET).refused(1, "add --virtual nobody-here makes one");
    own.run("passwd v --label car --stdin", SECRET).refused(1, "no entry with the label \"car\"");
    own.run("passwd v --type apop --stdin", "short").refused(65, "--force overrides this");
    own.run("passwd v --type apop --stdin --force", "short").well();
    own.run("verify v --stdin", "short").well();
    own.run("passwd v --type apop --stdin --force", "nul\0nul").refused(65, "no NUL");
    let made = own.run("passwd v --type apop --generate", "").well();
    own.run("verify v --stdin --type apop", &made).well();
}

/// Errors name what to type next: a command that makes the entry that was meant, in the same database.
#[test]
fn hints_can_be_typed_as_they_stand() {
    let own = with_v();
    let config = own.path("pop3d.toml");
    let words = format!(
        "mailauth --config {} add --type POP --label \"car\" --virtual v makes one",
        config.display()
    );
    own.run("passwd v --type pop --label car --stdin", SECRET).refused(1, &words);
    let said = own.run("add v --virtual --type pop --stdin", "for PASS alone");
    assert!(said.status == 0 && said.err.contains("v has an APOP entry, and so PASS is refused"), "{said:?}");
    own.run("add w --virtual --home rel --stdin", SECRET).refused(65, "--home: rel is no absolute path");
    own.run("add w --virtual --uid 5 --stdin", SECRET).refused(65, "--uid: 5 is below auth.min_uid (1000)");
    let empty = own.path("");
    own.run(
        &format!("add w --virtual --maildrop {} --stdin", empty.display().to_string().trim_end_matches('/')),
        SECRET,
    )
    .refused(65, "and so no Maildir");
    let digest = format!("verify v --challenge 1.2@x --digest {DIGEST}");
    own.run(&digest, "").refused(65, "a challenge begins with < and ends with >");
    own.run("list --format json", "").well().contains("\"last_use\"").then_some(()).expect("no blank");
    own.run("show v --format json", "").well().contains("\"last_use\"").then_some(()).expect("no blank");
    if !nix::unistd::geteuid().is_root() || own.run_as.is_some() {
        let mut command = own.ids(Command::new(own.path("mailauth")));
        command.arg("--config").arg(&config).args(["passwd", "v", "--type", "apop", "--generate"]);
        command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(74) && said.contains("nobody has seen it"), "{said}");
    }
}

/// The same with root's rights, where virtual users need an owner and users of the system are known.
#[test]
fn refusals_of_root_name_file_and_line() {
    isolated(|| {
        let site = Site::new();
        let file = site.0.config.display().to_string();
        site.run("add v --virtual --stdin", SECRET)
            .refused(78, &format!("write virtual_owner = \"USER\" below [auth] in {file}"));
        let said = site.run("add ann --stdin", SECRET);
        assert!(said.err.contains(&format!("announce = [] in [auth] of {file} helps")), "{said:?}");
        site.run("passwd --generate", "").refused(67, "root cannot log in and has no secret: name the user");
        site.run("add bob --type pop --stdin", "for the phone").well();
        site.apop("bob", SECRET);
        site.0.log_line(&["refused:", "user=bob", "mechanism=APOP", "reason=no-secret"]);
        site.apop("nobody-here", SECRET);
        site.0.log_line(&["refused:", "user=nobody-here", "reason=unknown-user"]);
    });
}

/// RFC 1939, section 7: the example.
#[test]
fn verify_checks_an_answer_to_a_challenge() {
    let own = with_v();
    let line = |digest: &str| format!("verify v --challenge {CHALLENGE} --digest {digest}");
    assert_eq!(own.run(&line(DIGEST), "").well(), "right: APOP\n");
    own.run(&line(&DIGEST.to_uppercase()), "").well();
    own.run(&line(&DIGEST.replace("c4", "c5")), "").refused(1, "no secret");
    own.run(&line(DIGEST).replace(" v ", " w "), "").refused(1, "w has no entry");
}

#[test]
fn show_tells_everything_but_the_secret() {
    let own = with_v();
    own.run("add v --virtual --type pop --label phone --stdin", "for the phone").well();
    let shown = own.run("show v", "").well();
    assert!(shown.starts_with("\tuser\tv\n\tlocked\tno\n\tretired\tno\n"), "{shown}");
    assert!(shown.contains("\n\tvirtual\tyes\n"), "{shown}");
    for line in
        ["APOP\tscram\tyes\n", "APOP\tlast use\t-\n", "POP phone\tlabel\tphone\n", "POP phone\tmade\t20"]
    {
        assert!(shown.contains(line), "{line:?} in {shown}");
    }
    let json: serde_json::Value = serde_json::from_str(&own.run("show v --format json", "").well()).unwrap();
    assert_eq!((&json["user"], &json["locked"]), (&"v".into(), &false.into()));
    assert_eq!(
        (&json["entries"][1]["label"], &json["entries"][1]["scram"]),
        (&"phone".into(), &false.into())
    );
    assert!(own.run("show v --format table", "").well().contains(" POP phone "));
    own.run("show w", "").refused(1, "w has no entry");
}

/// Locks: whatever the password is, and whoever has no entry too; all of the named users or none.
#[test]
fn locked_users_do_not_log_in() {
    isolated(|| {
        let site = Site::new();
        site.run("add ann --stdin", SECRET).well();
        site.run("lock ann nobody-here bob", "").refused(67, "has a user nobody-here; no user was locked");
        assert!(site.pass("bob", PASSWORD) && site.apop("ann", SECRET).starts_with("+OK"));
        site.run("lock ann bob", "").well();
        assert!(site.run("list", "").well().contains("bob\t-\t\tyes\tno\t-\n"));
        assert!(!site.pass("bob", PASSWORD));
        site.0.log_line(&["refused:", "user=bob", "reason=locked"]);
        site.run("verify ann --stdin", SECRET).refused(1, "right (APOP), but ann is locked");
        site.run("unlock ann nobody-here", "").refused(1, "no user was unlocked");
        site.run("unlock ann bob", "").well();
        assert!(site.pass("bob", PASSWORD) && site.apop("ann", SECRET).starts_with("+OK"));
        assert!(!site.run("list", "").well().contains("bob"), "nothing of bob is left");
    });
}

/// Issue "mailauth": not the login password where that can be checked; the administrator can override.
#[test]
fn the_login_password_is_no_secret() {
    isolated(|| {
        let site = Site::new();
        for line in ["add ann --stdin", "add ann --type pop --stdin"] {
            site.run(line, PASSWORD).refused(65, "this is the login password");
        }
        site.run("add ann --stdin", SECRET).well();
        site.run("passwd ann --stdin", PASSWORD).refused(65, "this is the login password");
        site.run("passwd ann --stdin --force", PASSWORD).well();
        assert!(site.apop("ann", PASSWORD).starts_with("+OK"));
    });
}

/// Crates, top: `state.db` is of its own; its loss, damage or lock never fails a login.
#[test]
fn the_last_use_is_known_and_never_fails_a_login() {
    isolated(|| {
        let site = Site::new();
        let state = format!("{AUTH}/state.db");
        site.run("add ann --type pop --label phone --stdin", "for the phone").well();
        site.run("add ann --type pop --label tablet --stdin", "for the tablet").well();
        let used = || {
            let list = site.run("list", "").well();
            list.lines().map(|line| line.rsplit('\t').next() != Some("-")).collect::<Vec<_>>()
        };
        assert_eq!(used(), [false, false]);
        assert!(!site.pass("ann", "wrong"));
        assert!(site.pass("ann", "for the tablet"));
        assert_eq!(used(), [false, true], "phone, tablet");
        let found = fs::metadata(&state).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid()), (0o600, POP));
        fs::write(&state, "no database at all, but long enough to be looked at".repeat(50)).unwrap();
        assert!(site.pass("ann", "for the phone"));
        assert_eq!(used(), [true, false], "begun anew");
        assert!(fs::exists(format!("{AUTH}/state.db.damaged")).unwrap(), "the damaged one is kept");
        let busy = rusqlite::Connection::open(&state).unwrap();
        busy.execute_batch("BEGIN EXCLUSIVE").unwrap();
        assert!(site.pass("ann", "for the tablet"), "somebody has it locked");
        drop(busy);
        fs::set_permissions(&state, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(site.pass("ann", "for the tablet"), "others may read it");
        site.run("check", "")
            .out
            .contains("state.db may be used by others")
            .then_some(())
            .expect("check says so");
        fs::remove_file(&state).unwrap();
        assert!(site.pass("ann", "for the tablet"));
        assert_eq!(used(), [false, true]);
        site.run("remove ann --label tablet", "").well();
        site.run("add ann --type pop --label tablet --stdin", "another tablet").well();
        assert_eq!(used(), [false, false], "that was another password");
    });
}

/// A new key: what was sealed opens, a copy of the old key does not open it, and nothing is left.
#[test]
fn rekey_seals_everything_anew() {
    isolated(|| {
        let site = Site::new();
        site.run("add ann --stdin", SECRET).well();
        site.run("add bob --type imap --stdin", OTHER).well();
        let (old, before) = (fs::read(KEY).unwrap(), site.run("export", "").well());
        assert!(site.run("rekey", "").well().starts_with("sealed anew: 2;"));
        assert_ne!(fs::read(KEY).unwrap(), old);
        let found = fs::metadata(KEY).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid()), (0o400, POP));
        let names: Vec<_> =
            fs::read_dir("/run/lib/keys").unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["mailauth.key"], "nothing is left");
        let sealed = |text: &str| text.lines().filter(|line| line.contains("\"sealed\":\"")).count();
        let after = site.run("export", "").well();
        assert_eq!((sealed(&before), sealed(&after)), (2, 2));
        assert!(
            before.lines().filter(|line| line.contains("\"sealed\":\"")).all(|line| !after.contains(line))
        );
        assert!(site.apop("ann", SECRET).starts_with("+OK"));
        site.run("verify bob --stdin", OTHER).well();
        site.run("check", "").well();
        fs::remove_file(KEY).unwrap();
        common::machine::write(std::path::Path::new(KEY), &old, 0o400);
        std::os::unix::fs::chown(KEY, Some(POP), Some(POP)).unwrap();
        site.run("verify ann --stdin", SECRET).refused(74, "is not the key of");
        site.run("rekey", "").refused(74, "is not the key of");
        assert_eq!(fs::read(KEY).unwrap(), old, "nothing is overwritten");
        assert_eq!(site.run("export", "").well().lines().count(), after.lines().count());
    });
}

/// Sealed as it is; plain only for root, to a new file of mode 0600.
#[test]
fn a_backup_is_complete_and_sealed() {
    isolated(|| {
        let site = Site::new();
        site.run("add ann --stdin", SECRET).well();
        site.run("add bob --type pop --label phone --stdin", OTHER).well();
        assert_eq!(site.run("export /run/backup", "").well(), "users: 2, entries: 2\n");
        let found = fs::metadata("/run/backup").unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid()), (0o600, 0));
        let text = fs::read_to_string("/run/backup").unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&lines[0]["header"]["format"], &lines[0]["header"]["sealed"]),
            (&"poptools secrets".into(), &true.into())
        );
        assert_eq!(lines[2]["user"]["name"], "bob");
        assert_eq!((&lines[4]["entry"]["label"], &lines[5]["end"]["entries"]), (&"phone".into(), &2.into()));
        assert!(
            !text.contains(SECRET)
                && lines[3]["entry"]["scram"].as_str().unwrap().starts_with("SCRAM-SHA-256$")
        );
        site.run("export /run/backup", "").refused(1, "is there already");
        site.run("export /run/nowhere/backup", "")
            .refused(74, "cannot make /run/nowhere/backup: No such file");
        assert_eq!(site.run("export --plain", "").status, 64, "never to a terminal or pipe");
        let plain = site.run("export --plain /run/plain", "");
        assert!(plain.err.contains("whoever reads /run/plain has all secrets"), "{plain:?}");
        assert_eq!(fs::metadata("/run/plain").unwrap().mode() & 0o7777, 0o600);
        let text = fs::read_to_string("/run/plain").unwrap();
        assert!(text.contains("\"secret\":\"tanstaaf\"") && !text.contains("key_id"), "{text}");
        let names =
            fs::read_dir("/run").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(!names.into_iter().any(|name| name.starts_with(".mailauth")), "nothing is left");
    });
    let own = with_v();
    let line = format!("export --plain {}", own.path("plain").display());
    if own.run_as.is_some() || !nix::unistd::geteuid().is_root() {
        own.run(&line, "").refused(77, "only the superuser may export plain secrets");
    }
}

/// Findings with their remedies.
#[test]
fn check_finds_what_is_wrong() {
    isolated(|| {
        let site = Site::new();
        site.run("add ann --stdin", SECRET).well();
        site.run("add bob --stdin", SECRET).well();
        assert!(!site.run("check", "").well().contains("problem"));
        let sql = |text: &str| {
            rusqlite::Connection::open(format!("{AUTH}/mailauth.db")).unwrap().execute_batch(text).unwrap();
        };
        let finds = |words: &str| {
            let said = site.run("check", "");
            assert!(
                said.status == 1 && said.out.contains("problem: ") && said.out.contains(words),
                "{words}: {said:?}"
            );
        };
        sql("UPDATE user SET name = 'gone' WHERE name = 'bob'");
        finds("the system has no user gone any more: mailauth remove gone");
        finds("the APOP entry of gone does not open: mailauth passwd --type APOP gone");
        site.run("remove gone", "").well();
        sql("UPDATE entry SET scram = 'SCRAM-SHA-256$'");
        finds("the SCRAM verifier of ann is damaged: mailauth passwd");
        site.run("passwd ann --stdin", SECRET).well();
        site.run("check", "").well();
        fs::write(format!("{AUTH}/announce"), "").unwrap();
        finds("the file announce");
        site.run("unlock ann", "").well();
        site.run("check", "").well();
        common::machine::write(std::path::Path::new("/run/lib/keys/mailauth.key.new"), b"x", 0o400);
        finds("mailauth rekey puts it in order");
        site.run("rekey", "").well();
        site.run("check", "").well();
        fs::set_permissions(KEY, fs::Permissions::from_mode(0o440)).unwrap();
        finds("may be used by others (mode 0440): chmod 0400");
        fs::set_permissions(KEY, fs::Permissions::from_mode(0o400)).unwrap();
        fs::set_permissions(AUTH, fs::Permissions::from_mode(0o711)).unwrap();
        finds("auth may be used by others (mode 0711): chmod 0700");
    });
}

/// Ctrl-C at a prompt: the terminal echoes again, nothing is changed, status 130.
#[test]
fn an_interrupted_prompt_changes_nothing() {
    if !programs_or_skip(&["python3"]) {
        return;
    }
    let own = with_v();
    let before = own.run("export", "").well();
    let (status, shown) = own.on_a_terminal("passwd v", &[("New password:", "\u{3}")]);
    assert!(status == 130 && shown.contains("interrupted; nothing was changed"), "{status} {shown}");
    let (status, shown) =
        own.on_a_terminal("passwd v", &[("New password:", OTHER), ("Retype new password:", "\u{3}")]);
    assert!(status == 130, "{status} {shown}");
    let mut shell = terminal::on_a_terminal(std::path::Path::new("/bin/sh"), &[("New password:", "\u{3}")]);
    let line = "\"$0\" --config \"$1\" passwd v; echo status=$?; stty -a";
    shell.args(["-c", line]).arg(own.path("mailauth")).arg(own.path("pop3d.toml"));
    let shown = run(own.ids(shell), "").well();
    let words: Vec<&str> = shown.split_whitespace().collect();
    let restored = ["status=130", "echo", "isig", "icanon"].iter().all(|word| words.contains(word));
    assert!(restored, "{shown}");
    let without_time = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(without_time(&own.run("export", "").well()), without_time(&before));
    let (status, shown) = own.on_a_terminal("verify v", &[("Password:", SECRET)]);
    assert!(status == 0 && shown.contains("right: APOP") && !shown.contains(SECRET), "{status} {shown}");
}

//! `mailauth import`: all or nothing, said by line, from files of the real tools, and then a login by APOP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/said.rs"]
mod said;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{World, isolated, programs_or_skip};
use md5::{Digest, Md5};
use said::{Said, run};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MAILAUTH: &str = env!("CARGO_BIN_EXE_mailauth");

/// The user `pop` of a [`World`].
const POP: u32 = 20_998;

/// A machine with ann, bob, pop and an empty database.
struct Site(World);

impl Site {
    fn new() -> Self {
        let auth =
            "[auth]\nfailure_delay = 0\nkey = \"/run/lib/keys/mailauth.key\"\nvirtual_owner = \"bob\"\n";
        let site = Self(World::setup().user_with_uid("pop", POP, "!").config(auth).start());
        site.run("init", "").well();
        site
    }

    fn run(&self, line: &str, input: &str) -> Said {
        let mut command = Command::new(MAILAUTH);
        command.arg("--config").arg(&self.0.config).args(line.split_whitespace());
        run(command, input)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.directory().join(name)
    }

    fn file(&self, name: &str, octets: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, octets).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn import(&self, options: &str, name: &str, octets: &[u8]) -> Said {
        let path = self.file(name, octets);
        self.run(&format!("import {options} {}", path.display()), "")
    }

    fn list(&self) -> String {
        // Without the time of last use.
        let fields = |line: &str| line.split('\t').take(5).collect::<Vec<_>>().join("\t") + "\n";
        self.run("list", "").well().lines().map(fields).collect()
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

/// Runs a tool with this input; its output.
fn tool(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A tool that reads nothing may be gone already.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn xor(secret: &str) -> Vec<u8> {
    secret.bytes().map(|octet| octet ^ 0xff).chain([0]).collect()
}

const BOTH: &str = "ann\tAPOP\t\tno\tno\nbob\tAPOP\t\tno\tno\n";

/// Issue "mailauth": mailutils' popauth writes the database; its list, and a dump of the database, are imported.
#[test]
fn databases_of_mailutils_log_in() {
    if !programs_or_skip(&["popauth", "gdbm_dump"]) {
        return;
    }
    isolated(|| {
        let site = Site::new();
        let plain = site.file("plain", b"ann: secret of ann\nbob: tanstaaf\n");
        let database = site.path("apop.db");
        tool("popauth", &["--create", "--file", text(&plain), "--output", text(&database)], b"");
        let list = tool("popauth", &["--list", "--file", text(&database)], b"");
        assert_eq!(site.import("", "list", &list).well(), "");
        assert_eq!(site.list(), BOTH);
        site.logs_in("ann", "secret of ann");
        site.logs_in("bob", "tanstaaf");
        site.run(&format!("import {}", database.display()), "").refused(65, "gdbm_dump");
        let dump = tool("gdbm_dump", &[text(&database), "-"], b"");
        site.run("init --clear", "").well();
        site.run("import -", std::str::from_utf8(&dump).unwrap()).well();
        assert_eq!(site.list(), BOTH);
        site.logs_in("ann", "secret of ann");
    });
}

/// popauth's own form, secrets XORed with 0xff and names and secrets with their NUL, in a file that a gdbm tool wrote.
#[test]
fn gdbm_databases_of_popauth_log_in() {
    if !programs_or_skip(&["gdbm_load", "gdbm_dump"]) {
        return;
    }
    isolated(|| {
        let site = Site::new();
        let database = site.path("pop.auth");
        let datum = |octets: &[u8]| format!("#:len={}\n{}\n", octets.len(), STANDARD.encode(octets));
        let pair = datum(b"ann\0") + &datum(&xor("tanstaaf"));
        let load =
            format!("#:version=1.1\n#:format=standard\n# End of header\n{pair}#:count=1\n# End of data\n");
        tool("gdbm_load", &["-", text(&database)], load.as_bytes());
        let dump = tool("gdbm_dump", &[text(&database), "-"], b"");
        let said = site.import("", "dump", &dump);
        assert!(said.err.contains("1 entry imported") && said.err.contains("(gdbm)"), "{said:?}");
        site.logs_in("ann", "tanstaaf");
    });
}

/// Berkeley DB: both forms of db_dump.
#[test]
fn berkeley_databases_of_popauth_log_in() {
    if !programs_or_skip(&["db_load", "db_dump"]) {
        return;
    }
    isolated(|| {
        let site = Site::new();
        let database = site.path("pop.auth.db");
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let pair = |user: &str, secret: &str| {
            format!(" {}\n {}\n", hex(format!("{user}\0").as_bytes()), hex(&xor(secret)))
        };
        let load = format!(
            "VERSION=3\nformat=bytevalue\ntype=hash\nHEADER=END\n{}{}DATA=END\n",
            pair("ann", "secret of ann"),
            pair("bob", "tanstaaf")
        );
        tool("db_load", &[text(&database)], load.as_bytes());
        site.run(&format!("import {}", database.display()), "").refused(65, "db_dump");
        for options in [&[][..], &["-p"]] {
            let arguments = [options, &[text(&database)]].concat();
            let dump = tool("db_dump", &arguments, b"");
            site.import("", "dump", &dump).well();
            assert_eq!(site.list(), BOTH);
            site.logs_in("bob", "tanstaaf");
            site.run("init --clear", "").well();
        }
    });
}

/// Issue "mailauth": conflicts are reported, by line, and nothing is half done.
#[test]
fn one_conflict_stops_all() {
    isolated(|| {
        let site = Site::new();
        site.run("add bob --stdin", "secret of bob").well();
        let file = b"user,type,secret\nann,APOP,secret of ann\nbob,APOP,another one\nnobody-here,APOP,secret\n\
                     root,APOP,secret of root\nann,APOP,twice in it\n../x,APOP,secret\nann,POP,short\nann,TYPE,x\n";
        let said = site.import("", "file.csv", file);
        said.refused(65, "7 entries that cannot be imported; nothing was changed");
        for (line, words) in [
            (3, "bob: has an entry of type APOP already: --replace gives it the new secret"),
            (4, "nobody-here: the system has no such user; --virtual"),
            (5, "root: cannot log in"),
            (6, "ann: stands on line 2 already"),
            (7, "../x: is no user name"),
            (8, "ann: a secret has at least 6 octets; --force takes it"),
            (9, "ann: the type is none of"),
        ] {
            assert!(said.err.contains(&format!("file.csv:{line}: {words}")), "{line} {words}: {}", said.err);
        }
        assert!(
            !said.err.contains("another one") && !said.err.contains("short"),
            "no secret is shown: {}",
            said.err
        );
        assert_eq!(site.list(), "bob\tAPOP\t\tno\tno\n", "nothing was changed");
        site.logs_in("bob", "secret of bob");
    });
}

#[test]
fn replacing_forcing_and_virtual_users_are_asked_for() {
    isolated(|| {
        let site = Site::new();
        site.run("add bob --stdin", "secret of bob").well();
        site.import(
            "--replace --force --virtual",
            "f",
            b"bob,APOP,four\nann,pop,for the phone,phone\nv@example.org,APOP,virtual\n",
        )
        .well();
        assert_eq!(
            site.list(),
            "ann\tPOP\tphone\tno\tno\nbob\tAPOP\t\tno\tno\nv@example.org\tAPOP\t\tno\tyes\n"
        );
        site.logs_in("bob", "four");
        let mut client = site.0.connect();
        client.ok("USER ann");
        client.ok("PASS for the phone");
        site.import("--force", "g", format!("ann,APOP,{}\n", "x".repeat(129)).as_bytes())
            .refused(65, "at most 128");
        site.import("--virtual --replace", "h", b"bob,APOP,secret of bob\nv@example.org,POP,other secret\n")
            .well();
        site.import("", "i", b"ann,APOP,secret of ann\n").well();
    });
}

/// `--dry-run` says what would happen, in three forms, never a secret, and changes nothing.
#[test]
fn a_dry_run_changes_nothing() {
    isolated(|| {
        let site = Site::new();
        site.run("add bob --stdin", "secret of bob").well();
        let file = b"ann:{PLAIN}tanstaaf\nbob:{PLAIN}tanstaaf2\njoe:{CRAM-MD5}0011\n";
        let said = site.import("--dry-run --replace", "users", file);
        let expected =
            "1\tann\tAPOP\t\tadd\t\n2\tbob\tAPOP\t\treplace\t\n3\tjoe\t\t\tleave out\t{CRAM-MD5} is";
        assert!(said.status == 0 && said.out.starts_with(expected), "{said:?}");
        let said = site.import("--dry-run --format json", "users", file);
        assert!(said.status == 65 && said.out.contains("\"action\": \"refuse\""), "{said:?}");
        assert!(said.err.contains("1 entry that cannot be imported"), "{said:?}");
        let table = site.import("--dry-run --replace --format table", "users", file).well();
        assert!(table.contains(" action ") && !table.contains("tanstaaf"), "{table}");
        assert_eq!(site.list(), "bob\tAPOP\t\tno\tno\n");
        site.logs_in("bob", "secret of bob");
    });
}

/// Locks of a backup are shown before they are set; what stays as it was is not.
#[test]
fn a_dry_run_shows_locks() {
    isolated(|| {
        let site = Site::new();
        site.run("add ann --stdin", "secret of ann").well();
        site.run("lock ann", "").well();
        let backup = site.run("export", "").well();
        let said = site.run("import --replace --dry-run -", &backup);
        assert!(said.status == 0 && !said.out.contains("\tlock\t"), "locked already: {said:?}");
        site.run("unlock ann", "").well();
        let said = site.run("import --replace --dry-run -", &backup);
        assert!(said.out.contains("2\tann\t\t\tlock\t\n"), "{said:?}");
        assert!(said.err.contains("would be locked, as in the backup: ann"), "{said:?}");
        let said = site.run("import --replace -", &backup);
        assert!(said.err.contains("mailauth: locked, as in the backup: ann"), "{said:?}");
        site.run("import --replace --type POP -", &backup).refused(64, "--type is not for backup");
    });
}

/// Dovecot's passwd-file: ids, home and maildrop of virtual users are taken, what is not is said; --type POP keeps PASS.
#[test]
fn what_dovecot_knows_of_a_user_is_taken() {
    isolated(|| {
        let site = Site::new();
        let file = b"x:{PLAIN}tanstaaf:5000:5001::/srv/x::userdb_mail=maildir:/srv/x/M\n\
                     y:{PLAIN}tanstaaf::::/srv/%u::userdb_mail=maildir:~/M\nann:{PLAIN}tanstaaf:5000:5000::/srv/ann::\n";
        let said = site.import("--virtual --dry-run", "users", file);
        assert!(said.err.contains("is read as dovecot") && said.err.contains("no more by PASS"), "{said:?}");
        assert!(said.out.contains("home is not taken"), "{said:?}");
        let said = site.import("--virtual --type POP", "users", file);
        assert!(said.status == 0 && !said.err.contains("no more by PASS"), "{said:?}");
        for words in
            ["users:2: y: home is not taken", "users:3: ann: ids, home and mail of this line are not"]
        {
            assert!(said.err.contains(words), "{words}: {said:?}");
        }
        let shown = site.run("show x", "").well();
        for fact in ["uid\t5000", "gid\t5001", "home\t/srv/x", "maildrop\t/srv/x/M", "type\tPOP"] {
            assert!(shown.contains(fact), "{fact}: {shown}");
        }
        let mut client = site.0.connect();
        client.ok("USER ann");
        client.ok("PASS tanstaaf");
        site.import("--virtual", "low", b"z:{PLAIN}tanstaaf:97:97::/srv/z::\n")
            .refused(65, "low, read as dovecot, has 1 entry that cannot be imported");
        let said = site.import("--type POP", "users", b"ann:{PLAIN}tanstaaf\n");
        assert!(said.status == 65 && said.err.contains("users:1: ann: has an entry of type POP"), "{said:?}");
    });
}

/// Who can read the file has the secrets; solid-pop3d's file is its owner's.
#[test]
fn the_file_is_looked_at_too() {
    isolated(|| {
        let site = Site::new();
        let path = site.file("spop3d", b"APOPSecret 8b9e918c8b9e9e99\n");
        chown(&path, Some(common::world::uid("ann")), None).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let said = site.run(&format!("import {}", path.display()), "");
        assert!(
            said.status == 0 && said.err.contains("may be read by others (mode 0644): chmod 600"),
            "{said:?}"
        );
        site.logs_in("ann", "tanstaaf");
        site.run("import /run/nothing", "").refused(74, "cannot read /run/nothing: No such file");
        site.run("import /run", "").refused(65, "/run is a directory");
        site.run("import -", "").refused(65, "has no entries");
        site.run("import - --format json", "").refused_usage();
    });
}

impl Said {
    #[track_caller]
    fn refused_usage(&self) {
        assert!(self.status == 64 && self.out.is_empty(), "{self:?}");
    }
}

/// What is exported can be imported, sealed or plain: entries, virtual users, locks; a sealed one under its own key alone.
#[test]
fn a_backup_brings_everything_back() {
    isolated(|| {
        let site = Site::new();
        site.run("add ann --stdin", "secret of ann").well();
        site.run("add bob --type POP --label phone --stdin", "for the phone").well();
        site.run("add v@example.org --virtual --uid 5000:100 --maildrop /run/v --stdin", "virtual").well();
        site.run("add bob --type IMAP --stdin", "for other programs").well();
        site.run("lock ann", "").well();
        let list = site.list();
        let sealed = site.run("export", "").well();
        let plain = site.path("plain");
        site.run(&format!("export --plain {}", plain.display()), "").well();
        site.run("import -", &sealed).refused(65, "nothing was changed");
        site.run("init --clear", "").well();
        assert_eq!(site.list(), "");
        site.run("import -", &sealed).well();
        assert_eq!(site.list(), list);
        assert!(site.run("show v@example.org --format json", "").well().contains("/run/v"));
        site.run("unlock ann", "").well();
        site.logs_in("ann", "secret of ann");
        let mut client = site.0.connect();
        client.ok("USER bob");
        client.ok("PASS for the phone");
        let damaged = sealed.replacen("\"user\":\"ann\"", "\"user\":\"eve\"", 1).replacen(
            "\"name\":\"ann\"",
            "\"name\":\"eve\"",
            1,
        );
        let said = site.run("import --replace --virtual -", &damaged);
        assert!(said.status == 65 && said.err.contains("eve: the secret does not open"), "{said:?}");
        // Another key: the sealed one is of no use, the plain one is.
        site.run("rekey", "").well();
        site.run("import --replace -", &sealed).refused(65, "sealed by another key");
        let said = site.run(&format!("import --replace {}", plain.display()), "");
        assert!(said.status == 0 && said.err.contains("(backup)"), "{said:?}");
        assert_eq!(site.list(), list);
        site.run("import --replace -", &sealed[..sealed.len() - 40]).refused(65, "nothing was changed");
    });
}

/// Somebody else's rights are not used: an ordinary user imports nothing, and pop reads no file that is not pop's to read.
#[test]
fn the_file_is_read_with_the_callers_rights() {
    use std::os::unix::process::CommandExt;
    isolated(|| {
        let site = Site::new();
        let program = site.path("mailauth");
        assert!(
            Command::new("install").args(["-m", "755", MAILAUTH]).arg(&program).status().unwrap().success()
        );
        let path = site.file("f", b"ann,APOP,secret of ann\n");
        let run_as = |id: u32| {
            let mut command = Command::new(&program);
            command.arg("--config").arg(&site.0.config).arg("import").arg(&path).uid(id).gid(id);
            run(command, "")
        };
        run_as(POP).refused(74, "Permission denied");
        chown(&path, Some(POP), None).unwrap();
        run_as(POP).well();
        chown(&path, Some(common::world::uid("ann")), None).unwrap();
        run_as(common::world::uid("ann")).refused(77, "only root and pop may use");
    });
}

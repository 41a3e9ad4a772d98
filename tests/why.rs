//! `mailusradm why` names what stops a login, in set-ups that are broken in one way each, and finds nothing in one that is not; a
//! login that is really tried comes to the same (design, section 7).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/admin.rs"]
mod admin;
#[path = "support/faults.rs"]
mod broken;
mod common;
#[path = "support/said.rs"]
mod said;
#[path = "support/tls.rs"]
mod tls;

use admin::{admin, admin_as};
use broken::{
    Fault, NotTried, WHOLE, edit, faults, finds, keep, logs_in, mailauth, toml, why, with_apop,
    with_password, world,
};
use common::isolated_with_network;
use common::machine::{Mounts, chmod, make_directory, write};
use common::site::Site;
use common::world::{NEIGHBOURS_HASH, QUICK_HASH, uid};
use std::fs::{self, File};
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A certificate of last week's.
fn expired() {
    make_directory(Path::new(tls::PLACE), 0o755);
    let mut made = rcgen::CertificateParams::new(vec!["mail.example.org".to_owned()]).unwrap();
    let ago = |days: u64| (SystemTime::now() - Duration::from_secs(days * 86_400)).into();
    (made.not_before, made.not_after) = (ago(9), ago(2));
    let key = rcgen::KeyPair::generate().unwrap();
    write(&tls::path("cert.pem"), made.self_signed(&key).unwrap().pem().as_bytes(), 0o644);
    write(&tls::path("key.pem"), key.serialize_pem().as_bytes(), 0o600);
}

faults! {
    a_configuration_that_is_no_toml {
        plant: |world| toml(world, "hostname = mail"), step: "configuration",
        what: "pop3d.toml:1:12", fix: "write hostname = \"mail\"",
    }
    an_unknown_key {
        plant: |world| toml(world, "host_name = \"x\""), step: "configuration",
        what: "unknown field `host_name`", fix: "",
    }
    a_configuration_that_others_write {
        plant: |world| chmod(&world.config, 0o666), step: "configuration",
        what: "may be written by others", fix: "chmod go-w",
    }
    a_configuration_that_is_not_there {
        plant: |world| fs::remove_file(&world.config).unwrap(), step: "configuration",
        what: "No such file", fix: "",
    }
    a_state_directory_that_others_write {
        plant: |_| { make_directory(Path::new("/run/lib/poptools"), 0o777); }, step: "server",
        what: "state_dir /run/lib/poptools may be written by others", fix: "chmod go-w /run/lib/poptools",
    }
    a_run_directory_of_another_user {
        plant: |_| { make_directory(Path::new("/run/poptools"), 0o711); chown("/run/poptools", Some(uid("bob")), None).unwrap(); },
        step: "server", what: "run_dir /run/poptools belongs to bob", fix: "chown root /run/poptools",
    }
    a_state_directory_that_is_a_link {
        plant: |_| symlink("/run/home", "/run/lib/poptools").unwrap(), step: "server",
        what: "is a symbolic link", fix: "choose another state_dir",
    }
    a_certificate_that_is_missing {
        config: "plaintext = \"tls\"\n[tls]\ncertificate = \"/run/no.pem\"\nkey = \"/run/no.key\"\n", step: "tls",
        what: "/run/no.pem: No such file", fix: "",
    }
    a_certificate_that_has_expired {
        config: "plaintext = \"tls\"\n[tls]\ncertificate = \"/run/tls/cert.pem\"\nkey = \"/run/tls/key.pem\"\n", step: "tls",
        plant: |_| expired(),
        what: "certificate /run/tls/cert.pem expired 2 days ago", fix: "renew", login: NotTried,
    }
    a_key_of_another_certificate {
        config: "plaintext = \"tls\"\n[tls]\ncertificate = \"/run/tls/cert.pem\"\nkey = \"/run/tls/key.pem\"\n", step: "tls",
        plant: |_| {
            make_directory(Path::new("/run/tls"), 0o755);
            tls::Authority::new().issue("", &tls::NAMES);
            write(Path::new("/run/tls/key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem().as_bytes(), 0o600);
        },
        what: "does not belong to the certificate", fix: "",
    }
    nobody_listens {
        step: "service", what: "nothing listens on port 110", fix: "pop3d", login: NotTried,
    }
    a_listener_for_this_machine_alone {
        config: "plaintext = \"always\"\n",
        line: "--from 192.0.2.1", step: "service",
        plant: |world| { keep(Site::start(world).server); },
        what: "clients on this machine alone reach 127.0.0.1:110", fix: "listen on", login: NotTried,
    }
    passwords_that_are_never_taken {
        config: "plaintext = \"never\"\n", step: "plaintext",
        what: "takes no password", fix: "add ann",
    }
    passwords_over_tls_alone_without_a_certificate {
        config: "plaintext = \"tls\"\n", step: "plaintext",
        what: "from 127.0.0.1 needs TLS, and there is no certificate", fix: "set certificate and key",
    }
    a_name_that_nobody_has {
        setup: |setup| setup.user("bob", NEIGHBOURS_HASH), plant: |_| edit("/etc/passwd", "\nann:", "\nannabel:"),
        step: "account", what: "nobody knows ann", fix: "useradd -m ann",
    }
    an_account_below_the_least_uid {
        config: "min_uid = 30000\n", step: "account",
        what: "which is below min_uid (30000)", fix: "set min_uid = ",
    }
    an_account_that_is_locked {
        plant: |_| edit("/etc/shadow", "ann:$6$", "ann:!$6$"), step: "account",
        what: "/etc/shadow has ! before the password", fix: "passwd -u ann",
    }
    an_account_without_a_password {
        setup: |setup| setup.user("ann", "*"), step: "account",
        what: "ann has no password", fix: "passwd ann",
    }
    an_account_with_an_empty_password {
        setup: |setup| setup.user("ann", ""), step: "account",
        what: "has an empty password", fix: "passwd ann",
    }
    an_account_without_a_line_in_shadow {
        plant: |_| edit("/etc/shadow", "ann:", "annabel:"), step: "account",
        what: "has no line in /etc/shadow", fix: "pwconv, then passwd ann",
    }
    a_hash_of_an_unknown_scheme {
        setup: |setup| setup.user("ann", "$9$abc$defghijklmnopqrstuvwxyz"), step: "account",
        what: "which cannot be checked here", fix: "passwd ann",
    }
    a_hash_that_costs_too_much {
        setup: |setup| setup.user("ann", &QUICK_HASH.replace("rounds=1000$", "rounds=999999999$")), step: "account",
        what: "sha512-crypt-with-too-high-cost", fix: "passwd ann",
    }
    a_source_that_does_not_know_the_user {
        config: "sources = [\"mailauth\"]\n", plant: |world| mailauth(world, "init", ""), step: "account",
        what: "none of the sources (mailauth) knows ann", fix: "add ann",
    }
    a_user_who_is_locked_in_the_database {
        plant: |world| { with_apop(world); mailauth(world, "lock ann", ""); }, step: "account",
        what: "locked in the secrets database", fix: "unlock ann",
    }
    a_password_of_a_user_with_apop {
        plant: with_apop, line: "--from 127.0.0.1 --mechanism pass", step: "account",
        what: "has an APOP entry, and so cannot use a password", fix: "use APOP",
    }
    apop_without_an_entry {
        plant: with_password, line: "--from 127.0.0.1 --mechanism apop", step: "account",
        what: "has no APOP entry", fix: "add ann", login: NotTried,
    }
    a_certificate_of_a_client_that_nobody_asks_for {
        line: "--from 127.0.0.1 --mechanism external", step: "account",
        what: "no source can check this mechanism", fix: "client_ca", login: NotTried,
    }
    a_database_that_others_read {
        plant: |world| { with_apop(world); chmod(Path::new("/run/lib/poptools/auth/mailauth.db"), 0o644); }, step: "account",
        what: "may be used by others", fix: "",
    }
    a_database_that_is_damaged {
        plant: |world| {
            with_password(world);
            let file = "/run/lib/poptools/auth/mailauth.db";
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        },
        step: "account", what: "mailauth.db", fix: "",
    }
    a_key_that_is_missing {
        plant: |world| { with_apop(world); fs::remove_file("/run/lib/keys/mailauth.key").unwrap(); }, step: "account",
        what: "mailauth.key", fix: "", login: NotTried,
    }
    a_database_without_its_owner {
        plant: |world| { with_password(world); edit("/etc/passwd", "pop:x", "pope:x"); }, step: "account",
        what: "no user pop", fix: "pop",
    }
    somebody_is_logged_in {
        plant: |world| { keep(world.log_in("ann")); }, step: "session",
        what: "in use: ann is logged in from 127.0.0.1 since 2", fix: "kick ann",
    }
    a_run_directory_without_room {
        plant: |_| {
            make_directory(Path::new("/run/poptools"), 0o711);
            let mut mounts = Mounts::default();
            mounts.empty(Path::new("/run/poptools"), "mode=711,size=4k,nr_inodes=4");
            keep(mounts);
            for name in ["session", "empty", "verify"] { let _ = fs::create_dir(format!("/run/poptools/{name}")); }
        },
        step: "server", what: "cannot lock files in /run/poptools: No space left", fix: "make room",
    }
    a_mailbox_that_is_a_link {
        plant: |world| { fs::rename(world.mailbox("ann"), world.spool.join("x")).unwrap(); symlink("x", world.mailbox("ann")).unwrap(); },
        step: "maildrop", what: "is a symbolic link", fix: "put the mailbox itself there",
    }
    a_mailbox_with_two_names {
        plant: |world| fs::hard_link(world.mailbox("ann"), world.spool.join("x")).unwrap(), step: "maildrop",
        what: "has 2 hard links", fix: "-samefile",
    }
    a_mailbox_of_another_user {
        plant: |world| chown(world.mailbox("ann"), Some(uid("bob")), None).unwrap(), step: "maildrop",
        what: "belongs to uid", fix: "chown ann",
    }
    a_mailbox_that_its_owner_may_not_write {
        plant: |world| chmod(&world.mailbox("ann"), 0o040), step: "maildrop",
        what: "Permission denied", fix: "chmod u+rw",
    }
    a_mailbox_that_is_a_fifo {
        plant: |world| { fs::remove_file(world.mailbox("ann")).unwrap(); let path = world.mailbox("ann");
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()); chown(path, Some(uid("ann")), None).unwrap(); },
        step: "maildrop", what: "is not a regular file", fix: "put aside",
    }
    a_mailbox_that_is_no_mailbox {
        plant: |world| world.maildrop("ann", b"this is no mailbox\n"), step: "maildrop",
        what: "/var/mail/ann", fix: "check ann",
    }
    a_directory_that_is_no_maildir {
        plant: |world| { fs::remove_file(world.mailbox("ann")).unwrap(); make_directory(&world.mailbox("ann"), 0o700);
            chown(world.mailbox("ann"), Some(uid("ann")), None).unwrap(); },
        step: "maildrop", what: "no Maildir", fix: "mkdir",
    }
    a_spool_that_cannot_be_entered {
        plant: |world| chmod(&world.spool, 0o770), step: "maildrop",
        what: "Permission denied", fix: "chmod a+x /var/mail",
    }
    a_dotlock_of_another_program {
        plant: |world| write(&world.spool.join("ann.lock"), format!("{}\n", std::process::id()).as_bytes(), 0o644), step: "maildrop",
        what: "locks: the mailbox is locked by /var/mail/ann.lock (root, process ", fix: "rm /var/mail/ann.lock", login: NotTried,
    }
    a_kernel_lock_of_another_program {
        plant: |world| {
            let file = File::options().read(true).write(true).open(world.mailbox("ann")).unwrap();
            let range = libc::flock {
                l_type: libc::F_WRLCK.try_into().unwrap(),
                l_whence: 0,
                l_start: 0,
                l_len: 0,
                l_pid: 0,
            };
            nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETLK(&range)).unwrap();
            keep(file);
        },
        step: "maildrop", what: "has the mailbox /var/mail/ann locked (fcntl)", fix: "fuser", login: NotTried,
    }
}

/// Where all is well nothing is found, and the login works: with a password of the system, and one of the database.
#[test]
fn nothing_is_found_where_all_is_well() {
    isolated_with_network(|| {
        let world = world(&WHOLE);
        let _site = Site::start(&world);
        let ran = why(&world, WHOLE.line, &[]);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
        assert!(
            ran.out.starts_with("nothing stops ann from logging in from 127.0.0.1, but a wrong password\n")
        );
        assert!(logs_in(&world));
        // The index knows the mailbox now: a lock of others stops nobody, and is told of.
        fs::write(world.spool.join("ann.lock"), format!("{}\n", std::process::id())).unwrap();
        let ran = why(&world, WHOLE.line, &[]);
        assert!(ran.status == 0 && ran.out.contains("locked by /var/mail/ann.lock"), "{ran:?}");
        assert!(logs_in(&world));
        fs::remove_file(world.spool.join("ann.lock")).unwrap();
        with_password(&world);
        let all = why(&world, WHOLE.line, &["--all"]);
        assert_eq!(all.status, 0, "{all:?}");
        assert!(all.out.contains("checked by the application password"), "{all:?}");
        mailauth(&world, "remove ann --type POP", "");
        mailauth(&world, "add ann --stdin", "tanstaaf");
        assert!(why(&world, WHOLE.line, &["--all"]).out.contains("checked by the APOP entry"));
    });
}

/// What `why` looks like. Its list fits the terminal; its sentences are the same everywhere, so that a command in them stays one line
/// that can be copied.
#[test]
fn why_snapshots() {
    isolated_with_network(|| {
        let world = world(&WHOLE);
        let site = Site::start(&world);
        let pid = format!("pid {}", site.server.pid());
        // A name that is the same each time: hints have it.
        let config = "/run/lib/pop3d.toml";
        fs::copy(&world.config, config).unwrap();
        let shown = |width: &str, words: &[&str]| {
            let mut command = Command::new(admin::MAILUSRADM);
            command.args(["--config", config, "why", "ann", "--from", "127.0.0.1"]).args(words);
            let printed = common::run(command.env("TZ", "UTC").env("COLUMNS", width)).stdout;
            let printed = String::from_utf8(printed).unwrap();
            // The number of a process is no part of the picture.
            printed.replace(&pid, "PID")
        };
        for (name, words) in [("", &[][..]), ("-all", &["--all"])] {
            admin::snapshot(&format!("why-well{name}"), &shown("60", words));
        }
        drop(site);
        common::eventually("nobody listens", || {
            std::net::TcpStream::connect(common::site::ADDRESS).is_err().then_some(())
        });
        for (name, words) in [("", &[][..]), ("-all", &["--all"])] {
            let printed = shown("60", words);
            assert!(["80", "120", ""].iter().all(|width| shown(width, words) == printed), "{printed}");
            admin::snapshot(&format!("why-fault{name}"), &printed);
        }
        for width in [60, 80, 120] {
            let printed = shown(&width.to_string(), &["--format", "table"]);
            let widest = printed.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width), "{widest:?} of {width}:\n{printed}");
            admin::snapshot(&format!("why-fault-{width}"), &printed);
        }
        admin::snapshot("why-fault-piped", &shown("", &["--columns", "step,state,what,fix"]));
    });
}

/// Looking changes nothing, and parses nothing of the user's with root's rights: no lock is taken and no index written.
#[test]
fn a_look_changes_nothing() {
    isolated_with_network(|| {
        let world = world(&WHOLE);
        let _site = Site::start(&world);
        let state = || {
            let places = ["/var/mail", "/run/lib/poptools/maildrop"];
            places.map(|place| admin::state_of(Path::new(place)))
        };
        let before = state();
        assert_eq!(why(&world, WHOLE.line, &[]).status, 0);
        assert_eq!(state(), before);
    });
}

/// An ordinary user is told what can be told, and to ask root for the rest.
#[test]
fn an_ordinary_user_is_sent_to_root() {
    isolated_with_network(|| {
        let world = world(&WHOLE);
        let _site = Site::start(&world);
        let ran = admin_as(&world, uid("ann"), &["why", "ann", "--from", "127.0.0.1"]);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{ran:?}");
        assert!(ran.out.contains("sudo mailusradm ") && ran.out.contains("why ann"), "{ran:?}");
        let wrong = admin(&world, &["why", "../ann", "--from", "127.0.0.1"]);
        assert!(wrong.status == 1 && wrong.out.contains("is no name that a login takes"), "{wrong:?}");
    });
}

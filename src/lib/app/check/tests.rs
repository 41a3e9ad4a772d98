//! The findings of `pop3d --check` (design, section 7): each names its fix.

use super::*;
use crate::config::defaults::USERADD;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

/// A group of the spool; the number on Debian, the name does not matter.
const MAIL: u32 = 8;

struct Machine {
    directory: tempfile::TempDir,
    config: Config,
    probes: Probes<'static>,
    _syslog: UnixDatagram,
}

impl Machine {
    /// One where all is well but for the plaintext policy.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut config = Config {
            hostname: "localhost".to_owned(),
            state_dir: path("state"),
            run_dir: path("run"),
            ..Config::default()
        };
        config.xtnd.sendmail = "/bin/sh".into();
        let spool = path("mail");
        fs::create_dir(&spool).unwrap();
        config.maildrop.path =
            crate::config::Template::parse(&format!("{}/{{user}}", spool.display())).unwrap();
        let probes = Probes {
            config_file: Some(Path::new("/nonexistent/pop3d.toml")),
            root: sys::privileges::is_root(),
            account: |_| true,
            owner: || Ok(None),
            landlock: || true,
            seccomp: || true,
            syslog: Some(path("log")),
            passwd: path("passwd"),
        };
        let _syslog = UnixDatagram::bind(path("log")).unwrap();
        let machine = Self { directory, config, probes, _syslog };
        machine.give_to_mail(&spool);
        machine
    }

    /// As an installation of root's has it: a group that is not root's, which may write.
    fn give_to_mail(&self, directory: &Path) {
        if self.probes.root {
            std::os::unix::fs::chown(directory, Some(0), Some(MAIL)).unwrap();
        }
        fs::set_permissions(
            directory,
            fs::Permissions::from_mode(0o2755 | if self.probes.root { 0o20 } else { 0 }),
        )
        .unwrap();
    }

    fn with_secrets(&mut self) {
        self.config.auth.secrets = self.path("auth/mailauth.db");
        self.config.auth.key = self.path("mailauth.key");
        crate::secrets::initialise(&crate::secrets::Places::of(&self.config)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.directory.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn check(&self) -> Vec<Finding> {
        check(&self.config, &self.probes)
    }

    /// The finding that speaks of `word`, which must be the only one that got worse.
    fn worse(&self, severity: Severity, word: &str) -> Finding {
        let findings = self.check();
        let found = findings.iter().find(|finding| finding.what.contains(word));
        let finding = found.unwrap_or_else(|| panic!("{word}: {findings:?}"));
        assert_eq!(finding.severity, severity, "{finding:?}");
        assert!(finding.fix.is_some(), "{finding:?}");
        assert_eq!(exit_status(&findings), if severity == Severity::Problem { 78 } else { 0 });
        finding.clone()
    }
}

#[test]
fn a_good_machine_has_no_problem() {
    let machine = Machine::new();
    let findings = machine.check();
    let bad = |finding: &&Finding| {
        finding.severity != Severity::Ok
            && !["plaintext", "not root", "libcrypt", "host name", "service"]
                .iter()
                .any(|word| finding.what.starts_with(word))
    };
    assert_eq!(findings.iter().find(bad), None);
    assert_eq!(exit_status(&findings), 0);
}

#[test]
fn directories_of_others_are_problems() {
    let machine = Machine::new();
    let state = machine.config.state_dir.clone();
    fs::create_dir(&state).unwrap();
    machine.mode("state", 0o777);
    let finding = machine.worse(Severity::Problem, "state_dir");
    assert_eq!(finding.fix.unwrap(), format!("chmod go-w {}", state.display()));
    machine.mode("state", 0o755);
    assert_eq!(exit_status(&machine.check()), 0);
    fs::create_dir(state.join("maildrop")).unwrap();
    machine.mode("state/maildrop", 0o777);
    assert!(machine.worse(Severity::Problem, "state_dir").what.contains("/maildrop may be written"));
}

/// What is typed as root must not take from others what is theirs (a file, /tmp).
#[test]
fn advice_leaves_the_things_of_others_alone() {
    let mut machine = Machine::new();
    let harmless = |finding: Finding| {
        let fix = finding.fix.unwrap();
        assert!(fix.starts_with("choose another "), "{fix}");
    };
    fs::write(&machine.config.state_dir, "").unwrap();
    let finding = machine.worse(Severity::Problem, "state_dir");
    assert!(finding.what.contains("is not a directory"), "{finding:?}");
    harmless(finding);
    fs::remove_file(&machine.config.state_dir).unwrap();
    std::os::unix::fs::symlink("/", &machine.config.state_dir).unwrap();
    harmless(machine.worse(Severity::Problem, "state_dir"));
    fs::remove_file(&machine.config.state_dir).unwrap();
    fs::create_dir(machine.path("tmp")).unwrap();
    machine.config.run_dir = machine.path("tmp");
    for (mode, other) in [(0o1777, None), (0o777, Some("tmp/somebody's"))] {
        machine.mode("tmp", mode);
        other.into_iter().for_each(|name| fs::write(machine.path(name), "").unwrap());
        harmless(machine.worse(Severity::Problem, "run_dir"));
    }
}

#[test]
fn a_directory_that_others_can_move_away_is_told_and_served() {
    let mut machine = Machine::new();
    fs::create_dir(machine.path("open")).unwrap();
    machine.mode("open", 0o777);
    machine.config.state_dir = machine.path("open/state");
    let finding = machine.worse(Severity::Warning, "state_dir");
    assert!(finding.what.contains("can move it away"), "process/places.rs serves then: {finding:?}");
}

/// README leads an ordinary user here first: what only root can have is no problem of theirs.
#[test]
fn an_ordinary_user_is_not_told_to_change_what_is_roots() {
    let mut machine = Machine::new();
    machine.probes.root = false;
    machine.config.state_dir = "/nonexistent".into();
    if sys::privileges::is_root() {
        machine.config.state_dir = machine.path("state");
        fs::create_dir(machine.path("state")).unwrap();
        let finding = machine.worse(Severity::Warning, "state_dir");
        assert!(finding.fix.unwrap().contains("state_dir = \""), "how to have one's own");
    } else {
        assert!(machine.check().iter().any(|finding| finding.what.contains("cannot be made")));
        machine.config.state_dir = defaults::STATE_DIR.into();
        machine.worse(Severity::Warning, "state_dir");
    }
    for finding in machine.check() {
        let fix = finding.fix.unwrap_or_default();
        assert!(!fix.contains("chown") && !fix.contains("useradd"), "{fix}");
    }
}

#[test]
fn a_trial_of_locks_tells_that_it_made_a_directory_and_why_it_failed() {
    let mut machine = Machine::new();
    let locks = |machine: &Machine| machine.check().into_iter().find(|found| found.what.contains("lock"));
    assert!(locks(&machine).unwrap().what.ends_with("(made now, to try them)"));
    assert!(!locks(&machine).unwrap().what.contains("made now"));
    machine.config.run_dir = "/proc/sys/poptools".into();
    let findings = machine.check();
    let finding = findings.iter().find(|finding| finding.what.contains("/proc/sys")).unwrap();
    assert_eq!(finding.severity, Severity::Problem, "{finding:?}");
}

#[test]
fn the_spool_is_judged_by_its_mode() {
    let mut machine = Machine::new();
    if !machine.probes.root {
        eprintln!("not root: a spool of root's cannot be made");
        return;
    }
    for (mode, severity, words) in [
        (0o777, Severity::Problem, "everybody can remove"),
        (0o1777, Severity::Warning, "plant mailboxes and lock files"),
        (0o755, Severity::Problem, "so group mail may not write: sessions cannot make lock files"),
    ] {
        machine.mode("mail", mode);
        let finding = machine.worse(severity, "mail spool");
        assert!(finding.what.contains(words), "{finding:?}");
        assert!(finding.fix.unwrap().starts_with("chown root:mail "));
    }
    machine.mode("mail", 0o2775);
    std::os::unix::fs::chown(machine.path("mail"), Some(65_534), Some(MAIL)).unwrap();
    assert!(machine.worse(Severity::Problem, "mail spool").what.contains("who can replace everybody's mail"));
    std::os::unix::fs::chown(machine.path("mail"), Some(0), Some(0)).unwrap();
    assert!(machine.worse(Severity::Problem, "mail spool").what.contains("has group root"));
    fs::remove_dir(machine.path("mail")).unwrap();
    let missing = machine.worse(Severity::Problem, "mail spool");
    assert!(missing.fix.unwrap().starts_with("install -d -o root -g mail -m 2775 "));
    fs::write(machine.path("mail"), "").unwrap();
    assert!(
        machine.worse(Severity::Problem, "is not a directory").fix.unwrap().starts_with("set another path")
    );
    machine.config.maildrop.path = crate::config::Template::parse("{home}/mbox").unwrap();
    assert_eq!(exit_status(&machine.check()), 0);
}

#[test]
fn nothing_is_made_beside_maildirs() {
    let mut machine = Machine::new();
    machine.config.maildrop.format = crate::config::Format::Maildir;
    if !machine.probes.root {
        eprintln!("not root: a spool of root's cannot be made");
        return;
    }
    machine.mode("mail", 0o555);
    assert!(machine.check().iter().all(|finding| !finding.what.contains("lock files")), "design, section 4");
    machine.mode("mail", 0o1777);
    assert!(machine.worse(Severity::Warning, "mail spool").what.contains("plant Maildirs"));
}

#[test]
fn directories_of_a_hashed_spool_are_looked_at() {
    let mut machine = Machine::new();
    if !machine.probes.root {
        eprintln!("not root: a spool of root's cannot be made");
        return;
    }
    let template = format!("{}/{{user:1}}/{{user}}", machine.path("mail").display());
    machine.config.maildrop.path = crate::config::Template::parse(&template).unwrap();
    fs::write(machine.path("passwd"), "ann:x:1000:1000::/home/ann:/bin/sh\nhttp:x:1001:1:::/sbin/nologin\n")
        .unwrap();
    let missing = machine.worse(Severity::Warning, "is missing");
    let directory = machine.path("mail/a");
    assert_eq!(missing.fix.unwrap(), format!("install -d -o root -g mail -m 2775 {}", directory.display()));
    fs::create_dir(&directory).unwrap();
    machine.mode("mail/a", 0o755);
    machine.worse(Severity::Problem, "mail/a");
    machine.give_to_mail(&directory);
    assert_eq!(exit_status(&machine.check()), 0);
    assert!(machine.check().iter().all(|finding| !finding.what.contains("missing")), "{:?}", machine.check());
    fs::create_dir(machine.path("mail/b")).unwrap();
    assert!(machine.worse(Severity::Problem, "mail/b").what.contains("mail/b"), "without a user in passwd");
}

#[test]
fn the_cause_that_keeps_sendmail_from_running_is_named() {
    let mut machine = Machine::new();
    let program = machine.path("sendmail");
    machine.config.xtnd.sendmail = program.clone();
    fs::write(&program, "#! /nonexistent/perl -w\n").unwrap();
    machine.mode("sendmail", 0o644);
    assert_eq!(
        machine.worse(Severity::Warning, "has mode 0644").fix.unwrap(),
        format!(
            "chmod 755 {}, or set xmit = false under [xtnd] in /nonexistent/pop3d.toml",
            program.display()
        )
    );
    machine.mode("sendmail", 0o755);
    machine.worse(Severity::Warning, "is a script for /nonexistent/perl, which cannot be run");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    assert_eq!(exit_status(&machine.check()), 0);
    fs::remove_file(&program).unwrap();
    machine.worse(Severity::Warning, "is missing: XTND XMIT fails");
}

/// The administrator reads one of the two, and must not wonder about the other.
#[test]
fn advice_after_make_install_makes_the_users_as_check_says() {
    let advice = include_str!("../../../../contrib/advice");
    assert!(advice.contains(&format!("{USERADD} $user")), "contrib/advice: {USERADD} $user");
}

#[test]
fn paths_in_commands_are_quoted_for_the_shell() {
    assert_eq!(quoted(Path::new("/var/lib/pop-tools")), "/var/lib/pop-tools");
    assert_eq!(quoted(Path::new("/srv/my mail;x")), "'/srv/my mail;x'");
    assert_eq!(quoted(Path::new("/ann's")), r"'/ann'\''s'");
}

#[test]
fn each_missing_thing_is_found() {
    let mut machine = Machine::new();
    if machine.probes.root {
        machine.probes.account = |name| name == "nobody";
        assert_eq!(machine.worse(Severity::Warning, "user pop3d").fix.unwrap(), format!("{USERADD} pop3d"));
        machine.probes.account = |_| false;
        machine.worse(Severity::Problem, "neither user pop3d nor user nobody");
        machine.probes.account = |_| true;
    }
    machine.config.xtnd.sendmail = "/nonexistent/sendmail".into();
    machine.worse(Severity::Warning, "sendmail");
    machine.config.xtnd.xmit = false;
    assert!(!machine.check().iter().any(|finding| finding.what.contains("sendmail")), "nobody needs it");
    machine.probes.syslog = Some("/nonexistent/log".into());
    machine.worse(Severity::Warning, "syslog");
    machine.probes.landlock = || false;
    machine.worse(Severity::Warning, "Landlock");
    machine.config.sandbox = Sandbox::Require;
    machine.worse(Severity::Problem, "Landlock");
}

#[test]
fn the_plaintext_policy_is_spelled_out() {
    let mut machine = Machine::new();
    let finding = machine.worse(Severity::Warning, "plaintext");
    assert!(finding.what.contains("clients from elsewhere cannot log in without TLS"));
    assert!(finding.fix.unwrap().contains("plaintext = \"always\""));
    machine.config.auth.plaintext = Plaintext::Always;
    assert!(machine.worse(Severity::Warning, "plaintext").what.contains("readable"));
}

#[test]
fn findings_are_lines() {
    let error = Error::new(crate::error::Kind::Config, "pop3d.toml:3:1: limits.x: unknown\u{1b}[2J");
    let wrong = Error::new(crate::error::Kind::Config, "f: wrong").with_fix("chmod go-w f");
    let findings = [Finding::ok("started as root"), unreadable(wrong), unreadable(error)];
    assert_eq!(
        render(&findings),
        "ok       started as root\nproblem  configuration: f: wrong; fix: chmod go-w f\n\
         problem  configuration: pop3d.toml:3:1: limits.x: unknown\\x1b[2J; fix: correct this, then check again; pop3d.toml(5) has every key\n"
    );
    assert_eq!(exit_status(&findings), 78, "sysexits: EX_CONFIG");
}

/// curl takes the strongest mechanism that is announced, and does not fall back.
#[test]
fn an_announced_mechanism_says_whom_it_locks_out() {
    use crate::config::{Announce, Mechanism};
    let mut machine = Machine::new();
    machine.config.auth.secrets = machine.path("auth/mailauth.db");
    machine.config.auth.key = machine.path("mailauth.key");
    machine.config.auth.announce = Announce::List(vec![Mechanism::Apop]);
    let speaks = |machine: &Machine| machine.check().iter().any(|finding| finding.what.contains("APOP"));
    assert!(!speaks(&machine), "without a database there is nothing to say");
    machine.with_secrets();
    let finding = machine.worse(Severity::Warning, "APOP is announced");
    assert!(finding.fix.unwrap().contains("announce = []"));
    machine.config.auth.announce = Announce::List(Vec::new());
    assert!(machine.check().iter().any(|finding| finding.what == "APOP is not announced"));
}

/// Design, section 7: what refuses every login is a problem. The database is opened as a session would.
#[test]
fn a_secrets_database_that_does_not_open_is_a_problem() {
    let mut machine = Machine::new();
    machine.with_secrets();
    let whole = fs::read(machine.path("auth/mailauth.db")).unwrap();
    assert_eq!(exit_status(&machine.check()), 0, "{:?}", machine.check());
    machine.mode("auth/mailauth.db", 0o644);
    machine.worse(Severity::Problem, "mailauth.db may be used by others");
    machine.mode("auth/mailauth.db", 0o600);
    fs::write(machine.path("auth/mailauth.db"), &whole[..9000]).unwrap();
    machine.worse(Severity::Problem, "is damaged");
    fs::write(machine.path("auth/mailauth.db"), &whole).unwrap();
    machine.mode("mailauth.key", 0o600);
    fs::write(machine.path("mailauth.key"), b"").unwrap();
    machine.worse(Severity::Problem, "is no key of mailauth's");
    fs::remove_file(machine.path("mailauth.key")).unwrap();
    let finding = machine.worse(Severity::Problem, "cannot open ");
    assert!(finding.what.contains("mailauth init --clear makes a new key"), "{finding:?}");
}

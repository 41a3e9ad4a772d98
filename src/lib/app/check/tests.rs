//! The findings of `pop3d --check` (design, section 7): each names its fix.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

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
            landlock: || true,
            seccomp: || true,
            syslog: Some(path("log")),
        };
        let _syslog = UnixDatagram::bind(path("log")).unwrap();
        let machine = Self { directory, config, probes, _syslog };
        machine.mode("mail", 0o2775);
        machine
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
            && !["plaintext", "not root", "libcrypt"].iter().any(|word| finding.what.starts_with(word))
    };
    assert_eq!(findings.iter().find(bad), None);
    assert_eq!(exit_status(&findings), 0);
}

#[test]
fn directories_of_others_are_problems() {
    let machine = Machine::new();
    fs::create_dir(machine.directory.path().join("state")).unwrap();
    machine.mode("state", 0o777);
    let finding = machine.worse(Severity::Problem, "state_dir");
    assert_eq!(finding.fix.unwrap(), format!("chmod go-w {}", machine.config.state_dir.display()));
    fs::remove_dir(&machine.config.state_dir).unwrap();
    fs::write(&machine.config.state_dir, "").unwrap();
    assert!(machine.worse(Severity::Problem, "state_dir").what.contains("is not a directory"));
}

#[test]
fn the_spool_is_judged_by_its_mode() {
    let mut machine = Machine::new();
    for (mode, severity, words) in [
        (0o777, Severity::Problem, "everybody can remove"),
        (0o1777, Severity::Warning, "plant lock files"),
        (0o755, Severity::Warning, "cannot make lock files and temporary files"),
    ] {
        machine.mode("mail", mode);
        let finding = machine.worse(severity, "mail spool");
        assert!(finding.what.contains(words), "{finding:?}");
        assert!(finding.fix.unwrap().starts_with("chgrp mail "));
    }
    fs::remove_dir(machine.directory.path().join("mail")).unwrap();
    let missing = machine.worse(Severity::Problem, "mail spool");
    assert!(missing.fix.unwrap().starts_with("install -d -o root -g mail -m 2775 "));
    machine.config.maildrop.path = crate::config::Template::parse("{home}/mbox").unwrap();
    assert_eq!(exit_status(&machine.check()), 0);
}

#[test]
fn each_missing_thing_is_found() {
    let mut machine = Machine::new();
    machine.probes.account = |name| name == "nobody";
    assert!(machine.worse(Severity::Warning, "user pop3d").fix.unwrap().starts_with("useradd --system"));
    machine.probes.account = |_| true;
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
    machine.probes.landlock = || true;
    machine.probes.account = |_| false;
    machine.worse(Severity::Problem, "neither user pop3d nor user nobody");
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
    let findings = [Finding::ok("started as root"), Finding::warning("w", "do"), unreadable(&error)];
    assert_eq!(
        render(&findings),
        "ok       started as root\nwarning  w; fix: do\n\
         problem  configuration: pop3d.toml:3:1: limits.x: unknown\\x1b[2J; fix: mend what is named here, then check again\n"
    );
    assert_eq!(exit_status(&findings), 78, "sysexits: EX_CONFIG");
}

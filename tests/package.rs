//! What `contrib/` and the Makefile install says the same as the programs: units, profiles, rules, versions. The package itself
//! is installed, used and removed by `contrib/debian/test`.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{programs_or_skip, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn contrib(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(contrib(name)).unwrap_or_else(|why| panic!("cannot read contrib/{name}: {why}"))
}

fn succeeds(command: &mut Command) -> String {
    let output = run(command);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

#[test]
fn the_packages_have_the_programs_version() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = text("debian/changelog");
    assert!(changelog.starts_with(&format!("poptools ({version}-")), "{changelog}");
    let spec = text("rpm/poptools.spec");
    assert!(spec.lines().any(|line| line == format!("Version:        {version}")), "{spec}");
}

/// Design section 6: at most 3.2, and what is left is explained in the unit.
#[test]
fn the_units_are_hardened() {
    if !programs_or_skip(&["systemd-analyze"]) {
        return;
    }
    for unit in ["pop3d.service", "pop3d@.service"] {
        let path = contrib("systemd").join(unit);
        succeeds(
            Command::new("systemd-analyze")
                .args(["security", "--offline=yes", "--no-pager", "--threshold=32"])
                .arg(&path),
        );
        let unit = fs::read_to_string(&path).unwrap();
        let bounds = unit.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet="));
        for capability in bounds.flat_map(str::split_whitespace) {
            assert!(
                unit.lines().any(|line| line.starts_with('#') && line.contains(capability)),
                "{capability} is not explained"
            );
        }
    }
}

#[test]
fn both_services_have_the_same_fence() {
    let fence = |name| {
        let unit = text(name);
        let (_, fence) = unit.split_once("# What the monitor").unwrap();
        fence.split("\n[Install]").next().unwrap().trim_end().to_owned()
    };
    assert_eq!(fence("systemd/pop3d.service"), fence("systemd/pop3d@.service"));
}

#[test]
fn the_units_are_understood() {
    if !programs_or_skip(&["systemd-analyze"]) {
        return;
    }
    // The programs and pages that units name need not be installed here.
    let directory = tempfile::tempdir().unwrap();
    for unit in ["pop3d.service", "pop3d@.service", "pop3d.socket"] {
        let program = env!("CARGO_BIN_EXE_pop3d");
        let text = text(&format!("systemd/{unit}")).replace("/usr/sbin/pop3d", program);
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("Documentation="))
            .map(|l| format!("{l}\n"))
            .collect();
        fs::write(directory.path().join(unit), text).unwrap();
    }
    for dropin in [None, Some("accept.conf"), Some("tls.conf")] {
        if let Some(name) = dropin {
            let place = directory.path().join("pop3d.socket.d");
            fs::create_dir_all(&place).unwrap();
            fs::copy(contrib("systemd").join(name), place.join(name)).unwrap();
        }
        let said = succeeds(
            Command::new("systemd-analyze")
                .arg("verify")
                .env("SYSTEMD_UNIT_PATH", format!("{}:", directory.path().display()))
                .args(
                    ["pop3d.socket", "pop3d.service", "pop3d@x.service"]
                        .map(|unit| directory.path().join(unit)),
                ),
        );
        assert!(!said.contains("pop3d"), "{dropin:?}: {said}");
    }
}

#[test]
fn the_apparmor_profile_is_understood() {
    if !programs_or_skip(&["apparmor_parser"]) {
        return;
    }
    let parser = common::find_program("apparmor_parser").unwrap();
    succeeds(Command::new(parser).args(["-Q", "-K"]).arg(contrib("apparmor.d/usr.sbin.pop3d")));
}

#[test]
fn the_logrotate_rules_are_understood() {
    if !programs_or_skip(&["logrotate"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("poptools");
    common::machine::write(&rules, text("logrotate.d/poptools").as_bytes(), 0o644);
    let logrotate = common::find_program("logrotate").unwrap();
    let state = directory.path().join("state");
    let said = succeeds(Command::new(logrotate).arg("--debug").arg("--state").arg(state).arg(rules));
    assert!(!said.contains("error:"), "{said}");
}

/// The configuration that packages install holds every key as the program knows it, once its comments are taken off.
#[test]
fn the_example_configuration_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pop3d.toml");
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    for text in [text("pop3d.toml"), text("pop3d.toml").lines().map(uncommented).collect()] {
        common::machine::write(&file, text.as_bytes(), 0o644);
        let output = run(Command::new(env!("CARGO_BIN_EXE_pop3d")).arg("--check").arg("--config").arg(&file));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(said.contains(&format!("ok       configuration {}", file.display())), "{said}");
    }
}

/// Lines of the log that mean nothing to an administrator are left out by logcheck, those of refusals and faults are not.
#[test]
fn logcheck_leaves_out_what_is_ordinary() {
    if !programs_or_skip(&["grep"]) {
        return;
    }
    let lines = [
        (true, "connect: client=192.0.2.1 port=40112"),
        (true, "connect: client=local"),
        (
            true,
            "login: client=192.0.2.1 port=40112 user=ann mechanism=SCRAM-SHA-256 tls=TLSv1.3 \
             cipher=TLS_AES_256_GCM_SHA384",
        ),
        (
            true,
            "logout: client=::1 port=1 user=ann retrieved=2 top=0 octets=1093 deleted=2 deleted_octets=812 left=0 \
             left_octets=0 seconds=1 end=quit",
        ),
        (true, "disconnect: client=192.0.2.1 port=40112 seconds=3 reason=quit"),
        (true, "Stats: ann 2 812 0 0"),
        (true, "xmit: client=192.0.2.1 port=40112 user=ann octets=812 status=0"),
        (true, "notice: text=serving POP3 on 0.0.0.0:110"),
        (false, "xmit: client=192.0.2.1 port=40112 user=ann octets=812 status=127"),
        (false, "refused: client=192.0.2.1 port=40112 user=ann mechanism=PASS reason=wrong-password"),
        (
            false,
            "error: client=192.0.2.1 port=40112 user=ann text=cannot open /var/mail/ann: Permission denied",
        ),
        (false, "lost: lines=3"),
        (false, "disconnect: client=192.0.2.1 port=40112 seconds=3 reason=errors"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    for (ordinary, line) in lines {
        fs::write(&log, format!("Nov 23 12:00:01 pop pop3d/x7b2k9a1[4121]: {line}\n")).unwrap();
        let rules = contrib("logcheck/poptools");
        let found = run(Command::new("grep").arg("-Eqf").arg(rules).arg(&log)).status.success();
        assert_eq!(found, ordinary, "{line}");
    }
}

/// Every file that the Makefile installs below /etc is there, or comes with a part that is built apart.
#[test]
fn what_goes_to_etc_is_there() {
    for line in text("etc").lines() {
        let from = line.split_whitespace().next().unwrap();
        assert!(contrib(from).is_file(), "contrib/{from}");
    }
}

//! Clients that were not written here, over STLS and port 995, in all ways to start; and what testssl.sh thinks of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/tls.rs"]
mod tls;

use common::client::{assert_same, text};
use common::machine::{make_directory, write};
use common::site::{ADDRESS, Site};
use common::{
    Child, PASSWORD, World, eventually, find_program, isolated_with_network, mail, programs_or_skip,
};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tls::{Authority, SECURE};

const ACTIVATE: &str = "systemd-socket-activate";

/// A way to start a server on both ports, and the program that it needs.
type Starter = (&'static str, fn(&World) -> Vec<Child>);

const STARTERS: [Starter; 4] = [
    ("", |world| {
        let mut command = Command::new(&world.program);
        command.arg("--config").arg(&world.config).args(["--listen", ADDRESS, "--listen-tls", SECURE]);
        vec![start(command)]
    }),
    ("inetd", |world| {
        // Port 995 says by itself that TLS begins.
        let line = |service: &str, more: &str| {
            let (program, config) = (world.program.display(), world.config.display());
            format!(
                "127.0.0.1:{service} stream tcp4 nowait.1000 root {program} pop3d --config {config} {more}\n"
            )
        };
        let config = world.directory().join("inetd.conf");
        write(&config, format!("{}{}", line("110", ""), line("995", "--tls")).as_bytes(), 0o644);
        let mut command = Command::new(find_program("inetd").unwrap());
        command.arg("-i").arg(&config);
        vec![start(command)]
    }),
    (ACTIVATE, |world| vec![activate(world, &["--listen", ADDRESS, "--listen", SECURE])]),
    (ACTIVATE, |world| {
        [ADDRESS, SECURE].map(|address| activate(world, &["--accept", "--listen", address])).into()
    }),
];

fn activate(world: &World, options: &[&str]) -> Child {
    let mut command = Command::new(find_program(ACTIVATE).unwrap());
    command.args(options).arg(&world.program).arg("--config").arg(&world.config);
    start(command)
}

fn start(mut command: Command) -> Child {
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Child::start(command)
}

/// Serves three messages of ann's in each way to start.
fn in_all_ways(needs: &[&str], test: impl Fn(&World, &[mail::Stored]) + Send + Sync) {
    for (needed, starter) in STARTERS {
        let all: Vec<&str> = needs.iter().copied().chain([needed]).filter(|name| !name.is_empty()).collect();
        if !common::root_or_skip() || !programs_or_skip(&all) {
            return;
        }
        isolated_with_network(|| {
            let world = World::setup().config(&tls::config()).start();
            Authority::new();
            let stored = world.small_maildrop(3);
            let _servers = starter(&world);
            for address in [ADDRESS, SECURE] {
                eventually("both ports are listened on", || TcpStream::connect(address).ok());
            }
            test(&world, &stored);
        });
    }
}

fn run(world: &World, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("HOME", world.directory()).env("LC_ALL", "C").current_dir(world.directory());
    let output = common::run(&mut command);
    let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output
}

#[test]
fn curl_fetches() {
    in_all_ways(&["curl"], |world, stored| {
        let user = format!("ann:{PASSWORD}");
        for url in ["pop3s://localhost/2", "pop3://localhost/2"] {
            let arguments = ["-sS", "-4", "--ssl-reqd", "--cacert", "/run/tls/ca.pem", "--user", &user, url];
            assert_same(url, &run(world, "curl", &arguments).stdout, &mail::wire(&stored[1]));
        }
        // The strongest thing announced: SASL PLAIN rather than PASS.
        world.log_line(&["login: ", "user=ann mechanism=PLAIN tls=TLSv1."]);
    });
}

#[test]
fn fetchmail_and_mpop_fetch() {
    in_all_ways(&["fetchmail", "mpop"], |world, stored| {
        let mda = world.directory().join("mda");
        write(&mda, b"#!/bin/sh\ncat >>/run/got\n", 0o755);
        for implicit in [false, true] {
            let (port, ssl) = if implicit { (995, "ssl") } else { (110, "") };
            let rc = format!(
                "set invisible\nset no bouncemail\npoll localhost protocol pop3 auth password port {port} no dns\n\
                 \x20 username \"ann\" password \"{PASSWORD}\" is \"root\" here {ssl} sslproto TLS1.2+ sslcertck\n\
                 \x20 sslcertfile \"/run/tls/ca.pem\" fetchall keep no rewrite mda \"{}\"\n",
                mda.display()
            );
            fetch(stored, || {
                write(&world.directory().join("fetchmailrc"), rc.as_bytes(), 0o600);
                let options =
                    ["--nosyslog", "--nodetach", "-f", "fetchmailrc", "--pidfile", "pid", "-i", "ids"];
                run(world, "fetchmail", &options);
            });
            let starttls = if implicit { "off" } else { "on" };
            let rc = format!(
                "account default\nhost localhost\nport {port}\ntls on\ntls_starttls {starttls}\n\
                 tls_trust_file /run/tls/ca.pem\nauth user\nuser ann\npassword \"{PASSWORD}\"\nkeep on\n\
                 only_new off\nreceived_header off\ndelivery mda {}\n",
                mda.display()
            );
            fetch(stored, || {
                write(&world.directory().join("mpoprc"), rc.as_bytes(), 0o600);
                run(world, "mpop", &["--quiet", "-C", "mpoprc", "--uidls-file=uidls"]);
            });
        }
    });
}

/// What the client delivers is what is stored, one message behind the other.
fn fetch(stored: &[mail::Stored], client: impl FnOnce()) {
    let got = Path::new("/run/got");
    // There is none before the first.
    let _ = std::fs::remove_file(got);
    client();
    assert_same("all messages", &std::fs::read(got).unwrap(), &stored.concat());
}

/// What `openssl s_client` says when it is given these commands; it ends with the connection.
fn s_client(options: &[&str]) -> (bool, String) {
    let mut command = Command::new("sh");
    let words = options.join(" ");
    let script = format!(
        "printf 'CAPA\\r\\nQUIT\\r\\n' | timeout 100 openssl s_client -ign_eof -CAfile /run/tls/ca.pem {words} 2>&1"
    );
    let output = common::run(command.args(["-c", &script]));
    (output.status.success(), text(&output.stdout))
}

#[test]
fn openssl_connects() {
    in_all_ways(&["openssl"], |_, _| {
        let stls = ["-connect 127.0.0.1:110 -starttls pop3"];
        let pop3s = ["-connect 127.0.0.1:995"];
        for way in [stls, pop3s] {
            for version in ["-tls1_2", "-tls1_3"] {
                let (good, said) =
                    s_client(&[way[0], version, "-servername localhost", "-verify_return_error"]);
                assert!(good && said.contains("Verify return code: 0 (ok)"), "{way:?} {version}: {said}");
                assert!(said.contains("signing off"), "{said}");
            }
            // RFC 8996.
            for version in ["-tls1", "-tls1_1"] {
                let (good, said) = s_client(&[way[0], version, "-cipher ALL:@SECLEVEL=0"]);
                assert!(!good && said.contains("Cipher is (NONE)"), "{way:?} {version}: {said}");
            }
            let (_, said) = s_client(&[way[0], "-alpn pop3"]);
            assert!(said.contains("ALPN protocol: pop3"), "{said}");
        }
    });
}

#[test]
fn openssl_comes_back_with_a_ticket() {
    if !common::root_or_skip() || !programs_or_skip(&["openssl"]) {
        return;
    }
    isolated_with_network(|| {
        let world = World::setup().config(&tls::config()).options(&["--listen-tls", SECURE]).start();
        Authority::new();
        let _site = Site::start(&world);
        for version in ["-tls1_2", "-tls1_3"] {
            let (_, said) = s_client(&["-connect 127.0.0.1:995", version, "-sess_out /run/session"]);
            assert!(said.contains("New, TLSv1"), "{said}");
            let (_, said) = s_client(&["-connect 127.0.0.1:995", version, "-sess_in /run/session"]);
            assert!(said.contains("Reused, TLSv1"), "{version}: {said}");
        }
    });
}

/// Issue of the project's own: no finding above LOW. It takes a minute or two for each port.
#[test]
fn testssl_finds_nothing_above_low() {
    if !common::root_or_skip() || !programs_or_skip(&["testssl"]) {
        return;
    }
    isolated_with_network(|| {
        let more = "[limits]\nmax_per_address = 1000\nlogin_timeout = 20\n";
        let world = World::setup()
            .config(&format!("{}{more}", tls::config()))
            .options(&["--listen-tls", SECURE])
            .start();
        Authority::new();
        let _site = Site::start(&world);
        let home = world.directory().join("testssl");
        make_directory(&home, 0o755);
        let scan = |name: &str, way: &[&str]| {
            let json = home.join(format!("{name}.json"));
            let mut command = Command::new("timeout");
            command.args(["900", "testssl", "--quiet", "--warnings", "batch", "--color", "0", "--sneaky"]);
            command.args([
                "--nodns",
                "min",
                "--ip",
                "127.0.0.1",
                "--add-ca",
                "/run/tls/ca.pem",
                "--jsonfile",
            ]);
            command.arg(&json).args(way).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let _ = command.current_dir(&home).env("HOME", &home).status().unwrap();
            findings(&std::fs::read_to_string(json).unwrap())
        };
        let (stls, pop3s) = std::thread::scope(|scope| {
            let stls = scope.spawn(|| scan("stls", &["-t", "pop3", "localhost:110"]));
            let pop3s = scope.spawn(|| scan("pop3s", &["localhost:995"]));
            (stls.join().unwrap(), pop3s.join().unwrap())
        });
        for (name, found) in [("STLS", stls), ("port 995", pop3s)] {
            assert!(found.len() > 60, "{name}: it has looked: {found:#?}");
            let worse: Vec<_> =
                found.iter().filter(|(_, severity, _)| severity != "OK" && severity != "INFO").collect();
            eprintln!(
                "testssl over {name}: {} findings, of them neither OK nor INFO: {worse:#?}",
                found.len()
            );
            let bad = |severity: &str| ["MEDIUM", "HIGH", "CRITICAL", "FATAL"].contains(&severity);
            assert!(!worse.iter().any(|(_, severity, _)| bad(severity)), "{name}: {worse:#?}");
        }
    });
}

/// Name, severity and words of each finding.
fn findings(json: &str) -> Vec<(String, String, String)> {
    let all: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|why| panic!("{why}: {json}"));
    let word = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let all = all.as_array().unwrap();
    all.iter()
        .map(|finding| (word(finding, "id"), word(finding, "severity"), word(finding, "finding")))
        .collect()
}

//! AUTH over TLS: mechanisms that bind to the connection, certificates of clients, and what is announced before and after STLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/gsasl.rs"]
mod gsasl;
#[path = "support/scram.rs"]
mod scram;
#[path = "support/tls.rs"]
mod tls;

use common::client::text;
use common::site::{ADDRESS, Site};
use common::world::tcp_pair;
use common::{Child, Client, PASSWORD, World, isolated, isolated_with_network, machine, programs_or_skip};
use gsasl::Gsasl;
use poptools::protocol::sasl::encode;
use rustls::HandshakeKind;
use scram::{SECRET, Scram, challenge};
use sha2::{Digest, Sha256};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use tls::{Authority, ONE_THREE, ONE_TWO, Plan, Secure, secure};

/// A server with TLS, bob's secret, and a message for each.
fn served(programs: &[&str], auth: &str, tls: &str, test: impl FnOnce(&World, &Authority) + Send) {
    if !common::root_or_skip() || !programs_or_skip(programs) {
        return;
    }
    isolated_with_network(|| {
        let (world, authority) = tls::start(scram::setup(&format!("failure_delay = 0\n{auth}")), tls);
        scram::keep_secret(&world);
        world.maildrop("bob", b"From x@example.org Thu Jan  1 00:00:00 1970\nSubject: one\n\nbody\n");
        let _site = Site::start(&world);
        test(&world, &authority);
    });
}

/// Both ways to TLS.
fn both(plan: &Plan) -> [Secure; 2] {
    [plan.stls(TcpStream::connect(ADDRESS).unwrap()), plan.connect(secure())]
}

/// What TLS 1.3 gives to bind to (RFC 9266, section 4.2), computed by the client's side.
fn exporter(client: &mut Secure) -> Vec<u8> {
    client.tls().export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", None).unwrap()
}

/// RFC 5929, section 4: of a certificate that is signed with SHA-256.
fn end_point(client: &mut Secure) -> Vec<u8> {
    Sha256::digest(&client.tls().peer_certificates().unwrap()[0]).to_vec()
}

fn bob<'a>(flag: &'a str, binding: &[u8]) -> Scram<'a> {
    Scram { flag, binding: binding.to_vec(), user: "bob", secret: SECRET }
}

/// All but the last message; what the server says then.
fn prove(client: &mut Secure, scram: &Scram<'_>) -> String {
    let line = client.command(&format!("AUTH SCRAM-SHA-256-PLUS {}", scram.first()));
    if line.starts_with('-') { line } else { client.command(&scram.last(&line)) }
}

const EXPORTER: &str = "p=tls-exporter,,";
const END_POINT: &str = "p=tls-server-end-point,,";
const WRONG: &str = "-ERR [AUTH] Password supplied for \"bob\" is incorrect.";

/// RFC 5802, section 6; RFC 9266; RFC 5929, section 4: the client's own view of the connection is what counts.
#[test]
fn scram_binds_to_the_connection() {
    served(&[], "", "", |world, authority| {
        for (versions, flag) in [(ONE_THREE, EXPORTER), (ONE_THREE, END_POINT), (ONE_TWO, END_POINT)] {
            for mut client in both(&Plan { versions, ..authority.client() }) {
                let binding = if flag == EXPORTER { exporter(&mut client) } else { end_point(&mut client) };
                let before = client.capabilities();
                let signed = prove(&mut client, &bob(flag, &binding));
                assert!(challenge(&signed).starts_with("dj"), "v=");
                assert!(client.command("").starts_with("+OK bob has 1 message(s)"));
                let after: Vec<String> = client.capabilities();
                assert_eq!(before, after, "RFC 2449, section 6; RFC 5034, section 3");
                assert!(after.iter().any(|line| line.starts_with("SASL SCRAM-SHA-256-PLUS ")), "{after:?}");
                client.quit();
            }
        }
        world.log_line(&["login: ", "user=bob mechanism=SCRAM-SHA-256-PLUS tls=TLSv1.3 cipher=TLS_"]);
        world.log_line(&["login: ", "user=bob mechanism=SCRAM-SHA-256-PLUS tls=TLSv1.2 cipher=TLS_"]);
    });
}

/// Design, section 2: inetd's one login process keeps the exchange, the certificate's name and the relay.
#[test]
fn inetd_serves_all_of_it() {
    isolated(|| {
        let config = format!("{}client_ca = \"/run/tls/ca.pem\"\n", tls::config());
        let world = scram::setup("").config(&config).start();
        scram::keep_secret(&world);
        let authority = Authority::new();
        authority.issue("ann-", &["ann"]);
        world.small_maildrop(3);
        world.maildrop("bob", b"");
        let plan = Plan { shown: Some("ann-"), ..authority.client() };
        for more in [&[][..], &["--tls"]] {
            for by_certificate in [false, true] {
                let (ours, theirs) = tcp_pair("127.0.0.1:0");
                let mut server = Child::start(world.command(&[], more, theirs.into()));
                let mut client = if more.is_empty() { plan.stls(ours) } else { plan.connect(ours) };
                let before = client.capabilities();
                if by_certificate {
                    assert!(client.command("AUTH EXTERNAL =").starts_with("+OK ann has 3"));
                } else {
                    let binding = exporter(&mut client);
                    assert!(challenge(&prove(&mut client, &bob(EXPORTER, &binding))).starts_with("dj"));
                    assert!(client.command("").starts_with("+OK bob has 0"));
                }
                assert_eq!(client.capabilities(), before);
                client.quit();
                drop(client);
                assert!(server.wait(common::PATIENCE).is_some_and(|status| status.success()));
            }
        }
    });
}

/// RFC 5802, section 6: a proof for another connection proves nothing, and neither does one from a client that was told that there
/// is nothing to bind to. RFC 9266, section 3: no exporter in TLS 1.2.
#[test]
fn a_proof_for_another_connection_proves_nothing() {
    served(&[], "", "", |world, authority| {
        let plan = authority.client();
        let other = exporter(&mut plan.connect(secure()));
        for mut client in both(&plan) {
            assert_eq!(prove(&mut client, &bob(EXPORTER, &other)), WRONG);
            world.log_line(&["refused: ", "user=bob mechanism=SCRAM-SHA-256-PLUS reason=channel-binding"]);
            let believes = bob("y,,", b"").first();
            assert_eq!(client.command(&format!("AUTH SCRAM-SHA-256 {believes}")), WRONG);
            world.log_line(&["refused: ", "user=bob mechanism=SCRAM-SHA-256 reason=downgrade"]);
        }
        for mut client in both(&Plan { versions: ONE_TWO, ..plan }) {
            assert_eq!(prove(&mut client, &bob(EXPORTER, &[0; 32])), WRONG);
            let binding = end_point(&mut client);
            assert!(challenge(&prove(&mut client, &bob(END_POINT, &binding))).starts_with("dj"));
            assert!(client.command("").starts_with("+OK bob has 1"));
        }
    });
}

/// RFC 9266 as GNU SASL has it, for both ways to TLS.
#[test]
fn gnu_sasl_binds_to_the_connection() {
    served(&["gsasl"], "", "", |world, authority| {
        for mut client in both(&authority.client()) {
            let binding = encode(&exporter(&mut client));
            for right in [false, true] {
                let secret = if right { SECRET } else { "wrong-one" };
                let mut gsasl = Gsasl::start("SCRAM-SHA-256-PLUS", secret, Some(&binding));
                let first = gsasl.message();
                let line = client.command(&format!("AUTH SCRAM-SHA-256-PLUS {first}"));
                let last = gsasl.answer(challenge(&line));
                let line = client.command(&last);
                if right {
                    assert_eq!(gsasl.answer(challenge(&line)), "", "it has nothing more to say");
                } else {
                    assert_eq!(line, WRONG);
                }
            }
            assert!(client.command("").starts_with("+OK bob has 1 message(s)"));
            client.quit();
        }
        world.log_line(&["login: ", "user=bob mechanism=SCRAM-SHA-256-PLUS tls=TLSv1.3"]);
    });
}

/// RFC 2595, section 4; RFC 5034, section 3; design, section 3: what is announced is what works on this connection, and the session
/// announces the same.
#[test]
fn capabilities_are_those_of_the_connection() {
    served(&[], "plaintext = \"tls\"", "", |_, authority| {
        let mut clear = Client::new(TcpStream::connect(ADDRESS).unwrap(), Child::nobody(), 0);
        let offered = clear.listing("CAPA");
        for (line, there) in
            [("STLS", true), ("SASL SCRAM-SHA-256 CRAM-MD5", true), ("USER", false), ("UTF8", true)]
        {
            assert_eq!(offered.contains(&line.to_owned()), there, "{line}: {offered:?}");
        }
        assert!(clear.command("AUTH PLAIN").ends_with("use STLS first."));
        let plus = clear.command("AUTH SCRAM-SHA-256-PLUS");
        assert_eq!(plus, "-ERR SCRAM-SHA-256-PLUS is not offered on this connection.");
        for mut client in both(&authority.client()) {
            let before = client.capabilities();
            let sasl = "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 CRAM-MD5 PLAIN";
            for (line, there) in [("STLS", false), (sasl, true), ("USER", true), ("UTF8", true)] {
                assert_eq!(before.contains(&line.to_owned()), there, "{line}: {before:?}");
            }
            client.ok("LANG de");
            let message = encode(format!("\0ann\0{PASSWORD}").as_bytes());
            assert_eq!(client.command("AUTH PLAIN"), "+ ");
            assert!(client.command(&message).starts_with("+OK ann hat 3 Nachricht(en)"));
            assert_eq!(client.capabilities(), before);
            client.quit();
        }
    });
}

/// RFC 2595, section 4: what came in the clear is forgotten; RFC 6856, section 2.1, lets a server take STLS after UTF8.
#[test]
fn stls_comes_after_utf8_and_forgets_it() {
    served(&[], "", "", |_, authority| {
        let mut stream = TcpStream::connect(ADDRESS).unwrap();
        assert!(tls::plain_line(&mut stream).starts_with("+OK"));
        for (line, answer) in
            [("UTF8", "+OK UTF-8"), ("LANG de", "+OK de"), ("USER ann", "+OK Passwort"), ("STLS", "+OK TLS")]
        {
            std::io::Write::write_all(&mut stream, format!("{line}\r\n").as_bytes()).unwrap();
            let said = tls::plain_line(&mut stream);
            assert!(said.starts_with(answer), "{line}: {said}");
        }
        let plan = authority.client();
        let mut client = plan.shake(stream, &plan.config()).unwrap();
        assert_eq!(client.command("PASS x"), "-ERR USER comes first.", "the name and the language");
    });
}

/// RFC 4422, appendix A: the certificate says who it is, when the administrator takes such, also after a connection was resumed.
#[test]
fn a_certificate_says_who_it_is() {
    served(&[], "", "client_ca = \"/run/tls/ca.pem\"", |world, authority| {
        for user in ["ann", "nobody7"] {
            authority.issue(&format!("{user}-"), &[user]);
        }
        for versions in [ONE_TWO, ONE_THREE] {
            let ann = Plan { shown: Some("ann-"), versions, ..authority.client() };
            for mut client in both(&ann) {
                let before = client.capabilities();
                assert!(before.iter().any(|line| line.starts_with("SASL EXTERNAL SCRAM")), "{before:?}");
                // As bob: nobody acts for another.
                let other = client.command(&format!("AUTH EXTERNAL {}", encode(b"bob")));
                assert_eq!(other, "-ERR [AUTH] Password supplied for \"ann\" is incorrect.");
                assert_eq!(client.command("AUTH EXTERNAL"), "+ ");
                assert!(client.command("").starts_with("+OK ann has 3 message(s)"));
                assert_eq!(client.capabilities(), before);
                client.quit();
            }
            let config = ann.config();
            let mut resumed = Vec::new();
            for _ in 0..2 {
                let mut client = ann.shake(secure(), &config).unwrap();
                assert!(client.line().starts_with("+OK"));
                resumed.push(client.tls().handshake_kind() == Some(HandshakeKind::Resumed));
                assert!(client.command("AUTH EXTERNAL =").starts_with("+OK ann has 3"));
                client.quit();
            }
            assert_eq!(resumed, [false, true]);
        }
        world.log_line(&["refused: ", "user=ann mechanism=EXTERNAL reason=other-identity"]);
        world.log_line(&["login: ", "user=ann mechanism=EXTERNAL tls=TLSv1.3"]);
        let unknown = Plan { shown: Some("nobody7-"), ..authority.client() };
        for mut client in both(&unknown) {
            let refused = "-ERR [AUTH] Password supplied for \"nobody7\" is incorrect.";
            assert_eq!(client.command("AUTH EXTERNAL ="), refused);
        }
        for mut client in both(&authority.client()) {
            let answer = client.command("AUTH EXTERNAL =");
            assert_eq!(answer, "-ERR EXTERNAL is not offered on this connection.", "it showed none");
        }
    });
}

/// A client in its home; what it said.
fn run(world: &World, words: &[&str]) -> Result<String, String> {
    let home: &Path = world.directory();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(home).env("HOME", home).env("LC_ALL", "C");
    let output = common::run(&mut command);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// RFC 4616, RFC 2195, RFC 7677, RFC 4422: mpop over both ways to TLS, with passwords, secrets and a certificate.
#[test]
fn mpop_logs_in() {
    served(&["mpop"], "", "client_ca = \"/run/tls/ca.pem\"", |world, authority| {
        authority.issue("ann-", &["ann"]);
        let shown = "tls_cert_file /run/tls/ann-cert.pem\ntls_key_file /run/tls/ann-key.pem\n";
        for (mechanism, user, secret, more) in [
            ("plain", "ann", PASSWORD, ""),
            ("cram-md5", "bob", SECRET, ""),
            ("scram-sha-256", "bob", SECRET, ""),
            ("external", "ann", "", shown),
        ] {
            for (port, starttls) in [(110, "on"), (995, "off")] {
                let secret =
                    if secret.is_empty() { String::new() } else { format!("password \"{secret}\"\n") };
                let rc = format!(
                    "account default\nhost localhost\nport {port}\ntls on\ntls_starttls {starttls}\n\
                     tls_trust_file /run/tls/ca.pem\n{more}auth {mechanism}\nuser {user}\n{secret}keep on\n\
                     only_new off\nreceived_header off\ndelivery mda \"cat >got\"\n"
                );
                machine::write(&world.directory().join("rc"), rc.as_bytes(), 0o600);
                let words = ["mpop", "--quiet", "-C", "rc", "--uidls-file=uidls"];
                run(world, &words).unwrap_or_else(|said| panic!("{mechanism}, {port}: {said}"));
            }
            let by = mechanism.to_uppercase();
            world.log_line(&["login: ", &format!("user={user} mechanism={by} tls=TLSv1.3")]);
        }
    });
}

/// RFC 4616, RFC 2195: curl over both ways to TLS.
#[test]
fn curl_logs_in() {
    served(&["curl"], "plaintext = \"tls\"", "", |world, _| {
        for (mechanism, user, secret) in [("PLAIN", "ann", PASSWORD), ("CRAM-MD5", "bob", SECRET)] {
            for url in ["pop3://localhost/1", "pop3s://localhost/1"] {
                let (login, options) = (format!("{user}:{secret}"), format!("AUTH={mechanism}"));
                let ca = ["--ssl-reqd", "--cacert", "/run/tls/ca.pem"];
                let words = ["curl", "-sS", "-4", "--user", &login, "--login-options", &options, url];
                let got = run(world, &[&words[..], &ca].concat());
                let got = got.unwrap_or_else(|said| panic!("{mechanism}, {url}: {said}"));
                assert!(got.contains("Subject: "), "{got}");
            }
            world.log_line(&["login: ", &format!("user={user} mechanism={mechanism} tls=TLSv1.3")]);
        }
    });
}

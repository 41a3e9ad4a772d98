//! Real clients fetch real mail, however the server was started: what they get is what was stored, octet for octet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/clients/programs.rs"]
mod programs;
#[path = "support/clients/starters.rs"]
mod starters;

use common::client::{assert_same, text};
use common::mail::{self, Stored};
use common::site::ADDRESS;
use common::world::{QUICK_HASH, becomes, tcp_pair};
use common::{
    Child, Client, PASSWORD, PATIENCE, World, isolated_with_network, machine, programs_or_skip, run,
};
use programs::Program;
use starters::Starter;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The user with an APOP entry; ann has a UNIX password, and carol is who runs the clients.
const APOP_USER: &str = "bob";
const APOP_SECRET: &str = "tanstaaf";

/// A world whose port 110 is served, with the difficult maildrop in it.
struct Served {
    world: World,
    stored: Vec<Stored>,
    _server: Child,
}

impl Served {
    fn start(starter: &Starter, announce: &str) -> Self {
        let auth = format!("[auth]\nkey = \"/run/lib/keys/mailauth.key\"\n{announce}\n");
        // The user of the secrets database, who cannot log in.
        let world =
            World::setup().user_with_uid("pop", 20_998, "!").user("carol", QUICK_HASH).config(&auth).start();
        let (bytes, stored) = mail::difficult_mbox();
        world.maildrop("ann", &bytes);
        let _server = (starter.start)(&world);
        Self { world, stored, _server }
    }

    /// Makes the secrets database with an entry of bob's; what mailauth says to the administrator.
    fn add_apop(&self) -> String {
        let mailauth = |line: &str| {
            let script = format!("printf %s {APOP_SECRET} | \"$0\" --config \"$1\" {line}");
            let program = env!("CARGO_BIN_EXE_mailauth");
            let output = run(Command::new("sh").args(["-c", &script, program]).arg(&self.world.config));
            assert!(output.status.success(), "mailauth {line}: {}", text(&output.stderr));
            text(&output.stderr)
        };
        mailauth("init");
        mailauth(&format!("add {APOP_USER} --stdin"))
    }

    /// Whether greetings have a challenge, now or soon: a server that stays looks once a second.
    fn challenges(&self, soon: Duration) -> bool {
        let greeting =
            || Client::new(TcpStream::connect(ADDRESS).unwrap(), Child::nobody(), 0).greeting.clone();
        common::within(soon, || greeting().contains('<').then_some(())).is_some()
    }

    fn wire(&self, message: usize) -> Vec<u8> {
        mail::wire(&self.stored[message - 1])
    }

    fn count(&self) -> usize {
        self.stored.len()
    }

    /// One client fetches and deletes the difficult maildrop; what is wrong with what it got.
    fn cell(&self, program: &Program, home: &Path) -> Result<(), String> {
        let (user, secret) = if program.apop { (APOP_USER, APOP_SECRET) } else { ("ann", PASSWORD) };
        self.world.maildrop(user, &mail::difficult_mbox().0);
        let got = program.run(home, user, secret, self.count())?;
        self.compare(program, &got)?;
        // QUIT was answered, so that it is true already.
        let empty = self.world.stored(user).is_empty();
        empty.then_some(()).ok_or_else(|| "messages are left in the maildrop".to_owned())
    }

    fn compare(&self, program: &Program, got: &[Vec<u8>]) -> Result<(), String> {
        if got.len() != self.count() {
            return Err(format!("{} messages, not {}", got.len(), self.count()));
        }
        let wrong = got.iter().zip(&self.stored).position(|(got, stored)| *got != (program.makes)(stored));
        wrong.map_or(Ok(()), |index| {
            let (got, expected) = (&got[index], (program.makes)(&self.stored[index]));
            let at = got.iter().zip(&expected).take_while(|(one, other)| one == other).count();
            let show = |bytes: &[u8]| {
                bytes[at.saturating_sub(20)..bytes.len().min(at + 60)].escape_ascii().to_string()
            };
            Err(format!("message {} differs at {at}: {} is not {}", index + 1, show(got), show(&expected)))
        })
    }
}

/// The test with everything it needs, when that is installed.
fn served_by(starter: &Starter, announce: &str, programs: &[&str], test: impl FnOnce(&Served) + Send) {
    if !common::root_or_skip() || !programs_or_skip(&[starter.needs, programs].concat()) {
        return;
    }
    isolated_with_network(|| {
        assert!(TcpListener::bind(ADDRESS).is_ok(), "a network of its own has port 110 free");
        test(&Served::start(starter, announce));
    });
}

fn served(programs: &[&str], test: impl FnOnce(&Served) + Send) {
    served_by(&starters::INETD, "", programs, test);
}

/// Every client that is installed against one way to start the server.
fn matrix(starter: &Starter) {
    served_by(starter, "", &[], |served| {
        served.add_apop();
        assert!(served.challenges(PATIENCE));
        let mut failures = Vec::new();
        let installed = programs::ALL.iter().filter(|program| programs_or_skip(program.needs));
        for (number, program) in installed.enumerate() {
            match served.cell(program, &served.world.directory().join(format!("client{number}"))) {
                Ok(()) => eprintln!("{}: {} messages, all the same", program.name, served.count()),
                Err(why) => failures.push(format!("{}: {why}", program.name)),
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}

#[test]
fn all_clients_under_inetd() {
    matrix(&starters::INETD);
}

#[test]
fn all_clients_with_systemds_listening_socket() {
    matrix(&starters::SYSTEMD_LISTENING);
}

#[test]
fn all_clients_with_systemds_connections() {
    matrix(&starters::SYSTEMD_ACCEPT);
}

#[test]
fn all_clients_with_systemds_connections_as_from_inetd() {
    matrix(&starters::SYSTEMD_INETD);
}

#[test]
fn all_clients_standalone() {
    matrix(&starters::STANDALONE);
}

#[test]
fn a_unix_password_and_curls_defaults_get_in_when_nothing_is_announced() {
    // Design, section 3: curl takes APOP where there is a challenge, and does not fall back.
    for (announce, gets_in) in [("", false), ("announce = []", true)] {
        served_by(&starters::STANDALONE, announce, &["curl"], |served| {
            let said = served.add_apop();
            let hint = said.contains("announce = [] in [auth]");
            assert_eq!(hint, !gets_in, "mailauth add says how to arrange it: {said}");
            // That there is none is believed after three looks.
            let soon = if gets_in { Duration::from_secs(3) } else { PATIENCE };
            assert_eq!(served.challenges(soon), !gets_in, "the greeting has a challenge: {announce}");
            let user = format!("ann:{PASSWORD}");
            let output = run(Command::new("curl").args(["-sS", "--user", &user, "pop3://127.0.0.1/1"]));
            assert_eq!(output.status.success(), gets_in, "{announce}: {}", text(&output.stderr));
            if gets_in {
                assert_same("curl, message 1", &output.stdout, &served.wire(1));
            }
        });
    }
}

fn curl(arguments: &[&str]) -> Output {
    let user = format!("ann:{PASSWORD}");
    let output = run(Command::new("curl").args(["-sS", "--max-time", "30", "--user", &user]).args(arguments));
    assert!(output.status.success(), "curl {arguments:?}: {}", text(&output.stderr));
    output
}

#[test]
fn curl_gets_what_was_stored() {
    served(&["curl"], |served| {
        for message in 1..=served.count() {
            let got = curl(&[&format!("pop3://127.0.0.1/{message}")]).stdout;
            assert_same(&format!("curl, message {message}"), &got, &served.wire(message));
        }
        let listing = text(&curl(&["pop3://127.0.0.1/"]).stdout);
        let expected: String = (1..=served.count())
            .map(|message| format!("{message} {}\r\n", served.wire(message).len()))
            .collect();
        assert_eq!(listing, expected, "RFC 1939, section 5: LIST counts the octets that RETR sends");
    });
}

#[test]
fn curl_deletes_one_message() {
    served(&["curl"], |served| {
        // -I: no multi-line answer is to be waited for.
        curl(&["-X", "DELE", "-I", "pop3://127.0.0.1/2"]);
        let (bytes, _) = mail::difficult_mbox();
        let second = mail::mbox(&served.stored[..1]).len();
        let third = mail::mbox(&served.stored[..2]).len();
        // Design, section 4: the last survivor ends in an empty line.
        let rest = [&bytes[..second], &bytes[third..], b"\n\n"].concat();
        let mailbox = served.world.mailbox("ann");
        becomes(&mailbox, &rest);
        assert_same("the mailbox without message 2", &fs::read(mailbox).unwrap(), &rest);
    });
}

#[test]
fn python_gets_what_was_stored_and_the_counts_agree() {
    served(&["python3"], |served| {
        let script = "import poplib, sys\n\
            poplib._MAXLINE = 1 << 22\n\
            out = sys.argv[1]\n\
            p = poplib.POP3('127.0.0.1', timeout=30)\n\
            p.user('ann'); p.pass_(sys.argv[2])\n\
            count, octets = p.stat()\n\
            sizes = [int(line.split()[1]) for line in p.list()[1]]\n\
            uids = [line.split()[1] for line in p.uidl()[1]]\n\
            assert len(sizes) == len(set(uids)) == count, (sizes, uids, count)\n\
            assert sum(sizes) == octets, (sizes, octets)\n\
            for n in range(1, count + 1):\n\
            \x20   reply, lines, size = p.retr(n)\n\
            \x20   body = b''.join(line + b'\\r\\n' for line in lines)\n\
            \x20   assert len(body) == sizes[n - 1] == int(p.list(n).split()[2]), (n, len(body), sizes)\n\
            \x20   open(f'{out}/{n}', 'wb').write(body)\n\
            for n in range(2, count + 1): p.dele(n)\n\
            p.rset()\n\
            for n in range(1, count, 2): p.dele(n)\n\
            assert p.stat()[0] == count - count // 2, p.stat()\n\
            p.quit()\n";
        let out = served.world.directory().join("python");
        machine::make_directory(&out, 0o755);
        let output = run(Command::new("python3").args(["-c", script]).arg(&out).arg(PASSWORD));
        assert!(output.status.success(), "{}", text(&output.stderr));
        for message in 1..=served.count() {
            let got = fs::read(out.join(message.to_string())).unwrap();
            assert_same(&format!("poplib, message {message}"), &got, &served.wire(message));
        }
        // Deleted: 1, 3, 5, 7 of nine; the rest stays byte for byte.
        let left: Vec<&Stored> = served.stored[..8].iter().skip(1).step_by(2).collect();
        let last = [mail::ENVELOPE.as_bytes(), b"\n", &served.stored[8]].concat();
        // Design, section 4: the last survivor, which had no line end, ends in an empty line.
        let expected = [mail::mbox(&left), last, b"\n\n".to_vec()].concat();
        assert_same("the mailbox", &served.world.stored("ann"), &expected);
    });
}

#[test]
fn fetchmail_keeps_what_it_is_told_to_keep() {
    served(&["fetchmail"], |served| {
        let before = served.world.stored("ann");
        let fetchmail = programs::ALL.iter().find(|program| program.name == "fetchmail").unwrap();
        let got = fetchmail.keep(&served.world.directory().join("keep"), "ann", PASSWORD).unwrap();
        served.compare(fetchmail, &got).unwrap();
        assert_same("a maildrop that is kept", &served.world.stored("ann"), &before);
        let home = served.world.directory().join("delete");
        let got = fetchmail.run(&home, "ann", PASSWORD, served.count()).unwrap();
        served.compare(fetchmail, &got).unwrap();
        assert!(becomes(&served.world.mailbox("ann"), b""), "all were deleted");
        no_locks(&served.world.spool);
    });
}

fn no_locks(spool: &Path) {
    let names: Vec<_> = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["ann"], "nothing but the mailbox stays behind");
}

#[test]
fn inetd_serves_many_clients_one_after_the_other_and_side_by_side() {
    served(&["curl"], |served| {
        let stop: Vec<_> = (0..4)
            .map(|_| {
                let mut command = Command::new("curl");
                command.args(["-sS", "--max-time", "30", "pop3://127.0.0.1/", "-X", "CAPA", "-I"]);
                command
                    .args(["--user", &format!("bob:{PASSWORD}x")])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                Child::start(command)
            })
            .collect();
        // Failing logins beside us change nothing for us.
        for _ in 0..5 {
            let got = curl(&["pop3://127.0.0.1/1"]).stdout;
            assert_same("curl, message 1", &got, &served.wire(1));
        }
        for mut child in stop {
            assert!(child.wait(PATIENCE).is_some(), "a refused client ends");
        }
    });
}

/// Whether `SO_DEBUG` is set, an option that nix has no name for.
fn is_marked(socket: &impl AsRawFd) -> bool {
    let (mut value, mut length): (libc::c_int, libc::socklen_t) = (0, 4);
    // SAFETY: both pointers are to locals that outlive the call, and `length` is the size of the first.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DEBUG,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    assert_eq!(status, 0, "{}", std::io::Error::last_os_error());
    value != 0
}

#[test]
fn debugging_marks_the_clients_socket() {
    common::isolated(|| {
        for (options, marked) in [(&["-d"][..], true), (&[], false)] {
            let world = World::start();
            let (ours, theirs) = tcp_pair("127.0.0.1:0");
            let kept = theirs.try_clone().unwrap();
            let server = Child::start(world.command(&[], options, theirs.into()));
            let client = Client::new(ours, server, 0);
            assert_eq!(is_marked(&kept), marked, "{options:?}");
            drop(kept);
            client.server_ends();
        }
    });
}

/// One way to start the server, with options of the original's.
fn with_the_originals_options(starter: &Starter) {
    if !common::root_or_skip() || !programs_or_skip(starter.needs) {
        return;
    }
    isolated_with_network(|| {
        // A place that is only root's: a trace is refused where others could have made it.
        let trace = Path::new("/run/lib/trace");
        // The time limit holds for the login too.
        let world = World::setup().options(&["-s", "-T", "6", "-t", "/run/lib/trace"]).start();
        let stored = world.small_maildrop(2);
        let _server = (starter.start)(&world);
        let connect = || Client::new(TcpStream::connect(ADDRESS).unwrap(), Child::nobody(), 0);
        let mut client = connect();
        client.log_in("ann");
        assert_eq!(client.listing("XTND XLST Subject"), ["1 Subject: number 1", "2 Subject: number 2"]);
        client.ok("DELE 1");
        client.quit();
        let (deleted, left) = (mail::wire(&stored[0]).len(), mail::wire(&stored[1]).len());
        let line = world.log_line(&["Stats: "]);
        assert!(line.trim_end().ends_with(&format!("Stats: ann 1 {deleted} 1 {left}")), "-s: {line}");
        let traced = fs::read_to_string(trace).unwrap();
        assert!(traced.contains("XTND XLST Subject"), "-t: {traced}");
        let mut idle = connect();
        idle.log_in("ann");
        // RFC 1939, section 3: closed without a response.
        assert_eq!(text(&idle.rest()), "", "-T");
    });
}

#[test]
fn the_originals_options_under_inetd() {
    with_the_originals_options(&starters::INETD);
}

#[test]
fn the_originals_options_with_systemds_listening_socket() {
    with_the_originals_options(&starters::SYSTEMD_LISTENING);
}

#[test]
fn the_originals_options_with_systemds_connections() {
    with_the_originals_options(&starters::SYSTEMD_ACCEPT);
}

#[test]
fn the_originals_options_standalone() {
    with_the_originals_options(&starters::STANDALONE);
}

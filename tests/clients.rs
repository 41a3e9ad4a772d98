//! Real clients fetch real mail through a real inetd: what they get is what was stored, octet for octet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::client::{assert_same, text};
use common::mail::{self, Stored};
use common::world::{becomes, uid};
use common::{Child, PASSWORD, World, find_program, isolated_with_network, machine, programs_or_skip, run};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A world whose port 110 inetd serves, with the difficult maildrop in it.
struct Served {
    world: World,
    stored: Vec<Stored>,
    _inetd: Child,
}

impl Served {
    fn start() -> Self {
        let world = World::setup().options(&[]).start();
        let (bytes, stored) = mail::difficult_mbox();
        world.maildrop("ann", &bytes);
        let line = format!(
            "127.0.0.1:pop3 stream tcp4 nowait.1000 root {} pop3d --config {}\n",
            world.program.display(),
            world.config.display()
        );
        let config = world.directory().join("inetd.conf");
        machine::write(&config, line.as_bytes(), 0o644);
        let mut command = Command::new(find_program("inetd").unwrap());
        command.arg("-i").arg(&config).current_dir("/").stdin(Stdio::null());
        let inetd = Child::start(command);
        common::eventually("inetd listens on port 110", || TcpStream::connect("127.0.0.1:110").ok());
        Self { world, stored, _inetd: inetd }
    }

    fn wire(&self, message: usize) -> Vec<u8> {
        mail::wire(&self.stored[message - 1])
    }

    fn count(&self) -> usize {
        self.stored.len()
    }
}

/// The test with everything it needs, when that is installed.
fn served(programs: &[&str], test: impl FnOnce(&Served) + Send) {
    if !common::root_or_skip() || !programs_or_skip(&[&["inetd"], programs].concat()) {
        return;
    }
    isolated_with_network(|| {
        assert!(TcpListener::bind("127.0.0.1:110").is_ok(), "a network of its own has port 110 free");
        test(&Served::start());
    });
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

/// Fetchmail with its own configuration, run as an ordinary user; each message becomes a file.
struct Fetchmail {
    home: PathBuf,
}

impl Fetchmail {
    fn new(world: &World) -> Self {
        let home = world.directory().join("fetchmail");
        machine::make_directory(&home, 0o700);
        machine::make_directory(&home.join("got"), 0o700);
        // Each message in a file of its own, in the order of arrival.
        let script = "#!/bin/sh\ncd \"$1\" && n=$(ls | wc -l) && cat > $((n + 1))\n";
        machine::write(&world.directory().join("mda"), script.as_bytes(), 0o755);
        let rc = format!(
            "set invisible\nset no bouncemail\n\
             poll 127.0.0.1 protocol pop3 port 110 auth password no dns timeout 20\n\
             \x20 username \"ann\" password \"{PASSWORD}\" is \"bob\" here\n\
             \x20 fetchall no rewrite pass8bits sslproto '' fetchlimit 0 mda \"{} {}\"\n",
            world.directory().join("mda").display(),
            home.join("got").display()
        );
        machine::write(&home.join("rc"), rc.as_bytes(), 0o600);
        let fetchmail = Self { home };
        fetchmail.give_to(uid("bob"));
        fetchmail
    }

    fn give_to(&self, user: u32) {
        for path in [self.home.clone(), self.home.join("got"), self.home.join("rc")] {
            chown(path, Some(user), Some(user)).unwrap();
        }
    }

    /// Runs it once; what it got, in order.
    fn fetch(&self, keep: bool) -> Vec<Vec<u8>> {
        for old in fs::read_dir(self.home.join("got")).unwrap() {
            fs::remove_file(old.unwrap().path()).unwrap();
        }
        let mut command = Command::new("timeout");
        command.args(["-k", "1", "60", "fetchmail", "--nosyslog", "--nodetach", "-v"]);
        command.arg(if keep { "--keep" } else { "--nokeep" }).arg("-f").arg(self.home.join("rc"));
        command.arg("--pidfile").arg(self.home.join("pid")).arg("-i").arg(self.home.join("ids"));
        command.env("HOME", &self.home).env("FETCHMAILHOME", &self.home).env("LC_ALL", "C").current_dir("/");
        command.uid(uid("bob")).gid(uid("bob")).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "fetchmail: {}\n{}", text(&output.stdout), text(&output.stderr));
        let count = fs::read_dir(self.home.join("got")).unwrap().count();
        (1..=count).map(|number| fs::read(self.home.join("got").join(number.to_string())).unwrap()).collect()
    }
}

/// What fetchmail gives its mail delivery agent: local line ends. It drops a CR in front of the LF, so that
/// stored CRLF ends come out as LF too.
fn delivered(stored: &[u8]) -> Vec<u8> {
    mail::wire(stored)
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect::<Vec<_>>()
        .join(&b'\n')
}

/// Fetchmail 6.4 tears lines that are longer than its buffer of 8192 octets: it writes a NUL, an octet of
/// whatever its memory holds, and a line end at each seam. No message here has a NUL of its own.
fn mended(message: &[u8]) -> Vec<u8> {
    let mut pieces = message.split(|&byte| byte == 0);
    let first = pieces.next().unwrap_or_default().to_vec();
    pieces.fold(first, |whole, piece| [&whole[..], &piece[piece.len().min(2)..]].concat())
}

#[test]
fn fetchmail_keeps_and_then_empties_the_maildrop() {
    served(&["fetchmail"], |served| {
        let before = served.world.stored("ann");
        let fetchmail = Fetchmail::new(&served.world);
        for keep in [true, false] {
            let got = fetchmail.fetch(keep);
            assert_eq!(got.len(), served.count(), "every message once (keep: {keep})");
            for (index, message) in got.iter().enumerate() {
                let what = format!("fetchmail, message {}, keep: {keep}", index + 1);
                assert_same(&what, &mended(message), &delivered(&served.stored[index]));
            }
            if keep {
                assert_same("a maildrop that is kept", &served.world.stored("ann"), &before);
            }
        }
        let mailbox = served.world.mailbox("ann");
        assert!(becomes(&mailbox, b""), "all were deleted: {:?}", fs::metadata(&mailbox));
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
            assert!(child.wait(common::PATIENCE).is_some(), "a refused client ends");
        }
    });
}

//! Real clients, one function each: each fetches all messages of a maildrop and deletes them.

use super::common::client::text;
use super::common::world::uid;
use super::common::{find_program, machine, mail};
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A client as it is set up for a test.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [&'static str],
    /// By APOP, or by USER and PASS.
    pub(crate) apop: bool,
    fetch: fn(&Desk<'_>) -> Result<Vec<Vec<u8>>, String>,
    /// What it makes of a message as it is stored.
    pub(crate) makes: fn(&[u8]) -> Vec<u8>,
}

/// Debian's perl-base has no Net::POP3; what has it has `perlbug`.
const PERL: &[&str] = &["perl", "perlbug"];

pub(crate) const ALL: &[Program] = &[
    Program { name: "curl, APOP", needs: &["curl"], apop: true, fetch: curl, makes: mail::wire },
    Program { name: "fetchmail", needs: &["fetchmail"], apop: false, fetch: fetchmail, makes: local },
    Program {
        name: "fetchmail, proto apop",
        needs: &["fetchmail"],
        apop: true,
        fetch: fetchmail,
        makes: local,
    },
    Program { name: "mpop", needs: &["mpop"], apop: false, fetch: mpop, makes: local },
    Program { name: "mpop, APOP", needs: &["mpop"], apop: true, fetch: mpop, makes: local },
    Program { name: "getmail", needs: &["getmail"], apop: false, fetch: getmail, makes: local },
    Program { name: "poplib", needs: &["python3"], apop: false, fetch: poplib, makes: mail::wire },
    Program { name: "poplib, APOP", needs: &["python3"], apop: true, fetch: poplib, makes: mail::wire },
    Program { name: "Net::POP3", needs: PERL, apop: false, fetch: net_pop3, makes: local },
    Program { name: "Net::POP3, APOP", needs: PERL, apop: true, fetch: net_pop3, makes: local },
];

/// Who works at a client: an ordinary user of the machine, with a home for this one run.
pub(crate) struct Desk<'a> {
    home: PathBuf,
    /// The user of the maildrop.
    user: &'a str,
    secret: &'a str,
    apop: bool,
    keep: bool,
    count: usize,
}

impl Program {
    /// Runs it in a new directory to fetch and delete; what it fetched, in order, or what went wrong.
    pub(crate) fn run(
        &self,
        home: &Path,
        user: &str,
        secret: &str,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, String> {
        let desk = Desk { home: home.to_owned(), user, secret, apop: self.apop, keep: false, count };
        self.work(&desk)
    }

    /// The same, but nothing is deleted; fetchmail alone knows this here.
    pub(crate) fn keep(&self, home: &Path, user: &str, secret: &str) -> Result<Vec<Vec<u8>>, String> {
        self.work(&Desk { home: home.to_owned(), user, secret, apop: self.apop, keep: true, count: 0 })
    }

    fn work(&self, desk: &Desk<'_>) -> Result<Vec<Vec<u8>>, String> {
        machine::make_directory(&desk.home, 0o700);
        machine::make_directory(&desk.got(), 0o700);
        // Each message in a file of its own, in the order of arrival.
        desk.file("mda", "#!/bin/sh\ncd \"$1\" && n=$(ls | wc -l) && cat > $((n + 1))\n", 0o700);
        (self.fetch)(desk)
    }
}

impl Desk<'_> {
    fn got(&self) -> PathBuf {
        self.home.join("got")
    }

    fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.home.join(name);
        machine::write(&path, content.as_bytes(), mode);
        path
    }

    /// The delivery agent as a command line.
    fn mda(&self) -> String {
        format!("{} {}", self.home.join("mda").display(), self.got().display())
    }

    fn choose<'a>(&self, apop: &'a str, pass: &'a str) -> &'a str {
        if self.apop { apop } else { pass }
    }

    /// Runs a client as an ordinary user; it must end well.
    fn run(&self, words: &[&str]) -> Result<(), String> {
        let owner = uid("carol");
        for path in [self.home.clone(), self.got()].into_iter().chain(entries(&self.home)) {
            chown(path, Some(owner), Some(owner)).unwrap();
        }
        let mut command = Command::new("timeout");
        command.args(["-k", "1", "60"]).args(words).current_dir(&self.home).stdin(Stdio::null());
        command.env("HOME", &self.home).env("FETCHMAILHOME", &self.home).env("LC_ALL", "C");
        command.uid(owner).gid(owner);
        let output = command.output().unwrap();
        let said =
            || format!("{words:?}: {}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
        output.status.success().then_some(()).ok_or_else(said)
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        let count = fs::read_dir(self.got()).unwrap().count();
        (1..=count).map(|number| fs::read(self.got().join(number.to_string())).unwrap_or_default()).collect()
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// What most clients deliver: local line ends. They drop a CR in front of the LF, so that stored CRLF ends come
/// out as LF too.
pub(crate) fn local(stored: &[u8]) -> Vec<u8> {
    let wire = mail::wire(stored);
    let lines = wire.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.collect::<Vec<_>>().join(&b'\n')
}

/// One session each for all URLs of one command. It takes APOP by itself when the greeting has a challenge.
fn curl(desk: &Desk<'_>) -> Result<Vec<Vec<u8>>, String> {
    let user = format!("{}:{}", desk.user, desk.secret);
    let (all, files) =
        (format!("pop3://127.0.0.1/[1-{}]", desk.count), format!("{}/#1", desk.got().display()));
    desk.run(&["curl", "-sS", "--fail-early", "--user", &user, &all, "-o", &files])?;
    // -I: no multi-line answer is to be waited for.
    desk.run(&["curl", "-sS", "--fail-early", "--user", &user, "-X", "DELE", "-I", &all])?;
    Ok(desk.messages())
}

/// It wants `sslproto ''` on a server without TLS.
fn fetchmail(desk: &Desk<'_>) -> Result<Vec<Vec<u8>>, String> {
    let protocol = desk.choose("apop", "pop3 auth password");
    let rc = format!(
        "set invisible\nset no bouncemail\n\
         poll 127.0.0.1 protocol {protocol} port 110 no dns timeout 20\n\
         \x20 username \"{}\" password \"{}\" is \"carol\" here\n\
         \x20 fetchall no rewrite pass8bits sslproto '' fetchlimit 0 mda \"{}\"\n",
        desk.user,
        desk.secret,
        desk.mda()
    );
    desk.file("rc", &rc, 0o600);
    let keep = if desk.keep { "--keep" } else { "--nokeep" };
    desk.run(&["fetchmail", "--nosyslog", "--nodetach", keep, "-f", "rc", "--pidfile", "pid", "-i", "ids"])?;
    Ok(desk.messages().iter().map(|message| mended(message)).collect())
}

/// Fetchmail 6.4 tears lines that are longer than its buffer of 8192 octets: it writes a NUL, an octet of
/// whatever its memory holds, and a line end at each seam. No message here has a NUL of its own.
fn mended(message: &[u8]) -> Vec<u8> {
    let mut pieces = message.split(|&byte| byte == 0);
    let first = pieces.next().unwrap_or_default().to_vec();
    pieces.fold(first, |whole, piece| [&whole[..], &piece[piece.len().min(2)..]].concat())
}

/// It would add a Received line of its own.
fn mpop(desk: &Desk<'_>) -> Result<Vec<Vec<u8>>, String> {
    let rc = format!(
        "account default\nhost 127.0.0.1\nport 110\ntls off\nauth {}\nuser {}\npassword \"{}\"\n\
         keep off\nonly_new off\nreceived_header off\ndelivery mda {}\n",
        desk.choose("apop", "user"),
        desk.user,
        desk.secret,
        desk.mda()
    );
    desk.file("rc", &rc, 0o600);
    desk.run(&["mpop", "--quiet", "-C", "rc", "--uidls-file=uidls"])?;
    Ok(desk.messages())
}

/// It adds Return-Path, would add Delivered-To and Received, and refuses a line of 1 MiB; Debian's Python runs it.
fn getmail(desk: &Desk<'_>) -> Result<Vec<Vec<u8>>, String> {
    let rc = format!(
        "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = 110\nusername = {}\npassword = {}\n\
         use_apop = {}\n\
         [destination]\ntype = MDA_external\npath = {}\narguments = (\"{}\",)\n\
         [options]\ndelete = true\ndelivered_to = false\nreceived = false\n",
        desk.user,
        desk.secret,
        desk.choose("true", "false"),
        desk.home.join("mda").display(),
        desk.got().display()
    );
    desk.file("rc", &rc, 0o600);
    let script = "import poplib, runpy, sys, getmailcore._retrieverbases\n\
        poplib._MAXLINE = 1 << 22\n\
        sys.argv = sys.argv[1:]\n\
        runpy.run_path(sys.argv[0], run_name='__main__')\n";
    let program = find_program("getmail").unwrap().display().to_string();
    desk.run(&[
        "/usr/bin/python3",
        "-c",
        script,
        &program,
        "--quiet",
        "--getmaildir",
        &desk.home.display().to_string(),
        "--rcfile",
        "rc",
    ])?;
    let first = b"Return-Path: <unknown>\n";
    Ok(desk
        .messages()
        .iter()
        .map(|message| message.strip_prefix(first).unwrap_or(message).to_vec())
        .collect())
}

/// It refuses lines over 2048 octets unless it is told otherwise.
fn poplib(desk: &Desk<'_>) -> Result<Vec<Vec<u8>>, String> {
    let script = "import poplib, sys\n\
        poplib._MAXLINE = 1 << 22\n\
        user, secret, apop = sys.argv[1:]\n\
        p = poplib.POP3('127.0.0.1', timeout=30)\n\
        if apop == 'apop': p.apop(user, secret)\n\
        else: p.user(user); p.pass_(secret)\n\
        count, octets = p.stat()\n\
        sizes = [int(line.split()[1]) for line in p.list()[1]]\n\
        uids = [line.split()[1] for line in p.uidl()[1]]\n\
        assert len(sizes) == len(set(uids)) == count, (sizes, uids, count)\n\
        assert sum(sizes) == octets, (sizes, octets)\n\
        for n in range(1, count + 1):\n\
        \x20   body = b''.join(line + b'\\r\\n' for line in p.retr(n)[1])\n\
        \x20   assert len(body) == sizes[n - 1], (n, len(body), sizes)\n\
        \x20   open(f'got/{n}', 'wb').write(body)\n\
        \x20   p.dele(n)\n\
        p.quit()\n";
    desk.run(&["python3", "-c", script, desk.user, desk.secret, desk.choose("apop", "pass")])?;
    Ok(desk.messages())
}

/// It says whether it is in by the number of messages.
fn net_pop3(desk: &Desk<'_>) -> Result<Vec<Vec<u8>>, String> {
    let script = "use strict; use Net::POP3; my ($user, $secret, $how) = @ARGV;\n\
        my $p = Net::POP3->new('127.0.0.1', Timeout => 30) or die \"no connection: $@\";\n\
        my $count = $how eq 'apop' ? $p->apop($user, $secret) : $p->login($user, $secret);\n\
        defined $count or die 'no login: ' . $p->message;\n\
        for my $n (1 .. $count) {\n\
        \x20 my $lines = $p->get($n) or die \"message $n: \" . $p->message;\n\
        \x20 open my $file, '>:raw', \"got/$n\" or die $!; print $file @$lines; close $file or die $!;\n\
        \x20 $p->delete($n) or die $p->message;\n\
        }\n\
        $p->quit or die $p->message;\n";
    desk.run(&["perl", "-e", script, desk.user, desk.secret, desk.choose("apop", "pass")])?;
    Ok(desk.messages())
}

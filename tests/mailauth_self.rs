//! The own secret by a program that is set-uid `pop`: what an ordinary user can do with it, and what not, whatever it is started with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/said.rs"]
mod said;
#[path = "support/terminal.rs"]
mod terminal;

use common::machine::Mounts;
use common::world::uid;
use common::{World, find_program, isolated, programs_or_skip};
use md5::{Digest, Md5};
use said::{Said, run};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const MAILAUTH: &str = env!("CARGO_BIN_EXE_mailauth");

/// The user `pop` of a [`World`].
const POP: u32 = 20_998;

const SECRET: &str = "tanstaaf";

const AUTH: &str = "/run/lib/poptools/auth";

/// A machine with ann, bob, pop, a database, the default configuration file, and a program that is set-uid pop.
struct Site {
    world: World,
    // Undone after the world's, which lie on top.
    _etc: Mounts,
    _copy: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let copy = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").args(["-a", "/etc"]).arg(copy.path()).status().unwrap();
        assert!(copied.success());
        let mut etc = Mounts::default();
        etc.bind(&copy.path().join("etc"), Path::new("/etc"));
        let auth = "[auth]\nfailure_delay = 0\nkey = \"/run/lib/keys/mailauth.key\"\n";
        let world = World::setup().user_with_uid("pop", POP, "!").config(auth).start();
        let _ = fs::create_dir("/etc/poptools");
        fs::copy(&world.config, "/etc/poptools/pop3d.toml").unwrap();
        let site = Self { world, _etc: etc, _copy: copy };
        let installed =
            Command::new("install").args(["-m", "755", MAILAUTH]).arg(site.program()).status().unwrap();
        assert!(installed.success());
        chown(site.program(), Some(POP), Some(POP)).unwrap();
        fs::set_permissions(site.program(), fs::Permissions::from_mode(0o4755)).unwrap();
        site.root("init", "").well();
        site
    }

    fn program(&self) -> PathBuf {
        self.world.directory().join("mailauth")
    }

    fn root(&self, line: &str, input: &str) -> Said {
        let mut command = Command::new(self.program());
        command.args(line.split_whitespace());
        run(command, input)
    }

    fn list(&self) -> String {
        // Without the time of last use.
        let fields = |line: &str| line.split('\t').take(5).collect::<Vec<_>>().join("\t") + "\n";
        self.root("list", "").well().lines().map(fields).collect()
    }

    fn run_as(&self, user: &str, line: &str) -> Said {
        let mut command = Command::new(self.program());
        command.args(line.split_whitespace()).uid(uid(user)).gid(uid(user)).current_dir("/");
        run(command, "")
    }

    /// Runs a line of the shell on a terminal, in which `$M` is the program; status and what the terminal showed.
    fn shell(&self, user: &str, line: &str, talk: &[(&str, &str)]) -> (i32, String) {
        let mut command = terminal::on_a_terminal(&find_program("setpriv").unwrap(), talk);
        command.args(becoming(user)).args(["/bin/sh", "-c", line]).env("M", self.program()).current_dir("/");
        let said = run(command, "");
        (said.status, said.out + &said.err)
    }

    /// The program without arguments.
    fn own(&self, user: &str, talk: &[(&str, &str)]) -> (i32, String) {
        self.shell(user, "exec $M", talk)
    }

    #[track_caller]
    fn add(&self, user: &str, secret: &str) {
        let (status, shown) = self.own(user, &[("New password:", secret), ("Retype new password:", secret)]);
        assert!(status == 0 && !shown.contains("Old password"), "{status} {shown}");
    }

    fn apop(&self, user: &str, secret: &str) -> bool {
        let mut client = self.world.connect();
        let at = client.greeting.find('<').expect("a challenge in the greeting");
        let digest = Md5::new().chain_update(&client.greeting[at..]).chain_update(secret).finalize();
        let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        client.command(&format!("APOP {user} {hex}")).starts_with("+OK")
    }
}

/// The options of setpriv(1): the terminal is made by root, since a container's may be for root alone.
fn becoming(user: &str) -> [String; 3] {
    let id = uid(user);
    [format!("--reuid={id}"), format!("--regid={id}"), "--clear-groups".to_owned()]
}

fn change<'a>(old: &'a str, new: &'a str) -> [(&'static str, &'a str); 3] {
    [("Old password:", old), ("New password:", new), ("Retype new password:", new)]
}

fn ready() -> bool {
    programs_or_skip(&["python3", "setpriv"])
}

/// mailauth(8): anybody may add or change the own entry, after the old secret when there is one.
#[test]
fn users_add_and_change_their_own_secrets() {
    if !ready() {
        return;
    }
    isolated(|| {
        let site = Site::new();
        site.add("ann", SECRET);
        assert_eq!(site.list(), "ann\tAPOP\t\tno\tno\n");
        assert!(site.apop("ann", SECRET));
        let (status, shown) = site.own("ann", &[("Old password:", "wrong")]);
        assert!(
            status == 1 && shown.contains("not the old secret") && !shown.contains("wrong"),
            "{status} {shown}"
        );
        let (status, shown) = site.own("ann", &change(SECRET, "another one"));
        assert!(status == 0 && !shown.contains("another one"), "{status} {shown}");
        assert!(site.apop("ann", "another one") && !site.apop("ann", SECRET));
        let (status, shown) = site.own("ann", &change("another one", "ann"));
        assert!(status == 65 && shown.contains("at least 6 octets"), "{status} {shown}");
        let (status, shown) =
            site.shell("ann", "exec $M passwd --generate", &[("Old password:", "another one")]);
        let made = shown.lines().last().unwrap_or_default();
        assert!(status == 0 && made.len() == 24 && site.apop("ann", made), "{status} {shown}");
        for name in ["mailauth.db", "announce", "attempts-21001"] {
            let found = fs::metadata(format!("{AUTH}/{name}")).unwrap();
            assert_eq!((found.uid(), found.mode() & 0o777), (POP, 0o600), "{name}");
        }
    });
}

/// An application password is the old secret of its own entry; the type stays.
#[test]
fn an_entry_keeps_its_type() {
    if !ready() {
        return;
    }
    isolated(|| {
        let site = Site::new();
        site.root("add ann --type POP --label phone --stdin", "for the phone").well();
        site.root("add ann --type POP --label tablet --stdin", "for the tablet").well();
        let (status, shown) = site.own("ann", &change("for the tablet", "for the new tablet"));
        assert_eq!(status, 0, "{shown}");
        assert_eq!(site.list(), "ann\tPOP\tphone\tno\tno\nann\tPOP\ttablet\tno\tno\n");
        for (password, good) in
            [("for the phone", true), ("for the tablet", false), ("for the new tablet", true)]
        {
            let mut client = site.world.connect();
            client.ok("USER ann");
            assert_eq!(client.command(&format!("PASS {password}")).starts_with("+OK"), good, "{password}");
        }
    });
}

/// Issue "mailauth": an ordinary user may only change or add the own entry, and reads nothing of the database.
#[test]
fn nobody_touches_what_is_not_the_own() {
    if !ready() {
        return;
    }
    isolated(|| {
        let site = Site::new();
        site.root("add bob --stdin", "secret of bob").well();
        let config = site.world.directory().join("own.toml");
        fs::write(&config, "state_dir = \"/tmp\"\n").unwrap();
        for line in [
            "list",
            "-list",
            "-user bob",
            "-user ann",
            "-delete bob",
            "-delete ann",
            "-init",
            "init --clear",
            "-convert",
            "-convert /etc/shadow",
            "import /etc/shadow",
            "add bob",
            "passwd bob",
            "export",
            "rekey",
            "remove bob",
            &format!("--config {}", config.display()),
            &format!("--config {} list", config.display()),
        ] {
            site.run_as("ann", line).refused(77, "only root and pop may do that");
        }
        assert!(site.run_as("ann", "--help").well().contains("Change your own secret"));
        // Whatever name the environment has, the entry is that of the user id.
        let line = "LOGNAME=bob USER=bob HOME=/home/bob SUDO_USER=bob exec $M";
        let (status, shown) =
            site.shell("ann", line, &[("New password:", SECRET), ("Retype new password:", SECRET)]);
        assert_eq!(status, 0, "{shown}");
        assert_eq!(site.list(), "ann\tAPOP\t\tno\tno\nbob\tAPOP\t\tno\tno\n");
        assert!(site.apop("bob", "secret of bob") && site.apop("ann", SECRET));
        for file in ["mailauth.db", "attempts-21001"] {
            let mut command = Command::new("cat");
            command.arg(format!("{AUTH}/{file}")).uid(uid("ann")).gid(uid("ann"));
            assert_eq!(run(command, "").status, 1, "{file}");
        }
        site.root("add ann --type POP --stdin", "for the phone").well();
        // Who is no user of the system, or cannot log in, has no entry to add.
        let mut command = Command::new(site.program());
        command.uid(45_678).gid(45_678).current_dir("/");
        run(command, "").refused(67, "does not know who you are");
    });
}

/// Issue "mailauth": environment, descriptors, mask and signals are put right first.
#[test]
fn nothing_that_the_caller_chose_has_an_effect() {
    if !ready() {
        return;
    }
    isolated(|| {
        let site = Site::new();
        site.add("ann", SECRET);
        let mut old = SECRET.to_owned();
        let closed_to_all = site.world.directory().join("closed");
        fs::create_dir(&closed_to_all).unwrap();
        chown(&closed_to_all, Some(uid("ann")), None).unwrap();
        let in_closed = format!("cd {} && chmod 0 . && exec $M", closed_to_all.display());
        for (number, line) in [
            "exec env LD_PRELOAD=/tmp/x.so LD_LIBRARY_PATH=/tmp TMPDIR=/nowhere SQLITE_TMPDIR=/nowhere IFS=/ PATH=. $M",
            "exec env RUST_BACKTRACE=full RUST_LOG=trace RUST_MIN_STACK=1 MALLOC_CHECK_=3 MALLOC_PERTURB_=9 GCONV_PATH=/tmp $M",
            "exec env TZ=:/etc/shadow TZDIR=/tmp LC_ALL=../../tmp LANG=x/y NLSPATH=/tmp/%N TERMINFO=/tmp TERM=/tmp $M",
            "exec env -i $M",
            "$M <&- >&- 2>&-; exit $?",
            "exec $M 3</etc/passwd 4>/dev/null 9</",
            "umask 0; exec $M",
            "umask 777; exec $M",
            "trap '' INT QUIT TERM HUP TSTP CHLD PIPE USR1 XFSZ; exec $M",
            "ulimit -S -n 5; ulimit -S -f 0; exec $M",
            "ulimit -n 16; ulimit -c unlimited; exec $M",
            "exec -a '' $M",
            &in_closed,
        ]
        .into_iter()
        .enumerate()
        {
            let new = format!("secret number {number}");
            let line = line.replace("exec -a '' $M", "exec python3 -c 'import os; os.execv(os.environ[\"M\"], [\" \"])'");
            let (status, shown) = site.shell("ann", &line, &change(&old, &new));
            assert_eq!(status, 0, "{line}: {shown}");
            assert!(site.apop("ann", &new), "{line}");
            old = new;
            let mode = fs::metadata(format!("{AUTH}/announce")).unwrap().mode() & 0o777;
            assert_eq!(mode, 0o600, "{line}");
        }
        assert!(!Path::new("/nowhere").exists());
    });
}

/// Limits that an ordinary user lowers for good end the change and nothing else: the database is as it was.
#[test]
fn low_limits_break_nothing() {
    if !ready() {
        return;
    }
    isolated(|| {
        let site = Site::new();
        site.add("ann", SECRET);
        let mut refused = 0;
        for line in [
            "ulimit -f 0",
            "ulimit -f 8",
            "ulimit -n 4",
            "ulimit -n 6",
            "ulimit -v 20000",
            "ulimit -v 9000",
            "ulimit -t 0",
        ] {
            // Where it ends is open: it may not even ask.
            let (status, shown) =
                site.shell("ann", &format!("{line}; $M; echo ended $?"), &change(SECRET, "never stored"));
            let changed = site.apop("ann", "never stored");
            assert!(changed || site.apop("ann", SECRET), "{line}: {status} {shown}");
            refused += usize::from(!changed);
            if changed {
                let (status, shown) = site.own("ann", &change("never stored", SECRET));
                assert_eq!(status, 0, "{shown}");
            }
            assert_eq!(site.list(), "ann\tAPOP\t\tno\tno\n", "{line}");
        }
        assert!(refused > 0, "some of them are too low");
    });
}

/// Issue "mailauth": the rate of wrong old secrets is limited, for that user alone, also for the right one.
#[test]
fn guessing_gets_slow() {
    if !ready() {
        return;
    }
    isolated(|| {
        let site = Site::new();
        site.add("ann", SECRET);
        site.add("bob", "secret of bob");
        for _ in 0..3 {
            let (status, shown) = site.own("ann", &[("Old password:", "a guess")]);
            assert_eq!(status, 1, "{shown}");
        }
        for guess in ["a guess", SECRET] {
            let (status, shown) = site.own("ann", &[("Old password:", guess)]);
            assert!(
                status == 75 && shown.contains("too many wrong secrets; try again in"),
                "{status} {shown}"
            );
        }
        let (status, shown) = site.own("bob", &change("secret of bob", "another of bob"));
        assert_eq!(status, 0, "{shown}");
        assert!(site.apop("ann", SECRET), "logins are no part of it");
    });
}

/// argv: signal, then the program. Waits for the prompt, sends the signal, says whether the terminal is as it was, continues what
/// stopped, and ends it by Ctrl-C.
const SIGNALLED: &str = "\
import fcntl, os, pty, signal, sys, termios, time
number = getattr(signal, sys.argv[1])
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
flags = termios.ECHO | termios.ICANON | termios.ISIG
plain = lambda: termios.tcgetattr(fd)[3] & flags == flags
seen = b''
while b'password:' not in seen:
    seen += os.read(fd, 4096)
while plain():
    time.sleep(0.001)
# TIOCGPTPEER: the terminal keeps its modes as long as somebody has it open.
held = fcntl.ioctl(fd, 0x5441, os.O_RDWR | os.O_NOCTTY)
os.kill(pid, number)
_, status = os.waitpid(pid, os.WUNTRACED)
print('restored' if plain() else 'left raw', 'stopped' if os.WIFSTOPPED(status) else 'ended')
if os.WIFSTOPPED(status):
    os.kill(pid, signal.SIGCONT)
    while plain():
        time.sleep(0.001)
    os.write(fd, b'\\x03')
    _, status = os.waitpid(pid, 0)
    print('restored' if plain() else 'left raw', os.waitstatus_to_exitcode(status))
";

/// Issue "mailauth": an interrupted prompt leaves the terminal as it was and nothing changed.
#[test]
fn signals_leave_the_terminal_as_it_was() {
    if !ready() {
        return;
    }
    isolated(|| {
        let site = Site::new();
        site.add("ann", SECRET);
        for (signal, expected) in [
            ("SIGTERM", "restored ended\n"),
            ("SIGHUP", "restored ended\n"),
            ("SIGTSTP", "restored stopped\nrestored 130\n"),
        ] {
            let mut command = Command::new("python3");
            command.args(["-c", SIGNALLED, signal]).arg(find_program("setpriv").unwrap());
            command.args(becoming("ann")).arg(site.program()).current_dir("/");
            let said = run(command, "");
            assert_eq!(said.out, expected, "{signal}: {said:?}");
        }
        assert!(site.apop("ann", SECRET));
    });
}

/// Without a terminal nothing is advised that this form, or this user, cannot do.
#[test]
fn without_a_terminal_the_advice_can_be_followed() {
    if !programs_or_skip(&["setsid", "setpriv"]) {
        return;
    }
    isolated(|| {
        let site = Site::new();
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(find_program("setpriv").unwrap()).args(becoming("ann"));
        command.arg(site.program()).current_dir("/");
        run(command, "").refused(74, "run it on a terminal");
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(site.program()).args(["-user", "bob"]);
        run(command, "").refused(74, "mailauth add --type APOP --stdin bob reads it");
        site.root("", "").refused(67, "mailauth passwd USER changes that of another");
    });
}

/// A program that has other rights than `pop`'s, or a group's alone, gives them up and says how it is to be installed.
#[test]
fn other_rights_are_given_up() {
    if !ready() {
        return;
    }
    isolated(|| {
        let site = Site::new();
        for (owner, group, mode) in
            [(0, 0, 0o4755), (POP, POP, 0o2755), (uid("bob"), 0, 0o4755), (0, 0, 0o6755)]
        {
            chown(site.program(), Some(owner), Some(group)).unwrap();
            fs::set_permissions(site.program(), fs::Permissions::from_mode(mode)).unwrap();
            site.run_as("ann", "").refused(78, "chown pop:root mailauth && chmod 4755 mailauth");
            site.root("list", "").well();
        }
        chown(site.program(), Some(POP), Some(POP)).unwrap();
        fs::set_permissions(site.program(), fs::Permissions::from_mode(0o6755)).unwrap();
        site.add("ann", SECRET);
        let mut command = Command::new(site.program());
        command.arg("-list").uid(POP).gid(POP).current_dir("/");
        assert_eq!(run(command, "").well(), "ann\tAPOP\n", "pop administers");
    });
}

//! The source `checkpassword` (pop3d.toml(5), `[auth] checkpassword`): a program with DJB's interface decides, whoever runs it gets in
//! as the ids that it took on, and nothing that it does or fails to do hurts anybody.

#![allow(clippy::unwrap_used)]

mod common;

use common::machine::{chmod, make_directory, write};
use common::{PASSWORD, World, eventually, isolated, programs_or_skip};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

/// The uid of users whom the system does not know.
const VIRTUAL: u32 = 21_500;

/// Reads descriptor 3 as the interface says; what a test appends decides.
const BEGINNING: &str = r#"#!/usr/bin/python3
import os, signal, sys, time
name, password, stamp, rest = os.read(3, 600).split(b"\0")
os.close(3)
name, password = name.decode(), password.decode()
place = os.path.dirname(os.path.abspath(__file__))
def note(name, text):
    with open(f"{place}/{name}", "a") as file:
        file.write(f"{text}\n")
def go(uid, gid=None, **environment):
    if uid is not None:
        os.setgroups([])
        os.setgid(uid if gid is None else gid)
        os.setuid(uid)
    os.environ.update(environment)
    os.execv(sys.argv[1], sys.argv[1:])
"#;

/// A world whose source is a program with this end.
fn world(end: &str, config: &str) -> World {
    let directory = Path::new("/run/checkpassword");
    let world = World::setup()
        .user("own", "!")
        .config(&format!(
            "[auth]\nsources = [\"checkpassword\"]\ncheckpassword = \"/run/checkpassword/program\"\n\
             failure_delay = 0\n{config}"
        ))
        .start();
    make_directory(directory, 0o755);
    write(&directory.join("program"), format!("{BEGINNING}{end}").as_bytes(), 0o755);
    world
}

fn told(world: &World, user: &str, password: &str) -> String {
    let mut client = world.connect();
    client.command(&format!("USER {user}"));
    client.command(&format!("PASS {password}"))
}

fn noted(name: &str) -> String {
    fs::read_to_string(Path::new("/run/checkpassword").join(name)).unwrap_or_default()
}

fn mailbox(world: &World, user: &str, owner: u32) -> PathBuf {
    let path = world.mailbox(user);
    write(&path, b"From a@b Thu Jan  1 00:00:00 1970\nSubject: x\n\nhello\n", 0o600);
    chown(&path, Some(owner), Some(owner)).unwrap();
    path
}

#[test]
fn the_ids_that_the_program_took_on_are_the_sessions() {
    if !programs_or_skip(&["python3"]) {
        return;
    }
    isolated(|| {
        let world = world(
            &format!(
                "note('seen', f'{{name}} {{password}} {{stamp.isdigit()}} {{rest}} {{len(sys.argv)}} {{sys.argv[2]}}')\n\
                 note('descriptors', sorted(os.listdir('/proc/self/fd')))\n\
                 note('environment', sorted(os.environ))\n\
                 note('arguments', open('/proc/self/cmdline').read())\n\
                 if password != '{PASSWORD}': sys.exit(1)\n\
                 go({VIRTUAL}, USER=name, HOME='/run/home/' + name, SHELL='/bin/sh')\n"
            ),
            "",
        );
        mailbox(&world, "someone", VIRTUAL);
        let mut client = world.connect();
        client.command("USER someone");
        assert!(client.command(&format!("PASS {PASSWORD}")).starts_with("+OK"), "the program let it in");
        assert!(client.command("STAT").starts_with("+OK 1 "));
        let session = eventually("a session with the ids", || {
            let all = world.processes(&client);
            all.into_iter().find(|one| one.uids.iter().all(|uid| *uid == VIRTUAL))
        });
        assert!(session.gids.iter().all(|gid| *gid == VIRTUAL), "{:?}", session.gids);
        client.command("QUIT");
        assert_eq!(noted("seen"), format!("someone {PASSWORD} True b'' 3 checkpassword-reply\n"));
        // 3 was closed by the program; one is the listing's own.
        let descriptors = noted("descriptors");
        assert_eq!(descriptors.matches('\'').count() / 2, 5, "0, 1, 2, 4 and no other: {descriptors}");
        let environment = noted("environment");
        for name in ["PATH", "PROTO", "SERVICE", "TCPREMOTEIP"] {
            assert!(environment.contains(&format!("'{name}'")), "{environment}");
        }
        assert!(!environment.contains("CARGO"), "a clean environment: {environment}");
        assert!(!noted("arguments").contains(PASSWORD), "no secret in arguments");
    });
}

#[test]
fn refusals_are_as_those_of_every_source() {
    if !programs_or_skip(&["python3"]) {
        return;
    }
    isolated(|| {
        let end = "note('asked', name)\n\
             print(f'{name} is wrong, not \\x1b[31m{password}', file=sys.stderr)\n\
             sys.exit({'one': 1, 'two': 2, 'later': 111, 'odd': 77, 'zero': 0}[name])\n";
        let world = world(end, "");
        let wrong = told(&world, "one", "pässword");
        assert!(wrong.starts_with("-ERR [AUTH]"), "{wrong}");
        world.log_line(&["refused:", "user=one", "reason=wrong-password"]);
        // Its words go to the log, harmless and without the password.
        world.log_line(&["notice:", "/run/checkpassword/program: one is wrong, not \\x1b[31m***"]);
        assert!(world.log_lines().iter().all(|line| !line.contains("ssword is")), "no password in the log");
        for (name, code, words) in [
            ("two", "-ERR [SYS/PERM]", "not run as it wants to be"),
            ("later", "-ERR [SYS/TEMP]", "cannot answer now"),
            ("odd", "-ERR [SYS/TEMP]", "unknown exit status 77"),
            ("zero", "-ERR [SYS/PERM]", "without running its argument"),
        ] {
            let said = told(&world, name, "x");
            assert!(said.starts_with(code), "{name}: {said}");
            world.log_line(&["error:", words]);
        }
        // Neither root nor what does not fit in is asked about.
        assert_eq!(told(&world, "root", "x"), wrong.replace("\"one\"", "\"root\""));
        world.log_line(&["refused:", "user=root", "reason=below-min-uid"]);
        assert_eq!(told(&world, "one", &"x".repeat(240)), wrong);
        let asked = noted("asked");
        assert!(!asked.contains("root"), "{asked}");
    });
}

/// Design, section 5: root and uids below `min_uid` are refused, whatever the program says; names become paths.
#[test]
fn whom_the_program_may_let_in() {
    if !programs_or_skip(&["python3"]) {
        return;
    }
    isolated(|| {
        let end = format!(
            "os.environ['HOME'] = '/nonexistent'\n\
             if name == 'low': go(12)\n\
             if name == 'group': go({VIRTUAL}, 0)\n\
             if name == 'named': go(None, userdb_uid='{VIRTUAL}', userdb_gid='{VIRTUAL}')\n\
             if name == 'namedlow': go(None, userdb_uid='12', userdb_gid='12')\n\
             if name == 'nobodys': go(None)\n\
             if name == 'ann': go(None, USER='ANN')\n\
             if name == 'thief': go({VIRTUAL}, USER='ann')\n\
             if name == 'shouts': go({VIRTUAL}, USER='SHOUTS')\n\
             if name == 'mail': go({VIRTUAL}, userdb_mail='mbox:/var/mail/elsewhere')\n\
             if name == 'lies': go({VIRTUAL}, userdb_uid='0', userdb_gid='0')\n"
        );
        let world = world(&end, "virtual_owner = \"own\"\n");
        let own = common::world::uid("own");
        for (name, reason) in [("low", "below-min-uid"), ("namedlow", "below-min-uid")] {
            assert!(told(&world, name, "x").starts_with("-ERR [AUTH]"));
            world.log_line(&["refused:", &format!("user={name}"), reason]);
        }
        assert!(told(&world, "group", "x").starts_with("-ERR [SYS/PERM]"), "gid 0");
        for (name, owner) in [("named", VIRTUAL), ("nobodys", own), ("thief", VIRTUAL), ("lies", VIRTUAL)] {
            mailbox(&world, name, owner);
            assert!(told(&world, name, "x").starts_with("+OK"), "{name}");
            world.log_line(&["login:", &format!("user={name}")]);
        }
        // A process that is the user's already has no say in the name, not even in its letters' case.
        mailbox(&world, "shouts", VIRTUAL);
        assert!(told(&world, "shouts", "x").starts_with("+OK"));
        world.log_line(&["login:", "user=shouts"]);
        mailbox(&world, "elsewhere", VIRTUAL);
        assert!(told(&world, "mail", "x").starts_with("+OK"));
        world.maildrop("ann", b"");
        assert!(told(&world, "ann", "x").starts_with("+OK"), "a user of the system");
        world.log_line(&["login:", "user=ann"]);
    });
}

/// One that hangs is ended with all that it started; so is what one leaves behind that has answered.
#[test]
fn nothing_is_left_running() {
    if !programs_or_skip(&["python3"]) {
        return;
    }
    isolated(|| {
        let end = format!(
            "for _ in range(3):\n\
             \x20   if os.fork() == 0:\n\
             \x20       os.setsid()\n\
             \x20       signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
             \x20       note('pids', os.getpid())\n\
             \x20       time.sleep(600)\n\
             while open(place + '/pids').read().count('\\n') % 3 or not os.path.getsize(place + '/pids'): time.sleep(0.01)\n\
             if name == 'quick': go({VIRTUAL})\n\
             signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
             time.sleep(600)\n"
        );
        // Half of the time is the program's: enough for three children on a machine that is busy.
        let world = world(&end, "[limits]\nlogin_timeout = 20\n");
        mailbox(&world, "quick", VIRTUAL);
        write(Path::new("/run/checkpassword/pids"), b"", 0o600);
        assert!(told(&world, "quick", "x").starts_with("+OK"));
        let pids = |text: &str| -> Vec<u32> { text.lines().filter_map(|line| line.parse().ok()).collect() };
        let gone = |pids: &[u32]| pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        let quick = pids(&noted("pids"));
        assert_eq!(quick.len(), 3);
        eventually("the quick one's children are gone", || gone(&quick).then_some(()));
        let said = told(&world, "slow", "x");
        assert!(said.starts_with("-ERR [SYS/TEMP]"), "{said}");
        world.log_line(&["error:", "gave no answer within 10 seconds"]);
        let slow = pids(&noted("pids"));
        assert_eq!(slow.len(), 6);
        eventually("the slow one's children are gone", || gone(&slow).then_some(()));
    });
}

#[test]
fn a_program_that_others_can_write_is_not_run() {
    if !programs_or_skip(&["python3"]) {
        return;
    }
    isolated(|| {
        let world = world(&format!("note('asked', name)\ngo({VIRTUAL})\n"), "");
        mailbox(&world, "someone", VIRTUAL);
        let (program, directory) = (Path::new("/run/checkpassword/program"), Path::new("/run/checkpassword"));
        let refused = |why: &str| {
            assert!(told(&world, "someone", "x").starts_with("-ERR [SYS/PERM]"), "{why}");
            world.log_line(&["error:", why]);
        };
        chmod(program, 0o775);
        refused("may be written by others");
        chmod(program, 0o755);
        chown(program, Some(VIRTUAL), None).unwrap();
        refused("belongs to uid");
        chown(program, Some(0), None).unwrap();
        chmod(directory, 0o777);
        refused("can be replaced");
        chmod(directory, 0o755);
        fs::rename(program, directory.join("away")).unwrap();
        refused("No such file");
        assert_eq!(noted("asked"), "");
        fs::rename(directory.join("away"), program).unwrap();
        assert!(told(&world, "someone", "x").starts_with("+OK"));
    });
}

/// pop3d.toml(5): sources are asked in order until one knows the user, and a program's no does not tell.
#[test]
fn the_next_source_is_asked_for_whom_one_does_not_know() {
    if !programs_or_skip(&["python3"]) {
        return;
    }
    isolated(|| {
        let end = format!("note('asked', name)\nif name != 'someone': sys.exit(1)\ngo({VIRTUAL})\n");
        let first = world(&end, "");
        mailbox(&first, "someone", VIRTUAL);
        first.maildrop("ann", b"");
        let text = fs::read_to_string(&first.config).unwrap();
        let both = |order: &str| {
            let order = format!("sources = [{order}]");
            write(&first.config, text.replace("sources = [\"checkpassword\"]", &order).as_bytes(), 0o644);
        };
        both("\"unix\", \"checkpassword\"");
        assert!(told(&first, "ann", PASSWORD).starts_with("+OK"));
        assert!(told(&first, "ann", "wrong").starts_with("-ERR [AUTH]"));
        assert_eq!(noted("asked"), "", "unix knows ann and decides");
        assert!(told(&first, "someone", "x").starts_with("+OK"));
        both("\"checkpassword\", \"unix\"");
        assert!(told(&first, "ann", PASSWORD).starts_with("+OK"), "the program knows no ann");
        assert!(told(&first, "nobody-at-all", "x").starts_with("-ERR [AUTH]"));
        assert_eq!(noted("asked"), "someone\nann\nnobody-at-all\n");
        // APOP is nothing for a program.
        let mut client = first.connect();
        assert!(!client.greeting.contains('<'), "{}", client.greeting);
        client.quit();
    });
}

/// The program has nothing of the server's, and limits (pop3d.toml(5), `max_memory`).
#[test]
fn a_program_has_limits_and_no_descriptor_of_the_servers() {
    isolated(|| {
        let end = "os.system('cat /proc/self/limits >/run/checkpassword/limits')\n\
                   note('open', ' '.join(sorted(os.readlink(f'/proc/self/fd/{one}').split(':')[0] for one in [0, 1, 2, 4])))\n\
                   note('count', sum(os.path.exists(f'/proc/self/fd/{one}') for one in range(1024)))\nsys.exit(1)\n";
        let world = world(end, "[limits]\nmax_memory = 200000000\n");
        assert!(told(&world, "ann", PASSWORD).starts_with("-ERR [AUTH]"));
        common::processes::assert_limited(&noted("limits"), 200_000_000);
        assert_eq!(noted("open"), "/dev/null /dev/null pipe socket\n");
        assert_eq!(noted("count"), "4\n", "these and no others; 3 is closed by the program");
    });
}

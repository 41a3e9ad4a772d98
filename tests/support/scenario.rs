//! An update of a mailbox with 40 messages, what may happen to it, and what must be true whatever happened
//! (design, sections 4 and 8): every message that was not deleted is there exactly once, byte for byte, in order, with its
//! unique id; the next login finds no obstacle.

// Each test binary uses a part of this module.
#![allow(dead_code)]

use super::common::client::assert_same;
use super::common::mail::{self, Stored};
use super::common::{PASSWORD, World, isolated};
use super::tracer::{Plan, Traced, Tracer, WRAPPER};
use nix::fcntl::{FcntlArg, fcntl};
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The messages of the mailbox. Three of them are equal, so that twin numbers are at stake as well.
pub(crate) const COUNT: usize = 40;

/// The mailboxes under test at a time.
const WORLDS: usize = 3;

/// One way to update.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) deletes: fn(usize) -> bool,
    /// Whether a message is delivered during the session.
    pub(crate) appended: bool,
}

/// The updates that issue from RFC 1939's DELE and QUIT: a new file, a shorter one, an empty one.
pub(crate) const CASES: [Case; 12] = [
    Case { name: "first", deletes: |number| number == 1, appended: false },
    Case { name: "middle", deletes: |number| number == 20, appended: false },
    Case { name: "last", deletes: |number| number == COUNT, appended: false },
    Case { name: "every second", deletes: |number| number.is_multiple_of(2), appended: false },
    Case { name: "all but one", deletes: |number| number != 33, appended: false },
    Case { name: "all", deletes: |_| true, appended: false },
    Case { name: "first, mail comes", deletes: |number| number == 1, appended: true },
    Case { name: "middle, mail comes", deletes: |number| number == 20, appended: true },
    Case { name: "last, mail comes", deletes: |number| number == COUNT, appended: true },
    Case { name: "every second, mail comes", deletes: |number| number.is_multiple_of(2), appended: true },
    Case { name: "all but one, mail comes", deletes: |number| number != 33, appended: true },
    Case { name: "all, mail comes", deletes: |_| true, appended: true },
];

/// The messages as they are stored.
pub(crate) fn messages() -> Vec<Stored> {
    (1..=COUNT).map(|number| mail::message(if number == 20 || number == 33 { 7 } else { number })).collect()
}

impl Case {
    /// The mailbox before the update.
    pub(crate) fn before(&self) -> Vec<Stored> {
        let mut before = messages();
        before.extend(self.appended.then(|| mail::message(COUNT + 1)));
        before
    }

    /// The mailbox behind it.
    pub(crate) fn after(&self) -> Vec<Stored> {
        let numbered = (1..).zip(self.before());
        numbered.filter(|(number, _)| !self.is_deleted(*number)).map(|(_, message)| message).collect()
    }

    fn is_deleted(&self, number: usize) -> bool {
        number <= COUNT && (self.deletes)(number)
    }
}

/// Nothing of an earlier case is left.
pub(crate) fn clean(world: &World) {
    for name in world.spool_names() {
        fs::remove_file(world.spool.join(name)).unwrap();
    }
    let state = state_directory();
    if state.exists() {
        fs::remove_dir_all(state).unwrap();
    }
}

/// ann's state directory.
pub(crate) fn state_directory() -> &'static Path {
    Path::new("/run/lib/poptools/maildrop/ann")
}

/// The unique ids of the messages, in a world of their own.
pub(crate) fn identifiers(world: &World) -> Vec<String> {
    clean(world);
    world.maildrop("ann", &mail::mbox(&messages()));
    let mut client = world.log_in("ann");
    let found = uidls(&client.listing("UIDL"));
    client.quit();
    client.server_ends();
    found
}

fn uidls(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

/// Makes the update under the plan; what was answered to QUIT, and what was seen.
pub(crate) fn update(world: &World, case: &Case, plan: Plan) -> (Option<String>, Traced) {
    update_after(world, case, plan, || ())
}

/// The same; `look` is called when QUIT is about to be sent.
pub(crate) fn update_after(
    world: &World,
    case: &Case,
    plan: Plan,
    look: impl FnOnce(),
) -> (Option<String>, Traced) {
    clean(world);
    world.maildrop("ann", &mail::mbox(&messages()));
    let mut client = world.connect_under(&WRAPPER, &[]);
    client.log_in("ann");
    let deleted: Vec<usize> = (1..=COUNT).filter(|number| case.is_deleted(*number)).collect();
    let commands: String = deleted.iter().map(|number| format!("DELE {number}\r\n")).collect();
    client.send(commands.as_bytes());
    deleted.iter().for_each(|_| assert!(client.line().starts_with("+OK")));
    if case.appended {
        deliver(&world.mailbox("ann"), &mail::message(COUNT + 1));
    }
    let session = world.session(&client, "ann").pid;
    let tracer = Tracer::attach(&client, Some(session));
    look();
    tracer.arm(plan);
    let reply = client.try_command("QUIT");
    let _server = client.hang_up();
    (reply, tracer.finish())
}

/// Makes a login under the plan; what was answered to PASS, and what was seen.
pub(crate) fn login(world: &World, plan: Plan) -> (Option<String>, Traced) {
    let mut client = world.connect_under(&WRAPPER, &[]);
    client.ok("USER ann");
    let tracer = Tracer::attach(&client, None);
    tracer.arm(plan);
    let reply = client.try_command(&format!("PASS {PASSWORD}"));
    let _server = client.hang_up();
    (reply, tracer.finish())
}

/// Delivers as a program does that looks at the kernel's locks: it must have its lock at once, whoever was killed.
pub(crate) fn deliver(mailbox: &Path, message: &Stored) {
    let mut file = OpenOptions::new().read(true).append(true).open(mailbox).unwrap();
    let kind = i16::try_from(libc::F_WRLCK).unwrap();
    let whole = libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)).expect("no lock outlives its process");
    file.write_all(&mail::mbox(&[message])).unwrap();
}

/// Checks the maildrop as it is, delivers, logs in, and looks at every message. Whether the update was made.
pub(crate) fn check(world: &World, case: &Case, ids: &[String], what: &str, reply: Option<&str>) -> bool {
    let stored = world.stored("ann");
    let made = stored == mail::mbox(&case.after());
    if !made {
        assert_same(&format!("{what}: neither new nor old, {reply:?}"), &stored, &mail::mbox(&case.before()));
    }
    if let Some(reply) = reply {
        let told = reply.starts_with("+OK") || reply.contains("may be deleted already");
        assert!(!made || told, "{what}: the messages are gone, and the client hears {reply}");
        assert!(made || !reply.starts_with("+OK"), "{what}: {reply}, and nothing was deleted");
    }
    look_at_all(0, world, case, ids, made, what);
    made
}

/// Delivers, logs in, and looks at every message of a mailbox that was or was not updated. Drafts of this many octets may stay.
pub(crate) fn look_at_all(draft: u64, world: &World, case: &Case, ids: &[String], made: bool, what: &str) {
    deliver(&world.mailbox("ann"), &mail::message(COUNT + 2));
    let mut expected = if made { case.after() } else { case.before() };
    expected.push(mail::message(COUNT + 2));
    let deleted = |number: &usize| made && case.is_deleted(*number);
    let ids: Vec<&String> = (1..).zip(ids).filter(|(number, _)| !deleted(number)).map(|(_, id)| id).collect();
    look_through_but(draft, world, &expected, &ids, what);
}

/// Logs in: these messages are there, the first of them with these unique ids; deletes one, and leaves nothing behind.
pub(crate) fn look_through(world: &World, expected: &[Stored], ids: &[&String], what: &str) {
    look_through_but(0, world, expected, ids, what);
}

fn look_through_but(draft: u64, world: &World, expected: &[Stored], ids: &[&String], what: &str) {
    let mut client = world.connect();
    let reply = client.login("ann", PASSWORD);
    assert!(reply.starts_with("+OK"), "{what}: the next login: {reply}");
    let found = uidls(&client.listing("UIDL"));
    assert_eq!(found.len(), expected.len(), "{what}: every message once");
    assert_eq!(found.iter().take(ids.len()).collect::<Vec<_>>(), ids, "{what}: the same unique ids");
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), found.len(), "{what}: unique");
    let commands: String = (1..=expected.len()).map(|number| format!("RETR {number}\r\n")).collect();
    client.send(commands.as_bytes());
    for (number, message) in (1..).zip(expected) {
        assert!(client.line().starts_with("+OK"), "{what}: RETR {number}");
        let got: Vec<u8> =
            client.multiline().into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect();
        assert_same(&format!("{what}: message {number}"), &got, &mail::wire(message));
    }
    client.ok("DELE 1");
    let reply = client.command("QUIT");
    assert!(reply.starts_with("+OK"), "{what}: the next update: {reply}");
    client.server_ends();
    assert_same(
        &format!("{what}: behind the next update"),
        &world.stored("ann"),
        &mail::mbox(&expected[1..]),
    );
    let drafts = |name: &String| {
        // A power cut may bring back the draft of a dotlock, which holds no mail.
        name.starts_with(".ann.poptools-") && fs::metadata(world.spool.join(name)).unwrap().len() <= draft
    };
    let mut left_in_spool = world.spool_names();
    left_in_spool.retain(|name| !drafts(name));
    assert_eq!(left_in_spool, ["ann"], "{what}: nothing is left in the spool");
    let left: Vec<_> =
        fs::read_dir(state_directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let known = |name: &str| name == "index" || name == "uidl";
    assert!(
        left.iter().all(|name| known(name.to_str().unwrap())),
        "{what}: left in the state directory: {left:?}"
    );
}

/// Does all jobs, some at a time, each worker in a world of its own.
pub(crate) fn for_each_job<J: Sync>(jobs: &[J], run: impl Fn(&World, &[String], &J) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        isolated(|| {
            let world = World::start();
            let ids = identifiers(&world);
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                run(&world, &ids, job);
            }
        });
    };
    std::thread::scope(|scope| {
        for _ in 0..WORLDS.min(jobs.len()) {
            scope.spawn(work);
        }
    });
}

/// Whether the longer run was asked for (`POPTOOLS_LONG=1`): every product of cases, faults and victims.
pub(crate) fn long_run() -> bool {
    std::env::var_os("POPTOOLS_LONG").is_some()
}

/// Tells which fault it was when a check fails without knowing it.
pub(crate) struct Doing(pub(crate) String);

impl Drop for Doing {
    #[allow(clippy::print_stderr)] // a test's own output
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was: {}", self.0);
        }
    }
}

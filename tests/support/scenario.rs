//! An update of a mailbox with 40 messages, what may happen to it, and what must be true whatever happened
//! (design, sections 4 and 8): every message that was not deleted is there exactly once, byte for byte, in order, with its
//! unique id; the next login finds no obstacle.

// Each test binary uses a part of this module.
#![allow(dead_code)]

use super::common::client::assert_same;
use super::common::machine::make_directory;
use super::common::mail::{self, Stored};
use super::common::world::uid;
use super::common::{PASSWORD, World, isolated};
use super::tracer::{Plan, Traced, Tracer, WRAPPER};
use nix::fcntl::{FcntlArg, fcntl};
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The messages of the mailbox. Three of them are equal, so that twin numbers are at stake as well.
pub(crate) const COUNT: usize = 40;

/// The mailboxes under test at a time.
const WORLDS: usize = 3;

/// How the maildrop is kept. Both stand at one path, whose kind decides (`format = "auto"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Mbox,
    Maildir,
}

/// One way to update.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) kept: Kept,
    pub(crate) name: &'static str,
    pub(crate) deletes: fn(usize) -> bool,
    /// Whether a message is delivered during the session.
    pub(crate) appended: bool,
}

/// The updates that issue from RFC 1939's DELE and QUIT: a new file, a shorter one, an empty one.
pub(crate) const CASES: [Case; 12] = [
    Case { kept: Kept::Mbox, name: "first", deletes: |number| number == 1, appended: false },
    Case { kept: Kept::Mbox, name: "middle", deletes: |number| number == 20, appended: false },
    Case { kept: Kept::Mbox, name: "last", deletes: |number| number == COUNT, appended: false },
    Case {
        kept: Kept::Mbox,
        name: "every second",
        deletes: |number| number.is_multiple_of(2),
        appended: false,
    },
    Case { kept: Kept::Mbox, name: "all but one", deletes: |number| number != 33, appended: false },
    Case { kept: Kept::Mbox, name: "all", deletes: |_| true, appended: false },
    Case { kept: Kept::Mbox, name: "first, mail comes", deletes: |number| number == 1, appended: true },
    Case { kept: Kept::Mbox, name: "middle, mail comes", deletes: |number| number == 20, appended: true },
    Case { kept: Kept::Mbox, name: "last, mail comes", deletes: |number| number == COUNT, appended: true },
    Case {
        kept: Kept::Mbox,
        name: "every second, mail comes",
        deletes: |number| number.is_multiple_of(2),
        appended: true,
    },
    Case {
        kept: Kept::Mbox,
        name: "all but one, mail comes",
        deletes: |number| number != 33,
        appended: true,
    },
    Case { kept: Kept::Mbox, name: "all, mail comes", deletes: |_| true, appended: true },
];

/// The same updates of a Maildir.
pub(crate) const MAILDIR_CASES: [Case; 12] = {
    let mut cases = CASES;
    let mut place = 0;
    while place < cases.len() {
        cases[place].kept = Kept::Maildir;
        place += 1;
    }
    cases
};

/// The messages as they are stored.
pub(crate) fn messages() -> Vec<Stored> {
    (1..=COUNT).map(|number| mail::message(if number == 20 || number == 33 { 7 } else { number })).collect()
}

/// A message by its number, as it is stored.
pub(crate) fn message(number: usize) -> Stored {
    mail::message(if number == 20 || number == 33 { 7 } else { number })
}

fn stored(numbers: &[usize]) -> Vec<Stored> {
    numbers.iter().map(|number| message(*number)).collect()
}

impl Case {
    /// The numbers of the messages before the update, or those behind it.
    pub(crate) fn numbers(&self, made: bool) -> Vec<usize> {
        let last = COUNT + usize::from(self.appended);
        (1..=last).filter(|number| !made || !self.is_deleted(*number)).collect()
    }

    /// The mailbox before the update.
    pub(crate) fn before(&self) -> Vec<Stored> {
        stored(&self.numbers(false))
    }

    /// The mailbox behind it.
    pub(crate) fn after(&self) -> Vec<Stored> {
        stored(&self.numbers(true))
    }

    pub(crate) fn is_deleted(&self, number: usize) -> bool {
        number <= COUNT && (self.deletes)(number)
    }

    /// Its name and format, for messages.
    pub(crate) fn title(&self) -> String {
        format!("{:?}, {}", self.kept, self.name)
    }
}

/// Makes ann's maildrop, which was cleaned away.
pub(crate) fn fill(world: &World, kept: Kept) {
    if kept == Kept::Mbox {
        return world.maildrop("ann", &mail::mbox(&messages()));
    }
    for folder in ["", "new", "cur", "tmp"] {
        let path = world.mailbox("ann").join(folder);
        make_directory(&path, 0o700);
        chown(&path, Some(uid("ann")), Some(uid("ann"))).unwrap();
    }
    for number in 1..=COUNT {
        put(world, number, if number % 2 == 0 { "cur" } else { "new" });
    }
}

/// A message in a Maildir.
fn put(world: &World, number: usize, folder: &str) {
    let flags = if folder == "cur" { ":2,S" } else { "" };
    let name = format!("{}.M1.host{flags}", 1000 + number);
    put_as(world, number, &world.mailbox("ann").join(folder).join(name));
}

/// A message of a Maildir with this path: it comes through `tmp`, as from every program.
pub(crate) fn put_as(world: &World, number: usize, path: &Path) {
    let draft = world.mailbox("ann").join("tmp/draft");
    fs::write(&draft, message(number)).unwrap();
    chown(&draft, Some(uid("ann")), Some(uid("ann"))).unwrap();
    fs::rename(draft, path).unwrap();
}

/// The files of a Maildir's messages by number, and the names in `new` and `cur`.
fn in_maildir(world: &World) -> Vec<(usize, PathBuf)> {
    let folders = ["new", "cur"].map(|folder| fs::read_dir(world.mailbox("ann").join(folder)).unwrap());
    let paths = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let number = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.split('.').next().unwrap().parse::<usize>().unwrap() - 1000
    };
    let mut found: Vec<_> = paths.map(|path| (number(&path), path)).collect();
    found.sort();
    // A message that was being moved when the power failed has two names, and is one.
    found.dedup_by_key(|(_, path)| fs::metadata(path).unwrap().ino());
    found
}

/// What is stored, in the form of an mbox.
pub(crate) fn contents(world: &World, kept: Kept) -> Vec<u8> {
    match kept {
        Kept::Mbox => world.stored("ann"),
        Kept::Maildir => {
            let found: Vec<_> =
                in_maildir(world).into_iter().map(|(_, path)| fs::read(path).unwrap()).collect();
            mail::mbox(&found)
        }
    }
}

/// Nothing of an earlier case is left.
pub(crate) fn clean(world: &World) {
    for name in world.spool_names() {
        let path = world.spool.join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
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
    fill(world, case.kept);
    let mut client = world.connect_under(&WRAPPER, &[]);
    client.log_in("ann");
    if case.kept == Kept::Maildir {
        // Those that were retrieved and not deleted move from `new` to `cur`.
        for number in [5, 33] {
            client.retrieve(number);
        }
    }
    let deleted: Vec<usize> = (1..=COUNT).filter(|number| case.is_deleted(*number)).collect();
    let commands: String = deleted.iter().map(|number| format!("DELE {number}\r\n")).collect();
    client.send(commands.as_bytes());
    deleted.iter().for_each(|_| assert!(client.line().starts_with("+OK")));
    if case.appended {
        deliver(world, case.kept, COUNT + 1);
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
pub(crate) fn deliver(world: &World, kept: Kept, number: usize) {
    if kept == Kept::Maildir {
        return put(world, number, "new");
    }
    let mut file = OpenOptions::new().read(true).append(true).open(world.mailbox("ann")).unwrap();
    let kind = i16::try_from(libc::F_WRLCK).unwrap();
    let whole = libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)).expect("no lock outlives its process");
    file.write_all(&mail::mbox(&[message(number)])).unwrap();
}

/// Checks the maildrop as it is, delivers, logs in, and looks at every message. Whether the update was made.
pub(crate) fn check(world: &World, case: &Case, ids: &[String], what: &str, reply: Option<&str>) -> bool {
    let numbers = match case.kept {
        Kept::Mbox => left_in_mbox(world, case, what, reply),
        Kept::Maildir => left_in_maildir(world, case, what),
    };
    let made = numbers == case.numbers(true);
    if let Some(reply) = reply {
        let none = numbers == case.numbers(false);
        let told = ["may be deleted already", "some deleted messages not removed"];
        let told = reply.starts_with("+OK") || told.iter().any(|words| reply.contains(words));
        assert!(none || told, "{what}: messages are gone, and the client hears {reply}");
        assert!(made || !reply.starts_with("+OK"), "{what}: {reply}, and not all were deleted");
    }
    look_at_all(0, world, case.kept, ids, &numbers, what);
    made
}

fn left_in_mbox(world: &World, case: &Case, what: &str, reply: Option<&str>) -> Vec<usize> {
    let stored = world.stored("ann");
    let made = stored == mail::mbox(&case.after());
    if !made {
        assert_same(&format!("{what}: neither new nor old, {reply:?}"), &stored, &mail::mbox(&case.before()));
    }
    case.numbers(made)
}

/// Each message is there once or, when it was deleted, not at all; the numbers of those that are.
pub(crate) fn left_in_maildir(world: &World, case: &Case, what: &str) -> Vec<usize> {
    let found = in_maildir(world);
    for (number, path) in &found {
        assert_same(&format!("{what}: {}", path.display()), &fs::read(path).unwrap(), &message(*number));
    }
    let numbers: Vec<usize> = found.into_iter().map(|(number, _)| number).collect();
    let expected = |number: &usize| !case.is_deleted(*number) || numbers.binary_search(number).is_ok();
    let expected: Vec<usize> = case.numbers(false).into_iter().filter(expected).collect();
    assert_eq!(numbers, expected, "{what}: every message that was not deleted, once");
    numbers
}

/// Delivers, logs in, and looks at every message: those with these numbers are there. Drafts of this many octets may stay.
pub(crate) fn look_at_all(
    draft: u64,
    world: &World,
    kept: Kept,
    ids: &[String],
    numbers: &[usize],
    what: &str,
) {
    deliver(world, kept, COUNT + 2);
    let expected = stored(&[numbers, &[COUNT + 2]].concat());
    let ids: Vec<&String> = numbers.iter().filter_map(|number| ids.get(number - 1)).collect();
    look_through(draft, world, kept, &expected, &ids, what);
}

/// Logs in: these messages are there, the first of them with these unique ids; deletes one, and leaves nothing behind.
fn look_through(draft: u64, world: &World, kept: Kept, expected: &[Stored], ids: &[&String], what: &str) {
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
        &contents(world, kept),
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

//! Maildirs for the tests, and faults in the middle of what is done with them.

#![allow(clippy::print_stderr)] // a test's own output

use super::common::client::{assert_same, text};
use super::common::fault::{CHANGING, Fault};
use super::common::machine::make_directory;
use super::common::mail::{self, Stored};
use super::common::world::uid;
use super::common::{Client, PASSWORD, World, isolated, programs_or_skip, within};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long after a fault a login may still fail.
const RECOVERY: Duration = Duration::from_secs(2);

/// A machine where mail is in `Maildir` in the homes.
pub(crate) fn world() -> World {
    world_with("[maildrop]\npath = \"{home}/Maildir\"")
}

/// A machine with these lines of configuration.
pub(crate) fn world_with(toml: &str) -> World {
    World::setup().config(toml).start()
}

/// A user's Maildir.
pub(crate) struct Home {
    root: PathBuf,
    owner: u32,
}

impl Home {
    /// A new one in the user's home.
    pub(crate) fn of(_world: &World, user: &str) -> Self {
        Self::at(PathBuf::from(format!("/run/home/{user}/Maildir")), user)
    }

    /// A new one with this path.
    pub(crate) fn at(root: PathBuf, user: &str) -> Self {
        let home = Self { root, owner: uid(user) };
        for name in ["", "new", "cur", "tmp"] {
            make_directory(&home.path(name), 0o700);
            chown(home.path(name), Some(home.owner), Some(home.owner)).unwrap();
        }
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }

    /// Delivers a message: through `tmp`, as every program does.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let draft = self.path("tmp/draft");
        fs::write(&draft, bytes).unwrap();
        chown(&draft, Some(self.owner), Some(self.owner)).unwrap();
        fs::rename(&draft, self.path(name)).unwrap();
    }

    /// This many small messages in `new`; what is stored of each.
    pub(crate) fn small(&self, count: usize) -> Vec<Stored> {
        let stored = mail::messages(count);
        for (number, message) in stored.iter().enumerate() {
            self.put(&format!("new/{0}.M{0}.host", number + 1), message);
        }
        stored
    }

    /// The names in `new` and `cur`, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in ["cur", "new"] {
            for entry in fs::read_dir(self.path(folder)).unwrap() {
                names.push(format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()));
            }
        }
        names.sort();
        names
    }

    /// What is stored, in the order of the numbers that the names begin with.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        let number = |name: &String| {
            let (_, base) = name.split_once('/').unwrap();
            base.split('.').next().unwrap().parse::<u32>().unwrap()
        };
        let mut names = self.names();
        names.sort_by_key(number);
        names.iter().map(|name| fs::read(self.path(name)).unwrap()).collect()
    }

    /// Takes all messages away.
    fn clear(&self) {
        self.names().iter().for_each(|name| fs::remove_file(self.path(name)).unwrap());
    }
}

/// Delivers until then; how many. `which` of the two deliverers it is makes texts and names its own.
pub(crate) fn deliver_until(end: Instant, which: usize) -> usize {
    let home = Home { root: PathBuf::from("/run/home/ann/Maildir"), owner: uid("ann") };
    let mut count = 0;
    while Instant::now() < end {
        let number = 2 * count + which;
        let draft = home.path(&format!("tmp/{number}"));
        fs::write(&draft, mail::message(number)).unwrap();
        chown(&draft, Some(home.owner), Some(home.owner)).unwrap();
        fs::rename(&draft, home.path(&format!("new/{number}.M1.host"))).unwrap();
        count += 1;
        // A few hundred messages at a time: what is raced for is the maildrop, not the disk.
        while home.names().len() > 300 && Instant::now() < end {
            std::thread::yield_now();
        }
    }
    count
}

/// Logs in again and again until then, downloads all and deletes every second message.
pub(crate) fn fetch_until(end: Instant, world: &World, fetched: &Mutex<BTreeSet<Vec<u8>>>) {
    while Instant::now() < end {
        let mut client = world.connect();
        let reply = client.login("ann", PASSWORD);
        if !reply.starts_with("+OK") {
            assert!(reply.starts_with("-ERR [IN-USE]"), "nothing else is in the way: {reply}");
            continue;
        }
        let count: usize = second(&client.ok("STAT")).parse().unwrap();
        for number in 1..=count {
            let message = client.retrieve(number);
            fetched.lock().unwrap().insert(message);
            if number % 2 == 0 {
                client.ok(&format!("DELE {number}"));
            }
        }
        client.quit();
    }
}

/// The second word of a line.
pub(crate) fn second(line: &str) -> String {
    line.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// strace's word for a call that fails with this error.
pub(crate) fn injected(error: &str) -> &'static str {
    match error {
        "EIO" => "error=EIO",
        "ENOSPC" => "error=ENOSPC",
        "EDQUOT" => "error=EDQUOT",
        "ENOMEM" => "error=ENOMEM",
        "EMFILE" => "error=EMFILE",
        "ENFILE" => "error=ENFILE",
        "EROFS" => "error=EROFS",
        "EACCES" => "error=EACCES",
        other => panic!("no such error: {other}"),
    }
}

/// The messages of a test: 1 and 3 are equal to 5.
fn messages() -> Vec<Stored> {
    let mut stored = mail::messages(6);
    stored[2] = stored[0].clone();
    stored[4] = stored[0].clone();
    stored
}

/// What an update deletes; message 2 is retrieved before.
const CASES: &[&[usize]] = &[&[1, 4], &[1, 2, 3, 4, 5, 6]];

/// A maildrop before the fault: its messages and their unique ids.
struct Before {
    stored: Vec<Stored>,
    uidls: Vec<String>,
}

fn prepare(world: &World, home: &Home) -> Before {
    home.clear();
    let _ = fs::remove_dir_all("/run/lib/poptools/maildrop/ann");
    let stored = messages();
    for (number, message) in stored.iter().enumerate() {
        let place = if number < 4 { "new" } else { "cur" };
        home.put(&format!("{place}/{0}.M{0}.host", number + 1), message);
    }
    let mut client = world.log_in("ann");
    let uidls = client.listing("UIDL").iter().map(|line| second(line)).collect();
    client.quit();
    client.server_ends();
    Before { stored, uidls }
}

/// Meets every call of an update with an effect, and checks what is left: each message that was not deleted is there
/// once, as it was, in order, with its unique id; what was deleted is there or not, whole.
pub(crate) fn update_faults(effect_of: impl Fn(&str) -> Option<&'static str> + Sync) {
    if !programs_or_skip(&["strace"]) {
        return;
    }
    isolated(|| {
        let world = world();
        let home = Home::of(&world, "ann");
        let (mut struck, mut synced) = (0, 0);
        for deleted in CASES {
            for calls in CHANGING.iter().chain(&["?newfstatat,?fstatat64,?statx"]) {
                let Some(effect) = effect_of(calls) else { continue };
                for nth in 1..100 {
                    if !update_fault(&world, &home, deleted, calls, effect, nth) {
                        break;
                    }
                    struck += 1;
                    synced += usize::from(calls.contains("fsync"));
                }
            }
        }
        eprintln!("{struck} calls met");
        assert!(struck >= 10, "the faults meet the update: {struck}");
        // Design, section 4: `new` and `cur` are synced before +OK.
        assert!(synced >= 2 * CASES.len(), "directories are made durable: {synced}");
    });
}

fn update_fault(
    world: &World,
    home: &Home,
    deleted: &[usize],
    calls: &str,
    effect: &str,
    nth: usize,
) -> bool {
    let before = prepare(world, home);
    let what = format!("{effect} at call {nth} of {calls}, deleting {deleted:?}");
    let mut client = world.log_in("ann");
    client.retrieve(2);
    for number in deleted {
        client.ok(&format!("DELE {number}"));
    }
    home.put("new/7.M7.host", &mail::message(7));
    let fault = Fault::arm(world, &client, calls, effect, nth);
    let reply = client.try_command("QUIT");
    // A session that is killed gives no answer, and strace may not have told yet.
    let struck = reply.is_none() || fault.struck();
    drop(fault);
    drop(client);
    if let Some(reply) = reply.as_ref().filter(|reply| reply.starts_with("-ERR")) {
        assert!(reply.starts_with("-ERR [SYS/"), "{what}: {reply}");
    }
    if struck && calls.contains("fsync") && effect.starts_with("error") {
        let told = reply.as_ref().is_some_and(|reply| reply.contains("may be deleted already"));
        assert!(told, "{what}: a change that may not last is told: {reply:?}");
    }
    let all_gone = check(world, home, &before, deleted, &what);
    if reply.is_some_and(|reply| reply.starts_with("+OK")) {
        assert!(all_gone, "{what}: +OK, but not all are deleted");
    }
    struck
}

/// Checks what is left, in the directories and by a login; whether all deleted messages are gone.
fn check(world: &World, home: &Home, before: &Before, deleted: &[usize], what: &str) -> bool {
    let left = home.stored();
    home.put("new/8.M8.host", &mail::message(8));
    let mut client = within(RECOVERY, || {
        let mut client = world.connect();
        client.login("ann", PASSWORD).starts_with("+OK").then_some(client)
    })
    .unwrap_or_else(|| panic!("{what}: no login within {RECOVERY:?}"));
    let names = home.names();
    let there = |number: &usize| {
        let count = names.iter().filter(|name| name.contains(&format!("/{number}.M"))).count();
        assert!(count <= 1, "{what}: message {number} is there {count} times: {names:?}");
        count == 1
    };
    let survivors: Vec<usize> = (1..=8).filter(there).collect();
    let lost = (1..=8).find(|number| !survivors.contains(number) && !deleted.contains(number));
    assert_eq!(lost, None, "{what}: lost, {names:?}");
    let mut expected = before.stored.clone();
    expected.extend([mail::message(7), mail::message(8)]);
    for (place, number) in survivors.iter().enumerate() {
        if *number < 8 {
            assert_same(&format!("{what}: message {number}"), &left[place], &expected[number - 1]);
        }
        let sent = client.retrieve(place + 1);
        assert_eq!(text(&sent), text(&mail::wire(&expected[number - 1])), "{what}: message {number}");
    }
    check_uidls(&mut client, before, &survivors, deleted, what);
    client.quit();
    client.server_ends();
    deleted.iter().all(|number| !survivors.contains(number))
}

fn check_uidls(client: &mut Client, before: &Before, survivors: &[usize], deleted: &[usize], what: &str) {
    let uidls: Vec<String> = client.listing("UIDL").iter().map(|line| second(line)).collect();
    assert_eq!(uidls.len(), survivors.len(), "{what}");
    for (uidl, number) in uidls.iter().zip(survivors) {
        if *number <= 6 && !deleted.contains(number) {
            assert_eq!(uidl, &before.uidls[number - 1], "{what}: the unique id of message {number}");
        }
    }
}

/// Calls of a login that read or write files, with an error that each may meet.
const OF_LOGIN: &[(&str, &str)] = &[
    ("?getdents64", "error=EIO"),
    ("?pread64", "error=EIO"),
    ("?pwrite64", "error=ENOSPC"),
    ("?fdatasync,?fsync", "error=EIO"),
    ("?unlink,?unlinkat", "error=EIO"),
    ("?rename,?renameat,?renameat2", "error=ENOSPC"),
    ("?newfstatat", "error=ENOMEM"),
    ("?open,?openat", "error=EMFILE"),
    ("?pwrite64", "signal=KILL"),
    ("?rename,?renameat,?renameat2", "signal=KILL"),
    ("?fdatasync,?fsync", "signal=KILL"),
];

/// Meets the calls of a login that finds mail it does not know. Whatever the answer is, nothing is lost and the next
/// login finds all.
pub(crate) fn login_faults() {
    if !programs_or_skip(&["strace"]) {
        return;
    }
    isolated(|| {
        let world = world();
        let home = Home::of(&world, "ann");
        for (calls, effect) in OF_LOGIN {
            for nth in 1..25 {
                let before = prepare(&world, &home);
                home.put("new/7.M7.host", &mail::message(7));
                let mut client = world.connect();
                let fault = Fault::arm(&world, &client, calls, effect, nth);
                let user = client.try_command("USER ann");
                let reply = user.and_then(|_| client.try_command(&format!("PASS {PASSWORD}")));
                let struck = fault.struck();
                let what = format!("{effect} at call {nth} of {calls} at login: {reply:?}");
                if reply.as_ref().is_some_and(|reply| reply.starts_with("+OK")) {
                    assert!(
                        client.try_command("STAT").is_none_or(|stat| stat.starts_with("+OK 7 ")),
                        "{what}"
                    );
                }
                drop(fault);
                drop(client);
                check(&world, &home, &before, &[], &what);
                if !struck {
                    break;
                }
            }
        }
    });
}

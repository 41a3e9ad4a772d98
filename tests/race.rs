//! Races for one maildrop: programs that deliver at full speed against clients that download and delete (design, section 4,
//! "Late deliverers"), and many clients for one session (RFC 1939, section 4: an exclusive-access lock).
//! `POPTOOLS_RACE` says for how many seconds the first runs; 60 unless said.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;
#[path = "support/deliverers.rs"]
mod deliverers;

use common::site::{ADDRESS, Site};
use common::{Child, Client, PASSWORD, World, isolated_with_network, mail, processes, programs_or_skip};
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Clients that download and delete.
const CLIENTS: usize = 4;

/// Delivers a message with this mark, or says why not.
type Deliver = fn(&World, &str) -> Result<(), String>;

/// One way to keep mail, for the race.
struct Format {
    name: &'static str,
    /// What the configuration says of it.
    config: &'static str,
    /// What is made first.
    prepare: fn(&World),
    /// Programs that deliver into it: each is given a mark.
    deliver: [Deliver; 3],
    /// All octets that are in it.
    stored: fn(&World) -> Vec<u8>,
}

const MBOX: Format = Format {
    name: "mbox",
    config: "",
    prepare: |_| (),
    deliver: [
        |world, mark| deliverers::DELIVERERS[0].deliver(world, mark),
        |world, mark| deliverers::DELIVERERS[0].deliver(world, mark),
        |world, mark| deliverers::DELIVERERS[1].deliver(world, mark),
    ],
    stored: |world| fs::read(world.mailbox("ann")).unwrap_or_default(),
};

const MAILDIR: Format = Format {
    name: "Maildir",
    config: "[maildrop]\npath = \"{home}/Maildir\"",
    prepare: |world| {
        deliverers::make_maildir();
        deliverers::TO_MAILDIR.iter().for_each(|deliverer| deliverer.prepare(world));
    },
    deliver: [
        |world, mark| deliverers::TO_MAILDIR[0].deliver(world, mark),
        |world, mark| deliverers::TO_MAILDIR[1].deliver(world, mark),
        |world, mark| deliverers::TO_MAILDIR[2].deliver(world, mark),
    ],
    stored: |_| deliverers::stored_in_maildir(),
};

fn seconds() -> u64 {
    std::env::var("POPTOOLS_RACE").map_or(60, |value| value.parse().expect("a number of seconds"))
}

/// What the race has come to.
#[derive(Default)]
struct Score {
    over: AtomicBool,
    in_use: AtomicUsize,
    refused: AtomicUsize,
    sessions: AtomicUsize,
    /// How often each mark was downloaded.
    downloaded: Mutex<HashMap<String, usize>>,
}

#[test]
fn an_mbox_that_is_filled_and_emptied_at_full_speed_loses_nothing() {
    if programs_or_skip(&["procmail", "maildrop"]) {
        isolated_with_network(|| race(&MBOX));
    }
}

#[test]
fn a_maildir_that_is_filled_and_emptied_at_full_speed_loses_nothing() {
    // Beside the race for the mbox: its name comes first as well.
    if programs_or_skip(&["procmail", "maildrop", "dovecot"]) {
        isolated_with_network(|| race(&MAILDIR));
    }
}

fn race(format: &Format) {
    let config = format!("{}\n[limits]\nmax_per_address = 100\n[log]\nstatistics = false\n", format.config);
    let world = World::setup().config(&config).start();
    (format.prepare)(&world);
    let _site = Site::start(&world);
    let score = Score::default();
    let begun = Instant::now();
    let marks = std::thread::scope(|scope| {
        let deliveries: Vec<_> = (0..format.deliver.len())
            .map(|which| {
                let (world, score) = (&world, &score);
                scope.spawn(move || deliver(format, which, world, score))
            })
            .collect();
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !score.over.load(Ordering::Relaxed) {
                    visit(&score);
                }
            });
        }
        std::thread::sleep(Duration::from_secs(seconds()));
        score.over.store(true, Ordering::Relaxed);
        deliveries.into_iter().flat_map(|delivery| delivery.join().unwrap()).collect::<Vec<String>>()
    });
    let took = begun.elapsed();
    // What the last sessions left; a late delivery may still be brought over.
    visit(&score);
    let (stored, downloaded) = ((format.stored)(&world), score.downloaded.into_inner().unwrap());
    let lost: Vec<&String> = marks
        .iter()
        .filter(|mark| !downloaded.contains_key(*mark) && deliverers::marks(&stored, mark) == 0)
        .collect();
    let twice = downloaded.values().filter(|times| **times > 1).count();
    let again = marks.iter().filter(|mark| deliverers::marks(&stored, mark) > 1).count();
    assert_eq!(again, 0, "messages that are stored twice");
    eprintln!(
        "race, {}: {took:?}, {} delivered, {} downloaded ({twice} more than once), {} sessions, {} times in use, {} updates refused",
        format.name,
        marks.len(),
        downloaded.len(),
        score.sessions.into_inner(),
        score.in_use.into_inner(),
        score.refused.into_inner()
    );
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(marks.len() > 20 && downloaded.len() > 10, "it was a race");
}

fn deliver(format: &Format, which: usize, world: &World, score: &Score) -> Vec<String> {
    let (mut marks, mut failed, mut tried) = (Vec::new(), Vec::new(), 0);
    while !score.over.load(Ordering::Relaxed) {
        let mark = format!("deliverer {which} message {tried}");
        tried += 1;
        // A program that gives up after a while says so: its sender keeps the message.
        match format.deliver[which](world, &mark) {
            Ok(()) => marks.push(mark),
            Err(why) => failed.push(why),
        }
    }
    eprintln!(
        "{}, deliverer {which}: {} delivered, {} given up, such as {:?}",
        format.name,
        marks.len(),
        failed.len(),
        failed.first()
    );
    marks
}

/// A connection to the one server of this test's network.
fn connect() -> Client {
    Client::new(TcpStream::connect(ADDRESS).unwrap(), Child::nobody(), 0)
}

/// Logs in, downloads and deletes all there is.
fn visit(score: &Score) {
    let mut client = connect();
    client.patience(Duration::from_secs(60));
    let reply = client.login("ann", PASSWORD);
    if !reply.starts_with("+OK") {
        assert!(reply.starts_with("-ERR [IN-USE]") || reply.starts_with("-ERR [SYS/TEMP]"), "{reply}");
        score.in_use.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let count: usize = client.ok("STAT").split(' ').nth(1).unwrap().parse().unwrap();
    let mut marks = Vec::new();
    for number in 1..=count {
        marks.push(mark_of(&client.retrieve(number)));
        client.ok(&format!("DELE {number}"));
    }
    let reply = client.command("QUIT");
    // Downloaded is downloaded, whatever became of the deletion.
    let mut downloaded = score.downloaded.lock().unwrap();
    marks.into_iter().for_each(|mark| *downloaded.entry(mark).or_default() += 1);
    score.sessions.fetch_add(1, Ordering::Relaxed);
    if !reply.starts_with("+OK") {
        assert!(reply.starts_with("-ERR [SYS/TEMP]"), "{reply}");
        score.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// The mark of a message, which must be whole.
fn mark_of(message: &[u8]) -> String {
    let text = common::client::text(message);
    let mark =
        text.lines().find_map(|line| line.strip_prefix("begin ")).expect("a message with a mark").to_owned();
    let body = mail::wire(&deliverers::marked(&mark));
    let body = &body[memchr::memmem::find(&body, b"begin ").unwrap()..];
    assert_eq!(memchr::memmem::find_iter(message, body).count(), 1, "torn: {text}");
    assert_eq!(text.matches("begin ").count(), 1, "two in one: {text}");
    mark
}

#[test]
fn twenty_clients_race_for_one_maildrop() {
    isolated_with_network(|| {
        let world = World::setup().config("[limits]\nmax_per_address = 100").start();
        world.small_maildrop(3);
        let _site = Site::start(&world);
        let (inside, sessions, in_use) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let mut client = connect();
                        let reply = client.login("ann", PASSWORD);
                        if reply.starts_with("+OK") {
                            let others = inside.fetch_add(1, Ordering::SeqCst);
                            assert_eq!(others, 0, "RFC 1939, section 4: two in the TRANSACTION state");
                            client.ok("STAT");
                            client.ok("NOOP");
                            inside.fetch_sub(1, Ordering::SeqCst);
                            client.quit();
                            sessions.fetch_add(1, Ordering::SeqCst);
                        } else {
                            assert!(reply.starts_with("-ERR [IN-USE]"), "{reply}");
                            in_use.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        let (sessions, in_use) = (sessions.into_inner(), in_use.into_inner());
        eprintln!("20 clients, 100 logins: {sessions} sessions, {in_use} times in use");
        assert!(sessions >= 1 && sessions + in_use == 100);
    });
}

/// How long a login takes that succeeds as soon as it can.
fn next_login(killed: Instant) -> Duration {
    common::within(common::PATIENCE, || {
        let mut client = connect();
        let reply = client.login("ann", PASSWORD);
        reply.starts_with("+OK").then(|| {
            let took = killed.elapsed();
            client.quit();
            took
        })
    })
    .expect("a login after the death of the holder")
}

#[test]
fn the_death_of_the_holder_frees_the_maildrop_at_once() {
    isolated_with_network(|| {
        let world =
            World::setup().config("[limits]\nmax_per_address = 100\n[auth]\nfailure_delay = 0").start();
        let site = Site::start(&world);
        let mut times = Vec::new();
        for round in 0..10 {
            world.small_maildrop(3);
            let mut client = site.log_in("ann");
            client.ok("DELE 1");
            let session =
                common::eventually("one session", || Some(site.sessions("ann")).filter(|all| all.len() == 1));
            if round % 2 == 1 {
                // In the UPDATE state: the helper waits for a lock that this test holds.
                let lock = hold(&world.mailbox("ann"));
                client.send(b"QUIT\r\n");
                common::eventually("a helper", || (site.sessions("ann").len() > session.len()).then_some(()));
                processes::signal(session[0], Signal::SIGKILL);
                drop(lock);
            } else {
                processes::signal(session[0], Signal::SIGKILL);
            }
            times.push(next_login(Instant::now()));
        }
        times.sort();
        eprintln!("login after the holder's death: median {:?}, longest {:?}", times[5], times[9]);
        assert!(times[5] < Duration::from_secs(3) && times[9] < common::PATIENCE / 2, "{times:?}");
    });
}

fn hold(mailbox: &Path) -> fs::File {
    let file = fs::OpenOptions::new().read(true).append(true).open(mailbox).unwrap();
    let kind = i16::try_from(libc::F_WRLCK).unwrap();
    let whole = libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_OFD_SETLK(&whole)).unwrap();
    file
}

//! Many clients at once: guesses hold up nobody, logins leave nothing behind, a reload drops nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use common::client::assert_same;
use common::site::{ADDRESS, Site, cores};
use common::world::{QUICK_HASH, Setup};
use common::{Child, Client, PASSWORD, World, eventually, isolated_with_network, mail};
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A hash of [`PASSWORD`] at the cost that Debian uses: 18 MB and some 44 ms a check.
const YESCRYPT: &str = "$y$j9T$3DmoXfPq8WIoJWlEyd/w31$BGgSslYaWRgQqjCC4L8GjiRhaV4wlPJanRaemfmLwL5";

/// The same at four times the cost.
const SLOW_YESCRYPT: &str = "$y$jBT$Xlkv8rn6UwkhwgDIfOT8D.$n.BQHZUunSh0X7T0Ly9aqeS01YUtNMMBb7JwKjudhm9";

/// All clients of these tests come from few addresses.
const MANY_PER_ADDRESS: &str = "[limits]\nmax_per_address = 1000\n";

/// How long many checks may take together, on a slow machine with other things to do.
const LONG: Duration = Duration::from_secs(180);

/// These tests load the machine: each has it for itself. A failed one fails no other.
fn alone(test: impl FnOnce() + Send) {
    static MACHINE: Mutex<()> = Mutex::new(());
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    isolated_with_network(test);
}

/// Heap and stack of monitor and login processes in KiB, by pid.
fn memory(site: &Site) -> BTreeMap<u32, u64> {
    let lasting = [&[site.server.pid()], &site.logins()[..]].concat();
    let all = site.processes();
    let of = |process: &common::processes::Process| Some((process.pid, process.heap_kib()?));
    all.iter().filter(|process| lasting.contains(&process.pid)).filter_map(of).collect()
}

/// The most of what was seen.
#[derive(Debug, Default)]
struct Most {
    processes: usize,
    /// Heap and stack of one of the processes that last, in KiB.
    lasting: u64,
    /// Memory of all together, in KiB.
    all: u64,
}

impl Most {
    fn look(&mut self, site: &Site) {
        let all = site.processes();
        self.processes = self.processes.max(all.len());
        let together = all.iter().filter_map(common::processes::Process::share_kib).sum();
        self.all = self.all.max(together);
        self.lasting = self.lasting.max(memory(site).into_values().max().unwrap_or_default());
    }
}

#[test]
fn five_hundred_wrong_passwords_hold_up_nobody() {
    alone(|| {
        let world =
            World::setup().user("ann", YESCRYPT).user("bob", YESCRYPT).config(MANY_PER_ADDRESS).start();
        world.maildrop("bob", &mail::mbox(&mail::messages(1)));
        let site = Site::start(&world);
        site.log_in("bob").quit();
        let before = memory(&site);
        // Half of them from the address that bob uses, the others from twenty more.
        let address = |number: u8| if number.is_multiple_of(2) { 1 } else { 2 + number / 2 % 20 };
        let mut guessers: Vec<Client> =
            (0..500).map(|number| site.connect_from(address((number % 250) as u8))).collect();
        for guesser in &mut guessers {
            guesser.ok("USER ann");
            guesser.patience(LONG);
        }
        let (answered, mut most, mut times) = (AtomicBool::new(false), Most::default(), Vec::new());
        let guessed = Instant::now();
        for guesser in &mut guessers {
            guesser.send(b"PASS wrong horse\r\n");
        }
        let replies: Vec<String> = std::thread::scope(|scope| {
            let replies = scope.spawn(|| {
                let replies = guessers.iter_mut().map(Client::line).collect();
                answered.store(true, Ordering::SeqCst);
                replies
            });
            while !answered.load(Ordering::SeqCst) && !replies.is_finished() {
                let began = Instant::now();
                let mut bob = site.log_in("bob");
                times.push(began.elapsed());
                most.look(&site);
                bob.quit();
            }
            replies.join().unwrap()
        });
        // One whose turn came behind the guesses would wait for all of them, on a machine that is busy with other things too.
        let limit = Duration::from_secs(3).max(guessed.elapsed() / 4);
        let slowest = times.iter().max().unwrap();
        eprintln!(
            "{} right logins meanwhile, the slowest {slowest:?} of {limit:?}; {most:?}; before: {before:?}",
            times.len()
        );
        for reply in &replies {
            assert_eq!(
                reply, "-ERR [AUTH] Password supplied for \"ann\" is incorrect.",
                "nothing but that is wrong"
            );
        }
        assert!(times.len() >= 3, "guesses were still being checked");
        assert!(*slowest <= limit, "a right login of another user takes {slowest:?}, {limit:?} is the limit");
        // Design, section 2: max_verifications is 2 per core, of 18 MB each; bob has a session at work, its spool helper, and one or
        // two before it that wait for their client to close.
        assert!(most.processes <= 1 + cores() + 2 * cores() + 4, "{most:?}");
        assert!(most.all <= (2 * cores() as u64 + 1) * 24 * 1024 + 64 * 1024, "{most:?}");
        let largest = before.values().max().unwrap();
        assert!(most.lasting <= largest + 8 * 1024, "{most:?}, {largest} KiB before");
    });
}

/// A world with this many users more, each with a maildrop; all who connect come from one address.
fn world_of(
    names: &[String],
    hash: impl Fn(usize) -> &'static str,
    bytes: impl Fn(usize) -> Vec<u8>,
) -> World {
    let add = |setup: Setup, (number, name): (usize, &String)| setup.user(name, hash(number));
    let setup = World::setup().config(MANY_PER_ADDRESS).spool_size(256 << 20);
    let world = names.iter().enumerate().fold(setup, add).start();
    for (number, name) in names.iter().enumerate() {
        world.maildrop(name, &bytes(number));
    }
    world
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user{number}")).collect()
}

/// Logs in, looks, and quits until the time is over; how often, and the longest time from the connection to the welcome.
fn log_in_again_and_again(user: &str, until: Instant) -> (u32, Duration) {
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while Instant::now() < until {
        let began = Instant::now();
        let mut client = Client::new(TcpStream::connect(ADDRESS).unwrap(), Child::nobody(), 0);
        client.log_in(user);
        slowest = slowest.max(began.elapsed());
        client.ok("STAT");
        client.quit();
        count += 1;
    }
    (count, slowest)
}

#[test]
fn sixty_four_at_once_leave_nothing_behind() {
    alone(|| {
        let names = names(64);
        let mailbox = mail::mbox(&mail::messages(3));
        let world = world_of(&names, |_| QUICK_HASH, |_| mailbox.clone());
        let site = Site::start(&world);
        let round = |length: Duration| {
            let until = Instant::now() + length;
            std::thread::scope(|scope| {
                let start = |name| scope.spawn(move || log_in_again_and_again(name, until));
                let threads: Vec<_> = names.iter().map(|name| start(name)).collect();
                let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
                let count: u32 = results.iter().map(|(count, _)| count).sum();
                (count, results.into_iter().map(|(_, slowest)| slowest).max().unwrap())
            })
        };
        let idle = || {
            eventually("monitor and login processes alone", || {
                (site.processes().len() == 1 + cores()).then_some(())
            });
        };
        // The first round makes state directories and grows tables.
        round(Duration::from_millis(500));
        idle();
        let (descriptors, before) = (site.descriptors(), memory(&site));
        let seconds = if std::env::var_os("POPTOOLS_LONG").is_some() { 10 } else { 3 };
        let (count, slowest) = round(Duration::from_secs(seconds));
        idle();
        eventually("no descriptor more than before", || (site.descriptors() == descriptors).then_some(()));
        let after = memory(&site);
        eprintln!(
            "{count} logins in {seconds} s, none refused, the slowest {slowest:?}; KiB before {before:?}, after {after:?}"
        );
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "no process died");
        for (pid, kib) in &after {
            assert!(
                *kib <= before[pid] + 2 * 1024,
                "process {pid} has grown from {} to {kib} KiB",
                before[pid]
            );
        }
    });
}

/// Messages 1 and 2 of a maildrop, the second too large for all buffers on the way.
fn large_messages() -> [mail::Stored; 2] {
    let line = [&[b'x'; 71][..], b"\n"].concat();
    [mail::message(1), [&mail::message(2)[..], &line.repeat((12 << 20) / line.len())].concat()]
}

/// A hundred clients, each with a maildrop of its own, in all states that there are.
struct Crowd {
    greeted: Vec<(Client, String)>,
    named: Vec<(Client, String)>,
    verifying: Vec<(Client, String)>,
    deleting: Vec<(Client, String)>,
    retrieving: Vec<(Client, String)>,
}

/// The users whose passwords take long to check.
const VERIFYING: std::ops::Range<usize> = 50..75;

impl Crowd {
    fn gather(site: &Site, names: &[String]) -> Self {
        let some = |range: std::ops::Range<usize>, prepare: &dyn Fn(&mut Client, &str)| {
            let connect = |name: &String| {
                let mut client = site.connect();
                client.patience(LONG);
                prepare(&mut client, name);
                (client, name.clone())
            };
            names[range].iter().map(connect).collect()
        };
        Self {
            // Half a command is a state too.
            greeted: some(0..25, &|client, _| client.send(b"US")),
            named: some(25..50, &|client, name| drop(client.ok(&format!("USER {name}")))),
            deleting: some(75..95, &|client, name| {
                client.log_in(name);
                client.ok("DELE 1");
            }),
            retrieving: some(95..100, &|client, name| {
                client.log_in(name);
                client.ok("DELE 1");
                client.ok("RETR 2");
            }),
            // Last, so that most of them still wait when the signal comes.
            verifying: some(VERIFYING, &|client, name| {
                client.ok(&format!("USER {name}"));
                client.send(format!("PASS {PASSWORD}\r\n").as_bytes());
            }),
        }
    }

    /// Everybody goes on where they were.
    fn go_on(self, world: &World, large: &mail::Stored) {
        for (mut client, name) in self.greeted {
            client.send(format!("ER {name}\r\n").as_bytes());
            assert!(client.line().starts_with("+OK"), "{name} was greeted");
            let reply = client.command(&format!("PASS {PASSWORD}"));
            assert!(reply.starts_with("+OK"), "{name} was greeted: {reply}");
            client.quit();
        }
        for (mut client, name) in self.named {
            let reply = client.command(&format!("PASS {PASSWORD}"));
            assert!(reply.starts_with("+OK"), "{name} had said USER: {reply}");
            client.quit();
        }
        for (mut client, name) in self.verifying {
            let reply = client.line();
            assert!(reply.starts_with("+OK"), "{name} was being verified: {reply}");
            client.quit();
        }
        for (mut client, name) in self.deleting {
            client.quit();
            assert_same(&name, &world.stored(&name), &mail::mbox(&mail::messages(2)[1..]));
        }
        for (mut client, name) in self.retrieving {
            let message: Vec<u8> =
                client.multiline().into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect();
            assert_same(&name, &message, &mail::wire(large));
            client.quit();
            assert_same(&name, &world.stored(&name), &mail::mbox(&[large]));
        }
    }
}

#[test]
fn a_reload_drops_none_of_a_hundred() {
    // Design, section 2, generations.
    alone(|| {
        let names = names(100);
        let large = large_messages();
        let bytes =
            |number: usize| if number < 95 { mail::mbox(&mail::messages(2)) } else { mail::mbox(&large) };
        let hash = |number: usize| if VERIFYING.contains(&number) { SLOW_YESCRYPT } else { QUICK_HASH };
        let world = world_of(&names, hash, bytes);
        let mut site = Site::start(&world);
        let old = site.logins();
        let crowd = Crowd::gather(&site, &names);
        let logged_in = || world.log_lines().iter().filter(|line| line.contains(" login: ")).count();
        let before = logged_in();
        let config = fs::read_to_string(&world.config).unwrap();
        fs::write(&world.config, format!("shy = true\n{config}")).unwrap();
        site.reload(&["notice: text=", "serving POP3 on"], 2);
        eprintln!("{before} sessions before the signal, {} when it was obeyed", logged_in());
        assert!(before < 50, "some were still being verified");
        let mut new = site.connect();
        assert!(!new.greeting.contains("poptools"), "shy now: {}", new.greeting);
        new.quit();
        crowd.go_on(&world, &large[1]);
        site.new_logins(&old);
    });
}

//! `cargo bench --bench timing`: whether the time of a refusal tells who exists (design, section 5).
//!
//! Wrong passwords of a user, names that nobody has, users who may not use PASS, locked and expired ones are refused by turns, under
//! enhanced security, and the medians are compared: without a delay and with one scheme of hashes they differ by at most 5 % or 1 ms,
//! with the default delay and four schemes by at most 2 ms, each alone and while eight others guess. It ends with status 1 where they
//! do not. `TIMING_ATTEMPTS` is how many refusals of each kind there are, 500 unless set. It needs root, for mounts and a network of
//! its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::site::Site;
use common::{PASSWORD, World, isolated_with_network, root_or_skip};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// `correct horse`, each by another scheme; the first is what a refusal without a hash of its own imitates.
const SCHEMES: [(&str, &str); 4] = [
    (
        "SHA-512",
        "$6$poptoolsSalt$qDvFe.kP05Dfw/sOXZSrn57WniyGQgHta3TL7mJz8JdJtswQoa1jljQAiFo6l6ROQ0EOHC/vUmh26hLonUoBs1",
    ),
    ("yescrypt", "$y$j9T$qEkaUsxDEtQzsQ/r12D9l.$XIqbGW4KHyNM95CAWa.I8CzrOX6PMAR/JXRo7toMG04"),
    ("SHA-256", "$5$poptoolsSalt$VDJe9ENfdGpDk9ye6wPZbr1Gwe2GJfY.3sJONlL1em0"),
    ("bcrypt", "$2b$05$XepZhBPulCYLLaqMLPEc8ei/Cm0egQ4ipxwlYJ9Qu8zxCKKj3B7LW"),
];

/// Connections at once where answers are delayed, so that minutes are enough.
const PARALLEL: usize = 24;

/// Who guess meanwhile.
const OTHERS: usize = 8;

const KEYS: &str = "key = \"/run/lib/keys/mailauth.key\"\nsecurity = \"enhanced\"\n";
const COUNTERS: &str = "[lockout]\nfailures = 1000000000\nuser_failures = 0\nmax_delay = 0\n\
                        [limits]\nmax_per_address = 1000\n";

/// A name, what is sent as its password, and what it stands for.
#[derive(Clone)]
struct Kind {
    what: String,
    user: String,
    password: &'static str,
}

fn kind(what: &str, user: &str, password: &'static str) -> Kind {
    Kind { what: what.to_owned(), user: user.to_owned(), password }
}

fn main() {
    if !root_or_skip() {
        return;
    }
    // The test runner's own words, such as --bench.
    let attempts = std::env::var("TIMING_ATTEMPTS").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    let good = Arc::new(AtomicBool::new(true));
    for delayed in [false, true] {
        let good = Arc::clone(&good);
        isolated_with_network(move || {
            let world = world(delayed);
            let site = Site::start(&world);
            for others in [0, OTHERS] {
                let kinds = kinds(delayed);
                let times =
                    with_others(others, || measure(&kinds, attempts, if delayed { PARALLEL } else { 1 }));
                let is_good = report(&kinds, &times, delayed, others);
                good.fetch_and(is_good, Ordering::Relaxed);
            }
            drop(site);
        });
    }
    if !good.load(Ordering::Relaxed) {
        std::process::exit(1);
    }
}

/// The machine: a user for each kind.
fn world(delayed: bool) -> World {
    let day = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let hash = SCHEMES[0].1;
    let mut setup = World::setup()
        .user("ann", hash)
        .user("bob", hash)
        .user("apop", hash)
        .user("locked", &format!("!{hash}"))
        .user("shut", hash)
        .user("expired", &format!("{hash}:{day}:0:99999:7::{day}:"))
        .user_with_uid("pop", 20_998, "!");
    for (scheme, hash) in &SCHEMES {
        setup = setup.user(&by(scheme), hash);
    }
    let delay = if delayed { "" } else { "failure_delay = 0\n" };
    let world = setup.config(&format!("[auth]\n{delay}{KEYS}{COUNTERS}")).start();
    mailauth(&world, &["init"]);
    mailauth(&world, &["add", "apop", "--stdin"]);
    mailauth(&world, &["lock", "shut"]);
    world
}

fn mailauth(world: &World, words: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailauth"));
    command.arg("--config").arg(&world.config).args(words).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    // Who asks for no secret reads none.
    let _ = child.stdin.take().unwrap().write_all(b"a secret of apop\n");
    assert!(child.wait().unwrap().success(), "mailauth {words:?}");
}

/// The user whose password has this scheme.
fn by(scheme: &str) -> String {
    format!("by-{}", scheme.to_ascii_lowercase())
}

/// Whom to refuse. The first is what the others are compared with.
fn kinds(delayed: bool) -> Vec<Kind> {
    let mut kinds = if delayed {
        SCHEMES.iter().map(|(scheme, _)| kind(&format!("existing, {scheme}"), &by(scheme), "wrong")).collect()
    } else {
        vec![kind("existing, wrong password", "ann", "wrong")]
    };
    kinds.extend([
        kind("unknown", "nobody-here", PASSWORD),
        kind("APOP-only", "apop", PASSWORD),
        kind("locked (shadow)", "locked", PASSWORD),
        kind("locked (mailauth)", "shut", PASSWORD),
        kind("expired", "expired", PASSWORD),
    ]);
    kinds
}

/// Runs the work while others guess.
fn with_others<T>(others: usize, work: impl FnOnce() -> T) -> T {
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    refusal(&kind("", "bob", "guess"));
                }
            });
        }
        let done = work();
        end.store(true, Ordering::Relaxed);
        done
    })
}

/// The times of all refusals, by kind. The kinds take turns, so that what changes on the machine changes all of them, in another order
/// each time, so that none always follows the same.
fn measure(kinds: &[Kind], attempts: usize, parallel: usize) -> Vec<Vec<Duration>> {
    let times: Vec<Mutex<Vec<Duration>>> = kinds.iter().map(|_| Mutex::default()).collect();
    let turns = turns(kinds.len(), attempts);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..parallel {
            scope.spawn(|| {
                loop {
                    let Some(&at) = turns.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let time = refusal(&kinds[at]);
                    times[at].lock().unwrap().push(time);
                }
            });
        }
    });
    times.into_iter().map(|times| times.into_inner().unwrap()).collect()
}

/// Whose turn it is: so many rounds of all kinds, each shuffled.
fn turns(kinds: usize, rounds: usize) -> Vec<usize> {
    let mut random = 1_u64;
    let mut turns = Vec::with_capacity(kinds * rounds);
    for _ in 0..rounds {
        let mut round: Vec<usize> = (0..kinds).collect();
        for last in (1..kinds).rev() {
            // Knuth's generator: any will do here.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            round.swap(last, usize::try_from(random >> 33).unwrap() % (last + 1));
        }
        turns.extend(round);
    }
    turns
}

/// How long a refusal takes, on a connection of its own.
fn refusal(kind: &Kind) -> Duration {
    let stream = std::net::TcpStream::connect(common::site::ADDRESS).unwrap();
    let mut client = common::Client::new(stream, common::Child::nobody(), 0);
    client.patience(Duration::from_secs(60));
    client.ok(&format!("USER {}", kind.user));
    let began = Instant::now();
    let reply = client.command(&format!("PASS {}", kind.password));
    let time = began.elapsed();
    let expected = format!("-ERR [AUTH] Password supplied for \"{}\" is incorrect.", kind.user);
    assert_eq!(reply, expected, "{}", kind.what);
    time
}

/// Prints the medians; whether they are near enough to each other. On a busy machine medians of so few are uncertain: one that is too
/// far by less than twice the standard error of the difference is shown as such, and decides nothing.
fn report(kinds: &[Kind], times: &[Vec<Duration>], delayed: bool, others: usize) -> bool {
    let delay = if delayed { "default delay, four schemes" } else { "no delay, one scheme" };
    let who = if others == 0 { "nobody else".to_owned() } else { format!("{others} others guess") };
    println!("\n{delay}; {who}; {} refusals of each kind", times[0].len());
    let milliseconds: Vec<f64> = times.iter().map(|times| median(times).as_secs_f64() * 1000.0).collect();
    let errors: Vec<f64> = times.iter().map(|times| standard_error(times) * 1000.0).collect();
    let first = milliseconds[0];
    let mut is_good = true;
    for ((kind, median), error) in kinds.iter().zip(&milliseconds).zip(&errors) {
        let (apart, error) = (median - first, error.hypot(errors[0]));
        let allowed = if delayed { 2.0 } else { (first * 0.05).max(1.0) };
        let is_far = apart.abs() > allowed + 2.0 * error;
        is_good &= !is_far;
        let verdict = match apart.abs() > allowed {
            _ if is_far => "  TOO FAR",
            true => "  uncertain: more attempts, or a quiet machine",
            false => "",
        };
        println!("{:<28} {median:>9.3} ms {apart:>+8.3} ms (+-{error:.3}){verdict}", kind.what);
    }
    is_good
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

/// That of the median in seconds, by the order of the times: whatever their distribution is.
fn standard_error(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let (middle, wide) = (times.len() / 2, times.len().isqrt().div_ceil(2));
    let (low, high) = (middle.saturating_sub(wide), (middle + wide).min(times.len() - 1));
    (times[high] - times[low]).as_secs_f64() / 2.0
}

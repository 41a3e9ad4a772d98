//! `cargo bench --bench peers`: our server and those of the distribution side by side, in one run, in interleaved rounds.
//!
//! It needs root, for mounts, processes and a network of its own; nothing of the machine is touched but a control group for each server,
//! which is removed even when the run is killed (`apart.rs`). `benches/peers/fetch` gets the other servers. Options behind `--`:
//! `--quick` (50 MiB and 5,000 messages, the default) or `--full` (1 GiB and 100,000), `--rows poll,big` (names that begin so),
//! `--peers popa3d,dovecot`, `--rounds N`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]

#[path = "../../tests/common/mod.rs"]
mod common;

mod aims;
mod apart;
mod bare;
mod big;
mod client;
mod idle;
mod inetd;
mod mailboxes;
mod meter;
mod peers;
mod polls;
mod report;
mod small;
mod transfer;

use common::world::{Setup, World};
use common::{isolated_with_network, machine};
use peers::{Ground, Peer};
use report::Report;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The password of all users: without a space, which popa3d would not understand.
const PASSWORD: &str = "correct-horse";
/// The salt in MD5-crypt, the cheapest scheme that every server knows.
const MD5: &str = "qZsOJzjn";
/// The same as Debian hashes it.
const YESCRYPT: &str = "$y$j9T$3DmoXfPq8WIoJWlEyd/w31$e7b.Qmvwr7DjlxjMV07z.kGgUPhZnVbP8gXyrKbnh7B";
/// Users for polls with many clients, without maildrops until a row makes them.
const POLLERS: usize = 64;
/// Users for sessions that idle.
const IDLERS: usize = 500;

/// What to measure.
pub(crate) struct Plan {
    full: bool,
    rounds: Option<usize>,
    rows: Vec<String>,
    peers: Vec<String>,
}

impl Plan {
    fn read(words: &[String]) -> Self {
        let mut plan = Self { full: false, rounds: None, rows: Vec::new(), peers: Vec::new() };
        let mut words = words.iter().cloned();
        let list = |text: Option<String>| -> Vec<String> {
            text.unwrap_or_default().split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect()
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => plan.full = false,
                "--full" => plan.full = true,
                "--rounds" => plan.rounds = words.next().and_then(|number| number.parse().ok()),
                "--rows" => plan.rows = list(words.next()),
                "--peers" => plan.peers = list(words.next()),
                // cargo's own.
                "--bench" => {}
                other => {
                    eprintln!(
                        "peers: {other} is no option: --quick, --full, --rows A,B, --peers A,B, --rounds N"
                    );
                    std::process::exit(64);
                }
            }
        }
        plan
    }

    /// Whether a row is wanted.
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| row.starts_with(wanted.as_str()))
    }

    fn wants_peer(&self, peer: &str) -> bool {
        self.peers.is_empty() || peer == "ours" || self.peers.iter().any(|wanted| peer == wanted)
    }

    /// How often a row is measured: as often as is usual for it, unless that was said or it is to be quick.
    pub(crate) fn rounds(&self, usual: usize) -> usize {
        self.rounds.unwrap_or(if self.full { usual } else { usual.min(2) })
    }
}

/// Where rows are measured.
pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) peers: Vec<Peer>,
    pub(crate) report: Report,
}

/// What one measurement of one server gave, by the names of its columns.
pub(crate) type Sample = Vec<(&'static str, f64)>;

impl Bench<'_> {
    /// Measures a row: every server in turn, round by round. `work` gives `None` for a server that has no such thing.
    pub(crate) fn row(
        &mut self,
        name: &str,
        rounds: usize,
        mut work: impl FnMut(&Peer) -> std::io::Result<Option<Sample>>,
    ) {
        if !self.plan.wants(name) {
            return;
        }
        let began = Instant::now();
        let mut failed: Vec<&str> = Vec::new();
        for _ in 0..self.plan.rounds(rounds) {
            for peer in &self.peers {
                if failed.contains(&peer.name) {
                    continue;
                }
                match work(peer) {
                    Ok(Some(sample)) => self.report.add(name, peer.name, sample),
                    Ok(None) => {}
                    Err(why) => {
                        eprintln!("{name}: {} failed: {why}", peer.name);
                        failed.push(peer.name);
                        peer.meter.settle(peer.idle);
                    }
                }
            }
        }
        self.report.print(name, began.elapsed());
    }
}

/// CPU time and wall clock of what is done with a server, in milliseconds; the end of its processes counts.
pub(crate) fn measured(
    peer: &Peer,
    work: impl FnOnce() -> std::io::Result<()>,
) -> std::io::Result<(f64, f64)> {
    peer.meter.settle(peer.idle);
    let (cpu, began) = (peer.meter.cpu(), Instant::now());
    work()?;
    let wall = began.elapsed();
    peer.meter.settle(peer.idle);
    Ok((millis(peer.meter.cpu().saturating_sub(cpu)), millis(wall)))
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Names of users whose maildrops rows make.
fn common_users() -> Vec<String> {
    let named = ["big", "ten", "mid", "huge", "two", "slow"].map(str::to_owned);
    named.into_iter().chain((0..POLLERS).map(|number| format!("p{number}"))).collect()
}

fn world(idlers: bool) -> World {
    let md5 = md5_of_password();
    let mut setup: Setup = World::setup();
    for user in common_users() {
        setup = setup.user(&user, if user == "slow" { YESCRYPT } else { &md5 });
    }
    for number in 0..if idlers { IDLERS } else { 0 } {
        setup = setup.user(&format!("i{number}"), &md5);
    }
    for (name, uid) in
        [("popa3d", 901), ("dovecot", 902), ("dovenull", 903), ("courier", 904), ("spop3d", 905)]
    {
        setup = setup.user_with_uid(name, uid, "!");
    }
    setup.syslog(common::world::Syslog::Read).start()
}

fn md5_of_password() -> String {
    let made = std::process::Command::new("openssl")
        .args(["passwd", "-1", "-salt", MD5, PASSWORD])
        .output()
        .expect("openssl makes a password hash");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// Shows what `fetch` has unpacked below the directories of the system, whose own files come first.
fn overlay(fetched: &Path, stage: &Path) {
    use nix::mount::{MsFlags, mount};
    let etc = stage.join("etc");
    std::fs::create_dir_all(etc.join("pam.d")).unwrap();
    for service in ["pop3", "solid-pop3d", "popa3d", "dovecot"] {
        let text = "auth required pam_unix.so\naccount required pam_unix.so\n";
        machine::write(&etc.join("pam.d").join(service), text.as_bytes(), 0o644);
    }
    std::fs::create_dir_all(etc.join("courier")).unwrap();
    let text = "authmodulelist=\"authpam\"\nauthmodulelistorig=\"authpam\"\ndaemons=5\n\
                authdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\nDEFAULTOPTIONS=\"\"\nLOGGEROPTS=\"\"\n";
    machine::write(&etc.join("courier/authdaemonrc"), text.as_bytes(), 0o644);
    let solid = "<Global>\nMailDropName \"/var/mail/solid-pop3d/%s\"\nMailDropType mailbox\nLogStatistics no\n\
                 BulletinDirectory \"/run/bulletins\"\n</Global>\n";
    machine::write(&etc.join("spop3d.conf"), solid.as_bytes(), 0o644);
    let root = fetched.join("root");
    std::fs::create_dir_all(root.join("usr")).unwrap();
    for (target, lower) in [
        ("/usr", format!("/usr:{}", root.join("usr").display())),
        ("/etc", format!("{}:/etc", etc.display())),
    ] {
        let options = format!("lowerdir={lower}");
        mount(Some("none"), target, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .unwrap_or_else(|why| panic!("cannot show the other servers in {target}: {why}"));
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench");
    match words.first().map(String::as_str) {
        Some("--inetd") => inetd::serve(words[1].parse().unwrap(), &words[2..]),
        Some("--sweep") => apart::sweep(&target, &words[1]),
        Some("--first") => apart::first(&words[1..]),
        Some("--run") => {
            let plan = Plan::read(&words[2..]);
            isolated_with_network(|| run(&plan, &target, &words[1]));
        }
        _ => {
            // So that a wrong option is said before anything is made.
            Plan::read(&words);
            if !nix::unistd::geteuid().is_root() {
                eprintln!("peers: only root can measure: type sudo -E cargo bench --bench peers");
                std::process::exit(77);
            }
            apart::supervise(&target);
        }
    }
}

fn run(plan: &Plan, target: &Path, run: &str) {
    let fetched = target.join("peers");
    let disk = apart::disk(target, run);
    let began = Instant::now();
    let stage = tempfile::tempdir_in(&disk).unwrap();
    overlay(&fetched, stage.path());
    let mut report = Report::new(plan.full);
    let passes: Vec<bool> = [false, true].into_iter().filter(|idle| plan.wants_pass(*idle)).collect();
    for idlers in passes {
        let place = tempfile::tempdir_in(&disk).unwrap();
        machine::chmod(place.path(), 0o755);
        let world = world(idlers);
        let disk = prepare_disk(place.path());
        certificate();
        let groups = meter::mount_groups(world.directory());
        let ground = Ground { world: &world, groups, fetched: fetched.clone(), disk, run: run.to_owned() };
        let start = |(name, start): &(&str, fn(&Ground<'_>) -> Option<Peer>)| {
            let peer = plan.wants_peer(name).then(|| start(&ground))?;
            if peer.is_none() {
                eprintln!("{name} is not there; benches/peers/fetch may get it");
            }
            peer
        };
        let peers = peers::ALL.iter().filter_map(start).collect();
        let mut bench = Bench { plan, peers, report };
        if !idlers {
            features(&bench);
        }
        if idlers {
            idle::rows(&mut bench);
        } else {
            polls::rows(&mut bench);
            small::rows(&mut bench);
            transfer::rows(&mut bench);
            big::rows(&mut bench);
        }
        report = bench.report;
        let _ = nix::mount::umount2("/var/mail", nix::mount::MntFlags::MNT_DETACH);
    }
    report.verdicts();
    report.write(&target.join("peers.json"), began.elapsed());
}

/// Shows what each server says that it can do, before a login.
fn features(bench: &Bench<'_>) {
    if !bench.plan.wants("features") {
        return;
    }
    println!("\nfeatures");
    for peer in &bench.peers {
        let said = client::Client::connect(peer.port, false).and_then(|mut client| client.capabilities());
        println!("  {:<16}  {}", peer.name, said.unwrap_or_else(|why| format!("({why})")));
    }
}

impl Plan {
    /// Whether rows of this pass are wanted: those with many users who idle, or the others.
    fn wants_pass(&self, idlers: bool) -> bool {
        let names = if idlers {
            idle::ROWS
        } else {
            &["features", "poll", "inetd", "small", "retr", "huge", "tls", "big", "tenfold", "latency"]
        };
        self.rows.is_empty()
            || self
                .rows
                .iter()
                .any(|row| names.iter().any(|name| name.starts_with(row.as_str()) || row.starts_with(name)))
    }
}

/// Mail and what is known of it lie on a disk, as they do on servers: what is durable costs.
fn prepare_disk(place: &Path) -> PathBuf {
    let (spool, disk) = (place.join("spool"), place.join("state"));
    machine::make_directory(&spool, 0o755);
    machine::make_directory(&disk, 0o755);
    let group = common::world::group("mail");
    std::os::unix::fs::chown(&spool, Some(0), Some(group)).unwrap();
    machine::chmod(&spool, 0o2775);
    let flags = nix::mount::MsFlags::MS_BIND;
    for (source, target) in [(&spool, "/var/mail"), (&disk, "/run/lib")] {
        nix::mount::mount(Some(source), target, None::<&str>, flags, None::<&str>).unwrap();
    }
    PathBuf::from("/run/lib")
}

fn certificate() {
    machine::make_directory(Path::new("/run/tls"), 0o755);
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=mail.example.org",
        ])
        .args(["-addext", "subjectAltName=DNS:mail.example.org"])
        .args(["-keyout", "/run/tls/key.pem", "-out", "/run/tls/cert.pem"])
        .output()
        .unwrap();
    assert!(made.status.success(), "openssl makes a certificate");
    machine::chmod(Path::new("/run/tls/key.pem"), 0o600);
}

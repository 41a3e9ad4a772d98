//! The server itself in inetd mode, on loopback TCP.

use super::common::machine::write;
use super::common::world::tcp_pair;
use super::common::{
    Child, PATIENCE, World, find_program, isolated, isolated_with_network, programs_or_skip,
};
use super::fixture::Fixture;
use super::replay::{Peer, Site, replay};
use super::script::Script;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

const SENDMAIL: &str = "/run/lib/sendmail";

/// Where a world's server keeps what it knows of ann's maildrop.
const STATE: &str = "/run/lib/poptools/maildrop/ann";

/// An address of this machine that is not loopback (RFC 5737): who connects to it comes from it.
const STRANGER: &str = "192.0.2.1";

/// As many scripts as one world serves, so that there is work for all cores.
const SCRIPTS_A_WORLD: usize = 32;

/// What became of the scripts.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) replayed: usize,
    /// Path and reason.
    pub(crate) skipped: Vec<String>,
    /// What [`replay`] says.
    pub(crate) failures: Vec<String>,
}

/// Replays all files, on each core some.
pub(crate) fn replay_all(scripts: &[Script]) -> Outcome {
    let jobs = Mutex::new(jobs(scripts).into_iter());
    let outcome = Mutex::new(Outcome::default());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        loop {
            let job = jobs.lock().unwrap().next();
            let Some(job) = job else { break };
            run(&job, &outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    outcome.into_inner().unwrap()
}

/// Scripts of one setup.
struct Job<'a> {
    setup: &'a [String],
    scripts: Vec<&'a Script>,
}

impl Job<'_> {
    fn has(&self, word: &str) -> bool {
        self.setup.iter().any(|set| set == word)
    }
}

fn jobs(scripts: &[Script]) -> Vec<Job<'_>> {
    let mut jobs: Vec<Job> = Vec::new();
    for script in scripts {
        let setup = &script.setup[..];
        match jobs.iter_mut().find(|job| job.setup == setup && job.scripts.len() < SCRIPTS_A_WORLD) {
            Some(job) => job.scripts.push(script),
            None => jobs.push(Job { setup, scripts: vec![script] }),
        }
    }
    jobs
}

/// Replays the scripts of a job in a world of their own, or says why none can be made.
fn run(job: &Job, outcome: &Mutex<Outcome>) {
    let mut skipped = missing(job);
    if skipped.is_none() {
        skipped = Some("needs namespaces");
        enclosed(job, || {
            skipped = None;
            let world = world(job);
            for script in &job.scripts {
                let result = replay_one(script, &world, job);
                let mut outcome = outcome.lock().unwrap();
                outcome.replayed += 1;
                outcome.failures.extend(result.err());
            }
        });
    }
    if let Some(why) = skipped {
        let skipped = job.scripts.iter().map(|script| format!("{} ({why})", script.path));
        outcome.lock().unwrap().skipped.extend(skipped);
    }
}

/// What a setup needs and this machine has not.
fn missing(job: &Job) -> Option<&'static str> {
    (job.has("encrypted-only") && !programs_or_skip(&["ip"])).then_some("needs ip")
}

/// Runs it where mounts, and the network when that is changed too, are seen by nobody else.
fn enclosed(job: &Job, replay: impl FnOnce() + Send) {
    if !job.has("encrypted-only") {
        return isolated(replay);
    }
    isolated_with_network(|| {
        let mut ip = Command::new(find_program("ip").unwrap());
        let added = ip.args(["address", "add", &format!("{STRANGER}/32"), "dev", "lo"]).status();
        assert!(added.unwrap().success(), "loopback gets the address {STRANGER}");
        replay();
    });
}

fn world(job: &Job) -> World {
    let mut config = String::new();
    let mut announce = "";
    let mut xtnd = format!("[xtnd]\nsendmail = \"{SENDMAIL}\"\n");
    for word in job.setup {
        match word.as_str() {
            "shy" => config += "shy = true\n",
            "no-xlst" => xtnd += "xlst = false\n",
            "no-xmit" => xtnd += "xmit = false\n",
            "challenge" => announce = "announce = [\"APOP\"]\n",
            "sasl" => announce = "announce = [\"CRAM-MD5\", \"SCRAM-SHA-256\"]\n",
            // The program and the address are there for everybody.
            "sendmail" | "encrypted-only" => {}
            other => panic!("no setup {other:?}"),
        }
    }
    // Refusals come at once: that they are delayed is a test elsewhere.
    let config = format!("{config}[auth]\nfailure_delay = 0\n{announce}{xtnd}");
    let world = World::setup().config(&config).start();
    write(Path::new(SENDMAIL), b"#!/bin/sh\nexec cat >/dev/null\n", 0o755);
    world
}

/// Replays one script. The server must have no fault to tell of either, and leave nothing behind.
fn replay_one(script: &Script, world: &World, job: &Job) -> Result<(), String> {
    let fixture = Fixture::load(&script.maildrop);
    install(world, &fixture);
    let before = world.log_lines().len();
    let host = if job.has("encrypted-only") { STRANGER } else { "127.0.0.1" };
    let mut server = Server { world, address: format!("{host}:0"), process: None };
    replay(script, &mut server, &fixture)?;
    server
        .ends()
        .map_err(|error| error.to_string())
        .and_then(|()| no_fault(&world.log_lines()[before..]))
        .and_then(|()| nothing_left(world))
        .map_err(|what| format!("{}: behind the end: {what}", script.path))
}

fn no_fault(lines: &[String]) -> Result<(), String> {
    let faults = [" error: ", " end=failed", " end=killed"];
    let bad = lines.iter().find(|line| faults.iter().any(|fault| line.contains(fault)));
    bad.map_or(Ok(()), |line| Err(format!("the log says {line}")))
}

fn nothing_left(world: &World) -> Result<(), String> {
    let mut names = world.spool_names();
    names.retain(|name| name != "ann");
    if names.is_empty() { Ok(()) } else { Err(format!("left behind in the spool: {names:?}")) }
}

/// Puts the fixture in the place of the maildrop before, of which nothing is left.
fn install(world: &World, fixture: &Fixture) {
    for name in world.spool_names() {
        fs::remove_file(world.spool.join(name)).unwrap();
    }
    if Path::new(STATE).exists() {
        fs::remove_dir_all(STATE).unwrap();
    }
    if let Some(mbox) = &fixture.mbox {
        world.maildrop("ann", mbox);
    }
}

/// A server with the maildrop of one script; a process for each connection.
struct Server<'a> {
    world: &'a World,
    address: String,
    process: Option<Child>,
}

impl Server<'_> {
    /// Waits for the end of the connection before: the process that inetd started is the last of a session's.
    fn ends(&mut self) -> io::Result<()> {
        let status = self.process.take().map(|mut process| process.wait(PATIENCE));
        match status {
            None => Ok(()),
            Some(Some(status)) if status.success() => Ok(()),
            Some(Some(status)) => Err(io::Error::other(format!("pop3d ended with {status}"))),
            Some(None) => Err(io::Error::other("pop3d does not end with its connection")),
        }
    }
}

impl Site for Server<'_> {
    fn connect(&mut self) -> io::Result<Box<dyn Peer + '_>> {
        self.ends()?;
        let (ours, theirs) = tcp_pair(&self.address);
        ours.set_read_timeout(Some(PATIENCE))?;
        ours.set_write_timeout(Some(PATIENCE))?;
        ours.set_nodelay(true)?;
        self.process = Some(Child::start(self.world.command(&[], &[], theirs.into())));
        Ok(Box::new(ours))
    }
}

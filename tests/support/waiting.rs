//! A command of `mailusradm` that waits for a word before it begins, so that a tracer can take hold of it.

use crate::common::world::tcp_pair;
use crate::common::{self, Child, Client, World};
use crate::tracer::{Plan, Tracer, WRAPPER};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// The command, which waits.
pub(crate) struct Waiting {
    client: Client,
    go: PathBuf,
}

impl Waiting {
    pub(crate) fn start(world: &World, program: &Command) -> Self {
        let go = world.directory().join("go");
        let _ = fs::remove_file(&go);
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let script = format!("read go <{}; exec \"$@\" >/dev/null", go.display());
        let mut shell = Command::new(WRAPPER[0]);
        shell.args(&WRAPPER[1..]).args(["sh", "-c", &script, "sh"]);
        shell.arg(program.get_program()).args(program.get_args());
        let (ours, _) = tcp_pair("127.0.0.1:0");
        Self { client: Client::silent(ours, Child::start(shell), 0), go }
    }

    /// How many calls were counted, and whether the chosen one was among them.
    pub(crate) fn run(mut self, plan: Plan) -> (usize, bool) {
        let tracer = Tracer::attach(&self.client, None);
        tracer.arm(plan);
        fs::OpenOptions::new().write(true).open(&self.go).unwrap().write_all(b"go\n").unwrap();
        let traced = tracer.finish();
        assert!(self.client.server.wait(common::PATIENCE).is_some());
        (traced.calls.iter().filter(|call| call.counts && call.role == plan.role).count(), traced.met)
    }
}

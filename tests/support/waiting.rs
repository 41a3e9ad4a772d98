//! A command of `mailusradm` that waits for a word before it begins, so that a tracer can take hold of it.

use crate::common::world::tcp_pair;
use crate::common::{self, Child, Client, World};
use crate::tracer::{Plan, Tracer, WRAPPER};
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

/// The command, which waits.
pub(crate) struct Waiting {
    client: Client,
    go: PathBuf,
}

// Each test binary uses a part of this.
#[allow(dead_code)]
impl Waiting {
    pub(crate) fn start(world: &World, program: &Command) -> Self {
        Self::start_into(world, program, "/dev/null", "/dev/null")
    }

    /// The same with files for what it says.
    pub(crate) fn start_into(world: &World, program: &Command, out: &str, err: &str) -> Self {
        let go = world.directory().join("go");
        let _ = fs::remove_file(&go);
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let script = format!("read go <{}; exec \"$@\" >{out} 2>{err}", go.display());
        let mut shell = Command::new(WRAPPER[0]);
        shell.args(&WRAPPER[1..]).args(["sh", "-c", &script, "sh"]);
        shell.arg(program.get_program()).args(program.get_args());
        let (ours, _) = tcp_pair("127.0.0.1:0");
        Self { client: Client::silent(ours, Child::start(shell), 0), go }
    }

    /// How many calls were counted, and whether the chosen one was among them.
    pub(crate) fn run(self, plan: Plan) -> (usize, bool) {
        let (calls, met, _) = self.run_to_status(plan);
        (calls, met)
    }

    /// The same, and the exit status.
    pub(crate) fn run_to_status(mut self, plan: Plan) -> (usize, bool, ExitStatus) {
        let tracer = Tracer::attach(&self.client, None);
        tracer.arm(plan);
        fs::OpenOptions::new().write(true).open(&self.go).unwrap().write_all(b"go\n").unwrap();
        let traced = tracer.finish();
        let status = self.client.server.wait(common::PATIENCE).expect("it ends");
        let calls = traced.calls.iter().filter(|call| call.counts && call.role == plan.role).count();
        (calls, traced.met, status)
    }
}

//! `pop3d` in standalone mode: one server, many clients. Made for a test with a network of its own.

use super::client::Client;
use super::processes::{self, Process};
use super::world::{POP3D_UID, World, uid};
use super::{Child, PATIENCE, eventually};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

/// Where a [`Site`] listens.
pub(crate) const ADDRESS: &str = "127.0.0.1:110";

/// A server that listens.
pub(crate) struct Site<'a> {
    pub(crate) world: &'a World,
    /// The monitor.
    pub(crate) server: Child,
}

impl<'a> Site<'a> {
    /// Starts a server and waits until it says that it serves.
    pub(crate) fn start(world: &'a World) -> Self {
        let mut command = Command::new(&world.program);
        command.arg("--config").arg(&world.config).args(world.options()).args(["--listen", ADDRESS]);
        command.current_dir("/");
        command.env_remove("LISTEN_FDS").env_remove("LISTEN_PID").env_remove("NOTIFY_SOCKET");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self::start_as_it_is(world, command)
    }

    /// The same with a command of the test's own.
    pub(crate) fn start_as_it_is(world: &'a World, command: Command) -> Self {
        let site = Self { world, server: Child::start(command) };
        world.log_line(&["notice: text=", "serving POP3 on", ADDRESS]);
        site
    }

    /// A new connection; the greeting is read.
    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(ADDRESS).unwrap();
        Client::new(stream, Child::nobody(), 0)
    }

    /// A new connection from another address of this machine; the greeting is read.
    pub(crate) fn connect_from(&self, last: u8) -> Client {
        let raw = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(raw.as_raw_fd(), &SockaddrIn::new(127, 0, 0, last, 0)).unwrap();
        connect(raw.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 110)).unwrap();
        Client::new(TcpStream::from(raw), Child::nobody(), 0)
    }

    /// A new connection, logged in.
    pub(crate) fn log_in(&self, user: &str) -> Client {
        let mut client = self.connect();
        client.log_in(user);
        client
    }

    /// All its processes, the monitor first.
    pub(crate) fn processes(&self) -> Vec<Process> {
        processes::tree(self.server.pid())
    }

    /// The login processes, oldest first. The recorder, which comes and goes, has their user too, but not their empty root.
    pub(crate) fn logins(&self) -> Vec<u32> {
        let mut all = self.of_user(POP3D_UID);
        let root = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/root"));
        all.retain(|pid| root(pid).is_ok_and(|root| root != *"/"));
        all
    }

    /// The processes of the user's sessions.
    pub(crate) fn sessions(&self, user: &str) -> Vec<u32> {
        self.of_user(uid(user))
    }

    fn of_user(&self, owner: u32) -> Vec<u32> {
        let of_user = |process: &Process| process.uids.first() == Some(&owner);
        self.processes().iter().filter(|process| of_user(process)).map(|process| process.pid).collect()
    }

    /// Waits until there are as many login processes as cores, all of them new.
    pub(crate) fn new_logins(&self, old: &[u32]) -> Vec<u32> {
        eventually("login processes, one for each core, and none of the old", || {
            let found = self.logins();
            (found.len() == cores() && found.iter().all(|pid| !old.contains(pid))).then_some(found)
        })
    }

    /// Sends SIGHUP and waits for this many lines with the words in all.
    pub(crate) fn reload(&mut self, words: &[&str], times: usize) {
        self.server.signal(Signal::SIGHUP);
        eventually("a line of the log after SIGHUP", || {
            let lines = self.world.log_lines();
            let found = lines.iter().filter(|line| words.iter().all(|word| line.contains(word)));
            (found.count() >= times).then_some(())
        });
    }

    /// The number of descriptors of each of its processes.
    pub(crate) fn descriptors(&self) -> BTreeMap<u32, Vec<String>> {
        let names = |process: &Process| {
            let mut names: Vec<String> =
                process.descriptors().into_iter().map(|(number, _)| number.to_string()).collect();
            names.sort();
            names
        };
        self.processes().iter().map(|process| (process.pid, names(process))).collect()
    }

    /// Whether the server ends by itself with status 0.
    pub(crate) fn ends_well(&mut self) -> bool {
        self.server.wait(PATIENCE).is_some_and(|status| status.success())
    }
}

/// One login process is started for each of them.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

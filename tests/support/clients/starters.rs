//! The ways in which a server is started, one function each. All serve 127.0.0.1:110 in a network of the test's own.

use super::common::site::{ADDRESS, Site};
use super::common::{self, Child, World, find_program, machine};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// A way to start a server, and the program that it needs besides `pop3d`.
pub(crate) struct Starter {
    pub(crate) needs: &'static [&'static str],
    pub(crate) start: fn(&World) -> Child,
}

pub(crate) const INETD: Starter = Starter { needs: &["inetd"], start: inetd };
pub(crate) const SYSTEMD_LISTENING: Starter =
    Starter { needs: &[ACTIVATE], start: |world| activate(world, &[]) };
pub(crate) const SYSTEMD_ACCEPT: Starter =
    Starter { needs: &[ACTIVATE], start: |world| activate(world, &["--accept"]) };
pub(crate) const SYSTEMD_INETD: Starter =
    Starter { needs: &[ACTIVATE], start: |world| activate(world, &["--accept", "--inetd"]) };
pub(crate) const STANDALONE: Starter = Starter { needs: &[], start: |world| Site::start(world).server };

const ACTIVATE: &str = "systemd-socket-activate";

fn inetd(world: &World) -> Child {
    let line = format!(
        "127.0.0.1:pop3 stream tcp4 nowait.1000 root {} pop3d --config {} {}\n",
        world.program.display(),
        world.config.display(),
        world.options().join(" ")
    );
    let config = world.directory().join("inetd.conf");
    machine::write(&config, line.as_bytes(), 0o644);
    let mut command = Command::new(find_program("inetd").unwrap());
    command.arg("-i").arg(&config);
    listening(command)
}

/// What a socket unit does: without options `Accept=no`, with `--accept` `Accept=yes`, with `--inetd` too
/// `StandardInput=socket`.
fn activate(world: &World, options: &[&str]) -> Child {
    let mut command = Command::new(find_program(ACTIVATE).unwrap());
    command
        .args(["--listen", ADDRESS])
        .args(options)
        .arg(&world.program)
        .arg("--config")
        .arg(&world.config)
        .args(world.options());
    listening(command)
}

/// Starts it and waits until it takes connections.
fn listening(mut command: Command) -> Child {
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = Child::start(command);
    common::eventually("port 110 is listened on", || TcpStream::connect(ADDRESS).ok());
    child
}

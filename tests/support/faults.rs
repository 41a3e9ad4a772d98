//! Set-ups that are broken in one way each, for `mailusradm why`.

// Each test binary uses a part of this module.
#![allow(dead_code, unused_imports, unused_macros)]

use crate::admin::{Ran, admin};
use crate::common::site::Site;
use crate::common::world::{Setup, tcp_pair};
use crate::common::{self, Child, PASSWORD, World, isolated_with_network, mail};
use crate::said;
use std::any::Any;
use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::process::Command;

/// The user `pop`, who owns the secrets database.
const POP: u32 = 20_998;

/// What a login with the right password comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// It fails too.
    Fails,
    /// It would take the server's patience, a network or a clock of its own, or another mechanism: it is not tried.
    NotTried,
}
pub(crate) use Login::{Fails, NotTried};

/// A set-up that is broken in one way.
pub(crate) struct Fault {
    /// More of the configuration, behind `[auth]`.
    pub(crate) config: &'static str,
    pub(crate) setup: fn(Setup) -> Setup,
    pub(crate) plant: fn(&World),
    /// More words of the command line.
    pub(crate) line: &'static str,
    /// The step that finds it.
    pub(crate) step: &'static str,
    /// Words of what is wrong.
    pub(crate) what: &'static str,
    /// Words of what to type.
    pub(crate) fix: &'static str,
    pub(crate) login: Login,
}

/// Nothing is broken.
pub(crate) const WHOLE: Fault = Fault {
    config: "",
    setup: |setup| setup,
    plant: |_| {},
    line: "--from 127.0.0.1",
    step: "",
    what: "",
    fix: "",
    login: Fails,
};

pub(crate) fn world(fault: &Fault) -> World {
    let config = format!("[auth]\nfailure_delay = 0\nkey = \"/run/lib/keys/mailauth.key\"\n{}", fault.config);
    let setup = World::setup().user_with_uid("pop", POP, "!").config(&config);
    let world = (fault.setup)(setup).start();
    world.maildrop("ann", &mail::mbox(&mail::messages(2)));
    world
}

pub(crate) fn why(world: &World, line: &str, more: &[&str]) -> Ran {
    let words: Vec<&str> =
        ["why", "ann"].into_iter().chain(line.split_whitespace()).chain(more.iter().copied()).collect();
    admin(world, &words)
}

/// Whether a login with the right password works, over a connection of its own to a server that inetd starts.
pub(crate) fn logs_in(world: &World) -> bool {
    let (mut ours, theirs) = tcp_pair("127.0.0.1:0");
    let mut server = Child::start(world.command(&[], &[], theirs.into()));
    // A server that refuses to start may be gone already.
    let _ = ours.write_all(format!("USER ann\r\nPASS {PASSWORD}\r\nSTAT\r\nQUIT\r\n").as_bytes());
    let _ = ours.shutdown(std::net::Shutdown::Write);
    let mut said = String::new();
    let _ = ours.read_to_string(&mut said);
    server.wait(common::PATIENCE);
    said.lines().nth(3).is_some_and(|line| line.starts_with("+OK 2 "))
}

thread_local! {
    /// What was planted and has to last as long as the test, whose thread this is.
    static PLANTED: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Ends it with the test: a server that is let go of for good would outlive it.
pub(crate) fn keep(planted: impl Any) {
    PLANTED.with_borrow_mut(|all| all.push(Box::new(planted)));
}

/// Plants the fault, and sees `why` name it and a login fail.
pub(crate) fn finds(fault: &Fault) {
    isolated_with_network(|| {
        let world = world(fault);
        // What stops the server from starting is found before anybody asks whether it listens.
        let before = ["configuration", "server", "tls", "service"].contains(&fault.step);
        let _site = (!before).then(|| Site::start(&world));
        (fault.plant)(&world);
        let ran = why(&world, fault.line, &["--format", "json"]);
        assert_eq!((ran.status, ran.err.as_str()), (1, ""), "{ran:?}");
        let steps: Vec<serde_json::Value> = serde_json::from_str(&ran.out).unwrap();
        let last = steps.last().unwrap();
        let word = |key: &str| last[key].as_str().unwrap_or_default().to_owned();
        assert_eq!((word("step").as_str(), word("state").as_str()), (fault.step, "problem"), "{last}");
        assert!(word("what").contains(fault.what), "{last}");
        assert!(word("fix").contains(fault.fix), "{last}");
        assert!(steps.iter().rev().skip(1).all(|step| step["state"] != "problem"), "{steps:?}");
        let said = why(&world, fault.line, &[]);
        assert!(said.out.starts_with("ann cannot log in:\n  ") && said.out.contains(fault.what), "{said:?}");
        if fault.login == Fails {
            assert!(!logs_in(&world), "the login works all the same");
        }
    });
}

macro_rules! faults {
    ($($name:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        $(#[test] fn $name() { finds(&Fault { $($field: $value,)* ..WHOLE }); })*
    };
}

pub(crate) fn mailauth(world: &World, line: &str, input: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailauth"));
    command.arg("--config").arg(&world.config).args(line.split(' '));
    said::run(command, input).well();
}

/// A database with an APOP entry of ann's.
pub(crate) fn with_apop(world: &World) {
    mailauth(world, "init", "");
    mailauth(world, "add ann --stdin", "tanstaaf");
}

pub(crate) fn with_password(world: &World) {
    mailauth(world, "init", "");
    mailauth(world, "add ann --type POP --stdin", "correct horse battery");
}

/// Changes lines of a file that is a mount of the test's own.
pub(crate) fn edit(file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{file}");
    fs::write(file, text.replace(from, to)).unwrap();
}

pub(crate) fn toml(world: &World, text: &str) {
    let old = fs::read_to_string(&world.config).unwrap();
    fs::write(&world.config, format!("{text}\n{old}")).unwrap();
}

pub(crate) use faults;

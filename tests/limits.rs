//! Limits of connections and processes are what the configuration says (pop3d.toml(5), `[limits]`).
//!
//! Here are those of errors, refusals and memory. Of the others, connections in all and per address are in `standalone.rs`, networks and
//! the rate in `proxy.rs`, the time to log in, slow writers and slow readers in `idle.rs`, the size of messages in `maildrop_safety.rs`, and
//! the time between two logins in `enhanced.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::site::Site;
use common::{World, isolated, isolated_with_network};

#[test]
fn so_many_errors_end_a_connection() {
    isolated(|| {
        let world = World::setup().config("[limits]\nmax_errors = 3").start();
        let mut client = world.connect();
        for _ in 0..2 {
            assert!(!client.refused("GET / HTTP/1.1").contains("closing"));
        }
        assert_eq!(client.refused("GET / HTTP/1.1"), "-ERR Too many errors: closing the connection.");
        client.expect_end();
    });
}

#[test]
fn so_many_refusals_end_a_connection() {
    isolated(|| {
        let world = World::setup().config("[auth]\nfailure_delay = 0\n[limits]\nmax_refusals = 2").start();
        let mut client = world.connect();
        for _ in 0..2 {
            client.ok("USER ann");
            client.refused("PASS wrong");
        }
        client.expect_end();
    });
}

/// The least that the configuration allows is enough for service, and the kernel knows it.
#[test]
fn processes_have_the_memory_that_is_configured() {
    isolated_with_network(|| {
        let least = 64 << 20;
        let config = format!("[limits]\nmax_memory = {}\nmax_login_memory = {least}", least + 4096);
        let world = World::setup().config(&config).start();
        let stored = world.small_maildrop(50);
        let site = Site::start(&world);
        let mut client = site.log_in("ann");
        let pids = [(site.sessions("ann"), least + 4096), (site.logins(), least)];
        for (pids, octets) in pids {
            assert!(!pids.is_empty());
            for pid in pids {
                assert_eq!(address_space(pid), octets, "process {pid}");
            }
        }
        for (number, message) in stored.iter().enumerate() {
            common::client::assert_same(
                "a message",
                &client.retrieve(number + 1),
                &common::mail::wire(message),
            );
        }
        client.ok("DELE 1");
        client.quit();
    });
}

/// `RLIMIT_AS` of a process, in octets.
fn address_space(pid: u32) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max address space")).unwrap();
    let hard = line.split_whitespace().nth(4).unwrap();
    hard.parse().unwrap_or_else(|_| panic!("{line}"))
}

//! Many who do nothing, and some who do it slowly (design, sections 2 and 3): ten thousand clients that are not logged in, one that
//! sends an octet now and then, one that never reads.

// A helper's failure is the failure of the test that called it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::client::text;
use common::site::Site;
use common::{Child, Client, PATIENCE, World, eventually, isolated_with_network, processes};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// These clients.
const CLIENTS: u32 = 10_000;

/// What one may cost the server's processes, in octets.
const MOST: u64 = 4096;

/// These tests measure memory: each has the machine for itself.
fn alone(test: impl FnOnce() + Send) {
    static MACHINE: Mutex<()> = Mutex::new(());
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    isolated_with_network(test);
}

/// A connection from one of the addresses 127.0.1.0 to 127.0.1.255, or further ones.
fn stream(number: u32) -> TcpStream {
    let raw = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let [_, _, third, fourth] = (number / 100).to_be_bytes();
    bind(raw.as_raw_fd(), &SockaddrIn::new(127, 1, third, fourth, 0)).unwrap();
    connect(raw.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 110)).unwrap();
    TcpStream::from(raw)
}

/// Heap and stacks of all processes of the server, in octets.
fn own(site: &Site<'_>) -> u64 {
    site.processes().iter().filter_map(processes::Process::heap_kib).sum::<u64>() * 1024
}

/// What the kernel keeps for its own purposes, sockets among them, on the whole machine, in octets.
fn kernel() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let of = |name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    ["Slab:", "KernelStack:", "PageTables:"].map(of).iter().sum::<u64>() * 1024
}

#[test]
fn ten_thousand_idle_clients_cost_little_and_hold_up_nobody() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < u64::from(CLIENTS) + 1000 {
        return common::skip("more file descriptors (ulimit -Hn)");
    }
    alone(|| {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        let limits = "[limits]\nmax_connections = 11000\nmax_per_address = 100\nlogin_timeout = 600\n";
        let world = World::setup().config(limits).start();
        world.small_maildrop(1);
        let site = Site::start(&world);
        site.log_in("ann").quit();
        let (own_before, kernel_before) = (own(&site), kernel());
        let began = Instant::now();
        let mut clients: Vec<TcpStream> = Vec::new();
        for number in 0..CLIENTS {
            let mut client = stream(number);
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut greeting = [0; 128];
            let octets = client.read(&mut greeting).unwrap();
            assert!(greeting.starts_with(b"+OK "), "client {number}: {:?}", text(&greeting[..octets]));
            clients.push(client);
        }
        let greeted = began.elapsed();
        let (own, kernel) = (own(&site) - own_before, kernel().saturating_sub(kernel_before));
        let each = |octets: u64| octets / u64::from(CLIENTS);
        let began = Instant::now();
        let mut ann = site.log_in("ann");
        ann.retrieve(1);
        ann.quit();
        let took = began.elapsed();
        println!(
            "{CLIENTS} idle connections, greeted in {greeted:.1?}: {} octets each of the server's own, some {} of the \
             kernel's (for both ends of each); a session meanwhile takes {took:.1?}",
            each(own),
            each(kernel)
        );
        assert!(each(own) <= MOST, "{} octets each, {MOST} are allowed", each(own));
        assert!(took < PATIENCE, "a new login takes {took:?}");
        for client in clients.iter_mut().step_by(1000) {
            client.write_all(b"QUIT\r\n").unwrap();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).unwrap();
            assert!(rest.starts_with(b"+OK "), "each is still served: {:?}", text(&rest));
        }
    });
}

#[test]
fn one_who_sends_an_octet_a_second_is_gone_at_the_time_limit() {
    isolated_with_network(|| {
        let world = World::setup().config("[limits]\nlogin_timeout = 3\n[auth]\nfailure_delay = 1\n").start();
        let site = Site::start(&world);
        let began = Instant::now();
        let mut client = site.connect();
        for octet in b"USER annabel" {
            // The server may have closed meanwhile: the read below tells.
            let _ = client.try_send(&[*octet]);
            client.patience(Duration::from_secs(1));
            let mut nothing = [0; 1];
            match client.stream().read(&mut nothing) {
                Ok(0) => break,
                Ok(_) => panic!("nothing is said to half a command"),
                Err(_) => {}
            }
        }
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(2) && took < PATIENCE, "{took:?}, and 3 s are the limit");
        world.log_line(&["disconnect: ", "reason=timeout"]);
    });
}

#[test]
fn one_who_never_reads_costs_a_fixed_buffer() {
    // 500 MB with POPTOOLS_LONG: the message has to be made.
    let octets = if std::env::var_os("POPTOOLS_LONG").is_some() { 500_000_000 } else { 50_000_000 };
    alone(|| {
        let world = World::start();
        let mut mailbox = b"From x@example.org Thu Jan  1 00:00:00 1970\nSubject: large\n\n".to_vec();
        let line = [&[b'x'; 75][..], b"\n"].concat();
        while mailbox.len() < octets {
            mailbox.extend_from_slice(&line);
        }
        world.maildrop("ann", &mailbox);
        drop(mailbox);
        let site = Site::start(&world);
        let mut client = site.connect();
        client.patience(Duration::from_secs(60));
        client.log_in("ann");
        client.ok("STAT");
        let before = own(&site);
        client.send(b"RETR 1\r\n");
        // It has sent what the client's and its own socket buffers hold when it has nothing to do but wait.
        let session = site.sessions("ann")[0];
        let waits = || fs::read_to_string(format!("/proc/{session}/syscall")).unwrap_or_default();
        eventually("the session waits for the client", || {
            let now = waits();
            std::thread::sleep(Duration::from_millis(100));
            (now == waits() && !now.starts_with("running")).then_some(())
        });
        let grown = own(&site).saturating_sub(before);
        println!("{octets} octets that nobody reads cost {grown} octets of the server's own memory");
        assert!(grown <= 512 * 1024, "{grown} octets");
        let mut bob = Client::new(TcpStream::connect("127.0.0.1:110").unwrap(), Child::nobody(), 0);
        bob.log_in("bob");
        bob.quit();
    });
}

//! `pop3d` that listens itself: many clients, reload, the death of any of its processes, limits, systemd's sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::client::{assert_same, text};
use common::site::{ADDRESS, Site, cores};
use common::world::{HOST, inode};
use common::{Child, Client, PASSWORD, PATIENCE, World, eventually, isolated_with_network, mail, processes};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

const SERVING: &[&str] = &["notice: text=", "serving POP3 on"];

#[test]
fn clients_are_served_side_by_side() {
    isolated_with_network(|| {
        let world = World::start();
        let stored = world.small_maildrop(3);
        world.maildrop("bob", &mail::mbox(&stored[..2]));
        let site = Site::start(&world);
        let (mut ann, mut bob) = (site.connect(), site.connect());
        assert!(ann.greeting.contains(HOST), "{}", ann.greeting);
        ann.log_in("ann");
        bob.log_in("bob");
        assert_eq!(ann.retrieve(3), mail::wire(&stored[2]));
        assert_eq!(bob.retrieve(2), mail::wire(&stored[1]));
        let mut second = site.connect();
        assert!(second.login("ann", PASSWORD).starts_with("-ERR [IN-USE]"), "design, section 4, locks (a)");
        ann.ok("DELE 1");
        bob.ok("DELE 2");
        ann.quit();
        bob.quit();
        assert_same("ann's mailbox", &world.stored("ann"), &mail::mbox(&stored[1..]));
        assert_same("bob's mailbox", &world.stored("bob"), &mail::mbox(&stored[..1]));
    });
}

#[test]
fn bytes_behind_pass_reach_the_session() {
    // Design, section 2, hand-over: what was read and not parsed goes with the socket.
    isolated_with_network(|| {
        let world = World::start();
        let stored = world.small_maildrop(2);
        let site = Site::start(&world);
        let mut client = site.connect();
        client.send(format!("USER ann\r\nPASS {PASSWORD}\r\nSTAT\r\nQUIT\r\n").as_bytes());
        let rest = text(&client.rest());
        let lines: Vec<&str> = rest.lines().collect();
        assert_eq!(lines.len(), 4, "{rest}");
        assert_eq!(lines[2], format!("+OK 2 {}", mail::octets(&stored)));
        assert!(lines[3].starts_with("+OK"), "{rest}");
    });
}

fn configure(world: &World, old: &str, new: &str) {
    let text = fs::read_to_string(&world.config).unwrap();
    assert!(text.contains(old), "{text}");
    fs::write(&world.config, text.replace(old, new)).unwrap();
}

#[test]
fn a_reload_drops_nobody() {
    // Design, section 2, generations.
    isolated_with_network(|| {
        let world = World::start();
        let stored = world.small_maildrop(3);
        world.maildrop("bob", &mail::mbox(&stored));
        let mut site = Site::start(&world);
        let old = site.logins();
        assert_eq!(old.len(), cores(), "design, section 2: one login process for each core");
        let mut fresh: Vec<Client> = (0..4).map(|_| site.connect()).collect();
        let mut named = site.connect();
        named.ok("USER bob");
        let mut halfway = site.connect();
        halfway.send(b"CA");
        let mut session = site.log_in("ann");
        session.ok("DELE 1");
        session.send(b"ST");
        configure(&world, HOST, "new.example.org");
        site.reload(SERVING, 2);
        let mut new = site.connect();
        assert!(new.greeting.contains("new.example.org"), "{}", new.greeting);
        new.quit();
        halfway.send(b"PA\r\n");
        assert!(halfway.line().starts_with("+OK"));
        assert!(halfway.multiline().contains(&b"USER".to_vec()));
        halfway.quit();
        assert_eq!(named.command(&format!("PASS {PASSWORD}")).split(' ').next(), Some("+OK"));
        assert_eq!(named.retrieve(2), mail::wire(&stored[1]));
        named.quit();
        session.send(b"AT\r\n");
        assert_eq!(session.line(), format!("+OK 2 {}", mail::octets(&stored[1..])));
        session.quit();
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[1..]));
        for client in &mut fresh {
            client.log_in("ann");
            assert_eq!(client.retrieve(1), mail::wire(&stored[1]));
            client.quit();
        }
        site.new_logins(&old);
    });
}

#[test]
fn a_broken_configuration_changes_nothing_and_is_named() {
    isolated_with_network(|| {
        let world = World::start();
        let stored = world.small_maildrop(2);
        let mut site = Site::start(&world);
        let old = site.logins();
        let mut session = site.log_in("ann");
        configure(&world, "hostname", "hostnaem");
        site.reload(&["configuration stays as it was"], 1);
        let line = world.log_line(&["error: ", "hostnaem"]);
        assert!(line.contains("pop3d.toml"), "{line}");
        assert_eq!(site.logins(), old, "no new generation");
        assert!(site.connect().greeting.contains(HOST));
        assert_eq!(session.retrieve(2), mail::wire(&stored[1]));
        configure(&world, "hostnaem", "hostname");
        site.reload(SERVING, 2);
        site.new_logins(&old);
    });
}

#[test]
fn a_dead_login_process_is_replaced_and_sessions_go_on() {
    isolated_with_network(|| {
        let world = World::start();
        let stored = world.small_maildrop(2);
        let site = Site::start(&world);
        let mut session = site.log_in("ann");
        let mut waiting = site.connect();
        let old = site.logins();
        old.iter().for_each(|pid| processes::signal(*pid, Signal::SIGKILL));
        assert_eq!(waiting.rest(), b"", "its client is lost");
        let new = site.new_logins(&old);
        let mut client = site.connect();
        world.log_line(&["error: ", "ended by signal 9"]);
        client.refused("STAT");
        assert_eq!(session.retrieve(2), mail::wire(&stored[1]));
        session.ok("DELE 1");
        session.quit();
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[1..]));
        client.log_in("ann");
        client.quit();
        assert_eq!(site.logins(), new);
    });
}

#[test]
fn without_a_monitor_sessions_can_still_read() {
    // Design, section 2: sessions go on reading, and a QUIT with deletions that needs the monitor answers [SYS/TEMP].
    isolated_with_network(|| {
        let world = World::start();
        let stored = world.small_maildrop(3);
        world.maildrop("bob", &mail::mbox(&stored));
        let mut site = Site::start(&world);
        let (mut ann, mut bob) = (site.log_in("ann"), site.log_in("bob"));
        let idle = site.connect();
        let others: Vec<u32> = site.processes().iter().skip(1).map(|process| process.pid).collect();
        site.server.signal(Signal::SIGKILL);
        assert!(site.server.wait(PATIENCE).is_some());
        assert_eq!(ann.retrieve(3), mail::wire(&stored[2]));
        assert_eq!(bob.retrieve(1), mail::wire(&stored[0]));
        ann.ok("DELE 1");
        let reply = ann.refused("QUIT");
        assert!(reply.starts_with("-ERR [SYS/TEMP]"), "{reply}");
        bob.quit();
        for user in ["ann", "bob"] {
            assert_same(user, &world.stored(user), &mail::mbox(&stored));
        }
        drop((ann, idle));
        let gone = |pid: &u32| processes::read(*pid).is_none_or(|process| process.state == "Z");
        eventually("login processes and sessions end", || others.iter().all(gone).then_some(()));
        assert!(TcpStream::connect(ADDRESS).is_err(), "nobody listens any more");
    });
}

#[test]
fn terminated_it_takes_nobody_and_waits_for_sessions() {
    isolated_with_network(|| {
        let world = World::start();
        let stored = world.small_maildrop(2);
        let mut site = Site::start(&world);
        let mut session = site.log_in("ann");
        let mut idle = site.connect();
        site.server.signal(Signal::SIGTERM);
        let last = text(&idle.rest());
        assert!(last.is_empty() || last.starts_with("-ERR [SYS/TEMP]"), "{last}");
        eventually("nobody listens any more", || TcpStream::connect(ADDRESS).is_err().then_some(()));
        assert_eq!(session.retrieve(2), mail::wire(&stored[1]));
        session.ok("DELE 1");
        session.quit();
        assert!(site.ends_well(), "with its last session, with status 0");
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[1..]));
        world.log_line(&["logout: ", "user=ann", "deleted=1"]);
    });
}

/// A process that outlives the one that the test started.
struct Heir(u32);

impl Drop for Heir {
    fn drop(&mut self) {
        processes::tree(self.0)
            .iter()
            .rev()
            .for_each(|process| processes::signal(process.pid, Signal::SIGKILL));
    }
}

#[test]
fn an_upgrade_drops_nobody() {
    // Design, section 2: the new monitor has the listening sockets, old sessions keep the old monitor.
    isolated_with_network(|| {
        let world = World::start();
        let stored = world.small_maildrop(3);
        world.maildrop("bob", &mail::mbox(&stored));
        let mut site = Site::start(&world);
        let mut session = site.log_in("ann");
        let mut named = site.connect();
        named.ok("USER bob");
        configure(&world, HOST, "new.example.org");
        site.server.signal(Signal::SIGUSR2);
        let line = world.log_line(&["serves from now on"]);
        let pid = line.split(' ').skip_while(|word| !word.ends_with("process")).nth(1).unwrap();
        let heir = Heir(pid.parse().unwrap());
        eventually("the new server greets", || {
            let client = site.connect();
            client.greeting.contains("new.example.org").then_some(())
        });
        assert_eq!(named.command(&format!("PASS {PASSWORD}")).split(' ').next(), Some("+OK"));
        let mut second = site.connect();
        assert!(second.login("ann", PASSWORD).starts_with("-ERR [IN-USE]"), "the old session has it");
        session.ok("DELE 1");
        session.quit();
        named.quit();
        assert!(site.ends_well(), "the old one ends with its last session");
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[1..]));
        let mut after = site.log_in("ann");
        after.ok("DELE 1");
        after.quit();
        assert_same("the mailbox", &world.stored("ann"), &mail::mbox(&stored[2..]));
        drop(heir);
    });
}

#[test]
fn a_new_server_that_cannot_serve_changes_nothing() {
    isolated_with_network(|| {
        let world = World::start();
        let stored = world.small_maildrop(2);
        let mut site = Site::start(&world);
        configure(&world, "hostname", "hostnaem");
        site.server.signal(Signal::SIGUSR2);
        world.log_line(&["error: ", "ended before it served"]);
        let mut session = site.log_in("ann");
        assert_eq!(session.retrieve(2), mail::wire(&stored[1]));
        session.quit();
    });
}

/// A connection from another address of this machine.
fn connect_from(address: [u8; 4]) -> Client {
    let [a, b, c, d] = address;
    let raw = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(raw.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
    connect(raw.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 110)).unwrap();
    Client::silent(TcpStream::from(raw), Child::nobody(), 0)
}

/// What a client is told that is one too many: perhaps a greeting, then a refusal, then the end.
fn assert_rejected(mut client: Client) {
    let heard = text(&client.rest());
    let last = heard.lines().last().unwrap_or_default();
    assert!(last.starts_with("-ERR [SYS/TEMP] too many connections"), "{heard:?}");
}

/// Waits until the monitor has counted the client: it hears of some later than they are greeted.
fn is_counted(world: &World, client: &Client) {
    let port = client.stream().local_addr().unwrap().port();
    world.log_line(&["connect: ", &format!(" port={port}")]);
}

/// Whether the client is served.
fn is_served(client: &mut Client) -> bool {
    client.try_raw_line().is_some_and(|line| line.starts_with(b"+OK"))
        && client.try_command("NOOP").is_some_and(|reply| !reply.contains("SYS/TEMP"))
}

#[test]
fn connections_are_limited_by_address_and_in_all() {
    isolated_with_network(|| {
        let world = World::setup().config("[limits]\nmax_connections = 4\nmax_per_address = 2").start();
        world.small_maildrop(1);
        let site = Site::start(&world);
        // A session counts as well as a connection that is not logged in.
        let session = site.log_in("ann");
        let mut second = connect_from([127, 0, 0, 1]);
        assert!(is_served(&mut second));
        is_counted(&world, &second);
        assert_rejected(connect_from([127, 0, 0, 1]));
        // It counts until it is gone.
        world.log_line(&["disconnect: client=127.0.0.1", "reason=limit"]);
        let mut others: Vec<Client> = [2, 3].map(|last| connect_from([127, 0, 0, last])).into();
        assert!(others.iter_mut().all(is_served), "other addresses are");
        others.iter().for_each(|client| is_counted(&world, client));
        assert_rejected(connect_from([127, 0, 0, 4]));
        world.log_line(&["disconnect: client=127.0.0.4", "reason=limit"]);
        drop(session.hang_up());
        world.log_line(&["logout: ", "user=ann"]);
        let mut next = connect_from([127, 0, 0, 1]);
        assert!(is_served(&mut next), "there is room again");
    });
}

/// The next message to the service manager with this in it.
fn notice(manager: &UnixDatagram, wanted: &str) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = manager.recv(&mut buffer).unwrap_or_else(|why| panic!("no {wanted}: {why}"));
        let heard = text(&buffer[..length]);
        if heard.lines().any(|line| line == wanted) {
            return heard;
        }
    }
}

#[test]
fn systemd_gives_listening_sockets_and_is_told() {
    // sd_listen_fds(3), and sd_notify(3) with Type=notify-reload.
    isolated_with_network(|| {
        let world = World::start();
        let stored = world.small_maildrop(2);
        let path = world.directory().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let listener = TcpListener::bind(ADDRESS).unwrap();
        let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh"]).arg(&world.program).arg("--config").arg(&world.config);
        command.env("NOTIFY_SOCKET", &path).stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let socket = inode(&listener);
        let mut site = Site::start_as_it_is(&world, command);
        notice(&manager, "READY=1");
        drop(listener);
        let monitor = processes::read(site.server.pid()).unwrap();
        assert!(monitor.holds_socket(socket), "the socket is systemd's");
        let mut client = site.log_in("ann");
        assert_eq!(client.retrieve(2), mail::wire(&stored[1]));
        site.server.signal(Signal::SIGHUP);
        let heard = notice(&manager, "RELOADING=1");
        assert!(heard.contains("MONOTONIC_USEC="), "{heard}");
        notice(&manager, "READY=1");
        site.connect().quit();
        site.server.signal(Signal::SIGTERM);
        notice(&manager, "STOPPING=1");
        assert_eq!(client.retrieve(1), mail::wire(&stored[0]));
        client.quit();
        assert!(site.ends_well());
    });
}

#[test]
fn nothing_is_left_behind_by_many_logins() {
    isolated_with_network(|| {
        let world = World::setup().config("[auth]\nfailure_delay = 0").start();
        world.small_maildrop(1);
        let site = Site::start(&world);
        let round = |times: usize| {
            for time in 0..times {
                let mut client = site.connect();
                match time % 10 {
                    0 => drop(client.login("ann", "wrong")),
                    1 => client.send(b"USER ann\r\nPASS correct"),
                    _ => drop(client.login("ann", PASSWORD)),
                }
                match time % 3 {
                    0 => drop(client.hang_up()),
                    1 => drop(client.reset()),
                    // The session waits a little for a client that has read its farewell and does not close.
                    _ => {
                        let _ = client.try_command("QUIT");
                        drop(client);
                    }
                }
                let gone = || site.sessions("ann").is_empty().then_some(());
                eventually("the session ends", gone);
            }
        };
        round(20);
        let idle = || site.processes().len() == 1 + cores();
        eventually("only monitor and login processes are left", || idle().then_some(()));
        let before = site.descriptors();
        round(300);
        eventually("nothing more than before", || (site.descriptors() == before).then_some(()));
    });
}

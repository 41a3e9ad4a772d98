//! `XTND XMIT`: sendmail runs as the user, with the user's groups, and never with half a message.

use super::common::world::{FRIENDS_GID, uid};
use super::common::{Client, PATIENCE, World, isolated, machine};
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

/// The client's part of an XTND XMIT; the server's last word.
fn transmit(client: &mut Client, message: &str) -> String {
    client.ok("XTND XMIT");
    client.send(message.as_bytes());
    client.send(b".\r\n");
    client.line()
}

/// A sendmail that writes down who it is and what it gets, in a directory of ann's.
fn world_with_sendmail(script_end: &str) -> World {
    let script = format!(
        "#!/bin/sh\ncd /run/home/ann/sent || exit 70\n{{ id -u; id -g; id -G; echo \"$@\"; }} >who\ncat >message\n{script_end}\n"
    );
    let world = World::setup()
        .config("[limits]\nmax_message = 65536\n[xtnd]\nsendmail = \"/run/lib/sendmail\"")
        .start();
    machine::write(Path::new("/run/lib/sendmail"), script.as_bytes(), 0o755);
    fs::create_dir("/run/home/ann/sent").unwrap();
    chown("/run/home/ann/sent", Some(uid("ann")), Some(uid("ann"))).unwrap();
    world
}

const SENT: &str = "/run/home/ann/sent/message";

#[test]
fn xmit_runs_sendmail_as_the_user() {
    isolated(|| {
        let world = world_with_sendmail("exit 0");
        let mut client = world.log_in("ann");
        let reply =
            transmit(&mut client, "To: bob@example.org\r\nSubject: x\r\n\r\n..dot\r\n...\r\nlast\r\n");
        assert!(reply.starts_with("+OK"), "{reply}");
        let sent = fs::read_to_string(SENT).unwrap();
        assert_eq!(sent, "To: bob@example.org\nSubject: x\n\n.dot\n..\nlast\n", "unstuffed, local line ends");
        let who = fs::read_to_string("/run/home/ann/sent/who").unwrap();
        let lines: Vec<&str> = who.lines().collect();
        let ann = uid("ann").to_string();
        assert_eq!(lines[..2], [ann.as_str(), ann.as_str()], "ann's uid and gid");
        let mut groups: Vec<u32> = lines[2].split(' ').map(|id| id.parse().unwrap()).collect();
        groups.sort_unstable();
        assert_eq!(groups, [uid("ann"), FRIENDS_GID], "her groups and no other");
        let arguments: Vec<&str> = lines.get(3).unwrap_or(&"").split(' ').collect();
        assert!(arguments.contains(&"-t"), "recipients stand in the message: {arguments:?}");
        assert!(
            arguments.contains(&"-i") || arguments.contains(&"-oi"),
            "a lone dot is no end: {arguments:?}"
        );
        client.ok("NOOP");
        client.quit();
    });
}

#[test]
fn xmit_says_when_sendmail_fails() {
    isolated(|| {
        let world = world_with_sendmail("exit 75");
        let mut client = world.log_in("ann");
        let reply = transmit(&mut client, "To: bob@example.org\r\n\r\nx\r\n");
        assert!(reply.starts_with("-ERR"), "{reply}");
        client.ok("NOOP");
    });
}

#[test]
fn xmit_refuses_what_is_too_large() {
    isolated(|| {
        let world = world_with_sendmail("exit 0");
        let mut client = world.log_in("ann");
        let large = format!("To: bob@example.org\r\n\r\n{}", format!("{}\r\n", "x".repeat(78)).repeat(1000));
        let reply = transmit(&mut client, &large);
        assert!(reply.starts_with("-ERR"), "{reply}");
        assert!(!Path::new(SENT).exists(), "nothing was sent");
        client.ok("NOOP");
        let reply = transmit(&mut client, "To: bob@example.org\r\n\r\nsmall\r\n");
        assert!(reply.starts_with("+OK"), "{reply}");
    });
}

#[test]
fn xmit_sends_nothing_when_the_client_goes() {
    isolated(|| {
        let world = world_with_sendmail("exit 0");
        for end in [&b"half a li"[..], b"a line\r\n", b"dots\r\n."] {
            let mut client = world.log_in("ann");
            client.ok("XTND XMIT");
            client.send(b"To: bob@example.org\r\n\r\n");
            client.send(end);
            let mut server = client.hang_up();
            assert!(server.wait(PATIENCE).is_some(), "pop3d ends with its connection");
            assert!(!Path::new(SENT).exists(), "half a message was sent");
        }
    });
}

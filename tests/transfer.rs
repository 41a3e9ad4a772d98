//! `mailusradm export` and `mailusradm import` (mailusradm(8)): the programs, their files and streams, and who is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

use common::{World, isolated, mail};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output, Stdio};

fn run(world: &World, line: &str, input: Option<&[u8]>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailusradm"));
    command.args(line.split(' ')).arg("--config").arg(&world.config).current_dir(world.directory());
    command.stdin(match input {
        Some(octets) => {
            // Through a pipe, as it comes from another program.
            let (reader, mut writer) = std::io::pipe().unwrap();
            let octets = octets.to_vec();
            std::thread::spawn(move || writer.write_all(&octets));
            Stdio::from(reader)
        }
        None => Stdio::null(),
    });
    command.output().unwrap()
}

fn done(world: &World, line: &str, input: Option<&[u8]>) -> Vec<u8> {
    let output = run(world, line, input);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn refused(world: &World, line: &str, status: i32, words: &str) {
    let output = run(world, line, None);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{line}: {said}");
    assert!(said.contains(words), "{line}: {said}");
}

fn uidls(world: &World, user: &str) -> Vec<String> {
    let mut client = world.log_in(user);
    let listing = client.listing("UIDL");
    client.quit();
    listing
}

#[test]
fn a_maildrop_moves_to_another_user_with_its_ids() {
    isolated(|| {
        let world = World::start();
        let mut stored = mail::difficult();
        stored.push(stored[0].clone());
        world.maildrop("ann", &mail::mbox(&stored));
        fs::write(world.directory().join("ids"), "+OK\r\n2 of-before\r\n.\r\n").unwrap();
        assert_eq!(done(&world, "import ann --uidl-from ids", None), b"unique ids set: 1\n");
        let before = uidls(&world, "ann");
        assert_eq!(before[1], "2 of-before", "RFC 1939, section 7: a client that knows it downloads nothing");
        assert_eq!(world.log_in("ann").ok("UIDL 2"), "+OK 2 of-before");
        let text = done(&world, "export ann", None);
        let said = done(&world, "import bob -", Some(&text));
        assert_eq!(
            String::from_utf8(said).unwrap(),
            format!("messages imported: {}\nunique ids set: 1\n", stored.len())
        );
        assert_eq!(uidls(&world, "bob"), before);
        let mailbox = fs::metadata(world.mailbox("bob")).unwrap();
        assert_eq!((mailbox.uid(), mailbox.mode() & 0o777), (common::world::uid("bob"), 0o660));
        let mut client = world.log_in("bob");
        for (number, message) in stored.iter().enumerate() {
            assert_eq!(client.retrieve(number + 1), mail::wire(message), "message {}", number + 1);
        }
        client.quit();
        // Again: every id would be there twice.
        fs::write(world.directory().join("mail"), &text).unwrap();
        refused(&world, "import bob mail", 74, "would both have the unique id");
        assert_eq!(uidls(&world, "bob"), before);
        done(&world, "import bob mail --uidl-from computed", None);
        assert_eq!(uidls(&world, "bob").len(), 2 * before.len());
    });
}

#[test]
fn files_and_streams() {
    isolated(|| {
        let world = World::start();
        world.small_maildrop(3);
        assert_eq!(done(&world, "export ann mail", None), b"messages written: 3\n");
        let made = fs::metadata(world.directory().join("mail")).unwrap();
        assert_eq!(made.mode() & 0o777, 0o600, "mail is nobody else's");
        refused(&world, "export ann mail", 74, "cannot make mail: File exists");
        refused(&world, "export ann no/such", 74, "cannot make no/such: No such file or directory");
        refused(&world, "import ann no-such", 74, "cannot open no-such: No such file or directory");
        refused(&world, "import ann", 64, "name a file with messages, or - for standard input");
        refused(&world, "export nobody-here", 67, "there is no user nobody-here");
        fs::write(world.directory().join("none"), "no mbox\n").unwrap();
        refused(&world, "import ann none", 74, "does not begin with an mbox envelope line");
        assert_eq!(uidls(&world, "ann").len(), 3);
        let client = world.log_in("ann");
        refused(&world, "export ann other", 75, "is in use by another session");
        assert!(!world.directory().join("other").exists(), "half a file helps nobody");
        drop(client);
        // A full disk is one of the words, not half a mailbox that looks whole.
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailusradm"));
        command.args(["export", "ann", "--config"]).arg(&world.config).stdout(Stdio::from(full));
        let output = common::eventually("the maildrop is free again", || {
            let output = command.stderr(Stdio::piped()).output().unwrap();
            (output.status.code() != Some(75) || String::from_utf8_lossy(&output.stderr).contains("space"))
                .then_some(output)
        });
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the output: No space left"));
    });
}

#[test]
fn a_full_spool_stays_as_it_was() {
    isolated(|| {
        let world = World::setup().spool_size(256 * 1024).start();
        world.small_maildrop(3);
        let before = world.stored("ann");
        let large = mail::mbox(&mail::messages(4000));
        fs::write(world.directory().join("large"), &large).unwrap();
        refused(&world, "import ann large", 75, "No space left on device");
        assert_eq!(world.stored("ann"), before);
        assert_eq!(world.spool_names(), ["ann"]);
        refused(
            &world,
            "convert ann --to maildir --remove-old --to maildir",
            64,
            "cannot be used multiple times",
        );
        world.small_maildrop(1000);
        let before = world.stored("ann");
        refused(&world, "convert ann --to maildir", 75, "No space left on device");
        assert_eq!(world.stored("ann"), before);
        assert_eq!(world.spool_names(), ["ann"]);
    });
}

//! Random command sequences against a trivial model in memory, both formats: a list of messages, each with the unique
//! identifier that it had when it was seen first. Deliveries, another mail reader, and damage of the index come between.

use super::mbox::local::{Local, LockSet};
use super::{Entry, Format, Maildrop, Uidl, find, index, open};
use crate::protocol::MsgNo;
use crate::protocol::capability::Offer;
use crate::protocol::language::Language;
use crate::protocol::line::Line;
use crate::protocol::sasl::Mechanisms;
use crate::session::transaction::{Effect, Scope, Setup, Transaction};
use crate::sys::directory::Directory;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Sequences of each format.
const SEQUENCES: u32 = 10_000;

/// What is delivered: few texts, so that there are twins.
const TEXTS: [&str; 8] = [
    "Subject: a\n\nbody a\n",
    "Subject: b\n\nbody b\n",
    "Subject: b\n\nbody b, longer\n",
    "Subject: dots\n\n.\n..\n.x\n\n\n",
    "Subject: header alone\n\n",
    "Subject: crlf\r\n\r\none\r\n.two\r\n",
    "Subject: folded\n and more\nX-Octets: \u{e9}\u{fc}\n\n>From here\n",
    "\nno header\n",
];

/// One command of a client, or what happens meanwhile.
#[derive(Clone, Debug)]
enum Command {
    Stat,
    List(u32),
    Uidl(u32),
    Listing,
    Retr(u32),
    Dele(u32),
    Rset,
    Last,
    Deliver(usize),
}

/// What happens to a maildrop.
#[derive(Clone, Debug)]
enum Step {
    Deliver(usize),
    /// Another mail reader marks a message as read, in its own manner.
    Mark(usize),
    DropIndex,
    DamageIndex(usize),
    /// A session, and whether it ends with QUIT.
    Session(Vec<Command>, bool),
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        1 => Just(Command::Stat),
        1 => (0_u32..9).prop_map(Command::List),
        1 => (0_u32..9).prop_map(Command::Uidl),
        1 => Just(Command::Listing),
        2 => (0_u32..9).prop_map(Command::Retr),
        5 => (0_u32..9).prop_map(Command::Dele),
        1 => Just(Command::Rset),
        1 => Just(Command::Last),
        1 => (0..TEXTS.len()).prop_map(Command::Deliver),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..TEXTS.len()).prop_map(Step::Deliver),
        1 => (0_usize..8).prop_map(Step::Mark),
        1 => Just(Step::DropIndex),
        1 => (0_usize..9000).prop_map(Step::DamageIndex),
        4 => (prop::collection::vec(command(), 0..8), prop::bool::weighted(0.8))
            .prop_map(|(commands, quit)| Step::Session(commands, quit)),
    ]
}

/// A message as the model knows it.
#[derive(Clone, Debug)]
struct Message {
    text: String,
    uidl: Option<Uidl>,
    /// Its name in a Maildir.
    name: String,
}

impl Message {
    /// What RETR sends.
    fn wire(&self) -> Vec<u8> {
        let lines = self.text.split_inclusive('\n').map(|line| line.trim_end_matches(['\r', '\n']));
        lines.flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect()
    }
}

/// A maildrop on disk.
struct Store {
    folder: tempfile::TempDir,
    format: Format,
    delivered: Cell<u32>,
}

impl Store {
    fn new(format: Format) -> Self {
        // Nothing here is about disks.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let store = Self { folder, format, delivered: Cell::new(0) };
        std::fs::create_dir(store.at("state")).unwrap();
        for name in ["mail", "mail/new", "mail/cur"].iter().filter(|_| format == Format::Maildir) {
            std::fs::create_dir(store.at(name)).unwrap();
        }
        store
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn deliver(&self, text: &str) -> Message {
        let number = self.delivered.replace(self.delivered.get() + 1);
        // Three a second; within one the octets of the name decide.
        let name = format!("mail/new/{}.P{number:04}.host", 1000 + number / 3);
        if self.format == Format::Maildir {
            std::fs::write(self.at(&name), text).unwrap();
        } else {
            let mut file = std::fs::File::options().append(true).create(true).open(self.at("mail")).unwrap();
            let envelope = format!("From user{number}@example.org Sat Jan  3 01:05:34 2026\n");
            file.write_all(format!("{envelope}{text}\n").as_bytes()).unwrap();
        }
        Message { text: text.to_owned(), uidl: None, name }
    }

    /// An mbox reader adds a line to the header and writes the file anew; a Maildir reader moves the message to `cur`.
    fn mark(&self, messages: &mut [Message], which: usize) {
        if self.format == Format::Maildir {
            let Some(message) = messages.get_mut(which) else { return };
            let base = message.name.rsplit('/').next().unwrap().split(':').next().unwrap();
            let name = format!("mail/cur/{base}:2,RS");
            std::fs::rename(self.present(base), self.at(&name)).unwrap();
            message.name = name;
            return;
        }
        let Some(message) = messages.get_mut(which).filter(|message| !message.text.starts_with('\n')) else {
            return;
        };
        message.text = format!("Status: RO\n{}", message.text);
        let all: String = messages
            .iter()
            .map(|message| format!("From x@example.org Sat Jan  3 01:05:34 2026\n{}\n", message.text))
            .collect();
        std::fs::write(self.at("mail"), all).unwrap();
    }

    /// Where a message is: a session may have moved it.
    fn present(&self, base: &str) -> PathBuf {
        let folders = ["mail/new", "mail/cur"];
        let mut entries = folders.iter().flat_map(|folder| std::fs::read_dir(self.at(folder)).unwrap());
        let found = entries.find_map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            (name.split(':').next() == Some(base)).then(|| entry.path())
        });
        found.unwrap_or_else(|| panic!("{base} is lost"))
    }

    fn damage(&self, at: usize) {
        let path = self.at("state/index");
        let Ok(mut octets) = std::fs::read(&path) else { return };
        if let Some(octet) = octets.get_mut(at) {
            *octet ^= 0x41;
        }
        std::fs::write(path, octets).unwrap();
    }

    fn open(&self) -> Box<dyn Maildrop> {
        let (path, uid) = (self.at("mail"), std::fs::metadata(self.folder.path()).unwrap().uid());
        let state = Directory::open(&self.at("state")).unwrap();
        let found = find(Format::Auto, &path, uid).unwrap();
        let local = Local::new(&path, LockSet::default(), uid).unwrap();
        open(found, &path, uid, state, Box::new(local)).unwrap()
    }
}

/// One session: the machine and the maildrop under test, and what the model says that they hold.
struct Session<'a> {
    maildrop: Box<dyn Maildrop>,
    machine: Transaction,
    messages: &'a mut Vec<Message>,
    count: usize,
    deleted: Vec<bool>,
    last: u32,
}

impl<'a> Session<'a> {
    fn begin(store: &Store, messages: &'a mut Vec<Message>) -> Self {
        let mut maildrop = store.open();
        assert_eq!(maildrop.count() as usize, messages.len());
        let entries = entries(maildrop.as_mut());
        for (entry, message) in entries.iter().zip(messages.iter_mut()) {
            assert_eq!(entry.octets, message.wire().len() as u64, "RFC 1939, section 11");
            assert_eq!(
                *message.uidl.get_or_insert(entry.uidl),
                entry.uidl,
                "RFC 1939, section 7: it persists"
            );
        }
        for (at, entry) in entries.iter().enumerate() {
            assert!(
                !entries[..at].iter().any(|other| other.uidl == entry.uidl),
                "RFC 1939, section 7: unique"
            );
        }
        let octets = maildrop.octets();
        assert_eq!(octets, entries.iter().map(|entry| entry.octets).sum::<u64>());
        let offer = Offer {
            plaintext_allowed: true,
            xlst: false,
            xmit: false,
            shy: false,
            mechanisms: Mechanisms::NONE,
            stls: false,
            login_delay: None,
        };
        let (user, host) = ("ann".to_owned(), "host".to_owned());
        let machine = Transaction::new(Setup {
            user,
            host,
            count: maildrop.count(),
            octets,
            offer,
            language: Language::default(),
        });
        let count = messages.len();
        Self { maildrop, machine, messages, count, deleted: vec![false; count], last: 0 }
    }

    fn say(&mut self, line: &str) -> String {
        match self.machine.step(Line::Complete(line.as_bytes())) {
            Effect::Reply(reply) | Effect::Close(reply) => sent(&reply),
            Effect::List(Scope::One(message)) => {
                let entry = self.entry(message);
                sent(&self.machine.list_one(message, entry.octets))
            }
            Effect::Uidl(Scope::One(message)) => {
                let Uidl { hash, twin } = self.entry(message).uidl;
                sent(&self.machine.uidl_one(message, hash, twin))
            }
            Effect::List(Scope::All) => sent(&self.machine.list_all()),
            Effect::Delete(message) => {
                let octets = self.entry(message).octets;
                sent(&self.machine.deleted(message, octets))
            }
            Effect::Retrieve { message, .. } => {
                let octets = self.entry(message).octets;
                let wire = self.wire(message);
                assert_eq!(octets, wire.len() as u64);
                assert_eq!(wire, self.messages[message.index() as usize].wire(), "message {message:?}");
                self.machine.retrieved(message);
                sent(&self.machine.retrieve_reply(octets))
            }
            Effect::Commit => {
                let (deleted, retrieved) =
                    (self.machine.deletions().clone(), self.machine.retrievals().clone());
                let done = self.maildrop.commit(&deleted, &retrieved);
                sent(&self.machine.quit_reply(done.map_err(|error| error.reply())))
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    fn entry(&mut self, message: MsgNo) -> Entry {
        let mut page = Vec::new();
        self.maildrop.entries(message, &mut page).unwrap();
        page[0]
    }

    fn wire(&mut self, message: MsgNo) -> Vec<u8> {
        let (mut stored, mut buffer) = (Vec::new(), [0; 16]);
        loop {
            match self.maildrop.read(message, stored.len() as u64, &mut buffer).unwrap() {
                0 => break,
                count => stored.extend_from_slice(&buffer[..count]),
            }
        }
        let text = String::from_utf8(stored).unwrap();
        Message { text, uidl: None, name: String::new() }.wire()
    }

    /// Whether the number stands for a message that is not deleted.
    fn is_there(&self, number: u32) -> bool {
        number.checked_sub(1).is_some_and(|at| self.deleted.get(at as usize) == Some(&false))
    }

    fn left(&self) -> (usize, usize) {
        let left = self.messages[..self.count].iter().zip(&self.deleted).filter(|(_, deleted)| !**deleted);
        left.fold((0, 0), |(count, octets), (message, _)| (count + 1, octets + message.wire().len()))
    }

    fn obey(&mut self, store: &Store, command: &Command) {
        match *command {
            Command::Stat => {
                let (count, octets) = self.left();
                assert_eq!(self.say("STAT"), format!("+OK {count} {octets}"), "RFC 1939, section 5");
            }
            Command::Listing => {
                let (count, octets) = self.left();
                assert_eq!(self.say("LIST"), format!("+OK {count} message(s) ({octets} octets)."));
            }
            Command::List(number) => {
                let octets = self.is_there(number).then(|| self.messages[number as usize - 1].wire().len());
                self.expect(&format!("LIST {number}"), octets.map(|octets| format!("+OK {number} {octets}")));
            }
            Command::Uidl(number) => {
                let there = self.is_there(number).then(|| format!("+OK {number} "));
                self.expect(&format!("UIDL {number}"), there);
            }
            Command::Retr(number) => {
                let there = self.is_there(number).then(|| "+OK ".to_owned());
                self.accessed(number);
                self.expect(&format!("RETR {number}"), there);
            }
            Command::Dele(number) => {
                let there = self.is_there(number).then(|| "+OK ".to_owned());
                self.accessed(number);
                self.expect(&format!("DELE {number}"), there.clone());
                if there.is_some() {
                    self.deleted[number as usize - 1] = true;
                }
            }
            Command::Rset => {
                assert!(self.say("RSET").starts_with("+OK"));
                self.deleted.fill(false);
                self.last = 0;
            }
            Command::Last => assert_eq!(self.say("LAST"), format!("+OK {}", self.last), "RFC 1460"),
            Command::Deliver(text) => self.messages.push(store.deliver(TEXTS[text])),
        }
    }

    fn accessed(&mut self, number: u32) {
        if self.is_there(number) {
            self.last = self.last.max(number);
        }
    }

    /// The reply begins so; with none, it is `-ERR`.
    fn expect(&mut self, line: &str, reply: Option<String>) {
        let said = self.say(line);
        let expected = reply.unwrap_or_else(|| "-ERR".to_owned());
        assert!(said.starts_with(&expected), "{line}: {said}, not {expected}");
    }

    fn end(mut self, quit: bool) {
        if quit {
            assert!(self.say("QUIT").starts_with("+OK"));
            let mut deleted = self.deleted.iter();
            self.messages.retain(|_| !deleted.next().copied().unwrap_or(false));
        }
    }
}

fn sent(reply: &crate::protocol::reply::Reply) -> String {
    let mut octets = Vec::new();
    reply.write_to(&mut octets);
    String::from_utf8(octets).unwrap().trim_end().to_owned()
}

fn entries(maildrop: &mut dyn Maildrop) -> Vec<Entry> {
    let (mut all, mut page) = (Vec::new(), Vec::new());
    while all.len() < maildrop.count() as usize {
        maildrop.entries(MsgNo::new(u32::try_from(all.len()).unwrap() + 1).unwrap(), &mut page).unwrap();
        all.append(&mut page);
    }
    all
}

fn play(format: Format, steps: &[Step]) {
    let (store, mut messages) = (Store::new(format), Vec::new());
    for step in steps {
        match step {
            Step::Deliver(text) => messages.push(store.deliver(TEXTS[*text])),
            Step::Mark(which) => store.mark(&mut messages, *which),
            Step::DropIndex => drop(std::fs::remove_file(store.at("state").join(index::NAME))),
            Step::DamageIndex(at) => store.damage(*at),
            Step::Session(commands, quit) => {
                let mut session = Session::begin(&store, &mut messages);
                commands.iter().for_each(|command| session.obey(&store, command));
                session.end(*quit);
            }
        }
    }
    Session::begin(&store, &mut messages).end(false);
}

fn run(format: Format) {
    // `PROPTEST_CASES` asks for another number.
    let config = Config { cases: Config::default().cases.max(SEQUENCES), ..Config::default() };
    let config = Config { failure_persistence: None, ..config };
    let steps = prop::collection::vec(step(), 1..10);
    TestRunner::new(config)
        .run(&steps, |steps| {
            play(format, &steps);
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_session_with_an_mbox_is_as_the_model_says() {
    run(Format::Mbox);
}

#[test]
fn any_session_with_a_maildir_is_as_the_model_says() {
    run(Format::Maildir);
}

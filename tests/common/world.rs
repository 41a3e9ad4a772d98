//! A machine with users and maildrops, and `pop3d` in inetd mode on it.

use super::client::{Client, text};
use super::machine::{Mounts, chmod, lines_of_others, make_directory, until_nobody_writes, write};
use super::{Child, PATIENCE, mail, processes, within};
use std::collections::HashMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// `correct horse` with SHA-512 and few rounds (`mkpasswd -m sha512crypt -R 1000`): quick for tests of other things.
pub(crate) const QUICK_HASH: &str = "$6$rounds=1000$wqk9GWw2cwwx/B8x$\
     WyKZqAZsXC6FpN9dbheOV.83f1Gyjgn7xcGA0rE/gLhhtfALOs5sKH.ycMgckfHk.HrN4VdZeQmJmNjclD766.";
/// Another hash of the same password, so that a neighbour's is not one's own.
pub(crate) const NEIGHBOURS_HASH: &str = "$6$rounds=1000$pqyBwh7E7h3LqL4N$\
     g0hQflan7.l9UHFbZjRX8LTXR3sEO0i.DZCKqZYXDK6FpVB8t9ySXMiOkrCHFNl0CtbquMKAbPNl1gf2/Qp37.";

/// The unprivileged user of a [`World`].
pub(crate) const POP3D_UID: u32 = 20_999;
/// The uid of the first user; the others follow.
pub(crate) const FIRST_UID: u32 = 21_001;
/// A supplementary group of ann's.
pub(crate) const FRIENDS_GID: u32 = 21_900;
/// The host name in the greeting.
pub(crate) const HOST: &str = "mail.example.org";

const SPOOL: &str = "/var/mail";

/// What becomes of the log lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syslog {
    /// The test reads them.
    Read,
    /// There is no `/dev/log`.
    Missing,
    /// There is one that nobody reads.
    Stuck,
}

/// A world that is not built yet.
pub(crate) struct Setup {
    users: Vec<(String, u32, String)>,
    config: String,
    options: Vec<String>,
    spool_mode: u32,
    spool_options: String,
    syslog: Syslog,
    pop3d_account: bool,
    shells: HashMap<String, String>,
}

impl Setup {
    /// One more user, with the next free uid.
    pub(crate) fn user(self, name: &str, hash: &str) -> Self {
        let uid = FIRST_UID + u32::try_from(self.users.len()).unwrap();
        self.user_with_uid(name, uid, hash)
    }

    pub(crate) fn user_with_uid(mut self, name: &str, uid: u32, hash: &str) -> Self {
        self.users.retain(|(other, ..)| other != name);
        self.users.push((name.to_owned(), uid, hash.to_owned()));
        self
    }

    /// The login shell of a user.
    pub(crate) fn shell(mut self, name: &str, shell: &str) -> Self {
        self.shells.insert(name.to_owned(), shell.to_owned());
        self
    }

    /// More lines of pop3d.toml: keys without a table first, then tables.
    pub(crate) fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// More options of pop3d's.
    pub(crate) fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|&option| option.to_owned()));
        self
    }

    /// The mode of `/var/mail`: 0o2775 with its group `mail` unless set, or 0o1777.
    pub(crate) const fn spool_mode(mut self, mode: u32) -> Self {
        self.spool_mode = mode;
        self
    }

    /// A spool with room for this many octets.
    pub(crate) fn spool_size(mut self, octets: usize) -> Self {
        self.spool_options = format!("mode=755,size={octets}");
        self
    }

    /// What becomes of the log lines.
    pub(crate) const fn syslog(mut self, syslog: Syslog) -> Self {
        self.syslog = syslog;
        self
    }

    /// No account `pop3d`: the package has not made it.
    pub(crate) const fn without_pop3d_account(mut self) -> Self {
        self.pop3d_account = false;
        self
    }

    /// Builds it around this thread, which [`super::isolated`] made.
    pub(crate) fn start(self) -> World {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().to_owned();
        chmod(&dir, 0o755);
        let built =
            std::env::var_os("POP3D").map_or_else(|| env!("CARGO_BIN_EXE_pop3d").into(), PathBuf::from);
        let program = dir.join("pop3d");
        write(&program, b"", 0o755);
        let mut mounts = Mounts::default();
        mounts.bind(&built, &program);
        self.accounts(&dir, &mut mounts);
        mounts.private_devices(&dir);
        mounts.empty(Path::new("/run"), "mode=755");
        make_directory(Path::new("/run/home"), 0o755);
        make_directory(Path::new("/run/lib"), 0o755);
        for (name, uid, _) in &self.users {
            let home = PathBuf::from(format!("/run/home/{name}"));
            make_directory(&home, 0o750);
            chown(&home, Some(*uid), Some(*uid)).unwrap();
        }
        let spool = PathBuf::from(SPOOL);
        mounts.empty(&spool, &self.spool_options);
        chown(&spool, Some(0), Some(group("mail"))).unwrap();
        chmod(&spool, self.spool_mode);
        let config = dir.join("pop3d.toml");
        let base = format!("hostname = \"{HOST}\"\nstate_dir = \"/run/lib/poptools\"\n");
        write(&config, (base + &self.config).as_bytes(), 0o644);
        let log = match self.syslog {
            Syslog::Read => Some(Log::open()),
            Syslog::Missing => None,
            Syslog::Stuck => Some(Log::stuck()),
        };
        World { log, program, config, spool, options: self.options, run_as: None, _mounts: mounts, directory }
    }

    fn accounts(&self, stage: &Path, mounts: &mut Mounts) {
        let names: Vec<&str> =
            self.users.iter().map(|(name, ..)| name.as_str()).chain(["pop3d", "friends"]).collect();
        let mut passwd = lines_of_others("/etc/passwd", &names);
        let mut shadow = lines_of_others("/etc/shadow", &names);
        let mut group = lines_of_others("/etc/group", &names);
        if self.pop3d_account {
            passwd += &format!("pop3d:x:{POP3D_UID}:{POP3D_UID}::/nonexistent:/usr/sbin/nologin\n");
            shadow += "pop3d:!:20000::::::\n";
            group += &format!("pop3d:x:{POP3D_UID}:\n");
        }
        for (name, uid, hash) in &self.users {
            if name == "root" {
                shadow = lines_of_others("/etc/shadow", &[&names[..], &["root"]].concat());
                passwd = format!("root:x:0:0::/root:/bin/sh\n{passwd}");
            } else {
                let shell = self.shells.get(name).map_or("/bin/sh", String::as_str);
                passwd += &format!("{name}:x:{uid}:{uid}::/run/home/{name}:{shell}\n");
                group += &format!("{name}:x:{uid}:\n");
            }
            // One that has colons is all of the line.
            let dates = if hash.contains(':') { "" } else { ":20000:0:99999:7:::" };
            shadow += &format!("{name}:{hash}{dates}\n");
        }
        group += &format!("friends:x:{FRIENDS_GID}:ann\n");
        mounts.replace("/etc/passwd", &passwd, 0o644, stage);
        mounts.replace("/etc/shadow", &shadow, 0o640, stage);
        mounts.replace("/etc/group", &group, 0o644, stage);
        // No name service but these files: a caching one would not see them.
        let switch = "passwd: files\nshadow: files\ngroup: files\nhosts: files\nservices: files\n";
        if Path::new("/etc/nsswitch.conf").exists() {
            mounts.replace("/etc/nsswitch.conf", switch, 0o644, stage);
        }
    }
}

/// A machine of the test's own.
pub(crate) struct World {
    log: Option<Log>,
    /// The server under test.
    pub(crate) program: PathBuf,
    /// Its configuration file.
    pub(crate) config: PathBuf,
    /// The directory of the mailboxes.
    pub(crate) spool: PathBuf,
    options: Vec<String>,
    run_as: Option<u32>,
    // Dropped in this order: a mount point could not be removed with its directory.
    _mounts: Mounts,
    directory: tempfile::TempDir,
}

impl World {
    /// A setup with ann and bob, whose password is [`super::PASSWORD`].
    pub(crate) fn setup() -> Setup {
        let nobody_yet = Setup {
            users: Vec::new(),
            config: String::new(),
            options: Vec::new(),
            spool_mode: 0o2775,
            spool_options: "mode=755".to_owned(),
            syslog: Syslog::Read,
            pop3d_account: true,
            shells: HashMap::new(),
        };
        nobody_yet.user("ann", QUICK_HASH).user("bob", NEIGHBOURS_HASH)
    }

    /// The usual world.
    pub(crate) fn start() -> Self {
        Self::setup().start()
    }

    /// What an ordinary user has: no root, and directories of the own. Nobody can log in there by a shadow entry.
    pub(crate) fn unprivileged() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().to_owned();
        chmod(&dir, 0o755);
        let run_as = nix::unistd::geteuid().is_root().then_some(65_534);
        let built =
            std::env::var_os("POP3D").map_or_else(|| env!("CARGO_BIN_EXE_pop3d").into(), PathBuf::from);
        // A copy: the build directory may be closed to the user that it runs as.
        let program = dir.join("pop3d");
        fs::copy(built, &program).unwrap();
        chmod(&program, 0o755);
        until_nobody_writes(&program);
        for name in ["state", "run", "spool"] {
            make_directory(&dir.join(name), 0o700);
            chown(dir.join(name), run_as, run_as).unwrap();
        }
        let config = dir.join("pop3d.toml");
        let place = dir.display();
        let toml = format!(
            "hostname = \"{HOST}\"\nstate_dir = \"{place}/state\"\nrun_dir = \"{place}/run\"\n\
             [maildrop]\npath = \"{place}/spool/{{user}}\"\n"
        );
        write(&config, toml.as_bytes(), 0o644);
        chown(&config, run_as, run_as).unwrap();
        let spool = dir.join("spool");
        Self {
            log: None,
            program,
            config,
            spool,
            options: Vec::new(),
            run_as,
            _mounts: Mounts::default(),
            directory,
        }
    }

    /// The server's options, for one that the test starts in its own way.
    pub(crate) fn options(&self) -> &[String] {
        &self.options
    }

    /// A directory for the test's own files, readable by everybody.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the user's mailbox is.
    pub(crate) fn mailbox(&self, user: &str) -> PathBuf {
        self.spool.join(user)
    }

    /// Writes a mailbox as the spool's mode wants it: `user:mail` 0660, or `user:user` 0600 in a spool for all.
    pub(crate) fn maildrop(&self, user: &str, bytes: &[u8]) {
        let path = self.mailbox(user);
        let shared = fs::metadata(&self.spool).unwrap().mode() & 0o002 == 0;
        write(&path, bytes, if shared { 0o660 } else { 0o600 });
        chown(&path, Some(uid(user)), Some(if shared { group("mail") } else { uid(user) })).unwrap();
    }

    /// A mailbox of ann's with this many small messages; what is stored of each.
    pub(crate) fn small_maildrop(&self, count: usize) -> Vec<mail::Stored> {
        let messages = mail::messages(count);
        self.maildrop("ann", &mail::mbox(&messages));
        messages
    }

    /// The bytes of a mailbox.
    pub(crate) fn stored(&self, user: &str) -> Vec<u8> {
        fs::read(self.mailbox(user)).unwrap_or_else(|why| panic!("the mailbox of {user} is gone: {why}"))
    }

    /// The names in the spool, sorted.
    pub(crate) fn spool_names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.spool).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The command that serves one connection on fd 0, started by `wrapper` when there is one. Like inetd it
    /// gives the socket as fd 0, 1 and 2.
    pub(crate) fn command(&self, wrapper: &[&str], more: &[&str], socket: OwnedFd) -> Command {
        let program = self.program.to_str().unwrap();
        let words: Vec<&str> = wrapper.iter().copied().chain([program]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("--config").arg(&self.config).args(&self.options).args(more);
        command.env_remove("LISTEN_FDS").env_remove("LISTEN_PID").current_dir("/");
        command.stdout(Stdio::from(socket.try_clone().unwrap()));
        // A wrapper's own words are not for the client.
        command.stderr(if wrapper.is_empty() {
            Stdio::from(socket.try_clone().unwrap())
        } else {
            Stdio::inherit()
        });
        command.stdin(Stdio::from(socket));
        if let Some(id) = self.run_as {
            command.uid(id).gid(id);
        }
        command
    }

    /// A new connection over loopback TCP; the greeting is read.
    pub(crate) fn connect(&self) -> Client {
        self.connect_under(&[], &[])
    }

    /// A new connection to a server with more options.
    pub(crate) fn connect_with(&self, more: &[&str]) -> Client {
        self.connect_under(&[], more)
    }

    /// A new connection to a server that a wrapper (`strace ...`) starts.
    pub(crate) fn connect_under(&self, wrapper: &[&str], more: &[&str]) -> Client {
        let (ours, theirs) = tcp_pair("127.0.0.1:0");
        self.serve(ours, theirs.into(), wrapper, more)
    }

    /// A new connection to and from this address, such as `[::1]:0`.
    pub(crate) fn connect_to(&self, address: &str) -> Client {
        let (ours, theirs) = tcp_pair(address);
        self.serve(ours, theirs.into(), &[], &[])
    }

    /// A new connection over a UNIX socket.
    pub(crate) fn connect_unix(&self) -> Client {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // The calls that the client makes are the same for every stream socket.
        self.serve(TcpStream::from(OwnedFd::from(ours)), theirs.into(), &[], &[])
    }

    fn serve(&self, ours: TcpStream, theirs: OwnedFd, wrapper: &[&str], more: &[&str]) -> Client {
        let inode = inode(&theirs);
        let server = Child::start(self.command(wrapper, more, theirs));
        Client::new(ours, server, inode)
    }

    /// A new connection, logged in.
    pub(crate) fn log_in(&self, user: &str) -> Client {
        let mut client = self.connect();
        client.log_in(user);
        client
    }

    /// The processes of a connection: the monitor (the one that was started) first.
    pub(crate) fn processes(&self, client: &Client) -> Vec<processes::Process> {
        processes::tree(client.server.pid())
    }

    /// The process that serves the maildrop of a client that is logged in.
    pub(crate) fn session(&self, client: &Client, user: &str) -> processes::Process {
        let owner = uid(user);
        super::eventually("a session process that runs as the user and holds the connection", || {
            let mut all = self.processes(client).into_iter();
            all.find(|process| process.uids.first() == Some(&owner) && process.holds_socket(client.socket))
        })
    }

    /// All log lines that were written before this call.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.log.as_ref().map(Log::lines).unwrap_or_default()
    }

    /// The first log line with all these words, now or within [`PATIENCE`].
    pub(crate) fn log_line(&self, words: &[&str]) -> String {
        let log = self.log.as_ref().expect("this world has a syslog");
        log.wait(|line| words.iter().all(|word| line.contains(word)))
            .unwrap_or_else(|| panic!("no log line with {words:?} in {:#?}", log.lines()))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.log_lines();
            eprintln!("end of pop3d's log: {:#?}", &lines[lines.len().saturating_sub(20)..]);
        }
    }
}

/// Both ends of a TCP connection: the client's and the server's.
pub(crate) fn tcp_pair(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

/// The inode by which `/proc` names a socket.
pub(crate) fn inode(socket: &impl AsFd) -> u64 {
    nix::sys::stat::fstat(socket).unwrap().st_ino
}

/// The uid of a user, which is its group's id too.
pub(crate) fn uid(user: &str) -> u32 {
    id("/etc/passwd", user)
}

/// The id of a group.
pub(crate) fn group(name: &str) -> u32 {
    id("/etc/group", name)
}

/// The third field of an account's line. Not asked of the C library, which may remember another test's files.
fn id(file: &str, name: &str) -> u32 {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    let id = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    id.unwrap_or_else(|| panic!("no {name} in {file}"))
}

/// A `/dev/log` of the test's own.
struct Log {
    socket: UnixDatagram,
    lines: Arc<(Mutex<Vec<String>>, Condvar)>,
    /// How many marks were sent, when somebody reads.
    marks: Option<AtomicUsize>,
}

/// What our own marks in the log begin with.
const MARK: &str = "mark ";

impl Log {
    fn open() -> Self {
        let mut log = Self::stuck();
        log.marks = Some(AtomicUsize::new(0));
        let (socket, lines) = (log.socket.try_clone().unwrap(), Arc::clone(&log.lines));
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok(count @ 1..) = socket.recv(&mut buffer) {
                lines.0.lock().unwrap().push(text(&buffer[..count]));
                lines.1.notify_all();
            }
        });
        log
    }

    fn stuck() -> Self {
        let socket = UnixDatagram::bind("/dev/log").unwrap();
        chmod(Path::new("/dev/log"), 0o666);
        Self { socket, lines: Arc::default(), marks: None }
    }

    /// The lines so far. A mark of our own comes behind them: when that was read, they all were.
    fn lines(&self) -> Vec<String> {
        if let Some(marks) = &self.marks {
            let mark = format!("{MARK}{}", marks.fetch_add(1, Ordering::Relaxed));
            // Nowhere to send it to, nothing to wait for: the test has taken /dev/log away.
            if UnixDatagram::unbound().unwrap().send_to(mark.as_bytes(), "/dev/log").is_ok() {
                self.wait(|line| line == mark);
            }
        }
        let lines = self.lines.0.lock().unwrap();
        lines.iter().filter(|line| !line.starts_with(MARK)).cloned().collect()
    }

    fn wait(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let found = |lines: &Vec<String>| lines.iter().find(|line| wanted(line)).cloned();
        let lines = self.lines.0.lock().unwrap();
        let waiting = self.lines.1.wait_timeout_while(lines, PATIENCE, |lines| found(lines).is_none());
        found(&waiting.unwrap().0)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Wakes the reader, which then ends.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// Whether the mailbox holds exactly these bytes, now or within a short time.
pub(crate) fn becomes(path: &Path, bytes: &[u8]) -> bool {
    within(PATIENCE, || (fs::read(path).ok()? == bytes).then_some(())).is_some()
}

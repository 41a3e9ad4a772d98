//! Programs that deliver mail into a user's mailbox, as distributions have them, and one that follows Postfix's conventions.

// Each test binary uses a part of this module.
#![allow(dead_code)]

use super::common::world::{group, uid};
use super::common::{World, find_program, machine, mail};
use nix::fcntl::{FcntlArg, fcntl};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that delivers.
pub(crate) struct Deliverer {
    pub(crate) name: &'static str,
    /// What must be installed.
    pub(crate) program: &'static str,
    command: fn(&World) -> Command,
    /// What its configuration needs first.
    prepare: fn(&World),
}

/// Those of Debian that need no service.
pub(crate) const DELIVERERS: [Deliverer; 5] = [
    Deliverer { name: "procmail", program: "procmail", command: procmail, prepare: |_| () },
    Deliverer { name: "maildrop", program: "maildrop", command: maildrop, prepare: configure_maildrop },
    Deliverer { name: "mailutils mda", program: "mda", command: mda, prepare: |_| () },
    Deliverer { name: "dovecot-lda", program: "dovecot", command: dovecot, prepare: configure_dovecot },
    Deliverer { name: "exim4", program: "exim4", command: exim, prepare: configure_exim },
];

impl Deliverer {
    /// Makes ready what it needs in this world.
    pub(crate) fn prepare(&self, world: &World) {
        (self.prepare)(world);
    }

    /// Starts a delivery of a message that is known by its mark.
    pub(crate) fn start(&self, world: &World, mark: &str) -> std::process::Child {
        let mut command = (self.command)(world);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).current_dir("/");
        let mut child = command.spawn().unwrap_or_else(|why| panic!("{}: {why}", self.name));
        child.stdin.take().unwrap().write_all(&marked(mark)).unwrap();
        child
    }

    /// Delivers, and says what was wrong.
    pub(crate) fn deliver(&self, world: &World, mark: &str) -> Result<(), String> {
        finished(self.start(world, mark))
    }
}

/// Waits for a delivery.
pub(crate) fn finished(child: std::process::Child) -> Result<(), String> {
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// A message whose body begins and ends with the mark, so that a torn one is seen.
pub(crate) fn marked(mark: &str) -> Vec<u8> {
    let filling = "a line of text that fills the message\n".repeat(20);
    format!("From: sender@example.org\nTo: ann@example.org\nSubject: marked\n\nbegin {mark}\n{filling}end {mark}\n").into_bytes()
}

/// How often a message with this mark stands in these octets, whole; torn ones fail.
pub(crate) fn marks(octets: &[u8], mark: &str) -> usize {
    let whole = marked(mark);
    let begin = whole.windows(6).position(|window| window == b"begin ").unwrap();
    let whole = memchr::memmem::find_iter(octets, &whole[begin..]).count();
    let begun = memchr::memmem::find_iter(octets, format!("begin {mark}\n").as_bytes()).count();
    assert_eq!(whole, begun, "a message is torn: {mark}");
    whole
}

fn as_ann(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", "/run/home/ann").env("LOGNAME", "ann").env("USER", "ann");
    command.uid(uid("ann")).gid(group("mail"));
    command
}

fn procmail(_: &World) -> Command {
    let mut command = as_ann("procmail");
    command.args(["-f", "sender@example.org", "LOCKSLEEP=1", "SUSPEND=1"]);
    command
}

fn maildrop(_: &World) -> Command {
    as_ann("maildrop")
}

fn configure_maildrop(_: &World) {
    let filter = Path::new("/run/home/ann/.mailfilter");
    machine::write(filter, b"LOCKTIMEOUT=2\nLOCKSLEEP=1\n", 0o600);
    chown(filter, Some(uid("ann")), Some(uid("ann"))).unwrap();
}

fn mda(_: &World) -> Command {
    let mut command = as_ann(find_program("mda").unwrap().to_str().unwrap());
    command.args(["--stderr", "--from=sender@example.org", "ann"]);
    command
}

fn dovecot(world: &World) -> Command {
    let mut command = as_ann("/usr/lib/dovecot/dovecot-lda");
    command.arg("-c").arg(world.directory().join("dovecot.conf")).args(["-f", "sender@example.org"]);
    command
}

fn configure_dovecot(world: &World) {
    let spool = world.spool.display();
    let text = format!(
        "mail_location = mbox:~/mail:INBOX={spool}/%u\nmail_access_groups = mail\n\
         mbox_write_locks = dotlock fcntl\nmbox_read_locks = fcntl\nmbox_dotlock_change_timeout = 3 s\nlog_path = /dev/stderr\n\
         postmaster_address = postmaster@example.org\nhostname = mail.example.org\nprotocol lda {{\n}}\n\
         ssl = no\n"
    );
    machine::write(&world.directory().join("dovecot.conf"), text.as_bytes(), 0o644);
    let folders = Path::new("/run/home/ann/mail");
    if !folders.exists() {
        machine::make_directory(folders, 0o700);
        chown(folders, Some(uid("ann")), Some(uid("ann"))).unwrap();
    }
}

fn exim(_: &World) -> Command {
    let mut command = Command::new(find_program("exim4").unwrap());
    command.args(["-odi", "-f", "sender@example.org", "ann@mail.example.org"]);
    command
}

fn configure_exim(world: &World) {
    let (spool, place) = (world.spool.display(), world.directory().display());
    let text = format!(
        "primary_hostname = mail.example.org\nspool_directory = {place}/exim\nlog_file_path = {place}/exim/%slog\n\
         keep_environment =\nnever_users =\nbegin routers\nlocal:\n  driver = accept\n  check_local_user\n\
         \x20 transport = mailbox\nbegin transports\nmailbox:\n  driver = appendfile\n  file = {spool}/${{local_part_data}}\n\
         \x20 group = mail\n  mode = 0660\n  mode_fail_narrower = false\n  lock_interval = 1s\n  lock_retries = 20\n  lockfile_timeout = 5s\n\
         begin retry\n* * F,1h,1s\n"
    );
    // Exim keeps its rights with the system's own configuration file alone.
    let folder = world.directory().join("etc");
    machine::make_directory(&folder, 0o755);
    machine::write(&folder.join("exim4.conf"), text.as_bytes(), 0o644);
    // That of an earlier world of this thread, if any.
    let _ = umount2("/etc/exim4", MntFlags::MNT_DETACH);
    mount(Some(&folder), "/etc/exim4", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let spool = world.directory().join("exim");
    if !spool.exists() {
        machine::make_directory(&spool, 0o750);
        let owner = fs::read_to_string("/etc/passwd").unwrap();
        let owner =
            owner.lines().find(|line| line.starts_with("Debian-exim:")).expect("exim's account").to_owned();
        let ids: Vec<u32> = owner.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
        chown(&spool, Some(ids[0]), Some(ids[1])).unwrap();
    }
}

/// Delivers as Postfix's local(8) does: dotlock, kernel lock, and another try when the file has lost its name.
pub(crate) fn postfix(mailbox: &Path, message: &[u8], owner: (u32, u32)) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    let dotlock = mailbox.with_extension("lock");
    while let Err(why) = OpenOptions::new().write(true).create_new(true).open(&dotlock) {
        if why.kind() != io::ErrorKind::AlreadyExists || Instant::now() > end {
            return Err(why);
        }
        // Another program's lock gives no event.
        std::thread::sleep(Duration::from_millis(2));
    }
    let delivered = append(mailbox, message, owner);
    fs::remove_file(&dotlock)?;
    delivered
}

fn append(mailbox: &Path, message: &[u8], (user, group): (u32, u32)) -> io::Result<()> {
    loop {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o660).open(mailbox)?;
        lock(&file)?;
        let found = file.metadata()?;
        if found.nlink() == 0 {
            continue;
        }
        if (found.uid(), found.gid()) != (user, group) {
            chown(mailbox, Some(user), Some(group))?;
        }
        return file.write_all(&mail::mbox(&[message]));
    }
}

fn lock(file: &File) -> io::Result<()> {
    let kind = i16::try_from(libc::F_WRLCK).unwrap();
    let whole = libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    // Threads of one process have POSIX locks in common; those of descriptions are their own.
    Ok(fcntl(file, FcntlArg::F_OFD_SETLKW(&whole)).map(drop)?)
}

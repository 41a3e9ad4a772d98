//! The servers: ours, and those of the distribution, as `fetch` unpacks them.

use super::common::World;
use super::common::machine::{chmod, make_directory, write};
use super::mailboxes::Format;
use super::meter::Meter;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// One server, running.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) format: Format,
    pub(crate) port: u16,
    /// Where it takes connections that begin with TLS.
    pub(crate) secure: Option<u16>,
    /// What inetd would start, and the port where our stand-in for inetd does.
    pub(crate) inetd: Option<u16>,
    /// Where a user's maildrop is: before and behind the user's name.
    spool: PathBuf,
    /// What it remembers of maildrops.
    caches: Vec<PathBuf>,
    pub(crate) meter: Meter,
    /// Its processes when nobody is connected.
    pub(crate) idle: usize,
}

impl Peer {
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with("ours")
    }

    pub(crate) fn maildrop(&self, user: &str) -> PathBuf {
        self.spool.join(user)
    }

    /// Forgets what it knows of the user's maildrop.
    pub(crate) fn forget(&self, user: &str) {
        for cache in &self.caches {
            // There may be none yet.
            let _ = fs::remove_dir_all(cache.join(user));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.meter.end();
    }
}

/// What is needed to start servers.
pub(crate) struct Ground<'a> {
    pub(crate) world: &'a World,
    pub(crate) groups: PathBuf,
    /// Where `fetch` has put things.
    pub(crate) fetched: PathBuf,
    /// A directory on a disk.
    pub(crate) disk: PathBuf,
    /// What its control groups are named by.
    pub(crate) run: String,
}

/// One way to start a server: its name, and what does it; `None` where it is not to be had.
type Start = fn(&Ground<'_>) -> Option<Peer>;

/// All of them. Ours is the first.
pub(crate) const ALL: &[(&str, Start)] = &[
    ("ours", |ground| ours(ground, "ours", Format::Mbox, 1101)),
    ("popa3d", popa3d),
    ("dovecot", |ground| dovecot(ground, "dovecot", Format::Mbox, 1103)),
    ("dovecot-maildir", |ground| dovecot(ground, "dovecot-maildir", Format::Maildir, 1104)),
    ("ours-maildir", |ground| ours(ground, "ours-maildir", Format::Maildir, 1105)),
    ("courier-maildir", courier),
    ("solid-pop3d", solid),
    ("mailutils", mailutils),
];

impl Ground<'_> {
    fn spool(&self, name: &str, group: bool) -> PathBuf {
        let place = Path::new("/var/mail").join(name);
        make_directory(&place, 0o755);
        if group {
            std::os::unix::fs::chown(&place, Some(0), Some(super::common::world::group("mail"))).unwrap();
            chmod(&place, 0o2775);
        }
        place
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.world.directory().join(name);
        write(&path, text.as_bytes(), 0o644);
        path.display().to_string()
    }

    /// Starts it and waits until it takes connections.
    fn start(&self, mut peer: Peer, commands: &[Vec<String>]) -> Option<Peer> {
        for words in commands {
            let said = fs::File::create(self.world.directory().join(format!("{}.said", peer.name))).unwrap();
            let mut command = peer.meter.command(words);
            command.current_dir("/").env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
            command.stdout(said.try_clone().unwrap()).stderr(said);
            let mut child = command.spawn().unwrap();
            std::thread::spawn(move || child.wait());
        }
        let listens = |port: u16| {
            (0..500).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                TcpStream::connect(("127.0.0.1", port)).is_ok()
            })
        };
        if !listens(peer.port) {
            let said = fs::read_to_string(self.world.directory().join(format!("{}.said", peer.name)));
            eprintln!("{} does not listen on {}: {}", peer.name, peer.port, said.unwrap_or_default());
            return None;
        }
        std::thread::sleep(Duration::from_millis(300));
        peer.idle = peer.meter.processes().len();
        Some(peer)
    }

    fn peer(&self, name: &'static str, format: Format, port: u16, spool: PathBuf) -> Peer {
        let meter = Meter::new(&self.groups, &self.run, name);
        Peer { name, format, port, secure: None, inetd: None, spool, caches: Vec::new(), meter, idle: 0 }
    }

    /// The stand-in for inetd that serves with these words.
    fn inetd(&self, peer: &mut Peer, port: u16, words: &[String]) -> Vec<String> {
        peer.inetd = Some(port);
        let own = std::env::current_exe().unwrap().display().to_string();
        [vec![own, "--inetd".to_owned(), port.to_string()], words.to_vec()].concat()
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn installed(program: &str) -> Option<()> {
    Path::new(program).exists().then_some(())
}

fn ours(ground: &Ground<'_>, name: &'static str, format: Format, port: u16) -> Option<Peer> {
    let spool = ground.spool(name, format == Format::Mbox);
    let state = ground.disk.join(format!("state-{name}"));
    make_directory(&state, 0o755);
    let mut peer = ground.peer(name, format, port, spool.clone());
    let config = ground.file(
        &format!("{name}.toml"),
        &format!(
            "hostname = \"mail.example.org\"\nstate_dir = \"{}\"\nrun_dir = \"/run/{name}\"\n[maildrop]\n\
             path = \"{}/{{user}}\"\n[limits]\nmax_connections = 20000\nmax_per_address = 20000\n\
             [tls]\ncertificate = \"/run/tls/cert.pem\"\nkey = \"/run/tls/key.pem\"\n",
            state.display(),
            spool.display()
        ),
    );
    peer.caches = vec![state.join("maildrop")];
    peer.secure = Some(port + 100);
    let program = ground.world.program.display();
    let served = words(&format!("{program} --config {config}"));
    let inetd = ground.inetd(&mut peer, port + 200, &served);
    let listens = format!("--listen 127.0.0.1:{port} --listen-tls 127.0.0.1:{}", port + 100);
    ground.start(peer, &[inetd, [served, words(&listens)].concat()])
}

fn popa3d(ground: &Ground<'_>) -> Option<Peer> {
    let program = ground.fetched.join("popa3d");
    installed(program.to_str()?)?;
    // Compiled in: the spool, an empty directory, the port 1102.
    let mut peer = ground.peer("popa3d", Format::Mbox, 1102, PathBuf::from("/var/mail"));
    let inetd = ground.inetd(&mut peer, 1302, &words(&program.display().to_string()));
    make_directory(Path::new("/run/empty"), 0o755);
    // It goes into the background, and stays in its control group.
    ground.start(peer, &[inetd, words(&format!("{} -D", program.display()))])
}

fn dovecot(ground: &Ground<'_>, name: &'static str, format: Format, port: u16) -> Option<Peer> {
    installed("/usr/lib/dovecot/pop3-login")?;
    let spool = ground.spool(name, format == Format::Mbox);
    let index = ground.disk.join(format!("state-{name}"));
    make_directory(&index, 0o1777);
    let mut peer = ground.peer(name, format, port, spool.clone());
    let (spool, place) = (spool.display(), index.display());
    let location = match format {
        Format::Mbox => format!("mbox:/run/home/%u/mail:INBOX={spool}/%u:INDEX={place}/%u"),
        Format::Maildir => format!("maildir:{spool}/%u:INDEX={place}/%u"),
    };
    let passwords: String = fs::read_to_string("/etc/shadow")
        .unwrap()
        .lines()
        .map(|line| line.splitn(3, ':').take(2).collect::<Vec<_>>().join(":") + "\n")
        .collect();
    let passwords = ground.file(&format!("{name}.passwords"), &passwords);
    let secure = port + 100;
    let config = ground.file(
        &format!("{name}.conf"),
        &format!(
            "protocols = pop3\nbase_dir = /run/{name}\nstate_dir = /run/{name}-state\nlog_path = /dev/null\ninfo_log_path = /dev/null\n\
             listen = 127.0.0.1\nssl = yes\nssl_cert = </run/tls/cert.pem\nssl_key = </run/tls/key.pem\n\
             disable_plaintext_auth = no\nauth_mechanisms = plain\nmail_location = {location}\n\
             mail_privileged_group = mail\nmail_max_userip_connections = 20000\nfirst_valid_uid = 1000\n\
             default_process_limit = 3000\ndefault_client_limit = 20000\nmail_fsync = always\n\
             passdb {{\n driver = passwd-file\n args = username_format=%u {passwords}\n}}\nuserdb {{\n driver = passwd\n}}\n\
             service pop3-login {{\n service_count = 0\n client_limit = 10000\n process_min_avail = 1\n process_limit = 10\n\
             inet_listener pop3 {{\n port = {port}\n}}\n inet_listener pop3s {{\n port = {secure}\n ssl = yes\n}}\n}}\n\
             service pop3 {{\n process_limit = 3000\n}}\nservice anvil {{\n client_limit = 30000\n}}\n\
             service auth {{\n client_limit = 30000\n}}\n"
        ),
    );
    peer.secure = Some(secure);
    peer.caches = vec![index];
    ground.start(peer, &[words(&format!("/usr/sbin/dovecot -F -c {config}"))])
}

fn courier(ground: &Ground<'_>) -> Option<Peer> {
    installed("/usr/lib/courier/courier/courierpop3d")?;
    let name = "courier-maildir";
    let spool = ground.spool(name, false);
    for home in fs::read_dir("/run/home").unwrap().flatten() {
        std::os::unix::fs::symlink(spool.join(home.file_name()), home.path().join("Maildir")).unwrap();
    }
    let peer = ground.peer(name, Format::Maildir, 1106, spool);
    for place in ["/run/courier", "/run/courier/authdaemon"] {
        make_directory(Path::new(place), 0o755);
    }
    // It goes into the background, and stays in its control group.
    let auth = "/usr/sbin/authdaemond start";
    let serve = "/usr/sbin/couriertcpd -address=127.0.0.1 -maxprocs=6000 -maxperip=6000 -nodnslookup -noidentlookup 1106 \
                 /usr/lib/courier/courier/courierpop3login /usr/lib/courier/courier/courierpop3d Maildir";
    ground.start(peer, &[words(auth), words(serve)])
}

fn solid(ground: &Ground<'_>) -> Option<Peer> {
    installed("/usr/sbin/solid-pop3d")?;
    let spool = ground.spool("solid-pop3d", true);
    // Without a directory for its bulletins it lets nobody in.
    make_directory(Path::new("/run/bulletins"), 0o755);
    let mut peer = ground.peer("solid-pop3d", Format::Mbox, 1107, spool);
    let inetd = ground.inetd(&mut peer, 1107, &words("/usr/sbin/solid-pop3d"));
    ground.start(peer, &[inetd])
}

/// Its backlog is 4 unless said otherwise, and clients whose connections do not fit wait for its greeting for ever.
fn mailutils(ground: &Ground<'_>) -> Option<Peer> {
    installed("/usr/sbin/pop3d")?;
    let spool = ground.spool("mailutils", true);
    let config = ground.file(
        "mailutils.conf",
        &format!(
            "mode daemon;\ntranscript no;\nserver 127.0.0.1:1108 {{\n backlog 128;\n}};\n\
             server 127.0.0.1:1208 {{\n backlog 128;\n tls-mode connection;\n tls {{\n ssl-certificate-file /run/tls/cert.pem;\n\
             ssl-key-file /run/tls/key.pem;\n }};\n}};\nmax-children 6000;\nmailbox {{\n mail-spool {};\n}};\n\
             auth {{\n authorization system;\n authentication generic;\n authentication system;\n}};\n",
            spool.display()
        ),
    );
    let mut peer = ground.peer("mailutils", Format::Mbox, 1108, spool);
    peer.secure = Some(1208);
    ground.start(
        peer,
        &[words(&format!("/usr/sbin/pop3d --foreground --config-file {config} --no-site-config"))],
    )
}

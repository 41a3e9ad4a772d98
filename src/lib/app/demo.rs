//! `pop3d --demo`: a throw-away installation, served on loopback: maildrops, users, the secrets database, the same processes and
//! the same sandbox. It needs no root and no configuration.

use crate::auth;
use crate::cli::Options;
use crate::config::{Address, Config};
use crate::error::{Error, Kind, Result};
use crate::log::{Log, SessionId, Settings};
use crate::process::standalone::{self, Plan};
use crate::secret::Secret;
use crate::secrets::{self, Material, Owner, Places, SecretType};
use crate::sys::privileges::{self, Ids};
use crate::sys::process;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The user with an APOP secret.
const APOP_USER: (&str, &str) = ("ann", "wonderland");

/// The user with a password.
const PASS_USER: (&str, &str) = ("bob", "looking-glass");

/// Tried first, so that what is printed is the same each time.
const PORT: u16 = 1110;

/// The messages of each maildrop; `\n` ends lines, as in a file of the system's own mail.
const MAIL: &str = include_str!("demo.mbox");

/// Where the demo lives.
struct Scene {
    directory: PathBuf,
    /// A directory that was named stays; one that was made is removed.
    kept: bool,
    of_nobody: bool,
}

/// Makes the installation, serves it until Ctrl-C, and removes it. The exit status.
pub(super) fn run(options: &Options, directory: Option<&Path>, print: &dyn Fn(&str)) -> u8 {
    let scene = match Scene::make(directory) {
        Ok(scene) => scene,
        Err(error) => return fail(&error, print),
    };
    let served = serve(&scene, options, print);
    scene.strike(print);
    served.map_or_else(|error| fail(&error, print), |()| 0)
}

fn fail(error: &Error, print: &dyn Fn(&str)) -> u8 {
    print(&format!("pop3d: {error}\n"));
    error.exit_status()
}

fn serve(scene: &Scene, options: &Options, print: &dyn Fn(&str)) -> Result<()> {
    let file = scene.furnish()?;
    let mut config = Config::load(Some(&file))?;
    crate::cli::apply(options, &mut config);
    if config.listen.pop3.is_empty() {
        config.listen.pop3.push(free_address());
    }
    let places = Places::of(&config);
    secrets::initialise(&places)?;
    let owner = Owner::default();
    let (secret, password) = (Secret::new(APOP_USER.1.into()), Secret::new(PASS_USER.1.into()));
    secrets::add(&places, APOP_USER.0, Some(&owner), SecretType::Apop, Material::Sealed(&secret))?;
    let verifier = auth::password_hash(&password)?;
    secrets::add(&places, PASS_USER.0, Some(&owner), SecretType::Pop, Material::Verifier(&verifier))?;
    let log = Log::open(&Settings {
        debug: options.debug,
        trace: options.trace.as_deref(),
        stderr: options.debug && options.trace.is_none(),
        ..Settings::default()
    })?;
    let again = config.clone();
    let plan = Plan { load: Box::new(move || Ok(again.clone())), patient: false };
    let mut monitor = standalone::start(Vec::new(), config, plan, log, SessionId::random()?)?;
    if let Some(address) = monitor.listens_on().first() {
        print(&scene.programme(address));
    }
    monitor.run();
    Ok(())
}

impl Scene {
    /// A directory for the demo, that of nobody when this is root: no part of a demo runs as root.
    fn make(named: Option<&Path>) -> Result<Self> {
        let directory = match named {
            Some(path) => std::path::absolute(path)
                .map_err(|cause| Error::io(format!("cannot find {}", path.display()), cause))?,
            None => std::env::temp_dir().join(format!("pop3d-demo-{}", SessionId::random()?)),
        };
        let failed = |cause| Error::io(format!("cannot make {}", directory.display()), cause);
        if named.is_some() && directory.is_dir() {
            if fs::read_dir(&directory).map_err(failed)?.next().is_some() {
                let what =
                    format!("{} is not empty: name a directory that is new or empty", directory.display());
                return Err(Error::new(Kind::Usage, what));
            }
        } else {
            DirBuilder::new().mode(0o700).create(&directory).map_err(failed)?;
        }
        let of_nobody = privileges::is_root();
        if of_nobody {
            let nobody = privileges::first_user(&["nobody"]).ok_or_else(|| {
                Error::new(Kind::Config, "there is no user nobody: start the demo as an ordinary user")
            })?;
            std::os::unix::fs::chown(&directory, Some(nobody.uid), Some(nobody.gid)).map_err(failed)?;
            privileges::become_for_good(&Ids { groups: vec![nobody.gid], ..nobody })?;
        }
        process::private_files();
        Ok(Self { directory, kept: named.is_some(), of_nobody })
    }

    /// Configuration and maildrops; the configuration file.
    fn furnish(&self) -> Result<PathBuf> {
        let mail = self.directory.join("mail");
        DirBuilder::new()
            .mode(0o700)
            .create(&mail)
            .map_err(|cause| Error::io(format!("cannot make {}", mail.display()), cause))?;
        for (user, _) in [APOP_USER, PASS_USER] {
            write_new(&mail.join(user), MAIL.as_bytes())?;
        }
        let file = self.directory.join("pop3d.toml");
        write_new(&file, self.configuration().as_bytes())?;
        Ok(file)
    }

    fn configuration(&self) -> String {
        // TOML's basic strings are close enough to Rust's escapes for a path.
        let at = |name: &str| format!("{:?}", self.directory.join(name).display().to_string());
        format!(
            "# The configuration of a demo; see pop3d.toml(5).\n\
             hostname = \"localhost\"\nstate_dir = {}\nrun_dir = {}\n\n\
             [maildrop]\npath = {}\n\n[auth]\nsources = [\"mailauth\"]\nsecrets = {}\nkey = {}\n\n\
             [xtnd]\nxmit = false\n",
            at("state"),
            at("run"),
            at("mail/{user}"),
            at("auth/mailauth.db"),
            at("mailauth.key")
        )
    }

    /// What to type.
    fn programme(&self, address: &str) -> String {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "110"));
        let ((ann, secret), (bob, password)) = (APOP_USER, PASS_USER);
        let directory = self.directory.display();
        let secrets = self.look_at_secrets();
        let end = if self.kept {
            "Ctrl-C ends it; the directory stays."
        } else {
            "Ctrl-C ends it and removes all."
        };
        format!(
            "Serving POP3 on {address}, from {directory}\n\
             {ann} logs in by APOP with the secret {secret}, {bob} with the password {password}.\n\n\
             List {ann}'s messages, show the first (curl takes APOP by itself):\n  \
             curl --user {ann}:{secret} pop3://{address}/\n  \
             curl --user {ann}:{secret} pop3://{address}/1\n\n\
             Look how much there is with fetchmail:\n  \
             echo 'poll {host} protocol apop port {port} username {ann} password {secret} sslproto \"\"' | fetchmail --check -f -\n\n\
             Talk to it yourself; type USER {bob}, PASS {password}, LIST, RETR 1, QUIT:\n  \
             telnet {host} {port}\n\n\
             {secrets}{end}\n"
        )
    }

    /// How to look at the secrets database, which belongs to nobody when root started the demo.
    fn look_at_secrets(&self) -> String {
        let mailauth =
            std::env::current_exe().map(|pop3d| pop3d.with_file_name("mailauth")).unwrap_or_default();
        if self.of_nobody || !mailauth.exists() {
            return String::new();
        }
        let (mailauth, directory) = (mailauth.display(), self.directory.display());
        format!("Look at the secrets database:\n  {mailauth} --config {directory}/pop3d.toml list\n\n")
    }

    /// Removes what was made.
    fn strike(&self, print: &dyn Fn(&str)) {
        if self.kept {
            return;
        }
        if let Err(cause) = fs::remove_dir_all(&self.directory) {
            print(&format!("pop3d: cannot remove {}: {cause}\n", self.directory.display()));
        }
    }
}

/// The demo's usual port on loopback, or any.
fn free_address() -> Address {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let free = TcpListener::bind(usual).is_ok();
    Address(if free { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) })
}

fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|cause| Error::io(format!("cannot write {}", path.display()), cause))
}

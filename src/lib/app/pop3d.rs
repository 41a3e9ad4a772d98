//! `pop3d`: wiring.

use super::check::{self, Probes};
use super::demo;
use super::selftest;
use crate::auth;
use crate::cli::{self, Exit, Options};
use crate::config::{Config, defaults};
use crate::error::{Error, Kind, Result};
use crate::log::{Event, Log, SessionId, Settings};
use crate::process::handover::PREDECESSOR;
use crate::process::inetd;
use crate::process::standalone::{self, Plan};
use crate::sys::descriptors::{self, Passed, StandardInput};
use crate::sys::socket;
use std::io::{IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// What to type, for one who starts the server by hand.
const BY_HAND: &str = "\
pop3d: this is a POP3 server; it was started without a connection to serve
To serve under inetd, put this line into /etc/inetd.conf:
  pop3  stream  tcp  nowait  root  /usr/sbin/pop3d  pop3d
To serve without inetd, type:     pop3d --listen 110
To try it on this machine, type:  pop3d --demo
To check the installation, type:  pop3d --check
The manual page says more:        man 8 pop3d
";

/// Runs the server; the entry point of the binary.
pub fn main() -> ExitCode {
    ExitCode::from(run())
}

fn run() -> u8 {
    if std::env::args_os().nth(1).is_some_and(|first| first == auth::REPLY) {
        return auth::checkpassword_reply();
    }
    let parsed = cli::parse(std::env::args_os());
    match origin() {
        Ok(Origin::Connection(client, tls)) => match parsed {
            Ok(options) if options.check => {
                refuse(&client, &Error::new(Kind::Usage, "--check is for a terminal, not for a connection"))
            }
            Ok(options) => serve_one(client, tls || options.tls, &options),
            Err(exit) => refuse(&client, &Error::new(Kind::Usage, one_line(&exit.text))),
        },
        Ok(Origin::Hand(listeners)) => by_hand(parsed, listeners),
        Err(error) => complain(&error),
    }
}

/// Who started the server, and with what.
enum Origin {
    /// inetd or systemd (`Accept=yes`), for one client, who begins with TLS or not.
    Connection(OwnedFd, bool),
    /// Somebody, with sockets that listen if it was systemd (`Accept=no`).
    Hand(Vec<Passed>),
}

fn origin() -> Result<Origin> {
    let mut passed = descriptors::passed_by_systemd()?;
    if passed.len() == 1
        && let Some(client) = passed.pop_if(|passed| socket::is_connection(&passed.socket))
    {
        descriptors::silence_standard_streams()?;
        let tls = standalone::begins_with_tls(&client);
        return Ok(Origin::Connection(client.socket, tls));
    }
    if !passed.iter().all(|passed| passed.name == PREDECESSOR || socket::is_listening(&passed.socket)) {
        let what =
            "LISTEN_FDS: expected sockets that listen (Accept=no), or one that is connected (Accept=yes)";
        return Err(Error::new(Kind::Usage, what));
    }
    match descriptors::standard_input() {
        StandardInput::Connection if passed.is_empty() => {
            let client = descriptors::take_standard_input()?;
            let tls = socket::local_port(&client) == Some(defaults::POP3S_PORT);
            Ok(Origin::Connection(client, tls))
        }
        _ => Ok(Origin::Hand(passed)),
    }
}

fn configuration(options: &Options) -> Result<Config> {
    let mut config = Config::load(options.config.as_deref())?;
    cli::apply(options, &mut config);
    Ok(config)
}

fn serve_one(client: OwnedFd, tls: bool, options: &Options) -> u8 {
    let started = (|| {
        let (config, id) = (configuration(options)?, SessionId::random()?);
        inetd::start(&client, tls, id, config, open_log(options, false)?)
    })();
    match started {
        Ok(mut monitor) => {
            // The login process has its own descriptor of the client; with this one the connection would not end.
            drop(client);
            monitor.run();
            0
        }
        Err(error) => refuse(&client, &error),
    }
}

/// Standalone. Lines of the log go to a terminal too, for whoever looks on.
fn serve_many(listeners: Vec<Passed>, config: Config, options: Options) -> u8 {
    let started = (|| {
        let log = open_log(&options, std::io::stderr().is_terminal())?;
        let plan = Plan { load: Box::new(move || configuration(&options)), patient: true };
        standalone::start(listeners, config, plan, log, SessionId::random()?)
    })();
    match started {
        Ok(mut monitor) => {
            monitor.run();
            0
        }
        Err(error) => complain(&error),
    }
}

fn open_log(options: &Options, stderr: bool) -> Result<Log> {
    let trace = options.trace.as_deref();
    Log::open(&Settings { debug: options.debug, trace, stderr, ..Settings::default() })
}

/// Without a server for it, the client gets an answer that it understands, and the log the reason.
fn refuse(client: &OwnedFd, error: &Error) -> u8 {
    if let (Ok(log), Ok(id)) = (Log::open(&Settings::default()), SessionId::random()) {
        let client = socket::peer(client).address;
        log.event(&id, std::process::id(), &Event::Error { client, user: None, text: error.to_string() });
    }
    let told = match error.kind() {
        Kind::Temporary => "[SYS/TEMP] the server cannot start now, try again later",
        _ => "[SYS/PERM] the server cannot start, please tell the administrator",
    };
    // The client may be gone already.
    let _ = socket::write(client, format!("-ERR {told}\r\n").as_bytes());
    error.exit_status()
}

fn by_hand(parsed: std::result::Result<Options, Exit>, listeners: Vec<Passed>) -> u8 {
    match parsed {
        Ok(options) if options.check => check_installation(&options),
        Ok(options) if options.sandbox_selftest => match configuration(&options) {
            Ok(config) => selftest::run(&config, options.format),
            Err(error) => complain(&error),
        },
        Ok(options) if options.demo.is_some() => {
            let directory = options.demo.clone().flatten();
            demo::run(&options, directory.as_deref(), &|text| print(&mut std::io::stdout(), text))
        }
        Ok(options) => match configuration(&options) {
            Ok(config) if listeners.is_empty() && config.listen.is_empty() => {
                print(&mut std::io::stderr(), BY_HAND);
                64
            }
            Ok(config) => serve_many(listeners, config, options),
            Err(error) => complain(&error),
        },
        Err(exit) => {
            if exit.was_asked_for() {
                print(&mut std::io::stdout(), &exit.text);
            } else {
                print(&mut std::io::stderr(), &exit.text);
            }
            exit.status
        }
    }
}

/// `--check`: the findings on standard output, the worst of them as the exit status.
fn check_installation(options: &Options) -> u8 {
    let findings = match Config::load(options.config.as_deref()) {
        Ok(mut config) => {
            cli::apply(options, &mut config);
            let probes = Probes::system(options.config.as_deref());
            check::check(&config, &probes)
        }
        Err(error) => vec![check::unreadable(error)],
    };
    print(&mut std::io::stdout(), &check::render(&findings));
    check::exit_status(&findings)
}

fn complain(error: &Error) -> u8 {
    print(&mut std::io::stderr(), &format!("pop3d: {error}\n"));
    error.exit_status()
}

/// A reader that has gone away (`| head`) is no error.
fn print(out: &mut dyn Write, text: &str) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

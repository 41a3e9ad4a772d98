//! `pop3d`: wiring.

use super::check::{self, Probes};
use crate::cli::{self, Exit, Options};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::{Event, Log, SessionId, Settings};
use crate::process::inetd;
use crate::sys::descriptors::{self, StandardInput};
use crate::sys::{sandbox, socket};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// What to type, for one who starts the server by hand.
const BY_HAND: &str = "\
pop3d: this is a POP3 server; it was started without a connection to serve
To serve under inetd, put this line into /etc/inetd.conf:
  pop3  stream  tcp  nowait  root  /usr/sbin/pop3d  pop3d
To check the installation, type:  pop3d --check
The manual page says more:        man 8 pop3d
";

/// Runs the server; the entry point of the binary.
pub fn main() -> ExitCode {
    ExitCode::from(run())
}

fn run() -> u8 {
    let parsed = cli::parse(std::env::args_os());
    match connection() {
        Ok(Some(client)) => match parsed {
            Ok(options) if options.check => {
                refuse(&client, &Error::new(Kind::Usage, "--check is for a terminal, not for a connection"))
            }
            Ok(options) => serve(client, &options),
            Err(exit) => refuse(&client, &Error::new(Kind::Usage, one_line(&exit.text))),
        },
        Ok(None) => by_hand(parsed),
        Err(error) => complain(&error),
    }
}

/// The client, when there is one: from inetd on standard input, or from systemd (`Accept=yes`).
fn connection() -> Result<Option<OwnedFd>> {
    if let Some(passed) = descriptors::passed_by_systemd()? {
        if !socket::is_connection(&passed) {
            return Err(Error::new(
                Kind::Usage,
                "the socket from systemd is not a connection: the socket unit needs Accept=yes",
            ));
        }
        descriptors::silence_standard_streams()?;
        return Ok(Some(passed));
    }
    match descriptors::standard_input() {
        StandardInput::Connection => descriptors::take_standard_input().map(Some),
        StandardInput::Terminal | StandardInput::Other => Ok(None),
    }
}

fn serve(client: OwnedFd, options: &Options) -> u8 {
    let started = (|| {
        let mut config = Config::load(options.config.as_deref())?;
        cli::apply(options, &mut config);
        let id = SessionId::random()?;
        Ok((config, id))
    })();
    let (config, id) = match started {
        Ok(started) => started,
        Err(error) => return refuse(&client, &error),
    };
    let log = match open_log(options) {
        Ok(log) => log,
        Err(error) => return refuse(&client, &error),
    };
    match inetd::start(&client, id, &config, log) {
        Ok(mut monitor) => {
            // The login process has its own descriptor of the client; with this one the connection would not end.
            drop(client);
            monitor.run();
            0
        }
        Err(error) => refuse(&client, &error),
    }
}

fn open_log(options: &Options) -> Result<Log> {
    Log::open(&Settings { debug: options.debug, trace: options.trace.as_deref(), ..Settings::default() })
}

/// Without a server for it, the client gets an answer that it understands, and the log the reason.
fn refuse(client: &OwnedFd, error: &Error) -> u8 {
    if let (Ok(log), Ok(id)) = (Log::open(&Settings::default()), SessionId::random()) {
        let client = socket::peer(client).address;
        log.event(&id, std::process::id(), &Event::Error { client, user: None, text: error.to_string() });
    }
    // The client may be gone already.
    let _ =
        socket::write(client, b"-ERR [SYS/PERM] the server cannot start, please tell the administrator\r\n");
    error.exit_status()
}

fn by_hand(parsed: std::result::Result<Options, Exit>) -> u8 {
    match parsed {
        Ok(options) if options.check => check_installation(&options),
        Ok(_) => {
            print(&mut std::io::stderr(), BY_HAND);
            64
        }
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
            let probes = Probes::system(
                options.config.as_deref(),
                || !sandbox::available().landlock,
                || !sandbox::available().seccomp,
            );
            check::check(&config, &probes)
        }
        Err(error) => vec![check::unreadable(&error)],
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

//! The command line of `pop3d`. The historic options are those of pop3d(8): `-d -s -t -T`.

use super::Exit;
use crate::config::{Address, Config, defaults};
use crate::ui::Format;
use clap::{ColorChoice, CommandFactory, Parser, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// POP3 server: from inetd, from systemd's sockets, or standalone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Parser)]
#[command(name = "pop3d", version, color = ColorChoice::Never, term_width = 80)]
pub(crate) struct Options {
    /// Log what is done for each command; set SO_DEBUG on the client's socket
    #[arg(short, long)]
    pub(crate) debug: bool,

    /// Log a line of statistics at the end of each session
    #[arg(short, long)]
    pub(crate) statistics: bool,

    /// Append all lines of the log to FILE; those of -d go there only (implies -d)
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) trace: Option<PathBuf>,

    /// End a session that waits for a command for SECONDS, 1 to 86400 [default: 600]
    #[arg(
        short = 'T', long, value_name = "SECONDS", value_hint = ValueHint::Other,
        value_parser = clap::value_parser!(u64).range(defaults::TIMEOUT_SECONDS)
    )]
    pub(crate) timeout: Option<u64>,

    /// Serve clients on ADDRESS, such as 192.0.2.1:110, [::1]:110 or 110; may be repeated
    #[arg(long, value_name = "ADDRESS", value_hint = ValueHint::Other, value_parser = parse_address)]
    pub(crate) listen: Vec<Address>,

    /// The same over TLS from the first octet, usually on port 995; may be repeated
    #[arg(long, value_name = "ADDRESS", value_hint = ValueHint::Other, value_parser = parse_address)]
    pub(crate) listen_tls: Vec<Address>,

    /// The connection from inetd begins with TLS; implied on port 995
    #[arg(long)]
    pub(crate) tls: bool,

    /// Read FILE and not /etc/poptools/pop3d.toml
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// Serve a throw-away installation on loopback and say what to type; in DIR it stays afterwards
    #[arg(long, value_name = "DIR", num_args = 0..=1, value_hint = ValueHint::DirPath)]
    pub(crate) demo: Option<Option<PathBuf>>,

    /// Check configuration, permissions and locks; say how to mend what is wrong
    #[arg(long)]
    pub(crate) check: bool,

    /// Try from inside each role what its sandbox must deny, and print a table
    #[arg(long, conflicts_with_all = ["check", "demo"])]
    pub(crate) sandbox_selftest: bool,

    /// How --sandbox-selftest prints [default: a table on a terminal, else tsv]
    #[arg(long, value_name = "FORMAT", value_enum, requires = "sandbox_selftest")]
    pub(crate) format: Option<Format>,
}

fn parse_address(text: &str) -> Result<Address, String> {
    text.parse()
}

/// The definition of `pop3d`'s options, for completions and for tests of the manual page.
pub fn command() -> clap::Command {
    Options::command()
}

/// Reads a command line; the first word is the program's name.
///
/// # Errors
/// There is nothing to run: help or version was asked for, or the line is wrong.
pub(crate) fn parse<I, T>(args: I) -> Result<Options, Exit>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let words: Vec<OsString> = args.into_iter().map(Into::into).collect();
    if let Some(options) = plain(&words) {
        return Ok(options);
    }
    let mut options: Options = super::read(words)?;
    options.debug |= options.trace.is_some();
    Ok(options)
}

/// The lines that inetd and systemd start the server with as a rule, once for each client: clap builds all options to read them.
fn plain(words: &[OsString]) -> Option<Options> {
    match words {
        [_] => Some(Options::default()),
        [_, option, file] if option == "--config" => {
            let is_file = !file.is_empty() && !file.as_encoded_bytes().starts_with(b"-");
            is_file.then(|| Options { config: Some(file.into()), ..Options::default() })
        }
        _ => None,
    }
}

/// Lets the command line win over the configuration file. `-T` shortens the time before login too, but never
/// makes it longer (design, section 3).
pub(crate) fn apply(options: &Options, config: &mut Config) {
    config.log.statistics |= options.statistics;
    config.listen.pop3.extend(&options.listen);
    config.listen.pop3s.extend(&options.listen_tls);
    if let Some(seconds) = options.timeout {
        let limits = &mut config.limits;
        limits.idle_timeout = Duration::from_secs(seconds);
        limits.login_timeout = limits.login_timeout.min(limits.idle_timeout);
    }
}

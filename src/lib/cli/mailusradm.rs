//! The command line of `mailusradm`.

mod sessions;
mod why;

pub(crate) use sessions::{Kick, Sessions};
pub(crate) use why::{Mechanism, Unlock, Why};

use crate::ui::{Format, human};
use clap::{Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Look at maildrops, sessions and their history, and look after them
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "mailusradm", version, color = ColorChoice::Never, term_width = 80)]
pub(crate) struct Options {
    /// Read FILE and not /etc/poptools/pop3d.toml
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// What to do
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Verb {
    /// List maildrops: what is in them, who uses them, what is wrong
    List(List),
    /// Show the messages of a maildrop, or one of them
    Show(Show),
    /// Look for damage of maildrops, and repair it when asked
    Check(Check),

    /// Count sessions: when they were, whose, how much was done, how they ended
    Stats(Stats),

    /// List a user's sessions that have ended, and refused logins
    History(History),

    /// Make a Maildir of an mbox, or an mbox of a Maildir; unique ids stay
    Convert(Convert),

    /// Write a maildrop into a file
    Export(Export),

    /// Add messages of a file to a maildrop, or unique ids of another server
    Import(Import),

    /// List who is logged in now, since when, from where
    Sessions(Sessions),

    /// End a session; it deletes nothing
    Kick(Kick),

    /// Say what stops a user from logging in, and what to type
    Why(Why),

    /// Lift locks of users, by wrong passwords or by mailauth lock
    Unlock(Unlock),
}

/// How a list is written; flattened into the verbs that list something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Listing {
    /// How to write it [default: a table on a terminal, else tsv]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,

    /// The columns, in this order, separated by commas [default: all that fit]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
}

/// `mailusradm convert`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Convert {
    /// The users
    #[arg(value_name = "USER", required = true)]
    pub(crate) users: Vec<String>,

    /// The new format
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) to: To,

    /// Remove the old maildrop, and one that an earlier conversion has kept
    #[arg(long)]
    pub(crate) remove_old: bool,
}

/// `mailusradm export`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Export {
    /// The user
    #[arg(value_name = "USER")]
    pub(crate) user: String,

    /// The new file, an mbox [default: standard output]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
}

/// `mailusradm import`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Import {
    /// The user
    #[arg(value_name = "USER")]
    pub(crate) user: String,

    /// Messages, an mbox; - is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,

    /// Leave lines that begin with >From as they are
    #[arg(long, requires = "file")]
    pub(crate) as_is: bool,

    /// Take unique ids from a list, from X-UIDL (headers), or compute them (computed)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = parse_uidl_from)]
    pub(crate) uidl_from: Option<UidlFrom>,
}

/// Where unique ids come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UidlFrom {
    /// From `X-UIDL`.
    Headers,
    /// They are computed.
    Computed,
    /// From this list.
    File(PathBuf),
}

fn parse_uidl_from(text: &str) -> Result<UidlFrom, String> {
    Ok(match text {
        "headers" => UidlFrom::Headers,
        "computed" => UidlFrom::Computed,
        file => UidlFrom::File(PathBuf::from(file)),
    })
}

/// A format of maildrops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum To {
    /// One file with all messages
    Mbox,
    /// A directory with a file for each message
    Maildir,
}

/// `mailusradm list`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct List {
    /// The users [default: all who have a maildrop]
    #[arg(value_name = "USER")]
    pub(crate) users: Vec<String>,

    /// Maildrops of more octets than SIZE alone, such as 100M
    #[arg(long, value_name = "SIZE", value_parser = human::parse_octets)]
    pub(crate) over: Option<u64>,

    /// Maildrops that nobody logged in to for TIME alone, such as 6mo
    #[arg(long, value_name = "TIME", value_parser = human::parse_span)]
    pub(crate) idle: Option<u64>,

    /// Maildrops without a user alone
    #[arg(long, conflicts_with = "users")]
    pub(crate) orphaned: bool,

    /// The order: large, old and long unused ones first
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t = Order::User)]
    pub(crate) sort: Order,

    /// The other way round
    #[arg(long)]
    pub(crate) reverse: bool,

    /// How to write it
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// `mailusradm stats`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Stats {
    /// Count what began within TIME, such as 24h or 6mo
    #[arg(long, value_name = "TIME", value_parser = human::parse_span, default_value = "7d")]
    pub(crate) since: u64,

    /// What to count together
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = By::Day)]
    pub(crate) by: By,

    /// How many users each list of users has at most
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub(crate) top: usize,

    /// How to write it [default: tables on a terminal, else tsv]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<StatsFormat>,

    /// The rows alone with these columns, in this order, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,

    /// Write a page with charts to FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["format", "columns"])]
    pub(crate) html: Option<PathBuf>,
}

/// What `mailusradm stats` counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The day
    Day,
    /// The hour of the day
    Hour,
    /// The user's name
    User,
    /// The client's address
    Client,
    /// The mechanism of the login
    Mechanism,
}

/// How `mailusradm stats` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatsFormat {
    /// With charts, for people
    Table,
    /// One JSON object
    Json,
    /// A line for each row, fields separated by tabs, no header
    Tsv,
    /// Totals since the history began, for node_exporter's textfile collector
    Prometheus,
}

/// `mailusradm history`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct History {
    /// The user
    #[arg(value_name = "USER")]
    pub(crate) user: String,

    /// List what began within TIME, such as 24h or 6mo
    #[arg(long, value_name = "TIME", value_parser = human::parse_span, default_value = "30d")]
    pub(crate) since: u64,

    /// How to write it
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// `mailusradm show`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Show {
    /// The user
    #[arg(value_name = "USER")]
    pub(crate) user: String,

    /// The number of one message, as clients count
    #[arg(value_name = "MESSAGE", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) number: Option<u32>,

    /// Show its text too
    #[arg(long)]
    pub(crate) text: bool,

    /// How to write it
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// `mailusradm check`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Check {
    /// The users
    #[arg(value_name = "USER", conflicts_with = "all", required_unless_present = "all")]
    pub(crate) users: Vec<String>,

    /// Check the maildrops of all users
    #[arg(long)]
    pub(crate) all: bool,

    /// Repair what can be repaired without losing a message
    #[arg(long)]
    pub(crate) repair: bool,

    /// How to write what was found
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// What maildrops are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// By name
    User,
    /// Most messages first
    Messages,
    /// Most octets first
    Octets,
    /// Oldest message first
    Oldest,
    /// Newest message first
    Newest,
    /// Largest on disk first
    Disk,
    /// Never, and longest ago, first
    #[value(name = "last_login")]
    LastLogin,
    /// Those with problems first
    Problems,
}

/// The definition of `mailusradm`'s options, for completions and for tests of the manual page.
pub fn command() -> clap::Command {
    Options::command()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Exit, read};

    fn mailusradm(line: &str) -> Result<Options, Exit> {
        read(std::iter::once("mailusradm").chain(line.split_whitespace()))
    }

    #[test]
    fn clap_finds_no_fault_in_the_definition() {
        command().debug_assert();
    }

    #[test]
    fn verbs_and_options_are_read() {
        let verb = mailusradm("list ann --over 1M --columns user,octets --format tsv").unwrap().verb;
        let Verb::List(list) = verb else { panic!("{verb:?}") };
        assert_eq!((list.users, list.over), (vec!["ann".to_owned()], Some(1 << 20)));
        assert_eq!(list.listing.columns, ["user", "octets"]);
        assert_eq!(list.listing.format, Some(Format::Tsv));
        let verb = mailusradm("stats --since 24h --by client").unwrap().verb;
        let Verb::Stats(stats) = verb else { panic!("{verb:?}") };
        assert_eq!((stats.since, stats.by, stats.top), (86_400, By::Client, 10));
    }

    #[test]
    fn wrong_lines_are_usage_errors() {
        for wrong in [
            "",
            "lists",
            "list --format xml",
            "list --columns",
            "list ann --orphaned",
            "check",
            "check ann --all",
            "stats --html a --format json",
            "stats --html a --columns day",
            "history",
            "kick",
            "why",
            "unlock",
            "why ann --from nowhere",
            "kick ann --wait 0",
            "sessions --watch=0",
        ] {
            assert_eq!(mailusradm(wrong).unwrap_err().status, 64, "{wrong}");
        }
    }
}

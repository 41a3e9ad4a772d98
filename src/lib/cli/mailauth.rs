//! The command line of `mailauth`.

use crate::config::{Hours, Networks, defaults};
use crate::ui::Format;
use clap::{Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use std::net::IpAddr;
use std::path::PathBuf;

/// Administer the secrets database of pop3d
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "mailauth", version, color = ColorChoice::Never, term_width = 80)]
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
    /// Make the database and its key
    Init(Init),
    /// Add a secret for a user
    Add(Add),
    /// Change the secret of a user
    Passwd(Passwd),
    /// Remove the secrets of a user
    Remove(Remove),
    /// List users and what they have secrets for
    List(List),
    /// Add the secrets of a backup or another program's file, all or none
    Import(Import),
    /// Show what is known of a user, without secrets
    Show(Show),
    /// Refuse logins of users
    Lock(Lock),
    /// Allow logins of locked users again, and forget wrong passwords for them
    Unlock(Unlock),
    /// Limit when, from where and how often a user may log in
    Limit(Limit),
    /// Tell whether a secret is right
    Verify(Verify),
    /// Write a backup
    Export(Export),
    /// Seal all secrets by a new key
    Rekey,
    /// Look for what is wrong with database, key and entries
    Check,
}

/// `mailauth init`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Init {
    /// Empty a database that is there already, without asking
    #[arg(long)]
    pub(crate) clear: bool,
}

/// `mailauth add`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Add {
    /// The user's name, in the letters that the client sends
    pub(crate) user: String,

    /// What the secret is for
    #[arg(long = "type", value_enum, ignore_case = true, default_value = "APOP", value_name = "TYPE")]
    pub(crate) kind: NewType,

    /// Tell several application passwords of a user apart (with --type POP)
    #[arg(long, value_name = "LABEL", value_parser = label)]
    pub(crate) label: Option<String>,

    /// Where the secret comes from
    #[command(flatten)]
    pub(crate) source: NewSecret,

    /// Add a user who is no user of the system
    #[arg(long = "virtual")]
    pub(crate) is_virtual: bool,

    /// The ids that own the virtual user's maildrop [default: those of auth.virtual_owner]
    #[arg(long, value_name = "UID[:GID]", requires = "is_virtual", value_parser = ids)]
    pub(crate) uid: Option<(u32, u32)>,

    /// The virtual user's home directory [default: that of auth.virtual_owner]
    #[arg(long, value_name = "DIR", requires = "is_virtual", value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,

    /// The virtual user's maildrop [default: maildrop.path]
    #[arg(long, value_name = "FILE", requires = "is_virtual", value_hint = ValueHint::FilePath)]
    pub(crate) maildrop: Option<PathBuf>,
}

/// Where a new secret comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct NewSecret {
    /// Read the secret from standard input, one line
    #[arg(long, conflicts_with = "generate")]
    pub(crate) stdin: bool,

    /// Make a secret and print it once
    #[arg(long)]
    pub(crate) generate: bool,

    /// Accept a secret that is short, easily guessed, or the login password
    #[arg(long)]
    pub(crate) force: bool,
}

/// `mailauth passwd`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Passwd {
    /// The user's name [default: your own]
    pub(crate) user: Option<String>,

    /// Change the secret of this type [default: that of the only entry]
    #[arg(long = "type", value_enum, ignore_case = true, value_name = "TYPE")]
    pub(crate) kind: Option<AnyType>,

    /// Change the application password with this label
    #[arg(long, value_name = "LABEL", value_parser = label)]
    pub(crate) label: Option<String>,

    /// Where the secret comes from
    #[command(flatten)]
    pub(crate) source: NewSecret,
}

/// The types of secrets that can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewType {
    /// A secret for APOP; the user cannot log in with PASS any more
    #[value(name = "APOP")]
    Apop,
    /// An application password for PASS; the system's password is not good for it any more
    #[value(name = "POP")]
    Pop,
    /// A secret for IMAP servers that read the database
    #[value(name = "IMAP")]
    Imap,
}

/// `mailauth remove`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Remove {
    /// The user's name
    pub(crate) user: String,

    /// Remove the secrets of this type alone
    #[arg(long = "type", value_enum, ignore_case = true, value_name = "TYPE")]
    pub(crate) kind: Option<AnyType>,

    /// Remove the application password with this label alone
    #[arg(long, value_name = "LABEL", value_parser = label)]
    pub(crate) label: Option<String>,
}

/// `mailauth list`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct List {
    /// List the secrets of this type alone
    #[arg(long = "type", value_enum, ignore_case = true, value_name = "TYPE")]
    pub(crate) kind: Option<AnyType>,

    /// How to write the list [default: a table on a terminal, else tsv]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
}

/// `mailauth import`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Import {
    /// What to read; - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// What FILE is [default: what it looks like]
    #[arg(long, value_enum, ignore_case = true, value_name = "FORMAT")]
    pub(crate) from: Option<ImportFormat>,

    /// What the secrets are for, where FILE does not say so [default: APOP]
    #[arg(long = "type", value_enum, ignore_case = true, value_name = "TYPE")]
    pub(crate) kind: Option<ImportType>,

    /// List what would happen and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Give entries that are there already the new secrets
    #[arg(long)]
    pub(crate) replace: bool,

    /// Take names that the system does not know as virtual users
    #[arg(long = "virtual")]
    pub(crate) take_virtual: bool,

    /// Take secrets that break the rules for new ones
    #[arg(long)]
    pub(crate) force: bool,

    /// How to write the list of --dry-run [default: a table on a terminal, else tsv]
    #[arg(long, value_enum, value_name = "FORMAT", requires = "dry_run")]
    pub(crate) format: Option<Format>,
}

/// What imported secrets can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportType {
    /// Secrets for APOP; the users cannot log in with PASS any more
    #[value(name = "APOP")]
    Apop,
    /// Application passwords for PASS
    #[value(name = "POP")]
    Pop,
}

/// What can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// Names and secrets XORed with 0xff, a line each: makedbm -u
    Popauth,
    /// A dump by gdbm_dump
    Gdbm,
    /// A dump by db_dump
    Db,
    /// The .pag file of an ndbm database
    Ndbm,
    /// The list of mailutils' popauth
    Mailutils,
    /// Dovecot's passwd-file
    Dovecot,
    /// A user's .spop3d of solid-pop3d
    Solid,
    /// Lines user,type,secret[,label]
    Csv,
    /// A backup by mailauth export
    Backup,
}

/// `mailauth show`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Show {
    /// The user's name
    pub(crate) user: String,

    /// How to write it [default: a table on a terminal, else tsv]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
}

/// `mailauth lock`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Lock {
    /// The users' names
    #[arg(required = true, value_name = "USER")]
    pub(crate) users: Vec<String>,

    /// Lock them for good: unlock alone does not undo it
    #[arg(long)]
    pub(crate) retire: bool,
}

/// `mailauth unlock`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Unlock {
    /// The users' names
    #[arg(required = true, value_name = "USER")]
    pub(crate) users: Vec<String>,

    /// Unlock also who was retired
    #[arg(long)]
    pub(crate) retired: bool,
}

/// `mailauth limit`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(group = clap::ArgGroup::new("limits").required(true).multiple(true))]
pub(crate) struct Limit {
    /// The user's name
    pub(crate) user: String,

    /// Hours of local time, such as "mon-fri 08:00-18:00, sat 09:00-12:00", or any
    #[arg(long, value_name = "HOURS", value_parser = hours, group = "limits")]
    pub(crate) hours: Option<Wanted<Hours>>,

    /// Networks, such as 192.0.2.0/24,2001:db8::/32, or any
    #[arg(long, value_name = "NETWORKS", value_parser = networks, group = "limits")]
    pub(crate) networks: Option<Wanted<Networks>>,

    /// Seconds from one login to the next, or default for that of limits.login_delay
    #[arg(long, value_name = "SECONDS", value_parser = login_delay, group = "limits")]
    pub(crate) login_delay: Option<Wanted<u32>>,
}

/// A limit of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted<T> {
    /// As for everybody.
    Usual,
    /// This.
    This(T),
}

/// `mailauth verify`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Verify {
    /// The user's name
    pub(crate) user: String,

    /// Try the secrets of this type alone
    #[arg(long = "type", value_enum, ignore_case = true, value_name = "TYPE")]
    pub(crate) kind: Option<AnyType>,

    /// Read the secret from standard input, one line
    #[arg(long, conflicts_with_all = ["challenge", "digest"])]
    pub(crate) stdin: bool,

    /// Where a client would log in from, such as 192.0.2.1
    #[arg(long, value_name = "ADDRESS", value_hint = ValueHint::Hostname)]
    pub(crate) from: Option<IpAddr>,

    /// The challenge of an APOP login, with its angle brackets
    #[arg(long, value_name = "CHALLENGE", requires = "digest", conflicts_with = "kind")]
    pub(crate) challenge: Option<String>,

    /// The digest that was sent with it, 32 hexadecimal digits
    #[arg(long, value_name = "HEX", requires = "challenge", value_parser = digest)]
    pub(crate) digest: Option<[u8; 16]>,
}

/// `mailauth export`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Export {
    /// The new file [default: standard output]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,

    /// Write secrets that everybody can read who has the file (only the superuser may)
    #[arg(long, requires = "file")]
    pub(crate) plain: bool,
}

/// All types of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnyType {
    /// Secrets for APOP
    #[value(name = "APOP")]
    Apop,
    /// Application passwords for PASS
    #[value(name = "POP")]
    Pop,
    /// Secrets for IMAP servers that read the database
    #[value(name = "IMAP")]
    Imap,
}

/// The definition of `mailauth`'s options, for completions and for tests of the manual page.
pub fn command() -> clap::Command {
    Options::command()
}

fn hours(text: &str) -> Result<Wanted<Hours>, String> {
    if text == "any" { Ok(Wanted::Usual) } else { text.parse().map(Wanted::This) }
}

fn networks(text: &str) -> Result<Wanted<Networks>, String> {
    if text == "any" { Ok(Wanted::Usual) } else { text.parse().map(Wanted::This) }
}

fn login_delay(text: &str) -> Result<Wanted<u32>, String> {
    let most = defaults::MAX_LOGIN_DELAY.as_secs();
    match text.parse::<u32>() {
        _ if text == "default" => Ok(Wanted::Usual),
        Ok(seconds) if u64::from(seconds) <= most => Ok(Wanted::This(seconds)),
        _ => Err(format!("\"{text}\" is neither 0 to {most} seconds nor \"default\"")),
    }
}

/// What fits into a column.
fn label(text: &str) -> Result<String, String> {
    if (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err("a label has 1 to 64 characters and none that control a terminal".to_owned())
    }
}

/// MD5 in hexadecimal digits.
fn digest(text: &str) -> Result<[u8; 16], String> {
    let digits = text.len() == 32 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
    match u128::from_str_radix(text, 16) {
        Ok(number) if digits => Ok(number.to_be_bytes()),
        _ => Err("a digest has 32 hexadecimal digits".to_owned()),
    }
}

/// `1000` or `1000:100`; the group is the user's own, with the same number, unless named. Root's are refused.
fn ids(text: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| match text.parse::<u32>() {
        Ok(number @ 1..=0xffff_fffe) => Ok(number),
        _ => Err(format!("\"{text}\" is no id of a user or group other than root's")),
    };
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    Ok((number(uid)?, number(gid)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Exit, read};

    fn mailauth(line: &str) -> Result<Options, Exit> {
        read(std::iter::once("mailauth").chain(line.split_whitespace()))
    }

    fn add(line: &str) -> Add {
        match mailauth(line).unwrap().verb {
            Verb::Add(add) => add,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn clap_finds_no_fault_in_the_definition() {
        command().debug_assert();
    }

    #[test]
    fn verbs_and_options_are_read() {
        assert_eq!(add("add ann").kind, NewType::Apop, "mailauth(8): the type is APOP when none is given");
        let options = mailauth("--config f list --type pop --format json").unwrap();
        let list = List { kind: Some(AnyType::Pop), format: Some(Format::Json) };
        assert_eq!((options.config, options.verb), (Some("f".into()), Verb::List(list)));
        assert_eq!(
            mailauth("list --config f").unwrap().config,
            Some("f".into()),
            "before or behind the verb"
        );
        assert_eq!(add("add ann --virtual --uid 5000").uid, Some((5000, 5000)));
        assert_eq!(add("add ann --virtual --uid 5000:100").uid, Some((5000, 100)));
    }

    /// No secret is ever an argument (design of the secrets database; arguments stand in ps).
    #[test]
    fn wrong_lines_are_usage_errors() {
        for wrong in [
            "",
            "add",
            "add ann secret",
            "add ann --type PAM",
            "add ann --type LDAP",
            "passwd ann secret",
            "passwd --stdin --generate",
            "lock",
            "unlock",
            "limit",
            "limit ann",
            "limit ann --hours 8-18",
            "limit ann --networks 192.0.2.1/24",
            "limit ann --login-delay 86401",
            "lock ann --retired",
            "verify",
            "verify ann secret",
            "verify ann --challenge <x>",
            "verify ann --digest c4c9334bac560ecc979e58001b3e22fb",
            "verify ann --challenge <x> --digest c4c9",
            "verify ann --challenge <x> --digest +4c9334bac560ecc979e58001b3e22fb",
            "verify ann --challenge <x> --digest c4c9334bac560ecc979e58001b3e22fb --stdin",
            "export --plain",
            "rekey now",
            "add ann --type POP --label \u{1b}",
            "add ann --stdin --generate",
            "add ann --uid 5000",
            "add ann --virtual --uid 0",
            "add ann --virtual --uid 5000:0",
            "add ann --virtual --uid x",
            "remove",
            "list --format xml",
            "grep ann",
        ] {
            let exit = mailauth(wrong).unwrap_err();
            assert_eq!(exit.status, 64, "sysexits: EX_USAGE {wrong:?}: {}", exit.text);
        }
    }
}

//! `mailusradm list`: every maildrop with what can be told of it.
//!
//! For each a glance with its user's rights (`maildrop/glance.rs`). Where the index does not know the present state, an errand
//! scans the maildrop: a child that has become the user. Nothing is written.

use super::strays::{self, Stray};
use super::{Failure, Outcome, account, only_own, remark, write};
use crate::auth::{Account, roster};
use crate::cli::mailusradm::{List, Order};
use crate::config::Config;
use crate::error::Result;
use crate::history;
use crate::maildrop::Summary;
use crate::maildrop::glance::{Glance, glance};
use crate::process::{errand, live, places};
use crate::sys::clock::{self, Zone};
use crate::sys::directory::Directory;
use crate::sys::privileges;
use crate::ui::{Column, Kind, Progress, Table};
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::PathBuf;

const COLUMNS: &[Column] = &[
    Column::new("user", Kind::Text),
    Column::new("messages", Kind::Number),
    Column::new("octets", Kind::Octets),
    Column::spare("newest", Kind::Time, 4),
    Column::spare("oldest", Kind::Time, 6),
    Column::spare("disk", Kind::Octets, 5),
    Column::spare("last login", Kind::Time, 3),
    Column::spare("in use", Kind::Text, 2),
    Column::spare("format", Kind::Text, 7),
    Column::new("problems", Kind::Sentence),
    Column::spare("maildrop", Kind::Text, 8),
];

/// What is known of one maildrop.
#[derive(Debug, Default)]
struct Row {
    user: Option<String>,
    path: PathBuf,
    format: Option<&'static str>,
    summary: Option<Summary>,
    disk: Option<u64>,
    last_login: Option<i64>,
    in_use: Option<String>,
    problems: Vec<String>,
}

/// Writes the list.
pub(super) fn run(options: &List, config: &Config) -> Outcome {
    let mut rows = if options.orphaned { Vec::new() } else { of_users(options, config)? };
    if options.users.is_empty() && privileges::is_root() {
        // Users whom the system knows by name alone are found where their mail is.
        let known = if options.orphaned { everybody(config)? } else { Vec::new() };
        let paths =
            rows.iter().map(|row| row.path.clone()).chain(known.iter().map(|one| one.mailbox(config)));
        for stray in strays::find(config, &paths.collect())? {
            match stray {
                Stray::User(account) if !options.orphaned => rows.extend(of_user(&account, config, false)),
                Stray::User(_) => {}
                Stray::Orphan { path, status } => rows.push(Row {
                    disk: Some(status.identity.size),
                    problems: vec![format!("no user has it; it belongs to uid {}", status.uid)],
                    path,
                    ..Row::default()
                }),
            }
        }
    }
    let logins = last_logins(config, options);
    let live = in_use(config);
    for row in &mut rows {
        let Some(user) = &row.user else { continue };
        row.last_login = logins.get(user).copied();
        row.in_use = live.get(user).cloned();
    }
    rows.retain(|row| is_wanted(row, options));
    sort(&mut rows, options);
    write(table(&rows), &options.listing)
}

/// All who may have a maildrop.
fn everybody(config: &Config) -> std::result::Result<Vec<Account>, Failure> {
    let (accounts, wrong) = roster::accounts(config)?;
    wrong.iter().for_each(|error| remark(&error.to_string()));
    Ok(accounts)
}

fn of_users(options: &List, config: &Config) -> std::result::Result<Vec<Row>, Failure> {
    let named = !options.users.is_empty();
    let accounts = if named {
        options
            .users
            .iter()
            .map(|name| only_own(account(config, name)?, "look at"))
            .collect::<std::result::Result<_, _>>()?
    } else {
        everybody(config)?
    };
    let progress = Progress::new(accounts.len(), "maildrops");
    let row = |account: &Account| {
        let row = of_user(account, config, named);
        progress.step();
        row
    };
    Ok(accounts.iter().filter_map(row).collect())
}

/// The row of a user; none of one who has no maildrop, unless that was asked for.
fn of_user(account: &Account, config: &Config, named: bool) -> Option<Row> {
    let path = account.mailbox(config);
    let mut row = Row { user: Some(account.name.clone()), path: path.clone(), ..Row::default() };
    let seen = privileges::with_rights_of(&places::session_ids(account), || {
        let state = state(config, account)?;
        glance(config.maildrop.format, &path, account.uid, &state)
    });
    match seen.and_then(|seen| seen) {
        Ok(None) if !named => return None,
        Ok(None) => row.summary = Some(Summary::default()),
        Ok(Some(seen)) => fill(&mut row, &seen, account, config),
        Err(error) => row.problems.push(error.to_string()),
    }
    Some(row)
}

/// The user's state directory, if it is one; the way to it is root's.
fn state(config: &Config, account: &Account) -> Result<Directory> {
    let above = Directory::open(&config.state_dir.join("maildrop"));
    let found = above.and_then(|above| above.open_directory(&account.name));
    found.map(Directory::read_only).or_else(|_| {
        Directory::nowhere().map_err(|cause| crate::error::Error::io("cannot open a directory", cause))
    })
}

fn fill(row: &mut Row, seen: &Glance, account: &Account, config: &Config) {
    row.format = Some(if seen.is_maildir { "maildir" } else { "mbox" });
    (row.summary, row.disk) = (seen.summary, seen.disk);
    if seen.summary.is_none() {
        let scanned = errand::look(
            config,
            account,
            |site, _: errand::Tell<'_, ()>| Ok(Scanned::from(site.open()?.summary())),
            |()| Ok(()),
        );
        match scanned {
            Ok(scanned) => row.summary = Some(scanned.into()),
            Err(error) => row.problems.push(error.to_string()),
        }
        row.disk = row.disk.or_else(|| row.summary.map(|summary| summary.stored));
    }
    if seen.is_open_to_all {
        row.problems.push("everybody may read it".to_owned());
    }
    if seen.was_interrupted {
        row.problems.push("an update was interrupted; the next login puts it in order".to_owned());
    }
}

/// A summary on its way from the child.
#[derive(serde::Serialize, serde::Deserialize)]
struct Scanned(u32, u64, u64, u32, u32);

impl From<Summary> for Scanned {
    fn from(Summary { count, octets, stored, oldest, newest }: Summary) -> Self {
        Self(count, octets, stored, oldest, newest)
    }
}

impl From<Scanned> for Summary {
    fn from(Scanned(count, octets, stored, oldest, newest): Scanned) -> Self {
        Self { count, octets, stored, oldest, newest }
    }
}

/// When everybody logged in the last time, as far as the history knows it and we may see it.
fn last_logins(config: &Config, options: &List) -> HashMap<String, i64> {
    match history::last_logins(config) {
        Ok(last) => {
            if last.is_empty() && options.idle.is_some() {
                remark("no login is in the history yet, so that --idle lists everybody");
            }
            last.into_iter().map(|(user, last)| (user, last.time)).collect()
        }
        Err(error) => {
            if privileges::is_root() || options.idle.is_some() {
                remark(&format!("last logins are not known: {error}"));
            }
            HashMap::new()
        }
    }
}

/// Who uses which maildrop now: the client's address by user. What does not exist or must not be read says nothing.
fn in_use(config: &Config) -> HashMap<String, String> {
    // Who may not see them hears of nobody.
    let sessions = live::all(config).unwrap_or_default();
    sessions.into_iter().filter_map(|live| Some((live.user, live.client?))).collect()
}

fn is_wanted(row: &Row, options: &List) -> bool {
    let size = row.summary.map(|summary| summary.octets).max(row.disk).unwrap_or(0);
    let now = clock::wall_seconds();
    let idle = |least: u64| {
        let unused = row.last_login.map_or(i64::MAX, |last| now.saturating_sub(last));
        unused >= i64::try_from(least).unwrap_or(i64::MAX)
    };
    options.over.is_none_or(|least| size > least) && options.idle.is_none_or(idle)
}

fn sort(rows: &mut [Row], options: &List) {
    rows.sort_by(|one, other| (&one.user, &one.path).cmp(&(&other.user, &other.path)));
    let summary = |row: &Row| row.summary.unwrap_or_default();
    match options.sort {
        Order::User => {}
        Order::Messages => rows.sort_by_key(|row| Reverse(summary(row).count)),
        Order::Octets => rows.sort_by_key(|row| Reverse(summary(row).octets)),
        Order::Oldest => rows.sort_by_key(|row| match summary(row).oldest {
            0 => u32::MAX,
            oldest => oldest,
        }),
        Order::Newest => rows.sort_by_key(|row| Reverse(summary(row).newest)),
        Order::Disk => rows.sort_by_key(|row| Reverse(row.disk)),
        Order::LastLogin => rows.sort_by_key(|row| row.last_login),
        Order::Problems => rows.sort_by_key(|row| Reverse(row.problems.len())),
    }
    if options.reverse {
        rows.reverse();
    }
}

fn table(rows: &[Row]) -> Table {
    let (mut table, zone) = (Table::of(COLUMNS), Zone::local());
    let moment = |seconds: Option<i64>| seconds.map_or(Value::Null, |seconds| zone.time(seconds).into());
    let (mut count, mut octets, mut disk) = (0_u64, 0_u64, 0_u64);
    for row in rows {
        let summary = row.summary;
        count += summary.map_or(0, |summary| u64::from(summary.count));
        octets = octets.saturating_add(summary.map_or(0, |summary| summary.octets));
        disk = disk.saturating_add(row.disk.unwrap_or(0));
        let received = |of: fn(&Summary) -> u32| {
            moment(summary.as_ref().map(of).filter(|seconds| *seconds > 0).map(i64::from))
        };
        let problems = (!row.problems.is_empty()).then(|| row.problems.join("; "));
        table.row(vec![
            row.user.clone().into(),
            summary.map(|summary| summary.count).into(),
            summary.map(|summary| summary.octets).into(),
            received(|summary| summary.newest),
            received(|summary| summary.oldest),
            row.disk.into(),
            moment(row.last_login),
            row.in_use.clone().into(),
            row.format.into(),
            problems.into(),
            row.path.to_string_lossy().into(),
        ]);
    }
    let nothing = || Value::String(String::new());
    let mut total = vec![format!("{} in all", rows.len()).into(), count.into(), octets.into()];
    total.extend([nothing(), nothing(), disk.into()]);
    total.resize_with(COLUMNS.len(), nothing);
    table.total(total);
    table
}

//! `mailusradm stats`: sessions in numbers, as tables with charts, as JSON, TSV, for Prometheus, or as a page.

mod page;
mod prometheus;
mod tables;

use super::history::{open, since};
use super::{Failure, Outcome, USAGE};
use crate::auth::{Account, roster};
use crate::cli::mailusradm::{By, Listing, Stats as Options, StatsFormat};
use crate::config::Config;
use crate::error::Error;
use crate::history::summary::{self, Count, Moment, Summary};
use crate::history::{History, LastLogin};
use crate::sys::clock::{self, Zone};
use crate::sys::directory::Directory;
use crate::ui::{self, Format};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Who has not logged in for six months of 30 days is told.
const ABSENCE: i64 = 180 * 86_400;

/// What the page is called until it is complete.
const UNFINISHED: &str = ".mailusradm-";

/// What is shown.
struct Stats {
    /// From when on, and until when, in seconds since 1970.
    since: i64,
    until: i64,
    by: By,
    top: usize,
    summary: Summary,
    logins: HashMap<String, LastLogin>,
    /// Who has a maildrop and never logged in, as long as the history goes back that far.
    never: Vec<String>,
    zone: Zone,
}

/// Writes the numbers.
pub(super) fn run(options: &Options, config: &Config) -> Outcome {
    let history = open(config)?;
    let usual = || match Format::usual() {
        Format::Table => StatsFormat::Table,
        _ => StatsFormat::Tsv,
    };
    let format = options.format.unwrap_or_else(usual);
    if format == StatsFormat::Prometheus {
        if !options.columns.is_empty() {
            let text = "--columns is for rows; --format prometheus has none: leave one of them out";
            return Err(Failure::new(USAGE, text));
        }
        return Ok(ui::say(&prometheus::text(&history.totals()?))?);
    }
    let stats = Stats::gather(&history, options, config)?;
    if let Some(file) = &options.html {
        return write_page(file, &stats.page(&config.hostname));
    }
    if !options.columns.is_empty() {
        // A list like the others.
        let format = match format {
            StatsFormat::Json => Format::Json,
            StatsFormat::Tsv => Format::Tsv,
            StatsFormat::Table | StatsFormat::Prometheus => Format::Table,
        };
        let listing = Listing { format: Some(format), columns: options.columns.clone() };
        return super::write(stats.rows_table(), &listing);
    }
    let text = match format {
        StatsFormat::Json => format!("{:#}\n", stats.json()),
        StatsFormat::Tsv => stats.rows_table().render(Format::Tsv),
        StatsFormat::Table | StatsFormat::Prometheus => stats.tables(ui::width().unwrap_or(80)),
    };
    Ok(ui::say(&text)?)
}

impl Stats {
    fn gather(history: &History, options: &Options, config: &Config) -> Result<Self, Error> {
        let (zone, since, until) = (Zone::local(), since(options.since), clock::wall_seconds());
        let first = history.began()?.unwrap_or(until).max(since);
        // Half a day at a time, so that days with 23 hours are met too.
        let days: BTreeSet<String> =
            (first..until).step_by(43_200).chain([until]).map(|time| moment(&zone, time).day).collect();
        let mut summary = Summary::new(days);
        history.each(since, &mut |entry| summary.add(entry, moment(&zone, entry.time())))?;
        let logins = history.last_logins()?;
        let old = history.began()?.is_some_and(|began| began < until.saturating_sub(ABSENCE));
        // Those that cannot be listed are told of by other verbs.
        let accounts = if old {
            roster::accounts(config).map_or(Vec::new(), |(accounts, _)| accounts)
        } else {
            Vec::new()
        };
        let has_mail = |account: &Account| std::fs::symlink_metadata(account.mailbox(config)).is_ok();
        let mut never: Vec<String> = accounts
            .into_iter()
            .filter(|account| !logins.contains_key(&account.name) && has_mail(account))
            .map(|account| account.name)
            .collect();
        never.sort();
        Ok(Self { since, until, by: options.by, top: options.top, summary, logins, never, zone })
    }

    fn hoarders(&self) -> Vec<(&str, Option<&LastLogin>)> {
        summary::hoarders(&self.logins, self.top)
            .into_iter()
            .map(|(name, login)| (name, Some(login)))
            .collect()
    }

    /// The longest ago first, and then those who never did.
    fn absent(&self) -> Vec<(&str, Option<&LastLogin>)> {
        let known = summary::absent(&self.logins, self.until.saturating_sub(ABSENCE)).into_iter();
        let never = self.never.iter().map(|name| (name.as_str(), None));
        known.map(|(name, login)| (name, Some(login))).chain(never).collect()
    }

    /// What was asked for, counted together.
    fn rows(&self) -> Vec<(&str, Count)> {
        match self.by {
            By::Day => self.summary.days(),
            By::Hour => self.summary.hours(),
            By::User => self.summary.users(),
            By::Client => self.summary.clients(),
            By::Mechanism => self.summary.mechanisms(),
        }
    }

    const fn key(&self) -> &'static str {
        match self.by {
            By::Day => "day",
            By::Hour => "hour",
            By::User => "user",
            By::Client => "client",
            By::Mechanism => "mechanism",
        }
    }

    /// One object; its members stand in mailusradm(8).
    fn json(&self) -> Value {
        let summary = &self.summary;
        let named = |key: &str, name: &str, count: &Count| {
            let mut object = counted(count);
            object.insert(key.to_owned(), name.into());
            Value::Object(object)
        };
        let list = |key: &str, rows: Vec<(&str, Count)>| -> Vec<Value> {
            rows.iter().map(|(name, count)| named(key, name, count)).collect()
        };
        let login = |(user, login): (&str, Option<&LastLogin>)| {
            json!({
                "user": user,
                "last_login": login.map(|login| self.zone.time(login.time)),
                "client": login.map(|login| login.client.as_str()),
                "left": login.map(|login| login.left),
                "left_octets": login.map(|login| login.left_octets),
            })
        };
        let mut total = counted(&summary.total);
        total.insert("users".to_owned(), summary.users.into());
        json!({
            "since": self.zone.time(self.since),
            "until": self.zone.time(self.until),
            "by": self.key(),
            "total": total,
            "ends": summary.ends,
            "tls": summary.tls,
            "reasons": summary.reasons,
            "rows": list(self.key(), self.rows()),
            "talkers": list("user", summary.talkers(self.top)),
            "left": self.hoarders().into_iter().map(login).collect::<Vec<_>>(),
            "absent": self.absent().into_iter().map(login).collect::<Vec<_>>(),
        })
    }
}

fn counted(count: &Count) -> Map<String, Value> {
    let pairs = [
        ("sessions", count.sessions),
        ("refused", count.refused),
        ("seconds", count.seconds),
        ("retrieved", count.retrieved),
        ("top", count.top),
        ("octets", count.octets),
        ("deleted", count.deleted),
        ("deleted_octets", count.deleted_octets),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// Day and hour in local time.
fn moment(zone: &Zone, time: i64) -> Moment {
    // `2026-11-03T07:55:01+01:00`
    let text = zone.time(time);
    let hour = text.get(11..13).and_then(|hour| hour.parse().ok()).unwrap_or(0);
    Moment { day: text.get(..10).unwrap_or(&text).to_owned(), hour }
}

/// A file that is complete or not there; a link of that name is replaced, not followed.
fn write_page(file: &Path, html: &str) -> Outcome {
    let failed = |cause| Failure::from(Error::io(format!("cannot write {}", file.display()), cause));
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory =
        Directory::open(&parent.map_or_else(|| PathBuf::from("."), Path::to_owned)).map_err(failed)?;
    let (temporary, mut made) = directory.create_unguessable(UNFINISHED).map_err(failed)?;
    let written = made
        .write_all(html.as_bytes())
        // A web server shall read it.
        .and_then(|()| made.set_permissions(PermissionsExt::from_mode(0o644)))
        .and_then(|()| made.sync_all())
        .and_then(|()| directory.rename(&temporary, name))
        .and_then(|()| directory.sync());
    if written.is_err() {
        // Gone already when it has its name.
        let _ = directory.remove(&temporary);
    }
    written.map_err(failed)
}

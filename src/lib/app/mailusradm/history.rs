//! `mailusradm history`: a user's sessions and refused logins.

use super::super::outcome::NO;
use super::super::outcome::NO_PERMISSION;
use super::{Failure, Outcome, remark};
use crate::cli::mailusradm::History as Options;
use crate::config::Config;
use crate::history::{self, Entry, History, Place, lines};
use crate::sys::clock::{self, Zone};
use crate::sys::privileges;
use crate::ui::{Column, Kind, Table};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;

const COLUMNS: &[Column] = &[
    Column::new("time", Kind::Time),
    Column::new("result", Kind::Text),
    Column::spare("reason", Kind::Text, 1),
    Column::new("client", Kind::Text),
    Column::spare("mechanism", Kind::Text, 7),
    Column::spare("tls", Kind::Text, 6),
    Column::spare("seconds", Kind::Number, 8),
    Column::spare("refused", Kind::Number, 11),
    Column::spare("retrieved", Kind::Number, 3),
    Column::spare("top", Kind::Number, 12),
    Column::spare("octets", Kind::Octets, 5),
    Column::spare("deleted", Kind::Number, 2),
    Column::spare("deleted octets", Kind::Octets, 10),
    Column::spare("left", Kind::Number, 4),
    Column::spare("left octets", Kind::Octets, 9),
    Column::spare("id", Kind::Text, 13),
];

/// Writes the list.
pub(super) fn run(options: &Options, config: &Config) -> Outcome {
    let history = open(config)?;
    let zone = Zone::local();
    let entries = history.of_user(&options.user, since(options.since))?;
    let mut table = Table::of(COLUMNS);
    for entry in &entries {
        table.row(row(entry, &zone));
    }
    super::write_or(table, &options.listing, "")?;
    if entries.is_empty() {
        let known = history.last_logins()?.remove(&options.user);
        let known = known.map_or_else(
            || "nothing is known of any before".to_owned(),
            |last| format!("the last login was at {}", zone.time(last.time)),
        );
        return Err(Failure::new(NO, format!("{} has no sessions in this time; {known}", options.user)));
    }
    Ok(())
}

fn row(entry: &Entry, zone: &Zone) -> Vec<Value> {
    match entry {
        Entry::Session(it) => vec![
            zone.time(it.start).into(),
            it.report.end.word().into(),
            Value::Null,
            it.client.clone().into(),
            it.mechanism.clone().into(),
            it.tls.clone().into(),
            it.seconds.into(),
            it.refused.into(),
            it.report.retrieved.into(),
            it.report.top.into(),
            it.report.octets.into(),
            it.report.deleted.into(),
            it.report.deleted_octets.into(),
            it.report.left.into(),
            it.report.left_octets.into(),
            it.id.to_string().into(),
        ],
        Entry::Refused(it) => {
            let mut row = vec![
                zone.time(it.time).into(),
                "refused".into(),
                it.reason.clone().into(),
                it.client.clone().into(),
                it.mechanism.clone().into(),
            ];
            row.resize(COLUMNS.len() - 1, Value::Null);
            row.push(it.id.to_string().into());
            row
        }
    }
}

/// So long ago, in seconds since 1970.
pub(super) fn since(seconds: u64) -> i64 {
    clock::wall_seconds().saturating_sub(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// Moves what is in the log into the database, as far as that can be done, and opens both.
pub(super) fn open(config: &Config) -> Result<History, Failure> {
    let owner = std::fs::metadata(&config.state_dir).map(|found| found.uid());
    if !privileges::is_root() && owner.is_ok_and(|owner| owner != privileges::own().uid) {
        return Err(Failure::new(NO_PERMISSION, "only the superuser may see the history"));
    }
    if lines::has_some(&config.state_dir) {
        let moved = Place::open(&config.state_dir).and_then(|place| history::move_log(&place, config));
        if let Err(error) = moved {
            remark(&format!("{error}; the log is read as it is"));
        }
    }
    let history = History::open(config)?;
    if !config.log.history {
        remark("log.history is false: sessions leave nothing in the history now");
    } else if history.is_empty()? {
        remark("no history yet: the first session that ends begins it");
    }
    Ok(history)
}

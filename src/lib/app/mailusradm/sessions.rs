//! `mailusradm sessions`: who is logged in now.

use super::{Failure, Outcome, USAGE, account, write_or};
use crate::cli::mailusradm::Sessions;
use crate::config::Config;
use crate::process::live::{self, Live};
use crate::sys::clock::{self, Zone};
use crate::sys::{account as accounts, privileges};
use crate::ui::{self, Column, Kind, Table};
use serde_json::Value;
use std::io::IsTerminal;
use std::time::Duration;

const COLUMNS: &[Column] = &[
    Column::new("user", Kind::Text),
    Column::new("client", Kind::Text),
    Column::new("since", Kind::Time),
    Column::new("idle", Kind::Span),
    Column::spare("pid", Kind::Number, 1),
    Column::spare("id", Kind::Text, 2),
];

/// What stands in the place of an empty list.
const NOBODY: &str = "nobody is logged in\n";

/// Writes the list, once or again and again.
pub(super) fn run(options: &Sessions, config: &Config) -> Outcome {
    let Some(seconds) = options.watch else {
        return write_or(table(options, config)?, &options.listing, NOBODY);
    };
    if !std::io::stdout().is_terminal() {
        let text = "--watch is for a terminal; without it the list is written once";
        return Err(Failure::new(USAGE, text));
    }
    let zone = Zone::local();
    loop {
        let shown = super::render(table(options, config)?, &options.listing)?;
        let now = zone.time(clock::wall_seconds());
        ui::say(&screen(&format!("mailusradm sessions, every {seconds} s, {now}\n\n{shown}")))?;
        clock::wait(Duration::from_secs(seconds));
    }
}

/// From the top of the terminal, without the flicker of an empty one: what is left of older lines is cleared behind each.
fn screen(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

fn table(options: &Sessions, config: &Config) -> Result<Table, Failure> {
    let mut sessions = sessions(config)?;
    if !options.users.is_empty() {
        for name in &options.users {
            // A name that nobody has is a mistake, not a user without a session.
            if !sessions.iter().any(|live| live.user == *name) {
                account(config, name)?;
            }
        }
        sessions.retain(|live| options.users.contains(&live.user));
    }
    let (mut table, zone) = (Table::of(COLUMNS), Zone::local());
    sessions.iter().for_each(|live| table.row(row(live, &zone)));
    Ok(table)
}

fn row(live: &Live, zone: &Zone) -> Vec<Value> {
    let since = i64::try_from(live.since).unwrap_or(i64::MAX);
    vec![
        live.user.clone().into(),
        live.client.clone().into(),
        zone.time(since).into(),
        live.idle.map(|idle| idle.as_secs()).into(),
        live.pid.into(),
        live.id.clone().into(),
    ]
}

/// All that we may see: root all, and who owns an installation; others the own.
pub(super) fn sessions(config: &Config) -> Result<Vec<Live>, Failure> {
    if live::may_see_all(config) {
        return Ok(live::all(config)?);
    }
    let name = accounts::own_name()?
        .ok_or_else(|| Failure::new(super::NO_USER, format!("uid {} has no name", privileges::own().uid)))?;
    Ok(live::of(config, &account(config, &name)?)?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Format;

    fn listed() -> Table {
        let mut table = Table::of(COLUMNS);
        table.row(vec![
            "ann".into(),
            "2001:db8:85a3:1234:5678:8a2e:370:7334".into(),
            "2026-11-03T07:55:01+01:00".into(),
            3.into(),
            4121.into(),
            "5dd2c7a1f0b3".into(),
        ]);
        let own = ["bob".into(), Value::Null, "2026-11-03T08:07:33+01:00".into()];
        let rest = [Value::Null, 31_022.into(), Value::Null];
        table.row(own.into_iter().chain(rest).collect());
        table
    }

    /// Design, section 7: tables fit the terminal, and lose what is spare first; in a pipe all is exact.
    #[test]
    fn a_list_of_sessions_fits() {
        let within = |width| listed().render_within(Format::Table, Some(width));
        assert_eq!(within(60), include_str!("sessions/60.txt"));
        assert_eq!(within(80), include_str!("sessions/80.txt"));
        assert_eq!(within(120), include_str!("sessions/120.txt"));
        assert_eq!(listed().render(Format::Tsv), include_str!("sessions/piped.txt"));
    }
}

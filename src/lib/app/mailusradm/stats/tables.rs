//! The numbers for a terminal.

use super::Stats;
use crate::cli::mailusradm::By;
use crate::history::summary::Count;
use crate::history::{LastLogin, summary::Summary};
use crate::ui::chart::{bar, sparkline};
use crate::ui::{Column, Format, Kind, Table, human};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Display;

/// The narrowest and the widest bar, in characters.
const BAR: std::ops::RangeInclusive<u16> = 8..=40;

/// What the other columns of a table with bars take: those that stay, and all.
const BESIDES: [u16; 2] = [58, 86];

impl Stats {
    /// All tables for a width in characters.
    pub(super) fn tables(&self, width: u16) -> String {
        let mut text = self.overview(usize::from(width));
        let part = |title: &str, table: &Table| {
            format!("\n{title}\n{}", table.render_within(Format::Table, Some(width)))
        };
        text += &part(&format!("By {}", self.key()), &self.barred(width));
        let talkers = self.talkers_table();
        if let Some(table) = &talkers {
            text += &part("Most octets retrieved", table);
        }
        let (hoarders, absent) = (self.hoarders(), self.absent());
        if !hoarders.is_empty() {
            text += &part("Most left on the server", &self.logins_table(&hoarders));
        }
        if !absent.is_empty() {
            let shown = &absent[..absent.len().min(self.top)];
            text += &part("No login for six months", &self.logins_table(shown));
            if absent.len() > shown.len() {
                text += &format!("and {} more; --top shows more, json all\n", absent.len() - shown.len());
            }
        }
        text
    }

    /// What a person wants to know first.
    fn overview(&self, width: usize) -> String {
        let Summary { total, users, ends, tls, reasons, .. } = &self.summary;
        let day = |time| self.zone.time(time).chars().take(16).collect::<String>().replacen('T', " ", 1);
        let days = self.summary.days();
        let drawn = width.saturating_sub(40).clamp(7, 60);
        let line = |number: &dyn Fn(&Count) -> u64| {
            let values: Vec<u64> = days.iter().map(|(_, count)| number(count)).collect();
            if values.len() > 1 { format!("  {}", sparkline(&values, drawn)) } else { String::new() }
        };
        let mut text = format!("{} to {}\n\n", day(self.since), day(self.until));
        let mut add = |name: &str, value: String, spark: String| {
            let line = format!("{name:<10}{value:>10}{spark}");
            text += &format!("{}\n", line.trim_end());
        };
        add("sessions", total.sessions.to_string(), line(&|count| count.sessions));
        add("refused", total.refused.to_string(), line(&|count| count.refused));
        add("octets", human::octets(total.octets), line(&|count| count.octets));
        add("retrieved", total.retrieved.to_string(), line(&|count| count.retrieved));
        add("deleted", total.deleted.to_string(), line(&|count| count.deleted));
        add("users", users.to_string(), String::new());
        for (name, shares) in
            [("ended", shares(ends, width)), ("TLS", shares(tls, width)), ("reasons", shares(reasons, width))]
        {
            if let Some(shares) = shares {
                text += &format!("{name:<10}  {shares}\n");
            }
        }
        text
    }

    /// The rows that were asked for, as a list like those of other verbs.
    pub(super) fn rows_table(&self) -> Table {
        let mut table = Table::of(&[
            Column::new(self.key(), Kind::Text),
            Column::new("sessions", Kind::Number),
            Column::new("refused", Kind::Number),
            Column::new("seconds", Kind::Span),
            Column::new("retrieved", Kind::Number),
            Column::new("top", Kind::Number),
            Column::new("octets", Kind::Octets),
            Column::new("deleted", Kind::Number),
            Column::new("deleted octets", Kind::Octets),
        ]);
        for (name, count) in self.rows() {
            table.row(vec![
                name.into(),
                count.sessions.into(),
                count.refused.into(),
                count.seconds.into(),
                count.retrieved.into(),
                count.top.into(),
                count.octets.into(),
                count.deleted.into(),
                count.deleted_octets.into(),
            ]);
        }
        table
    }

    /// The same with bars. Of users and clients as many as `--top` says.
    fn barred(&self, width: u16) -> Table {
        let mut table = Table::of(&[
            Column::new(self.key(), Kind::Text),
            Column::new("sessions", Kind::Number),
            Column::spare(" ", Kind::Text, 2),
            Column::new("refused", Kind::Number),
            Column::spare("retrieved", Kind::Number, 3),
            Column::new("octets", Kind::Octets),
            Column::spare("deleted", Kind::Number, 1),
            Column::spare("deleted octets", Kind::Octets, 4),
        ]);
        let mut rows = self.rows();
        if matches!(self.by, By::User | By::Client) {
            rows.truncate(self.top);
        }
        let most = rows.iter().map(|(_, count)| count.sessions).max().unwrap_or(0);
        let [few, all] = BESIDES;
        let besides = if width >= all + 24 { all } else { few };
        let room = usize::from(width.saturating_sub(besides).clamp(*BAR.start(), *BAR.end()));
        for (name, count) in rows {
            table.row(vec![
                name.into(),
                count.sessions.into(),
                bar(count.sessions, most, room).into(),
                count.refused.into(),
                count.retrieved.into(),
                count.octets.into(),
                count.deleted.into(),
                count.deleted_octets.into(),
            ]);
        }
        table
    }

    fn talkers_table(&self) -> Option<Table> {
        let talkers = self.summary.talkers(self.top);
        let mut table = Table::of(&[
            Column::new("user", Kind::Text),
            Column::new("octets", Kind::Octets),
            Column::new("retrieved", Kind::Number),
            Column::new("sessions", Kind::Number),
        ]);
        for (user, count) in &talkers {
            table.row(vec![
                (*user).into(),
                count.octets.into(),
                count.retrieved.into(),
                count.sessions.into(),
            ]);
        }
        (!talkers.is_empty()).then_some(table)
    }

    fn logins_table(&self, logins: &[(&str, Option<&LastLogin>)]) -> Table {
        let mut table = Table::of(&[
            Column::new("user", Kind::Text),
            Column::new("left", Kind::Number),
            Column::new("left octets", Kind::Octets),
            Column::new("last login", Kind::Time),
        ]);
        for (user, login) in logins {
            let time: Value = login.map_or_else(|| "never".into(), |login| self.zone.time(login.time).into());
            let (left, octets) = (login.map(|login| login.left), login.map(|login| login.left_octets));
            table.row(vec![(*user).into(), left.into(), octets.into(), time]);
        }
        table
    }
}

/// `quit 97%, dropped 3%`: the most first, as many as fit; none of nothing.
fn shares<K: Display>(counts: &BTreeMap<K, u64>, width: usize) -> Option<String> {
    let all: u64 = counts.values().sum();
    let mut sorted: Vec<(&K, u64)> = counts.iter().map(|(name, count)| (name, *count)).collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words: Vec<String> = sorted
        .into_iter()
        .map(|(name, count)| format!("{name} {}", percent(count, all)))
        .scan(12, |used, word| {
            *used += word.chars().count() + 2;
            (*used <= width + 2).then_some(word)
        })
        .collect();
    (all > 0).then(|| words.join(", "))
}

/// A share in words; something is never nothing, and not everything is not all.
pub(super) fn percent(count: u64, all: u64) -> String {
    let share = (u128::from(count) * 200 + u128::from(all)) / (u128::from(all.max(1)) * 2);
    match share {
        0 if count > 0 => "<1%".to_owned(),
        100 if count < all => ">99%".to_owned(),
        share => format!("{share}%"),
    }
}

//! The numbers as a page.

use super::Stats;
use super::tables::percent;
use crate::history::LastLogin;
use crate::history::summary::Count;
use crate::ui::human;
use crate::ui::page::{Bar, Class, Page};
use std::collections::BTreeMap;
use std::fmt::Display;

impl Stats {
    /// The whole page.
    pub(super) fn page(&self, host: &str) -> String {
        let minute = |time| self.zone.time(time).chars().take(16).collect::<String>().replacen('T', " ", 1);
        let (summary, total) = (&self.summary, &self.summary.total);
        let mut page = Page::new(
            &format!("POP3 sessions on {host}"),
            &format!("{} to {}", minute(self.since), minute(self.until)),
        );
        page.tiles(&[
            (grouped(total.sessions), "sessions"),
            (grouped(summary.users), "users"),
            (grouped(total.refused), "logins refused"),
            (human::octets(total.octets), "octets sent"),
            (grouped(total.retrieved), "messages retrieved"),
            (grouped(total.deleted), "messages deleted"),
        ]);
        let sessions = columns(self.summary.days(), day, "sessions", |count| count.sessions, grouped);
        page.columns("Sessions by day", &sessions, Class::Good);
        page.halves(|page| {
            self.times(page);
            self.kinds(page);
        });
        page.table("Most left on the server", &LOGIN, &self.logins(self.hoarders()));
        page.table("No login for six months", &LOGIN, &self.logins(self.absent()));
        let version = env!("CARGO_PKG_VERSION");
        page.finish(&format!("mailusradm stats, poptools {version}, {}", self.zone.time(self.until)))
    }

    /// When it was.
    fn times(&self, page: &mut Page) {
        let octets = columns(self.summary.days(), day, "octets", |count| count.octets, human::octets);
        page.columns("Octets sent by day", &octets, Class::Good);
        let refused = columns(self.summary.days(), day, "logins", |count| count.refused, grouped);
        page.columns("Refused logins by day", &refused, Class::Bad);
        let hours = columns(self.summary.hours(), hour, "sessions", |count| count.sessions, grouped);
        page.columns("Sessions by hour of the day", &hours, Class::Good);
        let deleted = columns(self.summary.days(), day, "messages", |count| count.deleted, grouped);
        page.columns("Deletions by day", &deleted, Class::Good);
    }

    /// What it was, and whose.
    fn kinds(&self, page: &mut Page) {
        let summary = &self.summary;
        page.bars("How sessions ended", &shares(&summary.ends), Class::Good);
        page.bars("TLS", &shares(&summary.tls), Class::Good);
        let mechanisms: BTreeMap<&str, u64> =
            summary.mechanisms().into_iter().map(|(name, count)| (name, count.sessions)).collect();
        page.bars("Mechanisms", &shares(&mechanisms), Class::Good);
        page.bars("Why logins were refused", &shares(&summary.reasons), Class::Bad);
        let talkers = named(&summary.talkers(self.top), |count| count.octets, human::octets);
        page.bars("Most octets retrieved", &talkers, Class::Good);
        let mut clients = summary.clients();
        clients.sort_by_key(|(_, count)| std::cmp::Reverse(count.refused));
        clients.retain(|(_, count)| count.refused > 0);
        clients.truncate(self.top);
        let clients = named(&clients, |count| count.refused, grouped);
        page.bars("Clients with most refused logins", &clients, Class::Bad);
    }

    fn logins(&self, rows: Vec<(&str, Option<&LastLogin>)>) -> Vec<Vec<String>> {
        let day = |time| self.zone.time(time).chars().take(10).collect::<String>();
        let row = |(user, login): (&str, Option<&LastLogin>)| {
            let nothing = || "-".to_owned();
            let Some(login) = login else {
                return vec![user.to_owned(), nothing(), nothing(), "never".to_owned()];
            };
            let (left, octets) = (grouped(u64::from(login.left)), human::octets(login.left_octets));
            vec![user.to_owned(), left, octets, day(login.time)]
        };
        rows.into_iter().map(row).collect()
    }
}

/// The columns of tables of last logins.
const LOGIN: [&str; 4] = ["user", "#messages", "#octets", "#last login"];

/// A bar for each row, in their order. `names` makes a short name, for an axis, and a whole one of a row's.
fn columns(
    rows: Vec<(&str, Count)>,
    names: fn(&str) -> (String, String),
    word: &str,
    number: fn(&Count) -> u64,
    shown: fn(u64) -> String,
) -> Vec<Bar> {
    let bar = |(name, count): (&str, Count)| {
        let (value, (name, whole)) = (number(&count), names(name));
        Bar { words: format!("{} {word} ({whole})", shown(value)), name, value }
    };
    rows.into_iter().map(bar).collect()
}

/// On an axis the year is too much.
fn day(name: &str) -> (String, String) {
    (name.get(5..).unwrap_or(name).to_owned(), name.to_owned())
}

/// An hour is told by its minutes.
fn hour(name: &str) -> (String, String) {
    (format!("{name}:00"), format!("{name}:00"))
}

/// The most first, with their shares.
fn shares<K: Display>(counts: &BTreeMap<K, u64>) -> Vec<Bar> {
    let all: u64 = counts.values().sum();
    let mut bars: Vec<Bar> = counts
        .iter()
        .map(|(name, count)| Bar {
            name: name.to_string(),
            value: *count,
            words: format!("{} ({})", grouped(*count), percent(*count, all)),
        })
        .collect();
    bars.sort_by_key(|bar| std::cmp::Reverse(bar.value));
    bars
}

fn named(rows: &[(&str, Count)], number: fn(&Count) -> u64, shown: fn(u64) -> String) -> Vec<Bar> {
    let bar = |(name, count): &(&str, Count)| {
        let value = number(count);
        Bar { name: (*name).to_owned(), value, words: shown(value) }
    };
    rows.iter().map(bar).collect()
}

/// A number with a thin space between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join("\u{202f}")
}

//! What was measured: a table for people, JSON for programs.

use super::Sample;
use super::aims::{self, judge, words};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// What was measured of one server, by column.
type Columns = BTreeMap<&'static str, Vec<f64>>;

/// All samples, by row and server, in the order in which they came.
pub(crate) struct Report {
    full: bool,
    rows: Vec<(String, Vec<(&'static str, Columns)>)>,
}

impl Report {
    pub(crate) const fn new(full: bool) -> Self {
        Self { full, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: &str, peer: &'static str, sample: Sample) {
        if !self.rows.iter().any(|(name, _)| name == row) {
            self.rows.push((row.to_owned(), Vec::new()));
        }
        let servers = &mut self.rows.iter_mut().find(|(name, _)| name == row).unwrap().1;
        if !servers.iter().any(|(name, _)| *name == peer) {
            servers.push((peer, BTreeMap::new()));
        }
        let columns = &mut servers.iter_mut().find(|(name, _)| *name == peer).unwrap().1;
        for (column, value) in sample {
            columns.entry(column).or_default().push(value);
        }
    }

    /// Shows a row: the median of each column, and ours in proportion to each server.
    pub(crate) fn print(&self, row: &str, took: Duration) {
        let Some((_, servers)) = self.rows.iter().find(|(name, _)| name == row) else { return };
        println!("\n{row} ({:.0} s)", took.as_secs_f64());
        let ours: BTreeMap<&str, f64> = servers
            .iter()
            .filter(|(name, _)| *name == "ours")
            .flat_map(|(_, columns)| columns.iter().map(|(column, values)| (*column, median(values))))
            .collect();
        for (peer, columns) in servers {
            let mut line = format!("  {peer:<16}");
            for (column, values) in columns {
                let middle = median(values);
                let ratio = ours.get(column).filter(|_| !peer.starts_with("ours") && middle > 0.0);
                let ratio = ratio.map_or_else(String::new, |ours| format!(" ({:.2})", ours / middle));
                let _ = write!(line, "  {column} {middle:.3}{ratio}");
            }
            println!("{line}");
        }
    }

    fn medians(&self, row: &str, column: &str) -> Vec<(&'static str, f64)> {
        let servers = self.rows.iter().filter(|(name, _)| name == row).flat_map(|(_, servers)| servers);
        servers.filter_map(|(peer, columns)| Some((*peer, median(columns.get(column)?)))).collect()
    }

    /// The median of what was measured of one server, if it was.
    pub(crate) fn median(&self, row: &str, peer: &str, column: &str) -> Option<f64> {
        self.medians(row, column).into_iter().find(|(name, _)| *name == peer).map(|(_, value)| value)
    }

    /// Shows every aim, what was reached of it, and whether the best of the others is behind.
    pub(crate) fn verdicts(&self) {
        println!(
            "\n{:<24} {:<10} {:>10}  {:<28} {:<24} {:>8}  verdict",
            "row", "column", "ours", "best of the others", "aim", "reached"
        );
        for (row, column, limit) in aims::ALL {
            let Some(verdict) = judge(*limit, &self.medians(row, column)) else { continue };
            let best =
                verdict.best.map_or_else(|| "-".to_owned(), |(name, value)| format!("{name} {value:.3}"));
            let reached = verdict.reached.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            let met = verdict.met.map_or("not comparable", |met| if met { "met" } else { "MISSED" });
            let behind = verdict.best.filter(|(_, value)| *value < verdict.ours);
            let behind = behind.map_or_else(String::new, |(name, _)| format!(", BEHIND {name}"));
            println!(
                "{row:<24} {column:<10} {:>10.3}  {best:<28} {:<24} {reached:>8}  {met}{behind}",
                verdict.ours,
                words(*limit)
            );
        }
    }

    fn verdicts_for_programs(&self) -> Vec<serde_json::Value> {
        let all = aims::ALL.iter().filter_map(|(row, column, limit)| {
            let verdict = judge(*limit, &self.medians(row, column))?;
            let best =
                verdict.best.map(|(name, value)| serde_json::json!({ "server": name, "value": value }));
            Some(serde_json::json!({
                "row": row, "column": column, "ours": verdict.ours, "best": best,
                "aim": words(*limit), "reached": verdict.reached, "met": verdict.met,
            }))
        });
        all.collect()
    }

    pub(crate) fn write(&self, path: &Path, took: Duration) {
        let mut rows = serde_json::Map::new();
        for (row, servers) in &self.rows {
            let mut of_row = serde_json::Map::new();
            for (peer, columns) in servers {
                let summed = columns.iter().map(|(column, values)| {
                    let value = serde_json::json!({ "median": median(values), "samples": values });
                    ((*column).to_owned(), value)
                });
                of_row.insert((*peer).to_owned(), serde_json::Value::Object(summed.collect()));
            }
            rows.insert(row.clone(), serde_json::Value::Object(of_row));
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let all = serde_json::json!({
            "scale": if self.full { "full" } else { "quick" }, "cores": cores, "seconds": took.as_secs(),
            "verdicts": self.verdicts_for_programs(), "rows": rows,
        });
        std::fs::write(path, format!("{all:#}\n")).unwrap();
        println!("\n{} ({:.0} s in all)", path.display(), took.as_secs_f64());
    }
}

/// The middle of what was measured.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

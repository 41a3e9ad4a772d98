//! `mailauth check`: whether everything is as it has to be.

use super::{Failure, NO, Outcome};
use crate::config::Config;
use crate::log::escape::Sentence;
use crate::secrets::{self, Places};
use crate::ui;

/// Says what was looked at and what to do. Its answer is no when somebody has to do something.
pub(super) fn run(config: &Config, places: &Places) -> Outcome {
    let findings = secrets::check(places, config.auth.min_uid);
    let lines: String = findings
        .iter()
        .map(|finding| {
            let word = if finding.problem { "problem" } else { "ok" };
            format!("{word}: {}\n", Sentence(finding.what.as_bytes()))
        })
        .collect();
    ui::say(&lines)?;
    match findings.iter().filter(|finding| finding.problem).count() {
        0 => Ok(()),
        count => Err(Failure::new(NO, format!("problems: {count}"))),
    }
}

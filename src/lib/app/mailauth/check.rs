//! `mailauth check`: whether everything is as it has to be.

use super::{Failure, NO, Outcome};
use crate::log::escape::Sentence;
use crate::secrets::{self, Places, Rules};
use crate::ui;

/// Says what was looked at and what to do. Its answer is no when somebody has to do something.
pub(super) fn run(places: &Places, rules: &Rules) -> Outcome {
    let findings = secrets::check(places, rules);
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

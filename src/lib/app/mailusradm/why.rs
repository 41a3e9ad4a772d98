//! `mailusradm why`: the first thing that stops a user from logging in.

use super::{Failure, NO, Outcome};
use crate::app::check::login::{Login, Step, fault, walk};
use crate::app::check::service::From;
use crate::app::check::{Finding, Probes, Severity, unreadable};
use crate::app::outcome::{named, with_option};
use crate::auth::Means;
use crate::cli::mailusradm::{Listing, Mechanism, Why};
use crate::config::Config;
use crate::error::Error;
use crate::log::escape::Sentence;
use crate::process::live;
use crate::ui::{self, Column, Kind, Table};

const COLUMNS: &[Column] = &[
    Column::new("step", Kind::Text),
    Column::new("state", Kind::Text),
    Column::new("what", Kind::Sentence),
    Column::new("fix", Kind::Sentence),
];

/// Goes the way of a login. The exit status is 1 when something stops it.
pub(super) fn run(options: &Why, config: Result<Config, Error>) -> Outcome {
    let steps = match config {
        Ok(config) => steps(options, &live::as_served(config)),
        Err(error) => vec![Step { step: "configuration", finding: unreadable(error) }],
    };
    let text = match options.format {
        None if options.columns.is_empty() && options.all => lines(&steps),
        None if options.columns.is_empty() => verdict(options, &steps),
        format => super::render(table(&steps), &Listing { format, columns: options.columns.clone() })?,
    };
    ui::say(&text)?;
    // All has been said.
    if fault(&steps).is_some() { Err(Failure::new(NO, "")) } else { Ok(()) }
}

fn steps(options: &Why, config: &Config) -> Vec<Step> {
    let probes = Probes::system(named());
    walk(&Login {
        config,
        probes: &probes,
        user: &options.user,
        from: options.from.map_or(From::Elsewhere, From::Address),
        means: options.mechanism.map(means),
    })
}

const fn means(mechanism: Mechanism) -> Means {
    match mechanism {
        Mechanism::Pass | Mechanism::Plain => Means::Password,
        Mechanism::Apop | Mechanism::CramMd5 | Mechanism::ScramSha256 => Means::Secret,
        Mechanism::External => Means::Certificate,
    }
}

/// The answer: what stops the login, or what may.
fn verdict(options: &Why, steps: &[Step]) -> String {
    let user = &options.user;
    let said = |finding: &Finding| {
        let fix = finding.fix.as_ref().map(|fix| format!("    {}\n", harmless(fix))).unwrap_or_default();
        format!("  {}\n{fix}", harmless(&finding.what))
    };
    if let Some(step) = fault(steps) {
        return format!("{} cannot log in:\n{}", harmless(user), said(&step.finding));
    }
    let warnings: Vec<String> = warnings(steps).map(said).collect();
    let whence = options.from.map(|address| format!(" from {address}")).unwrap_or_default();
    let found = format!("nothing stops {} from logging in{whence}, but a wrong password\n", harmless(user));
    match warnings.is_empty() {
        true => found,
        false => format!("{found}worth knowing:\n{}", warnings.concat()),
    }
}

fn warnings(steps: &[Step]) -> impl Iterator<Item = &Finding> {
    steps.iter().map(|step| &step.finding).filter(|finding| finding.severity == Severity::Warning)
}

/// All of the way, one line a step, as `pop3d --check` writes it.
fn lines(steps: &[Step]) -> String {
    let findings: Vec<Finding> = steps.iter().map(|step| step.finding.clone()).collect();
    with_option(crate::app::check::render(&findings), named())
}

fn table(steps: &[Step]) -> Table {
    let mut table = Table::of(COLUMNS);
    for Step { step, finding } in steps {
        let fix = finding.fix.as_ref().map(|fix| with_option(fix.clone(), named()));
        table.row(vec![
            (*step).into(),
            finding.severity.word().into(),
            finding.what.clone().into(),
            fix.into(),
        ]);
    }
    table
}

fn harmless(text: &str) -> String {
    Sentence(with_option(text.to_owned(), named()).as_bytes()).to_string()
}

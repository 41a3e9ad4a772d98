//! The secrets database: who may open it, and what it makes the server announce.

use super::{Finding, Probes, quoted};
use crate::auth;
use crate::config::{Config, Source, defaults};
use crate::secrets::{self, Places, delegate};
use crate::sys::privileges;

/// Nothing where there is no database: then nobody needs one.
pub(super) fn findings(config: &Config, probes: &Probes<'_>) -> Vec<Finding> {
    let places = Places::of(config);
    if !config.auth.sources.contains(&Source::Mailauth) || !places.database_exists().unwrap_or(true) {
        return Vec::new();
    }
    let mut findings = database(&places, config, probes);
    findings.push(announced(config, probes));
    findings
}

/// Looked at as the server does it: by a child with the owner's ids.
fn database(places: &Places, config: &Config, probes: &Probes<'_>) -> Vec<Finding> {
    let shown = quoted(&places.database);
    if probes.root && !(probes.account)(secrets::OWNER) {
        return vec![without_owner()];
    }
    if !probes.root && !is_own(config) {
        return vec![Finding::warning(format!("secrets database {shown}: not judged"), "sudo pop3d --check")];
    }
    let rules = auth::rules(config);
    let looked = (probes.owner)().and_then(|owner| {
        delegate::run(owner.as_ref(), || {
            let (mut bad, others) = secrets::check_briefly(places, &rules);
            bad.truncate(MOST);
            Ok((bad, others))
        })
    });
    let (bad, others) = match looked {
        Ok(looked) => looked,
        Err(error) => return vec![Finding::problem(format!("secrets database: {error}"), FIX)],
    };
    let problem = |found: secrets::Found| Finding::problem(format!("secrets database: {}", found.what), FIX);
    let mut findings: Vec<Finding> = bad.into_iter().map(problem).collect();
    if others > 0 {
        let what = format!("secrets database {shown}: {others} findings that are not everybody's");
        findings.push(Finding::warning(what, FIX));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("secrets database {shown}")));
    }
    findings
}

/// Whether attempts can be counted, where they have to be: without that nobody gets in.
pub(super) fn counters(config: &Config, probes: &Probes<'_>) -> Option<Finding> {
    if !config.auth.is_enhanced() {
        return None;
    }
    let shown = quoted(&Places::of(config).state());
    let counted = (probes.owner)().and_then(|owner| auth::can_count(config, owner.as_ref()));
    Some(match counted {
        Ok(()) => Finding::ok(format!("attempts are counted in {shown}")),
        Err(_) if !probes.root && !is_own(config) => {
            Finding::warning(format!("counters {shown}: not judged"), "sudo pop3d --check")
        }
        Err(mut error) => {
            let fix = error.take_fix().unwrap_or_else(|| FIX.to_owned());
            let what =
                format!("security = \"enhanced\", and attempts cannot be counted: {error}: nobody gets in");
            Finding::problem(what, fix)
        }
    })
}

/// Whether the database would be in a directory of our own.
fn is_own(config: &Config) -> bool {
    Places::of(config).directory_owner() == Some(privileges::own().uid)
}

fn without_owner() -> Finding {
    let what = "there is a secrets database, but no user pop to own it: nobody can log in";
    Finding::problem(what, format!("{} {}", defaults::USERADD, secrets::OWNER))
}

/// What is to be said of the database to one user. Whether it stands in the user's way the entry says, but for a database that nobody
/// can open.
pub(super) fn for_one(config: &Config, probes: &Probes<'_>) -> Vec<Finding> {
    let all = findings(config, probes);
    let opened = !all.contains(&without_owner());
    all.into_iter().map(|finding| if opened { finding.no_worse_than_warning() } else { finding }).collect()
}

/// What to type: it says more.
const FIX: &str = "mailauth check";

/// Findings about the database that are named.
const MOST: usize = 10;

fn announced(config: &Config, probes: &Probes<'_>) -> Finding {
    if !auth::announced(config).apop {
        return Finding::ok("APOP is not announced");
    }
    let file = probes.file().display();
    Finding::warning(
        "APOP is announced: clients that take the strongest mechanism and then give up (curl) cannot log in users \
         without an APOP entry",
        format!("mailauth add those users, or set announce = [] under [auth] in {file}"),
    )
}

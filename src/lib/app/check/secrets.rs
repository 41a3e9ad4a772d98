//! The secrets database: who may open it, and what it makes the server announce.

use super::{Finding, Probes, quoted};
use crate::auth;
use crate::config::{Config, Source, defaults};
use crate::secrets::Places;

/// Nothing where there is no database: then nobody needs one.
pub(super) fn findings(config: &Config, probes: &Probes<'_>) -> Vec<Finding> {
    let places = Places::of(config);
    if !config.auth.sources.contains(&Source::Mailauth) || !places.database_exists().unwrap_or(true) {
        return Vec::new();
    }
    vec![owner(&places, probes), announced(config, probes)]
}

fn owner(places: &Places, probes: &Probes<'_>) -> Finding {
    if probes.root && !(probes.account)("pop") {
        let what = "there is a secrets database, but no user pop to own it: nobody can log in";
        return Finding::problem(what, format!("{} pop", defaults::USERADD));
    }
    Finding::ok(format!("secrets database {}", quoted(&places.database)))
}

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

//! `pop3d --sandbox-selftest`: wiring. 0: all is denied; 1: something is not.

use crate::config::Config;
use crate::process::selftest::{self, Findings, Outcome, Trial};
use crate::sys::attempt::error_name;
use crate::sys::sandbox::Missing;
use crate::ui::{self, Format, Table};
use serde_json::Value;

/// Runs it and prints what it finds. The exit status.
pub(super) fn run(config: &Config, format: Option<Format>) -> u8 {
    match selftest::run(config) {
        Ok(findings) => {
            ui::complain(&remarks(&findings.missing));
            // There is nobody to tell of an output that cannot be written.
            let _ = ui::say(&table(&findings).render(format.unwrap_or_else(Format::usual)));
            let denied = findings.trials.iter().all(|trial| matches!(trial.outcome, Outcome::Denied(_)));
            ui::complain(&verdict(&findings));
            u8::from(!denied)
        }
        Err(error) => {
            ui::complain(&format!("pop3d: {error}\n"));
            error.exit_status()
        }
    }
}

fn remarks(missing: &Missing) -> String {
    [(missing.landlock, "Landlock"), (missing.seccomp, "seccomp")]
        .into_iter()
        .filter(|(lacking, _)| *lacking)
        .map(|(_, name)| format!("pop3d: this kernel has no {name}: what it alone denies is allowed\n"))
        .collect()
}

fn table(findings: &Findings) -> Table {
    let mut table = Table::new(&["role", "attempt", "result", "error"]);
    for Trial { role, attempt, outcome } in &findings.trials {
        let (result, number) = match *outcome {
            Outcome::Denied(number) => ("denied", Some(number)),
            Outcome::Allowed => ("ALLOWED", None),
            Outcome::Unclear(number) => ("FAILED", number),
        };
        let error = number.map_or(Value::Null, |number| error_name(number).into());
        table.row(vec![role.name().into(), attempt.words().into(), result.into(), error]);
    }
    table
}

/// The last line, for people: the table is long.
fn verdict(findings: &Findings) -> String {
    let all = findings.trials.len();
    let denied = findings.trials.iter().filter(|trial| matches!(trial.outcome, Outcome::Denied(_))).count();
    if denied == all {
        format!("pop3d: all {all} attempts were denied\n")
    } else {
        format!("pop3d: {} of {all} attempts were not denied\n", all - denied)
    }
}

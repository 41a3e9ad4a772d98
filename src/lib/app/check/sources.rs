//! Sources of credentials that others provide: the checkpassword program, PAM.

use super::{Finding, Probes, cannot_run, quoted};
use crate::auth;
use crate::config::{Config, Source};
use std::path::Path;

/// Where the services of PAM are.
const SERVICES: &str = "/etc/pam.d";

/// Nothing for sources that are not asked.
pub(super) fn findings(config: &Config, probes: &Probes<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.auth.sources.contains(&Source::Checkpassword) {
        findings.push(program(config, probes));
    }
    if config.auth.sources.contains(&Source::Pam) {
        findings.push(service(config, probes, Path::new(SERVICES)));
    }
    findings.extend(certificates(config, probes));
    findings
}

/// A certificate proves a name, and not what a password would: only some sources say whether the name may log in.
fn certificates(config: &Config, probes: &Probes<'_>) -> Option<Finding> {
    let knows = |source: &Source| matches!(source, Source::Unix | Source::Mailauth);
    if config.tls.client_ca.as_os_str().is_empty() || config.auth.sources.iter().any(knows) {
        return None;
    }
    let file = probes.file().display();
    Some(Finding::warning(
        "client_ca is set, but no source can tell whether the user of a certificate may log in: AUTH EXTERNAL is not offered",
        format!(
            "add \"mailauth\" or \"unix\" to sources under [auth], or take client_ca out of [tls], in {file}"
        ),
    ))
}

fn program(config: &Config, probes: &Probes<'_>) -> Finding {
    let program = &config.auth.checkpassword;
    let shown = quoted(program);
    if let Some((why, mend)) = cannot_run(program) {
        let file = probes.file().display();
        let mend = if mend.starts_with("chmod") || mend.starts_with("install /") {
            mend
        } else {
            format!("install it, or set checkpassword under [auth] in {file}")
        };
        return Finding::problem(format!("checkpassword program {shown} {why}"), mend);
    }
    match auth::trusted_program(program) {
        Ok(()) => Finding::ok(format!("checkpassword program {shown}")),
        Err(mut error) => {
            let fix = error.take_fix().unwrap_or_else(|| "let nobody but root write it".to_owned());
            Finding::problem(format!("checkpassword program: {error}"), fix)
        }
    }
}

fn service(config: &Config, probes: &Probes<'_>, services: &Path) -> Finding {
    let name = &config.auth.pam_service;
    let file = services.join(name);
    if !probes.root {
        let what = format!("PAM service {name}: not root, so most modules cannot check passwords");
        return Finding::warning(what, "sudo pop3d --check");
    }
    if file.is_file() {
        return Finding::ok(format!("PAM service {}", file.display()));
    }
    Finding::warning(
        format!("PAM service {} is missing: the service other decides", file.display()),
        format!("install -m 644 contrib/pam.d/pop3d {}", file.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::check::Severity;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("pop3d.toml")).unwrap()
    }

    fn probes() -> Probes<'static> {
        Probes { root: true, ..Probes::system(None) }
    }

    #[test]
    fn a_program_that_cannot_be_run_or_trusted_is_a_problem() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("checkpassword");
        let text =
            format!("[auth]\nsources = [\"checkpassword\"]\ncheckpassword = \"{}\"\n", program.display());
        let config = config(&text);
        let found = |mode: Option<u32>| {
            if let Some(mode) = mode {
                fs::write(&program, "#!/bin/sh\n").unwrap();
                fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
            }
            findings(&config, &probes()).pop().unwrap()
        };
        let missing = found(None);
        assert_eq!(missing.severity, Severity::Problem);
        assert!(missing.fix.unwrap().starts_with("install it, or set checkpassword under [auth] in"));
        assert_eq!(found(Some(0o644)).fix.unwrap(), format!("chmod 755 {}", program.display()));
        let writable = found(Some(0o757));
        assert!(writable.what.contains("may be written by others"), "{writable:?}");
        assert_eq!(writable.severity, Severity::Problem);
        assert_eq!(found(Some(0o755)).severity, Severity::Ok);
    }

    #[test]
    fn a_missing_service_of_pam_is_spoken_of() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::default();
        let missing = service(&config, &probes(), directory.path());
        assert_eq!(missing.severity, Severity::Warning);
        assert!(missing.fix.unwrap().starts_with("install -m 644 contrib/pam.d/pop3d "));
        fs::write(directory.path().join("pop3d"), "").unwrap();
        assert_eq!(service(&config, &probes(), directory.path()).severity, Severity::Ok);
    }
}

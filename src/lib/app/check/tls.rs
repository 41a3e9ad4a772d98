//! Certificates and keys: whether they can be used, for how long, and by whom else.

use super::{Finding, Probes, quoted};
use crate::config::{Config, KeyPair, TlsVersion, defaults};
use crate::error::Error;
use crate::sys::clock;
use crate::transport::tls::Acceptor;
use crate::transport::tls::certificates::{chain, matches_one, names, parse};
use crate::transport::tls::files::{Material, read_file};
use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::time::Duration;

const DAY: i64 = 86_400;

/// Nothing where no certificate is configured: the plaintext policy says then what that means.
pub(super) fn findings(config: &Config, probes: &Probes<'_>) -> Vec<Finding> {
    if !config.tls.is_configured() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for pair in config.tls.pairs() {
        findings.extend(certificate(&pair.certificate));
        findings.extend(key(&pair, probes));
    }
    findings.extend(host(config, probes));
    // Together, as the server uses them; what was found above is not said twice.
    if findings.iter().all(|finding| finding.severity < super::Severity::Problem) {
        findings.push(together(config, probes));
    }
    findings
}

fn wrong(mut error: Error) -> Finding {
    let fix = error.take_fix().unwrap_or_else(|| "correct this, then check again".to_owned());
    Finding::problem(format!("TLS: {error}"), fix)
}

/// The chain, or what is wrong with the file.
fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, Finding> {
    let name = path.display().to_string();
    let read = read_file(path).and_then(|(pem, _)| chain(&name, &pem));
    read.map_err(|error| {
        let fix = format!("install the certificate as {}, or correct certificate under [tls]", quoted(path));
        let mut finding = wrong(error);
        finding.fix = finding.fix.filter(|fix| !fix.starts_with("correct this")).or(Some(fix));
        finding
    })
}

fn certificate(path: &Path) -> Vec<Finding> {
    let (name, shown) = (path.display().to_string(), quoted(path));
    let chain = match read(path) {
        Ok(chain) => chain,
        Err(finding) => return vec![finding],
    };
    let mut parsed = Vec::new();
    for der in &chain {
        match parse(&name, der) {
            Ok(certificate) => parsed.push(certificate),
            Err(error) => return vec![wrong(error)],
        }
    }
    let now = i64::try_from(clock::wall().as_secs()).unwrap_or(i64::MAX);
    let mut findings = vec![lifetime(&shown, parsed[0].validity(), now)];
    let ordered = parsed.windows(2).all(|pair| pair[0].issuer() == pair[1].subject());
    if !ordered {
        findings.push(Finding::warning(
            format!("certificate {shown}: its chain is out of order, and some clients refuse that"),
            format!("write the server's own certificate first into {shown}, then each issuer behind what it issued"),
        ));
    } else if parsed.len() == 1 && parsed[0].issuer() != parsed[0].subject() {
        findings.push(Finding::warning(
            format!("certificate {shown}: those of its issuers are missing, and clients may not trust it"),
            format!("use the file with the full chain (certbot: fullchain.pem) for {shown}"),
        ));
    }
    findings
}

fn lifetime(shown: &str, validity: &x509_parser::certificate::Validity, now: i64) -> Finding {
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let soon = i64::try_from(defaults::EXPIRES_SOON.as_secs()).unwrap_or(0);
    let days = |seconds: i64| match seconds / DAY {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    let renew = || format!("renew {shown}, then send SIGHUP to a standalone server");
    if now > to {
        Finding::problem(format!("certificate {shown} expired {} ago", days(now - to)), renew())
    } else if now < from {
        let what = format!("certificate {shown} is not valid for {} yet", days(from - now));
        Finding::problem(what, "look at this machine's clock: date")
    } else if to - now < soon {
        Finding::warning(format!("certificate {shown} expires in {}", days(to - now)), renew())
    } else {
        Finding::ok(format!("certificate {shown} is good for {}", days(to - now)))
    }
}

fn key(pair: &KeyPair, probes: &Probes<'_>) -> Option<Finding> {
    let shown = quoted(&pair.key);
    match read_file(&pair.key) {
        Ok((_, mode)) if mode & 0o007 != 0 => Some(Finding::warning(
            format!("key {shown} has mode {mode:04o}: everybody on this machine can pose as this server"),
            format!("chmod o= {shown}, and ask for a new certificate with a new key"),
        )),
        Ok(_) => None,
        // An ordinary user's check cannot see what the server, as root, will.
        Err(error) if !probes.root => Some(Finding::warning(format!("TLS: {error}"), "sudo pop3d --check")),
        Err(error) => {
            let mut finding = wrong(error);
            let fix = format!("install the key as {shown} with mode 0600, or correct key under [tls]");
            finding.fix = finding.fix.filter(|fix| !fix.starts_with("correct this")).or(Some(fix));
            Some(finding)
        }
    }
}

/// Whether some certificate is for the name that clients see.
fn host(config: &Config, probes: &Probes<'_>) -> Option<Finding> {
    let mut known = Vec::new();
    for pair in config.tls.pairs() {
        let name = pair.certificate.display().to_string();
        let chain = read(&pair.certificate).ok()?;
        known.extend(names(&parse(&name, &chain[0]).ok()?));
    }
    if matches_one(&known, &config.hostname) {
        return None;
    }
    let listed = if known.is_empty() { "no name".to_owned() } else { known.join(", ") };
    Some(Finding::warning(
        format!("no certificate is for the host name {}, but for {listed}", config.hostname),
        format!(
            "set hostname in {} to the name that clients use, or ask for a certificate for it",
            probes.file().display()
        ),
    ))
}

/// Whether the server can use what is configured, and whether clients take it. One without TLS is served in the clear all the same,
/// but for a standalone server that was not started yet.
pub(super) fn for_one(config: &Config, probes: &Probes<'_>, needed: bool) -> Vec<Finding> {
    if !config.tls.is_configured() {
        return Vec::new();
    }
    let mut findings = vec![together(config, probes)];
    if findings[0].severity == super::Severity::Ok {
        findings.extend(config.tls.pairs().into_iter().flat_map(|pair| certificate(&pair.certificate)));
    }
    let judged = |finding: Finding| if needed { finding } else { finding.no_worse_than_warning() };
    findings.into_iter().map(judged).collect()
}

fn together(config: &Config, probes: &Probes<'_>) -> Finding {
    let material = match Material::read(config) {
        Ok(Some(material)) => material,
        Ok(None) => return Finding::ok("TLS is off"),
        Err(error) if !probes.root => {
            return Finding::warning(format!("TLS: {error}"), "sudo pop3d --check");
        }
        Err(error) => return wrong(error),
    };
    match Acceptor::new(&material, config.tls.min_version, Duration::ZERO) {
        Ok(_) => Finding::ok(match config.tls.min_version {
            TlsVersion::V1_2 => "TLS 1.2 and 1.3",
            TlsVersion::V1_3 => "TLS 1.3",
        }),
        Err(error) => wrong(error),
    }
}

#[cfg(test)]
mod tests;

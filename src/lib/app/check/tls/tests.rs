//! Each fault of a certificate or a key has its finding, and each finding says what to do (design, section 7).

use super::super::Severity;
use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

struct Site {
    place: tempfile::TempDir,
    config: Config,
}

impl Site {
    /// Files for these parameters, signed by themselves.
    fn new(made: CertificateParams) -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut config = Config { hostname: "mail.example.org".to_owned(), ..Config::default() };
        config.tls.certificate = place.path().join("cert.pem");
        config.tls.key = place.path().join("key.pem");
        let site = Self { place, config };
        let key = rcgen::KeyPair::generate().unwrap();
        site.write("cert.pem", &made.self_signed(&key).unwrap().pem());
        site.write("key.pem", &key.serialize_pem());
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        self.mode(name, 0o600);
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn findings(&self) -> Vec<Finding> {
        let probes = Probes {
            config_file: None,
            root: crate::sys::privileges::is_root(),
            account: |_| true,
            owner: || Ok(None),
            landlock: || true,
            seccomp: || true,
            syslog: None,
            passwd: PathBuf::from("/etc/passwd"),
        };
        findings(&self.config, &probes)
    }

    /// The finding with these words, as bad as this and with something to do.
    fn finds(&self, severity: Severity, words: &str) -> String {
        let all = self.findings();
        let found = all.iter().find(|finding| finding.what.contains(words));
        let found = found.unwrap_or_else(|| panic!("{words}: {all:#?}"));
        assert_eq!(found.severity, severity, "{found:?}");
        found.fix.clone().unwrap_or_default()
    }
}

fn for_host() -> CertificateParams {
    CertificateParams::new(vec!["mail.example.org".to_owned()]).unwrap()
}

fn lasting(from: i64, to: i64) -> CertificateParams {
    let now = i64::try_from(clock::wall().as_secs()).unwrap();
    let day = |days: i64| {
        (std::time::UNIX_EPOCH + Duration::from_secs(u64::try_from(now + days * DAY).unwrap())).into()
    };
    let mut made = for_host();
    made.not_before = day(from);
    made.not_after = day(to);
    made
}

#[test]
fn a_good_certificate_is_good() {
    let all = Site::new(lasting(-1, 90)).findings();
    assert!(all.iter().all(|finding| finding.severity == Severity::Ok), "{all:#?}");
    assert!(all.iter().any(|finding| finding.what == "TLS 1.2 and 1.3"), "{all:#?}");
}

#[test]
fn certificates_that_end_are_spoken_of() {
    assert!(Site::new(lasting(-9, 20)).finds(Severity::Warning, "expires in 20 days").contains("renew"));
    assert!(Site::new(lasting(-9, -2)).finds(Severity::Problem, "expired 2 days ago").contains("renew"));
    assert!(Site::new(lasting(3, 9)).finds(Severity::Problem, "is not valid for").contains("clock"));
}

#[test]
fn a_key_is_for_nobody_else() {
    let site = Site::new(lasting(-1, 90));
    site.mode("key.pem", 0o604);
    assert!(site.finds(Severity::Warning, "everybody on this machine").contains("chmod o= "));
    site.mode("key.pem", 0o600);
    site.write("key.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    site.finds(Severity::Problem, "does not belong to the certificate");
    site.write(
        "key.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    site.finds(Severity::Problem, "is encrypted");
    fs::remove_file(site.path("key.pem")).unwrap();
    let severity = if crate::sys::privileges::is_root() { Severity::Problem } else { Severity::Warning };
    site.finds(severity, "key.pem: No such file");
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let site = Site::new(lasting(-1, 90));
    site.write("cert.pem", "nothing");
    site.finds(Severity::Problem, "cert.pem holds no certificate");
    fs::remove_file(site.path("cert.pem")).unwrap();
    assert!(site.finds(Severity::Problem, "cert.pem: No such file").contains("install the certificate"));
}

#[test]
fn another_name_is_spoken_of() {
    let mut site = Site::new(lasting(-1, 90));
    site.config.hostname = "pop.example.org".to_owned();
    assert!(site.finds(Severity::Warning, "no certificate is for the host name").contains("hostname"));
}

#[test]
fn the_chain_has_an_order() {
    let site = Site::new(lasting(-1, 90));
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut made = lasting(-1, 90);
    made.distinguished_name.push(rcgen::DnType::CommonName, "mail.example.org");
    let pem = made.signed_by(&key, &issuer).unwrap().pem();
    site.write("key.pem", &key.serialize_pem());
    site.write("cert.pem", &pem);
    assert!(site.finds(Severity::Warning, "those of its issuers are missing").contains("full chain"));
    site.write("cert.pem", &format!("{pem}{authority_pem}"));
    assert!(site.findings().iter().all(|finding| finding.severity == Severity::Ok));
    site.write("cert.pem", &format!("{pem}{pem}{authority_pem}"));
    site.finds(Severity::Warning, "out of order");
}

//! Certificates with their keys: which one a client gets, and what they say.

use super::files::{Material, Pair};
use crate::error::{Error, Kind, Result};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::signature_algorithm::SignatureAlgorithm;

/// The server's certificates, ready for use.
#[derive(Debug)]
pub(crate) struct Certificates(Vec<Certificate>);

#[derive(Debug)]
struct Certificate {
    /// Names of servers that it is for, in lower case; `*.` stands for one label.
    names: Vec<String>,
    key: Arc<CertifiedKey>,
    /// Channel-binding data `tls-server-end-point` (RFC 5929, section 4); none where it is not defined.
    end_point: Option<Vec<u8>>,
}

impl Certificates {
    /// Reads them all.
    ///
    /// # Errors
    /// One is no certificate, or its key is another's.
    pub(super) fn new(material: &Material) -> Result<Self> {
        let provider = aws_lc_rs::default_provider();
        material.pairs.iter().map(|pair| Certificate::new(pair, &provider)).collect::<Result<_>>().map(Self)
    }

    /// The place of the certificate for a client: one for the name that it asks for, else the first, of those whose signatures it
    /// understands. A client that names a server we do not have gets the first: many clients of POP3 name an alias.
    fn choose(&self, name: Option<&str>, fits: impl Fn(&CertifiedKey) -> bool) -> Option<usize> {
        let named = |certificate: &Certificate| name.is_some_and(|name| certificate.is_for(name));
        let found = |wanted: &dyn Fn(&Certificate) -> bool| {
            self.0.iter().position(|certificate| wanted(certificate) && fits(&certificate.key))
        };
        found(&named).or_else(|| found(&|_| true))
    }

    /// `tls-server-end-point` of the certificate at this place.
    pub(super) fn end_point(&self, place: usize) -> Option<Vec<u8>> {
        self.0.get(place)?.end_point.clone()
    }
}

impl Certificate {
    fn new(pair: &Pair, provider: &CryptoProvider) -> Result<Self> {
        let (name, pem) = &pair.certificate;
        let chain = chain(name, pem)?;
        let first = chain.first().ok_or_else(|| no_certificate(name))?;
        let (names, end_point) = {
            let parsed = parse(name, first)?;
            (names(&parsed), end_point(&parsed, first))
        };
        let (key_name, key_pem) = &pair.key;
        let key = private_key(key_name, key_pem)?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|cause| {
            let mismatch = matches!(cause, rustls::Error::InconsistentKeys(_));
            let what = if mismatch {
                format!("the key {key_name} does not belong to the certificate {name}")
            } else {
                format!("cannot use the key {key_name}: {cause}")
            };
            Error::new(Kind::Config, what).with_fix("name the key that was made for this certificate")
        })?;
        Ok(Self { names, key: Arc::new(key), end_point })
    }

    fn is_for(&self, name: &str) -> bool {
        matches_one(&self.names, name)
    }
}

/// Whether a name of a server is among those of a certificate (RFC 9525, section 6.3).
pub(crate) fn matches_one(names: &[String], name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let below = name.split_once('.').map(|(_, rest)| rest);
    names.iter().any(|known| match known.strip_prefix("*.") {
        Some(rest) => below == Some(rest),
        None => *known == name,
    })
}

/// The certificates of a PEM file.
///
/// # Errors
/// There is none, or one is damaged.
pub(crate) fn chain(name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|cause| {
        Error::new(Kind::Config, format!("{name} is damaged: {cause}")).with_fix("install it again")
    })?;
    if chain.is_empty() { Err(no_certificate(name)) } else { Ok(chain) }
}

fn no_certificate(name: &str) -> Error {
    Error::new(Kind::Config, format!("{name} holds no certificate in PEM form"))
        .with_fix("name a file with -----BEGIN CERTIFICATE-----")
}

/// The private key of a PEM file.
///
/// # Errors
/// There is none, or it is encrypted or damaged.
pub(crate) fn private_key(name: &str, pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let encrypted = memchr::memmem::find(pem, b"ENCRYPTED").is_some();
        let what = if encrypted { "is encrypted" } else { "holds no private key in PEM form" };
        Error::new(Kind::Config, format!("{name} {what}"))
            .with_fix("name a file with -----BEGIN PRIVATE KEY-----")
    })
}

/// What a certificate says.
///
/// # Errors
/// It is damaged.
pub(crate) fn parse<'a>(name: &str, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>> {
    X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|_| {
        Error::new(Kind::Config, format!("{name} holds a damaged certificate")).with_fix("install it again")
    })
}

/// The names of servers that a certificate is for, in lower case. The subject's common name counts only without others (RFC 9525 leaves
/// it out; old certificates of local authorities have nothing else).
pub(crate) fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = alternative_names(certificate, |name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    if alternative.is_empty() { common_name(certificate).into_iter().collect() } else { alternative }
}

/// The name of the user whose certificate this is: its first e-mail address (RFC 5280, section 4.2.1.6), else the common name of its
/// subject. In certificates for mail the common name is a person's, with blanks.
pub(super) fn user_name(der: &CertificateDer<'_>) -> Option<String> {
    let certificate = parse("", der).ok()?;
    let addresses = alternative_names(&certificate, |name| match name {
        GeneralName::RFC822Name(name) => Some((*name).to_owned()),
        _ => None,
    });
    addresses.into_iter().next().or_else(|| common_name(&certificate))
}

fn alternative_names(
    certificate: &X509Certificate<'_>,
    wanted: impl Fn(&GeneralName<'_>) -> Option<String>,
) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().filter_map(wanted).collect()
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

/// RFC 5929, section 4.1: hashed with the hash of the certificate's own signature; SHA-256 instead of MD5 and SHA-1.
fn end_point(certificate: &X509Certificate<'_>, der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let algorithm = &certificate.signature_algorithm;
    let pss = match SignatureAlgorithm::try_from(algorithm) {
        Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) => {
            Some(parameters.hash_algorithm_oid().to_id_string())
        }
        _ => None,
    };
    let hash = pss.unwrap_or_else(|| algorithm.algorithm.to_id_string());
    Some(match hash.as_str() {
        // RSA, ECDSA, and the bare hash of RSASSA-PSS: MD5, SHA-1 and SHA-256.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2"
        | "1.3.14.3.2.26"
        | "2.16.840.1.101.3.4.2.1" => Sha256::digest(der).to_vec(),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" | "2.16.840.1.101.3.4.2.2" => {
            Sha384::digest(der).to_vec()
        }
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" | "2.16.840.1.101.3.4.2.3" => {
            Sha512::digest(der).to_vec()
        }
        _ => return None,
    })
}

/// Chooses for one connection, and remembers what was chosen.
#[derive(Debug)]
pub(super) struct Choice {
    certificates: Arc<Certificates>,
    chosen: AtomicUsize,
}

impl Choice {
    pub(super) const fn new(certificates: Arc<Certificates>) -> Self {
        Self { certificates, chosen: AtomicUsize::new(0) }
    }

    /// `tls-server-end-point` of what was chosen.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        self.certificates.end_point(self.chosen.load(Ordering::Relaxed))
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &CertifiedKey| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let place = self.certificates.choose(hello.server_name(), fits)?;
        self.chosen.store(place, Ordering::Relaxed);
        self.certificates.0.get(place).map(|certificate| Arc::clone(&certificate.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9525, section 6.3.
    #[test]
    fn a_star_stands_for_one_label() {
        let names = ["mail.example.org".to_owned(), "*.example.net".to_owned()];
        for (name, good) in [
            ("mail.example.org", true),
            ("MAIL.example.ORG.", true),
            ("pop.example.net", true),
            ("example.net", false),
            ("a.pop.example.net", false),
            ("example.org", false),
        ] {
            assert_eq!(matches_one(&names, name), good, "{name}");
        }
    }

    /// RFC 5929, section 4.1: the hash is that of the signature.
    #[test]
    fn the_end_point_is_hashed_with_the_signatures_hash() {
        for (algorithm, octets) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let made = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            let der = made.self_signed(&key).unwrap().der().clone();
            let found = end_point(&parse("a", &der).unwrap(), &der);
            assert_eq!(found.map(|hash| hash.len()), octets);
        }
    }

    #[test]
    fn a_users_name_is_the_address_or_the_common_name() {
        let name = |addresses: &[&str], common: &str| {
            let mut made = rcgen::CertificateParams::default();
            made.distinguished_name.push(rcgen::DnType::CommonName, common);
            made.subject_alt_names = addresses
                .iter()
                .map(|address| rcgen::SanType::Rfc822Name((*address).try_into().unwrap()))
                .collect();
            let key = rcgen::KeyPair::generate().unwrap();
            user_name(made.self_signed(&key).unwrap().der())
        };
        assert_eq!(name(&["ann@example.org", "other@example.org"], "Ann B").unwrap(), "ann@example.org");
        assert_eq!(name(&[], "ann").unwrap(), "ann");
    }
}

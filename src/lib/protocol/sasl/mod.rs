//! SASL (RFC 4422) as POP3 uses it (RFC 5034). Pure.

/// What an encrypted connection adds to logins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The protocol's version, such as `TLSv1.3`.
    pub version: String,
    /// The channel binding `tls-exporter` (RFC 9266); `None` where it must not be used (TLS 1.2 without extended
    /// master secret).
    pub exporter: Option<[u8; 32]>,
    /// The channel binding `tls-server-end-point` (RFC 5929, section 4): the hash of the server's certificate.
    pub end_point: Option<Vec<u8>>,
    /// The user whom the client's certificate names, when it was asked for and is good.
    pub client_name: Option<String>,
}

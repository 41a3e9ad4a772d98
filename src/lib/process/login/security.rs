//! TLS of a login process: where its certificates and keys come from, and when they are put to use.

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::transport::tls::files::Material;
use crate::transport::tls::{Acceptor, Tls};
use std::fs::File;
use std::time::Duration;

/// What there is of TLS.
pub(super) enum Security {
    /// Nothing is configured, or it cannot be used.
    None,
    /// Read while the process was root, and not looked at: most connections under inetd never ask for it.
    Unopened(Material),
    /// Ready.
    Ready(Box<Acceptor>),
}

impl Security {
    /// What the configuration names, for one connection. Called with root's rights where there are any.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn read(config: &Config) -> Result<Self> {
        Ok(Material::read(config)?.map_or(Self::None, Self::Unopened))
    }

    /// What the monitor's child has read and checked for a whole generation, so long ago.
    ///
    /// # Errors
    /// It is damaged.
    pub(super) fn take(sealed: Option<&File>, age: Duration, config: &Config) -> Result<Self> {
        let Some(file) = sealed else { return Ok(Self::None) };
        let acceptor = Acceptor::new(&Material::take(file)?, config.tls.min_version, age)?;
        Ok(Self::Ready(Box::new(acceptor)))
    }

    /// Whether clients can have it.
    pub(super) const fn is_there(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The server's side of a connection that begins.
    ///
    /// # Errors
    /// Certificates or keys cannot be used; it is not there from then on.
    pub(super) fn begin(&mut self, config: &Config) -> Result<Tls> {
        if let Self::Unopened(material) = self {
            let made = Acceptor::new(material, config.tls.min_version, Duration::ZERO);
            *self = Self::None;
            *self = Self::Ready(Box::new(made?));
        }
        match self {
            Self::Ready(acceptor) => acceptor.accept(),
            _ => Err(Error::new(Kind::Config, "TLS is asked for, but there is no certificate")
                .with_fix("set certificate and key under [tls]")),
        }
    }
}

//! What limits a user besides secrets: hours, networks, the time between two logins.

use crate::config::{Hours, Networks};
use std::time::Duration;

/// The limits of a user; `None`: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// When the user may log in.
    pub(crate) hours: Option<Hours>,
    /// From where.
    pub(crate) networks: Option<Networks>,
    /// From one login to the next; else `limits.login_delay`.
    pub(crate) login_delay: Option<Duration>,
}

/// A user of a backup who is limited, or retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    /// The line.
    pub(crate) place: usize,
    /// The name.
    pub(crate) user: String,
    /// How.
    pub(crate) limits: LimitsText,
    /// Whether it is for good that no login is possible.
    pub(crate) retired: bool,
}

/// The same as the database and backups have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsText {
    /// As [`Hours`] is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hours: Option<String>,
    /// As [`Networks`] is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) networks: Option<String>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) login_delay: Option<u32>,
}

impl LimitsText {
    /// What it means.
    ///
    /// # Errors
    /// It is none that this program wrote.
    pub(crate) fn parse(&self) -> Result<Limits, String> {
        Ok(Limits {
            hours: self.hours.as_deref().map(str::parse).transpose()?,
            networks: self.networks.as_deref().map(str::parse).transpose()?,
            login_delay: self.login_delay.map(|seconds| Duration::from_secs(seconds.into())),
        })
    }

    /// Whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

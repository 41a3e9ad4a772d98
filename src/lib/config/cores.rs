//! The cores of the machine, and what depends on their number.

use super::Limits;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

impl Limits {
    /// How many password checks may run at once: `max_verifications`, or twice the number of cores for 0.
    pub(crate) fn verifications(&self) -> u16 {
        if self.max_verifications > 0 {
            return self.max_verifications;
        }
        u16::try_from(cores().saturating_mul(2)).unwrap_or(u16::MAX)
    }

    /// The same, or less as long as nobody has counted the cores: there is one.
    pub(crate) fn verifications_at_least(&self) -> u16 {
        match self.max_verifications {
            0 if CORES.get().is_none() => 2,
            _ => self.verifications(),
        }
    }
}

static CORES: OnceLock<usize> = OnceLock::new();

/// The cores that this process may use. They are counted once, by a standalone server before the first fork: to do it costs more than
/// to look into the shadow database.
pub(crate) fn cores() -> usize {
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

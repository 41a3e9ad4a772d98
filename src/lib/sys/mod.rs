//! The only door to the operating system: every system call and every `unsafe` is in here.

pub(crate) mod account;
pub(crate) mod attempt;
pub(crate) mod clock;
pub(crate) mod crypt;
pub(crate) mod descriptors;
pub(crate) mod directory;
pub(crate) mod file;
pub(crate) mod held;
pub(crate) mod host;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod names;
pub(crate) mod notify;
mod ofd;
#[cfg(feature = "pam")]
pub(crate) mod pam;
pub(crate) mod pidfd;
pub(crate) mod privileges;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod queue;
pub(crate) mod random;
pub(crate) mod sandbox;
pub(crate) mod setuid;
pub(crate) mod signals;
pub(crate) mod slots;
pub(crate) mod socket;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod trace;
pub(crate) mod tty;

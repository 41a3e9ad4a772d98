//! Accounts of the system.

/// Whether this process acts as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

//! Entry points of the programs.

pub(crate) mod check;
pub(crate) mod pop3d;

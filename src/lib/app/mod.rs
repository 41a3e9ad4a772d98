//! Entry points of the programs.

pub(crate) mod pop3d;

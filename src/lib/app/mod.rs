//! Entry points of the programs.

mod check;
pub(crate) mod mailauth;
pub(crate) mod pop3d;

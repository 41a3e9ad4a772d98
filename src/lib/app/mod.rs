//! Entry points of the programs.

mod check;
mod demo;
pub(crate) mod mailauth;
pub(crate) mod pop3d;

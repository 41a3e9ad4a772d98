//! Entry points of the programs.

mod check;
mod demo;
pub(crate) mod mailauth;
pub(crate) mod mailusradm;
mod outcome;
pub(crate) mod pop3d;
mod selftest;

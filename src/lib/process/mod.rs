//! The roles: who runs as whom, with what. One file a role, and the typed messages between them.

mod books;
mod connection;
mod endings;
pub(crate) mod errand;
mod errands;
pub(crate) mod handover;
pub(crate) mod inetd;
mod intake;
pub(crate) mod live;
pub(crate) mod login;
pub(crate) mod message;
mod monitor;
mod notice;
pub(crate) mod overhaul;
mod pace;
pub(crate) mod places;
pub(crate) mod recorder;
mod relays;
mod role;
pub(crate) mod selftest;
mod sendmail;
pub(crate) mod session;
pub(crate) mod spool;
pub(crate) mod standalone;
mod vault;
mod verifier;
mod xmit;

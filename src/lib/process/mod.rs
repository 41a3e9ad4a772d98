//! The roles: who runs as whom, with what. One file a role, and the typed messages between them.

mod connection;
pub(crate) mod inetd;
mod login;
mod message;
mod monitor;
mod notice;
mod places;
mod role;
mod sendmail;
mod session;
mod spool;
mod verifier;
mod xmit;

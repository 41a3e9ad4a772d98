//! The library behind the three programs of poptools. One line per module; arrows go down only
//! (held by `tests/layers.rs`).

#![deny(unsafe_code)]

#[doc(hidden)]
pub mod fuzzing;

// Programs: wiring.
mod app;
mod cli;
mod ui;

// Processes: who runs as whom, with what.
mod process;
mod transport;

// Domain, with input and output.
mod auth;
mod history;
mod maildrop;
mod secrets;

// Pure: bytes in, bytes out; no file, socket, clock or environment.
pub mod protocol;
pub mod session;

// Ground.
mod config;
mod error;
mod log;
pub mod secret;
#[allow(unsafe_code)]
mod sys;

pub use app::mailauth::main as mailauth_main;
pub use app::mailusradm::main as mailusradm_main;
pub use app::pop3d::main as pop3d_main;
pub use cli::mailauth_command;
pub use cli::mailusradm_command;
pub use cli::pop3d_command;

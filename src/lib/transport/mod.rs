//! Streams to clients.

pub(crate) mod listen;
pub(crate) mod output;
pub(crate) mod relay;
pub(crate) mod stream;
pub(crate) mod tls;

//! The session's two machines, AUTHORIZATION and TRANSACTION (RFC 1939, sections 4 and 5). Pure.

mod bitmap;
pub use bitmap::Bitmap;

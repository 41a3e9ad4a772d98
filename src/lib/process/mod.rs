//! x
mod message;
mod notice;
mod role;
mod sendmail;

//! The protocol's bytes: lines, commands, replies, multi-line answers. Pure.

#![deny(clippy::indexing_slicing)]

pub mod capability;
pub mod command;
pub mod greeting;
pub mod header;
pub mod language;
pub mod line;
pub mod listing;
pub mod multiline;
pub mod name;
pub mod proxy;
pub mod reply;
pub mod sasl;
pub mod unstuff;

use std::num::NonZeroU32;

/// A message number as clients count: from one (RFC 1939, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MsgNo(NonZeroU32);

impl MsgNo {
    /// The first message.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// A number from one on; `None` for zero.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, from one.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The position in an array, from zero.
    pub const fn index(self) -> u32 {
        self.0.get() - 1
    }

    /// The next number; `None` after the largest.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

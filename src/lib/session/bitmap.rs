//! A bit per message.

use crate::protocol::MsgNo;

/// A set of message numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    members: u32,
}

impl Bitmap {
    /// An empty set; it grows as messages are put in.
    pub const fn new() -> Self {
        Self { words: Vec::new(), members: 0 }
    }

    /// Puts a message in; false when it was in already.
    pub fn insert(&mut self, message: MsgNo) -> bool {
        let (word, bit) = Self::place(message);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.members += u32::from(fresh);
        fresh
    }

    /// Whether the message is in the set.
    pub fn contains(&self, message: MsgNo) -> bool {
        let (word, bit) = Self::place(message);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// How many messages are in the set.
    pub const fn len(&self) -> u32 {
        self.members
    }

    /// Whether no message is in the set.
    pub const fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// Takes all messages out.
    pub fn clear(&mut self) {
        self.words.clear();
        self.members = 0;
    }

    fn place(message: MsgNo) -> (usize, u64) {
        let index = message.index();
        ((index / 64) as usize, 1 << (index % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_counts_each_message_once() {
        let mut set = Bitmap::new();
        let message = MsgNo::new(130).unwrap();
        assert!(set.insert(message));
        assert!(!set.insert(message));
        assert!(set.contains(message));
        assert!(!set.contains(MsgNo::FIRST));
        assert_eq!(set.len(), 1);
        set.clear();
        assert!(set.is_empty());
    }
}

//! How often somebody may come. Pure.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// In which time the number of a rate may come all at once.
const MINUTE: Duration = Duration::from_secs(60);

/// Those who came lately and are remembered: some megabytes. When there are more, new ones are not held up by their pace; the number of
/// connections is limited all the same.
const MOST_KNOWN: usize = 65_536;

/// Who came lately: until when each has used up its share. Who comes steadily at the rate, or with a minute's number at once and
/// then not for a minute, is never held up (the leaky bucket).
#[derive(Debug)]
pub(crate) struct Pace<K>(HashMap<K, Instant>);

impl<K: Eq + Hash> Pace<K> {
    /// Nobody came yet.
    pub(crate) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Whether one who comes now does not come too often. One who does, and is sent away, does not have to wait longer for it.
    pub(crate) fn allows(&mut self, who: K, per_minute: NonZeroU32, now: Instant) -> bool {
        if self.0.len() >= MOST_KNOWN && !self.0.contains_key(&who) {
            self.0.retain(|_, until| *until > now);
            if self.0.len() >= MOST_KNOWN {
                return true;
            }
        }
        let until = self.0.entry(who).or_insert(now);
        let next = (*until).max(now) + MINUTE / per_minute.get();
        let allowed = next <= now + MINUTE;
        if allowed {
            *until = next;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn memory_of_who_came_is_bounded() {
        let (mut pace, now, rate) = (Pace::new(), clock::now(), NonZeroU32::MIN);
        let most = u32::try_from(MOST_KNOWN).unwrap();
        assert!((0..most + 10).all(|who| pace.allows(who, rate, now)));
        assert_eq!(pace.0.len(), MOST_KNOWN);
        assert!(!pace.allows(0, rate, now), "who is known is still held up");
        assert!(pace.allows(most, rate, now + MINUTE * 2));
        assert_eq!(pace.0.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn a_steady_pace_is_never_held_up() {
        let (mut pace, start, rate) = (Pace::new(), clock::now(), NonZeroU32::new(600).unwrap());
        let comes = |pace: &mut Pace<u8>, millis| pace.allows(1, rate, start + Duration::from_millis(millis));
        assert!((0..600).all(|_| comes(&mut pace, 0)), "a minute's number at once");
        assert!(!comes(&mut pace, 0) && !comes(&mut pace, 99));
        assert!((1..2000).all(|turn| comes(&mut pace, turn * 100)), "and then every tenth of a second");
    }
}

//! How many bytes of events may be under way.

use crate::files::unpoisoned;
use std::{
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

/// Bytes that are under way, at most so many. One batch always fits.
#[derive(Debug)]
pub(super) struct Room {
    limit: usize,
    taken: Mutex<usize>,
    given_back: Condvar,
}

impl Room {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, taken: Mutex::new(0), given_back: Condvar::new() }
    }

    /// Takes room for `bytes`, waiting for it at most for `patience`.
    pub(super) fn take(&self, bytes: usize, patience: Duration) -> bool {
        let fits = |taken: usize| taken == 0 || taken + bytes <= self.limit;
        let taken = unpoisoned(self.taken.lock());
        let waited = self.given_back.wait_timeout_while(taken, patience, |taken| !fits(*taken));
        let (mut taken, _) = unpoisoned(waited);
        if fits(*taken) {
            *taken += bytes;
            return true;
        }
        false
    }

    pub(super) fn give_back(&self, bytes: usize) {
        let mut taken = unpoisoned(self.taken.lock());
        *taken = taken.saturating_sub(bytes);
        self.given_back.notify_all();
    }

    /// Waits until `is_reached`, which is asked again whenever room was given back; says whether it came to that before the deadline.
    pub(super) fn wait_until(&self, deadline: Instant, mut is_reached: impl FnMut() -> bool) -> bool {
        let mut taken = unpoisoned(self.taken.lock());
        loop {
            if is_reached() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            taken = unpoisoned(self.given_back.wait_timeout(taken, left)).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_but_for_one_batch() {
        let room = Room::new(10);
        assert!(room.take(50, Duration::ZERO));
        assert!(!room.take(1, Duration::from_millis(1)));
        room.give_back(50);
        assert!(
            room.take(6, Duration::ZERO) && room.take(4, Duration::ZERO) && !room.take(1, Duration::ZERO)
        );
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                room.give_back(6);
            });
            assert!(room.take(5, Duration::from_secs(20)));
        });
        assert!(!room.wait_until(Instant::now(), || false));
        assert!(room.wait_until(Instant::now(), || true));
    }
}

//! How many requests a destination gets at once: more while it answers well, half when it does not.

use crate::files::unpoisoned;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Additive increase, multiplicative decrease: as TCP finds its share of a link.
#[derive(Debug)]
pub(super) struct Throttle {
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    max: usize,
    /// Good answers since the limit was changed.
    good: usize,
    /// Permits to be taken away as soon as they come back.
    owed: usize,
}

impl Throttle {
    /// Begins with two requests at once, and never has more than `max`.
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        let limit = max.min(2);
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            state: Mutex::new(State { limit, max, good: 0, owed: 0 }),
        }
    }

    /// Waits for a request's turn.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// The request whose turn this was is answered.
    pub(super) fn answered(&self, turn: Option<OwnedSemaphorePermit>, is_well: bool) {
        let mut state = unpoisoned(self.state.lock());
        if is_well {
            state.good += 1;
            if state.good >= state.limit && state.limit < state.max {
                (state.limit, state.good) = (state.limit + 1, 0);
                if state.owed > 0 {
                    state.owed -= 1;
                } else {
                    self.permits.add_permits(1);
                }
            }
        } else {
            let halved = (state.limit / 2).max(1);
            state.owed += state.limit - halved;
            (state.limit, state.good) = (halved, 0);
        }
        if state.owed > 0
            && let Some(turn) = turn
        {
            turn.forget();
            state.owed -= 1;
        }
    }

    /// How many at once now.
    pub(super) fn limit(&self) -> usize {
        unpoisoned(self.state.lock()).limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_grows_by_one_and_shrinks_by_half() {
        let throttle = Throttle::new(8);
        for _ in 0..100 {
            let turn = throttle.turn().await;
            throttle.answered(turn, true);
        }
        assert_eq!((throttle.limit(), throttle.permits.available_permits()), (8, 8));
        let turns = futures::future::join_all((0..8).map(|_| throttle.turn())).await;
        let mut turns = turns.into_iter();
        throttle.answered(turns.next().unwrap(), false);
        assert_eq!(throttle.limit(), 4);
        turns.for_each(|turn| throttle.answered(turn, true));
        let limit = throttle.limit();
        assert_eq!(throttle.permits.available_permits(), limit);
        for _ in 0..10 {
            throttle.answered(throttle.turn().await, false);
        }
        assert_eq!((throttle.limit(), throttle.permits.available_permits()), (1, 1));
    }
}

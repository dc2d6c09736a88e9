//! When and how long to wait before the next try.

use crate::error::Error;
use rand::RngExt;
use std::time::Duration;

/// Exponential back-off with full jitter: before try `n + 1` it waits a random time between zero and `base * 2^(n-1)`, at most
/// `cap`, and never less than the error asked for.
///
/// Full jitter spreads callers that failed together, so that they do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many times it is tried in all, at least 1. Default: 5.
    pub attempts: u32,
    /// The bound of the first wait. Default: 200 ms.
    pub base: Duration,
    /// The bound of all waits. Default: 20 s.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 5, base: Duration::from_millis(200), cap: Duration::from_secs(20) }
    }
}

impl RetryPolicy {
    /// Tries once.
    pub const fn never() -> Self {
        Self { attempts: 1, base: Duration::ZERO, cap: Duration::ZERO }
    }

    /// Tries `attempts` times in all.
    pub fn attempts(attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..Self::default() }
    }

    /// How long to wait after try `attempt` (from 1) failed with `error`; `None`: give up.
    pub fn wait(&self, attempt: u32, error: &Error) -> Option<Duration> {
        if attempt >= self.attempts || !error.is_retryable() {
            return None;
        }
        let bound = self.base.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(self.cap);
        let share = rand::rng().random_range(0.0..=1.0);
        // Rounding the greatest duration to a float is more than a duration holds.
        let jittered = Duration::try_from_secs_f64(bound.as_secs_f64() * share).unwrap_or(bound);
        Some(jittered.max(error.requested_wait().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waits_are_bounded_and_end(attempt in 1_u32..200, cap in prop_oneof![Just(20), Just(u64::MAX)]) {
            let cap = Duration::from_secs(cap);
            let policy = RetryPolicy { attempts: 100, cap, base: cap / 100 };
            let wait = policy.wait(attempt, &Error::new(ErrorKind::Unavailable, "down"));
            prop_assert_eq!(wait.is_some(), attempt < 100);
            prop_assert!(wait.unwrap_or_default() <= policy.cap);
        }
    }

    #[test]
    fn the_error_has_the_last_word() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.wait(1, &Error::invalid("wrong")), None);
        let throttled = Error::new(ErrorKind::Exhausted, "slow down").retry_after(Duration::from_secs(60));
        assert_eq!(policy.wait(1, &throttled), Some(Duration::from_secs(60)));
    }
}

//! Waiting for AWS: polling that backs off, tolerates what passes, and ends.

use crate::api::{ApiError, ApiErrorKind, ApiResult};
use platform_core::{Error, ErrorKind, Result, event::Progress};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, sleep_until},
};

/// How many reads in a row may fail in passing before a wait gives up.
const TOLERATED: u32 = 10;
/// How long is told nothing new before the state is told again.
const REMINDER: Duration = Duration::from_secs(60);

/// How often AWS is asked whether something is done. Cheap to clone; clones share their rate.
///
/// AWS publishes no rates for EKS; for EC2 it allows 20 reads a second and 100 at once. All waits of a provider together read at most 5 times a
/// second, each first after a second, then half as often each time, until once in 20 seconds.
#[derive(Debug, Clone)]
pub struct Polling {
    /// How long the first wait is.
    pub first: Duration,
    /// How long waits become.
    pub cap: Duration,
    spacing: Duration,
    next: Arc<Mutex<Instant>>,
}

impl Default for Polling {
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(20), Duration::from_millis(200))
    }
}

impl Polling {
    /// Waits from `first` to `cap`, and `spacing` between the reads of all waits.
    pub fn new(first: Duration, cap: Duration, spacing: Duration) -> Self {
        Self { first, cap, spacing, next: Arc::new(Mutex::new(Instant::now())) }
    }

    async fn turn(&self) {
        let at = {
            let mut next = self.next.lock().await;
            let at = (*next).max(Instant::now());
            *next = at + self.spacing;
            at
        };
        sleep_until(at).await;
    }

    /// The wait after `done` waits.
    fn wait(&self, done: u32) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(done)).min(self.cap)
    }
}

/// What a read found.
#[derive(Debug)]
pub(crate) enum State<T> {
    /// What was waited for.
    Done(T),
    /// Not yet: the state, in AWS' word.
    Pending(String),
}

/// Who waits, for what, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter<'a> {
    pub(crate) polling: &'a Polling,
    pub(crate) progress: &'a Progress,
    pub(crate) deadline: Duration,
}

impl Waiter<'_> {
    /// Reads until it is done. The first read is after the first wait: what waits has just been asked for.
    pub(crate) async fn until<T, F>(&self, what: &str, read: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<State<T>>>,
    {
        let started = Instant::now();
        let (mut waits, mut failures) = (0, 0);
        let mut told: Option<(String, Instant)> = None;
        loop {
            let wait = self.polling.wait(waits);
            if started.elapsed() + wait > self.deadline {
                let state = told.map_or_else(|| "not known".to_owned(), |(state, _)| state);
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format!("{what} is {state} after {} s", started.elapsed().as_secs()),
                )
                .help("run it again: it goes on where this run ended"));
            }
            sleep(wait).await;
            self.polling.turn().await;
            waits += 1;
            match read().await {
                Ok(State::Done(value)) => return Ok(value),
                Ok(State::Pending(state)) => {
                    failures = 0;
                    let news = match &told {
                        Some((former, at)) => *former != state || at.elapsed() >= REMINDER,
                        None => true,
                    };
                    if news {
                        self.progress.report(format!("{what}: {state}, {} s", started.elapsed().as_secs()));
                        told = Some((state, Instant::now()));
                    }
                }
                Err(error) if error.is_retryable() && failures < TOLERATED => {
                    failures += 1;
                    tracing::debug!(%error, what, "a read failed while waiting");
                    if let Some(wait) = error.requested_wait() {
                        sleep(wait.min(self.polling.cap)).await;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls until AWS takes it: what is in use becomes free, roles become known everywhere, rates recover. `known` says what else passes.
    pub(crate) async fn settle<T, F>(
        &self,
        what: &str,
        known: impl Fn(&ApiError) -> bool,
        call: impl Fn() -> F,
    ) -> Result<T>
    where
        F: Future<Output = ApiResult<T>>,
    {
        let started = Instant::now();
        let mut waits = 0;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let passes = matches!(error.kind, ApiErrorKind::InUse | ApiErrorKind::Throttled) || known(&error);
            let wait = self.polling.wait(waits);
            if !passes || started.elapsed() + wait > self.deadline {
                return Err(Error::from(error).subject(what));
            }
            tracing::debug!(%error, what, "AWS is not ready for a call");
            self.progress.report(format!("{what}: waiting until AWS takes it ({})", error.message));
            sleep(wait).await;
            waits += 1;
        }
    }
}

/// IAM tells its news to others with delay: a role that was made just now is said not to exist, or not to be assumable.
pub(crate) fn is_role_not_known_yet(error: &ApiError) -> bool {
    let message = error.message.to_ascii_lowercase();
    error.kind == ApiErrorKind::Invalid
        && (message.contains("role") || message.contains("principal"))
        && [
            "does not exist",
            "cannot be assumed",
            "could not be assumed",
            "can't be assumed",
            "invalid principal",
            "not exist",
        ]
        .iter()
        .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn error(kind: ApiErrorKind) -> ApiError {
        ApiError::new(kind, "eks:DescribeCluster", "said so")
    }

    async fn waits<F>(deadline: Duration, read: impl Fn() -> F) -> (Result<()>, Duration)
    where
        F: Future<Output = Result<State<()>>>,
    {
        let (polling, progress) = (Polling::default(), Progress::silent());
        let started = Instant::now();
        let done = Waiter { polling: &polling, progress: &progress, deadline }.until("cluster a", read).await;
        (done, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_and_what_passes_is_tolerated() {
        let reads = AtomicU32::new(0);
        let (done, took) = waits(Duration::from_secs(600), || async {
            match reads.fetch_add(1, Ordering::SeqCst) {
                8 => Ok(State::Done(())),
                3 | 4 => Err(error(ApiErrorKind::Transient).into()),
                _ => Ok(State::Pending("CREATING".to_owned())),
            }
        })
        .await;
        done.unwrap();
        assert_eq!(took.as_secs(), 1 + 2 + 4 + 8 + 16 + 20 * 4);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_end() {
        let (done, took) =
            waits(Duration::from_secs(60), || async { Ok(State::Pending("CREATING".to_owned())) }).await;
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("cluster a is CREATING after"), "{error}");
        assert!(took <= Duration::from_secs(60));
        let (done, _) =
            waits(Duration::from_secs(9000), || async { Err(self::error(ApiErrorKind::Transient).into()) })
                .await;
        assert_eq!(done.unwrap_err().kind(), ErrorKind::Unavailable);
        let (done, _) =
            waits(Duration::from_secs(9000), || async { Err(self::error(ApiErrorKind::Denied).into()) })
                .await;
        assert_eq!(done.unwrap_err().kind(), ErrorKind::Denied);
    }

    #[tokio::test(start_paused = true)]
    async fn all_waits_share_a_rate() {
        let polling =
            Polling::new(Duration::from_millis(1), Duration::from_millis(1), Duration::from_millis(200));
        let started = Instant::now();
        let turns = (0..20).map(|_| polling.turn());
        futures::future::join_all(turns).await;
        assert!(started.elapsed() >= Duration::from_millis(19 * 200));
    }

    #[test]
    fn roles_that_are_new_are_waited_for() {
        let say = |message: &str| ApiError::new(ApiErrorKind::Invalid, "eks:CreateCluster", message);
        assert!(is_role_not_known_yet(&say(
            "Role with arn: arn:aws:iam::1:role/a, could not be assumed because it does not exist"
        )));
        assert!(is_role_not_known_yet(&say("The specified principalArn is invalid: invalid principal.")));
        assert!(!is_role_not_known_yet(&say("unsupported Kubernetes version 1.2")));
    }
}

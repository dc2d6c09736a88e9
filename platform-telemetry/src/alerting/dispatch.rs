//! Telling one notifier, in order, with retries and deadlines.

use futures::FutureExt;
use platform_core::{
    Error, ErrorKind, Result,
    alert::{Notification, Notifier},
    execution::RetryPolicy,
    telemetry::Labels,
};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// An alert, by the position of its rule and its labels.
pub(super) type AlertKey = (usize, Labels);

/// A notification that waits for its turn.
#[derive(Debug)]
pub(super) struct Job {
    /// Which of all.
    pub(super) number: u64,
    pub(super) notification: Notification,
    /// The keys of the notification's alerts, in their order.
    pub(super) alerts: Vec<AlertKey>,
}

/// What became of a call.
pub(super) enum Outcome<'a> {
    /// It failed and will be made again.
    Retrying(&'a Error),
    /// The notifier was told, or was not and will not be.
    Ended(&'a Job, Result<()>),
}

/// How calls are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls {
    pub(super) deadline: Duration,
    pub(super) retry: RetryPolicy,
}

/// Makes the calls of one notifier until the queue is closed and empty; says what becomes of each.
pub(super) async fn deliver_all(
    notifier: Arc<dyn Notifier>,
    mut queue: mpsc::Receiver<Job>,
    calls: Calls,
    tell: impl Fn(Outcome<'_>) + Send,
) {
    while let Some(job) = queue.recv().await {
        let outcome = deliver(&*notifier, &job.notification, calls, &tell).await;
        match &outcome {
            Ok(()) => {
                tracing::debug!(notifier = notifier.name(), alerts = job.alerts.len(), "told of alerts");
            }
            Err(error) => {
                tracing::error!(notifier = notifier.name(), alerts = job.alerts.len(), %error, "alerts could not be told");
            }
        }
        tell(Outcome::Ended(&job, outcome));
    }
}

async fn deliver(
    notifier: &dyn Notifier,
    notification: &Notification,
    calls: Calls,
    tell: &impl Fn(Outcome<'_>),
) -> Result<()> {
    let mut attempt = 1;
    loop {
        let error = match call(notifier, notification, calls.deadline).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let Some(wait) = calls.retry.wait(attempt, &error) else {
            let attempts = if attempt == 1 { "once".to_owned() } else { format!("{attempt} times") };
            return Err(Error::new(error.kind(), format!("tried {attempts}")).source(error));
        };
        tracing::warn!(notifier = notifier.name(), attempt, ?wait, %error, "a notifier failed and is tried again");
        tell(Outcome::Retrying(&error));
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
}

/// One call: late is failed, and so is a panic, which must not end the deliveries to come.
async fn call(notifier: &dyn Notifier, notification: &Notification, deadline: Duration) -> Result<()> {
    let call = AssertUnwindSafe(notifier.notify(notification)).catch_unwind();
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Error::internal("the notifier panicked")),
        Err(_) => {
            Err(Error::new(ErrorKind::Timeout, format!("no answer within {deadline:?}")).retryable(true))
        }
    }
    .map_err(|error| error.operation("notify").subject(notifier.name()))
}

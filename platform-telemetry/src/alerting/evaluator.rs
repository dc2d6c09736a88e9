//! The evaluations: at an interval, all rules are asked, what is new goes to the notifiers' queues, and the state to the store.

use super::{
    dispatch::{AlertKey, Job, Outcome},
    history,
    state::Shared,
};
use platform_core::{
    Error, ErrorKind, Result,
    alert::{Alert, Notification},
    clock::{Clock, Timestamp},
    telemetry::{Batch, MetricQuery, TelemetryStore},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long one query or write may take.
const STORE_DEADLINE: Duration = Duration::from_secs(30);
/// Notifications that may wait for one notifier.
pub(super) const QUEUE: usize = 64;

/// Evaluates and hands over.
pub(super) struct Evaluator {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Arc<dyn TelemetryStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) platform: String,
    pub(super) console_url: Option<String>,
    pub(super) interval: Duration,
    pub(super) repeat_interval: Duration,
    pub(super) queues: Vec<mpsc::Sender<Job>>,
}

impl Evaluator {
    pub(super) async fn run(self, shutdown: CancellationToken) {
        loop {
            let wait = self.clock.now().since(Timestamp::default()).as_millis() % self.interval.as_millis();
            let wait = self.interval.saturating_sub(Duration::from_millis(wait as u64));
            let due = tokio::time::sleep(wait);
            tokio::pin!(due);
            // A delivery does not put the evaluation off.
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = &mut due => break,
                    () = self.shared.delivered() => self.note_deliveries().await,
                }
            }
            // Not cancelled: what an evaluation has changed must reach the queues and the store.
            self.evaluate().await;
        }
    }

    /// Writes down who was told, so that an engine after a crash does not tell them again.
    async fn note_deliveries(&self) {
        let told = self.shared.lock().notified(self.clock.now());
        if !told.is_empty() {
            self.shared.stored(write(&*self.store, Batch::samples(told)).await);
        }
    }

    /// Takes up what a former engine left.
    pub(super) async fn recall(&self) {
        let now = self.clock.now();
        let definitions: Vec<_> =
            self.shared.lock().rules.iter().map(|record| record.rule.definition.clone()).collect();
        for (i, rule) in definitions.iter().enumerate() {
            let (alerts, told) = match within(history::recall(&*self.store, rule, now)).await {
                Ok(remembered) => remembered,
                Err(error) => {
                    tracing::error!(alert = rule.name, %error, "the former state of an alert cannot be read; it begins anew");
                    self.shared.lock().store_failures += 1;
                    continue;
                }
            };
            self.shared.lock().restore(i, alerts, &told, now);
        }
    }

    /// Evaluates all rules for the last multiple of the interval, unless that has been done.
    pub(super) async fn evaluate(&self) {
        let interval = i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX);
        let now = self.clock.now().as_millis();
        let at = Timestamp::from_millis(now - now.rem_euclid(interval));
        let definitions: Vec<_> = {
            let mut state = self.shared.lock();
            match state.last_evaluation.replace(at) {
                Some(last) if last == at => return,
                Some(last) if at < last => {
                    let by = last.since(at);
                    tracing::warn!(
                        ?by,
                        "the clock was set back; alerts keep the time that has passed for them"
                    );
                    state.rewind(by);
                }
                _ => {}
            }
            state.rules.iter().map(|record| record.rule.definition.expression.clone()).collect()
        };
        let mut batch = Batch::default();
        let mut resolved = Vec::new();
        for (i, expression) in definitions.into_iter().enumerate() {
            let began = Instant::now();
            let query = MetricQuery::instant(expression, at);
            let answer = within(self.store.query(&query)).await;
            let mut state = self.shared.lock();
            let ended = state.advance(i, answer, at, began.elapsed(), &mut batch);
            resolved.extend(ended.into_iter().map(|alert| (i, alert)));
        }
        for (i, queue) in self.queues.iter().enumerate() {
            let (number, due) = self.shared.lock().due(i, &resolved, at, self.repeat_interval, &mut batch);
            self.enqueue(i, queue, number, due, at);
        }
        batch.samples.extend(self.shared.lock().notified(at));
        if !batch.is_empty() {
            self.shared.stored(write(&*self.store, batch).await);
        }
    }

    fn enqueue(
        &self,
        i: usize,
        queue: &mpsc::Sender<Job>,
        number: u64,
        due: Vec<(AlertKey, Alert)>,
        at: Timestamp,
    ) {
        if due.is_empty() {
            return;
        }
        let (keys, alerts) = due.into_iter().unzip();
        let console_url = self.console_url.clone();
        let notification = Notification { platform: self.platform.clone(), at, alerts, console_url };
        if let Some(notifier) = self.shared.lock().notifiers.get_mut(i) {
            notifier.queued += 1;
        }
        if let Err(refused) = queue.try_send(Job { number, notification, alerts: keys }) {
            let job = refused.into_inner();
            let error = Error::new(ErrorKind::Exhausted, format!("{QUEUE} notifications wait already"));
            tracing::error!(alerts = job.alerts.len(), %error, "alerts could not be told");
            self.shared.told(i, Outcome::Ended(&job, Err(error)), self.clock.now());
        }
    }
}

pub(super) async fn write(store: &dyn TelemetryStore, batch: Batch) -> Result<()> {
    within(store.write(batch)).await
}

/// Bounds a call of the store.
async fn within<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(STORE_DEADLINE, call).await {
        Ok(outcome) => outcome,
        Err(_) => {
            Err(Error::new(ErrorKind::Timeout, format!("the store did not answer within {STORE_DEADLINE:?}")))
        }
    }
}

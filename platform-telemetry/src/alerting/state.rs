//! What the evaluations, the deliveries and the monitors share: how alerts stand and who knows of them.

use super::{
    dispatch::{AlertKey, Outcome},
    history,
    rule::{Remembered, Rule},
    status::{AlertStatus, NotifierStatus, RuleStatus},
};
use platform_core::{
    Result,
    alert::{Alert, AlertRule, AlertState},
    clock::Timestamp,
    telemetry::{Batch, Sample, Series},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// After how long a notifier that could not be told is told again: Alertmanager's `group_interval`.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(300);
/// How many times a notifier is told that an alert is resolved: for about an hour.
const RESOLUTION_ATTEMPTS: u32 = 12;
/// How many resolved alerts are kept for [`AlertStatus::resolved`].
const RESOLVED: usize = 100;

/// What the evaluations, the deliveries and the monitors share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes who writes down that a notifier was told.
    delivered: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) rules: Vec<RuleRecord>,
    pub(super) notifiers: Vec<NotifierStatus>,
    told: BTreeMap<(usize, AlertKey), Told>,
    untold: BTreeMap<(usize, AlertKey), Resolution>,
    /// How many jobs there were.
    jobs: u64,
    resolved: VecDeque<Alert>,
    pub(super) last_evaluation: Option<Timestamp>,
    pub(super) store_failures: u64,
    clock_setbacks: u64,
}

#[derive(Debug)]
pub(super) struct RuleRecord {
    pub(super) rule: Rule,
    fired: u64,
    evaluations: u64,
    failures: u64,
    last_error: Option<String>,
    pub(super) last_evaluation: Option<Timestamp>,
    last_duration: Duration,
}

/// What a notifier knows of an alert that fires.
#[derive(Debug, Default)]
struct Told {
    /// The job that tells of it. The end of a former one, of before it was resolved, says nothing.
    queued: Option<u64>,
    delivered: Option<Timestamp>,
    failed: Option<Timestamp>,
}

/// That an alert was resolved, which a notifier could not be told.
#[derive(Debug)]
struct Resolution {
    alert: Alert,
    queued: bool,
    failed: Timestamp,
    attempts: u32,
}

impl Told {
    fn is_due(&self, at: Timestamp, repeat_interval: Duration) -> bool {
        let since = |moment: Option<Timestamp>| moment.map(|moment| at.since(moment));
        self.queued.is_none()
            && since(self.delivered).is_none_or(|passed| passed >= repeat_interval)
            && since(self.failed).is_none_or(|passed| passed >= AGAIN_AFTER_FAILURE.min(repeat_interval))
    }
}

impl RuleRecord {
    fn new(definition: AlertRule) -> Self {
        Self {
            rule: Rule::new(definition),
            fired: 0,
            evaluations: 0,
            failures: 0,
            last_error: None,
            last_evaluation: None,
            last_duration: Duration::ZERO,
        }
    }
}

impl Shared {
    pub(super) fn begin(&self, rules: Vec<AlertRule>, notifiers: impl Iterator<Item = String>) {
        *self.lock() = State {
            rules: rules.into_iter().map(RuleRecord::new).collect(),
            notifiers: notifiers.map(|name| NotifierStatus { name, ..Default::default() }).collect(),
            ..State::default()
        };
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a delivery since the last call.
    pub(super) async fn delivered(&self) {
        self.delivered.notified().await;
    }

    pub(super) fn status(&self) -> AlertStatus {
        let state = self.lock();
        AlertStatus {
            rules: state.rules.iter().map(RuleRecord::status).collect(),
            active: state.rules.iter().flat_map(|record| record.rule.active().cloned()).collect(),
            resolved: state.resolved.iter().cloned().collect(),
            notifiers: state.notifiers.clone(),
            store_failures: state.store_failures,
            clock_setbacks: state.clock_setbacks,
        }
    }

    /// Notes what became of a call of notifier `i`.
    pub(super) fn told(&self, i: usize, outcome: Outcome<'_>, now: Timestamp) {
        let mut state = self.lock();
        let State { notifiers, told, untold, .. } = &mut *state;
        let Some(notifier) = notifiers.get_mut(i) else { return };
        let (job, outcome) = match outcome {
            Outcome::Retrying(error) => {
                notifier.retried += 1;
                notifier.last_error = Some(error.to_string());
                return;
            }
            Outcome::Ended(job, outcome) => (job, outcome),
        };
        notifier.queued = notifier.queued.saturating_sub(1);
        let delivered = outcome.is_ok();
        notifier.last_error = outcome.err().map(|error| error.to_string());
        if delivered {
            notifier.delivered += 1;
            notifier.last_delivery = Some(now);
        } else {
            notifier.failed += 1;
        }
        for (key, alert) in job.alerts.iter().zip(&job.notification.alerts) {
            let key = (i, key.clone());
            if alert.state == AlertState::Resolved {
                if delivered || told.contains_key(&key) {
                    // Known, or no longer true.
                    untold.remove(&key);
                } else {
                    note_untold(untold, key, alert, now);
                }
            } else if let Some(told) = told.get_mut(&key)
                && told.queued == Some(job.number)
            {
                told.queued = None;
                if delivered {
                    (told.delivered, told.failed) = (Some(now), None);
                    self.delivered.notify_one();
                } else {
                    told.failed = Some(now);
                }
            }
        }
    }

    /// Counts what is queued as failed.
    pub(super) fn give_up(&self) {
        for notifier in &mut self.lock().notifiers {
            if notifier.queued > 0 {
                tracing::error!(
                    notifier = notifier.name,
                    notifications = notifier.queued,
                    "stopped before all was told"
                );
                notifier.failed += std::mem::take(&mut notifier.queued);
                notifier.last_error = Some("stopped before all was told".to_owned());
            }
        }
    }

    pub(super) fn stored(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            tracing::error!(%error, "the state of alerts could not be stored");
            self.lock().store_failures += 1;
        }
    }
}

/// Notes that a notifier could not be told of a resolved alert, to be tried again unless that has been done often enough.
fn note_untold(
    untold: &mut BTreeMap<(usize, AlertKey), Resolution>,
    key: (usize, AlertKey),
    alert: &Alert,
    now: Timestamp,
) {
    let attempts = untold.remove(&key).map_or(0, |former| former.attempts) + 1;
    if attempts < RESOLUTION_ATTEMPTS {
        untold.insert(key, Resolution { alert: alert.clone(), queued: false, failed: now, attempts });
    }
}

impl RuleRecord {
    fn status(&self) -> RuleStatus {
        RuleStatus {
            rule: self.rule.definition.clone(),
            state: self.rule.state(),
            fired: self.fired,
            evaluations: self.evaluations,
            failures: self.failures,
            last_error: self.last_error.clone(),
            last_evaluation: self.last_evaluation,
            last_duration: self.last_duration,
        }
    }
}

impl State {
    /// Takes up what a former engine left of rule `i`.
    pub(super) fn restore(
        &mut self,
        i: usize,
        alerts: Vec<Remembered>,
        told: &[history::Told],
        now: Timestamp,
    ) {
        let Some(record) = self.rules.get_mut(i) else { return };
        for alert in alerts {
            record.rule.restore(alert, now);
        }
        for told in told {
            let fires = |alert: &Alert| alert.state == AlertState::Firing && alert.labels == told.labels;
            let notifier = self.notifiers.iter().position(|notifier| notifier.name == told.notifier);
            if let Some(notifier) = notifier
                && record.rule.active().any(fires)
            {
                let delivered = Some(told.at.min(now));
                let key = (notifier, (i, told.labels.clone()));
                self.told.insert(key, Told { delivered, ..Told::default() });
            }
        }
    }

    /// The samples that say who knows of which alert.
    pub(super) fn notified(&self, at: Timestamp) -> Vec<Sample> {
        let sample = |((notifier, (rule, labels)), told): (&(usize, AlertKey), &Told)| {
            let rule = &self.rules.get(*rule)?.rule.definition;
            let notifier = &self.notifiers.get(*notifier)?.name;
            Some(history::notified(rule, labels, notifier, Some(told.delivered?), at))
        };
        self.told.iter().filter_map(sample).collect()
    }

    /// Moves everything back after the clock was set back.
    pub(super) fn rewind(&mut self, by: Duration) {
        self.clock_setbacks += 1;
        for record in &mut self.rules {
            record.rule.rewind(by);
        }
        for told in self.told.values_mut() {
            for moment in [&mut told.delivered, &mut told.failed].into_iter().flatten() {
                *moment = *moment - by;
            }
        }
        for resolution in self.untold.values_mut() {
            resolution.failed = resolution.failed - by;
        }
    }

    /// Takes the answer to rule `i` and puts what there is to remember of it into `batch`.
    pub(super) fn advance(
        &mut self,
        i: usize,
        answer: Result<Vec<Series>>,
        at: Timestamp,
        took: Duration,
        batch: &mut Batch,
    ) -> Vec<Alert> {
        let Some(record) = self.rules.get_mut(i) else { return Vec::new() };
        record.evaluations += 1;
        (record.last_evaluation, record.last_duration) = (Some(at), took);
        let changes = match answer.and_then(|answer| record.rule.advance(&answer, at)) {
            Ok(changes) => changes,
            Err(error) => {
                let alert = &record.rule.definition.name;
                tracing::warn!(alert, %error, "an alert rule could not be evaluated");
                record.failures += 1;
                record.last_error = Some(error.to_string());
                return Vec::new();
            }
        };
        record.last_error = None;
        record.fired += changes.fired.len() as u64;
        for (labels, left) in &changes.left {
            let goes_on =
                *left == AlertState::Pending && changes.fired.iter().any(|alert| alert.labels == *labels);
            batch.samples.extend(history::ended(&record.rule.definition, labels, *left, goes_on, at));
        }
        batch.samples.extend(record.rule.active().flat_map(|alert| history::active(alert, at)));
        batch
            .logs
            .extend(changes.fired.iter().chain(&changes.resolved).map(|alert| history::record(alert, at)));
        for alert in &changes.resolved {
            self.resolved.push_front(alert.clone());
        }
        self.resolved.truncate(RESOLVED);
        changes.resolved
    }

    /// The alerts that notifier `i` must be told of, given what was resolved just now; they count as queued from now on,
    /// by the job of the number that comes first.
    pub(super) fn due(
        &mut self,
        i: usize,
        resolved: &[(usize, Alert)],
        at: Timestamp,
        repeat_interval: Duration,
        batch: &mut Batch,
    ) -> (u64, Vec<(AlertKey, Alert)>) {
        self.jobs += 1;
        let mut due = Vec::new();
        for (rule, record) in self.rules.iter().enumerate() {
            let firing = record.rule.active().filter(|alert| alert.state == AlertState::Firing);
            // One that was restored and not seen since has no value.
            for alert in firing.filter(|alert| !alert.value.is_nan()) {
                let key = (rule, alert.labels.clone());
                self.untold.remove(&(i, key.clone()));
                let told = self.told.entry((i, key.clone())).or_default();
                if told.is_due(at, repeat_interval) {
                    told.queued = Some(self.jobs);
                    due.push((key, alert.clone()));
                }
            }
        }
        for ((notifier, key), resolution) in &mut self.untold {
            let waited = at.since(resolution.failed) >= AGAIN_AFTER_FAILURE.min(repeat_interval);
            if *notifier == i && !resolution.queued && waited {
                resolution.queued = true;
                due.push((key.clone(), resolution.alert.clone()));
            }
        }
        for (rule, alert) in resolved {
            let key = (*rule, alert.labels.clone());
            let Some(told) = self.told.remove(&(i, key.clone())) else { continue };
            if let (Some(record), Some(notifier)) = (self.rules.get(*rule), self.notifiers.get(i))
                && (told.queued.is_some() || told.delivered.is_some())
            {
                let definition = &record.rule.definition;
                batch.samples.push(history::notified(definition, &alert.labels, &notifier.name, None, at));
                due.push((key, alert.clone()));
            }
        }
        (self.jobs, due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerting::dispatch::Job;
    use platform_core::{
        Error, ErrorKind,
        alert::{Condition, Notification},
        telemetry::{Labels, metric},
    };

    const MINUTE: Duration = Duration::from_secs(60);

    fn evaluate(shared: &Shared, minute: i64, value: f64) -> Job {
        let at = Timestamp::from_millis(minute * 60_000);
        let series = Series { metric: None, labels: Labels::empty(), points: vec![(at, value)] };
        let (mut state, mut batch) = (shared.lock(), Batch::default());
        let resolved = state.advance(0, Ok(vec![series]), at, Duration::ZERO, &mut batch);
        let resolved: Vec<_> = resolved.into_iter().map(|alert| (0, alert)).collect();
        let (number, due) = state.due(0, &resolved, at, 240 * MINUTE, &mut batch);
        let (keys, alerts) = due.into_iter().unzip();
        let notification = Notification { platform: "shop".to_owned(), at, alerts, console_url: None };
        Job { number, notification, alerts: keys }
    }

    #[test]
    fn the_end_of_a_former_call_says_nothing_of_an_alert_that_fires_again() {
        let shared = Shared::default();
        let rule = AlertRule::new("Hot", metric("t"), Condition::Above(80.0)).unwrap();
        shared.begin(vec![rule.pending_for(Duration::ZERO)], ["pager".to_owned()].into_iter());
        let [fired, resolved, again] =
            [(1, 90.0), (2, 10.0), (3, 90.0)].map(|(minute, value)| evaluate(&shared, minute, value));
        let now = Timestamp::from_millis(3 * 60_000);
        shared.told(0, Outcome::Ended(&fired, Ok(())), now);
        shared.told(0, Outcome::Ended(&resolved, Ok(())), now);
        assert_eq!(evaluate(&shared, 4, 90.0).alerts, [], "it waits in the queue already");
        shared.told(0, Outcome::Ended(&again, Err(Error::new(ErrorKind::Unavailable, "down"))), now);
        assert_eq!(evaluate(&shared, 9, 90.0).alerts.len(), 1, "nobody knows that it fires again");
    }
}

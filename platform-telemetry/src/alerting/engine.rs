//! The engine: what it is made of, started and stopped.

use super::{
    dispatch::{Calls, Outcome, deliver_all},
    evaluator::{Evaluator, QUEUE, write},
    status::{AlertMonitor, AlertStatus},
};
use platform_core::{
    Error, Result,
    alert::{AlertRule, Notifier},
    clock::{Clock, SystemClock},
    execution::RetryPolicy,
    telemetry::{Batch, TelemetryStore},
};
use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// Sets up an [`AlertEngine`].
#[derive(Debug)]
pub struct AlertEngineBuilder {
    store: Arc<dyn TelemetryStore>,
    clock: Arc<dyn Clock>,
    platform: String,
    console_url: Option<String>,
    rules: Vec<AlertRule>,
    notifiers: Vec<Arc<dyn Notifier>>,
    interval: Duration,
    repeat_interval: Duration,
    calls: Calls,
    monitor: AlertMonitor,
}

impl AlertEngineBuilder {
    /// Names the platform in notifications.
    #[must_use]
    pub fn platform(mut self, platform: impl Into<String>) -> Self {
        self.platform = platform.into();
        self
    }

    /// Says in notifications where more can be seen.
    #[must_use]
    pub fn console_url(mut self, url: impl Into<String>) -> Self {
        self.console_url = Some(url.into());
        self
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, rule: AlertRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds a notifier.
    #[must_use]
    pub fn notifier(mut self, notifier: Arc<dyn Notifier>) -> Self {
        self.notifiers.push(notifier);
        self
    }

    /// Sets how often rules are evaluated. Default: 15 seconds.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets after how long a notifier is told again of an alert that is still firing. Default: 4 hours.
    #[must_use]
    pub fn repeat_interval(mut self, interval: Duration) -> Self {
        self.repeat_interval = interval;
        self
    }

    /// Sets how long one call of a notifier may take. Default: 30 seconds.
    #[must_use]
    pub fn call_deadline(mut self, deadline: Duration) -> Self {
        self.calls.deadline = deadline;
        self
    }

    /// Sets how calls that failed are repeated. Default: 6 tries, waiting at most 1 second before the second and twice
    /// as long before each further one, with full jitter.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.calls.retry = policy;
        self
    }

    /// Sets the clock. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Lets `monitor` show this engine: for a view that must be there before the engine. Default: one of its own.
    #[must_use]
    pub fn monitor(mut self, monitor: AlertMonitor) -> Self {
        self.monitor = monitor;
        self
    }

    /// Takes up what a former engine left in the store and starts to evaluate, at the next multiple of the interval.
    ///
    /// Fails with [`Invalid`](platform_core::ErrorKind::Invalid) if two rules have both name and severity in common, two notifiers have
    /// the same name, or the interval is shorter than a millisecond. A store that cannot be read is no failure: the alerts begin anew
    /// then.
    pub async fn start(self) -> Result<AlertEngine> {
        let (monitor, store, clock) = (self.monitor.clone(), self.store.clone(), self.clock.clone());
        let (evaluator, couriers) = self.prepare()?;
        evaluator.recall().await;
        let shutdown = CancellationToken::new();
        let evaluations = AbortOnDropHandle::new(tokio::spawn(evaluator.run(shutdown.clone())));
        let tasks = tokio::sync::Mutex::new(Some((evaluations, couriers)));
        Ok(AlertEngine { monitor, store, clock, shutdown, tasks })
    }

    /// Makes what evaluates and starts what delivers.
    pub(super) fn prepare(self) -> Result<(Evaluator, JoinSet<()>)> {
        check(self.interval, &self.rules, &self.notifiers)?;
        let shared = self.monitor.0;
        let names = self.notifiers.iter().map(|notifier| notifier.name().to_owned());
        shared.begin(self.rules, names);
        let mut couriers = JoinSet::new();
        let mut queues = Vec::new();
        for (i, notifier) in self.notifiers.into_iter().enumerate() {
            let (sender, queue) = mpsc::channel(QUEUE);
            queues.push(sender);
            let (shared, clock) = (shared.clone(), self.clock.clone());
            let tell = move |outcome: Outcome<'_>| shared.told(i, outcome, clock.now());
            couriers.spawn(deliver_all(notifier, queue, self.calls, tell));
        }
        let evaluator = Evaluator {
            shared,
            store: self.store,
            clock: self.clock,
            platform: self.platform,
            console_url: self.console_url,
            interval: self.interval,
            repeat_interval: self.repeat_interval,
            queues,
        };
        Ok((evaluator, couriers))
    }
}

/// Whether an engine can be made of these.
pub(crate) fn check(interval: Duration, rules: &[AlertRule], notifiers: &[Arc<dyn Notifier>]) -> Result<()> {
    if interval.as_millis() == 0 {
        return Err(Error::invalid("alerts cannot be evaluated more often than every millisecond"));
    }
    let mut known = BTreeSet::new();
    for rule in rules {
        if !known.insert((&rule.name, rule.severity)) {
            return Err(Error::invalid(format!(
                "two alert rules of severity {} are called {}",
                rule.severity, rule.name
            ))
            .help("give one of them another name or severity"));
        }
    }
    let mut names = BTreeSet::new();
    for notifier in notifiers {
        if !names.insert(notifier.name()) {
            return Err(Error::invalid(format!("two notifiers are called {:?}", notifier.name()))
                .help("name one of them with `named`"));
        }
    }
    Ok(())
}

/// Evaluates rules and tells notifiers, until it is stopped or dropped.
///
/// # Behavior
/// - Rules are evaluated at multiples of the interval, one after another. If an evaluation fails, its alerts stay as they are.
/// - All that is new for a notifier at an evaluation goes to it as one [`Notification`](platform_core::alert::Notification). Each
///   notifier has a queue and a task of its own, so that a slow one does not hold up others.
/// - A notifier is told that an alert fires at least once, and again after the repeat interval; it is told that one is resolved if
///   it was told that it fires. Whom it could not reach, it tries again after 5 minutes; of a resolved alert, for about an hour.
/// - A new engine on the same store goes on within an hour: what fired is not told again, and what was pending stays so for the rest
///   of its time.
/// - If the clock is set back, the time that passed for an alert stays as it is.
pub struct AlertEngine {
    monitor: AlertMonitor,
    store: Arc<dyn TelemetryStore>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
    tasks: tokio::sync::Mutex<Option<(AbortOnDropHandle<()>, JoinSet<()>)>>,
}

impl AlertEngine {
    /// Sets up an engine over `store`, without rules and notifiers.
    pub fn builder(store: Arc<dyn TelemetryStore>) -> AlertEngineBuilder {
        let mut retry = RetryPolicy::attempts(6);
        (retry.base, retry.cap) = (Duration::from_secs(1), Duration::from_secs(60));
        AlertEngineBuilder {
            store,
            clock: Arc::new(SystemClock),
            platform: "platform".to_owned(),
            console_url: None,
            rules: Vec::new(),
            notifiers: Vec::new(),
            interval: Duration::from_secs(15),
            repeat_interval: Duration::from_secs(4 * 3600),
            calls: Calls { deadline: Duration::from_secs(30), retry },
            monitor: AlertMonitor::default(),
        }
    }

    /// A view of how the alerts stand.
    pub fn monitor(&self) -> AlertMonitor {
        self.monitor.clone()
    }

    /// How the alerts stand.
    pub fn status(&self) -> AlertStatus {
        self.monitor.status()
    }

    /// Ends the evaluations and waits until the notifications that are queued have been delivered or `deadline` has passed; those
    /// left then are given up, and told by the next engine if their alerts still fire. Idempotent.
    ///
    /// # Cancel safety
    /// If the future is dropped, what runs is aborted.
    pub async fn stop(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        self.shutdown.cancel();
        let Some((evaluations, mut couriers)) = self.tasks.lock().await.take() else { return };
        // The queues are closed when the evaluations have ended.
        let ended = tokio::time::timeout_at(end, async {
            let _ = evaluations.await;
            while couriers.join_next().await.is_some() {}
        })
        .await;
        if ended.is_err() {
            couriers.shutdown().await;
            self.monitor.0.give_up();
        }
        let told = self.monitor.0.lock().notified(self.clock.now());
        if !told.is_empty() {
            self.monitor.0.stored(write(&*self.store, Batch::samples(told)).await);
        }
    }
}

impl fmt::Debug for AlertEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertEngine").field("store", &self.store.name()).finish_non_exhaustive()
    }
}

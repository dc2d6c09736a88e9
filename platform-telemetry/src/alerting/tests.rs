//! The engine on the embedded store, with a clock that is moved by hand.

use super::{AlertEngine, AlertEngineBuilder, AlertMonitor, evaluator::Evaluator};
use crate::store::{EmbeddedStore, StoreOptions};
use async_trait::async_trait;
use platform_core::{
    Error, ErrorKind, Result,
    alert::{AlertRule, AlertState, Condition, Notification, Notifier},
    clock::{Clock, ManualClock, Timestamp},
    execution::RetryPolicy,
    telemetry::{
        Batch, Labels, LogPage, LogQuery, MetricKind, MetricQuery, Sample, Selector, Series, StoreStats,
        TelemetrySink, TelemetryStore, TimeRange, metric,
    },
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

const MINUTE: Duration = Duration::from_secs(60);
const START: Timestamp = Timestamp::from_millis(1_795_392_000_000);

/// What a [`Recorder`] does with a call.
#[derive(Debug, Clone, Copy)]
enum Reaction {
    Fail { retryable: bool },
    Hang,
    Panic,
}

/// Keeps what it is told, after the reactions that it is to show first.
#[derive(Debug)]
struct Recorder {
    name: &'static str,
    reactions: Mutex<VecDeque<Reaction>>,
    told: Mutex<Vec<Notification>>,
}

impl Recorder {
    fn new(name: &'static str, reactions: &[Reaction]) -> Arc<Self> {
        let reactions = Mutex::new(reactions.iter().copied().collect());
        Arc::new(Self { name, reactions, told: Mutex::default() })
    }

    /// What it was told, in short: `[["Hot attic firing"]]`.
    fn told(&self) -> Vec<Vec<String>> {
        let told = self.told.lock().unwrap();
        told.iter()
            .map(|notification| {
                let alert = |a: &platform_core::alert::Alert| {
                    format!("{} {} {}", a.name, a.labels.get("room").unwrap_or_default(), a.state)
                };
                notification.alerts.iter().map(alert).collect()
            })
            .collect()
    }
}

#[async_trait]
impl Notifier for Recorder {
    fn name(&self) -> &str {
        self.name
    }

    async fn notify(&self, notification: &Notification) -> Result<()> {
        let reaction = self.reactions.lock().unwrap().pop_front();
        match reaction {
            Some(Reaction::Fail { retryable }) => {
                return Err(Error::new(ErrorKind::Unavailable, "down").retryable(retryable));
            }
            Some(Reaction::Hang) => std::future::pending().await,
            Some(Reaction::Panic) => panic!("a bug of the notifier"),
            None => {}
        }
        self.told.lock().unwrap().push(notification.clone());
        Ok(())
    }
}

/// The embedded store, which fails while it is told to.
#[derive(Debug)]
struct Fragile {
    store: EmbeddedStore,
    broken: AtomicBool,
}

impl Fragile {
    fn check(&self) -> Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Exhausted, "the disk is full"));
        }
        Ok(())
    }
}

#[async_trait]
impl TelemetrySink for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    async fn write(&self, batch: Batch) -> Result<()> {
        self.check()?;
        self.store.write(batch).await
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}

#[async_trait]
impl TelemetryStore for Fragile {
    async fn select(&self, selector: &Selector, range: TimeRange) -> Result<Vec<Series>> {
        self.check()?;
        self.store.select(selector, range).await
    }

    async fn query(&self, query: &MetricQuery) -> Result<Vec<Series>> {
        self.check()?;
        self.store.query(query).await
    }

    async fn logs(&self, query: &LogQuery) -> Result<LogPage> {
        self.store.logs(query).await
    }

    async fn label_values(&self, name: &str, of: Option<&Selector>, range: TimeRange) -> Result<Vec<String>> {
        self.store.label_values(name, of, range).await
    }

    async fn stats(&self) -> Result<StoreStats> {
        self.store.stats().await
    }
}

/// A store and a clock, which outlive engines.
struct House {
    store: Arc<Fragile>,
    clock: Arc<ManualClock>,
    _dir: tempfile::TempDir,
}

/// An engine whose evaluations are made by hand.
struct Running {
    evaluator: Evaluator,
    monitor: AlertMonitor,
    couriers: JoinSet<()>,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&dir.path().join("store"), StoreOptions::default()).unwrap();
        let store = Arc::new(Fragile { store, broken: AtomicBool::new(false) });
        Self { store, clock: Arc::new(ManualClock::new(START)), _dir: dir }
    }

    fn rule() -> AlertRule {
        AlertRule::new("Hot", metric("temperature"), Condition::Above(80.0))
            .unwrap()
            .pending_for(2 * MINUTE)
            .summary("{{room}} is hot")
    }

    fn builder(&self, notifiers: &[&Arc<Recorder>]) -> AlertEngineBuilder {
        let mut retry = RetryPolicy::attempts(3);
        retry.base = Duration::from_millis(1);
        let builder = AlertEngine::builder(self.store.clone())
            .clock(self.clock.clone())
            .platform("shop")
            .interval(MINUTE)
            .repeat_interval(60 * MINUTE)
            .retry(retry);
        notifiers.iter().fold(builder, |builder, notifier| builder.notifier((*notifier).clone()))
    }

    async fn engine(&self, rule: AlertRule, notifiers: &[&Arc<Recorder>]) -> Running {
        let monitor = AlertMonitor::default();
        let builder = self.builder(notifiers).rule(rule).monitor(monitor.clone());
        let (evaluator, couriers) = builder.prepare().unwrap();
        evaluator.recall().await;
        Running { evaluator, monitor, couriers }
    }

    /// Measures the rooms now, evaluates, and moves on a minute.
    async fn minute(&self, engine: &Running, rooms: &[(&str, f64)]) {
        let now = self.clock.now();
        let sample = |(room, value): &(&str, f64)| Sample {
            metric: "temperature".into(),
            labels: Labels::from_iter([("room", *room)]),
            timestamp: now,
            value: *value,
            kind: MetricKind::Gauge,
        };
        self.store.store.write(Batch::samples(rooms.iter().map(sample).collect())).await.unwrap();
        engine.evaluator.evaluate().await;
        engine.settled().await;
        self.clock.advance(MINUTE);
    }

    async fn value(&self, promql: Selector) -> Option<f64> {
        let query = MetricQuery::instant(promql, self.clock.now());
        let series = self.store.query(&query).await.unwrap();
        series.first().and_then(|s| s.points.last()).map(|(_, value)| *value)
    }
}

impl Running {
    /// Waits until nothing is queued for notifiers other than those that hang.
    async fn settled(&self) {
        assert!(!self.couriers.is_empty() || self.monitor.status().notifiers.is_empty());
        wait_until(|| {
            let notifiers = self.monitor.status().notifiers;
            notifiers.iter().all(|notifier| notifier.queued == 0 || notifier.name == "hanging")
        })
        .await;
    }

    fn state(&self) -> Option<AlertState> {
        self.monitor.status().rules[0].state
    }
}

async fn wait_until(holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("it holds within 30 s");
}

const HOT: &[(&str, f64)] = &[("attic", 99.0)];
const COLD: &[(&str, f64)] = &[("attic", 9.0)];

#[tokio::test]
async fn an_alert_is_told_once_then_repeated_then_resolved_and_all_is_recorded() {
    let house = House::new();
    let recorder = Recorder::new("recorder", &[]);
    let engine = house.engine(House::rule(), &[&recorder]).await;
    house.minute(&engine, HOT).await;
    assert_eq!(house.value(metric("ALERTS").eq("alertstate", "pending")).await, Some(1.0));
    assert_eq!(house.value(metric("ALERTS_FOR_STATE")).await, Some(START.as_secs_f64()));
    house.minute(&engine, HOT).await;
    assert_eq!(recorder.told(), Vec::<Vec<String>>::new());
    house.minute(&engine, HOT).await;
    assert_eq!(recorder.told(), [["Hot attic firing"]]);
    assert_eq!(house.value(metric("ALERTS").eq("alertstate", "pending")).await, None);
    assert_eq!(house.value(metric("ALERTS").eq("alertstate", "firing")).await, Some(1.0));
    for _ in 0..61 {
        house.minute(&engine, HOT).await;
    }
    assert_eq!(recorder.told(), [["Hot attic firing"], ["Hot attic firing"]]);
    house.minute(&engine, COLD).await;
    assert_eq!(recorder.told().last().unwrap(), &["Hot attic resolved"]);
    assert_eq!(house.value(metric("ALERTS")).await, None);
    assert_eq!(house.value(metric("ALERTS_NOTIFIED")).await, None);

    let page = house
        .store
        .logs(&LogQuery::new(TimeRange::last(120 * MINUTE, house.clock.now())).text("attic"))
        .await
        .unwrap();
    let bodies: Vec<_> = page.records.iter().map(|r| (r.body.as_str(), r.labels.get("source"))).collect();
    assert_eq!(
        bodies,
        [("Hot is resolved: attic is hot", Some("alerts")), ("Hot is firing: attic is hot", Some("alerts"))]
    );
    let status = engine.monitor.status();
    assert_eq!((status.rules[0].fired, status.resolved.len(), status.active.len()), (1, 1, 0));
    assert_eq!((status.notifiers[0].delivered, status.store_failures), (3, 0));
}

#[tokio::test]
async fn alerts_of_one_evaluation_are_told_together() {
    let house = House::new();
    let recorder = Recorder::new("recorder", &[]);
    let engine = house.engine(House::rule().pending_for(Duration::ZERO), &[&recorder]).await;
    house.minute(&engine, &[("attic", 99.0), ("cellar", 98.0)]).await;
    house.minute(&engine, &[("attic", 9.0), ("cellar", 98.0), ("hall", 97.0)]).await;
    assert_eq!(
        recorder.told(),
        [vec!["Hot attic firing", "Hot cellar firing"], vec!["Hot hall firing", "Hot attic resolved"]]
    );
}

#[tokio::test]
async fn a_restart_neither_repeats_nor_forgets() {
    let house = House::new();
    let recorder = Recorder::new("recorder", &[]);
    let rooms = |attic, cellar| [("attic", attic), ("cellar", cellar)];
    let first = house.engine(House::rule(), &[&recorder]).await;
    house.minute(&first, &rooms(99.0, 9.0)).await;
    house.minute(&first, &rooms(99.0, 9.0)).await;
    house.minute(&first, &rooms(99.0, 99.0)).await;
    // The evaluation after the delivery is the first that records it.
    house.minute(&first, &rooms(99.0, 99.0)).await;
    assert_eq!(recorder.told(), [["Hot attic firing"]]);
    drop(first);

    house.clock.advance(10 * MINUTE);
    let second = house.engine(House::rule(), &[&recorder]).await;
    // There is no data after the restart at first.
    second.evaluator.evaluate().await;
    assert_eq!(second.monitor.status().active.len(), 2);
    house.minute(&second, &rooms(99.0, 99.0)).await;
    assert_eq!(recorder.told(), [["Hot attic firing"]], "the attic is known, the cellar has a minute left");
    house.minute(&second, &rooms(99.0, 99.0)).await;
    assert_eq!(recorder.told()[1..], [["Hot cellar firing"]]);
    house.minute(&second, &rooms(99.0, 99.0)).await;
    drop(second);

    let third = house.engine(House::rule(), &[&recorder]).await;
    house.minute(&third, &rooms(9.0, 99.0)).await;
    assert_eq!(recorder.told()[2..], [["Hot attic resolved"]]);
}

#[tokio::test]
async fn what_could_not_be_told_before_a_crash_is_told_after_it() {
    let house = House::new();
    let rule = || House::rule().pending_for(Duration::ZERO);
    let hanging = Recorder::new("hanging", &[Reaction::Hang]);
    let first = house.engine(rule(), &[&hanging]).await;
    house.minute(&first, HOT).await;
    drop(first);
    assert_eq!(hanging.told(), Vec::<Vec<String>>::new());
    let second = house.engine(rule(), &[&hanging]).await;
    house.minute(&second, HOT).await;
    wait_until(|| hanging.told() == [["Hot attic firing"]]).await;
}

#[tokio::test]
async fn a_slow_notifier_holds_up_nobody_and_stopping_is_bounded() {
    let house = House::new();
    let hanging = Recorder::new("hanging", &[Reaction::Hang]);
    let quick = Recorder::new("quick", &[]);
    house.minute(&house.engine(House::rule(), &[]).await, HOT).await;
    let engine = house
        .builder(&[&hanging, &quick])
        .rule(House::rule().pending_for(Duration::ZERO))
        .interval(Duration::from_millis(50))
        .start()
        .await
        .unwrap();
    wait_until(|| quick.told() == [["Hot attic firing"]]).await;
    // Written down at once, for the case of a crash.
    let noted = async {
        while house.value(metric("ALERTS_NOTIFIED").eq("notifier", "quick")).await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), noted).await.unwrap();
    engine.stop(Duration::from_millis(100)).await;
    let notifiers = engine.status().notifiers;
    assert_eq!((notifiers[0].failed, notifiers[0].queued), (1, 0), "{notifiers:?}");
    assert_eq!((notifiers[1].delivered, notifiers[1].failed), (1, 0));
    assert_eq!(
        house.value(metric("ALERTS_NOTIFIED").eq("notifier", "quick")).await,
        Some(house.clock.now().as_secs_f64())
    );
    assert_eq!(house.value(metric("ALERTS_NOTIFIED").eq("notifier", "hanging")).await, None);
    engine.stop(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn failures_are_repeated_given_up_reported_and_tried_again_later() {
    let house = House::new();
    let fail = |retryable| Reaction::Fail { retryable };
    let flaky = Recorder::new("flaky", &[fail(true), fail(true)]);
    let down = Recorder::new("down", &[fail(true), fail(true), fail(true)]);
    let refusing = Recorder::new("refusing", &[fail(false)]);
    let panicking = Recorder::new("panicking", &[Reaction::Panic]);
    let rule = House::rule().pending_for(Duration::ZERO);
    let engine = house.engine(rule, &[&flaky, &down, &refusing, &panicking]).await;
    house.minute(&engine, HOT).await;
    let status = engine.monitor.status();
    let counts: Vec<_> =
        status.notifiers.iter().map(|n| (n.name.as_str(), n.delivered, n.failed, n.retried)).collect();
    assert_eq!(
        counts,
        [("flaky", 1, 0, 2), ("down", 0, 1, 2), ("refusing", 0, 1, 0), ("panicking", 0, 1, 0)]
    );
    let errors: Vec<_> = status.notifiers.iter().map(|n| n.last_error.as_deref()).collect();
    assert_eq!(
        errors,
        [
            None,
            Some("tried 3 times: cannot notify down: down"),
            Some("tried once: cannot notify refusing: down"),
            Some("tried once: cannot notify panicking: the notifier panicked"),
        ]
    );
    for _ in 0..6 {
        house.minute(&engine, HOT).await;
    }
    for recorder in [flaky, down, refusing, panicking] {
        assert_eq!(recorder.told(), [["Hot attic firing"]], "{}", recorder.name);
    }
}

#[tokio::test]
async fn a_resolution_that_could_not_be_told_is_told_later_unless_it_fires_again() {
    let house = House::new();
    let recorder = Recorder::new("recorder", &[]);
    let engine = house.engine(House::rule().pending_for(Duration::ZERO), &[&recorder]).await;
    let refuse_next = || recorder.reactions.lock().unwrap().push_back(Reaction::Fail { retryable: false });
    house.minute(&engine, HOT).await;
    refuse_next();
    for _ in 0..8 {
        house.minute(&engine, COLD).await;
    }
    assert_eq!(recorder.told(), [["Hot attic firing"], ["Hot attic resolved"]]);
    house.minute(&engine, HOT).await;
    refuse_next();
    house.minute(&engine, COLD).await;
    for _ in 0..8 {
        house.minute(&engine, HOT).await;
    }
    assert_eq!(recorder.told()[2..], [["Hot attic firing"], ["Hot attic firing"]]);
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_repeated() {
    let house = House::new();
    let hanging = Recorder::new("slow at first", &[Reaction::Hang]);
    let builder = house.builder(&[&hanging]).rule(House::rule().pending_for(Duration::ZERO));
    let (evaluator, couriers) = builder.call_deadline(Duration::from_millis(20)).prepare().unwrap();
    let monitor = AlertMonitor(evaluator.shared.clone());
    house.minute(&Running { evaluator, monitor, couriers }, HOT).await;
    assert_eq!(hanging.told(), [["Hot attic firing"]]);
}

#[tokio::test]
async fn a_store_that_fails_is_counted_and_changes_no_state() {
    let house = House::new();
    let recorder = Recorder::new("recorder", &[]);
    let engine = house.engine(House::rule().pending_for(MINUTE), &[&recorder]).await;
    house.minute(&engine, HOT).await;
    house.store.broken.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        house.minute(&engine, HOT).await;
    }
    assert_eq!(engine.state(), Some(AlertState::Pending));
    let rule = &engine.monitor.status().rules[0];
    assert_eq!((rule.evaluations, rule.failures), (11, 10));
    assert_eq!(rule.last_error.as_deref(), Some("the disk is full"));
    house.store.broken.store(false, Ordering::SeqCst);
    house.minute(&engine, HOT).await;
    assert_eq!(recorder.told(), [["Hot attic firing"]]);
    assert_eq!(engine.monitor.status().rules[0].last_error, None);
}

#[tokio::test]
async fn a_clock_that_is_set_back_neither_fires_nor_resolves() {
    let house = House::new();
    let recorder = Recorder::new("recorder", &[]);
    let engine = house.engine(House::rule(), &[&recorder]).await;
    house.minute(&engine, HOT).await;
    house.minute(&engine, HOT).await;
    house.clock.set(START - 600 * MINUTE);
    house.minute(&engine, HOT).await;
    assert_eq!((engine.state(), recorder.told().len()), (Some(AlertState::Pending), 0));
    house.minute(&engine, HOT).await;
    assert_eq!(recorder.told(), [["Hot attic firing"]]);
    // A small step falls into an interval that was evaluated.
    house.clock.set(house.clock.now() - Duration::from_secs(61));
    let evaluations = engine.monitor.status().rules[0].evaluations;
    engine.evaluator.evaluate().await;
    house.clock.set(START - 1200 * MINUTE);
    house.minute(&engine, HOT).await;
    assert_eq!(recorder.told(), [["Hot attic firing"]]);
    let status = engine.monitor.status();
    assert_eq!((status.clock_setbacks, status.rules[0].evaluations), (3, evaluations + 2));
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_so() {
    let house = House::new();
    let hanging = Recorder::new("hanging", &[Reaction::Hang]);
    let rule = House::rule().pending_for(Duration::ZERO);
    let engine = house.engine(rule, &[&hanging]).await;
    let toggles = 2 * super::evaluator::QUEUE;
    for i in 0..toggles {
        house.minute(&engine, if i % 2 == 0 { HOT } else { COLD }).await;
    }
    let notifier = &engine.monitor.status().notifiers[0];
    assert!(notifier.failed > 0, "{notifier:?}");
    assert!(notifier.last_error.as_deref().unwrap().contains("64 notifications wait"), "{notifier:?}");
}

#[tokio::test]
async fn names_that_clash_are_refused() {
    let house = House::new();
    let twins = [Recorder::new("twin", &[]), Recorder::new("twin", &[])];
    let error = house.builder(&[&twins[0], &twins[1]]).start().await.unwrap_err();
    assert!(error.to_string().contains("two notifiers are called \"twin\""), "{error}");
    let error = house.builder(&[]).rule(House::rule()).rule(House::rule()).start().await.unwrap_err();
    assert!(error.to_string().contains("called Hot"), "{error}");
}

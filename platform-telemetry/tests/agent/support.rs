//! A sink that can misbehave, a source that numbers its lines, and waiting.

use async_trait::async_trait;
use platform_core::{
    Error, ErrorKind, Result,
    clock::Timestamp,
    telemetry::{Batch, Emitter, Labels, LogRecord, Severity, TelemetrySource},
};
use platform_telemetry::message::{Message, MessageSink, decode};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Long enough for a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps what it is given, except when it is told to do otherwise.
#[derive(Debug)]
pub(crate) struct TestMessages {
    kept: Mutex<Vec<Message>>,
    /// What every send fails with.
    down: Mutex<Option<ErrorKind>>,
    /// How many sends panic.
    pub(crate) panics: AtomicUsize,
    /// A part of the payload of messages that are refused.
    poison: &'static str,
    open: watch::Sender<bool>,
    pub(crate) attempts: AtomicUsize,
}

impl TestMessages {
    pub(crate) fn new() -> Arc<Self> {
        Self::refusing("nothing has this in it")
    }

    pub(crate) fn refusing(poison: &'static str) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            down: Mutex::default(),
            panics: AtomicUsize::new(0),
            poison,
            open: watch::Sender::new(true),
            attempts: AtomicUsize::new(0),
        })
    }

    pub(crate) fn down(&self, kind: ErrorKind) {
        *self.down.lock().unwrap() = Some(kind);
    }

    pub(crate) fn up(&self) {
        *self.down.lock().unwrap() = None;
    }

    /// Sends wait until it is opened again.
    pub(crate) fn stall(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn resume(&self) {
        self.open.send_replace(true);
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    pub(crate) fn records(&self) -> Vec<LogRecord> {
        let mut batch = Batch::default();
        for message in &*self.kept.lock().unwrap() {
            decode::message(message, &mut batch).unwrap();
        }
        batch.logs
    }

    /// The numbers of the lines of each source, in the order in which they came.
    pub(crate) fn numbers(&self) -> BTreeMap<String, Vec<usize>> {
        let mut numbers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for record in self.records() {
            let (name, number) = record.body.rsplit_once('-').unwrap();
            numbers.entry(name.to_owned()).or_default().push(number.parse().unwrap());
        }
        numbers
    }
}

#[async_trait]
impl MessageSink for TestMessages {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn send(&self, messages: &[Message]) -> Result<()> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        tracing::warn!("a sink that logs while it sends");
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        let panics = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        assert!(panics.is_err(), "the sink has a bug");
        if let Some(kind) = *self.down.lock().unwrap() {
            // A part may be there nevertheless.
            self.kept
                .lock()
                .unwrap()
                .extend(messages.first().cloned().filter(|_| kind == ErrorKind::Timeout));
            return Err(Error::new(kind, "it is down"));
        }
        let is_poison = |m: &Message| std::str::from_utf8(&m.payload).unwrap().contains(self.poison);
        if messages.iter().any(is_poison) {
            return Err(Error::invalid("there is poison in it"));
        }
        self.kept.lock().unwrap().extend_from_slice(messages);
        Ok(())
    }
}

/// Emits numbered lines, a few together, and counts those that were emitted and those that were acknowledged.
#[derive(Debug)]
pub(crate) struct Lines {
    name: &'static str,
    count: usize,
    /// How long each of them is at least.
    bytes: usize,
    pub(crate) emitted: AtomicUsize,
    pub(crate) durable: AtomicUsize,
}

impl Lines {
    pub(crate) fn new(name: &'static str, count: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self { name, count, bytes, emitted: AtomicUsize::new(0), durable: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl TelemetrySource for Lines {
    fn name(&self) -> &str {
        self.name
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        let mut deliveries = tokio::task::JoinSet::new();
        for first in (0..self.count).step_by(5) {
            let record = |number| LogRecord {
                timestamp: Timestamp::from_millis(1_795_437_296_789),
                severity: Severity::Info,
                body: format!("{}{}-{number}", self.name, ".".repeat(self.bytes)),
                labels: Labels::from_iter([("file", self.name)]),
            };
            let lines = first..self.count.min(first + 5);
            let count = lines.len();
            let delivery = tokio::select! {
                () = shutdown.cancelled() => break,
                delivery = out.emit(Batch::logs(lines.map(record).collect())) => delivery?,
            };
            self.emitted.fetch_add(count, Ordering::SeqCst);
            deliveries.spawn(async move { delivery.durable(PATIENCE).await.map(|()| count) });
            while let Some(outcome) = deliveries.try_join_next() {
                self.durable.fetch_add(outcome.unwrap()?, Ordering::SeqCst);
            }
        }
        while let Some(outcome) = deliveries.join_next().await {
            self.durable.fetch_add(outcome.unwrap()?, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Whether all numbers up to `count` are there, and none came before the one that precedes it.
pub(crate) fn assert_complete_and_in_order(name: &str, numbers: &[usize], count: usize) {
    let mut next = 0;
    for number in numbers {
        assert!(*number <= next, "{name}: {number} came before {next}");
        next = next.max(number + 1);
    }
    assert_eq!(next, count, "{name}");
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never came to pass: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! What a pipeline counts, and its own samples.

use crate::sources::every;
use async_trait::async_trait;
use platform_core::{
    Result,
    clock::Clock,
    telemetry::{Batch, Emitter, Labels, MetricKind, Sample, TelemetrySource},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// What a pipeline did since it started.
///
/// `samples_accepted + logs_accepted` is what was stored, plus the sum of `dropped`, plus what is under way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PipelineStats {
    /// Samples taken from sources.
    pub samples_accepted: u64,
    /// Log records taken from sources.
    pub logs_accepted: u64,
    /// Samples that are durable in the sink.
    pub samples_stored: u64,
    /// Log records that are durable in the sink.
    pub logs_stored: u64,
    /// Samples and records acknowledged to their source as failed, by reason: `refused` (the sink will never take them),
    /// `retry-deadline` (the sink did not take them in time), `shutdown` (the pipeline had to stop first).
    ///
    /// A source that can read again brings them again; then they are accepted a second time.
    pub dropped: BTreeMap<String, u64>,
    /// Writes that were tried again.
    pub write_retries: u64,
    /// Writes under way.
    pub writes_in_flight: u64,
    /// The sources, in the order in which they were added.
    pub sources: Vec<SourceStatus>,
}

/// Which source of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(pub(super) u64);

/// How a source is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SourceStatus {
    /// Which.
    pub id: SourceId,
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub state: SourceState,
    /// How many times it was started again.
    pub restarts: u64,
    /// Why it failed last. Empty: it never did.
    pub last_error: String,
}

/// Whether a source runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SourceState {
    /// It runs.
    Running,
    /// It failed and is about to be started again.
    Restarting,
    /// It ended by itself or was told to.
    Ended,
    /// It failed for good.
    Failed,
}

impl SourceState {
    /// `running`, `restarting`, `ended`, `failed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The counters behind [`PipelineStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    samples_accepted: AtomicU64,
    logs_accepted: AtomicU64,
    samples_stored: AtomicU64,
    logs_stored: AtomicU64,
    write_retries: AtomicU64,
    writes_in_flight: AtomicU64,
    dropped: Mutex<BTreeMap<&'static str, u64>>,
    sources: Mutex<BTreeMap<SourceId, SourceStatus>>,
}

impl Counters {
    pub(super) fn accepted(&self, batch: &Batch) {
        self.samples_accepted.fetch_add(batch.samples.len() as u64, Ordering::Relaxed);
        self.logs_accepted.fetch_add(batch.logs.len() as u64, Ordering::Relaxed);
    }

    pub(super) fn stored(&self, batch: &Batch) {
        self.samples_stored.fetch_add(batch.samples.len() as u64, Ordering::Relaxed);
        self.logs_stored.fetch_add(batch.logs.len() as u64, Ordering::Relaxed);
    }

    pub(super) fn drop_records(&self, reason: &'static str, records: usize) {
        *lock(&self.dropped).entry(reason).or_default() += records as u64;
    }

    pub(super) fn dropped(&self, reason: &'static str) -> u64 {
        lock(&self.dropped).get(reason).copied().unwrap_or_default()
    }

    pub(super) fn retried(&self) {
        self.write_retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn write_started(&self) {
        self.writes_in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn write_ended(&self) {
        self.writes_in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn add_source(&self, id: SourceId, name: &str) {
        let status = SourceStatus {
            id,
            name: name.to_owned(),
            state: SourceState::Running,
            restarts: 0,
            last_error: String::new(),
        };
        lock(&self.sources).insert(id, status);
    }

    pub(super) fn update_source(&self, id: SourceId, update: impl FnOnce(&mut SourceStatus)) {
        if let Some(status) = lock(&self.sources).get_mut(&id) {
            update(status);
        }
    }

    pub(super) fn source_aborted(&self, id: SourceId) {
        self.update_source(id, |status| {
            status.state = SourceState::Failed;
            "it did not end in time and was aborted".clone_into(&mut status.last_error);
        });
    }

    pub(super) fn forget_source(&self, id: SourceId) {
        lock(&self.sources).remove(&id);
    }

    pub(super) fn snapshot(&self) -> PipelineStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PipelineStats {
            samples_accepted: read(&self.samples_accepted),
            logs_accepted: read(&self.logs_accepted),
            samples_stored: read(&self.samples_stored),
            logs_stored: read(&self.logs_stored),
            dropped: lock(&self.dropped).iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect(),
            write_retries: read(&self.write_retries),
            writes_in_flight: read(&self.writes_in_flight),
            sources: lock(&self.sources).values().cloned().collect(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The source of a pipeline's samples about itself.
#[derive(Debug)]
pub(super) struct SelfMetrics {
    counters: Arc<Counters>,
    interval: Duration,
    clock: Arc<dyn Clock>,
}

impl SelfMetrics {
    pub(super) fn new(counters: Arc<Counters>, interval: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { counters, interval: interval.max(Duration::from_millis(10)), clock }
    }

    fn samples(&self) -> Vec<Sample> {
        let stats = self.counters.snapshot();
        let timestamp = self.clock.now();
        let mut samples = Vec::new();
        let mut push = |metric: &str, kind, labels: &[(&str, &str)], value: f64| {
            samples.push(Sample {
                metric: format!("platform_pipeline_{metric}").into(),
                labels: labels.iter().copied().collect::<Labels>(),
                timestamp,
                value,
                kind,
            });
        };
        for (signal, accepted, stored) in [
            ("samples", stats.samples_accepted, stats.samples_stored),
            ("logs", stats.logs_accepted, stats.logs_stored),
        ] {
            push("accepted_total", MetricKind::Counter, &[("signal", signal)], accepted as f64);
            push("stored_total", MetricKind::Counter, &[("signal", signal)], stored as f64);
        }
        for (reason, records) in &stats.dropped {
            push("dropped_total", MetricKind::Counter, &[("reason", reason)], *records as f64);
        }
        push("write_retries_total", MetricKind::Counter, &[], stats.write_retries as f64);
        push("writes_in_flight", MetricKind::Gauge, &[], stats.writes_in_flight as f64);
        for source in &stats.sources {
            let label = [("source", source.name.as_str())];
            let up = f64::from(u8::from(source.state == SourceState::Running));
            push("source_up", MetricKind::Gauge, &label, up);
            push("source_restarts_total", MetricKind::Counter, &label, source.restarts as f64);
        }
        samples
    }
}

#[async_trait]
impl TelemetrySource for SelfMetrics {
    fn name(&self) -> &'static str {
        "pipeline"
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        // The next reading says the same and more: nobody has to wait for this one.
        every(self.interval, shutdown, || async { out.emit(Batch::samples(self.samples())).await.map(drop) })
            .await
    }
}

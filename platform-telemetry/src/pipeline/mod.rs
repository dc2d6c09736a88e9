//! From sources to a sink, with back-pressure, batching, retries and an orderly end.
//!
//! ```text
//! source ─┐                 ┌─ write ─┐
//! source ─┼─ bounded channel ┼─ write ─┼─ sink      every batch is acknowledged to its source
//! source ─┘                 └─ write ─┘
//! ```
//!
//! Nothing is dropped while the sink is slow: its writes stay in flight, then the channel fills, then sources wait, and each source
//! says what it does then (a file is read later, a queue of events drops and counts). What a sink refuses for good, or does not
//! take within the retry deadline, is acknowledged to its source as failed and counted in [`PipelineStats::dropped`]; a
//! source that can read again does so.
//!
//! Held in memory are at most `capacity` batches in the channel, and for each write in flight one group of batches of about
//! `batch_records` records.

mod stats;
mod supervisor;
mod writer;

pub use stats::{PipelineStats, SourceId, SourceState, SourceStatus};

pub(crate) use writer::WRITE_SPAN;

use crate::task::AbortOnDrop;
use platform_core::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    telemetry::{Emitter, Labels, TelemetrySink, TelemetrySource, channel},
};
use stats::{Counters, SelfMetrics};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use supervisor::Supervised;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use writer::Writer;

/// How a pipeline writes.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) batch_records: usize,
    pub(crate) batch_wait: Duration,
    pub(crate) writes_in_flight: usize,
    pub(crate) write_timeout: Duration,
    pub(crate) retry_deadline: Duration,
    pub(crate) max_restarts: u32,
}

/// Makes a pipeline. Start with [`Pipeline::builder`].
#[derive(Debug)]
pub struct Pipeline;

impl Pipeline {
    /// A pipeline into `sink`, to be configured and started.
    pub fn builder(sink: Arc<dyn TelemetrySink>) -> PipelineBuilder {
        PipelineBuilder {
            sink,
            sources: Vec::new(),
            capacity: 64,
            settings: Settings {
                batch_records: 5_000,
                batch_wait: Duration::from_millis(100),
                writes_in_flight: 4,
                write_timeout: Duration::from_secs(30),
                retry_deadline: Duration::from_secs(300),
                max_restarts: 10,
            },
            self_metrics: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Configures a pipeline.
#[derive(Debug)]
#[must_use = "nothing flows before `start`"]
pub struct PipelineBuilder {
    sink: Arc<dyn TelemetrySink>,
    sources: Vec<(Arc<dyn TelemetrySource>, Labels)>,
    capacity: usize,
    settings: Settings,
    self_metrics: Option<(Duration, Labels)>,
    clock: Arc<dyn Clock>,
}

impl PipelineBuilder {
    /// Adds a source.
    pub fn source(self, source: Arc<dyn TelemetrySource>) -> Self {
        self.source_with_labels(source, Labels::empty())
    }

    /// Adds a source, with labels put on everything it emits; a record's own labels win.
    pub fn source_with_labels(mut self, source: Arc<dyn TelemetrySource>, labels: Labels) -> Self {
        self.sources.push((source, labels));
        self
    }

    /// How many batches may wait in the channel before sources are held back. Default: 64; at least 1.
    pub fn capacity(mut self, batches: usize) -> Self {
        self.capacity = batches.max(1);
        self
    }

    /// After how many records batches are no longer merged into one write. Default: 5,000.
    pub fn batch_records(mut self, records: usize) -> Self {
        self.settings.batch_records = records.max(1);
        self
    }

    /// How long a write waits for more to merge. Default: 100 ms.
    pub fn batch_wait(mut self, wait: Duration) -> Self {
        self.settings.batch_wait = wait;
        self
    }

    /// How many writes may be under way at once. Default: 4; at least 1.
    pub fn writes_in_flight(mut self, writes: usize) -> Self {
        self.settings.writes_in_flight = writes.max(1);
        self
    }

    /// How long the sink may take for one write before it is given up and tried again. Default: 30 s.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.settings.write_timeout = timeout;
        self
    }

    /// How long a write is retried, from its first attempt, before it is acknowledged as failed. Default: 5 min.
    pub fn retry_deadline(mut self, deadline: Duration) -> Self {
        self.settings.retry_deadline = deadline;
        self
    }

    /// How many times in a row a source that fails or panics is started again. Default: 10.
    pub fn max_restarts(mut self, restarts: u32) -> Self {
        self.settings.max_restarts = restarts;
        self
    }

    /// Emits `platform_pipeline_*` samples about the pipeline itself into it, every `interval`, with `labels`. Default: none.
    pub fn self_metrics(mut self, interval: Duration, labels: Labels) -> Self {
        self.self_metrics = Some((interval, labels));
        self
    }

    /// The clock that stamps the pipeline's own samples. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts the writer and every source. Must be called within a tokio runtime.
    pub fn start(self) -> PipelineHandle {
        let (emitter, envelopes) = channel(self.capacity);
        let counters = Arc::new(Counters::default());
        let abandon = CancellationToken::new();
        let max_restarts = self.settings.max_restarts;
        let writer = Writer::new(self.sink, self.settings, Arc::clone(&counters), abandon.clone());
        let handle = PipelineHandle {
            counters,
            max_restarts,
            stop: CancellationToken::new(),
            abandon,
            inner: Mutex::new(Inner { emitter: Some(emitter), sources: BTreeMap::new(), next: 0 }),
            writer: tokio::sync::Mutex::new(Some(AbortOnDrop(tokio::spawn(writer.run(envelopes))))),
        };
        let own = self.self_metrics.map(|(interval, labels)| {
            let source = SelfMetrics::new(Arc::clone(&handle.counters), interval, self.clock);
            (Arc::new(source) as Arc<dyn TelemetrySource>, labels)
        });
        for (source, labels) in self.sources.into_iter().chain(own) {
            // A handle that was just made takes sources.
            let _ = handle.add_source(source, &labels);
        }
        handle
    }
}

/// A running pipeline. Dropping it stops everything at once; [`shutdown`](Self::shutdown) ends it in order.
pub struct PipelineHandle {
    counters: Arc<Counters>,
    max_restarts: u32,
    stop: CancellationToken,
    abandon: CancellationToken,
    inner: Mutex<Inner>,
    writer: tokio::sync::Mutex<Option<AbortOnDrop>>,
}

struct Inner {
    /// `None` once the pipeline is being stopped.
    emitter: Option<Emitter>,
    sources: BTreeMap<SourceId, (CancellationToken, AbortOnDrop)>,
    next: u64,
}

impl PipelineHandle {
    /// What the pipeline did so far and how its sources are. Works after the shutdown too.
    pub fn stats(&self) -> PipelineStats {
        self.counters.snapshot()
    }

    /// Starts one more source, with labels put on everything it emits. Fails with [`Cancelled`](ErrorKind::Cancelled) once the pipeline is being stopped.
    pub fn add_source(&self, source: Arc<dyn TelemetrySource>, labels: &Labels) -> Result<SourceId> {
        let mut inner = self.lock();
        let Some(emitter) = &inner.emitter else {
            return Err(Error::new(ErrorKind::Cancelled, "the pipeline has stopped")
                .operation("add source")
                .subject(source.name()));
        };
        let id = SourceId(inner.next);
        let cancel = self.stop.child_token();
        let supervised = Supervised {
            id,
            emitter: emitter.with_labels(labels),
            source,
            cancel: cancel.clone(),
            counters: Arc::clone(&self.counters),
            max_restarts: self.max_restarts,
        };
        supervised.announce();
        let task = AbortOnDrop(tokio::spawn(supervised.run()));
        inner.next += 1;
        inner.sources.insert(id, (cancel, task));
        Ok(id)
    }

    /// Stops a source and waits until it has ended; after `deadline` it is aborted. Answers whether it ended by itself; `false` too
    /// when there is no such source. What it emitted is still written.
    ///
    /// # Cancel safety
    /// If the future is dropped, the source is aborted.
    pub async fn remove_source(&self, id: SourceId, deadline: Duration) -> bool {
        let Some((cancel, mut task)) = self.lock().sources.remove(&id) else { return false };
        cancel.cancel();
        self.counters.forget_source(id);
        tokio::time::timeout(deadline, &mut task.0).await.is_ok()
    }

    /// Stops in order: sources end, the channel drains, everything accepted is written. Idempotent.
    ///
    /// Sources have three quarters of `deadline` to end before they are aborted. What the sink has not taken when `deadline` passes is
    /// acknowledged as failed and counted; then, and when a source had to be aborted, it fails with
    /// [`Timeout`](ErrorKind::Timeout). The sink is not closed: it may serve queries.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves the pipeline stopping; calling again continues.
    pub async fn shutdown(&self, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        let mut writer = self.writer.lock().await;
        self.stop.cancel();
        self.lock().emitter = None;
        let patience = Instant::now() + deadline.mul_f64(0.75);
        let mut aborted = Vec::new();
        // One by one, so that the others stay with the handle if this future is dropped.
        while let Some((id, mut task)) = self.take_source() {
            if tokio::time::timeout_at(patience, &mut task.0).await.is_err() {
                aborted.push(id);
            }
        }
        let Some(task) = writer.as_mut() else { return Ok(()) };
        let before = self.counters.dropped(writer::SHUTDOWN);
        if tokio::time::timeout_at(end, &mut task.0).await.is_err() {
            self.abandon.cancel();
            // It only has acknowledgements left to give.
            let _ = tokio::time::timeout(Duration::from_secs(5), &mut task.0).await;
        }
        *writer = None;
        let lost = self.counters.dropped(writer::SHUTDOWN) - before;
        for id in &aborted {
            self.counters.source_aborted(*id);
        }
        if lost == 0 && aborted.is_empty() {
            return Ok(());
        }
        tracing::warn!(lost, sources_aborted = aborted.len(), "the telemetry pipeline did not stop in time");
        Err(Error::new(
            ErrorKind::Timeout,
            format!(
                "after {deadline:?}, {lost} records were not written and {} sources still ran",
                aborted.len()
            ),
        )
        .operation("stop the telemetry pipeline")
        .help("see whether the sink answers, or give it a longer deadline"))
    }

    fn take_source(&self) -> Option<(SourceId, AbortOnDrop)> {
        self.lock().sources.pop_first().map(|(id, (_, task))| (id, task))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PipelineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineHandle").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A random wait below `base` doubled `attempt` times, at most `cap`: "full jitter".
pub(crate) fn full_jitter(base: Duration, cap: Duration, attempt: u32) -> Duration {
    base.saturating_mul(1 << attempt.min(16)).min(cap).mul_f64(rand::random::<f64>())
}

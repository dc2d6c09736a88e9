//! From sources over a spool on disk to Kafka or a store: nothing that was taken is lost, whatever dies.
//!
//! ```text
//! sources ── pipeline ── spool ── lanes ── message sink
//!   held back when        on disk,  │
//!   the spool is full     fsynced   └── dead letters
//! ```
//!
//! A source's batch is acknowledged once it is durable in the spool; from then on it is the agent's to deliver, over restarts and crashes, at
//! least once.
//!
//! # Behavior
//! - Messages of one key arrive in the order in which their source emitted them, those of a group that is sent again included.
//! - A sink that is down is tried again for as long as the agent runs, with full jitter up to [`longest_wait`](ForwardOptions::longest_wait); that is told once, and counted. Missing rights
//!   and missing topics count as being down.
//! - Of messages that the sink refuses for good, the refused one is found by halving; it goes to the dead letters before the position passes it.
//! - While the spool is full, sources wait (see [`WhenFull`](crate::spool::WhenFull) for other policies).
//! - In memory are at most the queue of the spool, and [`groups_in_flight`](ForwardOptions::groups_in_flight) groups and two that were read
//!   ahead.
//!
//! ```no_run
//! use platform_core::{Result, telemetry::Labels};
//! use platform_telemetry::{
//!     agent::Agent,
//!     message::StoreMessages,
//!     sources::FileTail,
//!     store::{EmbeddedStore, StoreOptions},
//! };
//! use std::{path::Path, sync::Arc, time::Duration};
//!
//! # async fn run() -> Result<()> {
//! let store = Arc::new(EmbeddedStore::open(Path::new("/var/lib/shop/store"), StoreOptions::default())?);
//! let tail = FileTail::builder(["/var/log/shop/*.log"]).checkpoint("/var/lib/shop/tail.json").build()?;
//! let agent = Agent::builder("/var/lib/shop/agent", Arc::new(StoreMessages::new(store)))
//!     .environment("testing")
//!     .labels(Labels::from_iter([("cluster", "shop-testing")]))
//!     .source(Arc::new(tail))
//!     .start()
//!     .await?;
//! println!("{:?}", agent.stats());
//! agent.shutdown(Duration::from_secs(30)).await?;
//! # Ok(())
//! # }
//! ```

mod dead_letters;
mod delivery;
mod envelope;
mod forwarder;
mod sink;
mod stats;

pub use dead_letters::{DeadLetterFile, DeadLetters};
pub use sink::SpoolSink;
pub use stats::{AgentStats, ForwardStats};

use crate::{
    message::MessageSink,
    pipeline::{Pipeline, PipelineHandle, SourceId, WRITE_SPAN},
    spool::{Spool, SpoolOptions},
    task::AbortOnDrop,
};
use delivery::Delivery;
use platform_core::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    telemetry::{Labels, Sample, TelemetrySource},
};
use stats::{Counters, SelfMetrics};
use std::{
    fmt, fs,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// The spool's directory in a data directory.
const SPOOL: &str = "spool";
/// The file of dead letters in a data directory.
const DEAD_LETTERS: &str = "dead-letters.ndjson";
/// How long a write may wait for room in the spool before it is tried anew.
const WRITE_TIMEOUT: Duration = Duration::from_secs(600);
/// A full spool never makes the pipeline give up: ten years.
const RETRY_DEADLINE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How often it is looked whether everything is sent, when the agent is shut down.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// How long the tasks may take to end once they were told to.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// How the spool is forwarded.
#[derive(Debug, Clone)]
pub struct ForwardOptions {
    /// About how many bytes are read and given to the lanes together. Default: 4 MiB.
    pub group_bytes: usize,
    /// At most how many records these are. Default: 20,000.
    pub group_records: usize,
    /// How many groups may be under way. Default: 4; at least 1.
    pub groups_in_flight: usize,
    /// How many sends may be under way: each lane sends the messages of its keys one group after the other. Default: 4; at least 1.
    pub lanes: usize,
    /// How long the sink may take for one send before it is tried again. Default: 60 s.
    pub send_timeout: Duration,
    /// The longest wait before a send is tried again; the first is at most 100 ms. Default: 30 s.
    pub longest_wait: Duration,
    /// How often the position is committed while there is always something to send. Default: 1 s.
    pub commit_interval: Duration,
}

impl Default for ForwardOptions {
    fn default() -> Self {
        Self {
            group_bytes: 4 << 20,
            group_records: 20_000,
            groups_in_flight: 4,
            lanes: 4,
            send_timeout: Duration::from_secs(60),
            longest_wait: Duration::from_secs(30),
            commit_interval: Duration::from_secs(1),
        }
    }
}

/// Makes an agent. Start with [`Agent::builder`].
#[derive(Debug)]
pub struct Agent;

impl Agent {
    /// An agent that keeps its data in `data_dir` and sends to `sink`, to be configured and started.
    pub fn builder(data_dir: impl Into<PathBuf>, sink: Arc<dyn MessageSink>) -> AgentBuilder {
        AgentBuilder {
            name: "agent".to_owned(),
            data_dir: data_dir.into(),
            sink,
            environment: "shared".to_owned(),
            labels: Labels::empty(),
            sources: Vec::new(),
            spool: SpoolOptions::default(),
            forward: ForwardOptions::default(),
            dead_letters: None,
            self_metrics: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Configures an agent.
#[derive(Debug)]
#[must_use = "nothing flows before `start`"]
pub struct AgentBuilder {
    name: String,
    data_dir: PathBuf,
    sink: Arc<dyn MessageSink>,
    environment: String,
    labels: Labels,
    sources: Vec<(Arc<dyn TelemetrySource>, Labels)>,
    spool: SpoolOptions,
    forward: ForwardOptions,
    dead_letters: Option<Arc<dyn DeadLetters>>,
    self_metrics: Option<Duration>,
    clock: Arc<dyn Clock>,
}

impl AgentBuilder {
    /// What its own samples call it, in the label `agent`. Default: `agent`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The environment to whose topics everything goes that has no label `environment`. Default: `shared`.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = environment.into();
        self
    }

    /// Labels put on everything from all sources; a record's own labels win. Default: none.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// Adds a source.
    pub fn source(self, source: Arc<dyn TelemetrySource>) -> Self {
        self.source_with_labels(source, Labels::empty())
    }

    /// Adds a source, with labels put on everything it emits; a record's own labels win.
    pub fn source_with_labels(mut self, source: Arc<dyn TelemetrySource>, labels: Labels) -> Self {
        self.sources.push((source, labels));
        self
    }

    /// How the spool is kept.
    pub fn spool(mut self, options: SpoolOptions) -> Self {
        self.spool = options;
        self
    }

    /// How the spool is forwarded.
    pub fn forward(mut self, options: ForwardOptions) -> Self {
        self.forward = options;
        self
    }

    /// Where messages go that the sink refuses for good. Default: the file `dead-letters.ndjson` in the data directory.
    pub fn dead_letters(mut self, dead_letters: Arc<dyn DeadLetters>) -> Self {
        self.dead_letters = Some(dead_letters);
        self
    }

    /// Emits `platform_agent_*` and `platform_pipeline_*` samples about the agent itself, every `interval` (at least 10 ms). Default: none.
    pub fn self_metrics(mut self, interval: Duration) -> Self {
        self.self_metrics = Some(interval.max(Duration::from_millis(10)));
        self
    }

    /// The clock that stamps its own samples. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the spool, goes on with what is in it, and starts the sources.
    ///
    /// Fails as [`Spool::open`] does: with [`Conflict`](ErrorKind::Conflict) if another agent has the data directory.
    pub async fn start(self) -> Result<AgentHandle> {
        let (dir, options) = (self.data_dir.clone(), self.spool);
        let opened = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&dir).map_err(|e| crate::files::io(e, "create", &dir))?;
            Spool::open(&dir.join(SPOOL), options)
        });
        let (spool, reader) = opened
            .await
            .map_err(|e| Error::internal("opening the spool stopped half-way").source(e))?
            .map_err(|e| e.operation("start the agent"))?;
        let spool = Arc::new(spool);
        let counters = Arc::new(Counters::default());
        let dead_letters = self.dead_letters.unwrap_or_else(|| {
            let path = self.data_dir.join(DEAD_LETTERS);
            Arc::new(DeadLetterFile::new(path, DeadLetterFile::DEFAULT_MAX_BYTES))
        });
        let stop = CancellationToken::new();
        let delivery = Arc::new(Delivery {
            sink: self.sink,
            dead_letters: Arc::clone(&dead_letters),
            options: self.forward,
            counters: Arc::clone(&counters),
            stop: stop.clone(),
        });
        // What is logged while it sends must not become telemetry that is sent.
        let span = tracing::error_span!(target: "platform_telemetry::agent", WRITE_SPAN);
        let forwarder = AbortOnDrop(tokio::spawn(forwarder::run(delivery, reader).instrument(span)));
        let sink =
            SpoolSink::counting(Arc::clone(&spool), &self.environment, dead_letters, Arc::clone(&counters));
        // One write at a time keeps the order; the spool is quick, and later batches merge meanwhile.
        let mut pipeline = Pipeline::builder(Arc::new(sink))
            .writes_in_flight(1)
            .batch_wait(Duration::from_millis(20))
            .write_timeout(WRITE_TIMEOUT)
            .retry_deadline(RETRY_DEADLINE)
            .clock(Arc::clone(&self.clock));
        for (source, labels) in self.sources {
            pipeline = pipeline.source_with_labels(source, self.labels.with(&labels));
        }
        let own = Arc::new(SelfMetrics {
            spool: Arc::clone(&spool),
            counters: Arc::clone(&counters),
            interval: self.self_metrics.unwrap_or(Duration::MAX),
            clock: self.clock,
        });
        if let Some(interval) = self.self_metrics {
            let labels = self.labels.with_label("agent", &self.name);
            pipeline = pipeline
                .self_metrics(interval, labels.clone())
                .source_with_labels(Arc::clone(&own) as _, labels);
        }
        Ok(AgentHandle {
            labels: self.labels,
            own,
            pipeline: pipeline.start(),
            spool,
            counters,
            stop,
            forwarder: tokio::sync::Mutex::new(Some(forwarder)),
        })
    }
}

/// A running agent. Dropping it stops everything at once, and what is in the spool is sent by the next one;
/// [`shutdown`](Self::shutdown) ends it in order.
pub struct AgentHandle {
    labels: Labels,
    own: Arc<SelfMetrics>,
    pipeline: PipelineHandle,
    spool: Arc<Spool>,
    counters: Arc<Counters>,
    stop: CancellationToken,
    forwarder: tokio::sync::Mutex<Option<AbortOnDrop>>,
}

impl AgentHandle {
    /// What it did so far. Works after the shutdown too.
    pub fn stats(&self) -> AgentStats {
        AgentStats {
            pipeline: self.pipeline.stats(),
            spool: self.spool.stats(),
            forward: self.counters.snapshot(),
            not_finite: self.counters.not_finite.load(Ordering::Relaxed),
        }
    }

    /// What it did so far, as the samples that [`AgentBuilder::self_metrics`] would emit.
    pub fn samples(&self) -> Vec<Sample> {
        self.own.samples()
    }

    /// Starts one more source, with the agent's labels and these put on everything it emits. Fails with
    /// [`Cancelled`](ErrorKind::Cancelled) once the agent is being stopped.
    pub fn add_source(&self, source: Arc<dyn TelemetrySource>, labels: &Labels) -> Result<SourceId> {
        self.pipeline.add_source(source, &self.labels.with(labels))
    }

    /// Stops a source, as [`PipelineHandle::remove_source`] does.
    pub async fn remove_source(&self, id: SourceId, deadline: Duration) -> bool {
        self.pipeline.remove_source(id, deadline).await
    }

    /// Stops in order: sources end, what they emitted becomes durable, and the spool is sent for as long as there is time. Idempotent.
    ///
    /// Sources have half of `deadline`. What is not sent when `deadline` passes is no error: it is in the spool, from which the next agent sends
    /// it; [`AgentStats::spool`] says how much it is. Fails with [`Timeout`](ErrorKind::Timeout) when something could not be made durable
    /// in time; its sources were told so.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves the agent stopping; calling again continues.
    pub async fn shutdown(&self, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        let mut forwarder = self.forwarder.lock().await;
        let drained = self.pipeline.shutdown(deadline / 2).await;
        let closed = match tokio::time::timeout_at(end, self.spool.close()).await {
            Ok(closed) => closed,
            Err(_) => {
                Err(Error::new(ErrorKind::Timeout, format!("the disk did not answer within {deadline:?}")))
            }
        };
        if let Some(task) = forwarder.as_mut() {
            while self.spool.stats().waiting_records > 0 && Instant::now() < end && !task.0.is_finished() {
                tokio::time::sleep(DRAIN_POLL).await;
            }
            self.stop.cancel();
            if tokio::time::timeout(STOP_DEADLINE, &mut task.0).await.is_err() {
                tracing::warn!("the forwarder did not stop in time and is aborted");
            }
            *forwarder = None;
        }
        let waiting = self.spool.stats().waiting_records;
        if waiting > 0 {
            tracing::warn!(waiting, "the agent stopped before everything was sent; the rest is in the spool");
        }
        drained.and(closed).map_err(|e| e.operation("stop the agent"))
    }
}

impl fmt::Debug for AgentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentHandle").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

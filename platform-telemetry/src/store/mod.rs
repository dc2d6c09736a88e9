//! The embedded store: metrics and logs in a directory, without a server.
//!
//! A write goes to a journal, which is synced to disk before the write is acknowledged, and into memory, where queries find it at once.
//! Every so often what is in memory moves into partitions: one pair of [tantivy] indexes for each hour, samples by series and log
//! records by word. Old partitions are dropped as a whole.
//!
//! ```text
//! write -> journal -> head (memory) -> partitions (indexes) -> dropped by retention
//!             acknowledged    \______________ queries ________/
//! ```

mod codec;
mod directory;
mod excluded;
mod fault;
mod flusher;
mod frames;
mod head;
mod journal;
mod logs;
mod partition;
mod samples;
mod series;
mod table;
mod view;
mod words;
mod writer;

use crate::engine::{self, SeriesReader};
use async_trait::async_trait;
use directory::StoreDirectory;
use flusher::{Ending, FlushQueue, Flusher};
use head::Head;
use logs::LogSearch;
use platform_core::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    telemetry::{
        Batch, LogPage, LogQuery, MetricQuery, Selector, Series, StoreStats, TelemetrySink, TelemetryStore,
        TimeRange,
    },
};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, RwLock,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::{Semaphore, oneshot};
use view::{State, View};
use writer::{Write, Writer};

/// A batch may be about this large.
const MAX_BATCH_BYTES: usize = 256 << 20;

/// How an [`EmbeddedStore`] keeps what it is given.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The stretch of time that a partition covers, at least a minute. Default: an hour. May differ from run to run.
    pub partition: Duration,
    /// Partitions that ended longer ago than this are dropped, when something is flushed and on opening. Default: none are.
    pub max_age: Option<Duration>,
    /// While the partitions take more bytes than this, the oldest is dropped; the latest always stays. Default: none are.
    pub max_bytes: Option<u64>,
    /// How long at most a record stays in memory and journal before it moves to its partition. Default: 30 s.
    pub flush_interval: Duration,
    /// Writes wait while those that are not durable yet take more bytes than this. Default: 32 MiB.
    pub queue_bytes: usize,
    /// Memory for building an index, of which a few are built at a time; at least 15 MB. Default: 15 MB.
    pub writer_memory: usize,
    /// Whether opening reads all indexes once and compares their checksums, a second for each few gigabytes.
    /// Damage that it would have found makes queries fail later, or answer wrongly. Default: true.
    pub verify: bool,
    /// What time it is, for `max_age`. Default: the machine's clock.
    pub clock: Arc<dyn Clock>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            partition: Duration::from_secs(3600),
            max_age: None,
            max_bytes: None,
            flush_interval: Duration::from_secs(30),
            queue_bytes: 32 << 20,
            writer_memory: table::MIN_WRITER_MEMORY,
            verify: true,
            clock: Arc::new(SystemClock),
        }
    }
}

impl StoreOptions {
    fn partition_millis(&self) -> i64 {
        i64::try_from(self.partition.as_millis()).unwrap_or(i64::MAX).max(60_000)
    }
}

/// Metrics and logs in a directory of this machine.
///
/// # Behavior
/// - A write is acknowledged once it is synced to disk: it survives the death of the process and of the machine.
///   Concurrent writes share a sync.
/// - Of samples of one series at one time the last written is kept. Every log record is kept, repeated ones too.
/// - Samples and records may come late and in any order.
/// - When the disk is full, writes fail with [`Exhausted`](ErrorKind::Exhausted) and change nothing; queries work on.
/// - One process at a time can have a directory open.
/// - Queries work after [`close`](TelemetrySink::close) too.
///
/// # Cancel safety
/// A write whose future is dropped may have been written or not. A query whose future is dropped runs to its end in the background.
pub struct EmbeddedStore {
    path: PathBuf,
    view: Arc<View>,
    queue: Arc<FlushQueue>,
    room: Arc<Semaphore>,
    queue_bytes: u32,
    open: Mutex<Option<Open>>,
}

/// What a store holds until it is closed.
struct Open {
    writes: Sender<Write>,
    threads: Vec<JoinHandle<()>>,
    /// Keeps the directory locked.
    directory: Arc<StoreDirectory>,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, which is created if it is missing, and recovers what was acknowledged before a crash.
    ///
    /// Blocks the thread: it reads the dictionary and opens all partitions.
    ///
    /// Fails with
    /// - [`Conflict`](ErrorKind::Conflict): another process has it open; the message says which.
    /// - [`AlreadyExists`](ErrorKind::AlreadyExists): the directory has files and is no store.
    /// - [`Unsupported`](ErrorKind::Unsupported): a newer version wrote it.
    /// - [`Corrupt`](ErrorKind::Corrupt): a file is damaged; the message says which, and how to use the rest.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Self> {
        Self::recover(dir, options)
            .map_err(|e| e.operation("open the telemetry store").subject(dir.display().to_string()))
    }

    fn recover(dir: &Path, options: StoreOptions) -> Result<Self> {
        let directory = Arc::new(StoreDirectory::claim(dir)?);
        let (dictionary, series) = series::Dictionary::open(&directory.series())?;
        let mut flusher = Flusher::open(options.clone(), directory.clone())?;
        let mut generation = flusher.last_generation();
        let mut journals = Vec::new();
        for journaled in directory.journals()? {
            generation = generation.max(journaled);
            let head = journal::replay(&directory, journaled)?;
            if !head.is_empty() {
                let (samples, log_records) = (head.sample_count, head.log_count);
                tracing::info!(samples, log_records, "recovering what the last run left in its journal");
                flusher.flush(&head)?;
            }
            journals.push(journaled);
        }
        let partitions: BTreeMap<_, _> =
            flusher.partitions().map(|(key, partition)| (key, partition.view())).collect();
        for partition in partitions.values() {
            let last =
                partition.samples.as_ref().map(samples::SampleView::last_series).transpose()?.flatten();
            dictionary.expect_to_have(last, &directory.series())?;
        }
        for journaled in journals {
            journal::delete(&directory.journal(journaled))?;
        }
        generation += 1;
        let partition_millis = options.partition_millis();
        let journal = journal::Journal::create(&directory, generation, partition_millis)?;
        let active = Head::new(generation, partition_millis);
        let state = State { active, frozen: [].into(), partitions };
        let view = Arc::new(View { dictionary: RwLock::new(dictionary), state: RwLock::new(state) });
        flusher.retain(&view);

        let queue = Arc::new(FlushQueue::default());
        let queue_bytes = u32::try_from(options.queue_bytes).unwrap_or(u32::MAX).max(1);
        let writer =
            Writer { options, directory: directory.clone(), series, journal, generation, not_before: None };
        let (outbox, inbox) = mpsc::channel();
        let store = Self {
            path: dir.to_owned(),
            view: view.clone(),
            queue: queue.clone(),
            room: Arc::new(Semaphore::new(queue_bytes as usize)),
            queue_bytes,
            open: Mutex::new(Some(Open { writes: outbox, threads: Vec::new(), directory })),
        };
        store.spawn("telemetry-flush", {
            let (view, queue) = (view.clone(), queue.clone());
            move || flusher.run(&view, &queue)
        })?;
        store.spawn("telemetry-write", move || writer.run(&view, &queue, &inbox))?;
        Ok(store)
    }

    /// Deletes the store in `dir` with everything in it; files that are not the store's stay. A store that is not there is no error.
    ///
    /// Blocks the thread. Fails with [`Conflict`](ErrorKind::Conflict) if it is open, and with
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if the directory has files and is no store.
    pub fn destroy(dir: &Path) -> Result<()> {
        if !dir.exists() {
            return Ok(());
        }
        StoreDirectory::claim(dir)
            .and_then(StoreDirectory::destroy)
            .map_err(|e| e.operation("delete the telemetry store").subject(dir.display().to_string()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)
            .map_err(|e| Error::new(ErrorKind::Exhausted, "a thread could not be started").source(e))?;
        if let Some(open) = &mut *fault::unpoisoned(self.open.lock()) {
            open.threads.push(thread);
        }
        Ok(())
    }

    /// Runs a query on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&View) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let view = self.view.clone();
        match tokio::task::spawn_blocking(move || work(&view)).await {
            Ok(outcome) => outcome,
            Err(e) => Err(Error::internal("the query stopped half-way").source(e)),
        }
        .map_err(|e| e.operation(operation).subject(format!("the telemetry store {}", self.path.display())))
    }

    fn closed() -> Error {
        Error::new(ErrorKind::Cancelled, "the telemetry store is closed")
            .operation("write to the telemetry store")
    }
}

#[async_trait]
impl TelemetrySink for EmbeddedStore {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn write(&self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = batch_bytes(&batch);
        if bytes > MAX_BATCH_BYTES {
            let message = format!("a batch of {bytes} bytes is too large");
            return Err(Error::new(ErrorKind::Exhausted, message)
                .operation("write to the telemetry store")
                .help(format!("split it into batches of at most {MAX_BATCH_BYTES} bytes")));
        }
        let share = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.queue_bytes);
        let room = self.room.clone().acquire_many_owned(share).await.map_err(|_| Self::closed())?;
        let (acknowledge, acknowledged) = oneshot::channel();
        let write = Write { batch, bytes, acknowledge, room };
        {
            let open = fault::unpoisoned(self.open.lock());
            let open = open.as_ref().ok_or_else(Self::closed)?;
            open.writes.send(write).map_err(|_| Self::closed())?;
        }
        acknowledged.await.map_err(|_| Self::closed())?
    }

    async fn close(&self) -> Result<()> {
        self.room.close();
        let Some(open) = fault::unpoisoned(self.open.lock()).take() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || open.end());
        joined.await.map_err(|e| Error::internal("closing stopped half-way").source(e))?;
        if let Some((_, why)) = &self.queue.lock().failure {
            tracing::warn!(
                why,
                "a part of the telemetry is in the journal still, until the store is opened again"
            );
        }
        Ok(())
    }
}

#[async_trait]
impl TelemetryStore for EmbeddedStore {
    async fn select(&self, selector: &Selector, range: TimeRange) -> Result<Vec<Series>> {
        let selector = selector.clone();
        self.read("select from", move |view| view.select(&selector, range)).await
    }

    async fn query(&self, query: &MetricQuery) -> Result<Vec<Series>> {
        let query = query.clone();
        self.read("query", move |view| engine::evaluate(view, &query)).await
    }

    async fn logs(&self, query: &LogQuery) -> Result<LogPage> {
        let search = LogSearch::new(query);
        self.read("search the logs of", move |view| view.logs(&search)).await
    }

    async fn label_values(
        &self,
        name: &str,
        selector: Option<&Selector>,
        range: TimeRange,
    ) -> Result<Vec<String>> {
        let (name, selector) = (name.to_owned(), selector.cloned());
        self.read("list label values of", move |view| view.label_values(&name, selector.as_ref(), range))
            .await
    }

    async fn stats(&self) -> Result<StoreStats> {
        let path = self.path.clone();
        self.read("count", move |view| {
            let counts = view.counts();
            let mut stats = StoreStats::default();
            stats.samples = counts.samples;
            stats.log_records = counts.log_records;
            stats.series = counts.series;
            stats.disk_bytes = flusher::directory_bytes(&path);
            Ok(stats)
        })
        .await
    }
}

impl Open {
    /// Ends the threads, the writer first: it tells the flusher what is left.
    fn end(self) {
        let Self { writes, threads, directory } = self;
        drop(writes);
        for thread in threads.into_iter().rev() {
            if thread.join().is_err() {
                tracing::error!(
                    "a thread of the telemetry store panicked; the journal has what was acknowledged"
                );
            }
        }
        drop(directory);
    }
}

impl Drop for EmbeddedStore {
    /// Waits for the flush under way, if any. What is not flushed is recovered from the journal.
    fn drop(&mut self) {
        if let Some(open) = fault::unpoisoned(self.open.lock()).take() {
            self.queue.update(|state| state.ending = Some(Ending::Now));
            open.end();
        }
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("path", &self.path).finish_non_exhaustive()
    }
}

fn batch_bytes(batch: &Batch) -> usize {
    let samples = batch.samples.iter().map(|s| 64 + s.metric.len() + head::label_bytes(&s.labels));
    let logs = batch.logs.iter().map(head::log_bytes);
    samples.chain(logs).sum()
}

//! Log files, followed across rotations and restarts.

mod assembly;
mod checkpoint;
mod follower;
mod format;
mod lines;
mod multiline;
mod neighbours;
mod place;
mod record;
mod stats;
mod tailer;

pub(crate) use checkpoint::is_checkpoint;
pub use format::LogFormat;
pub use stats::TailStats;
pub use tailer::StartAt;

use super::PodMetadata;
use async_trait::async_trait;
use checkpoint::{Checkpoint, Loaded};
use follower::{Outcome, Ticket};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use multiline::Rules;
use platform_core::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    telemetry::{
        Batch, Delivery, Emitter, Labels, TelemetrySource,
        settings::{Multiline, TailSettings},
    },
};
use stats::Counters;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tailer::{Config, Tailer};
use tokio_util::sync::CancellationToken;

/// Batches that may be under way at once.
const IN_FLIGHT: usize = 16;
/// Longer than a pipeline retries: then it has answered.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(900);
/// How long the end waits for what is under way, before it leaves it to be read again.
const LAST_DELIVERIES: Duration = Duration::from_secs(10);
const METRICS_INTERVAL: Duration = Duration::from_secs(15);

/// Follows files; every line becomes a log record with the labels `file` and `source`, and of a container's file with those that say which
/// container it is: `namespace`, `pod`, `pod_uid`, `container`, `stream`, and what [`PodMetadata`] knows besides.
///
/// # Behavior
/// - Files are looked at every [`poll interval`](FileTailBuilder::poll_interval), which works on every file system, unlike notifications.
/// - A file that is renamed is followed under its new name, and read to its end after its name belongs to another
///   file; it is let go once nothing came for [`rotated_idle`](FileTailBuilder::rotated_idle). A file that is truncated in place
///   (`copytruncate`) is read from its beginning. What was written and truncated between two looks is lost by the nature
///   of `copytruncate`. Files that are created and renamed between two looks, or between two runs, are found beside the one that has their name, under that name with a number or a
///   date behind it; those that are compressed or deleted by then are lost.
/// - Which file it is, is told by device and inode, its first 256 bytes and the 64 bytes before the position: an inode that is
///   used again is not mistaken.
/// - A line is given away when its end is there, or when the file has not grown for the
///   [`grace`](FileTailBuilder::partial_grace). Over-long lines are cut, bytes that are no UTF-8 replaced; both are counted.
/// - Empty lines are records too.
/// - What container runtimes write is unwrapped, and a line that they have split is one again, as far as the line limit goes; what they write
///   besides is counted and kept as it is. See [`LogFormat`].
/// - By a [`multiline`](FileTailBuilder::multiline) rule, lines are joined to records. Pieces and lines are joined for each stream by itself; what a rotation
///   cuts apart stays apart.
/// - Files of containers are known by their names, `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` and
///   `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/N.log`; links count as what they lead to. With [`metadata`](FileTailBuilder::metadata), a file is not read before its
///   pod is known, but at most for the [`metadata wait`](FileTailBuilder::metadata_wait); then its lines bear only what its name says.
/// - With a [`checkpoint`](FileTailBuilder::checkpoint), the position moves only over lines that are durable, and a later run continues
///   there: every line at least once, exactly once after an orderly end. It never moves behind the beginning of a record that is unfinished.
/// - Lines that the sink did not take are read again, after a growing wait; those that it refuses for good three times
///   are given up, counted in [`TailStats::lines_lost`] and told.
///
/// Time and severity are taken from the line where it has them: RFC 3339, syslog, klog, JSON, logfmt. The time of a container's line is the
/// runtime's.
#[derive(Debug)]
pub struct FileTail {
    name: String,
    config: Arc<Config>,
    counters: Arc<Counters>,
    poll_interval: Duration,
    checkpoint: Option<PathBuf>,
    checkpoint_interval: Duration,
    clock: Arc<dyn Clock>,
    /// Where the last run of this source stopped.
    position: Mutex<Option<Checkpoint>>,
}

impl FileTail {
    /// Follows what `patterns` stand for: paths, or globs with `*`, `?`, `[…]` and `**`. Files may appear later.
    pub fn builder<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> FileTailBuilder {
        FileTailBuilder {
            patterns: patterns.into_iter().map(Into::into).collect(),
            labels: Labels::empty(),
            start_at: StartAt::End,
            checkpoint: None,
            checkpoint_interval: Duration::from_secs(1),
            poll_interval: Duration::from_millis(250),
            partial_grace: Duration::from_secs(5),
            rotated_idle: Duration::from_secs(300),
            line_limit: 256 * 1024,
            exclude: Vec::new(),
            format: LogFormat::default(),
            multiline: None,
            metadata: None,
            metadata_wait: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
        }
    }

    /// Follows what an agent is told to, from the beginning of each file.
    ///
    /// ```
    /// use platform_core::telemetry::settings::AgentSettings;
    /// use platform_telemetry::sources::FileTail;
    ///
    /// let settings = AgentSettings::from_yaml("{cluster: shop-testing, kafka: {bootstrapServers: 'kafka:9092'}}")?;
    /// let tail = FileTail::of_settings(&settings.tail).build()?;
    /// # let _ = tail;
    /// # Ok::<(), platform_core::Error>(())
    /// ```
    pub fn of_settings(settings: &TailSettings) -> FileTailBuilder {
        let tail = Self::builder(&settings.paths)
            .exclude(&settings.exclude)
            .checkpoint(&settings.checkpoint)
            .line_limit(settings.max_line_bytes)
            .start_at(StartAt::Beginning);
        match &settings.multiline {
            Some(multiline) => tail.multiline(multiline.clone()),
            None => tail,
        }
    }

    /// What it did so far.
    pub fn stats(&self) -> TailStats {
        self.counters.snapshot()
    }

    async fn load(&self) -> Result<Option<Checkpoint>> {
        if let Some(position) = self.lock().clone() {
            return Ok(Some(position));
        }
        let Some(path) = self.checkpoint.clone() else { return Ok(None) };
        let loaded = blocking(move || Checkpoint::load(&path)).await??;
        Ok(match loaded {
            Loaded::Found(checkpoint) => Some(checkpoint),
            Loaded::Missing => None,
            // Rather twice than never: no file is at its end.
            Loaded::Damaged => Some(Checkpoint::new(self.config.patterns.clone(), Vec::new())),
        })
    }

    async fn save(&self, checkpoint: Checkpoint) -> Result<()> {
        *self.lock() = Some(checkpoint.clone());
        let Some(path) = self.checkpoint.clone() else { return Ok(()) };
        blocking(move || checkpoint.save(&path)).await?
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Checkpoint>> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TelemetrySource for FileTail {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        let checkpoint = self.load().await?;
        let mut run = Run {
            tail: self,
            tailer: Some(Tailer::new(Arc::clone(&self.config), Arc::clone(&self.counters), checkpoint)),
            deliveries: FuturesUnordered::new(),
            saved: None,
        };
        let ended = {
            let watched = async {
                if let Some(metadata) = &self.config.metadata {
                    metadata.run(shutdown).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                ended = run.follow(out, shutdown) => ended,
                () = watched => Ok(()),
            }
        };
        run.finish().await;
        ended
    }
}

/// One run of a tail.
struct Run<'a> {
    tail: &'a FileTail,
    /// Away while a blocking task has it.
    tailer: Option<Tailer>,
    deliveries: FuturesUnordered<BoxFuture<'static, (u64, Ticket, Outcome)>>,
    saved: Option<Checkpoint>,
}

impl Run<'_> {
    async fn follow(&mut self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        let mut next_save = Instant::now();
        let mut next_metrics = Instant::now();
        while !shutdown.is_cancelled() {
            let now = Instant::now();
            let read = self.poll(IN_FLIGHT.saturating_sub(self.deliveries.len())).await?;
            let busy = !read.is_empty();
            for batched in read {
                // What was read and not emitted is not durable, and so read again.
                let Some(delivery) = self.emit(Batch::logs(batched.records), out, shutdown).await? else {
                    return Ok(());
                };
                let (follower, ticket) = (batched.follower, batched.ticket);
                self.deliveries.push(
                    async move {
                        let outcome = match delivery.durable(DELIVERY_DEADLINE).await {
                            Ok(()) => Outcome::Durable,
                            Err(error) if error.is_retryable() || is_unsettled(error.kind()) => {
                                Outcome::Failed
                            }
                            Err(_) => Outcome::Refused,
                        };
                        (follower, ticket, outcome)
                    }
                    .boxed(),
                );
            }
            if now >= next_metrics {
                next_metrics = now + METRICS_INTERVAL;
                let labels = self.tail.config.labels.with_label("source", &self.tail.name);
                let samples = self.tail.counters.samples(self.tail.clock.now(), &labels);
                drop(self.emit(Batch::samples(samples), out, shutdown).await?);
            }
            // Busy files are read on as deliveries make room; quiet ones are left alone for a while.
            if !busy || self.deliveries.len() >= IN_FLIGHT {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(self.tail.poll_interval) => {}
                    Some(settled) = self.deliveries.next(), if !self.deliveries.is_empty() => self.settle(settled),
                }
            }
            while let Some(Some(settled)) = self.deliveries.next().now_or_never() {
                self.settle(settled);
            }
            if now >= next_save || self.tailer.as_mut().is_some_and(Tailer::take_unwritten) {
                next_save = now + self.tail.checkpoint_interval;
                self.save().await;
            }
        }
        Ok(())
    }

    /// Emits a batch; `None` when it is to end first.
    ///
    /// Being held back may take long, while files are rotated twice: those in between must be found all the same.
    async fn emit(
        &mut self,
        batch: Batch,
        out: &Emitter,
        shutdown: &CancellationToken,
    ) -> Result<Option<Delivery>> {
        let emitted = out.emit(batch);
        tokio::pin!(emitted);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(None),
                delivery = &mut emitted => return delivery.map(Some),
                () = tokio::time::sleep(self.tail.poll_interval) => {}
            }
            self.poll(0).await?;
            if self.tailer.as_mut().is_some_and(Tailer::take_unwritten) {
                self.save().await;
            }
        }
    }

    /// Waits for what is under way, so that an orderly end repeats nothing.
    async fn finish(&mut self) {
        let end = tokio::time::Instant::now() + LAST_DELIVERIES;
        while let Ok(Some(settled)) = tokio::time::timeout_at(end, self.deliveries.next()).await {
            self.settle(settled);
        }
        self.save().await;
    }

    async fn poll(&mut self, room: usize) -> Result<Vec<tailer::Batched>> {
        let Some(mut tailer) = self.tailer.take() else { return Ok(Vec::new()) };
        let wall = self.tail.clock.now();
        let (tailer, read) = blocking(move || {
            let read = tailer.poll(Instant::now(), wall, room);
            (tailer, read)
        })
        .await?;
        self.tailer = Some(tailer);
        Ok(read)
    }

    fn settle(&mut self, (follower, ticket, outcome): (u64, Ticket, Outcome)) {
        if let Some(tailer) = &mut self.tailer {
            tailer.settle(follower, ticket, outcome, Instant::now());
        }
    }

    /// Writes the positions down if they moved. A failure is told, and tried again the next time.
    async fn save(&mut self) {
        let Some(tailer) = &self.tailer else { return };
        let checkpoint = tailer.checkpoint(self.tail.clock.now());
        if self.saved.as_ref().is_some_and(|saved| saved.same_positions(&checkpoint)) {
            return;
        }
        match self.tail.save(checkpoint.clone()).await {
            Ok(()) => self.saved = Some(checkpoint),
            Err(error) => tracing::warn!(source = self.tail.name, %error, "positions in logs cannot be kept"),
        }
    }
}

/// Whether nobody knows if the batch was stored.
const fn is_unsettled(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Timeout | ErrorKind::Cancelled)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Internal, "the task that reads files ended").source(error).retryable(true)
    })
}

/// Configures a [`FileTail`].
#[derive(Debug)]
#[must_use = "nothing is followed before it is built and run"]
pub struct FileTailBuilder {
    patterns: Vec<String>,
    labels: Labels,
    start_at: StartAt,
    checkpoint: Option<PathBuf>,
    checkpoint_interval: Duration,
    poll_interval: Duration,
    partial_grace: Duration,
    rotated_idle: Duration,
    line_limit: usize,
    exclude: Vec<String>,
    format: LogFormat,
    multiline: Option<Multiline>,
    metadata: Option<PodMetadata>,
    metadata_wait: Duration,
    clock: Arc<dyn Clock>,
}

impl FileTailBuilder {
    /// Labels of every record, besides those that say where it comes from, which win.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// Where reading begins in files that are there when the tail first looks. Those that appear later, and those that appeared while
    /// a tail with this checkpoint was not running, are read from their beginning. Default: [`StartAt::End`].
    pub fn start_at(mut self, start: StartAt) -> Self {
        self.start_at = start;
        self
    }

    /// Keeps positions in this file; its directory is made where it is missing. Default: only in memory.
    pub fn checkpoint(mut self, path: impl AsRef<Path>) -> Self {
        self.checkpoint = Some(path.as_ref().to_owned());
        self
    }

    /// How often positions that moved are written down. Default: 1 s.
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint_interval = interval;
        self
    }

    /// How often files are looked at. Default: 250 ms; at least 10 ms.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(10));
        self
    }

    /// How long a line without an end is held. Default: 5 s.
    pub fn partial_grace(mut self, grace: Duration) -> Self {
        self.partial_grace = grace;
        self
    }

    /// How long a file that was rotated away is watched after its last line. Default: 5 min.
    pub fn rotated_idle(mut self, idle: Duration) -> Self {
        self.rotated_idle = idle;
        self
    }

    /// How many bytes of a line are kept. Default: 256 KiB; at least 1.
    pub fn line_limit(mut self, bytes: usize) -> Self {
        self.line_limit = bytes.max(1);
        self
    }

    /// Leaves out what these globs stand for. Default: nothing.
    pub fn exclude<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.exclude = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// How lines are read. Default: [`LogFormat::Detect`].
    pub fn format(mut self, format: LogFormat) -> Self {
        self.format = format;
        self
    }

    /// Which lines are one record. Default: each is one.
    pub fn multiline(mut self, multiline: Multiline) -> Self {
        self.multiline = Some(multiline);
        self
    }

    /// What is known of pods, for the lines of containers; it is run while the tail runs. Default: what the files' names say.
    pub fn metadata(mut self, metadata: PodMetadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// How long the file of a pod is left unread that is not known yet. Default: 10 s.
    pub fn metadata_wait(mut self, wait: Duration) -> Self {
        self.metadata_wait = wait;
        self
    }

    /// The clock that stamps lines without a time. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The source, called `tail:PATTERN`. Fails with [`Invalid`](ErrorKind::Invalid) where there is no pattern, or a pattern or the multi-line
    /// rule is malformed.
    pub fn build(self) -> Result<FileTail> {
        let Some(first) = self.patterns.first() else {
            return Err(Error::invalid("no file to follow is named").operation("build file tail"));
        };
        let glob = |pattern: &String| {
            glob::Pattern::new(pattern).map_err(|e| {
                Error::invalid(e.msg).operation("build file tail").subject(format!("pattern {pattern:?}"))
            })
        };
        self.patterns.iter().try_for_each(|pattern| glob(pattern).map(drop))?;
        let exclude = self.exclude.iter().map(glob).collect::<Result<_>>()?;
        let rules = self.multiline.as_ref().map(Rules::new).transpose();
        let rules = rules.map_err(|e| e.operation("build file tail").subject("multi-line rule"))?;
        let more = if self.patterns.len() > 1 { ",…" } else { "" };
        let name = format!("tail:{first}{more}");
        let config = Config {
            source: name.clone(),
            patterns: self.patterns,
            labels: self.labels,
            start_at: self.start_at,
            line_limit: self.line_limit,
            partial_grace: self.partial_grace,
            rotated_idle: self.rotated_idle,
            exclude,
            format: self.format,
            rules: rules.map(Arc::new),
            metadata: self.metadata,
            metadata_wait: self.metadata_wait,
        };
        Ok(FileTail {
            name,
            config: Arc::new(config),
            counters: Arc::default(),
            poll_interval: self.poll_interval,
            checkpoint: self.checkpoint,
            checkpoint_interval: self.checkpoint_interval,
            clock: self.clock,
            position: Mutex::default(),
        })
    }
}

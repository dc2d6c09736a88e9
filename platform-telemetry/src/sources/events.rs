//! Events of this program, by the `tracing` crate.

use crate::pipeline::WRITE_SPAN;
use async_trait::async_trait;
use platform_core::{
    Result,
    clock::{Clock, SystemClock},
    telemetry::{Batch, Emitter, Labels, LogRecord, Severity, TelemetrySource},
};
use std::{
    cell::Cell,
    fmt::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

/// Targets that write telemetry: their own events would be written by them again, for ever.
const OWN_TARGETS: [&str; 4] =
    ["platform_telemetry::pipeline", "platform_telemetry::store", "platform_telemetry::engine", "tantivy"];
/// The longest message or field that is kept; more is cut.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;
const MAX_FIELD_BYTES: usize = 1024;
const BATCH_RECORDS: usize = 512;
/// How long a batch waits for more events.
const BATCH_WAIT: Duration = Duration::from_millis(200);

/// A layer for a `tracing` subscriber, and the source of what it sees, with a queue of at most `capacity` events between them.
///
/// An event becomes a log record: its message the body; its fields, `target`, `span` (the names of the spans it happened in, the outermost
/// first, by `:`) and `source="tracing"` labels. The layer never blocks: when the queue is full the event is dropped and counted
/// ([`TracingSource::stats`]), and the number is told by a record of its own once there is room.
///
/// What happens inside a pipeline's writes, and what the pipeline and the store say, is left out, since storing it would say more.
///
/// ```no_run
/// use platform_telemetry::sources::tracing_source;
/// use tracing_subscriber::prelude::*;
///
/// let (layer, source) = tracing_source(4096);
/// tracing_subscriber::registry().with(layer).init();
/// ```
pub fn tracing_source(capacity: usize) -> (TracingLayer, TracingSource) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let counts = Arc::new(Counts::default());
    let layer = TracingLayer {
        sender,
        counts: Arc::clone(&counts),
        level: LevelFilter::INFO,
        except: OWN_TARGETS.iter().map(|target| (*target).to_owned()).collect(),
        clock: Arc::new(SystemClock),
    };
    (layer, TracingSource { receiver: Mutex::new(receiver), counts })
}

/// What became of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TracingStats {
    /// Events put into the queue.
    pub queued: u64,
    /// Events dropped because the queue was full or its source is gone.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Counts {
    queued: AtomicU64,
    dropped: AtomicU64,
    /// How many of the dropped were told.
    told: AtomicU64,
}

/// Takes events; made by [`tracing_source`].
#[derive(Debug)]
pub struct TracingLayer {
    sender: mpsc::Sender<LogRecord>,
    counts: Arc<Counts>,
    level: LevelFilter,
    except: Vec<String>,
    clock: Arc<dyn Clock>,
}

impl TracingLayer {
    /// The finest level that is taken. Default: `INFO`. Other layers of the subscriber are not concerned.
    #[must_use]
    pub fn level(mut self, level: LevelFilter) -> Self {
        self.level = level;
        self
    }

    /// Leaves out events whose target is `target` or a module in it.
    #[must_use]
    pub fn except_target(mut self, target: impl Into<String>) -> Self {
        self.except.push(target.into());
        self
    }

    /// The clock that stamps the records. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn takes(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= &self.level
            && !self.except.iter().any(|except| {
                metadata
                    .target()
                    .strip_prefix(except.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            })
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TracingLayer {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // Formatting a field can log: such an event would come back here within this one.
        let Some(_guard) = Entered::new() else { return };
        if !self.takes(event.metadata()) {
            return;
        }
        let mut spans = String::new();
        for span in
            context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if span.name() == WRITE_SPAN {
                return;
            }
            if !spans.is_empty() {
                spans.push(':');
            }
            spans.push_str(span.name());
        }
        // Before formatting: a full queue costs the program next to nothing.
        let Ok(place) = self.sender.try_reserve() else {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        place.send(self.record(event, &spans));
        self.counts.queued.fetch_add(1, Ordering::Relaxed);
    }
}

impl TracingLayer {
    fn record(&self, event: &Event<'_>, spans: &str) -> LogRecord {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let own = [("target", event.metadata().target()), ("span", spans), ("source", "tracing")];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        LogRecord {
            timestamp: self.clock.now(),
            severity: severity(*event.metadata().level()),
            body: fields.message,
            labels: fields.others.into_iter().chain(own).collect(),
        }
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warn,
        Level::INFO => Severity::Info,
        Level::DEBUG => Severity::Debug,
        Level::TRACE => Severity::Trace,
    }
}

/// Says that this thread is inside the layer.
struct Entered;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Entered {
    fn new() -> Option<Self> {
        (!INSIDE.replace(true)).then_some(Self)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

/// The message and the other fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, String)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let is_message = field.name() == "message";
        let limit = if is_message { MAX_MESSAGE_BYTES } else { MAX_FIELD_BYTES };
        let mut text = Bounded { text: String::new(), limit };
        // It fails when the limit is reached, or in the value's own Debug: what there is, is kept.
        let _ = text.write_fmt(value);
        if is_message {
            self.message = text.text;
        } else {
            self.others.push((field.name().to_owned(), text.text));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}

/// Text that stops growing at a limit.
struct Bounded {
    text: String,
    limit: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = self.limit.saturating_sub(self.text.len());
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        let cut = (0..=room).rev().find(|at| more.is_char_boundary(*at)).unwrap_or_default();
        self.text.push_str(more.get(..cut).unwrap_or_default());
        Err(fmt::Error)
    }
}

/// Emits what the layer took; made by [`tracing_source`].
#[derive(Debug)]
pub struct TracingSource {
    receiver: Mutex<mpsc::Receiver<LogRecord>>,
    counts: Arc<Counts>,
}

impl TracingSource {
    /// What became of events so far.
    pub fn stats(&self) -> TracingStats {
        TracingStats {
            queued: self.counts.queued.load(Ordering::Relaxed),
            dropped: self.counts.dropped.load(Ordering::Relaxed),
        }
    }

    /// Says in the log itself that some of it is missing.
    fn gap(dropped: u64) -> LogRecord {
        LogRecord {
            timestamp: SystemClock.now(),
            severity: Severity::Warn,
            body: format!("{dropped} events were dropped: the queue was full"),
            labels: Labels::from_iter([("source", "tracing"), ("target", module_path!())]),
        }
    }
}

#[async_trait]
impl TelemetrySource for TracingSource {
    fn name(&self) -> &'static str {
        "tracing"
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        let mut queue = self.receiver.lock().await;
        loop {
            let mut records = Vec::with_capacity(BATCH_RECORDS);
            let stopping = tokio::select! {
                // What was logged before the end is still emitted.
                biased;
                () = shutdown.cancelled() => true,
                taken = queue.recv_many(&mut records, BATCH_RECORDS) => taken == 0,
            };
            if !stopping && records.len() < BATCH_RECORDS {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(BATCH_WAIT) => {}
                }
            }
            while records.len() < BATCH_RECORDS
                && let Ok(record) = queue.try_recv()
            {
                records.push(record);
            }
            let dropped = self.stats().dropped;
            let untold = dropped - self.counts.told.swap(dropped, Ordering::Relaxed);
            if untold > 0 {
                records.push(Self::gap(untold));
            }
            let last = stopping && records.len() < BATCH_RECORDS;
            if !records.is_empty() {
                // Events cannot be read again: whether they became durable changes nothing here.
                drop(out.emit(Batch::logs(records)).await?);
            }
            if last {
                return Ok(());
            }
        }
    }
}

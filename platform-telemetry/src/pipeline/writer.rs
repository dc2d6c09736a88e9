//! The draining side: merges batches, writes several at once, retries, acknowledges.

use super::{Settings, full_jitter, stats::Counters, supervisor::panic_message};
use futures::FutureExt;
use platform_core::{
    Error, ErrorKind, Result,
    telemetry::{Batch, Envelope, Envelopes, TelemetrySink},
};
use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(super) const SHUTDOWN: &str = "shutdown";
const REFUSED: &str = "refused";
const RETRY_DEADLINE: &str = "retry-deadline";

/// The span around every write. What is logged inside must not become telemetry, or writing it would log again, for ever.
pub(crate) const WRITE_SPAN: &str = "telemetry_write";

pub(super) struct Writer {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

/// What every write needs.
struct Shared {
    sink: Arc<dyn TelemetrySink>,
    settings: Settings,
    counters: Arc<Counters>,
    abandon: CancellationToken,
    failing: AtomicBool,
}

impl Writer {
    pub(super) fn new(
        sink: Arc<dyn TelemetrySink>,
        settings: Settings,
        counters: Arc<Counters>,
        abandon: CancellationToken,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(settings.writes_in_flight));
        let failing = AtomicBool::new(false);
        Self { shared: Arc::new(Shared { sink, settings, counters, abandon, failing }), permits }
    }

    /// Until all emitters are gone and everything is written, or until it is abandoned.
    pub(super) async fn run(self, mut envelopes: Envelopes) {
        let mut writes = JoinSet::new();
        tokio::select! {
            () = self.drain(&mut envelopes, &mut writes) => {}
            () = self.shared.abandon.cancelled() => {}
        }
        // Each is bounded by the retry deadline, and ends at once when abandoned.
        while writes.join_next().await.is_some() {}
        envelopes.close();
        while let Ok(envelope) = envelopes.try_recv() {
            let (batch, acknowledge) = envelope.open();
            self.shared.counters.accepted(&batch);
            self.shared.counters.drop_records(SHUTDOWN, batch.len());
            acknowledge(Err(stopped()));
        }
    }

    async fn drain(&self, envelopes: &mut Envelopes, writes: &mut JoinSet<()>) {
        // The permit comes first: while all writes are busy nothing is taken, and the channel holds sources back.
        while let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await {
            let Some(first) = envelopes.recv().await else { return };
            let group = self.gather(first, envelopes).await;
            while writes.try_join_next().is_some() {}
            let shared = Arc::clone(&self.shared);
            let span = tracing::error_span!(target: "platform_telemetry::pipeline", WRITE_SPAN);
            writes.spawn(
                async move {
                    shared.counters.write_started();
                    shared.write(group).await;
                    shared.counters.write_ended();
                    drop(permit);
                }
                .instrument(span),
            );
        }
    }

    /// What comes within the batch's wait, up to its size.
    async fn gather(&self, first: Envelope, envelopes: &mut Envelopes) -> Group {
        let Settings { batch_records, batch_wait, .. } = self.shared.settings;
        let mut group = Group::default();
        self.take(&mut group, first);
        let end = Instant::now() + batch_wait;
        while group.batch.len() < batch_records
            && let Ok(Some(envelope)) = tokio::time::timeout_at(end, envelopes.recv()).await
        {
            self.take(&mut group, envelope);
        }
        group
    }

    fn take(&self, group: &mut Group, envelope: Envelope) {
        let (batch, acknowledge) = envelope.open();
        self.shared.counters.accepted(&batch);
        group.parts.push(Part {
            samples: batch.samples.len(),
            logs: batch.logs.len(),
            acknowledge: Box::new(acknowledge),
        });
        if group.batch.is_empty() {
            group.batch = batch;
        } else {
            group.batch.samples.extend(batch.samples);
            group.batch.logs.extend(batch.logs);
        }
    }
}

/// Batches that are written together.
#[derive(Default)]
struct Group {
    batch: Batch,
    parts: Vec<Part>,
}

/// One source's share of a group.
struct Part {
    samples: usize,
    logs: usize,
    acknowledge: Box<dyn FnOnce(Result<()>) + Send>,
}

impl Shared {
    async fn write(&self, group: Group) {
        let Group { mut batch, parts } = group;
        match self.deliver(&batch).await {
            Ok(()) => {
                self.counters.stored(&batch);
                for part in parts {
                    (part.acknowledge)(Ok(()));
                }
            }
            Err((error, reason)) if reason == REFUSED && parts.len() > 1 => {
                // One source's bad record must not fail the others: write each alone.
                tracing::debug!(%error, parts = parts.len(), "the sink refused a merged batch; its parts are written alone");
                for part in parts {
                    let alone = Batch {
                        samples: batch.samples.drain(..part.samples).collect(),
                        logs: batch.logs.drain(..part.logs).collect(),
                    };
                    match self.deliver(&alone).await {
                        Ok(()) => {
                            self.counters.stored(&alone);
                            (part.acknowledge)(Ok(()));
                        }
                        Err((error, reason)) => self.fail(vec![part], alone.len(), &error, reason),
                    }
                }
            }
            Err((error, reason)) => self.fail(parts, batch.len(), &error, reason),
        }
    }

    fn fail(&self, parts: Vec<Part>, records: usize, error: &Error, reason: &'static str) {
        self.counters.drop_records(reason, records);
        tracing::error!(sink = self.sink.name(), %error, reason, records, "telemetry was not stored");
        for part in parts {
            (part.acknowledge)(Err(copy(error)));
        }
    }

    /// Writes until the sink has it, refuses it for good, or the time is over.
    async fn deliver(&self, batch: &Batch) -> Result<(), (Error, &'static str)> {
        if batch.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let mut attempts = 0;
        loop {
            let error = tokio::select! {
                outcome = self.attempt(batch) => match outcome {
                    Ok(()) => {
                        if self.failing.swap(false, Ordering::Relaxed) {
                            tracing::info!(sink = self.sink.name(), "the sink takes telemetry again");
                        }
                        return Ok(());
                    }
                    Err(error) => error,
                },
                () = self.abandon.cancelled() => return Err((stopped(), SHUTDOWN)),
            };
            if !error.is_retryable() {
                return Err((error, REFUSED));
            }
            if !self.failing.swap(true, Ordering::Relaxed) {
                tracing::warn!(sink = self.sink.name(), %error, "the sink does not take telemetry; retrying");
            }
            let wait = full_jitter(FIRST_WAIT, LONGEST_WAIT, attempts)
                .max(error.requested_wait().unwrap_or_default());
            attempts += 1;
            let elapsed = started.elapsed();
            if elapsed + wait > self.settings.retry_deadline {
                let given_up = Error::new(
                    error.kind(),
                    format!("{} (given up after {attempts} attempts in {elapsed:.1?})", error.message()),
                );
                return Err((given_up.operation("write telemetry").retryable(true), RETRY_DEADLINE));
            }
            self.counters.retried();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.abandon.cancelled() => return Err((stopped(), SHUTDOWN)),
            }
        }
    }

    async fn attempt(&self, batch: &Batch) -> Result<()> {
        let timeout = self.settings.write_timeout;
        let write = AssertUnwindSafe(self.sink.write(batch.clone())).catch_unwind();
        match tokio::time::timeout(timeout, write).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Err(Error::internal(format!("the sink panicked: {}", panic_message(&*panic)))
                .operation("write telemetry")),
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("no answer within {timeout:?}"))
                .operation("write telemetry")
                .retryable(true)),
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Cancelled, "the pipeline has stopped").operation("write telemetry")
}

/// The same error once more: every source of a group is told.
fn copy(error: &Error) -> Error {
    Error::new(error.kind(), error.message()).operation("write telemetry").retryable(error.is_retryable())
}

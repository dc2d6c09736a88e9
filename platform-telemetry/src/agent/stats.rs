//! What an agent counts, and its own samples.

use crate::{
    files::unpoisoned,
    pipeline::PipelineStats,
    sources::every,
    spool::{Spool, SpoolStats},
};
use async_trait::async_trait;
use platform_core::{
    Error, Result,
    clock::Clock,
    telemetry::{Batch, Emitter, Labels, MetricKind, Sample, TelemetrySource},
};
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// What an agent did since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AgentStats {
    /// From the sources to the spool: what is stored there is durable in the spool.
    pub pipeline: PipelineStats,
    /// On disk.
    pub spool: SpoolStats,
    /// From the spool to the sink.
    pub forward: ForwardStats,
    /// Samples that have no document, since their values are not finite.
    pub not_finite: u64,
}

/// What was forwarded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ForwardStats {
    /// Messages that the sink has.
    pub sent_messages: u64,
    /// Bytes of their documents.
    pub sent_bytes: u64,
    /// Messages that the sink refused for good, and that the dead letters have.
    pub dead_letters: u64,
    /// How many times something failed and was tried again.
    pub retries: u64,
    /// Whether something fails at present: a send, a dead letter, a read or a commit.
    pub failing: bool,
    /// Why an attempt failed last. Empty: none did.
    pub last_error: String,
    /// Bytes of records that were read and are not committed.
    pub bytes_in_flight: u64,
    /// How many times the position was committed.
    pub commits: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent_messages: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) dead_letters: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) bytes_in_flight: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) not_finite: AtomicU64,
    /// What fails at present.
    outages: AtomicU64,
    last_error: Mutex<String>,
}

impl Counters {
    pub(super) fn sent(&self, messages: usize, bytes: usize) {
        self.sent_messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Something failed and is tried again: counts it, and tells what begins an outage.
    pub(super) fn failed(self: &Arc<Self>, outage: &mut Option<Outage>, what: &'static str, error: &Error) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        *unpoisoned(self.last_error.lock()) = error.to_string();
        if outage.is_none() {
            *outage = Some(Outage(Arc::clone(self)));
            // The first of several that fail for one reason speaks for them.
            if self.outages.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(%error, "{what}; it is tried again and again");
            }
        }
    }

    pub(super) fn snapshot(&self) -> ForwardStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ForwardStats {
            sent_messages: read(&self.sent_messages),
            sent_bytes: read(&self.sent_bytes),
            dead_letters: read(&self.dead_letters),
            retries: read(&self.retries),
            failing: read(&self.outages) > 0,
            last_error: unpoisoned(self.last_error.lock()).clone(),
            bytes_in_flight: read(&self.bytes_in_flight),
            commits: read(&self.commits),
        }
    }
}

/// Lasts from the first failure of something until it goes on.
#[derive(Debug)]
pub(super) struct Outage(Arc<Counters>);

impl Drop for Outage {
    fn drop(&mut self) {
        if self.0.outages.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("nothing that is forwarded fails any more");
        }
    }
}

/// The source of an agent's samples about its spool and its forwarding.
#[derive(Debug)]
pub(super) struct SelfMetrics {
    pub(super) spool: Arc<Spool>,
    pub(super) counters: Arc<Counters>,
    pub(super) interval: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

impl SelfMetrics {
    pub(super) fn samples(&self) -> Vec<Sample> {
        let (spool, forward) = (self.spool.stats(), self.counters.snapshot());
        let not_finite = self.counters.not_finite.load(Ordering::Relaxed);
        let timestamp = self.clock.now();
        let mut samples = Vec::new();
        let mut push = |metric: &str, kind, label: Option<(&str, &str)>, value: u64| {
            samples.push(Sample {
                metric: format!("platform_agent_{metric}").into(),
                labels: label.into_iter().collect::<Labels>(),
                timestamp,
                value: value as f64,
                kind,
            });
        };
        for (metric, value) in [
            ("spool_appended_records_total", spool.appended_records),
            ("spool_appended_bytes_total", spool.appended_bytes),
            ("spool_syncs_total", spool.syncs),
            ("spool_waits_total", spool.waits),
            ("spool_write_failures_total", spool.write_failures),
            ("spool_damaged_records_total", spool.damaged_records),
            ("sent_messages_total", forward.sent_messages),
            ("sent_bytes_total", forward.sent_bytes),
            ("dead_letters_total", forward.dead_letters),
            ("send_retries_total", forward.retries),
            ("commits_total", forward.commits),
            ("not_finite_total", not_finite),
        ] {
            push(metric, MetricKind::Counter, None, value);
        }
        for (policy, value) in [("drop-oldest", spool.dropped_oldest), ("drop-newest", spool.dropped_newest)]
        {
            push("spool_dropped_records_total", MetricKind::Counter, Some(("policy", policy)), value);
        }
        for (metric, value) in [
            ("spool_waiting_records", spool.waiting_records),
            ("spool_disk_bytes", spool.disk_bytes),
            ("spool_queued_bytes", spool.queued_bytes),
            ("spool_full", u64::from(spool.full)),
            ("bytes_in_flight", forward.bytes_in_flight),
            ("sink_up", u64::from(!forward.failing)),
        ] {
            push(metric, MetricKind::Gauge, None, value);
        }
        samples
    }
}

#[async_trait]
impl TelemetrySource for SelfMetrics {
    fn name(&self) -> &'static str {
        "agent"
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        // The next reading says the same and more: nobody has to wait for this one.
        every(self.interval, shutdown, || async { out.emit(Batch::samples(self.samples())).await.map(drop) })
            .await
    }
}

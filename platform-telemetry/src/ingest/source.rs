//! The account of an ingester as metrics.

use super::{delivery::Delivery, ledger::Partitions};
use async_trait::async_trait;
use platform_core::{
    Result,
    clock::{Clock, SystemClock},
    telemetry::{Batch, Emitter, Labels, MetricKind, Sample, TelemetrySource},
};
use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Emits the account of an ingester:
///
/// | metric | labels | |
/// |---|---|---|
/// | `platform_ingester_read_total` | `topic`, `partition` | events that were read |
/// | `platform_ingester_read_bytes_total` | `topic`, `partition` | bytes of their documents |
/// | `platform_ingester_events_total` | `topic`, `partition`, `outcome` | `indexed`, `duplicate`, `dead-lettered`, `filtered` |
/// | `platform_ingester_unreadable_offsets_total` | `topic`, `partition` | offsets that Kafka has no longer given |
/// | `platform_ingester_in_flight_events` | `topic`, `partition` | events without an outcome yet |
/// | `platform_ingester_retries_total` | | how often something was to be written again |
/// | `platform_ingester_concurrency` | | requests that the destination gets at once |
pub struct LedgerSource {
    partitions: Arc<Partitions>,
    delivery: Arc<Delivery>,
    interval: Duration,
    clock: Arc<dyn Clock>,
}

impl LedgerSource {
    pub(super) fn new(partitions: Arc<Partitions>, delivery: Arc<Delivery>, interval: Duration) -> Self {
        Self { partitions, delivery, interval, clock: Arc::new(SystemClock) }
    }

    /// The samples of now.
    pub fn samples(&self) -> Vec<Sample> {
        let timestamp = self.clock.now();
        let mut samples = Vec::new();
        let mut push = |metric: &str, labels: Labels, kind, value: u64| {
            samples.push(Sample { metric: metric.into(), labels, timestamp, value: value as f64, kind });
        };
        for one in self.partitions.ledger().partitions {
            let partition = one.partition.to_string();
            let labels =
                Labels::from_iter([("topic", one.topic.as_str()), ("partition", partition.as_str())]);
            let counter = MetricKind::Counter;
            push("platform_ingester_read_total", labels.clone(), counter, one.read);
            push("platform_ingester_read_bytes_total", labels.clone(), counter, one.bytes);
            push("platform_ingester_unreadable_offsets_total", labels.clone(), counter, one.unreadable);
            push("platform_ingester_in_flight_events", labels.clone(), MetricKind::Gauge, one.in_flight());
            for (outcome, count) in [
                ("indexed", one.indexed),
                ("duplicate", one.duplicate),
                ("dead-lettered", one.dead_lettered),
                ("filtered", one.filtered),
            ] {
                push("platform_ingester_events_total", labels.with_label("outcome", outcome), counter, count);
            }
        }
        let retries = self.delivery.state.retries.load(Ordering::Relaxed);
        push("platform_ingester_retries_total", Labels::empty(), MetricKind::Counter, retries);
        let limit = self.delivery.throttle.limit() as u64;
        push("platform_ingester_concurrency", Labels::empty(), MetricKind::Gauge, limit);
        samples
    }
}

impl fmt::Debug for LedgerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerSource").field("interval", &self.interval).finish_non_exhaustive()
    }
}

#[async_trait]
impl TelemetrySource for LedgerSource {
    fn name(&self) -> &'static str {
        "ingester"
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => drop(out.emit(Batch::samples(self.samples())).await?),
            }
        }
        drop(out.emit(Batch::samples(self.samples())).await?);
        Ok(())
    }
}

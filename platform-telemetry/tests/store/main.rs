//! The embedded store, from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, beside the tests themselves"
)]

mod conformance;
mod durability;
mod model;
mod prometheus;
mod search;

use platform_core::{
    clock::Timestamp,
    telemetry::{Batch, Labels, LogRecord, MetricKind, Sample, Severity},
};
use platform_telemetry::store::{EmbeddedStore, StoreOptions};
use std::path::Path;

/// 2026-11-23T12:34:56.789Z
const NOW: Timestamp = Timestamp::from_millis(1_795_437_296_789);

fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(dir, StoreOptions::default()).unwrap()
}

fn sample(metric: &str, label: (&str, &str), timestamp: Timestamp, value: f64) -> Sample {
    Sample {
        metric: metric.into(),
        labels: Labels::from_iter([label]),
        timestamp,
        value,
        kind: MetricKind::Gauge,
    }
}

fn line(timestamp: Timestamp, body: &str) -> LogRecord {
    LogRecord { timestamp, severity: Severity::Info, body: body.to_owned(), labels: Labels::empty() }
}

fn lines(timestamp: Timestamp, bodies: &[&str]) -> Batch {
    Batch::logs(bodies.iter().map(|body| line(timestamp, body)).collect())
}

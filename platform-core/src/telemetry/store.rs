//! Where telemetry goes, and what can be asked of it there.

use super::{Batch, LogPage, LogQuery, MetricQuery, Selector, Series, TimeRange};
use crate::error::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Takes telemetry.
///
/// Implemented by the embedded store, by producers and by anything that forwards; called by a pipeline.
#[async_trait]
pub trait TelemetrySink: Send + Sync + fmt::Debug {
    /// A short name for messages: `embedded`, `elasticsearch`.
    fn name(&self) -> &str;

    /// Writes a batch; when it answers, the batch is durable: it survives the death of this process.
    ///
    /// Several writes may be under way at once, and are expected to share the cost of becoming durable.
    /// A retryable error means that nothing or only a part was written and the same batch may be written again;
    /// sinks that can tell a repeat keep one copy.
    async fn write(&self, batch: Batch) -> Result<()>;

    /// Makes everything written so far visible to queries and releases what is held; further writes fail.
    async fn close(&self) -> Result<()>;
}

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StoreStats {
    /// Samples, those of former runs included.
    pub samples: u64,
    /// Log records, those of former runs included.
    pub log_records: u64,
    /// Different series.
    pub series: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
}

/// A sink that answers queries.
///
/// `platform_testkit::conformance::store` checks an implementation.
///
/// # Behavior
/// What [`write`](TelemetrySink::write) has acknowledged is seen by every query that starts afterwards.
#[async_trait]
pub trait TelemetryStore: TelemetrySink {
    /// Raw samples of the series that `selector` chooses, in `range` (from inclusive, to exclusive).
    ///
    /// Series are sorted by metric and labels, points by time; one point for each time, the last written.
    async fn select(&self, selector: &Selector, range: TimeRange) -> Result<Vec<Series>>;

    /// Evaluates an expression over time, by the rules of PromQL.
    async fn query(&self, query: &MetricQuery) -> Result<Vec<Series>>;

    /// Searches the log records.
    async fn logs(&self, query: &LogQuery) -> Result<LogPage>;

    /// The values that the label `name` has in samples of `range` chosen by `selector`, sorted.
    async fn label_values(
        &self,
        name: &str,
        selector: Option<&Selector>,
        range: TimeRange,
    ) -> Result<Vec<String>>;

    /// What it holds.
    async fn stats(&self) -> Result<StoreStats>;
}

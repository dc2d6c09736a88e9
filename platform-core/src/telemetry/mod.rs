//! Telemetry: what is measured and logged, where it comes from, where it goes and how it is asked for.
//!
//! ```text
//! TelemetrySource --Batch--> Emitter | Envelopes --> TelemetrySink (a TelemetryStore also answers queries)
//! ```
//!
//! A source emits batches into a bounded channel, which is the back-pressure; whoever drains it writes them to a sink and
//! acknowledges each once it is durable, so that a source that can read again (a file) moves its checkpoint only then.

pub mod document;
mod expression;
mod flow;
mod model;
mod plane;
pub mod prometheus_duration;
mod query;
pub mod settings;
mod store;

pub(crate) use expression::PromNumber;
pub use expression::{
    Aggregation, BinaryOperator, Expression, LOOKBACK, MatchOperator, Matcher, RangeFunction, Selector,
    metric,
};
pub use flow::{Delivery, Emitter, Envelope, Envelopes, TelemetrySource, channel};
pub use model::{Batch, Labels, LogRecord, MetricKind, Sample, Severity};
pub use plane::{
    AlertSummary, ClusterTopology, Endpoint, EnvironmentTopology, TelemetryPlane, TelemetrySummary, Topology,
};
pub use query::{LogOrder, LogPage, LogQuery, MAX_STEPS, MetricQuery, Point, Series, TimeRange};
pub use store::{StoreStats, TelemetrySink, TelemetryStore};

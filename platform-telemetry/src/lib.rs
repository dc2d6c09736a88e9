//! Telemetry for the platform: sources, a pipeline with back-pressure, the embedded store, alerts, notifiers and the console page.
//!
//! ```text
//! sources ──> pipeline ──> store ──> engine (PromQL) ──┬──> alerting ──> notifiers
//!  host, files, targets,    embedded: metrics and logs  └──> console <── dashboards
//!  clusters, events         in one directory
//! ```
//!
//! [`plane::EmbeddedTelemetry`] is all of it together, and what a platform takes as its
//! [`TelemetryPlane`](platform_core::telemetry::TelemetryPlane). Each part also stands alone, behind the traits of
//! [`platform_core::telemetry`]:
//!
//! | module | what is in it |
//! |---|---|
//! | [`sources`] | this machine, files, scrape targets, clusters, the program's own events |
//! | [`exposition`] | the text format of Prometheus |
//! | [`exposer`] | a program's own metrics and health, served over HTTP |
//! | [`message`] | documents on their way through Kafka |
//! | [`spool`] | a queue on disk that survives crashes |
//! | [`agent`] | from sources over a spool to Kafka or a store |
//! | `kafka` | with the feature of that name: connections, topics, a producer |
//! | `ingest` | with the feature `kafka`: from Kafka to a destination, with a ledger and dead letters |
//! | `elasticsearch` | with the feature of that name: index templates, and the ingester's destination |
//! | [`pipeline`] | from sources to a sink: batches, retries, acknowledgements |
//! | [`store`] | metrics and logs on disk, and queries |
//! | [`alerting`] | rules, their states over restarts, and deliveries |
//! | [`notifiers`] | a terminal, webhooks, Slack, email |
//! | [`dashboards`] | the standard ones, as values |
//! | [`console`] | the page, and the JSON API behind it |
//! | [`plane`] | the whole |
//!
//! ```no_run
//! use platform_core::{Result, alert::AlertRule};
//! use platform_telemetry::{notifiers::{Slack, Terminal}, plane::EmbeddedTelemetry};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<()> {
//! let telemetry = EmbeddedTelemetry::builder()
//!     .data_dir("/var/lib/shop/telemetry")
//!     .tail(["/var/log/shop/*.log"])
//!     .alert(AlertRule::high_cpu(80.0))
//!     .notifier(Arc::new(Terminal::stderr()))
//!     .notifier(Arc::new(Slack::new(std::env::var("SLACK_WEBHOOK_URL").unwrap_or_default())?))
//!     .build()?;
//! # let _ = telemetry;
//! # Ok(())
//! # }
//! ```

pub mod agent;
pub mod alerting;
pub mod console;
pub mod dashboards;
#[cfg(feature = "elasticsearch")]
pub mod elasticsearch;
mod engine;
pub mod exposer;
pub mod exposition;
mod files;
mod http;
#[cfg(feature = "kafka")]
pub mod ingest;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod message;
pub mod notifiers;
pub mod pipeline;
pub mod plane;
pub mod sources;
pub mod spool;
pub mod store;
mod task;

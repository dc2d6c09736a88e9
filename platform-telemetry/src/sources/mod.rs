//! Where telemetry comes from: this machine, files, HTTP targets, this program's events, clusters.
//!
//! | source | reads | emits |
//! |---|---|---|
//! | [`HostSource`] | `/proc` and file systems | `node_*`, as the node exporter |
//! | [`ProcessSource`] | `/proc/self` | `process_*`, as Prometheus' client libraries |
//! | [`ScrapeSource`] | HTTP targets in the text format | their metrics, `up`, `scrape_*`, as Prometheus |
//! | [`ClusterScrapeSource`] | annotated pods of a cluster, through its API server | the same |
//! | [`FileTail`] | log files, across rotations and restarts | log records |
//! | [`TracingSource`] | events of the `tracing` crate | log records |
//! | [`ClusterStateSource`] | a cluster's objects and Events | `kube_*`, as kube-state-metrics, and log records |
//!
//! All are run by a [pipeline](crate::pipeline).

mod events;
mod host;
mod kubernetes;
mod process;
mod samples;
mod scrape;
mod staleness;
mod tail;
mod ticking;

pub(crate) use tail::is_checkpoint;
pub(crate) use ticking::every;

pub use events::{TracingLayer, TracingSource, TracingStats, tracing_source};
pub use host::{HostSource, HostSourceBuilder};
pub use kubernetes::{ClusterStateSource, ClusterStateSourceBuilder, PodMetadata, PodMetadataBuilder};
pub use process::ProcessSource;
pub use scrape::{
    ACCEPT, ClusterScrapeSource, ClusterScrapeSourceBuilder, ScrapeSource, ScrapeSourceBuilder,
};
pub use staleness::{STALE, is_stale};
pub use tail::{FileTail, FileTailBuilder, LogFormat, StartAt, TailStats};

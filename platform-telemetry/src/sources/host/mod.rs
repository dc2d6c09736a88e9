//! This machine, in the node exporter's names.

#[cfg(target_os = "linux")]
mod collectors;
#[cfg(target_os = "linux")]
mod filesystems;

use super::{every, samples::fan_out};
use async_trait::async_trait;
use platform_core::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    telemetry::{Batch, Emitter, Labels, Sample, TelemetrySource},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Measures this machine by `/proc` and `statvfs`, with the metric names, labels and units of the [node exporter].
///
/// Every sample has the labels `job="node"` and `instance` (the host name) unless other values are given. What cannot
/// be read, in a container for example, is left out, told once, and seen in `node_scrape_collector_success{collector}`.
/// Only on Linux: elsewhere it ends with [`Unsupported`](ErrorKind::Unsupported).
///
/// One reading can stand for several machines: [`for_each`](HostSourceBuilder::for_each).
///
/// [node exporter]: https://github.com/prometheus/node_exporter
#[derive(Debug)]
pub struct HostSource {
    interval: Duration,
    labels: Vec<Labels>,
    clock: Arc<dyn Clock>,
    #[cfg(target_os = "linux")]
    collectors: collectors::Collectors,
}

impl HostSource {
    /// A source to be configured.
    pub fn builder() -> HostSourceBuilder {
        HostSourceBuilder {
            interval: Duration::from_secs(15),
            labels: Labels::empty(),
            each: vec![Labels::empty()],
            proc_root: PathBuf::from("/proc"),
            root: PathBuf::from("/"),
            clock: Arc::new(SystemClock),
        }
    }

    /// Reads everything once.
    pub async fn read(&self) -> Result<Vec<Sample>> {
        #[cfg(target_os = "linux")]
        {
            let samples = self.collectors.read(self.clock.now()).await?;
            Ok(fan_out(&samples, &self.labels))
        }
        #[cfg(not(target_os = "linux"))]
        Err(Error::new(ErrorKind::Unsupported, "this machine has no /proc: only Linux is supported")
            .operation("measure")
            .subject("this host")
            .help("run a node exporter there and scrape it"))
    }
}

#[async_trait]
impl TelemetrySource for HostSource {
    fn name(&self) -> &'static str {
        "host"
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        every(self.interval, shutdown, || async {
            // A reading cannot be repeated later: whether it became durable changes nothing here.
            out.emit(Batch::samples(self.read().await?)).await.map(drop)
        })
        .await
    }
}

/// Configures a [`HostSource`].
#[derive(Debug)]
#[must_use = "nothing is measured before it is built and run"]
pub struct HostSourceBuilder {
    interval: Duration,
    labels: Labels,
    each: Vec<Labels>,
    proc_root: PathBuf,
    root: PathBuf,
    clock: Arc<dyn Clock>,
}

impl HostSourceBuilder {
    /// How often. Default: 15 s; at least 10 ms.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Labels of every sample, besides `job` and `instance`, which they may override.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// Emits every reading once for each set of labels: for machines that are this one by another name, such as the nodes of
    /// simulated clusters. Default: once, with no more labels. An empty list emits nothing.
    pub fn for_each(mut self, each: Vec<Labels>) -> Self {
        self.each = each;
        self
    }

    /// Where proc is mounted, like the node exporter's `--path.procfs`. Default: `/proc`.
    pub fn proc_root(mut self, path: impl Into<PathBuf>) -> Self {
        self.proc_root = path.into();
        self
    }

    /// Where the host's root file system is mounted, like the node exporter's `--path.rootfs`. Default: `/`.
    pub fn root(mut self, path: impl Into<PathBuf>) -> Self {
        self.root = path.into();
        self
    }

    /// The clock that stamps the samples. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The source.
    pub fn build(self) -> HostSource {
        let base = own_labels("node").with(&self.labels);
        HostSource {
            interval: self.interval.max(Duration::from_millis(10)),
            labels: self.each.iter().map(|labels| base.with(labels)).collect(),
            clock: self.clock,
            #[cfg(target_os = "linux")]
            collectors: collectors::Collectors::new(self.proc_root, self.root),
        }
    }
}

/// `job` and the host's name as `instance`.
pub(super) fn own_labels(job: &str) -> Labels {
    let name = rustix::system::uname();
    Labels::from_iter([("job", job), ("instance", &*name.nodename().to_string_lossy())])
}

/// A reading that could not be made.
#[cfg(target_os = "linux")]
pub(super) fn unreadable(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, what.to_string())
        .operation("measure")
        .subject("this host")
        .retryable(true)
}

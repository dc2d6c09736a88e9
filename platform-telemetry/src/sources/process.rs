//! This process, in the names of Prometheus' client libraries.

use super::{every, host::own_labels};
use async_trait::async_trait;
use platform_core::{
    Result,
    clock::{Clock, SystemClock},
    telemetry::{Batch, Emitter, Labels, Sample, TelemetrySource},
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Measures this process: `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_virtual_memory_bytes`,
/// `process_open_fds`, `process_max_fds`, `process_threads`, `process_start_time_seconds`, as Prometheus [recommends] them.
///
/// The labels are `job="platform"` and `instance` (the host name) unless others are given. Only on Linux.
///
/// [recommends]: https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
#[derive(Debug)]
pub struct ProcessSource {
    interval: Duration,
    labels: Labels,
    clock: Arc<dyn Clock>,
}

impl ProcessSource {
    /// Measures every `interval` (at least 10 ms); `labels` override the source's own.
    pub fn new(interval: Duration, labels: &Labels) -> Self {
        Self {
            interval: interval.max(Duration::from_millis(10)),
            labels: own_labels("platform").with(labels),
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets the clock that stamps the samples. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Reads everything once.
    #[cfg(target_os = "linux")]
    pub async fn read(&self) -> Result<Vec<Sample>> {
        use super::{
            host::unreadable,
            samples::{SampleSet, fan_out},
        };
        let mut set = SampleSet::new(self.clock.now());
        let read = tokio::task::spawn_blocking(move || measure(&mut set).map(|()| set));
        let set = read.await.map_err(unreadable)?.map_err(unreadable)?;
        Ok(fan_out(&set.into_samples(), std::slice::from_ref(&self.labels)))
    }

    /// Fails: there is no `/proc` here.
    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unused_async)] // The same signature everywhere.
    pub async fn read(&self) -> Result<Vec<Sample>> {
        use platform_core::{Error, ErrorKind};
        Err(Error::new(ErrorKind::Unsupported, "this machine has no /proc: only Linux is supported")
            .operation("measure")
            .subject("this process"))
    }
}

#[cfg(target_os = "linux")]
fn measure(set: &mut super::samples::SampleSet) -> procfs::ProcResult<()> {
    use procfs::{
        CurrentSI,
        process::{LimitValue, Process},
    };
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks_per_second = procfs::ticks_per_second() as f64;
    let boot = procfs::KernelStats::current()?.btime as f64;
    set.counter("process_cpu_seconds_total", &[], (stat.utime + stat.stime) as f64 / ticks_per_second);
    set.gauge("process_resident_memory_bytes", &[], stat.rss as f64 * procfs::page_size() as f64);
    set.gauge("process_virtual_memory_bytes", &[], stat.vsize as f64);
    set.gauge("process_threads", &[], stat.num_threads as f64);
    set.gauge("process_start_time_seconds", &[], boot + stat.starttime as f64 / ticks_per_second);
    set.gauge("process_open_fds", &[], process.fd_count()? as f64);
    if let LimitValue::Value(most) = process.limits()?.max_open_files.soft_limit {
        set.gauge("process_max_fds", &[], most as f64);
    }
    Ok(())
}

#[async_trait]
impl TelemetrySource for ProcessSource {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        every(self.interval, shutdown, || async {
            out.emit(Batch::samples(self.read().await?)).await.map(drop)
        })
        .await
    }
}

//! Log lines at a rate.

use async_trait::async_trait;
use platform_core::{
    Result,
    clock::{Clock, SystemClock},
    telemetry::{Batch, Emitter, Labels, LogRecord, Severity, TelemetrySource},
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often lines are made.
const TICK: Duration = Duration::from_millis(20);
const PODS: u64 = 64;

/// Makes log lines, so many a second, as those of 64 pods.
#[derive(Debug)]
pub(crate) struct Load {
    rate: u32,
    size: usize,
}

impl Load {
    pub(crate) fn new(rate: u32, size: usize) -> Self {
        Self { rate, size }
    }

    fn line(&self, number: u64, labels: &Labels) -> LogRecord {
        let mut body = format!("request {number} took {} ms ", number % 997);
        let missing = self.size.saturating_sub(body.len());
        body.extend("the quick brown fox jumps over the lazy dog ".chars().cycle().take(missing));
        let severity = if number.is_multiple_of(100) { Severity::Warn } else { Severity::Info };
        LogRecord { timestamp: SystemClock.now(), severity, body, labels: labels.clone() }
    }
}

#[async_trait]
impl TelemetrySource for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        let pods: Vec<Labels> = (0..PODS)
            .map(|pod| {
                let name = format!("load-{pod}");
                Labels::from_iter([("pod", name.as_str()), ("container", "load"), ("namespace", "load")])
            })
            .collect();
        let began = tokio::time::Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        let mut made = 0;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let due = (began.elapsed().as_secs_f64() * f64::from(self.rate)) as u64;
            let lines: Vec<LogRecord> =
                (made..due).map(|number| self.line(number, &pods[(number % PODS) as usize])).collect();
            made = due;
            if !lines.is_empty() {
                // A full spool holds it back here.
                drop(out.emit(Batch::logs(lines)).await?);
            }
        }
    }
}

//! A source and who watches over it.

use super::{
    full_jitter,
    stats::{Counters, SourceId, SourceState},
};
use futures::FutureExt;
use platform_core::telemetry::{Emitter, TelemetrySource};
use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A source that ran this long starts counting its failures anew.
const HEALTHY: Duration = Duration::from_secs(300);

/// Runs a source, starting it again after panics and retryable errors.
pub(super) struct Supervised {
    pub(super) id: SourceId,
    pub(super) source: Arc<dyn TelemetrySource>,
    pub(super) emitter: Emitter,
    pub(super) cancel: CancellationToken,
    pub(super) counters: Arc<Counters>,
    pub(super) max_restarts: u32,
}

impl Supervised {
    pub(super) fn announce(&self) {
        self.counters.add_source(self.id, self.source.name());
    }

    pub(super) async fn run(self) {
        let source = self.source.name().to_owned();
        let mut failures = 0;
        loop {
            let started = Instant::now();
            let outcome = AssertUnwindSafe(self.source.run(&self.emitter, &self.cancel)).catch_unwind().await;
            let (why, again) = match outcome {
                Ok(Ok(())) => return self.settle(SourceState::Ended),
                Ok(Err(_)) if self.cancel.is_cancelled() => return self.settle(SourceState::Ended),
                Ok(Err(error)) => (error.to_string(), error.is_retryable()),
                Err(panic) => (format!("it panicked: {}", panic_message(&*panic)), true),
            };
            if started.elapsed() >= HEALTHY {
                failures = 0;
            }
            self.counters.update_source(self.id, |status| status.last_error.clone_from(&why));
            if !again || failures >= self.max_restarts {
                tracing::error!(
                    source,
                    error = why,
                    restarts = failures,
                    "a telemetry source has failed for good"
                );
                return self.settle(SourceState::Failed);
            }
            tracing::warn!(source, error = why, "a telemetry source failed and is started again");
            self.settle(SourceState::Restarting);
            tokio::select! {
                () = self.cancel.cancelled() => return self.settle(SourceState::Ended),
                () = tokio::time::sleep(full_jitter(FIRST_WAIT, LONGEST_WAIT, failures)) => {}
            }
            failures += 1;
            self.counters.update_source(self.id, |status| {
                status.restarts += 1;
                status.state = SourceState::Running;
            });
        }
    }

    fn settle(&self, state: SourceState) {
        self.counters.update_source(self.id, |status| status.state = state);
    }
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

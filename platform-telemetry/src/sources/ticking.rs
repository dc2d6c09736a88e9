//! Sources that read something again and again.

use platform_core::Result;
use std::{future::Future, time::Duration};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Calls `tick` at once and then every `interval`, skipping what was missed, until it fails or `shutdown` is cancelled, which also drops
/// a tick under way.
pub(crate) async fn every<F, Fut>(interval: Duration, shutdown: &CancellationToken, mut tick: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let ticking = async {
        loop {
            ticks.tick().await;
            tick().await?;
        }
    };
    shutdown.run_until_cancelled(ticking).await.unwrap_or(Ok(()))
}

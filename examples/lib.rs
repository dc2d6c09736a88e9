//! What the examples share: showing a run, and a place for what would otherwise be written in each of them.

mod progress;

pub use progress::show;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// What an example's `main` answers: any error, printed as a sentence.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Writes the libraries' `tracing` events to stderr: warnings, or what `RUST_LOG` asks for.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let writer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // Fails only if there is one already, which is as good.
    let _ = tracing_subscriber::registry().with(filter).with(writer).try_init();
}

/// The program of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Waits until the program is told to end, by Ctrl-C or SIGTERM.
pub async fn told_to_end() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            ended = tokio::signal::ctrl_c() => ended,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Tries again every two seconds for as long as `patience` while `attempt` fails with what may pass: a server that is not up yet.
pub async fn until_it_answers<T, F>(
    patience: std::time::Duration,
    attempt: impl Fn() -> F,
) -> platform_core::Result<T>
where
    F: Future<Output = platform_core::Result<T>>,
{
    let until = tokio::time::Instant::now() + patience;
    loop {
        match attempt().await {
            Err(error) if error.is_retryable() && tokio::time::Instant::now() < until => {
                tracing::warn!(%error, "trying again");
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            }
            outcome => return outcome,
        }
    }
}

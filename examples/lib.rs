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

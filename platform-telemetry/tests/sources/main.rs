//! Sources and the pipeline, with real files, real HTTP servers and sinks that misbehave.

// Values are passed on, not computed; and a test may panic wherever it stands.
#![allow(clippy::float_cmp, clippy::unwrap_used, clippy::panic)]

mod cluster;
mod events;
mod host;
mod pipeline;
mod scrape;
mod support;
mod tail;

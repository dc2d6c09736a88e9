//! Sources and the pipeline, with real files, real HTTP servers and sinks that misbehave.

mod cluster;
mod events;
mod host;
mod pipeline;
mod scrape;
mod support;
mod tail;

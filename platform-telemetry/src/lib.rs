//! Telemetry for the platform: sources, a pipeline with back-pressure, the embedded store, alerts, notifiers and the console page.

pub mod alerting;
pub mod console;
pub mod dashboards;
mod engine;
pub mod exposition;
mod http;
pub mod notifiers;
pub mod pipeline;
pub mod plane;
pub mod sources;
pub mod store;

//! Telemetry for the platform: sources, a pipeline with back-pressure, the embedded store, alerts, notifiers and the console page.

pub mod alerting;
mod http;
pub mod notifiers;

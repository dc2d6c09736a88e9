//! Telemetry for the platform: sources, a pipeline with back-pressure, the embedded store, alerts, notifiers and the console page.

mod http;

//! What is measured, what is alerted on, and who is told.

use crate::options::Options;
use platform_core::alert::{AlertRule, AlertSeverity, Condition, cpu_percent};
use platform_telemetry::{
    notifiers::{Slack, Terminal, Webhook},
    plane::EmbeddedTelemetry,
    sources::{TracingSource, tracing_source},
};
use std::{sync::Arc, time::Duration};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

pub(crate) fn telemetry(
    options: &Options,
    events: TracingSource,
) -> platform_core::Result<EmbeddedTelemetry> {
    let demonstration = AlertRule::new(
        "CpuInUse",
        cpu_percent(Duration::from_secs(60)),
        Condition::Above(options.demo_above),
    )?
    .pending_for(Duration::from_secs(5))
    .severity(AlertSeverity::Info)
    .summary("A demonstration: CPU of cluster {{cluster}} is at {{value}} %");
    let mut builder = EmbeddedTelemetry::builder()
        .interval(Duration::from_secs(2))
        .evaluation_interval(Duration::from_secs(2))
        .console_address(options.address)
        .tracing(events)
        .tail(options.tail.clone())
        .alert(AlertRule::high_cpu(options.cpu_above))
        .alert(demonstration)
        .notifier(Arc::new(Terminal::stderr()));
    builder = match &options.state {
        Some(directory) => builder.data_dir(directory.join("telemetry")),
        None => builder.temporary(),
    };
    if let Some(url) = &options.webhook {
        builder = builder.notifier(Arc::new(Webhook::new(url)?));
    }
    if options.slack {
        let url = std::env::var("SLACK_WEBHOOK_URL").unwrap_or_default();
        builder = builder.notifier(Arc::new(Slack::new(url)?));
    }
    builder.build()
}

/// The platform's own `tracing` events: warnings go to stderr, everything of note into the store.
pub(crate) fn log() -> TracingSource {
    let (layer, source) = tracing_source(10_000);
    let stderr = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let writer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(stderr);
    // Fails only if there is a subscriber already, which then has these events.
    let _ = tracing_subscriber::registry().with(writer).with(layer).try_init();
    source
}

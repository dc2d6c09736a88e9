//! The catalogue: what the platform installs into clusters by name.
//!
//! A component is a type alias of [`Installation`], made by `new` and changed by setters, or found by its name where a document lists it.
//! A new one is a type of settings that implements `Program`, and a line in the catalogue's list; what all have in common is in `frame`.
//!
//! ```
//! use platform_core::{Image, component::ComponentScope};
//! use platform_k8s::components::NodeExporter;
//!
//! let exporter = NodeExporter::new()?
//!     .in_scope(ComponentScope::Environments)
//!     .image("node-exporter", Image::parse("registry.example.com/node-exporter:1")?);
//! # let _ = exporter;
//! # Ok::<(), platform_core::Error>(())
//! ```

mod agent;
mod alertmanager;
mod brokers;
mod elasticsearch;
mod fluent_bit;
mod frame;
mod grafana;
mod ingester;
mod ingress;
mod kafka;
mod kibana;
mod kube_state_metrics;
mod logstash;
mod nginx_ingress;
mod node_exporter;
mod prometheus;
mod secret_key;
mod traefik;

pub use agent::{PlatformAgent, PlatformAgentSettings};
pub use alertmanager::{
    Alertmanager, AlertmanagerSettings, EmailReceiver, Receiver, Route, SlackReceiver, WebhookReceiver,
};
pub use elasticsearch::{Elasticsearch, ElasticsearchAccess, ElasticsearchSettings};
pub use fluent_bit::{FluentBit, FluentBitSettings};
pub use frame::Installation;
pub use grafana::{ElasticsearchSource, Grafana, GrafanaSettings};
pub use ingester::{PlatformIngester, PlatformIngesterSettings};
pub use ingress::Exposure;
pub use kafka::{External, Kafka, KafkaSettings};
pub use kibana::{Kibana, KibanaSettings};
pub use kube_state_metrics::{KubeStateMetrics, KubeStateMetricsSettings};
pub use logstash::{Logstash, LogstashSettings};
pub use nginx_ingress::{NginxIngress, NginxIngressSettings};
pub use node_exporter::{NodeExporter, NodeExporterSettings};
pub use prometheus::{Prometheus, PrometheusSettings, ScrapeJob};
pub use secret_key::SecretKey;
pub use traefik::{GatewayApi, Traefik, TraefikSettings};

use frame::{Defaults, Program};
use platform_core::{
    Error, Result,
    component::{Component, ComponentSpec},
};
use std::sync::Arc;

/// By name.
const CATALOGUE: &[Entry] = &[
    Entry::of::<AlertmanagerSettings>(),
    Entry::of::<ElasticsearchSettings>(),
    Entry::of::<FluentBitSettings>(),
    Entry::of::<GrafanaSettings>(),
    Entry::of::<KafkaSettings>(),
    Entry::of::<KibanaSettings>(),
    Entry::of::<KubeStateMetricsSettings>(),
    Entry::of::<LogstashSettings>(),
    Entry::of::<NginxIngressSettings>(),
    Entry::of::<NodeExporterSettings>(),
    Entry::of::<PlatformAgentSettings>(),
    Entry::of::<PlatformIngesterSettings>(),
    Entry::of::<PrometheusSettings>(),
    Entry::of::<TraefikSettings>(),
];

/// A component and how it is made of a document.
struct Entry {
    defaults: &'static Defaults,
    of_spec: fn(&ComponentSpec) -> Result<Arc<dyn Component>>,
}

impl Entry {
    const fn of<S: Program>() -> Self {
        Self { defaults: S::DEFAULTS, of_spec: |spec| Ok(Arc::new(Installation::<S>::of_spec(spec)?)) }
    }
}

/// The names of all components of the catalogue, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    CATALOGUE.iter().map(|entry| entry.defaults.name)
}

/// The component that a spec names.
pub(crate) fn find(spec: &ComponentSpec) -> Result<Arc<dyn Component>> {
    let Some(entry) = CATALOGUE.iter().find(|entry| spec.name == entry.defaults.name) else {
        let known: Vec<&str> = names().collect();
        return Err(Error::invalid(format!(
            "there is no component {:?} in the catalogue",
            spec.name.as_str()
        ))
        .help(format!("choose one of {}", known.join(", "))));
    };
    (entry.of_spec)(spec)
}

#[cfg(test)]
mod tests;

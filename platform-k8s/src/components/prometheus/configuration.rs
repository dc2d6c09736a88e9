//! The part of [Prometheus' configuration](https://prometheus.io/docs/prometheus/latest/configuration/configuration/) that is written here.

use super::{PrometheusSettings, scrape};
use crate::components::frame::Frame;
use platform_core::telemetry::prometheus_duration;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// Beside the configuration.
pub(super) const RULES_FILE: &str = "rules.yml";

/// What a pod finds its account's credentials in.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[derive(Debug, Serialize)]
pub(super) struct ConfigurationFile {
    global: Global,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rule_files: Vec<&'static str>,
    alerting: Alerting,
    scrape_configs: Vec<ScrapeConfig>,
}

#[derive(Debug, Serialize)]
struct Global {
    #[serde(with = "prometheus_duration")]
    scrape_interval: Duration,
    #[serde(with = "prometheus_duration")]
    evaluation_interval: Duration,
    external_labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Alerting {
    alertmanagers: Vec<AlertmanagerConfig>,
}

#[derive(Debug, Serialize)]
#[allow(clippy::struct_field_names, reason = "Prometheus' own names")]
struct AlertmanagerConfig {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kubernetes_sd_configs: Vec<Discovery>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    static_configs: Vec<StaticConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    relabel_configs: Vec<Relabel>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct ScrapeConfig {
    pub(super) job_name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) honor_labels: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scheme: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metrics_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) authorization: Option<Authorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls_config: Option<TlsConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) kubernetes_sd_configs: Vec<Discovery>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) static_configs: Vec<StaticConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) relabel_configs: Vec<Relabel>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) metric_relabel_configs: Vec<Relabel>,
}

#[derive(Debug, Serialize)]
pub(super) struct Authorization {
    credentials_file: String,
}

#[derive(Debug, Serialize)]
pub(super) struct TlsConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    insecure_skip_verify: bool,
}

impl Authorization {
    /// By the token of the pod's own account.
    pub(super) fn own_account() -> Self {
        Self { credentials_file: format!("{ACCOUNT}/token") }
    }
}

impl TlsConfig {
    /// By the cluster's authority, or unchecked.
    pub(super) fn of_cluster(verified: bool) -> Self {
        Self { ca_file: verified.then(|| format!("{ACCOUNT}/ca.crt")), insecure_skip_verify: !verified }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Discovery {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<Namespaces>,
}

#[derive(Debug, Serialize)]
struct Namespaces {
    names: Vec<String>,
}

impl Discovery {
    pub(super) fn everywhere(role: &'static str) -> Vec<Self> {
        vec![Self { role, namespaces: None }]
    }

    pub(super) fn within(role: &'static str, namespace: &str) -> Vec<Self> {
        vec![Self { role, namespaces: Some(Namespaces { names: vec![namespace.to_owned()] }) }]
    }
}

#[derive(Debug, Serialize)]
pub(super) struct StaticConfig {
    pub(super) targets: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
}

/// A step of [relabelling](https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config).
#[derive(Debug, Default, Serialize)]
pub(super) struct Relabel {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_labels: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_label: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replacement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
}

impl Relabel {
    /// Keeps what has these values, joined by `;`.
    pub(super) fn keep(labels: &[&'static str], regex: impl Into<String>) -> Self {
        Self {
            source_labels: labels.to_vec(),
            regex: Some(regex.into()),
            action: Some("keep"),
            ..Self::default()
        }
    }

    /// Drops what has these values.
    pub(super) fn drop(labels: &[&'static str], regex: impl Into<String>) -> Self {
        Self { action: Some("drop"), ..Self::keep(labels, regex) }
    }

    /// Copies a label that is there.
    pub(super) fn copy(label: &'static str, target: &'static str) -> Self {
        Self {
            source_labels: vec![label],
            regex: Some("(.+)".to_owned()),
            target_label: Some(target),
            ..Self::default()
        }
    }

    /// Sets a label to a text, in which `$` stands for nothing else.
    pub(super) fn set(target: &'static str, value: &str) -> Self {
        Self { target_label: Some(target), replacement: Some(value.replace('$', "$$")), ..Self::default() }
    }

    /// Sets a label to what is made of others.
    pub(super) fn replace(
        labels: &[&'static str],
        regex: impl Into<String>,
        target: &'static str,
        replacement: impl Into<String>,
    ) -> Self {
        Self {
            source_labels: labels.to_vec(),
            regex: Some(regex.into()),
            target_label: Some(target),
            replacement: Some(replacement.into()),
            ..Self::default()
        }
    }
}

impl ConfigurationFile {
    pub(super) fn new(settings: &PrometheusSettings, frame: &Frame<'_>) -> Self {
        let target = frame.target;
        let mut external_labels = settings.external_labels.clone();
        external_labels.insert("platform".to_owned(), target.platform.to_string());
        external_labels.insert("cluster".to_owned(), target.cluster.to_string());
        if let Some(environment) = frame.environment() {
            external_labels.insert("environment".to_owned(), environment.to_owned());
        }
        let mut alertmanagers = vec![AlertmanagerConfig {
            kubernetes_sd_configs: Discovery::within("endpointslice", frame.namespace()),
            static_configs: Vec::new(),
            relabel_configs: vec![Relabel::keep(
                &[scrape::SERVICE_NAME_LABEL, scrape::SLICE_PORT_NAME],
                "alertmanager;http",
            )],
        }];
        if !settings.alertmanagers.is_empty() {
            let targets = settings.alertmanagers.clone();
            alertmanagers.push(AlertmanagerConfig {
                kubernetes_sd_configs: Vec::new(),
                static_configs: vec![StaticConfig { targets, labels: BTreeMap::new() }],
                relabel_configs: Vec::new(),
            });
        }
        Self {
            global: Global {
                scrape_interval: settings.scrape_interval,
                evaluation_interval: settings.evaluation_interval,
                external_labels,
            },
            rule_files: if settings.rules.is_empty() { Vec::new() } else { vec![RULES_FILE] },
            alerting: Alerting { alertmanagers },
            scrape_configs: scrape::configs(settings, frame),
        }
    }
}

/// The label of a pod as service discovery has it.
pub(super) const POD_NAME_LABEL: &str = "__meta_kubernetes_pod_label_app_kubernetes_io_name";
/// The environment of a pod.
pub(super) const POD_ENVIRONMENT_LABEL: &str = "__meta_kubernetes_pod_label_platform_dev_environment";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels;

    #[test]
    fn labels_are_named_as_service_discovery_names_them() {
        let discovered = |label: &str| {
            let name = label.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            format!("__meta_kubernetes_pod_label_{name}")
        };
        assert_eq!(discovered(labels::NAME), POD_NAME_LABEL);
        assert_eq!(discovered(labels::ENVIRONMENT), POD_ENVIRONMENT_LABEL);
    }
}

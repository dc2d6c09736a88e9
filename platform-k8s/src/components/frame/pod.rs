//! Pods.

use super::{Configuration, Container, Frame};
use crate::labels;
use platform_core::Quantity;
use serde_json::{Map, Value, json};

/// What the pods of a workload are made of. Without more, one runs on Linux, as nobody in particular but not as root, without access to
/// the API server.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    spec: Map<String, Value>,
}

impl Pod {
    pub(super) fn new(frame: &Frame<'_>) -> Self {
        let pod = Self { labels: frame.labels(), annotations: Map::new(), spec: Map::new() };
        pod.set("automountServiceAccountToken", false)
            .set("nodeSelector", json!({"kubernetes.io/os": "linux"}))
            .set(
                "securityContext",
                json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
            )
            .set("serviceAccountName", frame.name())
    }

    /// Sets any other field of its spec.
    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.spec.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn container(self, container: Container) -> Self {
        self.push("containers", container.into())
    }

    /// Runs as this user and group, who also owns its volumes.
    pub(crate) fn user(mut self, id: u32) -> Self {
        if let Some(Value::Object(context)) = self.spec.get_mut("securityContext") {
            for key in ["runAsUser", "runAsGroup", "fsGroup"] {
                context.insert(key.to_owned(), id.into());
            }
            // Volumes whose owner is right already are not walked through at each start.
            context.insert("fsGroupChangePolicy".to_owned(), "OnRootMismatch".into());
        }
        self
    }

    /// Gives it the token of its service account.
    pub(crate) fn api_access(self) -> Self {
        self.set("automountServiceAccountToken", true)
    }

    /// A volume with fields of its own.
    pub(crate) fn volume(self, volume: Value) -> Self {
        self.push("volumes", volume)
    }

    /// A volume of a configuration's files; the pods are made anew when these change.
    pub(crate) fn configuration(mut self, volume: &str, configuration: &Configuration) -> Self {
        // What several configurations say is one checksum.
        let before = self.annotations.get(labels::CONFIGURATION).and_then(Value::as_str).unwrap_or_default();
        let checksum = configuration.checksum(before);
        self.annotations.insert(labels::CONFIGURATION.to_owned(), checksum.into());
        let source = json!({"name": configuration.name(), "defaultMode": 0o644});
        self.volume(json!({"name": volume, "configMap": source}))
    }

    /// A volume of a Secret's keys as files, which its user may read.
    pub(crate) fn secret(self, volume: &str, secret: &str) -> Self {
        self.volume(json!({"name": volume, "secret": {"secretName": secret, "defaultMode": 0o440}}))
    }

    /// An empty volume that lives as long as the pod.
    pub(crate) fn empty_dir(self, volume: &str, size_limit: Option<&Quantity>) -> Self {
        let source = match size_limit {
            Some(size) => json!({"sizeLimit": size.as_str()}),
            None => json!({}),
        };
        self.volume(json!({"name": volume, "emptyDir": source}))
    }

    /// Has Prometheus scrape it, by the usual annotations.
    pub(crate) fn scraped(self, port: u16, path: &str) -> Self {
        self.annotation("prometheus.io/scrape", "true")
            .annotation("prometheus.io/port", &port.to_string())
            .annotation("prometheus.io/path", path)
    }

    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    fn push(mut self, key: &str, value: Value) -> Self {
        let list = self.spec.entry(key).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(value);
        }
        self
    }

    /// Spreads the pods over the nodes as far as that is possible.
    pub(super) fn spread(self, selector: &Value) -> Self {
        let constraint = json!({
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector},
        });
        self.set("topologySpreadConstraints", json!([constraint]))
    }

    pub(super) fn template(self) -> Value {
        let mut metadata = Map::new();
        metadata.insert("labels".to_owned(), self.labels.into());
        if !self.annotations.is_empty() {
            metadata.insert("annotations".to_owned(), self.annotations.into());
        }
        json!({"metadata": metadata, "spec": self.spec})
    }
}

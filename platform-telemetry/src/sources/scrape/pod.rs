//! Pods that ask to be scraped, and the platform's exporters.

use platform_core::{cluster::ProxyRequest, component::SYSTEM_NAMESPACE, telemetry::Labels};
use serde_json::Value;
use std::fmt;

/// Exposes metrics of other objects under their own labels.
const SPEAKS_FOR_OTHERS: &str = "kube-state-metrics";
/// Components that are there to be scraped, and bear no annotation: Prometheus has jobs of their own for them.
const EXPORTERS: [&str; 2] = ["node-exporter", SPEAKS_FOR_OTHERS];

/// A pod and where it exposes its metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodTarget {
    pub(super) request: ProxyRequest,
    /// `job`, `instance`, `namespace`, `pod`, `node` and the labels given; of an exporter of the platform, the first two.
    pub(super) labels: Labels,
    /// Whether labels of its samples win over its own.
    pub(super) honor_labels: bool,
}

impl PodTarget {
    /// The target of a pod that runs and is annotated or an exporter of the platform; `None` for others.
    pub(super) fn of(pod: &Value, labels: &Labels) -> Option<Self> {
        let text = |path: &str| pod.pointer(path).and_then(Value::as_str);
        let annotation = |name: &str| {
            let annotations = pod.pointer("/metadata/annotations")?;
            annotations.get(format!("prometheus.io/{name}"))?.as_str()
        };
        let runs =
            text("/status/phase") == Some("Running") && pod.pointer("/metadata/deletionTimestamp").is_none();
        let (namespace, name) = (text("/metadata/namespace")?, text("/metadata/name")?);
        let application = text("/metadata/labels/app.kubernetes.io~1name");
        let is_exporter =
            namespace == SYSTEM_NAMESPACE && application.is_some_and(|name| EXPORTERS.contains(&name));
        if !runs || !(is_exporter || annotation("scrape") == Some("true")) {
            return None;
        }
        let port = annotation("port").map(str::to_owned).or_else(|| metrics_port(pod))?;
        let job = application.or_else(|| text("/spec/containers/0/name"))?;
        let node = text("/spec/nodeName").unwrap_or_default();
        let own = match job {
            // They tell of nodes and of other objects, and not of the pods that they are.
            SPEAKS_FOR_OTHERS if is_exporter => {
                Labels::from_iter([("job", job), ("instance", &format!("{job}.{namespace}.svc:{port}"))])
            }
            _ if is_exporter => Labels::from_iter([("job", job), ("instance", node)]),
            _ => Labels::from_iter([
                ("job", job),
                ("instance", &format!("{}:{port}", text("/status/podIP")?)),
                ("namespace", namespace),
                ("pod", name),
                ("node", node),
            ]),
        };
        let request = ProxyRequest::pod(namespace, name)
            .port(port)
            .tls(annotation("scheme") == Some("https"))
            .path(annotation("path").unwrap_or("/metrics"));
        Some(Self { request, labels: labels.with(&own), honor_labels: job == SPEAKS_FOR_OTHERS })
    }
}

impl fmt::Display for PodTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

/// The port that a container calls `metrics`.
fn metrics_port(pod: &Value) -> Option<String> {
    let containers = pod.pointer("/spec/containers")?.as_array()?;
    let mut ports = containers.iter().filter_map(|c| c.get("ports")?.as_array()).flatten();
    let port = ports.find(|port| port.get("name").and_then(Value::as_str) == Some("metrics"))?;
    Some(port.get("containerPort")?.as_u64()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(annotations: &Value) -> Value {
        json!({
            "metadata": {
                "name": "web-1", "namespace": "shop", "annotations": annotations,
                "labels": {"app.kubernetes.io/name": "web"},
            },
            "spec": {
                "nodeName": "n1",
                "containers": [{"name": "main", "ports": [{"name": "metrics", "containerPort": 9100}]}],
            },
            "status": {"phase": "Running", "podIP": "10.0.0.7"},
        })
    }

    #[test]
    fn annotations_say_whether_and_where() {
        let of = |pod: &Value| PodTarget::of(pod, &Labels::from_iter([("cluster", "c")]));
        let target = of(&pod(&json!({"prometheus.io/scrape": "true"}))).unwrap();
        assert_eq!(target.to_string(), "pod shop/web-1:9100/metrics");
        assert_eq!(
            target.labels.to_string(),
            r#"{cluster="c",instance="10.0.0.7:9100",job="web",namespace="shop",node="n1",pod="web-1"}"#
        );
        assert!(!target.honor_labels);
        let full = json!({
            "prometheus.io/scrape": "true", "prometheus.io/port": "8443", "prometheus.io/path": "/m",
            "prometheus.io/scheme": "https",
        });
        let target = of(&pod(&full)).unwrap();
        assert_eq!((target.to_string().as_str(), target.request.tls), ("pod shop/web-1:8443/m", true));
        assert_eq!(of(&pod(&json!({"prometheus.io/scrape": "false"}))), None);
        assert_eq!(of(&pod(&json!({}))), None);
        let mut exporter = pod(&json!({}));
        exporter["metadata"]["namespace"] = SYSTEM_NAMESPACE.into();
        assert_eq!(of(&exporter), None);
        exporter["metadata"]["labels"]["app.kubernetes.io/name"] = SPEAKS_FOR_OTHERS.into();
        let target = of(&exporter).unwrap();
        let instance = r#"{cluster="c",instance="kube-state-metrics.platform-system.svc:9100",job="kube-state-metrics"}"#;
        assert_eq!((target.labels.to_string().as_str(), target.honor_labels), (instance, true));
        exporter["metadata"]["labels"]["app.kubernetes.io/name"] = "node-exporter".into();
        assert_eq!(
            of(&exporter).unwrap().labels.to_string(),
            r#"{cluster="c",instance="n1",job="node-exporter"}"#
        );
        let mut ending = pod(&json!({"prometheus.io/scrape": "true"}));
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(of(&ending), None);
        let mut pending = pod(&json!({"prometheus.io/scrape": "true"}));
        pending["status"]["phase"] = "Pending".into();
        assert_eq!(of(&pending), None);
    }
}

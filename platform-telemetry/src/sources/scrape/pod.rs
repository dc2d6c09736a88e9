//! Pods that ask to be scraped, and the platform's exporters.

use super::selector::ScrapeEndpoint;
use platform_core::{Error, Result, cluster::ProxyRequest, component::SYSTEM_NAMESPACE, telemetry::Labels};
use reqwest::Url;
use serde_json::Value;
use std::{fmt, time::Duration};

/// Exposes metrics of other objects under their own labels.
const SPEAKS_FOR_OTHERS: &str = "kube-state-metrics";
/// Components that are there to be scraped, and bear no annotation: Prometheus has jobs of their own for them.
const EXPORTERS: [&str; 2] = ["node-exporter", SPEAKS_FOR_OTHERS];

/// A pod and where it exposes its metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodTarget {
    pub(super) request: ProxyRequest,
    /// The address of the pod itself, with the port as it is written.
    address: String,
    /// `job`, `instance`, `namespace`, `pod`, `node` and the labels given; of an exporter of the platform, the first two.
    pub(super) labels: Labels,
    /// Whether labels of its samples win over its own.
    pub(super) honor_labels: bool,
    /// How often, if not as all.
    pub(super) interval: Option<Duration>,
}

impl PodTarget {
    /// Where the pod answers itself. Fails with [`Invalid`](platform_core::ErrorKind::Invalid) where the port is no number.
    pub(super) fn url(&self) -> Result<Url> {
        let scheme = if self.request.tls { "https" } else { "http" };
        let path = self.request.path.trim_start_matches('/');
        Url::parse(&format!("{scheme}://{}/{path}", self.address)).map_err(|error| {
            Error::invalid(format!("its address {} is none of HTTP", self.address)).source(error)
        })
    }

    /// The target of a pod that runs and is annotated or an exporter of the platform; `None` for others.
    pub(super) fn of(pod: &Value, labels: &Labels) -> Option<Self> {
        let text = |path: &str| pod.pointer(path).and_then(Value::as_str);
        let annotation = |name: &str| {
            let annotations = pod.pointer("/metadata/annotations")?;
            annotations.get(format!("prometheus.io/{name}"))?.as_str()
        };
        let application = text("/metadata/labels/app.kubernetes.io~1name");
        let is_exporter = text("/metadata/namespace") == Some(SYSTEM_NAMESPACE)
            && application.is_some_and(|name| EXPORTERS.contains(&name));
        if !(is_exporter || annotation("scrape") == Some("true")) {
            return None;
        }
        let port = annotation("port").map(str::to_owned).or_else(|| port(pod, "metrics"))?;
        let job = job(pod)?;
        let endpoint = ScrapeEndpoint::port(&port).path(annotation("path").unwrap_or("/metrics"));
        let endpoint = if annotation("scheme") == Some("https") { endpoint.https() } else { endpoint };
        let speaks = is_exporter && job == SPEAKS_FOR_OTHERS;
        let endpoint = if speaks { endpoint.honor_labels() } else { endpoint };
        let mut target = Self::chosen(pod, &endpoint, &port, None, labels)?;
        if is_exporter {
            // They tell of nodes and of other objects, and not of the pods that they are.
            let namespace = text("/metadata/namespace")?;
            let instance = match job {
                SPEAKS_FOR_OTHERS => format!("{job}.{namespace}.svc:{port}"),
                _ => text("/spec/nodeName").unwrap_or_default().to_owned(),
            };
            target.labels = labels.with(&Labels::from_iter([("job", job), ("instance", instance.as_str())]));
        }
        Some(target)
    }

    /// The target of a pod that runs, behind a Service if one is named.
    pub(super) fn chosen(
        pod: &Value,
        endpoint: &ScrapeEndpoint,
        port: &str,
        service: Option<&str>,
        labels: &Labels,
    ) -> Option<Self> {
        let text = |path: &str| pod.pointer(path).and_then(Value::as_str);
        if text("/status/phase") != Some("Running") || pod.pointer("/metadata/deletionTimestamp").is_some() {
            return None;
        }
        let (namespace, name) = (text("/metadata/namespace")?, text("/metadata/name")?);
        let ip = text("/status/podIP")?;
        let own = Labels::from_iter([
            ("job", service.or_else(|| job(pod))?),
            ("instance", &format!("{ip}:{port}")),
            ("namespace", namespace),
            ("pod", name),
            ("node", text("/spec/nodeName").unwrap_or_default()),
            ("service", service.unwrap_or_default()),
        ]);
        let request =
            ProxyRequest::pod(namespace, name).port(port).tls(endpoint.tls).path(endpoint.path.as_str());
        Some(Self {
            request,
            address: if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") },
            labels: labels.with(&own),
            honor_labels: endpoint.honor_labels,
            interval: endpoint.interval,
        })
    }
}

/// What a pod is called as a job: its application, or its first container.
fn job(pod: &Value) -> Option<&str> {
    let text = |path: &str| pod.pointer(path).and_then(Value::as_str);
    text("/metadata/labels/app.kubernetes.io~1name").or_else(|| text("/spec/containers/0/name"))
}

impl fmt::Display for PodTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)
    }
}

/// A port by its number, or the one that a container calls so.
pub(super) fn port(pod: &Value, port: &str) -> Option<String> {
    if port.parse::<u16>().is_ok() {
        return Some(port.to_owned());
    }
    let containers = pod.pointer("/spec/containers")?.as_array()?;
    let mut ports = containers.iter().filter_map(|c| c.get("ports")?.as_array()).flatten();
    let found = ports.find(|found| found.get("name").and_then(Value::as_str) == Some(port))?;
    Some(found.get("containerPort")?.as_u64()?.to_string())
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
        assert_eq!(target.url().unwrap().as_str(), "https://10.0.0.7:8443/m");
        let mut of_six = pod(&json!({"prometheus.io/scrape": "true", "prometheus.io/path": "m?all=1"}));
        of_six["status"]["podIP"] = "fd00::7".into();
        assert_eq!(of(&of_six).unwrap().url().unwrap().as_str(), "http://[fd00::7]:9100/m?all=1");
        let odd = pod(&json!({"prometheus.io/scrape": "true", "prometheus.io/port": "evil.example.com/"}));
        assert!(of(&odd).unwrap().url().is_err());
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

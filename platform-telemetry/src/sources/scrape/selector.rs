//! Pods that are chosen to be scraped, by themselves or by their Services.

use super::pod::{self, PodTarget};
use platform_core::telemetry::Labels;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// Where a chosen pod exposes its metrics, and how often they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct ScrapeEndpoint {
    pub(super) port: String,
    pub(super) path: String,
    pub(super) tls: bool,
    pub(super) interval: Option<Duration>,
    pub(super) honor_labels: bool,
}

impl ScrapeEndpoint {
    /// The path `/metrics` of a port, which is a number or a name: of a container's port, or of a Service's for [`ServiceSelector`].
    #[allow(clippy::needless_pass_by_value, reason = "numbers and names alike")]
    pub fn port(port: impl ToString) -> Self {
        Self {
            port: port.to_string(),
            path: "/metrics".to_owned(),
            tls: false,
            interval: None,
            honor_labels: false,
        }
    }

    /// Sets the path with its query.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Speaks TLS. Nobody checks the certificate: pods are known by their addresses.
    pub fn https(mut self) -> Self {
        self.tls = true;
        self
    }

    /// How often. Default: that of the source; at least 10 ms.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval.max(Duration::from_millis(10)));
        self
    }

    /// Lets labels of the samples win over those of the pod: for pods that speak for others.
    pub fn honor_labels(mut self) -> Self {
        self.honor_labels = true;
        self
    }
}

/// Pods that are scraped without being annotated, as a PodMonitor of the Prometheus operator chooses them.
///
/// ```
/// use platform_telemetry::sources::{PodSelector, ScrapeEndpoint};
///
/// let web = PodSelector::new(ScrapeEndpoint::port("metrics")).namespace("shop").label("app", "web");
/// # let _ = web;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct PodSelector {
    choice: Choice,
    endpoint: ScrapeEndpoint,
}

impl PodSelector {
    /// All pods with such a port, until it is told which.
    pub fn new(endpoint: ScrapeEndpoint) -> Self {
        Self { choice: Choice::default(), endpoint }
    }

    /// Only in this namespace.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.choice.namespace = Some(namespace.into());
        self
    }

    /// Only with the label `key=value`.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.choice.labels.insert(key.into(), value.into());
        self
    }

    pub(super) fn target(&self, pod: &Value, labels: &Labels) -> Option<PodTarget> {
        if !self.choice.takes(pod) {
            return None;
        }
        PodTarget::chosen(pod, &self.endpoint, &pod::port(pod, &self.endpoint.port)?, None, labels)
    }
}

/// The pods behind Services, as a ServiceMonitor of the Prometheus operator chooses them.
///
/// Each pod that the Service's own selector takes is scraped by itself, under the labels `service` and `job`, which are the Service's name.
/// Services without a selector have no pods that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct ServiceSelector {
    choice: Choice,
    endpoint: ScrapeEndpoint,
}

impl ServiceSelector {
    /// All Services with such a port, until it is told which.
    pub fn new(endpoint: ScrapeEndpoint) -> Self {
        Self { choice: Choice::default(), endpoint }
    }

    /// Only in this namespace.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.choice.namespace = Some(namespace.into());
        self
    }

    /// Only with the label `key=value`, of the Service.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.choice.labels.insert(key.into(), value.into());
        self
    }

    /// The targets behind a Service.
    pub(super) fn targets<'a>(
        &'a self,
        service: &'a Value,
        pods: &'a [Value],
        labels: &'a Labels,
    ) -> impl Iterator<Item = PodTarget> + 'a {
        let chosen = self.choice.takes(service).then(|| self.port_and_pods(service)).flatten();
        chosen.into_iter().flat_map(move |(name, port, choice)| {
            pods.iter().filter(move |pod| choice.takes(pod)).filter_map(move |pod| {
                PodTarget::chosen(pod, &self.endpoint, &pod::port(pod, &port)?, Some(name), labels)
            })
        })
    }

    /// The Service's name, the port of its pods, and which they are.
    fn port_and_pods<'a>(&self, service: &'a Value) -> Option<(&'a str, String, Choice)> {
        let text = |path: &str| service.pointer(path).and_then(Value::as_str);
        let selector = service.pointer("/spec/selector")?.as_object().filter(|labels| !labels.is_empty())?;
        let ports = service.pointer("/spec/ports")?.as_array()?;
        let port = ports.iter().find(|port| {
            port.get("name").and_then(Value::as_str) == Some(&self.endpoint.port)
                || port
                    .get("port")
                    .and_then(Value::as_u64)
                    .is_some_and(|number| Ok(number) == self.endpoint.port.parse())
        })?;
        let port = match port.get("targetPort") {
            Some(Value::String(name)) => name.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => port.get("port")?.to_string(),
        };
        let labels =
            selector.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        let choice =
            Choice { namespace: Some(text("/metadata/namespace")?.to_owned()), labels: labels.collect() };
        Some((text("/metadata/name")?, port, choice))
    }
}

/// Objects by namespace and labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Choice {
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
}

impl Choice {
    fn takes(&self, object: &Value) -> bool {
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        let label = |key: &str| object.pointer("/metadata/labels")?.get(key)?.as_str();
        self.namespace.as_ref().is_none_or(|wanted| namespace == Some(wanted))
            && self.labels.iter().all(|(key, value)| label(key) == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, app: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": app}},
            "spec": {
                "nodeName": "n1",
                "containers": [{"name": "main", "ports": [{"name": "http", "containerPort": 8080}, {"name": "stats", "containerPort": 9100}]}],
            },
            "status": {"phase": "Running", "podIP": "10.0.0.7"},
        })
    }

    fn service(selector: &Value) -> Value {
        json!({
            "metadata": {"name": "front", "namespace": "shop", "labels": {"tier": "1"}},
            "spec": {"selector": selector, "ports": [
                {"name": "web", "port": 80, "targetPort": "http"},
                {"name": "metrics", "port": 9000, "targetPort": "stats"},
                {"name": "plain", "port": 9100},
            ]},
        })
    }

    #[test]
    fn pods_are_chosen_by_namespace_labels_and_port() {
        let of = |selector: &PodSelector| {
            selector.target(&pod("web-1", "web"), &Labels::empty()).map(|target| target.to_string())
        };
        let stats = || PodSelector::new(ScrapeEndpoint::port("stats"));
        assert_eq!(of(&stats()).as_deref(), Some("pod shop/web-1:9100/metrics"));
        assert_eq!(
            of(&stats().namespace("shop").label("app", "web")).as_deref(),
            Some("pod shop/web-1:9100/metrics")
        );
        assert_eq!(of(&stats().namespace("other")), None);
        assert_eq!(of(&stats().label("app", "db")), None);
        assert_eq!(of(&PodSelector::new(ScrapeEndpoint::port("absent"))), None);
        let odd = PodSelector::new(
            ScrapeEndpoint::port(8443)
                .path("/m?x=1")
                .https()
                .interval(Duration::from_secs(60))
                .honor_labels(),
        );
        let target = odd.target(&pod("web-1", "web"), &Labels::from_iter([("cluster", "c")])).unwrap();
        assert_eq!(
            (target.to_string().as_str(), target.request.tls, target.honor_labels),
            ("pod shop/web-1:8443/m", true, true)
        );
        assert_eq!(target.interval, Some(Duration::from_secs(60)));
        assert_eq!(
            target.labels.to_string(),
            r#"{cluster="c",instance="10.0.0.7:8443",job="main",namespace="shop",node="n1",pod="web-1"}"#
        );
        let mut pending = pod("web-1", "web");
        pending["status"]["phase"] = "Pending".into();
        assert_eq!(stats().target(&pending, &Labels::empty()), None);
    }

    #[test]
    fn services_lead_to_the_ports_of_their_pods() {
        let pods = [pod("web-1", "web"), pod("db-1", "db"), pod("web-2", "web")];
        let of = |selector: &ServiceSelector, service: &Value| {
            selector
                .targets(service, &pods, &Labels::empty())
                .map(|target| target.to_string())
                .collect::<Vec<_>>()
        };
        let web = service(&json!({"app": "web"}));
        let by = |port: &str| ServiceSelector::new(ScrapeEndpoint::port(port)).label("tier", "1");
        assert_eq!(of(&by("metrics"), &web), ["pod shop/web-1:9100/metrics", "pod shop/web-2:9100/metrics"]);
        assert_eq!(of(&by("80"), &web), ["pod shop/web-1:8080/metrics", "pod shop/web-2:8080/metrics"]);
        assert_eq!(of(&by("plain"), &web), ["pod shop/web-1:9100/metrics", "pod shop/web-2:9100/metrics"]);
        assert!(of(&by("absent"), &web).is_empty() && of(&by("metrics").namespace("other"), &web).is_empty());
        assert!(of(&by("metrics"), &service(&json!({}))).is_empty());
        let selector = by("metrics");
        let target = selector.targets(&web, &pods, &Labels::empty()).next().unwrap();
        assert_eq!((target.labels.get("job"), target.labels.get("service")), (Some("front"), Some("front")));
    }
}

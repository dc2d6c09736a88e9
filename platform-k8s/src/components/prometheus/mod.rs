//! Prometheus: scrapes the cluster it runs in, keeps the samples, evaluates alert rules.

mod configuration;
mod scrape;

use super::frame::{
    Configuration, ContainerDefaults, Defaults, Frame, Installation, Program, Service, Tag, http_get, rule,
};
use configuration::ConfigurationFile;
use platform_core::{
    Error, Result,
    alert::{AlertRule, PrometheusRule, PrometheusRuleFile, PrometheusRuleGroup},
    component::ComponentScope,
    telemetry::prometheus_duration,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

const PORT: u16 = 9090;
/// nobody, whom the image runs as.
const USER: u32 = 65534;

/// [Prometheus](https://prometheus.io): scrapes every node's kubelet and the cluster's pods and Services, keeps the samples, evaluates alert rules,
/// and hands alerts to the [`Alertmanager`](super::Alertmanager) of the same cluster. It answers on port 9090 of its Service.
///
/// What it scrapes without being told more:
///
/// - the kubelets' `/metrics` and `/metrics/cadvisor`, node exporter and kube-state-metrics;
/// - pods, and the pods behind Services, with the annotation `prometheus.io/scrape: "true"`, at `prometheus.io/port` and `prometheus.io/path`.
///   All components of the catalogue have them.
///
/// Every series has the labels `cluster` and, where it belongs to one, `environment`; those of nodes have the node's name as `instance`.
///
/// ```
/// use platform_core::alert::AlertRule;
/// use platform_k8s::components::{Prometheus, ScrapeJob};
///
/// let prometheus = Prometheus::new()?
///     .scrape(ScrapeJob::new("database", ["db.example.com:9187"]))
///     .rule(&AlertRule::high_cpu(80.0));
/// # let _ = prometheus;
/// # Ok::<(), platform_core::Error>(())
/// ```
pub type Prometheus = Installation<PrometheusSettings>;

/// What only Prometheus knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PrometheusSettings {
    /// How often targets are scraped. Default: 15s.
    #[serde(with = "prometheus_duration")]
    pub scrape_interval: Duration,
    /// How often rules are evaluated. Default: 15s.
    #[serde(with = "prometheus_duration")]
    pub evaluation_interval: Duration,
    /// How long samples are kept, unless the storage is 80 % full before. Default: 15d.
    #[serde(with = "prometheus_duration")]
    pub retention: Duration,
    /// Labels of alerts and of what is sent elsewhere, besides `platform`, `cluster` and `environment`.
    pub external_labels: BTreeMap<String, String>,
    /// Targets outside the cluster.
    pub scrape: Vec<ScrapeJob>,
    /// Alert rules, in Prometheus' own words.
    pub rules: Vec<PrometheusRule>,
    /// Addresses `HOST:PORT` of further Alertmanagers, besides those of the same cluster.
    pub alertmanagers: Vec<String>,
    /// Whether the certificates of kubelets are checked against the cluster's authority. Default: false, for those of most clusters are
    /// signed by nobody.
    pub verify_kubelets: bool,
}

impl Default for PrometheusSettings {
    fn default() -> Self {
        Self {
            scrape_interval: Duration::from_secs(15),
            evaluation_interval: Duration::from_secs(15),
            retention: Duration::from_secs(15 * 24 * 3600),
            external_labels: BTreeMap::new(),
            scrape: Vec::new(),
            rules: Vec::new(),
            alertmanagers: Vec::new(),
            verify_kubelets: false,
        }
    }
}

/// Targets that are known by their addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ScrapeJob {
    /// The label `job`, unique.
    pub name: String,
    /// Their addresses, `HOST:PORT`.
    pub targets: Vec<String>,
    /// The path. Default: `/metrics`.
    #[serde(default = "metrics")]
    pub path: String,
    /// Whether they are asked by HTTPS, with the system's certificates. Default: false.
    #[serde(default)]
    pub tls: bool,
    /// More labels of their series.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn metrics() -> String {
    "/metrics".to_owned()
}

impl ScrapeJob {
    /// Targets that are asked for `/metrics` by HTTP.
    pub fn new<T: Into<String>>(name: impl Into<String>, targets: impl IntoIterator<Item = T>) -> Self {
        Self {
            name: name.into(),
            targets: targets.into_iter().map(Into::into).collect(),
            path: metrics(),
            tls: false,
            labels: BTreeMap::new(),
        }
    }

    /// Sets the path.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Asks by HTTPS.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Adds a label to the series.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }
}

impl Prometheus {
    /// Adds targets outside the cluster.
    #[must_use]
    pub fn scrape(mut self, job: ScrapeJob) -> Self {
        self.settings.scrape.push(job);
        self
    }

    /// Adds an alert rule.
    #[must_use]
    pub fn rule(mut self, rule: &AlertRule) -> Self {
        self.settings.rules.push(rule.into());
        self
    }

    /// Sets how often targets are scraped and rules evaluated.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.settings.scrape_interval = interval;
        self.settings.evaluation_interval = interval;
        self
    }

    /// Sets how long samples are kept.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.settings.retention = retention;
        self
    }

    /// Adds an Alertmanager elsewhere, by its address `HOST:PORT`.
    #[must_use]
    pub fn alertmanager(mut self, address: impl Into<String>) -> Self {
        self.settings.alertmanagers.push(address.into());
        self
    }
}

impl Program for PrometheusSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "prometheus",
        version: "3.16.0",
        scope: ComponentScope::EveryCluster,
        containers: &[ContainerDefaults {
            name: "prometheus",
            repository: "quay.io/prometheus/prometheus",
            tag: Tag::V,
            cpu: "100m",
            memory: "256Mi",
            memory_limit: "1Gi",
        }],
        replicas: Some(1),
        storage: Some("10Gi"),
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        self.check()?;
        let configuration = self.configuration(frame)?;
        let size_limit = (frame.storage_size()?.as_f64() * 0.8 / f64::from(1 << 20)).floor().max(1.0);
        let container = frame
            .container("prometheus")?
            .args([
                "--config.file=/etc/prometheus/prometheus.yml".to_owned(),
                "--storage.tsdb.path=/prometheus".to_owned(),
                format!("--storage.tsdb.retention.time={}", prometheus_duration::format(self.retention)),
                format!("--storage.tsdb.retention.size={size_limit}MB"),
                format!("--web.listen-address=:{PORT}"),
            ])
            .port("http", PORT)
            .started_when(json!({"httpGet": {"path": "/-/ready", "port": "http"}, "failureThreshold": 60, "periodSeconds": 5}))
            .ready_when(http_get("/-/ready", "http"))
            .alive_when(http_get("/-/healthy", "http"))
            .mount_read_only("config", "/etc/prometheus")
            .mount("data", "/prometheus");
        let pod = frame
            .pod()
            .user(USER)
            .api_access()
            .container(container)
            .configuration("config", &configuration)
            // Samples that are not yet in a block are written down before it ends.
            .set("terminationGracePeriodSeconds", 300)
            .scraped(PORT, "/metrics");
        let read = ["get", "list", "watch"];
        let [role, binding] = frame.cluster_role(&[
            rule(&[""], &["nodes", "pods", "services"], &read),
            rule(&[""], &["nodes/metrics"], &["get"]),
            rule(&["discovery.k8s.io"], &["endpointslices"], &read),
            json!({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}),
        ]);
        let mut objects = vec![
            frame.service_account(),
            role,
            binding,
            configuration.object(frame),
            frame.stateful_set(frame.name(), pod)?.into(),
            Service::new(frame).port("http", PORT).into(),
        ];
        objects.extend(frame.disruption_budget());
        Ok(objects)
    }
}

impl PrometheusSettings {
    fn check(&self) -> Result<()> {
        let mut names: Vec<&str> = self.scrape.iter().map(|job| job.name.as_str()).collect();
        names.extend(scrape::JOBS);
        names.sort_unstable();
        if let Some(twice) = names.iter().zip(names.iter().skip(1)).find_map(|(a, b)| (a == b).then_some(a)) {
            return Err(Error::invalid(format!("settings.scrape: there are two jobs {twice:?}")));
        }
        for (at, job) in self.scrape.iter().enumerate() {
            if job.name.is_empty() || job.targets.iter().any(|target| target.contains('/')) {
                return Err(Error::invalid(format!(
                    "settings.scrape[{at}]: it needs a name, and targets like HOST:PORT"
                )));
            }
        }
        for (name, interval) in
            [("scrapeInterval", self.scrape_interval), ("evaluationInterval", self.evaluation_interval)]
        {
            if interval < Duration::from_secs(1) {
                return Err(Error::invalid(format!("settings.{name}: it must be at least 1s")));
            }
        }
        Ok(())
    }

    fn configuration(&self, frame: &Frame<'_>) -> Result<Configuration> {
        let configuration =
            Configuration::new(frame.name()).yaml("prometheus.yml", &ConfigurationFile::new(self, frame))?;
        if self.rules.is_empty() {
            return Ok(configuration);
        }
        let group = PrometheusRuleGroup { name: "platform".to_owned(), rules: self.rules.clone() };
        configuration.yaml(configuration::RULES_FILE, &PrometheusRuleFile { groups: vec![group] })
    }
}

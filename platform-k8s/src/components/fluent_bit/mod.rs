//! Fluent Bit: gathers logs and metrics of a cluster and sends them to Kafka.

mod configuration;
mod script;
#[cfg(test)]
mod tests;

use super::{
    brokers::{brokers, environments, topic_owners},
    frame::{
        Configuration, Container, ContainerDefaults, Defaults, Frame, Installation, Pod, Program, Service,
        Tag, http_get, rule,
    },
};
use crate::labels;
use configuration::{CONFIGURATION, HTTP_PORT, OWN_JOB, Pipeline, STATE, Scrape};
use platform_core::{Error, Result, component::ComponentScope, telemetry::document::environment_of};
use script::{Instance, Place};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// [Fluent Bit](https://fluentbit.io/): a DaemonSet that follows the log files of all containers of a node and scrapes its node exporter, and one pod more
/// that scrapes kube-state-metrics. Both send documents in the platform's shape to the topics of their environment. Their own metrics are on port
/// 2020 under `/api/v2/metrics/prometheus`.
///
/// Whose a log line is follows from the label `platform.dev/environment` of its namespace, where that names an environment of the cluster, else from the
/// cluster; whose a sample of kube-state-metrics is, from the name of its namespace.
///
/// What is read and not sent yet is kept on the node's disk, so that brokers may be away for long; beyond its limit the oldest goes. At most 8 MiB of it
/// are in memory alone, with the client of Kafka, and are lost when the process is killed. The same line may be sent twice, if the process ends between
/// sending it and noting that.
///
/// Its output for Kafka takes no metrics, so those that it scrapes are printed to its own log file, which it reads as well: `kubectl logs` shows them. Their values
/// are exact but for the sums of histograms and summaries, which are printed with six digits. Values that are not finite are left out, and there is no `up`.
///
/// It reads the node's log files as root, without any other right of root. Its namespace must therefore allow privileged pods.
pub type FluentBit = Installation<FluentBitSettings>;

/// What only Fluent Bit can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FluentBitSettings {
    /// The brokers to begin with, `host:port,host:port`. Default: the `kafka` component of the same namespace, which only the control plane has;
    /// other clusters must name them.
    pub brokers: Option<String>,
    /// How often metrics are scraped. Default: 15 seconds.
    pub scrape_interval_seconds: u32,
    /// Whether it scrapes the node exporter and kube-state-metrics, which must be there then. Default: yes.
    pub metrics: bool,
    /// How much of a node's disk may be taken by what is not sent yet, in mebibytes. Default: 2,048.
    pub buffer_mebibytes: u32,
}

impl Default for FluentBitSettings {
    fn default() -> Self {
        Self { brokers: None, scrape_interval_seconds: 15, metrics: true, buffer_mebibytes: 2048 }
    }
}

impl FluentBitSettings {
    /// Sends to these brokers, `host:port,host:port`.
    pub fn to_brokers(brokers: impl Into<String>) -> Self {
        Self { brokers: Some(brokers.into()), ..Self::default() }
    }
}

const CLUSTER_CONTAINER: &str = "fluent-bit-cluster";
/// Where the node keeps what is not sent yet.
const ON_NODE: &str = "/var/lib/platform";

const NODE_EXPORTER: &str = "node-exporter";
const NODE_EXPORTER_PORT: u16 = 9100;
const KUBE_STATE_METRICS: &str = "kube-state-metrics";
const KUBE_STATE_METRICS_PORT: u16 = 8080;

impl Program for FluentBitSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "fluent-bit",
        version: "5.1.0",
        scope: ComponentScope::EveryCluster,
        containers: &[
            ContainerDefaults {
                name: "fluent-bit",
                repository: "docker.io/fluent/fluent-bit",
                tag: Tag::Plain,
                cpu: "100m",
                memory: "128Mi",
                memory_limit: "512Mi",
            },
            ContainerDefaults {
                name: CLUSTER_CONTAINER,
                repository: "docker.io/fluent/fluent-bit",
                tag: Tag::Plain,
                cpu: "50m",
                memory: "128Mi",
                memory_limit: "512Mi",
            },
        ],
        replicas: None,
        storage: None,
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        self.check()?;
        let brokers = brokers(self.brokers.as_deref(), frame.target)?;
        let metrics = |scrape: Scrape| if self.metrics { vec![scrape] } else { Vec::new() };
        let pipeline = |reads_containers: bool, scrapes: Vec<Scrape>| Pipeline {
            settings: self,
            brokers: &brokers,
            environments: topic_owners(frame.target),
            reads_containers,
            scrapes,
        };
        let state_metrics = format!("{KUBE_STATE_METRICS}.{}.svc", frame.namespace());
        let node = pipeline(
            true,
            metrics(Scrape { job: NODE_EXPORTER, host: "${NODE_IP}".to_owned(), port: NODE_EXPORTER_PORT }),
        );
        let cluster = pipeline(
            false,
            metrics(Scrape {
                job: KUBE_STATE_METRICS,
                host: state_metrics.clone(),
                port: KUBE_STATE_METRICS_PORT,
            }),
        );
        let place = Place {
            cluster: frame.target.cluster.as_str(),
            environment: frame.environment(),
            environments: environments(frame.target),
            otherwise: environment_of(&frame.target.role),
            instances: vec![
                (NODE_EXPORTER, Instance::Variable("NODE_NAME")),
                (KUBE_STATE_METRICS, Instance::Address(format!("{state_metrics}:{KUBE_STATE_METRICS_PORT}"))),
                (OWN_JOB, Instance::Variable("POD_NAME")),
            ],
            environment_label: labels::ENVIRONMENT,
            service_label: labels::NAME,
        };
        let configuration = Configuration::new(frame.name())
            .yaml("node.yaml", &node.configuration())?
            .yaml("cluster.yaml", &cluster.configuration())?
            .text("documents.lua", script::script(&place));
        let [role, binding] =
            frame.cluster_role(&[rule(&[""], &["namespaces", "pods"], &["get", "list", "watch"])]);
        let mut objects = vec![
            frame.service_account(),
            role,
            binding,
            configuration.object(frame),
            frame
                .daemon_set(
                    Self::pod(frame, &configuration, "fluent-bit", "node.yaml")?
                        .api_access()
                        .set("priorityClassName", "system-node-critical")
                        .set("tolerations", json!([{"operator": "Exists"}])),
                )
                .set(
                    "updateStrategy",
                    json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}),
                )
                .into(),
            // Each node is scraped by itself: no address in common.
            Service::new(frame).headless().port("http", HTTP_PORT).into(),
        ];
        if self.metrics {
            let pod = Self::pod(frame, &configuration, CLUSTER_CONTAINER, "cluster.yaml")?;
            // Two at once would send everything twice.
            let deployment = frame.deployment(pod).set("strategy", json!({"type": "Recreate"}));
            objects.push(renamed(deployment.into(), CLUSTER_CONTAINER));
        }
        Ok(objects)
    }
}

impl FluentBitSettings {
    fn check(&self) -> Result<()> {
        if self.scrape_interval_seconds == 0 || self.buffer_mebibytes == 0 {
            return Err(Error::invalid(
                "settings.scrapeIntervalSeconds and settings.bufferMebibytes are at least 1",
            ));
        }
        Ok(())
    }

    fn pod(
        frame: &Frame<'_>,
        configuration: &Configuration,
        container: &'static str,
        file: &str,
    ) -> Result<Pod> {
        let built = frame.container(container)?.args(["--config", &format!("{CONFIGURATION}/{file}")]);
        let built = environment(built, container)
            .port("http", HTTP_PORT)
            .alive_when(http_get("/", "http"))
            // Whether what is read can be sent.
            .ready_when(http_get("/api/v1/health", "http"))
            .mount_read_only("configuration", CONFIGURATION)
            .mount("state", STATE)
            .mount_read_only("logs", "/var/log");
        let state = json!({"path": format!("{ON_NODE}/{container}"), "type": "DirectoryOrCreate"});
        Ok(frame
            .pod()
            // The files are root's.
            .set(
                "securityContext",
                json!({"runAsGroup": 0, "runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}),
            )
            .set("terminationGracePeriodSeconds", 45)
            .configuration("configuration", configuration)
            .volume(json!({"name": "logs", "hostPath": {"path": "/var/log", "type": ""}}))
            .volume(json!({"name": "state", "hostPath": state}))
            .scraped(HTTP_PORT, "/api/v2/metrics/prometheus")
            .container(built))
    }
}

/// What its configuration and its script ask for.
fn environment(container: Container, name: &str) -> Container {
    container
        .env("CONTAINER_NAME", name)
        .env("SERVICE_NAME", name)
        .env_from_field("NODE_IP", "status.hostIP")
        .env_from_field("NODE_NAME", "spec.nodeName")
        .env_from_field("POD_NAME", "metadata.name")
        .env_from_field("POD_NAMESPACE", "metadata.namespace")
        .env_from_field("POD_UID", "metadata.uid")
}

/// A workload beside the component's own, whose pods are not its.
fn renamed(mut workload: Value, name: &str) -> Value {
    let label = labels::NAME.replace('/', "~1");
    for path in [
        "/metadata/name".to_owned(),
        format!("/spec/selector/matchLabels/{label}"),
        format!("/spec/template/metadata/labels/{label}"),
    ] {
        if let Some(value) = workload.pointer_mut(&path) {
            *value = name.into();
        }
    }
    workload
}

//! Kafka: holds telemetry between the clusters and the store.

mod configuration;
#[cfg(test)]
mod tests;

use super::frame::{
    Configuration, ContainerDefaults, Defaults, Frame, Installation, Job, Pod, Program, Service, Tag,
    tcp_socket,
};
use configuration::{
    Brokers, CLIENT_PORT, CONFIGURATION, CONTROLLER_PORT, DATA, EXTERNAL_PORT, HOME, LOGGING, SCRATCH,
    TopicSpec, cluster_id, topics_script,
};
use platform_core::{Error, Result, component::ComponentScope, name::EnvironmentName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// [Apache Kafka](https://kafka.apache.org/) without ZooKeeper: every pod of its StatefulSet is a broker and a controller. Clients of the cluster
/// find it on port 9092 of its Service.
///
/// A Job makes the topics of every environment: `ENVIRONMENT.metrics.v1`, `ENVIRONMENT.logs.v1` and `ENVIRONMENT.dlq.v1`; brokers make none by
/// themselves. With three replicas or more each partition is on three brokers, of which one may be away. The number of replicas
/// cannot be changed later: it is the quorum that the brokers were formatted with.
///
/// Connections are neither encrypted nor authenticated: who may reach its ports is for the network to say.
pub type Kafka = Installation<KafkaSettings>;

/// What only Kafka can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct KafkaSettings {
    /// The environments that have topics, besides what belongs to none. Default: none.
    pub environments: Vec<EnvironmentName>,
    /// How many partitions the topics of metrics and logs have, which is how many readers can share one. Can grow and not shrink. Default: 6.
    pub partitions: u32,
    /// How long metrics and logs are kept for readers. Default: 48 hours.
    pub retention_hours: u32,
    /// How long dead letters are kept. Default: 336 hours, two weeks.
    pub dead_letter_retention_hours: u32,
    /// How many bytes a partition holds at most; the oldest records go first. Default: no limit but time.
    pub retention_bytes: Option<u64>,
    /// Where clients of other clusters find the brokers. Default: nowhere.
    pub external: Option<External>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            environments: Vec::new(),
            partitions: 6,
            retention_hours: 48,
            dead_letter_retention_hours: 14 * 24,
            retention_bytes: None,
            external: None,
        }
    }
}

impl KafkaSettings {
    /// Topics for these environments, and defaults.
    pub fn for_environments(environments: impl IntoIterator<Item = EnvironmentName>) -> Self {
        Self { environments: environments.into_iter().collect(), ..Self::default() }
    }
}

/// Where brokers are found from outside of their cluster: each behind a port of its own on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct External {
    /// The name or address by which the nodes are reached.
    pub host: String,
    /// The port of the first broker; the others' follow it. Kubernetes must allow them as node ports: by default 30000 to 32767.
    pub port: u16,
}

impl Program for KafkaSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "kafka",
        version: "4.4.0",
        scope: ComponentScope::ControlPlane,
        containers: &[
            ContainerDefaults {
                name: "kafka",
                repository: "docker.io/apache/kafka",
                tag: Tag::Plain,
                cpu: "250m",
                memory: "1Gi",
                memory_limit: "2Gi",
            },
            ContainerDefaults {
                name: "kafka-topics",
                repository: "docker.io/apache/kafka",
                tag: Tag::Plain,
                cpu: "50m",
                memory: "256Mi",
                memory_limit: "512Mi",
            },
        ],
        replicas: Some(1),
        storage: Some("20Gi"),
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        self.check(frame.replicas())?;
        let domain = format!("{}.{}.svc", headless(frame), frame.namespace());
        let brokers =
            Brokers { settings: self, replicas: frame.replicas(), pods: frame.name(), domain: &domain };
        let configuration = Configuration::new(frame.name())
            .text("server.properties", brokers.properties())
            .text("start.sh", brokers.start_script(&cluster_id(frame.target)))
            .text("log4j2.yaml", LOGGING);
        let topics = brokers.topics(frame.target);
        let mut objects = vec![
            frame.service_account(),
            configuration.object(frame),
            Service::named(frame, &headless(frame))
                .headless()
                // Brokers find each other before they are ready.
                .set("publishNotReadyAddresses", true)
                .port("kafka", CLIENT_PORT)
                .port("controller", CONTROLLER_PORT)
                .into(),
            Service::new(frame).port("kafka", CLIENT_PORT).into(),
            frame
                .stateful_set(&headless(frame), self.pod(frame, &configuration)?)?
                .set("podManagementPolicy", "Parallel")
                .into(),
            Self::topics_job(frame, &topics)?,
        ];
        objects.extend(frame.disruption_budget());
        if let Some(external) = &self.external {
            objects.extend((0..frame.replicas()).map(|number| external.service(frame, number)));
        }
        Ok(objects)
    }
}

/// The name of the Service that gives each broker an address of its own.
fn headless(frame: &Frame<'_>) -> String {
    format!("{}-brokers", frame.name())
}

impl KafkaSettings {
    fn check(&self, replicas: u32) -> Result<()> {
        let invalid = |problem: &str| Err(Error::invalid(problem.to_owned()));
        if replicas == 0 || replicas == 2 {
            return Err(Error::invalid(format!("{replicas} replicas are no quorum"))
                .help("take 1, or 3 and more, of which a minority may be away"));
        }
        if !(1..=1000).contains(&self.partitions) {
            return invalid("settings.partitions: there are 1 to 1,000 partitions in a topic");
        }
        if self.retention_hours == 0 || self.dead_letter_retention_hours == 0 {
            return invalid("settings: what is kept for no hour is not kept at all");
        }
        match &self.external {
            Some(external) => external.check(replicas),
            None => Ok(()),
        }
    }

    fn pod(&self, frame: &Frame<'_>, configuration: &Configuration) -> Result<Pod> {
        let mut container = frame
            .container("kafka")?
            .command(["/bin/bash", &format!("{CONFIGURATION}/start.sh")])
            .env("EXTRA_ARGS", "-name kafkaServer")
            .env("KAFKA_HEAP_OPTS", "-XX:InitialRAMPercentage=25 -XX:MaxRAMPercentage=50")
            .env("KAFKA_LOG4J_OPTS", format!("-Dlog4j2.configurationFile={CONFIGURATION}/log4j2.yaml"))
            .env("LOG_DIR", format!("{SCRATCH}/logs"))
            .port("kafka", CLIENT_PORT)
            .port("controller", CONTROLLER_PORT)
            // The port is open before the broker has its partitions, so it is asked once; from then on the port tells.
            .started_when(json!({
                "exec": {"command": [
                    "/bin/bash",
                    "-c",
                    format!(
                        "KAFKA_HEAP_OPTS=-Xmx128m exec {HOME}/bin/kafka-broker-api-versions.sh --bootstrap-server localhost:{CLIENT_PORT}"
                    ),
                ]},
                "failureThreshold": 60,
                "periodSeconds": 10,
                "timeoutSeconds": 20,
            }))
            .ready_when(tcp_socket("kafka"))
            .alive_when(tcp_socket("controller"))
            .mount_read_only("configuration", CONFIGURATION)
            .mount("data", DATA)
            .mount("scratch", SCRATCH)
            .mount("tmp", "/tmp");
        if self.external.is_some() {
            container = container.port("external", EXTERNAL_PORT);
        }
        Ok(frame
            .pod()
            .user(1000)
            // Leading partitions are handed over first.
            .set("terminationGracePeriodSeconds", 120)
            .configuration("configuration", configuration)
            .empty_dir("scratch", None)
            .empty_dir("tmp", None)
            .container(container))
    }

    fn topics_job(frame: &Frame<'_>, topics: &[TopicSpec]) -> Result<Value> {
        let bootstrap = format!("{}.{}.svc:{CLIENT_PORT}", frame.name(), frame.namespace());
        let container = frame
            .container("kafka-topics")?
            .command(["/bin/bash", "-c", &topics_script(topics, &bootstrap)])
            .env("KAFKA_HEAP_OPTS", "-XX:MaxRAMPercentage=50")
            .env("LOG_DIR", "/tmp/logs")
            .mount("tmp", "/tmp");
        Ok(Job::new("topics")
            .object(frame, frame.pod().user(1000).empty_dir("tmp", None).container(container)))
    }
}

impl External {
    fn check(&self, replicas: u32) -> Result<()> {
        let host = !self.host.is_empty()
            && self
                .host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'[' | b']' | b':'));
        if !host {
            return Err(Error::invalid(format!(
                "settings.external.host: {:?} is no name or address of a host",
                self.host
            )));
        }
        if u32::from(self.port) + replicas > 65536 || self.port == 0 {
            return Err(Error::invalid(format!(
                "settings.external.port: there are no {replicas} ports from {} on",
                self.port
            )));
        }
        Ok(())
    }

    /// The Service of one broker, by the number that its pod's name ends with.
    fn service(&self, frame: &Frame<'_>, number: u32) -> Value {
        let name = format!("{}-{number}", frame.name());
        let port = json!({
            "name": "external",
            "nodePort": u32::from(self.port) + number,
            "port": EXTERNAL_PORT,
            "protocol": "TCP",
            "targetPort": "external",
        });
        Service::named(frame, &format!("{name}-external"))
            .set("type", "NodePort")
            .set("selector", json!({"statefulset.kubernetes.io/pod-name": name}))
            .port_as(port)
            .into()
    }
}

//! The platform's own agent: gathers logs and metrics of a node and sends them to Kafka.

#[cfg(test)]
mod tests;

use super::{
    brokers::{brokers, environments},
    frame::{
        Configuration, ContainerDefaults, Defaults, Frame, Installation, Program, Service, Tag, http_get,
        rule,
    },
};
use platform_core::{
    Error, Result,
    component::ComponentScope,
    name::EnvironmentName,
    telemetry::{
        document::environment_of,
        settings::{
            AgentSettings, Compression, LIVE_PATH, METRICS_PATH, Multiline, NODE_VARIABLE, READY_PATH,
            ScrapeSettings, WhenFull,
        },
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The platform's own agent: a DaemonSet that follows the log files of all containers of a node and scrapes the node's annotated pods, and sends
/// documents in the platform's shape to the topics of their environment. Its own metrics are on port 9640 under `/metrics`.
///
/// Whose a log line is follows from the label `platform.dev/environment` of its namespace, where that names an environment of the cluster, else from the
/// cluster. The documents are those that
/// [`FluentBit`](super::FluentBit) makes: a cluster has one of the two.
///
/// What is read and not sent yet is kept on the node's disk before it counts as read, so that neither a kill nor brokers that are away lose anything. When
/// that is full, nothing more is read until there is room.
///
/// It asks the node's pods at their addresses, as Prometheus does; environments let it in at the ports of their applications. Other annotated pods must let
/// its namespace in where policies of the network keep it out.
///
/// It reads the node's log files as root, without any other right of root. Its namespace must therefore allow privileged pods. No registry has its image:
/// it is built from the program `platform-agent`, which reads [`AgentSettings`], and named by [`image`](Installation::image).
pub type PlatformAgent = Installation<PlatformAgentSettings>;

/// What only the agent can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PlatformAgentSettings {
    /// The brokers to begin with, `host:port,host:port`. Default: the `kafka` component of the same namespace, which only the control plane has;
    /// other clusters must name them.
    pub brokers: Option<String>,
    /// How batches are compressed. Default: LZ4.
    pub compression: Compression,
    /// Globs of log files that are not followed. Default: none.
    pub exclude: Vec<String>,
    /// Which lines of a log are one record. Default: each is one.
    pub multiline: Option<Multiline>,
    /// Which metrics are scraped. Default: those of annotated pods, every 15 seconds.
    pub scrape: ScrapeSettings,
    /// How much of a node's disk may be taken by what is not sent yet, in mebibytes. Default: 2,048; at least 16.
    pub buffer_mebibytes: u32,
    /// What happens when that is full. Default: nothing more is read.
    pub when_full: WhenFull,
}

impl Default for PlatformAgentSettings {
    fn default() -> Self {
        Self {
            brokers: None,
            compression: Compression::default(),
            exclude: Vec::new(),
            multiline: None,
            scrape: ScrapeSettings::default(),
            buffer_mebibytes: 2048,
            when_full: WhenFull::default(),
        }
    }
}

impl PlatformAgentSettings {
    /// Sends to these brokers, `host:port,host:port`.
    pub fn to_brokers(brokers: impl Into<String>) -> Self {
        Self { brokers: Some(brokers.into()), ..Self::default() }
    }
}

const NAME: &str = "platform-agent";
const CONFIGURATION: &str = "/etc/platform-agent";
const FILE: &str = "agent.yaml";
/// Where it keeps positions in files and what is not sent yet.
const STATE: &str = "/var/lib/platform-agent";
/// Where the node keeps that.
const ON_NODE: &str = "/var/lib/platform";

impl Program for PlatformAgentSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: NAME,
        version: env!("CARGO_PKG_VERSION"),
        scope: ComponentScope::EveryCluster,
        containers: &[ContainerDefaults {
            name: NAME,
            repository: "localhost/platform/platform-agent",
            tag: Tag::Plain,
            cpu: "100m",
            memory: "64Mi",
            memory_limit: "256Mi",
        }],
        replicas: None,
        storage: None,
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        let settings = self.settings(frame)?;
        let port = settings.listen.port();
        let configuration = Configuration::new(frame.name()).yaml(FILE, &settings)?;
        let container = frame
            .container(NAME)?
            .args(["--config", &format!("{CONFIGURATION}/{FILE}")])
            .env_from_field(NODE_VARIABLE, "spec.nodeName")
            .port("http", port)
            .ready_when(http_get(READY_PATH, "http"))
            .alive_when(http_get(LIVE_PATH, "http"))
            .mount_read_only("configuration", CONFIGURATION)
            .mount("state", STATE)
            .mount_read_only("logs", "/var/log");
        let state = json!({"path": format!("{ON_NODE}/{NAME}"), "type": "DirectoryOrCreate"});
        let pod = frame
            .pod()
            .api_access()
            // The files are root's.
            .set(
                "securityContext",
                json!({"runAsGroup": 0, "runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}),
            )
            .set("priorityClassName", "system-node-critical")
            .set("terminationGracePeriodSeconds", 45)
            .set("tolerations", json!([{"operator": "Exists"}]))
            .configuration("configuration", &configuration)
            .volume(json!({"name": "logs", "hostPath": {"path": "/var/log", "type": ""}}))
            .volume(json!({"name": "state", "hostPath": state}))
            .scraped(port, METRICS_PATH)
            .container(container);
        // Pods are asked at their addresses: the API server, on another node, is kept out by the policies of environments.
        let [role, binding] =
            frame.cluster_role(&[rule(&[""], &["namespaces", "pods"], &["get", "list", "watch"])]);
        let update = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}});
        Ok(vec![
            frame.service_account(),
            role,
            binding,
            configuration.object(frame),
            frame.daemon_set(pod).set("updateStrategy", update).into(),
            // Each node is scraped by itself: no address in common.
            Service::new(frame).headless().port("http", port).into(),
        ])
    }
}

impl PlatformAgentSettings {
    /// What the program reads.
    fn settings(&self, frame: &Frame<'_>) -> Result<AgentSettings> {
        let target = frame.target;
        let mut settings =
            AgentSettings::new(target.cluster.clone(), brokers(self.brokers.as_deref(), target)?);
        settings.environments = environments(target).to_vec();
        settings.environment = match environments(target) {
            [only] => Some(only.clone()),
            _ => None,
        };
        settings.otherwise = Some(EnvironmentName::new(environment_of(&target.role))?);
        settings.kafka.compression = self.compression;
        settings.tail.exclude.clone_from(&self.exclude);
        settings.tail.multiline.clone_from(&self.multiline);
        settings.tail.checkpoint = format!("{STATE}/positions.json").into();
        settings.scrape = self.scrape.clone();
        settings.spool.directory = format!("{STATE}/spool").into();
        settings.spool.max_bytes = u64::from(self.buffer_mebibytes) << 20;
        settings.spool.when_full = self.when_full;
        settings
            .check()
            .map_err(|error| Error::invalid("its settings make no sense to its program").source(error))?;
        Ok(settings)
    }
}

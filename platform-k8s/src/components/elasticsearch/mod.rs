//! Elasticsearch: keeps telemetry and answers for it.

mod access;
mod configuration;
mod setup;
#[cfg(test)]
mod tests;

pub use access::ElasticsearchAccess;

pub(super) use access::{INGESTER_KEY, INGESTER_USER, KIBANA_USER, LOGSTASH_USER, Secured};
pub(super) use setup::CLIENT;

use super::frame::{
    Configuration, ContainerDefaults, Defaults, Frame, Installation, Job, Pod, Program, Service, Tag,
    tcp_socket,
};
use configuration::{HTTP_PORT, Nodes, READINESS_PORT, TRANSPORT_PORT};
use platform_core::{Error, Result, component::ComponentScope};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// [Elasticsearch](https://www.elastic.co/elasticsearch): one node or three and more, each with all roles, on port 9200 of its Service. A Job
/// writes the index templates of the platform's documents, the accounts that Logstash and the platform's own ingester write with and the password of
/// Kibana's.
///
/// Its passwords come from a Secret that must be there: `elasticsearch-credentials` in the platform's namespace, with the keys `elastic`, `kibana` and
/// `logstash`; with `ingester` too, there is an account for the platform's own ingester. Until it is, its pods cannot start and say so:
///
/// ```sh
/// kubectl create secret generic elasticsearch-credentials --namespace platform-system \
///   --from-literal elastic="$(openssl rand -hex 16)" --from-literal kibana="$(openssl rand -hex 16)" --from-literal logstash="$(openssl rand -hex 16)"
/// ```
///
/// Several nodes need a certificate for each other as well, and clients are then served by HTTPS: a Secret with `tls.crt`, `tls.key` and
/// `ca.crt`, valid for `*.elasticsearch-nodes.NAMESPACE.svc` and `elasticsearch.NAMESPACE.svc`, as cert-manager makes it. The nodes read files without
/// mapping them into memory, so no `vm.max_map_count` has to be raised on the machines. The heap is half of the memory limit, by Elasticsearch's own rule.
pub type Elasticsearch = Installation<ElasticsearchSettings>;

/// What only Elasticsearch can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ElasticsearchSettings {
    /// Whether it asks who calls. Without, everybody who reaches its port may read, write and delete. Default: yes.
    pub security: bool,
    /// The Secret with its passwords. Default: `elasticsearch-credentials`.
    pub credentials_secret: String,
    /// The Secret with its certificate. Default: none, which is possible for one node only.
    pub certificate_secret: Option<String>,
    /// How long metrics and logs are kept. Default: 30 days.
    pub retention_days: u32,
}

impl Default for ElasticsearchSettings {
    fn default() -> Self {
        Self {
            security: true,
            credentials_secret: access::CREDENTIALS.to_owned(),
            certificate_secret: None,
            retention_days: 30,
        }
    }
}

impl Program for ElasticsearchSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "elasticsearch",
        version: "9.4.3",
        scope: ComponentScope::ControlPlane,
        containers: &[
            ContainerDefaults {
                name: "elasticsearch",
                repository: "docker.elastic.co/elasticsearch/elasticsearch",
                tag: Tag::Plain,
                cpu: "500m",
                memory: "2Gi",
                memory_limit: "2Gi",
            },
            ContainerDefaults {
                name: "elasticsearch-setup",
                repository: "docker.elastic.co/elasticsearch/elasticsearch",
                tag: Tag::Plain,
                cpu: "10m",
                memory: "32Mi",
                memory_limit: "128Mi",
            },
        ],
        replicas: Some(1),
        storage: Some("50Gi"),
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        self.check(frame.replicas())?;
        let nodes = Nodes { settings: self, replicas: frame.replicas(), frame };
        let configuration =
            Configuration::new(frame.name()).yaml("elasticsearch.yml", &nodes.configuration())?;
        let setup = self.setup_files(frame)?;
        let mut objects = vec![
            frame.service_account(),
            configuration.object(frame),
            setup.object(frame),
            Service::named(frame, &nodes.service())
                .headless()
                // Nodes find each other before they are ready.
                .set("publishNotReadyAddresses", true)
                .port("transport", TRANSPORT_PORT)
                .into(),
            Service::new(frame).port("http", HTTP_PORT).into(),
            frame
                .stateful_set(&nodes.service(), self.pod(frame, &configuration)?)?
                .set("podManagementPolicy", "Parallel")
                .into(),
            Job::new("setup").object(frame, self.setup_pod(frame, &setup)?),
        ];
        objects.extend(frame.disruption_budget());
        Ok(objects)
    }
}

impl ElasticsearchSettings {
    fn check(&self, replicas: u32) -> Result<()> {
        if replicas == 0 || replicas == 2 {
            return Err(Error::invalid(format!("{replicas} replicas are no quorum"))
                .help("take 1, or 3 and more, of which a minority may be away"));
        }
        if self.retention_days == 0 {
            return Err(Error::invalid("settings.retentionDays: what is kept for no day is not kept at all"));
        }
        if replicas > 1 && self.security && self.certificate_secret.is_none() {
            return Err(Error::invalid(
                "settings.certificateSecret: nodes that ask who calls need a certificate for each other",
            )
            .help("name a Secret with tls.crt, tls.key and ca.crt, or take one replica"));
        }
        if !self.security && self.certificate_secret.is_some() {
            return Err(Error::invalid(
                "settings.certificateSecret: without security there is no use for a certificate",
            ));
        }
        Ok(())
    }

    /// How its own Job reaches it.
    fn access(&self) -> ElasticsearchAccess {
        ElasticsearchAccess {
            url: None,
            security: self.security,
            credentials_secret: self.credentials_secret.clone(),
            certificate_secret: self.certificate_secret.clone(),
        }
    }

    fn pod(&self, frame: &Frame<'_>, configuration: &Configuration) -> Result<Pod> {
        let mut container = frame
            .container("elasticsearch")?
            // It writes its keystore beside its configuration.
            .writable()
            .env_from_field("NODE_NAME", "metadata.name")
            .port("http", HTTP_PORT)
            .port("transport", TRANSPORT_PORT)
            .port("readiness", READINESS_PORT)
            // Open once the node has joined its cluster.
            .started_when(json!({
                "tcpSocket": {"port": "readiness"}, "failureThreshold": 90, "periodSeconds": 10, "timeoutSeconds": 5,
            }))
            .ready_when(tcp_socket("readiness"))
            .alive_when(json!({
                "tcpSocket": {"port": "transport"}, "failureThreshold": 6, "periodSeconds": 20, "timeoutSeconds": 5,
            }))
            .mount_as(json!({
                "name": "configuration",
                "mountPath": format!("{}/elasticsearch.yml", configuration::CONFIGURATION),
                "readOnly": true,
                "subPath": "elasticsearch.yml",
            }))
            .mount("data", configuration::DATA);
        let mut pod = frame
            .pod()
            .user(1000)
            .set("terminationGracePeriodSeconds", 120)
            .configuration("configuration", configuration);
        if self.security {
            container = container.env_from_secret("ELASTIC_PASSWORD", &self.credentials_secret, "elastic");
        }
        if let Some(secret) = &self.certificate_secret {
            container = container
                .mount_read_only("certificates", &format!("{}/certificates", configuration::CONFIGURATION));
            pod = pod.secret("certificates", secret);
        }
        Ok(pod.container(container))
    }

    fn setup_files(&self, frame: &Frame<'_>) -> Result<Configuration> {
        let retention = Duration::from_secs(u64::from(self.retention_days) * 24 * 3600);
        setup::files(&format!("{}-setup", frame.name()), retention, self.security)
    }

    fn setup_pod(&self, frame: &Frame<'_>, files: &Configuration) -> Result<Pod> {
        let container = frame
            .container("elasticsearch-setup")?
            .command(["/bin/bash", &format!("{}/setup.sh", setup::FILES)])
            .mount_read_only("setup", setup::FILES)
            .mount("tmp", "/tmp");
        let pod = frame.pod().user(1000).configuration("setup", files).empty_dir("tmp", None);
        let secured = Secured { access: &self.access(), frame };
        let (pod, mut container) = secured.caller(pod, container);
        if self.security {
            for (variable, key) in [("KIBANA_PASSWORD", "kibana"), ("LOGSTASH_PASSWORD", "logstash")] {
                container = container.env_from_secret(variable, &self.credentials_secret, key);
            }
            let secret = &self.credentials_secret;
            container = container.env_from_secret_if_there("INGESTER_PASSWORD", secret, INGESTER_KEY);
        }
        Ok(pod.container(container))
    }
}

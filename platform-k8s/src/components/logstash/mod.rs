//! Logstash: brings documents from Kafka to Elasticsearch.

mod pipelines;
mod syntax;
#[cfg(test)]
mod tests;

use super::{
    elasticsearch::{ElasticsearchAccess, Secured},
    frame::{
        Configuration, ContainerDefaults, Defaults, Frame, Installation, Pod, Program, Service, Tag, http_get,
    },
};
use pipelines::{DEAD_LETTER_QUEUE, DEAD_LETTER_SCRIPT, DEAD_LETTERS, DOCUMENTS, PIPELINES};
use platform_core::{Error, Result, component::ComponentScope};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// [Logstash](https://www.elastic.co/logstash): reads the topics of every environment as one consumer group and writes their documents to Elasticsearch
/// as they are. Its own state is on port 9600.
///
/// What is no document, and what Elasticsearch refuses for good, goes to `ENVIRONMENT.dlq.v1` with the reason, the place where it was read, and itself. A record
/// that is read twice is stored once: the id of a log line is made of its topic, partition and offset, that of a sample of its labels and
/// time.
///
/// Its queue is on disk. The Kafka plug-in commits what it has read and not what Elasticsearch has acknowledged, so with a queue in memory
/// everything in it would be lost when the process ends. What was not yet synced to disk when the machine fails, at most a second's events, is
/// lost still.
pub type Logstash = Installation<LogstashSettings>;

/// What only Logstash can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LogstashSettings {
    /// The brokers to begin with, `host:port,host:port`. Default: the `kafka` component of the same namespace.
    pub brokers: Option<String>,
    /// The consumer group. Default: `platform-logstash`.
    pub group: String,
    /// How many threads each replica reads with; together no more than there are partitions. Default: 3.
    pub consumer_threads: u32,
    /// How much of its storage its queue may take, in mebibytes. Default: 4,096.
    pub queue_mebibytes: u32,
    /// Where documents go.
    pub elasticsearch: ElasticsearchAccess,
}

impl Default for LogstashSettings {
    fn default() -> Self {
        Self {
            brokers: None,
            group: "platform-logstash".to_owned(),
            consumer_threads: 3,
            queue_mebibytes: 4096,
            elasticsearch: ElasticsearchAccess::default(),
        }
    }
}

const API_PORT: u16 = 9600;
const DATA: &str = "/usr/share/logstash/data";
const CONFIGURATION: &str = "/usr/share/logstash/config";

/// Room for refused events, in mebibytes.
const DEAD_LETTERS_MEBIBYTES: u32 = 512;
/// Room that the queue leaves, in mebibytes: for refused events, those that are being passed on, and the plug-ins' own notes.
const BESIDE_THE_QUEUE: u32 = 2 * DEAD_LETTERS_MEBIBYTES;

impl Program for LogstashSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "logstash",
        version: "9.4.3",
        scope: ComponentScope::ControlPlane,
        containers: &[ContainerDefaults {
            name: "logstash",
            repository: "docker.elastic.co/logstash/logstash",
            tag: Tag::Plain,
            cpu: "500m",
            memory: "1536Mi",
            memory_limit: "1536Mi",
        }],
        replicas: Some(1),
        storage: Some("10Gi"),
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        self.check(frame)?;
        let elasticsearch = Secured { access: &self.elasticsearch, frame };
        let bootstrap =
            self.brokers.clone().unwrap_or_else(|| format!("kafka.{}.svc:9092", frame.namespace()));
        let configuration = Configuration::new(frame.name())
            .yaml("logstash.yml", &settings())?
            .yaml("pipelines.yml", &self.pipelines())?;
        let pipelines = Configuration::new(format!("{}-pipelines", frame.name()))
            .text("documents.conf", pipelines::documents(self, &bootstrap, &elasticsearch).to_string())
            .text("dead-letters.conf", pipelines::dead_letters(&bootstrap).to_string())
            .text("dead_letter.rb", DEAD_LETTER_SCRIPT);
        let mut objects = vec![
            frame.service_account(),
            configuration.object(frame),
            pipelines.object(frame),
            Service::new(frame).headless().port("api", API_PORT).into(),
            frame
                .stateful_set(frame.name(), self.pod(frame, &configuration, &pipelines)?)?
                // They have nothing to do with each other.
                .set("podManagementPolicy", "Parallel")
                .into(),
        ];
        objects.extend(frame.disruption_budget());
        Ok(objects)
    }
}

impl LogstashSettings {
    fn check(&self, frame: &Frame<'_>) -> Result<()> {
        if self.consumer_threads == 0 {
            return Err(Error::invalid("settings.consumerThreads: no thread reads nothing"));
        }
        let plain = |text: &str| {
            let allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'$' | b'%');
            !text.is_empty() && text.bytes().all(allowed)
        };
        for (setting, value) in [
            ("brokers", self.brokers.as_deref()),
            ("group", Some(self.group.as_str())),
            ("elasticsearch.url", self.elasticsearch.url.as_deref()),
        ] {
            if let Some(value) = value.filter(|value| !plain(value)) {
                return Err(Error::invalid(format!(
                    "settings.{setting}: {value:?} is empty or has blanks, quotation marks, '$' or '%'"
                )));
            }
        }
        let needed = (f64::from(self.queue_mebibytes) + f64::from(BESIDE_THE_QUEUE)) * f64::from(1 << 20);
        let size = frame.storage_size()?;
        if self.queue_mebibytes == 0 || needed > size.as_f64() {
            return Err(Error::invalid(format!(
                "settings.queueMebibytes: a queue of {} MiB does not go into a storage of {size}",
                self.queue_mebibytes
            ))
            .help(format!("leave {BESIDE_THE_QUEUE} MiB beside it")));
        }
        Ok(())
    }

    fn pipelines(&self) -> Value {
        json!([
            {
                "pipeline.id": DOCUMENTS,
                "path.config": format!("{PIPELINES}/documents.conf"),
                "queue.type": "persisted",
                "queue.max_bytes": format!("{}mb", self.queue_mebibytes),
                "dead_letter_queue.enable": true,
                "dead_letter_queue.max_bytes": format!("{DEAD_LETTERS_MEBIBYTES}mb"),
            },
            {
                "pipeline.id": DEAD_LETTERS,
                "path.config": format!("{PIPELINES}/dead-letters.conf"),
                "queue.type": "persisted",
                "queue.max_bytes": format!("{}mb", DEAD_LETTERS_MEBIBYTES / 2),
                "pipeline.workers": 1,
            },
        ])
    }

    fn pod(
        &self,
        frame: &Frame<'_>,
        configuration: &Configuration,
        pipelines: &Configuration,
    ) -> Result<Pod> {
        let file = |name: &str| {
            json!({
                "name": "configuration",
                "mountPath": format!("{CONFIGURATION}/{name}"),
                "readOnly": true,
                "subPath": name,
            })
        };
        let mut container = frame
            .container("logstash")?
            // Its start writes beside its configuration.
            .writable()
            // Half of the memory is the heap, whatever the limit is.
            .command([
                "/bin/bash",
                "-c",
                "export LS_JAVA_OPTS=\"-Xms$((MEMORY / 2))m -Xmx$((MEMORY / 2))m\"; exec /usr/local/bin/docker-entrypoint",
            ])
            .env_from_field("POD_NAME", "metadata.name")
            .env_from_limit("MEMORY", "limits.memory", "1Mi")
            .port("api", API_PORT)
            .started_when(json!({
                "httpGet": {"path": "/", "port": "api"}, "failureThreshold": 60, "periodSeconds": 5, "timeoutSeconds": 5,
            }))
            .ready_when(http_get(&format!("/_node/pipelines/{DOCUMENTS}"), "api"))
            .alive_when(json!({
                "httpGet": {"path": "/", "port": "api"}, "failureThreshold": 6, "periodSeconds": 20, "timeoutSeconds": 10,
            }))
            .mount_as(file("logstash.yml"))
            .mount_as(file("pipelines.yml"))
            .mount_read_only("pipelines", PIPELINES)
            .mount("data", DATA);
        if self.elasticsearch.security {
            let secret = &self.elasticsearch.credentials_secret;
            container = container.env_from_secret("LOGSTASH_PASSWORD", secret, "logstash");
        }
        let pod = frame
            .pod()
            .user(1000)
            .set("terminationGracePeriodSeconds", 120)
            .configuration("configuration", configuration)
            .configuration("pipelines", pipelines);
        let (pod, container) = Secured { access: &self.elasticsearch, frame }.trusting(pod, container);
        Ok(pod.container(container))
    }
}

/// `logstash.yml`.
fn settings() -> Value {
    json!({
        "api.enabled": true,
        "api.http.host": "0.0.0.0",
        "api.http.port": API_PORT,
        "config.reload.automatic": false,
        "path.dead_letter_queue": DEAD_LETTER_QUEUE,
        // Fields of the Elastic Common Schema would be added to documents that have a shape already.
        "pipeline.ecs_compatibility": "disabled",
        "xpack.geoip.downloader.enabled": false,
    })
}

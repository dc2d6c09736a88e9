//! What Fluent Bit is told: where it reads, what it makes of it, where that goes.

use super::{FluentBitSettings, script};
use platform_core::telemetry::document::{Signal, Topic};
use serde_json::{Map, Value, json};

pub(super) const HTTP_PORT: u16 = 2020;

/// Where the files of its configuration are.
pub(super) const CONFIGURATION: &str = "/etc/platform-fluent-bit";
/// Where it keeps positions in files and what is not sent yet.
pub(super) const STATE: &str = "/var/lib/fluent-bit";

/// Of the records of containers.
const CONTAINERS: &str = "kube";
/// Of what it prints itself.
const OWN: &str = "own";
/// Of metrics on the way to its standard output.
const SCRAPED: &str = "scraped";

/// The job of its own metrics.
pub(super) const OWN_JOB: &str = "fluent-bit";

/// Messages that Kafka's client holds at most, and their kibibytes: what is lost when the process is killed.
const CLIENT_MESSAGES: u32 = 10_000;
const CLIENT_KIBIBYTES: u32 = 8192;

/// A Fluent Bit as it is to run.
pub(super) struct Pipeline<'a> {
    pub(super) settings: &'a FluentBitSettings,
    pub(super) brokers: &'a str,
    /// The topics that it may write to belong to these; the first is for what belongs to none.
    pub(super) environments: Vec<&'a str>,
    pub(super) reads_containers: bool,
    pub(super) scrapes: Vec<Scrape>,
}

/// A source of metrics.
pub(super) struct Scrape {
    pub(super) job: &'static str,
    /// Variables of the pod's environment may stand in it.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Pipeline<'_> {
    /// The whole file.
    pub(super) fn configuration(&self) -> Value {
        let mut inputs: Vec<Value> = self.scrapes.iter().map(|scrape| self.scrape(scrape)).collect();
        inputs.push(self.own_metrics());
        inputs.push(own_output());
        let mut filters = Vec::new();
        if self.reads_containers {
            inputs.push(containers());
            filters.push(kubernetes());
            filters.push(lua(CONTAINERS, script::OF_CONTAINER));
        }
        filters.push(lua(OWN, script::OF_OWN_OUTPUT));
        json!({
            "service": service(),
            "pipeline": {"inputs": inputs, "filters": filters, "outputs": [printer(), self.kafka()]},
        })
    }

    fn scrape(&self, scrape: &Scrape) -> Value {
        json!({
            "name": "prometheus_scrape",
            "alias": scrape.job,
            "tag": format!("{SCRAPED}.{}", scrape.job),
            "host": scrape.host,
            "port": scrape.port,
            "metrics_path": "/metrics",
            "scrape_interval": format!("{}s", self.settings.scrape_interval_seconds),
            "buffer_max_size": "64M",
            "processors": of_job(scrape.job),
        })
    }

    fn own_metrics(&self) -> Value {
        json!({
            "name": "fluentbit_metrics",
            "alias": OWN_JOB,
            "tag": format!("{SCRAPED}.{OWN_JOB}"),
            "scrape_interval": self.settings.scrape_interval_seconds,
            "processors": of_job(OWN_JOB),
        })
    }

    fn kafka(&self) -> Value {
        let topics: Vec<String> = self
            .environments
            .iter()
            .flat_map(|environment| {
                [Signal::Logs, Signal::Metrics].map(|signal| Topic::of(signal).name(environment))
            })
            .collect();
        let mut output = Map::new();
        let mut set = |key: &str, value: Value| output.insert(key.to_owned(), value);
        set("name", "kafka".into());
        set("alias", "kafka".into());
        set("match_regex", format!("^({CONTAINERS}|{OWN})\\.").into());
        set("brokers", self.brokers.into());
        set("topics", topics.join(",").into());
        set("topic_key", script::TOPIC.into());
        set("message_key_field", script::KEY.into());
        // The message is the document as the script wrote it, and nothing around it.
        set("format", "raw".into());
        set("raw_log_key", script::MESSAGE.into());
        // A thread of its own waits for the brokers as long as it takes: what was read meanwhile is buffered on disk, and no chunk is sent
        // a second time because a part of it had no room.
        set("workers", 1.into());
        set("queue_full_retries", 0.into());
        set("retry_limit", "no_limits".into());
        set("storage.total_limit_size", format!("{}M", self.settings.buffer_mebibytes).into());
        set("rdkafka.acks", "all".into());
        set("rdkafka.client.id", "${POD_NAME}".into());
        set("rdkafka.compression.codec", "lz4".into());
        set("rdkafka.enable.idempotence", "true".into());
        set("rdkafka.linger.ms", "100".into());
        set("rdkafka.log.connection.close", "false".into());
        // Nothing is given up for its age.
        set("rdkafka.message.timeout.ms", "0".into());
        set("rdkafka.queue.buffering.max.kbytes", CLIENT_KIBIBYTES.to_string().into());
        set("rdkafka.queue.buffering.max.messages", CLIENT_MESSAGES.to_string().into());
        Value::Object(output)
    }
}

/// The log file of this very container.
const OWN_LOG: &str = "/var/log/containers/${POD_NAME}_${POD_NAMESPACE}_${CONTAINER_NAME}-*.log";

fn service() -> Value {
    json!({
        "flush": 1,
        "grace": 30,
        "daemon": "off",
        "log_level": "info",
        "http_server": "on",
        "http_listen": "0.0.0.0",
        "http_port": HTTP_PORT,
        "health_check": "on",
        "hc_errors_count": 5,
        "hc_retry_failure_count": 5,
        "hc_period": 60,
        "scheduler.base": 1,
        "scheduler.cap": 30,
        "storage.path": format!("{STATE}/chunks"),
        "storage.sync": "normal",
        "storage.checksum": "on",
        "storage.backlog.mem_limit": "16M",
        "storage.max_chunks_up": 64,
        "storage.metrics": "on",
        "storage.delete_irrecoverable_chunks": "on",
    })
}

/// Its own log file, in which the metrics are that it scraped: its output for Kafka takes records only, and this is how a metric becomes one.
fn own_output() -> Value {
    tail(OWN, json!({"path": OWN_LOG}))
}

/// Files of the container runtime, from where they were left; with what `more` says.
fn tail(tag: &str, more: Value) -> Value {
    let mut input = json!({
        "name": "tail",
        "alias": tag,
        "tag": format!("{tag}.*"),
        "multiline.parser": "cri",
        "db": format!("{STATE}/{tag}.db"),
        "db.locking": "true",
        "read_from_head": "true",
        "refresh_interval": 5,
        // A file that was rotated is read to its end.
        "rotate_wait": 60,
        "buffer_chunk_size": "64k",
        "buffer_max_size": "2M",
        "skip_long_lines": "on",
        // Chunks are on disk from the moment they are read; when too many wait, reading waits and not memory grows.
        "storage.type": "filesystem",
        "storage.pause_on_chunks_overlimit": "on",
    });
    if let (Value::Object(input), Value::Object(more)) = (&mut input, more) {
        input.extend(more);
    }
    input
}

fn containers() -> Value {
    tail(CONTAINERS, json!({"path": "/var/log/containers/*.log", "exclude_path": OWN_LOG}))
}

fn kubernetes() -> Value {
    json!({
        "name": "kubernetes",
        "match": format!("{CONTAINERS}.*"),
        "kube_tag_prefix": format!("{CONTAINERS}.var.log.containers."),
        "buffer_size": "2M",
        "annotations": "off",
        "labels": "on",
        "namespace_labels": "on",
        "kube_meta_namespace_cache_ttl": 60,
        // A line that is an object of JSON is read as well as kept.
        "merge_log": "on",
        "merge_log_key": "structured",
        "keep_log": "on",
    })
}

fn lua(tag: &str, call: &str) -> Value {
    json!({
        "name": "lua",
        "match": format!("{tag}.*"),
        "script": format!("{CONFIGURATION}/documents.lua"),
        "call": call,
        // Seconds and nanoseconds: a floating point number has not enough digits for both.
        "time_as_table": "true",
    })
}

/// Marks metrics by where they come from. What else their series are told apart by is added where they become documents.
fn of_job(job: &str) -> Value {
    json!({"metrics": [{"name": "labels", "upsert": format!("job {job}")}]})
}

/// Prints metrics.
fn printer() -> Value {
    json!({"name": "stdout", "alias": "metrics", "match": format!("{SCRAPED}.*")})
}

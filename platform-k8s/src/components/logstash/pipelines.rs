//! The two pipelines: documents from Kafka to Elasticsearch, and what Elasticsearch refuses back to Kafka.

use super::{
    LogstashSettings,
    syntax::{Pipeline, Plugin, Statement},
};
use crate::components::elasticsearch::{LOGSTASH_USER, Secured};
use platform_core::telemetry::document::{METRIC_NAME, Signal, Topic, data_stream};

/// The pipeline whose refused events the other one reads.
pub(super) const DOCUMENTS: &str = "documents";
pub(super) const DEAD_LETTERS: &str = "dead-letters";

/// Where the files of the pipelines are.
pub(super) const PIPELINES: &str = "/usr/share/logstash/pipeline";
/// Where refused events wait for the second pipeline.
pub(super) const DEAD_LETTER_QUEUE: &str = "/usr/share/logstash/data/dead_letter_queue";

/// Whose events these are, what they tell of, the reason why one cannot be stored, and the id of one that can.
const ENVIRONMENT: &str = "[@metadata][environment]";
const SIGNAL: &str = "[@metadata][signal]";
const REASON: &str = "[@metadata][reason]";
const ID: &str = "[@metadata][id]";

/// From Kafka to Elasticsearch.
pub(super) fn documents(
    settings: &LogstashSettings,
    bootstrap: &str,
    elasticsearch: &Secured<'_>,
) -> Pipeline {
    let topic = format!("%{{{ENVIRONMENT}}}.%{{{SIGNAL}}}.%{{}}");
    Pipeline {
        input: vec![kafka_input(settings, bootstrap).into()],
        filter: vec![
            Plugin::new("dissect").set("mapping", [("[@metadata][kafka][topic]", topic.as_str())]).into(),
            check(),
            Statement::If { branches: vec![(REASON.to_owned(), dead_letter())], otherwise: document() },
        ],
        output: vec![Statement::If {
            branches: vec![
                (REASON.to_owned(), vec![kafka_output(bootstrap).into()]),
                // The server makes the id of a sample out of its labels and its time, and takes none.
                (is(Signal::Metrics), vec![elasticsearch_output(Signal::Metrics, elasticsearch).into()]),
            ],
            otherwise: vec![
                elasticsearch_output(Signal::Logs, elasticsearch)
                    .set("document_id", format!("%{{{ID}}}"))
                    .into(),
            ],
        }],
    }
}

/// What Elasticsearch refused, to Kafka.
pub(super) fn dead_letters(bootstrap: &str) -> Pipeline {
    let whose =
        [(ENVIRONMENT, "%{[data_stream][namespace]}"), (REASON, "%{[@metadata][dead_letter_queue][reason]}")];
    let mut filter = vec![Plugin::new("mutate").set("replace", whose).into()];
    filter.extend(dead_letter());
    Pipeline {
        input: vec![
            Plugin::new("dead_letter_queue")
                .set("id", "refused")
                .set("path", DEAD_LETTER_QUEUE)
                .set("pipeline_id", DOCUMENTS)
                .set("clean_consumed", true)
                .set("commit_offsets", true)
                .into(),
        ],
        filter,
        output: vec![kafka_output(bootstrap).into()],
    }
}

fn kafka_input(settings: &LogstashSettings, bootstrap: &str) -> Plugin {
    let [metrics, logs] = Signal::ALL.map(Signal::as_str);
    Plugin::new("kafka")
        .set("id", "telemetry")
        .set("bootstrap_servers", bootstrap)
        .set("topics_pattern", format!("[a-z0-9-]+\\.({metrics}|{logs})\\.{}", Topic::VERSION))
        .set("group_id", settings.group.as_str())
        .set("client_id", "${POD_NAME}")
        .set("consumer_threads", u64::from(settings.consumer_threads))
        .set("auto_offset_reset", "earliest")
        .set("isolation_level", "read_committed")
        .set("partition_assignment_strategy", "cooperative_sticky")
        // A new environment's topics are found within this time.
        .set("metadata_max_age_ms", 30_000_u64)
        .set("decorate_events", "basic")
        .set("codec", Plugin::new("json"))
}

/// Says why an event is no document.
fn check() -> Statement {
    let reason = |reason: &str| vec![Plugin::new("mutate").set("replace", [(REASON, reason)]).into()];
    Statement::If {
        branches: vec![
            ("\"_jsonparsefailure\" in [tags]".to_owned(), reason("it is not JSON")),
            ("\"_timestampparsefailure\" in [tags]".to_owned(), reason("its @timestamp is no time")),
            (
                format!("{} and (![labels][{METRIC_NAME}] or ![metrics])", is(Signal::Metrics)),
                reason("it has not the fields of a sample"),
            ),
            (
                format!("{} and (![body] or ![severity_text])", is(Signal::Logs)),
                reason("it has not the fields of a log record"),
            ),
        ],
        otherwise: Vec::new(),
    }
}

fn is(signal: Signal) -> String {
    format!("{SIGNAL} == \"{}\"", signal.as_str())
}

/// Completes a document. Whose it is follows from its topic: nobody writes into the stream of another environment.
fn document() -> Vec<Statement> {
    let namespace = format!("%{{{ENVIRONMENT}}}");
    let stream = |signal: Signal| {
        Plugin::new("mutate")
            .set(
                "replace",
                [
                    ("[data_stream][type]", signal.as_str()),
                    ("[data_stream][dataset]", signal.dataset()),
                    ("[data_stream][namespace]", namespace.as_str()),
                ],
            )
            // What Logstash adds by itself is not of the document's shape.
            .set("remove_field", ["@version", "event", "tags"])
    };
    // The same record of Kafka, read again, is the same document.
    let place = ["[@metadata][kafka][topic]", "[@metadata][kafka][partition]", "[@metadata][kafka][offset]"];
    let id = Plugin::new("fingerprint")
        .set("source", place)
        .set("concatenate_sources", true)
        .set("method", "SHA256")
        .set("target", ID);
    vec![Statement::If {
        branches: vec![(is(Signal::Metrics), vec![stream(Signal::Metrics).into()])],
        otherwise: vec![stream(Signal::Logs).into(), id.into()],
    }]
}

/// Makes a dead letter of an event.
fn dead_letter() -> Vec<Statement> {
    vec![Plugin::new("ruby").set("path", format!("{PIPELINES}/dead_letter.rb")).into()]
}

/// Takes everything out of an event but what a dead letter has: the reason, where it was read, and what it was.
pub(super) const DEAD_LETTER_SCRIPT: &str = "\
def filter(event)
  original = event.get('message') || event.to_json
  record = event.get('[@metadata][kafka]') || {}
  (event.to_hash.keys - ['@timestamp']).each { |name| event.remove(name) }
  event.set('original', original)
  event.set('reason', event.get('[@metadata][reason]'))
  event.set('source', { 'topic' => record['topic'], 'partition' => record['partition'], 'offset' => record['offset'] })
  [event]
end
";

fn kafka_output(bootstrap: &str) -> Plugin {
    Plugin::new("kafka")
        .set("bootstrap_servers", bootstrap)
        .set("topic_id", Topic::DeadLetters.name(&format!("%{{{ENVIRONMENT}}}")))
        .set("acks", "all")
        .set("compression_type", "lz4")
        .set("client_id", "${POD_NAME}")
        .set("codec", Plugin::new("json"))
}

fn elasticsearch_output(signal: Signal, elasticsearch: &Secured<'_>) -> Plugin {
    let mut plugin = Plugin::new("elasticsearch")
        .set("id", signal.as_str())
        .set("hosts", [elasticsearch.url().as_str()])
        .set("index", data_stream(signal, &format!("%{{{ENVIRONMENT}}}")))
        // A document that is there already is refused, which is how a repeat is known.
        .set("action", "create")
        .set("silence_errors_in_log", ["version_conflict_engine_exception"])
        .set("compression_level", 1_u64)
        // Names of streams and ids of documents are said here; templates and retention come with Elasticsearch.
        .set("data_stream", "false")
        .set("manage_template", false)
        .set("ilm_enabled", "false");
    if elasticsearch.access.security {
        plugin = plugin.set("user", LOGSTASH_USER).set("password", "${LOGSTASH_PASSWORD}");
    }
    if let Some(certificate) = elasticsearch.certificate() {
        plugin = plugin.set("ssl_enabled", true).set("ssl_certificate_authorities", [certificate.as_str()]);
    }
    plugin
}

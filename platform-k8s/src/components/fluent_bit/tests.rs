use super::*;
use platform_core::{
    cluster::ClusterRole,
    component::{Component, ComponentTarget},
    name::{ClusterName, EnvironmentName, Namespace, PlatformName},
};

/// What the manual lists of each plug-in's options, of all that is set here, as of Fluent Bit 5; and those that every plug-in of its kind has.
const OPTIONS: &[(&str, &[&str])] = &[
    (
        "service",
        &[
            "daemon",
            "flush",
            "grace",
            "hc_errors_count",
            "hc_period",
            "hc_retry_failure_count",
            "health_check",
            "http_listen",
            "http_port",
            "http_server",
            "log_level",
            "scheduler.base",
            "scheduler.cap",
            "storage.backlog.mem_limit",
            "storage.checksum",
            "storage.delete_irrecoverable_chunks",
            "storage.max_chunks_up",
            "storage.metrics",
            "storage.path",
            "storage.sync",
        ],
    ),
    ("inputs", &["alias", "name", "processors", "storage.pause_on_chunks_overlimit", "storage.type", "tag"]),
    ("filters", &["match", "name"]),
    (
        "outputs",
        &["alias", "match", "match_regex", "name", "retry_limit", "storage.total_limit_size", "workers"],
    ),
    (
        "inputs tail",
        &[
            "buffer_chunk_size",
            "buffer_max_size",
            "db",
            "db.locking",
            "exclude_path",
            "multiline.parser",
            "path",
            "read_from_head",
            "refresh_interval",
            "rotate_wait",
            "skip_long_lines",
        ],
    ),
    ("inputs prometheus_scrape", &["buffer_max_size", "host", "metrics_path", "port", "scrape_interval"]),
    ("inputs fluentbit_metrics", &["scrape_interval"]),
    (
        "filters kubernetes",
        &[
            "annotations",
            "buffer_size",
            "keep_log",
            "kube_meta_namespace_cache_ttl",
            "kube_tag_prefix",
            "labels",
            "merge_log",
            "merge_log_key",
            "namespace_labels",
        ],
    ),
    ("filters lua", &["call", "script", "time_as_table"]),
    ("outputs stdout", &[]),
    (
        "outputs kafka",
        &[
            "brokers",
            "format",
            "message_key_field",
            "queue_full_retries",
            "raw_log_key",
            "topic_key",
            "topics",
        ],
    ),
];

/// Properties of librdkafka that are set through `rdkafka.`.
const CLIENT: &[&str] = &[
    "acks",
    "client.id",
    "compression.codec",
    "enable.idempotence",
    "linger.ms",
    "log.connection.close",
    "message.timeout.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
];

fn target(role: ClusterRole) -> ComponentTarget {
    ComponentTarget::new(
        PlatformName::new("shop").unwrap(),
        ClusterName::new("shop-testing").unwrap(),
        role,
        Namespace::new("platform-system").unwrap(),
    )
}

fn of(environments: &[&str]) -> ClusterRole {
    ClusterRole::Environments(environments.iter().map(|name| EnvironmentName::new(name).unwrap()).collect())
}

fn fluent_bit() -> FluentBit {
    FluentBit::new().unwrap().with_settings(FluentBitSettings::to_brokers("203.0.113.7:30090"))
}

fn file(role: ClusterRole, name: &str) -> String {
    let manifests = fluent_bit().manifests(&target(role)).unwrap();
    let found = manifests.iter().find(|m| m.reference().kind == "ConfigMap").unwrap();
    found.object()["data"][name].as_str().unwrap().to_owned()
}

fn yaml(role: ClusterRole, name: &str) -> Value {
    serde_saphyr::from_str(&file(role, name)).unwrap()
}

#[test]
fn plugins_have_only_options_that_the_manual_lists() {
    let known = |of: &str, option: &str| {
        OPTIONS.iter().any(|(name, options)| *name == of && options.contains(&option))
            || (of == "outputs kafka"
                && option.strip_prefix("rdkafka.").is_some_and(|name| CLIENT.contains(&name)))
    };
    for name in ["node.yaml", "cluster.yaml"] {
        let configuration = yaml(of(&["testing"]), name);
        for option in configuration["service"].as_object().unwrap().keys() {
            assert!(known("service", option), "service: {option}");
        }
        for section in ["inputs", "filters", "outputs"] {
            for plugin in configuration["pipeline"][section].as_array().unwrap() {
                let kind = plugin["name"].as_str().unwrap();
                assert!(OPTIONS.iter().any(|(of, _)| *of == format!("{section} {kind}")), "{section} {kind}");
                for option in plugin.as_object().unwrap().keys() {
                    assert!(
                        known(section, option) || known(&format!("{section} {kind}"), option),
                        "{kind}: {option}"
                    );
                }
            }
        }
    }
}

#[test]
fn everything_that_is_read_is_matched_and_everything_matched_is_read() {
    let configuration = yaml(of(&["testing"]), "node.yaml");
    let tags: Vec<&str> = configuration["pipeline"]["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| input["tag"].as_str().unwrap())
        .collect();
    assert_eq!(tags, ["scraped.node-exporter", "scraped.fluent-bit", "own.*", "kube.*"]);
    let outputs = configuration["pipeline"]["outputs"].as_array().unwrap();
    assert_eq!(
        (&outputs[0]["match"], &outputs[1]["match_regex"]),
        (&json!("scraped.*"), &json!("^(kube|own)\\."))
    );
    let inputs = configuration["pipeline"]["inputs"].as_array().unwrap();
    assert_eq!(inputs[3]["exclude_path"], inputs[2]["path"], "its own file is read once");
    let cluster = yaml(of(&["testing"]), "cluster.yaml");
    assert_eq!(cluster["pipeline"]["inputs"][0]["host"], "kube-state-metrics.platform-system.svc");
    assert!(
        !cluster.to_string().contains("kubernetes\""),
        "the pod of the cluster reads no files of containers"
    );
}

#[test]
fn topics_are_those_of_the_cluster_s_environments() {
    let topics = |role: ClusterRole| yaml(role, "node.yaml")["pipeline"]["outputs"][1]["topics"].clone();
    assert_eq!(topics(of(&["testing"])), "testing.logs.v1,testing.metrics.v1");
    assert_eq!(
        topics(of(&["testing", "production"])),
        "shared.logs.v1,shared.metrics.v1,testing.logs.v1,testing.metrics.v1,production.logs.v1,production.metrics.v1"
    );
    assert_eq!(topics(ClusterRole::ControlPlane), "control-plane.logs.v1,control-plane.metrics.v1");
}

#[test]
fn a_cluster_without_brokers_must_be_told_of_some() {
    let default = FluentBit::new().unwrap();
    let error = default.manifests(&target(of(&["testing"]))).unwrap_err().to_string();
    assert!(error.contains("shop-testing has no Kafka") && error.contains("settings.external"), "{error}");
    assert!(default.manifests(&target(ClusterRole::ControlPlane)).is_ok());
    for brokers in ["", "a b:1", "k:1;rm"] {
        let error = default.clone().with_settings(FluentBitSettings::to_brokers(brokers));
        assert!(
            error
                .manifests(&target(ClusterRole::ControlPlane))
                .unwrap_err()
                .to_string()
                .contains("settings.brokers")
        );
    }
}

#[test]
fn it_has_no_right_of_root_but_to_read_root_s_files() {
    let manifests = fluent_bit().manifests(&target(of(&["testing"]))).unwrap();
    let pods: Vec<&Value> =
        manifests.iter().filter_map(|m| m.object().pointer("/spec/template/spec")).collect();
    assert_eq!(pods.len(), 2);
    for pod in pods {
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let logs =
            container["volumeMounts"].as_array().unwrap().iter().find(|m| m["name"] == "logs").unwrap();
        assert_eq!(logs["readOnly"], true);
    }
    let labels: Vec<_> = manifests
        .iter()
        .filter_map(|m| m.object().pointer("/spec/selector/matchLabels/app.kubernetes.io~1name").cloned())
        .collect();
    assert_eq!(labels, [json!("fluent-bit"), json!("fluent-bit-cluster")]);
}

mod lua {
    //! The script, run by a real Lua.

    use super::*;
    use platform_core::{
        clock::Timestamp,
        telemetry::{
            Labels, LogRecord, MetricKind, Sample, Severity,
            document::{self, Signal},
        },
    };
    use std::process::Command;

    /// Runs calls of the script and answers with the messages that they make.
    fn run(role: ClusterRole, calls: &str) -> Vec<(String, String, Value)> {
        let program = std::env::var_os("PLATFORM_LUA").expect("PLATFORM_LUA names a LuaJIT");
        let folder = tempfile::tempdir().unwrap();
        let driver = format!(
            "{}\nlocal function show(code, _, records)\n  if code == -1 then print('DROPPED') return end\n  \
             if records.message then records = {{ records }} end\n  \
             for _, r in ipairs(records) do print(r.topic .. '\\t' .. r.key .. '\\t' .. r.message) end\nend\n\
             local at = {{ sec = 1764108000, nsec = 123999999 }}\n{calls}\n",
            file(role, "documents.lua")
        );
        std::fs::write(folder.path().join("driver.lua"), driver).unwrap();
        let output = Command::new(program)
            .arg(folder.path().join("driver.lua"))
            .envs([("NODE_NAME", "node-1"), ("POD_NAME", "fluent-bit-x")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter(|line| *line != "DROPPED")
            .map(|line| {
                let parts: Vec<&str> = line.splitn(3, '\t').collect();
                (parts[0].to_owned(), parts[1].to_owned(), serde_json::from_str(parts[2]).unwrap())
            })
            .collect()
    }

    fn line(record: &str) -> String {
        format!(
            "show(of_container('kube.x', at, {{ stream = 'stderr', {record}, kubernetes = {{ namespace_name = 'api1', pod_name = 'api1-7d', \
             pod_id = 'u-1', container_name = 'api1', host = 'node-1', labels = {{ ['app.kubernetes.io/name'] = 'api1' }} }}, \
             kubernetes_namespace = {{ labels = {{ ['platform.dev/environment'] = 'production' }} }} }}))"
        )
    }

    fn expected(body: &str, severity: Severity, more: &[(&str, &str)]) -> Value {
        let mut labels = vec![
            ("cluster", "shop-testing"),
            ("container", "api1"),
            ("environment", "production"),
            ("namespace", "api1"),
            ("node", "node-1"),
            ("pod", "api1-7d"),
            ("pod_uid", "u-1"),
            ("service", "api1"),
            ("stream", "stderr"),
        ];
        labels.extend(more);
        let record = LogRecord {
            timestamp: Timestamp::from_millis(1_764_108_000_123),
            severity,
            body: body.to_owned(),
            labels: labels.into_iter().collect(),
        };
        document::log(&record, "shared")
    }

    #[test]
    #[ignore = "needs lua"]
    fn a_line_is_the_document_that_the_platform_makes_of_it() {
        let both = || of(&["testing", "production"]);
        for (lua, body, severity, more) in [
            ("log = 'hello\\n'", "hello", Severity::Info, &[][..]),
            (
                "log = '2026-11-23 21:36:28,250 [main] WARN x'",
                "2026-11-23 21:36:28,250 [main] WARN x",
                Severity::Warn,
                &[],
            ),
            (
                "log = 'E1122 08:00:00.000001 1 main.go:1] cannot'",
                "E1122 08:00:00.000001 1 main.go:1] cannot",
                Severity::Error,
                &[],
            ),
            ("log = '<11>1 - host app'", "<11>1 - host app", Severity::Error, &[]),
            (
                "log = 'level=warning msg=\"error in name only\"'",
                "level=warning msg=\"error in name only\"",
                Severity::Warn,
                &[],
            ),
            ("log = 'a \\\\ b \\t c \"d\" é \\1'", "a \\ b \t c \"d\" é \u{1}", Severity::Info, &[]),
            ("log = 'bad \\255 byte'", "bad \u{fffd} byte", Severity::Info, &[]),
            (
                "log = '{\"level\":\"fatal\",\"trace_id\":\"0af7\"}', structured = { level = 'fatal', trace_id = '0af7' }",
                "{\"level\":\"fatal\",\"trace_id\":\"0af7\"}",
                Severity::Fatal,
                &[("trace_id", "0af7")],
            ),
            ("log = '{\"level\":50}', structured = { level = 50 }", "{\"level\":50}", Severity::Error, &[]),
        ] {
            let messages = run(both(), &line(lua));
            let (topic, key, document) = &messages[0];
            assert_eq!((topic.as_str(), key.as_str()), ("production.logs.v1", "shop-testing/u-1/api1"));
            assert_eq!(*document, expected(body, severity, more), "{body}");
            document::check(Signal::Logs, document).unwrap();
        }
    }

    #[test]
    #[ignore = "needs lua"]
    fn a_printed_metric_is_the_document_that_the_platform_makes_of_it() {
        let text = "2025-11-25T22:00:00.123456789Z";
        let call = |line: &str| {
            format!("show(of_own_output('own.x', at, {{ stream = 'stdout', log = [=[{text} {line}]=] }}))")
        };
        let sample = |name: &str, labels: &[(&str, &str)], value: f64| {
            let fixed = [
                ("cluster", "shop-testing"),
                ("environment", "testing"),
                ("job", "node-exporter"),
                ("instance", "node-1"),
            ];
            let labels: Labels = fixed.iter().chain(labels).copied().collect();
            let timestamp = Timestamp::from_millis(1_764_108_000_123);
            document::metric(
                &Sample { metric: name.into(), labels, timestamp, value, kind: MetricKind::Gauge },
                "shared",
            )
            .unwrap()
        };
        let job = "job=\"node-exporter\"";
        for (line, expected) in [
            (format!("node_load1{{{job}}} = 1.6200000000000001"), vec![sample("node_load1", &[], 1.62)]),
            (
                format!("node_memory_MemTotal_bytes{{{job}}} = 16384000000"),
                vec![sample("node_memory_MemTotal_bytes", &[], 16_384_000_000.0)],
            ),
            (
                format!("x_total{{path=\"/a\"b,c\",empty=\"\",{job}}} = 18446744073709551616"),
                vec![sample("x_total", &[("path", "/a\"b,c")], 18_446_744_073_709_551_616.0)],
            ),
            (format!("bad{{{job}}} = nan"), vec![]),
            (format!("bad{{{job}}} = -inf"), vec![]),
            (
                format!("h{{{job}}} = {{ buckets = {{ 0.5=1, +Inf=3 }}, sum=1.5, count=3 }}"),
                vec![
                    sample("h_bucket", &[("le", "0.5")], 1.0),
                    sample("h_bucket", &[("le", "+Inf")], 3.0),
                    sample("h_sum", &[], 1.5),
                    sample("h_count", &[], 3.0),
                ],
            ),
            (
                format!("s{{{job}}} = {{ quantiles = {{ 0.5=0.1, 0.9=0.25 }}, sum=2, count=7 }}"),
                vec![
                    sample("s", &[("quantile", "0.5")], 0.1),
                    sample("s", &[("quantile", "0.9")], 0.25),
                    sample("s_sum", &[], 2.0),
                    sample("s_count", &[], 7.0),
                ],
            ),
        ] {
            let messages = run(of(&["testing"]), &call(&line));
            let documents: Vec<&Value> = messages.iter().map(|(_, _, document)| document).collect();
            assert_eq!(documents.len(), expected.len(), "{line}");
            for (document, expected) in documents.iter().zip(&expected) {
                document::check(Signal::Metrics, document).unwrap();
                assert_eq!(document["@timestamp"], expected["@timestamp"]);
                assert_eq!(document["labels"], expected["labels"], "{line}");
                let value = |document: &Value| {
                    document["metrics"].as_object().unwrap().values().next().unwrap().as_f64()
                };
                assert_eq!(value(document), value(expected), "{line}");
            }
            assert!(
                messages.iter().all(|(topic, key, _)| topic == "testing.metrics.v1"
                    && key == "shop-testing/node-exporter/node-1")
            );
        }
        let said = run(
            of(&["testing"]),
            "show(of_own_output('own.x', at, { stream = 'stderr', log = '[error] no broker' }))",
        );
        assert_eq!((said[0].0.as_str(), &said[0].2["severity_text"]), ("testing.logs.v1", &json!("error")));
        document::check(Signal::Logs, &said[0].2).unwrap();
    }
}

use super::*;
use platform_core::{
    cluster::ClusterRole,
    component::{Component, ComponentTarget},
    manifest::Manifest,
    name::{ClusterName, Namespace, PlatformName},
};

fn target() -> ComponentTarget {
    ComponentTarget::new(
        PlatformName::new("shop").unwrap(),
        ClusterName::new("shop-control-plane").unwrap(),
        ClusterRole::ControlPlane,
        Namespace::new("platform-system").unwrap(),
    )
}

fn secured(replicas: u32) -> Elasticsearch {
    let certificate_secret = (replicas > 1).then(|| "elasticsearch-tls".to_owned());
    let settings = ElasticsearchSettings { certificate_secret, ..ElasticsearchSettings::default() };
    Elasticsearch::new().unwrap().replicas(replicas).with_settings(settings)
}

fn text(elasticsearch: &Elasticsearch) -> String {
    let manifests = elasticsearch.manifests(&target()).unwrap();
    manifests.iter().map(|manifest: &Manifest| manifest.object().to_string()).collect()
}

fn file(elasticsearch: &Elasticsearch, map: &str, name: &str) -> String {
    let manifests = elasticsearch.manifests(&target()).unwrap();
    let found =
        manifests.iter().find(|m| m.reference().kind == "ConfigMap" && m.reference().name == map).unwrap();
    found.object()["data"][name].as_str().unwrap().to_owned()
}

#[test]
fn one_node_is_alone_and_three_find_each_other() {
    let one = file(&secured(1), "elasticsearch", "elasticsearch.yml");
    assert!(
        one.contains("discovery.type: single-node") && one.contains("node.store.allow_mmap: false"),
        "{one}"
    );
    assert!(!one.contains("ssl"), "{one}");
    let three = file(&secured(3), "elasticsearch", "elasticsearch.yml");
    assert!(
        three.contains("elasticsearch-nodes.platform-system.svc") && three.contains("elasticsearch-2"),
        "{three}"
    );
    assert!(three.contains("xpack.security.transport.ssl.enabled: true"), "{three}");
    assert!(!three.contains("single-node"), "{three}");
}

#[test]
fn passwords_come_from_the_secret_and_stand_nowhere() {
    let text = text(&secured(1));
    for key in ["elastic", "kibana", "logstash"] {
        assert!(
            text.contains(&format!(r#""secretKeyRef":{{"key":"{key}","name":"elasticsearch-credentials"}}"#)),
            "{key}"
        );
    }
    assert!(!text.contains(r#""kind":"Secret""#));
}

/// Runs the script of the Job with a `curl` that takes everything, and answers with its calls.
fn calls(ingester_password: Option<&str>) -> String {
    use std::{os::unix::fs::PermissionsExt as _, process::Command};
    let folder = tempfile::tempdir().unwrap();
    let manifests = secured(1).manifests(&target()).unwrap();
    let map = manifests.iter().find(|m| m.reference().name == "elasticsearch-setup").unwrap();
    for (name, text) in map.object()["data"].as_object().unwrap() {
        std::fs::write(folder.path().join(name), text.as_str().unwrap()).unwrap();
    }
    let curl = folder.path().join("curl");
    let takes_all = "#!/bin/bash\necho \"$*\" >>\"$CALLS\"\ncase \"$*\" in *@-*) cat >>\"$CALLS\"; echo >>\"$CALLS\" ;; esac\necho 200\n";
    std::fs::write(&curl, takes_all).unwrap();
    std::fs::set_permissions(&curl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut script = Command::new("bash");
    script
        .arg(folder.path().join("setup.sh"))
        .env("PATH", path)
        .env("CALLS", folder.path().join("calls"))
        .env("FILES", folder.path())
        .env("ELASTICSEARCH_URL", "https://elasticsearch:9200")
        .envs([("KIBANA_PASSWORD", "k"), ("LOGSTASH_PASSWORD", "a\"b")])
        .env_remove("ELASTIC_PASSWORD")
        .env_remove("CERTIFICATE")
        .env_remove("INGESTER_PASSWORD");
    if let Some(password) = ingester_password {
        script.env("INGESTER_PASSWORD", password);
    }
    let output = script.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    std::fs::read_to_string(folder.path().join("calls")).unwrap()
}

#[test]
fn there_are_accounts_for_whom_there_is_a_password() {
    let without = calls(None);
    assert!(without.contains("_security/user/platform_logstash"), "{without}");
    assert!(without.contains(r#"{"password": "a\"b", "roles": ["platform_writer"]}"#), "{without}");
    assert!(!without.contains("platform_ingester"), "{without}");
    let with = calls(Some("i"));
    assert!(with.contains("PUT") && with.contains("_security/role/platform_ingester"), "{with}");
    assert!(with.contains(r#"{"password": "i", "roles": ["platform_ingester"]}"#), "{with}");
    let text = text(&secured(1));
    let optional = r#""secretKeyRef":{"key":"ingester","name":"elasticsearch-credentials","optional":true}"#;
    assert!(text.contains(optional), "{text}");
}

#[test]
fn without_security_nobody_has_an_account() {
    let settings = ElasticsearchSettings { security: false, ..ElasticsearchSettings::default() };
    let open = Elasticsearch::new().unwrap().with_settings(settings);
    let text = text(&open);
    assert!(!text.contains("secretKeyRef") && !text.contains("_security"), "{text}");
    assert!(file(&open, "elasticsearch", "elasticsearch.yml").contains("xpack.security.enabled: false"));
}

#[test]
fn what_cannot_be_is_refused() {
    let error = |elasticsearch: Elasticsearch| elasticsearch.manifests(&target()).unwrap_err().to_string();
    assert!(error(Elasticsearch::new().unwrap().replicas(2)).contains("no quorum"));
    assert!(error(Elasticsearch::new().unwrap().replicas(3)).contains("settings.certificateSecret"));
    let settings = ElasticsearchSettings { retention_days: 0, ..ElasticsearchSettings::default() };
    assert!(error(Elasticsearch::new().unwrap().with_settings(settings)).contains("settings.retentionDays"));
}

mod server {
    //! What is rendered, on a real Elasticsearch without security.

    use super::*;
    use platform_core::{
        clock::{Clock, SystemClock, Timestamp},
        dashboard::{Dashboard, Panel, PanelQuery, Unit, kibana},
        telemetry::{
            Labels, LogRecord, MetricKind, Sample, Severity,
            document::{self, template_name},
            metric,
        },
    };
    use std::process::{Command, Output};

    fn url() -> String {
        std::env::var("PLATFORM_ELASTICSEARCH")
            .expect("PLATFORM_ELASTICSEARCH is the URL of an Elasticsearch")
    }

    fn call(method: &str, path: &str, body: &str) -> Value {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60", "--request", method])
            .args(["--header", "Content-Type: application/x-ndjson", "--data-binary", body])
            .arg(format!("{}/{path}", url()))
            .output()
            .expect("curl is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs the script of the Job with its own files.
    fn set_up() -> Output {
        let settings = ElasticsearchSettings { security: false, ..ElasticsearchSettings::default() };
        let open = Elasticsearch::new().unwrap().with_settings(settings);
        let manifests = open.manifests(&target()).unwrap();
        let map = manifests.iter().find(|m| m.reference().name == "elasticsearch-setup").unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in map.object()["data"].as_object().unwrap() {
            std::fs::write(folder.path().join(name), text.as_str().unwrap()).unwrap();
        }
        Command::new("bash")
            .arg(folder.path().join("setup.sh"))
            .env("ELASTICSEARCH_URL", url())
            .env("FILES", folder.path())
            .env_remove("ELASTIC_PASSWORD")
            .env_remove("CERTIFICATE")
            .output()
            .expect("bash is there")
    }

    fn created(stream: &str, documents: &[Value]) -> Vec<u64> {
        let lines: Vec<String> =
            documents.iter().map(|document| format!("{{\"create\":{{}}}}\n{document}\n")).collect();
        let answer = call("POST", &format!("{stream}/_bulk?refresh=true"), &lines.concat());
        let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
        items.iter().map(|item| item["create"]["status"].as_u64().unwrap()).collect()
    }

    /// Puts the time that is looked at into a request, as Kibana does.
    fn filled_in(mut body: Value) -> Value {
        let query = &mut body["query"]["bool"];
        for list in ["must", "must_not"] {
            query[list] = json!([]);
        }
        let filter = query["filter"].as_array_mut().unwrap();
        filter.retain(|one| !one.is_string());
        for one in filter {
            if let Some(time) = one.pointer_mut("/range/@timestamp") {
                *time = json!({"gte": "now-1h", "lte": "now+1h"});
            }
        }
        body
    }

    #[test]
    #[ignore = "needs elasticsearch"]
    fn the_job_s_script_makes_it_take_documents_and_refuse_repeats() {
        for _ in 0..2 {
            let output = set_up();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        }
        for signal in document::Signal::ALL {
            let answer = call("GET", &format!("_index_template/{}", template_name(signal)), "");
            assert_eq!(answer["index_templates"].as_array().map(Vec::len), Some(1), "{answer}");
        }

        // A stream of its own each time: a data stream cannot be deleted everywhere.
        let now = SystemClock.now();
        let environment = format!("test{}", now.as_millis());
        let at = |seconds: i64| {
            Timestamp::from_millis(now.as_millis() - now.as_millis() % 15_000 - seconds * 1000)
        };
        let sample = |cpu: &str, seconds: i64, value: f64| {
            let labels = Labels::from_iter([
                ("cpu", cpu),
                ("cluster", "shop-testing"),
                ("environment", &environment),
                ("odd.name", "x"),
            ]);
            let sample = Sample {
                metric: "node_cpu_seconds_total".into(),
                labels,
                timestamp: at(seconds),
                value,
                kind: MetricKind::Counter,
            };
            document::metric(&sample, "shared").unwrap()
        };
        let samples: Vec<Value> = (0_u32..8)
            .flat_map(|n| ["0", "1"].map(|cpu| sample(cpu, i64::from(n) * 15, f64::from(800 - n * 10))))
            .collect();
        let stream = document::data_stream(document::Signal::Metrics, &environment);
        assert_eq!(created(&stream, &samples), [201; 16]);
        assert_eq!(created(&stream, &samples[..2]), [409; 2], "a repeat is known");

        let record = LogRecord {
            timestamp: now,
            severity: Severity::Error,
            body: "disk almost full".into(),
            labels: Labels::from_iter([
                ("environment", environment.as_str()),
                ("pod", "api1-7d"),
                ("user.id", "7"),
            ]),
        };
        let logs = document::data_stream(document::Signal::Logs, &environment);
        assert_eq!(created(&logs, &[document::log(&record, "shared")]), [201]);
        let found = call(
            "GET",
            &format!("{logs}/_search?q=body.text:almost%20AND%20resource.attributes.k8s.pod.name:api1-7d"),
            "",
        );
        assert_eq!(found["hits"]["total"]["value"], 1, "{found}");

        // What a panel of Kibana asks for.
        let busy = metric("node_cpu_seconds_total").rate(Duration::from_secs(60)).sum_by(["cluster"]);
        let panel = Panel::time_series("CPU", Unit::None, vec![PanelQuery::new(busy, "{{cluster}}")]);
        let lines = kibana::saved_objects(&[Dashboard::new("d", "D").panel(panel)]).unwrap();
        let text = |value: &Value| serde_json::from_str::<Value>(value.as_str().unwrap()).unwrap();
        let shown: Value = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .find(|object: &Value| object["type"] == "visualization")
            .unwrap();
        let spec = text(&text(&shown["attributes"]["visState"])["params"]["spec"]);
        let body = filled_in(spec["data"][0]["url"]["body"].clone());
        let answer = call("POST", &format!("{stream}/_search"), &body.to_string());
        let buckets =
            answer["aggregations"]["buckets"]["buckets"].as_array().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(buckets.len(), 16, "two series, eight steps: {answer}");
        assert_eq!(buckets[0]["key"]["l0"], "shop-testing");
        assert!(
            buckets
                .iter()
                .all(|bucket| bucket["value"]["value"].as_f64().is_some_and(|value| value >= 730.0))
        );
    }
}

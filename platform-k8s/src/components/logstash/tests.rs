use super::{
    syntax::{Pipeline, Plugin, Setting, Statement},
    *,
};
use platform_core::{
    Quantity,
    cluster::ClusterRole,
    component::{Component, ComponentTarget, Storage},
    name::{ClusterName, Namespace, PlatformName},
};

/// What the manual of each plug-in lists, of all that is set here, as of Logstash 9; `id` is every plug-in's.
const OPTIONS: &[(&str, &str, &[&str])] = &[
    (
        "input",
        "kafka",
        &[
            "auto_offset_reset",
            "bootstrap_servers",
            "client_id",
            "codec",
            "consumer_threads",
            "decorate_events",
            "group_id",
            "id",
            "isolation_level",
            "metadata_max_age_ms",
            "partition_assignment_strategy",
            "topics_pattern",
        ],
    ),
    ("input", "dead_letter_queue", &["clean_consumed", "commit_offsets", "id", "path", "pipeline_id"]),
    ("codec", "json", &[]),
    ("filter", "dissect", &["mapping"]),
    ("filter", "fingerprint", &["concatenate_sources", "method", "source", "target"]),
    ("filter", "mutate", &["remove_field", "replace"]),
    ("filter", "ruby", &["path"]),
    ("output", "kafka", &["acks", "bootstrap_servers", "client_id", "codec", "compression_type", "topic_id"]),
    (
        "output",
        "elasticsearch",
        &[
            "action",
            "compression_level",
            "data_stream",
            "document_id",
            "hosts",
            "id",
            "ilm_enabled",
            "index",
            "manage_template",
            "password",
            "silence_errors_in_log",
            "ssl_certificate_authorities",
            "ssl_enabled",
            "user",
        ],
    ),
];

fn target() -> ComponentTarget {
    ComponentTarget::new(
        PlatformName::new("shop").unwrap(),
        ClusterName::new("shop-control-plane").unwrap(),
        ClusterRole::ControlPlane,
        Namespace::new("platform-system").unwrap(),
    )
}

fn file(settings: LogstashSettings, map: &str, name: &str) -> String {
    let logstash = Logstash::new().unwrap().with_settings(settings);
    let manifests = logstash.manifests(&target()).unwrap();
    let found =
        manifests.iter().find(|m| m.reference().kind == "ConfigMap" && m.reference().name == map).unwrap();
    found.object()["data"][name].as_str().unwrap().to_owned()
}

fn secured() -> LogstashSettings {
    let elasticsearch =
        ElasticsearchAccess { certificate_secret: Some("tls".into()), ..ElasticsearchAccess::default() };
    LogstashSettings { elasticsearch, ..LogstashSettings::default() }
}

/// Reads a pipeline as its grammar says: sections of plug-ins and conditions, `option => value`. Answers with what is left over.
mod grammar {
    pub(super) fn pipeline(text: &str) -> Result<(), String> {
        let mut rest = text.trim_start();
        for section in ["input", "filter", "output"] {
            rest = word(rest, section)?;
            rest = block(rest)?;
        }
        if rest.is_empty() { Ok(()) } else { Err(format!("left over: {rest}")) }
    }

    fn word<'a>(text: &'a str, expected: &str) -> Result<&'a str, String> {
        text.strip_prefix(expected).map(str::trim_start).ok_or_else(|| format!("no {expected:?} at {text}"))
    }

    fn name(text: &str) -> Result<(&str, &str), String> {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        if end == 0 {
            Err(format!("no name at {text}"))
        } else {
            Ok((&text[..end], text[end..].trim_start()))
        }
    }

    /// `{ plugin | if condition { } else if condition { } else { } }`
    fn block(text: &str) -> Result<&str, String> {
        let mut rest = word(text, "{")?;
        while !rest.starts_with('}') {
            if rest.starts_with("if ") {
                rest = branches(rest)?;
            } else {
                rest = plugin(rest)?;
            }
        }
        word(rest, "}")
    }

    fn branches(text: &str) -> Result<&str, String> {
        let mut rest = condition(word(text, "if")?)?;
        rest = block(rest)?;
        while let Ok(after) = word(rest, "else") {
            rest = match word(after, "if") {
                Ok(next) => block(condition(next)?)?,
                Err(_) => return block(after),
            };
        }
        Ok(rest)
    }

    /// Field references, texts, `and`, `or`, `!`, `in`, comparisons and parentheses up to the block.
    fn condition(mut rest: &str) -> Result<&str, String> {
        let mut depth = 0;
        while !rest.starts_with('{') {
            rest = match rest.chars().next().ok_or("a condition without end")? {
                '(' => {
                    depth += 1;
                    &rest[1..]
                }
                ')' => {
                    depth -= 1;
                    &rest[1..]
                }
                '[' => &rest[rest.find(']').ok_or("an open reference")? + 1..],
                '"' => &rest[1 + rest[1..].find('"').ok_or("an open text")? + 1..],
                '!' | '=' | '>' | '<' => &rest[1..],
                _ => {
                    let (word, after) = name(rest)?;
                    if !["and", "or", "in", "not"].contains(&word) {
                        return Err(format!("{word:?} in a condition"));
                    }
                    after
                }
            }
            .trim_start();
        }
        if depth == 0 { Ok(rest) } else { Err("parentheses".to_owned()) }
    }

    fn plugin(text: &str) -> Result<&str, String> {
        let (_, rest) = name(text)?;
        let mut rest = word(rest, "{")?;
        while !rest.starts_with('}') {
            let (_, after) = name(rest)?;
            rest = value(word(after, "=>")?)?;
        }
        word(rest, "}")
    }

    fn value(text: &str) -> Result<&str, String> {
        match text.chars().next() {
            Some(mark @ ('"' | '\'')) => {
                let end = text[1..].find(mark).ok_or("an open text")?;
                Ok(text[end + 2..].trim_start())
            }
            Some('[') => {
                let mut rest = word(text, "[")?;
                while !rest.starts_with(']') {
                    rest = value(rest)?;
                    rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
                }
                word(rest, "]")
            }
            Some('{') => {
                let mut rest = word(text, "{")?;
                while !rest.starts_with('}') {
                    rest = value(word(value(rest)?, "=>")?)?;
                }
                word(rest, "}")
            }
            _ => {
                let (word_, rest) = name(text)?;
                let plain = word_.bytes().all(|b| b.is_ascii_digit()) || ["true", "false"].contains(&word_);
                if plain { Ok(rest) } else { plugin(text) }
            }
        }
    }
}

#[test]
fn pipelines_are_sentences_of_the_language() {
    for settings in [LogstashSettings::default(), secured()] {
        for name in ["documents.conf", "dead-letters.conf"] {
            let text = file(settings.clone(), "logstash-pipelines", name);
            grammar::pipeline(&text).unwrap_or_else(|problem| panic!("{name}: {problem}\n{text}"));
        }
    }
    for bad in [
        "input { stdin { } } filter { } output {",
        "input { } filter { a { b => } } output { }",
        "input { } filter { if [a { } } output { }",
    ] {
        assert!(grammar::pipeline(bad).is_err(), "{bad}");
    }
}

#[test]
fn plugins_have_only_options_that_their_manuals_list() {
    let settings = secured();
    let component = Logstash::new().unwrap();
    let here = target();
    let frame = Frame::new(LogstashSettings::DEFAULTS, &component.spec, "9.4.3", &here).unwrap();
    let elasticsearch = Secured { access: &settings.elasticsearch, frame: &frame };
    let all: [Pipeline; 2] =
        [pipelines::documents(&settings, "k:1", &elasticsearch), pipelines::dead_letters("k:1")];
    let mut set = std::collections::BTreeSet::new();
    for (section, plugin) in all.iter().flat_map(Pipeline::plugins) {
        let listed = OPTIONS.iter().find(|(of, name, _)| (*of, *name) == (section, plugin.name));
        let (_, _, listed) = listed.unwrap_or_else(|| panic!("{section} {}", plugin.name));
        for (option, _) in &plugin.options {
            assert!(listed.contains(option), "{section} {} has no {option}", plugin.name);
            set.insert((section, plugin.name, *option));
        }
    }
    let listed: usize = OPTIONS.iter().map(|(_, _, options)| options.len()).sum();
    assert_eq!(set.len(), listed, "an option that is listed is not set: {set:?}");
}

#[test]
fn whose_a_document_is_follows_from_its_topic() {
    let text = file(LogstashSettings::default(), "logstash-pipelines", "documents.conf");
    for part in [
        r#"topics_pattern => "[a-z0-9-]+\.(metrics|logs)\.v1""#,
        r#""[@metadata][kafka][topic]" => "%{[@metadata][environment]}.%{[@metadata][signal]}.%{}""#,
        r#""[data_stream][namespace]" => "%{[@metadata][environment]}""#,
        r#"index => "logs-generic.otel-%{[@metadata][environment]}""#,
        r#"index => "metrics-generic.prometheus-%{[@metadata][environment]}""#,
        r#"document_id => "%{[@metadata][id]}""#,
        r#"topic_id => "%{[@metadata][environment]}.dlq.v1""#,
        r#"bootstrap_servers => "kafka.platform-system.svc:9092""#,
        r#"hosts => ["http://elasticsearch.platform-system.svc:9200"]"#,
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(text.matches("document_id").count(), 1, "samples get their ids from the server");
}

#[test]
fn passwords_are_references() {
    let text = file(secured(), "logstash-pipelines", "documents.conf");
    assert!(text.contains(r#"password => "${LOGSTASH_PASSWORD}""#), "{text}");
    assert!(text.contains("https://") && text.contains("/etc/elasticsearch-certificates/ca.crt"), "{text}");
    let open = LogstashSettings { elasticsearch: ElasticsearchAccess::open(), ..LogstashSettings::default() };
    assert!(!file(open, "logstash-pipelines", "documents.conf").contains("password"));
}

#[test]
fn what_cannot_be_is_refused() {
    let error = |settings: LogstashSettings, size: u32| {
        let storage = Storage::persistent(Quantity::gibibytes(size));
        Logstash::new()
            .unwrap()
            .with_settings(settings)
            .storage(storage)
            .manifests(&target())
            .unwrap_err()
            .to_string()
    };
    let default = LogstashSettings::default;
    assert!(error(default(), 4).contains("does not go into a storage of 4Gi"));
    assert!(
        error(LogstashSettings { consumer_threads: 0, ..default() }, 10).contains("settings.consumerThreads")
    );
    let brokers = Some("kafka:9092\" } output { ".to_owned());
    assert!(error(LogstashSettings { brokers, ..default() }, 10).contains("settings.brokers"));
    let elasticsearch = ElasticsearchAccess::default().url("http://${X}");
    assert!(
        error(LogstashSettings { elasticsearch, ..default() }, 10).contains("settings.elasticsearch.url")
    );
}

/// What the filters of a pipeline do to an event, by their manuals: `dissect`, `mutate` with `replace` and `remove_field`, `fingerprint`, `ruby` with the script of
/// dead letters, and conditions. An event is its fields, and `@metadata` among them, which no output writes.
mod machine {
    use super::*;
    use platform_core::telemetry::document::{METRIC_NAME, Signal};

    pub(super) fn filter(statements: &[Statement], event: &mut Value) {
        for statement in statements {
            match statement {
                Statement::Plugin(plugin) => run(plugin, event),
                Statement::If { branches, otherwise } => {
                    let taken = branches.iter().find(|(condition, _)| holds(condition, event));
                    filter(taken.map_or(otherwise, |(_, then)| then), event);
                }
            }
        }
    }

    /// The output that an event goes to.
    pub(super) fn output<'a>(statements: &'a [Statement], event: &Value) -> &'a Plugin {
        match statements {
            [Statement::Plugin(plugin)] => plugin,
            [Statement::If { branches, otherwise }] => {
                let taken = branches.iter().find(|(condition, _)| holds(condition, event));
                output(taken.map_or(otherwise, |(_, then)| then), event)
            }
            other => panic!("no one output: {other:?}"),
        }
    }

    /// `[a][b]` as a JSON pointer.
    fn pointer(reference: &str) -> String {
        let names = reference.trim_start_matches('[').trim_end_matches(']').split("][");
        names.fold(String::new(), |path, name| path + "/" + &name.replace('/', "~1"))
    }

    /// `%{[a][b]}` in a text.
    pub(super) fn filled(text: &str, event: &Value) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("%{") {
            let (reference, after) = after.split_once('}').unwrap();
            let value =
                event.pointer(&pointer(reference)).unwrap_or_else(|| panic!("no {reference} in {event}"));
            filled.push_str(before);
            filled.push_str(value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str());
            rest = after;
        }
        filled + rest
    }

    fn put(event: &mut Value, reference: &str, value: Value) {
        let mut at = event;
        for name in reference.trim_start_matches('[').trim_end_matches(']').split("][") {
            if !at[name].is_object() && at.get(name).is_none() {
                at[name] = json!({});
            }
            at = &mut at[name];
        }
        *at = value;
    }

    fn run(plugin: &Plugin, event: &mut Value) {
        for (option, setting) in &plugin.options {
            match (plugin.name, *option, setting) {
                ("dissect", "mapping", Setting::Map(map)) => {
                    let [(field, pattern)] = map.as_slice() else { panic!("{map:?}") };
                    let text = event.pointer(&pointer(field)).unwrap().as_str().unwrap().to_owned();
                    let names: Vec<&str> =
                        pattern.split('.').map(|one| one.trim_matches(['%', '{', '}'])).collect();
                    // The last takes what is left.
                    for (name, value) in
                        names.iter().zip(text.splitn(names.len(), '.')).filter(|(name, _)| !name.is_empty())
                    {
                        put(event, name, value.into());
                    }
                }
                ("mutate", "replace", Setting::Map(map)) => {
                    for (field, text) in map {
                        let value = filled(text, event);
                        put(event, field, value.into());
                    }
                }
                ("mutate", "remove_field", Setting::List(names)) => {
                    let Value::Object(fields) = event else { panic!("no event") };
                    for name in names {
                        fields.remove(name);
                    }
                }
                ("fingerprint", "source", Setting::List(sources)) => {
                    let joined: Vec<String> = sources
                        .iter()
                        .map(|source| event.pointer(&pointer(source)).unwrap().to_string())
                        .collect();
                    put(event, "[@metadata][id]", joined.join("|").into());
                }
                ("fingerprint", ..) => {}
                ("ruby", "path", Setting::Text(_)) => {
                    let original = event.get("message").cloned().unwrap_or_else(|| event.to_string().into());
                    let (reason, kafka) =
                        (event["@metadata"]["reason"].clone(), event["@metadata"]["kafka"].clone());
                    let kept = json!({"@metadata": event["@metadata"], "@timestamp": event["@timestamp"]});
                    *event = kept;
                    event["original"] = original;
                    event["reason"] = reason;
                    event["source"] = json!({"topic": kafka["topic"], "partition": kafka["partition"], "offset": kafka["offset"]});
                }
                (name, option, _) => panic!("{name} {option} is not known to this test"),
            }
        }
    }

    /// The conditions that the pipelines have.
    fn holds(condition: &str, event: &Value) -> bool {
        let is_there = |reference: &str| {
            !matches!(event.pointer(&pointer(reference)), None | Some(Value::Null | Value::Bool(false)))
        };
        if let Some((left, right)) = condition.split_once(" and ") {
            return holds(left, event) && holds(right.trim_matches(['(', ')']), event);
        }
        if let Some((left, right)) = condition.split_once(" or ") {
            return holds(left, event) || holds(right, event);
        }
        if let Some((field, text)) = condition.split_once(" == ") {
            return event.pointer(&pointer(field)).and_then(Value::as_str) == Some(text.trim_matches('"'));
        }
        if let Some((text, field)) = condition.split_once(" in ") {
            let found = event.pointer(&pointer(field)).and_then(Value::as_array);
            return found.is_some_and(|list| list.iter().any(|one| one == text.trim_matches('"')));
        }
        match condition.strip_prefix('!') {
            Some(field) => !is_there(field),
            None => is_there(condition),
        }
    }

    /// An event as the input for Kafka with its codec makes it of a message: the fields of the object, `@version`, and where it was read; of what is no object of
    /// JSON, the text as `message` and a tag.
    pub(super) fn read(topic: &str, message: &str) -> Value {
        let mut event: Value = match serde_json::from_str(message) {
            Ok(object @ Value::Object(_)) => object,
            _ => {
                json!({"@timestamp": "2026-01-01T00:00:00.000Z", "message": message, "tags": ["_jsonparsefailure"]})
            }
        };
        event["@version"] = "1".into();
        event["@metadata"] = json!({"kafka": {"topic": topic, "partition": 3, "offset": 41}});
        event
    }

    #[test]
    fn references_are_looked_up() {
        let mut event = json!({"labels": {METRIC_NAME: "up"}});
        put(&mut event, "[@metadata][signal]", Signal::Metrics.as_str().into());
        assert!(holds("[@metadata][signal] == \"metrics\" and (![labels][x] or ![metrics])", &event));
        assert!(!holds("![labels][__name__]", &event));
        assert_eq!(filled("a-%{[labels][__name__]}-%{[@metadata][signal]}", &event), "a-up-metrics");
    }
}

fn pipeline() -> Pipeline {
    let settings = LogstashSettings::default();
    let component = Logstash::new().unwrap();
    let here = target();
    let frame = Frame::new(LogstashSettings::DEFAULTS, &component.spec, "9.4.3", &here).unwrap();
    pipelines::documents(&settings, "k:1", &Secured { access: &settings.elasticsearch, frame: &frame })
}

#[test]
fn a_document_goes_through_as_it_came_and_what_is_none_becomes_a_dead_letter() {
    use platform_core::{
        clock::Timestamp,
        telemetry::{
            Labels, LogRecord, MetricKind, Sample, Severity,
            document::{self, Signal, Topic},
        },
    };
    let pipeline = pipeline();
    let run = |topic: &str, message: &str| {
        let mut event = machine::read(topic, message);
        machine::filter(&pipeline.filter, &mut event);
        let output = machine::output(&pipeline.output, &event);
        let option = |name: &str| {
            let found = output.options.iter().find(|(option, _)| *option == name)?;
            let Setting::Text(text) = &found.1 else { panic!("{name} is no text") };
            Some(machine::filled(text, &event))
        };
        let places = [option("index"), option("document_id"), option("topic_id")];
        event.as_object_mut().unwrap().remove("@metadata");
        (output.name, places, event)
    };
    let labels = [
        ("environment", "testing"),
        ("cluster", "c"),
        ("pod", "api1-7d"),
        ("k8s.odd", "a.b"),
        ("trace_id", "0af7"),
    ];
    let log = document::log(
        &LogRecord {
            timestamp: Timestamp::from_millis(1_764_108_000_123),
            severity: Severity::Warn,
            body: "%{[body]} and \"quotes\"\n".into(),
            labels: labels.into_iter().collect(),
        },
        "shared",
    );
    let metric = document::metric(
        &Sample {
            metric: "node_load1".into(),
            labels: Labels::from_iter([("environment", "testing"), ("job", "node-exporter")]),
            timestamp: Timestamp::from_millis(1_764_108_000_123),
            value: 1.62,
            kind: MetricKind::Gauge,
        },
        "shared",
    )
    .unwrap();
    for (signal, document) in [(Signal::Logs, &log), (Signal::Metrics, &metric)] {
        let (output, [index, id, _], stored) = run(&Topic::of(signal).name("testing"), &document.to_string());
        assert_eq!((output, &stored), ("elasticsearch", document), "the same by field");
        assert_eq!(index.unwrap(), document::data_stream(signal, "testing"));
        // A line's id is where it was read; a sample's is made of itself by the server.
        assert_eq!(id.is_some(), signal == Signal::Logs);
        document::check(signal, &stored).unwrap();
        // Whatever a document says of itself, it goes where its topic says.
        let (_, [index, ..], stored) = run(&Topic::of(signal).name("production"), &document.to_string());
        assert_eq!(stored["data_stream"]["namespace"], "production");
        assert_eq!(index.unwrap(), document::data_stream(signal, "production"));
    }
    let wrong = log.to_string();
    for (topic, message, reason) in [
        ("testing.logs.v1", "no json", "it is not JSON"),
        (
            "testing.logs.v1",
            "{\"@timestamp\":\"2026-01-01T00:00:00.000Z\"}",
            "it has not the fields of a log record",
        ),
        ("testing.metrics.v1", wrong.as_str(), "it has not the fields of a sample"),
    ] {
        let (output, [_, _, topic], letter) = run(topic, message);
        assert_eq!((output, topic.as_deref()), ("kafka", Some("testing.dlq.v1")));
        assert_eq!(letter["reason"], reason);
        assert_eq!(letter["source"]["offset"], 41);
        assert!(letter["original"].as_str().is_some_and(|original| !original.is_empty()));
    }
}

use super::{syntax::Pipeline, *};
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

use super::*;
use crate::{ErrorKind, name::ClusterName};
use secrecy::ExposeSecret;
use std::time::Duration;

fn agent() -> AgentSettings {
    AgentSettings::new(ClusterName::new("shop-testing").unwrap(), "kafka-0:9092,[::1]:9093")
}

fn ingester() -> IngesterSettings {
    IngesterSettings::new("kafka:9092", "http://elasticsearch:9200")
}

#[test]
fn what_is_written_is_read_back() {
    let mut full = agent();
    full.environment = Some("testing".try_into().unwrap());
    full.environments = vec!["testing".try_into().unwrap()];
    full.tail.exclude = vec!["/var/log/containers/noisy-*.log".to_owned()];
    full.spool.when_full = WhenFull::DropOldest;
    full.kafka.compression = Compression::Zstd;
    for rule in [
        MultilineRule::StackTraces,
        MultilineRule::Start("^\\d{4}-\"': #".to_owned()),
        MultilineRule::Continuation("^\\s+".to_owned()),
    ] {
        full.tail.multiline = Some(Multiline::new(rule).flush_after(Duration::from_millis(1500)));
        assert_eq!(AgentSettings::from_yaml(&full.to_yaml().unwrap()).unwrap(), full);
    }
    assert_eq!(AgentSettings::from_yaml(&agent().to_yaml().unwrap()).unwrap(), agent());

    let mut full = ingester();
    full.environments = vec!["testing".try_into().unwrap(), "shared".try_into().unwrap()];
    full.elasticsearch.user = Some("platform_ingester".to_owned());
    full.elasticsearch.password = Some(SecretSource::File("/etc/secret/password".into()));
    full.dead_letters = Some("all.dlq.v1".to_owned());
    assert_eq!(IngesterSettings::from_yaml(&full.to_yaml().unwrap()).unwrap(), full);
    full.elasticsearch.password = Some(SecretSource::Env("PASSWORD".to_owned()));
    assert_eq!(IngesterSettings::from_yaml(&full.to_yaml().unwrap()).unwrap(), full);
}

#[test]
fn a_file_says_what_it_is_by_its_ending_and_errors_name_it() {
    let folder = std::env::temp_dir().join(format!("platform-settings-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("agent.toml");
    std::fs::write(&file, "cluster = 'c'\n[kafka]\nbootstrapServers = 'k:1'\n[scrape]\ninterval = '1m'\n")
        .unwrap();
    assert_eq!(AgentSettings::from_file(&file).unwrap().scrape.interval, Duration::from_secs(60));
    std::fs::write(&file, "cluster = 'c'\n[kafka]\nbootstrapServers = 'k:1'\nsize = 1\n").unwrap();
    let error = AgentSettings::from_file(&file).unwrap_err().to_string();
    assert!(error.contains("agent.toml") && error.contains("kafka.size: unknown field"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(AgentSettings::from_file(&file).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_path() {
    let agent_error = |change: fn(&mut AgentSettings)| {
        let mut settings = agent();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    };
    for (change, path) in [
        (
            (|s| s.kafka.bootstrap_servers = "kafka".to_owned()) as fn(&mut AgentSettings),
            "kafka.bootstrapServers",
        ),
        (|s| s.kafka.bootstrap_servers = "a:1,,b:2".to_owned(), "kafka.bootstrapServers"),
        (|s| s.tail.paths = vec!["*.log".to_owned()], "tail.paths"),
        (|s| s.tail.max_line_bytes = 0, "tail.maxLineBytes"),
        (|s| s.tail.multiline = Some(Multiline::new(MultilineRule::Start("(".into()))), "tail.multiline"),
        (|s| s.tail.multiline = Some(Multiline::new(MultilineRule::Continuation("a*".into()))), "every line"),
        (|s| s.tail.multiline = Some(Multiline::stack_traces().max_bytes(0)), "maxBytes"),
        (|s| s.tail.multiline = Some(Multiline::stack_traces().flush_after(Duration::ZERO)), "flushAfter"),
        (|s| s.scrape.interval = Duration::ZERO, "scrape.interval"),
        (|s| s.spool.max_bytes = 1024, "spool.maxBytes"),
        (
            |s| {
                s.tail.paths.clear();
                s.scrape.enabled = false;
            },
            "reads nothing",
        ),
        (
            |s| {
                s.environment = Some("testing".try_into().unwrap());
                s.environments = vec!["production".try_into().unwrap()];
            },
            "environment: ",
        ),
    ] {
        let error = agent_error(change);
        assert!(error.contains(path), "{path}: {error}");
    }
    let ingester_error = |change: fn(&mut IngesterSettings)| {
        let mut settings = ingester();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    };
    for (change, path) in [
        ((|s| s.kafka.group = "a b".to_owned()) as fn(&mut IngesterSettings), "kafka.group"),
        (|s| s.elasticsearch.url = "elasticsearch:9200".to_owned(), "elasticsearch.url"),
        (|s| s.elasticsearch.url = "http:///x".to_owned(), "elasticsearch.url"),
        (|s| s.elasticsearch.user = Some("me".to_owned()), "come together"),
        (|s| s.batch.max_bytes = 1 << 30, "batch.maxBytes"),
        (|s| s.batch.max_wait = Duration::ZERO, "batch.maxWait"),
        (|s| s.concurrency = 0, "concurrency"),
        (|s| s.dead_letters = Some("testing.logs.v1".to_owned()), "deadLetters"),
    ] {
        let error = ingester_error(change);
        assert!(error.contains(path), "{path}: {error}");
    }
    let secret = ingester_error(|s| s.elasticsearch.url = "http://me:pass@host:1".to_owned());
    assert!(secret.contains("must hold no password") && !secret.contains("pass@"), "{secret}");
}

#[test]
fn topics_are_those_of_the_environments_or_of_all() {
    assert_eq!(ingester().topics(), ["^[a-z0-9-]+\\.(metrics|logs)\\.v1$"]);
    let mut some = ingester();
    some.environments = vec!["testing".try_into().unwrap()];
    assert_eq!(some.topics(), ["testing.metrics.v1", "testing.logs.v1"]);
    assert_eq!(some.dead_letters("testing"), "testing.dlq.v1");
    some.dead_letters = Some("all".to_owned());
    assert_eq!(some.dead_letters("testing"), "all");
    assert_eq!(agent().otherwise(), "shared");
}

#[test]
fn a_secret_is_read_where_it_is_and_named_where_it_is_not() {
    let folder = std::env::temp_dir().join(format!("platform-secret-{}", std::process::id()));
    std::fs::write(&folder, "hunter2\n").unwrap();
    let source = SecretSource::File(folder.clone());
    assert_eq!(source.read().unwrap().expose_secret(), "hunter2");
    std::fs::write(&folder, "\n").unwrap();
    assert_eq!(source.read().unwrap_err().kind(), ErrorKind::Invalid);
    std::fs::remove_file(&folder).unwrap();
    assert_eq!(source.read().unwrap_err().kind(), ErrorKind::NotFound);
    let error = SecretSource::Env("PLATFORM_NO_SUCH_SECRET".to_owned()).read().unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("PLATFORM_NO_SUCH_SECRET"));
}

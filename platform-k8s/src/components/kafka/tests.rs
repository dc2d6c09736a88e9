use super::*;
use platform_core::{
    cluster::ClusterRole,
    component::{Component, ComponentTarget},
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

fn brokers(settings: &KafkaSettings, replicas: u32) -> Brokers<'_> {
    Brokers { settings, replicas, pods: "kafka", domain: "kafka-brokers.platform-system.svc" }
}

fn environments() -> Vec<EnvironmentName> {
    ["testing", "production"].map(|name| EnvironmentName::new(name).unwrap()).to_vec()
}

#[test]
fn one_broker_holds_everything_and_three_hold_it_thrice() {
    let settings = KafkaSettings::default();
    let one = brokers(&settings, 1).properties();
    assert!(
        one.contains("controller.quorum.voters=0@kafka-0.kafka-brokers.platform-system.svc:9093\n"),
        "{one}"
    );
    assert!(
        one.contains("default.replication.factor=1\n") && one.contains("min.insync.replicas=1\n"),
        "{one}"
    );
    let three = brokers(&settings, 3).properties();
    assert!(three.contains("2@kafka-2.kafka-brokers.platform-system.svc:9093\n"), "{three}");
    assert!(three.contains("offsets.topic.replication.factor=3\n"), "{three}");
    assert!(three.contains("transaction.state.log.min.isr=2\n"), "{three}");
    for line in three.lines() {
        assert!(
            line.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty()),
            "{line}"
        );
    }
}

#[test]
fn every_environment_has_its_topics_and_what_belongs_to_none() {
    let settings = KafkaSettings {
        partitions: 3,
        retention_hours: 24,
        ..KafkaSettings::for_environments(environments())
    };
    let topics = brokers(&settings, 3).topics(&target());
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names.len(), 12);
    for name in ["testing.metrics.v1", "production.dlq.v1", "control-plane.logs.v1", "shared.metrics.v1"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let of = |name: &str| topics.iter().find(|topic| topic.name == name).unwrap();
    let logs = of("testing.logs.v1");
    assert_eq!(
        (logs.partitions, logs.replication, logs.configuration["retention.ms"].as_str()),
        (3, 3, "86400000")
    );
    assert_eq!(of("testing.dlq.v1").configuration["retention.ms"], "1209600000");
}

#[test]
fn the_same_platform_is_the_same_cluster() {
    let id = cluster_id(&target());
    assert_eq!((id.len(), id == cluster_id(&target())), (22, true));
    assert!(
        id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) && !id.starts_with('-')
    );
    let mut other = target();
    other.cluster = ClusterName::new("shop-other").unwrap();
    assert_ne!(id, cluster_id(&other));
}

#[test]
fn another_set_of_topics_is_another_job() {
    let job = |settings: KafkaSettings| {
        let objects = Kafka::new().unwrap().with_settings(settings).manifests(&target()).unwrap();
        let jobs: Vec<_> =
            objects.iter().filter(|object| object.reference().kind == "Job").cloned().collect();
        assert_eq!(jobs.len(), 1);
        let label =
            jobs[0].object().pointer("/spec/template/metadata/labels/app.kubernetes.io~1name").cloned();
        assert_eq!(label, Some("kafka-topics".into()), "no Service leads to the Job's pod");
        jobs[0].reference().name.clone()
    };
    let before = job(KafkaSettings::default());
    assert_eq!(before, job(KafkaSettings::default()));
    assert_ne!(before, job(KafkaSettings::for_environments(environments())));
}

#[test]
fn brokers_are_found_from_outside_behind_ports_of_their_own() {
    let external = External { host: "203.0.113.7".into(), port: 30090 };
    let settings = KafkaSettings { external: Some(external), ..KafkaSettings::default() };
    let script = brokers(&settings, 3).start_script("AAAAAAAAAAAAAAAAAAAAAA");
    assert!(script.contains("EXTERNAL://203.0.113.7:$((30090 + number))"), "{script}");
    let kafka = Kafka::new().unwrap().replicas(3).with_settings(settings.clone());
    let ports: Vec<_> = kafka
        .manifests(&target())
        .unwrap()
        .iter()
        .filter_map(|object| object.object().pointer("/spec/ports/0/nodePort").cloned())
        .collect();
    assert_eq!(ports, [30090, 30091, 30092]);
    for (host, port, problem) in
        [("a b", 30090, "no name or address"), ("", 1, "no name"), ("h", 65535, "no 3 ports")]
    {
        let external = Some(External { host: host.into(), port });
        let error = Kafka::new()
            .unwrap()
            .replicas(3)
            .with_settings(KafkaSettings { external, ..KafkaSettings::default() })
            .manifests(&target())
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn what_is_no_quorum_is_refused() {
    for replicas in [0, 2] {
        let error = Kafka::new().unwrap().replicas(replicas).manifests(&target()).unwrap_err().to_string();
        assert!(error.contains("no quorum"), "{error}");
    }
    let settings = KafkaSettings { partitions: 0, ..KafkaSettings::default() };
    let error = Kafka::new().unwrap().with_settings(settings).manifests(&target()).unwrap_err().to_string();
    assert!(error.contains("settings.partitions"), "{error}");
}

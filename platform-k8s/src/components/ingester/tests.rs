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

fn rendered(settings: PlatformIngesterSettings) -> Result<Vec<Value>> {
    let manifests = PlatformIngester::new()?.with_settings(settings).manifests(&target())?;
    Ok(manifests.into_iter().map(platform_core::manifest::Manifest::into_object).collect())
}

fn read(objects: &[Value]) -> IngesterSettings {
    let file = objects.iter().find(|one| one["kind"] == "ConfigMap").unwrap();
    IngesterSettings::from_yaml(file["data"][FILE].as_str().unwrap()).unwrap()
}

fn container(objects: &[Value]) -> &Value {
    let deployment = objects.iter().find(|one| one["kind"] == "Deployment").unwrap();
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn its_program_reads_what_is_written_for_it() {
    let objects = rendered(PlatformIngesterSettings::default()).unwrap();
    let settings = read(&objects);
    assert_eq!(settings.kafka.bootstrap_servers, "kafka.platform-system.svc:9092");
    assert_eq!(settings.elasticsearch.url, "http://elasticsearch.platform-system.svc:9200");
    assert_eq!(settings.elasticsearch.user.as_deref(), Some("platform_ingester"));
    // The variable that the settings name is the one that the Secret's key is in.
    let Some(SecretSource::Env(variable)) = &settings.elasticsearch.password else { panic!("no variable") };
    let env = &container(&objects)["env"][0];
    assert_eq!(
        (&env["name"], &env["valueFrom"]["secretKeyRef"]["key"]),
        (&json!(variable), &json!("ingester"))
    );

    let full = PlatformIngesterSettings {
        environments: vec!["testing".try_into().unwrap()],
        elasticsearch: ElasticsearchAccess {
            certificate_secret: Some("tls".into()),
            ..ElasticsearchAccess::default()
        },
        batch_mebibytes: 16,
        batch_wait: Duration::from_millis(250),
        concurrency: 9,
        dead_letters: Some("dead".into()),
        ..PlatformIngesterSettings::default()
    };
    let objects = rendered(full).unwrap();
    let settings = read(&objects);
    assert_eq!((settings.batch.max_bytes, settings.concurrency), (16 << 20, 9));
    assert_eq!((settings.topics().len(), settings.dead_letters("testing")), (2, "dead".to_owned()));
    let certificate = settings.elasticsearch.certificate.unwrap();
    let mounts = container(&objects)["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| certificate.starts_with(mount["mountPath"].as_str().unwrap())));
    assert!(settings.elasticsearch.url.starts_with("https://"));

    let open = PlatformIngesterSettings { elasticsearch: ElasticsearchAccess::open(), ..Default::default() };
    let objects = rendered(open).unwrap();
    assert_eq!((read(&objects).elasticsearch.user, container(&objects).get("env")), (None, None));
}

#[test]
fn what_its_program_would_refuse_is_refused_before() {
    let error = |settings| rendered(settings).unwrap_err().to_string();
    let default = PlatformIngesterSettings::default;
    for (settings, path) in [
        (PlatformIngesterSettings { brokers: Some("kafka".into()), ..default() }, "kafka.bootstrapServers"),
        (PlatformIngesterSettings { batch_mebibytes: 65, ..default() }, "batch.maxBytes"),
        (PlatformIngesterSettings { batch_wait: Duration::ZERO, ..default() }, "batch.maxWait"),
        (PlatformIngesterSettings { concurrency: 0, ..default() }, "concurrency"),
        (PlatformIngesterSettings { dead_letters: Some("x.logs.v1".into()), ..default() }, "deadLetters"),
        (
            PlatformIngesterSettings {
                elasticsearch: ElasticsearchAccess::default().url("elasticsearch:9200"),
                ..default()
            },
            "elasticsearch.url",
        ),
    ] {
        let told = error(settings);
        assert!(told.contains(path), "{path}: {told}");
    }
}

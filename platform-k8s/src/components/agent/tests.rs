use super::*;
use platform_core::{
    cluster::ClusterRole,
    component::{Component, ComponentTarget},
    name::{ClusterName, Namespace, PlatformName},
    telemetry::settings::MultilineRule,
};
use serde_json::json;

fn target(environments: &[&str]) -> ComponentTarget {
    let role = match environments {
        [] => ClusterRole::ControlPlane,
        some => ClusterRole::Environments(some.iter().map(|name| (*name).try_into().unwrap()).collect()),
    };
    ComponentTarget::new(
        PlatformName::new("shop").unwrap(),
        ClusterName::new("shop-testing").unwrap(),
        role,
        Namespace::new("platform-system").unwrap(),
    )
}

fn rendered(settings: PlatformAgentSettings, environments: &[&str]) -> Vec<Value> {
    let agent = PlatformAgent::new().unwrap().with_settings(settings);
    let manifests = agent.manifests(&target(environments)).unwrap();
    manifests.into_iter().map(platform_core::manifest::Manifest::into_object).collect()
}

fn read(objects: &[Value]) -> AgentSettings {
    let file = objects.iter().find(|one| one["kind"] == "ConfigMap").unwrap();
    AgentSettings::from_yaml(file["data"][FILE].as_str().unwrap()).unwrap()
}

fn error(settings: PlatformAgentSettings) -> String {
    let agent = PlatformAgent::new().unwrap().with_settings(settings);
    agent.manifests(&target(&["testing"])).unwrap_err().to_string()
}

#[test]
fn its_program_reads_what_is_written_for_it() {
    let mut settings = PlatformAgentSettings::to_brokers("203.0.113.7:30090");
    settings.multiline = Some(Multiline::new(MultilineRule::Start("^\\[\\d+\\] \"'#: ".to_owned())));
    settings.exclude = vec!["/var/log/containers/noisy-*.log".to_owned()];
    settings.when_full = WhenFull::DropOldest;
    settings.buffer_mebibytes = 64;
    let of_two = read(&rendered(settings.clone(), &["testing", "production"]));
    assert_eq!(of_two.tail.multiline, settings.multiline);
    assert_eq!((of_two.spool.max_bytes, of_two.spool.when_full), (64 << 20, WhenFull::DropOldest));
    assert_eq!((of_two.environment.as_ref(), of_two.otherwise()), (None, "shared"));
    assert_eq!(of_two.environments.len(), 2);
    let of_one = read(&rendered(settings, &["testing"]));
    assert_eq!(
        (of_one.environment.unwrap(), of_one.kafka.bootstrap_servers),
        ("testing".try_into().unwrap(), "203.0.113.7:30090".to_owned())
    );
    let of_control_plane = read(&rendered(PlatformAgentSettings::default(), &[]));
    assert_eq!(of_control_plane.otherwise(), "control-plane");
    assert_eq!(of_control_plane.kafka.bootstrap_servers, "kafka.platform-system.svc:9092");
}

#[test]
fn it_may_read_what_it_needs_and_no_more() {
    let objects = rendered(PlatformAgentSettings::to_brokers("k:1"), &["testing"]);
    let role = objects.iter().find(|one| one["kind"] == "ClusterRole").unwrap();
    let watched =
        json!([{"apiGroups": [""], "resources": ["namespaces", "pods"], "verbs": ["get", "list", "watch"]}]);
    assert_eq!(role["rules"], watched);
    let pod = &objects.iter().find(|one| one["kind"] == "DaemonSet").unwrap()["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts.iter().find(|mount| mount["name"] == "logs").unwrap()["readOnly"], true);
    let settings = read(&objects);
    for (file, mount) in [(&settings.spool.directory, "state"), (&settings.tail.checkpoint, "state")] {
        let path = mounts.iter().find(|one| one["name"] == mount).unwrap()["mountPath"].as_str().unwrap();
        assert!(file.starts_with(path), "{} is on the node", file.display());
    }
    assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], settings.listen.port().to_string());
    assert_eq!(container["env"][0]["name"], NODE_VARIABLE);
}

#[test]
fn what_its_program_would_refuse_is_refused_before() {
    let to_brokers = || PlatformAgentSettings::to_brokers("k:1");
    let told = error(PlatformAgentSettings::default());
    assert!(told.contains("shop-testing has no Kafka") && told.contains("settings.external"), "{told}");
    assert!(error(PlatformAgentSettings::to_brokers("a b:1")).contains("settings.brokers"));
    assert!(error(PlatformAgentSettings::to_brokers("kafka")).contains("kafka.bootstrapServers"));
    assert!(error(PlatformAgentSettings { buffer_mebibytes: 1, ..to_brokers() }).contains("spool.maxBytes"));
    let multiline = Some(Multiline::new(MultilineRule::Start("(".to_owned())));
    assert!(error(PlatformAgentSettings { multiline, ..to_brokers() }).contains("tail.multiline"));
}

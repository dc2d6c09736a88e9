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

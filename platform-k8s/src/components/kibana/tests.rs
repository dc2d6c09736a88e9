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

fn file(kibana: &Kibana, map: &str, name: &str) -> String {
    let manifests = kibana.manifests(&target()).unwrap();
    let found =
        manifests.iter().find(|m| m.reference().kind == "ConfigMap" && m.reference().name == map).unwrap();
    found.object()["data"][name].as_str().unwrap().to_owned()
}

#[test]
fn secrets_are_references() {
    let kibana = Kibana::new().unwrap();
    let configuration = file(&kibana, "kibana", "kibana.yml");
    for part in [
        "${ELASTICSEARCH_PASSWORD}",
        "${SECURITY_KEY}",
        "kibana_system",
        "http://elasticsearch.platform-system.svc:9200",
    ] {
        assert!(configuration.contains(part), "{part}: {configuration}");
    }
    let text: String = kibana.manifests(&target()).unwrap().iter().map(|m| m.object().to_string()).collect();
    assert!(text.contains(r#""secretKeyRef":{"key":"saved-objects","name":"kibana-keys"}"#), "{text}");
    assert!(!text.contains(r#""kind":"Secret""#));
}

#[test]
fn other_dashboards_are_imported_by_another_job() {
    let job = |dashboards: Vec<Dashboard>| {
        let kibana =
            Kibana::new().unwrap().with_settings(KibanaSettings { dashboards, ..KibanaSettings::default() });
        let manifests = kibana.manifests(&target()).unwrap();
        let job = manifests.iter().find(|m| m.reference().kind == "Job").unwrap();
        job.reference().name.clone()
    };
    let dashboard = Dashboard::new("mine", "Mine");
    assert_eq!(job(vec![dashboard.clone()]), job(vec![dashboard.clone()]));
    assert_ne!(job(vec![dashboard.clone()]), job(vec![Dashboard::new("mine", "Mine, changed")]));
    let kibana = Kibana::new()
        .unwrap()
        .with_settings(KibanaSettings { dashboards: vec![dashboard], ..KibanaSettings::default() });
    let lines = file(&kibana, "kibana-dashboards", DASHBOARDS_FILE);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert!(lines.contains(r#""id":"mine""#), "{lines}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let settings = KibanaSettings { public_url: Some("kibana\"".into()), ..KibanaSettings::default() };
    let error = Kibana::new().unwrap().with_settings(settings).manifests(&target()).unwrap_err().to_string();
    assert!(error.contains("settings.publicUrl"), "{error}");
}

//! What holds for every component of the catalogue.

use super::*;
use platform_core::{
    Image, ImageOverrides, Quantity,
    application::Resources,
    cluster::ClusterRole,
    component::{ComponentScope, ComponentTarget, Storage},
    manifest::Manifest,
    name::{ClusterName, ComponentName, Namespace, PlatformName},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn spec(name: &str) -> ComponentSpec {
    ComponentSpec::new(ComponentName::new(name).unwrap())
}

fn target() -> ComponentTarget {
    ComponentTarget::new(
        PlatformName::new("shop").unwrap(),
        ClusterName::new("shop-testing").unwrap(),
        ClusterRole::ControlPlane,
        Namespace::new("platform-system").unwrap(),
    )
}

fn objects(component: &dyn Component, target: &ComponentTarget) -> Vec<Value> {
    let manifests = component.manifests(target).unwrap();
    manifests.into_iter().map(Manifest::into_object).collect()
}

fn text(component: &dyn Component, target: &ComponentTarget) -> String {
    objects(component, target).iter().map(Value::to_string).collect()
}

/// The pod templates of a component's workloads.
fn pods(component: &dyn Component) -> Vec<Value> {
    let objects = objects(component, &target());
    objects.iter().filter_map(|object| object.pointer("/spec/template")).cloned().collect()
}

fn containers(pod: &Value) -> Vec<&Value> {
    ["initContainers", "containers"]
        .iter()
        .filter_map(|list| pod["spec"][list].as_array())
        .flatten()
        .collect()
}

#[test]
fn every_entry_is_found_by_its_name_and_renders() {
    assert!(names().is_sorted());
    for name in names() {
        let component = find(&spec(name)).unwrap();
        assert_eq!(*component.name(), name);
        assert!(text(&*component, &target()).contains(component.version()));
        assert!(!pods(&*component).is_empty(), "{name}");
    }
    let error = find(&spec("apache")).unwrap_err().to_string();
    assert!(error.contains("node-exporter") && error.contains("kube-state-metrics"), "{error}");
}

#[test]
fn containers_have_unique_names_and_no_more_rights_than_they_need() {
    let mut seen = BTreeSet::new();
    for entry in CATALOGUE {
        for container in entry.defaults.containers {
            assert!(seen.insert(container.name), "{} is there twice", container.name);
            container.image(entry.defaults.version).unwrap();
            container.resources().unwrap();
        }
        let component = find(&spec(entry.defaults.name)).unwrap();
        for pod in pods(&*component) {
            // The files of the nodes' logs are root's.
            let nobody: Value = (entry.defaults.name != "fluent-bit").then_some(true).into();
            assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], nobody, "{}", entry.defaults.name);
            for container in containers(&pod) {
                let name = container["name"].as_str().unwrap();
                assert!(entry.defaults.container(name).is_ok(), "{name}");
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{name}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
            }
        }
    }
}

#[test]
fn every_workload_says_when_it_is_ready() {
    for name in names() {
        // What a Job does is done when it ends.
        let pods = pods(&*find(&spec(name)).unwrap());
        for pod in pods.iter().filter(|pod| pod["spec"]["restartPolicy"] != "Never") {
            let containers = pod["spec"]["containers"].as_array().unwrap();
            assert!(containers.iter().all(|one| one["readinessProbe"].is_object()), "{name}");
        }
    }
}

#[test]
fn version_images_and_mirror_are_overridable() {
    let image = |name: &str| Image::parse(name).unwrap();
    let mirror = ImageOverrides::default().mirror("mirror.example.com:5000/hub");
    let mirrored = target().images(mirror.clone());
    let mut versioned = spec("node-exporter");
    versioned.version = Some("v1.8.2".into());
    let component = find(&versioned).unwrap();
    assert_eq!(component.version(), "1.8.2");
    assert!(
        text(&*component, &mirrored)
            .contains("\"mirror.example.com:5000/hub/prometheus/node-exporter:v1.8.2\"")
    );
    let named = target().images(mirror.image("node-exporter", image("local/ne:dev")));
    assert!(text(&*component, &named).contains("\"local/ne:dev\""));

    let mut imaged = spec("node-exporter");
    imaged.images.insert("node-exporter".into(), image("own.example.com/ne:7"));
    assert!(text(&*find(&imaged).unwrap(), &named).contains("\"own.example.com/ne:7\""));

    let mut wrong = spec("node-exporter");
    wrong.images.insert("sidecar".into(), image("a"));
    assert!(find(&wrong).unwrap_err().to_string().contains("no container \"sidecar\""));
    versioned.version = Some("latest".into());
    assert!(find(&versioned).unwrap_err().to_string().contains("MAJOR.MINOR.PATCH"));
    let nowhere = target().images(ImageOverrides::default().mirror("not a host"));
    assert!(component.manifests(&nowhere).is_err());
}

#[test]
fn setters_and_documents_say_the_same() {
    let resources = Resources::new(Quantity::millicores(5), Quantity::mebibytes(32));
    let built = NodeExporter::new()
        .unwrap()
        .at_version("1.8.2")
        .in_scope(ComponentScope::Environments)
        .resources("node-exporter", resources);
    let document = json!({
        "name": "node-exporter", "version": "1.8.2", "scope": "environments",
        "resources": {"node-exporter": {"cpu": "5m", "memory": "32Mi"}},
    });
    let read = find(&serde_json::from_value(document).unwrap()).unwrap();
    assert_eq!(read.scope(), built.scope());
    assert_eq!(objects(&built, &target()), objects(&*read, &target()));
    let pod = &pods(&built)[0];
    let wanted = json!({"requests": {"cpu": "5m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}});
    assert_eq!(containers(pod)[0]["resources"], wanted);
}

#[test]
fn what_a_component_cannot_be_told_is_refused_with_its_path() {
    let told = |document: Value| {
        let spec: ComponentSpec = serde_json::from_value(document).unwrap();
        find(&spec).unwrap_err().to_string()
    };
    let error = told(json!({"name": "node-exporter", "settings": {"port": 1}}));
    assert!(error.starts_with("component node-exporter: settings.port: unknown field `port`"), "{error}");
    let error = told(json!({"name": "node-exporter", "replicas": 2}));
    assert_eq!(error, "component node-exporter: replicas: their number cannot be chosen");
    let error = told(json!({"name": "node-exporter", "storage": {"size": "1Gi"}}));
    assert_eq!(error, "component node-exporter: storage: it has no data");
    let error = told(json!({
        "name": "node-exporter", "resources": {"node-exporter": {"memory": "64Mi", "memoryLimit": "32Mi"}},
    }));
    assert!(
        error.contains("resources.node-exporter: the limit 32Mi is less than the 64Mi requested"),
        "{error}"
    );

    let storage = NodeExporter::new().unwrap().storage(Storage::ephemeral());
    let error = storage.manifests(&target()).unwrap_err().to_string();
    assert_eq!(error, "component node-exporter: storage: it has no data");
}

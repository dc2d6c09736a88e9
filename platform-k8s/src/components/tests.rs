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
            let reads_logs = ["fluent-bit", "platform-agent"].contains(&entry.defaults.name);
            let nobody: Value = (!reads_logs).then_some(true).into();
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

/// The object of a kind and name.
fn object(objects: &[Value], kind: &str, name: &str) -> Value {
    let found = objects.iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}")).clone()
}

#[test]
fn a_changed_configuration_makes_new_pods_and_nothing_else_does() {
    let checksum = |prometheus: &Prometheus| {
        pods(prometheus)[0]["metadata"]["annotations"][crate::labels::CONFIGURATION]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let plain = Prometheus::new().unwrap();
    assert_eq!(checksum(&plain), checksum(&plain.clone().replicas(2)));
    let ruled = plain.clone().rule(&platform_core::alert::AlertRule::high_cpu(80.0));
    assert_ne!(checksum(&plain), checksum(&ruled));
}

#[test]
fn data_is_where_it_is_wanted() {
    let volumes = |storage: Option<Storage>| {
        let mut prometheus = Prometheus::new().unwrap();
        if let Some(storage) = storage {
            prometheus = prometheus.storage(storage);
        }
        let stateful_set = object(&objects(&prometheus, &target()), "StatefulSet", "prometheus");
        let volumes = stateful_set["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
        let data = volumes.iter().find(|volume| volume["name"] == "data").cloned();
        let args = stateful_set["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
        (stateful_set["spec"]["volumeClaimTemplates"][0]["spec"].clone(), data, args)
    };
    let (claim, data, args) = volumes(None);
    assert_eq!((&claim["resources"]["requests"]["storage"], data), (&json!("10Gi"), None));
    assert!(claim.get("storageClassName").is_none() && args.contains("retention.size=8192MB"), "{args}");
    let (claim, ..) = volumes(Some(Storage::persistent(Quantity::gibibytes(2)).class("fast")));
    assert_eq!(
        (&claim["resources"]["requests"]["storage"], &claim["storageClassName"]),
        (&json!("2Gi"), &json!("fast"))
    );
    let (claim, data, _) = volumes(Some(Storage::ephemeral().size(Quantity::gibibytes(1))));
    assert_eq!((claim, data.unwrap()["emptyDir"].clone()), (Value::Null, json!({"sizeLimit": "1Gi"})));
}

#[test]
fn secrets_are_named_and_mounted_and_nowhere_else() {
    let alertmanager = Alertmanager::new()
        .unwrap()
        .receiver(
            Receiver::new("team").slack(SlackReceiver::new(SecretKey::new("slack.hooks", "url"), "#alerts")),
        )
        .receiver(
            Receiver::new("on-call").email(
                EmailReceiver::new("a@example.com", "b@example.com", "mail.example.com:587")
                    .login("b", SecretKey::new("mail", "password")),
            ),
        )
        .route("on-call", [("severity", "critical")]);
    let rendered = objects(&alertmanager, &target());
    let file = object(&rendered, "ConfigMap", "alertmanager")["data"]["alertmanager.yml"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(file.contains("/etc/alertmanager/secrets/slack.hooks/url"), "{file}");
    assert!(file.contains("/etc/alertmanager/secrets/mail/password"), "{file}");
    let pod = &pods(&alertmanager)[0];
    let text = pod.to_string();
    assert!(
        text.contains(r#""secretName":"slack.hooks""#) && text.contains(r#""secretName":"mail""#),
        "{text}"
    );

    let unknown = Alertmanager::new().unwrap().route("nobody-knows", [("a", "b")]);
    let error = unknown.manifests(&target()).unwrap_err().to_string();
    assert!(error.contains("settings.routes[0].receiver: there is no receiver \"nobody-knows\""), "{error}");
}

#[test]
fn replicas_find_each_other_and_are_evicted_one_by_one() {
    let three = objects(&Alertmanager::new().unwrap().replicas(3), &target());
    let args =
        object(&three, "StatefulSet", "alertmanager")["spec"]["template"]["spec"]["containers"][0]["args"]
            .to_string();
    assert_eq!(args.matches("--cluster.peer=").count(), 3);
    assert!(args.contains("alertmanager-2.alertmanager-peers.platform-system.svc:9094"), "{args}");
    object(&three, "PodDisruptionBudget", "alertmanager");
    let one = objects(&Alertmanager::new().unwrap(), &target());
    assert!(!one.iter().any(|one| one["kind"] == "PodDisruptionBudget"));
}

#[test]
fn an_ingress_has_the_class_and_the_ports_that_it_is_told() {
    let traefik = Traefik::new().unwrap().exposure(Exposure::NodePort { http: Some(30080), https: None });
    let rendered = objects(&traefik, &target());
    let class = object(&rendered, "IngressClass", "traefik");
    assert_eq!(class["spec"]["controller"], "traefik.io/ingress-controller");
    assert_eq!(class["metadata"]["annotations"]["ingressclass.kubernetes.io/is-default-class"], "true");
    let service = object(&rendered, "Service", "traefik");
    assert_eq!(
        (&service["spec"]["type"], &service["spec"]["ports"][0]["nodePort"]),
        (&json!("NodePort"), &json!(30080))
    );
    assert!(!rendered.iter().any(|one| one["kind"] == "Gateway"));

    let document = json!({
        "name": "nginx-ingress",
        "settings": {"class": "outside", "defaultClass": false, "exposure": {"hostPort": {"http": 8080}}},
    });
    let nginx = find(&serde_json::from_value(document).unwrap()).unwrap();
    let rendered = objects(&*nginx, &target());
    let class = object(&rendered, "IngressClass", "outside");
    assert!(class["metadata"].get("annotations").is_none());
    let deployment = object(&rendered, "Deployment", "nginx-ingress");
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["ports"][0]["hostPort"], 8080);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"], 0);
    assert!(deployment.to_string().contains("-ingress-class=outside"));
}

#[test]
fn the_gateway_api_comes_with_the_crds_that_are_given() {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gateways.gateway.networking.k8s.io"}, "spec": {},
    });
    let api = GatewayApi::with_crds(vec![Manifest::new(crd).unwrap()]);
    let rendered = objects(&Traefik::new().unwrap().gateway_api(api), &target());
    object(&rendered, "CustomResourceDefinition", "gateways.gateway.networking.k8s.io");
    object(&rendered, "GatewayClass", "traefik");
    assert_eq!(object(&rendered, "Gateway", "traefik")["spec"]["gatewayClassName"], "traefik");
    let document = json!({"name": "traefik", "settings": {"gatewayApi": {"crdsFile": "nowhere/crds.yaml"}}});
    let error = find(&serde_json::from_value(document).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read nowhere/crds.yaml"), "{error}");
}

#[test]
fn prometheus_labels_what_it_scrapes_with_cluster_and_environment() {
    let file = |role: ClusterRole| {
        let mut target = target();
        target.role = role;
        let rendered = objects(&Prometheus::new().unwrap(), &target);
        object(&rendered, "ConfigMap", "prometheus")["data"]["prometheus.yml"].as_str().unwrap().to_owned()
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).try_into().unwrap()).collect();
    let one = file(ClusterRole::Environments(names(&["testing"])));
    assert_eq!(one.matches("target_label: cluster").count(), 6, "{one}");
    assert!(one.contains("environment: testing"), "{one}");
    let two = file(ClusterRole::Environments(names(&["prod", "prod-eu"])));
    assert!(two.contains("(prod-eu|prod)(-.*)?"), "{two}");
}

#[test]
fn mistakes_in_settings_are_told_with_their_path() {
    let told = |name: &str, settings: Value| {
        let spec = serde_json::from_value(json!({"name": name, "settings": settings})).unwrap();
        let rendered = find(&spec).and_then(|component| component.manifests(&target()));
        rendered.unwrap_err().to_string()
    };
    let error = told("prometheus", json!({"rules": [{"alert": "A", "expr": "up", "for": "soon"}]}));
    assert!(
        error.starts_with("component prometheus: settings.rules[0].for: \"soon\" is not a duration"),
        "{error}"
    );
    let error = told("prometheus", json!({"scrape": [{"name": "pods", "targets": []}]}));
    assert_eq!(error, "component prometheus: settings.scrape: there are two jobs \"pods\"");
    let error = told("prometheus", json!({"scrapeInterval": "0s"}));
    assert!(error.contains("settings.scrapeInterval"), "{error}");
    let error = told("alertmanager", json!({"receivers": [{"name": "a", "slack": [{"channel": "#a"}]}]}));
    assert!(error.contains("settings.receivers[0].slack[0]: missing field `url`"), "{error}");
    let error = told(
        "grafana",
        json!({"dashboards": [{
            "uid": "No Uid", "title": "", "window": {"secs": 1, "nanos": 0}, "refresh": {"secs": 1, "nanos": 0}, "panels": [],
        }]}),
    );
    assert!(error.contains("\"No Uid\" is no uid"), "{error}");
    let error = told("traefik", json!({"exposure": {"nodePort": {"htp": 1}}}));
    assert!(error.contains("settings.exposure.nodePort.htp: unknown field `htp`"), "{error}");
}

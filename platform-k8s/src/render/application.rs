//! An application as it runs in a namespace.

use super::{manifests, recommended_labels};
use crate::labels;
use platform_core::{
    Application, Error, Image, Result,
    application::{Port, Route},
    component::SYSTEM_NAMESPACE,
    manifest::Manifest,
    orchestrator::Placement,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the ingress controller.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ingress<'a> {
    pub(crate) class: Option<&'a str>,
    pub(crate) namespace: Option<&'a str>,
}

pub(crate) fn application(
    application: &Application,
    image: &Image,
    placement: &Placement,
    ingress: Ingress<'_>,
) -> Result<Vec<Manifest>> {
    let ports = named_ports(application)?;
    check(application)?;
    let rendering = Rendering { application, image, placement, ports };
    let mut objects = vec![rendering.service_account(), rendering.deployment()];
    if !rendering.ports.is_empty() {
        objects.push(rendering.service());
        objects.push(rendering.open_ports(ingress.namespace));
    }
    if application.scaling.is_some() {
        objects.push(rendering.autoscaler());
    }
    if application.scaling.map_or(application.replicas, |scaling| scaling.min) > 1 {
        objects.push(rendering.disruption_budget());
    }
    if !application.routes.is_empty() {
        objects.push(rendering.ingress(ingress.class)?);
    }
    manifests(objects)
}

/// The image that the application's container of its Deployment runs.
pub(crate) fn running_image(application: &Application, object: &Value) -> Option<Image> {
    let name = application.name.as_str();
    let is_ours = object.get("kind").and_then(Value::as_str) == Some("Deployment")
        && object.pointer("/metadata/name").and_then(Value::as_str) == Some(name);
    if !is_ours {
        return None;
    }
    let containers = object.pointer("/spec/template/spec/containers")?.as_array()?;
    let container = containers.iter().find(|c| c.get("name").and_then(Value::as_str) == Some(name))?;
    Image::parse(container.get("image")?.as_str()?).ok()
}

struct NamedPort {
    name: String,
    number: u16,
}

fn named_ports(application: &Application) -> Result<Vec<NamedPort>> {
    let invalid =
        |message: String| Error::invalid(message).subject(format!("application {}", application.name));
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let mut ports = Vec::with_capacity(application.ports.len());
    for (at, Port { number, name }) in application.ports.iter().enumerate() {
        let name = match name {
            Some(name) => name.clone(),
            None if at == 0 => "http".to_owned(),
            None => format!("port-{number}"),
        };
        let well_formed = (1..=15).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && name.bytes().any(|b| b.is_ascii_lowercase())
            && !name.starts_with('-')
            && !name.ends_with('-')
            && !name.contains("--");
        if !well_formed {
            return Err(invalid(format!(
                "{name:?} is no name of a port: 1 to 15 of a-z, 0-9 and '-' with at least one letter are"
            )));
        }
        if *number == 0 {
            return Err(invalid("0 is no port".to_owned()));
        }
        if !numbers.insert(*number) || !names.insert(name.clone()) {
            return Err(invalid(format!("port {number} or its name {name:?} is there twice")));
        }
        ports.push(NamedPort { name, number: *number });
    }
    Ok(ports)
}

fn check(application: &Application) -> Result<()> {
    let invalid =
        |message: String| Err(Error::invalid(message).subject(format!("application {}", application.name)));
    if let Some(scaling) = application.scaling
        && (scaling.min == 0 || scaling.max < scaling.min || scaling.cpu_percent == 0)
    {
        return invalid(format!(
            "scaling from {} to {} replicas at {}% CPU is impossible: min and the percentage are at least 1, max at least min",
            scaling.min, scaling.max, scaling.cpu_percent
        ));
    }
    if let Some(path) = application.readiness_path.as_ref().filter(|path| !path.starts_with('/')) {
        return invalid(format!("the readiness path {path:?} must begin with '/'"));
    }
    for (what, is_there) in [
        ("a readiness path", application.readiness_path.is_some()),
        ("a route", !application.routes.is_empty()),
    ] {
        if is_there && application.ports.is_empty() {
            return invalid(format!("{what} needs a port"));
        }
    }
    Ok(())
}

struct Rendering<'a> {
    application: &'a Application,
    image: &'a Image,
    placement: &'a Placement,
    ports: Vec<NamedPort>,
}

impl Rendering<'_> {
    fn name(&self) -> &str {
        self.application.name.as_str()
    }

    fn labels(&self) -> Map<String, Value> {
        let mut all = recommended_labels(self.name(), &self.placement.platform, Some(self.image));
        all.insert(labels::ENVIRONMENT.to_owned(), self.placement.environment.name.as_str().into());
        all
    }

    fn metadata(&self) -> Value {
        json!({"name": self.name(), "namespace": self.placement.namespace.as_str(), "labels": self.labels()})
    }

    /// What the pods have in common for as long as the application lives: versions come and go.
    fn selector(&self) -> Value {
        json!({labels::NAME: self.name()})
    }

    fn service_account(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": self.metadata(),
            "automountServiceAccountToken": false,
        })
    }

    fn deployment(&self) -> Value {
        let mut spec = json!({
            "selector": {"matchLabels": self.selector()},
            // Nothing goes before its successor is ready.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": self.labels()},
                "spec": {
                    "automountServiceAccountToken": false,
                    "containers": [self.container()],
                    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                    "serviceAccountName": self.name(),
                },
            },
        });
        // Who scales owns the number.
        if self.application.scaling.is_none()
            && let Value::Object(spec) = &mut spec
        {
            spec.insert("replicas".to_owned(), self.application.replicas.into());
        }
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": self.metadata(), "spec": spec})
    }

    fn container(&self) -> Value {
        let application = self.application;
        let mut container = Map::new();
        let mut set = |key: &str, value: Value| container.insert(key.to_owned(), value);
        set("name", self.name().into());
        set("image", self.image.as_str().into());
        set("resources", self.resources());
        set("securityContext", json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}));
        if !application.args.is_empty() {
            set("args", application.args.clone().into());
        }
        if !application.env.is_empty() {
            // Servers leave out an empty value; so do we, or it would differ forever.
            let env = application.env.iter().map(|(name, value)| match value.as_str() {
                "" => json!({"name": name}),
                value => json!({"name": name, "value": value}),
            });
            set("env", env.collect());
        }
        if !self.ports.is_empty() {
            let ports = self.ports.iter();
            set(
                "ports",
                ports
                    .map(|p| json!({"containerPort": p.number, "name": p.name, "protocol": "TCP"}))
                    .collect(),
            );
        }
        if let (Some(path), Some(port)) = (&application.readiness_path, self.ports.first()) {
            set("readinessProbe", json!({"httpGet": {"path": path, "port": port.name}, "periodSeconds": 5}));
        }
        Value::Object(container)
    }

    fn resources(&self) -> Value {
        let resources = &self.application.resources;
        let memory_limit = resources.memory_limit.as_ref().unwrap_or(&resources.memory);
        let mut limits = BTreeMap::from([("memory", memory_limit.as_str())]);
        if let Some(cpu) = &resources.cpu_limit {
            limits.insert("cpu", cpu.as_str());
        }
        json!({
            "requests": {"cpu": resources.cpu.as_str(), "memory": resources.memory.as_str()},
            "limits": limits,
        })
    }

    fn service(&self) -> Value {
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|p| json!({"name": p.name, "port": p.number, "protocol": "TCP", "targetPort": p.name}))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata(),
            "spec": {"type": "ClusterIP", "selector": self.selector(), "ports": ports},
        })
    }

    /// Opens the ports to the namespace of the ingress and of what scrapes; the environment's policies keep all others out.
    fn open_ports(&self, ingress_namespace: Option<&str>) -> Value {
        let ingress_namespace = ingress_namespace.filter(|_| !self.application.routes.is_empty());
        let namespaces: BTreeSet<&str> = ingress_namespace.into_iter().chain([SYSTEM_NAMESPACE]).collect();
        let from: Vec<Value> = namespaces
            .into_iter()
            .map(|name| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}))
            .collect();
        let ports: Vec<Value> =
            self.ports.iter().map(|p| json!({"port": p.number, "protocol": "TCP"})).collect();
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": self.metadata(),
            "spec": {
                "podSelector": {"matchLabels": self.selector()},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": from, "ports": ports}],
            },
        })
    }

    fn autoscaler(&self) -> Value {
        let scaling = self.application.scaling.as_ref();
        json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": self.metadata(),
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name()},
                "minReplicas": scaling.map(|s| s.min),
                "maxReplicas": scaling.map(|s| s.max),
                "metrics": [{
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": scaling.map(|s| s.cpu_percent)},
                    },
                }],
            },
        })
    }

    fn disruption_budget(&self) -> Value {
        json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": self.metadata(),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": self.selector()}},
        })
    }

    fn ingress(&self, class: Option<&str>) -> Result<Value> {
        let Some(port) = self.ports.first() else {
            return Err(
                Error::invalid("a route needs a port").subject(format!("application {}", self.name()))
            );
        };
        let mut hosts: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for Route { host, path } in &self.application.routes {
            hosts.entry(host).or_default().push(json!({
                "path": path,
                "pathType": "Prefix",
                "backend": {"service": {"name": self.name(), "port": {"name": port.name}}},
            }));
        }
        let rules: Vec<Value> =
            hosts.into_iter().map(|(host, paths)| json!({"host": host, "http": {"paths": paths}})).collect();
        let mut spec = json!({"rules": rules});
        if let (Some(class), Value::Object(spec)) = (class, &mut spec) {
            spec.insert("ingressClassName".to_owned(), class.into());
        }
        Ok(json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": self.metadata(),
            "spec": spec,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::{
        Environment,
        name::{ClusterName, Namespace, PlatformName},
    };

    fn placement() -> Placement {
        Placement::new(
            PlatformName::new("shop").unwrap(),
            Environment::new("testing").unwrap(),
            ClusterName::new("shop-testing").unwrap(),
            Namespace::new("testing-api1").unwrap(),
        )
    }

    fn image(reference: &str) -> Image {
        Image::parse(reference).unwrap()
    }

    fn api1() -> Application {
        Application::new("api1", image("registry.example.com/api1:1.4.0")).unwrap()
    }

    fn render(app: &Application) -> Result<BTreeMap<String, Value>> {
        let rendered = application(app, &app.image, &placement(), Ingress::default())?;
        Ok(rendered.into_iter().map(|m| (m.reference().kind.clone(), m.into_object())).collect())
    }

    #[test]
    fn the_smallest_application_is_a_deployment_with_an_account() {
        let rendered = render(&api1()).unwrap();
        assert_eq!(rendered.keys().collect::<Vec<_>>(), ["Deployment", "ServiceAccount"]);
        let spec = &rendered["Deployment"]["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(spec["template"]["spec"]["securityContext"]["runAsNonRoot"], true);
        assert_eq!(rendered["Deployment"]["metadata"]["labels"][labels::VERSION], "1.4.0");
        assert_eq!(spec["selector"]["matchLabels"], json!({labels::NAME: "api1"}));
    }

    #[test]
    fn what_is_asked_for_is_there() {
        let app = api1()
            .port(8080)
            .port(9090)
            .scaling(2, 5, 70)
            .readiness_path("/ready")
            .env("EMPTY", "")
            .route("api1.example.com");
        let rendered = render(&app).unwrap();
        assert_eq!(
            rendered.keys().collect::<Vec<_>>(),
            [
                "Deployment",
                "HorizontalPodAutoscaler",
                "Ingress",
                "NetworkPolicy",
                "PodDisruptionBudget",
                "Service",
                "ServiceAccount"
            ]
        );
        let spec = &rendered["Deployment"]["spec"];
        assert!(spec.get("replicas").is_none());
        let container = &spec["template"]["spec"]["containers"][0];
        assert_eq!(container["env"], json!([{"name": "EMPTY"}]));
        assert_eq!(container["ports"][1]["name"], "port-9090");
        assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/ready", "port": "http"}));
        assert_eq!(rendered["HorizontalPodAutoscaler"]["spec"]["maxReplicas"], 5);
        let backend = &rendered["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"];
        assert_eq!(backend, &json!({"name": "api1", "port": {"name": "http"}}));
    }

    #[test]
    fn the_namespace_of_the_ingress_reaches_what_has_routes() {
        let ingress = Ingress { class: None, namespace: Some("traefik") };
        let opened = |app: &Application| {
            let rendered = application(app, &app.image, &placement(), ingress).unwrap();
            let policy = rendered.iter().find(|m| m.reference().kind == "NetworkPolicy").unwrap();
            policy.object()["spec"]["ingress"][0]["from"].to_string()
        };
        let inside = opened(&api1().port(8080));
        assert!(inside.contains("\"platform-system\"") && !inside.contains("traefik"), "{inside}");
        let routed = opened(&api1().port(8080).route("api1.example.com"));
        assert!(routed.contains("\"platform-system\"") && routed.contains("\"traefik\""), "{routed}");
    }

    #[test]
    fn the_running_image_is_read_back() {
        let app = api1();
        let deployed = image("registry.example.com/api1:1.5.0");
        let rendered = application(&app, &deployed, &placement(), Ingress::default()).unwrap();
        let found: Vec<Option<Image>> = rendered.iter().map(|m| running_image(&app, m.object())).collect();
        assert_eq!(found, [None, Some(deployed)]);
    }

    #[test]
    fn impossible_applications_are_refused_with_a_reason() {
        let says = |app: &Application| render(app).unwrap_err().to_string();
        assert!(says(&api1().readiness_path("/a")).contains("needs a port"));
        assert!(says(&api1().route("a.example.com")).contains("needs a port"));
        assert!(says(&api1().port(80).readiness_path("a")).contains("begin with '/'"));
        assert!(says(&api1().scaling(3, 2, 50)).contains("impossible"));
        assert!(says(&api1().port(80).port(80)).contains("twice"));
        assert!(says(&api1().port(0)).contains("no port"));
        let mut named = api1();
        named.ports.push(Port { number: 1, name: Some("Not A Name".into()) });
        assert!(says(&named).contains("no name of a port"));
    }
}

//! Workloads, Services, accounts and their rights.

use super::{Frame, Pod};
use platform_core::{Result, component::Storage};
use serde_json::{Map, Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";

impl Frame<'_> {
    pub(crate) fn service_account(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": self.metadata(self.name()),
            // Pods say themselves whether they want its token.
            "automountServiceAccountToken": false,
        })
    }

    /// Rights of its service account in the whole cluster, made of [`rule`]s.
    pub(crate) fn cluster_role(&self, rules: &[Value]) -> [Value; 2] {
        let name = self.cluster_name();
        let metadata = self.cluster_metadata(&name);
        self.rights("ClusterRole", &name, &metadata, rules)
    }

    /// Rights of its service account in its own namespace.
    pub(crate) fn role(&self, rules: &[Value]) -> [Value; 2] {
        self.rights("Role", self.name(), &self.metadata(self.name()), rules)
    }

    fn rights(&self, kind: &str, name: &str, metadata: &Value, rules: &[Value]) -> [Value; 2] {
        let api_version = format!("{RBAC}/v1");
        let account = json!({"kind": "ServiceAccount", "name": self.name(), "namespace": self.namespace()});
        [
            json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "rules": rules}),
            json!({
                "apiVersion": api_version,
                "kind": format!("{kind}Binding"),
                "metadata": metadata,
                "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
                "subjects": [account],
            }),
        ]
    }

    pub(crate) fn deployment(&self, pod: Pod) -> Workload {
        Workload::new(self, "Deployment", pod).replicated(self)
    }

    pub(crate) fn daemon_set(&self, pod: Pod) -> Workload {
        Workload::new(self, "DaemonSet", pod)
    }

    /// Pods with names of their own, known by the Service `service`. Their volume `data` is what the component's storage says.
    pub(crate) fn stateful_set(&self, service: &str, pod: Pod) -> Result<Workload> {
        let size = self.storage_size()?;
        let (pod, claims) = match self.storage() {
            Storage { ephemeral: true, .. } => (pod.empty_dir("data", Some(&size)), json!([])),
            Storage { class, .. } => {
                let mut claim = json!({
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": size.as_str()}},
                    "volumeMode": "Filesystem",
                });
                if let (Some(class), Value::Object(claim)) = (class, &mut claim) {
                    claim.insert("storageClassName".to_owned(), class.into());
                }
                let claim = json!({
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "data"},
                    "spec": claim,
                });
                (pod, json!([claim]))
            }
        };
        let workload = Workload::new(self, "StatefulSet", pod).set("serviceName", service).replicated(self);
        Ok(if claims == json!([]) { workload } else { workload.set("volumeClaimTemplates", claims) })
    }

    /// Keeps evictions from taking more than one pod at once; `None` where there is only one anyway.
    pub(crate) fn disruption_budget(&self) -> Option<Value> {
        (self.replicas() > 1).then(|| {
            json!({
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": self.metadata(self.name()),
                "spec": {"maxUnavailable": 1, "selector": {"matchLabels": self.selector()}},
            })
        })
    }
}

/// A right: verbs on resources of API groups.
pub(crate) fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

/// A Deployment, StatefulSet or DaemonSet of the component's name.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    kind: &'static str,
    metadata: Value,
    selector: Value,
    pod: Pod,
    spec: Map<String, Value>,
}

impl Workload {
    fn new(frame: &Frame<'_>, kind: &'static str, pod: Pod) -> Self {
        let (metadata, selector) = (frame.metadata(frame.name()), frame.selector());
        Self { kind, metadata, selector, pod, spec: Map::new() }
    }

    fn replicated(mut self, frame: &Frame<'_>) -> Self {
        if frame.replicas() > 1 {
            self.pod = self.pod.spread(&self.selector);
        }
        self.set("replicas", frame.replicas())
    }

    /// Sets any other field of its spec.
    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.spec.insert(key.to_owned(), value.into());
        self
    }
}

impl From<Workload> for Value {
    fn from(workload: Workload) -> Self {
        let Workload { kind, metadata, selector, pod, mut spec } = workload;
        spec.insert("selector".to_owned(), json!({"matchLabels": selector}));
        spec.insert("template".to_owned(), pod.template());
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec})
    }
}

/// A Service of the component's pods, reachable within the cluster unless told otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    metadata: Value,
    spec: Map<String, Value>,
    ports: Vec<Value>,
}

impl Service {
    /// A Service of the component's name.
    pub(crate) fn new(frame: &Frame<'_>) -> Self {
        Self::named(frame, frame.name())
    }

    pub(crate) fn named(frame: &Frame<'_>, name: &str) -> Self {
        let service = Self { metadata: frame.metadata(name), spec: Map::new(), ports: Vec::new() };
        service.set("selector", frame.selector()).set("type", "ClusterIP")
    }

    /// Sets any other field of its spec.
    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.spec.insert(key.to_owned(), value.into());
        self
    }

    /// Gives each pod an address of its own, and none in common.
    pub(crate) fn headless(self) -> Self {
        self.set("clusterIP", "None")
    }

    /// A TCP port, which leads to the container's port of the same name.
    pub(crate) fn port(self, name: &str, number: u16) -> Self {
        self.port_as(json!({"name": name, "port": number, "protocol": "TCP", "targetPort": name}))
    }

    /// A port with fields of its own.
    pub(crate) fn port_as(mut self, port: Value) -> Self {
        self.ports.push(port);
        self
    }
}

impl From<Service> for Value {
    fn from(service: Service) -> Self {
        let Service { metadata, mut spec, ports } = service;
        spec.insert("ports".to_owned(), ports.into());
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    }
}

//! The objects that both sides apply.

use serde_json::{Value, json};

pub(crate) const OBJECTS: usize = 1000;
pub(crate) const NAMESPACES: usize = 10;

/// The label of every object, by which the run finds what it left.
pub(crate) const LABEL: (&str, &str) = ("bench", "apply");

pub(crate) fn namespaces() -> impl Iterator<Item = String> {
    (0..NAMESPACES).map(|i| format!("bench-apply-{i}"))
}

/// Deployments, Services and ConfigMaps in equal numbers, spread over the namespaces. No two are alike but for their names: images, values
/// and ports differ. Deployments have no replicas, for the server may have no nodes, and are paused, for a controller makes its ReplicaSets at
/// twenty requests a second, so that a run would mostly wait for it.
pub(crate) fn objects() -> Vec<Value> {
    (0..OBJECTS).map(object).collect()
}

fn object(i: usize) -> Value {
    let name = format!("app-{i}");
    let port = 8000 + i % 50;
    let metadata = json!({
        "name": name, "namespace": format!("bench-apply-{}", i % NAMESPACES),
        "labels": {LABEL.0: LABEL.1, "app.kubernetes.io/name": name},
    });
    match i % 3 {
        0 => json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": 0,
                "paused": true,
                "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
                "template": {
                    "metadata": {"labels": {"app.kubernetes.io/name": name}},
                    "spec": {"containers": [{
                        "name": "web",
                        "image": format!("registry.example.com/{name}:1.{}.0", i % 20),
                        "args": ["--port", port.to_string()],
                        "env": [{"name": "STAGE", "value": "bench"}, {"name": "SHARD", "value": i.to_string()}],
                        "ports": [{"containerPort": port, "name": "http", "protocol": "TCP"}],
                        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
                        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                    }]},
                },
            },
        }),
        1 => json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {
                "selector": {"app.kubernetes.io/name": name},
                "ports": [{"name": "http", "port": port, "protocol": "TCP", "targetPort": "http"}],
            },
        }),
        _ => json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
            "data": {"shard": i.to_string(), "settings.toml": format!("[server]\nport = {port}\nlog = \"info\"\n")},
        }),
    }
}

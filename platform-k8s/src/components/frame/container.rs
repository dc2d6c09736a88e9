//! Containers.

use platform_core::{Image, application::Resources};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A container, restricted as far as its program allows.
#[derive(Debug, Clone)]
pub(crate) struct Container(Map<String, Value>);

impl Container {
    pub(super) fn new(name: &str, image: &Image, resources: &Resources) -> Self {
        let limit = resources.memory_limit.as_ref().unwrap_or(&resources.memory);
        let mut limits = BTreeMap::from([("memory", limit.as_str())]);
        if let Some(cpu) = &resources.cpu_limit {
            limits.insert("cpu", cpu.as_str());
        }
        Self(Map::new())
            .set("name", name)
            .set("image", image.as_str())
            .set(
                "resources",
                json!({
                    "requests": {"cpu": resources.cpu.as_str(), "memory": resources.memory.as_str()},
                    "limits": limits,
                }),
            )
            .set(
                "securityContext",
                json!({
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": true,
                }),
            )
    }

    /// Sets any other field.
    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn command<A: Into<Value>>(self, command: impl IntoIterator<Item = A>) -> Self {
        self.set("command", command.into_iter().map(Into::into).collect::<Vec<Value>>())
    }

    pub(crate) fn args<A: Into<Value>>(self, args: impl IntoIterator<Item = A>) -> Self {
        self.set("args", args.into_iter().map(Into::into).collect::<Vec<Value>>())
    }

    /// An environment variable; servers leave out an empty value, and so does this.
    pub(crate) fn env(self, name: &str, value: impl AsRef<str>) -> Self {
        self.push(
            "env",
            match value.as_ref() {
                "" => json!({"name": name}),
                value => json!({"name": name, "value": value}),
            },
        )
    }

    /// An environment variable with a key of a Secret, which must be there before the pod starts.
    pub(crate) fn env_from_secret(self, name: &str, secret: &str, key: &str) -> Self {
        self.push("env", json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}))
    }

    /// An environment variable with a key of a Secret, where it is there.
    pub(crate) fn env_from_secret_if_there(self, name: &str, secret: &str, key: &str) -> Self {
        let source = json!({"secretKeyRef": {"name": secret, "key": key, "optional": true}});
        self.push("env", json!({"name": name, "valueFrom": source}))
    }

    /// An environment variable with a field of the pod: `metadata.name`.
    pub(crate) fn env_from_field(self, name: &str, path: &str) -> Self {
        let field = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": path}});
        self.push("env", json!({"name": name, "valueFrom": field}))
    }

    /// An environment variable with what the container may use, `limits.memory`, in units of `divisor`.
    pub(crate) fn env_from_limit(self, name: &str, resource: &str, divisor: &str) -> Self {
        let field = json!({"resourceFieldRef": {"resource": resource, "divisor": divisor}});
        self.push("env", json!({"name": name, "valueFrom": field}))
    }

    /// A TCP port.
    pub(crate) fn port(self, name: &str, number: u16) -> Self {
        self.push("ports", json!({"name": name, "containerPort": number, "protocol": "TCP"}))
    }

    /// A TCP port that the node listens on too.
    pub(crate) fn host_port(self, name: &str, number: u16, on_host: u16) -> Self {
        let port = json!({"name": name, "containerPort": number, "hostPort": on_host, "protocol": "TCP"});
        self.push("ports", port)
    }

    pub(crate) fn mount(self, volume: &str, path: &str) -> Self {
        self.push("volumeMounts", json!({"name": volume, "mountPath": path}))
    }

    pub(crate) fn mount_read_only(self, volume: &str, path: &str) -> Self {
        self.push("volumeMounts", json!({"name": volume, "mountPath": path, "readOnly": true}))
    }

    /// A mount with fields of its own.
    pub(crate) fn mount_as(self, mount: Value) -> Self {
        self.push("volumeMounts", mount)
    }

    /// When it is ready: [`http_get`], [`tcp_socket`].
    pub(crate) fn ready_when(self, probe: Value) -> Self {
        self.set("readinessProbe", probe)
    }

    /// When it need not be started anew.
    pub(crate) fn alive_when(self, probe: Value) -> Self {
        self.set("livenessProbe", probe)
    }

    /// When the other probes begin; for what starts slowly.
    pub(crate) fn started_when(self, probe: Value) -> Self {
        self.set("startupProbe", probe)
    }

    /// Lets it write to its image's file system.
    pub(crate) fn writable(mut self) -> Self {
        if let Some(Value::Object(context)) = self.0.get_mut("securityContext") {
            context.remove("readOnlyRootFilesystem");
        }
        self
    }

    /// Keeps a capability.
    pub(crate) fn capability(mut self, name: &str) -> Self {
        if let Some(capabilities) = self.0.get_mut("securityContext").and_then(|c| c.get_mut("capabilities"))
        {
            push(capabilities, "add", name.into());
        }
        self
    }

    fn push(mut self, key: &str, value: Value) -> Self {
        let list = self.0.entry(key).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(value);
        }
        self
    }
}

impl From<Container> for Value {
    fn from(container: Container) -> Self {
        Self::Object(container.0)
    }
}

fn push(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(map) = object
        && let Value::Array(list) = map.entry(key).or_insert_with(|| json!([]))
    {
        list.push(value);
    }
}

/// A probe by a request of a path on a named port: it answers 200 to 399.
pub(crate) fn http_get(path: &str, port: &str) -> Value {
    json!({"httpGet": {"path": path, "port": port}, "timeoutSeconds": 5})
}

/// A probe by a connection to a named port.
pub(crate) fn tcp_socket(port: &str) -> Value {
    json!({"tcpSocket": {"port": port}, "timeoutSeconds": 5})
}

//! The node exporter: metrics of every node.

use super::installation::{Defaults, Installation};
use crate::render;
use platform_core::{
    Result,
    component::{Component, ComponentScope, ComponentTarget},
    manifest::Manifest,
    name::ComponentName,
};
use serde_json::{Value, json};

pub(super) const DEFAULTS: Defaults = Defaults {
    name: "node-exporter",
    version: "1.12.1",
    scope: ComponentScope::EveryCluster,
    container: "node-exporter",
    repository: "quay.io/prometheus/node-exporter",
};

const PORT: u16 = 9100;

/// The [node exporter](https://github.com/prometheus/node_exporter): a DaemonSet on every node, tainted ones included, which serves
/// `/metrics` on port 9100 of the node.
///
/// It looks at the node through read-only mounts of `/` and `/sys` and shares its network and process namespaces, as upstream
/// advises. Its namespace must therefore allow privileged pods.
#[derive(Debug, Clone)]
pub struct NodeExporter(Installation);

impl NodeExporter {
    /// The catalogue's version.
    pub fn new() -> Result<Self> {
        Ok(Self(Installation::of(&DEFAULTS)?))
    }

    pub(super) fn with(installation: Installation) -> Self {
        Self(installation)
    }

    fn daemon_set(&self, target: &ComponentTarget) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": self.0.metadata(target),
            "spec": {
                "selector": {"matchLabels": self.0.selector()},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
                "template": {
                    "metadata": {"labels": self.0.labels(target)},
                    "spec": {
                        "automountServiceAccountToken": false,
                        "containers": [self.container()],
                        "hostNetwork": true,
                        "hostPID": true,
                        "nodeSelector": {"kubernetes.io/os": "linux"},
                        "priorityClassName": "system-node-critical",
                        "securityContext": {"runAsGroup": 65534, "runAsNonRoot": true, "runAsUser": 65534},
                        "serviceAccountName": self.0.name.as_str(),
                        "tolerations": [{"operator": "Exists"}],
                        "volumes": [
                            {"name": "sys", "hostPath": {"path": "/sys"}},
                            {"name": "root", "hostPath": {"path": "/"}},
                        ],
                    },
                },
            },
        })
    }

    fn container(&self) -> Value {
        json!({
            "name": DEFAULTS.container,
            "image": self.0.image.as_str(),
            "args": [
                format!("--web.listen-address=:{PORT}"),
                "--path.sysfs=/host/sys",
                "--path.rootfs=/host/root",
                "--path.udev.data=/host/root/run/udev/data",
                // What belongs to single pods comes and goes, and is known from the kubelet.
                "--collector.filesystem.mount-points-exclude=^/(dev|proc|sys|run|var/lib/(docker|containerd|kubelet))($|/)",
                "--collector.netclass.ignored-devices=^(veth.*|[a-f0-9]{15})$",
                "--collector.netdev.device-exclude=^(veth.*|[a-f0-9]{15})$",
                "--no-collector.wifi",
            ],
            "ports": [{"name": "metrics", "containerPort": PORT, "hostPort": PORT, "protocol": "TCP"}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "metrics"}},
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "180Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"add": ["SYS_TIME"], "drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
            },
            "volumeMounts": [
                {"name": "sys", "mountPath": "/host/sys", "mountPropagation": "HostToContainer", "readOnly": true},
                {"name": "root", "mountPath": "/host/root", "mountPropagation": "HostToContainer", "readOnly": true},
            ],
        })
    }
}

impl Component for NodeExporter {
    fn name(&self) -> &ComponentName {
        &self.0.name
    }

    fn version(&self) -> &str {
        &self.0.version
    }

    fn scope(&self) -> ComponentScope {
        self.0.scope
    }

    fn manifests(&self, target: &ComponentTarget) -> Result<Vec<Manifest>> {
        render::manifests(vec![
            json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": self.0.metadata(target),
                "automountServiceAccountToken": false,
            }),
            self.daemon_set(target),
            json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": self.0.metadata(target),
                "spec": {
                    // Each node is scraped by itself: no address in common.
                    "clusterIP": "None",
                    "selector": self.0.selector(),
                    "ports": [{"name": "metrics", "port": PORT, "protocol": "TCP", "targetPort": "metrics"}],
                },
            }),
        ])
    }
}

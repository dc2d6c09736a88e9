//! The node exporter: metrics of every node.

use super::frame::{ContainerDefaults, Defaults, Frame, Installation, Program, Service, Tag, http_get};
use platform_core::{Result, component::ComponentScope};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const PORT: u16 = 9100;

/// The [node exporter](https://github.com/prometheus/node_exporter): a DaemonSet on every node, tainted ones included, which serves
/// `/metrics` on port 9100 of the node.
///
/// It looks at the node through read-only mounts of `/` and `/sys` and shares its network and process namespaces, as upstream
/// advises. Its namespace must therefore allow privileged pods.
pub type NodeExporter = Installation<NodeExporterSettings>;

/// The node exporter has no settings of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NodeExporterSettings {}

impl Program for NodeExporterSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "node-exporter",
        version: "1.12.1",
        scope: ComponentScope::EveryCluster,
        containers: &[ContainerDefaults {
            name: "node-exporter",
            repository: "quay.io/prometheus/node-exporter",
            tag: Tag::V,
            cpu: "50m",
            memory: "64Mi",
            memory_limit: "180Mi",
        }],
        replicas: None,
        storage: None,
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        let container = frame
            .container("node-exporter")?
            .args([
                format!("--web.listen-address=:{PORT}").as_str(),
                "--path.sysfs=/host/sys",
                "--path.rootfs=/host/root",
                "--path.udev.data=/host/root/run/udev/data",
                // What belongs to single pods comes and goes, and is known from the kubelet.
                "--collector.filesystem.mount-points-exclude=^/(dev|proc|sys|run|var/lib/(docker|containerd|kubelet))($|/)",
                "--collector.netclass.ignored-devices=^(veth.*|[a-f0-9]{15})$",
                "--collector.netdev.device-exclude=^(veth.*|[a-f0-9]{15})$",
                "--no-collector.wifi",
            ])
            .host_port("metrics", PORT, PORT)
            .ready_when(http_get("/", "metrics"))
            .capability("SYS_TIME")
            .mount_as(json!({
                "name": "sys", "mountPath": "/host/sys", "mountPropagation": "HostToContainer", "readOnly": true,
            }))
            .mount_as(json!({
                "name": "root", "mountPath": "/host/root", "mountPropagation": "HostToContainer", "readOnly": true,
            }));
        let pod = frame
            .pod()
            .container(container)
            .set("hostNetwork", true)
            .set("hostPID", true)
            .set("priorityClassName", "system-node-critical")
            .set("securityContext", json!({"runAsGroup": 65534, "runAsNonRoot": true, "runAsUser": 65534}))
            .set("tolerations", json!([{"operator": "Exists"}]))
            .volume(json!({"name": "sys", "hostPath": {"path": "/sys"}}))
            .volume(json!({"name": "root", "hostPath": {"path": "/"}}));
        let update = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}});
        Ok(vec![
            frame.service_account(),
            frame.daemon_set(pod).set("updateStrategy", update).into(),
            // Each node is scraped by itself: no address in common.
            Service::new(frame).headless().port("metrics", PORT).into(),
        ])
    }
}

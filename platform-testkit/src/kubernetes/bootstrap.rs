//! What a new cluster holds before anyone uses it.

use serde_json::{Value, json};

use super::auth::roles;
use super::deletion::DeleteOptions;
use super::error::ApiError;
use super::resource::GroupResource;
use super::state::Key;
use super::store::Store;

const MANAGER: &str = "kube-apiserver";

/// Creates what is not there yet, so that a cluster of a former run keeps its own.
pub(super) fn furnish(store: &Store, nodes: usize) -> Result<(), ApiError> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        ensure(store, "", "namespaces", json!({"metadata": {"name": name}}))?;
    }
    roles::furnish(store)?;
    for number in 1..=nodes {
        add_node(store, number)?;
    }
    let service = json!({
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": "10.96.0.1",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    });
    ensure(store, "", "services", service)?;
    let storage = json!({
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "rancher.io/local-path",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    });
    ensure(store, "storage.k8s.io", "storageclasses", storage)?;
    for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)]
    {
        let class = json!({"metadata": {"name": name}, "value": value, "description": "Used for system critical pods."});
        ensure(store, "scheduling.k8s.io", "priorityclasses", class)?;
    }
    Ok(())
}

/// Adds nodes, or removes the last ones with the pods that are bound to them.
pub(super) fn resize(store: &Store, nodes: usize) -> Result<(), ApiError> {
    for number in 1..=nodes {
        add_node(store, number)?;
    }
    let (resource, pods) = (GroupResource::new("", "nodes"), GroupResource::new("", "pods"));
    for node in store.list(&resource, None).items {
        let name = node.value()["metadata"]["name"].as_str().unwrap_or_default();
        let number = name.strip_prefix("node-").and_then(|number| number.parse::<usize>().ok());
        if number.is_none_or(|number| number <= nodes) {
            continue;
        }
        store.delete(&Key::new(&resource, "", name), &DeleteOptions::default())?;
        for pod in store.list(&pods, None).items.iter().filter(|pod| pod.value()["spec"]["nodeName"] == name)
        {
            let at_once = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
            match store.delete(&Key::of(&pods, pod.value()), &at_once) {
                Err(error) if error.reason != "NotFound" => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn add_node(store: &Store, number: usize) -> Result<(), ApiError> {
    let name = format!("node-{number}");
    let mut labels = json!({
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    });
    if number == 1 {
        labels["node-role.kubernetes.io/control-plane"] = json!("");
    }
    let subnet = number % 256;
    let node = json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": format!("10.244.{subnet}.0/24"), "podCIDRs": [format!("10.244.{subnet}.0/24")]},
    });
    if !ensure(store, "", "nodes", node)? {
        return Ok(());
    }
    let nodes = GroupResource::new("", "nodes");
    let mut node = store.get(&Key::new(&nodes, "", name.clone()))?.value().clone();
    let now = node["metadata"]["creationTimestamp"].clone();
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    let (cores, memory) = machine();
    let amounts = json!({"cpu": cores, "memory": memory, "pods": "110", "ephemeral-storage": "100Gi"});
    node["status"] = json!({
        "addresses": [
            {"type": "InternalIP", "address": format!("172.18.{}.{}", number / 250, number % 250 + 2)},
            {"type": "Hostname", "address": name},
        ],
        "capacity": amounts,
        "allocatable": amounts,
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
        "nodeInfo": {
            "architecture": "amd64",
            "bootID": "",
            "containerRuntimeVersion": "simulated://1.0",
            "kernelVersion": "6.1.0",
            "kubeProxyVersion": "",
            "kubeletVersion": "v1.34.0",
            "machineID": "",
            "operatingSystem": "linux",
            "osImage": "Simulated Linux",
            "systemUUID": "",
        },
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
    });
    store.update_status(&nodes, node, "kubelet")?;
    Ok(())
}

/// The cores and the memory of this machine, as quantities: each node reports the whole of it, as the nodes of
/// clusters in containers do. Memory that cannot be found out counts as 8 GiB.
fn machine() -> (String, String) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(format!("{kibibytes}Ki"))
    });
    (cores.to_string(), memory.unwrap_or_else(|| "8Gi".to_owned()))
}

/// Whether the object had to be created.
fn ensure(store: &Store, group: &'static str, plural: &'static str, object: Value) -> Result<bool, ApiError> {
    let resource = GroupResource::new(group, plural);
    if store.find(&Key::of(&resource, &object)).is_some() {
        return Ok(false);
    }
    store.create(&resource, object, MANAGER).map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::super::semantics::validate::quantity;
    use super::*;

    #[test]
    fn a_node_reports_the_cores_and_memory_of_this_machine() {
        let store = Store::in_memory();
        furnish(&store, 2).unwrap();
        let cores = std::thread::available_parallelism().unwrap().get().to_string();
        let nodes = store.list(&GroupResource::new("", "nodes"), None).items;
        assert_eq!(nodes.len(), 2);
        for node in nodes {
            assert_eq!(node["status"]["capacity"]["cpu"], cores.as_str());
            assert_eq!(node["status"]["allocatable"], node["status"]["capacity"]);
            let memory = node["status"]["capacity"]["memory"].as_str().and_then(quantity::nanos);
            assert!(memory.is_some_and(|memory| memory > 0), "{memory:?}");
        }
    }
}

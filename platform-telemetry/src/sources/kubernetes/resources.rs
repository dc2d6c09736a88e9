//! Nodes, namespaces, services, quotas, claims.

use super::object::{Object, condition_status, one_of, resource_and_unit};
use crate::sources::samples::SampleSet;

pub(super) fn node(node: Object<'_>, set: &mut SampleSet) {
    let label = [("node", node.name())];
    let internal = node.items("/status/addresses").find(|address| address.text("/type") == "InternalIP");
    let info = |field: &str| node.text(&format!("/status/nodeInfo/{field}"));
    let labels = [
        label[0],
        ("kernel_version", info("kernelVersion")),
        ("os_image", info("osImage")),
        ("container_runtime_version", info("containerRuntimeVersion")),
        ("kubelet_version", info("kubeletVersion")),
        ("kubeproxy_version", info("kubeProxyVersion")),
        ("system_uuid", info("systemUUID")),
        ("provider_id", node.text("/spec/providerID")),
        ("pod_cidr", node.text("/spec/podCIDR")),
        ("internal_ip", internal.map_or("", |address| address.text("/address"))),
    ];
    set.gauge("kube_node_info", &labels, 1.0);
    node.created("kube_node_created", &label, set);
    let unschedulable = node.flag("/spec/unschedulable");
    set.gauge("kube_node_spec_unschedulable", &label, f64::from(u8::from(unschedulable)));
    for condition in node.items("/status/conditions") {
        let labels = [label[0], ("condition", condition.text("/type"))];
        condition_status(set, "kube_node_status_condition", &labels, "status", condition);
    }
    for (metric, pointer) in [
        ("kube_node_status_capacity", "/status/capacity"),
        ("kube_node_status_allocatable", "/status/allocatable"),
    ] {
        for (resource, amount) in node.quantities(pointer) {
            if let Some((resource, unit)) = resource_and_unit(resource) {
                set.gauge(metric, &[label[0], ("resource", &resource), ("unit", unit)], amount);
            }
        }
    }
}

pub(super) fn namespace(namespace: Object<'_>, set: &mut SampleSet) {
    let label = [("namespace", namespace.name())];
    namespace.created("kube_namespace_created", &label, set);
    let phase = namespace.text("/status/phase");
    one_of(set, "kube_namespace_status_phase", &label, ("phase", &["Active", "Terminating"]), phase);
}

pub(super) fn service(service: Object<'_>, set: &mut SampleSet) {
    let labels = [("namespace", service.namespace()), ("service", service.name()), ("uid", service.uid())];
    let info = [
        ("cluster_ip", service.text("/spec/clusterIP")),
        ("external_name", service.text("/spec/externalName")),
        ("load_balancer_ip", service.text("/spec/loadBalancerIP")),
    ];
    set.gauge("kube_service_info", &[labels.as_slice(), &info].concat(), 1.0);
    set.gauge(
        "kube_service_spec_type",
        &[labels.as_slice(), &[("type", service.text("/spec/type"))]].concat(),
        1.0,
    );
    service.created("kube_service_created", &labels, set);
}

pub(super) fn resource_quota(quota: Object<'_>, set: &mut SampleSet) {
    let labels = [("namespace", quota.namespace()), ("resourcequota", quota.name())];
    quota.created("kube_resourcequota_created", &labels, set);
    for (kind, pointer) in [("hard", "/status/hard"), ("used", "/status/used")] {
        for (resource, amount) in quota.quantities(pointer) {
            let more = [("resource", resource), ("type", kind)];
            set.gauge("kube_resourcequota", &[labels.as_slice(), &more].concat(), amount);
        }
    }
}

pub(super) fn persistent_volume_claim(claim: Object<'_>, set: &mut SampleSet) {
    let labels = [("namespace", claim.namespace()), ("persistentvolumeclaim", claim.name())];
    let info = [
        ("storageclass", claim.text("/spec/storageClassName")),
        ("volumename", claim.text("/spec/volumeName")),
        ("volumemode", claim.text("/spec/volumeMode")),
    ];
    set.gauge("kube_persistentvolumeclaim_info", &[labels.as_slice(), &info].concat(), 1.0);
    let phase = claim.text("/status/phase");
    let phases = ["Lost", "Bound", "Pending"];
    one_of(set, "kube_persistentvolumeclaim_status_phase", &labels, ("phase", &phases), phase);
    for (resource, amount) in claim.quantities("/spec/resources/requests") {
        if resource == "storage" {
            set.gauge("kube_persistentvolumeclaim_resource_requests_storage_bytes", &labels, amount);
        }
    }
}

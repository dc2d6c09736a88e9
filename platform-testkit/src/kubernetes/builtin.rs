//! The table of built-in resources: names, scope and subresources as Kubernetes 1.34 discovers them.

use std::sync::Arc;

use super::resource::{GroupResource, Resource};
use super::semantics::schema::Schema;

type Names = &'static [&'static str];

struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short_names: Names,
    categories: Names,
    namespaced: bool,
    subresources: Names,
    generation: bool,
}

const NAMESPACED: bool = true;
const CLUSTER: bool = false;

/// Every built-in resource in its stable version.
pub(super) fn resources() -> Vec<Arc<Resource>> {
    ROWS.iter().map(|row| Arc::new(resource(row))).collect()
}

fn resource(row: &Row) -> Resource {
    let owned = |names: Names| names.iter().map(|name| (*name).to_owned()).collect();
    Resource {
        // One collection of Events: this group shows those of the core group.
        id: GroupResource::new(if row.group == "events.k8s.io" { "" } else { row.group }, row.plural),
        group: row.group.to_owned(),
        version: row.version.to_owned(),
        kind: row.kind.to_owned(),
        list_kind: format!("{}List", row.kind),
        singular: row.singular.to_owned(),
        short_names: owned(row.short_names),
        categories: owned(row.categories),
        namespaced: row.namespaced,
        subresources: owned(row.subresources),
        generation: row.generation,
        schema: Schema::builtin(row.group, row.version, row.kind),
        custom: None,
    }
}

#[rustfmt::skip] // one row, one resource
static ROWS: &[Row] = &[
    row("", "v1", "ConfigMap", "configmaps", "configmap", &["cm"], &[], NAMESPACED, &[], false),
    row("", "v1", "Endpoints", "endpoints", "endpoints", &["ep"], &[], NAMESPACED, &[], false),
    row("", "v1", "Event", "events", "event", &["ev"], &[], NAMESPACED, &[], false),
    row("", "v1", "LimitRange", "limitranges", "limitrange", &["limits"], &[], NAMESPACED, &[], false),
    row("", "v1", "Namespace", "namespaces", "namespace", &["ns"], &[], CLUSTER, &["finalize", "status"], false),
    row("", "v1", "Node", "nodes", "node", &["no"], &[], CLUSTER, &["status"], false),
    row("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim", &["pvc"], &[], NAMESPACED, &["status"], false),
    row("", "v1", "PersistentVolume", "persistentvolumes", "persistentvolume", &["pv"], &[], CLUSTER, &["status"], false),
    row("", "v1", "Pod", "pods", "pod", &["po"], &["all"], NAMESPACED, &["attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "status"], true),
    row("", "v1", "PodTemplate", "podtemplates", "podtemplate", &[], &[], NAMESPACED, &[], false),
    row("", "v1", "ReplicationController", "replicationcontrollers", "replicationcontroller", &["rc"], &["all"], NAMESPACED, &["scale", "status"], true),
    row("", "v1", "ResourceQuota", "resourcequotas", "resourcequota", &["quota"], &[], NAMESPACED, &["status"], false),
    row("", "v1", "Secret", "secrets", "secret", &[], &[], NAMESPACED, &[], false),
    row("", "v1", "ServiceAccount", "serviceaccounts", "serviceaccount", &["sa"], &[], NAMESPACED, &["token"], false),
    row("", "v1", "Service", "services", "service", &["svc"], &["all"], NAMESPACED, &["status"], false),
    row("apps", "v1", "ControllerRevision", "controllerrevisions", "controllerrevision", &[], &[], NAMESPACED, &[], false),
    row("apps", "v1", "DaemonSet", "daemonsets", "daemonset", &["ds"], &["all"], NAMESPACED, &["status"], true),
    row("apps", "v1", "Deployment", "deployments", "deployment", &["deploy"], &["all"], NAMESPACED, &["scale", "status"], true),
    row("apps", "v1", "ReplicaSet", "replicasets", "replicaset", &["rs"], &["all"], NAMESPACED, &["scale", "status"], true),
    row("apps", "v1", "StatefulSet", "statefulsets", "statefulset", &["sts"], &["all"], NAMESPACED, &["scale", "status"], true),
    row("batch", "v1", "CronJob", "cronjobs", "cronjob", &["cj"], &["all"], NAMESPACED, &["status"], true),
    row("batch", "v1", "Job", "jobs", "job", &[], &["all"], NAMESPACED, &["status"], true),
    row("networking.k8s.io", "v1", "IngressClass", "ingressclasses", "ingressclass", &[], &[], CLUSTER, &[], true),
    row("networking.k8s.io", "v1", "Ingress", "ingresses", "ingress", &["ing"], &[], NAMESPACED, &["status"], true),
    row("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "networkpolicy", &["netpol"], &[], NAMESPACED, &[], true),
    row("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget", &["pdb"], &[], NAMESPACED, &["status"], true),
    row("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding", &[], &[], CLUSTER, &[], false),
    row("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", "clusterrole", &[], &[], CLUSTER, &[], false),
    row("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", "rolebinding", &[], &[], NAMESPACED, &[], false),
    row("rbac.authorization.k8s.io", "v1", "Role", "roles", "role", &[], &[], NAMESPACED, &[], false),
    row("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "horizontalpodautoscaler", &["hpa"], &["all"], NAMESPACED, &["status"], false),
    row("storage.k8s.io", "v1", "CSIDriver", "csidrivers", "csidriver", &[], &[], CLUSTER, &[], false),
    row("storage.k8s.io", "v1", "CSINode", "csinodes", "csinode", &[], &[], CLUSTER, &[], false),
    row("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities", "csistoragecapacity", &[], &[], NAMESPACED, &[], false),
    row("storage.k8s.io", "v1", "StorageClass", "storageclasses", "storageclass", &["sc"], &[], CLUSTER, &[], false),
    row("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", "volumeattachment", &[], &[], CLUSTER, &["status"], false),
    row("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", "volumeattributesclass", &["vac"], &[], CLUSTER, &[], false),
    row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "priorityclass", &["pc"], &[], CLUSTER, &[], true),
    row("coordination.k8s.io", "v1", "Lease", "leases", "lease", &[], &[], NAMESPACED, &[], false),
    row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "endpointslice", &[], &[], NAMESPACED, &[], true),
    row("events.k8s.io", "v1", "Event", "events", "event", &["ev"], &[], NAMESPACED, &[], false),
    row("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "mutatingwebhookconfiguration", &[], &["api-extensions"], CLUSTER, &[], true),
    row("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", "validatingadmissionpolicy", &[], &["api-extensions"], CLUSTER, &["status"], true),
    row("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", "validatingadmissionpolicybinding", &[], &["api-extensions"], CLUSTER, &[], true),
    row("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "validatingwebhookconfiguration", &[], &["api-extensions"], CLUSTER, &[], true),
    row("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", "customresourcedefinition", &["crd", "crds"], &["api-extensions"], CLUSTER, &["status"], true),
    row("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", "runtimeclass", &[], &[], CLUSTER, &[], false),
    row("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests", "certificatesigningrequest", &["csr"], &[], CLUSTER, &["status"], false),
    row("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", "flowschema", &[], &[], CLUSTER, &["status"], true),
    row("flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", "prioritylevelconfiguration", &[], &[], CLUSTER, &["status"], true),
];

#[allow(clippy::too_many_arguments)] // the columns of the table above
const fn row(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short_names: Names,
    categories: Names,
    namespaced: bool,
    subresources: Names,
    generation: bool,
) -> Row {
    Row {
        group,
        version,
        kind,
        plural,
        singular,
        short_names,
        categories,
        namespaced,
        subresources,
        generation,
    }
}

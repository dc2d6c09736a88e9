//! In which order kinds are written and deleted.

use platform_core::manifest::ObjectRef;

/// What is written before what. A stage begins when everything of the one before is established.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// What others cannot exist without: CustomResourceDefinitions, namespaces, and the roles that others are bound to.
    Definitions,
    /// What others name: classes of storage, ingresses, priorities, gateways.
    Classes,
    /// What workloads are checked against or refer to when they start: roles, accounts, configuration, quotas.
    Configuration,
    /// Objects of kinds that are defined in the cluster.
    Custom,
    /// Everything else: workloads, services.
    Workloads,
    /// What stands in the way of writing once it is there: webhooks and policies.
    Admission,
}

impl Stage {
    pub(crate) const ALL: [Self; 6] = [
        Self::Definitions,
        Self::Classes,
        Self::Configuration,
        Self::Custom,
        Self::Workloads,
        Self::Admission,
    ];

    pub(crate) fn of(object: &ObjectRef) -> Self {
        match (object.group(), object.kind.as_str()) {
            ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("", "Namespace")
            | ("rbac.authorization.k8s.io", "ClusterRole") => Self::Definitions,
            (_, kind) if kind.ends_with("Class") => Self::Classes,
            ("rbac.authorization.k8s.io", _)
            | ("networking.k8s.io", "NetworkPolicy")
            | (
                "",
                "ServiceAccount"
                | "Secret"
                | "ConfigMap"
                | "ResourceQuota"
                | "LimitRange"
                | "PersistentVolume"
                | "PersistentVolumeClaim",
            ) => Self::Configuration,
            ("admissionregistration.k8s.io", _) => Self::Admission,
            (group, _) if !is_builtin(group) => Self::Custom,
            _ => Self::Workloads,
        }
    }
}

/// Whether the kinds of a group are those of Kubernetes itself. The groups of others may end in `k8s.io` too.
fn is_builtin(group: &str) -> bool {
    !group.contains('.')
        || matches!(
            group,
            "admissionregistration.k8s.io"
                | "apiextensions.k8s.io"
                | "apiregistration.k8s.io"
                | "authentication.k8s.io"
                | "authorization.k8s.io"
                | "certificates.k8s.io"
                | "coordination.k8s.io"
                | "discovery.k8s.io"
                | "events.k8s.io"
                | "flowcontrol.apiserver.k8s.io"
                | "internal.apiserver.k8s.io"
                | "networking.k8s.io"
                | "node.k8s.io"
                | "rbac.authorization.k8s.io"
                | "resource.k8s.io"
                | "scheduling.k8s.io"
                | "storage.k8s.io"
                | "storagemigration.k8s.io"
        )
}

/// What is deleted before what. A stage begins when everything of the one before is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Farewell {
    /// What refuses deletions or needs its controllers to clean up behind it: policies, custom resources, ingresses,
    /// load balancers.
    External,
    /// What runs.
    Workloads,
    /// What those needed.
    Configuration,
    /// What holds others or data.
    Containers,
}

impl Farewell {
    pub(crate) const ALL: [Self; 4] =
        [Self::External, Self::Workloads, Self::Configuration, Self::Containers];

    pub(crate) fn of(object: &ObjectRef, is_load_balancer: bool) -> Self {
        match (object.group(), object.kind.as_str()) {
            _ if is_spared(object) => Self::Containers,
            ("admissionregistration.k8s.io", _) | ("networking.k8s.io", "Ingress") => Self::External,
            ("", "Service") if is_load_balancer => Self::External,
            ("apps" | "batch" | "autoscaling", _) | ("", "Pod" | "ReplicationController") => Self::Workloads,
            (group, _) if !is_builtin(group) => Self::External,
            _ => Self::Configuration,
        }
    }
}

/// Kinds that pruning leaves alone because others or data would go with them; deleting the set deletes them too.
pub(crate) fn is_spared(object: &ObjectRef) -> bool {
    matches!(
        (object.group(), object.kind.as_str()),
        ("", "Namespace" | "PersistentVolumeClaim") | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_come_first_and_go_last() {
        let of = |api_version: &str, kind: &str| {
            let object = ObjectRef::new(api_version, kind, "a");
            (Stage::of(&object), Farewell::of(&object, false))
        };
        assert_eq!(of("v1", "Namespace"), (Stage::Definitions, Farewell::Containers));
        assert_eq!(
            of("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            (Stage::Definitions, Farewell::Containers)
        );
        assert_eq!(of("v1", "Secret"), (Stage::Configuration, Farewell::Configuration));
        assert_eq!(of("apps/v1", "Deployment"), (Stage::Workloads, Farewell::Workloads));
        assert_eq!(of("example.com/v1", "Widget"), (Stage::Custom, Farewell::External));
        assert_eq!(of("gateway.networking.k8s.io/v1", "Gateway"), (Stage::Custom, Farewell::External));
        assert_eq!(of("gateway.networking.k8s.io/v1", "GatewayClass").0, Stage::Classes);
        assert_eq!(of("storage.k8s.io/v1", "StorageClass").0, Stage::Classes);
        assert_eq!(of("rbac.authorization.k8s.io/v1", "ClusterRole").0, Stage::Definitions);
        assert_eq!(
            of("rbac.authorization.k8s.io/v1", "Role"),
            (Stage::Configuration, Farewell::Configuration)
        );
        let service = ObjectRef::new("v1", "Service", "a");
        assert_eq!(Farewell::of(&service, true), Farewell::External);
    }
}

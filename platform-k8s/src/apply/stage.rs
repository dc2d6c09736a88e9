//! In which order kinds are written and deleted.

use platform_core::manifest::ObjectRef;

/// What is written before what. A stage begins when everything of the one before is established.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// What others cannot exist without: CustomResourceDefinitions, namespaces, classes.
    Definitions,
    /// What workloads are checked against or refer to when they start: roles, accounts, configuration, quotas.
    Configuration,
    /// Everything else: workloads, services, custom resources.
    Workloads,
    /// What stands in the way of writing once it is there: webhooks and policies.
    Admission,
}

impl Stage {
    pub(crate) const ALL: [Self; 4] =
        [Self::Definitions, Self::Configuration, Self::Workloads, Self::Admission];

    pub(crate) fn of(object: &ObjectRef) -> Self {
        match (object.group(), object.kind.as_str()) {
            ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("", "Namespace")
            | ("scheduling.k8s.io", "PriorityClass")
            | ("storage.k8s.io", "StorageClass")
            | ("networking.k8s.io", "IngressClass")
            | ("node.k8s.io", "RuntimeClass") => Self::Definitions,
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
            _ => Self::Workloads,
        }
    }
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
            // Groups of Kubernetes itself are one word or end in k8s.io; all others are custom resources.
            (group, _) if group.contains('.') && !group.ends_with(".k8s.io") => Self::External,
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
        assert_eq!(of("example.com/v1", "Widget"), (Stage::Workloads, Farewell::External));
        assert_eq!(
            of("rbac.authorization.k8s.io/v1", "Role"),
            (Stage::Configuration, Farewell::Configuration)
        );
        let service = ObjectRef::new("v1", "Service", "a");
        assert_eq!(Farewell::of(&service, true), Farewell::External);
    }
}

//! What keeps an environment apart.
//!
//! The environment is the border. In each of its namespaces:
//! - Pod Security `restricted`, so that no pod reaches its node;
//! - a `ResourceQuota` and a `LimitRange`, so that no application takes what the others need, or ports of the nodes that they share;
//! - an admission [policy](super::address), so that no Service takes the traffic of others;
//! - a `ServiceAccount` named `deployer` that may change what applications are made of and nothing else: no roles, quotas or policies, and
//!   nothing outside of the namespace;
//! - network policies that deny everything, then allow DNS and, in both directions, pods of the same environment: with a namespace for
//!   each application these are the namespaces that bear its label. Ports that applications offer to the ingress are opened with
//!   the application, which knows them. A node's probes of its own pods are never denied; what is outside of the cluster is.
//!
//! A protected environment has a [guard](super::guard) besides, which nobody's rights get around.

use super::{address, guard::guard, manifests};
use crate::labels;
use platform_core::{Result, manifest::Manifest, orchestrator::IsolationScope};
use serde_json::{Value, json};

/// The account, role and binding of what deploys into a namespace.
const DEPLOYER: &str = "deployer";
/// The quota and the limits of a namespace.
const LIMITS: &str = "platform";

pub(crate) fn isolation(scope: &IsolationScope, break_glass_group: &str) -> Result<Vec<Manifest>> {
    let mut objects = Vec::new();
    for (namespace, _) in &scope.namespaces {
        let namespace = namespace.as_str();
        objects.push(namespace_object(scope, namespace));
        objects.extend(limits(scope, namespace));
        objects.extend(deployer(namespace));
        objects.extend(network_policies(scope, namespace));
    }
    if !scope.namespaces.is_empty() {
        objects.extend(address::policy(scope));
    }
    if scope.environment.protected && !scope.namespaces.is_empty() {
        objects.extend(guard(scope, break_glass_group));
    }
    let environment = [(labels::ENVIRONMENT, scope.environment.name.as_str())];
    Ok(manifests(objects)?.into_iter().map(|manifest| manifest.with_labels(environment)).collect())
}

fn namespace_object(scope: &IsolationScope, name: &str) -> Value {
    let mut object_labels = json!({
        labels::PLATFORM: scope.platform.as_str(),
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    });
    let mut metadata = json!({"name": name});
    if let (Value::Object(object_labels), Value::Object(metadata)) = (&mut object_labels, &mut metadata) {
        if scope.environment.protected {
            object_labels.insert(labels::PROTECTED.to_owned(), "true".into());
        } else {
            // Where it was protected before, the guard lets the label go by this.
            metadata.insert("annotations".to_owned(), json!({labels::CONFIRM_DELETION: name}));
        }
        metadata.insert("labels".to_owned(), object_labels.clone().into());
    }
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
}

fn limits(scope: &IsolationScope, namespace: &str) -> [Value; 2] {
    let quota = &scope.environment.quota;
    [
        json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": LIMITS, "namespace": namespace},
            "spec": {"hard": {
                "pods": quota.pods.to_string(),
                "requests.cpu": quota.cpu.as_str(),
                "requests.memory": quota.memory.as_str(),
                // Traffic comes in by the ingress. A port of every node would be one of all environments' nodes.
                "services.loadbalancers": "0",
                "services.nodeports": "0",
            }},
        }),
        // A quota refuses containers that request nothing: these get a little.
        json!({
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": LIMITS, "namespace": namespace},
            "spec": {"limits": [{
                "type": "Container",
                "defaultRequest": {"cpu": "100m", "memory": "128Mi"},
                "default": {"memory": "256Mi"},
            }]},
        }),
    ]
}

fn deployer(namespace: &str) -> [Value; 3] {
    let metadata = json!({"name": DEPLOYER, "namespace": namespace});
    let write = ["create", "delete", "get", "list", "patch", "update", "watch"];
    let read = ["get", "list", "watch"];
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    [
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata,
            "automountServiceAccountToken": false,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [
                rule("", &["configmaps", "persistentvolumeclaims", "secrets", "serviceaccounts", "services"], &write),
                rule("", &["pods"], &["delete", "get", "list", "watch"]),
                rule("", &["events", "limitranges", "pods/log", "resourcequotas"], &read),
                rule("apps", &["deployments", "statefulsets"], &write),
                rule("apps", &["replicasets"], &read),
                rule("autoscaling", &["horizontalpodautoscalers"], &write),
                rule("batch", &["cronjobs", "jobs"], &write),
                rule("networking.k8s.io", &["ingresses"], &write),
                rule("networking.k8s.io", &["networkpolicies"], &read),
                rule("policy", &["poddisruptionbudgets"], &write),
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": DEPLOYER},
            "subjects": [{"kind": "ServiceAccount", "name": DEPLOYER, "namespace": namespace}],
        }),
    ]
}

fn network_policies(scope: &IsolationScope, namespace: &str) -> [Value; 3] {
    let policy = |name: &str, spec: Value| {
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        })
    };
    let dns = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    });
    // Nobody who deploys may label namespaces, so that the label can be trusted.
    let same_environment = if scope.namespaces.len() > 1 {
        json!({"namespaceSelector": {"matchLabels": {
            labels::PLATFORM: scope.platform.as_str(),
            labels::ENVIRONMENT: scope.environment.name.as_str(),
        }}})
    } else {
        json!({"podSelector": {}})
    };
    [
        policy("default-deny", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})),
        policy(
            "allow-dns",
            json!({
                "podSelector": {},
                "policyTypes": ["Egress"],
                "egress": [{
                    "to": [dns],
                    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
                }],
            }),
        ),
        policy(
            "allow-same-environment",
            json!({
                "podSelector": {},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [same_environment]}],
                "egress": [{"to": [same_environment]}],
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::{
        Environment, Isolation,
        name::{ClusterName, Namespace, PlatformName},
    };

    fn scope(isolation: Isolation, protected: bool, namespaces: &[&str]) -> IsolationScope {
        IsolationScope::new(
            PlatformName::new("shop").unwrap(),
            Environment::new("production").unwrap().protected(protected),
            isolation,
            ClusterName::new("shop-production").unwrap(),
            namespaces.iter().map(|name| (Namespace::new(name).unwrap(), Vec::new())).collect(),
        )
    }

    fn rendered(isolation: Isolation, protected: bool, namespaces: &[&str]) -> Vec<Manifest> {
        super::isolation(&scope(isolation, protected, namespaces), "platform:break-glass").unwrap()
    }

    fn object<'a>(manifests: &'a [Manifest], kind: &str, namespace: Option<&str>, name: &str) -> &'a Value {
        let found = manifests.iter().find(|m| {
            let r = m.reference();
            r.kind == kind && r.namespace.as_deref() == namespace && r.name == name
        });
        found.map(Manifest::object).unwrap()
    }

    #[test]
    fn a_protected_environment_bears_its_label() {
        let rendered = rendered(Isolation::NamespacePerEnvironment, true, &["production"]);
        let metadata = &object(&rendered, "Namespace", None, "production")["metadata"];
        let labels = &metadata["labels"];
        assert!(metadata.get("annotations").is_none());
        assert_eq!(labels["platform.dev/protected"], "true");
        assert_eq!(labels["platform.dev/environment"], "production");
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
        let rendered = rendered(Isolation::NamespacePerEnvironment, false, &["production"]);
        let metadata = &object(&rendered, "Namespace", None, "production")["metadata"];
        assert!(metadata["labels"].get(labels::PROTECTED).is_none());
        // What takes the protection away confirms it in the same write.
        assert_eq!(metadata["annotations"], json!({"platform.dev/confirm-deletion": "production"}));
        assert!(!rendered.iter().any(|m| m.reference().name.starts_with("deletion-guard")));
    }

    #[test]
    fn applications_of_an_environment_reach_each_other_across_its_namespaces_only() {
        let of = |namespaces: &[&str]| {
            let rendered = rendered(Isolation::NamespacePerApplication, false, namespaces);
            let policy =
                object(&rendered, "NetworkPolicy", Some(namespaces[0]), "allow-same-environment").clone();
            policy["spec"]["ingress"][0]["from"][0].clone()
        };
        assert_eq!(of(&["production"]), json!({"podSelector": {}}));
        let selector = of(&["production-api1", "production-api2"]);
        assert_eq!(
            selector["namespaceSelector"]["matchLabels"],
            json!({"platform.dev/platform": "shop", "platform.dev/environment": "production"})
        );
    }

    #[test]
    fn nothing_but_namespaces_and_policies_is_cluster_scoped_and_the_deployer_cannot_widen_its_rights() {
        let rendered = rendered(Isolation::NamespacePerApplication, true, &["a", "b"]);
        for manifest in &rendered {
            let reference = manifest.reference();
            let is_of_cluster =
                reference.kind == "Namespace" || reference.kind.starts_with("ValidatingAdmissionPolicy");
            assert_eq!(reference.namespace.is_none(), is_of_cluster, "{reference}");
        }
        let role = object(&rendered, "Role", Some("a"), DEPLOYER).to_string();
        for forbidden in [
            "rolebindings",
            "\"roles\"",
            "\"*\"",
            "escalate",
            "impersonate",
            "namespaces",
            "serviceaccounts/token",
        ] {
            assert!(!role.contains(forbidden), "{forbidden}");
        }
    }
}

//! The roles and bindings that every cluster has and that people bind and aggregate to, as Kubernetes 1.34 ships
//! them.
//!
//! Those of the control plane's own components are left out: the components of an embedded cluster are in this
//! process and ask nobody.

use serde_json::{Value, json};

use super::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, RBAC, ROLE_BINDINGS, ROLES, aggregation};
use crate::kubernetes::error::ApiError;
use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::state::Key;
use crate::kubernetes::store::Store;

type Names = &'static [&'static str];

const MANAGER: &str = "kube-apiserver";

const CREATE: Names = &["create"];
const GET: Names = &["get"];
const READ: Names = &["get", "list", "watch"];
const WRITE: Names = &["create", "delete", "deletecollection", "patch", "update"];
const READ_WRITE: Names =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

const TO_ADMIN: &str = "rbac.authorization.k8s.io/aggregate-to-admin";
const TO_EDIT: &str = "rbac.authorization.k8s.io/aggregate-to-edit";
const TO_VIEW: &str = "rbac.authorization.k8s.io/aggregate-to-view";

struct Role {
    name: &'static str,
    /// The label by which others sum this role up.
    label: Option<&'static str>,
    rules: &'static [Rule],
}

enum Rule {
    On(&'static str, Names, Names),
    Paths(Names),
    Everything,
}
use Rule::{Everything, On, Paths};

/// Roles that sum up those with a label, and the label by which they are summed up themselves.
const SUMS: [(&str, &str, Option<&str>); 3] =
    [("view", TO_VIEW, Some(TO_EDIT)), ("edit", TO_EDIT, Some(TO_ADMIN)), ("admin", TO_ADMIN, None)];

#[rustfmt::skip] // one line, one rule
static CLUSTER: &[Role] = &[
    Role { name: "cluster-admin", label: None, rules: &[Everything] },
    Role { name: "system:aggregate-to-admin", label: Some(TO_ADMIN), rules: &[
        On("authorization.k8s.io", &["localsubjectaccessreviews"], CREATE),
        On(RBAC, &["rolebindings", "roles"], READ_WRITE),
    ] },
    Role { name: "system:aggregate-to-edit", label: Some(TO_EDIT), rules: &[
        On("", &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"], READ),
        On("", &["serviceaccounts"], &["impersonate"]),
        On("", &["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"], WRITE),
        On("", &["pods/eviction"], CREATE),
        On("", &["configmaps", "events", "persistentvolumeclaims", "replicationcontrollers", "replicationcontrollers/scale", "secrets", "serviceaccounts", "services", "services/proxy"], WRITE),
        On("", &["serviceaccounts/token"], CREATE),
        On("apps", &["daemonsets", "deployments", "deployments/rollback", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets", "statefulsets/scale"], WRITE),
        On("autoscaling", &["horizontalpodautoscalers"], WRITE),
        On("batch", &["cronjobs", "jobs"], WRITE),
        On("extensions", &["daemonsets", "deployments", "deployments/rollback", "deployments/scale", "ingresses", "networkpolicies", "replicasets", "replicasets/scale", "replicationcontrollers/scale"], WRITE),
        On("policy", &["poddisruptionbudgets"], WRITE),
        On("networking.k8s.io", &["ingresses", "networkpolicies"], WRITE),
        On("coordination.k8s.io", &["leases"], READ_WRITE),
        On("resource.k8s.io", &["resourceclaims", "resourceclaimtemplates"], WRITE),
    ] },
    Role { name: "system:aggregate-to-view", label: Some(TO_VIEW), rules: &[
        On("", &["configmaps", "endpoints", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods", "replicationcontrollers", "replicationcontrollers/scale", "serviceaccounts", "services", "services/status"], READ),
        On("", &["bindings", "events", "limitranges", "namespaces/status", "pods/log", "pods/status", "replicationcontrollers/status", "resourcequotas", "resourcequotas/status"], READ),
        On("", &["namespaces"], READ),
        On("discovery.k8s.io", &["endpointslices"], READ),
        On("apps", &["controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale", "deployments/status", "replicasets", "replicasets/scale", "replicasets/status", "statefulsets", "statefulsets/scale", "statefulsets/status"], READ),
        On("autoscaling", &["horizontalpodautoscalers", "horizontalpodautoscalers/status"], READ),
        On("batch", &["cronjobs", "cronjobs/status", "jobs", "jobs/status"], READ),
        On("extensions", &["daemonsets", "daemonsets/status", "deployments", "deployments/scale", "deployments/status", "ingresses", "ingresses/status", "networkpolicies", "replicasets", "replicasets/scale", "replicasets/status", "replicationcontrollers/scale"], READ),
        On("policy", &["poddisruptionbudgets", "poddisruptionbudgets/status"], READ),
        On("networking.k8s.io", &["ingresses", "ingresses/status", "networkpolicies"], READ),
        On("resource.k8s.io", &["resourceclaims", "resourceclaims/status", "resourceclaimtemplates"], READ),
    ] },
    Role { name: "system:auth-delegator", label: None, rules: &[
        On("authentication.k8s.io", &["tokenreviews"], CREATE),
        On("authorization.k8s.io", &["subjectaccessreviews"], CREATE),
    ] },
    Role { name: "system:basic-user", label: None, rules: &[
        On("authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], CREATE),
        On("authentication.k8s.io", &["selfsubjectreviews"], CREATE),
    ] },
    Role { name: "system:discovery", label: None, rules: &[
        Paths(&["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"]),
    ] },
    Role { name: "system:kubelet-api-admin", label: None, rules: &[
        On("", &["nodes"], READ),
        On("", &["nodes"], &["proxy"]),
        On("", &["nodes/log", "nodes/metrics", "nodes/proxy", "nodes/stats"], &["*"]),
        On("", &["nodes/configz", "nodes/healthz", "nodes/pods"], &["*"]),
    ] },
    Role { name: "system:monitoring", label: None, rules: &[
        Paths(&["/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz", "/readyz/*"]),
        On("", &["nodes/metrics"], GET),
    ] },
    Role { name: "system:public-info-viewer", label: None, rules: &[
        Paths(&["/healthz", "/livez", "/readyz", "/version", "/version/"]),
    ] },
    Role { name: "system:service-account-issuer-discovery", label: None, rules: &[
        Paths(&["/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks", "/openid/v1/jwks/"]),
    ] },
];

/// The groups that the ClusterRoles of the same names are bound to.
const BOUND: [(&str, Names); 6] = [
    ("cluster-admin", &["system:masters"]),
    ("system:basic-user", &["system:authenticated"]),
    ("system:discovery", &["system:authenticated"]),
    ("system:monitoring", &["system:monitoring"]),
    ("system:public-info-viewer", &["system:authenticated", "system:unauthenticated"]),
    ("system:service-account-issuer-discovery", &["system:serviceaccounts"]),
];

/// Creates what is not there, so that a cluster keeps what its users made of it.
pub(in crate::kubernetes) fn furnish(store: &Store) -> Result<(), ApiError> {
    let mut new = false;
    for role in CLUSTER {
        let rules: Vec<Value> = role.rules.iter().flat_map(Rule::values).collect();
        let mut object = json!({"metadata": metadata(role.name), "rules": rules});
        if let Some(label) = role.label {
            object["metadata"]["labels"][label] = json!("true");
        }
        new |= ensure(store, &CLUSTER_ROLES, object)?;
    }
    for (name, label, summed_up_by) in SUMS {
        let mut object = json!({
            "metadata": metadata(name),
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]},
            "rules": [],
        });
        if let Some(label) = summed_up_by {
            object["metadata"]["labels"][label] = json!("true");
        }
        new |= ensure(store, &CLUSTER_ROLES, object)?;
    }
    for (name, groups) in BOUND {
        let subject = |group: &&str| json!({"kind": "Group", "name": group, "apiGroup": RBAC});
        let subjects: Vec<Value> = groups.iter().map(subject).collect();
        let role = json!({"kind": "ClusterRole", "name": name, "apiGroup": RBAC});
        let object = json!({"metadata": metadata(name), "roleRef": role, "subjects": subjects});
        new |= ensure(store, &CLUSTER_ROLE_BINDINGS, object)?;
    }
    authentication_reader(store)?;
    if new {
        aggregation::settle(store)?;
    }
    Ok(())
}

/// What an aggregated API server needs in order to read how requests are authenticated.
fn authentication_reader(store: &Store) -> Result<(), ApiError> {
    const NAME: &str = "extension-apiserver-authentication-reader";
    let inside = |name: &str| {
        let mut metadata = metadata(name);
        metadata["namespace"] = json!("kube-system");
        metadata
    };
    let role = json!({
        "metadata": inside(NAME),
        "rules": [{
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["extension-apiserver-authentication"],
            "verbs": READ,
        }],
    });
    ensure(store, &ROLES, role)?;
    let user = |name: &str| json!({"kind": "User", "name": name, "apiGroup": RBAC});
    let binding = json!({
        "metadata": inside(&format!("system::{NAME}")),
        "roleRef": {"kind": "Role", "name": NAME, "apiGroup": RBAC},
        "subjects": [user("system:kube-controller-manager"), user("system:kube-scheduler")],
    });
    ensure(store, &ROLE_BINDINGS, binding).map(|_| ())
}

impl Rule {
    fn values(&self) -> Vec<Value> {
        match self {
            On(group, resources, verbs) => {
                vec![json!({"apiGroups": [group], "resources": resources, "verbs": verbs})]
            }
            Paths(paths) => vec![json!({"nonResourceURLs": paths, "verbs": GET})],
            Everything => vec![
                json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}),
                json!({"nonResourceURLs": ["*"], "verbs": ["*"]}),
            ],
        }
    }
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

/// Whether the object had to be created.
fn ensure(store: &Store, collection: &GroupResource, object: Value) -> Result<bool, ApiError> {
    if store.find(&Key::of(collection, &object)).is_some() {
        return Ok(false);
    }
    store.create(collection, object, MANAGER).map(|_| true)
}

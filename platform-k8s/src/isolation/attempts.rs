//! What is tried on an API server.

use super::{caller::Call, guard, probe::Run};
use crate::labels;
use platform_core::{
    Image,
    component::SYSTEM_NAMESPACE,
    isolation::{Action, Expectation},
    name::Namespace,
    orchestrator::IsolationScope,
};
use serde_json::{Value, json};

/// Something to be tried.
pub(super) struct Trial {
    pub(super) action: Action,
    pub(super) target: String,
    pub(super) expected: Expectation,
    /// Sent one after the other as long as they are stopped; it is allowed if one is not.
    pub(super) calls: Vec<Call>,
    /// What takes back the last call if it was allowed.
    pub(super) undo: Option<Call>,
}

impl Trial {
    fn crossing(action: Action, target: impl Into<String>, call: Call) -> Self {
        Self { action, target: target.into(), expected: Expectation::Stopped, calls: vec![call], undo: None }
    }

    fn control(action: Action, target: impl Into<String>, call: Call) -> Self {
        Self { expected: Expectation::Allowed, ..Self::crossing(action, target, call) }
    }
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
/// In every namespace, by Kubernetes.
const ANY_CONFIG_MAP: &str = "kube-root-ca.crt";
/// A name that nothing has.
const NOTHING: &str = "isolation-probe";

fn core(namespace: &str, rest: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{rest}")
}

/// What a deployer may not do in a namespace of another environment, or of the platform.
pub(super) fn abroad(namespace: &str) -> Vec<Trial> {
    let config_map = core(namespace, &format!("configmaps/{ANY_CONFIG_MAP}"));
    let the_config_map = format!("ConfigMap {namespace}/{ANY_CONFIG_MAP}");
    let deployments = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
    vec![
        Trial::crossing(Action::Read, &the_config_map, Call::get(&config_map)),
        Trial::crossing(
            Action::List,
            format!("Pods of {namespace}"),
            Call::get(core(namespace, "pods")).query("limit", "1"),
        ),
        Trial::crossing(
            Action::ReadSecrets,
            format!("namespace {namespace}"),
            Call::get(core(namespace, "secrets")).query("limit", "1"),
        ),
        Trial::crossing(
            Action::Create,
            format!("ConfigMap {namespace}/{NOTHING}"),
            Call::create(core(namespace, "configmaps"), config_map_object(namespace)).dry(),
        ),
        Trial::crossing(
            Action::Apply,
            format!("Deployment {namespace}/{NOTHING}"),
            Call::apply(format!("{deployments}/{NOTHING}"), deployment(namespace)).dry(),
        ),
        Trial::crossing(
            Action::Patch,
            &the_config_map,
            Call::patch(&config_map, json!({"data": {NOTHING: "1"}})).dry(),
        ),
        Trial::crossing(Action::Delete, &the_config_map, Call::delete(&config_map).dry()),
        Trial::crossing(
            Action::DeleteAll,
            format!("Pods of {namespace}"),
            Call::delete(core(namespace, "pods")).dry(),
        ),
        Trial::crossing(
            Action::Exec,
            format!("Pod {namespace}/{NOTHING}"),
            Call::post(core(namespace, &format!("pods/{NOTHING}/exec")))
                .query("command", "true")
                .query("stdout", "true"),
        ),
        Trial::crossing(
            Action::DeleteNamespace,
            format!("Namespace {namespace}"),
            Call::delete(format!("/api/v1/namespaces/{namespace}")).dry(),
        ),
    ]
}

/// What a deployer may not do in its own namespace, and, as a control, what it may.
pub(super) fn at_home(scope: &IsolationScope, namespace: &Namespace) -> Vec<Trial> {
    let home = namespace.as_str();
    let roles = format!("{RBAC}/namespaces/{home}/roles/deployer");
    let policy = format!("/apis/networking.k8s.io/v1/namespaces/{home}/networkpolicies/default-deny");
    let binding = |kind: &str, metadata: Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": home}],
        })
    };
    let relabelled = json!({"metadata": {"labels": {
        "pod-security.kubernetes.io/enforce": "privileged",
        labels::ENVIRONMENT: "another",
    }}});
    let mut trials = vec![
        Trial::control(
            Action::List,
            format!("Pods of {home}"),
            Call::get(core(home, "pods")).query("limit", "1"),
        ),
        Trial::control(
            Action::Create,
            format!("ConfigMap {home}/{NOTHING}"),
            Call::create(core(home, "configmaps"), config_map_object(home)).dry(),
        ),
        Trial::crossing(
            Action::BindRole,
            format!("namespace {home}"),
            Call::create(
                format!("{RBAC}/namespaces/{home}/rolebindings"),
                binding("RoleBinding", json!({"name": NOTHING, "namespace": home})),
            )
            .dry(),
        ),
        Trial::crossing(
            Action::BindClusterRole,
            format!("cluster {}", scope.cluster),
            Call::create(
                format!("{RBAC}/clusterrolebindings"),
                binding("ClusterRoleBinding", json!({"name": NOTHING})),
            )
            .dry(),
        ),
        Trial::crossing(
            Action::WidenRole,
            format!("Role {home}/deployer"),
            Call::patch(&roles, json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}))
                .dry(),
        ),
        Trial::crossing(
            Action::Impersonate,
            "system:admin",
            Call::get(core("kube-system", "secrets")).query("limit", "1").acting_as("system:admin"),
        ),
        Trial::crossing(
            Action::RemoveNetworkPolicy,
            format!("NetworkPolicy {home}/default-deny"),
            Call::delete(policy).dry(),
        ),
        Trial::crossing(
            Action::RemoveQuota,
            format!("ResourceQuota {home}/platform"),
            Call::delete(core(home, "resourcequotas/platform")).dry(),
        ),
        Trial::crossing(
            Action::RelabelNamespace,
            format!("Namespace {home}"),
            Call::patch(format!("/api/v1/namespaces/{home}"), relabelled).dry(),
        ),
    ];
    let service = |field: &str, value: Value| {
        let mut spec = json!({"ports": [{"port": 80}]});
        set(&mut spec, "", field, value);
        let metadata = json!({"name": NOTHING, "namespace": home});
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
        Call::create(core(home, "services"), object).dry()
    };
    trials.push(Trial::crossing(
        Action::OpenNodePort,
        format!("namespace {home}"),
        service("type", "NodePort".into()),
    ));
    // An address for examples, which belongs to nobody.
    trials.push(Trial::crossing(
        Action::ClaimAddress,
        format!("namespace {home}"),
        service("externalIPs", json!(["192.0.2.1"])),
    ));
    if scope.environment.protected {
        trials.push(Trial::crossing(
            Action::RemoveGuard,
            format!("ValidatingAdmissionPolicy {}", guard::name(&scope.platform, &scope.environment.name)),
            Call::delete(guard_path(scope)).dry(),
        ));
    }
    trials
}

/// What not even an administrator gets into a namespace, or out of it.
pub(super) fn as_administrator(
    scope: &IsolationScope,
    namespace: &Namespace,
    run: &Run,
    image: &Image,
) -> Vec<Trial> {
    let home = namespace.as_str();
    let pods = core(home, "pods");
    let name = run.name("quota");
    let base = run.pod(home, &name, image, &["true"]);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut pod = base.clone();
        change(&mut pod);
        Call::create(&pods, pod).dry()
    };
    let container = "/spec/containers/0";
    let privileged = with(&|pod| {
        set(pod, container, "securityContext", json!({"privileged": true}));
    });
    let host_path = with(&|pod| {
        set(pod, "/spec", "volumes", json!([{"name": "work", "hostPath": {"path": "/etc"}}]));
    });
    let host_network = with(&|pod| set(pod, "/spec", "hostNetwork", true.into()));
    let host_port = with(&|pod| {
        set(pod, container, "ports", json!([{"containerPort": 8080, "hostPort": 38080}]));
    });
    let mut greedy = base.clone();
    set(
        &mut greedy,
        container,
        "resources",
        json!({"requests": {"cpu": "1000000", "memory": "16Mi"}, "limits": {"memory": "32Mi"}}),
    );
    let in_namespace = format!("namespace {home}");
    let mut trials = vec![
        Trial::crossing(Action::RunPrivileged, &in_namespace, privileged),
        Trial::crossing(Action::MountHostPath, &in_namespace, host_path),
        Trial::crossing(Action::UseHostNetwork, &in_namespace, host_network),
        Trial::crossing(Action::UseHostPort, &in_namespace, host_port),
        Trial {
            calls: vec![Call::create(&pods, greedy.clone()).dry(), Call::create(&pods, greedy)],
            undo: Some(Call::delete(format!("{pods}/{name}"))),
            ..Trial::crossing(Action::ExceedQuota, &in_namespace, Call::get(""))
        },
        Trial::control(Action::Create, format!("Pod {home}/{name}"), Call::create(&pods, base).dry()),
    ];
    if scope.environment.protected {
        let path = format!("/api/v1/namespaces/{home}");
        let unprotected = json!({"metadata": {"labels": {labels::PROTECTED: null}}});
        trials.extend([
            Trial::crossing(Action::DeleteNamespace, format!("Namespace {home}"), Call::delete(&path).dry()),
            Trial::crossing(
                Action::Unprotect,
                format!("Namespace {home}"),
                Call::patch(&path, unprotected).dry(),
            ),
        ]);
    }
    trials
}

/// What a deployer's token is worth in another cluster.
pub(super) fn elsewhere(cluster: &str) -> Trial {
    let target = format!("cluster {cluster}");
    Trial::crossing(
        Action::Authenticate,
        target,
        Call::get(core(SYSTEM_NAMESPACE, "configmaps")).query("limit", "1"),
    )
}

fn guard_path(scope: &IsolationScope) -> String {
    let name = guard::name(&scope.platform, &scope.environment.name);
    format!("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{name}")
}

fn config_map_object(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NOTHING, "namespace": namespace}})
}

fn deployment(namespace: &str) -> Value {
    let labels = json!({"app.kubernetes.io/name": NOTHING});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NOTHING, "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "probe", "image": "probe"}]},
            },
        },
    })
}

fn set(object: &mut Value, at: &str, key: &str, value: Value) {
    if let Some(Value::Object(map)) = object.pointer_mut(at) {
        map.insert(key.to_owned(), value);
    }
}

use super::super::{arbitrary_json, builtin, check_builtin, default_builtin};
use super::*;
use proptest::prelude::*;
use serde_json::json;

/// The fields that findings about an object with defaults are about.
fn fields(group: &str, kind: &str, mut object: Value) -> Vec<String> {
    default_builtin(group, "v1", kind, &mut object);
    builtin(group, "v1", kind, &object).into_iter().map(|finding| finding.field).collect()
}

fn workload(change: &Value) -> Value {
    let mut object = json!({"metadata": {"name": "w"}, "spec": {
        "selector": {"matchLabels": {"app": "w"}},
        "template": {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    json_patch::merge(&mut object, change);
    object
}

#[test]
fn sound_objects_pass() {
    for (group, kind) in
        [("apps", "Deployment"), ("apps", "ReplicaSet"), ("apps", "StatefulSet"), ("apps", "DaemonSet")]
    {
        assert_eq!(fields(group, kind, workload(&json!({}))), [""; 0], "{kind}");
    }
    let job =
        workload(&json!({"spec": {"selector": null, "template": {"spec": {"restartPolicy": "Never"}}}}));
    assert_eq!(fields("batch", "Job", job), [""; 0]);
    let service = json!({"spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    assert_eq!(fields("", "Service", service), [""; 0]);
    let claim =
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    assert_eq!(fields("", "PersistentVolumeClaim", claim), [""; 0]);
    let secret = json!({"data": {"a": "aGk="}});
    assert_eq!(fields("", "Secret", secret), [""; 0]);
    let binding =
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]});
    assert_eq!(fields("rbac.authorization.k8s.io", "RoleBinding", binding), [""; 0]);
}

#[test]
fn broken_workloads_are_refused_where_they_are_broken() {
    let container = |change: Value| {
        let mut container = json!({"name": "c", "image": "i"});
        json_patch::merge(&mut container, &change);
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    };
    let inside = |field: &str| format!("spec.template.spec.containers[0].{field}");
    for (change, field) in [
        (json!({"spec": {"selector": null}}), "spec.selector".to_owned()),
        (
            json!({"spec": {"selector": {"matchLabels": {"app": "x"}}}}),
            "spec.template.metadata.labels".to_owned(),
        ),
        (json!({"spec": {"replicas": -1}}), "spec.replicas".to_owned()),
        (json!({"spec": {"replicas": "two"}}), "spec.replicas".to_owned()),
        (json!({"spec": {"strategy": {"type": "Magic"}}}), "spec.strategy.type".to_owned()),
        (
            json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}}),
            "spec.strategy.rollingUpdate.maxUnavailable".to_owned(),
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": []}}}}),
            "spec.template.spec.containers".to_owned(),
        ),
        (
            json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
            "spec.template.spec.restartPolicy".to_owned(),
        ),
        (
            json!({"spec": {"template": {"metadata": {"labels": {"b": "-"}}}}}),
            "spec.template.metadata.labels".to_owned(),
        ),
        (container(json!({"image": null})), inside("image")),
        (container(json!({"name": "Not_A_Label"})), inside("name")),
        (container(json!({"ports": [{"containerPort": 70000}]})), inside("ports[0].containerPort")),
        (
            container(json!({"ports": [{"containerPort": 1, "protocol": "ICMP"}]})),
            inside("ports[0].protocol"),
        ),
        (container(json!({"env": [{"name": ""}]})), inside("env[0].name")),
        (
            container(json!({"volumeMounts": [{"name": "x", "mountPath": "/x"}]})),
            inside("volumeMounts[0].name"),
        ),
        (container(json!({"resources": {"limits": {"cpu": "lots"}}})), inside("resources.limits[cpu]")),
        (
            container(json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1001m"}}})),
            inside("resources.requests"),
        ),
        (container(json!({"livenessProbe": {}})), inside("livenessProbe")),
        (container(json!({"imagepullpolicy": "Always"})), inside("imagepullpolicy")),
    ] {
        let found = fields("apps", "Deployment", workload(&change));
        assert!(found.contains(&field), "{change}: {found:?} lacks {field}");
    }
}

#[test]
fn the_other_kinds_have_rules_too() {
    let rbac = "rbac.authorization.k8s.io";
    let net = "networking.k8s.io";
    let path = |path: Value| json!({"spec": {"rules": [{"http": {"paths": [path]}}]}});
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    for (group, kind, object, field) in [
        ("", "Service", json!({"spec": {}}), "spec.ports"),
        (
            "",
            "Service",
            json!({"spec": {"ports": [{"port": 1}, {"port": 2, "name": "b"}]}}),
            "spec.ports[0].name",
        ),
        ("", "Service", json!({"spec": {"ports": [{"port": 0}]}}), "spec.ports[0].port"),
        ("", "Service", json!({"spec": {"type": "X", "ports": [{"port": 1}]}}), "spec.type"),
        (
            "",
            "Service",
            json!({"spec": {"ports": [{"port": 1, "nodePort": 30000}]}}),
            "spec.ports[0].nodePort",
        ),
        ("", "ConfigMap", json!({"data": {"a/b": ""}}), "data[a/b]"),
        ("", "ConfigMap", json!({"data": {"a": ""}, "binaryData": {"a": "aGk="}}), "binaryData[a]"),
        ("", "Secret", json!({"data": {"a": "?"}}), "data.a"),
        ("", "Secret", json!({"type": "kubernetes.io/tls", "data": {}}), "data[tls.key]"),
        ("", "PersistentVolumeClaim", json!({"spec": {"accessModes": []}}), "spec.accessModes"),
        ("", "PersistentVolumeClaim", json!({"spec": {"accessModes": ["Any"]}}), "spec.accessModes[0]"),
        ("", "PersistentVolumeClaim", json!({"spec": {}}), "spec.resources.requests[storage]"),
        ("batch", "Job", workload(&json!({"spec": {"selector": null}})), "spec.template.spec.restartPolicy"),
        ("batch", "CronJob", json!({"spec": {"schedule": "daily"}}), "spec.schedule"),
        (rbac, "RoleBinding", json!({"roleRef": {"kind": "Rule", "name": "a"}}), "roleRef.kind"),
        (rbac, "ClusterRoleBinding", json!({"roleRef": {"kind": "Role", "name": "a"}}), "roleRef.kind"),
        (rbac, "Role", json!({"rules": [{"apiGroups": [""], "resources": ["pods"]}]}), "rules[0].verbs"),
        (net, "Ingress", json!({"spec": {}}), "spec"),
        (
            net,
            "Ingress",
            path(json!({"path": "/", "backend": backend})),
            "spec.rules[0].http.paths[0].pathType",
        ),
        (
            net,
            "Ingress",
            path(json!({"path": "a", "pathType": "Exact", "backend": backend})),
            "spec.rules[0].http.paths[0].path",
        ),
        (
            net,
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "policyTypes": ["Sideways"]}}),
            "spec.policyTypes[0]",
        ),
        (
            net,
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]}}),
            "spec.ingress[0].from[0].ipBlock.cidr",
        ),
        (
            "autoscaling",
            "HorizontalPodAutoscaler",
            json!({"spec": {"minReplicas": 3, "maxReplicas": 2}}),
            "spec.maxReplicas",
        ),
        ("policy", "PodDisruptionBudget", json!({"spec": {"minAvailable": 1, "maxUnavailable": 1}}), "spec"),
    ] {
        let found = fields(group, kind, object.clone());
        assert!(found.iter().any(|found| found == field), "{object}: {found:?} lacks {field}");
    }
}

proptest! {
    #[test]
    fn objects_of_any_shape_are_answered(spec in arbitrary_json()) {
        for (group, kind) in [
            ("", "Pod"), ("apps", "Deployment"), ("apps", "DaemonSet"), ("batch", "Job"), ("batch", "CronJob"),
            ("", "Service"), ("", "ConfigMap"), ("", "Secret"), ("", "PersistentVolumeClaim"), ("", "LimitRange"),
            ("networking.k8s.io", "Ingress"), ("networking.k8s.io", "NetworkPolicy"),
            ("rbac.authorization.k8s.io", "RoleBinding"), ("rbac.authorization.k8s.io", "ClusterRole"),
            ("autoscaling", "HorizontalPodAutoscaler"), ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ] {
            let _ = check_builtin(group, "v1", kind, &spec);
            let _ = check_builtin(group, "v1", kind, &json!({"spec": spec}));
        }
    }
}

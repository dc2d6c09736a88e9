//! Defaults of built-in kinds, after `k8s.io/kubernetes/pkg/apis/*/v1/defaults.go`. All of them are idempotent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::quantity;
use super::typed::drop_nulls;

/// Fills in what the API server fills in, and brings quantities into their canonical form.
pub fn default_builtin(group: &str, _version: &str, kind: &str, object: &mut Value) {
    if !object.is_object() {
        return;
    }
    drop_nulls(object);
    match (group, kind) {
        ("", "Pod") => at(object, &["spec"], pod),
        ("", "PodTemplate") => at(object, &["template"], template),
        ("", "ReplicationController") => at(object, &["spec"], replication_controller),
        ("", "Service") => at(object, &["spec"], service),
        ("", "PersistentVolumeClaim") => at(object, &["spec"], claim),
        ("", "PersistentVolume") => at(object, &["spec"], volume),
        ("", "Namespace") => named_by_label(object),
        ("", "Secret") => {
            set(object, "type", json!("Opaque"));
            fold_string_data(object);
        }
        ("", "ResourceQuota") => at(object, &["spec", "hard"], quantities),
        ("", "LimitRange") => each(object, &["spec", "limits"], limit),
        ("", "Node") => {
            for map in ["capacity", "allocatable"] {
                at(object, &["status", map], quantities);
            }
        }
        ("", "Endpoints") => each(object, &["subsets"], |subset| each(subset, &["ports"], protocol)),
        ("apps", "Deployment") => at(object, &["spec"], deployment),
        ("apps", "ReplicaSet") => at(object, &["spec"], |spec| {
            set(spec, "replicas", json!(1));
            at(spec, &["template"], template);
        }),
        ("apps", "StatefulSet") => at(object, &["spec"], stateful_set),
        ("apps", "DaemonSet") => at(object, &["spec"], daemon_set),
        ("batch", "Job") => {
            at(object, &["spec"], job);
            labels_of_pods(object);
        }
        ("batch", "CronJob") => at(object, &["spec"], cron_job),
        ("autoscaling", "HorizontalPodAutoscaler") => at(object, &["spec"], autoscaler),
        ("networking.k8s.io", "NetworkPolicy") => at(object, &["spec"], network_policy),
        ("networking.k8s.io", "IngressClass") => at(object, &["spec", "parameters"], |parameters| {
            set(parameters, "scope", json!("Cluster"));
        }),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => role_binding(object),
        ("storage.k8s.io", "StorageClass") => {
            set(object, "reclaimPolicy", json!("Delete"));
            set(object, "volumeBindingMode", json!("Immediate"));
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            set(object, "preemptionPolicy", json!("PreemptLowerPriority"));
        }
        ("discovery.k8s.io", "EndpointSlice") => each(object, &["ports"], |port| {
            set(port, "name", json!(""));
            protocol(port);
        }),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
            each(object, &["webhooks"], webhook);
        }
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => {
            each(object, &["webhooks"], |hook| {
                set(hook, "reinvocationPolicy", json!("Never"));
                webhook(hook);
            });
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => at(object, &["spec"], |spec| {
            set(spec, "failurePolicy", json!("Fail"));
            at(spec, &["matchConstraints"], match_resources);
        }),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            at(object, &["spec", "matchResources"], match_resources);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => at(object, &["spec"], definition),
        _ => {}
    }
}

/// Sets a field that is absent.
/// Every namespace can be selected by its name.
fn named_by_label(namespace: &mut Value) {
    let Some(name) = namespace.pointer("/metadata/name").filter(|name| name.is_string()).cloned() else {
        return;
    };
    let metadata = namespace.get_mut("metadata").and_then(Value::as_object_mut);
    let labels = metadata.map(|metadata| metadata.entry("labels").or_insert_with(|| json!({})));
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

/// `stringData` is write-only: it goes into `data`, encoded.
fn fold_string_data(secret: &mut Value) {
    let Some(secret) = secret.as_object_mut() else { return };
    let Some(Value::Object(plain)) = secret.remove("stringData") else { return };
    if plain.is_empty() {
        return;
    }
    if let Some(data) = secret.entry("data").or_insert_with(|| json!({})).as_object_mut() {
        let encoded = |text: &Value| json!(STANDARD.encode(text.as_str().unwrap_or_default()));
        data.extend(plain.iter().map(|(key, text)| (key.clone(), encoded(text))));
    }
}

/// An object without labels has those of its pods.
fn labels_of_pods(object: &mut Value) {
    let Some(labels) = object.pointer("/spec/template/metadata/labels").filter(|labels| labels.is_object())
    else {
        return;
    };
    let labels = labels.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && metadata.get("labels").is_none_or(|own| own.is_null() || *own == json!({}))
    {
        metadata.insert("labels".to_owned(), labels);
    }
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry(field).or_insert(value);
    }
}

/// Does something to the object or list at a path, if there is one.
fn at(object: &mut Value, path: &[&str], change: impl FnOnce(&mut Value)) {
    let found = path.iter().try_fold(object, |value, field| value.get_mut(field));
    if let Some(value) = found.filter(|value| value.is_object() || value.is_array()) {
        change(value);
    }
}

/// Does something to each item of the list at a path.
fn each(object: &mut Value, path: &[&str], change: impl FnMut(&mut Value)) {
    at(object, path, |list| list.as_array_mut().into_iter().flatten().for_each(change));
}

fn has(object: &Value, field: &str) -> bool {
    object.get(field).is_some()
}

fn is(object: &Value, field: &str, text: &str) -> bool {
    object.get(field).and_then(Value::as_str) == Some(text)
}

fn protocol(port: &mut Value) {
    set(port, "protocol", json!("TCP"));
}

fn quantities(map: &mut Value) {
    map.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(quantity::canonicalize);
}

fn limit(limit: &mut Value) {
    for map in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        at(limit, &[map], quantities);
    }
    if !is(limit, "type", "Container") {
        return;
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        if let Some(values) = limit.get(from).and_then(Value::as_object).cloned() {
            set(limit, to, json!({}));
            values.into_iter().for_each(|(name, value)| at(limit, &[to], |map| set(map, &name, value)));
        }
    }
}

fn template(template: &mut Value) {
    at(template, &["spec"], pod_spec);
}

fn pod(spec: &mut Value) {
    set(spec, "enableServiceLinks", json!(true));
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        each(spec, &[list], |container| {
            each(container, &["ports"], |port| {
                if let Some(number) = port.get("containerPort").filter(|_| host_network).cloned() {
                    set(port, "hostPort", number);
                }
            });
            let limits = container.pointer("/resources/limits").and_then(Value::as_object).cloned();
            let Some(limits) = limits.filter(|limits| !limits.is_empty()) else { return };
            at(container, &["resources"], |resources| {
                set(resources, "requests", json!({}));
                limits
                    .into_iter()
                    .for_each(|(name, value)| at(resources, &["requests"], |map| set(map, &name, value)));
            });
        });
    }
    pod_spec(spec);
}

fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "terminationGracePeriodSeconds", json!(30));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "securityContext", json!({}));
    set(spec, "schedulerName", json!("default-scheduler"));
    // The older name of the field is kept equal to the newer one.
    let (new, old) = ("serviceAccountName", "serviceAccount");
    for (from, to) in [(new, old), (old, new)] {
        if let Some(account) = spec.get(from).filter(|account| **account != json!("")).cloned() {
            set(spec, to, account);
        }
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, &[list], container);
    }
    each(spec, &["volumes"], pod_volume);
    at(spec, &["overhead"], quantities);
}

fn container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    set(container, "imagePullPolicy", json!(policy));
    set(container, "resources", json!({}));
    for map in ["limits", "requests"] {
        at(container, &["resources", map], quantities);
    }
    each(container, &["ports"], protocol);
    each(container, &["env"], |variable| {
        at(variable, &["valueFrom", "fieldRef"], |field| set(field, "apiVersion", json!("v1")));
        at(variable, &["valueFrom", "resourceFieldRef"], |field| {
            set(field, "divisor", json!("0"));
            field.get_mut("divisor").into_iter().for_each(quantity::canonicalize);
        });
    });
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        at(container, &[probe], |probe| {
            for (field, value) in [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ] {
                set(probe, field, json!(value));
            }
            handler(probe);
        });
    }
    for hook in ["postStart", "preStop"] {
        at(container, &["lifecycle", hook], handler);
    }
}

fn handler(handler: &mut Value) {
    at(handler, &["httpGet"], |get| {
        set(get, "path", json!("/"));
        set(get, "scheme", json!("HTTP"));
    });
    at(handler, &["grpc"], |call| set(call, "service", json!("")));
}

/// Whether an image has the tag `latest`, be it left out.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    name.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn pod_volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|fields| fields.keys().all(|field| field == "name")) {
        set(volume, "emptyDir", json!({}));
    }
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        at(volume, &[source], |source| set(source, "defaultMode", json!(420)));
    }
    for path in [&["downwardAPI", "items"][..], &["projected", "sources"][..]] {
        each(volume, path, |item| {
            at(item, &["fieldRef"], |field| set(field, "apiVersion", json!("v1")));
            each(item, &["downwardAPI", "items"], |item| {
                at(item, &["fieldRef"], |field| set(field, "apiVersion", json!("v1")));
            });
            at(item, &["serviceAccountToken"], |token| set(token, "expirationSeconds", json!(3600)));
        });
    }
    at(volume, &["hostPath"], |path| set(path, "type", json!("")));
    at(volume, &["emptyDir"], |directory| {
        directory.get_mut("sizeLimit").into_iter().for_each(quantity::canonicalize);
    });
    at(volume, &["ephemeral", "volumeClaimTemplate", "spec"], claim);
}

fn replication_controller(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    if let Some(labels) = spec.pointer("/template/metadata/labels").cloned() {
        set(spec, "selector", labels);
    }
    at(spec, &["template"], template);
}

fn deployment(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "progressDeadlineSeconds", json!(600));
    set(spec, "strategy", json!({}));
    at(spec, &["strategy"], |strategy| {
        set(strategy, "type", json!("RollingUpdate"));
        if is(strategy, "type", "RollingUpdate") {
            set(strategy, "rollingUpdate", json!({}));
            at(strategy, &["rollingUpdate"], |update| {
                set(update, "maxSurge", json!("25%"));
                set(update, "maxUnavailable", json!("25%"));
            });
        }
    });
    at(spec, &["template"], template);
}

fn stateful_set(spec: &mut Value) {
    set(spec, "replicas", json!(1));
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "podManagementPolicy", json!("OrderedReady"));
    set(spec, "updateStrategy", json!({}));
    at(spec, &["updateStrategy"], |strategy| {
        set(strategy, "type", json!("RollingUpdate"));
        if is(strategy, "type", "RollingUpdate") {
            set(strategy, "rollingUpdate", json!({}));
            at(strategy, &["rollingUpdate"], |update| set(update, "partition", json!(0)));
        }
    });
    set(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
    at(spec, &["persistentVolumeClaimRetentionPolicy"], |policy| {
        set(policy, "whenDeleted", json!("Retain"));
        set(policy, "whenScaled", json!("Retain"));
    });
    at(spec, &["template"], template);
    each(spec, &["volumeClaimTemplates"], |template| {
        set(template, "apiVersion", json!("v1"));
        set(template, "kind", json!("PersistentVolumeClaim"));
        set(template, "status", json!({}));
        at(template, &["status"], |status| set(status, "phase", json!("Pending")));
        at(template, &["spec"], claim);
    });
}

fn daemon_set(spec: &mut Value) {
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "updateStrategy", json!({}));
    at(spec, &["updateStrategy"], |strategy| {
        set(strategy, "type", json!("RollingUpdate"));
        if is(strategy, "type", "RollingUpdate") {
            set(strategy, "rollingUpdate", json!({}));
            at(strategy, &["rollingUpdate"], |update| {
                set(update, "maxUnavailable", json!(1));
                set(update, "maxSurge", json!(0));
            });
        }
    });
    at(spec, &["template"], template);
}

fn job(spec: &mut Value) {
    if !has(spec, "completions") && !has(spec, "parallelism") {
        set(spec, "completions", json!(1));
    }
    set(spec, "parallelism", json!(1));
    let backoff_limit = if has(spec, "backoffLimitPerIndex") { i32::MAX } else { 6 };
    set(spec, "backoffLimit", json!(backoff_limit));
    set(spec, "completionMode", json!("NonIndexed"));
    set(spec, "suspend", json!(false));
    set(spec, "manualSelector", json!(false));
    let replacement = if has(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    set(spec, "podReplacementPolicy", json!(replacement));
    at(spec, &["template"], template);
}

fn cron_job(spec: &mut Value) {
    set(spec, "concurrencyPolicy", json!("Allow"));
    set(spec, "suspend", json!(false));
    set(spec, "successfulJobsHistoryLimit", json!(3));
    set(spec, "failedJobsHistoryLimit", json!(1));
    at(spec, &["jobTemplate", "spec", "template"], template);
}

fn service(spec: &mut Value) {
    set(spec, "sessionAffinity", json!("None"));
    if is(spec, "sessionAffinity", "ClientIP") {
        set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10_800}}));
    }
    set(spec, "type", json!("ClusterIP"));
    let external_name = is(spec, "type", "ExternalName");
    let balanced = is(spec, "type", "LoadBalancer");
    if balanced || is(spec, "type", "NodePort") {
        set(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if balanced {
        set(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
    if !external_name {
        set(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    each(spec, &["ports"], |port| {
        protocol(port);
        if let Some(number) = port.get("port").cloned() {
            set(port, "targetPort", number);
        }
    });
}

fn claim(spec: &mut Value) {
    set(spec, "volumeMode", json!("Filesystem"));
    for map in ["requests", "limits"] {
        at(spec, &["resources", map], quantities);
    }
}

fn volume(spec: &mut Value) {
    set(spec, "persistentVolumeReclaimPolicy", json!("Retain"));
    set(spec, "volumeMode", json!("Filesystem"));
    at(spec, &["hostPath"], |path| set(path, "type", json!("")));
    at(spec, &["capacity"], quantities);
}

fn autoscaler(spec: &mut Value) {
    set(spec, "minReplicas", json!(1));
    if spec.is_object() && spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    }
    each(spec, &["metrics"], |metric| {
        for source in ["resource", "pods", "object", "external", "containerResource"] {
            at(metric, &[source, "target"], |target| {
                for amount in ["averageValue", "value"] {
                    target.get_mut(amount).into_iter().for_each(quantity::canonicalize);
                }
            });
        }
    });
}

fn network_policy(spec: &mut Value) {
    let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
    let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    set(spec, "policyTypes", types);
    for rules in ["ingress", "egress"] {
        each(spec, &[rules], |rule| each(rule, &["ports"], protocol));
    }
}

fn role_binding(binding: &mut Value) {
    let group = json!("rbac.authorization.k8s.io");
    at(binding, &["roleRef"], |role| {
        if is(role, "apiGroup", "") {
            role["apiGroup"] = group.clone();
        }
        set(role, "apiGroup", group.clone());
    });
    each(binding, &["subjects"], |subject| {
        if is(subject, "kind", "User") || is(subject, "kind", "Group") {
            set(subject, "apiGroup", group.clone());
        }
    });
}

fn webhook(hook: &mut Value) {
    set(hook, "failurePolicy", json!("Fail"));
    set(hook, "matchPolicy", json!("Equivalent"));
    set(hook, "namespaceSelector", json!({}));
    set(hook, "objectSelector", json!({}));
    set(hook, "timeoutSeconds", json!(10));
    at(hook, &["clientConfig", "service"], |service| set(service, "port", json!(443)));
    each(hook, &["rules"], |rule| set(rule, "scope", json!("*")));
}

fn match_resources(resources: &mut Value) {
    set(resources, "matchPolicy", json!("Equivalent"));
    set(resources, "namespaceSelector", json!({}));
    set(resources, "objectSelector", json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        each(resources, &[rules], |rule| set(rule, "scope", json!("*")));
    }
}

fn definition(spec: &mut Value) {
    set(spec, "conversion", json!({"strategy": "None"}));
    at(spec, &["names"], |names| {
        if let Some(kind) = names.get("kind").and_then(Value::as_str).map(str::to_owned) {
            set(names, "singular", json!(kind.to_lowercase()));
            set(names, "listKind", json!(format!("{kind}List")));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::arbitrary_json;
    use super::*;
    use proptest::prelude::*;

    fn defaulted(group: &str, kind: &str, mut object: Value) -> Value {
        default_builtin(group, "v1", kind, &mut object);
        object
    }

    #[test]
    fn a_deployment_gets_what_the_api_server_gives_it() {
        let object = defaulted(
            "apps",
            "Deployment",
            json!({"spec": {"strategy": null, "template": {"spec": {"containers": [
                {"name": "a", "image": "a", "ports": [{"containerPort": 80}],
                 "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}}}]}}}}),
        );
        assert_eq!(
            object["spec"],
            json!({
                "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "template": {"spec": {
                    "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
                    "terminationGracePeriodSeconds": 30, "securityContext": {},
                    "containers": [{
                        "name": "a", "image": "a", "imagePullPolicy": "Always",
                        "ports": [{"containerPort": 80, "protocol": "TCP"}],
                        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"
                    }]
                }}
            })
        );
    }

    #[test]
    fn the_pull_policy_follows_the_tag() {
        for (image, latest) in [
            ("a", true),
            ("a:latest", true),
            ("h:5000/a", true),
            ("a:1", false),
            ("h:5000/a:1", false),
            ("a@sha256:00", false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }

    #[test]
    fn a_job_with_parallelism_alone_has_no_completions() {
        let object = defaulted("batch", "Job", json!({"spec": {"parallelism": 3}}));
        assert!(object["spec"].get("completions").is_none());
        assert_eq!(defaulted("batch", "Job", json!({"spec": {}}))["spec"]["completions"], 1);
    }

    const KINDS: [(&str, &str); 16] = [
        ("", "Pod"),
        ("", "Service"),
        ("", "Secret"),
        ("", "PersistentVolumeClaim"),
        ("", "LimitRange"),
        ("", "ReplicationController"),
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("batch", "Job"),
        ("batch", "CronJob"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("autoscaling", "HorizontalPodAutoscaler"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ];

    proptest! {
        #[test]
        fn defaulting_twice_is_defaulting_once(spec in arbitrary_json(), kind in prop::sample::select(KINDS.to_vec())) {
            for object in [json!({"spec": spec}), json!({"spec": {"template": {"spec": spec}}}), spec.clone()] {
                let once = defaulted(kind.0, kind.1, object);
                prop_assert_eq!(&defaulted(kind.0, kind.1, once.clone()), &once);
            }
        }
    }
}

//! Built-in kinds as their `k8s-openapi` types see them.

use std::borrow::Cow;

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, autoscaling::v1 as autoscaling_v1,
    autoscaling::v2 as autoscaling, batch::v1 as batch, certificates::v1 as certificates,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events,
    networking::v1 as networking, node::v1 as node, policy::v1 as policy, rbac::v1 as rbac,
    scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Finding, TYPE_INVALID};

/// How many numbers in place of quantities an object may hold before it is refused.
const MAX_NUMERIC_QUANTITIES: usize = 1000;

/// Fields of the wrong type and fields that the kind does not have. Nothing for kinds that are not built in.
pub fn decode_builtin(group: &str, version: &str, kind: &str, object: &Value) -> Vec<Finding> {
    let mut object = Cow::Borrowed(object);
    if has_nulls(&object) {
        drop_nulls(object.to_mut());
    }
    match decoded(group, version, kind, &mut object) {
        None => Vec::new(),
        Some(Err(Refusal { path, why })) => vec![Finding {
            field: path,
            reason: TYPE_INVALID,
            message: format!("{kind} in version {version:?} cannot be handled as a {kind}: json: {why}"),
            unknown: false,
        }],
        Some(Ok(known)) => {
            let mut unknown = Vec::new();
            collect_unknown(&object, &known, "", &mut unknown);
            let finding = |field: String| Finding {
                message: format!("unknown field {field:?}"),
                reason: "FieldValueInvalid",
                unknown: true,
                field,
            };
            unknown.into_iter().map(finding).collect()
        }
    }
}

/// Drops the fields that the kind does not have. An object that cannot be decoded stays as it is.
pub fn prune_builtin(group: &str, version: &str, kind: &str, object: &mut Value) {
    let mut copy = object.clone();
    drop_nulls(&mut copy);
    let mut copy = Cow::Owned(copy);
    if let Some(Ok(known)) = decoded(group, version, kind, &mut copy) {
        retain_known(object, &known);
    }
}

/// Drops the fields of `metadata` that no object has. Returns their paths.
pub fn prune_metadata(object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let Some(metadata) = object.get_mut("metadata") else { return unknown };
    let mut copy = metadata.clone();
    drop_nulls(&mut copy);
    if let Ok(known) = through::<ObjectMeta>(&copy) {
        collect_unknown(&copy, &known, "metadata", &mut unknown);
        if !unknown.is_empty() {
            retain_known(metadata, &known);
        }
    }
    unknown
}

/// A Go struct's field that is `null` is absent.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn has_nulls(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().any(has_nulls),
        Value::Array(items) => items.iter().any(has_nulls),
        _ => false,
    }
}

struct Refusal {
    path: String,
    why: String,
}

/// The object as its type writes it. Quantities may be given as numbers, which the type does not read.
fn decoded(
    group: &str,
    version: &str,
    kind: &str,
    object: &mut Cow<'_, Value>,
) -> Option<Result<Value, Refusal>> {
    let mut result = round_trip(group, version, kind, object)?;
    for _ in 0..MAX_NUMERIC_QUANTITIES {
        let Err(refusal) = &result else { break };
        let quantity = refusal.why.contains("expected Quantity") || refusal.why.contains("expected a string");
        if !quantity || !refusal.path.split('.').any(holds_quantities) {
            break;
        }
        let Some(value @ Value::Number(_)) = at_mut(object.to_mut(), &refusal.path) else { break };
        *value = Value::from(value.to_string());
        result = round_trip(group, version, kind, object)?;
    }
    Some(result)
}

fn holds_quantities(field: &str) -> bool {
    matches!(
        field.split('[').next().unwrap_or_default(),
        "limits"
            | "requests"
            | "capacity"
            | "allocatable"
            | "hard"
            | "used"
            | "overhead"
            | "sizeLimit"
            | "divisor"
            | "max"
            | "min"
            | "default"
            | "defaultRequest"
            | "maxLimitRequestRatio"
            | "averageValue"
            | "value"
            | "allocatedResources"
            | "maximumVolumeSize"
    )
}

/// The value at a path as `serde_path_to_error` prints it.
fn at_mut<'a>(object: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut rest = path;
    let mut value = object;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(inside) = rest.strip_prefix('[') {
            let (index, after) = inside.split_once(']')?;
            value = value.get_mut(index.parse::<usize>().ok()?)?;
            rest = after;
            continue;
        }
        let fields = value.as_object_mut()?;
        // Keys such as `nvidia.com/gpu` hold dots themselves: the longest key that fits wins.
        let ends = |key: &str| {
            rest.get(key.len()..).is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
        };
        let key = fields
            .keys()
            .filter(|key| rest.starts_with(key.as_str()) && ends(key))
            .max_by_key(|key| key.len())?
            .clone();
        rest = rest.get(key.len()..)?;
        value = fields.get_mut(&key)?;
    }
    Some(value)
}

fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, Refusal> {
    let typed: T = serde_path_to_error::deserialize(object).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        Refusal { path, why: error.into_inner().to_string() }
    })?;
    serde_json::to_value(typed).map_err(|error| Refusal { path: String::new(), why: error.to_string() })
}

macro_rules! kinds {
    ($subject:expr, $object:expr; $($group:literal $version:literal { $($kind:literal $type:ty,)* })*) => {
        match $subject {
            $($(($group, $version, $kind) => Some(through::<$type>($object)),)*)*
            _ => None,
        }
    };
}

fn round_trip(group: &str, version: &str, kind: &str, object: &Value) -> Option<Result<Value, Refusal>> {
    kinds! { (group, version, kind), object;
        "" "v1" {
            "ConfigMap" core::ConfigMap,
            "Endpoints" core::Endpoints,
            "Event" core::Event,
            "LimitRange" core::LimitRange,
            "Namespace" core::Namespace,
            "Node" core::Node,
            "PersistentVolume" core::PersistentVolume,
            "PersistentVolumeClaim" core::PersistentVolumeClaim,
            "Pod" core::Pod,
            "PodTemplate" core::PodTemplate,
            "ReplicationController" core::ReplicationController,
            "ResourceQuota" core::ResourceQuota,
            "Secret" core::Secret,
            "Service" core::Service,
            "ServiceAccount" core::ServiceAccount,
        }
        "apps" "v1" {
            "ControllerRevision" apps::ControllerRevision,
            "DaemonSet" apps::DaemonSet,
            "Deployment" apps::Deployment,
            "ReplicaSet" apps::ReplicaSet,
            "StatefulSet" apps::StatefulSet,
        }
        "batch" "v1" {
            "CronJob" batch::CronJob,
            "Job" batch::Job,
        }
        "autoscaling" "v1" {
            "HorizontalPodAutoscaler" autoscaling_v1::HorizontalPodAutoscaler,
        }
        "autoscaling" "v2" {
            "HorizontalPodAutoscaler" autoscaling::HorizontalPodAutoscaler,
        }
        "networking.k8s.io" "v1" {
            "Ingress" networking::Ingress,
            "IngressClass" networking::IngressClass,
            "NetworkPolicy" networking::NetworkPolicy,
        }
        "policy" "v1" {
            "PodDisruptionBudget" policy::PodDisruptionBudget,
        }
        "rbac.authorization.k8s.io" "v1" {
            "ClusterRole" rbac::ClusterRole,
            "ClusterRoleBinding" rbac::ClusterRoleBinding,
            "Role" rbac::Role,
            "RoleBinding" rbac::RoleBinding,
        }
        "storage.k8s.io" "v1" {
            "CSIDriver" storage::CSIDriver,
            "CSINode" storage::CSINode,
            "StorageClass" storage::StorageClass,
            "VolumeAttachment" storage::VolumeAttachment,
        }
        "scheduling.k8s.io" "v1" {
            "PriorityClass" scheduling::PriorityClass,
        }
        "node.k8s.io" "v1" {
            "RuntimeClass" node::RuntimeClass,
        }
        "coordination.k8s.io" "v1" {
            "Lease" coordination::Lease,
        }
        "discovery.k8s.io" "v1" {
            "EndpointSlice" discovery::EndpointSlice,
        }
        "events.k8s.io" "v1" {
            "Event" events::Event,
        }
        "certificates.k8s.io" "v1" {
            "CertificateSigningRequest" certificates::CertificateSigningRequest,
        }
        "admissionregistration.k8s.io" "v1" {
            "MutatingWebhookConfiguration" admission::MutatingWebhookConfiguration,
            "ValidatingAdmissionPolicy" admission::ValidatingAdmissionPolicy,
            "ValidatingAdmissionPolicyBinding" admission::ValidatingAdmissionPolicyBinding,
            "ValidatingWebhookConfiguration" admission::ValidatingWebhookConfiguration,
        }
        "apiextensions.k8s.io" "v1" {
            "CustomResourceDefinition" apiextensions::CustomResourceDefinition,
        }
        "apiregistration.k8s.io" "v1" {
            "APIService" apiregistration::APIService,
        }
    }
}

fn collect_unknown(given: &Value, known: &Value, path: &str, unknown: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (name, value) in given {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match known.get(name) {
                    Some(known) => collect_unknown(value, known, &path, unknown),
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (value, known)) in given.iter().zip(known).enumerate() {
                collect_unknown(value, known, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

fn retain_known(given: &mut Value, known: &Value) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.retain(|name, value| match known.get(name) {
            Some(known) => {
                retain_known(value, known);
                true
            }
            None => value.is_null(),
        }),
        (Value::Array(given), Value::Array(known)) => {
            given.iter_mut().zip(known).for_each(|(given, known)| retain_known(given, known));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::arbitrary_json;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn pod(spec: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    }

    #[test]
    fn a_wrong_type_is_found_where_it_is() {
        let findings = decode_builtin("", "v1", "Pod", &pod(&json!({"containers": [{"name": 5}]})));
        assert_eq!(findings[0].field, "spec.containers[0].name");
        assert_eq!(findings[0].reason, TYPE_INVALID);
    }

    #[test]
    fn unknown_fields_are_found_and_pruned() {
        let mut object =
            pod(&json!({"containers": [{"name": "a", "imagee": "x"}], "nodeNam": "n", "hostname": null}));
        let findings = decode_builtin("", "v1", "Pod", &object);
        let fields: Vec<&str> = findings.iter().map(|finding| finding.field.as_str()).collect();
        assert_eq!(fields, ["spec.containers[0].imagee", "spec.nodeNam"]);
        assert!(findings.iter().all(|finding| finding.unknown));
        prune_builtin("", "v1", "Pod", &mut object);
        assert_eq!(object["spec"], json!({"containers": [{"name": "a"}], "hostname": null}));
    }

    #[test]
    fn quantities_may_be_numbers() {
        let limits = json!({"limits": {"cpu": 1, "nvidia.com/gpu": 2}});
        let object = pod(&json!({"containers": [{"name": "a", "image": "b", "resources": limits}]}));
        assert_eq!(decode_builtin("", "v1", "Pod", &object), []);
        let wrong = pod(&json!({"containers": [{"name": "a", "image": 1}]}));
        assert_eq!(decode_builtin("", "v1", "Pod", &wrong).len(), 1);
    }

    #[test]
    fn kinds_that_are_not_built_in_are_left_alone() {
        assert_eq!(decode_builtin("example.com", "v1", "Widget", &json!({"spec": 1})), []);
    }

    proptest! {
        #[test]
        fn objects_of_any_shape_are_answered(spec in arbitrary_json()) {
            for (group, kind) in [("", "Pod"), ("apps", "Deployment"), ("", "Service")] {
                let mut object = json!({"metadata": {"name": "x"}, "spec": spec});
                let _ = decode_builtin(group, "v1", kind, &object);
                prune_builtin(group, "v1", kind, &mut object);
                let left = decode_builtin(group, "v1", kind, &object);
                prop_assert!(left.iter().all(|finding| !finding.unknown), "{:?}", left);
            }
        }
    }
}

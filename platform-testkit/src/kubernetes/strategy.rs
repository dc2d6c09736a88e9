//! What each kind adds to the common rules: fields that the server fills in and fields that may not change.
//!
//! The rules and their wording are those of the strategies and validations in `k8s.io/kubernetes/pkg/registry` and
//! `pkg/apis`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::deletion::{CRD_CLEANUP, timestamp};
use super::error::{ApiError, Cause};
use super::resource::{GroupResource, Resource};
use super::state::Stored;
use super::store::Store;

/// Fills in what the server decides on creation.
pub(super) fn prepare_create(
    store: &Store,
    resource: &Resource,
    object: &mut Value,
    now: Timestamp,
) -> Result<(), ApiError> {
    if resource.serves("status") {
        let typed = resource.custom.is_none();
        match object.as_object_mut() {
            Some(fields) if typed => fields.insert("status".to_owned(), json!({})),
            Some(fields) => fields.remove("status"),
            None => None,
        };
    }
    let name = object["metadata"]["name"].clone();
    match (resource.group.as_str(), resource.id.plural()) {
        ("", "namespaces") => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
        }
        ("", "pods") => {
            object["status"] = json!({"phase": "Pending", "qosClass": quality_of_service(&object["spec"])});
        }
        ("", "persistentvolumeclaims" | "persistentvolumes") => object["status"] = json!({"phase": "Pending"}),
        ("", "secrets") => fold_string_data(object),
        ("", "services") => {
            object["status"] = json!({"loadBalancer": {}});
            allocate(store, resource, object)?;
        }
        ("batch", "jobs") => select_own_pods(object),
        ("apiextensions.k8s.io", "customresourcedefinitions") => define(object, now),
        _ => {}
    }
    Ok(())
}

/// Carries over what the server decided before.
pub(super) fn prepare_update(
    store: &Store,
    resource: &Resource,
    live: &Stored,
    object: &mut Value,
) -> Result<(), ApiError> {
    match (resource.group.as_str(), resource.id.plural()) {
        ("", "namespaces") => {
            let labels = &mut object["metadata"]["labels"];
            if labels["kubernetes.io/metadata.name"].is_null() {
                labels["kubernetes.io/metadata.name"] = live["metadata"]["name"].clone();
            }
        }
        ("", "secrets") => fold_string_data(object),
        ("", "services") => {
            keep_addresses(live, object);
            allocate(store, resource, object)?;
        }
        ("batch", "jobs") if object["spec"]["selector"].is_null() => {
            object["spec"]["selector"] = live["spec"]["selector"].clone();
            if object["spec"]["template"]["metadata"]["labels"].is_null() {
                object["spec"]["template"]["metadata"]["labels"] =
                    live["spec"]["template"]["metadata"]["labels"].clone();
            }
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => define(object, Timestamp::now()),
        _ => {}
    }
    Ok(())
}

/// Leaves of a write only what its subresource may change.
pub(super) fn restrict(resource: &Resource, subresource: Option<&str>, live: &Stored, object: &mut Value) {
    let put = |object: &mut Value, field: &str, value: Option<Value>| {
        let Some(fields) = object.as_object_mut() else { return };
        match value {
            Some(value) => fields.insert(field.to_owned(), value),
            None => fields.remove(field),
        };
    };
    match subresource {
        Some("status") => {
            let status = object.get("status").cloned();
            let managers = object["metadata"].get("managedFields").cloned();
            *object = live.value().clone();
            put(object, "status", status);
            if let Some(metadata) = object.get_mut("metadata") {
                put(metadata, "managedFields", managers);
            }
        }
        Some("finalize") => {
            let finalizers = object["spec"].get("finalizers").cloned();
            let meta = object["metadata"].get("finalizers").cloned();
            *object = live.value().clone();
            object["spec"]["finalizers"] = finalizers.unwrap_or_else(|| json!([]));
            if let Some(metadata) = object.get_mut("metadata") {
                put(metadata, "finalizers", meta);
            }
        }
        _ => {
            if resource.serves("status") {
                put(object, "status", live.get("status").cloned());
            }
            if resource.group.is_empty() && resource.id.plural() == "namespaces" {
                put(object, "spec", live.get("spec").cloned());
            }
        }
    }
}

/// Counts a change of anything but metadata and status.
pub(super) fn count_generation(resource: &Resource, live: &Stored, object: &mut Value) {
    if !resource.generation {
        return;
    }
    let status_counts = resource.custom.is_some() && !resource.serves("status");
    let counted = |value: &Value| {
        let fields = value.as_object().cloned().unwrap_or_default();
        let keep = |name: &str| name != "metadata" && (status_counts || name != "status");
        fields.into_iter().filter(|(name, value)| keep(name) && !value.is_null()).collect::<Vec<_>>()
    };
    if counted(live.value()) != counted(object) {
        let generation = live["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        object["metadata"]["generation"] = json!(generation);
    }
}

/// Rules that only a new object can break.
pub(super) fn validate_create(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if resource.id.plural() == "customresourcedefinitions" && resource.group == "apiextensions.k8s.io" {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let expected = format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"]));
        if name != expected {
            let why = "must be spec.names.plural+\".\"+spec.group";
            return Err(ApiError::invalid(resource, name, vec![Cause::invalid("metadata.name", &json!(name), why)]));
        }
    }
    Ok(())
}

/// Fields that may not change.
pub(super) fn validate_update(resource: &Resource, live: &Stored, object: &Value) -> Result<(), ApiError> {
    let mut causes = Vec::new();
    let mut fixed = |path: &str, why: &str| {
        let at = |value: &Value| value.pointer(&format!("/{}", path.replace('.', "/"))).cloned().unwrap_or_default();
        if at(live.value()) != at(object) {
            causes.push(Cause::invalid(path, &at(object), why));
        }
    };
    const IMMUTABLE: &str = "field is immutable";
    match (resource.group.as_str(), resource.id.plural()) {
        ("apps", "deployments" | "replicasets" | "daemonsets") => fixed("spec.selector", IMMUTABLE),
        ("apps", "statefulsets") => causes.extend(stateful_set(live, object)),
        ("batch", "jobs") => {
            for path in ["spec.selector", "spec.template", "spec.completionMode", "spec.podFailurePolicy"] {
                fixed(path, IMMUTABLE);
            }
            if object["spec"]["completionMode"] != "Indexed" {
                fixed("spec.completions", IMMUTABLE);
            }
        }
        ("", "services") => causes.extend(service(live, object)),
        ("", "configmaps") => causes.extend(immutable_data(live, object, &["data", "binaryData"])),
        ("", "secrets") => {
            fixed("type", IMMUTABLE);
            causes.extend(immutable_data(live, object, &["data"]));
        }
        ("", "pods") => causes.extend(pod(live, object)),
        ("", "persistentvolumeclaims") => {
            for path in ["spec.accessModes", "spec.storageClassName", "spec.selector", "spec.volumeMode"] {
                fixed(path, "spec is immutable after creation except resources.requests and volumeAttributesClassName");
            }
        }
        ("storage.k8s.io", "storageclasses") => {
            fixed("provisioner", IMMUTABLE);
            fixed("parameters", IMMUTABLE);
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            fixed("roleRef", "cannot change roleRef");
        }
        ("scheduling.k8s.io", "priorityclasses") => fixed("value", IMMUTABLE),
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            for path in ["spec.group", "spec.names.plural", "spec.scope"] {
                fixed(path, IMMUTABLE);
            }
        }
        _ => {}
    }
    if causes.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(ApiError::invalid(resource, name, causes))
}

/// Sets a condition of `status.conditions`; its time stays while its status does.
pub(super) fn set_condition(object: &mut Value, kind: &str, status: &str, reason: &str, now: Timestamp) {
    let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let mut condition = json!({
        "type": kind, "status": status, "reason": reason, "message": message(reason), "lastTransitionTime": timestamp(now),
    });
    match conditions.iter_mut().find(|one| one["type"] == kind) {
        Some(old) => {
            if old["status"] == status {
                condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
    object["status"]["conditions"] = Value::Array(conditions);
}

fn message(reason: &str) -> &'static str {
    match reason {
        "NoConflicts" => "no conflicts found",
        "InitialNamesAccepted" => "the initial names have been accepted",
        "InstanceDeletionInProgress" => "CustomResource deletion is in progress",
        _ => "",
    }
}

fn stateful_set(live: &Stored, object: &Value) -> Option<Cause> {
    const CHANGEABLE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |value: &Value| {
        let spec = value["spec"].as_object().cloned().unwrap_or_default();
        spec.into_iter().filter(|(name, _)| !CHANGEABLE.contains(&name.as_str())).collect::<Vec<_>>()
    };
    let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
               'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    (fixed(live.value()) != fixed(object)).then(|| Cause::forbidden("spec", why))
}

fn service(live: &Stored, object: &Value) -> Option<Cause> {
    let (old, new) = (&live["spec"]["clusterIP"], &object["spec"]["clusterIP"]);
    let set = old.as_str().is_some_and(|ip| !ip.is_empty());
    let external = live["spec"]["type"] == "ExternalName" || object["spec"]["type"] == "ExternalName";
    let why = "may not change once set";
    (set && !external && old != new).then(|| Cause::invalid("spec.clusterIPs[0]", &json!([new]), why))
}

fn immutable_data(live: &Stored, object: &Value, fields: &[&str]) -> Vec<Cause> {
    if live["immutable"] != true {
        return Vec::new();
    }
    let why = "field is immutable when `immutable` is set";
    let changed = fields.iter().filter(|field| live.get(**field) != object.get(**field));
    let unset = (object["immutable"] != true).then_some("immutable");
    unset.into_iter().chain(changed.copied()).map(|field| Cause::forbidden(field, why)).collect()
}

fn pod(live: &Stored, object: &Value) -> Option<Cause> {
    let fixed = |value: &Value| {
        let mut spec = value["spec"].clone();
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container["image"] = Value::Null;
            }
        }
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
            spec[field] = Value::Null;
        }
        if live["spec"]["nodeName"].is_null() {
            // The scheduler binds a pod by setting its node once.
            spec["nodeName"] = Value::Null;
        }
        spec
    };
    let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
               `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
               `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    (fixed(live.value()) != fixed(object)).then(|| Cause::forbidden("spec", why))
}

/// `stringData` is write-only: it goes into `data`, encoded.
fn fold_string_data(object: &mut Value) {
    use base64::Engine as _;
    let Some(plain) = object.as_object_mut().and_then(|fields| fields.remove("stringData")) else { return };
    for (key, text) in plain.as_object().into_iter().flatten() {
        let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
        object["data"][key] = json!(encoded);
    }
}

fn quality_of_service(spec: &Value) -> &'static str {
    let containers = || ["containers", "initContainers"].into_iter().flat_map(|list| spec[list].as_array()).flatten();
    let amount = |container: &Value, part: &str, name: &str| container["resources"][part].get(name).cloned();
    let guaranteed = |container: &Value| {
        ["cpu", "memory"].into_iter().all(|name| {
            let limit = amount(container, "limits", name);
            limit.is_some() && (amount(container, "requests", name).is_none_or(|request| Some(request) == limit))
        })
    };
    let any = |container: &Value| {
        ["limits", "requests"]
            .into_iter()
            .any(|part| ["cpu", "memory"].into_iter().any(|name| amount(container, part, name).is_some()))
    };
    if !containers().any(any) {
        "BestEffort"
    } else if containers().all(guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// A Job selects its pods by its own UID, unless its author manages that.
fn select_own_pods(object: &mut Value) {
    if object["spec"]["manualSelector"] == true {
        return;
    }
    let uid = object["metadata"]["uid"].clone();
    let name = object["metadata"]["name"].clone();
    object["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    let labels = &mut object["spec"]["template"]["metadata"]["labels"];
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels[key] = value.clone();
    }
}

/// Completes a CRD's names and says that they are accepted and served.
fn define(object: &mut Value, now: Timestamp) {
    let kind = object["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
    let names = &mut object["spec"]["names"];
    for (field, value) in [("singular", kind.to_lowercase()), ("listKind", format!("{kind}List"))] {
        if names[field].as_str().is_none_or(str::is_empty) {
            names[field] = json!(value);
        }
    }
    if object["spec"]["conversion"].is_null() {
        object["spec"]["conversion"] = json!({"strategy": "None"});
    }
    let accepted = object["spec"]["names"].clone();
    let versions = object["spec"]["versions"].as_array();
    let storage = versions.into_iter().flatten().find(|version| version["storage"] == true);
    let storage = storage.map(|version| version["name"].clone()).unwrap_or_default();
    object["status"]["acceptedNames"] = accepted;
    let mut stored = object["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    if !stored.contains(&storage) {
        stored.push(storage);
    }
    object["status"]["storedVersions"] = Value::Array(stored);
    set_condition(object, "NamesAccepted", "True", "NoConflicts", now);
    set_condition(object, "Established", "True", "InitialNamesAccepted", now);
    if object["metadata"]["deletionTimestamp"].is_null() {
        let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        if !finalizers.iter().any(|one| one == CRD_CLEANUP) {
            finalizers.push(json!(CRD_CLEANUP));
        }
        object["metadata"]["finalizers"] = Value::Array(finalizers);
    }
}

const SERVICES: GroupResource = GroupResource::new("", "services");

fn keep_addresses(live: &Stored, object: &mut Value) {
    if object["spec"]["type"] == "ExternalName" {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"] {
        if object["spec"][field].is_null() && !live["spec"][field].is_null() {
            object["spec"][field] = live["spec"][field].clone();
        }
    }
    let old = live["spec"]["ports"].as_array().cloned().unwrap_or_default();
    if !exposes_nodes(&object["spec"]) {
        return;
    }
    for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let same = |one: &&Value| one["port"] == port["port"] && one["protocol"] == port["protocol"];
        if let (true, Some(kept)) = (port["nodePort"].is_null(), old.iter().find(same)) {
            let kept = kept["nodePort"].clone();
            if !kept.is_null() {
                port["nodePort"] = kept;
            }
        }
    }
}

fn exposes_nodes(spec: &Value) -> bool {
    matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"))
}

/// Gives a Service the addresses and ports that it did not choose, from 10.96.0.0/16 and 30000 to 32767.
fn allocate(store: &Store, resource: &Resource, object: &mut Value) -> Result<(), ApiError> {
    let uid = object["metadata"]["uid"].clone();
    let services = store.list(&SERVICES, None).items;
    let others = || services.iter().filter(|service| service["metadata"]["uid"] != uid);
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let refuse = |cause| Err(ApiError::invalid(resource, &name, vec![cause]));
    if object["spec"]["type"] != "ExternalName" {
        let taken = |ip: &str| others().any(|service| service["spec"]["clusterIP"] == ip);
        match object["spec"]["clusterIP"].as_str() {
            Some("None") => {}
            Some(ip) if !ip.is_empty() => {
                if taken(ip) {
                    let why = format!("failed to allocate IP {ip}: provided IP is already allocated");
                    return refuse(Cause::invalid("spec.clusterIPs", &json!([ip]), &why));
                }
            }
            _ => {
                let Some(ip) = store.next_address(taken) else {
                    return Err(ApiError::new(500, "InternalError", "failed to allocate a serviceIP: range is full"));
                };
                object["spec"]["clusterIP"] = json!(ip);
            }
        }
        object["spec"]["clusterIPs"] = json!([object["spec"]["clusterIP"]]);
    }
    if !exposes_nodes(&object["spec"]) {
        return Ok(());
    }
    let port_of = |port: &Value| port["nodePort"].as_u64();
    let ports_of = |service: &Value| service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let mut taken: Vec<u64> = others().flat_map(|service| ports_of(service)).filter_map(|port| port_of(&port)).collect();
    for (index, port) in object["spec"]["ports"].as_array_mut().into_iter().flatten().enumerate() {
        let chosen = match port_of(port) {
            Some(chosen) if taken.contains(&chosen) => {
                let path = format!("spec.ports[{index}].nodePort");
                return refuse(Cause::invalid(path, &json!(chosen), "provided port is already allocated"));
            }
            Some(chosen) => chosen,
            None => match (30_000..=32_767).find(|candidate| !taken.contains(candidate)) {
                Some(free) => free,
                None => return Err(ApiError::new(500, "InternalError", "failed to allocate a nodePort: range is full")),
            },
        };
        port["nodePort"] = json!(chosen);
        taken.push(chosen);
    }
    Ok(())
}

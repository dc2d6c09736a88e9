//! `meta.k8s.io/v1` Tables: the columns that `kubectl get` prints.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::partial;
use super::json_path;
use crate::kubernetes::resource::Resource;
use crate::kubernetes::state::Stored;

/// What a row carries of its object (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Include {
    pub(super) fn parse(text: Option<&str>) -> Self {
        match text {
            Some("None") => Self::Nothing,
            Some("Object") => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// A table of objects.
pub(super) fn of(resource: &Resource, objects: &[&Stored], meta: &Value, include: Include) -> Value {
    let now = Timestamp::now();
    let columns = columns(resource);
    let definition = |column: &Column| {
        let format = if column.name == "Name" { "name" } else { "" };
        json!({"name": column.name, "type": column.kind, "format": format, "description": column.name, "priority": column.priority})
    };
    let row = |object: &&Stored| {
        let cells: Vec<Value> = columns.iter().map(|column| (column.cell)(object.value(), now)).collect();
        let mut row = json!({"cells": cells});
        match include {
            Include::Nothing => row["object"] = Value::Null,
            Include::Metadata => row["object"] = partial(object, "PartialObjectMetadata"),
            Include::Object => row["object"] = object.value().clone(),
        }
        row
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": columns.iter().map(definition).collect::<Vec<_>>(),
        "rows": objects.iter().map(row).collect::<Vec<_>>(),
    })
}

struct Column {
    name: String,
    kind: String,
    priority: i64,
    cell: Box<dyn Fn(&Value, Timestamp) -> Value + Send + Sync>,
}

fn column<C>(name: &str, cell: C) -> Column
where
    C: Fn(&Value, Timestamp) -> Value + Send + Sync + 'static,
{
    Column { name: name.to_owned(), kind: "string".to_owned(), priority: 0, cell: Box::new(cell) }
}

fn at(name: &str, path: &'static str) -> Column {
    column(name, move |object, _| shown(object.pointer(path)))
}

fn number(name: &str, path: &'static str) -> Column {
    let cell = move |object: &Value, _| object.pointer(path).filter(|value| value.is_number()).cloned().unwrap_or(json!(0));
    Column { kind: "integer".to_owned(), ..column(name, cell) }
}

fn wide(column: Column) -> Column {
    Column { priority: 1, ..column }
}

fn name() -> Column {
    at("Name", "/metadata/name")
}

fn age() -> Column {
    column("Age", |object, now| json!(since(&object["metadata"]["creationTimestamp"], now)))
}

fn containers(pod: &'static str) -> [Column; 2] {
    let joined = move |object: &Value, field: &str| {
        let list = object.pointer(pod).and_then(|spec| spec["containers"].as_array());
        let texts: Vec<&str> = list.into_iter().flatten().filter_map(|one| one[field].as_str()).collect();
        json!(texts.join(","))
    };
    [
        wide(column("Containers", move |object, _| joined(object, "name"))),
        wide(column("Images", move |object, _| joined(object, "image"))),
    ]
}

fn selector(name: &str, path: &'static str) -> Column {
    column(name, move |object, _| json!(labels(object.pointer(path).unwrap_or(&Value::Null))))
}

fn columns(resource: &Resource) -> Vec<Column> {
    if let Some(custom) = &resource.custom {
        return custom_columns(&custom.columns);
    }
    const TEMPLATE: &str = "/spec/template/spec";
    let mut columns = vec![name()];
    match (resource.group.as_str(), resource.id.plural()) {
        ("", "pods") => {
            columns.extend([
                column("Ready", |pod, _| json!(ready_containers(pod))),
                column("Status", |pod, _| json!(pod_status(pod))),
                column("Restarts", |pod, _| json!(restarts(pod).to_string())),
                age(),
                wide(at("IP", "/status/podIP")),
                wide(at("Node", "/spec/nodeName")),
                wide(at("Nominated Node", "/status/nominatedNodeName")),
                wide(column("Readiness Gates", |_, _| json!("<none>"))),
            ]);
        }
        ("apps", "deployments") => {
            columns.extend([
                ready("/status/readyReplicas", "/spec/replicas"),
                number("Up-to-date", "/status/updatedReplicas"),
                number("Available", "/status/availableReplicas"),
                age(),
            ]);
            columns.extend(containers(TEMPLATE));
            columns.push(wide(selector("Selector", "/spec/selector")));
        }
        ("apps", "replicasets") | ("", "replicationcontrollers") => {
            columns.extend([
                number("Desired", "/spec/replicas"),
                number("Current", "/status/replicas"),
                number("Ready", "/status/readyReplicas"),
                age(),
            ]);
            columns.extend(containers(TEMPLATE));
            columns.push(wide(selector("Selector", "/spec/selector")));
        }
        ("apps", "statefulsets") => {
            columns.extend([ready("/status/readyReplicas", "/spec/replicas"), age()]);
            columns.extend(containers(TEMPLATE));
        }
        ("apps", "daemonsets") => {
            columns.extend([
                number("Desired", "/status/desiredNumberScheduled"),
                number("Current", "/status/currentNumberScheduled"),
                number("Ready", "/status/numberReady"),
                number("Up-to-date", "/status/updatedNumberScheduled"),
                number("Available", "/status/numberAvailable"),
                column("Node Selector", |set, _| json!(labels(&set["spec"]["template"]["spec"]["nodeSelector"]))),
                age(),
            ]);
            columns.extend(containers(TEMPLATE));
            columns.push(wide(selector("Selector", "/spec/selector")));
        }
        ("batch", "jobs") => {
            columns.extend([
                column("Status", |job, _| json!(job_status(job))),
                ready("/status/succeeded", "/spec/completions").named("Completions"),
                column("Duration", |job, now| json!(duration(job, now))),
                age(),
            ]);
            columns.extend(containers(TEMPLATE));
            columns.push(wide(selector("Selector", "/spec/selector")));
        }
        ("batch", "cronjobs") => columns.extend([
            at("Schedule", "/spec/schedule"),
            at("Timezone", "/spec/timeZone"),
            column("Suspend", |job, _| json!(if job["spec"]["suspend"] == true { "True" } else { "False" })),
            column("Active", |job, _| json!(job["status"]["active"].as_array().map_or(0, Vec::len))),
            column("Last Schedule", |job, now| {
                let last = &job["status"]["lastScheduleTime"];
                json!(if last.is_null() { "<none>".to_owned() } else { since(last, now) })
            }),
            age(),
        ]),
        ("", "services") => columns.extend([
            at("Type", "/spec/type"),
            at("Cluster-IP", "/spec/clusterIP"),
            column("External-IP", |service, _| json!(external_address(service))),
            column("Port(s)", |service, _| json!(service_ports(service))),
            age(),
            wide(column("Selector", |service, _| json!(labels(&json!({"matchLabels": service["spec"]["selector"]}))))),
        ]),
        ("", "endpoints") => {
            columns.extend([column("Endpoints", |endpoints, _| json!(addresses(endpoints))), age()]);
        }
        ("discovery.k8s.io", "endpointslices") => columns.extend([
            at("AddressType", "/addressType"),
            column("Ports", |slice, _| json!(list_of(&slice["ports"], |port| text_of(&port["port"])))),
            column("Endpoints", |slice, _| json!(list_of(&slice["endpoints"], |one| text_of(&one["addresses"][0])))),
            age(),
        ]),
        ("networking.k8s.io", "ingresses") => columns.extend([
            at("Class", "/spec/ingressClassName"),
            column("Hosts", |ingress, _| {
                let hosts = list_of(&ingress["spec"]["rules"], |rule| rule["host"].as_str().unwrap_or("*").to_owned());
                json!(if hosts == "<none>" { "*".to_owned() } else { hosts })
            }),
            column("Address", |ingress, _| {
                let points = &ingress["status"]["loadBalancer"]["ingress"];
                let listed = list_of(points, |one| text_of(if one["ip"].is_null() { &one["hostname"] } else { &one["ip"] }));
                json!(if listed == "<none>" { String::new() } else { listed })
            }),
            column("Ports", |ingress, _| json!(if ingress["spec"]["tls"].is_null() { "80" } else { "80, 443" })),
            age(),
        ]),
        ("networking.k8s.io", "ingressclasses") => {
            columns.extend([at("Controller", "/spec/controller"), at("Parameters", "/spec/parameters/name"), age()]);
        }
        ("networking.k8s.io", "networkpolicies") => {
            columns.extend([selector("Pod-Selector", "/spec/podSelector"), age()]);
        }
        ("", "configmaps") => {
            let entries = |map: &Value| ["data", "binaryData"].iter().filter_map(|part| map[*part].as_object()).map(serde_json::Map::len).sum::<usize>();
            columns.extend([column("Data", move |map, _| json!(entries(map).to_string())), age()]);
        }
        ("", "secrets") => columns.extend([
            at("Type", "/type"),
            column("Data", |secret, _| json!(secret["data"].as_object().map_or(0, serde_json::Map::len).to_string())),
            age(),
        ]),
        ("", "serviceaccounts") => columns.extend([
            column("Secrets", |account, _| json!(account["secrets"].as_array().map_or(0, Vec::len).to_string())),
            age(),
        ]),
        ("", "namespaces") => columns.extend([at("Status", "/status/phase"), age()]),
        ("", "nodes") => columns.extend([
            column("Status", |node, _| json!(node_status(node))),
            column("Roles", |node, _| json!(node_roles(node))),
            age(),
            at("Version", "/status/nodeInfo/kubeletVersion"),
            wide(column("Internal-IP", |node, _| json!(node_address(node, "InternalIP")))),
            wide(column("External-IP", |node, _| json!(node_address(node, "ExternalIP")))),
            wide(at("OS-Image", "/status/nodeInfo/osImage")),
            wide(at("Kernel-Version", "/status/nodeInfo/kernelVersion")),
            wide(at("Container-Runtime", "/status/nodeInfo/containerRuntimeVersion")),
        ]),
        ("", "persistentvolumeclaims") => columns.extend([
            at("Status", "/status/phase"),
            at("Volume", "/spec/volumeName"),
            at("Capacity", "/status/capacity/storage"),
            column("Access Modes", |claim, _| json!(access_modes(&claim["spec"]["accessModes"]))),
            at("StorageClass", "/spec/storageClassName"),
            at("VolumeAttributesClass", "/spec/volumeAttributesClassName"),
            age(),
            wide(at("VolumeMode", "/spec/volumeMode")),
        ]),
        ("", "persistentvolumes") => columns.extend([
            at("Capacity", "/spec/capacity/storage"),
            column("Access Modes", |volume, _| json!(access_modes(&volume["spec"]["accessModes"]))),
            at("Reclaim Policy", "/spec/persistentVolumeReclaimPolicy"),
            at("Status", "/status/phase"),
            at("Claim", "/spec/claimRef/name"),
            at("StorageClass", "/spec/storageClassName"),
            age(),
        ]),
        ("storage.k8s.io", "storageclasses") => {
            columns = vec![
                column("Name", |class, _| {
                    let default = class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true";
                    json!(text_of(&class["metadata"]["name"]) + if default { " (default)" } else { "" })
                }),
                at("Provisioner", "/provisioner"),
                at("ReclaimPolicy", "/reclaimPolicy"),
                at("VolumeBindingMode", "/volumeBindingMode"),
                column("AllowVolumeExpansion", |class, _| json!(class["allowVolumeExpansion"] == true)),
                age(),
            ];
        }
        ("", "events") => columns = event_columns("/involvedObject", "/message"),
        ("events.k8s.io", "events") => columns = event_columns("/regarding", "/note"),
        ("", "resourcequotas") => columns.extend([
            column("Request", |quota, _| json!(quota_usage(quota, |name| !name.starts_with("limits.")))),
            column("Limit", |quota, _| json!(quota_usage(quota, |name| name.starts_with("limits.")))),
            age(),
        ]),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => columns.extend([
            column("Role", |binding, _| {
                let role = &binding["roleRef"];
                json!(format!("{}/{}", text_of(&role["kind"]), text_of(&role["name"])))
            }),
            age(),
        ]),
        ("policy", "poddisruptionbudgets") => columns.extend([
            column("Min Available", |budget, _| or_not_applicable(&budget["spec"]["minAvailable"])),
            column("Max Unavailable", |budget, _| or_not_applicable(&budget["spec"]["maxUnavailable"])),
            number("Allowed Disruptions", "/status/disruptionsAllowed"),
            age(),
        ]),
        ("autoscaling", "horizontalpodautoscalers") => columns.extend([
            column("Reference", |scaler, _| {
                let target = &scaler["spec"]["scaleTargetRef"];
                json!(format!("{}/{}", text_of(&target["kind"]), text_of(&target["name"])))
            }),
            column("Targets", |_, _| json!("<unknown>")),
            number("MinPods", "/spec/minReplicas"),
            number("MaxPods", "/spec/maxReplicas"),
            number("Replicas", "/status/currentReplicas"),
            age(),
        ]),
        ("coordination.k8s.io", "leases") => columns.extend([at("Holder", "/spec/holderIdentity"), age()]),
        ("scheduling.k8s.io", "priorityclasses") => columns.extend([
            number("Value", "/value"),
            column("Global-Default", |class, _| json!(class["globalDefault"] == true)),
            age(),
        ]),
        _ => columns.push(at("Created At", "/metadata/creationTimestamp")),
    }
    columns
}

impl Column {
    fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }
}

fn ready(done: &'static str, wanted: &'static str) -> Column {
    let count = |object: &Value, path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    column("Ready", move |object, _| json!(format!("{}/{}", count(object, done), count(object, wanted))))
}

fn event_columns(subject: &'static str, message: &'static str) -> Vec<Column> {
    vec![
        column("Last Seen", |event, now| {
            let times = ["lastTimestamp", "deprecatedLastTimestamp", "eventTime", "firstTimestamp"];
            let time = times.iter().map(|field| &event[*field]).find(|time| time.is_string());
            json!(since(time.unwrap_or(&event["metadata"]["creationTimestamp"]), now))
        }),
        at("Type", "/type"),
        at("Reason", "/reason"),
        column("Object", move |event, _| {
            let about = event.pointer(subject).unwrap_or(&Value::Null);
            json!(format!("{}/{}", text_of(&about["kind"]).to_lowercase(), text_of(&about["name"])))
        }),
        wide(at("Source", "/source/component")),
        at("Message", message),
        wide(column("Count", |event, _| event.get("count").cloned().unwrap_or(json!(1)))),
        wide(name()),
    ]
}

fn custom_columns(definitions: &[Value]) -> Vec<Column> {
    let mut columns = vec![name()];
    if definitions.is_empty() {
        columns.push(age());
    }
    for definition in definitions {
        let path = text_of(&definition["jsonPath"]);
        let date = definition["type"] == "date";
        let cell = move |object: &Value, now| match json_path::find(object, &path).as_slice() {
            [] => Value::Null,
            [one] if date => json!(since(one, now)),
            [one] if one.is_array() || one.is_object() => json!(one.to_string()),
            [one] => (*one).clone(),
            many => json!(many.iter().map(|one| text_of(one)).collect::<Vec<_>>().join(",")),
        };
        let mut column = column(&text_of(&definition["name"]), cell);
        column.kind = text_of(&definition["type"]);
        column.priority = definition["priority"].as_i64().unwrap_or(0);
        columns.push(column);
    }
    columns
}

fn shown(value: Option<&Value>) -> Value {
    match value {
        None | Some(Value::Null) => json!("<none>"),
        Some(Value::String(text)) if text.is_empty() => json!("<none>"),
        Some(value) => value.clone(),
    }
}

fn or_not_applicable(value: &Value) -> Value {
    if value.is_null() { json!("N/A") } else { json!(text_of(value)) }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn list_of(list: &Value, item: impl Fn(&Value) -> String) -> String {
    let items: Vec<String> = list.as_array().into_iter().flatten().map(item).collect();
    if items.is_empty() { "<none>".to_owned() } else { items.join(",") }
}

/// `a=b,c in (d,e)`, as label selectors are written.
fn labels(selector: &Value) -> String {
    let plain = selector.get("matchLabels").or_else(|| selector.get("matchExpressions").is_none().then_some(selector));
    let pairs = plain.and_then(Value::as_object).into_iter().flatten();
    let mut parts: Vec<String> = pairs.map(|(key, value)| format!("{key}={}", text_of(value))).collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = text_of(&expression["key"]);
        let values = list_of(&expression["values"], text_of);
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key,
        });
    }
    if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
}

fn ready_containers(pod: &Value) -> String {
    let statuses = pod["status"]["containerStatuses"].as_array();
    let ready = statuses.into_iter().flatten().filter(|status| status["ready"] == true).count();
    format!("{ready}/{}", pod["spec"]["containers"].as_array().map_or(0, Vec::len))
}

fn restarts(pod: &Value) -> i64 {
    let statuses = pod["status"]["containerStatuses"].as_array();
    statuses.into_iter().flatten().filter_map(|status| status["restartCount"].as_i64()).sum()
}

/// The phase, or what keeps a container from running.
fn pod_status(pod: &Value) -> String {
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating".to_owned();
    }
    let statuses = pod["status"]["containerStatuses"].as_array();
    let reason = statuses.into_iter().flatten().rev().find_map(|status| {
        let state = &status["state"];
        state["waiting"]["reason"].as_str().or_else(|| state["terminated"]["reason"].as_str())
    });
    reason.or_else(|| pod["status"]["reason"].as_str()).map_or_else(|| text_of(&pod["status"]["phase"]), str::to_owned)
}

fn job_status(job: &Value) -> &'static str {
    let holds = |kind: &str| {
        let conditions = job["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|one| one["type"] == kind && one["status"] == "True")
    };
    if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if holds("Suspended") {
        "Suspended"
    } else {
        "Running"
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let Some(start) = time(&job["status"]["startTime"]) else { return String::new() };
    let end = time(&job["status"]["completionTime"]).unwrap_or(now);
    human(end.as_second() - start.as_second())
}

fn external_address(service: &Value) -> String {
    let spec = &service["spec"];
    let points = list_of(&service["status"]["loadBalancer"]["ingress"], |one| {
        text_of(if one["ip"].is_null() { &one["hostname"] } else { &one["ip"] })
    });
    match spec["type"].as_str() {
        Some("ExternalName") => text_of(&spec["externalName"]),
        Some("LoadBalancer") if points == "<none>" => "<pending>".to_owned(),
        Some("LoadBalancer") => points,
        _ => list_of(&spec["externalIPs"], text_of),
    }
}

fn service_ports(service: &Value) -> String {
    list_of(&service["spec"]["ports"], |port| {
        let node = port["nodePort"].as_u64().map(|node| format!(":{node}")).unwrap_or_default();
        format!("{}{node}/{}", text_of(&port["port"]), port["protocol"].as_str().unwrap_or("TCP"))
    })
}

fn addresses(endpoints: &Value) -> String {
    let mut all = Vec::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        for address in subset["addresses"].as_array().into_iter().flatten() {
            for port in subset["ports"].as_array().into_iter().flatten() {
                all.push(format!("{}:{}", text_of(&address["ip"]), text_of(&port["port"])));
            }
        }
    }
    match all.len() {
        0 => "<none>".to_owned(),
        1..=3 => all.join(","),
        count => format!("{} + {} more...", all.get(..3).unwrap_or_default().join(","), count - 3),
    }
}

fn node_status(node: &Value) -> String {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    let status = match ready.map(|condition| condition["status"] == "True") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if node["spec"]["unschedulable"] == true { ",SchedulingDisabled" } else { "" };
    format!("{status}{cordoned}")
}

fn node_roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object();
    let roles: Vec<&str> =
        labels.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn node_address(node: &Value, kind: &str) -> String {
    let addresses = node["status"]["addresses"].as_array();
    let found = addresses.into_iter().flatten().find(|address| address["type"] == kind);
    found.map_or_else(|| "<none>".to_owned(), |address| text_of(&address["address"]))
}

fn access_modes(modes: &Value) -> String {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO".to_owned(),
        Some("ReadOnlyMany") => "ROX".to_owned(),
        Some("ReadWriteMany") => "RWX".to_owned(),
        Some("ReadWriteOncePod") => "RWOP".to_owned(),
        _ => text_of(mode),
    };
    let listed = list_of(modes, short);
    if listed == "<none>" { String::new() } else { listed }
}

fn quota_usage(quota: &Value, wanted: impl Fn(&str) -> bool) -> String {
    let hard = quota["spec"]["hard"].as_object();
    let used = &quota["status"]["used"];
    let one = |(name, limit): (&String, &Value)| {
        let used = used.get(name).map_or_else(|| "0".to_owned(), text_of);
        format!("{name}: {used}/{}", text_of(limit))
    };
    hard.into_iter().flatten().filter(|(name, _)| wanted(name)).map(one).collect::<Vec<_>>().join(", ")
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn since(value: &Value, now: Timestamp) -> String {
    time(value).map_or_else(|| "<unknown>".to_owned(), |then| human(now.as_second() - then.as_second()))
}

/// A duration with at most two units, as kubectl shows ages.
fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let two = |large: i64, name: &str, small: i64, small_name: &str| {
        let rest = seconds % large / small;
        let rest = if rest == 0 { String::new() } else { format!("{rest}{small_name}") };
        format!("{}{name}{rest}", seconds / large)
    };
    match seconds {
        ..0 => "<invalid>".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, "d", HOUR, "h"),
        _ => format!("{}d", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_at_most_two_units() {
        let cases = [(5, "5s"), (119, "119s"), (125, "2m5s"), (3_600, "60m"), (10_860, "3h1m"), (90_000, "25h"), (864_000, "10d")];
        for (seconds, text) in cases {
            assert_eq!(human(seconds), text);
        }
    }

    #[test]
    fn selectors_read_as_they_are_written() {
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d", "e"]}]});
        assert_eq!(labels(&selector), "a=b,c in (d,e)");
        assert_eq!(labels(&json!({})), "<none>");
        assert_eq!(labels(&json!({"disk": "ssd"})), "disk=ssd");
    }
}

//! Columns of nodes, namespaces, events, limits and access.

use serde_json::{Value, json};

use super::column::{Column, age, at, column, name, number, wide};
use super::text::{since, text_of};
use crate::kubernetes::resource::Resource;

/// The columns of what runs a cluster; `None` for other kinds.
pub(super) fn columns(resource: &Resource) -> Option<Vec<Column>> {
    let mut columns = vec![name()];
    match (resource.group.as_str(), resource.id.plural()) {
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
        ("", "events") => {
            columns = event_columns(
                "/involvedObject",
                "/involvedObject/fieldPath",
                "/source/component",
                "/message",
            );
        }
        ("events.k8s.io", "events") => {
            columns =
                event_columns("/regarding", "/regarding/fieldPath", "/deprecatedSource/component", "/note");
        }
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
        _ => return None,
    }
    Some(columns)
}

fn event_columns(
    subject: &'static str,
    field: &'static str,
    source: &'static str,
    message: &'static str,
) -> Vec<Column> {
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
        wide(at("Subobject", field)),
        wide(at("Source", source)),
        at("Message", message),
        wide(column("Count", |event, _| event.get("count").cloned().unwrap_or(json!(1)))),
        wide(name()),
    ]
}

fn or_not_applicable(value: &Value) -> Value {
    if value.is_null() { json!("N/A") } else { json!(text_of(value)) }
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
    let roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn node_address(node: &Value, kind: &str) -> String {
    let addresses = node["status"]["addresses"].as_array();
    let found = addresses.into_iter().flatten().find(|address| address["type"] == kind);
    found.map_or_else(|| "<none>".to_owned(), |address| text_of(&address["address"]))
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

//! The `scale` subresource: `autoscaling/v1` Scale over the replicas of a workload.

use serde_json::{Value, json};

use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::resource::Resource;
use crate::kubernetes::semantics::selector::LabelSelector;

/// The Scale of an object.
pub(in crate::kubernetes) fn of(resource: &Resource, object: &Value) -> Value {
    let paths = Paths::of(resource);
    let metadata = &object["metadata"];
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {},
        "status": {"replicas": number(&paths.current)},
    });
    if number(&paths.wanted) != 0 {
        scale["spec"]["replicas"] = json!(number(&paths.wanted));
    }
    let selector = paths.selector.and_then(|path| object.pointer(&path).cloned());
    match selector {
        Some(Value::String(text)) => scale["status"]["selector"] = json!(text),
        Some(selector @ Value::Object(_)) => scale["status"]["selector"] = json!(written(&selector)),
        _ => {}
    }
    scale
}

/// The object with the replicas that a Scale asks for.
pub(super) fn apply(resource: &Resource, object: &Value, scale: &Value) -> Result<Value, ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        value => match value.as_i64() {
            Some(count) if (0..=i64::from(i32::MAX)).contains(&count) => count,
            _ => {
                let cause = Cause::invalid("spec.replicas", value, "must be greater than or equal to 0");
                return Err(ApiError::invalid_kind("autoscaling", "Scale", name, vec![cause]));
            }
        },
    };
    let paths = Paths::of(resource);
    if !paths.wanted.starts_with('/') {
        return Err(ApiError::new(
            500,
            "InternalError",
            format!("{} has no path to its replicas", resource.id),
        ));
    }
    let mut changed = object.clone();
    let mut at = &mut changed;
    for segment in paths.wanted.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[segment];
    }
    *at = json!(replicas);
    if let Some(version) = scale["metadata"]["resourceVersion"].as_str() {
        changed["metadata"]["resourceVersion"] = json!(version);
    }
    Ok(changed)
}

struct Paths {
    wanted: String,
    current: String,
    selector: Option<String>,
}

impl Paths {
    fn of(resource: &Resource) -> Self {
        let Some(scale) = resource.custom.as_ref().and_then(|custom| custom.scale.as_ref()) else {
            return Self {
                wanted: "/spec/replicas".to_owned(),
                current: "/status/replicas".to_owned(),
                selector: Some("/spec/selector".to_owned()),
            };
        };
        let pointer = |field: &str| scale[field].as_str().map(|path| path.replace('.', "/"));
        Self {
            wanted: pointer("specReplicasPath").unwrap_or_default(),
            current: pointer("statusReplicasPath").unwrap_or_default(),
            selector: pointer("labelSelectorPath"),
        }
    }
}

/// A label selector as text, as autoscalers parse it.
fn written(selector: &Value) -> String {
    let (Ok(_), Some(labels)) = (LabelSelector::from_json(selector), selector["matchLabels"].as_object())
    else {
        return String::new();
    };
    let pairs = labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(",")
}

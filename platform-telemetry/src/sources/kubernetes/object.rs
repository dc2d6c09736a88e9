//! Reading objects, and what several kinds have in common.

use crate::sources::samples::SampleSet;
use platform_core::{Quantity, clock::Timestamp};
use serde_json::Value;
use std::time::SystemTime;

/// An object as the API server gives it. What is not there reads as empty, as in Go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a>(&'a Value);

impl<'a> Object<'a> {
    pub(super) fn new(value: &'a Value) -> Self {
        Self(value)
    }

    pub(super) fn text(self, pointer: &str) -> &'a str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn number(self, pointer: &str) -> Option<f64> {
        self.0.pointer(pointer).and_then(Value::as_f64)
    }

    pub(super) fn flag(self, pointer: &str) -> bool {
        self.0.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(super) fn has(self, pointer: &str) -> bool {
        self.0.pointer(pointer).is_some_and(|value| !value.is_null())
    }

    pub(super) fn items(self, pointer: &str) -> impl Iterator<Item = Object<'a>> + use<'a> {
        self.0.pointer(pointer).and_then(Value::as_array).into_iter().flatten().map(Object)
    }

    /// Quantities by resource: `status.capacity`, `spec.hard`.
    pub(super) fn quantities(self, pointer: &str) -> impl Iterator<Item = (&'a str, f64)> + use<'a> {
        let map = self.0.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
        map.filter_map(|(resource, quantity)| {
            let amount = match quantity {
                Value::String(text) => Quantity::parse(text.as_str()).ok()?.as_f64(),
                other => other.as_f64()?,
            };
            Some((resource.as_str(), amount))
        })
    }

    /// The first of `pointers` where there is a time.
    pub(super) fn time(self, pointers: &[&str]) -> Option<Timestamp> {
        pointers.iter().find_map(|pointer| {
            let time: jiff::Timestamp = self.text(pointer).parse().ok()?;
            Some(Timestamp::from(SystemTime::from(time)))
        })
    }

    pub(super) fn name(self) -> &'a str {
        self.text("/metadata/name")
    }

    pub(super) fn namespace(self) -> &'a str {
        self.text("/metadata/namespace")
    }

    pub(super) fn uid(self) -> &'a str {
        self.text("/metadata/uid")
    }

    /// The owner that controls it: its kind and name.
    pub(super) fn controller(self) -> Option<(&'a str, &'a str)> {
        let owner = self.items("/metadata/ownerReferences").find(|owner| owner.flag("/controller"))?;
        Some((owner.text("/kind"), owner.text("/name")))
    }

    /// `…_created` in seconds since the epoch.
    pub(super) fn created(self, metric: &str, labels: &[(&str, &str)], set: &mut SampleSet) {
        if let Some(time) = self.time(&["/metadata/creationTimestamp"]) {
            set.gauge(metric, labels, time.as_secs_f64());
        }
    }

    /// A sample for each owner.
    pub(super) fn owners(self, metric: &str, labels: &[(&str, &str)], set: &mut SampleSet) {
        for owner in self.items("/metadata/ownerReferences") {
            let is_controller = if owner.flag("/controller") { "true" } else { "false" };
            let more = [
                ("owner_kind", owner.text("/kind")),
                ("owner_name", owner.text("/name")),
                ("owner_is_controller", is_controller),
            ];
            set.gauge(metric, &[labels, &more].concat(), 1.0);
        }
    }
}

/// One sample for each of `values`, 1 where it is the `actual` one.
pub(super) fn one_of(
    set: &mut SampleSet,
    metric: &str,
    labels: &[(&str, &str)],
    (label, values): (&str, &[&str]),
    actual: &str,
) {
    for value in values {
        set.gauge(metric, &[labels, &[(label, value)]].concat(), f64::from(u8::from(*value == actual)));
    }
}

/// A condition's status as three samples: `true`, `false`, `unknown`.
pub(super) fn condition_status(
    set: &mut SampleSet,
    metric: &str,
    labels: &[(&str, &str)],
    label: &str,
    condition: Object<'_>,
) {
    let status = condition.text("/status").to_ascii_lowercase();
    one_of(set, metric, labels, (label, &["true", "false", "unknown"]), &status);
}

/// A resource's name as a label, and its unit, as kube-state-metrics has them; `None` for what it leaves out.
pub(super) fn resource_and_unit(resource: &str) -> Option<(String, &'static str)> {
    let label: String =
        resource.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    let unit = match resource {
        "cpu" => "core",
        "memory" | "storage" | "ephemeral-storage" => "byte",
        "pods" => "integer",
        other if other.starts_with("hugepages-") || other.starts_with("attachable-volumes-") => "byte",
        other if other.contains('/') => "integer",
        _ => return None,
    };
    Some((label, unit))
}

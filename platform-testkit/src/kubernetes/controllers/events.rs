//! Events: what `kubectl describe` and `kubectl get events` tell of an object.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::deletion::DeleteOptions;
use super::super::store::{Key, Store};
use super::object::{EVENTS, fingerprint, name, namespace, text, uid, written};

/// How long events are kept, as by an API server.
const KEPT: Duration = Duration::from_secs(3600);
/// How often old events are looked for.
pub(super) const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Records events.
pub(super) struct Recorder {
    store: Arc<Store>,
}

impl Recorder {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    pub(super) fn normal(&self, about: &Value, component: &str, reason: &str, message: &str) {
        self.record(about, "", "Normal", component, reason, message);
    }

    pub(super) fn warning(&self, about: &Value, component: &str, reason: &str, message: &str) {
        self.record(about, "", "Warning", component, reason, message);
    }

    /// Records an event about one field of an object, such as `spec.containers{app}`. The same event is counted.
    pub(super) fn record(
        &self,
        about: &Value,
        field: &str,
        kind: &str,
        component: &str,
        reason: &str,
        message: &str,
    ) {
        let now = written(Timestamp::now());
        let space = if namespace(about).is_empty() { "default" } else { namespace(about) };
        let identity = json!([uid(about), field, kind, component, reason, message]);
        let event_name = format!("{}.{}", name(about), fingerprint(&identity, 0));
        let result = match self.store.find(&Key::new(&EVENTS, space, event_name.clone())) {
            Some(known) => {
                let mut event = known.value().clone();
                event["count"] = json!(known.get("count").and_then(Value::as_i64).unwrap_or(1) + 1);
                event["lastTimestamp"] = json!(now);
                self.store.update(&EVENTS, event, component)
            }
            None => self.store.create(
                &EVENTS,
                json!({
                    "metadata": {"name": event_name, "namespace": space},
                    "involvedObject": reference(about, field),
                    "type": kind,
                    "reason": reason,
                    "message": message,
                    "source": {"component": component},
                    "reportingComponent": component,
                    "reportingInstance": "",
                    "count": 1,
                    "firstTimestamp": now,
                    "lastTimestamp": now,
                }),
                component,
            ),
        };
        if let Err(error) = result {
            // The namespace may be going away; an event is not worth another try.
            tracing::debug!(%error, reason, "an event was not recorded");
        }
    }

    /// Deletes events that nobody will ask for any more.
    pub(super) fn forget_old(&self, now: Timestamp) {
        for event in self.store.list(&EVENTS, None).items {
            let last: Option<Timestamp> = text(&event, "/lastTimestamp").parse().ok();
            let old =
                last.is_some_and(|last| now.as_second() - last.as_second() > KEPT.as_secs().cast_signed());
            if old && let Err(error) = self.store.delete(&Key::of(&EVENTS, &event), &DeleteOptions::default())
            {
                tracing::debug!(%error, "an old event was not deleted");
            }
        }
    }
}

fn reference(about: &Value, field: &str) -> Value {
    let mut reference = json!({
        "apiVersion": text(about, "/apiVersion"),
        "kind": text(about, "/kind"),
        "name": name(about),
        "uid": uid(about),
        "resourceVersion": text(about, "/metadata/resourceVersion"),
    });
    for (key, value) in [("namespace", namespace(about)), ("fieldPath", field)] {
        if !value.is_empty() {
            reference[key] = json!(value);
        }
    }
    reference
}

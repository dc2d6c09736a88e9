//! Resources that show the objects of another one under names of their own: the Events of `events.k8s.io` are those
//! of the core group.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::kubernetes::error::ApiError;
use crate::kubernetes::resource::Resource;
use crate::kubernetes::store::Store;

/// Fields of a core Event, and their names in `events.k8s.io/v1`; the others have the same in both.
const FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// The resource as which the objects of `resource` are stored: itself unless it is a view.
pub(super) fn storage(store: &Store, resource: &Arc<Resource>) -> Result<Arc<Resource>, ApiError> {
    if resource.is_view() { store.served(&resource.id) } else { Ok(resource.clone()) }
}

/// A stored object as `resource` shows it.
pub(super) fn shown<'a>(resource: &Resource, stored: &'a Value) -> Cow<'a, Value> {
    if !resource.is_view() {
        return Cow::Borrowed(stored);
    }
    let mut object = renamed(stored.clone(), |(core, own)| (core, own));
    object["apiVersion"] = Value::String(resource.api_version());
    Cow::Owned(object)
}

/// What a writer of `resource` sent, as `storage` stores it.
pub(super) fn stored(resource: &Resource, storage: &Resource, sent: Value) -> Value {
    if !resource.is_view() {
        return sent;
    }
    let mut object = renamed(sent, |(core, own)| (own, core));
    object["apiVersion"] = Value::String(storage.api_version());
    object
}

/// A field selector of `resource` over stored objects.
pub(super) fn selector<'a>(resource: &Resource, text: &'a str) -> Cow<'a, str> {
    if resource.is_view() {
        Cow::Owned(text.replace("regarding.", "involvedObject."))
    } else {
        Cow::Borrowed(text)
    }
}

fn renamed(
    object: Value,
    way: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Value {
    let Value::Object(fields) = object else { return object };
    let name = |field: String| {
        let found = FIELDS.into_iter().map(&way).find(|(from, _)| *from == field);
        found.map_or(field, |(_, to)| to.to_owned())
    };
    Value::Object(fields.into_iter().map(|(field, value)| (name(field), value)).collect::<Map<_, _>>())
}

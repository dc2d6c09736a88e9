//! Following the objects of a kind.

use super::{error::from_kube, resource::Resource};
use futures::{StreamExt, future};
use kube::{
    Api,
    core::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{Watch, WatchEvent},
};
use serde_json::Value;

/// A watch that comes back by itself, with back-off; where changes may have been missed, everything is listed again.
pub(crate) fn follow(
    client: kube::Client,
    resource: &Resource,
    namespace: Option<&str>,
    label_selector: Option<&str>,
    field_selector: Option<&str>,
) -> Watch {
    let kind = resource.kube();
    let objects: Api<DynamicObject> = match namespace {
        Some(namespace) if resource.namespaced => Api::namespaced_with(client, namespace, &kind),
        _ => Api::all_with(client, &kind),
    };
    let mut config = watcher::Config::default();
    if let Some(selector) = label_selector {
        config = config.labels(selector);
    }
    if let Some(selector) = field_selector {
        config = config.fields(selector);
    }
    let events = watcher(objects, config).default_backoff();
    // A list arrives object by object and is told as a whole, so that nobody sees a part of it.
    let told = events.scan(Vec::new(), |listed, event| future::ready(Some(take(listed, event))));
    told.filter_map(future::ready).boxed()
}

fn take(
    listed: &mut Vec<Value>,
    event: Result<Event<DynamicObject>, watcher::Error>,
) -> Option<Result<WatchEvent>> {
    let told = match event {
        Ok(Event::Init) => {
            listed.clear();
            return None;
        }
        Ok(Event::InitApply(object)) => match value(&object) {
            Ok(object) => {
                listed.push(object);
                return None;
            }
            Err(error) => Err(error),
        },
        Ok(Event::InitDone) => Ok(WatchEvent::Snapshot(std::mem::take(listed))),
        Ok(Event::Apply(object)) => value(&object).map(WatchEvent::Applied),
        Ok(Event::Delete(object)) => value(&object).map(WatchEvent::Deleted),
        Err(error) => Err(refused(error)),
    };
    Some(told)
}

fn value(object: &DynamicObject) -> Result<Value> {
    serde_json::to_value(object).map_err(|e| Error::internal("an object cannot be written as JSON").source(e))
}

/// What went wrong with a watch.
pub(crate) fn refused(error: watcher::Error) -> Error {
    match error {
        watcher::Error::InitialListFailed(e)
        | watcher::Error::WatchStartFailed(e)
        | watcher::Error::WatchFailed(e) => from_kube(e),
        watcher::Error::WatchError(status) => from_kube(kube::Error::Api(status)),
        error @ watcher::Error::NoResourceVersion => Error::new(ErrorKind::Unavailable, error.to_string()),
    }
}

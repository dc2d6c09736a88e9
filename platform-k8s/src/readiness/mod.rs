//! Whether objects are what they should be, in the terms of [kstatus], and waiting until they are.
//!
//! Three rules differ from kstatus: a Job is ready when it is complete, not when it started, a Service of type
//! LoadBalancer when it has an address, and a PersistentVolumeClaim whose class waits for the first pod that uses it, since
//! nothing else may come. In return for a Deployment that does not come up, the failing container is named.
//!
//! [kstatus]: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md

mod pod;
mod rules;
mod surroundings;
mod wait;

pub(crate) use surroundings::Surroundings;
pub(crate) use wait::wait_ready;

use surroundings::{needs_classes, needs_pods};

use crate::connection::{
    api::{Api, gather},
    resource::Discovery,
};
use platform_core::{
    Error, Result,
    cluster::{ObjectHealth, Readiness},
    manifest::ObjectRef,
};
use serde_json::Value;

/// Says of one object, as it was read, whether it is ready.
pub(crate) fn assess(reference: &ObjectRef, live: Option<&Value>, around: &Surroundings) -> ObjectHealth {
    let Some(live) = live else {
        return ObjectHealth {
            object: reference.clone(),
            readiness: Readiness::NotFound,
            message: "it does not exist".to_owned(),
        };
    };
    let mut verdict = rules::judge(reference, live);
    if verdict.readiness == Readiness::InProgress
        && needs_pods(reference)
        && let Some(from_pods) = around.explain(reference, live, &verdict)
    {
        verdict = from_pods;
    }
    if verdict.readiness == Readiness::InProgress
        && needs_classes(reference)
        && around.is_for_first_consumer(live)
    {
        verdict = Verdict::current();
    }
    ObjectHealth { object: reference.clone(), readiness: verdict.readiness, message: verdict.message }
}

/// What is known about an object's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) readiness: Readiness,
    pub(crate) message: String,
}

impl Verdict {
    fn current() -> Self {
        Self { readiness: Readiness::Current, message: String::new() }
    }

    fn in_progress(message: impl Into<String>) -> Self {
        Self { readiness: Readiness::InProgress, message: message.into() }
    }

    fn failed(message: impl Into<String>) -> Self {
        Self { readiness: Readiness::Failed, message: message.into() }
    }
}

/// Reads objects and says of each whether it is ready.
pub(crate) async fn health(
    api: &Api,
    discovery: &Discovery,
    objects: &[ObjectRef],
) -> Result<Vec<ObjectHealth>> {
    let kinds = objects.iter().map(|object| (object.api_version.as_str(), object.kind.as_str()));
    discovery.prepare(api, kinds).await?;
    let asking = objects.iter().map(|object| async move {
        let health = one(api, discovery, object).await;
        health.map_err(|e| e.operation("read").subject(object.to_string()))
    });
    gather(api, asking).await
}

async fn one(api: &Api, discovery: &Discovery, object: &ObjectRef) -> Result<ObjectHealth> {
    let live = match discovery.find_known(object) {
        Some(resource) => api.get(&resource, object.namespace.as_deref(), &object.name).await?,
        None => None,
    };
    let health = assess(object, live.as_ref(), &Surroundings::default());
    let Some(live) = live.filter(|_| {
        health.readiness == Readiness::InProgress && (needs_pods(object) || needs_classes(object))
    }) else {
        return Ok(health);
    };
    let mut around = Surroundings::read(api, object, &live).await?;
    around.hear(api).await;
    Ok(assess(object, Some(&live), &around))
}

/// The error of a wait that is over before all is ready.
fn not_ready(error: Error, missing: &[ObjectHealth]) -> Error {
    let subject = match missing {
        [one] => one.object.to_string(),
        more => format!("{} objects", more.len()),
    };
    error.operation("get ready").subject(subject)
}

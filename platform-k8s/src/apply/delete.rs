//! Deleting a set: its members in stages, each waited for, then its parent.

use super::{applyset::ApplySet, review, stage::Farewell};
use crate::{
    connection::{
        api::{Api, gather},
        resource::{Discovery, Resource},
    },
    labels,
};
use platform_core::{
    Error, Result,
    cluster::{ApplyOptions, DeleteReport},
    manifest::ObjectRef,
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// Between looks at what is not gone yet: doubled from the first to the last.
const FIRST_POLL: Duration = Duration::from_millis(25);
const LAST_POLL: Duration = Duration::from_secs(1);

struct Leaving {
    resource: Arc<Resource>,
    reference: ObjectRef,
    uid: String,
    stage: Farewell,
}

/// Deletes what of the set is the owner's. A set that does not exist is gone already.
pub(crate) async fn delete_set(
    api: &Api,
    discovery: &Discovery,
    name: &str,
    options: &ApplyOptions,
) -> Result<DeleteReport> {
    let set = ApplySet::read(api, name, &options.owner).await?;
    let mut report = DeleteReport::default();
    if !set.exists() {
        return Ok(report);
    }
    let mut leaving = Vec::new();
    for (resource, object) in
        review::live_members(api, discovery, &set, &set.hints(), &[]).await?.into_values()
    {
        let reference = resource.reference(&object);
        if labels::label(&object, labels::PLATFORM) == Some(options.owner.platform.as_str()) {
            let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
            let stage = Farewell::of(&reference, text("/spec/type") == "LoadBalancer");
            leaving.push(Leaving { resource, uid: text("/metadata/uid").to_owned(), reference, stage });
        } else {
            report.left.push((reference, super::difference::whose(&object)));
        }
    }
    leaving.sort_by(|a, b| a.reference.cmp(&b.reference));
    let mut refused = false;
    for stage in Farewell::ALL {
        let of_stage: Vec<&Leaving> = leaving.iter().filter(|l| l.stage == stage).collect();
        let (going, staying) = ask(api, &of_stage).await?;
        refused |= !staying.is_empty();
        report.left.extend(staying);
        if !going.is_empty() {
            tracing::debug!(set = name, ?stage, objects = going.len(), "Waiting until a stage of the set is gone");
        }
        let waiting = going.iter().map(|leaving| gone(api, leaving));
        gather(api, waiting).await?;
        report.deleted.extend(going.into_iter().map(|leaving| leaving.reference.clone()));
    }
    // What the server would not let go is still found by the set.
    if !refused {
        set.forget(api).await?;
    }
    Ok(report)
}

/// Asks for the deletion of all; those that the server refuses to delete come back with its reason.
async fn ask<'a>(api: &Api, leaving: &[&'a Leaving]) -> Result<(Vec<&'a Leaving>, Vec<(ObjectRef, String)>)> {
    let asking = leaving.iter().map(|leaving| async move {
        // A workload is gone when its pods are: what they need must outlive them.
        let propagation = if leaving.stage == Farewell::Workloads { "Foreground" } else { "Background" };
        match api.delete(&leaving.resource, &leaving.reference, &leaving.uid, propagation).await {
            Ok(_) => Ok((*leaving, None)),
            Err(error) if matches!(error.code(), Some(403 | 422)) => {
                Ok((*leaving, Some(Error::from(error).message().to_owned())))
            }
            Err(error) => Err(Error::from(error).operation("delete").subject(leaving.reference.to_string())),
        }
    });
    let answers = gather(api, asking).await?;
    let (mut going, mut staying) = (Vec::new(), Vec::new());
    for (leaving, refusal) in answers {
        match refusal {
            None => going.push(leaving),
            Some(why) => staying.push((leaving.reference.clone(), why)),
        }
    }
    Ok((going, staying))
}

/// Waits until the object is gone or another has its name. The caller's deadline ends the wait.
async fn gone(api: &Api, leaving: &Leaving) -> Result<()> {
    let mut pause = FIRST_POLL;
    loop {
        let ObjectRef { namespace, name, .. } = &leaving.reference;
        let live = api.get(&leaving.resource, namespace.as_deref(), name).await;
        let live =
            live.map_err(|e| Error::from(e).operation("delete").subject(leaving.reference.to_string()))?;
        let same = live
            .is_some_and(|live| live.pointer("/metadata/uid").and_then(Value::as_str) == Some(&leaving.uid));
        if !same {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_POLL);
    }
}

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
    Error, ErrorKind, Result,
    cluster::{ApplyOptions, DeleteReport},
    manifest::ObjectRef,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// Between looks at what is not gone yet: doubled from the first to the last.
const FIRST_POLL: Duration = Duration::from_millis(25);
const LAST_POLL: Duration = Duration::from_secs(1);
/// How many objects an error lists.
const LISTED: usize = 5;

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
    until: Instant,
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
            tracing::debug!(
                set = name,
                ?stage,
                objects = going.len(),
                "Waiting until a stage of the set is gone"
            );
        }
        all_gone(api, &going, until).await?;
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

/// Waits until all are gone; the error of a deadline says which are not, and what holds them.
async fn all_gone(api: &Api, going: &[&Leaving], until: Instant) -> Result<()> {
    let unknown = going.iter().map(|leaving| (leaving.reference.clone(), String::new()));
    let remaining = Mutex::new(unknown.collect::<BTreeMap<_, _>>());
    let waiting = gather(api, going.iter().map(|leaving| gone(api, leaving, &remaining)));
    if let Ok(result) = timeout_at(until, waiting).await {
        return result.map(drop);
    }
    let remaining = remaining.into_inner().unwrap_or_else(PoisonError::into_inner);
    let count = remaining.len();
    let listed: Vec<String> =
        remaining.into_iter().take(LISTED).map(|(object, why)| format!("{object}{why}")).collect();
    let more = if count > LISTED { format!(" and {} more", count - LISTED) } else { String::new() };
    let message = format!("the deadline passed, and still there are {}{more}", listed.join(", "));
    Err(Error::new(ErrorKind::Timeout, message)
        .help("see to what holds them and delete again: it goes on from there"))
}

/// Waits until the object is gone or another has its name, keeping in `remaining` what holds it.
async fn gone(api: &Api, leaving: &Leaving, remaining: &Mutex<BTreeMap<ObjectRef, String>>) -> Result<()> {
    let mut pause = FIRST_POLL;
    let ObjectRef { namespace, name, .. } = &leaving.reference;
    loop {
        let live = api.get(&leaving.resource, namespace.as_deref(), name).await;
        let live =
            live.map_err(|e| Error::from(e).operation("delete").subject(leaving.reference.to_string()))?;
        let same = |live: &Value| live.pointer("/metadata/uid").and_then(Value::as_str) == Some(&leaving.uid);
        let held = live.filter(same).map(|live| holders(&live));
        {
            let mut remaining = remaining.lock().unwrap_or_else(PoisonError::into_inner);
            match held {
                Some(holders) => remaining.insert(leaving.reference.clone(), holders),
                None => remaining.remove(&leaving.reference),
            };
            if !remaining.contains_key(&leaving.reference) {
                return Ok(());
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_POLL);
    }
}

/// What holds an object that is being deleted, to stand behind its name.
fn holders(live: &Value) -> String {
    let list = |path: &str| live.pointer(path).and_then(Value::as_array).into_iter().flatten();
    let finalizers = list("/metadata/finalizers").chain(list("/spec/finalizers")).filter_map(Value::as_str);
    let finalizers: Vec<&str> = finalizers.collect();
    if finalizers.is_empty() { String::new() } else { format!(" (held by {})", finalizers.join(", ")) }
}

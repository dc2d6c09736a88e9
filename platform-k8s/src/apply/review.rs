//! What applying a set would do, asked of the server with as few requests as it takes.
//!
//! The parent of the set and one list for each kind, by the members' label, tell what is there. A member that
//! [`compare`](super::compare) recognises costs nothing more; each other is applied by dry run, many at once.

use super::{
    applyset::{ApplySet, Hints},
    handover::Autoscaled,
    judge::{Candidate, Judge, Member, Verdict},
    stage,
};
use crate::{
    connection::{
        api::{Api, gather},
        resource::{Discovery, Resource},
    },
    labels,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::try_join_all;
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{ApplyOptions, ObjectChange, ObjectDiff},
    manifest::{Manifest, ManifestSet, ObjectRef},
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Up to so many namespaces are listed one by one.
const FEW_NAMESPACES: usize = 3;

/// A live member of the set that the manifests no longer have.
#[derive(Debug)]
pub(crate) struct Stale {
    pub(crate) resource: Arc<Resource>,
    pub(crate) reference: ObjectRef,
    pub(crate) uid: String,
}

/// The whole set, reviewed.
pub(crate) struct Review {
    pub(crate) set: ApplySet,
    /// In the order of the manifests.
    pub(crate) members: Vec<Member>,
    /// What pruning deletes.
    pub(crate) stale: Vec<Stale>,
    /// What stays a member although the manifests no longer have it.
    pub(crate) kept: Vec<ObjectRef>,
}

/// What [`apply`](super::apply) would do with each of several sets.
pub(crate) async fn diff_all(
    api: &Api,
    discovery: &Discovery,
    sets: &[&ManifestSet],
    options: &ApplyOptions,
) -> Result<Vec<Vec<ObjectDiff>>> {
    let one_by_one = || gather(api, sets.iter().map(|set| review(api, discovery, set, options)));
    let reviews = match sets {
        [_] => one_by_one().await?,
        sets => match review_all(api, discovery, sets, options).await {
            // Who may only read some namespaces can still ask about each set by itself.
            Err(error) if error.kind() == ErrorKind::Denied => one_by_one().await?,
            answer => answer?,
        },
    };
    Ok(reviews.into_iter().map(Review::into_diff).collect())
}

/// Reviews a set. Writes nothing.
pub(crate) async fn review(
    api: &Api,
    discovery: &Discovery,
    set: &ManifestSet,
    options: &ApplyOptions,
) -> Result<Review> {
    let applyset = ApplySet::read(api, set.name(), &options.owner).await?;
    let references = set.references();
    prepare(api, discovery, &references).await?;
    let hints = applyset.hints().union(&Hints::of(&references));
    let live = live_members(api, discovery, &applyset, &hints, &references).await?;
    compare(api, discovery, set, options, applyset, live).await
}

/// Reviews several sets of one platform, with no more lists than the largest of them needs.
async fn review_all(
    api: &Api,
    discovery: &Discovery,
    sets: &[&ManifestSet],
    options: &ApplyOptions,
) -> Result<Vec<Review>> {
    let names: Vec<&str> = sets.iter().map(|set| set.name()).collect();
    let applysets = ApplySet::read_all(api, &names, &options.owner).await?;
    let references: Vec<ObjectRef> = sets.iter().flat_map(|set| set.references()).collect();
    prepare(api, discovery, &references).await?;
    // Members are only ever written after their parent.
    let there = applysets.iter().zip(sets).filter(|(applyset, _)| applyset.exists());
    let hints = there.fold(Hints::default(), |hints, (applyset, set)| {
        hints.union(&applyset.hints()).union(&Hints::of(&set.references()))
    });
    let selector = format!("{}={},{}", labels::PLATFORM, options.owner.platform, labels::APPLYSET_PART_OF);
    let mut by_set: HashMap<String, HashMap<Key, (Arc<Resource>, Value)>> = HashMap::new();
    for (resource, object) in list(api, discovery, &hints, &references, &selector).await? {
        if let Some(id) = labels::label(&object, labels::APPLYSET_PART_OF) {
            let members = by_set.entry(id.to_owned()).or_default();
            members.insert(Key::of(&resource.reference(&object)), (resource, object));
        }
    }
    let comparing = applysets.into_iter().zip(sets).map(|(applyset, set)| {
        let live = by_set.remove(applyset.id()).unwrap_or_default();
        compare(api, discovery, set, options, applyset, live)
    });
    try_join_all(comparing).await
}

async fn prepare(api: &Api, discovery: &Discovery, references: &[ObjectRef]) -> Result<()> {
    let kinds = references.iter().map(|r| (r.api_version.as_str(), r.kind.as_str()));
    discovery.prepare(api, kinds).await
}

/// What becomes of a set whose live members are these.
async fn compare(
    api: &Api,
    discovery: &Discovery,
    set: &ManifestSet,
    options: &ApplyOptions,
    applyset: ApplySet,
    mut live: HashMap<Key, (Arc<Resource>, Value)>,
) -> Result<Review> {
    let references = set.references();
    let autoscaled = Autoscaled::of(set);
    let mut members = Vec::with_capacity(references.len());
    for (manifest, reference) in set.manifests().iter().zip(references) {
        let resource = discovery.find_known(&reference);
        if let Some(resource) = &resource {
            check_scope(resource, &reference)?;
        }
        let key = Key::of(&reference);
        let live = live.remove(&key).map(|(_, object)| object);
        members.push(Candidate {
            wanted: wanted(manifest, &applyset),
            is_autoscaled: autoscaled.contains(&reference),
            reference,
            resource,
            live,
        });
    }
    let judge = Judge { api, set: &applyset, options };
    let members = judge.all(members).await?;

    let (mut stale, mut kept) = (Vec::new(), Vec::new());
    for (resource, object) in live.into_values() {
        let reference = resource.reference(&object);
        let ours = labels::label(&object, labels::PLATFORM) == Some(options.owner.platform.as_str());
        let going = object.pointer("/metadata/deletionTimestamp").is_some();
        if !ours {
            tracing::warn!(object = %reference, set = set.name(), "A member of the set belongs to somebody else and is left alone");
        } else if !options.prune || stage::is_spared(&reference) {
            kept.push(reference);
        } else if !going {
            let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned();
            stale.push(Stale { resource, reference, uid });
        }
    }
    stale.sort_by(|a, b| a.reference.cmp(&b.reference));
    kept.sort();
    Ok(Review { set: applyset, members, stale, kept })
}

impl Review {
    fn into_diff(self) -> Vec<ObjectDiff> {
        let members = self.members.into_iter().map(|member| {
            let change = match member.verdict {
                Verdict::Change(change) => change,
                Verdict::Foreign(why) => ObjectChange::Conflict { owners: vec![why] },
            };
            ObjectDiff { object: member.reference, change }
        });
        let stale = self
            .stale
            .into_iter()
            .map(|stale| ObjectDiff { object: stale.reference, change: ObjectChange::Prune });
        members.chain(stale).collect()
    }
}

/// Kind and name without the version, in which lists may answer differently from what a manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    group: String,
    kind: String,
    namespace: Option<String>,
    name: String,
}

impl Key {
    pub(crate) fn of(reference: &ObjectRef) -> Self {
        Self {
            group: reference.group().to_owned(),
            kind: reference.kind.clone(),
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
        }
    }
}

/// All live objects that bear the set's label: one list for each kind.
pub(crate) async fn live_members(
    api: &Api,
    discovery: &Discovery,
    set: &ApplySet,
    hints: &Hints,
    references: &[ObjectRef],
) -> Result<HashMap<Key, (Arc<Resource>, Value)>> {
    // Members are only ever written after their parent.
    if !set.exists() {
        return Ok(HashMap::new());
    }
    let selector = format!("{}={}", labels::APPLYSET_PART_OF, set.id());
    let found = list(api, discovery, hints, references, &selector).await?;
    let keyed = found
        .into_iter()
        .map(|(resource, object)| (Key::of(&resource.reference(&object)), (resource, object)));
    Ok(keyed.collect())
}

/// The objects that `selector` selects, one list for each kind.
async fn list(
    api: &Api,
    discovery: &Discovery,
    hints: &Hints,
    references: &[ObjectRef],
    selector: &str,
) -> Result<Vec<(Arc<Resource>, Value)>> {
    let mut resources: BTreeMap<String, Arc<Resource>> = BTreeMap::new();
    for reference in references {
        if let Some(resource) = discovery.find_known(reference) {
            resources.insert(resource.group_kind(), resource);
        }
    }
    for group_kind in &hints.group_kinds {
        if !resources.contains_key(group_kind) {
            let (kind, group) = group_kind.split_once('.').unwrap_or((group_kind, ""));
            // A kind that is gone took its objects with it.
            if let Some(resource) = discovery.preferred(api, group, kind).await? {
                resources.insert(group_kind.clone(), resource);
            }
        }
    }
    let mut namespaces = hints.namespaces.clone();
    namespaces.insert(labels::SETS_NAMESPACE.to_owned());
    let places = resources.into_values().flat_map(|resource| {
        // A few namespaces are asked one by one, which needs no rights beyond them; many in one request.
        let places: Vec<Option<String>> = if resource.namespaced && namespaces.len() <= FEW_NAMESPACES {
            namespaces.iter().cloned().map(Some).collect()
        } else {
            vec![None]
        };
        places.into_iter().map(move |namespace| (resource.clone(), namespace))
    });
    let lists = places.map(|(resource, namespace)| async move {
        match api.list(&resource, namespace.as_deref(), Some(selector)).await {
            Ok(items) => Ok((resource, items)),
            Err(error) if error.code() == Some(404) => Ok((resource, Vec::new())),
            Err(error) => Err(Error::from(error).operation("list").subject(resource.plural.clone())),
        }
    });
    let lists = gather(api, lists).await?.into_iter();
    Ok(lists
        .flat_map(|(resource, items)| items.into_iter().map(move |item| (resource.clone(), item)))
        .collect())
}

/// A manifest as it is applied: with the labels of its set, and Secrets in the one form that servers keep.
fn wanted(manifest: &Manifest, set: &ApplySet) -> Value {
    let mut object = manifest.clone().with_labels(set.member_labels()).into_object();
    let reference = manifest.reference();
    if reference.group().is_empty() && reference.kind == "Secret" {
        encode_string_data(&mut object);
    }
    object
}

/// `stringData` can be written but not read, so that it would differ forever: it becomes the `data` that servers make of it.
fn encode_string_data(secret: &mut Value) {
    let Some(secret) = secret.as_object_mut() else { return };
    let Some(Value::Object(plain)) = secret.remove("stringData") else { return };
    let data = secret.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(data) = data {
        for (key, value) in plain {
            let value = value.as_str().map_or(value.clone(), |text| BASE64_STANDARD.encode(text).into());
            data.insert(key, value);
        }
    }
}

fn check_scope(resource: &Resource, reference: &ObjectRef) -> Result<()> {
    let problem = match (&reference.namespace, resource.namespaced) {
        (None, true) => "its kind lives in namespaces, and it names none",
        (Some(_), false) => "its kind is cluster-scoped, and it names a namespace",
        _ => return Ok(()),
    };
    Err(Error::invalid(problem).operation("apply").subject(reference.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn string_data_becomes_data() {
        let mut secret = json!({"data": {"a": "MQ=="}, "stringData": {"b": "2"}});
        encode_string_data(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "MQ==", "b": "Mg=="}}));
    }
}

//! What applying a set would do, asked of the server with as few requests as it takes.
//!
//! The parent of the set and one list for each kind, by the members' label, tell what is there. A member that
//! [`compare`](super::compare) recognises costs nothing more; each other is applied by dry run, many at once.

use super::{
    applyset::{self, ApplySet, Hints},
    compare, difference, stage,
};
use crate::{
    connection::{
        api::{Api, Mode, gather},
        error::ApiError,
        resource::{Discovery, Resource},
    },
    labels,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use platform_core::{
    Error, Result,
    cluster::{ApplyOptions, FieldChange, ObjectChange, ObjectDiff},
    manifest::{Manifest, ManifestSet, ObjectRef},
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// Up to so many namespaces are listed one by one.
const FEW_NAMESPACES: usize = 3;

/// How often an object is looked at that others keep changing.
const MOST_LOOKS: u32 = 3;

/// What would become of one member.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Everything that a diff tells.
    Change(ObjectChange),
    /// It exists and is not ours to change; why.
    Foreign(String),
}

/// One manifest of the set with what the server thinks of it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) reference: ObjectRef,
    /// The object with the labels of its owner and its set.
    pub(crate) wanted: Value,
    /// Its resource; `None`: the server does not serve the kind yet.
    pub(crate) resource: Option<Arc<Resource>>,
    pub(crate) live: Option<Value>,
    pub(crate) verdict: Verdict,
}

/// A live member of the set that the manifests no longer have.
#[derive(Debug)]
pub(crate) struct Stale {
    pub(crate) resource: Arc<Resource>,
    pub(crate) reference: ObjectRef,
    pub(crate) uid: String,
}

/// The whole set, reviewed.
#[derive(Debug)]
pub(crate) struct Review {
    pub(crate) set: ApplySet,
    /// In the order of the manifests.
    pub(crate) members: Vec<Member>,
    /// What pruning deletes.
    pub(crate) stale: Vec<Stale>,
    /// What stays a member although the manifests no longer have it.
    pub(crate) kept: Vec<ObjectRef>,
}

/// What [`apply`](super::apply) would do.
pub(crate) async fn diff(
    api: &Api,
    discovery: &Discovery,
    set: &ManifestSet,
    options: &ApplyOptions,
) -> Result<Vec<ObjectDiff>> {
    let review = review(api, discovery, set, options).await?;
    let members = review.members.into_iter().map(|member| {
        let change = match member.verdict {
            Verdict::Change(change) => change,
            Verdict::Foreign(why) => ObjectChange::Conflict { owners: vec![why] },
        };
        ObjectDiff { object: member.reference, change }
    });
    let stale =
        review.stale.into_iter().map(|s| ObjectDiff { object: s.reference, change: ObjectChange::Prune });
    Ok(members.chain(stale).collect())
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
    let kinds = references.iter().map(|r| (r.api_version.as_str(), r.kind.as_str()));
    discovery.prepare(api, kinds).await?;

    let hints = applyset.hints().union(&Hints::of(&references));
    let mut live = live_members(api, discovery, &applyset, &hints, &references).await?;

    let mut members = Vec::with_capacity(references.len());
    for (manifest, reference) in set.manifests().iter().zip(references) {
        let resource = discovery.find_known(&reference);
        if let Some(resource) = &resource {
            check_scope(resource, &reference)?;
        }
        let key = Key::of(&reference);
        let live = live.remove(&key).map(|(_, object)| object);
        members.push(Candidate { wanted: wanted(manifest, &applyset), reference, resource, live });
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
    let selector = format!("{}={}", labels::APPLYSET_PART_OF, set.id());
    let selector = &selector;
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
    let mut found = HashMap::new();
    for (resource, items) in gather(api, lists).await? {
        for item in items {
            found.insert(Key::of(&resource.reference(&item)), (resource.clone(), item));
        }
    }
    Ok(found)
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

struct Candidate {
    reference: ObjectRef,
    wanted: Value,
    resource: Option<Arc<Resource>>,
    live: Option<Value>,
}

struct Judge<'a> {
    api: &'a Api,
    set: &'a ApplySet,
    options: &'a ApplyOptions,
}

impl Judge<'_> {
    /// Judges namespaces first: nothing can be asked about what is in a namespace that is not there yet.
    async fn all(&self, candidates: Vec<Candidate>) -> Result<Vec<Member>> {
        let is_namespace = |c: &Candidate| c.reference.kind == "Namespace" && c.reference.group().is_empty();
        let (namespaces, others): (Vec<_>, Vec<_>) =
            candidates.into_iter().enumerate().partition(|(_, candidate)| is_namespace(candidate));
        let mut judged = self.some(namespaces, &BTreeSet::new()).await?;
        let missing: BTreeSet<String> = judged
            .iter()
            .filter(|(_, member)| matches!(member.verdict, Verdict::Change(ObjectChange::Create)))
            .map(|(_, member)| member.reference.name.clone())
            .collect();
        judged.extend(self.some(others, &missing).await?);
        judged.sort_by_key(|(at, _)| *at);
        Ok(judged.into_iter().map(|(_, member)| member).collect())
    }

    async fn some(
        &self,
        candidates: Vec<(usize, Candidate)>,
        missing_namespaces: &BTreeSet<String>,
    ) -> Result<Vec<(usize, Member)>> {
        let judging = candidates.into_iter().map(|(at, candidate)| async move {
            let in_missing =
                candidate.reference.namespace.as_ref().is_some_and(|n| missing_namespaces.contains(n));
            let reference = candidate.reference.to_string();
            let member = if in_missing {
                Ok(candidate.judged(Verdict::Change(ObjectChange::KnownAfterApply)))
            } else {
                self.one(candidate).await
            };
            member.map(|member| (at, member)).map_err(|e| e.operation("plan").subject(reference))
        });
        gather(self.api, judging).await
    }

    async fn one(&self, mut candidate: Candidate) -> Result<Member> {
        let Some(resource) = candidate.resource.clone() else {
            return Ok(candidate.judged(Verdict::Change(ObjectChange::KnownAfterApply)));
        };
        if candidate.live.is_none() {
            // Not a member yet. Most likely it does not exist, which a dry run tells while it checks the manifest.
            match self.api.apply(&resource, &candidate.wanted, Mode::DryRun, false).await {
                Ok((_, true)) => return Ok(candidate.judged(Verdict::Change(ObjectChange::Create))),
                Err(error) if is_missing_namespace(&error, &candidate.reference) => {
                    return Ok(candidate.judged(Verdict::Change(ObjectChange::KnownAfterApply)));
                }
                Ok((_, false)) => {}
                Err(error) if matches!(error.code(), Some(409 | 422)) => {
                    candidate.live = self.read(&resource, &candidate.reference).await?;
                    if candidate.live.is_none() {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            if candidate.live.is_none() {
                candidate.live = self.read(&resource, &candidate.reference).await?;
            }
        }
        let Some(live) = candidate.live.take() else {
            // It went away between the two requests.
            return Ok(candidate.judged(Verdict::Change(ObjectChange::Create)));
        };
        let (verdict, live) = if let Some(why) = self.refusal(&live).await {
            (Verdict::Foreign(why), live)
        } else {
            let (change, live) = self.change(&resource, &candidate.wanted, live).await?;
            (Verdict::Change(change), live)
        };
        candidate.live = Some(live);
        Ok(candidate.judged(verdict))
    }

    async fn read(&self, resource: &Resource, reference: &ObjectRef) -> Result<Option<Value>> {
        Ok(self.api.get(resource, reference.namespace.as_deref(), &reference.name).await?)
    }

    /// Why a live object is not for this set to change.
    async fn refusal(&self, live: &Value) -> Option<String> {
        if labels::label(live, labels::PLATFORM) != Some(self.options.owner.platform.as_str()) {
            return Some(format!("it exists already, and {}", difference::whose(live)));
        }
        let id = labels::label(live, labels::APPLYSET_PART_OF).filter(|id| *id != self.set.id())?;
        let name = applyset::name_of(self.api, id).await;
        Some(format!("it is a member of the set {}", name.as_deref().unwrap_or(id)))
    }

    /// What a dry run says, with the live object that it is compared with.
    async fn change(
        &self,
        resource: &Resource,
        wanted: &Value,
        mut live: Value,
    ) -> Result<(ObjectChange, Value)> {
        let manager = self.api.field_manager();
        if compare::is_applied(wanted, &live, manager) {
            return Ok((ObjectChange::Unchanged, live));
        }
        let mut looks = 1;
        let after = loop {
            let after = match self.api.apply(resource, wanted, Mode::DryRun, self.options.force).await {
                Ok((after, _)) => after,
                Err(error) => return Ok((refused_change(error)?, live)),
            };
            // A controller that wrote meanwhile must not look as if it were us.
            let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
            if version(&after) == version(&live) || looks == MOST_LOOKS {
                break after;
            }
            looks += 1;
            match self.read(resource, &resource.reference(&live)).await? {
                Some(newer) => live = newer,
                None => return Ok((ObjectChange::Create, live)),
            }
        };
        let fields: Vec<FieldChange> = difference::changes(resource, &live, &after);
        if fields.is_empty() && difference::same_ownership(&live, &after, manager) {
            return Ok((ObjectChange::Unchanged, live));
        }
        Ok((ObjectChange::Update { fields }, live))
    }
}

impl Candidate {
    fn judged(self, verdict: Verdict) -> Member {
        let Self { reference, wanted, resource, live } = self;
        Member { reference, wanted, resource, live, verdict }
    }
}

/// What a refused update means to a plan; other errors stay errors.
pub(crate) fn refused_change(error: ApiError) -> Result<ObjectChange> {
    let Some(status) = error.status() else { return Err(error.into()) };
    if status.code == 409 {
        let owners: Vec<String> = status
            .details
            .iter()
            .flat_map(|details| &details.causes)
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .map(|cause| match cause.message.split('"').nth(1) {
                Some(manager) => format!("{} is owned by {manager:?}", cause.field),
                None => format!("{}: {}", cause.field, cause.message),
            })
            .collect();
        if !owners.is_empty() {
            return Ok(ObjectChange::Conflict { owners });
        }
    }
    // The server has no reason of its own for this; these are the words of its validation.
    let immutable = [
        "immutable",
        "may not be changed",
        "cannot be changed",
        "cannot change",
        "updates to statefulset spec",
    ];
    if status.code == 422 && immutable.iter().any(|words| status.message.contains(words)) {
        return Ok(ObjectChange::Recreate { reason: status.message.clone() });
    }
    Err(error.into())
}

fn is_missing_namespace(error: &ApiError, reference: &ObjectRef) -> bool {
    let details =
        error.status().filter(|status| status.code == 404).and_then(|status| status.details.as_ref());
    match (details, &reference.namespace) {
        (Some(details), Some(namespace)) => details.kind == "namespaces" && details.name == *namespace,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use kube::core::response::{StatusCause, StatusDetails};
    use serde_json::json;

    fn refusal(code: u16, message: &str, causes: Vec<StatusCause>) -> Result<ObjectChange> {
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes,
            retry_after_seconds: 0,
        };
        let status = Status::failure(message, "").with_code(code).with_details(details).boxed();
        refused_change(ApiError::Status { status, retry_after: None })
    }

    #[test]
    fn a_conflict_names_field_and_manager() {
        let cause = StatusCause {
            reason: "FieldManagerConflict".into(),
            message: "conflict with \"kubectl\" with subresource \"scale\" using apps/v1".into(),
            field: ".spec.replicas".into(),
        };
        let change = refusal(409, "Apply failed with 1 conflict", vec![cause]).unwrap();
        assert_eq!(
            change,
            ObjectChange::Conflict { owners: vec![".spec.replicas is owned by \"kubectl\"".into()] }
        );
    }

    #[test]
    fn what_cannot_change_is_told_from_what_is_wrong() {
        let immutable = refusal(422, "spec.selector: Invalid value: {}: field is immutable", vec![]);
        assert!(matches!(immutable, Ok(ObjectChange::Recreate { .. })));
        assert!(refusal(422, "spec.replicas: Invalid value: -1: must be at least 0", vec![]).is_err());
        assert!(refusal(409, "the object has been modified", vec![]).is_err());
    }

    #[test]
    fn string_data_becomes_data() {
        let mut secret = json!({"data": {"a": "MQ=="}, "stringData": {"b": "2"}});
        encode_string_data(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "MQ==", "b": "Mg=="}}));
    }
}

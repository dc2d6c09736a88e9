//! What the server thinks of each member of a set.

use super::{
    applyset::{self, ApplySet},
    compare, difference, handover,
    likeness::likeness,
};
use crate::{
    connection::{
        api::{Api, Mode, gather},
        error::ApiError,
        resource::Resource,
    },
    labels,
};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{ApplyOptions, FieldChange, ObjectChange},
    manifest::ObjectRef,
};
use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

/// How often an object is looked at that others keep changing.
const MOST_LOOKS: u32 = 3;
/// From so many new objects of a kind in a namespace on, its names are listed to learn which are taken.
const MANY: usize = 8;

/// What would become of one member.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Everything that a diff tells.
    Change(ObjectChange),
    /// It exists and is not ours to change; why.
    Foreign(String),
}

/// One manifest of the set with what the server thinks of it. It may be a Secret, so that there is no `Debug`.
pub(crate) struct Member {
    pub(crate) reference: ObjectRef,
    /// The object with the labels of its owner and its set.
    pub(crate) wanted: Value,
    /// Its resource; `None`: the server does not serve the kind yet.
    pub(crate) resource: Option<Arc<Resource>>,
    /// Whether an autoscaler of the set scales it.
    pub(crate) is_autoscaled: bool,
    pub(crate) live: Option<Value>,
    pub(crate) verdict: Verdict,
}

/// A manifest of the set, with what the list of members had of it.
pub(super) struct Candidate {
    pub(super) reference: ObjectRef,
    pub(super) wanted: Value,
    pub(super) resource: Option<Arc<Resource>>,
    pub(super) is_autoscaled: bool,
    pub(super) live: Option<Value>,
}

/// Asks about the members of one set.
pub(super) struct Judge<'a> {
    pub(super) api: &'a Api,
    pub(super) set: &'a ApplySet,
    pub(super) options: &'a ApplyOptions,
}

impl Judge<'_> {
    /// Judges namespaces first: nothing can be asked about what is in a namespace that is not there yet.
    pub(super) async fn all(&self, candidates: Vec<Candidate>) -> Result<Vec<Member>> {
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

    /// Asks about each, but about new ones that are alike only once.
    async fn some(
        &self,
        candidates: Vec<(usize, Candidate)>,
        missing_namespaces: &BTreeSet<String>,
    ) -> Result<Vec<(usize, Member)>> {
        let taken = self.taken_names(&candidates, missing_namespaces).await?;
        let (mut first, mut asked, mut alike) = (HashMap::new(), Vec::new(), Vec::new());
        for (at, candidate) in candidates {
            let is_free = candidate
                .place()
                .and_then(|place| taken.get(&place))
                .is_some_and(|names| candidate.live.is_none() && !names.contains(&candidate.reference.name));
            if !is_free {
                asked.push((at, candidate));
                continue;
            }
            match first.entry(likeness(&candidate.reference, &candidate.wanted)) {
                Entry::Occupied(first) => alike.push((*first.get(), at, candidate)),
                Entry::Vacant(slot) => {
                    slot.insert(at);
                    asked.push((at, candidate));
                }
            }
        }
        let mut judged = self.each(asked, missing_namespaces).await?;
        let new: BTreeSet<usize> = judged
            .iter()
            .filter(|(_, member)| matches!(member.verdict, Verdict::Change(ObjectChange::Create)))
            .map(|(at, _)| *at)
            .collect();
        let (like_new, others): (Vec<_>, Vec<_>) =
            alike.into_iter().partition(|(first, ..)| new.contains(first));
        let create = || Verdict::Change(ObjectChange::Create);
        judged.extend(like_new.into_iter().map(|(_, at, candidate)| (at, candidate.judged(create()))));
        let others = others.into_iter().map(|(_, at, candidate)| (at, candidate)).collect();
        judged.extend(self.each(others, missing_namespaces).await?);
        Ok(judged)
    }

    /// The names that are taken where many new objects are to come; other places, and those that may not be listed, are left out.
    async fn taken_names(
        &self,
        candidates: &[(usize, Candidate)],
        missing_namespaces: &BTreeSet<String>,
    ) -> Result<HashMap<Place, BTreeSet<String>>> {
        let mut coming: HashMap<Place, usize> = HashMap::new();
        for (_, candidate) in candidates.iter().filter(|(_, candidate)| candidate.live.is_none()) {
            let is_there =
                candidate.reference.namespace.as_ref().is_none_or(|n| !missing_namespaces.contains(n));
            if let Some(place) = candidate.place().filter(|_| is_there) {
                *coming.entry(place).or_default() += 1;
            }
        }
        let many = coming.into_iter().filter(|(_, count)| *count >= MANY).map(|(place, _)| place);
        let lists = many.map(|place| async move {
            let (resource, namespace) = &place;
            match self.api.list_names(resource, namespace.as_deref()).await {
                Ok(names) => Ok(Some((place, names))),
                Err(error) if matches!(error.code(), Some(403..=405)) => Ok(None),
                Err(error) => Err(Error::from(error).operation("list").subject(resource.plural.clone())),
            }
        });
        Ok(gather(self.api, lists).await?.into_iter().flatten().collect())
    }

    async fn each(
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
            // Whatever it is made to look like now, it will be gone.
            if live.pointer("/metadata/deletionTimestamp").is_some() {
                return Err(Error::new(ErrorKind::Unavailable, "it is being deleted")
                    .help("apply again when it is gone; see to its finalizers if it does not go"));
            }
            let (change, live) = self.change(&resource, &candidate, live).await?;
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
        candidate: &Candidate,
        mut live: Value,
    ) -> Result<(ObjectChange, Value)> {
        let wanted = &candidate.wanted;
        let manager = self.api.field_manager();
        if compare::is_applied(wanted, &live, manager) {
            return Ok((ObjectChange::Unchanged, live));
        }
        let mut looks = 1;
        let mut after = loop {
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
        if candidate.is_autoscaled
            && let Some(replicas) = handover::given_up(wanted, &live, manager)
            && let Some(after) = after.pointer_mut("/spec/replicas")
        {
            *after = replicas;
        }
        let fields: Vec<FieldChange> = difference::changes(resource, &live, &after);
        if fields.is_empty() && difference::same_ownership(&live, &after, manager) {
            return Ok((ObjectChange::Unchanged, live));
        }
        Ok((ObjectChange::Update { fields }, live))
    }
}

/// A kind and a namespace.
type Place = (Arc<Resource>, Option<String>);

impl Candidate {
    fn place(&self) -> Option<Place> {
        Some((self.resource.clone()?, self.reference.namespace.clone()))
    }

    fn judged(self, verdict: Verdict) -> Member {
        let Self { reference, wanted, resource, is_autoscaled, live } = self;
        Member { reference, wanted, resource, is_autoscaled, live, verdict }
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
        "may not change once set",
        "can not be less than",
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
}

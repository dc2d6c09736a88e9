//! Applying a set: review, write in stages what differs, prune.

use super::{
    applyset::Hints,
    handover,
    judge::{self, Member, Verdict},
    review::{self, Review},
    stage::Stage,
};
use crate::{
    connection::{
        api::{Api, Mode, gather},
        error::ApiError,
        resource::{self, Discovery, Resource},
    },
    readiness,
};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{ApplyOptions, ApplyReport, ObjectChange, ObjectOutcome, Readiness},
    manifest::{ManifestSet, ObjectRef},
};
use serde_json::Value;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Between looks at definitions that are not established yet.
const ESTABLISH_POLL: Duration = Duration::from_millis(50);
/// How long an established definition may take until its kind is served.
const SERVE_DEADLINE: Duration = Duration::from_secs(10);
/// How many objects an error lists.
const LISTED: usize = 5;

/// Brings the cluster to `set`. Nothing is written when nothing differs, and nothing when anything is refused.
pub(crate) async fn apply(
    api: &Api,
    discovery: &Discovery,
    set: &ManifestSet,
    options: &ApplyOptions,
) -> Result<ApplyReport> {
    let mut review = review::review(api, discovery, set, options).await?;
    refuse(set, &review.members)?;
    refuse_unknown(&review.members)?;
    let api = &api.patient();

    let references = set.references();
    let wanted_hints = Hints::of(references.iter().chain(&review.kept));
    let changing: Vec<usize> = review
        .members
        .iter()
        .enumerate()
        .filter(|(_, member)| !matches!(member.verdict, Verdict::Change(ObjectChange::Unchanged)))
        .map(|(at, _)| at)
        .collect();
    let mut outcomes = vec![ObjectOutcome::Unchanged; review.members.len()];
    let writes = !changing.is_empty() || !review.stale.is_empty();
    if writes {
        // The parent knows where members are before they are there, so that an interrupted run loses none.
        review.set.widen(api, &wanted_hints).await?;
        for stage in Stage::ALL {
            write_stage(api, discovery, &mut review.members, &changing, stage, options, &mut outcomes)
                .await?;
        }
        prune(api, &review).await?;
    }
    review.set.narrow(api, discovery, &wanted_hints, writes).await?;

    let pruned = review.stale.into_iter().map(|stale| (stale.reference, ObjectOutcome::Pruned));
    let mut report = ApplyReport::default();
    report.objects = references.into_iter().zip(outcomes).chain(pruned).collect();
    tracing::debug!(
        set = set.name(),
        created = report.count(ObjectOutcome::Created),
        configured = report.count(ObjectOutcome::Configured),
        unchanged = report.count(ObjectOutcome::Unchanged),
        pruned = report.count(ObjectOutcome::Pruned),
        "Applied a set"
    );
    Ok(report)
}

/// Fails if anything in the set must not or cannot be written.
fn refuse(set: &ManifestSet, members: &[Member]) -> Result<()> {
    let of = |pick: fn(&Verdict) -> Option<String>| -> Vec<String> {
        members.iter().filter_map(|m| Some(format!("{}: {}", m.reference, pick(&m.verdict)?))).collect()
    };
    let foreign = of(|verdict| match verdict {
        Verdict::Foreign(why) => Some(why.clone()),
        Verdict::Change(_) => None,
    });
    let conflicts = of(|verdict| match verdict {
        Verdict::Change(ObjectChange::Conflict { owners }) => Some(owners.join(", ")),
        _ => None,
    });
    let immutable = of(|verdict| match verdict {
        Verdict::Change(ObjectChange::Recreate { reason }) => Some(reason.clone()),
        _ => None,
    });
    let (kind, problems, help) = if !foreign.is_empty() {
        let help = "rename it, delete it, or hand it over by setting its label platform.dev/platform to the platform's name";
        (ErrorKind::AlreadyExists, foreign, help)
    } else if !conflicts.is_empty() {
        (ErrorKind::Conflict, conflicts, "remove the field from the manifest or take it over with `force`")
    } else if !immutable.is_empty() {
        (ErrorKind::Unsupported, immutable, "delete the object, which is not done unasked, and apply again")
    } else {
        return Ok(());
    };
    let more = problems.len().saturating_sub(LISTED);
    let mut message = problems.into_iter().take(LISTED).collect::<Vec<_>>().join("; ");
    if more > 0 {
        message = format!("{message}; and {more} more");
    }
    Err(Error::new(kind, message).operation("apply").subject(format!("set {}", set.name())).help(help))
}

/// Fails if a kind is neither served nor defined by the set.
fn refuse_unknown(members: &[Member]) -> Result<()> {
    let groups = defined_groups(members);
    let unknown = members.iter().find(|m| m.resource.is_none() && !groups.contains(m.reference.group()));
    let Some(Member { reference, .. }) = unknown else { return Ok(()) };
    let error = resource::not_served(&reference.api_version, &reference.kind);
    Err(error.operation("apply").subject(reference.to_string()))
}

async fn write_stage(
    api: &Api,
    discovery: &Discovery,
    members: &mut [Member],
    changing: &[usize],
    stage: Stage,
    options: &ApplyOptions,
    outcomes: &mut [ObjectOutcome],
) -> Result<()> {
    let indices: Vec<usize> = changing
        .iter()
        .copied()
        .filter(|at| members.get(*at).is_some_and(|member| Stage::of(&member.reference) == stage))
        .collect();
    let groups = defined_groups(members);
    for at in &indices {
        let Some(member) = members.get_mut(*at) else { continue };
        if member.resource.is_none() {
            let ObjectRef { api_version, kind, .. } = &member.reference;
            let resource = served(api, discovery, api_version, kind, &groups).await;
            member.resource =
                Some(resource.map_err(|e| e.operation("apply").subject(member.reference.to_string()))?);
        }
    }
    let members = &*members;
    let writing =
        indices.iter().filter_map(|at| Some((*at, members.get(*at)?))).map(|(at, member)| async move {
            let outcome = write(api, member, options).await;
            outcome
                .map(|outcome| (at, outcome))
                .map_err(|e| e.operation("apply").subject(member.reference.to_string()))
        });
    let written = gather(api, writing).await?;
    let mut definitions = Vec::new();
    for (at, outcome) in written {
        if let Some(slot) = outcomes.get_mut(at) {
            *slot = outcome;
        }
        if outcome != ObjectOutcome::Unchanged && stage == Stage::Definitions {
            definitions.extend(members.get(at));
        }
    }
    // The caller's deadline ends this wait.
    let establishing = definitions.into_iter().map(|member| established(api, member));
    gather(api, establishing).await?;
    Ok(())
}

/// The groups of the definitions of the set.
fn defined_groups(members: &[Member]) -> BTreeSet<String> {
    let definitions = members.iter().filter(|m| m.reference.kind == "CustomResourceDefinition");
    let group = |m: &Member| m.wanted.pointer("/spec/group").and_then(Value::as_str).map(str::to_owned);
    definitions.filter_map(group).collect()
}

/// The resource of a kind. One of `groups` is waited for: servers take a moment to serve what is established.
async fn served(
    api: &Api,
    discovery: &Discovery,
    api_version: &str,
    kind: &str,
    groups: &BTreeSet<String>,
) -> Result<Arc<Resource>> {
    let defined = api_version.split_once('/').is_some_and(|(group, _)| groups.contains(group));
    let until = Instant::now() + if defined { SERVE_DEADLINE } else { Duration::ZERO };
    loop {
        match discovery.expect(api, api_version, kind).await {
            Err(error) if error.kind() == ErrorKind::NotFound && Instant::now() < until => {
                tokio::time::sleep(ESTABLISH_POLL).await;
            }
            answer => return answer,
        }
    }
}

async fn write(api: &Api, member: &Member, options: &ApplyOptions) -> Result<ObjectOutcome> {
    let Some(resource) = &member.resource else {
        return Err(Error::internal("its kind has not been looked up"));
    };
    if member.is_autoscaled
        && let Some(live) = &member.live
        && let Some(replicas) = handover::given_up(&member.wanted, live, api.field_manager())
    {
        handover::hand_over(api, resource, &member.reference, &replicas).await?;
    }
    // What is new is never forced: if somebody made it meanwhile, it is not ours.
    let force = options.force && member.live.is_some();
    match api.apply(resource, &member.wanted, Mode::Write, force).await {
        Ok((after, _)) => {
            let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
            Ok(match &member.live {
                // The server's own word on this is lost with a first answer that did not arrive.
                None => ObjectOutcome::Created,
                Some(live) if version(live) == version(&after) => ObjectOutcome::Unchanged,
                Some(_) => ObjectOutcome::Configured,
            })
        }
        Err(error) => Err(refused_write(error)),
    }
}

/// A conflict in the words of a plan, others in the server's.
fn refused_write(error: ApiError) -> Error {
    match judge::refused_change(error) {
        Ok(ObjectChange::Conflict { owners }) => Error::new(ErrorKind::Conflict, owners.join(", "))
            .help("remove the field from the manifest or take it over with `force`"),
        Ok(ObjectChange::Recreate { reason }) => Error::new(ErrorKind::Unsupported, reason)
            .help("delete the object, which is not done unasked, and apply again"),
        Ok(change) => Error::internal(format!("an update was refused as {change:?}")),
        Err(error) => error,
    }
}

/// Waits until a definition can be used: a CustomResourceDefinition is established, a namespace active.
async fn established(api: &Api, member: &Member) -> Result<()> {
    let Some(resource) = &member.resource else { return Ok(()) };
    loop {
        let live = api.get(resource, member.reference.namespace.as_deref(), &member.reference.name).await?;
        let verdict =
            readiness::assess(&member.reference, live.as_ref(), &readiness::Surroundings::default());
        match verdict.readiness {
            Readiness::Current => return Ok(()),
            Readiness::Failed | Readiness::Terminating => {
                let error = Error::new(ErrorKind::Failed, verdict.message);
                return Err(error.operation("establish").subject(member.reference.to_string()));
            }
            _ => tokio::time::sleep(ESTABLISH_POLL).await,
        }
    }
}

async fn prune(api: &Api, review: &Review) -> Result<()> {
    let deleting = review.stale.iter().map(|stale| async move {
        let deleted = api.delete(&stale.resource, &stale.reference, &stale.uid, "Background").await;
        deleted.map_err(|e| Error::from(e).operation("prune").subject(stale.reference.to_string()))
    });
    gather(api, deleting).await?;
    Ok(())
}

//! The deletion guard: whether it is active, and what it keeps.
//!
//! It is an admission policy, rendered with the isolation of a protected environment ([`render`](crate::render)). Servers take about a second until they
//! obey a new policy, and obey none that they cannot compile: what the guard is worth is seen by trying.

use super::caller::{Call, Caller, verdict};
use crate::{
    apply::ApplySet,
    connection::{api::Api, resource::Resource},
    labels,
};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::ApplyOptions,
    event::Progress,
    isolation::{Barrier, Verdict},
    manifest::ObjectRef,
    name::{EnvironmentName, PlatformName},
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// What stands before the names of the guards of all platforms.
const PREFIX: &str = "deletion-guard.";
/// Between tries: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// The name of the policy and its binding that guard an environment.
pub(crate) fn name(platform: &PlatformName, environment: &EnvironmentName) -> String {
    format!("{PREFIX}{platform}.{environment}")
}

/// Waits until the guards among `objects` refuse the deletion of the namespaces among them.
pub(crate) async fn wait_active(
    api: &Api,
    objects: &[ObjectRef],
    until: Instant,
    progress: &Progress,
) -> Result<()> {
    let of = |kind: &'static str| objects.iter().filter(move |object| object.kind == kind);
    let is_guarded = of("ValidatingAdmissionPolicyBinding").any(|binding| binding.name.starts_with(PREFIX));
    if !is_guarded {
        return Ok(());
    }
    let caller = Caller::new(api.client().clone());
    for namespace in of("Namespace") {
        let path = format!("/api/v1/namespaces/{}", namespace.name);
        let mut pause = FIRST_PAUSE;
        loop {
            let answer = caller.send(&Call::delete(&path).dry()).await;
            match verdict(&answer) {
                Verdict::Stopped { by: Barrier::AdmissionPolicy { name } } if name.starts_with(PREFIX) => {
                    break;
                }
                Verdict::Allowed => {
                    // Whoever confirmed it means it.
                    if is_confirmed(&answer, &namespace.name) || !is_protected(&answer) {
                        break;
                    }
                }
                Verdict::Stopped { by } => {
                    return Err(Error::new(
                        ErrorKind::Denied,
                        format!("whether its deletion is refused cannot be tried: {by} is in the way"),
                    )
                    .operation("guard")
                    .subject(namespace.to_string())
                    .help("let the platform delete namespaces, which it tries by dry run"));
                }
                Verdict::NotTried { .. } | _ => {}
            }
            if Instant::now() + pause > until {
                return Err(unguarded(namespace, answer.err()));
            }
            progress.report(format!("waiting until the deletion of {namespace} is refused"));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
    Ok(())
}

/// Fails if a set has a protected namespace whose deletion is not confirmed: deleting the set deletes the guard first.
pub(crate) async fn refuse_unconfirmed(api: &Api, set: &str, options: &ApplyOptions) -> Result<()> {
    let members = ApplySet::read(api, set, &options.owner).await?;
    if !members.exists() {
        return Ok(());
    }
    let selector = format!("{}={},{}=true", labels::APPLYSET_PART_OF, members.id(), labels::PROTECTED);
    let namespaces = Resource::known("v1", "Namespace", "namespaces", false);
    let protected = api.list(&namespaces, None, Some(&selector)).await?;
    let unconfirmed: Vec<String> = protected
        .iter()
        .map(|object| (namespaces.reference(object).name, object))
        .filter(|(name, object)| !confirms(object, name))
        .map(|(name, _)| name)
        .collect();
    let Some(first) = unconfirmed.first() else { return Ok(()) };
    let plural = if unconfirmed.len() == 1 { "namespace" } else { "namespaces" };
    let message = format!("it would delete the protected {plural} {}", unconfirmed.join(", "));
    Err(Error::new(ErrorKind::Refused, message).help(format!(
        "confirm with `kubectl annotate namespace {first} {}={first}`, or apply the environment without protection first",
        labels::CONFIRM_DELETION
    )))
}

/// The namespace as the dry run would have deleted it.
fn is_protected(answer: &Result<super::caller::Answer>) -> bool {
    matches!(answer, Ok(Ok(namespace)) if labels::label(namespace, labels::PROTECTED) == Some("true"))
}

fn is_confirmed(answer: &Result<super::caller::Answer>, name: &str) -> bool {
    matches!(answer, Ok(Ok(namespace)) if confirms(namespace, name))
}

/// Whether a namespace bears the confirmation of its deletion.
pub(crate) fn confirms(namespace: &Value, name: &str) -> bool {
    let confirmation = namespace
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(labels::CONFIRM_DELETION));
    confirmation.and_then(Value::as_str) == Some(name)
}

fn unguarded(namespace: &ObjectRef, error: Option<Error>) -> Error {
    let message = "it is protected, but its deletion would not be refused";
    let unguarded = Error::new(ErrorKind::Timeout, message)
        .operation("guard")
        .subject(namespace.to_string())
        .help("`kubectl get validatingadmissionpolicies -o yaml` shows under status.typeChecking what the server thinks of the guard");
    match error {
        Some(error) => unguarded.source(error),
        None => unguarded,
    }
}

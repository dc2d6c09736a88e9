//! Handing the number of replicas over to an autoscaler.
//!
//! A field that its only owner no longer applies is removed, and a workload without replicas has one: to leave the number out
//! because an autoscaler comes would end all pods but one. Therefore another field manager applies the live number first, as
//! the [documentation] advises; the autoscaler takes it from there.
//!
//! [documentation]: https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership

use super::compare;
use crate::connection::{
    api::{Api, Mode},
    error::ApiError,
    resource::Resource,
};
use platform_core::manifest::{ManifestSet, ObjectRef};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The workloads that the autoscalers of a set scale.
#[derive(Debug)]
pub(super) struct Autoscaled(BTreeSet<(String, Option<String>, String)>);

impl Autoscaled {
    pub(super) fn of(set: &ManifestSet) -> Self {
        let autoscalers = set.manifests().iter().filter_map(|manifest| {
            let reference = manifest.reference();
            let is_autoscaler =
                reference.group() == "autoscaling" && reference.kind == "HorizontalPodAutoscaler";
            let target = manifest.object().pointer("/spec/scaleTargetRef").filter(|_| is_autoscaler)?;
            let text = |key: &str| target.get(key)?.as_str().map(str::to_owned);
            Some((text("kind")?, reference.namespace.clone(), text("name")?))
        });
        Self(autoscalers.collect())
    }

    pub(super) fn contains(&self, object: &ObjectRef) -> bool {
        self.0.contains(&(object.kind.clone(), object.namespace.clone(), object.name.clone()))
    }
}

/// The live number of replicas if applying `wanted` as `manager` gives it up.
pub(super) fn given_up(wanted: &Value, live: &Value, manager: &str) -> Option<Value> {
    if wanted.pointer("/spec/replicas").is_some() {
        return None;
    }
    let (_, fields) = compare::applied_fields(live, manager)?;
    fields.get("f:spec")?.get("f:replicas")?;
    live.pointer("/spec/replicas").cloned()
}

/// Makes another field manager own the number too.
pub(super) async fn hand_over(
    api: &Api,
    resource: &Resource,
    object: &ObjectRef,
    replicas: &Value,
) -> Result<(), ApiError> {
    let owned = json!({
        "apiVersion": object.api_version,
        "kind": object.kind,
        "metadata": {"name": object.name, "namespace": object.namespace},
        "spec": {"replicas": replicas},
    });
    let manager = format!("{}-handover", api.field_manager());
    api.as_manager(&manager).apply(resource, &owned, Mode::Write, false).await?;
    Ok(())
}

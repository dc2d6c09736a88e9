//! ControllerRevisions: the templates that a StatefulSet or a DaemonSet had.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::deletion::DeleteOptions;
use super::super::error::ApiError;
use super::super::store::{Key, Stored};
use super::cluster::Cluster;
use super::object::{
    CONTROLLER_MANAGER, REVISIONS, fingerprint, labels, name, namespace, number, owner_reference,
};

/// The label that says which revision a pod is of.
pub(super) const REVISION_LABEL: &str = "controller-revision-hash";

/// The revisions of one owner, oldest first. There is at least one: the one of its template as it is.
pub(super) struct Revisions {
    all: Vec<Arc<Stored>>,
    /// The name of the revision that the owner asks for.
    pub(super) update: String,
}

impl Revisions {
    /// The template of a revision.
    pub(super) fn template(&self, revision: &str) -> Option<&Value> {
        let found = self.all.iter().find(|one| name(one) == revision)?;
        found.pointer("/data/spec/template")
    }

    pub(super) fn contains(&self, revision: &str) -> bool {
        self.all.iter().any(|one| name(one) == revision)
    }
}

impl Cluster {
    /// Records the owner's template as its newest revision, and forgets revisions beyond its history limit that
    /// none of `used` names.
    pub(super) fn revisions(&self, owner: &Stored, used: &[&str]) -> Result<Revisions, ApiError> {
        let template = owner.pointer("/spec/template").cloned().unwrap_or_default();
        let mut all = self.controlled(&REVISIONS, owner);
        all.sort_by_key(|revision| number(revision, "/revision"));
        let newest = all.last().map_or(0, |revision| number(revision, "/revision"));
        let known =
            all.iter().position(|revision| revision.pointer("/data/spec/template") == Some(&template));
        let current = match known.map(|index| all.remove(index)) {
            None => self.create_revision(owner, &template, newest + 1)?,
            // Going back to an earlier template makes it the newest again.
            Some(revision) if number(&revision, "/revision") < newest => {
                let mut changed = revision.value().clone();
                changed["revision"] = json!(newest + 1);
                self.store.update(&REVISIONS, changed, CONTROLLER_MANAGER)?
            }
            Some(revision) => revision,
        };
        let update = name(&current).to_owned();
        all.push(current);
        let limit = usize::try_from(number(owner, "/spec/revisionHistoryLimit")).unwrap_or(0);
        let is_used = |revision: &Value| name(revision) == update || used.contains(&name(revision));
        let mut surplus = all.iter().filter(|revision| !is_used(revision)).count().saturating_sub(limit);
        let mut kept = Vec::new();
        for revision in all {
            if surplus > 0 && !is_used(&revision) {
                surplus -= 1;
                self.store.delete(&Key::of(&REVISIONS, &revision), &DeleteOptions::default())?;
            } else {
                kept.push(revision);
            }
        }
        Ok(Revisions { all: kept, update })
    }

    fn create_revision(
        &self,
        owner: &Stored,
        template: &Value,
        number: i64,
    ) -> Result<Arc<Stored>, ApiError> {
        let mut collisions = 0;
        loop {
            let hash = fingerprint(template, collisions);
            let revision = json!({
                "metadata": {
                    "name": format!("{}-{hash}", name(owner)),
                    "namespace": namespace(owner),
                    "labels": template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({})),
                    "ownerReferences": [owner_reference(owner)],
                },
                "data": {"spec": {"template": template}},
                "revision": number,
            });
            match self.store.create(&REVISIONS, revision, CONTROLLER_MANAGER) {
                Err(error) if error.reason == "AlreadyExists" && collisions < 16 => collisions += 1,
                result => return result,
            }
        }
    }
}

/// The revision that a pod is of.
pub(super) fn revision_of<'a>(pod: &'a Value, owner: &Value) -> Option<String> {
    let label: &'a str = labels(pod)?.get(REVISION_LABEL)?.as_str()?;
    // StatefulSets label their pods with the revision's name, DaemonSets with its hash alone.
    if label.starts_with(&format!("{}-", name(owner))) {
        return Some(label.to_owned());
    }
    Some(format!("{}-{label}", name(owner)))
}

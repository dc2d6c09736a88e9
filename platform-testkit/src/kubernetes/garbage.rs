//! What deletes in the background: dependents of deleted owners, the content of terminating namespaces and the
//! objects of deleted CRDs.
//!
//! It follows the store's changes; after a start, or when it fell too far behind, it looks at everything once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::deletion::{CRD_CLEANUP, DeleteOptions, FOREGROUND, ORPHAN, Propagation};
use super::error::ApiError;
use super::resource::defined_collection;
use super::state::{Change, Event, Key, Stored, owner_uids};
use super::store::{CRDS, NAMESPACES, Store};
use super::strategy::set_condition;
use super::write::{Write, WriteOptions};

const MANAGER: &str = "kube-controller-manager";

/// Runs until `shutdown`.
pub(super) async fn run(store: Arc<Store>, shutdown: CancellationToken) {
    loop {
        let mut watch = store.watch(None, None, store.revision());
        let collector = Collector { store: &store };
        collector.look_at_everything();
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = watch.next() => event,
            };
            match event {
                Ok(event) => collector.follow(&event),
                Err(expired) => {
                    tracing::debug!(%expired, "starting over");
                    break;
                }
            }
        }
    }
}

struct Collector<'a> {
    store: &'a Store,
}

impl Collector<'_> {
    fn look_at_everything(&self) {
        let everything = self.store.read().everything();
        for (key, object) in everything {
            self.consider(&key, &object);
        }
    }

    fn follow(&self, event: &Event) {
        match event.change {
            Change::Added | Change::Modified => self.consider(&event.key, &event.object),
            Change::Deleted => {
                if let Some(uid) = event.object["metadata"]["uid"].as_str() {
                    self.owner_gone(uid);
                }
                for owner in owner_uids(&event.object) {
                    self.dependent_gone(owner);
                }
                if !event.key.namespace.is_empty() {
                    self.reconsider(&Key::new(&NAMESPACES, "", event.key.namespace.clone()));
                }
                self.instance_gone(&event.key);
            }
        }
    }

    fn reconsider(&self, key: &Key) {
        if let Some(object) = self.store.find(key) {
            self.consider(key, &object);
        }
    }

    /// Does what an object's state asks for.
    fn consider(&self, key: &Key, object: &Stored) {
        if object["metadata"]["deletionTimestamp"].is_null() {
            self.collect_if_ownerless(key, object);
            return;
        }
        let held_by = |name: &str| {
            object["metadata"]["finalizers"].as_array().is_some_and(|list| list.iter().any(|one| one == name))
        };
        if held_by(FOREGROUND) {
            self.delete_dependents_first(key, object);
        } else if held_by(ORPHAN) {
            self.orphan_dependents(key, object);
        }
        if key.resource == NAMESPACES {
            self.empty_namespace(key);
        }
        if key.resource == CRDS && held_by(CRD_CLEANUP) {
            self.empty_collection(key, object);
        }
    }

    /// Deletes an object none of whose owners is there.
    fn collect_if_ownerless(&self, key: &Key, object: &Stored) {
        if !self.may_be_owned(key, object) {
            return;
        }
        let mut owners = owner_uids(object).peekable();
        if owners.peek().is_none() || owners.any(|uid| self.store.find_uid(uid).is_some()) {
            return;
        }
        self.delete(key, object, Some(Propagation::Background));
    }

    /// A cluster-wide object cannot be owned by one in a namespace: nobody knows in which.
    fn may_be_owned(&self, key: &Key, object: &Stored) -> bool {
        if !key.namespace.is_empty() {
            return true;
        }
        let catalog = self.store.registry().catalog();
        let owners = object["metadata"]["ownerReferences"].as_array();
        owners.into_iter().flatten().all(|owner| {
            let api_version = owner["apiVersion"].as_str().unwrap_or_default();
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let kind = catalog.find_kind(group, version, owner["kind"].as_str().unwrap_or_default());
            kind.is_none_or(|kind| !kind.namespaced)
        })
    }

    fn owner_gone(&self, uid: &str) {
        for key in self.store.dependents(uid) {
            let Some(dependent) = self.store.find(&key) else { continue };
            if !self.may_be_owned(&key, &dependent) {
                continue;
            }
            let others =
                owner_uids(&dependent).any(|other| other != uid && self.store.find_uid(other).is_some());
            if others {
                self.disown(&key, uid);
            } else {
                self.delete(&key, &dependent, Some(Propagation::Background));
            }
        }
    }

    /// An owner that waits for its dependents may be free now.
    fn dependent_gone(&self, owner: &str) {
        if let Some((key, owner)) = self.store.find_uid(owner) {
            self.consider(&key, &owner);
        }
    }

    fn delete_dependents_first(&self, key: &Key, owner: &Stored) {
        let Some(uid) = owner["metadata"]["uid"].as_str() else { return };
        let mut blocked = false;
        for dependent_key in self.store.dependents(uid) {
            let Some(dependent) = self.store.find(&dependent_key) else { continue };
            let blocks = dependent["metadata"]["ownerReferences"].as_array().is_some_and(|owners| {
                owners.iter().any(|one| one["uid"] == uid && one["blockOwnerDeletion"] == true)
            });
            if dependent["metadata"]["deletionTimestamp"].is_null() {
                self.delete(&dependent_key, &dependent, Some(Propagation::Foreground));
            }
            blocked |= blocks && self.store.find(&dependent_key).is_some();
        }
        if !blocked {
            self.release(key, FOREGROUND);
        }
    }

    fn orphan_dependents(&self, key: &Key, owner: &Stored) {
        let Some(uid) = owner["metadata"]["uid"].as_str() else { return };
        for dependent in self.store.dependents(uid) {
            self.disown(&dependent, uid);
        }
        if self.store.dependents(uid).is_empty() {
            self.release(key, ORPHAN);
        }
    }

    fn empty_namespace(&self, key: &Key) {
        let content = self.store.in_namespace(&key.name);
        for inside in &content {
            let Some(object) = self.store.find(inside) else { continue };
            if object["metadata"]["deletionTimestamp"].is_null() {
                self.delete(inside, &object, Some(Propagation::Background));
            }
        }
        let left = self.store.in_namespace(&key.name);
        if !left.is_empty() {
            self.tell_what_is_left(key, &left);
            return;
        }
        self.change(key, &WriteOptions::of(MANAGER).subresource("finalize"), |namespace| {
            let mut freed = namespace.clone();
            let list = freed["spec"]["finalizers"].as_array_mut()?;
            list.retain(|one| one != "kubernetes");
            Some(freed)
        });
    }

    /// Says in the namespace's conditions which finalizers it waits for.
    fn tell_what_is_left(&self, namespace: &Key, left: &[Key]) {
        let (mut held, mut kinds) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
        for key in left {
            let Some(object) = self.store.find(key) else { continue };
            let finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            if finalizers.is_empty() {
                continue;
            }
            *kinds.entry(key.resource.to_string()).or_default() += 1;
            for finalizer in finalizers.iter().filter_map(Value::as_str) {
                *held.entry(finalizer.to_owned()).or_default() += 1;
            }
        }
        if held.is_empty() {
            return;
        }
        let listed = |counts: &BTreeMap<String, usize>, of: &str| {
            let parts = counts.iter().map(|(name, count)| format!("{name}{of} {count} resource instances"));
            parts.collect::<Vec<_>>().join(", ")
        };
        let content = format!("Some resources are remaining: {}", listed(&kinds, " has"));
        let finalizers =
            format!("Some content in the namespace has finalizers remaining: {}", listed(&held, " in"));
        let now = jiff::Timestamp::now();
        self.change(namespace, &WriteOptions::of(MANAGER).subresource("status"), |namespace| {
            let mut told = namespace.clone();
            for (kind, reason, message) in [
                ("NamespaceContentRemaining", "SomeResourcesRemain", &content),
                ("NamespaceFinalizersRemaining", "SomeFinalizersRemain", &finalizers),
            ] {
                set_condition(&mut told, kind, "True", reason, now);
                let conditions = told["status"]["conditions"].as_array_mut()?;
                let condition = conditions.iter_mut().find(|one| one["type"] == kind)?;
                condition["message"] = json!(message);
            }
            Some(told)
        });
    }

    fn empty_collection(&self, key: &Key, definition: &Stored) {
        let collection = defined_collection(definition);
        for object in self.store.list(&collection, None).items {
            if object["metadata"]["deletionTimestamp"].is_null() {
                self.delete(&Key::of(&collection, &object), &object, Some(Propagation::Background));
            }
        }
        if self.store.list(&collection, None).items.is_empty() {
            self.release(key, CRD_CLEANUP);
        }
    }

    fn instance_gone(&self, key: &Key) {
        let name = format!("{}.{}", key.resource.plural(), key.resource.group());
        let definition = Key::new(&CRDS, "", name);
        if let Some(object) = self.store.find(&definition)
            && !object["metadata"]["deletionTimestamp"].is_null()
        {
            self.consider(&definition, &object);
        }
    }

    fn release(&self, key: &Key, finalizer: &str) {
        self.change(key, &WriteOptions::of(MANAGER), |object| {
            let mut freed = object.clone();
            freed["metadata"]["finalizers"].as_array_mut()?.retain(|one| one != finalizer);
            Some(freed)
        });
    }

    fn disown(&self, key: &Key, owner: &str) {
        self.change(key, &WriteOptions::of(MANAGER), |object| {
            let mut freed = object.clone();
            freed["metadata"]["ownerReferences"].as_array_mut()?.retain(|one| one["uid"] != owner);
            Some(freed)
        });
    }

    fn change(&self, key: &Key, options: &WriteOptions, make: impl Fn(&Value) -> Option<Value>) {
        let outcome = self.store.served(&key.resource).and_then(|resource| {
            self.store.write_over(&resource, key, options, &|live| {
                let live = live.ok_or_else(|| ApiError::not_found(&key.resource, &key.name))?;
                Ok(make(live.value()).map(Write::Replace))
            })
        });
        if let Err(error) = outcome
            && error.code != 404
        {
            tracing::warn!(%error, resource = %key.resource, name = key.name, "could not release an object");
        }
    }

    fn delete(&self, key: &Key, object: &Stored, propagation: Option<Propagation>) {
        let uid = object["metadata"]["uid"].as_str().map(str::to_owned);
        let options = DeleteOptions { uid, propagation, ..DeleteOptions::default() };
        if let Err(error) = self.store.delete(key, &options)
            && !matches!(error.code, 404 | 409)
        {
            tracing::warn!(%error, resource = %key.resource, name = key.name, "could not collect an object");
        }
    }
}

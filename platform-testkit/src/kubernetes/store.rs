//! The objects of the cluster, their versions and the watches on them.
//!
//! Nothing here waits for a lock while it validates or serialises: writers prepare an object from the version they
//! saw and the store takes it only if that is still the newest.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use serde_json::Value;
use tokio::sync::watch;

use super::admission::Admission;
use super::auth::User;
use super::deletion::{DeleteOptions, Deletion};
use super::error::ApiError;
use super::journal::Journal;
use super::logs::Logs;
use super::resource::{GroupResource, Registry, Resource};
use super::state::{State, concerns};
use super::write::{Write, WriteOptions};

pub use super::state::{Change, Event, Key, Stored};

/// The cluster's objects. Cheap to share behind an [`Arc`]; every method may be called from any task.
pub struct Store {
    shared: Weak<Self>,
    registry: Registry,
    state: RwLock<State>,
    journal: Option<Journal>,
    logs: Logs,
    admission: Admission,
    addresses: AtomicU32,
}

/// The objects of a collection at one revision.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Ordered by namespace, then name.
    pub items: Vec<Arc<Stored>>,
    /// The resourceVersion of the list.
    pub revision: u64,
}

impl Store {
    /// An empty store that keeps nothing on disk.
    pub fn in_memory() -> Arc<Self> {
        Self::open(State::new(0), None)
    }

    pub(super) fn open(state: State, journal: Option<Journal>) -> Arc<Self> {
        let registry = Registry::builtin();
        for definition in state.list(&CRDS, None) {
            registry.install(&definition);
        }
        let admission = Admission::default();
        for (key, object) in state.everything() {
            admission.restore(&key, &object);
        }
        Arc::new_cyclic(|shared| Self {
            shared: shared.clone(),
            registry,
            state: RwLock::new(state),
            journal,
            logs: Logs::default(),
            admission,
            addresses: AtomicU32::new(1),
        })
    }

    /// Begins the history of changes now: a version before this one is too old to watch from, as after the start of an API server.
    pub(super) fn begin_history(&self) {
        self.write().forget_history();
    }

    /// The resources served.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What the containers of the simulated pods have printed.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// This store, for what outlives a borrow of it; `None` while it is dropped.
    pub(super) fn shared(&self) -> Option<Arc<Self>> {
        self.shared.upgrade()
    }

    /// What admission knows of the objects here.
    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The newest resourceVersion.
    pub fn revision(&self) -> u64 {
        self.read().revision
    }

    /// An object, or 404.
    pub fn get(&self, key: &Key) -> Result<Arc<Stored>, ApiError> {
        self.find(key).ok_or_else(|| ApiError::not_found(&key.resource, &key.name))
    }

    /// An object, if it is there.
    pub fn find(&self, key: &Key) -> Option<Arc<Stored>> {
        self.read().get(key).cloned()
    }

    /// The object with this UID and where it is, if it is there.
    pub fn find_uid(&self, uid: &str) -> Option<(Key, Arc<Stored>)> {
        let state = self.read();
        let key = state.by_uid(uid)?;
        Some((key.clone(), state.get(key)?.clone()))
    }

    /// The objects whose owner references name this UID.
    pub fn dependents(&self, uid: &str) -> Vec<Key> {
        self.read().dependents(uid)
    }

    /// The objects of a collection, in one namespace or (`None`) in all.
    pub fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Listing {
        let state = self.read();
        Listing { items: state.list(resource, namespace), revision: state.revision }
    }

    /// The same as of an earlier revision; 410 when the history no longer reaches it.
    pub fn list_at(
        &self,
        resource: &GroupResource,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Listing, ApiError> {
        Ok(Listing { items: self.read().list_at(resource, namespace, revision)?, revision })
    }

    /// Everything that a namespace holds.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Key> {
        self.read().in_namespace(namespace)
    }

    /// Creates an object in the namespace that its metadata names, as the manager `manager`.
    ///
    /// System fields, defaults and namespace rules are those of a request over HTTP.
    pub fn create(
        &self,
        resource: &GroupResource,
        object: Value,
        manager: &str,
    ) -> Result<Arc<Stored>, ApiError> {
        let served = self.served(resource)?;
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let written = self.write_new(&served, &namespace, object, &WriteOptions::of(manager))?;
        Ok(written.object)
    }

    /// Replaces an object's specification and metadata. 409 when `object` carries an older resourceVersion.
    #[expect(clippy::needless_pass_by_value, reason = "callers have no more use for the object")]
    pub fn update(
        &self,
        resource: &GroupResource,
        object: Value,
        manager: &str,
    ) -> Result<Arc<Stored>, ApiError> {
        self.replace(resource, &object, &WriteOptions::of(manager))
    }

    /// Replaces an object's status alone. 409 when `object` carries an older resourceVersion.
    #[expect(clippy::needless_pass_by_value, reason = "callers have no more use for the object")]
    pub fn update_status(
        &self,
        resource: &GroupResource,
        object: Value,
        manager: &str,
    ) -> Result<Arc<Stored>, ApiError> {
        self.replace(resource, &object, &WriteOptions::of(manager).subresource("status"))
    }

    /// Deletes an object, or marks it as being deleted while finalizers hold it.
    pub fn delete(&self, key: &Key, options: &DeleteOptions) -> Result<Deletion, ApiError> {
        self.delete_object(key, options, &User::component("")).map(|deleted| deleted.deletion)
    }

    /// Changes after `since`, of one collection or of all, in one namespace or in all.
    pub fn watch(
        self: &Arc<Self>,
        resource: Option<&GroupResource>,
        namespace: Option<&str>,
        since: u64,
    ) -> Watch {
        let changed = self.write().subscribe(resource);
        Watch {
            store: self.clone(),
            resource: resource.cloned(),
            namespace: namespace.map(str::to_owned),
            cursor: since,
            pending: VecDeque::new(),
            changed,
        }
    }

    /// Waits until everything up to `revision` is on disk; at once for a store that keeps nothing.
    pub async fn durable(&self, revision: u64) -> Result<(), ApiError> {
        match &self.journal {
            Some(journal) => journal.durable(revision).await,
            None => Ok(()),
        }
    }

    /// An address of the service range that `taken` does not know; `None` when there is none.
    pub(super) fn next_address(&self, taken: impl Fn(&str) -> bool) -> Option<String> {
        // The first addresses stay free for services that choose theirs, as the cluster's DNS does.
        const FIRST: u32 = 16;
        const COUNT: u32 = 65_000;
        let candidate = || {
            let offset = FIRST + self.addresses.fetch_add(1, Ordering::Relaxed) % COUNT;
            Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 0, 0)) + offset).to_string()
        };
        (0..COUNT).map(|_| candidate()).find(|address| !taken(address))
    }

    pub(super) fn served(&self, id: &GroupResource) -> Result<Arc<Resource>, ApiError> {
        self.registry.preferred(id).ok_or_else(ApiError::unknown_resource)
    }

    /// Ends the writing to disk once everything is there. Blocks until then.
    pub(super) fn close(&self) {
        if let Some(journal) = &self.journal {
            journal.stop();
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(
        &self,
        resource: &GroupResource,
        object: &Value,
        options: &WriteOptions,
    ) -> Result<Arc<Stored>, ApiError> {
        let served = self.served(resource)?;
        let key = Key::of(resource, object);
        let written = self.write_over(&served, &key, options, &|live| match live {
            Some(_) => Ok(Some(Write::Replace(object.clone()))),
            None => Err(ApiError::not_found(resource, &key.name)),
        })?;
        Ok(written.object)
    }

    /// Takes a prepared object if the version it was prepared from (`None`: no object) is still the stored one.
    pub(super) fn commit(
        &self,
        key: &Key,
        expected: Option<u64>,
        value: Value,
    ) -> Result<Arc<Stored>, Refused> {
        let mut state = self.write();
        match (state.get(key).map(|stored| stored.revision()), expected) {
            (found, expected) if found != expected => return Err(Refused::Raced),
            (None, _) if !key.namespace.is_empty() => check_namespace(&state, key).map_err(Refused::For)?,
            _ => {}
        }
        let event = state.put(key.clone(), value);
        self.committed(&event);
        Ok(event.object.clone())
    }

    /// Removes an object if `expected` is still its version. `last` is the state that watches are told.
    pub(super) fn commit_removal(
        &self,
        key: &Key,
        expected: u64,
        last: Value,
    ) -> Result<Arc<Stored>, Refused> {
        let mut state = self.write();
        if state.get(key).map(|stored| stored.revision()) != Some(expected) {
            return Err(Refused::Raced);
        }
        let event = state.remove(key.clone(), last).ok_or(Refused::Raced)?;
        self.committed(&event);
        Ok(event.object.clone())
    }

    /// What must happen in the order of the commits; called with the state locked.
    fn committed(&self, event: &Arc<Event>) {
        if event.key.resource == CRDS {
            match event.change {
                Change::Deleted => self.registry.uninstall(&event.object),
                Change::Added | Change::Modified => self.registry.install(&event.object),
            }
        }
        self.admission.observe(event);
        if event.change == Change::Deleted && event.key.resource == PODS {
            self.logs.forget(&event.key.namespace, &event.key.name);
        }
        if let Some(journal) = &self.journal {
            journal.append(event.clone());
        }
    }
}

fn check_namespace(state: &State, key: &Key) -> Result<(), ApiError> {
    let Some(namespace) = state.get(&Key::new(&NAMESPACES, "", key.namespace.clone())) else {
        return Err(ApiError::not_found(&NAMESPACES, &key.namespace));
    };
    check_live(namespace, key)
}

/// Refuses new content for a namespace that is being deleted.
pub(super) fn check_live(namespace: &Stored, key: &Key) -> Result<(), ApiError> {
    if namespace["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let space = &key.namespace;
    let why = format!("unable to create new content in namespace {space} because it is being terminated");
    Err(ApiError::terminating(&key.resource, &key.name, space, &why))
}

pub(super) const NAMESPACES: GroupResource = GroupResource::new("", "namespaces");
pub(super) const PODS: GroupResource = GroupResource::new("", "pods");
pub(super) const CLAIMS: GroupResource = GroupResource::new("", "persistentvolumeclaims");
pub(super) const CRDS: GroupResource =
    GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions");

/// Why the store did not take a prepared object.
pub(super) enum Refused {
    /// Another write came first: prepare again.
    Raced,
    /// It never will.
    For(ApiError),
}

/// Changes as they happen.
pub struct Watch {
    store: Arc<Store>,
    resource: Option<GroupResource>,
    namespace: Option<String>,
    cursor: u64,
    pending: VecDeque<Arc<Event>>,
    changed: watch::Receiver<u64>,
}

impl Watch {
    /// The next change; 410 when the reader is so far behind that the history no longer holds it.
    ///
    /// Cancel safe: a change not returned is returned by the next call.
    pub async fn next(&mut self) -> Result<Arc<Event>, ApiError> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            self.changed.borrow_and_update();
            self.fill()?;
            if self.pending.is_empty() && self.changed.changed().await.is_err() {
                return Err(ApiError::expired("the store was closed"));
            }
        }
    }

    /// A change that is already there.
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, ApiError> {
        if self.pending.is_empty() {
            self.fill()?;
        }
        Ok(self.pending.pop_front())
    }

    /// Up to which resourceVersion every change was returned.
    pub fn position(&self) -> u64 {
        self.pending.front().map_or(self.cursor, |event| event.revision - 1)
    }

    fn fill(&mut self) -> Result<(), ApiError> {
        let state = self.store.read();
        if self.cursor >= state.revision {
            return Ok(());
        }
        let wanted = |event: &&Arc<Event>| concerns(event, self.resource.as_ref(), self.namespace.as_deref());
        self.pending.extend(state.since(self.resource.as_ref(), self.cursor)?.filter(wanted).cloned());
        self.cursor = state.revision;
        Ok(())
    }
}

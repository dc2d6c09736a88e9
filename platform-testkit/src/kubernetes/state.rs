//! The tables behind the store: objects by collection, indexes by UID and owner, and the history that watches read.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use super::error::ApiError;
use super::resource::GroupResource;

/// How many changes are kept for watches. Older ones answer 410 Gone, as with etcd's compaction.
pub(super) const HISTORY: usize = 10_000;

/// Where an object is: its collection, namespace (empty for cluster-scoped ones) and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The collection.
    pub resource: GroupResource,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key; give an empty namespace for cluster-scoped objects.
    pub fn new(resource: &GroupResource, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { resource: resource.clone(), namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object in `resource`, from its metadata.
    pub fn of(resource: &GroupResource, object: &Value) -> Self {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        Self { resource: resource.clone(), namespace: text("namespace"), name: text("name") }
    }
}

/// An object as stored. It reads like its JSON value and is serialised at most once.
#[derive(Debug)]
pub struct Stored {
    value: Value,
    revision: u64,
    json: OnceLock<Bytes>,
}

impl Stored {
    pub(super) fn new(value: Value, revision: u64) -> Arc<Self> {
        Arc::new(Self { value, revision, json: OnceLock::new() })
    }

    /// The object.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Its resourceVersion as a number.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The object as JSON text.
    pub fn json(&self) -> Bytes {
        self.json.get_or_init(|| encode(&self.value)).clone()
    }
}

impl Deref for Stored {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It has other content.
    Modified,
    /// It is gone.
    Deleted,
}

impl Change {
    /// The type of a watch event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change in the history.
#[derive(Debug)]
pub struct Event {
    /// The resourceVersion that the change made.
    pub revision: u64,
    /// What happened.
    pub change: Change,
    /// To which object.
    pub key: Key,
    /// The object after the change; after a deletion its last state.
    pub object: Arc<Stored>,
    /// The object before the change.
    pub previous: Option<Arc<Stored>>,
    line: OnceLock<Bytes>,
}

impl Event {
    /// The event as a line of a watch stream, for watches that see it as it happened.
    pub(super) fn line(&self) -> Bytes {
        self.line.get_or_init(|| watch_line(self.change.as_str(), &self.object.json())).clone()
    }
}

/// A line of a watch stream.
pub(super) fn watch_line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 32);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    Bytes::from(line)
}

/// JSON text of a value. Values hold no map with keys other than strings, which is all that could fail.
pub(super) fn encode(value: &Value) -> Bytes {
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

/// Position in a collection: namespace, then name.
pub(super) type Place = (String, String);

pub(super) struct Collection {
    pub(super) objects: BTreeMap<Place, Arc<Stored>>,
    pub(super) changed: watch::Sender<u64>,
    /// The newest change of this collection that the history no longer holds.
    forgotten: u64,
}

pub(super) struct State {
    pub(super) revision: u64,
    /// The revision that it began with: nothing is known of changes before.
    base: u64,
    collections: HashMap<GroupResource, Collection>,
    by_uid: HashMap<String, Key>,
    dependents: HashMap<String, BTreeSet<Key>>,
    history: VecDeque<Arc<Event>>,
    any_changed: watch::Sender<u64>,
}

impl State {
    pub(super) fn new(revision: u64) -> Self {
        Self {
            revision,
            base: revision,
            collections: HashMap::new(),
            by_uid: HashMap::new(),
            dependents: HashMap::new(),
            history: VecDeque::new(),
            any_changed: watch::Sender::new(revision),
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.collections.get(&key.resource)?.objects.get(&(key.namespace.clone(), key.name.clone()))
    }

    /// The objects of a collection, in one namespace or in all, ordered by namespace and name.
    pub(super) fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Stored>> {
        let Some(collection) = self.collections.get(resource) else { return Vec::new() };
        let Some(namespace) = namespace else { return collection.objects.values().cloned().collect() };
        let from = (namespace.to_owned(), String::new());
        let inside = collection.objects.range(from..).take_while(|(place, _)| place.0 == namespace);
        inside.map(|(_, object)| object.clone()).collect()
    }

    /// The same at an earlier revision, undone from the history; an error when it does not reach that far back.
    pub(super) fn list_at(
        &self,
        resource: &GroupResource,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Vec<Arc<Stored>>, ApiError> {
        if revision >= self.revision {
            return Ok(self.list(resource, namespace));
        }
        let events = self.since(Some(resource), revision)?;
        let place = |object: &Arc<Stored>| {
            let key = Key::of(resource, object);
            ((key.namespace, key.name), object.clone())
        };
        let mut objects: BTreeMap<Place, Arc<Stored>> =
            self.list(resource, namespace).iter().map(place).collect();
        for event in events.rev().filter(|event| concerns(event, Some(resource), namespace)) {
            let at = (event.key.namespace.clone(), event.key.name.clone());
            match &event.previous {
                Some(previous) => objects.insert(at, previous.clone()),
                None => objects.remove(&at),
            };
        }
        Ok(objects.into_values().collect())
    }

    /// Changes after `revision`, oldest first; of all collections, but certain to be complete only for `resource`.
    pub(super) fn since(
        &self,
        resource: Option<&GroupResource>,
        revision: u64,
    ) -> Result<impl DoubleEndedIterator<Item = &Arc<Event>>, ApiError> {
        let oldest = self.history.front().map_or(self.revision, |event| event.revision - 1);
        let collection = resource.map(|resource| self.collections.get(resource));
        let complete_from = match collection {
            Some(Some(collection)) => collection.forgotten,
            Some(None) => self.base,
            None => oldest,
        };
        if revision < complete_from {
            let message = format!("too old resource version: {revision} ({complete_from})");
            return Err(ApiError::expired(message));
        }
        let skip = usize::try_from(revision.saturating_sub(oldest)).unwrap_or(usize::MAX);
        Ok(self.history.range(skip.min(self.history.len())..))
    }

    pub(super) fn everything(&self) -> Vec<(Key, Arc<Stored>)> {
        let keyed = |(resource, collection): (&GroupResource, &Collection)| {
            let resource = resource.clone();
            let pairs = collection.objects.iter().map(move |((namespace, name), object)| {
                (Key::new(&resource, namespace.clone(), name.clone()), object.clone())
            });
            pairs.collect::<Vec<_>>()
        };
        self.collections.iter().flat_map(keyed).collect()
    }

    pub(super) fn in_namespace(&self, namespace: &str) -> Vec<Key> {
        let from = (namespace.to_owned(), String::new());
        let mut keys = Vec::new();
        for (resource, collection) in &self.collections {
            let inside =
                collection.objects.range(from.clone()..).take_while(|(place, _)| place.0 == namespace);
            keys.extend(
                inside.map(|((namespace, name), _)| Key::new(resource, namespace.clone(), name.clone())),
            );
        }
        keys
    }

    pub(super) fn by_uid(&self, uid: &str) -> Option<&Key> {
        self.by_uid.get(uid)
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    pub(super) fn subscribe(&mut self, resource: Option<&GroupResource>) -> watch::Receiver<u64> {
        match resource {
            Some(resource) => self.collection(resource).changed.subscribe(),
            None => self.any_changed.subscribe(),
        }
    }

    /// Forgets every change so far: watches and lists reach back to now and no further.
    pub(super) fn forget_history(&mut self) {
        self.base = self.revision;
        self.history.clear();
        for collection in self.collections.values_mut() {
            collection.forgotten = self.revision;
        }
    }

    /// Stores an object as read from disk: no revision, no event.
    pub(super) fn restore(&mut self, key: Key, object: Arc<Stored>) {
        self.index(&key, &object);
        let place = (key.namespace, key.name);
        self.collection(&key.resource).objects.insert(place, object);
    }

    /// Stores an object under the next revision.
    pub(super) fn put(&mut self, key: Key, mut value: Value) -> Arc<Event> {
        let revision = self.advance(&mut value);
        let object = Stored::new(value, revision);
        let place = (key.namespace.clone(), key.name.clone());
        let previous = self.collection(&key.resource).objects.insert(place, object.clone());
        if let Some(previous) = &previous {
            self.forget(&key, previous);
        }
        self.index(&key, &object);
        let change = if previous.is_some() { Change::Modified } else { Change::Added };
        self.record(Event { revision, change, key, object, previous, line: OnceLock::new() })
    }

    /// Removes an object under the next revision; `last` is the state that watches are told.
    pub(super) fn remove(&mut self, key: Key, mut last: Value) -> Option<Arc<Event>> {
        let place = (key.namespace.clone(), key.name.clone());
        let previous = self.collections.get_mut(&key.resource)?.objects.remove(&place)?;
        self.forget(&key, &previous);
        let revision = self.advance(&mut last);
        let object = Stored::new(last, revision);
        let event = Event {
            revision,
            change: Change::Deleted,
            key,
            object,
            previous: Some(previous),
            line: OnceLock::new(),
        };
        Some(self.record(event))
    }

    fn advance(&mut self, value: &mut Value) -> u64 {
        self.revision += 1;
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), Value::String(self.revision.to_string()));
        }
        self.revision
    }

    fn record(&mut self, event: Event) -> Arc<Event> {
        let event = Arc::new(event);
        self.history.push_back(event.clone());
        if self.history.len() > HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.collection(&oldest.key.resource).forgotten = oldest.revision;
        }
        self.any_changed.send_replace(event.revision);
        self.collection(&event.key.resource).changed.send_replace(event.revision);
        event
    }

    fn collection(&mut self, resource: &GroupResource) -> &mut Collection {
        let (revision, base) = (self.revision, self.base);
        let new = || Collection {
            objects: BTreeMap::new(),
            changed: watch::Sender::new(revision),
            forgotten: base,
        };
        self.collections.entry(resource.clone()).or_insert_with(new)
    }

    fn index(&mut self, key: &Key, object: &Value) {
        if let Some(uid) = object["metadata"]["uid"].as_str() {
            self.by_uid.insert(uid.to_owned(), key.clone());
        }
        for owner in owner_uids(object) {
            self.dependents.entry(owner.to_owned()).or_default().insert(key.clone());
        }
    }

    fn forget(&mut self, key: &Key, object: &Value) {
        if let Some(uid) = object["metadata"]["uid"].as_str() {
            self.by_uid.remove(uid);
        }
        for owner in owner_uids(object) {
            if let Some(keys) = self.dependents.get_mut(owner) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }
}

/// Whether an event belongs to a collection and namespace; `None` means any.
pub(super) fn concerns(event: &Event, resource: Option<&GroupResource>, namespace: Option<&str>) -> bool {
    resource.is_none_or(|resource| event.key.resource == *resource)
        && namespace.is_none_or(|namespace| event.key.namespace == namespace)
}

pub(super) fn owner_uids(object: &Value) -> impl Iterator<Item = &str> {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().filter_map(|owner| owner["uid"].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WIDGETS: GroupResource = GroupResource::new("example.io", "widgets");

    fn put(state: &mut State, name: &str, size: u32) -> u64 {
        let object = json!({"metadata": {"name": name, "namespace": "a", "uid": name}, "size": size});
        state.put(Key::new(&WIDGETS, "a", name), object).revision
    }

    #[test]
    fn an_earlier_revision_is_listed_as_it_was() -> Result<(), ApiError> {
        let mut state = State::new(0);
        put(&mut state, "one", 1);
        let then = put(&mut state, "two", 1);
        put(&mut state, "one", 2);
        put(&mut state, "three", 1);
        state.remove(Key::new(&WIDGETS, "a", "two"), json!({"metadata": {}}));
        let past = state.list_at(&WIDGETS, None, then)?;
        let seen: Vec<_> =
            past.iter().map(|object| (object["metadata"]["name"].clone(), object["size"].clone())).collect();
        assert_eq!(seen, [(json!("one"), json!(1)), (json!("two"), json!(1))]);
        Ok(())
    }

    #[test]
    fn history_has_an_end() {
        let mut state = State::new(0);
        for size in 0..=HISTORY as u32 + 5 {
            put(&mut state, "one", size);
        }
        assert_eq!(state.since(Some(&WIDGETS), 1).err().map(|error| error.code), Some(410));
        let newest = state.revision;
        assert!(state.since(None, newest).is_ok_and(|events| events.count() == 0));
        assert!(state.since(None, newest - HISTORY as u64).is_ok_and(|events| events.count() == HISTORY));
    }

    #[test]
    fn a_quiet_collection_is_not_forgotten_for_the_noise_of_others() {
        const GADGETS: GroupResource = GroupResource::new("example.io", "gadgets");
        let mut state = State::new(0);
        let gadget = json!({"metadata": {"name": "g"}});
        let then = state.put(Key::new(&GADGETS, "", "g"), gadget).revision;
        for size in 0..=HISTORY as u32 {
            put(&mut state, "one", size);
        }
        assert!(state.since(Some(&GADGETS), then).is_ok());
        assert_eq!(state.since(Some(&GADGETS), then - 1).err().map(|error| error.code), Some(410));
        assert_eq!(state.since(None, then).err().map(|error| error.code), Some(410));
    }

    #[test]
    fn dependents_follow_owner_references() {
        let mut state = State::new(0);
        let key = Key::new(&WIDGETS, "a", "child");
        let owned = json!({"metadata": {"uid": "c", "ownerReferences": [{"uid": "parent"}]}});
        state.put(key.clone(), owned);
        assert_eq!(state.dependents("parent"), std::slice::from_ref(&key));
        state.put(key, json!({"metadata": {"uid": "c"}}));
        assert!(state.dependents("parent").is_empty());
    }
}

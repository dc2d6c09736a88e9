//! What is deleted, how long is waited, and what is told.

use super::*;
use crate::{
    cluster::{ApplyOptions, ApplyReport, DeleteReport, ObjectDiff, ObjectHealth, SetOwner},
    error::{Error, ErrorKind},
    manifest::ManifestSet,
};
use async_trait::async_trait;
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

#[derive(Debug)]
struct Thing {
    object: Value,
    /// How many looks it takes to go; `None`: it never goes.
    looks: Option<u32>,
    /// Whether its deletion was asked for.
    asked: bool,
}

/// A cluster of some things.
#[derive(Debug)]
struct Fake {
    name: ClusterName,
    objects: Mutex<BTreeMap<String, Thing>>,
    lists: bool,
}

impl Fake {
    fn new(objects: &[(&str, &str, &str, Option<u32>)]) -> Self {
        let objects = objects.iter().map(|(kind, name, service_type, looks)| {
            let object = json!({
                "kind": kind,
                "metadata": {"namespace": "api1", "name": name},
                "spec": {"type": service_type},
            });
            (format!("{kind} api1/{name}"), Thing { object, looks: *looks, asked: false })
        });
        let name = ClusterName::new("shop-testing").unwrap();
        Self { name, objects: Mutex::new(objects.collect()), lists: true }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Thing>> {
        self.objects.lock().unwrap()
    }

    fn left(&self) -> Vec<String> {
        self.objects().keys().cloned().collect()
    }

    async fn release(&self) -> (Result<StepDone>, Duration) {
        let begun = Instant::now();
        let released = release(self, Duration::from_secs(60), &Progress::silent()).await;
        (released, begun.elapsed())
    }
}

fn not_asked<T>() -> Result<T> {
    Err(Error::internal("nobody asks this"))
}

#[async_trait]
impl Cluster for Fake {
    fn name(&self) -> &ClusterName {
        &self.name
    }

    async fn list(&self, _: &str, kind: &str, _: &ListOptions) -> Result<Vec<Value>> {
        if !self.lists {
            return Err(Error::new(ErrorKind::Unavailable, "no route to host"));
        }
        let objects = self.objects();
        let objects = objects.values().map(|thing| &thing.object);
        Ok(objects.filter(|object| object["kind"] == kind).cloned().collect())
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>> {
        let (mut objects, key) = (self.objects(), object.to_string());
        let Some(thing) = objects.get_mut(&key) else { return Ok(None) };
        if thing.asked && thing.looks == Some(0) {
            objects.remove(&key);
            return Ok(None);
        }
        thing.looks = thing.looks.map(|looks| looks - 1);
        Ok(Some(thing.object.clone()))
    }

    async fn delete(&self, object: &ObjectRef) -> Result<bool> {
        if object.name == "refused" {
            return Err(Error::new(ErrorKind::Denied, "a policy denies it"));
        }
        let mut objects = self.objects();
        let there = objects.get_mut(&object.to_string());
        Ok(there.map(|thing| thing.asked = true).is_some())
    }

    async fn version(&self) -> Result<String> {
        not_asked()
    }

    async fn diff(&self, _: &ManifestSet, _: &ApplyOptions) -> Result<Vec<ObjectDiff>> {
        not_asked()
    }

    async fn apply(&self, _: &ManifestSet, _: &ApplyOptions) -> Result<ApplyReport> {
        not_asked()
    }

    async fn health(&self, _: &[ObjectRef]) -> Result<Vec<ObjectHealth>> {
        not_asked()
    }

    async fn wait_ready(&self, _: &[ObjectRef], _: Duration, _: &Progress) -> Result<()> {
        not_asked()
    }

    async fn delete_set(&self, _: &str, _: &ApplyOptions) -> Result<DeleteReport> {
        not_asked()
    }

    async fn sets(&self, _: &SetOwner) -> Result<Vec<String>> {
        not_asked()
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_load_balancers_is_waited_for_and_nothing_else_goes() {
    let cluster = Fake::new(&[
        ("Service", "web", "LoadBalancer", Some(5)),
        ("Service", "inside", "ClusterIP", Some(0)),
        ("Ingress", "web", "", Some(1)),
    ]);
    let (released, took) = cluster.release().await;
    assert_eq!(released.unwrap(), StepDone::changed("deleted 2 objects"));
    assert_eq!(cluster.left(), ["Service api1/inside"]);
    assert_eq!(took, INTERVAL * 5);
    assert_eq!(cluster.release().await.0.unwrap(), StepDone::unchanged("nothing has load balancers"));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_go_or_is_refused_is_told_when_patience_ends() {
    let cluster = Fake::new(&[
        ("Service", "stuck", "LoadBalancer", None),
        ("Service", "refused", "LoadBalancer", Some(0)),
        ("Ingress", "web", "", Some(0)),
    ]);
    let (released, took) = cluster.release().await;
    assert_eq!(
        released.unwrap().message,
        "deleted 1 object; load balancers may be left, its provider looks for them: a policy denies it; \
         Service api1/stuck did not go in 60 s"
    );
    assert!(took <= Duration::from_secs(60), "{took:?}");
    assert_eq!(cluster.left(), ["Service api1/refused", "Service api1/stuck"]);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_is_an_error() {
    let cluster = Fake { lists: false, ..Fake::new(&[]) };
    assert_eq!(cluster.release().await.0.unwrap_err().kind(), ErrorKind::Unavailable);
}

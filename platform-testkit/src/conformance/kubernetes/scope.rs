//! What a check gets: a namespace of its own, requests, and cleaning up.

use super::{
    check::Needs,
    request::{Answer, Caller},
};
use crate::conformance::Outcome;
use serde_json::{Value, json};
use std::{
    collections::hash_map::RandomState,
    future::Future,
    hash::{BuildHasher, Hasher},
    ops::Deref,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What controllers do must be done within this.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);

/// The server under test.
pub(super) struct Server {
    caller: Caller,
    stranger: Option<Caller>,
    image: String,
    nodes: usize,
    embedded: bool,
    /// Namespaces that are done with. They are deleted at the end: their deletion keeps a real server busy for a while.
    used: Mutex<Vec<String>>,
}

impl Server {
    /// Asks what the server has.
    pub(super) async fn look(
        caller: Caller,
        stranger: Option<Caller>,
        image: Option<String>,
    ) -> Result<Self, String> {
        let nodes = caller.get("/api/v1/nodes").ok().await?;
        let nodes = nodes["items"].as_array().cloned().unwrap_or_default();
        let images = nodes.iter().filter_map(|node| node["status"]["images"].as_array()).flatten();
        let names = images.filter_map(|image| image["names"].as_array()).flatten().filter_map(Value::as_str);
        let pause = names.filter(|name| name.contains("/pause:")).map(str::to_owned).next();
        let image = image.or(pause).unwrap_or_else(|| "registry.k8s.io/pause:3.10".to_owned());
        let version = caller.get("/version").ok().await?;
        let embedded = version["gitVersion"].as_str().is_some_and(|version| version.ends_with("+embedded"));
        Ok(Self { caller, stranger, image, nodes: nodes.len(), embedded, used: Mutex::default() })
    }

    /// Deletes the namespaces of checks; does not wait until they are gone.
    pub(super) async fn clean(&self) -> Outcome {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        for name in used {
            self.caller.delete(format!("/api/v1/namespaces/{name}")).send().await?;
        }
        Ok(())
    }

    /// Why a check cannot be tried here.
    pub(super) fn lacks(&self, needs: Needs) -> Option<&'static str> {
        match needs {
            Needs::Nodes if self.nodes == 0 => Some("the cluster has no nodes"),
            Needs::Whole | Needs::Anonymity if self.embedded => Some("the embedded API does not simulate it"),
            Needs::Stranger | Needs::Anonymity if self.stranger.is_none() => {
                Some("no client without credentials was given")
            }
            _ => None,
        }
    }
}

/// A check's own place on the server. It asks as the caller who is allowed everything.
pub(super) struct Scope<'a> {
    server: &'a Server,
    /// The namespace, and a name for cluster-wide objects.
    pub(super) name: String,
    leftovers: Mutex<Vec<String>>,
}

impl Deref for Scope<'_> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.server.caller
    }
}

impl<'a> Scope<'a> {
    pub(super) fn new(server: &'a Server) -> Self {
        let name = format!("conformance-{:010x}", RandomState::new().build_hasher().finish() >> 24);
        Self { server, name, leftovers: Mutex::default() }
    }

    pub(super) async fn open(&self) -> Outcome {
        let labels = json!({"app.kubernetes.io/part-of": "platform-conformance", "conformance": self.name});
        self.post_namespace(&self.name, &labels).await?;
        self.server.used.lock().unwrap_or_else(PoisonError::into_inner).push(self.name.clone());
        Ok(())
    }

    /// Deletes what the check has left but its namespace. Finalizers of the suite's own are removed first.
    pub(super) async fn close(&self) -> Outcome {
        let leftovers = std::mem::take(&mut *self.leftovers.lock().unwrap_or_else(PoisonError::into_inner));
        for path in leftovers.into_iter().rev() {
            let object = self.get(&path).send().await?;
            let finalizers = object.body["metadata"]["finalizers"].to_string();
            if object.code == 200 && finalizers.contains(FINALIZER) {
                self.merge(&path, &json!({"metadata": {"finalizers": null}})).send().await?;
            }
            if object.code == 200 {
                self.delete(&path).query("propagationPolicy", "Background").send().await?;
            }
        }
        Ok(())
    }

    /// Creates another namespace, which is deleted when the check ends.
    pub(super) async fn namespace(&self, name: &str, labels: &Value) -> Result<Value, String> {
        let made = self.post_namespace(name, labels).await?;
        self.remember(format!("/api/v1/namespaces/{name}"));
        Ok(made)
    }

    async fn post_namespace(&self, name: &str, labels: &Value) -> Result<Value, String> {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
        });
        self.post("/api/v1/namespaces", &namespace).ok().await
    }

    /// Deletes what is at `path` at the end.
    pub(super) fn remember(&self, path: String) {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    /// The path of a collection in the scope's namespace.
    pub(super) fn all(&self, api_version: &str, plural: &str) -> String {
        format!("{}/namespaces/{}/{plural}", root(api_version), self.name)
    }

    /// The path of an object in the scope's namespace.
    pub(super) fn at(&self, api_version: &str, plural: &str, name: &str) -> String {
        format!("{}/{name}", self.all(api_version, plural))
    }

    /// The path of a config map in the scope's namespace.
    pub(super) fn map(&self, name: &str) -> String {
        self.at("v1", "configmaps", name)
    }

    /// The path of a deployment in the scope's namespace.
    pub(super) fn deployment(&self, name: &str) -> String {
        self.at("apps/v1", "deployments", name)
    }

    /// Creates an object in the scope's namespace; its plural follows from its kind.
    pub(super) async fn create(&self, object: &Value) -> Result<Value, String> {
        self.post(self.home(object), object).ok().await
    }

    /// The collection in the scope's namespace that an object belongs to.
    pub(super) fn home(&self, object: &Value) -> String {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        self.all(text("apiVersion"), &plural(text("kind")))
    }

    /// Creates a cluster-wide object that is deleted at the end.
    pub(super) async fn create_global(&self, object: &Value) -> Result<Value, String> {
        let collection = global(object);
        let made = self.post(&collection, object).ok().await?;
        let name = made["metadata"]["name"].as_str().unwrap_or_default();
        self.remember(format!("{collection}/{name}"));
        Ok(made)
    }

    /// Somebody else, as an administrator may act.
    pub(super) fn user(&self, name: &str) -> Caller {
        self.with("impersonate-user", name)
    }

    /// Somebody who shows `token`, or nothing.
    pub(super) fn bearer(&self, token: Option<&str>) -> Result<Caller, String> {
        let stranger = self.server.stranger.as_ref().ok_or("no client without credentials was given")?;
        Ok(match token {
            Some(token) => stranger.with("authorization", format!("Bearer {token}")),
            None => stranger.clone(),
        })
    }

    /// The image of pods that are to run.
    pub(super) fn image(&self) -> &str {
        &self.server.image
    }

    /// Waits for the account that pods run as.
    pub(super) async fn account(&self) -> Outcome {
        let path = self.at("v1", "serviceaccounts", "default");
        eventually("the default service account is there", || self.exists(&path)).await
    }

    /// Whether there is an object at `path`.
    pub(super) async fn exists(&self, path: &str) -> Result<bool, String> {
        match self.get(path).send().await? {
            Answer { code: 200, .. } => Ok(true),
            Answer { code: 404, .. } => Ok(false),
            other => Err(format!("GET {path}: {}", other.text())),
        }
    }

    /// Waits until there is no object at `path`.
    pub(super) async fn gone(&self, path: &str) -> Outcome {
        eventually(&format!("{path} is gone"), || async { Ok(!self.exists(path).await?) }).await
    }
}

/// A finalizer that nobody removes but the suite.
pub(super) const FINALIZER: &str = "conformance.example.com/hold";

/// Waits until a condition holds.
pub(super) async fn eventually<F, Holds>(what: &str, condition: F) -> Outcome
where
    F: Fn() -> Holds,
    Holds: Future<Output = Result<bool, String>>,
{
    let until = Instant::now() + PATIENCE;
    while !condition().await? {
        if Instant::now() > until {
            return Err(format!("{what}: not within {PATIENCE:?}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// The path of a cluster-wide object's collection.
pub(super) fn global(object: &Value) -> String {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    format!("{}/{}", root(text("apiVersion")), plural(text("kind")))
}

/// The path of an API version.
pub(super) fn root(api_version: &str) -> String {
    if api_version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{api_version}") }
}

fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    if let Some(stem) = lower.strip_suffix('y') {
        return format!("{stem}ies");
    }
    if lower.ends_with("ss") { format!("{lower}es") } else { format!("{lower}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_plurals() {
        let plurals = ["ConfigMap", "NetworkPolicy", "Ingress", "StorageClass"].map(plural);
        assert_eq!(plurals, ["configmaps", "networkpolicies", "ingresses", "storageclasses"]);
    }
}

//! When a cluster is ready: its API server answers, its nodes run, names are resolved in it.
//!
//! `kind create cluster --wait` only looks at control planes, and ends well when its time has run out.

use super::process::seconds;
use crate::connection;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Node, storage::v1::StorageClass};
use kube::{Api, api::ListParams};
use platform_core::{Error, ErrorKind, Result, cluster::ClusterAccess, event::Progress};
use std::{fmt, time::Duration};
use tokio::time::{Instant, timeout};

/// How often a cluster is looked at while it becomes ready.
const POLL: Duration = Duration::from_millis(300);
/// How long one look may take; an API server that starts may leave a request unanswered.
const LOOK: Duration = Duration::from_secs(5);

/// What a cluster waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waiting {
    Answer(String),
    Registration { wanted: usize, registered: usize },
    Node { name: String, why: String },
    Dns,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(why) => write!(f, "its API server does not answer: {why}"),
            Self::Registration { wanted, registered } => {
                write!(f, "{registered} of {wanted} nodes have joined")
            }
            Self::Node { name, why } => write!(f, "node {name} is not ready: {why}"),
            Self::Dns => f.write_str("CoreDNS does not run yet"),
        }
    }
}

impl Waiting {
    /// In words that do not change from one look to the next.
    const fn subject(&self) -> &'static str {
        match self {
            Self::Answer(_) => "waiting for the API server",
            Self::Registration { .. } | Self::Node { .. } => "waiting for the nodes",
            Self::Dns => "waiting for CoreDNS",
        }
    }
}

/// The API of a cluster, looked at until it is ready.
pub(super) struct Watcher {
    client: kube::Client,
}

impl Watcher {
    pub(super) fn new(access: &ClusterAccess) -> Result<Self> {
        Ok(Self { client: connection::client::client(access)? })
    }

    /// The version that the API server reports, `v1.34.4`; an error while it does not answer.
    pub(super) async fn version(&self) -> Result<String, String> {
        let version = answer(self.client.apiserver_version()).await?;
        Ok(version.git_version)
    }

    /// Whether kind did all that it does: every node has joined, and there is a class of storage, which comes after the network.
    pub(super) async fn is_finished(&self, nodes: usize) -> Result<bool, String> {
        let all = ListParams::default();
        let (node_api, class_api) =
            (Api::<Node>::all(self.client.clone()), Api::<StorageClass>::all(self.client.clone()));
        let (registered, classes) =
            tokio::join!(answer(node_api.list_metadata(&all)), answer(class_api.list_metadata(&all)));
        Ok(registered?.items.len() >= nodes && !classes?.items.is_empty())
    }

    /// Waits until all is ready, at most `deadline`, and answers with the version.
    ///
    /// Without a network of kind's own (`network` is false) nodes are not ready before somebody brings one.
    pub(super) async fn wait(
        &self,
        nodes: usize,
        network: bool,
        deadline: Duration,
        progress: &Progress,
    ) -> Result<String> {
        let until = Instant::now() + deadline;
        let mut told = "";
        loop {
            let waiting = match self.look(nodes, network).await {
                Ok(version) => return Ok(version),
                Err(waiting) => waiting,
            };
            if Instant::now() >= until {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format!("it is not ready after {}: {waiting}", seconds(deadline)),
                ));
            }
            if told != waiting.subject() {
                told = waiting.subject();
                progress.report(told);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn look(&self, wanted: usize, network: bool) -> Result<String, Waiting> {
        let version = self.version().await.map_err(Waiting::Answer)?;
        let nodes = answer(Api::<Node>::all(self.client.clone()).list(&ListParams::default()))
            .await
            .map_err(Waiting::Answer)?
            .items;
        if nodes.len() < wanted {
            return Err(Waiting::Registration { wanted, registered: nodes.len() });
        }
        if !network {
            return Ok(version);
        }
        if let Some(waiting) = nodes.iter().find_map(unready) {
            return Err(waiting);
        }
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), "kube-system");
        match answer(deployments.get_opt("coredns")).await.map_err(Waiting::Answer)? {
            Some(dns)
                if dns.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0) < 1 =>
            {
                Err(Waiting::Dns)
            }
            // A patch may have left it out.
            _ => Ok(version),
        }
    }
}

fn unready(node: &Node) -> Option<Waiting> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    if ready.is_some_and(|condition| condition.status == "True") {
        return None;
    }
    let why = ready.and_then(|condition| condition.message.clone());
    Some(Waiting::Node {
        name: node.metadata.name.clone().unwrap_or_default(),
        why: why.unwrap_or_else(|| "its kubelet has not reported".to_owned()),
    })
}

async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match timeout(LOOK, request).await {
        Ok(answer) => answer.map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {}", seconds(LOOK))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::name::ClusterName;
    use platform_testkit::kubernetes::EmbeddedApi;
    use serde_json::{Value, json};

    fn node(conditions: &Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "a"}, "status": {"conditions": conditions}}))
            .unwrap()
    }

    #[test]
    fn a_node_is_ready_when_its_kubelet_says_so() {
        assert_eq!(unready(&node(&json!([{"type": "Ready", "status": "True"}]))), None);
        let waiting = unready(&node(&json!([{"type": "Ready", "status": "False", "message": "no network"}])));
        assert_eq!(waiting.unwrap().to_string(), "node a is not ready: no network");
        assert!(unready(&node(&json!([]))).unwrap().to_string().contains("has not reported"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_missing_is_told_when_the_time_is_over() {
        let api = EmbeddedApi::builder().nodes(1).start().await.unwrap();
        let access = ClusterAccess::new(ClusterName::new("shop-testing").unwrap(), api.url());
        let watcher = Watcher::new(&access).unwrap();
        let progress = Progress::silent();
        let wait = |nodes| watcher.wait(nodes, true, Duration::from_secs(1), &progress);
        let error = wait(2).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("1 of 2 nodes"), "{error}");
        api.stop().await;
        let error = wait(1).await.unwrap_err();
        assert!(error.to_string().contains("does not answer"), "{error}");
    }
}

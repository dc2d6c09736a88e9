//! Every attempt, on every cluster of a platform.

use super::{
    attempts::{self, Trial},
    caller::{Call, Caller, verdict},
    network,
    probe::Run,
};
use crate::{cluster::KubeCluster, orchestrator::Kubernetes};
use futures::{StreamExt, stream};
use platform_core::{
    Error, ErrorKind, Image, Result,
    component::SYSTEM_NAMESPACE,
    event::Progress,
    isolation::{Attempt, Expectation, Principal, Verdict},
    name::Namespace,
    orchestrator::{IsolatedCluster, IsolationScope},
};
use secrecy::SecretString;
use serde_json::{Value, json};

/// How many attempts are under way at once.
const CONCURRENCY: usize = 16;
/// How long a token is good: the shortest that Kubernetes gives out.
const TOKEN_SECONDS: u64 = 600;

/// A cluster with the platform's rights.
pub(super) struct Place<'a> {
    pub(super) cluster: &'a IsolatedCluster,
    pub(super) kube: KubeCluster,
    pub(super) admin: Caller,
}

/// Who deploys in an environment, by a token of its account in the environment's first namespace.
struct Deployer<'a> {
    scope: &'a IsolationScope,
    namespace: &'a Namespace,
    principal: Principal,
    token: SecretString,
}

/// Tries everything. What probes are left from runs that are over is removed first.
pub(crate) async fn verify(
    kubernetes: &Kubernetes,
    image: &Image,
    clusters: &[IsolatedCluster],
    progress: &Progress,
) -> Result<Vec<Attempt>> {
    let mut places = Vec::new();
    for cluster in clusters {
        let kube = kubernetes.connect_kube(&cluster.access)?;
        places.push(Place { cluster, admin: Caller::new(kube.client()), kube });
    }
    let run = Run::new()?;
    let mut attempts = Vec::new();
    for place in &places {
        for scope in &place.cluster.scopes {
            // An environment without applications has nothing that could be reached.
            let Some((namespace, _)) = scope.namespaces.first() else { continue };
            progress.report(format!("acting as the deployer of {}", scope.environment.name));
            let deployer = Deployer::of(place, scope, namespace).await?;
            attempts.extend(deployer.attempts(place, &places).await?);
        }
    }
    progress.report("trying the network");
    attempts.extend(network::attempts(&places, &run, image, progress).await?);
    for place in &places {
        let principal = Principal::Administrator { cluster: place.cluster.access.cluster.clone() };
        let mut trials = Vec::new();
        for scope in &place.cluster.scopes {
            for (namespace, _) in &scope.namespaces {
                trials.extend(attempts::as_administrator(scope, namespace, &run, image));
            }
        }
        attempts.extend(all(&principal, &place.admin, trials).await);
    }
    Ok(attempts)
}

impl<'a> Deployer<'a> {
    async fn of(place: &Place<'_>, scope: &'a IsolationScope, namespace: &'a Namespace) -> Result<Self> {
        let environment = scope.environment.name.clone();
        let subject = format!("account deployer of {namespace} in cluster {}", scope.cluster);
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/deployer/token");
        let answer = place.admin.send(&Call::create(path, request)).await?;
        let token = match &answer {
            Ok(answer) => answer.pointer("/status/token").and_then(Value::as_str),
            Err(status) if status.code == 404 => {
                return Err(Error::not_found("there is no such account")
                    .operation("get a token for")
                    .subject(subject)
                    .help("apply the platform first"));
            }
            Err(status) => {
                return Err(Error::new(ErrorKind::Denied, status.message.clone())
                    .operation("get a token for")
                    .subject(subject)
                    .help("let the platform create serviceaccounts/token"));
            }
        };
        let Some(token) = token else {
            return Err(Error::new(ErrorKind::Corrupt, "the answer has no token")
                .operation("get a token for")
                .subject(subject));
        };
        let principal = Principal::Deployer { environment, namespace: namespace.clone() };
        Ok(Self { scope, namespace, principal, token: token.to_owned().into() })
    }

    /// At home, in the other environments of the cluster, in the platform's own namespace, and in the other clusters.
    async fn attempts(&self, place: &Place<'_>, places: &[Place<'_>]) -> Result<Vec<Attempt>> {
        let caller = Caller::with_token(&place.cluster.access, self.token.clone())?;
        let mut trials = attempts::at_home(self.scope, self.namespace);
        let others =
            place.cluster.scopes.iter().filter(|s| s.environment.name != self.scope.environment.name);
        for (namespace, _) in others.flat_map(|scope| &scope.namespaces) {
            trials.extend(attempts::abroad(namespace.as_str()));
        }
        trials.extend(attempts::abroad(SYSTEM_NAMESPACE));
        let mut attempts = all(&self.principal, &caller, trials).await;
        for other in places {
            let access = &other.cluster.access;
            if access.cluster != place.cluster.access.cluster {
                let caller = Caller::with_token(access, self.token.clone())?;
                attempts
                    .push(one(&self.principal, &caller, attempts::elsewhere(access.cluster.as_str())).await);
            }
        }
        Ok(attempts)
    }
}

/// Makes all attempts of a principal, in their order.
async fn all(principal: &Principal, caller: &Caller, trials: Vec<Trial>) -> Vec<Attempt> {
    stream::iter(trials.into_iter().map(|trial| one(principal, caller, trial)))
        .buffered(CONCURRENCY)
        .collect()
        .await
}

async fn one(principal: &Principal, caller: &Caller, trial: Trial) -> Attempt {
    let mut ended = Verdict::Allowed;
    for call in &trial.calls {
        ended = verdict(&caller.send(call).await);
        if !matches!(ended, Verdict::Stopped { .. }) {
            break;
        }
    }
    if ended == Verdict::Allowed
        && let Some(undo) = &trial.undo
    {
        // It has a lifetime of its own, should this fail.
        let undone = caller.send(undo).await;
        tracing::debug!(call = %undo, undone = undone.is_ok(), "Took back what was not stopped");
    }
    match trial.expected {
        Expectation::Stopped => Attempt::crossing(principal.clone(), trial.action, trial.target, ended),
        Expectation::Allowed => Attempt::control(principal.clone(), trial.action, trial.target, ended),
    }
}

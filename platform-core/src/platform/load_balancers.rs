//! What has load balancers outside of a cluster is deleted while the controllers that made these still run.

use super::{Platform, READING, within};
use crate::{
    cluster::{Cluster, ListOptions},
    error::Result,
    event::Progress,
    execution::{Step, StepDone},
    manifest::ObjectRef,
    name::ClusterName,
};
use futures::future::{join_all, try_join_all};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How long controllers get to take their load balancers away.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(2);

/// Kinds whose objects may have a load balancer.
const KINDS: [(&str, &str); 2] = [("networking.k8s.io/v1", "Ingress"), ("v1", "Service")];

pub(super) fn step_id(cluster: &ClusterName) -> String {
    format!("load-balancers/{cluster}")
}

/// Deletes what has load balancers in a cluster. Whatever goes wrong is told and does not keep the cluster: its provider looks for what is left.
pub(super) fn step(platform: &Platform, name: &ClusterName) -> Step {
    let (platform, cluster) = (platform.clone(), name.clone());
    let description = format!("delete what has load balancers in cluster {name}");
    let step = Step::new(step_id(name), description, move |context| {
        let (platform, name) = (platform.clone(), cluster.clone());
        async move {
            let connecting = platform.0.connect(&name);
            let released = match within(READING, "connect to", format!("cluster {name}"), connecting).await {
                Ok(cluster) => release(&*cluster, PATIENCE, &context.progress).await,
                Err(error) => Err(error),
            };
            Ok(released.unwrap_or_else(|error| {
                StepDone::unchanged(format!(
                    "load balancers may be left, its provider looks for them: {error}"
                ))
            }))
        }
    });
    step.deadline(READING * 3 + PATIENCE)
}

/// Deletes the Ingresses and the Services of type LoadBalancer of all namespaces, and waits until they are gone.
async fn release(cluster: &dyn Cluster, patience: Duration, progress: &Progress) -> Result<StepDone> {
    let reading = async { try_join_all(KINDS.map(|(version, kind)| balanced(cluster, version, kind))).await };
    let subject = format!("Ingresses and Services of cluster {}", cluster.name());
    let objects: Vec<ObjectRef> = within(READING, "list", subject, reading).await?.concat();
    if objects.is_empty() {
        return Ok(StepDone::unchanged("nothing has load balancers"));
    }
    let total = objects.len();
    let until = Instant::now() + patience;
    let deletions = timeout_at(until, join_all(objects.iter().map(|object| cluster.delete(object)))).await;
    let Ok(deletions) = deletions else {
        return Ok(told(0, &[format!("{total} deletions were not answered in {} s", patience.as_secs())]));
    };
    let (mut waiting, mut problems) = (Vec::new(), Vec::new());
    for (object, deletion) in objects.into_iter().zip(deletions) {
        match deletion {
            Ok(_) => waiting.push(object),
            Err(error) => problems.push(error.to_string()),
        }
    }
    while let Ok(looks) = timeout_at(until, join_all(waiting.iter().map(|object| cluster.get(object)))).await
    {
        // One that cannot be looked at is not known to be gone.
        let mut looks = looks.into_iter();
        waiting.retain(|_| !matches!(looks.next(), Some(Ok(None))));
        if waiting.is_empty() || Instant::now() + INTERVAL > until {
            break;
        }
        let names: Vec<String> = waiting.iter().map(ToString::to_string).collect();
        progress.report(format!("waiting for the end of {}", names.join(", ")));
        sleep(INTERVAL).await;
    }
    let gone = total - waiting.len() - problems.len();
    problems.extend(waiting.iter().map(|object| format!("{object} did not go in {} s", patience.as_secs())));
    Ok(told(gone, &problems))
}

fn told(gone: usize, problems: &[String]) -> StepDone {
    let deleted = format!("deleted {gone} {}", if gone == 1 { "object" } else { "objects" });
    if problems.is_empty() {
        return StepDone::changed(deleted);
    }
    let problems = problems.join("; ");
    StepDone::changed(format!(
        "{deleted}; load balancers may be left, its provider looks for them: {problems}"
    ))
}

/// The objects of a kind that may have a load balancer.
async fn balanced(cluster: &dyn Cluster, api_version: &str, kind: &str) -> Result<Vec<ObjectRef>> {
    let objects = cluster.list(api_version, kind, &ListOptions::all()).await?;
    let text = |object: &Value, path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let balanced = objects
        .iter()
        .filter(|object| kind != "Service" || text(object, "/spec/type").as_deref() == Some("LoadBalancer"));
    Ok(balanced
        .filter_map(|object| {
            let reference = ObjectRef::new(api_version, kind, text(object, "/metadata/name")?);
            Some(reference.in_namespace(text(object, "/metadata/namespace")?))
        })
        .collect())
}

#[cfg(test)]
mod tests;

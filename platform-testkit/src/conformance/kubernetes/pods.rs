//! Pods that run, where there are nodes.

use super::{
    check::checks,
    expect::*,
    scope::{Scope, eventually},
};
use crate::conformance::{Outcome, ensure};
use serde_json::{Value, json};

checks! {
    "a pod is scheduled, runs and gets an address" => runs (Nodes),
    "a pod that no node suits stays pending and says why" => unschedulable (Nodes),
    "a running pod's log is read" => log (Nodes),
    "a running pod ends within its grace period" => ends (Nodes),
    "a deployment becomes available" => deployment_available (Nodes),
    "a deployment's endpoints are those of its pods" => endpoints (Nodes),
    "a daemon set has a pod on each node that suits" => daemon_set (Nodes),
    "an eviction of a running pod counts against its budget" => budget (Nodes),
}

/// A pod that runs until it is told to end.
fn running(scope: &Scope<'_>, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [{"name": "main", "image": scope.image(), "imagePullPolicy": "IfNotPresent"}],
        },
    })
}

async fn run(scope: &Scope<'_>, name: &str) -> Result<Value, String> {
    scope.account().await?;
    scope.create(&running(scope, name)).await?;
    let path = scope.at("v1", "pods", name);
    eventually("the pod is ready", || async { Ok(is_ready(&scope.get(&path).ok().await?)) }).await?;
    scope.get(path).ok().await
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

async fn runs(scope: &Scope<'_>) -> Outcome {
    let pod = run(scope, "a").await?;
    equal_all(
        &pod,
        [
            ("/status/phase", json!("Running")),
            ("/status/containerStatuses/0/ready", json!(true)),
            ("/status/containerStatuses/0/restartCount", json!(0)),
        ],
    )?;
    text(&pod, "/spec/nodeName")?;
    text(&pod, "/status/containerStatuses/0/state/running/startedAt")?;
    let address = text(&pod, "/status/podIP")?;
    ensure(address.parse::<std::net::IpAddr>().is_ok(), || format!("the address is {address:?}"))
}

async fn unschedulable(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let mut object = running(scope, "a");
    object["spec"]["nodeSelector"] = json!({"conformance.example.com/no": "such-node"});
    scope.create(&object).await?;
    let path = scope.at("v1", "pods", "a");
    eventually("the scheduler says why", || async {
        let pod = scope.get(&path).ok().await?;
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        Ok(conditions.iter().any(|one| {
            let message = one["message"].as_str().unwrap_or_default();
            one["type"] == "PodScheduled"
                && one["reason"] == "Unschedulable"
                && message.contains("nodes are available")
        }))
    })
    .await
}

async fn log(scope: &Scope<'_>) -> Outcome {
    run(scope, "a").await?;
    let path = format!("{}/log", scope.at("v1", "pods", "a"));
    let answer = scope.get(&path).query("tailLines", 1).answers_ok().await?;
    ensure(answer.content_type().starts_with("text/plain"), || answer.content_type().to_owned())?;
    ensure(answer.text().lines().count() <= 1, || answer.text())?;
    scope.get(path).query("container", "absent").refused(400, "BadRequest").await.map(drop)
}

async fn ends(scope: &Scope<'_>) -> Outcome {
    run(scope, "a").await?;
    let path = scope.at("v1", "pods", "a");
    let marked = scope.delete(&path).ok().await?;
    equal(&marked, "/metadata/deletionGracePeriodSeconds", json!(5))?;
    scope.gone(&path).await
}

/// A deployment of two pods that run.
async fn two(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let mut object = deployment("a");
    object["spec"]["replicas"] = json!(2);
    object["spec"]["template"]["spec"] = running(scope, "a")["spec"].clone();
    object["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80}]);
    scope.create(&object).await?;
    let path = scope.deployment("a");
    eventually("both are available", || async {
        Ok(scope.get(&path).ok().await?["status"]["availableReplicas"] == 2)
    })
    .await
}

async fn deployment_available(scope: &Scope<'_>) -> Outcome {
    two(scope).await?;
    let made = scope.get(scope.deployment("a")).ok().await?;
    let conditions = made["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let available = conditions.iter().any(|one| one["type"] == "Available" && one["status"] == "True");
    ensure(available, || format!("its conditions are {conditions:?}"))?;
    equal(&made, "/status/observedGeneration", made["metadata"]["generation"].clone())
}

async fn endpoints(scope: &Scope<'_>) -> Outcome {
    scope.create(&service("a", json!([{"port": 80}]))).await?;
    two(scope).await?;
    let slices = scope.all("discovery.k8s.io/v1", "endpointslices");
    eventually("both pods are endpoints", || async {
        let list = scope.get(&slices).query("labelSelector", "kubernetes.io/service-name=a").ok().await?;
        let endpoints = list["items"][0]["endpoints"].as_array().cloned().unwrap_or_default();
        Ok(endpoints.len() == 2 && endpoints.iter().all(|one| one["conditions"]["ready"] == true))
    })
    .await
}

async fn daemon_set(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let mut object = deployment("a");
    object["kind"] = json!("DaemonSet");
    object["spec"].as_object_mut().ok_or("no spec")?.remove("replicas");
    object["spec"]["template"]["spec"] = running(scope, "a")["spec"].clone();
    object["spec"]["template"]["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    scope.create(&object).await?;
    let nodes = scope.get("/api/v1/nodes").ok().await?;
    let count = nodes["items"].as_array().map_or(0, Vec::len);
    let path = scope.at("apps/v1", "daemonsets", "a");
    eventually("there is one on each node", || async {
        let status = scope.get(&path).ok().await?["status"].clone();
        Ok(status["numberReady"] == count && status["desiredNumberScheduled"] == count)
    })
    .await
}

async fn budget(scope: &Scope<'_>) -> Outcome {
    two(scope).await?;
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "a"}}},
    });
    scope.create(&budget).await?;
    let path = scope.at("policy/v1", "poddisruptionbudgets", "a");
    eventually("the budget counts both", || async {
        Ok(scope.get(&path).ok().await?["status"]["currentHealthy"] == 2)
    })
    .await?;
    let pods = scope.get(scope.all("v1", "pods")).query("labelSelector", "app=a").ok().await?;
    let name = names(&pods).into_iter().next().ok_or("there is no pod")?;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    let evict = format!("{}/eviction", scope.at("v1", "pods", &name));
    scope.post(&evict, &eviction).refused(429, "TooManyRequests").await?;
    scope.merge(&path, &json!({"spec": {"minAvailable": 1}})).ok().await?;
    eventually("one may go", || async {
        Ok(scope.get(&path).ok().await?["status"]["disruptionsAllowed"] == 1)
    })
    .await?;
    scope.post(evict, &eviction).ok().await?;
    scope.gone(&scope.at("v1", "pods", &name)).await
}

//! Quotas, limit ranges and Pod Security.

use super::{
    check::checks,
    expect::*,
    scope::{Scope, eventually},
};
use crate::conformance::{Outcome, ensure};
use serde_json::{Value, json};

checks! {
    "a quota counts what there is" => quota_counts,
    "a quota refuses what exceeds it" => quota_refuses,
    "a quota counts objects of any kind" => quota_objects,
    "a quota of CPU demands that pods say what they want" => quota_demands,
    "a deletion frees the quota" => quota_freed,
    "a limit range gives defaults to containers" => range_defaults,
    "a limit range refuses what is beyond it" => range_refuses,
    "a limit range bounds claims" => range_claims,
    "Pod Security restricted refuses a privileged pod" => restricted_refuses,
    "Pod Security restricted takes a careful pod" => restricted_takes,
    "Pod Security baseline refuses the host's namespaces" => baseline,
    "Pod Security warns of templates" => security_warns,
    "an unknown priority class is refused" => priority,
    "a pod of an unknown account is refused" => account_missing,
}

/// A quota that the server enforces. That its status is written is not enough: admission learns of it by a watch, and what it admits before is
/// not counted. So the quota has a limit of none too, which is seen to refuse.
async fn quota(scope: &Scope<'_>, mut hard: Value) -> Outcome {
    hard["count/leases.coordination.k8s.io"] = json!("0");
    let object = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": {"hard": hard},
    });
    scope.create(&object).await?;
    let path = scope.at("v1", "resourcequotas", "quota");
    eventually("the quota is counted", || async {
        Ok(scope.get(&path).ok().await?["status"]["hard"] == hard)
    })
    .await?;
    let lease =
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "none"}});
    let request = || scope.post(scope.home(&lease), &lease).dry();
    eventually("the quota is enforced", || async { Ok(request().send().await?.code == 403) }).await
}

async fn used(scope: &Scope<'_>, name: &str, wanted: &str) -> Outcome {
    let path = scope.at("v1", "resourcequotas", "quota");
    eventually(&format!("{name} is used {wanted} times"), || async {
        Ok(scope.get(&path).ok().await?["status"]["used"][name] == wanted)
    })
    .await
}

async fn quota_counts(scope: &Scope<'_>) -> Outcome {
    scope.create(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "before"}})).await?;
    quota(scope, json!({"secrets": "3"})).await?;
    used(scope, "secrets", "1").await?;
    scope.create(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "after"}})).await?;
    used(scope, "secrets", "2").await
}

async fn quota_refuses(scope: &Scope<'_>) -> Outcome {
    quota(scope, json!({"secrets": "1"})).await?;
    scope.create(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})).await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}});
    let status = scope.post(scope.home(&secret), &secret).refused(403, "Forbidden").await?;
    let message = "secrets \"b\" is forbidden: exceeded quota: quota, requested: secrets=1, used: secrets=1, limited: secrets=1";
    equal(&status, "/message", json!(message))
}

async fn quota_objects(scope: &Scope<'_>) -> Outcome {
    quota(scope, json!({"count/deployments.apps": "1"})).await?;
    scope.create(&deployment("a")).await?;
    let other = deployment("b");
    let status = scope.post(scope.home(&other), &other).refused(403, "Forbidden").await?;
    says(&status, "exceeded quota: quota, requested: count/deployments.apps=1")
}

async fn quota_demands(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    quota(scope, json!({"requests.cpu": "1"})).await?;
    let pods = scope.all("v1", "pods");
    let status = scope.post(&pods, &pod("a")).refused(403, "Forbidden").await?;
    says(&status, "failed quota: quota: must specify requests.cpu for: main")?;
    let mut asking = pod("b");
    asking["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "700m"}});
    scope.create(&asking).await?;
    asking["metadata"]["name"] = json!("c");
    let status = scope.post(&pods, &asking).refused(403, "Forbidden").await?;
    says(
        &status,
        "exceeded quota: quota, requested: requests.cpu=700m, used: requests.cpu=700m, limited: requests.cpu=1",
    )
}

async fn quota_freed(scope: &Scope<'_>) -> Outcome {
    quota(scope, json!({"secrets": "1"})).await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    scope.create(&secret).await?;
    used(scope, "secrets", "1").await?;
    scope.delete(scope.at("v1", "secrets", "a")).ok().await?;
    used(scope, "secrets", "0").await?;
    scope.create(&secret).await.map(drop)
}

async fn range(scope: &Scope<'_>, limit: Value) -> Outcome {
    let object = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "range"}, "spec": {"limits": [limit]},
    });
    scope.create(&object).await.map(drop)
}

async fn range_defaults(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let limit = json!({"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}});
    range(scope, limit).await?;
    // The real server learns of limit ranges by a watch.
    eventually("the defaults are given", || async {
        let dry = scope.post(scope.all("v1", "pods"), &pod("a")).dry().ok().await?;
        let resources = &dry["spec"]["containers"][0]["resources"];
        Ok(*resources == json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}}))
    })
    .await
}

async fn range_refuses(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    range(scope, json!({"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "100m"}})).await?;
    let mut object = pod("a");
    object["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "2"}, "requests": {"cpu": "50m"}});
    let request = || scope.post(scope.all("v1", "pods"), &object).dry();
    eventually("it is refused", || async { Ok(request().send().await?.code == 403) }).await?;
    let status = request().refused(403, "Forbidden").await?;
    says(&status, "maximum cpu usage per Container is 1, but limit is 2")?;
    says(&status, "minimum cpu usage per Container is 100m, but request is 50m")
}

async fn range_claims(scope: &Scope<'_>) -> Outcome {
    range(scope, json!({"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}})).await?;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "conformance-none",
            "resources": {"requests": {"storage": "3Gi"}},
        },
    });
    let request = || scope.post(scope.home(&claim), &claim).dry();
    eventually("it is refused", || async { Ok(request().send().await?.code == 403) }).await?;
    let status = request().refused(403, "Forbidden").await?;
    says(&status, "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi")
}

/// A namespace in which Pod Security enforces `level`; answers with the path of its pods.
async fn secured(scope: &Scope<'_>, label: &str, level: &str) -> Result<String, String> {
    let name = format!("{}-secured", scope.name);
    scope.namespace(&name, &json!({format!("pod-security.kubernetes.io/{label}"): level})).await?;
    let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
    eventually("the account is there", || scope.exists(&account)).await?;
    Ok(name)
}

async fn restricted_refuses(scope: &Scope<'_>) -> Outcome {
    let name = secured(scope, "enforce", "restricted").await?;
    let mut object = pod("a");
    object["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let request = scope.post(format!("/api/v1/namespaces/{name}/pods"), &object);
    let status = request.refused(403, "Forbidden").await?;
    says(
        &status,
        "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": privileged (container \"main\" must not set \
                   securityContext.privileged=true), allowPrivilegeEscalation != false",
    )?;
    says(&status, "runAsNonRoot != true")?;
    says(&status, "seccompProfile")
}

async fn restricted_takes(scope: &Scope<'_>) -> Outcome {
    let name = secured(scope, "enforce", "restricted").await?;
    let mut object = pod("a");
    object["spec"]["securityContext"] =
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    object["spec"]["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    scope.post(format!("/api/v1/namespaces/{name}/pods"), &object).ok().await.map(drop)
}

async fn baseline(scope: &Scope<'_>) -> Outcome {
    let name = secured(scope, "enforce", "baseline").await?;
    let pods = format!("/api/v1/namespaces/{name}/pods");
    let mut object = pod("a");
    object["spec"]["hostNetwork"] = json!(true);
    let status = scope.post(&pods, &object).refused(403, "Forbidden").await?;
    says(&status, "violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)")?;
    scope.post(pods, &pod("b")).ok().await.map(drop)
}

async fn security_warns(scope: &Scope<'_>) -> Outcome {
    let name = secured(scope, "warn", "restricted").await?;
    let request = scope.post(format!("/apis/apps/v1/namespaces/{name}/deployments"), &deployment("a"));
    let warnings = request.answers_ok().await?.warnings();
    let found =
        warnings.iter().any(|one| one.contains("would violate PodSecurity \\\"restricted:latest\\\""));
    ensure(found, || format!("the warnings are {warnings:?}"))
}

async fn priority(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let mut object = pod("a");
    object["spec"]["priorityClassName"] = json!("conformance-none");
    let status = scope.post(scope.home(&object), &object).refused(403, "Forbidden").await?;
    says(&status, "no PriorityClass with name conformance-none was found")
}

async fn account_missing(scope: &Scope<'_>) -> Outcome {
    let mut object = pod("a");
    object["spec"]["serviceAccountName"] = json!("absent");
    let status = scope.post(scope.home(&object), &object).refused(403, "Forbidden").await?;
    says(&status, "error looking up service account")?;
    says(&status, "serviceaccount \"absent\" not found")
}

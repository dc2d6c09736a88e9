//! What a server says of itself.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::{Outcome, ensure};
use serde_json::{Value, json};

checks! {
    "the version has major, minor and gitVersion" => version,
    "the server says that it is ready and alive" => ready,
    "the core group lists its versions" => core_versions,
    "the groups are listed with their preferred versions" => groups,
    "one group is described by itself" => one_group,
    "resources of the core group have names, kinds, scopes and verbs" => core_resources,
    "resources of apps have their subresources" => apps_resources,
    "aggregated discovery has every group in one answer" => aggregated,
    "aggregated discovery of the core group has subresources" => aggregated_core,
    "OpenAPI v3 lists a document for each group version" => openapi_index,
    "OpenAPI v3 describes deployments as kubectl explain reads them" => openapi_deployments,
    "OpenAPI v3 says that patches take fieldValidation" => openapi_patch,
    "an unknown group is not found" => unknown_group,
}

async fn version(scope: &Scope<'_>) -> Outcome {
    let version = scope.get("/version").ok().await?;
    equal(&version, "/major", json!("1"))?;
    let minor = text(&version, "/minor")?;
    ensure(minor.trim_end_matches('+').parse::<u32>().is_ok(), || format!("minor is {minor:?}"))?;
    let git = text(&version, "/gitVersion")?;
    ensure(git.starts_with("v1."), || format!("gitVersion is {git:?}"))
}

async fn ready(scope: &Scope<'_>) -> Outcome {
    for path in ["/readyz", "/livez", "/healthz"] {
        let answer = scope.get(path).answers_ok().await?;
        ensure(answer.text() == "ok", || format!("{path} says {:?}", answer.text()))?;
    }
    Ok(())
}

async fn core_versions(scope: &Scope<'_>) -> Outcome {
    let versions = scope.get("/api").ok().await?;
    equal_all(&versions, [("/kind", json!("APIVersions")), ("/versions", json!(["v1"]))])
}

async fn groups(scope: &Scope<'_>) -> Outcome {
    let list = scope.get("/apis").ok().await?;
    equal(&list, "/kind", json!("APIGroupList"))?;
    let groups = list["groups"].as_array().cloned().unwrap_or_default();
    for (name, preferred) in [
        ("apps", "apps/v1"),
        ("batch", "batch/v1"),
        ("rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1"),
        ("apiextensions.k8s.io", "apiextensions.k8s.io/v1"),
        ("admissionregistration.k8s.io", "admissionregistration.k8s.io/v1"),
        ("policy", "policy/v1"),
    ] {
        let group = groups.iter().find(|group| group["name"] == name).ok_or(format!("there is no {name}"))?;
        equal(group, "/preferredVersion/groupVersion", json!(preferred))?;
    }
    Ok(())
}

async fn one_group(scope: &Scope<'_>) -> Outcome {
    let group = scope.get("/apis/apps").ok().await?;
    equal_all(&group, [("/kind", json!("APIGroup")), ("/name", json!("apps"))])?;
    equal(&group, "/versions/0", json!({"groupVersion": "apps/v1", "version": "v1"}))
}

fn resource<'a>(list: &'a Value, name: &str) -> Result<&'a Value, String> {
    let resources = list["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    resources.iter().find(|resource| resource["name"] == name).ok_or(format!("there is no {name}"))
}

fn has_verbs(resource: &Value, wanted: &[&str]) -> Outcome {
    let verbs = resource["verbs"].as_array().cloned().unwrap_or_default();
    let missing: Vec<_> = wanted.iter().filter(|verb| !verbs.contains(&json!(verb))).collect();
    ensure(missing.is_empty(), || format!("{} lacks the verbs {missing:?}", resource["name"]))
}

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

async fn core_resources(scope: &Scope<'_>) -> Outcome {
    let list = scope.get("/api/v1").ok().await?;
    equal_all(&list, [("/kind", json!("APIResourceList")), ("/groupVersion", json!("v1"))])?;
    let pods = resource(&list, "pods")?;
    equal_all(
        pods,
        [
            ("/kind", json!("Pod")),
            ("/namespaced", json!(true)),
            ("/singularName", json!("pod")),
            ("/shortNames", json!(["po"])),
            ("/categories", json!(["all"])),
        ],
    )?;
    has_verbs(pods, ALL)?;
    equal(resource(&list, "namespaces")?, "/namespaced", json!(false))?;
    has_verbs(resource(&list, "pods/log")?, &["get"])?;
    let eviction = resource(&list, "pods/eviction")?;
    equal_all(eviction, [("/kind", json!("Eviction")), ("/group", json!("policy"))])?;
    resource(&list, "serviceaccounts/token").map(drop)
}

async fn apps_resources(scope: &Scope<'_>) -> Outcome {
    let list = scope.get("/apis/apps/v1").ok().await?;
    has_verbs(resource(&list, "deployments")?, ALL)?;
    has_verbs(resource(&list, "deployments/status")?, &["get", "patch", "update"])?;
    let scale = resource(&list, "deployments/scale")?;
    equal_all(scale, [("/kind", json!("Scale")), ("/group", json!("autoscaling")), ("/version", json!("v1"))])
}

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

async fn aggregated(scope: &Scope<'_>) -> Outcome {
    let answer = scope.get("/apis").header("accept", AGGREGATED).answers_ok().await?;
    let kind = answer.content_type();
    ensure(kind.contains("as=APIGroupDiscoveryList"), || format!("the content type is {kind:?}"))?;
    equal_all(
        &answer.body,
        [("/kind", json!("APIGroupDiscoveryList")), ("/apiVersion", json!("apidiscovery.k8s.io/v2"))],
    )?;
    let items = answer.body["items"].as_array().cloned().unwrap_or_default();
    let apps = items.iter().find(|item| item["metadata"]["name"] == "apps").ok_or("there is no apps")?;
    let resources = apps["versions"][0]["resources"].as_array().cloned().unwrap_or_default();
    let deployments =
        resources.iter().find(|resource| resource["resource"] == "deployments").ok_or("no deployments")?;
    equal_all(
        deployments,
        [
            ("/scope", json!("Namespaced")),
            ("/singularResource", json!("deployment")),
            ("/responseKind/kind", json!("Deployment")),
        ],
    )?;
    has_verbs(deployments, ALL)
}

async fn aggregated_core(scope: &Scope<'_>) -> Outcome {
    let list = scope.get("/api").header("accept", AGGREGATED).ok().await?;
    let resources = list["items"][0]["versions"][0]["resources"].as_array().cloned().unwrap_or_default();
    let pods = resources.iter().find(|resource| resource["resource"] == "pods").ok_or("no pods")?;
    let subresources = pods["subresources"].as_array().cloned().unwrap_or_default();
    for wanted in ["status", "log", "eviction", "binding"] {
        let found = subresources.iter().any(|one| one["subresource"] == wanted);
        ensure(found, || format!("pods have no {wanted}"))?;
    }
    Ok(())
}

async fn document(scope: &Scope<'_>, path: &str) -> Result<Value, String> {
    let index = scope.get("/openapi/v3").ok().await?;
    let url = index["paths"][path]["serverRelativeURL"].as_str().ok_or(format!("no document of {path}"))?;
    scope.get(url).ok().await
}

async fn openapi_index(scope: &Scope<'_>) -> Outcome {
    let index = scope.get("/openapi/v3").ok().await?;
    for path in ["api/v1", "apis/apps/v1", "apis/batch/v1", "apis/policy/v1"] {
        let url = index["paths"][path]["serverRelativeURL"].as_str().unwrap_or_default();
        ensure(url.starts_with(&format!("/openapi/v3/{path}")), || format!("{path} is at {url:?}"))?;
    }
    Ok(())
}

/// The schema that a `$ref` names, alone or as the only one of an `allOf`.
fn referred<'a>(document: &'a Value, schema: &Value) -> Result<&'a Value, String> {
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    let reference = reference.ok_or_else(|| format!("no reference in {schema}"))?;
    document.pointer(reference.trim_start_matches('#')).ok_or_else(|| format!("{reference} leads nowhere"))
}

async fn openapi_deployments(scope: &Scope<'_>) -> Outcome {
    let document = document(scope, "apis/apps/v1").await?;
    let schemas = document["components"]["schemas"].as_object().ok_or("no schemas")?;
    let kind = json!({"group": "apps", "kind": "Deployment", "version": "v1"});
    let is_kind = |schema: &&Value| {
        schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| kinds.contains(&kind))
    };
    let schema = schemas.values().find(is_kind).ok_or("no schema of Deployment")?;
    let spec = referred(&document, &schema["properties"]["spec"])?;
    let replicas = &spec["properties"]["replicas"];
    equal_all(replicas, [("/type", json!("integer")), ("/format", json!("int32"))])?;
    let description = text(replicas, "/description")?;
    ensure(description.contains("desired pods"), || format!("replicas are {description:?}"))?;
    let template = referred(&document, &spec["properties"]["template"])?;
    let pod = referred(&document, &template["properties"]["spec"])?;
    equal_all(
        &pod["properties"]["containers"],
        [("/type", json!("array")), ("/x-kubernetes-patch-merge-key", json!("name"))],
    )
}

async fn openapi_patch(scope: &Scope<'_>) -> Outcome {
    let document = document(scope, "apis/apps/v1").await?;
    let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    let patch = &document["paths"][path]["patch"];
    let parameters = patch["parameters"].as_array().cloned().unwrap_or_default();
    let found = parameters.iter().any(|parameter| parameter["name"] == "fieldValidation");
    ensure(found, || format!("the parameters are {parameters:?}"))?;
    let kind = json!({"group": "apps", "kind": "Deployment", "version": "v1"});
    equal(patch, "/x-kubernetes-group-version-kind", kind)
}

async fn unknown_group(scope: &Scope<'_>) -> Outcome {
    for path in ["/apis/unknown.example.com", "/apis/apps/v9"] {
        let answer = scope.get(path).send().await?;
        ensure(answer.code == 404, || format!("{path} is answered with {}", answer.code))?;
    }
    Ok(())
}

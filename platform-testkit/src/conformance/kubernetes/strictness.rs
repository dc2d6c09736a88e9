//! Strict field validation, and warnings.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::{Outcome, ensure};
use serde_json::json;

checks! {
    "an unknown field is refused where the client is strict" => unknown,
    "a field that stands twice is refused where the client is strict" => duplicate,
    "an unknown field is dropped with a warning by default" => warned,
    "an unknown field is dropped in silence where the client wants that" => ignored,
    "every unknown field is named" => several,
    "updates and patches are strict too" => updates,
    "an unknown value of fieldValidation is refused" => unknown_mode,
    "a deprecated API warns" => deprecated,
    "an API that is not deprecated does not warn" => quiet,
}

async fn unknown(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["replica"] = json!(1);
    let request = scope.post(scope.home(&object), &object).query("fieldValidation", "Strict");
    let status = request.refused(400, "BadRequest").await?;
    says(&status, "strict decoding error: unknown field \"spec.replica\"")
}

async fn duplicate(scope: &Scope<'_>) -> Outcome {
    let text = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"1","a":"2"}}"#;
    let request =
        scope.request(http::Method::POST, scope.all("v1", "configmaps")).body("application/json", text);
    let status = request.clone().query("fieldValidation", "Strict").refused(400, "BadRequest").await?;
    says(&status, "strict decoding error: duplicate field \"data.a\"")?;
    let warned = request.answers_ok().await?;
    ensure(warned.warnings().iter().any(|one| one.contains("duplicate field")), || {
        format!("{:?}", warned.warnings())
    })?;
    equal(&warned.body, "/data/a", json!("2"))
}

async fn warned(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["replica"] = json!(1);
    let answer = scope.post(scope.home(&object), &object).answers_ok().await?;
    let warnings = answer.warnings();
    let found = warnings.iter().any(|one| one == "299 - \"unknown field \\\"spec.replica\\\"\"");
    ensure(found, || format!("the warnings are {warnings:?}"))?;
    absent(&answer.body, "/spec/replica")
}

async fn ignored(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["replica"] = json!(1);
    let request = scope.post(scope.home(&object), &object).query("fieldValidation", "Ignore");
    let answer = request.answers_ok().await?;
    ensure(answer.warnings().is_empty(), || format!("the warnings are {:?}", answer.warnings()))?;
    absent(&answer.body, "/spec/replica")
}

async fn several(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["replica"] = json!(1);
    object["spec"]["template"]["spec"]["containers"][0]["imagee"] = json!("x");
    let request = scope.post(scope.home(&object), &object).query("fieldValidation", "Strict");
    let status = request.refused(400, "BadRequest").await?;
    says(&status, "unknown field \"spec.replica\"")?;
    says(&status, "unknown field \"spec.template.spec.containers[0].imagee\"")
}

async fn updates(scope: &Scope<'_>) -> Outcome {
    let mut object = scope.create(&deployment("a")).await?;
    let patch = json!({"spec": {"replica": 1}});
    let path = scope.deployment("a");
    for request in [scope.merge(&path, &patch), scope.strategic(&path, &patch)] {
        let answer = request.query("fieldValidation", "Strict").send().await?;
        let refused = answer.code == 400 || answer.code == 422;
        ensure(refused && answer.text().contains("unknown field"), || {
            format!("a patch is answered {}", answer.text())
        })?;
    }
    object["spec"]["replica"] = json!(1);
    let status =
        scope.put(&path, &object).query("fieldValidation", "Strict").refused(400, "BadRequest").await?;
    says(&status, "unknown field \"spec.replica\"")
}

async fn unknown_mode(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({}));
    let request = scope.post(scope.home(&map), &map).query("fieldValidation", "Sometimes");
    let status = request.refused(422, "Invalid").await?;
    blames(&status, "fieldValidation", "FieldValueNotSupported")
}

async fn deprecated(scope: &Scope<'_>) -> Outcome {
    let answer = scope
        .get(scope.all("v1", "componentstatuses").replace(&format!("/namespaces/{}", scope.name), ""))
        .send()
        .await?;
    let endpoints = scope.get(scope.all("v1", "endpoints")).answers_ok().await?;
    let found = endpoints.warnings().iter().any(|one| one.contains("v1 Endpoints is deprecated in v1.33+"));
    ensure(found, || format!("the warnings are {:?} and {:?}", endpoints.warnings(), answer.warnings()))
}

async fn quiet(scope: &Scope<'_>) -> Outcome {
    let answer = scope.get(scope.all("discovery.k8s.io/v1", "endpointslices")).answers_ok().await?;
    ensure(answer.warnings().is_empty(), || format!("the warnings are {:?}", answer.warnings()))
}

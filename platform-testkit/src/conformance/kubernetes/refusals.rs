//! How requests are refused that make no sense.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::{Outcome, ensure};
use serde_json::json;

checks! {
    "an unknown resource is not found" => unknown_resource,
    "a method that a collection lacks is not allowed" => method,
    "a form that nobody has is not acceptable" => not_acceptable,
    "a body of an unknown type is not supported" => content_type,
    "a body that is no JSON is refused" => malformed,
    "an empty body is refused" => empty,
    "a config map of 1 MiB is taken and no larger one" => large,
    "a body of more than 3 MiB is too large" => too_large,
    "an unknown subresource is not found" => unknown_subresource,
    "a namespaced kind is not created outside of a namespace" => outside,
    "an answer in YAML is given to who asks for it" => yaml,
}

async fn unknown_resource(scope: &Scope<'_>) -> Outcome {
    let answer = scope.get(scope.all("v1", "gadgets")).send().await?;
    ensure(answer.code == 404, || format!("the code is {}", answer.code))?;
    let status = scope.get(scope.all("apps/v1", "gadgets")).refused(404, "NotFound").await?;
    equal(&status, "/message", json!("the server could not find the requested resource"))
}

async fn method(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({}));
    let status = scope.put(scope.all("v1", "configmaps"), &map).refused(405, "MethodNotAllowed").await?;
    equal(&status, "/message", json!("the server does not allow this method on the requested resource"))?;
    scope.post(scope.map("a"), &map).refused(405, "MethodNotAllowed").await.map(drop)
}

async fn not_acceptable(scope: &Scope<'_>) -> Outcome {
    let request = scope.get(scope.all("v1", "configmaps")).header("accept", "text/html");
    let status = request.refused(406, "NotAcceptable").await?;
    says(&status, "only the following media types are accepted: application/json")
}

async fn content_type(scope: &Scope<'_>) -> Outcome {
    let request = scope.request(http::Method::POST, scope.all("v1", "configmaps")).body("text/plain", "x");
    let status = request.refused(415, "UnsupportedMediaType").await?;
    says(
        &status,
        "the body of the request was in an unknown format - accepted media types include: application/json",
    )
}

async fn malformed(scope: &Scope<'_>) -> Outcome {
    let maps = scope.all("v1", "configmaps");
    for body in ["{", "[]", "nothing"] {
        let request = scope.request(http::Method::POST, &maps).body("application/json", body);
        request.refused(400, "BadRequest").await?;
    }
    Ok(())
}

async fn empty(scope: &Scope<'_>) -> Outcome {
    let request =
        scope.request(http::Method::POST, scope.all("v1", "configmaps")).body("application/json", "");
    request.refused(400, "BadRequest").await.map(drop)
}

async fn large(scope: &Scope<'_>) -> Outcome {
    // A config map's own limit is 1 MiB.
    let status = {
        let map = config_map("a", json!({"a": "x".repeat(1024 * 1024 + 1)}));
        scope.post(scope.home(&map), &map).refused(422, "Invalid").await?
    };
    blames(&status, "", "FieldValueTooLong")?;
    let map = config_map("b", json!({"a": "x".repeat(1024 * 1024 - 1)}));
    scope.create(&map).await.map(drop)
}

async fn too_large(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({"a": "x".repeat(3 * 1024 * 1024 + 1)}));
    let status = scope.post(scope.home(&map), &map).refused(413, "RequestEntityTooLarge").await?;
    says(&status, "limit is 3145728")
}

async fn unknown_subresource(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({}))).await?;
    let status = scope.get(format!("{}/status", scope.map("a"))).refused(404, "NotFound").await?;
    equal(&status, "/message", json!("the server could not find the requested resource"))
}

async fn outside(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({}));
    let status = scope.post("/api/v1/configmaps", &map).refused(405, "MethodNotAllowed").await;
    let other = scope.post("/apis/apps/v1/deployments", &deployment("a")).send().await?;
    ensure(other.code >= 400, || format!("a deployment outside is answered with {}", other.code))?;
    status.map(drop)
}

async fn yaml(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({"key": "value"}))).await?;
    let answer = scope.get(scope.map("a")).header("accept", "application/yaml").answers_ok().await?;
    let text = answer.text();
    ensure(answer.content_type().starts_with("application/yaml"), || answer.content_type().to_owned())?;
    ensure(text.contains("kind: ConfigMap") && text.contains("  key: value"), || text.clone())
}

//! Tokens of service accounts.

use super::{
    check::checks,
    expect::*,
    scope::{Scope, eventually},
};
use crate::conformance::{Outcome, ensure, ensure_eq};
use serde_json::{Value, json};

checks! {
    "a token is given for an account, with an end" => requested,
    "a token lives at least ten minutes" => short,
    "a token review tells who shows it" => reviewed,
    "a token review of another audience does not know it" => audience,
    "a token that nobody gave is not known" => garbage,
    "a token acts as its account" => acts (Stranger),
    "a token that nobody gave is refused" => unauthorized (Stranger),
    "who shows nothing is anonymous or refused" => anonymous (Anonymity),
    "a token bound to a pod ends with it" => bound,
    "a token of a deleted account ends" => deleted_account,
    "a token for an absent account is not found" => absent_account,
}

async fn requested_for(scope: &Scope<'_>, spec: Value) -> Result<Value, String> {
    let path = format!("{}/token", scope.at("v1", "serviceaccounts", "robot"));
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    scope.post(path, &request).ok().await
}

async fn token(scope: &Scope<'_>) -> Result<String, String> {
    scope.create(&account("robot")).await?;
    let answer = requested_for(scope, json!({"expirationSeconds": 3600})).await?;
    Ok(text(&answer, "/status/token")?.to_owned())
}

async fn review(scope: &Scope<'_>, token: &str, audiences: Value) -> Result<Value, String> {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": audiences},
    });
    let answer = scope.post("/apis/authentication.k8s.io/v1/tokenreviews", &review).ok().await?;
    Ok(answer["status"].clone())
}

async fn requested(scope: &Scope<'_>) -> Outcome {
    scope.create(&account("robot")).await?;
    let answer = requested_for(scope, json!({"expirationSeconds": 3600})).await?;
    equal_all(&answer, [("/kind", json!("TokenRequest")), ("/spec/expirationSeconds", json!(3600))])?;
    ensure_eq(&text(&answer, "/status/token")?.split('.').count(), &3, "the parts of the token")?;
    text(&answer, "/status/expirationTimestamp").map(drop)
}

async fn short(scope: &Scope<'_>) -> Outcome {
    scope.create(&account("robot")).await?;
    let path = format!("{}/token", scope.at("v1", "serviceaccounts", "robot"));
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 60},
    });
    let status = scope.post(path, &request).refused(422, "Invalid").await?;
    blames(&status, "spec.expirationSeconds", "FieldValueInvalid")?;
    says(&status, "may not specify a duration less than 10 minutes")
}

async fn reviewed(scope: &Scope<'_>) -> Outcome {
    let token = token(scope).await?;
    let status = review(scope, &token, Value::Null).await?;
    let groups = json!([
        "system:serviceaccounts",
        format!("system:serviceaccounts:{}", scope.name),
        "system:authenticated"
    ]);
    equal_all(
        &status,
        [
            ("/authenticated", json!(true)),
            ("/user/username", json!(format!("system:serviceaccount:{}:robot", scope.name))),
            ("/user/groups", groups),
        ],
    )
}

async fn audience(scope: &Scope<'_>) -> Outcome {
    let token = token(scope).await?;
    let status = review(scope, &token, json!(["another"])).await?;
    ensure(status["authenticated"] != true, || format!("it is known: {status}"))?;
    let answer = requested_for(scope, json!({"audiences": ["another"]})).await?;
    let status = review(scope, text(&answer, "/status/token")?, json!(["another"])).await?;
    equal_all(&status, [("/authenticated", json!(true)), ("/audiences", json!(["another"]))])
}

async fn garbage(scope: &Scope<'_>) -> Outcome {
    for token in ["nonsense", "a.b.c"] {
        let status = review(scope, token, Value::Null).await?;
        ensure(status["authenticated"] != true, || format!("{token} is known: {status}"))?;
        text(&status, "/error")?;
    }
    Ok(())
}

async fn acts(scope: &Scope<'_>) -> Outcome {
    let token = token(scope).await?;
    let robot = scope.bearer(Some(&token))?;
    let object = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = robot.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &object).ok().await?;
    let name = format!("system:serviceaccount:{}:robot", scope.name);
    equal(&answer, "/status/userInfo/username", json!(name))?;
    let status = robot.get(scope.all("v1", "secrets")).refused(403, "Forbidden").await?;
    says(&status, &format!("User \"{name}\" cannot list resource \"secrets\""))
}

async fn unauthorized(scope: &Scope<'_>) -> Outcome {
    let token = token(scope).await?;
    let mut forged = token.clone();
    forged.truncate(token.len() - 8);
    for token in ["nonsense", &forged] {
        let status =
            scope.bearer(Some(token))?.get("/api/v1/namespaces").refused(401, "Unauthorized").await?;
        equal(&status, "/message", json!("Unauthorized"))?;
    }
    Ok(())
}

async fn anonymous(scope: &Scope<'_>) -> Outcome {
    let answer = scope.bearer(None)?.get(scope.all("v1", "secrets")).send().await?;
    let anonymous = answer.code == 403 && answer.text().contains("system:anonymous");
    ensure(anonymous || answer.code == 401, || format!("it is answered {} {}", answer.code, answer.text()))
}

async fn ends(scope: &Scope<'_>, token: &str) -> Outcome {
    eventually("the token ends", || async {
        Ok(review(scope, token, Value::Null).await?["authenticated"] != true)
    })
    .await
}

async fn bound(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    scope.create(&account("robot")).await?;
    let mut object = pod("a");
    object["spec"]["serviceAccountName"] = json!("robot");
    let made = scope.create(&object).await?;
    let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": made["metadata"]["uid"]});
    let answer = requested_for(scope, json!({"boundObjectRef": reference})).await?;
    let token = text(&answer, "/status/token")?;
    let status = review(scope, token, Value::Null).await?;
    equal_all(
        &status,
        [
            ("/authenticated", json!(true)),
            ("/user/extra/authentication.kubernetes.io~1pod-name", json!(["a"])),
        ],
    )?;
    scope.delete(scope.at("v1", "pods", "a")).ok().await?;
    ends(scope, token).await
}

async fn deleted_account(scope: &Scope<'_>) -> Outcome {
    let token = token(scope).await?;
    scope.delete(scope.at("v1", "serviceaccounts", "robot")).ok().await?;
    ends(scope, &token).await
}

async fn absent_account(scope: &Scope<'_>) -> Outcome {
    let path = format!("{}/token", scope.at("v1", "serviceaccounts", "absent"));
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    scope.post(path, &request).refused(404, "NotFound").await.map(drop)
}

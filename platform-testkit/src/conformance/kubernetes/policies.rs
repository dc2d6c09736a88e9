//! ValidatingAdmissionPolicy.

use super::{
    check::checks,
    definitions::Widgets,
    expect::*,
    request::Request,
    scope::{Scope, eventually},
};
use crate::conformance::{Outcome, ensure};
use serde_json::{Value, json};

checks! {
    "a policy denies with its message" => denies,
    "a policy denies with a message of its own making" => message_expression,
    "a policy without a binding does nothing" => unbound,
    "a binding that warns lets pass with a warning" => warns,
    "a policy compares with the parameters of its binding" => parameters,
    "a missing parameter denies where the binding says so" => missing_parameter,
    "match conditions leave out what does not match" => conditions,
    "a policy knows who asks" => request_user,
    "a policy sees the old object of an update" => old_object,
    "a policy forbids a dry deletion" => deletes,
    "a policy sees the namespace of the object" => namespace_object,
    "variables are evaluated" => variables,
    "an expression that fails denies by the failure policy" => failure,
    "a policy that does not compile is refused" => compilation,
}

const GROUP: &str = "admissionregistration.k8s.io/v1";

/// A policy on config maps of the scope's namespace.
struct Policy<'a> {
    scope: &'a Scope<'a>,
    spec: Value,
    binding: Value,
}

impl<'a> Policy<'a> {
    fn new(scope: &'a Scope<'a>, validations: Value) -> Self {
        let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]});
        let spec = json!({
            "failurePolicy": "Fail", "validations": validations, "matchConstraints": {"resourceRules": [rule]},
        });
        let selector = json!({"namespaceSelector": {"matchLabels": {"conformance": scope.name}}});
        let binding = json!({
            "policyName": scope.name, "validationActions": ["Deny"], "matchResources": selector,
        });
        Self { scope, spec, binding }
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self.spec[field] = value;
        self
    }

    fn bound(mut self, field: &str, value: Value) -> Self {
        self.binding[field] = value;
        self
    }

    fn policy(&self) -> Value {
        json!({
            "apiVersion": GROUP, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": self.scope.name},
            "spec": self.spec,
        })
    }

    async fn install(&self) -> Outcome {
        self.scope.create_global(&self.policy()).await?;
        let binding = json!({
            "apiVersion": GROUP, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": self.scope.name},
            "spec": self.binding,
        });
        self.scope.create_global(&binding).await.map(drop)
    }
}

/// Waits until the policy is in force, and answers with its refusal.
async fn denied(request: Request) -> Result<Value, String> {
    let probe = request.clone();
    eventually("the policy denies", || async { Ok(probe.clone().send().await?.code >= 400) }).await?;
    request.refused(422, "Invalid").await
}

fn creation(scope: &Scope<'_>, data: Value) -> Request {
    scope.post(scope.all("v1", "configmaps"), &config_map("a", data)).dry()
}

fn no_bad(message: &str) -> Value {
    json!([{"expression": "!has(object.data) || !('bad' in object.data)", "message": message}])
}

async fn denies(scope: &Scope<'_>) -> Outcome {
    Policy::new(scope, no_bad("bad is not allowed")).install().await?;
    let status = denied(creation(scope, json!({"bad": "1"}))).await?;
    let message = format!(
        "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy '{0}' with binding '{0}' denied request: bad is not allowed",
        scope.name
    );
    equal(&status, "/message", json!(message))?;
    creation(scope, json!({"good": "1"})).ok().await.map(drop)
}

async fn message_expression(scope: &Scope<'_>) -> Outcome {
    let validation = json!([{
        "expression": "size(object.data) < 2", "messageExpression": "'it has ' + string(size(object.data)) + ' keys'",
        "reason": "Invalid",
    }]);
    Policy::new(scope, validation).install().await?;
    says(&denied(creation(scope, json!({"a": "1", "b": "2"}))).await?, "denied request: it has 2 keys")
}

async fn unbound(scope: &Scope<'_>) -> Outcome {
    let mut policy = Policy::new(scope, no_bad("bad is not allowed"));
    policy.binding["policyName"] = json!("conformance-another-policy");
    policy.install().await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    creation(scope, json!({"bad": "1"})).ok().await.map(drop)
}

async fn warns(scope: &Scope<'_>) -> Outcome {
    let policy = Policy::new(scope, no_bad("bad is not liked"));
    policy.bound("validationActions", json!(["Warn"])).install().await?;
    let request = creation(scope, json!({"bad": "1"}));
    let warned = || async {
        let warnings = request.clone().answers_ok().await?.warnings();
        Ok(warnings.iter().any(|one| {
            one.contains("Validation failed for ValidatingAdmissionPolicy")
                && one.contains("bad is not liked")
        }))
    };
    eventually("the policy warns", warned).await
}

async fn parameters(scope: &Scope<'_>) -> Outcome {
    // Of a kind of its own: a server stops to watch a kind of parameters with the first policy on it that is deleted.
    let widgets = Widgets::define(scope).await?;
    let api_version = format!("{}/v1", widgets.group);
    let limits = json!({"apiVersion": api_version, "kind": "Widget", "metadata": {"name": "limits"}, "spec": {"size": 1}});
    scope.create(&limits).await?;
    let validation = json!([{
        "expression": "object.metadata.name != 'a' || size(object.data) <= params.spec.size",
        "message": "too many keys",
    }]);
    let policy = Policy::new(scope, validation)
        .with("paramKind", json!({"apiVersion": api_version, "kind": "Widget"}));
    let reference = json!({"name": "limits", "namespace": scope.name, "parameterNotFoundAction": "Deny"});
    policy.bound("paramRef", reference).install().await?;
    // The server learns of parameters by a watch that it opens now.
    let two = creation(scope, json!({"a": "1", "b": "2"}));
    eventually("what is beyond is denied", || async {
        Ok(two.clone().send().await?.text().contains("denied request: too many keys"))
    })
    .await?;
    let one = creation(scope, json!({"a": "1"}));
    eventually("what is within passes", || async { Ok(one.clone().send().await?.code == 201) }).await
}

async fn missing_parameter(scope: &Scope<'_>) -> Outcome {
    let policy = Policy::new(scope, json!([{"expression": "params.metadata.name == 'y'"}]))
        .with("paramKind", json!({"apiVersion": "v1", "kind": "Secret"}));
    let reference = json!({"name": "absent", "namespace": scope.name, "parameterNotFoundAction": "Deny"});
    policy.bound("paramRef", reference).install().await?;
    says(
        &denied(creation(scope, json!({}))).await?,
        "no params found for policy binding with `Deny` parameterNotFoundAction",
    )
}

async fn conditions(scope: &Scope<'_>) -> Outcome {
    let condition = json!([{"name": "marked", "expression": "object.metadata.name == 'a'"}]);
    Policy::new(scope, no_bad("bad is not allowed")).with("matchConditions", condition).install().await?;
    denied(creation(scope, json!({"bad": "1"}))).await?;
    let other = config_map("b", json!({"bad": "1"}));
    scope.post(scope.home(&other), &other).dry().ok().await.map(drop)
}

async fn request_user(scope: &Scope<'_>) -> Outcome {
    let expression = "request.userInfo.username != 'jane' && !('strangers' in request.userInfo.groups) || request.operation != 'CREATE'";
    Policy::new(scope, json!([{"expression": expression, "message": "not you"}])).install().await?;
    let map = config_map("a", json!({}));
    let strangers =
        scope.user("joe").with("impersonate-group", "system:masters").with("impersonate-group", "strangers");
    says(&denied(strangers.post(scope.home(&map), &map).dry()).await?, "denied request: not you")?;
    let friends = scope.user("joe").with("impersonate-group", "system:masters");
    friends.post(scope.home(&map), &map).dry().ok().await.map(drop)
}

async fn old_object(scope: &Scope<'_>) -> Outcome {
    let expression =
        "oldObject == null || request.operation != 'UPDATE' || oldObject.data.a == object.data.a";
    scope.create(&config_map("a", json!({"a": "1"}))).await?;
    Policy::new(scope, json!([{"expression": expression, "message": "a stays"}])).install().await?;
    let change = scope.merge(scope.map("a"), &json!({"data": {"a": "2"}})).dry();
    says(&denied(change).await?, "denied request: a stays")?;
    scope.merge(scope.map("a"), &json!({"data": {"b": "2"}})).dry().ok().await.map(drop)
}

async fn deletes(scope: &Scope<'_>) -> Outcome {
    scope.create(&labelled("a", json!({"protected": "true"}))).await?;
    scope.create(&config_map("b", json!({}))).await?;
    let expression = "request.operation != 'DELETE' || !has(oldObject.metadata.labels) || !('protected' in oldObject.metadata.labels)";
    let validation = json!([{"expression": expression, "message": "it is protected", "reason": "Forbidden"}]);
    Policy::new(scope, validation).install().await?;
    let request = scope.delete(scope.map("a")).dry();
    eventually("the policy denies", || async { Ok(request.clone().send().await?.code >= 400) }).await?;
    let status = request.refused(403, "Forbidden").await?;
    says(&status, "denied request: it is protected")?;
    scope.delete(scope.map("b")).dry().ok().await?;
    scope.delete(scope.map("a")).refused(403, "Forbidden").await?;
    ensure(scope.exists(&scope.map("a")).await?, || "it is gone".to_owned())
}

async fn namespace_object(scope: &Scope<'_>) -> Outcome {
    let expression = format!("namespaceObject.metadata.labels['conformance'] != '{}'", scope.name);
    Policy::new(scope, json!([{"expression": expression, "message": "not here"}])).install().await?;
    says(&denied(creation(scope, json!({}))).await?, "denied request: not here")
}

async fn variables(scope: &Scope<'_>) -> Outcome {
    let variable = json!([
        {"name": "keys", "expression": "has(object.data) ? size(object.data) : 0"},
        {"name": "few", "expression": "variables.keys < 2"},
    ]);
    let policy = Policy::new(scope, json!([{"expression": "variables.few", "message": "many"}]));
    policy.with("variables", variable).install().await?;
    says(&denied(creation(scope, json!({"a": "1", "b": "2"}))).await?, "denied request: many")
}

async fn failure(scope: &Scope<'_>) -> Outcome {
    Policy::new(scope, json!([{"expression": "object.data.absent == 'x'"}])).install().await?;
    let request = creation(scope, json!({"a": "1"}));
    says(&denied(request).await?, "no such key: absent")
}

async fn compilation(scope: &Scope<'_>) -> Outcome {
    let policy = Policy::new(scope, json!([{"expression": "object.data. =="}]));
    let path = format!("/apis/{GROUP}/validatingadmissionpolicies");
    let status = scope.post(path, &policy.policy()).dry().refused(422, "Invalid").await?;
    blames(&status, "spec.validations[0].expression", "FieldValueInvalid")?;
    says(&status, "compilation failed")
}

//! Who may do what: RBAC, impersonation and reviews.

use super::{
    check::checks,
    expect::*,
    request::{Caller, Request},
    scope::{Scope, eventually},
};
use crate::conformance::{Outcome, ensure, ensure_eq};
use serde_json::{Value, json};

checks! {
    "who has no role is refused with what was tried" => refused,
    "a role allows what it names, in its namespace" => role,
    "a role can be of single objects" => resource_names,
    "a group's role is its members'" => group,
    "a service account acts by its roles" => service_account,
    "a cluster role that is bound in a namespace holds there" => cluster_role_in_namespace,
    "a cluster role that is bound in the cluster holds everywhere" => cluster_role,
    "subresources are allowed by themselves" => subresources,
    "the built-in roles view, edit and admin differ as they must" => builtin_roles,
    "nobody grants more than they have" => escalation,
    "nobody binds a role that allows more than they have" => binding_escalation,
    "who may escalate and bind grants anything" => escalate_verb,
    "an aggregated cluster role gathers the rules of others" => aggregation,
    "impersonating needs to be allowed" => impersonation,
    "an access review of oneself tells what is allowed" => self_access,
    "an access review tells of others" => subject_access,
    "an access review in a namespace tells of others" => local_access,
    "a review of rules lists what is allowed" => rules_review,
    "a review of oneself tells who one is" => self_review,
    "paths beside resources are allowed by themselves" => paths,
    "listing is refused by its own verb" => list_verb,
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

fn role_named(name: &str, rules: Value) -> Value {
    json!({"apiVersion": RBAC, "kind": "Role", "metadata": {"name": name}, "rules": rules})
}

fn user(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name})
}

fn bound(kind: &str, name: &str, role_kind: &str, role: &str, subject: Value) -> Value {
    json!({
        "apiVersion": RBAC, "kind": kind, "metadata": {"name": name}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
    })
}

/// Somebody with these rules in the scope's namespace, once the server knows them. Names are the scope's own.
async fn somebody(scope: &Scope<'_>, rules: Value) -> Result<Caller, String> {
    let name = format!("{}-jane", scope.name);
    scope.create(&role_named("jane", rules.clone())).await?;
    scope.create(&bound("RoleBinding", "jane", "Role", "jane", user(&name))).await?;
    let (verb, resource) = (&rules[0]["verbs"][0], &rules[0]["resources"][0]);
    let resource = resource.as_str().unwrap_or_default();
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let named = rules[0]["resourceNames"][0].as_str().unwrap_or_default();
    let attributes = json!({
        "namespace": scope.name, "verb": verb, "group": rules[0]["apiGroups"][0], "resource": resource,
        "subresource": subresource, "name": named,
    });
    allowed_soon(scope, &json!({"user": name, "resourceAttributes": attributes})).await?;
    Ok(scope.user(&name))
}

const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

fn review(kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec})
}

async fn allowed_soon(scope: &Scope<'_>, spec: &Value) -> Outcome {
    let review = review("SubjectAccessReview", spec);
    eventually("it is allowed", || async {
        let answer = scope.post(format!("{REVIEWS}/subjectaccessreviews"), &review).ok().await?;
        Ok(answer["status"]["allowed"] == true)
    })
    .await
}

async fn forbidden(request: Request) -> Result<Value, String> {
    request.refused(403, "Forbidden").await
}

async fn refused(scope: &Scope<'_>) -> Outcome {
    let status = forbidden(scope.user("jane").get(scope.map("a"))).await?;
    let message = format!(
        "configmaps \"a\" is forbidden: User \"jane\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"{}\"",
        scope.name
    );
    equal(&status, "/message", json!(message))?;
    equal(&status, "/details", json!({"name": "a", "kind": "configmaps"}))?;
    let status = forbidden(scope.user("jane").get("/apis/apps/v1/deployments")).await?;
    let message = "deployments.apps is forbidden: User \"jane\" cannot list resource \"deployments\" in API group \"apps\" at the \
                   cluster scope";
    equal(&status, "/message", json!(message))
}

async fn role(scope: &Scope<'_>) -> Outcome {
    let jane = somebody(scope, json!([rule(&[""], &["configmaps"], &["create", "get"])])).await?;
    let map = config_map("a", json!({}));
    jane.post(scope.home(&map), &map).ok().await?;
    jane.get(scope.map("a")).ok().await?;
    forbidden(jane.delete(scope.map("a"))).await?;
    forbidden(jane.get(scope.at("v1", "secrets", "a"))).await?;
    forbidden(jane.get("/api/v1/namespaces/default/configmaps/a")).await.map(drop)
}

async fn resource_names(scope: &Scope<'_>) -> Outcome {
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["mine"]}]);
    let jane = somebody(scope, rules).await?;
    jane.get(scope.map("mine")).refused(404, "NotFound").await?;
    forbidden(jane.get(scope.map("other"))).await?;
    forbidden(jane.get(scope.all("v1", "configmaps"))).await.map(drop)
}

async fn group(scope: &Scope<'_>) -> Outcome {
    let name = format!("{}-team", scope.name);
    scope.create(&role_named("team", json!([rule(&[""], &["configmaps"], &["list"])]))).await?;
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
    scope.create(&bound("RoleBinding", "team", "Role", "team", subject)).await?;
    let attributes = json!({"namespace": scope.name, "verb": "list", "resource": "configmaps"});
    allowed_soon(scope, &json!({"user": "joe", "groups": [name], "resourceAttributes": attributes})).await?;
    scope.user("joe").with("impersonate-group", &*name).get(scope.all("v1", "configmaps")).ok().await?;
    forbidden(scope.user("joe").get(scope.all("v1", "configmaps"))).await.map(drop)
}

async fn service_account(scope: &Scope<'_>) -> Outcome {
    scope.create(&account("robot")).await?;
    scope.create(&role_named("robot", json!([rule(&[""], &["configmaps"], &["list"])]))).await?;
    let subject = json!({"kind": "ServiceAccount", "name": "robot", "namespace": scope.name});
    scope.create(&bound("RoleBinding", "robot", "Role", "robot", subject)).await?;
    let name = format!("system:serviceaccount:{}:robot", scope.name);
    let attributes = json!({"namespace": scope.name, "verb": "list", "resource": "configmaps"});
    allowed_soon(scope, &json!({"user": name, "resourceAttributes": attributes})).await?;
    scope.user(&name).get(scope.all("v1", "configmaps")).ok().await?;
    let status = forbidden(scope.user(&name).get(scope.all("v1", "secrets"))).await?;
    says(&status, &format!("User \"{name}\" cannot list resource \"secrets\""))
}

async fn cluster_role_in_namespace(scope: &Scope<'_>) -> Outcome {
    let name = format!("{}-jane", scope.name);
    scope.create(&bound("RoleBinding", "jane", "ClusterRole", "view", user(&name))).await?;
    let attributes = json!({"namespace": scope.name, "verb": "list", "resource": "pods"});
    allowed_soon(scope, &json!({"user": name, "resourceAttributes": attributes})).await?;
    let jane = scope.user(&name);
    jane.get(scope.all("v1", "pods")).ok().await?;
    forbidden(jane.get(scope.all("v1", "secrets"))).await?;
    forbidden(jane.get("/api/v1/pods")).await.map(drop)
}

async fn cluster_role(scope: &Scope<'_>) -> Outcome {
    let rules = json!([rule(&[""], &["namespaces", "nodes"], &["get", "list"])]);
    let role =
        json!({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": scope.name}, "rules": rules});
    scope.create_global(&role).await?;
    scope
        .create_global(&bound(
            "ClusterRoleBinding",
            &scope.name,
            "ClusterRole",
            &scope.name,
            user(&scope.name),
        ))
        .await?;
    let attributes = json!({"verb": "list", "resource": "nodes"});
    allowed_soon(scope, &json!({"user": scope.name, "resourceAttributes": attributes})).await?;
    let jane = scope.user(&scope.name);
    jane.get("/api/v1/nodes").ok().await?;
    jane.get("/api/v1/namespaces/default").ok().await?;
    forbidden(jane.get("/api/v1/pods")).await.map(drop)
}

async fn subresources(scope: &Scope<'_>) -> Outcome {
    scope.create(&deployment("a")).await?;
    let jane = somebody(scope, json!([rule(&["apps"], &["deployments/scale"], &["get"])])).await?;
    jane.get(format!("{}/scale", scope.deployment("a"))).ok().await?;
    let status = forbidden(jane.get(scope.deployment("a"))).await?;
    says(&status, "cannot get resource \"deployments\" in API group \"apps\"")?;
    let status = forbidden(jane.get(format!("{}/status", scope.deployment("a")))).await?;
    says(&status, "cannot get resource \"deployments/status\"")
}

async fn builtin_roles(scope: &Scope<'_>) -> Outcome {
    let mut users = Vec::new();
    for role in ["view", "edit", "admin"] {
        let name = format!("{}-{role}", scope.name);
        scope.create(&bound("RoleBinding", role, "ClusterRole", role, user(&name))).await?;
        let attributes = json!({"namespace": scope.name, "verb": "list", "resource": "configmaps"});
        allowed_soon(scope, &json!({"user": name, "resourceAttributes": attributes})).await?;
        users.push(scope.user(&name));
    }
    let map = config_map("a", json!({}));
    let role = role_named("r", json!([rule(&[""], &["configmaps"], &["get"])]));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    let mut found = Vec::new();
    for user in &users {
        let mut codes = Vec::new();
        for object in [&map, &secret, &role] {
            codes.push(user.post(scope.home(object), object).dry().send().await?.code);
        }
        found.push(codes);
    }
    ensure_eq(&found, &vec![vec![403, 403, 403], vec![201, 201, 403], vec![201, 201, 201]], "the codes")
}

async fn escalation(scope: &Scope<'_>) -> Outcome {
    let rules = json!([
        rule(&["rbac.authorization.k8s.io"], &["roles"], &["create"]),
        rule(&[""], &["configmaps"], &["get"])
    ]);
    let jane = somebody(scope, rules).await?;
    let mine = role_named("mine", json!([rule(&[""], &["configmaps"], &["get"])]));
    jane.post(scope.home(&mine), &mine).ok().await?;
    let more = role_named("more", json!([rule(&[""], &["secrets"], &["get"])]));
    let status = forbidden(jane.post(scope.home(&more), &more)).await?;
    says(&status, "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"")?;
    says(
        &status,
        "is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}",
    )
}

async fn binding_escalation(scope: &Scope<'_>) -> Outcome {
    let jane = somebody(scope, json!([rule(&["rbac.authorization.k8s.io"], &["rolebindings"], &["create"])]))
        .await?;
    let binding = bound("RoleBinding", "more", "ClusterRole", "cluster-admin", user("jane"));
    let status = forbidden(jane.post(scope.home(&binding), &binding)).await?;
    says(&status, "rolebindings.rbac.authorization.k8s.io \"more\" is forbidden: user \"")?;
    says(
        &status,
        "is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}",
    )
}

async fn escalate_verb(scope: &Scope<'_>) -> Outcome {
    let rules = json!([rule(
        &["rbac.authorization.k8s.io"],
        &["roles", "rolebindings", "clusterroles"],
        &["create", "escalate", "bind"]
    ),]);
    let jane = somebody(scope, rules).await?;
    let more = role_named("more", json!([rule(&[""], &["secrets"], &["get"])]));
    jane.post(scope.home(&more), &more).ok().await?;
    let binding = bound("RoleBinding", "more", "ClusterRole", "cluster-admin", user("nobody"));
    jane.post(scope.home(&binding), &binding).ok().await.map(drop)
}

async fn aggregation(scope: &Scope<'_>) -> Outcome {
    let label = format!("conformance.example.com/{}", scope.name);
    let sum = json!({
        "apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": scope.name}, "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {&label: "true"}}]},
    });
    scope.create_global(&sum).await?;
    let part = json!({
        "apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": format!("{}-part", scope.name), "labels": {&label: "true"}},
        "rules": [rule(&["example.com"], &["things"], &["get"])],
    });
    scope.create_global(&part).await?;
    let path = format!("/apis/{RBAC}/clusterroles/{}", scope.name);
    eventually("the rules are gathered", || async {
        Ok(scope.get(&path).ok().await?["rules"] == part["rules"])
    })
    .await
}

async fn impersonation(scope: &Scope<'_>) -> Outcome {
    // Impersonating cannot be stacked: who impersonates here is the administrator, in the shape of somebody who may not.
    let attributes = json!({"verb": "impersonate", "resource": "users", "name": "jane"});
    let review = review("SubjectAccessReview", &json!({"user": "joe", "resourceAttributes": attributes}));
    let answer = scope.post(format!("{REVIEWS}/subjectaccessreviews"), &review).ok().await?;
    equal(&answer, "/status/allowed", json!(false))?;
    let nobody = scope.with("impersonate-group", "strangers").get("/api/v1/namespaces").send().await?;
    ensure(nobody.code >= 400, || format!("a group without a user is answered with {}", nobody.code))
}

async fn self_access(scope: &Scope<'_>) -> Outcome {
    let jane = somebody(scope, json!([rule(&[""], &["configmaps"], &["get"])])).await?;
    for (verb, allowed) in [("get", true), ("delete", false)] {
        let attributes = json!({"namespace": scope.name, "verb": verb, "resource": "configmaps"});
        let review = review("SelfSubjectAccessReview", &json!({"resourceAttributes": attributes}));
        let answer = jane.post(format!("{REVIEWS}/selfsubjectaccessreviews"), &review).ok().await?;
        equal(&answer, "/status/allowed", json!(allowed))?;
    }
    Ok(())
}

async fn subject_access(scope: &Scope<'_>) -> Outcome {
    somebody(scope, json!([rule(&[""], &["configmaps"], &["get"])])).await?;
    let name = format!("{}-jane", scope.name);
    let attributes = json!({"namespace": scope.name, "verb": "get", "resource": "configmaps"});
    let review =
        |user: &str| review("SubjectAccessReview", &json!({"user": user, "resourceAttributes": attributes}));
    let path = format!("{REVIEWS}/subjectaccessreviews");
    let answer = scope.post(&path, &review(&name)).ok().await?;
    equal(&answer, "/status/allowed", json!(true))?;
    let reason = text(&answer, "/status/reason")?;
    ensure(reason.starts_with("RBAC: allowed by RoleBinding \"jane/"), || {
        format!("the reason is {reason:?}")
    })?;
    equal(&scope.post(&path, &review("nobody")).ok().await?, "/status/allowed", json!(false))
}

async fn local_access(scope: &Scope<'_>) -> Outcome {
    somebody(scope, json!([rule(&[""], &["configmaps"], &["get"])])).await?;
    let attributes = json!({"namespace": scope.name, "verb": "get", "resource": "configmaps"});
    let spec = json!({"user": format!("{}-jane", scope.name), "resourceAttributes": attributes});
    let mut object = review("LocalSubjectAccessReview", &spec);
    object["metadata"] = json!({"namespace": scope.name});
    let path = scope.all("authorization.k8s.io/v1", "localsubjectaccessreviews");
    equal(&scope.post(path, &object).ok().await?, "/status/allowed", json!(true))
}

async fn rules_review(scope: &Scope<'_>) -> Outcome {
    let jane = somebody(scope, json!([rule(&[""], &["configmaps"], &["get"])])).await?;
    let object = review("SelfSubjectRulesReview", &json!({"namespace": scope.name}));
    let answer = jane.post(format!("{REVIEWS}/selfsubjectrulesreviews"), &object).ok().await?;
    equal(&answer, "/status/incomplete", json!(false))?;
    let rules = answer["status"]["resourceRules"].as_array().cloned().unwrap_or_default();
    let mine = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]});
    ensure(rules.contains(&mine), || format!("the rules are {rules:?}"))
}

async fn self_review(scope: &Scope<'_>) -> Outcome {
    let object = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let jane = scope.user("jane").with("impersonate-group", "team");
    let answer = jane.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &object).ok().await?;
    equal_all(
        &answer["status"]["userInfo"],
        [("/username", json!("jane")), ("/groups", json!(["team", "system:authenticated"]))],
    )
}

async fn paths(scope: &Scope<'_>) -> Outcome {
    let jane = scope.user("jane");
    jane.get("/version").ok().await?;
    jane.get("/apis").ok().await?;
    let status = forbidden(jane.get("/metrics")).await?;
    equal(&status, "/message", json!("forbidden: User \"jane\" cannot get path \"/metrics\""))
}

async fn list_verb(scope: &Scope<'_>) -> Outcome {
    let jane = somebody(scope, json!([rule(&[""], &["configmaps"], &["get", "watch"])])).await?;
    let status = forbidden(jane.get(scope.all("v1", "configmaps"))).await?;
    says(&status, "cannot list resource \"configmaps\"")?;
    let status = forbidden(jane.delete(scope.all("v1", "configmaps"))).await?;
    says(&status, "cannot deletecollection resource \"configmaps\"")
}

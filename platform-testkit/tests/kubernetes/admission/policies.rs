//! ValidatingAdmissionPolicy.

use serde_json::{Value, json};

use super::super::fixture::{Cluster, deployment};
use super::{Answer, MAPS};

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

fn policy(name: &str, operations: &[&str], resource: &str, more: Value) -> Value {
    let (group, resource) = resource.split_once(':').unwrap_or(("", resource));
    let rule = json!({"apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": [resource]});
    let mut spec = json!({"matchConstraints": {"resourceRules": [rule]}});
    spec.as_object_mut().expect("fields").extend(more.as_object().cloned().expect("fields"));
    json!({"metadata": {"name": name}, "spec": spec})
}

async fn bind(cluster: &Cluster, policy: Value, more: Value) {
    let name = policy["metadata"]["name"].as_str().expect("a name").to_owned();
    cluster.create(POLICIES, policy).await;
    let mut spec = json!({"policyName": name, "validationActions": ["Deny"]});
    spec.as_object_mut().expect("fields").extend(more.as_object().cloned().expect("fields"));
    cluster.create(BINDINGS, json!({"metadata": {"name": format!("{name}-b")}, "spec": spec})).await;
}

async fn map(cluster: &Cluster, name: &str, data: Value) -> Answer {
    let labels = json!({"app.kubernetes.io/name": "x"});
    cluster
        .ask(
            "POST",
            &format!("{MAPS}?dryRun=All"),
            json!({"metadata": {"name": name, "labels": labels}, "data": data}),
        )
        .await
}

#[tokio::test]
async fn production_is_not_deleted() {
    let cluster = Cluster::start().await;
    let protect = policy(
        "protect",
        &["DELETE"],
        "namespaces",
        json!({"validations": [{
            "expression": "!has(oldObject.metadata.labels) || oldObject.metadata.labels[?'env'].orValue('') != 'prod'",
            "message": "production stays",
        }]}),
    );
    bind(&cluster, protect, json!({})).await;
    cluster.namespace("production", json!({"env": "prod"})).await;
    cluster.namespace("test", json!({"env": "test"})).await;
    let path = "/api/v1/namespaces/production";
    for path in [format!("{path}?dryRun=All"), path.to_owned()] {
        let answer = cluster.ask("DELETE", &path, Value::Null).await;
        let why =
            "ValidatingAdmissionPolicy 'protect' with binding 'protect-b' denied request: production stays";
        assert_eq!(answer.code, 422);
        assert_eq!(answer.message(), format!("namespaces \"production\" is forbidden: {why}"));
        assert_eq!(answer.body["reason"], "Invalid");
        let details = json!({"name": "production", "kind": "namespaces", "causes": [{"message": why}]});
        assert_eq!(answer.body["details"], details);
    }
    assert_eq!(cluster.ask("DELETE", "/api/v1/namespaces/test", Value::Null).await.code, 200);
    // Without its binding, a policy says nothing.
    assert_eq!(cluster.ask("DELETE", &format!("{BINDINGS}/protect-b"), Value::Null).await.code, 200);
    assert_eq!(cluster.ask("DELETE", path, Value::Null).await.code, 200);
}

#[tokio::test]
async fn refusals_tell_messages_expressions_and_errors() {
    let cluster = Cluster::start().await;
    let cases = [
        (
            json!([{"expression": "object.data.a == '1'"}]),
            422,
            "Invalid",
            "failed expression: object.data.a == '1'",
        ),
        (
            json!([{"expression": "object.data.b == '1'"}]),
            422,
            "Invalid",
            "expression 'object.data.b == '1'' resulted in error: no such key: b",
        ),
        (
            json!([{"expression": "object.data.a > 1"}]),
            422,
            "Invalid",
            "expression 'object.data.a > 1' resulted in error: no such overload",
        ),
        (json!([{"expression": "false", "message": "no", "reason": "Forbidden"}]), 403, "Forbidden", "no"),
        (
            json!([{"expression": "false", "message": "no", "reason": "RequestEntityTooLarge"}]),
            413,
            "RequestEntityTooLarge",
            "no",
        ),
        (
            json!([
                {"expression": "true"},
                {"expression": "false", "message": "no", "messageExpression": "'a is ' + object.data.a + ' in ' + request.namespace"},
            ]),
            422,
            "Invalid",
            "a is 2 in default",
        ),
        (
            json!([{"expression": "false", "message": "no", "messageExpression": "'' + object.data.nope"}]),
            422,
            "Invalid",
            "no",
        ),
        (
            json!([{"expression": "false", "messageExpression": "request.operation + ' ' + string(request.dryRun) + ' ' + \
                    request.kind.kind + ' ' + request.userInfo.username + ' ' + namespaceObject.metadata.name + ' ' + \
                    string(oldObject == null) + ' ' + object.metadata.labels['app.kubernetes.io/name']"}]),
            422,
            "Invalid",
            "CREATE true ConfigMap kubernetes-admin default true x",
        ),
    ];
    for (index, (validations, code, reason, why)) in cases.into_iter().enumerate() {
        let name = format!("p{index}");
        bind(
            &cluster,
            policy(&name, &["CREATE"], "configmaps", json!({"validations": validations})),
            json!({}),
        )
        .await;
        let answer = map(&cluster, "m", json!({"a": "2"})).await;
        let message = format!(
            "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy '{name}' with binding '{name}-b' denied request: {why}"
        );
        assert_eq!(
            (answer.code, answer.body["reason"].as_str(), answer.message()),
            (code, Some(reason), message.as_str())
        );
        cluster.ask("DELETE", &format!("{POLICIES}/{name}"), Value::Null).await;
    }
}

#[tokio::test]
async fn variables_conditions_and_failure_policies_count() {
    let cluster = Cluster::start().await;
    let denied = "ValidatingAdmissionPolicy 'p' with binding 'p-b' denied request: ";
    let cases = [
        (
            json!({
                "variables": [
                    {"name": "d", "expression": "object.data.a"},
                    {"name": "e", "expression": "variables.d + 'x'"},
                ],
                "validations": [{"expression": "variables.d == '2'", "messageExpression": "'e=' + variables.e"}],
            }),
            Some("e=1x"),
        ),
        (
            json!({
                "variables": [{"name": "d", "expression": "object.data.nope"}],
                "validations": [{"expression": "variables.d == '2'"}],
            }),
            Some(
                "expression 'variables.d == '2'' resulted in error: composited variable \"d\" fails to evaluate: no such \
                 key: nope",
            ),
        ),
        (
            json!({
                "variables": [{"name": "d", "expression": "object.data.nope"}],
                "validations": [{"expression": "true"}],
            }),
            None,
        ),
        (
            json!({
                "matchConditions": [{"name": "a", "expression": "object.data.a == '2'"}],
                "validations": [{"expression": "false"}],
            }),
            None,
        ),
        (
            json!({
                "matchConditions": [
                    {"name": "a", "expression": "object.nope == '2'"},
                    {"name": "b", "expression": "object.data.a == '2'"},
                ],
                "validations": [{"expression": "false"}],
            }),
            None,
        ),
        (
            json!({
                "matchConditions": [{"name": "a", "expression": "object.nope == '2'"}],
                "validations": [{"expression": "false"}],
            }),
            Some("expression 'object.nope == '2'' resulted in error: no such key: nope"),
        ),
        (json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.nope.x == 1"}]}), None),
    ];
    for (more, expected) in cases {
        let shown = more.to_string();
        bind(&cluster, policy("p", &["CREATE"], "configmaps", more), json!({})).await;
        let answer = map(&cluster, "m", json!({"a": "1"})).await;
        match expected {
            Some(why) => {
                let message = format!("configmaps \"m\" is forbidden: {denied}{why}");
                assert_eq!((answer.code, answer.message()), (422, message.as_str()), "{shown}");
            }
            None => assert_eq!(answer.code, 201, "{shown}: {}", answer.body),
        }
        for path in [format!("{BINDINGS}/p-b"), format!("{POLICIES}/p")] {
            cluster.ask("DELETE", &path, Value::Null).await;
        }
    }
}

#[tokio::test]
async fn bindings_choose_namespaces_objects_and_actions() {
    let cluster = Cluster::start().await;
    cluster.namespace("other", json!({"env": "prod"})).await;
    let no = json!({"validations": [{"expression": "false", "message": "careful"}]});
    let selector = json!({"matchLabels": {"env": "prod"}});
    let binding =
        json!({"validationActions": ["Warn", "Audit"], "matchResources": {"namespaceSelector": selector}});
    bind(&cluster, policy("warn", &["CREATE"], "configmaps", no.clone()), binding).await;
    let new = json!({"metadata": {"name": "m"}});
    let warned = cluster.ask("POST", "/api/v1/namespaces/other/configmaps", new.clone()).await;
    let told =
        "Validation failed for ValidatingAdmissionPolicy 'warn' with binding 'warn-b': careful".to_owned();
    assert_eq!((warned.code, warned.warnings.as_slice()), (201, &[told][..]));
    let elsewhere = cluster.ask("POST", MAPS, new).await;
    assert_eq!((elsewhere.code, elsewhere.warnings.len()), (201, 0));
    let mut excluding = policy("names", &["*"], "configmaps", no);
    let mut exempt = excluding["spec"]["matchConstraints"]["resourceRules"][0].clone();
    exempt["resourceNames"] = json!(["free"]);
    excluding["spec"]["matchConstraints"]["excludeResourceRules"] = json!([exempt]);
    excluding["spec"]["matchConstraints"]["objectSelector"] = json!({"matchLabels": {"x": "y"}});
    bind(&cluster, excluding, json!({})).await;
    for (name, label, code) in [("free", "y", 201), ("bound", "y", 422), ("bound", "z", 201)] {
        let labelled = json!({"metadata": {"name": name, "labels": {"x": label}}});
        assert_eq!(cluster.ask("POST", MAPS, labelled).await.code, code, "{name} {label}");
    }
    // An update is looked at as it was and as it will be, and even if it changes nothing.
    let path = format!("{MAPS}/bound");
    let answer = cluster.ask("PATCH", &path, json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert_eq!(answer.code, 422);
    assert_eq!(cluster.ask("PATCH", &format!("{MAPS}/m"), json!({"metadata": {}})).await.code, 200);
}

#[tokio::test]
async fn parameters_come_from_maps_and_custom_resources() {
    let cluster = Cluster::start().await;
    cluster.namespace("params", json!({})).await;
    for (name, most) in [("one", "3"), ("two", "5")] {
        let map = json!({"metadata": {"name": name, "labels": {"p": "1"}}, "data": {"max": most}});
        cluster.create("/api/v1/namespaces/params/configmaps", map).await;
    }
    let kind = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    let rule = json!({"paramKind": kind, "validations": [{
        "expression": "size(object.data) <= int(params.data.max)",
        "messageExpression": "'at most ' + params.data.max + ' of ' + params.metadata.name",
    }]});
    let four = json!({"a": "", "b": "", "c": "", "d": ""});
    let one = json!({"name": "one", "namespace": "params", "parameterNotFoundAction": "Deny"});
    let all = json!({"selector": {"matchLabels": {"p": "1"}}, "namespace": "params", "parameterNotFoundAction": "Deny"});
    let none =
        |action: &str| json!({"name": "none", "namespace": "params", "parameterNotFoundAction": action});
    let missing =
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    for (name, reference, expected) in [
        ("named", one, Some("at most 3 of one")),
        ("selected", all, Some("at most 3 of one")),
        ("strict", none("Deny"), Some(missing)),
        ("lenient", none("Allow"), None),
    ] {
        bind(&cluster, policy(name, &["CREATE"], "configmaps", rule.clone()), json!({"paramRef": reference}))
            .await;
        let answer = map(&cluster, "m", four.clone()).await;
        match expected {
            Some(why) => {
                let told = format!("'{name}' with binding '{name}-b' denied request: {why}");
                assert!(answer.code == 422 && answer.message().ends_with(&told), "{}", answer.body);
            }
            None => assert_eq!(answer.code, 201, "{}", answer.body),
        }
        cluster.ask("DELETE", &format!("{BINDINGS}/{name}-b"), Value::Null).await;
    }
    let mut unknown = rule;
    unknown["paramKind"] = json!({"apiVersion": "nope.io/v1", "kind": "Nope"});
    let reference = json!({"paramRef": {"name": "x", "parameterNotFoundAction": "Deny"}});
    bind(&cluster, policy("unknown", &["CREATE"], "configmaps", unknown), reference).await;
    let answer = map(&cluster, "m", four).await;
    let why = "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'unknown' denied request: failed to configure policy: \
               failed to find resource referenced by paramKind: 'nope.io/v1, Kind=Nope'";
    assert_eq!((answer.code, answer.message()), (422, why));
}

#[tokio::test]
async fn policies_ask_what_the_author_may_do() {
    let cluster = Cluster::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]});
    let role = json!({"metadata": {"name": "writer"}, "rules": [rule]});
    cluster.create(&format!("{rbac}/clusterroles"), role).await;
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "metadata": {"name": "bob"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "writer"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "bob"}],
    });
    cluster.create(&format!("{rbac}/clusterrolebindings"), binding).await;
    let rules = json!({"validations": [
        {"expression": "authorizer.requestResource.check('create').allowed()", "message": "may not create"},
        {
            "expression": "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()",
            "message": "may not read secrets",
        },
    ]});
    bind(&cluster, policy("ask", &["CREATE"], "configmaps", rules), json!({})).await;
    assert_eq!(map(&cluster, "m", json!({})).await.code, 201);
    let request = reqwest::Client::new().post(format!("{}{MAPS}", cluster.api.url()));
    let request = request.header("content-type", "application/json").header("impersonate-user", "bob");
    let answer =
        request.body(json!({"metadata": {"name": "m"}}).to_string()).send().await.expect("an answer");
    assert_eq!(answer.status(), 422);
    let body = answer.text().await.expect("a body");
    assert!(body.contains("denied request: may not read secrets"), "{body}");
}

#[tokio::test]
async fn subresources_are_matched_by_their_own_names() {
    let cluster = Cluster::start().await;
    let told = "request.subResource + ' ' + request.kind.kind + ' ' + string(object.spec.replicas)";
    let rules = json!({"validations": [{"expression": "false", "messageExpression": told}]});
    bind(&cluster, policy("sub", &["*"], "apps:deployments/scale", rules), json!({})).await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    cluster.create(deployments, deployment("web", "app:1")).await;
    let scale = json!({"spec": {"replicas": 3}});
    let answer = cluster.ask("PATCH", &format!("{deployments}/web/scale"), scale.clone()).await;
    let why = "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'sub' with binding 'sub-b' denied request: \
               scale Scale 3";
    assert_eq!((answer.code, answer.message()), (422, why));
    assert_eq!(cluster.ask("PATCH", &format!("{deployments}/web"), scale).await.code, 200);
}

#[tokio::test]
async fn wrong_policies_are_refused_when_they_are_written() {
    let cluster = Cluster::start().await;
    let invalid = "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"p\" is invalid: ";
    for (expression, why) in [
        (
            "foo == 1",
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo == 1\n | ^",
        ),
        ("object.metadata.name", "must evaluate to bool but got dyn"),
        ("'a'", "must evaluate to bool but got string"),
    ] {
        let wrong =
            policy("p", &["CREATE"], "configmaps", json!({"validations": [{"expression": expression}]}));
        let answer = cluster.ask("POST", POLICIES, wrong).await;
        let value = json!(expression);
        let message = format!("{invalid}spec.validations[0].expression: Invalid value: {value}: {why}");
        assert_eq!((answer.code, answer.message()), (422, message.as_str()));
    }
    let syntax = policy("p", &["CREATE"], "configmaps", json!({"validations": [{"expression": "1 +"}]}));
    let answer = cluster.ask("POST", POLICIES, syntax).await;
    assert!(answer.code == 422 && answer.message().contains("Syntax error"), "{}", answer.body);
    let wrong = policy(
        "p",
        &["FOO"],
        "configmaps",
        json!({"validations": [{"expression": "true", "reason": "Unauthorized"}]}),
    );
    let answer = cluster.ask("POST", POLICIES, wrong).await;
    let message = format!(
        "{invalid}[spec.matchConstraints.resourceRules[0].operations[0]: Unsupported value: \"FOO\": supported values: \"*\", \
         \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\", spec.validations[0].reason: Unsupported value: \"Unauthorized\": \
         supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"]"
    );
    assert_eq!((answer.code, answer.message()), (422, message.as_str()));
    let both = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny", "Warn"]}});
    let answer = cluster.ask("POST", BINDINGS, both).await;
    assert!(
        answer.code == 422 && answer.message().contains("must not contain both Deny and Warn"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_policy_that_denies_everything_can_be_taken_back() {
    let cluster = Cluster::start().await;
    let mut all = policy("all", &["*"], "*", json!({"validations": [{"expression": "false"}]}));
    all["spec"]["matchConstraints"]["resourceRules"][0]["apiGroups"] = json!(["*"]);
    bind(&cluster, all, json!({})).await;
    assert_eq!(map(&cluster, "m", json!({})).await.code, 422);
    assert_eq!(cluster.ask("DELETE", &format!("{MAPS}/kube-root-ca.crt"), Value::Null).await.code, 422);
    assert_eq!(cluster.ask("DELETE", &format!("{POLICIES}/all"), Value::Null).await.code, 200);
    assert_eq!(map(&cluster, "m", json!({})).await.code, 201);
}

//! Who may do what: tokens, impersonation, RBAC and the reviews that tell of it.
//!
//! Each check runs on an embedded cluster and, as `on_a_real_cluster`, on the one of `KUBECONFIG`.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use http::Request;
use kube::client::Body;
use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use platform_testkit::kubernetes::EmbeddedApi;
use serde_json::{Value, json};

use crate::fixture::{Cluster, DEADLINE};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// Somebody who sends requests to a cluster.
#[derive(Clone)]
struct Caller {
    client: Client,
    /// A client that shows no credentials of its own.
    bare: Client,
    headers: Vec<(&'static str, String)>,
    /// What is the check's own on a cluster that others use too: its namespace, and the names of its roles.
    own: String,
    created: Arc<Mutex<Vec<String>>>,
}

impl Caller {
    fn administrator(client: Client, bare: Client) -> Self {
        let own = format!("authz-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        Self { client, bare, headers: Vec::new(), own, created: Arc::default() }
    }

    /// The same caller as somebody else.
    fn acting_as(&self, user: &str) -> Self {
        self.with("impersonate-user", user)
    }

    fn with(&self, header: &'static str, value: &str) -> Self {
        let mut caller = self.clone();
        caller.headers.push((header, value.to_owned()));
        caller
    }

    fn showing(&self, token: &str) -> Self {
        let bare = Self { client: self.bare.clone(), headers: Vec::new(), ..self.clone() };
        bare.with("authorization", &format!("Bearer {token}"))
    }

    async fn send(&self, method: &str, path: &str, media_type: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path).header("content-type", media_type);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(Body::from(body)).expect("a request");
        let answer = tokio::time::timeout(DEADLINE, self.client.send(request)).await.expect("in time");
        let answer = answer.expect("an answer");
        let code = answer.status().as_u16();
        let body = axum::body::Body::new(answer.into_body());
        let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, "", None).await
    }

    async fn delete(&self, path: &str) -> (u16, Value) {
        self.send("DELETE", path, "", None).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("POST", path, "application/json", Some(body)).await
    }

    async fn merge(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("PATCH", path, "application/merge-patch+json", Some(body)).await
    }

    async fn apply(&self, path: &str, body: Value) -> (u16, Value) {
        let path = format!("{path}?fieldManager=test&force=true");
        self.send("PATCH", &path, "application/apply-patch+yaml", Some(body)).await
    }

    /// Creates what must be created, and remembers it.
    async fn create(&self, path: &str, body: Value) -> Value {
        let (code, answer) = self.post(path, body).await;
        assert_eq!(code, 201, "{path}: {answer}");
        if let (true, Some(name)) = (!path.contains("/namespaces/"), answer["metadata"]["name"].as_str()) {
            self.created.lock().expect("a list").push(format!("{path}/{name}"));
        }
        answer
    }

    /// The path of a core collection in the check's namespace.
    fn inside(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.own)
    }

    /// The path of roles or bindings in the check's namespace.
    fn rbac(&self, rest: &str) -> String {
        format!("{RBAC}/namespaces/{}/{rest}", self.own)
    }

    /// Gives `subject` the rules everywhere or in the check's namespace.
    async fn grant(&self, everywhere: bool, name: &str, rules: Value, subject: Value) {
        let (roles, bindings, kind) = if everywhere {
            (format!("{RBAC}/clusterroles"), format!("{RBAC}/clusterrolebindings"), "ClusterRole")
        } else {
            (self.rbac("roles"), self.rbac("rolebindings"), "Role")
        };
        self.create(&roles, json!({"metadata": {"name": name}, "rules": rules})).await;
        self.create(&bindings, binding(name, kind, name, subject)).await;
    }

    /// A token of a service account, and a caller that shows it and nothing else.
    async fn robot(&self, account: &str, spec: Value) -> (String, Self) {
        let path = self.inside(&format!("serviceaccounts/{account}/token"));
        let answer = self.create(&path, json!({"spec": spec})).await;
        let token = answer["status"]["token"].as_str().expect("a token").to_owned();
        let robot = self.showing(&token);
        (token, robot)
    }

    /// Waits until a request is answered with this code: a real server learns of changes a moment later.
    async fn until(&self, code: u16, path: &str) -> Value {
        let asking = async {
            loop {
                let (found, answer) = self.get(path).await;
                if found == code {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let found = tokio::time::timeout(DEADLINE, asking).await;
        found.unwrap_or_else(|_| panic!("{path} never answered {code}"))
    }
}

/// Runs a check in a namespace of its own, and takes away what it made.
async fn run<F: Future<Output = ()>>(admin: Caller, check: impl FnOnce(Caller) -> F) {
    admin.create("/api/v1/namespaces", json!({"metadata": {"name": admin.own}})).await;
    admin.until(200, &admin.inside("serviceaccounts/default")).await;
    let outcome = AssertUnwindSafe(check(admin.clone())).catch_unwind().await;
    let created = std::mem::take(&mut *admin.created.lock().expect("a list"));
    for path in created.iter().rev() {
        admin.delete(path).await;
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn embedded() -> (Cluster, Caller) {
    let cluster = Cluster::start().await;
    let caller = Caller::administrator(cluster.client.clone(), cluster.client.clone());
    (cluster, caller)
}

async fn real() -> Caller {
    let config =
        Config::from_kubeconfig(&KubeConfigOptions::default()).await.expect("KUBECONFIG names a cluster");
    let mut bare = config.clone();
    bare.auth_info = kube::config::AuthInfo::default();
    Caller::administrator(
        Client::try_from(config).expect("a client"),
        Client::try_from(bare).expect("a client"),
    )
}

macro_rules! checks {
    ($($check:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $check() {
                let (_cluster, admin) = embedded().await;
                run(admin, check::$check).await;
            }
        )+

        mod on_a_real_cluster {
            $(
                #[tokio::test]
                #[ignore = "needs kubernetes"]
                async fn $check() {
                    super::run(super::real().await, super::check::$check).await;
                }
            )+
        }
    };
}

checks!(
    a_token_is_its_account_until_the_account_is_gone,
    a_token_may_be_bound_to_a_pod,
    bad_tokens_and_requests_for_them_are_refused,
    impersonation_needs_its_verb,
    roles_say_what_may_be_done,
    nobody_grants_what_they_do_not_hold,
    the_roles_of_every_cluster_are_there,
    reviews_tell_what_would_be_decided,
);

fn user(name: &str) -> Value {
    json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"})
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

fn binding(name: &str, kind: &str, role: &str, subject: Value) -> Value {
    let role = json!({"kind": kind, "name": role, "apiGroup": "rbac.authorization.k8s.io"});
    json!({"metadata": {"name": name}, "roleRef": role, "subjects": [subject]})
}

mod check {
    use super::*;

    pub(super) async fn a_token_is_its_account_until_the_account_is_gone(admin: Caller) {
        let space = admin.own.as_str();
        let account =
            admin.create(&admin.inside("serviceaccounts"), json!({"metadata": {"name": "robot"}})).await;
        let (token, robot) = admin.robot("robot", json!({"expirationSeconds": 600})).await;
        let (_, who) = robot.post(WHO, json!({})).await;
        let info = &who["status"]["userInfo"];
        assert_eq!(info["username"], format!("system:serviceaccount:{space}:robot"));
        assert_eq!(info["uid"], account["metadata"]["uid"]);
        let groups =
            ["system:serviceaccounts", &format!("system:serviceaccounts:{space}"), "system:authenticated"];
        assert_eq!(info["groups"], json!(groups));
        let (code, refused) = robot.get(&admin.inside("pods")).await;
        assert_eq!(code, 403);
        assert_eq!(
            message(&refused),
            format!(
                "pods is forbidden: User \"system:serviceaccount:{space}:robot\" cannot list resource \"pods\" in API \
                 group \"\" in the namespace \"{space}\""
            )
        );
        assert_eq!(refused["details"], json!({"kind": "pods"}));
        let subject = json!({"kind": "ServiceAccount", "name": "robot", "namespace": space});
        admin.grant(false, "reader", json!([rule("", "pods", &["list"])]), subject).await;
        robot.until(200, &admin.inside("pods")).await;
        assert_eq!(robot.get("/api/v1/namespaces/default/pods").await.0, 403);
        let review = json!({"spec": {"token": token}});
        let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
        let (_, answer) = admin.post(reviews, review.clone()).await;
        assert_eq!(answer["status"]["user"]["username"], info["username"]);
        assert_eq!(answer["status"]["authenticated"], true);
        assert_eq!(admin.delete(&admin.inside("serviceaccounts/robot")).await.0, 200);
        let refused = robot.until(401, &admin.inside("pods")).await;
        assert_eq!((message(&refused), &refused["reason"]), ("Unauthorized", &json!("Unauthorized")));
        let (_, answer) = admin.post(reviews, review).await;
        let error = "[invalid bearer token, serviceaccounts \"robot\" not found]";
        assert_eq!(answer["status"], json!({"user": {}, "error": error}));
    }

    pub(super) async fn a_token_may_be_bound_to_a_pod(admin: Caller) {
        for account in ["robot", "other"] {
            admin.create(&admin.inside("serviceaccounts"), json!({"metadata": {"name": account}})).await;
        }
        let spec = json!({"serviceAccountName": "robot", "containers": [{"name": "main", "image": "app:1"}]});
        let pod = json!({"metadata": {"name": "p"}, "spec": spec});
        let pod = admin.create(&admin.inside("pods"), pod).await;
        let bound = json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}});
        let (_, robot) = admin.robot("robot", bound.clone()).await;
        let (_, who) = robot.post(WHO, json!({})).await;
        let extra = &who["status"]["userInfo"]["extra"];
        assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["p"]));
        assert_eq!(extra["authentication.kubernetes.io/pod-uid"], json!([pod["metadata"]["uid"]]));
        let (code, refused) =
            admin.post(&admin.inside("serviceaccounts/other/token"), json!({"spec": bound})).await;
        assert_eq!(code, 400);
        assert_eq!(
            message(&refused),
            "cannot bind token for serviceaccount \"other\" to pod running with different serviceaccount name."
        );
        admin.delete(&admin.inside("pods/p?gracePeriodSeconds=0")).await;
        robot.until(401, "/version").await;
    }

    pub(super) async fn bad_tokens_and_requests_for_them_are_refused(admin: Caller) {
        for path in ["/api/v1/pods", "/healthz", "/version"] {
            let (code, refused) = admin.showing("abc").get(path).await;
            assert_eq!((code, message(&refused)), (401, "Unauthorized"), "{path}");
        }
        let path = admin.inside("serviceaccounts/default/token");
        for (seconds, why) in [
            (599, "may not specify a duration less than 10 minutes"),
            (5_000_000_000_i64, "may not specify a duration larger than 2^32 seconds"),
        ] {
            let (code, refused) = admin.post(&path, json!({"spec": {"expirationSeconds": seconds}})).await;
            let expected = format!(
                "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: {seconds}: \
                 {why}"
            );
            assert_eq!((code, message(&refused)), (422, expected.as_str()));
        }
        let (code, refused) = admin.post(&admin.inside("serviceaccounts/nobody/token"), json!({})).await;
        assert_eq!((code, message(&refused)), (404, "serviceaccounts \"nobody\" not found"));
        assert_eq!(admin.get(&path).await.0, 405);
        let (_, other) = admin.robot("default", json!({"audiences": ["somebody"]})).await;
        assert_eq!(other.get("/version").await.0, 401);
    }

    pub(super) async fn impersonation_needs_its_verb(admin: Caller) {
        let space = admin.own.as_str();
        let (_, refused) = admin.acting_as("bob").get(&admin.inside("pods/x/log")).await;
        assert_eq!(
            message(&refused),
            format!(
                "pods \"x\" is forbidden: User \"bob\" cannot get resource \"pods/log\" in API group \"\" in the \
                 namespace \"{space}\""
            )
        );
        assert_eq!(refused["details"], json!({"name": "x", "kind": "pods"}));
        let rules = json!([
            {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["carol"]},
            rule("", "groups", &["impersonate"]),
        ]);
        let subject = json!({"kind": "ServiceAccount", "name": "default", "namespace": space});
        admin.grant(true, space, rules, subject).await;
        let (_, robot) = admin.robot("default", json!({})).await;
        let carol = robot.acting_as("carol").with("impersonate-group", "devs");
        carol.until(200, "/version").await;
        let (_, who) = carol.post(WHO, json!({})).await;
        let info = json!({"username": "carol", "groups": ["devs", "system:authenticated"]});
        assert_eq!(who["status"]["userInfo"], info);
        let (code, refused) = robot.acting_as("dave").get("/version").await;
        assert_eq!(code, 403);
        assert_eq!(
            message(&refused),
            format!(
                "users \"dave\" is forbidden: User \"system:serviceaccount:{space}:default\" cannot impersonate \
                 resource \"users\" in API group \"\" at the cluster scope"
            )
        );
        let (code, refused) = carol.with("impersonate-uid", "12").get("/version").await;
        assert_eq!(code, 403);
        assert!(message(&refused).starts_with("uids.authentication.k8s.io \"12\" is forbidden"), "{refused}");
        assert_eq!(admin.with("impersonate-group", "devs").get("/version").await.0, 500);
    }

    pub(super) async fn roles_say_what_may_be_done(admin: Caller) {
        let space = admin.own.as_str();
        let maps = admin.inside("configmaps");
        for name in ["one", "two"] {
            admin.create(&maps, json!({"metadata": {"name": name}})).await;
        }
        let rules = json!([
            {
                "apiGroups": [""],
                "resources": ["configmaps"],
                "verbs": ["get", "list", "patch"],
                "resourceNames": ["one"],
            },
            rule("", "configmaps", &["deletecollection"]),
            rule("apps", "*/scale", &["get"]),
        ]);
        admin.grant(false, "some", rules, user("bob")).await;
        let bob = admin.acting_as("bob");
        let one = format!("{maps}/one");
        bob.until(200, &one).await;
        assert_eq!(bob.get(&format!("{maps}/two")).await.0, 403);
        assert_eq!(bob.get(&maps).await.0, 403);
        assert_eq!(bob.get(&format!("{maps}?fieldSelector=metadata.name%3Done")).await.0, 200);
        let web = format!("/apis/apps/v1/namespaces/{space}/deployments/web");
        assert_eq!(bob.get(&format!("{web}/scale")).await.0, 404);
        assert_eq!(bob.get(&web).await.0, 403);
        assert_eq!(bob.merge(&one, json!({"data": {"k": "v"}})).await.0, 200);
        let applied =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"k": "w"}});
        assert_eq!(bob.apply(&one, applied.clone()).await.0, 200);
        assert_eq!(bob.delete(&maps).await.0, 200);
        let (code, refused) = bob.apply(&one, applied).await;
        assert_eq!(code, 403);
        assert_eq!(
            message(&refused),
            format!(
                "configmaps \"one\" is forbidden: User \"bob\" cannot create resource \"configmaps\" in API group \
                 \"\" in the namespace \"{space}\""
            )
        );
        let (code, refused) = bob.get("/apis/no.such/v1/things").await;
        assert_eq!(code, 403);
        assert!(message(&refused).starts_with("things.no.such is forbidden"), "{refused}");
        let (code, refused) = bob.get("/metrics").await;
        let expected = "forbidden: User \"bob\" cannot get path \"/metrics\"";
        assert_eq!((code, message(&refused)), (403, expected));
        for path in ["/api", "/apis/apps/v1", "/version", "/openapi/v3"] {
            assert_eq!(bob.get(path).await.0, 200, "{path}");
        }
        let anonymous = admin.acting_as("system:anonymous");
        assert_eq!(anonymous.get("/version").await.0, 200);
        assert_eq!(anonymous.get("/api").await.0, 403);
    }

    pub(super) async fn nobody_grants_what_they_do_not_hold(admin: Caller) {
        let space = admin.own.as_str();
        let rules = json!([
            {
                "apiGroups": ["rbac.authorization.k8s.io"],
                "resources": ["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
                "verbs": ["create", "get", "patch", "update"],
            },
            rule("", "pods", &["get"]),
        ]);
        admin.grant(true, space, rules, user("alice")).await;
        let alice = admin.acting_as("alice");
        let (roles, bindings) = (admin.rbac("roles"), admin.rbac("rolebindings"));
        alice.until(404, &format!("{roles}/none")).await;
        let role = |name: &str, rules: Value| json!({"metadata": {"name": name}, "rules": rules});
        alice.create(&roles, role("ok", json!([rule("", "pods", &["get"])]))).await;
        let wanted = json!([
            {"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["x"], "verbs": ["*"]},
        ]);
        let (code, refused) = alice.post(&roles, role("r", wanted)).await;
        assert_eq!(code, 403);
        assert_eq!(
            message(&refused),
            "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"alice\" (groups=[\"system:authenticated\"]) is \
             attempting to grant RBAC permissions not currently held:\n\
             {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}\n\
             {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}\n\
             {APIGroups:[\"apps\"], Resources:[\"deployments\"], ResourceNames:[\"x\"], Verbs:[\"*\"]}"
        );
        let more = json!({"rules": [rule("", "pods", &["get", "delete"])]});
        let ok = format!("{roles}/ok");
        assert_eq!(alice.merge(&ok, more.clone()).await.0, 403);
        assert_eq!(alice.merge(&ok, json!({"metadata": {"labels": {"a": "b"}}})).await.0, 200);
        let sum = json!({
            "metadata": {"name": format!("{space}-sum")},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"x": "z"}}]},
        });
        let (code, refused) = alice.post(&format!("{RBAC}/clusterroles"), sum).await;
        assert_eq!(code, 403);
        assert!(message(&refused).ends_with("must have cluster-admin privileges to use the aggregationRule"));
        let to = |kind: &str, role: &str| binding(space, kind, role, user("alice"));
        let everything = to("ClusterRole", "cluster-admin");
        let (code, refused) = alice.post(&format!("{RBAC}/clusterrolebindings"), everything).await;
        assert_eq!(code, 403);
        assert_eq!(
            message(&refused),
            format!(
                "clusterrolebindings.rbac.authorization.k8s.io \"{space}\" is forbidden: user \"alice\" \
                 (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
                 {{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}}\n\
                 {{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}}"
            )
        );
        assert_eq!(alice.post(&bindings, to("ClusterRole", "view")).await.0, 403);
        let (code, refused) = alice.post(&bindings, to("Role", "missing")).await;
        let expected = "rolebindings.rbac.authorization.k8s.io \"missing\" not found";
        assert_eq!((code, message(&refused)), (404, expected));
        alice.create(&bindings, to("Role", "ok")).await;
        let other = json!({"roleRef": {"name": "other"}});
        let (code, refused) = admin.merge(&format!("{bindings}/{space}"), other).await;
        assert_eq!(code, 422);
        assert!(message(&refused).ends_with("cannot change roleRef"), "{refused}");
        let verbs = json!([
            {
                "apiGroups": ["rbac.authorization.k8s.io"],
                "resources": ["clusterroles"],
                "verbs": ["bind"],
                "resourceNames": ["view"],
            },
            rule("rbac.authorization.k8s.io", "roles", &["escalate"]),
        ]);
        admin.grant(false, "granter", verbs, user("alice")).await;
        let granting = async {
            while alice.merge(&ok, more.clone()).await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(DEADLINE, granting).await.expect("escalate allows it");
        alice.create(&bindings, binding("viewer", "ClusterRole", "view", user("bob"))).await;
        let editor = binding("editor", "ClusterRole", "edit", user("bob"));
        assert_eq!(alice.post(&bindings, editor).await.0, 403);
    }

    pub(super) async fn the_roles_of_every_cluster_are_there(admin: Caller) {
        let space = admin.own.as_str();
        for role in ["view", "edit", "admin", "cluster-admin"] {
            let bound = binding(role, "ClusterRole", role, user(role));
            admin.create(&admin.rbac("rolebindings"), bound).await;
        }
        let asks = async |user: &str, verb: &str, group: &str, resource: &str, namespace: &str| {
            let attributes =
                json!({"verb": verb, "group": group, "resource": resource, "namespace": namespace});
            let review = json!({"spec": {"resourceAttributes": attributes}});
            let path = format!("{REVIEWS}/selfsubjectaccessreviews");
            admin.acting_as(user).create(&path, review).await["status"]["allowed"] == true
        };
        admin.acting_as("cluster-admin").until(200, &admin.inside("secrets")).await;
        let rbac = "rbac.authorization.k8s.io";
        for (user, verb, group, resource, allowed) in [
            ("view", "list", "", "pods", true),
            ("view", "list", "", "secrets", false),
            ("view", "create", "apps", "deployments", false),
            ("edit", "list", "", "secrets", true),
            ("edit", "create", "apps", "deployments", true),
            ("edit", "create", rbac, "roles", false),
            ("admin", "create", rbac, "rolebindings", true),
            ("admin", "update", "", "resourcequotas", false),
            ("cluster-admin", "update", "", "resourcequotas", true),
        ] {
            assert_eq!(asks(user, verb, group, resource, space).await, allowed, "{user} {verb} {resource}");
            assert!(!asks(user, verb, group, resource, "default").await, "{user} elsewhere");
        }
        // What the author of a CRD adds to them by a label.
        let role = json!({
            "metadata": {"name": space, "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
            "rules": [rule("example.io", space, &["get"])],
        });
        admin.create(&format!("{RBAC}/clusterroles"), role).await;
        let summing = async {
            while !asks("admin", "get", "example.io", space, space).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(DEADLINE, summing).await.expect("view is part of edit, edit of admin");
        let (_, view) = admin.get(&format!("{RBAC}/clusterroles/view")).await;
        assert_eq!(view["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    }

    pub(super) async fn reviews_tell_what_would_be_decided(admin: Caller) {
        let space = admin.own.as_str();
        let rules = json!([rule("", "pods", &["get", "list"])]);
        admin.grant(false, "reader", rules, user("bob")).await;
        let bob = admin.acting_as("bob");
        bob.until(200, &admin.inside("pods")).await;
        let pods = |namespace: &str| json!({"verb": "list", "resource": "pods", "namespace": namespace});
        let asked = |spec: Value| json!({"spec": spec});
        let own = format!("{REVIEWS}/selfsubjectaccessreviews");
        let answer = bob.create(&own, asked(json!({"resourceAttributes": pods(space)}))).await;
        let reason =
            format!("RBAC: allowed by RoleBinding \"reader/{space}\" of Role \"reader\" to User \"bob\"");
        assert_eq!(answer["status"], json!({"allowed": true, "reason": reason}));
        let answer = bob.create(&own, asked(json!({"resourceAttributes": pods("default")}))).await;
        assert_eq!(answer["status"], json!({"allowed": false}));
        let others = format!("{REVIEWS}/subjectaccessreviews");
        let about_bob =
            |namespace: &str| asked(json!({"user": "bob", "resourceAttributes": pods(namespace)}));
        assert_eq!(admin.create(&others, about_bob(space)).await["status"]["allowed"], true);
        assert_eq!(bob.post(&others, about_bob(space)).await.0, 403);
        let (code, refused) = admin.post(&others, asked(json!({"resourceAttributes": pods(space)}))).await;
        assert_eq!(code, 422);
        assert_eq!(
            message(&refused),
            ".authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at least one of user or group must \
             be specified"
        );
        let (code, refused) = bob.post(&own, asked(json!({}))).await;
        assert_eq!(code, 422);
        let expected = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        assert!(message(&refused).ends_with(expected), "{refused}");
        let local = format!("{REVIEWS}/namespaces/{space}/localsubjectaccessreviews");
        assert_eq!(admin.create(&local, about_bob(space)).await["status"]["allowed"], true);
        let (code, refused) = admin.post(&local, about_bob("default")).await;
        assert_eq!(code, 422, "{refused}");
        let path = format!("{REVIEWS}/selfsubjectrulesreviews");
        let answer = bob.create(&path, asked(json!({"namespace": space}))).await;
        let listed = answer["status"]["resourceRules"].as_array().cloned().unwrap_or_default();
        let own = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]});
        assert!(listed.contains(&own), "{answer}");
        let (code, refused) = bob.post(&path, asked(json!({}))).await;
        assert_eq!((code, message(&refused)), (400, "no namespace on request"));
        assert_eq!(admin.get(&others).await.0, 405);
    }
}

#[tokio::test]
async fn a_token_outlives_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = async || {
        let api = EmbeddedApi::builder().data_dir(Some(directory.path().to_owned())).start().await;
        Cluster::of(api.expect("started"))
    };
    let caller = |cluster: &Cluster| {
        let admin = Caller::administrator(cluster.client.clone(), cluster.client.clone());
        Caller { own: "default".to_owned(), ..admin }
    };
    let cluster = start().await;
    let (token, robot) = caller(&cluster).robot("default", json!({})).await;
    assert_eq!(robot.get("/version").await.0, 200);
    cluster.api.stop().await;
    let cluster = start().await;
    let robot = caller(&cluster).showing(&token);
    assert_eq!(robot.get("/version").await.0, 200);
    let (code, keys) = robot.get("/openid/v1/jwks").await;
    assert_eq!((code, &keys["keys"][0]["kty"]), (200, &json!("EC")));
    let (_, about) = robot.get("/.well-known/openid-configuration").await;
    assert_eq!(about["jwks_uri"], format!("{}/openid/v1/jwks", cluster.api.url()));
}

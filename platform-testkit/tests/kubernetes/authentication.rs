//! Tokens that somebody else vouches for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use platform_testkit::kubernetes::{EmbeddedApi, EmbeddedApiBuilder, TokenAuthenticator, User};
use serde_json::{Value, json};

/// Knows two tokens, and that a third has ended.
#[derive(Debug, Default)]
struct Gatekeeper(AtomicUsize);

#[async_trait]
impl TokenAuthenticator for Gatekeeper {
    async fn authenticate(&self, token: &str) -> Result<Option<User>, String> {
        self.0.fetch_add(1, Ordering::SeqCst);
        match token {
            "of-the-administrator" => Ok(Some(User::new("admin@example.com").group("system:masters"))),
            "of-a-reader" => Ok(Some(User::new("reader@example.com").group("readers"))),
            "of-yesterday" => Err("the token has ended".to_owned()),
            _ => Ok(None),
        }
    }
}

struct Cluster {
    cluster: crate::fixture::Cluster,
    gatekeeper: Arc<Gatekeeper>,
}

impl Cluster {
    async fn start() -> Self {
        Self::of(EmbeddedApi::builder()).await
    }

    async fn of(builder: EmbeddedApiBuilder) -> Self {
        let gatekeeper = Arc::new(Gatekeeper::default());
        let api = builder.authenticator(gatekeeper.clone()).start().await;
        Self { cluster: crate::fixture::Cluster::of(api.expect("the cluster starts")), gatekeeper }
    }

    async fn send(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = reqwest::Client::new().request(method, format!("{}{path}", self.cluster.api.url()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let code = answer.status().as_u16();
        (code, answer.json().await.unwrap_or_default())
    }

    async fn get(&self, path: &str, token: &str) -> u16 {
        self.send("GET", path, Some(token), None).await.0
    }

    async fn review(&self, token: &str, audiences: Option<Value>) -> Value {
        let mut review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
        if let Some(audiences) = audiences {
            review["spec"]["audiences"] = audiences;
        }
        let (code, answer) =
            self.send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", None, Some(review)).await;
        assert_eq!(code, 201, "{answer}");
        answer["status"].clone()
    }
}

const SECRETS: &str = "/api/v1/secrets";

#[tokio::test]
async fn whom_somebody_vouches_for_may_do_what_rbac_gives() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.get(SECRETS, "of-the-administrator").await, 200);
    assert_eq!(cluster.get(SECRETS, "of-a-reader").await, 403);
    assert_eq!(cluster.get("/api", "of-a-reader").await, 200, "everybody who is known discovers");
    for unknown in ["of-yesterday", "of-nobody"] {
        assert_eq!(cluster.get(SECRETS, unknown).await, 401, "{unknown}");
        assert_eq!(cluster.get("/api", unknown).await, 401, "{unknown}");
    }
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "readers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers"}],
    });
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(cluster.send("POST", path, Some("of-a-reader"), Some(binding.clone())).await.0, 403);
    assert_eq!(cluster.send("POST", path, Some("of-the-administrator"), Some(binding)).await.0, 201);
    assert_eq!(cluster.get(SECRETS, "of-a-reader").await, 200);
}

#[tokio::test]
async fn token_reviews_go_the_same_way() {
    let cluster = Cluster::start().await;
    let own = "https://kubernetes.default.svc.cluster.local";
    let status = cluster.review("of-a-reader", None).await;
    let user = json!({"username": "reader@example.com", "groups": ["readers", "system:authenticated"]});
    assert_eq!(status, json!({"authenticated": true, "user": user, "audiences": [own]}));
    let refused = |error: &str| json!({"user": {}, "error": error});
    assert_eq!(
        cluster.review("of-yesterday", None).await,
        refused("[invalid bearer token, the token has ended]")
    );
    assert_eq!(cluster.review("of-nobody", None).await, refused("invalid bearer token"));
    assert_eq!(cluster.review("of-a-reader", Some(json!(["vault"]))).await, refused("invalid bearer token"));
    assert_eq!(cluster.review("of-a-reader", Some(json!(["vault", own]))).await["audiences"], json!([own]));
}

#[tokio::test]
async fn tokens_of_service_accounts_stay_the_clusters_own() {
    let cluster = Cluster::start().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let (code, answer) = cluster.send("POST", path, None, Some(request)).await;
    assert_eq!(code, 201, "{answer}");
    let token = answer["status"]["token"].as_str().expect("a token");
    assert_eq!(cluster.get("/api", token).await, 200);
    let broken = format!("{}AAAA", &token[..token.len() - 4]);
    assert_eq!(cluster.get("/api", &broken).await, 401);
    let status = cluster.review(token, None).await;
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
    assert_eq!(
        cluster.gatekeeper.0.load(Ordering::SeqCst),
        0,
        "nobody is asked about the cluster's own tokens"
    );
    assert_eq!(cluster.get("/api", "of-a-reader").await, 200);
    assert_eq!(cluster.gatekeeper.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_cluster_that_needs_credentials_lets_nobody_in_without_them() {
    let cluster = Cluster::of(EmbeddedApi::builder().needs_credentials()).await;
    let code = async |method: &str, path: &str| cluster.send(method, path, None, None).await.0;
    assert_eq!(code("GET", SECRETS).await, 403);
    assert_eq!(code("DELETE", "/api/v1/namespaces/default").await, 403);
    assert_eq!(code("GET", "/version").await, 200, "what kube-apiserver tells everybody");
    assert_eq!(cluster.get(SECRETS, "of-the-administrator").await, 200);
    let acting = reqwest::Client::new().get(format!("{}{SECRETS}", cluster.cluster.api.url()));
    let answer =
        acting.header("impersonate-user", "admin@example.com").header("impersonate-group", "system:masters");
    assert_eq!(answer.send().await.expect("an answer").status(), 403);
}

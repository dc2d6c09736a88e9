//! Authentication: the credentials of a request, and as whom it wants to act.
//!
//! A request without credentials is the administrator's, because the socket is on loopback and the kubeconfig of an
//! embedded cluster has none; or nobody's, if the cluster needs credentials. One with a bearer token is whose token it is, by the cluster's own tokens or by who vouches for others, and anything
//! else in the header is nobody known.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;

use super::token::{Claims, ISSUER, Reference, Tokens};
use super::user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, account_groups, account_name};
use super::{Access, ResourceAccess, TokenAuthenticator, User, require, webhook};
use crate::kubernetes::error::ApiError;
use crate::kubernetes::http::percent_decoded;
use crate::kubernetes::resource::GroupResource;
use crate::kubernetes::state::Key;
use crate::kubernetes::store::Store;

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const EXTRA: &str = "impersonate-extra-";
/// How far clocks may differ.
const LEEWAY_SECONDS: i64 = 60;

/// Who a request is from; one without credentials is from `unknown`.
///
/// 401 for a token that does not hold, 403 for who may not act as another.
pub(in crate::kubernetes) async fn identify(
    store: &Store,
    tokens: &Tokens,
    authenticator: Option<&dyn TokenAuthenticator>,
    unknown: Arc<User>,
    headers: &HeaderMap,
) -> Result<Arc<User>, ApiError> {
    let user = match headers.get(header::AUTHORIZATION) {
        None => unknown,
        Some(credentials) => match bearer(credentials) {
            None => User::anonymous(),
            Some(token) => {
                let audiences = [ISSUER.to_owned()];
                let user = user_of(store, tokens, authenticator, token, &audiences).await;
                Arc::new(user.map_err(|_| ApiError::unauthorized())?.0)
            }
        },
    };
    if headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return impersonated(store, &user, headers).map(Arc::new);
    }
    Ok(user)
}

/// Whose token it is, a service account's or one that `authenticator` knows, and which of the `audiences` it is for; or what is wrong with it.
pub(in crate::kubernetes) async fn user_of(
    store: &Store,
    tokens: &Tokens,
    authenticator: Option<&dyn TokenAuthenticator>,
    token: &str,
    audiences: &[String],
) -> Result<(User, Vec<String>), String> {
    match authenticator {
        Some(authenticator) if matches!(tokens.read(token), Ok(None)) => {
            // Such tokens name no audience: they are for the API server alone.
            let meant: Vec<String> = audiences.iter().filter(|one| *one == ISSUER).cloned().collect();
            if meant.is_empty() {
                return Err("invalid bearer token".to_owned());
            }
            Ok((webhook::ask(authenticator, token).await?, meant))
        }
        _ => account_of(store, tokens, token, audiences, Timestamp::now()),
    }
}

/// The service account that a token is of, and which of the `audiences` it is for; or what is wrong with it.
fn account_of(
    store: &Store,
    tokens: &Tokens,
    token: &str,
    audiences: &[String],
    now: Timestamp,
) -> Result<(User, Vec<String>), String> {
    let invalid = |why: String| format!("[invalid bearer token, {why}]");
    let claims = match tokens.read(token) {
        Ok(Some(claims)) => claims,
        Ok(None) => return Err("invalid bearer token".to_owned()),
        Err(why) => return Err(invalid(why)),
    };
    let meant: Vec<String> = audiences.iter().filter(|one| claims.aud.contains(one)).cloned().collect();
    if meant.is_empty() {
        let (own, target) = (super::rule::quoted(&claims.aud), super::rule::quoted(audiences));
        return Err(invalid(format!("token audiences {own} is invalid for the target audiences {target}")));
    }
    check(store, &claims, now.as_second()).map_err(invalid)?;
    let bound = &claims.bound;
    let mut user =
        User::service_account(&bound.namespace, &bound.serviceaccount.name, &bound.serviceaccount.uid);
    let mut extra = |name: &str, value: String| {
        user.extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value]);
    };
    extra("credential-id", format!("JTI={}", claims.jti));
    for (kind, reference) in [("node", &bound.node), ("pod", &bound.pod)] {
        if let Some(reference) = reference {
            extra(&format!("{kind}-name"), reference.name.clone());
            extra(&format!("{kind}-uid"), reference.uid.clone());
        }
    }
    Ok((user, meant))
}

/// A token lives as long as its time and every object that it is bound to.
fn check(store: &Store, claims: &Claims, now: i64) -> Result<(), String> {
    if now > claims.exp + LEEWAY_SECONDS {
        return Err("service account token has expired".to_owned());
    }
    if now < claims.nbf - LEEWAY_SECONDS {
        return Err("service account token is not valid yet".to_owned());
    }
    let bound = &claims.bound;
    let there = |kind: &str, plural: &'static str, namespace: &str, reference: &Reference| {
        let key = Key::new(&GroupResource::new("", plural), namespace, reference.name.clone());
        let found = store.get(&key).map_err(|missing| missing.message)?;
        match found["metadata"]["uid"].as_str() {
            Some(uid) if uid == reference.uid => Ok(()),
            uid => {
                let (uid, claimed) = (uid.unwrap_or_default(), &reference.uid);
                Err(format!("{kind} UID ({uid}) does not match claim ({claimed})"))
            }
        }
    };
    let namespace = bound.namespace.as_str();
    there("service account", "serviceaccounts", namespace, &bound.serviceaccount)?;
    match (&bound.pod, &bound.secret, &bound.node) {
        (Some(pod), _, _) => there("pod", "pods", namespace, pod),
        (None, Some(secret), _) => there("secret", "secrets", namespace, secret),
        (None, None, Some(node)) => there("node", "nodes", "", node),
        (None, None, None) => Ok(()),
    }
}

fn bearer(credentials: &HeaderValue) -> Option<&str> {
    let (scheme, token) = credentials.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// As whom `user` wants to act, if every part of that is allowed.
fn impersonated(store: &Store, user: &User, headers: &HeaderMap) -> Result<User, ApiError> {
    let text =
        |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let allowed = |group: &str, resource: &str, name: &str| {
        require(store, user, &ResourceAccess::new("impersonate", group, resource).named(name).into())
    };
    const AUTHENTICATION: &str = "authentication.k8s.io";
    let mut acted = User { name: text(&USER).to_owned(), ..User::default() };
    if acted.name.is_empty() {
        let why = "Internal Server Error: groups, extra fields or a UID were requested without impersonating a user";
        return Err(ApiError::new(500, "InternalError", why));
    }
    let groups: Vec<String> =
        headers.get_all(&GROUP).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    match account_name(&acted.name) {
        Some((namespace, name)) => {
            let account = ResourceAccess::new("impersonate", "", "serviceaccounts");
            require(store, user, &Access::from(account.within(namespace).named(name)))?;
            if groups.is_empty() {
                acted.groups = account_groups(namespace);
            }
        }
        None => allowed("", "users", &acted.name)?,
    }
    for group in groups {
        allowed("", "groups", &group)?;
        acted.groups.push(group);
    }
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else { continue };
        let key = percent_decoded(key).unwrap_or_else(|| key.to_owned());
        let value = value.to_str().unwrap_or_default();
        let extra = ResourceAccess::new("impersonate", AUTHENTICATION, "userextras");
        require(store, user, &Access::from(extra.subresource(key.clone()).named(value)))?;
        acted.extra.entry(key).or_default().push(value.to_owned());
    }
    let uid = text(&UID);
    if !uid.is_empty() {
        allowed(AUTHENTICATION, "uids", uid)?;
        uid.clone_into(&mut acted.uid);
    }
    let group = if acted.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !acted.is_in(group) && !acted.is_in(UNAUTHENTICATED) {
        acted.groups.push(group.to_owned());
    }
    Ok(acted)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use serde_json::json;

    use super::super::token::Bound;
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    struct Cluster {
        store: Arc<Store>,
        tokens: Tokens,
    }

    impl Cluster {
        fn new() -> Self {
            let store = Store::in_memory();
            let namespaces = crate::kubernetes::store::NAMESPACES;
            store.create(&namespaces, json!({"metadata": {"name": "a"}}), "test").unwrap();
            Self { store, tokens: Tokens::open(None).unwrap_or_else(|_| panic!("a key")) }
        }

        fn token(&self, seconds: i64) -> String {
            let key = Key::new(&GroupResource::new("", "serviceaccounts"), "a", "default");
            let account = self.store.get(&key).unwrap();
            let uid = account["metadata"]["uid"].as_str().unwrap().to_owned();
            let serviceaccount = Reference { name: "default".to_owned(), uid };
            let bound =
                Bound { namespace: "a".to_owned(), node: None, pod: None, secret: None, serviceaccount };
            let now = Timestamp::now().as_second();
            self.tokens
                .sign(&Claims {
                    aud: vec![ISSUER.to_owned()],
                    exp: now + seconds,
                    iat: now,
                    iss: ISSUER.to_owned(),
                    jti: "id".to_owned(),
                    bound,
                    nbf: now,
                    sub: "system:serviceaccount:a:default".to_owned(),
                })
                .unwrap()
        }

        fn who(&self, pairs: &[(&'static str, &str)]) -> Result<Arc<User>, u16> {
            let identified =
                identify(&self.store, &self.tokens, None, User::administrator(), &headers(pairs))
                    .now_or_never();
            identified.unwrap().map_err(|error| error.code)
        }
    }

    #[test]
    fn credentials_say_who_asks() {
        let cluster = Cluster::new();
        assert_eq!(cluster.who(&[]), Ok(User::administrator()));
        let token = cluster.token(600);
        let account = cluster.who(&[("authorization", &format!("Bearer {token}"))]).unwrap();
        assert_eq!(account.name, "system:serviceaccount:a:default");
        assert_eq!(account.extra["authentication.kubernetes.io/credential-id"], ["JTI=id"]);
        assert_eq!(cluster.who(&[("authorization", "Bearer abc")]), Err(401));
        for unknown in ["Basic YTpi", "Bearer", "bearer "] {
            assert_eq!(cluster.who(&[("authorization", unknown)]), Ok(User::anonymous()), "{unknown}");
        }
    }

    #[test]
    fn a_token_ends_with_its_time_and_with_its_account() {
        let cluster = Cluster::new();
        let expired = cluster.token(-LEEWAY_SECONDS - 1);
        assert_eq!(cluster.who(&[("authorization", &format!("Bearer {expired}"))]), Err(401));
        let token = cluster.token(600);
        let audience = ["somebody".to_owned()];
        let other = account_of(&cluster.store, &cluster.tokens, &token, &audience, Timestamp::now());
        assert!(other.is_err_and(|why| why.ends_with("for the target audiences [\"somebody\"]]")));
        let key = Key::new(&GroupResource::new("", "serviceaccounts"), "a", "default");
        cluster.store.delete(&key, &crate::kubernetes::DeleteOptions::default()).unwrap();
        assert_eq!(cluster.who(&[("authorization", &format!("Bearer {token}"))]), Err(401));
        let again = json!({"metadata": {"name": "default", "namespace": "a"}});
        cluster.store.create(&key.resource, again, "test").unwrap();
        assert_eq!(cluster.who(&[("authorization", &format!("Bearer {token}"))]), Err(401));
    }

    #[test]
    fn the_administrator_may_act_as_anybody() {
        let cluster = Cluster::new();
        let bob = cluster.who(&[
            ("impersonate-user", "bob"),
            ("impersonate-group", "g1"),
            ("impersonate-group", "g2"),
            ("impersonate-uid", "12"),
            ("impersonate-extra-scopes%2fa", "one"),
            ("impersonate-extra-scopes%2fa", "two"),
        ]);
        let info = json!({
            "username": "bob", "uid": "12", "groups": ["g1", "g2", "system:authenticated"],
            "extra": {"scopes/a": ["one", "two"]},
        });
        assert_eq!(bob.unwrap().info(), info);
        let robot = cluster.who(&[("impersonate-user", "system:serviceaccount:a:b")]).unwrap();
        assert_eq!(
            robot.groups,
            ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]
        );
        assert_eq!(cluster.who(&[("impersonate-user", "system:anonymous")]), Ok(User::anonymous()));
        assert_eq!(cluster.who(&[("impersonate-group", "g")]), Err(500));
    }

    #[test]
    fn others_may_not_act_as_anybody() {
        let cluster = Cluster::new();
        let credentials = format!("Bearer {}", cluster.token(600));
        let refused = |pairs: &[(&'static str, &str)]| {
            let all: Vec<_> =
                [("authorization", credentials.as_str())].iter().chain(pairs).copied().collect();
            let identified =
                identify(&cluster.store, &cluster.tokens, None, User::administrator(), &headers(&all))
                    .now_or_never();
            let error = identified.unwrap().unwrap_err();
            (error.code, error.message)
        };
        let (code, message) = refused(&[("impersonate-user", "bob")]);
        assert_eq!(code, 403);
        assert_eq!(
            message,
            "users \"bob\" is forbidden: User \"system:serviceaccount:a:default\" cannot impersonate resource \"users\" \
             in API group \"\" at the cluster scope"
        );
        let (_, message) = refused(&[("impersonate-user", "system:serviceaccount:b:c")]);
        assert!(message.contains("resource \"serviceaccounts\" in API group \"\" in the namespace \"b\""));
    }
}

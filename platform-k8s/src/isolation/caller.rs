//! Requests as one principal, and what the answers mean to an isolation.

use crate::connection::client;
use async_trait::async_trait;
use http::{Method, header};
use kube::{client::Body, core::Status};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{ClusterAccess, Credential, CredentialSource},
    isolation::{Barrier, NotTried, Verdict},
};
use secrecy::SecretString;
use serde_json::Value;
use std::{
    fmt,
    time::{Duration, SystemTime},
};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a request is sent whose answer says nothing yet.
const TRIES: u32 = 8;
/// Between them.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends requests as one principal.
#[derive(Clone)]
pub(super) struct Caller(kube::Client);

/// What the server answered: what was asked for, or its refusal.
pub(super) type Answer = std::result::Result<Value, Box<Status>>;

impl Caller {
    pub(super) fn new(client: kube::Client) -> Self {
        Self(client)
    }

    /// Who shows `token` to the server behind `access`.
    pub(super) fn with_token(access: &ClusterAccess, token: SecretString) -> Result<Self> {
        let access = access.clone().credentials(std::sync::Arc::new(Token(token)));
        Ok(Self(client::client(&access)?))
    }

    /// Sends until answered. An error says that no answer came.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer> {
        let mut tries = 1;
        loop {
            let answer = match tokio::time::timeout(REQUEST_TIMEOUT, self.send_once(call)).await {
                Ok(answer) => answer,
                Err(_) => Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("the API server did not answer within {REQUEST_TIMEOUT:?}"),
                )),
            };
            let again = match &answer {
                Ok(Ok(_)) => false,
                Ok(Err(status)) => says_nothing_yet(status),
                Err(error) => error.is_retryable(),
            };
            if !again || tries == TRIES {
                return answer.map_err(|e| e.operation("try").subject(call.to_string()));
            }
            tokio::time::sleep(PAUSE).await;
            tries += 1;
        }
    }

    async fn send_once(&self, call: &Call) -> Result<Answer> {
        let response = self.0.send(call.http()?).await.map_err(crate::connection::error::from_kube)?;
        let (parts, body) = response.into_parts();
        let body = body.collect_bytes().await.map_err(crate::connection::error::from_kube)?;
        if parts.status.is_success() {
            return Ok(Ok(serde_json::from_slice(&body).unwrap_or_default()));
        }
        let mut status: Status = serde_json::from_slice(&body).unwrap_or_else(|_| {
            let text: String = String::from_utf8_lossy(&body).trim().chars().take(300).collect();
            Status::failure(&text, "")
        });
        status.code = parts.status.as_u16();
        Ok(Err(status.boxed()))
    }
}

/// A server that is busy, or a quota that nobody has counted yet.
fn says_nothing_yet(status: &Status) -> bool {
    matches!(status.code, 429 | 500..=599) || status.message.contains("status unknown for quota")
}

/// A bearer token that lives as long as the caller.
struct Token(SecretString);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[async_trait]
impl CredentialSource for Token {
    async fn credential(&self) -> Result<Credential> {
        Ok(Credential::Bearer { token: self.0.clone(), expires: None::<SystemTime> })
    }
}

/// One request.
#[derive(Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    content_type: &'static str,
    body: Option<Value>,
    user: Option<&'static str>,
}

impl Call {
    fn new(method: Method, path: impl Into<String>, body: Option<Value>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            content_type: "application/json",
            body,
            user: None,
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, None)
    }

    pub(super) fn create(path: impl Into<String>, object: Value) -> Self {
        Self::new(Method::POST, path, Some(object))
    }

    pub(super) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path, None)
    }

    /// Server-side apply.
    pub(super) fn apply(path: impl Into<String>, object: Value) -> Self {
        let call = Self::new(Method::PATCH, path, Some(object)).query("fieldManager", "isolation-probe");
        Self { content_type: "application/apply-patch+yaml", ..call }
    }

    /// A merge patch.
    pub(super) fn patch(path: impl Into<String>, patch: Value) -> Self {
        let call = Self::new(Method::PATCH, path, Some(patch));
        Self { content_type: "application/merge-patch+json", ..call }
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, None)
    }

    /// The same without any effect.
    pub(super) fn dry(self) -> Self {
        self.query("dryRun", "All")
    }

    /// The same in somebody else's name.
    pub(super) fn acting_as(mut self, user: &'static str) -> Self {
        self.user = Some(user);
        self
    }

    /// `value` must need no escaping.
    pub(super) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    fn http(&self) -> Result<http::Request<Body>> {
        let mut uri = self.path.clone();
        for (at, (key, value)) in self.query.iter().enumerate() {
            uri.push(if at == 0 { '?' } else { '&' });
            uri.push_str(key);
            uri.push('=');
            uri.push_str(value);
        }
        let mut request = http::Request::builder()
            .method(&self.method)
            .uri(uri)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, self.content_type);
        if let Some(user) = self.user {
            request = request.header("Impersonate-User", user);
        }
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        request
            .body(Body::from(body.into_bytes()))
            .map_err(|e| Error::internal(format!("{self} is no request")).source(e))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// What an answer says about the border that the request was to cross.
pub(super) fn verdict(answer: &Result<Answer>) -> Verdict {
    let failed = |reason: String| Verdict::NotTried { why: NotTried::Failed { reason } };
    match answer {
        Ok(Ok(_)) => Verdict::Allowed,
        Ok(Err(status)) => match barrier(status) {
            Some(by) => Verdict::Stopped { by },
            // Who may not do it is told so before anybody looks whether the object is there.
            None if matches!(status.code, 404 | 409) => Verdict::Allowed,
            None => failed(format!("the API server answered {}: {}", status.code, status.message)),
        },
        Err(error) => failed(error.to_string()),
    }
}

/// What refused, by the words of the server: it has no other way to say it.
fn barrier(status: &Status) -> Option<Barrier> {
    let message = status.message.as_str();
    let quoted = |before: &str, end: char| {
        let (_, rest) = message.split_once(before)?;
        Some(rest.split_once(end)?.0.to_owned())
    };
    if let Some(name) = quoted("ValidatingAdmissionPolicy '", '\'') {
        return Some(Barrier::AdmissionPolicy { name });
    }
    if let Some(name) = quoted("admission webhook \"", '"') {
        return Some(Barrier::AdmissionWebhook { name });
    }
    match status.code {
        401 => Some(Barrier::Authentication),
        403 if message.contains("violates PodSecurity") => Some(Barrier::PodSecurity),
        403 if message.contains("exceeded quota: ") => {
            Some(Barrier::ResourceQuota { name: quoted("exceeded quota: ", ',').unwrap_or_default() })
        }
        403 if message.contains(" cannot ") || message.contains("attempting to grant") => {
            Some(Barrier::AccessControl)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, message: &str) -> Verdict {
        verdict(&Ok(Err(Status::failure(message, "").with_code(code).boxed())))
    }

    fn stopped(by: Barrier) -> Verdict {
        Verdict::Stopped { by }
    }

    #[test]
    fn what_stopped_an_attempt_is_read_from_the_servers_words() {
        let rbac = "pods is forbidden: User \"system:serviceaccount:a:deployer\" cannot list resource \"pods\" in API group \"\" in the namespace \"b\"";
        assert_eq!(of(403, rbac), stopped(Barrier::AccessControl));
        let escalation = "roles.rbac.authorization.k8s.io \"deployer\" is forbidden: user \"a\" (groups=[\"b\"]) is attempting to grant RBAC permissions not currently held:\n{}";
        assert_eq!(of(403, escalation), stopped(Barrier::AccessControl));
        let security = "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": privileged (container \"a\")";
        assert_eq!(of(403, security), stopped(Barrier::PodSecurity));
        let quota = "pods \"a\" is forbidden: exceeded quota: platform, requested: requests.cpu=1M, used: requests.cpu=0, limited: requests.cpu=20";
        assert_eq!(of(403, quota), stopped(Barrier::ResourceQuota { name: "platform".into() }));
        let policy = "namespaces \"production\" is forbidden: ValidatingAdmissionPolicy 'deletion-guard.shop.production' with binding 'deletion-guard.shop.production' denied request: it cannot be";
        let name = "deletion-guard.shop.production".to_owned();
        assert_eq!(of(403, policy), stopped(Barrier::AdmissionPolicy { name }));
        let webhook = "admission webhook \"guard.example.com\" denied the request: no";
        assert_eq!(of(403, webhook), stopped(Barrier::AdmissionWebhook { name: "guard.example.com".into() }));
        assert_eq!(of(401, "Unauthorized"), stopped(Barrier::Authentication));
    }

    #[test]
    fn what_is_let_through_to_nothing_is_let_through() {
        assert_eq!(of(404, "configmaps \"a\" not found"), Verdict::Allowed);
        assert_eq!(of(409, "configmaps \"a\" already exists"), Verdict::Allowed);
        // Neither an approval nor a border.
        for (code, message) in [(422, "spec: Invalid value"), (403, "namespace a is being terminated")] {
            assert!(
                matches!(of(code, message), Verdict::NotTried { why: NotTried::Failed { .. } }),
                "{message}"
            );
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", Token("very-secret".to_owned().into())), "Token");
    }
}

//! Requests as they go over the wire, answers as they come.

use http::{HeaderMap, Method};
use kube::{Client, client::Body};
use serde_json::Value;
use std::time::Duration;

/// One request and its answer may take so long.
const TIMEOUT: Duration = Duration::from_secs(45);
/// A server that is starting to serve a new kind, or is busy, says to try again: so often.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// Somebody who asks the server.
#[derive(Clone)]
pub(super) struct Caller {
    client: Client,
    headers: Vec<(&'static str, String)>,
}

impl Caller {
    pub(super) fn new(client: Client) -> Self {
        Self { client, headers: Vec::new() }
    }

    /// The same with a header on each request.
    pub(super) fn with(&self, header: &'static str, value: impl Into<String>) -> Self {
        let mut caller = self.clone();
        caller.headers.push((header, value.into()));
        caller
    }

    pub(super) fn get(&self, path: impl Into<String>) -> Request {
        self.request(Method::GET, path)
    }

    pub(super) fn post(&self, path: impl Into<String>, body: &Value) -> Request {
        self.request(Method::POST, path).body("application/json", body.to_string())
    }

    pub(super) fn put(&self, path: impl Into<String>, body: &Value) -> Request {
        self.request(Method::PUT, path).body("application/json", body.to_string())
    }

    pub(super) fn delete(&self, path: impl Into<String>) -> Request {
        self.request(Method::DELETE, path)
    }

    /// A JSON merge patch (RFC 7396).
    pub(super) fn merge(&self, path: impl Into<String>, patch: &Value) -> Request {
        self.patch(path, "application/merge-patch+json", patch)
    }

    /// A JSON patch (RFC 6902).
    pub(super) fn json_patch(&self, path: impl Into<String>, patch: &Value) -> Request {
        self.patch(path, "application/json-patch+json", patch)
    }

    pub(super) fn strategic(&self, path: impl Into<String>, patch: &Value) -> Request {
        self.patch(path, "application/strategic-merge-patch+json", patch)
    }

    /// Server-side apply as `manager`.
    pub(super) fn apply(&self, path: impl Into<String>, manager: &str, object: &Value) -> Request {
        self.patch(path, "application/apply-patch+yaml", object).query("fieldManager", manager)
    }

    pub(super) fn patch(&self, path: impl Into<String>, kind: &str, patch: &Value) -> Request {
        self.request(Method::PATCH, path).body(kind, patch.to_string())
    }

    pub(super) fn request(&self, method: Method, path: impl Into<String>) -> Request {
        let headers = self.headers.clone();
        let client = self.client.clone();
        Request { client, method, path: path.into(), query: Vec::new(), headers, body: Vec::new() }
    }
}

/// A request before it is sent.
#[derive(Clone)]
pub(super) struct Request {
    client: Client,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(super) fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut request = self.header("content-type", content_type);
        request.body = body.into();
        request
    }

    /// With options in the body, as deletions have them.
    pub(super) fn options(self, options: &Value) -> Self {
        self.body("application/json", options.to_string())
    }

    pub(super) fn dry(self) -> Self {
        self.query("dryRun", "All")
    }

    /// The answer, whatever its code. A server that says to try again later is asked again.
    pub(super) async fn send(self) -> Result<Answer, String> {
        let what = format!("{} {}", self.method, self.path);
        for _ in 1..TRIES {
            let answer = self.once(&what).await?;
            if !answer.says_later() {
                return Ok(answer);
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.once(&what).await
    }

    /// The body of an answer of success.
    pub(super) async fn ok(self) -> Result<Value, String> {
        Ok(self.answers_ok().await?.body)
    }

    /// An answer of success.
    pub(super) async fn answers_ok(self) -> Result<Answer, String> {
        let answer = self.send().await?;
        if (200..300).contains(&answer.code) {
            return Ok(answer);
        }
        Err(format!("{}: must succeed, is {}", answer.what, answer.text()))
    }

    /// The `Status` of a refusal, which must have this code and reason; an empty reason is not compared.
    pub(super) async fn refused(self, code: u16, reason: &str) -> Result<Value, String> {
        let answer = self.send().await?;
        let status = &answer.body;
        let is_status =
            status["kind"] == "Status" && status["apiVersion"] == "v1" && status["status"] == "Failure";
        let coded = answer.code == code && status["code"] == code;
        if is_status && coded && (reason.is_empty() || status["reason"] == reason) {
            return Ok(answer.body);
        }
        Err(format!(
            "{}: must be refused with {code} {reason}, is {} {}",
            answer.what,
            answer.code,
            answer.text()
        ))
    }

    /// The head of the answer and its body as it comes.
    pub(super) async fn open(self) -> Result<(u16, Body), String> {
        let what = format!("{} {}", self.method, self.path);
        let (head, body) = self.exchange(&what).await?.into_parts();
        Ok((head.status.as_u16(), body))
    }

    async fn once(&self, what: &str) -> Result<Answer, String> {
        let work = async {
            let (head, body) = self.exchange(what).await?.into_parts();
            let bytes = body.collect_bytes().await.map_err(|e| format!("{what}: {e}"))?;
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let (code, headers) = (head.status.as_u16(), head.headers);
            Ok(Answer { what: what.to_owned(), code, headers, bytes: bytes.to_vec(), body })
        };
        match tokio::time::timeout(TIMEOUT, work).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("{what}: no answer within {TIMEOUT:?}")),
        }
    }

    async fn exchange(&self, what: &str) -> Result<http::Response<Body>, String> {
        let query: Vec<String> =
            self.query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let separator = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}{separator}{}", self.path, query.join("&"));
        let mut request = http::Request::builder().method(self.method.clone()).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(self.body.clone())).map_err(|e| format!("{what}: {e}"))?;
        self.client.send(request).await.map_err(|e| format!("{what}: {e}"))
    }
}

/// What the server answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// The method and path of the request.
    what: String,
    pub(super) code: u16,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
    /// The body as JSON; null where it is something else.
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(super) fn content_type(&self) -> &str {
        self.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The texts of the `Warning` headers.
    pub(super) fn warnings(&self) -> Vec<String> {
        let texts = self.headers.get_all("warning").iter();
        texts.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect()
    }

    /// 429 of a server that is busy or not yet ready; an eviction that a budget forbids is an answer.
    fn says_later(&self) -> bool {
        let status = self.body.to_string();
        self.code == 429 && !status.contains("DisruptionBudget") && !status.contains("disruption budget")
    }
}

/// Percent-encoding of a query's value.
fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let written = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_queries_are_encoded() {
        assert_eq!(encoded("tier in (a,b), !x=é"), "tier%20in%20%28a%2Cb%29%2C%20%21x%3D%C3%A9");
    }
}

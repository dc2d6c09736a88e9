//! HTTP, by the client that is there.

use http::Request;
use serde_json::Value;
use std::{future::Future, time::Duration};

/// A client of one server.
pub(crate) struct Http(kube::Client);

impl Http {
    /// Of a server without credentials: `http://127.0.0.1:3000`.
    pub(crate) fn at(url: &str) -> Self {
        Self(kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap())
    }

    /// Of a Kubernetes API server.
    pub(crate) fn of(client: kube::Client) -> Self {
        Self(client)
    }

    /// The answer of a GET that succeeds.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, String> {
        self.send(Request::get(path).body(Vec::new()).unwrap()).await
    }

    /// The answer of a POST that succeeds.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(request.body(body.to_string().into_bytes()).unwrap()).await
    }

    /// The text of a GET for a host name that succeeds.
    pub(crate) async fn get_from_host(&self, host: &str, path: &str) -> Result<String, String> {
        let request = Request::get(path).header("host", host).body(Vec::new()).unwrap();
        self.text(request).await
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<Value, String> {
        let text = self.text(request).await?;
        serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))
    }

    async fn text(&self, request: Request<Vec<u8>>) -> Result<String, String> {
        let answer = tokio::time::timeout(Duration::from_secs(20), self.0.request_text(request)).await;
        answer.map_err(|_| "no answer within 20 s".to_owned())?.map_err(|e| e.to_string())
    }
}

/// Asks until the answer is there, or fails with the last reason.
pub(crate) async fn eventually<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(reason) if tokio::time::Instant::now() > deadline => panic!("{what}: {reason}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

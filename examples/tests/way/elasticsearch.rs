//! What Elasticsearch has.

use platform_core::telemetry::document::{Signal, data_stream};
use serde_json::{Value, json};
use std::{future::Future, time::Duration};

pub(crate) struct Elasticsearch {
    url: String,
    http: reqwest::Client,
}

impl Elasticsearch {
    pub(crate) fn at(url: &str) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Self { url: url.trim_end_matches('/').to_owned(), http }
    }

    /// The documents of an environment whose fields are these; an error where there are none.
    pub(crate) async fn documents(
        &self,
        signal: Signal,
        environment: &str,
        fields: &[(&str, &str)],
    ) -> Result<Vec<Value>, String> {
        let pattern = format!("{}*", data_stream(signal, environment));
        let terms: Vec<Value> = fields.iter().map(|(name, value)| json!({"term": {*name: value}})).collect();
        let query = json!({"size": 10_000, "track_total_hits": true, "query": {"bool": {"filter": terms}}});
        self.post(&format!("/{pattern}/_refresh"), &Value::Null).await?;
        let found = self.post(&format!("/{pattern}/_search"), &query).await?;
        let hits = found["hits"]["hits"].as_array().cloned().unwrap_or_default();
        assert_eq!(found["hits"]["total"]["value"], hits.len(), "more than one page of {fields:?}");
        if hits.is_empty() {
            return Err(format!("{pattern} has no document with {fields:?}"));
        }
        Ok(hits.into_iter().map(|hit| hit["_source"].clone()).collect())
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let request = self.http.post(format!("{}{path}", self.url));
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.map_err(|error| format!("{path}: {error}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("{path}: {error}"))?;
        if !status.is_success() {
            return Err(format!("{path}: {status} {text}"));
        }
        serde_json::from_str(&text).map_err(|error| format!("{path}: {error}: {text}"))
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
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

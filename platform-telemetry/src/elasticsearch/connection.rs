//! How a cluster of Elasticsearch is reached, and what its answers mean.

use ::elasticsearch::{
    auth::Credentials,
    cert::{Certificate, CertificateValidation},
    http::{
        Method, Url,
        headers::{CONTENT_TYPE, HeaderMap, HeaderValue},
        transport::{MultiNodeConnectionPool, SingleNodeConnectionPool, Transport, TransportBuilder},
    },
};
use bytes::Bytes;
use platform_core::{Error, ErrorKind, Result};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::{fmt, iter::successors, time::Duration};

/// A cluster of Elasticsearch. Cheap to clone.
#[derive(Clone)]
pub struct Elasticsearch {
    transport: Transport,
    url: String,
}

/// Configures a connection.
#[must_use = "nothing is reached before `build`"]
pub struct ElasticsearchBuilder {
    urls: Vec<String>,
    credentials: Option<(Option<String>, SecretString)>,
    certificate_authority: Option<Vec<u8>>,
    compression: bool,
}

impl ElasticsearchBuilder {
    /// One more node: requests take turns.
    pub fn node(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// A user and a password.
    pub fn basic(mut self, user: impl Into<String>, password: impl Into<SecretString>) -> Self {
        self.credentials = Some((Some(user.into()), password.into()));
        self
    }

    /// An API key, as Elasticsearch gives it in `encoded`.
    pub fn api_key(mut self, encoded: impl Into<SecretString>) -> Self {
        self.credentials = Some((None, encoded.into()));
        self
    }

    /// The certificate authority of the nodes, as PEM. Default: Mozilla's roots.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificate_authority = Some(pem.into());
        self
    }

    /// Compresses requests with gzip: a quarter of the bytes for four times the CPU time. For networks that cost. Default: off.
    pub fn compression(mut self, compression: bool) -> Self {
        self.compression = compression;
        self
    }

    /// Makes the connection, which connects with the first request.
    pub fn build(self) -> Result<Elasticsearch> {
        let invalid =
            |problem: String| Error::invalid(problem).operation("configure").subject("Elasticsearch");
        let mut urls = Vec::new();
        for text in &self.urls {
            let url =
                Url::parse(text).map_err(|error| invalid(format!("its address is not a URL: {error}")))?;
            if !url.username().is_empty() || url.password().is_some() {
                return Err(
                    invalid("its address has credentials in it".to_owned()).help("give them with `basic`")
                );
            }
            urls.push(url);
        }
        let shown = urls.iter().map(Url::as_str).collect::<Vec<_>>().join(", ");
        let builder = match <[Url; 1]>::try_from(urls) {
            Ok([only]) => TransportBuilder::new(SingleNodeConnectionPool::new(only)),
            Err(several) => TransportBuilder::new(MultiNodeConnectionPool::round_robin(several, None)),
        };
        let mut builder = builder.request_body_compression(self.compression).enable_meta_header(false);
        if let Some((user, secret)) = self.credentials {
            let secret = secret.expose_secret().to_owned();
            builder = builder.auth(match user {
                Some(user) => Credentials::Basic(user, secret),
                None => Credentials::EncodedApiKey(secret),
            });
        }
        if let Some(pem) = self.certificate_authority {
            let authority = Certificate::from_pem(&pem)
                .map_err(|error| invalid(format!("the certificate authority is no PEM: {error}")))?;
            builder = builder.cert_validation(CertificateValidation::Full(authority));
        }
        let transport = builder.build().map_err(|error| invalid(error.to_string()))?;
        Ok(Elasticsearch { transport, url: shown })
    }
}

/// An answer, read whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
    retry_after: Option<Duration>,
}

impl Elasticsearch {
    /// A cluster by the address of a node: `https://host:9200`.
    pub fn builder(url: impl Into<String>) -> ElasticsearchBuilder {
        ElasticsearchBuilder {
            urls: vec![url.into()],
            credentials: None,
            certificate_authority: None,
            compression: false,
        }
    }

    /// A JSON request. The body of an answer with 2xx is read as JSON; of others see [`Answer::failure`].
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        deadline: Duration,
    ) -> Result<Value> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let answer = self.send(method, path, "application/json", body, deadline).await?;
        if !(200..300).contains(&answer.status) {
            return Err(answer.failure());
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "the answer is not JSON").retryable(true).source(error)
        })
    }

    /// Any request; an error is one of the exchange and not of the server.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Option<Bytes>,
        deadline: Duration,
    ) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        let exchange = async {
            let sent = self.transport.send(method, path, headers, None::<&()>, body, Some(deadline)).await?;
            let status = sent.status_code().as_u16();
            let wait = sent.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let body = sent.bytes().await?;
            Ok::<_, ::elasticsearch::Error>(Answer {
                status,
                body,
                retry_after: wait.map(Duration::from_secs),
            })
        };
        exchange.await.map_err(|error| {
            let (kind, message) = if error.is_timeout() {
                (ErrorKind::Timeout, format!("no answer within {deadline:?}"))
            } else {
                (ErrorKind::Unavailable, "the exchange failed".to_owned())
            };
            Error::new(kind, message)
                .retryable(true)
                .source(error)
                .help(format!("see whether Elasticsearch answers at {}", self.url))
        })
    }
}

impl Answer {
    /// What an answer that is not 2xx means.
    pub(super) fn failure(&self) -> Error {
        let kind = match self.status {
            401 | 403 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            413 => ErrorKind::Exhausted,
            400..=499 if self.status != 408 && self.status != 429 => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        let told: Option<Value> = serde_json::from_slice(&self.body).ok();
        let reason = told.as_ref().and_then(|told| {
            let error = told.get("error")?;
            let cause = error.pointer("/root_cause/0").unwrap_or(error);
            let text = |name| cause.get(name).and_then(Value::as_str);
            let whole = error.as_str().map(str::to_owned);
            let deepest = successors(Some(error), |cause| cause.get("caused_by")).last();
            let deepest = deepest.and_then(|cause| cause.get("reason")?.as_str());
            whole.or_else(|| {
                let reason = text("reason").unwrap_or_default();
                let deeper = deepest.filter(|deepest| !reason.contains(*deepest));
                let colon = if deeper.is_some() { ": " } else { "" };
                Some(format!("{}: {reason}{colon}{}", text("type")?, deeper.unwrap_or_default()))
            })
        });
        let message = match reason {
            Some(reason) => format!("{} {reason}", self.status),
            None => format!("status {}", self.status),
        };
        let error = Error::new(kind, message);
        match (kind, self.retry_after) {
            (ErrorKind::Denied, _) => {
                error.help("see the credentials and the privileges of this user in Elasticsearch")
            }
            (ErrorKind::Unavailable, Some(wait)) => error.retry_after(wait),
            _ => error,
        }
    }
}

impl fmt::Debug for Elasticsearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elasticsearch").field("url", &self.url).finish_non_exhaustive()
    }
}

impl fmt::Debug for ElasticsearchBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElasticsearchBuilder").field("urls", &self.urls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> Error {
        Answer { status, body: Bytes::from(body.to_owned()), retry_after: Some(Duration::from_secs(3)) }
            .failure()
    }

    #[test]
    fn statuses_say_what_is_to_be_done() {
        assert_eq!(failure(401, "").kind(), ErrorKind::Denied);
        assert_eq!(failure(413, "<html>").kind(), ErrorKind::Exhausted);
        assert!(!failure(413, "").is_retryable() && !failure(400, "").is_retryable());
        let busy = failure(
            429,
            r#"{"error":{"root_cause":[{"type":"es_rejected_execution_exception","reason":"full"}],"type":"x"}}"#,
        );
        assert!(busy.is_retryable());
        assert_eq!(busy.requested_wait(), Some(Duration::from_secs(3)));
        assert_eq!(busy.to_string(), "429 es_rejected_execution_exception: full");
        assert_eq!(failure(400, r#"{"error":"no handler found"}"#).to_string(), "400 no handler found");
    }

    #[test]
    fn addresses_are_checked_and_secrets_not_shown() {
        assert!(Elasticsearch::builder("nowhere").build().is_err());
        let error = Elasticsearch::builder("http://u:hunter2@host:9200").build().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        let builder = Elasticsearch::builder("http://host:9200").basic("u", "hunter2");
        assert!(!format!("{builder:?}").contains("hunter2"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("hunter2"));
    }
}

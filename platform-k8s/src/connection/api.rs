//! The few requests that are made, with a timeout, bounded concurrency and retries of what is transient.

use super::{
    error::{ApiError, retry_after_of},
    resource::{Resource, segment},
};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::{Method, StatusCode, header};
use kube::{client::Body, core::Status};
use platform_core::{Result, execution::RetryPolicy, manifest::ObjectRef};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// How long one request may take; a server answers a list of 500 objects in far less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Objects for each page of a list, as kubectl asks for them.
const PAGE: usize = 500;
const JSON: &str = "application/json";
/// Lists without what objects are about; servers that cannot do it answer with whole objects, which have the same metadata.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// How a server-side apply is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Only ask what would come of it.
    DryRun,
    /// Write.
    Write,
}

/// Requests to one API server.
#[derive(Clone)]
pub(crate) struct Api {
    client: kube::Client,
    limit: Arc<Semaphore>,
    concurrency: usize,
    field_manager: Arc<str>,
    retry: RetryPolicy,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("field_manager", &self.field_manager).finish_non_exhaustive()
    }
}

impl Api {
    pub(crate) fn new(client: kube::Client, field_manager: &str, concurrency: usize) -> Self {
        let concurrency = concurrency.max(1);
        Self {
            client,
            limit: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            field_manager: field_manager.into(),
            retry: RetryPolicy::default(),
        }
    }

    pub(crate) fn client(&self) -> &kube::Client {
        &self.client
    }

    /// The same connection for another field manager.
    pub(crate) fn as_manager(&self, name: &str) -> Self {
        Self { field_manager: name.into(), ..self.clone() }
    }

    /// The same connection with the patience to outlast a server that restarts, for work that has begun.
    pub(crate) fn patient(&self) -> Self {
        Self { retry: patience(), ..self.clone() }
    }

    /// How many requests may be under way at once.
    pub(crate) fn concurrency(&self) -> usize {
        self.concurrency
    }

    pub(crate) fn field_manager(&self) -> &str {
        &self.field_manager
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn read<T: DeserializeOwned>(&self, request: Request) -> Result<T, ApiError> {
        let (_, body) = self.send(&request).await?;
        parse(&request, &body)
    }

    /// Reads one object; `None` when there is none.
    pub(crate) async fn get(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        match self.read(Request::get(resource.object_path(namespace, name)?)).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists to the end of the pages. Items get the kind that lists leave out.
    pub(crate) async fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        label_selector: Option<&str>,
    ) -> Result<Vec<Value>, ApiError> {
        self.select(resource, namespace, label_selector, None).await
    }

    /// Lists what has the labels and fields of two selectors.
    pub(crate) async fn select(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        label_selector: Option<&str>,
        field_selector: Option<&str>,
    ) -> Result<Vec<Value>, ApiError> {
        let labels = label_selector.map(|selector| ("labelSelector", selector));
        let fields = field_selector.map(|selector| ("fieldSelector", selector));
        let selectors: Vec<_> = labels.into_iter().chain(fields).collect();
        let mut items: Vec<Value> = self.pages(resource, namespace, &selectors, JSON).await?;
        for item in &mut items {
            if let Value::Object(item) = item {
                item.entry("apiVersion").or_insert_with(|| resource.api_version().into());
                item.entry("kind").or_insert_with(|| resource.kind.clone().into());
            }
        }
        Ok(items)
    }

    /// The events of a namespace that warn of something.
    pub(crate) async fn warnings(&self, namespace: &str) -> Result<Vec<Value>, ApiError> {
        let events = Resource::known("v1", "Event", "events", true);
        self.pages(&events, Some(namespace), &[("fieldSelector", "type=Warning")], JSON).await
    }

    /// The names of all objects of a kind in a namespace, or of a kind that has none.
    pub(crate) async fn list_names(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
    ) -> Result<BTreeSet<String>, ApiError> {
        #[derive(Deserialize)]
        struct Named {
            metadata: Name,
        }
        #[derive(Deserialize)]
        struct Name {
            name: String,
        }
        let items: Vec<Named> = self.pages(resource, namespace, &[], METADATA).await?;
        Ok(items.into_iter().map(|item| item.metadata.name).collect())
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selectors: &[(&str, &str)],
        accept: &'static str,
    ) -> Result<Vec<T>, ApiError> {
        #[derive(Deserialize)]
        struct Page<T> {
            #[serde(default)]
            metadata: Option<Continue>,
            items: Option<Vec<T>>,
        }
        #[derive(Deserialize)]
        struct Continue {
            #[serde(rename = "continue")]
            token: Option<String>,
        }
        let mut restarted = false;
        'start: loop {
            let mut items: Vec<T> = Vec::new();
            let mut next: Option<String> = None;
            loop {
                let mut request = Request::get(resource.path(namespace)).query("limit", &PAGE.to_string());
                request.accept = accept;
                for (parameter, selector) in selectors {
                    request = request.query(parameter, selector);
                }
                if let Some(token) = &next {
                    request = request.query("continue", token);
                }
                let page: Page<T> = match self.read(request).await {
                    Ok(page) => page,
                    // The snapshot that the pages are of is gone: once more from the start.
                    Err(error) if error.code() == Some(410) && next.is_some() && !restarted => {
                        restarted = true;
                        continue 'start;
                    }
                    Err(error) => return Err(error),
                };
                items.extend(page.items.unwrap_or_default());
                next = page.metadata.and_then(|metadata| metadata.token);
                if next.as_deref().is_none_or(str::is_empty) {
                    return Ok(items);
                }
            }
        }
    }

    /// Server-side apply with strict field validation. Answers with the object, and whether it is new.
    pub(crate) async fn apply(
        &self,
        resource: &Resource,
        object: &Value,
        mode: Mode,
        force: bool,
    ) -> Result<(Value, bool), ApiError> {
        let reference = resource.reference(object);
        let mut request = Request::new(
            Method::PATCH,
            resource.object_path(reference.namespace.as_deref(), &reference.name)?,
        )
        .query("fieldManager", &self.field_manager)
        .query("fieldValidation", "Strict")
        .body("application/apply-patch+yaml", object);
        if mode == Mode::DryRun {
            request = request.query("dryRun", "All");
        }
        if force {
            request = request.query("force", "true");
        }
        let (status, body) = self.send(&request).await?;
        Ok((parse(&request, &body)?, status == StatusCode::CREATED))
    }

    /// Deletes the object with this UID and no other of its name. Answers whether it was still there.
    pub(crate) async fn delete(
        &self,
        resource: &Resource,
        reference: &ObjectRef,
        uid: &str,
        propagation: &str,
    ) -> Result<bool, ApiError> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {"uid": uid},
        });
        let path = resource.object_path(reference.namespace.as_deref(), &reference.name)?;
        let request = Request::new(Method::DELETE, path).body(JSON, &options);
        match self.send(&request).await {
            Ok(_) => Ok(true),
            // Gone, or another object has taken the name: what was meant is gone.
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends until answered, refused for good, or out of tries. All requests made here may be repeated.
    async fn send(&self, request: &Request) -> Result<(StatusCode, Bytes), ApiError> {
        let mut attempt = 1;
        loop {
            let error = match self.send_once(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // A rejected token is asked for anew, once.
            let renewed = error.code() == Some(401) && attempt == 1;
            let transient = error.is_transient() && error.code() != Some(410);
            let wait = if renewed {
                Some(Duration::ZERO)
            } else if transient {
                self.wait(attempt, &error)
            } else {
                None
            };
            let Some(wait) = wait else { return Err(error) };
            tracing::debug!(
                request = %request.describe(), attempt, wait_ms = wait.as_millis() as u64, %error,
                "A request to the API server failed and is tried again"
            );
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    fn wait(&self, attempt: u32, error: &ApiError) -> Option<Duration> {
        let requested = match error {
            ApiError::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        let mut shadow = platform_core::Error::new(platform_core::ErrorKind::Unavailable, "");
        if let Some(requested) = requested {
            shadow = shadow.retry_after(requested);
        }
        self.retry.wait(attempt, &shadow)
    }

    async fn send_once(&self, request: &Request) -> Result<(StatusCode, Bytes), ApiError> {
        let Ok(_permit) = self.limit.acquire().await else {
            return Err(platform_core::Error::internal("the request limit is closed").into());
        };
        tracing::trace!(request = %request.describe(), "Sending a request to the API server");
        let exchange = async {
            let response = self.client.send(request.http()?).await.map_err(ApiError::Transport)?;
            let (parts, body) = response.into_parts();
            let body = body.collect_bytes().await.map_err(ApiError::Transport)?;
            if parts.status.is_success() {
                return Ok((parts.status, body));
            }
            let mut status: Status = serde_json::from_slice(&body).unwrap_or_else(|_| {
                let text: String = String::from_utf8_lossy(&body).trim().chars().take(300).collect();
                Status::failure(&text, "")
            });
            status.code = parts.status.as_u16();
            let header = parts.headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
            let retry_after = header.map(Duration::from_secs).or_else(|| retry_after_of(&status));
            Err(ApiError::Status { status: status.boxed(), retry_after })
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(ApiError::TimedOut(REQUEST_TIMEOUT)),
        }
    }
}

/// A control plane of one node is back within a minute: about 50 s of tries, at most twice as much.
fn patience() -> RetryPolicy {
    let mut policy = RetryPolicy::attempts(24);
    policy.cap = Duration::from_secs(5);
    policy
}

/// Does all of `work`, as much at once as requests may be, and answers in its order; or fails with the first error, once all
/// is done.
pub(crate) fn gather<T, F>(
    api: &Api,
    work: impl IntoIterator<Item = F>,
) -> impl Future<Output = Result<Vec<T>>>
where
    F: Future<Output = Result<T>>,
{
    let work: Vec<F> = work.into_iter().collect();
    let mut results = stream::iter(work).buffered(api.concurrency());
    async move {
        let (mut done, mut first, mut more) = (Vec::new(), None, 0_usize);
        while let Some(result) = results.next().await {
            match result {
                Ok(value) => done.push(value),
                Err(error) if first.is_none() => first = Some(error),
                Err(error) => {
                    more += 1;
                    tracing::debug!(%error, "Another object failed too");
                }
            }
        }
        match first {
            None => Ok(done),
            Some(error) if more == 0 => Err(error),
            Some(error) => Err(error.help(format!("{more} more failed too"))),
        }
    }
}

/// A request that can be sent more than once. Its body may be a Secret, so that there is no `Debug`.
#[derive(Clone)]
pub(crate) struct Request {
    method: Method,
    path: String,
    query: String,
    accept: &'static str,
    content_type: &'static str,
    body: Bytes,
}

impl Request {
    fn new(method: Method, path: String) -> Self {
        Self { method, path, query: String::new(), accept: JSON, content_type: JSON, body: Bytes::new() }
    }

    pub(crate) fn get(path: String) -> Self {
        Self::new(Method::GET, path)
    }

    fn query(mut self, key: &str, value: &str) -> Self {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        self.query.push_str(key);
        self.query.push('=');
        self.query.push_str(&segment(value));
        self
    }

    fn body(mut self, content_type: &'static str, body: &Value) -> Self {
        self.content_type = content_type;
        self.body = body.to_string().into();
        self
    }

    fn describe(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn http(&self) -> Result<http::Request<Body>, ApiError> {
        http::Request::builder()
            .method(&self.method)
            .uri(format!("{}{}", self.path, self.query))
            .header(header::ACCEPT, self.accept)
            .header(header::CONTENT_TYPE, self.content_type)
            .body(Body::from(self.body.clone()))
            .map_err(|e| {
                platform_core::Error::internal(format!("{} is no request", self.describe())).source(e).into()
            })
    }
}

fn parse<T: DeserializeOwned>(request: &Request, body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|source| ApiError::Answer { request: request.describe(), source })
}

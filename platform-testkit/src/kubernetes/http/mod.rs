//! The API over HTTP: from a request's path to its answer.

mod access;
mod answer;
mod binding;
mod connection;
mod discovery;
mod document;
mod eviction;
mod json_path;
mod log;
mod modify;
mod openapi;
mod protobuf;
mod read;
mod request;
mod review;
mod scale;
mod table;
mod token;
mod view;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::modify::Done;
use self::request::{Accept, Parameters, Target};
use super::auth::{self, TokenAuthenticator, Tokens, User};
use super::error::ApiError;
use super::faults::{Effect, Faults};
use super::requests::Requests;
use super::store::Store;

pub(super) use self::connection::{Connection, Listener};
pub(super) use self::document::Repeated;
pub(super) use self::request::percent_decoded;
pub(super) use self::scale::of as scale_of;

/// The version that the server says it is: clients choose what they send by it.
pub(super) const GIT_VERSION: &str = "v1.34.0+embedded";
/// The largest body that is read, as kube-apiserver limits it.
const LARGEST_BODY: usize = 3 * 1024 * 1024;

/// What every request needs.
pub(super) struct Server {
    pub(super) store: Arc<Store>,
    pub(super) tokens: Tokens,
    /// Who vouches for tokens of others.
    pub(super) authenticator: Option<Arc<dyn TokenAuthenticator>>,
    /// Whether a request without credentials is nobody's.
    pub(super) needs_credentials: bool,
    pub(super) faults: Faults,
    pub(super) requests: Requests,
    pub(super) shutdown: CancellationToken,
}

/// Serves every path.
pub(super) fn router(server: Arc<Server>) -> Router {
    Router::new().fallback(handle).with_state(server)
}

async fn handle(
    State(server): State<Arc<Server>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let fault = server.faults.take(&parts.method, parts.uri.path());
    match fault {
        Some(Effect::Status(code)) => {
            let why = "an injected fault answered this request";
            return answer::refusal(&ApiError::new(code, "InjectedFault", why));
        }
        Some(Effect::Delay(wait)) => {
            server.shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
        Some(Effect::Drop) => return connection.cut(),
        Some(Effect::DropAnswer) | None => {}
    }
    let answered = match to_bytes(body, LARGEST_BODY).await {
        Ok(body) => server.answer(&parts, body).await,
        Err(_) => Err(ApiError::too_large(LARGEST_BODY)),
    };
    if fault == Some(Effect::DropAnswer) {
        return connection.cut();
    }
    let response = answered.unwrap_or_else(|error| answer::refusal(&error));
    tracing::debug!(method = %parts.method, uri = %parts.uri, status = response.status().as_u16());
    response
}

impl Server {
    async fn answer(&self, parts: &Parts, body: Bytes) -> Result<Response, ApiError> {
        let unknown = if self.needs_credentials { User::anonymous() } else { User::administrator() };
        let user =
            auth::identify(&self.store, &self.tokens, self.authenticator(), unknown, &parts.headers).await?;
        let path = parts.uri.path();
        let segments = segments(path).ok_or_else(ApiError::unknown_resource)?;
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        if !user.is_master() {
            let query = Parameters::parse(&parts.uri)?;
            auth::require(&self.store, &user, &access::of(&parts.method, path, &names, &query))?;
        }
        if let Some(response) = self.about_the_server(&names, &parts.method, &parts.headers)? {
            return Ok(response);
        }
        let (group, version, rest) = match names.as_slice() {
            ["api", version, ..] => ("", *version, segments.get(2..)),
            ["apis", group, version, ..] => (*group, *version, segments.get(3..)),
            _ => return Ok(page_not_found()),
        };
        let rest = rest.unwrap_or_default();
        if let Some(response) = self.review(&user, (group, version), rest, parts, &body).await? {
            self.requests.count("create");
            return Ok(response);
        }
        let target = match Target::parse(self.store.registry(), group, version, rest) {
            Err(_) if !self.serves(group, version) => return Ok(page_not_found()),
            target => target?,
        };
        let query = Parameters::parse(&parts.uri)?;
        let mut answered = self.about_objects(&user, &target, &query, parts, &body).await;
        if let (Ok(response), Some(warning)) = (&mut answered, deprecation(&target)) {
            modify::warn(response, &[warning.to_owned()]);
        }
        answered
    }

    fn authenticator(&self) -> Option<&dyn TokenAuthenticator> {
        self.authenticator.as_deref()
    }

    fn serves(&self, group: &str, version: &str) -> bool {
        let catalog = self.store.registry().catalog();
        catalog.groups().iter().any(|(name, all)| *name == group && all.contains(&version))
    }

    /// Versions, health, discovery and OpenAPI; `None` for paths to objects.
    fn about_the_server(
        &self,
        path: &[&str],
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Option<Response>, ApiError> {
        let catalog = self.store.registry().catalog();
        let aggregated = headers
            .get(http::header::ACCEPT)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|accept| accept.contains("g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"));
        let document = match path {
            ["healthz" | "livez" | "readyz", ..] => {
                return Ok(Some(answer::text(200, "text/plain; charset=utf-8", "ok")));
            }
            [] => Some(
                json!({"paths": ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"]}),
            ),
            ["version"] => Some(version()),
            [root @ ("api" | "apis")] if aggregated => {
                let list = discovery::aggregated(&catalog, *root == "api");
                return Ok(Some(answer::text(200, discovery::AGGREGATED, list.to_string())));
            }
            ["api"] => Some(discovery::core_versions()),
            ["apis"] => Some(discovery::groups(&catalog)),
            ["api", version] => discovery::resources(&catalog, "", version),
            ["apis", group] => discovery::group(&catalog, group),
            ["apis", group, version] => discovery::resources(&catalog, group, version),
            [".well-known", "openid-configuration"] => {
                let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
                Some(auth::token::configuration(host.unwrap_or_default()))
            }
            ["openid", "v1", "jwks"] => {
                let keys = self.tokens.key_set().to_string();
                return Ok(Some(answer::text(200, "application/jwk-set+json", keys)));
            }
            ["openapi", "v2"] => Some(openapi::swagger(&catalog)),
            ["openapi", "v3"] => Some(openapi::index(&catalog)),
            ["openapi", "v3", "api", version] => openapi::document(&catalog, "", version),
            ["openapi", "v3", "apis", group, version] => openapi::document(&catalog, group, version),
            _ => return Ok(None),
        };
        if method != Method::GET {
            return Err(ApiError::method_not_allowed());
        }
        let Some(document) = document else { return Ok(Some(page_not_found())) };
        Ok(Some(answer::text(200, "application/json", document.to_string())))
    }

    /// A review, if the path is one.
    async fn review(
        &self,
        user: &User,
        (group, version): (&str, &str),
        rest: &[String],
        parts: &Parts,
        body: &[u8],
    ) -> Result<Option<Response>, ApiError> {
        let (namespace, plural) = match rest {
            [plural] => (None, plural),
            [namespaces, namespace, plural] if namespaces == "namespaces" => {
                (Some(namespace.as_str()), plural)
            }
            _ => return Ok(None),
        };
        let Some((_, _, kind, _, namespaced)) =
            discovery::REVIEWS.iter().find(|one| one.0 == group && one.1 == version && one.3 == plural)
        else {
            return Ok(None);
        };
        if namespace.is_some() != *namespaced {
            return Err(ApiError::unknown_resource());
        }
        if parts.method != Method::POST {
            return Err(ApiError::method_not_allowed());
        }
        let accept = Accept::parse(&parts.headers)?;
        let review = request::body(&parts.headers, body, kind)?.unwrap_or_else(|| json!({}));
        let api_version = format!("{group}/{version}");
        let answered = review::answer(self, user, (&api_version, kind), namespace, &review).await?;
        Ok(Some(answer::value(201, &answered, accept)))
    }

    async fn about_objects(
        &self,
        user: &Arc<User>,
        target: &Target,
        query: &Parameters,
        parts: &Parts,
        body: &[u8],
    ) -> Result<Response, ApiError> {
        let (store, headers) = (&self.store, &parts.headers);
        match target.subresource.as_deref() {
            Some("attach" | "exec" | "portforward") => {
                store.get(&read::key(target))?;
                return Err(ApiError::bad_request(
                    "the containers of this cluster are simulated: nothing runs in them to attach to, execute in \
                     or forward to",
                ));
            }
            Some("token") => {
                if parts.method != Method::POST {
                    return Err(ApiError::method_not_allowed());
                }
                self.requests.count("create");
                return token::create(store, &self.tokens, target, headers, body);
            }
            Some("binding") => {
                if parts.method != Method::POST {
                    return Err(ApiError::method_not_allowed());
                }
                self.requests.count("create");
                let done = binding::bind(store, user, target, query, headers, body)?;
                store.durable(done.revision).await?;
                return Ok(done.response);
            }
            Some("eviction") => {
                if parts.method != Method::POST {
                    return Err(ApiError::method_not_allowed());
                }
                self.requests.count("create");
                let done = eviction::evict(store, user, target, query, headers, body)?;
                store.durable(done.revision).await?;
                return Ok(done.response);
            }
            _ => {}
        }
        let watching = parts.method == Method::GET && target.subresource.is_none() && query.flag("watch")?;
        let verb =
            verb(&parts.method, target.name.is_some(), watching).ok_or_else(ApiError::method_not_allowed)?;
        let dry_run = !parts.method.is_safe() && modify::is_dry_run(&parts.method, query, body);
        self.requests.count(if dry_run { "dry-run" } else { verb });
        let done: Done = match verb {
            "get" if target.subresource.as_deref() == Some("log") => {
                return log::get(store, target, query, self.shutdown.clone());
            }
            "get" => return read::get(store, target, query, headers),
            "list" => return read::list(store, target, query, headers),
            "watch" => return watch::start(store, target, query, headers, self.shutdown.clone()),
            "create" => modify::create(store, user, target, query, headers, body)?,
            "update" => modify::replace(store, user, target, query, headers, body)?,
            "patch" => modify::patch(store, user, target, query, headers, body)?,
            "delete" => modify::delete(store, user, target, query, headers, body)?,
            _ => modify::delete_collection(store, user, target, query, headers, body)?,
        };
        store.durable(done.revision).await?;
        Ok(done.response)
    }
}

/// What the server says to users of an API that will go.
fn deprecation(target: &Target) -> Option<&'static str> {
    let endpoints = target.resource.group.is_empty() && target.resource.id.plural() == "endpoints";
    endpoints.then_some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
}

/// The verb of a request; `None` when there is none for this method here.
fn verb(method: &Method, named: bool, watching: bool) -> Option<&'static str> {
    match (method.as_str(), named) {
        ("GET", _) if watching => Some("watch"),
        ("GET" | "HEAD", true) => Some("get"),
        ("GET" | "HEAD", false) => Some("list"),
        ("POST", false) => Some("create"),
        ("PUT", true) => Some("update"),
        ("PATCH", true) => Some("patch"),
        ("DELETE", true) => Some("delete"),
        ("DELETE", false) => Some("deletecollection"),
        _ => None,
    }
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "34",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

fn page_not_found() -> Response {
    answer::text(404, "text/plain; charset=utf-8", "404 page not found\n")
}

/// The parts of a path; `None` when one of them cannot be decoded.
fn segments(path: &str) -> Option<Vec<String>> {
    let trimmed = path.trim_matches('/');
    if trimmed.is_empty() {
        return Some(Vec::new());
    }
    trimmed.split('/').map(request::percent_decoded).collect()
}

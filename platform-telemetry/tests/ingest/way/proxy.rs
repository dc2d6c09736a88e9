//! A server before Elasticsearch that spoils answers when it is told to, and remembers that it did.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinHandle;

/// What is done with a bulk request instead of handing it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answered with this status; Elasticsearch never sees it.
    Status(u16),
    /// Refused with 413 if its body is larger, which lasts.
    LargerThan(usize),
    /// Every second event is handed on; the others are answered with this status.
    EverySecond(u16),
    /// Handed on, and the answer is cut in the middle.
    Truncated,
    /// Handed on, and never answered.
    Silent,
    /// Handed on, and the connection is closed without an answer.
    Closed,
}

#[derive(Clone)]
pub(crate) struct Proxy {
    target: String,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    seen: Arc<Mutex<Vec<Fault>>>,
    http: reqwest::Client,
}

pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) proxy: Proxy,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a proxy that spoils the next bulk requests in turn.
pub(crate) async fn start(target: &str, faults: impl IntoIterator<Item = Fault>) -> Running {
    let proxy = Proxy {
        target: target.to_owned(),
        faults: Arc::new(Mutex::new(faults.into_iter().collect())),
        seen: Arc::default(),
        http: reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(handle).with_state(proxy.clone());
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Running { url, proxy, task }
}

impl Proxy {
    /// The faults that were seen to happen.
    pub(crate) fn seen(&self) -> Vec<Fault> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn is_through(&self) -> bool {
        self.faults.lock().unwrap().iter().all(|fault| matches!(fault, Fault::LargerThan(_)))
    }

    fn next(&self, body: usize) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let fault = match faults.front()? {
            Fault::LargerThan(limit) if body <= *limit => return None,
            lasting @ Fault::LargerThan(_) => lasting.clone(),
            _ => faults.pop_front()?,
        };
        self.seen.lock().unwrap().push(fault.clone());
        Some(fault)
    }

    async fn forward(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> (StatusCode, Bytes) {
        let mut request = self.http.request(method, format!("{}{path}", self.target)).body(body);
        if let Some(media_type) = headers.get(header::CONTENT_TYPE) {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    }
}

async fn handle(State(proxy): State<Proxy>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 30).await.unwrap();
    let path = parts.uri.path_and_query().unwrap().as_str();
    let fault = if parts.uri.path() == "/_bulk" { proxy.next(body.len()) } else { None };
    let hand_on = |body| proxy.forward(parts.method.clone(), path, &parts.headers, body);
    match fault {
        None => answer(hand_on(body).await),
        Some(Fault::Status(status)) => answer((StatusCode::from_u16(status).unwrap(), error(status))),
        Some(Fault::LargerThan(_)) => answer((StatusCode::PAYLOAD_TOO_LARGE, Bytes::new())),
        Some(Fault::Truncated) => {
            let (status, whole) = hand_on(body).await;
            answer((status, whole.slice(..whole.len() / 2)))
        }
        Some(Fault::Silent) => {
            hand_on(body).await;
            std::future::pending().await
        }
        Some(Fault::Closed) => {
            hand_on(body).await;
            let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("closed"))]);
            Response::new(Body::from_stream(broken))
        }
        Some(Fault::EverySecond(status)) => {
            let lines: Vec<&[u8]> =
                body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
            let kept: Vec<u8> = lines
                .chunks(2)
                .step_by(2)
                .flatten()
                .flat_map(|line| [*line, b"\n"])
                .flatten()
                .copied()
                .collect();
            let (_, told) = hand_on(kept.into()).await;
            let told: Value = serde_json::from_slice(&told).unwrap();
            let mut handed_on = told["items"].as_array().unwrap().iter();
            let refused =
                json!({"create": {"status": status, "error": {"type": "made_up", "reason": "by the test"}}});
            let items: Vec<Value> = (0..lines.len() / 2)
                .map(|place| if place % 2 == 0 { handed_on.next().unwrap().clone() } else { refused.clone() })
                .collect();
            answer((StatusCode::OK, json!({"errors": true, "items": items}).to_string().into()))
        }
    }
}

fn error(status: u16) -> Bytes {
    json!({"error": {"type": "made_up", "reason": "by the test"}, "status": status}).to_string().into()
}

fn answer((status, body): (StatusCode, Bytes)) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

//! A server that takes bulk requests and answers that each event was created, in a process of its own so that its CPU time is nobody's.

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// By which this program knows that it is to be the server.
pub(crate) const ARGUMENT: &str = "--serve-bulk-requests";

pub(crate) struct Sink {
    pub(crate) url: String,
    child: Child,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(ARGUMENT)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { url: url.trim().to_owned(), child }
    }

    /// Lets requests wait, or answers them again.
    pub(crate) async fn stand_still(&self, still: bool) {
        let path = if still { "stop" } else { "go" };
        reqwest::get(format!("{}/{path}", self.url)).await.unwrap();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::new(AtomicBool::new(false)));
        axum::serve(listener, router).await.unwrap();
    });
}

async fn answer(State(still): State<Arc<AtomicBool>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body: Bytes = axum::body::to_bytes(request.into_body(), 1 << 30).await.unwrap();
    let json = |text: String| ([("content-type", "application/json")], text).into_response();
    match path.as_str() {
        "/_bulk" => {
            while still.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let events = memchr::memchr_iter(b'\n', &body).count() / 2;
            let items = vec![r#"{"create":{"status":201}}"#; events].join(",");
            json(format!(r#"{{"errors":false,"items":[{items}]}}"#))
        }
        "/stop" | "/go" => {
            still.store(path == "/stop", Ordering::Relaxed);
            json("{}".to_owned())
        }
        "/" => json(r#"{"version":{"number":"9.0.0"}}"#.to_owned()),
        _ => json("{}".to_owned()),
    }
}

//! A program's own metrics and its health, served over HTTP.
//!
//! ```no_run
//! use platform_telemetry::exposer::Exposer;
//! use std::time::Duration;
//!
//! # async fn example() -> platform_core::Result<()> {
//! let exposer = Exposer::builder("0.0.0.0:9640".parse().map_err(|_| platform_core::Error::invalid("no address"))?)
//!     .samples(Vec::new)
//!     .ready(|| true)
//!     .start()
//!     .await?;
//! println!("http://{}/metrics", exposer.address());
//! # Ok(())
//! # }
//! ```

use crate::{exposition, task::AbortOnDrop};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use platform_core::{
    Error, ErrorKind, Result,
    telemetry::{
        Sample,
        settings::{LIVE_PATH, METRICS_PATH, READY_PATH},
    },
};
use std::{fmt, net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;

/// Media type of the text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

type Ask<T> = Box<dyn Fn() -> T + Send + Sync>;

struct Answers {
    samples: Ask<Vec<Sample>>,
    ready: Ask<bool>,
    live: Ask<bool>,
}

/// Configures an [`Exposer`].
#[must_use = "nothing is served before `start`"]
pub struct ExposerBuilder {
    address: SocketAddr,
    answers: Answers,
}

impl ExposerBuilder {
    /// What `/metrics` shows. Default: nothing.
    pub fn samples(mut self, samples: impl Fn() -> Vec<Sample> + Send + Sync + 'static) -> Self {
        self.answers.samples = Box::new(samples);
        self
    }

    /// Whether the program does its work: `/ready` answers 200 or 503. Default: yes.
    pub fn ready(mut self, ready: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.answers.ready = Box::new(ready);
        self
    }

    /// Whether the program need not be started anew: `/live` answers 200 or 503. Default: yes.
    pub fn live(mut self, live: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.answers.live = Box::new(live);
        self
    }

    /// Listens and serves. Fails with [`Unavailable`](ErrorKind::Unavailable) if the address is taken.
    pub async fn start(self) -> Result<Exposer> {
        let told = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "the address cannot be had")
                .retryable(false)
                .operation("listen on")
                .subject(self.address.to_string())
                .source(error)
        };
        let listener = TcpListener::bind(self.address).await.map_err(told)?;
        let address = listener.local_addr().map_err(told)?;
        let router = Router::new()
            .route(METRICS_PATH, get(metrics))
            .route(READY_PATH, get(async |State(answers): State<Arc<Answers>>| health((answers.ready)())))
            .route(LIVE_PATH, get(async |State(answers): State<Arc<Answers>>| health((answers.live)())))
            .with_state(Arc::new(self.answers));
        let task = tokio::spawn(async move {
            // It ends with its owner.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Exposer { address, _task: AbortOnDrop(task) })
    }
}

/// Serves as long as it lives.
#[derive(Debug)]
pub struct Exposer {
    address: SocketAddr,
    _task: AbortOnDrop,
}

impl Exposer {
    /// An exposer that will listen on `address`; port 0 is any that is free.
    pub fn builder(address: SocketAddr) -> ExposerBuilder {
        let answers =
            Answers { samples: Box::new(Vec::new), ready: Box::new(|| true), live: Box::new(|| true) };
        ExposerBuilder { address, answers }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Debug for ExposerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExposerBuilder").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn metrics(State(answers): State<Arc<Answers>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT)], exposition::write(&(answers.samples)()))
}

fn health(is_well: bool) -> (StatusCode, &'static str) {
    if is_well { (StatusCode::OK, "yes\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "no\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::{
        clock::Timestamp,
        telemetry::{Labels, MetricKind},
    };
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn metrics_and_health_are_served() {
        let ready = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ready);
        let sample = Sample {
            metric: "things_total".into(),
            labels: Labels::from_iter([("a", "b\"c")]),
            timestamp: Timestamp::from_millis(7),
            value: 2.5,
            kind: MetricKind::Counter,
        };
        let exposer = Exposer::builder("127.0.0.1:0".parse().unwrap())
            .samples(move || vec![sample.clone()])
            .ready(move || asked.load(Ordering::Relaxed))
            .start()
            .await
            .unwrap();
        let client =
            crate::http::client(std::time::Duration::from_secs(10), reqwest::redirect::Policy::none())
                .unwrap();
        let ask = async |path: &str| {
            let answer = client.get(format!("http://{}{path}", exposer.address())).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        let (status, text) = ask("/metrics").await;
        assert_eq!(
            (status, text.as_str()),
            (200, "# TYPE things_total counter\nthings_total{a=\"b\\\"c\"} 2.5\n")
        );
        assert_eq!((ask("/ready").await.0, ask("/live").await.0), (503, 200));
        ready.store(true, Ordering::Relaxed);
        assert_eq!((ask("/ready").await.0, ask("/other").await.0), (200, 404));
    }
}

//! Scraping real HTTP servers, well behaved and not.

use crate::support::{PATIENCE, TestSink, eventually};
use axum::{Router, http::header, response::IntoResponse, routing::get};
use platform_core::telemetry::{Labels, Sample};
use platform_telemetry::{
    pipeline::{Pipeline, PipelineHandle},
    sources::{ACCEPT, ScrapeSource, is_stale},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Answers every connection with these bytes and closes it.
async fn answer(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

fn scrape(targets: &[String]) -> (Arc<TestSink>, PipelineHandle) {
    let mut source = ScrapeSource::builder("web")
        .interval(Duration::from_millis(300))
        .body_limit(10_000)
        .sample_limit(50)
        .labels(Labels::from_iter([("environment", "testing")]));
    for target in targets {
        source = source.target(target, Labels::empty());
    }
    let sink = TestSink::new();
    let pipeline = Pipeline::builder(sink.clone())
        .source(Arc::new(source.build().unwrap()))
        .batch_wait(Duration::from_millis(5))
        .start();
    (sink, pipeline)
}

fn of<'a>(samples: &'a [Sample], metric: &str) -> Vec<&'a Sample> {
    samples.iter().filter(|s| &*s.metric == metric).collect()
}

#[tokio::test]
async fn a_good_target_is_scraped_as_prometheus_does() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let headers = seen.clone();
    let app = Router::new().route(
        "/metrics",
        get(move |request: axum::extract::Request| {
            let get = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            headers.lock().unwrap().push((get("accept"), get("x-prometheus-scrape-timeout-seconds")));
            async {
                let text = "# TYPE hits counter\nhits{job=\"inner\",code=\"200\"} 3\nbroken{\nlate 1 1000\n";
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            }
        }),
    );
    let address = serve(app).await;
    let (sink, pipeline) = scrape(&[address.to_string()]);
    eventually("two scrapes are stored", || sink.values("up").len() >= 2).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    let samples = sink.samples();
    let hits = of(&samples, "hits")[0];
    let labels = format!(
        r#"{{code="200",environment="testing",exported_job="inner",instance="{address}",job="web"}}"#
    );
    assert_eq!((hits.value, hits.labels.to_string()), (3.0, labels));
    assert_eq!(of(&samples, "late")[0].timestamp.as_millis(), 1000);
    let up = of(&samples, "up")[0];
    assert_eq!(up.labels.to_string(), format!(r#"{{environment="testing",instance="{address}",job="web"}}"#));
    assert_eq!((up.value, up.timestamp), (1.0, hits.timestamp));
    assert_eq!(sink.values("scrape_samples_scraped")[0], 2.0);
    assert_eq!(sink.values("scrape_samples_post_metric_relabeling")[0], 2.0);
    assert_eq!(sink.values("platform_scrape_rejected_lines")[0], 1.0);
    assert_eq!(
        sink.values("scrape_series_added")[..2],
        [2.0, 1.0],
        "a series with its own time is always new"
    );
    assert!((0.0..1.0).contains(&sink.values("scrape_duration_seconds")[0]));
    assert_eq!(seen.lock().unwrap()[0], (ACCEPT.to_owned(), "0.3".to_owned()));
}

#[tokio::test]
async fn bad_targets_are_down_and_none_of_their_answer_is_kept() {
    let app = Router::new()
        .route("/500", get(|| async { (axum::http::StatusCode::INTERNAL_SERVER_ERROR, "kept 1\n") }))
        .route("/html", get(|| async { axum::response::Html("<html>kept 1</html>") }))
        .route("/page", get(|| async { "<!doctype html>\nkept 1\n" }))
        .route(
            "/json",
            get(|| async { ([(header::CONTENT_TYPE, "application/json")], "{}").into_response() }),
        )
        .route("/words", get(|| async { "no metrics here\nat all, really\n" }))
        .route("/big", get(|| async { "kept 1\n".repeat(5_000) }))
        .route(
            "/many",
            get(|| async {
                (0..51)
                    .flat_map(|n| ["kept".to_owned(), n.to_string(), " 1\n".to_owned()])
                    .collect::<String>()
            }),
        )
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                "kept 1\n"
            }),
        )
        .route("/loop", get(|| async { axum::response::Redirect::to("/loop") }));
    let good = serve(app).await;
    let mut targets: Vec<String> = ["500", "html", "page", "json", "words", "big", "many", "slow", "loop"]
        .iter()
        .map(|path| format!("http://{good}/{path}"))
        .collect();
    for bytes in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nkept 1\nkept 2\n".as_slice(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nkept 1\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nkept 1\nkept{a=\"",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nkept 1\n",
        b"this is no HTTP",
    ] {
        targets.push(answer(bytes).await.to_string());
    }
    // Nobody listens here any more.
    targets.push(TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string());
    let (sink, pipeline) = scrape(&targets);
    eventually("every target was tried", || sink.values("up").len() >= targets.len() * 2).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert!(sink.values("up").iter().all(|up| *up == 0.0));
    assert!(!sink.samples().iter().any(|s| s.metric.starts_with("kept")), "half a scrape is no scrape");
    assert!(sink.values("scrape_samples_scraped").iter().all(|n| *n == 0.0));
}

#[tokio::test]
async fn series_end_when_they_vanish_and_when_the_target_is_down() {
    let scrapes = Arc::new(AtomicUsize::new(0));
    let count = scrapes.clone();
    let app = Router::new().route(
        "/metrics",
        get(move || {
            let number = count.fetch_add(1, Ordering::SeqCst);
            async move {
                match number {
                    0 => "stays 1\ngoes 1\n".into_response(),
                    1 => "stays 2\n".into_response(),
                    _ => axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response(),
                }
            }
        }),
    );
    let address = serve(app).await;
    let (sink, pipeline) = scrape(&[address.to_string()]);
    eventually("the target is down twice", || sink.values("up").iter().filter(|up| **up == 0.0).count() >= 2)
        .await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    let (goes, stays) = (sink.values("goes"), sink.values("stays"));
    assert!(goes.len() == 2 && goes[0] == 1.0 && is_stale(goes[1]), "{goes:?}");
    assert!(stays.len() == 3 && stays[..2] == [1.0, 2.0] && is_stale(stays[2]), "{stays:?}");
    assert_eq!(sink.values("up")[..3], [1.0, 1.0, 0.0]);
}

//! Scraping real HTTP servers, well behaved and not.

use crate::support::{PATIENCE, TestSink, eventually};
use axum::{Router, http::header, response::IntoResponse, routing::get};
use platform_core::telemetry::{Labels, Sample};
use platform_telemetry::{
    pipeline::{Pipeline, PipelineHandle},
    sources::{ACCEPT, ScrapeSource, ScrapeSourceBuilder, is_stale},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    collections::BTreeSet,
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
use tokio_rustls::TlsAcceptor;

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
    let mut source = builder().labels(Labels::from_iter([("environment", "testing")]));
    for target in targets {
        source = source.target(target, Labels::empty());
    }
    run(source)
}

fn builder() -> ScrapeSourceBuilder {
    ScrapeSource::builder("web").interval(Duration::from_millis(300)).body_limit(10_000).sample_limit(50)
}

fn run(source: ScrapeSourceBuilder) -> (Arc<TestSink>, PipelineHandle) {
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

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[tokio::test]
async fn open_metrics_is_read_by_its_content_type() {
    let whole = "# TYPE hits counter\nhits_total 3 1.5 # {trace=\"a\"} 1\n# EOF\n";
    let app = Router::new()
        .route("/whole", get(move || async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], whole) }))
        .route("/cut", get(|| async { ([(header::CONTENT_TYPE, OPEN_METRICS)], "kept 1\n") }));
    let address = serve(app).await;
    let (sink, pipeline) = scrape(&["whole", "cut"].map(|path| format!("http://{address}/{path}")));
    eventually("both were tried twice", || sink.values("up").len() >= 4).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    let samples = sink.samples();
    let hits = of(&samples, "hits_total")[0];
    assert_eq!((hits.value, hits.timestamp.as_millis()), (3.0, 1500));
    assert!(
        of(&samples, "kept").is_empty() && sink.values("up").contains(&0.0),
        "half a scrape is no scrape"
    );
}

/// One gzip member with one stored block.
fn gzip(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap();
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    bytes.extend(len.to_le_bytes());
    bytes.extend((!len).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(crc32fast::hash(text.as_bytes()).to_le_bytes());
    bytes.extend(u32::from(len).to_le_bytes());
    bytes
}

#[tokio::test]
async fn compressed_answers_are_read_and_limited_by_what_is_in_them() {
    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = asked.clone();
    let app = Router::new()
        .route(
            "/small",
            get(move |request: axum::extract::Request| {
                let encoding = request.headers()[header::ACCEPT_ENCODING].to_str().unwrap().to_owned();
                seen.lock().unwrap().insert(encoding);
                async {
                    (
                        [(header::CONTENT_TYPE, "text/plain"), (header::CONTENT_ENCODING, "gzip")],
                        gzip("small 1\n"),
                    )
                }
            }),
        )
        .route(
            "/big",
            get(|| async {
                (
                    [(header::CONTENT_TYPE, "text/plain"), (header::CONTENT_ENCODING, "gzip")],
                    gzip(&format!("big 1\n#{}\n", " ".repeat(12_000))),
                )
            }),
        );
    let address = serve(app).await;
    let (sink, pipeline) = scrape(&["small", "big"].map(|path| format!("http://{address}/{path}")));
    eventually("both were tried twice", || sink.values("up").len() >= 4).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert!(sink.values("small").contains(&1.0) && sink.values("big").is_empty());
    assert!(asked.lock().unwrap().iter().all(|encoding| encoding.contains("gzip")));
}

/// Answers over TLS with a certificate by the authority of the tests, for `localhost` and `127.0.0.1`.
pub(crate) async fn serve_tls(text: &'static str) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("../alerting/tls/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../alerting/tls/server.key")).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            let length = text.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn https_is_trusted_by_the_authority_that_is_given_and_by_no_other() {
    let address = serve_tls("safe 1\n").await;
    let target = format!("https://localhost:{}/metrics", address.port());
    let authority = include_bytes!("../alerting/tls/authority.pem");
    let source = builder().target(&target, Labels::empty()).certificate_authority(authority);
    let (sink, pipeline) = run(source);
    eventually("it is scraped twice", || sink.values("safe").len() >= 2).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    let (sink, pipeline) = run(builder().target(&target, Labels::empty()));
    eventually("it is tried twice", || sink.values("up").len() >= 2).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert!(sink.values("up").iter().all(|up| *up == 0.0) && sink.values("safe").is_empty());
    for wrong in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let built = builder().target(&target, Labels::empty()).certificate_authority(wrong).build();
        assert_eq!(built.unwrap_err().kind(), platform_core::ErrorKind::Invalid, "{wrong}");
    }
}

#[tokio::test]
async fn bearer_tokens_are_sent_and_read_again_from_their_file() {
    let app = Router::new().route(
        "/metrics",
        get(|request: axum::extract::Request| {
            let sent = request.headers().get(header::AUTHORIZATION).map(|v| v.to_str().unwrap().to_owned());
            async move {
                match sent.as_deref() {
                    Some("Bearer first") => "first 1\n".into_response(),
                    Some("Bearer second") => "second 1\n".into_response(),
                    _ => axum::http::StatusCode::UNAUTHORIZED.into_response(),
                }
            }
        }),
    );
    let address = serve(app).await.to_string();
    let (sink, pipeline) =
        run(builder().target(&address, Labels::empty()).bearer_token("first".to_owned().into()));
    eventually("the token is taken", || !sink.values("first").is_empty()).await;
    pipeline.shutdown(PATIENCE).await.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let (sink, pipeline) = run(builder().target(&address, Labels::empty()).bearer_token_file(&file));
    eventually("it is down without a token", || sink.values("up").contains(&0.0)).await;
    std::fs::write(&file, "first\n").unwrap();
    eventually("the file is read", || !sink.values("first").is_empty()).await;
    std::fs::write(&file, "second\n").unwrap();
    eventually("the file is read again", || !sink.values("second").is_empty()).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_strict_source_takes_all_or_nothing_and_labels_have_limits() {
    let app = Router::new()
        .route("/broken", get(|| async { "kept 1\nbroken{\n" }))
        .route("/long", get(|| async { "short{a=\"1\"} 1\nlong{a=\"123456\"} 1\n" }));
    let address = serve(app).await;
    let broken = format!("http://{address}/broken");
    let (sink, pipeline) = run(builder().target(&broken, Labels::empty()).strict(true));
    eventually("it is tried twice", || sink.values("up").len() >= 2).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert!(sink.values("up").iter().all(|up| *up == 0.0) && sink.values("kept").is_empty());
    let long = format!("http://{address}/long");
    let (sink, pipeline) = run(builder().target(&long, Labels::empty()).label_limits(3, 10, 5));
    eventually("it is scraped twice", || sink.values("short").len() >= 2).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert!(sink.values("long").is_empty());
    assert_eq!(sink.values("platform_scrape_rejected_lines")[0], 1.0);
}

#[tokio::test]
async fn hundreds_of_targets_are_scraped_by_turns() {
    const TARGETS: usize = 400;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (now, most.clone());
    let app = Router::new().route(
        "/metrics",
        get(move |request: axum::extract::Request| {
            let (now, most) = counters.clone();
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                format!("target {}\n", request.uri().query().unwrap())
            }
        }),
    );
    let address = serve(app).await;
    let mut source = builder().interval(Duration::from_secs(2)).concurrency(8);
    for number in 0..TARGETS {
        source = source.target(
            format!("http://{address}/metrics?{number}"),
            Labels::from_iter([("number", number.to_string())]),
        );
    }
    let (sink, pipeline) = run(source);
    let scraped = || {
        let samples = sink.samples();
        let of = |s: &Sample| (s.value as usize, s.labels.get("number").unwrap().to_owned());
        of_metric(&samples, "target").map(of).collect::<BTreeSet<_>>()
    };
    eventually("each was scraped", || scraped().len() == TARGETS).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert!(scraped().iter().all(|(value, number)| value.to_string() == *number), "each has its own");
    let most = most.load(Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most} at once");
}

fn of_metric<'a>(samples: &'a [Sample], metric: &'a str) -> impl Iterator<Item = &'a Sample> {
    samples.iter().filter(move |s| &*s.metric == metric && !is_stale(s.value))
}

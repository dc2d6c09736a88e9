//! Notifiers that speak HTTP, against servers on loopback.

use crate::support::{firing, notification, resolved};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use platform_core::{ErrorKind, alert::Notifier};
use platform_telemetry::notifiers::{Slack, Terminal, Webhook};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_util::task::AbortOnDropHandle;

/// A request as it came in.
#[derive(Debug, Clone)]
struct Received {
    path: String,
    headers: HeaderMap,
    body: Value,
}

/// A server that answers every request in the same way and keeps what it was sent.
struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    async fn answering(status: u16, headers: &[(&'static str, &str)], body: &'static str) -> Self {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let answer = move |State(received): State<Arc<Mutex<Vec<Received>>>>,
                           uri: Uri,
                           sent: HeaderMap,
                           bytes: Bytes| async move {
            let body_sent = serde_json::from_slice(&bytes).unwrap();
            let request = Received { path: uri.path().to_owned(), headers: sent, body: body_sent };
            received.lock().unwrap().push(request);
            let answer: Response = (StatusCode::from_u16(status).unwrap(), headers, body).into_response();
            answer
        };
        let router = Router::new().fallback(answer).with_state(received.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, received, _task: AbortOnDropHandle::new(task) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_webhook_gets_what_alertmanager_would_send() {
    let server = Server::answering(202, &[], "").await;
    let webhook = Webhook::new(&server.url("/alerts")).unwrap().bearer("token-1").named("ops");
    webhook.notify(&notification(vec![firing("attic"), resolved("cellar")])).await.unwrap();
    let [request] = server.received().try_into().unwrap();
    assert_eq!(request.path, "/alerts");
    assert_eq!(request.headers["authorization"], "Bearer token-1");
    assert_eq!(request.headers["content-type"], "application/json");
    let console = "http://127.0.0.1:9000/?a=1&b=2";
    let labels = |room: &str| {
        json!({
            "alertname": "Hot", "house": "a", "platform": "shop", "room": room, "severity": "critical",
        })
    };
    let annotations =
        |room: &str| json!({ "summary": format!("{room} has 93.5 degrees, <80> & more"), "value": "93.5" });
    assert_eq!(
        request.body,
        json!({
            "version": "4",
            "groupKey": "{}:{platform=\"shop\"}",
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "ops",
            "groupLabels": { "platform": "shop" },
            "commonLabels": { "alertname": "Hot", "house": "a", "platform": "shop", "severity": "critical" },
            "commonAnnotations": { "value": "93.5" },
            "externalURL": console,
            "alerts": [
                {
                    "status": "firing",
                    "labels": labels("attic"),
                    "annotations": annotations("attic"),
                    "startsAt": "2026-11-23T00:00:00.500Z",
                    "endsAt": "0001-01-01T00:00:00Z",
                    "generatorURL": console,
                    "fingerprint": fingerprint("alertname Hot house a platform shop room attic severity critical"),
                },
                {
                    "status": "resolved",
                    "labels": labels("cellar"),
                    "annotations": annotations("cellar"),
                    "startsAt": "2026-11-23T00:00:00.500Z",
                    "endsAt": "2026-11-23T00:01:00.500Z",
                    "generatorURL": console,
                    "fingerprint": fingerprint("alertname Hot house a platform shop room cellar severity critical"),
                },
            ],
        })
    );
}

/// FNV-1a over the words, each ended by 0xff.
fn fingerprint(words: &str) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for word in words.split(' ') {
        for byte in word.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[tokio::test]
async fn a_resolved_notification_says_so_to_a_webhook() {
    let server = Server::answering(200, &[], "").await;
    let webhook = Webhook::new(&server.url("/")).unwrap();
    webhook.notify(&notification(vec![resolved("attic")])).await.unwrap();
    let [request] = server.received().try_into().unwrap();
    assert_eq!(request.body["status"], "resolved");
    assert_eq!(request.headers.get("authorization"), None);
    assert_eq!(request.body["receiver"], "webhook 127.0.0.1");
}

#[tokio::test]
async fn slack_gets_escaped_text_and_coloured_attachments() {
    let server = Server::answering(200, &[], "ok").await;
    let slack = Slack::new(server.url("/services/T0/B0/secret")).unwrap();
    slack.notify(&notification(vec![firing("attic"), resolved("cellar")])).await.unwrap();
    slack.notify(&notification(vec![firing("a<b")])).await.unwrap();
    let [two, one] = server.received().try_into().unwrap();
    assert_eq!(two.path, "/services/T0/B0/secret");
    let link = "<http://127.0.0.1:9000/?a=1&amp;b=2|details>";
    let attachment = |colour: &str, state: &str, room: &str| {
        let summary = format!("{room} has 93.5 degrees, &lt;80&gt; &amp; more");
        json!({
            "color": colour,
            "fallback": format!("Hot is {state}: {summary}"),
            "blocks": [{
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": format!("*Hot* is {state} (critical)\n{summary}\n{{house=\"a\",room=\"{room}\"}}"),
                },
            }],
        })
    };
    assert_eq!(
        two.body,
        json!({
            "text": format!("[FIRING] 2 alerts on shop {link}"),
            "attachments": [
                attachment("#a30200", "firing", "attic"),
                attachment("#2eb886", "resolved", "cellar"),
            ],
        })
    );
    assert_eq!(
        one.body["text"],
        format!("[FIRING] Hot on shop: a&lt;b has 93.5 degrees, &lt;80&gt; &amp; more {link}")
    );
}

#[tokio::test]
async fn refusals_are_told_apart_and_do_not_tell_the_address() {
    let refusal = async |status: u16, headers: &[(&'static str, &str)], body: &'static str| {
        let server = Server::answering(status, headers, body).await;
        let slack = Slack::new(server.url("/services/secret")).unwrap();
        let error = slack.notify(&notification(vec![firing("attic")])).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        error
    };
    let error = refusal(400, &[], "invalid_payload").await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Invalid, false));
    assert_eq!(error.to_string(), "answered 400 Bad Request: invalid_payload");
    let error = refusal(403, &[], "action_prohibited").await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Denied, false));
    let error = refusal(404, &[("retry-after", "7")], "no_service").await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::NotFound, false));
    let error = refusal(429, &[("retry-after", "7")], "").await;
    assert_eq!((error.kind(), error.requested_wait()), (ErrorKind::Exhausted, Some(Duration::from_secs(7))));
    let error = refusal(503, &[], "down\nfor now").await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(error.to_string(), "answered 503 Service Unavailable: down for now");
    // Following a redirect would tell the next server the secret path.
    let error = refusal(302, &[("location", "http://127.0.0.1:1/")], "").await;
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_a_retryable_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret", listener.local_addr().unwrap());
    let webhook = Webhook::new(&url).unwrap().timeout(Duration::from_millis(200)).unwrap();
    let error = webhook.notify(&notification(vec![firing("attic")])).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true));
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_terminal_gets_a_line_for_each_alert() {
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let terminal = Terminal::writer(Buffer(written.clone()));
    let mut hostile = resolved("cellar");
    hostile.summary = "\x1b[2Jgone\nforged".to_owned();
    terminal.notify(&notification(vec![firing("attic"), hostile])).await.unwrap();
    let plain = String::from_utf8(std::mem::take(&mut *written.lock().unwrap())).unwrap();
    assert_eq!(
        plain,
        "2026-11-23T00:00:00.500Z FIRING   critical Hot {house=\"a\",room=\"attic\"} attic has 93.5 degrees, <80> & more\n\
         2026-11-23T00:00:00.500Z RESOLVED critical Hot {house=\"a\",room=\"cellar\"} \u{fffd}[2Jgone\u{fffd}forged\n"
    );
    terminal.colours(true).notify(&notification(vec![firing("attic")])).await.unwrap();
    let coloured = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert!(coloured.contains("\x1b[31m\x1b[1mFIRING  \x1b[0m"), "{coloured:?}");
}

struct Buffer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

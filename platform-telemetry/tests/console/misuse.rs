//! What the console refuses, and how it says so.

use crate::fixture::{Fixture, client, dashboard};
use platform_core::{
    ErrorKind,
    dashboard::{DashboardTarget, Panel, PanelQuery, Unit},
    telemetry::metric,
};
use platform_telemetry::console::Console;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn bad_input_is_told_what_is_wrong() {
    let fixture = Fixture::start().await;
    let panel = "api/v1/dashboards/house/panels/0";
    let cases = [
        ("api/v1/logs?limit=0", 400, "invalid", "1 to 1000"),
        ("api/v1/logs?limit=1001", 400, "invalid", "1 to 1000"),
        ("api/v1/logs?limit=99999999999999999999999", 400, "invalid", "limit"),
        ("api/v1/logs?limit=-1", 400, "invalid", "limit"),
        ("api/v1/logs?severity=loud", 400, "invalid", "trace, debug, info, warn, error, fatal"),
        ("api/v1/logs?from=yesterday", 400, "invalid", "from"),
        ("api/v1/logs?from=2000&to=1000", 400, "invalid", "empty"),
        ("api/v1/logs?from=NaN", 400, "invalid", "from"),
        ("api/v1/logs?txet=payment", 400, "invalid", "unknown field `txet`"),
        ("api/v1/logs?text=a&text=b", 400, "invalid", "duplicate field"),
        (&format!("api/v1/logs?text={}", "x".repeat(1001)), 400, "invalid", "1001 characters"),
        (&format!("{panel}?step=0"), 400, "invalid", "at least 1 ms"),
        (&format!("{panel}?step=-5"), 400, "invalid", "step"),
        (&format!("{panel}?step=1.5"), 400, "invalid", "step"),
        (&format!("{panel}?step=1&from=0&to=12000"), 400, "invalid", "steps"),
        (&format!("{panel}?step=1000&from=0"), 400, "invalid", "steps"),
        (&format!("{panel}?from={}&to={}&step=60000", i64::MIN, i64::MAX), 400, "invalid", "steps"),
        (&format!("{panel}?from=9&to=9"), 400, "invalid", "empty"),
        ("api/v1/dashboards/house/panels/99", 404, "not-found", "has 4 panels"),
        ("api/v1/dashboards/house/panels/-1", 400, "invalid", ""),
        ("api/v1/dashboards/house/panels/first", 400, "invalid", ""),
        ("api/v1/dashboards/%FF/panels/0", 400, "invalid", ""),
        ("api/v1/dashboards/garden/panels/0", 404, "not-found", "garden"),
        ("api/v1/everything", 404, "not-found", "/api/v1/everything"),
        ("assets/..%2f..%2fCargo.toml", 404, "not-found", "no file"),
        ("favicon.ico", 404, "not-found", "favicon.ico"),
    ];
    for (path, status, kind, message) in cases {
        let response = client().get(fixture.url(path)).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["kind"], kind, "{path}: {body}");
        assert!(body["error"]["message"].as_str().unwrap().contains(message), "{path}: {body}");
    }
    // The extremes of time are odd, not wrong.
    fixture.get(&format!("{panel}?from={}&to={}", i64::MAX - 10_000, i64::MAX)).await;
    fixture.get(&format!("api/v1/logs?from={}&to={}", i64::MIN, i64::MAX)).await;
    fixture.stop().await;
}

#[tokio::test]
async fn nothing_can_be_written() {
    let fixture = Fixture::start().await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        for path in ["", "api/v1/dashboards", "api/v1/logs"] {
            let response = client().request(method.clone(), fixture.url(path)).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["error"]["kind"], "refused");
        }
    }
    fixture.stop().await;
}

#[tokio::test]
async fn names_that_are_not_its_own_are_refused() {
    let fixture = Fixture::start().await;
    let port = fixture.console.address().port();
    let ask = |host: String| client().get(fixture.url("api/v1/status")).header("host", host).send();
    for host in ["attacker.example".to_owned(), format!("127.0.0.1.attacker.example:{port}")] {
        let response = ask(host).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["kind"], "denied");
    }
    for host in [format!("localhost:{port}"), format!("[::1]:{port}")] {
        assert_eq!(ask(host).await.unwrap().status(), StatusCode::OK);
    }
    let named = Console::builder(fixture.store.clone() as _, fixture.platform.clone() as _);
    let named = named.allow_host("console.example.com").start().await.unwrap();
    let request = client().get(named.url()).header("host", "console.example.com");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    named.stop().await;

    let mut connection = TcpStream::connect(fixture.console.address()).await.unwrap();
    connection.write_all(b"GET /api/v1/status HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 400"), "{answer}");
    fixture.stop().await;
}

#[tokio::test]
async fn scripts_of_other_sites_get_nothing() {
    let fixture = Fixture::start().await;
    let ask = |path: &str, site: &str| client().get(fixture.url(path)).header("sec-fetch-site", site).send();
    for site in ["cross-site", "same-site"] {
        assert_eq!(ask("api/v1/logs", site).await.unwrap().status(), StatusCode::FORBIDDEN);
        assert_eq!(ask("", site).await.unwrap().status(), StatusCode::OK, "a link may lead here");
    }
    for site in ["same-origin", "none"] {
        assert_eq!(ask("api/v1/logs", site).await.unwrap().status(), StatusCode::OK);
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let fixture = Fixture::start().await;
    let address = fixture.console.address();
    let second = Console::builder(fixture.store.clone() as _, fixture.platform.clone() as _);
    let error = second.address(address).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let message = error.to_string();
    assert!(message.contains(&address.to_string()) && message.contains("choose another port"), "{message}");
    fixture.stop().await;
}

#[tokio::test]
async fn what_cannot_be_shown_is_not_published() {
    let fixture = Fixture::start().await;
    let refused = [
        (dashboard().window(Duration::ZERO), "window"),
        (dashboard().panel(Panel::time_series("Nothing", Unit::None, Vec::new())), "no query"),
        (dashboard().panel(series("Upside down").range(5.0, 1.0)), "Upside down"),
        (dashboard().panel(series("Endless").range(0.0, f64::INFINITY)), "finite"),
        (dashboard().panel(series("Unlimited").threshold(f64::NAN)), "threshold"),
    ];
    for (dashboard, reason) in refused {
        let error = fixture.console.publish(&dashboard).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(reason), "{error}");
    }
    for uid in ["", "Upper", "a b", "../etc", "ü", &"x".repeat(65)] {
        let mut dashboard = dashboard();
        uid.clone_into(&mut dashboard.uid);
        assert_eq!(
            fixture.console.publish(&dashboard).await.unwrap_err().kind(),
            ErrorKind::Invalid,
            "{uid}"
        );
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_platform_that_does_not_answer_is_an_error_of_its_own() {
    let fixture = Fixture::start().await;
    fixture.platform.set(Err("the API server is gone".to_owned()));
    let response = client().get(fixture.url("api/v1/status")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["kind"], "unavailable");
    assert!(body["error"]["message"].as_str().unwrap().contains("the API server is gone"), "{body}");
    fixture.get("api/v1/stats").await;
    fixture.stop().await;
}

fn series(title: &str) -> Panel {
    Panel::time_series(title, Unit::None, vec![PanelQuery::new(metric("up"), "")])
}

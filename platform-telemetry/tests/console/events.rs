//! The stream of events.

use crate::fixture::{Fixture, client, status};
use futures::{Stream, StreamExt};
use platform_core::dashboard::{Dashboard, DashboardTarget};
use serde_json::{Value, json};
use std::{pin::Pin, time::Duration};
use tokio::time::timeout;

#[tokio::test]
async fn a_page_is_told_everything_at_first_and_changes_later() {
    let fixture = Fixture::start().await;
    let mut events = Events::open(&fixture).await;
    let mut first = Vec::new();
    while first.len() < 4 {
        let (name, _) = events.next().await;
        if name != "heartbeat" && !first.contains(&name) {
            first.push(name);
        }
    }
    first.sort();
    assert_eq!(first, ["alerts", "dashboards", "stats", "status"]);

    let mut changed = status();
    changed["provider"] = json!("kind");
    fixture.platform.set(Ok(changed.clone()));
    assert_eq!(events.wait_for("status", |data| data["provider"] == "kind").await, changed);

    fixture.console.publish(&Dashboard::new("garden", "Garden")).await.unwrap();
    events.wait_for("dashboards", |all| all[1]["uid"] == "garden").await;
    fixture.console.publish(&Dashboard::new("garden", "Park")).await.unwrap();
    events.wait_for("dashboards", |all| all[1]["title"] == "Park").await;
    fixture.console.remove("house").await.unwrap();
    fixture.console.remove("house").await.unwrap();
    events.wait_for("dashboards", |all| all.as_array().unwrap().len() == 1).await;

    fixture.platform.set(Err("the API server is gone".to_owned()));
    let failure = events.wait_for("failure", |data| data["part"] == "status").await;
    assert!(failure["error"]["message"].as_str().unwrap().contains("is gone"), "{failure}");
    fixture.platform.set(Ok(changed));
    events.wait_for("status", |_| true).await;
    fixture.stop().await;
}

#[tokio::test]
async fn what_did_not_change_is_not_repeated() {
    let fixture = Fixture::start().await;
    let mut events = Events::open(&fixture).await;
    events.wait_for("status", |_| true).await;
    let mut moved = status();
    let mut heartbeats = 0;
    while heartbeats < 5 {
        // Only the moment at which it was looked at is another.
        moved["at"] = json!(moved["at"].as_i64().unwrap() + 1000);
        fixture.platform.set(Ok(moved.clone()));
        match events.next().await {
            (name, data) if name == "heartbeat" => {
                assert_eq!(data["at"], fixture.now.as_millis());
                heartbeats += 1;
            }
            (name, data) => assert_ne!(name, "status", "{data}"),
        }
    }
    fixture.stop().await;
}

#[tokio::test]
async fn stopping_ends_streams_and_frees_the_port() {
    let fixture = Fixture::start().await;
    let mut events = Events::open(&fixture).await;
    events.wait_for("status", |_| true).await;
    let address = fixture.console.address();
    timeout(Duration::from_secs(4), fixture.console.stop()).await.expect("open streams end at once");
    fixture.console.stop().await;
    assert!(timeout(Duration::from_secs(10), events.ended()).await.is_ok());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());

    let again = platform_telemetry::console::Console::builder(
        fixture.store.clone() as _,
        fixture.platform.clone() as _,
    );
    let again = again.address(address).start().await.unwrap();
    assert_eq!(client().get(again.url()).send().await.unwrap().status(), 200);
    drop(again);
    let closed = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), closed).await.expect("dropping stops it");
    fixture.stop().await;
}

#[tokio::test]
async fn open_pages_are_bounded_and_make_room_when_they_leave() {
    let fixture = Fixture::start().await;
    let open = async || client().get(fixture.url("api/v1/events")).send().await.unwrap();
    let mut pages = Vec::new();
    for _ in 0..64 {
        let page = open().await;
        assert_eq!(page.status(), 200);
        pages.push(page);
    }
    let refused = open().await;
    assert_eq!(refused.status(), 503);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["kind"], "exhausted", "{body}");
    fixture.get("api/v1/status").await;

    drop(pages);
    let room = async {
        while open().await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), room).await.expect("closed pages make room");
    fixture.stop().await;
}

/// A reader of `text/event-stream`.
struct Events {
    bytes: Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Events {
    async fn open(fixture: &Fixture) -> Self {
        let response = client().get(fixture.url("api/v1/events")).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { bytes: Box::pin(response.bytes_stream()), text: String::new() }
    }

    async fn next(&mut self) -> (String, Value) {
        self.read().await.expect("the stream goes on")
    }

    async fn wait_for(&mut self, name: &str, accept: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let (event, data) = self.next().await;
                if event == name && accept(&data) {
                    return data;
                }
            }
        };
        timeout(Duration::from_secs(30), found).await.unwrap_or_else(|_| panic!("no such {name}"))
    }

    async fn ended(&mut self) {
        while self.read().await.is_some() {}
    }

    async fn read(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let (name, data) = event.trim_end().split_once('\n').unwrap();
                let event = (
                    name.strip_prefix("event: ").unwrap().to_owned(),
                    serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
                );
                return Some(event);
            }
            match self.bytes.next().await {
                Some(Ok(bytes)) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                _ => return None,
            }
        }
    }
}

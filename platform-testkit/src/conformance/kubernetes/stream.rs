//! Watches.

use super::request::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value;
use std::time::Duration;

/// How long an event may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open watch.
pub(super) struct Watch {
    body: Body,
    pending: Vec<u8>,
}

impl Watch {
    /// Opens a watch on a collection; the server must take it.
    pub(super) async fn open(request: Request) -> Result<Self, String> {
        let (code, body) = request.query("watch", "true").open().await?;
        let mut watch = Self { body, pending: Vec::new() };
        if code == 200 {
            return Ok(watch);
        }
        let refusal = watch.next().await?;
        Err(format!("a watch is refused with {code}: {}", refusal.unwrap_or_default()))
    }

    /// The next event; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, String> {
        match tokio::time::timeout(PATIENCE, self.line()).await {
            Ok(line) => line,
            Err(_) => Err(format!("no event within {PATIENCE:?}")),
        }
    }

    /// The next event's type and its object.
    pub(super) async fn event(&mut self) -> Result<(String, Value), String> {
        let mut event = self.next().await?.ok_or("the watch has ended")?;
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        Ok((kind, event["object"].take()))
    }

    /// The type and the name of each of the next events.
    pub(super) async fn events(&mut self, count: usize) -> Result<Vec<(String, String)>, String> {
        let mut events = Vec::new();
        for _ in 0..count {
            let (kind, object) = self.event().await?;
            events.push((kind, object["metadata"]["name"].as_str().unwrap_or_default().to_owned()));
        }
        Ok(events)
    }

    /// All events until the server ends the stream.
    pub(super) async fn rest(&mut self) -> Result<Vec<Value>, String> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(events)
    }

    async fn line(&mut self) -> Result<Option<Value>, String> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return parsed(&line).map(Some);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.pending.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(format!("the watch broke off: {error}")),
                None if self.pending.is_empty() => return Ok(None),
                None => return parsed(&std::mem::take(&mut self.pending)).map(Some),
            }
        }
    }
}

fn parsed(line: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(line).map_err(|e| format!("not an event: {e}: {}", String::from_utf8_lossy(line)))
}

//! An HTTP proxy in front of a real API server, which disturbs some of what passes.

use bytes::Bytes;
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What is done to the first requests that match.
pub(super) struct Disturbance {
    method: &'static str,
    path: &'static str,
    left: AtomicUsize,
    effect: Effect,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// 429 with `Retry-After: 1` in place of the server's answer.
    Overload,
    /// The watch asks for what is older than the server remembers.
    OldWatch,
}

impl Disturbance {
    pub(super) fn overload(method: &'static str, path: &'static str, times: usize) -> Self {
        Self { method, path, left: AtomicUsize::new(times), effect: Effect::Overload }
    }

    pub(super) fn old_watch(path: &'static str, times: usize) -> Self {
        Self { method: "GET", path, left: AtomicUsize::new(times), effect: Effect::OldWatch }
    }

    fn meets(&self, head: &Head) -> bool {
        let matches = head.method == self.method
            && head.path.contains(self.path)
            && (self.effect != Effect::OldWatch || head.path.contains("watch="));
        matches
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

pub(super) struct Proxy {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    client: Client,
    disturbance: Disturbance,
    disturbed: AtomicUsize,
    gone: AtomicUsize,
}

impl Proxy {
    pub(super) async fn start(client: Client, disturbance: Disturbance) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (disturbed, gone) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let shared = Arc::new(Shared { client, disturbance, disturbed, gone });
        let task = tokio::spawn({
            let shared = shared.clone();
            async move {
                let mut connections = tokio::task::JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let shared = shared.clone();
                    // A connection that ends in an error ends, as with any proxy.
                    connections.spawn(async move { shared.serve(stream).await.ok() });
                }
            }
        });
        Self { url, shared, task }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// How many requests were disturbed.
    pub(super) fn disturbed(&self) -> usize {
        self.shared.disturbed.load(Ordering::SeqCst)
    }

    /// How many watches the server ended with 410.
    pub(super) fn gone(&self) -> usize {
        self.shared.gone.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Head {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Shared {
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::new();
        while let Some((head, body)) = read(&mut stream, &mut buffer).await? {
            self.answer(head, body, &mut stream).await?;
        }
        Ok(())
    }

    async fn answer(&self, mut head: Head, body: Bytes, stream: &mut TcpStream) -> std::io::Result<()> {
        let is_disturbed = self.disturbance.meets(&head);
        if is_disturbed && self.disturbance.effect == Effect::Overload {
            self.disturbed.fetch_add(1, Ordering::SeqCst);
            let busy = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
            return stream.write_all(busy.as_bytes()).await;
        }
        if is_disturbed {
            let (before, version) = head.path.split_once("resourceVersion=").unwrap();
            let after = version.find('&').map_or("", |at| &version[at..]);
            head.path = format!("{before}resourceVersion=1{after}");
        }
        let mut request = http::Request::builder().method(head.method.as_str()).uri(&head.path);
        for name in ["accept", "content-type"] {
            if let Some(value) = head.header(name) {
                request = request.header(name, value);
            }
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.client.send(request).await.map_err(std::io::Error::other)?;
        let status = response.status();
        let mut answer = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n");
        for name in ["content-type", "retry-after"] {
            if let Some(value) = response.headers().get(name) {
                answer = format!("{answer}{name}: {}\r\n", value.to_str().unwrap());
            }
        }
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        let mut is_gone = status.as_u16() == 410;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(std::io::Error::other)?;
            let Ok(data) = frame.into_data() else { continue };
            is_gone |= is_disturbed && String::from_utf8_lossy(&data).contains("\"code\":410");
            stream.write_all(format!("{:x}\r\n", data.len()).as_bytes()).await?;
            stream.write_all(&data).await?;
            stream.write_all(b"\r\n").await?;
        }
        stream.write_all(b"0\r\n\r\n").await?;
        if is_disturbed {
            self.gone.fetch_add(usize::from(is_gone), Ordering::SeqCst);
            self.disturbed.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Reads a request; `None` at the end of the connection.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<(Head, Bytes)>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut lines = text.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect();
    let head = Head { method: method.to_owned(), path: path.to_owned(), headers };
    let length: usize = head.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = Bytes::copy_from_slice(&buffer[end..end + length]);
    buffer.drain(..end + length);
    Ok(Some((head, body)))
}

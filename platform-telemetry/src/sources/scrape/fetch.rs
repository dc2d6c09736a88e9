//! One exchange with a target.

use super::bearer::Bearer;
use crate::{exposition::Format, http};
use bytes::Bytes;
use platform_core::{Error, ErrorKind, Result};
use reqwest::{
    Client, Response, Url, Version,
    header::{ACCEPT as ACCEPT_HEADER, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
};
use std::time::Duration;

/// What is asked for: as Prometheus does, less the formats that are not read here.
pub const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
/// The same where nothing tells in which format the answer is.
pub(super) const ACCEPT_TEXT: &str =
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// The whole body of an answer, and its format.
pub(super) async fn fetch(
    client: &Client,
    url: &Url,
    bearer: Option<&Bearer>,
    timeout: Duration,
    limit: usize,
) -> Result<(Format, Bytes)> {
    let mut request = client
        .get(url.clone())
        .header(ACCEPT_HEADER, ACCEPT)
        .header("X-Prometheus-Scrape-Timeout-Seconds", timeout.as_secs_f64().to_string());
    if let Some(bearer) = bearer {
        request = bearer.sign(request).await?;
    }
    let mut response = request.send().await.map_err(http::failure)?;
    if !response.status().is_success() {
        return Err(Error::new(ErrorKind::Unavailable, format!("it answers {}", response.status())));
    }
    let format = format(&response)?;
    let ends_with_the_connection = ends_with_the_connection(&response);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(http::failure)? {
        if body.len() + chunk.len() > limit {
            return Err(Error::new(ErrorKind::Exhausted, format!("its answer has more than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    if body.trim_ascii_start().starts_with(b"<") {
        return Err(Error::invalid("it answers with a page, not with metrics"));
    }
    // Nothing else would tell that half of it is missing.
    if ends_with_the_connection && body.last().is_some_and(|last| *last != b'\n') {
        return Err(Error::new(ErrorKind::Unavailable, "its answer ends in the middle of a line"));
    }
    // It is kept until the next scrape.
    body.shrink_to_fit();
    Ok((format, body.into()))
}

fn format(response: &Response) -> Result<Format> {
    let Some(value) = response.headers().get(CONTENT_TYPE) else { return Ok(Format::Prometheus) };
    let value = String::from_utf8_lossy(value.as_bytes());
    Format::of_content_type(&value).ok_or_else(|| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        Error::invalid(format!("it answers with {media_type:?}, not with \"text/plain\" or OpenMetrics"))
    })
}

/// Whether only the end of the connection says where the body ends.
fn ends_with_the_connection(response: &Response) -> bool {
    response.version() <= Version::HTTP_11
        && !response.headers().contains_key(CONTENT_LENGTH)
        && !response.headers().contains_key(TRANSFER_ENCODING)
}

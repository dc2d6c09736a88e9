//! What is signed: a request in one form, by the rules of Signature Version 4.

use super::{Paths, Refusal};
use http::{HeaderMap, Uri, header, request::Parts};
use std::fmt::Write as _;

/// `hex(sha256(bytes))`.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a text cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// The canonical request: method, path, query, headers, their names, and the digest of the body.
pub(super) fn request(
    parts: &Parts,
    signed_headers: &[String],
    payload: &str,
    paths: Paths,
) -> Result<String, Refusal> {
    let mut headers = String::new();
    for name in signed_headers {
        let value = header_value(parts, name)
            .ok_or_else(|| Refusal::Malformed(format!("the header {name} is signed and not there")))?;
        headers = format!("{headers}{name}:{value}\n");
    }
    Ok([
        parts.method.as_str(),
        &path(parts.uri.path(), paths),
        &query(parts.uri.query().unwrap_or_default()),
        &headers,
        &signed_headers.join(";"),
        payload,
    ]
    .join("\n"))
}

/// All values of a header in one line; that of `host` may stand in the URI.
fn header_value(parts: &Parts, name: &str) -> Option<String> {
    match joined(&parts.headers, name) {
        None if name == header::HOST.as_str() => authority(&parts.uri),
        value => value,
    }
}

fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        })
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn authority(uri: &Uri) -> Option<String> {
    uri.authority().map(|authority| authority.as_str().to_owned())
}

/// Once more encoded than it is sent, which it is once.
fn path(path: &str, paths: Paths) -> String {
    let path = match paths {
        Paths::AsSent => path.to_owned(),
        Paths::Normalized => normalized(path),
    };
    if path.is_empty() { "/".to_owned() } else { encoded(path.as_bytes(), b"/") }
}

/// Without `.`, `..` and empty segments.
fn normalized(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let end = if folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

/// Decoded, encoded in one way, sorted, and without the signature itself.
fn query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = pairs(query)
        .filter(|(name, _)| name != b"X-Amz-Signature")
        .map(|(name, value)| (encoded(&name, b""), encoded(&value, b"")))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Names and values of a query, decoded.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// A percent sign that no two digits follow is itself. A plus is a plus.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let code = match others {
            [high, low, ..] if *first == b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                digit(*high).zip(digit(*low)).map(|(high, low)| (high * 16 + low) as u8)
            }
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = others.get(if code.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    bytes
}

pub(super) fn encoded(bytes: &[u8], kept: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) || kept.contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a text cannot fail.
            _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

//! Who may ask, and what a browser may do with the answer.

use super::{Shared, problem::Problem};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use platform_core::{Error, ErrorKind};
use std::{net::IpAddr, sync::Arc};

/// Own files only; nothing inline, nothing from elsewhere, not in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// The host names that requests may be meant for, beside IP addresses and `localhost`.
#[derive(Debug, Default)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    pub(super) fn allow(&mut self, name: String) {
        self.0.push(name);
    }

    /// A page of another site that makes its own name point here sends that name. An IP address cannot be made to point elsewhere.
    fn admits(&self, host: &str) -> bool {
        let name = host_name(host);
        let literal = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        literal.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

/// The host of `host[:port]`.
fn host_name(host: &str) -> &str {
    let end = match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => colon,
        _ => host.len(),
    };
    host.get(..end).unwrap_or(host)
}

/// Refuses requests on behalf of other origins and puts the security headers on every answer.
pub(super) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match admit(&shared.hosts, request.headers(), request.uri().path()) {
        Ok(()) => next.run(request).await,
        Err(error) => Problem::from(error).into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

fn admit(hosts: &Hosts, headers: &HeaderMap, path: &str) -> Result<(), Error> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let Some(host) = host else {
        return Err(Error::invalid("the request has no readable Host header"));
    };
    if !hosts.admits(host) {
        return Err(Error::new(ErrorKind::Denied, format!("the console is not known as {host:?}"))
            .help("open it by its IP address or as localhost, or allow the name when the console is built"));
    }
    // Links from elsewhere may lead to the page, but scripts from elsewhere have no business with the API.
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if path.starts_with("/api/") && matches!(site, Some("cross-site" | "same-site")) {
        return Err(Error::new(ErrorKind::Denied, "the API answers the console's own page only"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_allowed_names_are_admitted() {
        let mut hosts = Hosts::default();
        hosts.allow("console.example.com".to_owned());
        let admitted = [
            "127.0.0.1:8080",
            "127.0.0.1",
            "[::1]:8080",
            "[::1]",
            "localhost",
            "LOCALHOST:1",
            "192.168.1.7:80",
            "console.example.com:443",
        ];
        for host in admitted {
            assert!(hosts.admits(host), "{host}");
        }
        let refused = [
            "",
            ":80",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "[::1",
        ];
        for host in refused {
            assert!(!hosts.admits(host), "{host}");
        }
    }
}

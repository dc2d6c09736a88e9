//! Reading through the API server's proxy.

use super::{
    error::{ApiError, retry_after_of},
    resource::segment,
};
use http::{StatusCode, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::{client::Body, core::Status};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{ProxyRequest, ProxyTarget},
};

/// Sends `request` once and reads the whole answer.
pub(crate) async fn get(client: &kube::Client, request: &ProxyRequest) -> Result<Vec<u8>> {
    let message = http::Request::get(uri(request)?)
        .header(header::ACCEPT, request.accept.as_str())
        .body(Body::empty())
        .map_err(|e| Error::invalid("it cannot be asked like this").source(e))?;
    let response = client.send(message).await.map_err(ApiError::Transport)?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, request.limit).collect().await.map_err(|e| {
        if e.is::<LengthLimitError>() {
            return Error::new(
                ErrorKind::Exhausted,
                format!("its answer has more than {} bytes", request.limit),
            );
        }
        Error::new(ErrorKind::Unavailable, "its answer broke off").source(e)
    })?;
    let body = body.to_bytes();
    if parts.status.is_success() { Ok(body.into()) } else { Err(refusal(parts.status, &body)) }
}

/// The API server's own refusals are `Status` objects; anything else is the target's answer, which is handed through.
fn refusal(code: StatusCode, body: &[u8]) -> Error {
    match serde_json::from_slice::<Status>(body) {
        Ok(mut status) if !status.message.is_empty() => {
            status.code = code.as_u16();
            let retry_after = retry_after_of(&status);
            ApiError::Status { status: status.boxed(), retry_after }.into()
        }
        _ => Error::new(ErrorKind::Unavailable, format!("it answers {code}")),
    }
}

fn uri(request: &ProxyRequest) -> Result<Uri> {
    let scheme = if request.tls { "https:" } else { "" };
    let port = request.port.as_deref();
    let place = |name: &str| match (scheme, port) {
        ("", None) => segment(name),
        (scheme, port) => format!("{scheme}{}:{}", segment(name), segment(port.unwrap_or_default())),
    };
    let target = match &request.target {
        ProxyTarget::Pod { namespace, name } => {
            format!("namespaces/{}/pods/{}", segment(namespace), place(name))
        }
        ProxyTarget::Service { namespace, name } => {
            format!("namespaces/{}/services/{}", segment(namespace), place(name))
        }
        ProxyTarget::Node { name } => format!("nodes/{}", place(name)),
        other => return Err(Error::new(ErrorKind::Unsupported, format!("{other:?} cannot be asked"))),
    };
    let path = request.path.trim_start_matches('/');
    let uri = format!("/api/v1/{target}/proxy/{path}");
    uri.parse().map_err(|e| Error::invalid(format!("{:?} is no path with a query", request.path)).source(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_proxy_subresource() {
        let address = |request: ProxyRequest| uri(&request).unwrap().to_string();
        let pod = ProxyRequest::pod("a", "web-0");
        assert_eq!(address(pod.clone()), "/api/v1/namespaces/a/pods/web-0/proxy/");
        assert_eq!(
            address(pod.clone().port(9100).path("/metrics?x=1")),
            "/api/v1/namespaces/a/pods/web-0:9100/proxy/metrics?x=1"
        );
        assert_eq!(
            address(pod.clone().tls(true).port("metrics")),
            "/api/v1/namespaces/a/pods/https:web-0:metrics/proxy/"
        );
        assert_eq!(address(ProxyRequest::service("a", "web")), "/api/v1/namespaces/a/services/web/proxy/");
        assert_eq!(
            address(ProxyRequest::node("n1").path("metrics/cadvisor")),
            "/api/v1/nodes/n1/proxy/metrics/cadvisor"
        );
        assert_eq!(address(ProxyRequest::pod("a/../b", "c")), "/api/v1/namespaces/a%2F..%2Fb/pods/c/proxy/");
        assert_eq!(uri(&pod.path("a b")).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn refusals_of_the_api_server_are_told_from_answers_of_the_target() {
        let status =
            r#"{"kind":"Status","status":"Failure","message":"pods \"x\" not found","reason":"NotFound"}"#;
        let error = refusal(StatusCode::NOT_FOUND, status.as_bytes());
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::NotFound, "pods \"x\" not found".into()));
        let error = refusal(StatusCode::NOT_FOUND, b"404 page not found");
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Unavailable, "it answers 404 Not Found".into())
        );
    }
}

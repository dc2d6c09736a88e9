//! The HTTP client of notifiers and scrapes, and what its failures mean.

use platform_core::{Error, ErrorKind, Result};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, header::RETRY_AFTER, redirect::Policy};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

/// A client that speaks TLS by rustls on ring and trusts Mozilla's roots.
///
/// `timeout` bounds a whole exchange, from connecting to the last byte of the body; connecting alone may take half of it.
/// `redirects` says which are followed: none where the address is a secret.
pub(crate) fn client(timeout: Duration, redirects: Policy) -> Result<Client> {
    static TLS: LazyLock<Result<rustls::ClientConfig, String>> =
        LazyLock::new(|| tls(rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }));
    let tls = TLS.as_ref().map_err(|e| Error::internal(e.clone()).operation("set up TLS"))?;
    build(tls.clone(), timeout, redirects)
}

/// The same, but trusting the authorities that are given in PEM, and no others.
pub(crate) fn client_trusting(authorities: &[u8], timeout: Duration, redirects: Policy) -> Result<Client> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate =
            certificate.map_err(|e| Error::invalid("the certificate authority is no PEM").source(e))?;
        roots
            .add(certificate)
            .map_err(|e| Error::invalid("the certificate authority is no certificate").source(e))?;
    }
    if roots.is_empty() {
        return Err(Error::invalid("there is no certificate in what should be the authority's"));
    }
    let tls = tls(roots).map_err(|e| Error::internal(e).operation("set up TLS"))?;
    build(tls, timeout, redirects)
}

/// A client of servers that are known by their addresses alone: it checks no certificates, follows no redirects, and asks no proxy.
pub(crate) fn client_of_addresses(timeout: Duration) -> Result<Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal(e.to_string()).operation("set up TLS"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
        .with_no_client_auth();
    finish(builder(tls, timeout, Policy::none()).no_proxy())
}

/// Believes every certificate. That the server has its key is still checked.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn build(tls: rustls::ClientConfig, timeout: Duration, redirects: Policy) -> Result<Client> {
    finish(builder(tls, timeout, redirects))
}

fn builder(tls: rustls::ClientConfig, timeout: Duration, redirects: Policy) -> ClientBuilder {
    ClientBuilder::new()
        .tls_backend_preconfigured(tls)
        .timeout(timeout)
        .connect_timeout(timeout / 2)
        .redirect(redirects)
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
}

fn finish(builder: ClientBuilder) -> Result<Client> {
    builder.build().map_err(|e| Error::internal("the HTTP client cannot be built").source(e.without_url()))
}

/// Reads an address of HTTP or HTTPS with a host; an error does not repeat it, since it may be a secret.
pub(crate) fn parse_url(url: &str) -> Result<Url> {
    let parsed = Url::parse(url).map_err(|e| Error::invalid("its address is not a URL").source(e))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(Error::invalid("its address does not begin with https://HOST or http://HOST"));
    }
    Ok(parsed)
}

/// What a failed exchange means, without its address, which may be a secret.
pub(crate) fn failure(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let (kind, message) = if error.is_timeout() {
        (ErrorKind::Timeout, "no answer in time")
    } else if error.is_builder() {
        (ErrorKind::Invalid, "the request is not valid")
    } else if error.is_connect() {
        (ErrorKind::Unavailable, "no connection")
    } else {
        (ErrorKind::Unavailable, "the exchange was cut off")
    };
    // A request that was never answered may be repeated, whatever the reason.
    Error::new(kind, message).retryable(kind != ErrorKind::Invalid).source(error)
}

/// Passes a 2xx answer; makes an error of any other with the start of its body.
///
/// 408, 429 and 5xx are retryable, after `Retry-After` where it is given; everything else would fail again.
pub(crate) async fn success(response: Response) -> Result<()> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let wait = response.headers().get(RETRY_AFTER).and_then(|v| retry_after(v.to_str().ok()?));
    let url = response.url().clone();
    let body = shortened(&without_parts_of(&url, &beginning(response).await));
    let colon = if body.is_empty() { "" } else { ": " };
    let error = Error::new(kind(status), format!("answered {status}{colon}{body}"));
    let retryable = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT;
    Err(match wait {
        Some(wait) if retryable => error.retry_after(wait),
        _ => error.retryable(retryable),
    })
}

fn tls(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

const fn kind(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 | 403 | 407 => ErrorKind::Denied,
        404 | 410 => ErrorKind::NotFound,
        408 => ErrorKind::Timeout,
        413 | 429 => ErrorKind::Exhausted,
        500.. => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    }
}

/// Seconds or an HTTP date, as RFC 9110 10.2.3 has them; at most an hour.
fn retry_after(value: &str) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(3600);
    let value = value.trim();
    let wait = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
        SystemTime::from(at).duration_since(SystemTime::now()).unwrap_or_default()
    };
    Some(wait.min(LONGEST))
}

/// How many characters of a body are told.
const ENOUGH: usize = 300;

/// The beginning of a body: at least as much as is told, where there is as much.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    // More than is told, so that what is cut away was whole when it was looked for.
    while bytes.len() < 8 * ENOUGH
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `text` without what may be secret of the address: many servers repeat the path of what they do not find.
fn without_parts_of(url: &Url, text: &str) -> String {
    /// Shorter ones are no secrets, and would hide words of the message.
    const SECRET: usize = 4;
    let query = url.query().unwrap_or_default();
    let values = query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1));
    let mut parts: Vec<&str> = [url.path(), query, url.password().unwrap_or_default()]
        .into_iter()
        .chain(values)
        .chain(url.path().split('/'))
        .filter(|part| part.len() >= SECRET)
        .collect();
    // A part may hold another.
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts.into_iter().fold(text.to_owned(), |text, part| text.replace(part, "…"))
}

/// On one line, and no longer than is told.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(ENOUGH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("999999"), Some(Duration::from_secs(3600)));
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("Thu, 01 Jan 2950 00:00:00 GMT"), Some(Duration::from_secs(3600)));
        assert_eq!(retry_after("soon"), None);
    }

    #[tokio::test]
    async fn a_failure_does_not_tell_the_address() {
        let client = client(Duration::from_secs(5), Policy::none()).unwrap();
        // Port 1 is reserved and nobody listens there.
        let error = client.get("http://127.0.0.1:1/services/T0/B0/secret").send().await.unwrap_err();
        let error = failure(error);
        assert!(error.is_retryable(), "{error}");
        assert!(!error.to_string().contains("secret") && !format!("{error:?}").contains("secret"), "{error}");
    }

    #[test]
    fn an_answer_that_repeats_the_address_does_not_tell_it() {
        let url = Url::parse("https://u:hidden@example.com/services/T0/B0/s3cr3t?token=t0ken").unwrap();
        let answer = "<pre>Cannot POST /services/T0/B0/s3cr3t?token=t0ken (s3cr3t, t0ken, hidden) here</pre>";
        let told = without_parts_of(&url, answer);
        for secret in ["s3cr3t", "t0ken", "hidden"] {
            assert!(!told.contains(secret), "{told}");
        }
        assert!(told.starts_with("<pre>Cannot POST …") && told.ends_with("here</pre>"), "{told}");
        let root = Url::parse("https://example.com/").unwrap();
        assert_eq!(without_parts_of(&root, "a / b"), "a / b");
    }
}

//! A `kube` client whose credentials stay fresh.

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header::AUTHORIZATION};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::client::{Body, ConfigExt};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{ClusterAccess, Credential},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::Mutex;
use tower::{BoxError, Layer, Service};

/// A credential is asked for again so long before it ends.
const REFRESH_BEFORE: Duration = Duration::from_secs(60);
/// A credential of which no end is known is asked for again after this; its source may have read it from a file.
const REFRESH_AFTER: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is silent before it is probed, and between probes.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// After so many unanswered probes a connection is dead.
const KEEPALIVE_RETRIES: u32 = 3;

/// Checks what can be checked of `access` without asking anybody, and makes a client of it.
///
/// The client asks the source for a credential before its first request and whenever the former one is about to end.
pub(crate) fn client(access: &ClusterAccess) -> Result<kube::Client> {
    let foundation = Foundation::new(access)?;
    // Fails early on what no credential can mend.
    foundation.build(None)?;
    let fresh = Fresh { foundation: Arc::new(foundation), access: access.clone(), session: Arc::default() };
    Ok(kube::Client::new(fresh, "default"))
}

/// What of a connection stays the same whatever the credential.
#[derive(Debug)]
struct Foundation {
    server: Uri,
    roots: Option<Vec<Vec<u8>>>,
}

impl Foundation {
    fn new(access: &ClusterAccess) -> Result<Self> {
        let invalid = |message: String| {
            Error::invalid(message).operation("connect to").subject(format!("cluster {}", access.cluster))
        };
        let server: Uri = access
            .server
            .parse()
            .map_err(|e| invalid(format!("{:?} is not the URL of an API server: {e}", access.server)))?;
        let is_https = match server.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(invalid(format!("{:?} must begin with https:// or http://", access.server))),
        };
        let roots = match &access.certificate_authority {
            Some(pem) => {
                let certificates: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(pem)
                    .map(|certificate| certificate.map(|der| der.to_vec()))
                    .collect::<Result<_, _>>()
                    .map_err(|e| invalid(format!("the certificate authority is not PEM: {e:?}")))?;
                if certificates.is_empty() {
                    return Err(invalid("the certificate authority has no certificate in it".to_owned()));
                }
                Some(certificates)
            }
            // Where the machine trusts nobody the client would refuse to be made, even without TLS.
            None if !is_https => Some(Vec::new()),
            None => None,
        };
        Ok(Self { server, roots })
    }

    fn build(&self, identity: Option<(&[u8], &SecretString)>) -> Result<kube::Client> {
        let mut config = kube::Config::new(self.server.clone());
        config.root_cert.clone_from(&self.roots);
        if let Some((certificate, key)) = identity {
            config.auth_info.client_certificate_data = Some(BASE64_STANDARD.encode(certificate));
            config.auth_info.client_key_data = Some(BASE64_STANDARD.encode(key.expose_secret()).into());
        }
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        // A watch may be silent for minutes; without probes it would not notice that its server is gone.
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_keepalive_interval(Some(KEEPALIVE));
        connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        let connector = config.rustls_https_connector_with_connector(connector).map_err(|e| {
            Error::new(ErrorKind::Invalid, format!("no client can be made for {}", self.server)).source(e)
        })?;
        let client: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
        Ok(kube::Client::new(config.base_uri_layer().layer(client), config.default_namespace))
    }
}

/// Sets the credential that is good now on each request.
struct Fresh {
    foundation: Arc<Foundation>,
    access: ClusterAccess,
    session: Arc<Mutex<Option<Session>>>,
}

/// A credential as it is used until it is asked for again.
#[derive(Clone)]
struct Session {
    client: kube::Client,
    authorization: Option<HeaderValue>,
    /// The certificate that the client was made with.
    certificate: Option<Vec<u8>>,
    until: Instant,
}

impl Service<Request<Body>> for Fresh {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (foundation, access, session) =
            (self.foundation.clone(), self.access.clone(), self.session.clone());
        Box::pin(async move {
            let current = {
                let mut slot = session.lock().await;
                match slot.take() {
                    Some(session) if session.until > Instant::now() => slot.insert(session).clone(),
                    former => slot.insert(open(&foundation, &access, former).await?).clone(),
                }
            };
            if let Some(authorization) = current.authorization {
                request.headers_mut().insert(AUTHORIZATION, authorization);
            }
            let response = current.client.send(request).await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                // Whatever the source said about its end, it has ended: ask again next time.
                if let Some(session) = session.lock().await.as_mut() {
                    session.until = Instant::now();
                }
            }
            Ok(response)
        })
    }
}

async fn open(foundation: &Foundation, access: &ClusterAccess, former: Option<Session>) -> Result<Session> {
    let credential =
        access.credentials.credential().await.map_err(|e| {
            e.operation("get a credential for").subject(format!("cluster {}", access.cluster))
        })?;
    let mut until = Instant::now() + REFRESH_AFTER;
    let (authorization, identity) = match &credential {
        Credential::None => (None, None),
        Credential::Bearer { token, expires } => {
            let mut header =
                HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
                    Error::invalid(format!("the token for cluster {} has control characters", access.cluster))
                })?;
            header.set_sensitive(true);
            if let Some(expires) = expires {
                let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
                until = Instant::now() + left.saturating_sub(REFRESH_BEFORE);
            }
            (Some(header), None)
        }
        Credential::ClientCertificate { certificate, key } => (None, Some((certificate.as_slice(), key))),
        other => {
            let message = format!("credentials like {other:?} cannot be shown to an API server");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    let certificate = identity.map(|(certificate, _)| certificate.to_vec());
    let client = match former {
        Some(session) if session.certificate == certificate => session.client,
        _ => foundation.build(identity)?,
    };
    Ok(Session { client, authorization, certificate, until })
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::name::ClusterName;

    fn access(server: &str) -> ClusterAccess {
        ClusterAccess::new(ClusterName::new("shop-testing").unwrap(), server)
    }

    #[tokio::test]
    async fn an_unusable_access_is_refused_before_any_request() {
        for (server, says) in
            [("127.0.0.1:80", "http"), ("ftp://a", "must begin with"), ("http://a b", "not the URL")]
        {
            let error = client(&access(server)).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(says), "{error}");
        }
        let no_pem = access("https://127.0.0.1:1").certificate_authority("not PEM");
        assert!(client(&no_pem).err().unwrap().to_string().contains("certificate authority"));
        assert!(client(&access("http://127.0.0.1:1")).is_ok());
    }
}

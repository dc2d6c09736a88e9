//! Calls that are signed here, when what they need is missing or does not answer.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_types::sdk_config::Builder;
use platform_aws::api::{ApiErrorKind, Aws};
use platform_core::{Error, ErrorKind};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const SECRET: &str = "very-secret";

fn configuration(endpoint: &str) -> Builder {
    let credentials = Credentials::new("AKIDEXAMPLE", SECRET, None, None, "test");
    let tls = Provider::Rustls(CryptoMode::Ring);
    aws_config::SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(
            RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(10)),
        )
        .http_client(aws_smithy_http_client::Builder::new().tls_provider(tls).build_https())
}

/// A server that does `answer` with each connection, and counts them.
async fn serve<F: Future<Output = ()> + Send + 'static>(
    answer: impl Fn(TcpStream, usize) -> F + Send + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, counted.fetch_add(1, Ordering::SeqCst)));
        }
    });
    (url, count)
}

async fn respond(mut stream: TcpStream, status: &str, body: &str) {
    let mut request = [0; 8192];
    drop(stream.read(&mut request).await);
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    drop(stream.write_all(answer.as_bytes()).await);
}

#[tokio::test]
async fn an_attempt_that_is_not_answered_ends_and_so_do_the_attempts() {
    let (url, count) = serve(|stream, _| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(200)).build();
    let network = Aws::new(&configuration(&url).timeout_config(timeouts).build()).network;
    let begun = Instant::now();
    let error = network.vpcs().await.unwrap_err();
    assert_eq!(error.kind, ApiErrorKind::Transient, "{error}");
    assert!(Error::from(error).is_retryable());
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_gateway_that_fails_once_is_asked_again() {
    let (url, count) = serve(|stream, index| async move {
        match index {
            0 => respond(stream, "502 Bad Gateway", "<html>502</html>").await,
            1 => drop(stream),
            _ => respond(stream, "200 OK", "<R><vpcSet/></R>").await,
        }
    })
    .await;
    let network = Aws::new(&configuration(&url).build()).network;
    assert_eq!(network.vpcs().await.unwrap(), []);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_is_refused_is_not_asked_again_and_what_cannot_be_read_is_told() {
    let (url, count) = serve(|stream, index| async move {
        let refusal = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors></Response>";
        match index {
            0 => respond(stream, "403 Forbidden", refusal).await,
            1 => respond(stream, "404 Not Found", "<html>nginx</html>").await,
            _ => respond(stream, "200 OK", "not XML").await,
        }
    })
    .await;
    let network = Aws::new(&configuration(&url).build()).network;
    let kind = async || network.vpcs().await.unwrap_err().kind;
    assert_eq!(kind().await, ApiErrorKind::Denied);
    assert_eq!(kind().await, ApiErrorKind::Unknown);
    let unreadable = network.vpcs().await.unwrap_err();
    assert!(
        unreadable.to_string().starts_with("ec2:DescribeVpcs: the answer cannot be read"),
        "{unreadable}"
    );
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

/// Has no credentials.
#[derive(Debug)]
struct Nobody;

impl ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::provider_error(
            "the session of SSO has ended",
        )))
    }
}

#[tokio::test]
async fn without_credentials_or_a_region_the_error_says_so() {
    let (url, count) = serve(|stream, _| async move { drop(stream) }).await;
    let nobody = configuration(&url).credentials_provider(SharedCredentialsProvider::new(Nobody)).build();
    let aws = Aws::new(&nobody);
    for error in [aws.network.vpcs().await.unwrap_err(), aws.account.caller().await.unwrap_err()] {
        assert_eq!(error.kind, ApiErrorKind::Credentials, "{error}");
        assert!(error.to_string().contains("the session of SSO has ended"), "{error}");
        let error = Error::from(error);
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("log in again"), "{error}");
    }
    let mut nowhere = configuration(&url);
    nowhere.set_region(None);
    let error = Aws::new(&nowhere.build()).network.vpcs().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "ec2:DescribeVpcs: no region is configured: set AWS_REGION or that of the profile"
    );
    let mut nobody = configuration(&url);
    nobody.set_credentials_provider(None);
    let error = Aws::new(&nobody.build()).network.vpcs().await.unwrap_err();
    assert_eq!(error.kind, ApiErrorKind::Credentials);
    assert_eq!(count.load(Ordering::SeqCst), 0, "nothing is sent");
}

#[tokio::test]
async fn no_error_tells_a_secret() {
    let (url, _) = serve(|stream, _| async move { drop(stream) }).await;
    let error = Aws::new(&configuration(&url).build()).network.vpcs().await.unwrap_err();
    assert_eq!(error.kind, ApiErrorKind::Transient, "{error}");
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
}

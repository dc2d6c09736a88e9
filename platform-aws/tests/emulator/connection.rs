//! Regions that are none, credentials that are not valid, and an AWS that is busy or ill.

use crate::{
    server::{Emulator, cluster, platform},
    wire::Wire,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use platform_aws::{EksProvider, EksProviderBuilder};
use platform_core::{Error, ErrorKind, cluster::ClusterProvider, event::Progress};
use std::time::Duration;

const SECRET: &str = "wJalrXUtnFEMIexampleK7MDENG";
const TOKEN: &str = "FwoGZXIvYXdzEexampleTOKEN";

async fn caller(
    emulator: &Emulator,
    change: impl FnOnce(EksProviderBuilder) -> EksProviderBuilder,
) -> (EksProvider, Wire) {
    let credentials = Credentials::new("AKIDEXAMPLE", SECRET, Some(TOKEN.to_owned()), None, "test");
    emulator.provider(|builder| change(builder.credentials(credentials))).await
}

#[track_caller]
fn assert_secret(error: &Error) {
    let text = format!("{error} {error:?}");
    assert!(!text.contains(SECRET) && !text.contains(TOKEN), "{text}");
}

/// Names of no host.
#[derive(Debug, Clone)]
struct Nameless;

impl HttpClient for Nameless {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Self)
    }
}

impl HttpConnector for Nameless {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let why = "client error (Connect): dns error: failed to lookup address information: Name or service not known";
        HttpConnectorFuture::ready(Err(ConnectorError::io(why.into())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_region_that_aws_does_not_have_is_told_within_seconds() {
    let provider = EksProvider::builder()
        .region("eu-moon-1")
        .credentials(Credentials::new("AKIDEXAMPLE", SECRET, None, None, "test"))
        .http_client(Nameless)
        .connect()
        .await
        .unwrap();
    let spec = cluster("shop-testing");
    let begun = tokio::time::Instant::now();
    for error in [
        provider.preflight().await.unwrap_err(),
        provider.plan(&spec).await.unwrap_err(),
        provider.create(&spec, &Progress::silent()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("check the region"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_region_that_is_none_is_told_before_anybody_is_asked() {
    let refused = EksProvider::builder().region("Frankfurt").connect().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let told = refused.to_string();
    assert!(told.contains("\"Frankfurt\" is not a region of AWS") && told.contains("eu-west-1"), "{told}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn credentials_that_expire_end_a_run_and_the_next_goes_on() {
    let emulator = Emulator::start().await;
    let (provider, wire) = caller(&emulator, |builder| builder).await;
    let spec = cluster("shop-testing");
    for (call, calls) in [("GET /clusters/shop-testing", 1), ("POST /clusters/shop-testing/node-groups", 1)] {
        let fault = format!(
            r#"{{"match": "{call}", "status": 403, "type": "ExpiredTokenException", "body": {{"message": "The security token is expired"}}}}"#
        );
        emulator.fault(&fault);
        wire.take_calls();
        let error = provider.create(&spec, &Progress::silent()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains("log in again"), "{error}");
        assert_secret(&error);
        let asked = wire
            .take_calls()
            .iter()
            .filter(|asked| asked.what.starts_with(call) && asked.status == 403)
            .count();
        assert_eq!(asked, calls, "{call}");
    }
    provider.create(&spec, &Progress::silent()).await.unwrap();
    assert!(provider.changes(&spec).await.unwrap().unwrap().is_empty());
}

/// Has no credentials.
#[derive(Debug)]
struct Nobody;

impl ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("nobody has logged in")))
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn without_credentials_nothing_is_asked() {
    let emulator = Emulator::start().await;
    let (provider, wire) = emulator.provider(|builder| builder.credentials(Nobody)).await;
    let spec = cluster("shop-testing");
    for error in [
        provider.preflight().await.unwrap_err(),
        provider.plan(&spec).await.unwrap_err(),
        provider.list(&platform()).await.unwrap_err(),
        provider.create(&spec, &Progress::silent()).await.unwrap_err(),
        provider.delete(&platform(), &spec.name, &Progress::silent()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.to_string().contains("nobody has logged in"), "{error}");
        assert!(error.to_string().contains("credentials"), "{error}");
    }
    assert_eq!(wire.take_calls(), []);
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_role_that_cannot_be_taken_is_named() {
    let emulator = Emulator::start().await;
    let role = "arn:aws:iam::123456789012:role/nobody";
    let (provider, _) = caller(&emulator, |builder| builder.assume_role(role)).await;
    let refusal = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: me is not authorized to perform: sts:AssumeRole on \
         resource: {role}</Message></Error></ErrorResponse>"
    );
    emulator.fault(&format!(r#"{{"match": "AssumeRole", "status": 403, "times": 99, "body": "{refusal}"}}"#));
    for error in [
        provider.preflight().await.unwrap_err(),
        provider.create(&cluster("shop-testing"), &Progress::silent()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains(role), "{error}");
        assert!(error.to_string().contains("credentials"), "{error}");
        assert_secret(&error);
    }
}

/// Runs in a process of its own, whose environment it has for itself.
#[tokio::test]
#[ignore = "run by a_profile_goes_before_the_environment"]
async fn child_whose_profile_does_not_exist() {
    let Ok(url) = std::env::var("PLATFORM_TEST_ENDPOINT") else { return };
    let provider = EksProvider::builder()
        .region("eu-west-1")
        .endpoint_url(url)
        .profile("nowhere")
        .connect()
        .await
        .unwrap();
    let error = provider.list(&platform()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_profile_goes_before_the_environment() {
    let emulator = Emulator::start().await;
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "connection::child_whose_profile_does_not_exist", "--ignored"])
        .env("PLATFORM_TEST_ENDPOINT", emulator.url())
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && told.contains("1 passed"), "{told}");
}

/// What the emulator answers once to each call of a creation.
async fn survives(status: u16, code: &str) {
    let emulator = Emulator::start().await;
    let (provider, wire) = emulator.provider(|builder| builder.retries(8, Duration::from_millis(5))).await;
    let (spec, silent) = (cluster("shop-testing"), Progress::silent());
    wire.take_calls();
    provider.create(&spec, &silent).await.unwrap();
    let reference = wire.take_calls();
    provider.delete(&platform(), &spec.name, &silent).await.unwrap();

    let mut calls: Vec<String> = reference.iter().map(|call| call.what.clone()).collect();
    calls.sort();
    calls.dedup();
    let made = Wire::made(&reference);
    for call in &calls {
        // The emulator's log has the method, the path and the action.
        let matched: Vec<&str> =
            call.split(' ').take(if call.starts_with("POST / ") { 3 } else { 2 }).collect();
        let body = if call.starts_with("POST / ") {
            format!(
                r#""<Response><Errors><Error><Code>{code}</Code><Message>m</Message></Error></Errors><Error><Code>{code}</Code><Message>m</Message></Error></Response>""#
            )
        } else {
            r#"{"message": "m"}"#.to_owned()
        };
        let matched = matched.join(" ");
        emulator.fault(&format!(
            r#"{{"match": "{matched}", "status": {status}, "type": "{code}", "times": 1, "body": {body}}}"#
        ));
    }
    wire.take_calls();
    provider.create(&spec, &silent).await.unwrap();
    let bothered = wire.take_calls();
    let refused = bothered.iter().filter(|call| call.status == status).count();
    assert!(refused >= calls.len() - 1, "{refused} of {} calls were refused", calls.len());
    assert_eq!(Wire::made(&bothered), made);
    assert!(provider.changes(&spec).await.unwrap().unwrap().is_empty());
    provider.delete(&platform(), &spec.name, &silent).await.unwrap();
    assert_eq!(provider.aws().stacks.list().await.unwrap(), []);
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_creation_that_is_throttled_at_each_call_makes_each_thing_once() {
    survives(429, "ThrottlingException").await;
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_creation_at_which_each_call_fails_inside_of_aws_makes_each_thing_once() {
    survives(503, "ServiceUnavailable").await;
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn an_aws_that_throttles_on_and_on_ends_a_run_that_can_be_repeated() {
    let emulator = Emulator::start().await;
    let (provider, _) = caller(&emulator, |builder| builder).await;
    let spec = cluster("shop-testing");
    emulator.fault(
        r#"{"match": "GET /clusters", "status": 429, "type": "ThrottlingException", "times": 3, "body": {"message": "Rate exceeded"}}"#,
    );
    let error = provider.create(&spec, &Progress::silent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_retryable() && error.requested_wait().is_some(), "{error}");
    assert!(error.to_string().contains("Rate exceeded"), "{error}");
    provider.create(&spec, &Progress::silent()).await.unwrap();
}

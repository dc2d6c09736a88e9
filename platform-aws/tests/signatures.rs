//! What is sent to AWS is signed as AWS wants it: every request is held to a verifier that shares nothing with who signs.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use platform_aws::{
    access::EksTokens,
    api::{Aws, Leftover, LeftoverKind},
    permissions::PermissionCheck,
};
use platform_core::{
    clock::{Clock, ManualClock, SystemClock, Timestamp},
    cluster::{Credential, CredentialSource},
};
use platform_testkit::{
    aws::{EksTokenAuthenticator, Key, Refusal, SignatureVerifier, Signed},
    kubernetes::EmbeddedApi,
};
use secrecy::ExposeSecret as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

const ACCESS_KEY: &str = "ASIAEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SESSION: &str = "IQoJb3JpZ2luX2VjEA//w+E=";
const PRINCIPAL: &str = "arn:aws:sts::123456789012:assumed-role/deployer/session";

/// An answer without anything in it, to whatever is asked by a form.
const NOTHING: &str = "<R><DescribeLoadBalancersResult/><DescribeTargetGroupsResult/></R>";

fn key(secret: &str) -> Key {
    Key::new(ACCESS_KEY, secret, PRINCIPAL).session_token(SESSION)
}

/// An HTTP client that sends nothing: it keeps requests, and answers by what is asked.
#[derive(Debug, Clone, Default)]
struct Recorder {
    requests: Arc<Mutex<Vec<http::Request<Vec<u8>>>>>,
    /// A part of the body or path, and the answer to it.
    answers: Arc<Vec<(&'static str, &'static str)>>,
}

impl HttpConnector for Recorder {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = request.try_into_http1x().unwrap();
        let request = request.map(|body| body.bytes().unwrap_or_default().to_vec());
        let headers = request.headers();
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
        let form = header("content-type").starts_with("application/x-www-form-urlencoded");
        let body = String::from_utf8_lossy(request.body());
        let asked = format!("{} {} {body}", request.uri(), header("x-amz-target"));
        let nothing = if form { NOTHING } else { "{}" };
        let answer =
            self.answers.iter().find(|(part, _)| asked.contains(part)).map_or(nothing, |(_, answer)| answer);
        self.requests.lock().unwrap().push(request);
        let response = http::Response::builder().status(200).body(SdkBody::from(answer)).unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::try_from(response).unwrap()))
    }
}

impl Recorder {
    fn answering(answers: &[(&'static str, &'static str)]) -> Self {
        Self { answers: Arc::new(answers.to_vec()), ..Self::default() }
    }

    fn configuration(&self, region: &'static str) -> SdkConfig {
        let credentials = Credentials::new(ACCESS_KEY, SECRET, Some(SESSION.to_owned()), None, "test");
        let connector = SharedHttpConnector::new(self.clone());
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::disabled())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build()
    }

    /// Who signed each of the requests so far, with the host that it was sent to.
    fn verified(&self, secret: &str) -> Vec<(String, Result<Signed, Refusal>)> {
        let verifier = SignatureVerifier::new([key(secret)]);
        let requests = self.requests.lock().unwrap();
        let verify = |request: &http::Request<Vec<u8>>| {
            let (parts, body) = request.clone().into_parts();
            (parts.uri.host().unwrap_or_default().to_owned(), verifier.verify(&parts, &body))
        };
        requests.iter().map(verify).collect()
    }
}

/// Calls something of every service, and paths and bodies of every kind.
async fn call_all(aws: &Aws) {
    let tags: BTreeMap<String, String> = [("a b+c/ä".to_owned(), "ü=&".to_owned())].into();
    let arn = "arn:aws:eks:eu-west-1:123456789012:cluster/shop";
    let principal = "arn:aws:iam::123456789012:role/a+b/c@d";
    // Answers hold nothing, so that what comes of the calls is of no account.
    drop(aws.network.zones().await);
    drop(aws.network.vpcs().await);
    drop(aws.network.leftovers("shop+testing/ä", Some("vpc-1")).await);
    for (kind, id) in [
        (LeftoverKind::LoadBalancer, "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/net/a/1"),
        (LeftoverKind::ClassicLoadBalancer, "a b"),
        (LeftoverKind::TargetGroup, "arn"),
        (LeftoverKind::NetworkInterface, "eni-1"),
        (LeftoverKind::SecurityGroup, "sg-1"),
        (LeftoverKind::Volume, "vol-1"),
    ] {
        drop(aws.network.delete(&Leftover { kind, id: id.to_owned(), in_use: None }).await);
    }
    drop(aws.account.caller().await);
    drop(aws.account.role_arn("a+b").await);
    let check = PermissionCheck::new(["eks:CreateCluster"], "arn:aws:eks:*:*:cluster/a+b")
        .context("aws:CalledVia", "a b");
    drop(aws.account.permissions(principal, &check).await);
    drop(aws.account.quota("eks", "L-1194D53C").await);
    drop(aws.clusters.list().await);
    drop(aws.clusters.describe("shop").await);
    drop(aws.clusters.tag(arn, &tags).await);
    drop(aws.clusters.delete("shop").await);
    drop(aws.access.describe_entry("shop", principal).await);
    drop(aws.access.disassociate_policy("shop", principal, "arn:aws:eks::aws:cluster-access-policy/a").await);
    drop(aws.stacks.describe("shop").await);
}

#[tokio::test]
async fn every_request_is_signed_for_its_service_and_nobody_else_could_have_signed_it() {
    let recorder = Recorder::default();
    let aws = Aws::new(&recorder.configuration("eu-west-1"));
    call_all(&aws).await;
    for secret in [SECRET, SESSION] {
        assert!(!format!("{aws:?}").contains(secret), "{aws:?}");
    }
    let verified = recorder.verified(SECRET);
    assert!(verified.len() >= 36, "{}", verified.len());
    let mut services = BTreeSet::new();
    for (host, signed) in verified {
        let signed = signed.unwrap_or_else(|refusal| panic!("{host}: {refusal}"));
        assert_eq!((signed.access_key.as_str(), signed.principal.as_str()), (ACCESS_KEY, PRINCIPAL));
        let region = if signed.service == "iam" { "us-east-1" } else { "eu-west-1" };
        assert_eq!(signed.region, region, "{host}");
        assert!(
            signed.headers.iter().any(|name| name == "content-type") || signed.service == "eks",
            "{host}"
        );
        services.insert((signed.service, host));
    }
    let expected = [
        ("cloudformation", "cloudformation.eu-west-1.amazonaws.com"),
        ("ec2", "ec2.eu-west-1.amazonaws.com"),
        ("eks", "eks.eu-west-1.amazonaws.com"),
        ("elasticloadbalancing", "elasticloadbalancing.eu-west-1.amazonaws.com"),
        ("iam", "iam.amazonaws.com"),
        ("servicequotas", "servicequotas.eu-west-1.amazonaws.com"),
        ("sts", "sts.eu-west-1.amazonaws.com"),
    ];
    assert_eq!(services, expected.map(|(service, host)| (service.to_owned(), host.to_owned())).into());
    for (host, signed) in recorder.verified("another secret") {
        let refusal = signed.unwrap_err();
        assert!(matches!(refusal, Refusal::WrongSignature { .. }), "{host}: {refusal}");
    }
}

#[tokio::test]
async fn in_china_all_is_chinese() {
    let recorder = Recorder::default();
    call_all(&Aws::new(&recorder.configuration("cn-northwest-1"))).await;
    let verified = recorder.verified(SECRET);
    assert!(verified.len() >= 36, "{}", verified.len());
    for (host, signed) in verified {
        let signed = signed.unwrap();
        assert!(host.ends_with(".amazonaws.com.cn"), "{host}");
        let region = if signed.service == "iam" { "cn-north-1" } else { "cn-northwest-1" };
        assert_eq!(signed.region, region, "{host}");
    }
}

#[tokio::test]
async fn pages_are_followed_to_their_end() {
    let recorder = Recorder::answering(&[
        (
            "Marker=m%2F1",
            "<R><SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults><member>\
             <EvalActionName>ec2:DescribeVpcs</EvalActionName><EvalDecision>implicitDeny</EvalDecision></member>\
             </EvaluationResults></SimulatePrincipalPolicyResult></R>",
        ),
        (
            "SimulatePrincipalPolicy",
            "<R><SimulatePrincipalPolicyResult><IsTruncated>true</IsTruncated><Marker>m/1</Marker><EvaluationResults><member>\
             <EvalActionName>eks:CreateCluster</EvalActionName><EvalDecision>allowed</EvalDecision></member>\
             </EvaluationResults></SimulatePrincipalPolicyResult></R>",
        ),
        (
            "NextToken=n%3D",
            "<R><vpcSet><item><vpcId>vpc-2</vpcId><cidrBlock>10.2.0.0/16</cidrBlock></item></vpcSet></R>",
        ),
        (
            "DescribeVpcs",
            "<R><vpcSet><item><vpcId>vpc-1</vpcId><cidrBlock>10.1.0.0/16</cidrBlock></item></vpcSet><nextToken>n=</nextToken></R>",
        ),
        ("GetServiceQuota", r#"{"Quota": {"QuotaName": "Clusters", "Value": 100.0}}"#),
    ]);
    let aws = Aws::new(&recorder.configuration("eu-west-1"));
    let check = PermissionCheck::new(["eks:CreateCluster", "ec2:DescribeVpcs"], "*");
    let permissions = aws.account.permissions(PRINCIPAL, &check).await.unwrap();
    let found: Vec<(&str, bool)> = permissions.iter().map(|one| (one.action.as_str(), one.allowed)).collect();
    assert_eq!(found, [("eks:CreateCluster", true), ("ec2:DescribeVpcs", false)]);
    let vpcs = aws.network.vpcs().await.unwrap();
    assert_eq!(vpcs.iter().map(|vpc| vpc.id.as_str()).collect::<Vec<_>>(), ["vpc-1", "vpc-2"]);
    let quota = aws.account.quota("eks", "L-1194D53C").await.unwrap();
    assert_eq!((quota.name.as_str(), quota.value), ("Clusters", 100.0));
    assert!(recorder.verified(SECRET).into_iter().all(|(_, signed)| signed.is_ok()));
}

/// A token of `EksTokens` at this time, for `cluster`.
async fn token(region: &'static str, cluster: &str, clock: Arc<dyn Clock>) -> String {
    let configuration =
        Recorder::default().configuration(region).into_builder().endpoint_url("http://127.0.0.1:1").build();
    let tokens = EksTokens::new(&configuration, region, cluster).unwrap().clock(clock);
    match tokens.credential().await.unwrap() {
        Credential::Bearer { token, .. } => token.expose_secret().to_owned(),
        other => panic!("no token: {other:?}"),
    }
}

#[tokio::test]
async fn tokens_are_taken_for_their_cluster_by_their_key_and_in_their_time() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_767_225_600_000)));
    for region in ["eu-west-1", "us-east-1", "cn-north-1", "us-gov-west-1"] {
        let token = token(region, "shop", clock.clone()).await;
        let verify = |cluster: &str, secret: &str, after: u64| {
            let later = ManualClock::new(clock.now() + Duration::from_secs(after));
            let keys = SignatureVerifier::new([key(secret)]).clock(Arc::new(later));
            EksTokenAuthenticator::new(cluster, region, keys).verify(&token).unwrap()
        };
        assert_eq!(verify("shop", SECRET, 0).unwrap().principal, PRINCIPAL);
        assert!(verify("shop", SECRET, 900).is_ok());
        assert_eq!(verify("shop", SECRET, 901).unwrap_err().code(), "RequestExpired");
        assert_eq!(verify("other", SECRET, 0).unwrap_err().code(), "SignatureDoesNotMatch");
        assert_eq!(verify("shop", "other", 0).unwrap_err().code(), "SignatureDoesNotMatch");
    }
}

#[tokio::test]
async fn who_has_a_token_gets_into_a_cluster_that_knows_the_key() {
    let keys = SignatureVerifier::new([key(SECRET)]);
    let authenticator = EksTokenAuthenticator::new("shop", "eu-west-1", keys);
    let api = EmbeddedApi::builder().authenticator(Arc::new(authenticator)).start().await.unwrap();
    let clock = Arc::new(SystemClock);
    let status = async |token: String| {
        let address = api.url().replace("http://", "");
        let request = format!(
            "GET /api/v1/secrets HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status(token("eu-west-1", "shop", clock.clone()).await).await, "200");
    assert_eq!(status(token("eu-west-1", "other", clock.clone()).await).await, "401");
    assert_eq!(status(token("us-east-1", "shop", clock).await).await, "401");
    let old = Arc::new(ManualClock::new(SystemClock.now() - Duration::from_secs(901)));
    assert_eq!(status(token("eu-west-1", "shop", old).await).await, "401");
    api.stop().await;
}

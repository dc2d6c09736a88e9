use super::*;
use aws_credential_types::{
    Credentials,
    provider::{self, future},
};
use platform_core::clock::ManualClock;
use secrecy::ExposeSecret as _;
use std::sync::atomic::{AtomicUsize, Ordering};

const AT: i64 = 1_767_225_600_000;

/// Says which credentials there are, counts how often, and takes a moment.
#[derive(Debug, Default)]
struct Provider {
    asked: AtomicUsize,
    fails: bool,
    /// Seconds after `AT`.
    expires: Option<u64>,
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let count = self.asked.fetch_add(1, Ordering::SeqCst);
            if self.fails {
                return Err(CredentialsError::provider_error("the session of SSO has ended"));
            }
            let expires =
                self.expires.map(|seconds| moment(Timestamp::from_millis(AT)) + Duration::from_secs(seconds));
            Ok(Credentials::new(format!("AKID{count}"), "very-secret", None, expires, "test"))
        })
    }
}

struct Case {
    provider: Arc<Provider>,
    clock: Arc<ManualClock>,
    tokens: EksTokens,
}

impl Case {
    fn new(provider: Provider) -> Self {
        let provider = Arc::new(provider);
        let configuration = SdkConfig::builder()
            .endpoint_url("http://127.0.0.1:1")
            .credentials_provider(provider::SharedCredentialsProvider::new(
                provider.clone() as Arc<dyn ProvideCredentials>
            ))
            .build();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(AT)));
        let tokens = EksTokens::new(&configuration, "eu-west-1", "shop").unwrap().clock(clock.clone());
        Self { provider, clock, tokens }
    }

    async fn token(&self) -> (String, Duration) {
        let Credential::Bearer { token, expires } = self.tokens.credential().await.unwrap() else {
            panic!("a token is a bearer's");
        };
        let expires = Timestamp::from(expires.unwrap());
        (token.expose_secret().to_owned(), expires.since(Timestamp::from_millis(AT)))
    }

    fn asked(&self) -> usize {
        self.provider.asked.load(Ordering::SeqCst)
    }
}

fn url_of(token: &str) -> String {
    let encoded = token.strip_prefix(PREFIX).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap()
}

#[derive(serde::Deserialize)]
struct Golden {
    region: String,
    cluster: String,
    at: i64,
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
    token: String,
}

#[tokio::test]
async fn tokens_are_those_of_the_aws_cli() {
    let all: Vec<Golden> = serde_json::from_str(include_str!("../../../tests/fixtures/tokens.json")).unwrap();
    assert!(all.len() >= 9);
    for one in all {
        let credentials = Credentials::new(one.access_key, one.secret_key, one.session_token, None, "test");
        let configuration = SdkConfig::builder()
            .credentials_provider(provider::SharedCredentialsProvider::new(credentials))
            .build();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(one.at * 1000 + 999)));
        let tokens = EksTokens::new(&configuration, one.region, one.cluster).unwrap().clock(clock);
        let Credential::Bearer { token, .. } = tokens.credential().await.unwrap() else { panic!("no token") };
        assert_eq!(url_of(token.expose_secret()), url_of(&one.token));
        assert_eq!(token.expose_secret(), one.token);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_kept_for_14_minutes_and_the_next_has_the_credentials_of_then() {
    let case = Case::new(Provider::default());
    let (first, expires) = case.token().await;
    assert_eq!(expires, HONOURED);
    assert!(
        url_of(&first).starts_with("https://sts.eu-west-1.amazonaws.com/?"),
        "no other endpoint leaks into it"
    );
    case.clock.advance(Duration::from_secs(14 * 60 - 1));
    assert_eq!(case.token().await.0, first);
    case.clock.advance(Duration::from_secs(1));
    let (second, _) = case.token().await;
    assert!(url_of(&first).contains("AKID0") && url_of(&second).contains("AKID1"));
    assert_eq!(case.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_its_credentials() {
    let case = Case::new(Provider { expires: Some(300), ..Provider::default() });
    let (first, expires) = case.token().await;
    assert_eq!(expires, Duration::from_secs(300));
    case.clock.advance(Duration::from_secs(239));
    assert_eq!(case.token().await.0, first);
    case.clock.advance(Duration::from_secs(1));
    assert_ne!(case.token().await.0, first);
    case.clock.advance(Duration::from_secs(60));
    let error = case.tokens.credential().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("expired at 2026-01-01T00:05:00"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_makes_a_new_token() {
    let case = Case::new(Provider::default());
    let (first, _) = case.token().await;
    case.clock.set(Timestamp::from_millis(AT - 60_000));
    assert_ne!(case.token().await.0, first);
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_at_once_share_what_comes_of_it() {
    let case = Case::new(Provider::default());
    let all = futures::future::join_all((0..50).map(|_| case.token())).await;
    assert!(all.iter().all(|one| one == &all[0]));
    assert_eq!(case.asked(), 1);

    let case = Case::new(Provider { fails: true, ..Provider::default() });
    let all = futures::future::join_all((0..50).map(|_| case.tokens.credential())).await;
    for one in all {
        let error = one.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        let text =
            "cannot make a token for cluster shop in eu-west-1: the credentials of AWS cannot be had: ";
        assert!(error.to_string().starts_with(text), "{error}");
        assert!(error.to_string().contains("the session of SSO has ended (log in again"), "{error}");
    }
    assert_eq!(case.asked(), 1);
    case.tokens.credential().await.unwrap_err();
    assert_eq!(case.asked(), 2, "a failure is not kept");
}

#[tokio::test(start_paused = true)]
async fn a_signing_that_was_given_up_is_taken_over() {
    let case = Case::new(Provider::default());
    let given_up = tokio::time::timeout(Duration::from_millis(10), case.tokens.credential()).await;
    assert!(given_up.is_err());
    case.clock.advance(Duration::from_secs(3600));
    let (token, expires) = case.token().await;
    assert_eq!(expires, Duration::from_secs(3600) + HONOURED);
    assert!(url_of(&token).contains("X-Amz-Date=20260101T010000Z"), "{}", url_of(&token));
    assert_eq!(case.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_secret_is_printed() {
    let case = Case::new(Provider::default());
    let (token, _) = case.token().await;
    let printed = format!("{:?} {:?}", case.tokens, case.tokens.credential().await.unwrap());
    assert!(printed.contains("shop"), "{printed}");
    for secret in [token.as_str(), "very-secret", "AKID"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    let without = SdkConfig::builder().build();
    let error = EksTokens::new(&without, "eu-west-1", "shop").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
}

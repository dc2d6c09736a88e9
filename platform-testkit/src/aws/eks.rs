//! Tokens of EKS, verified as the webhook in front of a cluster's API server does.

use super::{Refusal, SignatureVerifier, Signed, canonical};
use crate::kubernetes::{TokenAuthenticator, User};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, Uri};
use std::{collections::BTreeSet, time::Duration};

const PREFIX: &str = "k8s-aws-v1.";
const CLUSTER_HEADER: &str = "x-k8s-aws-id";
/// How long after its signing a token is taken, whatever it says of itself.
const HONOURED: Duration = Duration::from_secs(15 * 60);
/// The longest that a token may say it is good, in seconds.
const LONGEST: u64 = 15 * 60;
/// What the question may hold. Anything else could make STS answer another one.
const PARAMETERS: [&str; 9] = [
    "Action",
    "Version",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// Lets those into an [`EmbeddedApi`](crate::kubernetes::EmbeddedApi) who show a token of EKS for one cluster, signed with a key that is known: as
/// administrators, like an access entry with `AmazonEKSClusterAdminPolicy`.
///
/// ```no_run
/// # async fn start() -> Result<(), platform_testkit::kubernetes::StartError> {
/// use platform_testkit::{
///     aws::{EksTokenAuthenticator, Key, SignatureVerifier},
///     kubernetes::EmbeddedApi,
/// };
/// use std::sync::Arc;
///
/// let keys = SignatureVerifier::new([Key::new("AKIDEXAMPLE", "secret", "arn:aws:iam::123456789012:user/a")]);
/// let authenticator = EksTokenAuthenticator::new("shop", "eu-west-1", keys);
/// let api = EmbeddedApi::builder().authenticator(Arc::new(authenticator)).start().await?;
/// # drop(api);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EksTokenAuthenticator {
    cluster: String,
    region: String,
    verifier: SignatureVerifier,
}

impl EksTokenAuthenticator {
    /// For the cluster that EKS calls `cluster` in `region`. `keys` are all that are known.
    pub fn new(cluster: impl Into<String>, region: impl Into<String>, keys: SignatureVerifier) -> Self {
        let region = region.into();
        let verifier = keys.region(region.clone()).service("sts").presigned_for(HONOURED);
        Self { cluster: cluster.into(), region, verifier }
    }

    /// Who signed this token, or why it is refused; `None`: it is no token of EKS.
    pub fn verify(&self, token: &str) -> Option<Result<Signed, Refusal>> {
        token.strip_prefix(PREFIX).map(|encoded| self.verify_encoded(encoded))
    }

    fn verify_encoded(&self, encoded: &str) -> Result<Signed, Refusal> {
        let malformed = |why: String| Refusal::Malformed(why);
        let url = URL_SAFE_NO_PAD.decode(encoded).map_err(|e| malformed(format!("it is not Base64: {e}")))?;
        let url = Uri::try_from(url).map_err(|e| malformed(format!("it is not a URL: {e}")))?;
        let host = self.check(&url).map_err(malformed)?;
        let request = Request::get(&url).header("host", host).header(CLUSTER_HEADER, &self.cluster).body(());
        let (parts, ()) = request.map_err(|e| malformed(e.to_string()))?.into_parts();
        let signed = self.verifier.verify(&parts, b"")?;
        if !signed.headers.iter().any(|name| name == CLUSTER_HEADER) {
            return Err(Refusal::UnsignedHeader(CLUSTER_HEADER.to_owned()));
        }
        Ok(signed)
    }

    /// Whether it is the one question, to STS itself. Answers with the host that is asked.
    fn check<'a>(&self, url: &'a Uri) -> Result<&'a str, String> {
        let region = &self.region;
        let domain = match region.split('-').next() {
            Some("cn") => "amazonaws.com.cn",
            Some("eusc") => "amazonaws.eu",
            _ => "amazonaws.com",
        };
        let expected = format!("sts.{region}.{domain}");
        let host = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if url.scheme_str() != Some("https") || host != expected || url.path() != "/" {
            return Err(format!("it asks {url} and not https://{expected}/", url = without_query(url)));
        }
        let mut said = BTreeSet::new();
        for (name, value) in canonical::pairs(url.query().unwrap_or_default()) {
            let (name, value) = (String::from_utf8_lossy(&name), String::from_utf8_lossy(&value));
            let allowed = match name.as_ref() {
                "Action" => value == "GetCallerIdentity",
                "X-Amz-Expires" => value.parse().is_ok_and(|seconds: u64| seconds <= LONGEST),
                name => PARAMETERS.contains(&name),
            };
            if !allowed {
                return Err(format!("{name} may not be {value:?} in the question"));
            }
            if !said.insert(name.clone().into_owned()) {
                return Err(format!("{name} is said twice"));
            }
        }
        if !said.contains("Action") {
            return Err("it does not ask GetCallerIdentity".to_owned());
        }
        Ok(host)
    }
}

/// The rest of it would be the token.
fn without_query(url: &Uri) -> String {
    let (scheme, host) =
        (url.scheme_str().unwrap_or_default(), url.authority().map_or("", |host| host.as_str()));
    format!("{scheme}://{host}{}", url.path())
}

#[async_trait]
impl TokenAuthenticator for EksTokenAuthenticator {
    async fn authenticate(&self, token: &str) -> Result<Option<User>, String> {
        let Some(verified) = self.verify(token) else { return Ok(None) };
        let signed = verified.map_err(|refusal| format!("{}: {refusal}", refusal.code()))?;
        let mut user = User::new(signed.principal.clone()).group("system:masters");
        user.uid = format!("aws-iam-authenticator:{}", signed.principal);
        user.extra.insert("accessKeyId".to_owned(), vec![signed.access_key]);
        user.extra.insert("arn".to_owned(), vec![signed.principal]);
        Ok(Some(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::Key;
    use futures::FutureExt as _;
    use platform_core::clock::{ManualClock, Timestamp};
    use std::sync::Arc;

    /// A token of the AWS CLI at a given time.
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

    impl Golden {
        fn all() -> Vec<Self> {
            serde_json::from_str(include_str!("../../tests/fixtures/tokens.json")).unwrap()
        }

        fn url(&self) -> String {
            String::from_utf8(URL_SAFE_NO_PAD.decode(&self.token[PREFIX.len()..]).unwrap()).unwrap()
        }

        fn key(&self) -> Key {
            let key = Key::new(&self.access_key, &self.secret_key, "arn:aws:iam::123456789012:user/a");
            match &self.session_token {
                Some(token) => key.session_token(token),
                None => key,
            }
        }

        fn verify(&self, cluster: &str, key: Key, later: i64, url: &str) -> Result<Signed, Refusal> {
            let clock = ManualClock::new(Timestamp::from_millis((self.at + later) * 1000));
            let keys = SignatureVerifier::new([key]).clock(Arc::new(clock));
            let authenticator = EksTokenAuthenticator::new(cluster, &self.region, keys);
            authenticator.verify(&format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(url))).unwrap()
        }
    }

    #[test]
    fn tokens_of_the_aws_cli_are_taken_for_their_cluster_for_15_minutes() {
        for one in Golden::all() {
            let verify = |cluster: &str, later: i64| one.verify(cluster, one.key(), later, &one.url());
            let signed =
                verify(&one.cluster, 0).unwrap_or_else(|refusal| panic!("{}: {refusal}", one.region));
            assert_eq!((&signed.region, signed.service.as_str()), (&one.region, "sts"));
            verify(&one.cluster, 900).unwrap();
            assert_eq!(verify(&one.cluster, 901).unwrap_err().code(), "RequestExpired");
            assert_eq!(verify("other", 0).unwrap_err().code(), "SignatureDoesNotMatch");
            let key = Key::new(&one.access_key, "other", "arn");
            let key = match &one.session_token {
                Some(token) => key.session_token(token),
                None => key,
            };
            assert_eq!(
                one.verify(&one.cluster, key, 0, &one.url()).unwrap_err().code(),
                "SignatureDoesNotMatch"
            );
        }
    }

    #[test]
    fn no_other_question_and_no_other_host_is_asked() {
        let one = &Golden::all()[0];
        let refused = |from: &str, to: &str| {
            let url = one.url().replace(from, to);
            assert_ne!(url, one.url());
            one.verify(&one.cluster, one.key(), 0, &url).unwrap_err().to_string()
        };
        let with = |text: String, part: &str| assert!(text.contains(part), "{text}");
        with(
            refused("sts.eu-west-1.amazonaws.com", "sts.eu-west-1.example.com"),
            "and not https://sts.eu-west-1",
        );
        with(refused("https://", "http://"), "and not https://sts.eu-west-1");
        with(refused(".com/?", ".com/a?"), "and not https://sts.eu-west-1");
        with(refused("GetCallerIdentity", "GetSessionToken"), "Action may not be");
        with(refused("Action=", "Action=GetCallerIdentity&Action="), "Action is said twice");
        with(refused("Action=GetCallerIdentity&", ""), "does not ask GetCallerIdentity");
        with(refused("Expires=60", "Expires=901"), "X-Amz-Expires may not be");
        with(refused("Version=", "Other=1&Version="), "Other may not be");
        with(refused("host%3Bx-k8s-aws-id", "host"), "the signature is not");
    }

    #[test]
    fn who_shows_a_token_is_an_administrator_and_others_are_not_known() {
        let one = &Golden::all()[0];
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(one.at * 1000)));
        let keys = SignatureVerifier::new([one.key()]).clock(clock);
        let authenticator = EksTokenAuthenticator::new(&one.cluster, &one.region, keys);
        let ask = |token: &str| authenticator.authenticate(token).now_or_never().unwrap();
        let user = ask(&one.token).unwrap().unwrap();
        assert_eq!(
            (user.name.as_str(), user.groups.as_slice()),
            ("arn:aws:iam::123456789012:user/a", &["system:masters".to_owned()][..])
        );
        assert_eq!(user.extra["accessKeyId"], std::slice::from_ref(&one.access_key));
        assert_eq!(ask("a.b.c"), Ok(None));
        let why = ask("k8s-aws-v1.%").unwrap_err();
        assert!(why.starts_with("IncompleteSignature: "), "{why}");
    }
}

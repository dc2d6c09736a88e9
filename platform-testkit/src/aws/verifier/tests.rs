use super::*;
use platform_core::clock::ManualClock;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const PRINCIPAL: &str = "arn:aws:iam::123456789012:user/example";
/// 2015-08-30T12:36:00Z, at which all vectors are signed.
const AT: i64 = 1_440_938_160_000;

fn verifier(secret: &str, token: Option<&str>) -> (SignatureVerifier, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(AT)));
    let key = Key::new(KEY, secret, PRINCIPAL);
    let key = match token {
        Some(token) => key.session_token(token),
        None => key,
    };
    (SignatureVerifier::new([key]).clock(clock.clone()), clock)
}

/// A case of AWS' suite for those who sign: a request with its signature.
#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    normalize: bool,
    token: Option<String>,
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Vector {
    /// `None` where the request is none: with spaces in its target, or lines that go on.
    fn parts(&self) -> Option<Parts> {
        let mut request = http::Request::builder().method(self.method.as_str()).uri(self.uri.as_str());
        for (name, value) in &self.headers {
            request = request.header(name.as_str(), value.as_str());
        }
        Some(request.body(()).ok()?.into_parts().0)
    }

    fn verify(&self, parts: &Parts, secret: &str) -> Result<Signed, Refusal> {
        let (verifier, _) = verifier(secret, self.token.as_deref());
        let paths = if self.normalize { Paths::Normalized } else { Paths::AsSent };
        verifier.paths(paths).region("us-east-1").service("service").verify(parts, self.body.as_bytes())
    }
}

#[test]
fn published_vectors_are_accepted_and_with_another_secret_refused() {
    let all = include_str!("../../../tests/fixtures/signatures.json");
    let all: Vec<Vector> = serde_json::from_str(all).unwrap();
    let mut taken = 0;
    for vector in all {
        let Some(parts) = vector.parts() else { continue };
        let verified = vector.verify(&parts, SECRET);
        // Its token is added after it is signed, which no service that is called here takes.
        if vector.name.starts_with("post-sts-header-after/") {
            assert!(verified.is_err(), "{}", vector.name);
            continue;
        }
        let signed = verified.unwrap_or_else(|refusal| panic!("{}: {refusal}", vector.name));
        assert_eq!((signed.access_key.as_str(), signed.principal.as_str()), (KEY, PRINCIPAL));
        let other = vector.verify(&parts, "another").unwrap_err();
        assert!(matches!(other, Refusal::WrongSignature { .. }), "{}: {other}", vector.name);
        let token = vector.token.as_deref().unwrap_or(SECRET);
        assert!(!other.to_string().contains(token), "{}: {other}", vector.name);
        taken += 1;
    }
    assert!(taken >= 66, "{taken}");
}

/// A request of the suite, to be changed.
fn vanilla() -> http::request::Builder {
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                         SignedHeaders=host;x-amz-date, \
                         Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    http::Request::get("/")
        .header("host", "example.amazonaws.com")
        .header("x-amz-date", "20150830T123600Z")
        .header("authorization", authorization)
}

fn presigned(expires: &str) -> http::request::Builder {
    let uri = format!(
        "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request\
         &X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires={expires}\
         &X-Amz-Signature=e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"
    );
    http::Request::get(uri).header("host", "example.amazonaws.com")
}

fn refusal(request: http::request::Builder, body: &[u8]) -> Refusal {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    verifier(SECRET, None).0.verify(&parts, body).unwrap_err()
}

#[test]
fn whatever_is_changed_on_the_way_is_found() {
    let wrong = |refusal: Refusal| assert_eq!(refusal.code(), "SignatureDoesNotMatch", "{refusal}");
    wrong(refusal(vanilla().method("POST"), b""));
    wrong(refusal(vanilla().uri("/other"), b""));
    wrong(refusal(vanilla().uri("/?a=b"), b""));
    wrong(refusal(vanilla().header("host", "other"), b""));
    wrong(refusal(vanilla(), b"a body"));
    assert_eq!(
        refusal(vanilla().header("x-amz-target", "a"), b""),
        Refusal::UnsignedHeader("x-amz-target".to_owned())
    );
    assert_eq!(refusal(vanilla().header("x-amz-content-sha256", "0"), b"").code(), "IncompleteSignature");
    let token = vanilla().header("x-amz-security-token", "t");
    assert_eq!(refusal(token, b""), Refusal::WrongSessionToken(KEY.to_owned()));
    wrong(refusal(presigned("3601"), b""));
}

#[test]
fn a_signature_must_be_whole() {
    let with = |authorization: &str| {
        let request = http::Request::get("/").header("host", "h").header("x-amz-date", "20150830T123600Z");
        refusal(request.header("authorization", authorization), b"").code()
    };
    let scope = "20150830/us-east-1/service/aws4_request";
    let signature = "0".repeat(64);
    let of = |key: &str, scope: &str, headers: &str, signature: &str| {
        with(&format!(
            "AWS4-HMAC-SHA256 Credential={key}/{scope},SignedHeaders={headers},Signature={signature}"
        ))
    };
    assert_eq!(of(KEY, scope, "host;x-amz-date", &signature), "SignatureDoesNotMatch");
    assert_eq!(of("AKIDOTHER", scope, "host;x-amz-date", &signature), "InvalidClientTokenId");
    assert_eq!(
        of(KEY, "20150829/us-east-1/service/aws4_request", "host;x-amz-date", &signature),
        "SignatureDoesNotMatch"
    );
    for code in [
        of(KEY, "20150830/us-east-1/aws4_request", "host;x-amz-date", &signature),
        of(KEY, scope, "x-amz-date", &signature),
        of(KEY, scope, "host", &signature),
        of(KEY, scope, "x-amz-date;host", &signature),
        of(KEY, scope, "host;missing;x-amz-date", &signature),
        of(KEY, scope, "host;x-amz-date", "00"),
        with("Bearer x"),
        with("AWS4-HMAC-SHA256"),
    ] {
        assert_eq!(code, "IncompleteSignature");
    }
    let both = presigned("3600").header("authorization", "AWS4-HMAC-SHA256");
    assert_eq!(refusal(both, b"").code(), "IncompleteSignature");
    assert_eq!(refusal(presigned("604801"), b"").code(), "IncompleteSignature");
}

#[test]
fn signatures_are_good_for_their_time() {
    let (parts, ()) = vanilla().body(()).unwrap().into_parts();
    let (query, ()) = presigned("3600").body(()).unwrap().into_parts();
    let (verifier, clock) = verifier(SECRET, None);
    let at = |seconds: i64| clock.set(Timestamp::from_millis(AT + seconds * 1000));
    let code = |parts: &Parts| verifier.verify(parts, b"").err().map(|refusal| refusal.code());
    for (seconds, of_header, of_query) in [
        (-301, Some("RequestExpired"), Some("RequestExpired")),
        (-300, None, None),
        (300, None, None),
        (301, Some("RequestExpired"), None),
        (3600, Some("RequestExpired"), None),
        (3601, Some("RequestExpired"), Some("RequestExpired")),
    ] {
        at(seconds);
        assert_eq!((code(&parts), code(&query)), (of_header, of_query), "{seconds}");
    }
    at(3601);
    let longer = verifier.clone().presigned_for(Duration::from_secs(3601));
    assert_eq!(longer.verify(&query, b"").unwrap().until, Timestamp::from_millis(AT + 3_601_000));
}

#[test]
fn the_scope_is_that_of_who_verifies() {
    let (parts, ()) = vanilla().body(()).unwrap().into_parts();
    let (verifier, _) = verifier(SECRET, None);
    let refusal = verifier.clone().service("ec2").verify(&parts, b"").unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the request is signed for 20150830/us-east-1/service and not for 20150830/us-east-1/ec2"
    );
    assert_eq!(
        verifier.clone().region("eu-west-1").verify(&parts, b"").unwrap_err().code(),
        "SignatureDoesNotMatch"
    );
    assert!(!format!("{verifier:?}").contains(SECRET));
}

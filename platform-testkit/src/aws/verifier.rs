//! Who signed a request.

use super::{
    Refusal,
    canonical::{self, digest},
};
use http::{HeaderMap, header, request::Parts};
use platform_core::clock::{Clock, SystemClock, Timestamp};
use ring::hmac;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the clock of who signs may be from that of who verifies.
const SKEW: Duration = Duration::from_secs(5 * 60);
/// The longest that a presigned request may be good.
const LONGEST: u64 = 7 * 24 * 60 * 60;

/// An access key, its secret, and whose they are. `Debug` does not print secrets.
#[derive(Clone)]
pub struct Key {
    id: String,
    secret: String,
    session_token: Option<String>,
    principal: String,
}

impl Key {
    /// The key of `principal`, an ARN.
    pub fn new(
        access_key: impl Into<String>,
        secret: impl Into<String>,
        principal: impl Into<String>,
    ) -> Self {
        let (id, secret, principal) = (access_key.into(), secret.into(), principal.into());
        Self { id, secret, session_token: None, principal }
    }

    /// A temporary key, good only with this session token.
    #[must_use]
    pub fn session_token(self, token: impl Into<String>) -> Self {
        Self { session_token: Some(token.into()), ..self }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("access_key", &self.id)
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// How paths are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paths {
    /// Without `.`, `..` and empty segments: all services but S3.
    #[default]
    Normalized,
    /// As they are sent.
    AsSent,
}

/// Who signed a request, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signed {
    /// The access key.
    pub access_key: String,
    /// Whose key it is, an ARN.
    pub principal: String,
    /// The region that it is signed for.
    pub region: String,
    /// The service that it is signed for.
    pub service: String,
    /// When it was signed.
    pub at: Timestamp,
    /// Until when it is good.
    pub until: Timestamp,
    /// The headers that are signed, in small letters, sorted.
    pub headers: Vec<String>,
}

/// Verifies requests that are signed by Signature Version 4, in the header `Authorization` or presigned in the query.
///
/// ```
/// use platform_testkit::aws::{Key, Refusal, SignatureVerifier};
///
/// let verifier = SignatureVerifier::new([Key::new("AKIDEXAMPLE", "secret", "arn:aws:iam::123456789012:user/a")]);
/// let (parts, ()) = http::Request::get("https://ec2.eu-west-1.amazonaws.com/").body(())?.into_parts();
/// assert_eq!(verifier.verify(&parts, b""), Err(Refusal::Unsigned));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SignatureVerifier {
    keys: BTreeMap<String, Key>,
    clock: Arc<dyn Clock>,
    region: Option<String>,
    service: Option<String>,
    paths: Paths,
    presigned_for: Duration,
}

impl SignatureVerifier {
    /// Knows these keys, at the machine's time.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        Self {
            keys: keys.into_iter().map(|key| (key.id.clone(), key)).collect(),
            clock: Arc::new(SystemClock),
            region: None,
            service: None,
            paths: Paths::default(),
            presigned_for: Duration::ZERO,
        }
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Takes only what is signed for this region. Default: any.
    #[must_use]
    pub fn region(self, region: impl Into<String>) -> Self {
        Self { region: Some(region.into()), ..self }
    }

    /// Takes only what is signed for this service. Default: any.
    #[must_use]
    pub fn service(self, service: impl Into<String>) -> Self {
        Self { service: Some(service.into()), ..self }
    }

    /// How paths are signed. Default: normalized.
    #[must_use]
    pub fn paths(self, paths: Paths) -> Self {
        Self { paths, ..self }
    }

    /// Takes presigned requests for so long whatever they say, if they say less: as STS does. Default: as they say.
    #[must_use]
    pub fn presigned_for(self, duration: Duration) -> Self {
        Self { presigned_for: duration, ..self }
    }

    /// Who signed this request, or why it is refused.
    pub fn verify(&self, parts: &Parts, body: &[u8]) -> Result<Signed, Refusal> {
        let presented = Presented::read(parts)?;
        let Scope { access_key, date, region, service } = Scope::read(&presented.credential)?;
        let key = self.keys.get(access_key).ok_or_else(|| Refusal::UnknownKey(access_key.to_owned()))?;
        if key.session_token != presented.session_token {
            return Err(Refusal::WrongSessionToken(access_key.to_owned()));
        }
        let wanted = (self.region.as_deref().unwrap_or(region), self.service.as_deref().unwrap_or(service));
        let day = presented.date.get(..8).unwrap_or_default();
        if (date, region, service) != (day, wanted.0, wanted.1) {
            return Err(Refusal::WrongScope {
                signed: format!("{date}/{region}/{service}"),
                expected: format!("{day}/{}/{}", wanted.0, wanted.1),
            });
        }
        must_be_signed(&parts.headers, &presented.signed_headers)?;
        let (at, until) = self.period(&presented)?;
        let payload = payload(&parts.headers, body)?;
        let canonical = canonical::request(parts, &presented.signed_headers, &payload, self.paths)?;
        let text = format!(
            "{ALGORITHM}\n{}\n{date}/{region}/{service}/aws4_request\n{}",
            presented.date,
            digest(canonical.as_bytes())
        );
        let signing = signing_key(&key.secret, &[date, region, service, "aws4_request"]);
        hmac::verify(&signing, text.as_bytes(), &presented.signature)
            .map_err(|_| Refusal::WrongSignature { canonical: without_token(canonical, key) })?;
        Ok(Signed {
            access_key: access_key.to_owned(),
            principal: key.principal.clone(),
            region: region.to_owned(),
            service: service.to_owned(),
            at,
            until,
            headers: presented.signed_headers,
        })
    }

    /// From when to when it is good, if that is now.
    fn period(&self, presented: &Presented) -> Result<(Timestamp, Timestamp), Refusal> {
        let at = presented.at()?;
        let now = self.clock.now();
        if now + SKEW < at {
            return Err(Refusal::NotYet { from: at, now });
        }
        let until = at + presented.expires.map_or(SKEW, |expires| expires.max(self.presigned_for));
        if until < now {
            return Err(Refusal::Expired { until, now });
        }
        Ok((at, until))
    }
}

/// What a request says of its signature.
struct Presented {
    credential: String,
    signed_headers: Vec<String>,
    signature: Vec<u8>,
    date: String,
    session_token: Option<String>,
    /// Of presigned requests.
    expires: Option<Duration>,
}

impl Presented {
    fn read(parts: &Parts) -> Result<Self, Refusal> {
        let query = parts.uri.query().unwrap_or_default();
        let presigned = canonical::pairs(query).any(|(name, _)| name == b"X-Amz-Signature");
        match (parts.headers.get(header::AUTHORIZATION), presigned) {
            (None, false) => Err(Refusal::Unsigned),
            (Some(_), true) => Err(Refusal::Malformed("it is in the header and in the query".to_owned())),
            (Some(value), false) => {
                let value = value.to_str().map_err(|e| Refusal::Malformed(e.to_string()))?;
                Self::from_header(value, &parts.headers)
            }
            (None, true) => Self::from_query(query),
        }
    }

    fn from_header(value: &str, headers: &HeaderMap) -> Result<Self, Refusal> {
        let said = value
            .strip_prefix(ALGORITHM)
            .ok_or_else(|| Refusal::Malformed(format!("it is not made by {ALGORITHM}")))?;
        let said: BTreeMap<&str, &str> =
            said.split(',').filter_map(|part| part.trim().split_once('=')).collect();
        let part = |name: &str| said.get(name).copied().ok_or_else(|| missing(name));
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Ok(Self {
            credential: part("Credential")?.to_owned(),
            signed_headers: names(part("SignedHeaders")?)?,
            signature: unhex(part("Signature")?)?,
            date: text("x-amz-date").ok_or_else(|| missing("X-Amz-Date"))?.to_owned(),
            session_token: text("x-amz-security-token").map(str::to_owned),
            expires: None,
        })
    }

    fn from_query(query: &str) -> Result<Self, Refusal> {
        let mut said = BTreeMap::new();
        for (name, value) in canonical::pairs(query) {
            let (Ok(name), Ok(value)) = (String::from_utf8(name), String::from_utf8(value)) else { continue };
            if name.starts_with("X-Amz-") && said.insert(name.clone(), value).is_some() {
                return Err(Refusal::Malformed(format!("{name} is said twice")));
            }
        }
        let part = |name: &str| said.get(name).map(String::as_str).ok_or_else(|| missing(name));
        if part("X-Amz-Algorithm")? != ALGORITHM {
            return Err(Refusal::Malformed(format!("it is not made by {ALGORITHM}")));
        }
        let expires = part("X-Amz-Expires")?.parse().ok().filter(|seconds| *seconds <= LONGEST);
        let expires =
            expires.ok_or_else(|| Refusal::Malformed("X-Amz-Expires is not up to a week".to_owned()))?;
        Ok(Self {
            credential: part("X-Amz-Credential")?.to_owned(),
            signed_headers: names(part("X-Amz-SignedHeaders")?)?,
            signature: unhex(part("X-Amz-Signature")?)?,
            date: part("X-Amz-Date")?.to_owned(),
            session_token: said.get("X-Amz-Security-Token").cloned(),
            expires: Some(Duration::from_secs(expires)),
        })
    }

    fn at(&self) -> Result<Timestamp, Refusal> {
        let read = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", &self.date);
        let read = read.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC));
        read.map(|time| Timestamp::from_millis(time.timestamp().as_millisecond()))
            .map_err(|error| Refusal::Malformed(format!("X-Amz-Date: {error}")))
    }
}

/// `AKID/20260101/eu-west-1/ec2/aws4_request`.
struct Scope<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

impl<'a> Scope<'a> {
    fn read(credential: &'a str) -> Result<Self, Refusal> {
        match credential.split('/').collect::<Vec<_>>().as_slice() {
            [access_key, date, region, service, "aws4_request"] => {
                Ok(Self { access_key, date, region, service })
            }
            _ => Err(Refusal::Malformed(format!(
                "the credential {credential:?} is not KEY/DATE/REGION/SERVICE/aws4_request"
            ))),
        }
    }
}

/// Whose request it is on the way must not be open: the host, and all of AWS' own headers.
fn must_be_signed(headers: &HeaderMap, signed: &[String]) -> Result<(), Refusal> {
    let own = headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-"));
    match own.chain(["host"]).find(|name| !signed.iter().any(|one| one == name)) {
        Some(name) => Err(Refusal::UnsignedHeader(name.to_owned())),
        None => Ok(()),
    }
}

/// What stands for the body in what is signed.
fn payload(headers: &HeaderMap, body: &[u8]) -> Result<String, Refusal> {
    let digest = digest(body);
    match headers.get("x-amz-content-sha256").map(|value| value.to_str().unwrap_or_default()) {
        None => Ok(digest),
        Some("UNSIGNED-PAYLOAD") => Ok("UNSIGNED-PAYLOAD".to_owned()),
        Some(said) if said == digest => Ok(digest),
        Some(_) => Err(Refusal::WrongBody),
    }
}

fn signing_key(secret: &str, scope: &[&str]) -> hmac::Key {
    let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    scope.iter().fold(first, |key, part| {
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
    })
}

/// A session token is as good as half of a secret.
fn without_token(canonical: String, key: &Key) -> String {
    let Some(token) = &key.session_token else { return canonical };
    canonical.replace(token, "…").replace(&canonical::encoded(token.as_bytes(), b""), "…")
}

fn names(text: &str) -> Result<Vec<String>, Refusal> {
    let names: Vec<String> = text.split(';').map(str::to_owned).collect();
    let ordered = names.is_sorted_by(|one, other| one < other);
    if !ordered || names.iter().any(|name| *name != name.to_ascii_lowercase()) {
        return Err(Refusal::Malformed(format!("the signed headers {text:?} are not in order and small")));
    }
    Ok(names)
}

fn unhex(text: &str) -> Result<Vec<u8>, Refusal> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() == 64);
    let digits =
        digits.ok_or_else(|| Refusal::Malformed("the signature is not 64 hexadecimal digits".to_owned()))?;
    let byte = |pair: &[u8]| pair.iter().fold(0, |byte, digit| byte * 16 + digit);
    Ok(digits.chunks(2).map(byte).collect())
}

fn missing(part: &str) -> Refusal {
    Refusal::Malformed(format!("{part} is missing"))
}

#[cfg(test)]
mod tests;

//! The tokens of service accounts: JWTs that this cluster signs, with the claims of Kubernetes' bound tokens.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kubernetes::error::ApiError;
use crate::kubernetes::journal::DataError;

/// Who says it, and whom it is said to unless a request names another audience.
pub(in crate::kubernetes) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

const ALGORITHM: &str = "ES256";
const KEY_FILE: &str = "service-accounts.key";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::kubernetes) struct Claims {
    pub(in crate::kubernetes) aud: Vec<String>,
    /// Seconds since 1970, as all times here.
    pub(in crate::kubernetes) exp: i64,
    pub(in crate::kubernetes) iat: i64,
    pub(in crate::kubernetes) iss: String,
    pub(in crate::kubernetes) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(in crate::kubernetes) bound: Bound,
    pub(in crate::kubernetes) nbf: i64,
    pub(in crate::kubernetes) sub: String,
}

/// The objects that a token lives and dies with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::kubernetes) struct Bound {
    pub(in crate::kubernetes) namespace: String,
    /// Of a pod's token also the node that the pod was on, without being bound to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::kubernetes) node: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::kubernetes) pod: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::kubernetes) secret: Option<Reference>,
    pub(in crate::kubernetes) serviceaccount: Reference,
}

/// One object, which no later one of the same name replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::kubernetes) struct Reference {
    pub(in crate::kubernetes) name: String,
    pub(in crate::kubernetes) uid: String,
}

/// The key of a cluster, which signs tokens and checks them.
pub(in crate::kubernetes) struct Tokens {
    key: EcdsaKeyPair,
    random: SystemRandom,
    key_id: String,
}

/// Why there is no key.
pub(in crate::kubernetes) enum KeyError {
    Data(DataError),
    Random(ApiError),
}

impl Tokens {
    /// The key that a data directory keeps, so that tokens outlive a restart; a new one if it keeps none.
    pub(in crate::kubernetes) fn open(directory: Option<&Path>) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let generated = || {
            let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
            key.map_err(|_| KeyError::Random(no_random()))
        };
        let path = directory.map(|directory| directory.join(KEY_FILE));
        let stored = match &path {
            None => None,
            Some(path) => match fs::read(path) {
                Ok(bytes) => Some(bytes),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(source) => return Err(KeyError::Data(io("read", path, source))),
            },
        };
        let bytes = match (stored, &path) {
            (Some(bytes), _) => bytes,
            (None, None) => generated()?.as_ref().to_vec(),
            (None, Some(path)) => {
                let bytes = generated()?.as_ref().to_vec();
                keep(path, &bytes).map_err(KeyError::Data)?;
                bytes
            }
        };
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &bytes, &random);
        let key = key.map_err(|rejected| match &path {
            Some(path) => {
                KeyError::Data(DataError::Foreign { path: path.clone(), why: rejected.to_string() })
            }
            None => KeyError::Random(no_random()),
        })?;
        let key_id = encode(digest::digest(&digest::SHA256, key.public_key().as_ref()).as_ref());
        Ok(Self { key, random, key_id })
    }

    /// A token that says this.
    pub(in crate::kubernetes) fn sign(&self, claims: &Claims) -> Result<String, ApiError> {
        let header = json!({"alg": ALGORITHM, "kid": self.key_id});
        let said = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(json!(claims).to_string().as_bytes())
        );
        let signature = self.key.sign(&self.random, said.as_bytes()).map_err(|_| no_random())?;
        Ok(format!("{said}.{}", encode(signature.as_ref())))
    }

    /// What a token of this cluster says, whatever the time is; `Ok(None)` when it is another's or no token at all.
    pub(in crate::kubernetes) fn read(&self, token: &str) -> Result<Option<Claims>, String> {
        let Some((said, signature)) = token.rsplit_once('.') else { return Ok(None) };
        let Some((header, claims)) = said.split_once('.') else { return Ok(None) };
        let (Some(header), Some(claims)) = (decoded(header), decoded(claims)) else { return Ok(None) };
        if claims["iss"] != ISSUER {
            return Ok(None);
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        if header["alg"] != ALGORITHM || key.verify(said.as_bytes(), &signature).is_err() {
            return Err("the signature is not that of this cluster".to_owned());
        }
        serde_json::from_value(claims).map(Some).map_err(|error| error.to_string())
    }

    /// `/openid/v1/jwks`: the public key, for services that check tokens themselves.
    pub(in crate::kubernetes) fn key_set(&self) -> Value {
        // An uncompressed point: a byte that says so, then both coordinates.
        let point = self.key.public_key().as_ref();
        let coordinate = |range: std::ops::Range<usize>| encode(point.get(range).unwrap_or_default());
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": ALGORITHM,
            "x": coordinate(1..33), "y": coordinate(33..65),
        }]})
    }
}

/// `/.well-known/openid-configuration`, on a server that is reached at `host`.
pub(in crate::kubernetes) fn configuration(host: &str) -> Value {
    json!({
        "issuer": ISSUER,
        "jwks_uri": format!("http://{host}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
    })
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decoded(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Writes the key beside its place and renames it there, so that it is whole or not there at all.
fn keep(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let beside = path.with_extension("key.new");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|source| io("write", &beside, source))?;
    fs::rename(&beside, path).map_err(|source| io("rename", &beside, source))
}

fn io(doing: &'static str, path: &Path, source: std::io::Error) -> DataError {
    DataError::Io { doing, path: path.to_owned(), source }
}

fn no_random() -> ApiError {
    ApiError::new(
        500,
        "InternalError",
        "Internal error occurred: the system gives no random numbers for a key",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let account = Reference { name: "robot".to_owned(), uid: "1".to_owned() };
        let bound =
            Bound { namespace: "a".to_owned(), node: None, pod: None, secret: None, serviceaccount: account };
        Claims {
            aud: vec![ISSUER.to_owned()],
            exp: 3_600,
            iat: 0,
            iss: ISSUER.to_owned(),
            jti: "id".to_owned(),
            bound,
            nbf: 0,
            sub: "system:serviceaccount:a:robot".to_owned(),
        }
    }

    fn open(directory: Option<&Path>) -> Tokens {
        Tokens::open(directory).unwrap_or_else(|_| panic!("a key"))
    }

    #[test]
    fn a_token_says_what_was_signed_and_nothing_else_does() {
        let (tokens, other) = (open(None), open(None));
        let token = tokens.sign(&claims()).unwrap();
        assert_eq!(tokens.read(&token), Ok(Some(claims())));
        assert!(other.read(&token).is_err());
        let (said, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = said.split_once('.').unwrap();
        let mut grander = claims();
        grander.sub = "system:serviceaccount:kube-system:admin".to_owned();
        let forged = encode(json!(grander).to_string().as_bytes());
        let unsigned = encode(br#"{"alg":"none"}"#);
        for bad in [
            format!("{header}.{forged}.{signature}"),
            format!("{unsigned}.{forged}."),
            format!("{said}."),
            format!("{token}x"),
        ] {
            assert!(tokens.read(&bad).is_err(), "{bad}");
        }
        for none in ["", "abc", "a.b.c", "..", "e30.e30.e30"] {
            assert_eq!(tokens.read(none), Ok(None), "{none}");
        }
    }

    #[test]
    fn a_data_directory_keeps_the_key_and_shows_it_to_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let token = open(Some(directory.path())).sign(&claims()).unwrap();
        let again = open(Some(directory.path()));
        assert_eq!(again.read(&token), Ok(Some(claims())));
        assert_eq!(format!("{again:?}"), format!("Tokens {{ key_id: {:?}, .. }}", again.key_id));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(directory.path().join(KEY_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(directory.path().join(KEY_FILE), "no key").unwrap();
        assert!(matches!(
            Tokens::open(Some(directory.path())),
            Err(KeyError::Data(DataError::Foreign { .. }))
        ));
    }
}

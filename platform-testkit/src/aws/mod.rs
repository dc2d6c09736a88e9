//! AWS' side of requests, for tests: whether a signature is right, and who asks.
//!
//! ```text
//! verifier   who signed a request, or why it is refused
//! canonical  what is signed: the request in one form, by the rules of Signature Version 4
//! refusal    why it is refused
//! eks        the same for tokens of EKS, as the webhook in front of a cluster's API server
//! ```
//!
//! Written from AWS' documentation and held to AWS' published vectors, without the crates that sign: what both agree on is right, or wrong twice.

mod canonical;
mod eks;
mod refusal;
mod verifier;

pub use eks::EksTokenAuthenticator;
pub use refusal::Refusal;
pub use verifier::{Key, Paths, SignatureVerifier, Signed};

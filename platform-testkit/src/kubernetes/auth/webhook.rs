//! Tokens that others vouch for, as kube-apiserver's webhook of authentication.

use std::fmt;

use async_trait::async_trait;

use super::User;
use super::user::AUTHENTICATED;

/// Knows whose tokens are that the cluster did not make itself.
///
/// It is asked for every bearer token but those of the cluster's own service accounts, by requests and by TokenReviews. Who it answers with is also in
/// the group `system:authenticated`, and may do what RBAC gives.
#[async_trait]
pub trait TokenAuthenticator: Send + Sync + fmt::Debug {
    /// Whose token this is; `None`: it is not of the kind that is known here. An error says why it does not hold; TokenReviews show it, requests are
    /// answered with 401 in both cases.
    async fn authenticate(&self, token: &str) -> Result<Option<User>, String>;
}

/// What `authenticator` says of a token, in the words of kube-apiserver.
pub(super) async fn ask(authenticator: &dyn TokenAuthenticator, token: &str) -> Result<User, String> {
    match authenticator.authenticate(token).await {
        Ok(Some(mut user)) => {
            if !user.is_in(AUTHENTICATED) {
                user.groups.push(AUTHENTICATED.to_owned());
            }
            Ok(user)
        }
        Ok(None) => Err("invalid bearer token".to_owned()),
        Err(why) => Err(format!("[invalid bearer token, {why}]")),
    }
}

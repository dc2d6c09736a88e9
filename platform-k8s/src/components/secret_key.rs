//! Secrets by reference.

use super::frame::Pod;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A key of a Secret in the component's namespace, `platform-system`. The Secret is made by whoever knows what is in it, before the component
/// is applied: its pods wait for it. In a document: `{secret: slack, key: url}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret's name.
    pub secret: String,
    /// The key in it.
    pub key: String,
}

impl SecretKey {
    /// A key of a Secret.
    pub fn new(secret: impl Into<String>, key: impl Into<String>) -> Self {
        Self { secret: secret.into(), key: key.into() }
    }

    /// Where a container finds it that mounts Secrets below `directory`.
    pub(super) fn path(&self, directory: &str) -> String {
        format!("{directory}/{}/{}", self.secret, self.key)
    }
}

/// The volumes of Secrets: each with the name of its volume.
pub(super) fn volumes<'a>(keys: impl IntoIterator<Item = &'a SecretKey>) -> Vec<(&'a str, String)> {
    let secrets: BTreeSet<&str> = keys.into_iter().map(|key| key.secret.as_str()).collect();
    // A Secret's name may have dots and be too long for a volume's.
    secrets.into_iter().enumerate().map(|(at, secret)| (secret, format!("secret-{at}"))).collect()
}

/// A pod with these volumes.
pub(super) fn with_volumes(pod: Pod, volumes: &[(&str, String)]) -> Pod {
    volumes.iter().fold(pod, |pod, (secret, volume)| pod.secret(volume, secret))
}

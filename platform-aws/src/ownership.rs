//! Whose something is: tags.

use crate::api::Stack;
use platform_core::{
    cluster::{ClusterRole, ClusterSpec},
    name::PlatformName,
};
use std::collections::{BTreeMap, HashMap};

/// The platform that something belongs to. What does not bear it is never changed or deleted.
pub const PLATFORM_TAG: &str = "platform.dev/platform";
/// The cluster that something was made for.
pub const CLUSTER_TAG: &str = "platform.dev/cluster";
/// On a cluster that somebody else made and the platform took over: its network and roles stay theirs.
pub const IMPORTED_TAG: &str = "platform.dev/imported";
/// On a cluster whose deletion protection was set by the platform.
pub(crate) const PROTECTED_TAG: &str = "platform.dev/protected";
/// On a cluster: the digest of the settings that were applied last, completely.
pub(crate) const APPLIED_TAG: &str = "platform.dev/applied";
/// On a cluster: the Kubernetes version that it is being upgraded to; `done` once its addons have followed.
pub(crate) const UPGRADE_TAG: &str = "platform.dev/upgrade";
/// On a cluster: what it is for.
pub(crate) const ROLE_TAG: &str = "platform.dev/role";

/// The tags of everything that is made for a cluster.
pub(crate) fn tags(spec: &ClusterSpec, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut tags = own.clone();
    tags.insert(PLATFORM_TAG.to_owned(), spec.platform.to_string());
    tags.insert(CLUSTER_TAG.to_owned(), spec.name.to_string());
    let role = match &spec.role {
        ClusterRole::ControlPlane => "control-plane",
        // Names of environments may be more than a tag holds.
        _ => "environments",
    };
    tags.insert(ROLE_TAG.to_owned(), role.to_owned());
    tags
}

/// Tags as AWS' client wants them.
pub(crate) fn for_eks(tags: &BTreeMap<String, String>) -> HashMap<String, String> {
    tags.clone().into_iter().collect()
}

/// The platform whose tag is there.
pub(crate) fn owner(tags: Option<&HashMap<String, String>>) -> Option<&str> {
    tags?.get(PLATFORM_TAG).map(String::as_str)
}

/// Whether a stack is this platform's.
pub(crate) fn is_our_stack(stack: &Stack, platform: &PlatformName) -> bool {
    stack.tags.get(PLATFORM_TAG).map(String::as_str) == Some(platform.as_str())
}

/// Whether the tags are those of this platform.
pub(crate) fn is_ours(tags: Option<&HashMap<String, String>>, platform: &PlatformName) -> bool {
    owner(tags) == Some(platform.as_str())
}

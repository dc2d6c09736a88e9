//! Every label, annotation and name that the platform writes into clusters.

use platform_core::{cluster::SetOwner, component::SYSTEM_NAMESPACE};

/// Who manages an object; the platform writes [`MANAGER`].
///
/// One of the [recommended labels](https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] and, unless overridden, the field manager.
pub const MANAGER: &str = "platform";
/// The name of an application or component.
pub const NAME: &str = "app.kubernetes.io/name";
/// What an application or component belongs to: the platform.
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// The version of what runs.
pub const VERSION: &str = "app.kubernetes.io/version";

/// The platform that owns an object. What does not bear it is never changed or deleted.
pub const PLATFORM: &str = "platform.dev/platform";
/// The environment of a namespace or workload.
pub const ENVIRONMENT: &str = "platform.dev/environment";
/// `"true"` on namespaces whose environment refuses to be deleted unconfirmed.
pub const PROTECTED: &str = "platform.dev/protected";

/// On the pods of components: a checksum of the files that configure them, so that they are made anew when these change.
pub const CONFIGURATION: &str = "platform.dev/configuration";
/// An annotation on a protected namespace that lets it be deleted; its value is the namespace's name.
pub const CONFIRM_DELETION: &str = "platform.dev/confirm-deletion";

/// On an ApplySet's parent: the set's id.
pub const APPLYSET_ID: &str = "applyset.kubernetes.io/id";
/// On an ApplySet's members: the id of their set.
pub const APPLYSET_PART_OF: &str = "applyset.kubernetes.io/part-of";
/// On an ApplySet's parent: which program manages it.
pub const APPLYSET_TOOLING: &str = "applyset.kubernetes.io/tooling";
/// On an ApplySet's parent: the kinds of its members, `Deployment.apps,Service`.
pub const APPLYSET_GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
/// On an ApplySet's parent: the namespaces of its members besides the parent's own.
pub const APPLYSET_NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";

/// The namespace of ApplySet parents.
pub(crate) const SETS_NAMESPACE: &str = SYSTEM_NAMESPACE;
/// What stands before a set's name in its parent's.
pub(crate) const SET_PREFIX: &str = "applyset.";

/// The labels by which an owner's objects are known.
pub(crate) fn ownership(owner: &SetOwner) -> [(&'static str, &str); 2] {
    [(MANAGED_BY, MANAGER), (PLATFORM, owner.platform.as_str())]
}

/// The value of a label of a live object.
pub(crate) fn label<'a>(object: &'a serde_json::Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

//! How stacks are called.

use platform_core::name::ClusterName;

/// What the names of all stacks begin with, and so the generated names of their roles. Permissions are limited by it.
pub(crate) const PREFIX: &str = "platform-";

/// The stack of a cluster's network and roles.
pub(crate) fn cluster_stack_name(cluster: &ClusterName) -> String {
    format!("{PREFIX}{cluster}")
}

/// The stack of the roles of service accounts that trust the cluster's issuer, which exists only after the cluster.
pub(crate) fn service_accounts_stack_name(cluster: &ClusterName) -> String {
    // No cluster's name begins with a hyphen, so this is no cluster's own stack.
    format!("{PREFIX}-service-accounts-{cluster}")
}

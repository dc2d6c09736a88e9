//! One thing to be done to a cluster.

use crate::settings::{AccessEntry, Addon, FargateProfile, NodeGroup, ServiceAccountRole, SupportType};
use serde::Serialize;
use std::{collections::BTreeSet, fmt};

/// When a change comes. Changes of one phase are made at the same time, but for those of the control plane: EKS takes one update at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// The network and roles.
    Foundation,
    /// The cluster's configuration and version.
    ControlPlane,
    /// Who may use it.
    Access,
    /// Addons without which nodes do not become ready.
    NodeAddons,
    /// Nodes.
    Nodes,
    /// The other addons.
    Addons,
    /// Roles of pods.
    ServiceAccounts,
    /// What is no longer wanted goes last.
    Removal,
}

/// One thing to be done to a cluster.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Updates the stack of the network and roles.
    UpdateFoundation,
    /// Sets from where the API server is reached; what differs.
    SetEndpoint(Vec<String>),
    /// Sets what is logged.
    SetLogging {
        /// What is logged now.
        from: BTreeSet<String>,
        /// What is to be logged.
        to: BTreeSet<String>,
    },
    /// Sets what happens at the end of standard support.
    SetUpgradePolicy(SupportType),
    /// Turns the deletion protection of EKS on or off.
    SetDeletionProtection(bool),
    /// Writes the tags that are missing.
    SetTags(Vec<String>),
    /// Upgrades by one minor version: node groups that lag, the control plane, addons without a version of their own, node groups.
    Upgrade {
        /// The version it has.
        from: String,
        /// The version after it.
        to: String,
    },
    /// Brings addons to the version of the control plane, which an upgrade that was interrupted did not come to.
    FinishUpgrade(String),
    /// Lets somebody in.
    CreateAccessEntry(AccessEntry),
    /// Brings an access entry to its groups and policies; what differs.
    UpdateAccessEntry(AccessEntry, Vec<String>),
    /// Lets somebody in no more.
    RemoveAccessEntry(String),
    /// Installs an addon.
    CreateAddon(Addon),
    /// Brings an addon to its version and configuration; what differs.
    UpdateAddon(Addon, Vec<String>),
    /// Removes an addon.
    RemoveAddon(String),
    /// Makes a node group.
    CreateNodeGroup(NodeGroup),
    /// Deletes a node group whose creation failed, and makes it anew; why it failed.
    RepairNodeGroup(NodeGroup, String),
    /// Changes what can be changed while it runs; what differs.
    UpdateNodeGroup(NodeGroup, Vec<String>),
    /// Brings a node group to the version of the control plane.
    UpgradeNodeGroup {
        /// The group.
        name: String,
        /// The version it has.
        from: String,
        /// The version of the control plane.
        to: String,
    },
    /// Drains and deletes a node group.
    RemoveNodeGroup(String),
    /// Makes a Fargate profile.
    CreateFargateProfile(FargateProfile),
    /// Deletes a Fargate profile.
    RemoveFargateProfile(String),
    /// Makes or updates the stack of roles that service accounts get by OIDC.
    UpdateServiceAccounts,
    /// Gives pods of a service account their role.
    CreateAssociation(ServiceAccountRole),
    /// Takes the role from pods of a service account.
    RemoveAssociation {
        /// Namespace and name of the service account.
        account: String,
        /// The association.
        id: String,
    },
}

impl Change {
    /// When it comes.
    pub fn phase(&self) -> Phase {
        match self {
            Self::UpdateFoundation => Phase::Foundation,
            Self::SetEndpoint(_)
            | Self::SetLogging { .. }
            | Self::SetUpgradePolicy(_)
            | Self::SetDeletionProtection(_)
            | Self::SetTags(_)
            | Self::Upgrade { .. } => Phase::ControlPlane,
            Self::CreateAccessEntry(_) | Self::UpdateAccessEntry(..) => Phase::Access,
            Self::CreateAddon(addon) if addon.is_needed_by_nodes() => Phase::NodeAddons,
            Self::CreateNodeGroup(_)
            | Self::RepairNodeGroup(..)
            | Self::UpdateNodeGroup(..)
            | Self::UpgradeNodeGroup { .. }
            | Self::CreateFargateProfile(_) => Phase::Nodes,
            Self::CreateAddon(_) | Self::UpdateAddon(..) | Self::FinishUpgrade(_) => Phase::Addons,
            Self::UpdateServiceAccounts | Self::CreateAssociation(_) => Phase::ServiceAccounts,
            Self::RemoveAccessEntry(_)
            | Self::RemoveAddon(_)
            | Self::RemoveNodeGroup(_)
            | Self::RemoveFargateProfile(_)
            | Self::RemoveAssociation { .. } => Phase::Removal,
        }
    }
}

/// As a line of a plan.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |types: &BTreeSet<String>| types.iter().cloned().collect::<Vec<_>>().join(", ");
        match self {
            Self::UpdateFoundation => write!(f, "network and roles: the stack differs from its template"),
            Self::SetEndpoint(differences) => write!(f, "endpoint: {}", differences.join(", ")),
            Self::SetLogging { from, to } => write!(f, "logging: {} -> {}", set(from), set(to)),
            Self::SetUpgradePolicy(SupportType::Standard) => {
                write!(f, "upgrade policy: extended -> standard support")
            }
            Self::SetUpgradePolicy(SupportType::Extended) => {
                write!(f, "upgrade policy: standard -> extended support")
            }
            Self::SetDeletionProtection(on) => {
                let word = |on: bool| if on { "on" } else { "off" };
                write!(f, "deletion protection: {} -> {}", word(!on), word(*on))
            }
            Self::SetTags(keys) => write!(f, "tags: {} to be written", keys.join(", ")),
            Self::Upgrade { from, to } => write!(f, "kubernetes version: {from} -> {to}"),
            Self::FinishUpgrade(version) => write!(f, "addons: to follow the upgrade to {version}"),
            Self::CreateAccessEntry(entry) => write!(f, "access entry {}: to be created", entry.principal),
            Self::UpdateAccessEntry(entry, differences) => {
                write!(f, "access entry {}: {}", entry.principal, differences.join(", "))
            }
            Self::RemoveAccessEntry(principal) => write!(f, "access entry {principal}: to be deleted"),
            Self::CreateAddon(addon) => write!(f, "addon {}: to be installed", addon.name),
            Self::UpdateAddon(addon, differences) => {
                write!(f, "addon {}: {}", addon.name, differences.join(", "))
            }
            Self::RemoveAddon(name) => write!(f, "addon {name}: to be removed"),
            Self::CreateNodeGroup(group) => write!(f, "node group {}: to be created", group.name),
            Self::RepairNodeGroup(group, why) => {
                write!(
                    f,
                    "node group {}: to be deleted and created again, since it failed: {why}",
                    group.name
                )
            }
            Self::UpdateNodeGroup(group, differences) => {
                write!(f, "node group {}: {}", group.name, differences.join(", "))
            }
            Self::UpgradeNodeGroup { name, from, to } => {
                write!(f, "node group {name}: kubernetes version {from} -> {to}")
            }
            Self::RemoveNodeGroup(name) => write!(f, "node group {name}: to be drained and deleted"),
            Self::CreateFargateProfile(profile) => {
                write!(f, "Fargate profile {}: to be created", profile.name)
            }
            Self::RemoveFargateProfile(name) => write!(f, "Fargate profile {name}: to be deleted"),
            Self::UpdateServiceAccounts => {
                write!(f, "roles of service accounts: the stack differs from its template")
            }
            Self::CreateAssociation(role) => {
                write!(f, "service account {}/{}: to get its role", role.namespace, role.service_account)
            }
            Self::RemoveAssociation { account, .. } => {
                write!(f, "service account {account}: to lose its role")
            }
        }
    }
}

//! The templates of a cluster.

use super::{Place, Template, network, roles, template::Draft};
use crate::settings::{EksSettings, IdentityMechanism, Network};
use platform_core::name::ClusterName;

/// The network, the roles and the roles of Pod Identity that a cluster needs and the settings do not bring; `None` where they bring everything.
///
/// `place` is where a new VPC is: chosen before the first creation, and [told](super::place_of) by the stack ever after. It must be given where
/// the settings ask for a new network: without it the template has none.
pub(crate) fn cluster(
    cluster: &ClusterName,
    settings: &EksSettings,
    place: Option<&Place>,
) -> Option<Template> {
    let mut draft = Draft::default();
    if let (Network::New(new), Some(place)) = (&settings.network, place) {
        network::add(&mut draft, &super::cluster_stack_name(cluster), place, new.nat_gateways);
    }
    if settings.roles.is_none() {
        roles::add(&mut draft, cluster, settings);
    }
    roles::add_pod_identities(&mut draft, cluster, settings);
    draft.finish(&format!("Network and roles of the EKS cluster {cluster}"))
}

/// Whether a cluster with these settings has a stack at all.
pub(crate) fn is_needed(settings: &EksSettings) -> bool {
    matches!(settings.network, Network::New(_))
        || settings.roles.is_none()
        || settings.service_account_roles.iter().any(|role| role.mechanism == IdentityMechanism::PodIdentity)
}

/// The roles of service accounts that trust the cluster's issuer; `None` where the settings want none.
pub(crate) fn service_accounts(
    cluster: &ClusterName,
    settings: &EksSettings,
    issuer_url: &str,
) -> Option<Template> {
    let mut draft = Draft::default();
    roles::add_issued(&mut draft, settings, issuer_url);
    draft.finish(&format!("Roles of service accounts of the EKS cluster {cluster}"))
}

#[cfg(test)]
mod tests;

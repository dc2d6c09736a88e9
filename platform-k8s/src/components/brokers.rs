//! Where agents send to: the brokers, and whose topics.

use platform_core::{
    Error, Result, cluster::ClusterRole, component::ComponentTarget, name::EnvironmentName,
    telemetry::document::environment_of,
};

/// The brokers to begin with: those of the settings, else the `kafka` component of the same namespace, which only the control plane has.
pub(super) fn brokers(settings: Option<&str>, target: &ComponentTarget) -> Result<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b',' | b'[' | b']');
    match (settings, &target.role) {
        (Some(brokers), _) if brokers.is_empty() || !brokers.bytes().all(plain) => {
            Err(Error::invalid(format!("settings.brokers: {brokers:?} is not like host:port,host:port")))
        }
        (Some(brokers), _) => Ok(brokers.to_owned()),
        (None, ClusterRole::ControlPlane) => Ok(format!("kafka.{}.svc:9092", target.namespace)),
        (None, _) => Err(Error::invalid(format!("settings.brokers: {} has no Kafka of its own", target.cluster))
            .help("name the brokers as that cluster reaches them, for which the component kafka has settings.external")),
    }
}

/// The environments of a cluster.
pub(super) fn environments(target: &ComponentTarget) -> &[EnvironmentName] {
    match &target.role {
        ClusterRole::Environments(environments) => environments,
        _ => &[],
    }
}

/// Whose topics are written to from a cluster; the first are those of what belongs to no environment.
pub(super) fn topic_owners(target: &ComponentTarget) -> Vec<&str> {
    let otherwise = environment_of(&target.role);
    let of_environments = environments(target).iter().map(EnvironmentName::as_str);
    std::iter::once(otherwise).chain(of_environments.filter(|name| *name != otherwise)).collect()
}

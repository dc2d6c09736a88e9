//! The catalogue: what the platform installs into clusters by name.
//!
//! A new component is a type that implements [`Component`] and a line in the catalogue's list. What a spec may override (version,
//! scope, images) is handled once, by `Installation`.

mod installation;
mod kube_state_metrics;
mod node_exporter;

pub use kube_state_metrics::KubeStateMetrics;
pub use node_exporter::NodeExporter;

use installation::{Defaults, Installation};
use platform_core::{
    Error, Result,
    component::{Component, ComponentSpec},
};
use std::sync::Arc;

/// Makes a component of what a spec says.
type Build = fn(Installation) -> Arc<dyn Component>;

const CATALOGUE: [(&Defaults, Build); 2] = [
    (&kube_state_metrics::DEFAULTS, |installation| Arc::new(KubeStateMetrics::with(installation))),
    (&node_exporter::DEFAULTS, |installation| Arc::new(NodeExporter::with(installation))),
];

/// The names of all components of the catalogue, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    CATALOGUE.iter().map(|(defaults, _)| defaults.name)
}

/// The component that a spec names, its images taken from `mirror` where the spec names none.
pub(crate) fn find(spec: &ComponentSpec, mirror: Option<&str>) -> Result<Arc<dyn Component>> {
    let entry = CATALOGUE.iter().find(|(defaults, _)| spec.name == defaults.name);
    let Some((defaults, build)) = entry else {
        let known: Vec<&str> = names().collect();
        return Err(Error::invalid(format!(
            "there is no component {:?} in the catalogue",
            spec.name.as_str()
        ))
        .help(format!("choose one of {}", known.join(", "))));
    };
    Ok(build(Installation::of_spec(defaults, spec, mirror)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::{
        Image,
        cluster::ClusterRole,
        component::ComponentTarget,
        name::{ClusterName, ComponentName, Namespace, PlatformName},
    };

    fn spec(name: &str) -> ComponentSpec {
        ComponentSpec::new(ComponentName::new(name).unwrap())
    }

    fn text(component: &dyn Component) -> String {
        let target = ComponentTarget::new(
            PlatformName::new("shop").unwrap(),
            ClusterName::new("shop-testing").unwrap(),
            ClusterRole::ControlPlane,
            Namespace::new("platform-system").unwrap(),
        );
        let manifests = component.manifests(&target).unwrap();
        manifests.iter().map(|m| m.object().to_string()).collect()
    }

    #[test]
    fn every_entry_is_found_by_its_name_and_renders() {
        assert!(names().is_sorted());
        for name in names() {
            let component = find(&spec(name), None).unwrap();
            assert_eq!(*component.name(), name);
            assert!(text(&*component).contains(component.version()));
        }
        let error = find(&spec("nginx"), None).unwrap_err().to_string();
        assert!(error.contains("node-exporter") && error.contains("kube-state-metrics"), "{error}");
    }

    #[test]
    fn version_images_and_mirror_are_overridable() {
        let mut versioned = spec("node-exporter");
        versioned.version = Some("1.8.2".into());
        let component = find(&versioned, Some("mirror.example.com:5000/hub")).unwrap();
        assert_eq!(component.version(), "1.8.2");
        assert!(
            text(&*component).contains("\"mirror.example.com:5000/hub/prometheus/node-exporter:v1.8.2\"")
        );

        let mut imaged = spec("node-exporter");
        imaged.images.insert("node-exporter".into(), Image::parse("own.example.com/ne:7").unwrap());
        assert!(
            text(&*find(&imaged, Some("mirror.example.com")).unwrap()).contains("\"own.example.com/ne:7\"")
        );

        let mut wrong = spec("node-exporter");
        wrong.images.insert("sidecar".into(), Image::parse("a").unwrap());
        assert!(find(&wrong, None).unwrap_err().to_string().contains("no container \"sidecar\""));
        versioned.version = Some("latest".into());
        assert!(find(&versioned, None).unwrap_err().to_string().contains("MAJOR.MINOR.PATCH"));
        assert!(find(&spec("node-exporter"), Some("not a host")).is_err());
    }
}

//! From a spec and a provider's configuration to a cluster of kind: its nodes, image, ports, mounts.

use super::{
    config::{self, Role},
    mark::{self, Settings},
    settings::{Configuration, Mount, PortMapping},
};
use crate::labels;
use platform_core::{Error, ErrorKind, Result, cluster::ClusterSpec};
use ring::digest::{SHA256, digest};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Display};

/// The node images that kind 0.33 was released with, by Kubernetes' minor version.
///
/// kind supports an image only with the release that it was built for; for another kind, and for other versions, the
/// builder takes an image.
const NODE_IMAGES: [(&str, &str); 4] = [
    ("1.37", "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"),
    ("1.36", "kindest/node:v1.36.4@sha256:099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed"),
    ("1.35", "kindest/node:v1.35.8@sha256:07b2536e30b803ed61d1677a79df6115f798ce64c80f9e22f6ed45afd09323c0"),
    ("1.34", "kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d"),
];
/// A node's name is the cluster's and `-control-plane`, and is the name of a host: at most 63 characters.
const NAME_LIMIT: usize = 49;
/// More would not fit on one machine; a spec of more is a mistake.
const NODE_LIMIT: u32 = 50;
/// A setting that is longer is remembered by its digest.
const VALUE_LIMIT: usize = 160;

/// A cluster as kind is to make it.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) config: config::Cluster,
    pub(super) settings: Settings,
    /// Whether nodes become ready by themselves.
    pub(super) default_cni: bool,
}

impl Shape {
    pub(super) fn new(configuration: &Configuration, spec: &ClusterSpec) -> Result<Self> {
        let context = |e: Error| e.subject(format!("cluster {}", spec.name));
        check(spec).map_err(context)?;
        let image = node_image(configuration.node_image.as_deref(), spec.kubernetes_version.as_deref())
            .map_err(context)?;
        let ports = applicable(&configuration.ports, spec);
        let mounts = applicable(&configuration.mounts, spec);
        let settings = settings(configuration, spec, image.as_deref(), &ports, &mounts);
        let mark = config::Mount {
            host_path: mark::SOURCE.into(),
            container_path: mark::encode(&spec.platform, &settings).map_err(context)?.into(),
            read_only: true,
        };
        let mut node_labels = configuration.node_labels.clone();
        node_labels.insert(labels::PLATFORM.to_owned(), spec.platform.to_string());
        let node = config::Node {
            role: Role::ControlPlane,
            image,
            labels: node_labels,
            extra_mounts: std::iter::once(mark).chain(mounts.into_iter().map(mount)).collect(),
            extra_port_mappings: Vec::new(),
        };
        let mut nodes = vec![node.clone()];
        if spec.nodes > 1 {
            let worker = config::Node { role: Role::Worker, ..node };
            nodes.extend(std::iter::repeat_n(worker, spec.nodes as usize));
        }
        let first_worker = usize::from(nodes.len() > 1);
        if let Some(node) = nodes.get_mut(first_worker) {
            node.extra_port_mappings = ports.into_iter().map(port).collect();
        }
        let mut config = config::Cluster::new(nodes);
        config.networking.pod_subnet.clone_from(&configuration.pod_subnet);
        config.networking.service_subnet.clone_from(&configuration.service_subnet);
        config.networking.disable_default_cni = !configuration.default_cni;
        config.feature_gates.clone_from(&configuration.feature_gates);
        config.runtime_config.clone_from(&configuration.runtime_config);
        config.kubeadm_config_patches.clone_from(&configuration.kubeadm_patches);
        config.containerd_config_patches.clone_from(&configuration.containerd_patches);
        Ok(Self { config, settings, default_cni: configuration.default_cni })
    }

    /// The ports of this machine that were asked for by their number.
    pub(super) fn fixed_ports(&self) -> impl Iterator<Item = u16> {
        self.config.nodes.iter().flat_map(|node| &node.extra_port_mappings).filter_map(|port| port.host_port)
    }
}

fn check(spec: &ClusterSpec) -> Result<()> {
    if spec.name.as_str().len() > NAME_LIMIT {
        return Err(Error::invalid(format!(
            "its name has {} characters, the names of kind's nodes leave room for {NAME_LIMIT}",
            spec.name.as_str().len()
        )));
    }
    if !(1..=NODE_LIMIT).contains(&spec.nodes) {
        return Err(Error::invalid(format!("{} nodes are not possible, 1 to {NODE_LIMIT} are", spec.nodes)));
    }
    Ok(())
}

/// The image of the nodes; `None`: kind's own default.
fn node_image(image: Option<&str>, version: Option<&str>) -> Result<Option<String>> {
    let Some(version) = version else { return Ok(image.map(str::to_owned)) };
    let unsupported = |message: String| Error::new(ErrorKind::Unsupported, message);
    if let Some(image) = image {
        return match minor_version(image) {
            Some(minor) if minor != version => {
                Err(unsupported(format!("the node image {image} is Kubernetes {minor}, not {version}"))
                    .help("leave the version out, or choose the image of that version"))
            }
            // The tag of an image says what it likes; the API server will tell.
            _ => Ok(Some(image.to_owned())),
        };
    }
    let known = NODE_IMAGES.iter().find(|(minor, _)| *minor == version);
    known.map(|(_, image)| Some((*image).to_owned())).ok_or_else(|| {
        let known: Vec<&str> = NODE_IMAGES.iter().map(|(minor, _)| *minor).collect();
        unsupported(format!("no node image is known for Kubernetes {version}, only for {}", known.join(", ")))
            .help("give an image that was built for your release of kind with `node_image`")
    })
}

/// `1.34` of `kindest/node:v1.34.4@sha256:…`.
pub(super) fn minor_version(image: &str) -> Option<String> {
    let (_, tag) = image.split('@').next()?.rsplit_once(":v")?;
    let mut parts = tag.split('.');
    let (major, minor) = (parts.next()?, parts.next()?);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (number(major) && number(minor)).then(|| format!("{major}.{minor}"))
}

fn applicable<'a, T>(all: &'a [(super::Clusters, T)], spec: &ClusterSpec) -> Vec<&'a T> {
    all.iter().filter(|(clusters, _)| clusters.contains(spec)).map(|(_, value)| value).collect()
}

fn mount(mount: &Mount) -> config::Mount {
    config::Mount {
        host_path: mount.host_path.clone(),
        container_path: mount.node_path.clone(),
        read_only: mount.read_only,
    }
}

fn port(port: &PortMapping) -> config::PortMapping {
    config::PortMapping {
        container_port: port.node_port,
        host_port: port.host_port,
        listen_address: port.listen_address,
        protocol: port.protocol.as_str(),
    }
}

/// What is remembered of a cluster and told when it differs.
fn settings(
    configuration: &Configuration,
    spec: &ClusterSpec,
    image: Option<&str>,
    ports: &[&PortMapping],
    mounts: &[&Mount],
) -> Settings {
    let mut map = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        if !value.is_empty() {
            map.insert(name.to_owned(), if value.len() > VALUE_LIMIT { fingerprint(&value) } else { value });
        }
    };
    set("nodes", spec.nodes.to_string());
    set("image", image.unwrap_or_default().to_owned());
    set("port mappings", list(ports));
    set("mounts", list(mounts));
    set("pod subnet", configuration.pod_subnet.clone().unwrap_or_default());
    set("service subnet", configuration.service_subnet.clone().unwrap_or_default());
    if !configuration.default_cni {
        set("default CNI", "none".to_owned());
    }
    let pairs = |map: &BTreeMap<String, String>| {
        map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
    };
    set("node labels", pairs(&configuration.node_labels));
    set("runtime config", pairs(&configuration.runtime_config));
    let gates = configuration.feature_gates.iter().map(|(gate, on)| (gate.clone(), on.to_string())).collect();
    set("feature gates", pairs(&gates));
    for (name, patches) in [
        ("kubeadm patches", &configuration.kubeadm_patches),
        ("containerd patches", &configuration.containerd_patches),
    ] {
        if !patches.is_empty() {
            set(name, fingerprint(&json!(patches).to_string()));
        }
    }
    Settings(map)
}

fn list(values: &[&impl Display]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The beginning of the SHA-256 of what is too long to be remembered.
fn fingerprint(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    let beginning = digest.as_ref().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("sha256:{beginning:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{Clusters, PortMapping};
    use platform_core::{
        cluster::ClusterRole,
        name::{ClusterName, EnvironmentName, PlatformName},
    };

    fn spec(nodes: u32) -> ClusterSpec {
        let role = ClusterRole::Environments(vec![EnvironmentName::new("testing").unwrap()]);
        let mut spec = ClusterSpec::new(
            PlatformName::new("shop").unwrap(),
            ClusterName::new("shop-testing").unwrap(),
            role,
        );
        spec.nodes = nodes;
        spec
    }

    #[test]
    fn one_node_is_the_control_plane_and_more_are_workers() {
        let mut configuration = Configuration::default();
        configuration.ports.push((Clusters::All, PortMapping::new(80)));
        let roles = |nodes| -> Vec<(Role, usize)> {
            let shape = Shape::new(&configuration, &spec(nodes)).unwrap();
            shape.config.nodes.iter().map(|n| (n.role, n.extra_port_mappings.len())).collect()
        };
        assert_eq!(roles(1), [(Role::ControlPlane, 1)]);
        assert_eq!(roles(2), [(Role::ControlPlane, 0), (Role::Worker, 1), (Role::Worker, 0)]);
    }

    #[test]
    fn the_file_has_the_names_that_kind_knows() {
        let mut configuration = Configuration {
            node_image: Some("kindest/node:v1.34.4".into()),
            pod_subnet: Some("10.200.0.0/16".into()),
            default_cni: false,
            ..Configuration::default()
        };
        configuration.ports.push((Clusters::All, PortMapping::new(30080).host_port(8080)));
        configuration.ports.push((Clusters::ControlPlane, PortMapping::new(1)));
        configuration.mounts.push((Clusters::All, Mount::new("/srv", "/data").read_only()));
        configuration.feature_gates.insert("A".into(), true);
        let shape = Shape::new(&configuration, &spec(1)).unwrap();
        let mark = mark::encode(&spec(1).platform, &shape.settings).unwrap();
        assert_eq!(
            serde_json::to_value(&shape.config).unwrap(),
            json!({
                "kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4",
                "nodes": [{
                    "role": "control-plane", "image": "kindest/node:v1.34.4",
                    "labels": {"platform.dev/platform": "shop"},
                    "extraMounts": [
                        {"hostPath": "/dev/null", "containerPath": mark, "readOnly": true},
                        {"hostPath": "/srv", "containerPath": "/data", "readOnly": true},
                    ],
                    "extraPortMappings": [{
                        "containerPort": 30080, "hostPort": 8080, "listenAddress": "127.0.0.1", "protocol": "TCP",
                    }],
                }],
                "networking": {"podSubnet": "10.200.0.0/16", "disableDefaultCNI": true},
                "featureGates": {"A": true},
            })
        );
        assert_eq!(shape.fixed_ports().collect::<Vec<_>>(), [8080]);
    }

    #[test]
    fn what_is_not_set_is_no_difference() {
        let plain = Shape::new(&Configuration::default(), &spec(1)).unwrap();
        assert_eq!(plain.settings.0.keys().collect::<Vec<_>>(), ["nodes"]);
        let mut configuration = Configuration::default();
        configuration.kubeadm_patches.push("kind: ClusterConfiguration".into());
        let patched = Shape::new(&configuration, &spec(2)).unwrap();
        let differences = plain.settings.differences(&patched.settings);
        assert_eq!(differences.len(), 2, "{differences:?}");
        assert!(differences[0].starts_with("kubeadm patches: default -> sha256:"), "{differences:?}");
        assert_eq!(differences[1], "nodes: 1 -> 2");
    }

    #[test]
    fn a_version_is_an_image() {
        assert_eq!(node_image(None, None).unwrap(), None);
        assert!(node_image(None, Some("1.34")).unwrap().unwrap().starts_with("kindest/node:v1.34."));
        assert_eq!(node_image(Some("a/b:latest"), Some("1.34")).unwrap().unwrap(), "a/b:latest");
        for (image, version) in [(None, "1.2"), (Some("kindest/node:v1.33.1"), "1.34"), (None, "newest")] {
            assert_eq!(node_image(image, Some(version)).unwrap_err().kind(), ErrorKind::Unsupported);
        }
        assert_eq!(minor_version("host:5000/node:v1.34.4@sha256:ab").as_deref(), Some("1.34"));
        for other in ["node", "node:latest", "node:v1", "host:5000/node"] {
            assert_eq!(minor_version(other), None, "{other}");
        }
    }

    #[test]
    fn what_kind_cannot_make_is_refused() {
        let long = ClusterName::new("a".repeat(50)).unwrap();
        let mut named = spec(1);
        named.name = long;
        for bad in [named, spec(0), spec(51)] {
            let error = Shape::new(&Configuration::default(), &bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
    }
}

//! What only kind knows of a cluster: ports, mounts, subnets, patches.

use super::engine::Engine;
use platform_core::{Error, Result, cluster::Clusters};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// A port of a node that this machine listens for: that of a NodePort Service, or a `hostPort` of a pod.
///
/// It is mapped on the first node that runs workloads.
///
/// ```
/// use platform_k8s::kind::PortMapping;
///
/// assert_eq!(PortMapping::new(30080).host_port(8080).to_string(), "127.0.0.1:8080 -> 30080/TCP");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortMapping {
    /// The port of the node.
    pub node_port: u16,
    /// The port of this machine; `None`: a free one, which kind chooses.
    pub host_port: Option<u16>,
    /// The address of this machine. Default: 127.0.0.1.
    pub listen_address: IpAddr,
    /// The protocol. Default: TCP.
    pub protocol: Protocol,
}

impl PortMapping {
    /// Maps a port of a node to a free port of 127.0.0.1.
    pub const fn new(node_port: u16) -> Self {
        Self {
            node_port,
            host_port: None,
            listen_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            protocol: Protocol::Tcp,
        }
    }

    /// Sets the port of this machine.
    #[must_use]
    pub const fn host_port(mut self, port: u16) -> Self {
        self.host_port = Some(port);
        self
    }

    /// Sets the address of this machine. Others than loopback let the network in.
    #[must_use]
    pub const fn listen_address(mut self, address: IpAddr) -> Self {
        self.listen_address = address;
        self
    }

    /// Sets the protocol.
    #[must_use]
    pub const fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    fn check(&self) -> Result<()> {
        if self.node_port == 0 || self.host_port == Some(0) {
            return Err(Error::invalid(format!("port mapping {self}: a port is 1 to 65535"))
                .help("leave the host port out for a free one"));
        }
        Ok(())
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.listen_address {
            IpAddr::V4(address) => write!(f, "{address}:")?,
            IpAddr::V6(address) => write!(f, "[{address}]:")?,
        }
        match self.host_port {
            Some(port) => write!(f, "{port}")?,
            None => f.write_str("free")?,
        }
        write!(f, " -> {}/{}", self.node_port, self.protocol.as_str())
    }
}

/// A file or directory of this machine in every node, from where pods may mount it by `hostPath`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mount {
    /// Its path on this machine (for a remote engine: on the engine's).
    pub host_path: PathBuf,
    /// Its path in the nodes.
    pub node_path: PathBuf,
    /// Whether nodes may only read it. Default: they may write.
    pub read_only: bool,
}

impl Mount {
    /// Mounts `host_path` at `node_path`; both are absolute.
    pub fn new(host_path: impl Into<PathBuf>, node_path: impl Into<PathBuf>) -> Self {
        Self { host_path: host_path.into(), node_path: node_path.into(), read_only: false }
    }

    /// Lets nodes only read it.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    fn check(&self) -> Result<()> {
        for path in [&self.host_path, &self.node_path] {
            let problem = match path.to_str() {
                _ if !path.is_absolute() => "it is not absolute",
                None => "it is not UTF-8",
                Some(text) if text.contains([':', ',']) => "':' and ',' are not possible in it",
                Some(_) => continue,
            };
            return Err(Error::invalid(format!("mount {self}: {}: {problem}", path.display())));
        }
        if self.node_path == Path::new("/") || self.node_path.starts_with("/platform.dev") {
            return Err(Error::invalid(format!("mount {self}: that path of the node is taken")));
        }
        Ok(())
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.read_only { " (read-only)" } else { "" };
        write!(f, "{} -> {}{mode}", self.host_path.display(), self.node_path.display())
    }
}

/// Everything that a builder is told.
#[derive(Debug, Clone)]
pub(super) struct Configuration {
    pub(super) kind: Option<PathBuf>,
    pub(super) engine: Option<Engine>,
    pub(super) engine_program: Option<PathBuf>,
    pub(super) node_image: Option<String>,
    pub(super) ports: Vec<(Clusters, PortMapping)>,
    pub(super) mounts: Vec<(Clusters, Mount)>,
    pub(super) pod_subnet: Option<String>,
    pub(super) service_subnet: Option<String>,
    pub(super) default_cni: bool,
    pub(super) node_labels: BTreeMap<String, String>,
    pub(super) feature_gates: BTreeMap<String, bool>,
    pub(super) runtime_config: BTreeMap<String, String>,
    pub(super) kubeadm_patches: Vec<String>,
    pub(super) containerd_patches: Vec<String>,
    pub(super) images: Vec<(Clusters, String)>,
    pub(super) logs: Option<PathBuf>,
    pub(super) parallel_creates: Option<usize>,
    pub(super) create_timeout: Duration,
    pub(super) ready_timeout: Duration,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            kind: None,
            engine: None,
            engine_program: None,
            node_image: None,
            ports: Vec::new(),
            mounts: Vec::new(),
            pod_subnet: None,
            service_subnet: None,
            default_cni: true,
            node_labels: BTreeMap::new(),
            feature_gates: BTreeMap::new(),
            runtime_config: BTreeMap::new(),
            kubeadm_patches: Vec::new(),
            containerd_patches: Vec::new(),
            images: Vec::new(),
            logs: None,
            parallel_creates: None,
            create_timeout: Duration::from_secs(600),
            ready_timeout: Duration::from_secs(180),
        }
    }
}

impl Configuration {
    pub(super) fn check(&self) -> Result<()> {
        self.ports.iter().try_for_each(|(_, port)| port.check())?;
        self.mounts.iter().try_for_each(|(_, mount)| mount.check())?;
        for (what, subnet) in [("pod subnet", &self.pod_subnet), ("service subnet", &self.service_subnet)] {
            if let Some(subnet) = subnet.as_deref().filter(|subnet| !is_subnet_list(subnet)) {
                return Err(Error::invalid(format!("{what} {subnet:?} is not like 10.244.0.0/16")));
            }
        }
        check_image(self.node_image.iter().map(String::as_str))?;
        check_images(self.images.iter().map(|(_, image)| image.as_str()))
    }
}

/// The name of an image becomes an argument of a program.
fn check_image<'a>(images: impl IntoIterator<Item = &'a str>) -> Result<()> {
    for image in images {
        if image.is_empty() || image.starts_with('-') || image.contains(char::is_whitespace) {
            return Err(Error::invalid(format!("{image:?} is not the name of an image")));
        }
    }
    Ok(())
}

/// Images that are to be loaded: an archive keeps their tags and not their digests.
pub(super) fn check_images<'a>(images: impl IntoIterator<Item = &'a str>) -> Result<()> {
    for image in images {
        check_image([image])?;
        if image.contains('@') {
            return Err(Error::invalid(format!("image {image} is named by its digest"))
                .help("give it a tag, and load it by that"));
        }
    }
    Ok(())
}

/// One network in CIDR notation, or two for dual stack.
fn is_subnet_list(text: &str) -> bool {
    text.split(',').all(|subnet| {
        let Some((address, length)) = subnet.split_once('/') else { return false };
        match (address.parse(), length.parse::<u8>()) {
            (Ok(IpAddr::V4(_)), Ok(length)) => length <= 32,
            (Ok(IpAddr::V6(_)), Ok(length)) => length <= 128,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{KindProvider, KindProviderBuilder};

    #[test]
    fn bad_settings_are_refused_by_name() {
        let says = |builder: KindProviderBuilder| builder.build().map(drop).unwrap_err().to_string();
        let builder = KindProvider::builder;
        let mount = |host: &str, node: &str| says(builder().mount(Clusters::All, Mount::new(host, node)));
        let port = |port| says(builder().port_mapping(Clusters::All, port));
        for (error, wanted) in [
            (port(PortMapping::new(0)), "a port is 1 to 65535"),
            (port(PortMapping::new(80).host_port(0)), "a port is 1 to 65535"),
            (mount("relative", "/a"), "relative: it is not absolute"),
            (mount("/a:b", "/a"), "':' and ',' are not possible"),
            (mount("/a", "/platform.dev/x"), "is taken"),
            (says(builder().pod_subnet("10.0.0.0")), "pod subnet \"10.0.0.0\""),
            (says(builder().service_subnet("10.0.0.0/40")), "service subnet"),
            (says(builder().node_image("--privileged")), "not the name of an image"),
            (says(builder().load_image(Clusters::All, "a b")), "not the name of an image"),
            (says(builder().load_image(Clusters::All, "a@sha256:00")), "by its digest"),
        ] {
            assert!(error.contains(wanted), "{error}");
        }
        assert!(builder().pod_subnet("10.244.0.0/16,fd00::/56").build().is_ok());
    }
}

//! Reading what runs inside of a cluster, through its API server.

use std::fmt;

/// An HTTP `GET` of something inside of a cluster, sent through the [proxy of its API server]: whoever may use the proxy needs no route into
/// the cluster's network.
///
/// ```
/// use platform_core::cluster::ProxyRequest;
///
/// let scrape = ProxyRequest::service("platform-system", "prometheus").port(9090).path("/api/v1/targets?state=active");
/// assert_eq!(scrape.to_string(), "service platform-system/prometheus:9090/api/v1/targets");
/// ```
///
/// [proxy of its API server]: https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ProxyRequest {
    /// What is asked.
    pub target: ProxyTarget,
    /// The port, by number or name; `None`: the target's first.
    pub port: Option<String>,
    /// Whether the target speaks TLS. The API server does not check its certificate.
    pub tls: bool,
    /// The path with its query. Default: `/`.
    pub path: String,
    /// What may be answered: the header `Accept`. Default: anything.
    pub accept: String,
    /// How many bytes the answer may have. Default: 16 MiB.
    pub limit: usize,
}

/// What the proxy of an API server reaches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyTarget {
    /// One pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// One of the ready pods of a Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A node: its kubelet, unless a port is named.
    Node {
        /// Its name.
        name: String,
    },
}

impl ProxyRequest {
    /// Asks a pod.
    pub fn pod(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ProxyTarget::Pod { namespace: namespace.into(), name: name.into() })
    }

    /// Asks a Service.
    pub fn service(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::new(ProxyTarget::Service { namespace: namespace.into(), name: name.into() })
    }

    /// Asks a node.
    pub fn node(name: impl Into<String>) -> Self {
        Self::new(ProxyTarget::Node { name: name.into() })
    }

    /// Asks `target` for `/`.
    pub fn new(target: ProxyTarget) -> Self {
        Self {
            target,
            port: None,
            tls: false,
            path: "/".to_owned(),
            accept: "*/*".to_owned(),
            limit: 16 * 1024 * 1024,
        }
    }

    /// Sets the port, by number or name.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "numbers and names alike")]
    pub fn port(mut self, port: impl ToString) -> Self {
        self.port = Some(port.to_string());
        self
    }

    /// Sets whether the target speaks TLS.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Sets the path with its query.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets what may be answered.
    #[must_use]
    pub fn accept(mut self, media_types: impl Into<String>) -> Self {
        self.accept = media_types.into();
        self
    }

    /// Sets how many bytes the answer may have.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

/// The target with its path, without the query, which may hold a secret.
impl fmt::Display for ProxyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            ProxyTarget::Pod { namespace, name } => write!(f, "pod {namespace}/{name}")?,
            ProxyTarget::Service { namespace, name } => write!(f, "service {namespace}/{name}")?,
            ProxyTarget::Node { name } => write!(f, "node {name}")?,
        }
        if let Some(port) = &self.port {
            write!(f, ":{port}")?;
        }
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "/{}", path.trim_start_matches('/'))
    }
}

//! EKS as an emulator of AWS on this machine has it. It has no API servers: embedded ones stand in for them.

use async_trait::async_trait;
use aws_credential_types::Credentials;
use http::Uri;
use platform_aws::{ApiServerAddress, ApiServers, EksProvider, Polling};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{
        ClusterAccess, ClusterChange, ClusterProvider, ClusterSpec, ClusterStatus, Deletion,
        ProviderCapabilities,
    },
    event::Progress,
    name::{ClusterName, PlatformName},
};
use platform_testkit::{
    aws::{EksTokenAuthenticator, Key, SignatureVerifier},
    kubernetes::EmbeddedApi,
};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, sync::Mutex};

const REGION: &str = "eu-west-1";
const ENDPOINT: &str = "http://127.0.0.1:5000";
/// Good nowhere but at the emulator and at the embedded API servers.
const ACCESS_KEY: &str = "AKIDEMULATOR";
const SECRET: &str = "of the emulator";
const PRINCIPAL: &str = "arn:aws:iam::123456789012:user/one-click";

/// Clusters of EKS at an emulator. Cheap to clone; clones share their API servers.
#[derive(Debug, Clone)]
pub(crate) struct EmulatedEks {
    eks: EksProvider,
    endpoint: String,
    servers: Arc<Servers>,
}

impl EmulatedEks {
    /// Finds the emulator. What is in clusters is kept in a folder of `state`, if there is one.
    pub(crate) async fn open(state: Option<&Path>) -> Result<Self> {
        let text = std::env::var("AWS_ENDPOINT_URL").unwrap_or_else(|_| ENDPOINT.to_owned());
        let address = loopback(&text)?;
        let connecting = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(address));
        let answer = connecting.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        answer.map_err(|e| {
            Error::new(ErrorKind::Unavailable, format!("nothing answers at {address}"))
                .operation("use")
                .subject("the AWS emulator")
                .help(
                    "start one, such as moto's server with all of EKS, and say where by AWS_ENDPOINT_URL=http://127.0.0.1:PORT",
                )
                .source(e)
        })?;
        let region = std::env::var("AWS_REGION").unwrap_or_else(|_| REGION.to_owned());
        let servers = Arc::new(Servers {
            region: region.clone(),
            folder: state.map(|state| state.join("api-servers")),
            running: Mutex::default(),
        });
        // Of the address alone, so that nothing else of the text counts.
        let endpoint = format!("http://{address}");
        let quick = Duration::from_millis(50);
        let eks = EksProvider::builder()
            .region(region)
            .endpoint_url(&endpoint)
            .credentials(Credentials::new(ACCESS_KEY, SECRET, None, None, "emulator"))
            .polling(Polling::new(quick, quick * 10, Duration::ZERO))
            .retries(3, quick)
            .api_servers(servers.clone())
            .connect()
            .await?;
        Ok(Self { eks, endpoint, servers })
    }

    /// The provider underneath.
    pub(crate) fn eks(&self) -> &EksProvider {
        &self.eks
    }

    /// Where the emulator is.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Ends the API servers. What is kept of them is there again in the next run.
    pub(crate) async fn stop(&self) {
        let servers = std::mem::take(&mut *self.servers.running.lock().await);
        for api in servers.into_values().filter_map(|server| server.api) {
            api.stop().await;
        }
    }
}

/// The address of a URL on this machine. Anything else could be AWS.
fn loopback(text: &str) -> Result<SocketAddr> {
    let refused = |why: String| {
        Error::new(ErrorKind::Refused, format!("AWS_ENDPOINT_URL is {text:?}: {why}"))
            .operation("use")
            .subject("the AWS emulator")
            .help("an emulator is at http://127.0.0.1:PORT; without --emulator, AWS itself is used")
    };
    let url: Uri = text.parse().map_err(|e| refused(format!("it is no URL ({e})")))?;
    if url.scheme_str() != Some("http") || !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(refused("it is not http and an address alone".to_owned()));
    }
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let ip = match host {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse::<IpAddr>(),
    };
    match ip {
        Ok(ip) if ip.is_loopback() => Ok(SocketAddr::new(ip, url.port_u16().unwrap_or(80))),
        _ => Err(refused(format!("{host} is no loopback address"))),
    }
}

/// The API servers of clusters, each started when its cluster is first reached.
struct Servers {
    region: String,
    folder: Option<PathBuf>,
    running: Mutex<BTreeMap<ClusterName, Server>>,
}

/// How many nodes the cluster has, where that is known, and its API server, once it was reached.
#[derive(Default)]
struct Server {
    nodes: Option<u32>,
    api: Option<EmbeddedApi>,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Servers {
    /// Remembers how many nodes a cluster is to have once it is reached.
    async fn remember(&self, spec: &ClusterSpec) {
        self.running.lock().await.entry(spec.name.clone()).or_default().nodes = Some(spec.nodes);
    }

    /// Lets a cluster have its nodes.
    async fn resize(&self, spec: &ClusterSpec) -> Result<()> {
        self.remember(spec).await;
        let servers = self.running.lock().await;
        let Some(api) = servers.get(&spec.name).and_then(|server| server.api.as_ref()) else { return Ok(()) };
        api.set_nodes(spec.nodes as usize).map_err(|e| failed("change the nodes of", &spec.name).source(e))
    }

    /// Ends the API server of a cluster that is gone, and removes what it kept.
    async fn remove(&self, name: &ClusterName) -> Result<()> {
        if let Some(api) = self.running.lock().await.remove(name).and_then(|server| server.api) {
            api.stop().await;
        }
        let Some(parent) = &self.folder else { return Ok(()) };
        let folder = parent.join(name.as_str());
        let removed = std::fs::remove_dir_all(&folder);
        // It stays while another cluster is in it.
        drop(std::fs::remove_dir(parent));
        match removed {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("remove the data of", name).help(format!("remove {}", folder.display())).source(e))
            }
            _ => Ok(()),
        }
    }

    async fn start(&self, name: &ClusterName, nodes: u32) -> Result<EmbeddedApi> {
        // Who has a token that this key signed is the one who made the cluster, its administrator.
        let keys = SignatureVerifier::new([Key::new(ACCESS_KEY, SECRET, PRINCIPAL)]);
        EmbeddedApi::builder()
            .name(name.as_str())
            .nodes(nodes as usize)
            .data_dir(self.folder.as_ref().map(|folder| folder.join(name.as_str())))
            .authenticator(Arc::new(EksTokenAuthenticator::new(name.as_str(), &self.region, keys)))
            .needs_credentials()
            .start()
            .await
            .map_err(|e| failed("start", name).source(e))
    }
}

#[async_trait]
impl ApiServers for Servers {
    async fn address(&self, cluster: &ClusterName) -> Result<Option<ApiServerAddress>> {
        let mut servers = self.running.lock().await;
        let server = servers.entry(cluster.clone()).or_default();
        let api = match server.api.take() {
            Some(api) => api,
            None => self.start(cluster, server.nodes.unwrap_or(1)).await?,
        };
        let url = api.url();
        server.api = Some(api);
        Ok(Some(ApiServerAddress { server: url, certificate_authority: None }))
    }
}

fn failed(operation: &str, name: &ClusterName) -> Error {
    let error = Error::new(ErrorKind::Failed, "the embedded API server did not do it");
    error.operation(operation).subject(format!("the API server of cluster {name}"))
}

#[async_trait]
impl ClusterProvider for EmulatedEks {
    fn name(&self) -> &'static str {
        "eks-emulator"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        let mut capabilities = self.eks.capabilities();
        capabilities.simulated = true;
        capabilities
    }

    async fn preflight(&self) -> Result<()> {
        self.eks.preflight().await
    }

    async fn plan(&self, spec: &ClusterSpec) -> Result<ClusterChange> {
        self.servers.remember(spec).await;
        self.eks.plan(spec).await
    }

    async fn create(&self, spec: &ClusterSpec, progress: &Progress) -> Result<ClusterStatus> {
        self.servers.resize(spec).await?;
        self.eks.create(spec, progress).await
    }

    async fn list(&self, platform: &PlatformName) -> Result<Vec<ClusterStatus>> {
        self.eks.list(platform).await
    }

    async fn describe(&self, platform: &PlatformName, name: &ClusterName) -> Result<Option<ClusterStatus>> {
        self.eks.describe(platform, name).await
    }

    async fn access(&self, platform: &PlatformName, name: &ClusterName) -> Result<ClusterAccess> {
        self.eks.access(platform, name).await
    }

    async fn delete(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
        progress: &Progress,
    ) -> Result<Deletion> {
        let deletion = self.eks.delete(platform, name, progress).await?;
        self.servers.remove(name).await?;
        Ok(deletion)
    }
}

//! The composition: what is wanted, where it runs, and the calls that plan, apply, promote, watch and take down.

mod application;
mod apply;
mod blast_radius;
mod builder;
mod destroy;
mod layout;
mod planning;
mod release;
mod spec;
mod status;
mod validation;

pub use apply::{Applied, Applying, ObjectCounts};
pub use blast_radius::{BlastRadius, DeletionTarget};
pub use builder::PlatformBuilder;
pub use destroy::Confirmation;
pub use release::Release;
pub use spec::PlatformSpec;

use crate::{
    clock::Clock,
    cluster::{Cluster, ClusterProvider, ProviderCapabilities},
    component::Component,
    error::Result,
    execution::Executor,
    name::ClusterName,
    orchestrator::Orchestrator,
    telemetry::TelemetryPlane,
};
use layout::Layout;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// A platform: environments, a control plane, components, applications and telemetry, on the clusters of a provider.
///
/// Cheap to clone. There is no state file: what exists is asked of the provider and of the clusters, and what bears the
/// platform's mark is its own. Every call can be repeated; one that was interrupted is resumed by calling it again.
///
/// ```no_run
/// use futures::StreamExt;
/// use platform_core::{Environment, Platform};
/// # use platform_core::{cluster::ClusterProvider, orchestrator::Orchestrator};
/// # async fn example(provider: impl ClusterProvider + 'static, kubernetes: impl Orchestrator + 'static) -> platform_core::Result<()> {
///
/// let platform = Platform::builder("shop")?
///     .environment(Environment::new("testing")?)
///     .environment(Environment::new("production")?.protected(true))
///     .provider(provider)
///     .orchestrator(kubernetes)
///     .build()?;
///
/// let plan = platform.plan().await?;
/// println!("{plan}");
/// let mut applying = platform.apply(&plan)?;
/// let mut events = applying.events();
/// while let Some(event) = events.next().await {
///     println!("{event:?}");
/// }
/// println!("{}", applying.await?.report);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Platform(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spec: PlatformSpec,
    /// Each after those it depends on.
    components: Vec<Arc<dyn Component>>,
    provider: Arc<dyn ClusterProvider>,
    orchestrator: Arc<dyn Orchestrator>,
    telemetry: Option<Arc<dyn TelemetryPlane>>,
    clock: Arc<dyn Clock>,
    executor: Executor,
    ready_deadline: Duration,
    connections: Mutex<HashMap<ClusterName, Connection>>,
}

/// A handle of a cluster, and the address that it was made for.
#[derive(Debug)]
struct Connection {
    server: String,
    cluster: Arc<dyn Cluster>,
}

impl Platform {
    /// Begins a platform of this name.
    pub fn builder(name: impl AsRef<str>) -> Result<PlatformBuilder> {
        Ok(PlatformBuilder::new(PlatformSpec::new(name)?))
    }

    /// Begins a platform from a document.
    pub fn from_spec(spec: PlatformSpec) -> PlatformBuilder {
        PlatformBuilder::new(spec)
    }

    /// What is wanted.
    pub fn spec(&self) -> &PlatformSpec {
        &self.0.spec
    }

    /// What the provider can do.
    pub fn capabilities(&self) -> ProviderCapabilities {
        self.0.provider.capabilities()
    }

    /// The telemetry plane, if the platform has one.
    pub fn telemetry(&self) -> Option<&Arc<dyn TelemetryPlane>> {
        self.0.telemetry.as_ref()
    }

    /// A handle of one of its clusters; [`NotFound`](crate::ErrorKind::NotFound) while it does not exist.
    pub async fn cluster(&self, name: &ClusterName) -> Result<Arc<dyn Cluster>> {
        self.0.connect(name).await
    }

    /// The names of its clusters: those of environments, then the control plane.
    pub fn cluster_names(&self) -> Vec<ClusterName> {
        Layout::new(&self.0.spec).clusters().into_iter().map(|cluster| cluster.spec.name).collect()
    }
}

impl Inner {
    async fn connect(&self, name: &ClusterName) -> Result<Arc<dyn Cluster>> {
        let access = self.provider.access(&self.spec.name, name).await?;
        let mut connections = self.connections.lock().await;
        if let Some(connection) = connections.get(name)
            && connection.server == access.server
        {
            return Ok(connection.cluster.clone());
        }
        let cluster = self.orchestrator.connect(&access).await?;
        connections.insert(name.clone(), Connection { server: access.server, cluster: cluster.clone() });
        Ok(cluster)
    }
}

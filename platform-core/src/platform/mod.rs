//! The composition: what is wanted, where it runs, and the calls that plan, apply, promote, watch and take down.

mod application;
mod apply;
mod blast_radius;
mod builder;
mod destroy;
pub(crate) mod document;
mod drift;
mod layout;
mod load_balancers;
mod planning;
mod release;
mod spec;
mod status;
mod validation;
mod verify;

pub use apply::{Applied, Applying, ObjectCounts};
pub use blast_radius::{BlastRadius, DeletionTarget, LiveBlastRadius};
pub use builder::PlatformBuilder;
pub use destroy::Confirmation;
pub use drift::{DriftReport, SetDrift};
pub use release::Release;
pub use spec::PlatformSpec;

use crate::{
    clock::Clock,
    cluster::{Cluster, ClusterProvider, ProviderCapabilities},
    component::Component,
    error::{Error, ErrorKind, Result},
    execution::Executor,
    name::ClusterName,
    orchestrator::Orchestrator,
    telemetry::TelemetryPlane,
};
use layout::Layout;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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
    rollouts: apply::Rollouts,
}

/// A handle of a cluster, and what it was made for: a cluster that was made anew may have the old address.
#[derive(Debug)]
struct Connection {
    server: String,
    certificate_authority: Option<Vec<u8>>,
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
        let known = |connections: &HashMap<ClusterName, Connection>| {
            let connection = connections.get(name)?;
            let same = connection.server == access.server
                && connection.certificate_authority == access.certificate_authority;
            same.then(|| connection.cluster.clone())
        };
        if let Some(cluster) = known(&self.connections()) {
            return Ok(cluster);
        }
        let cluster = self.orchestrator.connect(&access).await?;
        let connection = Connection {
            server: access.server,
            certificate_authority: access.certificate_authority,
            cluster: cluster.clone(),
        };
        self.connections().insert(name.clone(), connection);
        Ok(cluster)
    }

    /// Never held while something is awaited.
    fn connections(&self) -> MutexGuard<'_, HashMap<ClusterName, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long reading from one cluster may take, all its objects together. Providers and clusters have shorter deadlines of their own; this one
/// ends the wait for one that has forgotten.
const READING: Duration = Duration::from_secs(120);
/// How long telemetry may take to stop.
const STOPPING: Duration = Duration::from_secs(120);

/// Waits for `work` at most for `deadline`, then fails with [`Timeout`](ErrorKind::Timeout).
async fn within<T>(
    deadline: Duration,
    operation: &str,
    subject: impl std::fmt::Display,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Timeout, format!("no answer after {deadline:?}"))
            .operation(operation)
            .subject(subject.to_string()))
    })
}

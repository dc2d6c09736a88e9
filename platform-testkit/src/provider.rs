//! The embedded cluster provider: each cluster is an embedded Kubernetes API in this process.

use crate::kubernetes::{Behaviour, EmbeddedApi, StartError};
use async_trait::async_trait;
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{
        ClusterAccess, ClusterChange, ClusterPhase, ClusterProvider, ClusterSpec, ClusterStatus, Deletion,
        ProviderCapabilities,
    },
    event::Progress,
    name::{ClusterName, PlatformName},
};
use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind as IoErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::Mutex;

/// The file by which a state directory is known as ours.
const MARKER: &str = "platform-embedded-clusters";
/// What is in it: the version of the layout.
const FORMAT: &str = "1\n";
/// The spec of a cluster, in its directory.
const SPEC_FILE: &str = "cluster.json";
/// The content of a cluster, in its directory.
const DATA_DIR: &str = "data";

/// Makes clusters in this process. Cheap to clone; clones share their clusters.
///
/// Nothing is installed and no container runs: API servers answer, and simulated kubelets say what real ones would. Without a state
/// directory the clusters end with the last clone; with one they are there again in the next run.
#[derive(Debug, Clone)]
pub struct EmbeddedProvider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Option<State>,
    behaviour: Behaviour,
    clusters: Mutex<BTreeMap<ClusterName, Running>>,
}

/// A directory that is ours while its marker is locked.
#[derive(Debug)]
struct State {
    directory: PathBuf,
    _lock: fs::File,
}

struct Running {
    spec: ClusterSpec,
    api: EmbeddedApi,
}

/// Puts an [`EmbeddedProvider`] together.
#[derive(Debug, Default)]
pub struct EmbeddedProviderBuilder {
    state: Option<PathBuf>,
    behaviour: Behaviour,
}

impl EmbeddedProviderBuilder {
    /// Keeps clusters in a directory, made if it is not there, of which each is a directory of its own. Default: nothing is kept.
    #[must_use]
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state = Some(directory.into());
        self
    }

    /// Sets how simulated workloads behave.
    #[must_use]
    pub fn behaviour(mut self, behaviour: Behaviour) -> Self {
        self.behaviour = behaviour;
        self
    }

    /// Opens the state directory and starts the clusters that it holds.
    ///
    /// Fails with [`Invalid`](ErrorKind::Invalid) for a directory that is not empty and not ours, with [`Conflict`](ErrorKind::Conflict)
    /// for one that another process uses, and with [`Corrupt`](ErrorKind::Corrupt) for one that is damaged.
    pub async fn open(self) -> Result<EmbeddedProvider> {
        let mut clusters = BTreeMap::new();
        let state = match self.state {
            None => None,
            Some(directory) => {
                let state = State::open(&directory).map_err(|e| {
                    e.operation("open").subject(format!("state directory {}", directory.display()))
                })?;
                for spec in state.specs()? {
                    let api =
                        start(&spec, &self.behaviour, Some(state.cluster(&spec.name).join(DATA_DIR))).await?;
                    clusters.insert(spec.name.clone(), Running { spec, api });
                }
                Some(state)
            }
        };
        let inner = Inner { state, behaviour: self.behaviour, clusters: Mutex::new(clusters) };
        Ok(EmbeddedProvider(Arc::new(inner)))
    }
}

impl EmbeddedProvider {
    /// Begins a provider.
    pub fn builder() -> EmbeddedProviderBuilder {
        EmbeddedProviderBuilder::default()
    }

    /// A provider that keeps nothing.
    pub fn in_memory() -> Self {
        let inner = Inner { state: None, behaviour: Behaviour::default(), clusters: Mutex::default() };
        Self(Arc::new(inner))
    }

    /// A kubeconfig for one of its clusters, for `kubectl`; [`NotFound`](ErrorKind::NotFound) when there is none.
    pub async fn kubeconfig(&self, name: &ClusterName) -> Result<String> {
        let clusters = self.0.clusters.lock().await;
        clusters.get(name).map(|running| running.api.kubeconfig()).ok_or_else(|| missing(name))
    }

    /// How many requests that write its clusters took, dry runs not counted: zero more means that nothing was changed.
    pub async fn writes(&self) -> u64 {
        self.0.clusters.lock().await.values().map(|running| running.api.requests().writes()).sum()
    }

    /// Stops all clusters and waits until what they hold is on disk. They are there again when the state directory is opened again.
    pub async fn stop(&self) {
        let clusters = std::mem::take(&mut *self.0.clusters.lock().await);
        for running in clusters.into_values() {
            running.api.stop().await;
        }
    }

    /// Removes the state directory once no cluster is left in it, and what the provider did not put there stays.
    ///
    /// Fails with [`Refused`](ErrorKind::Refused) while there are clusters.
    pub async fn remove_state_dir(&self) -> Result<()> {
        let Some(state) = &self.0.state else { return Ok(()) };
        let context = |e: Error| {
            e.operation("remove").subject(format!("state directory {}", state.directory.display()))
        };
        if !self.0.clusters.lock().await.is_empty() {
            return Err(context(
                Error::new(ErrorKind::Refused, "there are clusters in it").help("destroy the platform first"),
            ));
        }
        fs::remove_file(state.directory.join(MARKER))
            .map_err(|e| context(storage("its marker cannot be removed", e)))?;
        match fs::remove_dir(&state.directory) {
            Err(e) if e.kind() != IoErrorKind::DirectoryNotEmpty => {
                Err(context(storage("the directory cannot be removed", e)))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl ClusterProvider for EmbeddedProvider {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        let mut capabilities = ProviderCapabilities::new(8);
        capabilities.simulated = true;
        capabilities.persistent = self.0.state.is_some();
        capabilities
    }

    async fn preflight(&self) -> Result<()> {
        Ok(())
    }

    async fn plan(&self, spec: &ClusterSpec) -> Result<ClusterChange> {
        check_version(spec)?;
        let clusters = self.0.clusters.lock().await;
        let Some(running) = clusters.get(&spec.name) else { return Ok(ClusterChange::Create) };
        owned(&running.spec, &spec.platform)?;
        let mut differences = Vec::new();
        if running.spec.nodes != spec.nodes {
            differences.push(format!("nodes: {} -> {}", running.spec.nodes, spec.nodes));
        }
        if running.spec.role != spec.role {
            differences.push(format!("role: {} -> {}", running.spec.role, spec.role));
        }
        if running.spec.protected != spec.protected {
            differences.push(format!("protected: {} -> {}", running.spec.protected, spec.protected));
        }
        Ok(if differences.is_empty() {
            ClusterChange::Unchanged
        } else {
            ClusterChange::Update { differences }
        })
    }

    async fn create(&self, spec: &ClusterSpec, progress: &Progress) -> Result<ClusterStatus> {
        let context = |e: Error| e.operation("create").subject(format!("cluster {}", spec.name));
        check_version(spec).map_err(context)?;
        let mut clusters = self.0.clusters.lock().await;
        if let Some(running) = clusters.get_mut(&spec.name) {
            owned(&running.spec, &spec.platform).map_err(context)?;
            if running.spec.nodes != spec.nodes {
                running
                    .api
                    .set_nodes(spec.nodes as usize)
                    .map_err(|e| context(Error::internal("its nodes cannot be changed").source(e)))?;
            }
            if let Some(state) = &self.0.state {
                state.write_spec(spec).map_err(context)?;
            }
            running.spec = spec.clone();
            return Ok(running.status());
        }
        // Starting takes milliseconds, but other clusters are asked for meanwhile.
        drop(clusters);
        progress.report("starting an API server in this process");
        let data = self.0.state.as_ref().map(|state| state.cluster(&spec.name).join(DATA_DIR));
        let api = start(spec, &self.0.behaviour, data).await.map_err(context)?;
        if let Some(state) = &self.0.state {
            state.write_spec(spec).map_err(context)?;
        }
        let mut clusters = self.0.clusters.lock().await;
        let running = Running { spec: spec.clone(), api };
        let status = running.status();
        clusters.insert(spec.name.clone(), running);
        Ok(status)
    }

    async fn list(&self, platform: &PlatformName) -> Result<Vec<ClusterStatus>> {
        let clusters = self.0.clusters.lock().await;
        Ok(clusters.values().filter(|r| r.spec.platform == *platform).map(Running::status).collect())
    }

    async fn describe(&self, platform: &PlatformName, name: &ClusterName) -> Result<Option<ClusterStatus>> {
        let clusters = self.0.clusters.lock().await;
        Ok(clusters.get(name).filter(|r| r.spec.platform == *platform).map(Running::status))
    }

    async fn access(&self, platform: &PlatformName, name: &ClusterName) -> Result<ClusterAccess> {
        let clusters = self.0.clusters.lock().await;
        let running =
            clusters.get(name).filter(|r| r.spec.platform == *platform).ok_or_else(|| missing(name))?;
        Ok(ClusterAccess::new(name.clone(), running.api.url()))
    }

    async fn delete(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
        _progress: &Progress,
    ) -> Result<Deletion> {
        let mut clusters = self.0.clusters.lock().await;
        let Some(running) = clusters.get(name) else { return Ok(Deletion::Absent) };
        owned(&running.spec, platform)
            .map_err(|e| e.operation("delete").subject(format!("cluster {name}")))?;
        if let Some(running) = clusters.remove(name) {
            running.api.stop().await;
        }
        if let Some(state) = &self.0.state {
            remove_dir(&state.cluster(name))
                .map_err(|e| storage("its directory cannot be removed", e))
                .map_err(|e| e.operation("delete").subject(format!("cluster {name}")))?;
        }
        Ok(Deletion::Deleted)
    }
}

impl Running {
    fn status(&self) -> ClusterStatus {
        let mut status =
            ClusterStatus::new(self.spec.name.clone(), self.spec.platform.clone(), ClusterPhase::Running);
        status.kubernetes_version = Some(EmbeddedApi::VERSION.to_owned());
        status.nodes = self.spec.nodes;
        status.server = Some(self.api.url());
        status
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("spec", &self.spec).field("url", &self.api.url()).finish()
    }
}

async fn start(spec: &ClusterSpec, behaviour: &Behaviour, data: Option<PathBuf>) -> Result<EmbeddedApi> {
    EmbeddedApi::builder()
        .name(spec.name.as_str())
        .nodes(spec.nodes as usize)
        .behaviour(behaviour.clone())
        .data_dir(data)
        .start()
        .await
        .map_err(|error| {
            let kind = match error {
                StartError::Data(_) => ErrorKind::Corrupt,
                _ => ErrorKind::Unavailable,
            };
            Error::new(kind, "its API server did not start").source(error)
        })
}

/// The embedded API is of one version; a spec that asks for another would be tested against the wrong one.
fn check_version(spec: &ClusterSpec) -> Result<()> {
    let own = EmbeddedApi::VERSION.trim_start_matches('v');
    match &spec.kubernetes_version {
        Some(wanted) if !own.starts_with(&format!("{wanted}.")) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("the embedded API is Kubernetes {own}, not {wanted}"),
        )
        .subject(format!("cluster {}", spec.name))
        .help("leave the version out, or use a provider of real clusters")),
        _ => Ok(()),
    }
}

fn owned(spec: &ClusterSpec, platform: &PlatformName) -> Result<()> {
    if spec.platform == *platform {
        return Ok(());
    }
    Err(Error::new(ErrorKind::AlreadyExists, format!("it belongs to platform {}", spec.platform))
        .subject(format!("cluster {}", spec.name))
        .help("choose another platform name"))
}

fn missing(name: &ClusterName) -> Error {
    Error::not_found("there is no such embedded cluster").subject(format!("cluster {name}"))
}

impl State {
    fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|e| storage("the directory cannot be made", e))?;
        let marker = directory.join(MARKER);
        let mut entries = fs::read_dir(directory).map_err(|e| storage("the directory cannot be read", e))?;
        if !marker.exists() && entries.next().is_some() {
            return Err(Error::invalid(
                "the directory is not empty and was not made by an embedded provider",
            )
            .help("give an empty directory, or one of a former run"));
        }
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&marker)
            .map_err(|e| storage("the directory cannot be written to", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::Conflict, "another process uses it")
                    .help("stop that process or give another directory"));
            }
            Err(fs::TryLockError::Error(e)) => return Err(storage("the directory cannot be locked", e)),
        }
        match fs::read_to_string(&marker) {
            Ok(format) if format == FORMAT => {}
            Ok(format) if format.is_empty() => {
                fs::write(&marker, FORMAT).map_err(|e| storage("the directory cannot be written to", e))?;
            }
            Ok(format) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("its format is {:?}, this program knows {:?}", format.trim(), FORMAT.trim()),
                )
                .help("use the version of the program that made it, or give another directory"));
            }
            Err(e) => return Err(storage("the directory cannot be read", e)),
        }
        Ok(Self { directory: directory.to_owned(), _lock: lock })
    }

    fn cluster(&self, name: &ClusterName) -> PathBuf {
        self.directory.join(name.as_str())
    }

    /// The specs of all clusters in the directory.
    fn specs(&self) -> Result<Vec<ClusterSpec>> {
        let entries =
            fs::read_dir(&self.directory).map_err(|e| storage("the directory cannot be read", e))?;
        let mut specs = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| storage("the directory cannot be read", e))?.path();
            let file = path.join(SPEC_FILE);
            match fs::read(&file) {
                Ok(bytes) => specs.push(serde_json::from_slice(&bytes).map_err(|e| {
                    Error::new(ErrorKind::Corrupt, format!("{} is damaged", file.display()))
                        .source(e)
                        .help("remove the cluster's directory to have it created anew")
                })?),
                // The marker, or a cluster whose creation did not come to its end: creating it again takes its data.
                Err(e) if matches!(e.kind(), IoErrorKind::NotFound | IoErrorKind::NotADirectory) => {}
                Err(e) => return Err(storage("a cluster's spec cannot be read", e)),
            }
        }
        Ok(specs)
    }

    fn write_spec(&self, spec: &ClusterSpec) -> Result<()> {
        let directory = self.cluster(&spec.name);
        let text =
            serde_json::to_vec_pretty(spec).map_err(|e| Error::internal("the spec is not JSON").source(e))?;
        let (partial, file) = (directory.join("cluster.json.partial"), directory.join(SPEC_FILE));
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(&partial, text))
            .and_then(|()| fs::File::open(&partial)?.sync_all())
            .and_then(|()| fs::rename(&partial, &file))
            .map_err(|e| storage("its spec cannot be written", e))
    }
}

fn remove_dir(directory: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != IoErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn storage(message: &str, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        IoErrorKind::PermissionDenied => ErrorKind::Denied,
        IoErrorKind::StorageFull => ErrorKind::Exhausted,
        _ => ErrorKind::Failed,
    };
    Error::new(kind, message).source(error)
}

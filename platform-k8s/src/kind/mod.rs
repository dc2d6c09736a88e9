//! Clusters of [kind](https://kind.sigs.k8s.io): Kubernetes nodes in containers of this machine.
//!
//! ```text
//! settings   what only kind knows: ports, mounts, which clusters they are for
//! shape      from a spec and the settings to kind's configuration (config), and what is remembered of it (mark)
//! create     making a cluster, whatever there is of it: adopting, repairing, beginning anew
//!   lock       one program at a time for each name
//!   readiness  when a cluster is ready
//!   images     images from the engine to the nodes
//!   failure    why kind failed, in words that say what to do
//! preflight  whether this machine can do it
//! engine     Docker, Podman or nerdctl: what kind does not tell
//! process    programs with deadlines
//! ```

mod config;
mod create;
mod engine;
mod failure;
mod images;
mod lock;
mod mark;
mod preflight;
mod process;
mod readiness;
mod settings;
mod shape;

pub use engine::Engine;
pub use platform_core::cluster::Clusters;
pub use settings::{Mount, PortMapping, Protocol};

use crate::connection;
use async_trait::async_trait;
use create::{Completeness, Found};
use engine::{Containers, Node};
use futures::{StreamExt, TryStreamExt, stream};
use lock::ClusterLock;
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{
        ClusterAccess, ClusterChange, ClusterPhase, ClusterProvider, ClusterSpec, ClusterStatus, Deletion,
        ProviderCapabilities,
    },
    event::Progress,
    name::{ClusterName, PlatformName},
};
use process::Program;
use readiness::Watcher;
use settings::Configuration;
use std::{
    collections::BTreeMap, env, ffi::OsStr, io, num::NonZero, path::PathBuf, sync::Arc, thread,
    time::Duration,
};
use tokio::sync::OnceCell;

/// How many clusters are asked at the same time.
const CONCURRENCY: usize = 8;

/// Makes clusters with the program `kind` and a container engine. Cheap to clone.
///
/// Nothing is remembered outside of the clusters: the nodes of each bear a mark with the name of their platform and
/// the settings that they were made with, which the container engine shows whether they run or not (a read-only mount of `/dev/null`
/// at a path below `/platform.dev/platform/`). Clusters without it, or of another platform, are never touched. Nothing of the user's
/// kubeconfig is read or written.
///
/// A spec of one node becomes one container, whose control plane runs workloads too; a spec of more nodes becomes a container
/// for the control plane, which runs none, and one for each node. A cluster of kind cannot be changed afterwards, so that every
/// difference in nodes, image, ports, mounts, subnets or patches is [`Recreate`](ClusterChange::Recreate). Images that are to be loaded
/// and nodes that are stopped are an [`Update`](ClusterChange::Update). Its role and protection are nothing to kind.
///
/// Two programs may make clusters at the same time, of the same name too: the second one waits and adopts (a locked file in the
/// temporary directory sees to it, so both must have the same `TMPDIR`).
///
/// Dropping the future of [`create`](ClusterProvider::create) ends kind at once; what it made so far is removed and made anew by the next
/// call, unless it was complete.
///
/// Docker is what it is tested with. Podman and nerdctl are spoken to by the same commands.
///
/// ```no_run
/// use platform_core::cluster::ClusterProvider;
/// use platform_k8s::kind::{Clusters, KindProvider, PortMapping};
///
/// # async fn example() -> platform_core::Result<()> {
/// let kind = KindProvider::builder()
///     .port_mapping(Clusters::ControlPlane, PortMapping::new(30080).host_port(8080))
///     .load_image(Clusters::All, "example.com/api1:1.4.2")
///     .build()?;
/// kind.preflight().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct KindProvider(Arc<Inner>);

/// Puts a [`KindProvider`] together.
#[derive(Debug, Clone, Default)]
pub struct KindProviderBuilder {
    configuration: Configuration,
}

#[derive(Debug)]
struct Inner {
    configuration: Configuration,
    kind: PathBuf,
    engine: Option<Engine>,
    /// Where the locks are.
    locks: PathBuf,
    tools: OnceCell<Tools>,
}

/// The programs, once the engine is known.
#[derive(Debug, Clone)]
struct Tools {
    kind: Program,
    containers: Containers,
}

impl KindProviderBuilder {
    /// Sets the program. Default: the variable `PLATFORM_KIND`, or else `kind` of the `PATH`.
    #[must_use]
    pub fn kind_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.configuration.kind = Some(program.into());
        self
    }

    /// Sets the container engine. Default: the variable `KIND_EXPERIMENTAL_PROVIDER`, or else the first that answers of Docker,
    /// Podman and nerdctl.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.configuration.engine = Some(engine);
        self
    }

    /// Sets the program of the engine, which kind finds by its usual name in the same directory. Default: `docker`, `podman` or
    /// `nerdctl` of the `PATH`.
    #[must_use]
    pub fn engine_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.configuration.engine_program = Some(program.into());
        self
    }

    /// Sets the image of the nodes, which kind pulls where the engine does not have it. Default: the one that belongs to the
    /// spec's Kubernetes version, or else kind's own.
    #[must_use]
    pub fn node_image(mut self, image: impl Into<String>) -> Self {
        self.configuration.node_image = Some(image.into());
        self
    }

    /// Lets this machine listen for a port of the first node that runs workloads.
    #[must_use]
    pub fn port_mapping(mut self, clusters: Clusters, port: PortMapping) -> Self {
        self.configuration.ports.push((clusters, port));
        self
    }

    /// Mounts something of this machine in every node.
    #[must_use]
    pub fn mount(mut self, clusters: Clusters, mount: Mount) -> Self {
        self.configuration.mounts.push((clusters, mount));
        self
    }

    /// Sets the network of the pods of each cluster, like `10.244.0.0/16`. Default: kind's.
    #[must_use]
    pub fn pod_subnet(mut self, subnet: impl Into<String>) -> Self {
        self.configuration.pod_subnet = Some(subnet.into());
        self
    }

    /// Sets the network of the services of each cluster, like `10.96.0.0/16`. Default: kind's.
    #[must_use]
    pub fn service_subnet(mut self, subnet: impl Into<String>) -> Self {
        self.configuration.service_subnet = Some(subnet.into());
        self
    }

    /// Leaves out kind's own pod network. Nodes are not ready before another one is installed, and are not waited for.
    #[must_use]
    pub fn without_default_cni(mut self) -> Self {
        self.configuration.default_cni = false;
        self
    }

    /// Puts a label on every node, for selectors of nodes.
    #[must_use]
    pub fn node_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configuration.node_labels.insert(key.into(), value.into());
        self
    }

    /// Turns a feature gate of all components on or off.
    #[must_use]
    pub fn feature_gate(mut self, gate: impl Into<String>, on: bool) -> Self {
        self.configuration.feature_gates.insert(gate.into(), on);
        self
    }

    /// Sets a value of the API server's `--runtime-config`: `api/alpha` to `true`.
    #[must_use]
    pub fn runtime_config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configuration.runtime_config.insert(key.into(), value.into());
        self
    }

    /// Merges a patch in YAML, with its `kind`, into kubeadm's configuration.
    #[must_use]
    pub fn kubeadm_patch(mut self, yaml: impl Into<String>) -> Self {
        self.configuration.kubeadm_patches.push(yaml.into());
        self
    }

    /// Merges a patch in TOML into containerd's configuration.
    #[must_use]
    pub fn containerd_patch(mut self, toml: impl Into<String>) -> Self {
        self.configuration.containerd_patches.push(toml.into());
        self
    }

    /// Brings an image that the engine has to the nodes, whenever a cluster is created or adopted without it. It is named with
    /// its tag, as in pods.
    #[must_use]
    pub fn load_image(mut self, clusters: Clusters, image: impl Into<String>) -> Self {
        self.configuration.images.push((clusters, image.into()));
        self
    }

    /// Sets where the logs of a failed creation are kept, each in a directory of its own. Default: the temporary directory.
    #[must_use]
    pub fn logs_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.configuration.logs = Some(directory.into());
        self
    }

    /// Sets how many clusters are made at the same time, at least 1. Default: two for each CPU, 2 to 8.
    #[must_use]
    pub fn parallel_creates(mut self, clusters: usize) -> Self {
        self.configuration.parallel_creates = Some(clusters.max(1));
        self
    }

    /// Sets how long kind may take to make a cluster, the pulling of images included, and how long another program is waited for that
    /// makes the same one. Default: 10 minutes.
    #[must_use]
    pub fn create_timeout(mut self, timeout: Duration) -> Self {
        self.configuration.create_timeout = timeout;
        self
    }

    /// Sets how long a cluster may take afterwards until its nodes and its DNS are ready. Default: 3 minutes.
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.configuration.ready_timeout = timeout;
        self
    }

    /// Checks the settings. No program is run; [`preflight`](ClusterProvider::preflight) does that.
    ///
    /// Fails with [`Invalid`](ErrorKind::Invalid) for a setting that cannot be.
    pub fn build(self) -> Result<KindProvider> {
        let configuration = self.configuration;
        configuration.check().map_err(|e| e.operation("configure").subject("kind"))?;
        let kind = configuration.kind.clone().or_else(|| env::var_os("PLATFORM_KIND").map(PathBuf::from));
        let engine = match (configuration.engine, env::var("KIND_EXPERIMENTAL_PROVIDER")) {
            (Some(engine), _) => Some(engine),
            (None, Ok(name)) if !name.is_empty() => Some(Engine::parse(&name).ok_or_else(|| {
                Error::invalid(format!("KIND_EXPERIMENTAL_PROVIDER is {name:?}"))
                    .help("set it to docker, podman or nerdctl, or leave it out")
            })?),
            // A program of one's own without a word about whose it is: Docker's.
            _ => configuration.engine_program.as_ref().map(|_| Engine::Docker),
        };
        Ok(KindProvider(Arc::new(Inner {
            kind: kind.unwrap_or_else(|| "kind".into()),
            engine,
            locks: env::temp_dir(),
            tools: OnceCell::new(),
            configuration,
        })))
    }
}

impl KindProvider {
    /// Begins a provider.
    pub fn builder() -> KindProviderBuilder {
        KindProviderBuilder::default()
    }

    /// Brings images that the engine has to all nodes of a running cluster of `platform`, named with their tags. What is
    /// there already is skipped. Answers with the names of those that were loaded.
    ///
    /// Fails with [`NotFound`](ErrorKind::NotFound) if there is no such cluster, or the engine does not have an image.
    pub async fn load_images(
        &self,
        platform: &PlatformName,
        cluster: &ClusterName,
        images: &[&str],
        progress: &Progress,
    ) -> Result<Vec<String>> {
        let context = |e: Error| e.operation("load images into").subject(format!("cluster {cluster}"));
        settings::check_images(images.iter().copied()).map_err(context)?;
        let tools = self.0.tools().await?;
        let Found::Ours(nodes) = self.0.find(tools, platform, cluster).await? else {
            return Err(context(missing()));
        };
        let missing = images::missing(tools, &nodes, images).await.map_err(context)?;
        images::load(tools, cluster, &missing, progress).await.map_err(context)?;
        Ok(missing.images.into_iter().map(|image| image.name).collect())
    }
}

#[async_trait]
impl ClusterProvider for KindProvider {
    fn name(&self) -> &'static str {
        "kind"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        // Half of a creation is waiting; more than two for each CPU only make each other slow.
        let by_machine =
            || thread::available_parallelism().map_or(2, NonZero::get).saturating_mul(2).clamp(2, 8);
        ProviderCapabilities::new(self.0.configuration.parallel_creates.unwrap_or_else(by_machine))
    }

    async fn preflight(&self) -> Result<()> {
        let check = async {
            let tools = self.0.tools().await?;
            preflight::check(tools, self.0.configuration.node_image.as_deref()).await
        };
        check.await.map_err(|e| e.operation("use").subject("kind"))
    }

    async fn plan(&self, spec: &ClusterSpec) -> Result<ClusterChange> {
        self.0.plan(spec).await.map_err(|e| e.operation("plan").subject(format!("cluster {}", spec.name)))
    }

    async fn create(&self, spec: &ClusterSpec, progress: &Progress) -> Result<ClusterStatus> {
        let created = self.0.create(spec, progress).await;
        created.map_err(|e| e.operation("create").subject(format!("cluster {}", spec.name)))
    }

    async fn list(&self, platform: &PlatformName) -> Result<Vec<ClusterStatus>> {
        let context = |e: Error| e.operation("list").subject(format!("clusters of {platform}"));
        let tools = self.0.tools().await.map_err(context)?;
        let mut clusters: BTreeMap<String, Vec<Node>> = BTreeMap::new();
        for node in tools.containers.nodes(None).await.map_err(context)? {
            clusters.entry(node.cluster.clone()).or_default().push(node);
        }
        let ours = clusters.into_iter().filter_map(|(name, nodes)| {
            // A name that is not valid here is not one that a platform gave.
            match (ClusterName::new(name), Found::of(nodes, platform)) {
                (Ok(name), Found::Ours(nodes)) => Some((name, nodes)),
                _ => None,
            }
        });
        stream::iter(ours)
            .map(|(name, nodes)| async move { self.0.status(tools, platform, name, &nodes).await })
            .buffered(CONCURRENCY)
            .try_collect()
            .await
            .map_err(context)
    }

    async fn describe(&self, platform: &PlatformName, name: &ClusterName) -> Result<Option<ClusterStatus>> {
        let describe = async {
            let tools = self.0.tools().await?;
            match self.0.find(tools, platform, name).await? {
                Found::Ours(nodes) => self.0.status(tools, platform, name.clone(), &nodes).await.map(Some),
                Found::Nothing | Found::Foreign(_) => Ok(None),
            }
        };
        describe.await.map_err(|e| e.operation("describe").subject(format!("cluster {name}")))
    }

    async fn access(&self, platform: &PlatformName, name: &ClusterName) -> Result<ClusterAccess> {
        let access = async {
            let tools = self.0.tools().await?;
            match self.0.find(tools, platform, name).await? {
                Found::Ours(_) => self.0.read_access(tools, name).await,
                Found::Nothing | Found::Foreign(_) => Err(missing()),
            }
        };
        access.await.map_err(|e| e.operation("reach").subject(format!("cluster {name}")))
    }

    async fn delete(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
        progress: &Progress,
    ) -> Result<Deletion> {
        let deleted = self.0.delete(platform, name, progress).await;
        deleted.map_err(|e| e.operation("delete").subject(format!("cluster {name}")))
    }
}

impl Inner {
    /// The programs; which engine it is is found out once.
    async fn tools(&self) -> Result<&Tools> {
        let search = env::var_os("PATH");
        self.tools.get_or_try_init(|| self.find_tools(search.as_deref())).await
    }

    async fn find_tools(&self, search: Option<&OsStr>) -> Result<Tools> {
        let program = self.configuration.engine_program.as_deref();
        let containers = match self.engine {
            Some(engine) => Containers::new(engine, program),
            None => detect(search).await?,
        };
        if !containers.program().exists(search) {
            return Err(not_installed(containers.engine.as_str()));
        }
        let kind = engine::kind_program(&self.kind, &containers, search);
        if !kind.exists(search) {
            return Err(Error::not_found(format!("the program {} is not there", self.kind.display()))
                .help("install kind (https://kind.sigs.k8s.io/docs/user/quick-start/#installation), or set PLATFORM_KIND"));
        }
        Ok(Tools { kind, containers })
    }

    /// The images that are to be in the nodes of a cluster.
    fn images(&self, spec: &ClusterSpec) -> Vec<&str> {
        let images = self.configuration.images.iter();
        images.filter(|(clusters, _)| clusters.contains(spec)).map(|(_, image)| image.as_str()).collect()
    }

    /// Access as kind tells it; nothing of it is written anywhere.
    async fn read_access(&self, tools: &Tools, name: &ClusterName) -> Result<ClusterAccess> {
        let text =
            tools.kind.run(["get", "kubeconfig", "--name", name.as_str()]).text().await.map_err(|e| {
                Error::new(ErrorKind::Unavailable, "its control plane does not run")
                    .source(Error::from(e))
                    .help("create it again, which repairs it")
            })?;
        // The parser may quote what it cannot read, and that may be a key.
        let config = kube::config::Kubeconfig::from_yaml(&text)
            .map_err(|_| Error::new(ErrorKind::Corrupt, "what kind says is no kubeconfig"))?;
        connection::access_from(&config, None, name.clone())
    }

    async fn status(
        &self,
        tools: &Tools,
        platform: &PlatformName,
        name: ClusterName,
        nodes: &[Node],
    ) -> Result<ClusterStatus> {
        let holder = ClusterLock::holder(&self.locks, &name);
        let mut status =
            ClusterStatus::new(name.clone(), platform.clone(), holder.unwrap_or(ClusterPhase::Broken));
        status.nodes = create::workload_nodes(nodes);
        if holder == Some(ClusterPhase::Deleting) || !nodes.iter().all(Node::is_running) {
            return Ok(status);
        }
        let Ok(access) = self.read_access(tools, &name).await else { return Ok(status) };
        let watcher = Watcher::new(&access)?;
        let (version, complete) =
            tokio::join!(watcher.version(), self.completeness(tools, &name, nodes, Duration::ZERO));
        status.server = Some(access.server);
        if let (Ok(version), Completeness::Complete | Completeness::Unsaid) = (version, complete?) {
            status.kubernetes_version = Some(version);
            status.phase = ClusterPhase::Running;
        }
        Ok(status)
    }

    async fn delete(
        &self,
        platform: &PlatformName,
        name: &ClusterName,
        progress: &Progress,
    ) -> Result<Deletion> {
        let tools = self.tools().await?;
        if let Found::Foreign(owner) = self.find(tools, platform, name).await? {
            return Err(create::foreign(owner));
        }
        let wait = self.configuration.create_timeout;
        let lock = ClusterLock::acquire(&self.locks, name, ClusterPhase::Deleting, wait, progress).await?;
        let deletion = match self.find(tools, platform, name).await? {
            Found::Nothing => Deletion::Absent,
            Found::Foreign(owner) => return Err(create::foreign(owner)),
            Found::Ours(nodes) => {
                progress.report(format!("deleting {} nodes", nodes.len()));
                create::remove(tools, name).await?;
                Deletion::Deleted
            }
        };
        lock.release();
        Ok(deletion)
    }
}

/// The first engine that answers; where none does, the first that is there, whose error says why.
async fn detect(search: Option<&OsStr>) -> Result<Containers> {
    let there: Vec<Containers> = Engine::ALL
        .into_iter()
        .map(|engine| Containers::new(engine, None))
        .filter(|containers| containers.program().exists(search))
        .collect();
    if there.len() > 1 {
        for containers in &there {
            if containers.answers().await {
                return Ok(containers.clone());
            }
        }
    }
    there.into_iter().next().ok_or_else(|| not_installed("docker, podman or nerdctl"))
}

fn not_installed(what: &str) -> Error {
    Error::not_found(format!("there is no container engine: {what} is not in the PATH"))
        .help("install Docker (https://docs.docker.com/engine/install/), Podman or nerdctl")
}

fn missing() -> Error {
    Error::not_found("there is no such cluster of kind")
}

/// A directory that only this user may read, gone when it is dropped.
fn temporary_directory() -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("platform-kind-")
        .tempdir()
        .map_err(|e| storage("no temporary directory can be made", e))
}

fn storage(message: &str, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::StorageFull => ErrorKind::Exhausted,
        _ => ErrorKind::Failed,
    };
    Error::new(kind, message).source(error).help("look at TMPDIR, its space and its permissions")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{path::Path, process::Command};

    /// A program that runs this script. A shell writes it, so that no other thread's child has it open for writing.
    fn fake(directory: &Path, name: &str, script: &str) -> PathBuf {
        let path = directory.join(name);
        let write = "printf '#!/bin/sh\n%s\n' \"$1\" >\"$0\" && chmod +x \"$0\"";
        assert!(Command::new("sh").args(["-c", write]).arg(&path).arg(script).status().unwrap().success());
        path
    }

    async fn preflight(docker: &str, kind: &str) -> Result<()> {
        let directory = tempfile::tempdir().unwrap();
        let builder = KindProvider::builder().engine_program(fake(directory.path(), "docker", docker));
        builder.kind_program(fake(directory.path(), "kind", kind)).build().unwrap().preflight().await
    }

    const DOCKER: &str = "echo '{\"CgroupVersion\": \"2\", \"MemTotal\": 8589934592}'";

    #[tokio::test]
    async fn good_programs_pass() {
        preflight(DOCKER, "echo 0.33.0").await.unwrap();
    }

    #[tokio::test]
    async fn an_engine_that_cannot_be_used_says_why_and_what_to_do() {
        let cannot = |message: &str| format!("echo '{message}' >&2; exit 1");
        for (says, kind, help) in [
            (
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
                ErrorKind::Unavailable,
                "systemctl start docker",
            ),
            (
                "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
                ErrorKind::Denied,
                "usermod -aG docker",
            ),
        ] {
            let error = preflight(&cannot(says), "echo 0.33.0").await.unwrap_err();
            assert_eq!(error.kind(), kind);
            let text = error.to_string();
            assert!(text.contains(help) && text.contains(says), "{text}");
        }
        let error = preflight("echo '{'", "echo 0.33.0").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[tokio::test]
    async fn a_kind_that_is_missing_or_too_old_is_told() {
        for (script, says) in [
            ("echo 0.11.1", "kind is 0.11, at least 0.20"),
            ("echo unknown", "says its version is"),
            ("echo no >&2; exit 2", "kind version"),
        ] {
            let text = preflight(DOCKER, script).await.unwrap_err().to_string();
            assert!(text.contains(says) && text.contains("install it"), "{text}");
        }
        let directory = tempfile::tempdir().unwrap();
        let provider = KindProvider::builder()
            .engine_program(fake(directory.path(), "docker", DOCKER))
            .kind_program(directory.path().join("none"))
            .build()
            .unwrap();
        let error = provider.preflight().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("install kind"), "{error}");
    }

    #[tokio::test]
    async fn engines_are_looked_for_in_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let search = Some(directory.path().as_os_str());
        let error = detect(search).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("not in the PATH"), "{error}");
        fake(directory.path(), "podman", "true");
        assert_eq!(detect(search).await.unwrap().engine, Engine::Podman);
        let missing =
            KindProvider::builder().engine_program(directory.path().join("docker")).build().unwrap();
        assert_eq!(missing.preflight().await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

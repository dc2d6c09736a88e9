//! Making a cluster, whatever there is of it already.

use super::{
    Inner, Tools,
    engine::Node,
    failure::{self, Failure},
    images,
    lock::ClusterLock,
    mark,
    readiness::Watcher,
    shape::Shape,
};
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{ClusterChange, ClusterPhase, ClusterSpec, ClusterStatus},
    event::Progress,
    name::{ClusterName, PlatformName},
};
use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;

/// How often a creation is begun anew before it is given up: after a half-made cluster was removed, after a port was taken.
const ATTEMPTS: u32 = 4;
/// Logs of a node are 35 MB.
const EXPORT: Duration = Duration::from_secs(120);
/// A node that was started answers after its init runs.
const BOOT: Duration = Duration::from_secs(20);
/// Ten nodes take some seconds.
const DELETE: Duration = Duration::from_secs(180);
/// How often a deletion is run until nothing is left.
const DELETIONS: u32 = 3;
const POLL: Duration = Duration::from_millis(300);

/// What there is of a cluster.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    /// Of another platform, or of none.
    Foreign(String),
    Ours(Vec<Node>),
}

impl Found {
    pub(super) fn of(nodes: Vec<Node>, platform: &PlatformName) -> Self {
        let foreign = nodes.iter().find_map(|node| match &node.mark {
            Some(mark) if mark.platform == platform.as_str() => None,
            Some(mark) => Some(format!("it belongs to platform {}", mark.platform)),
            None => Some("it was not made by a platform".to_owned()),
        });
        match foreign {
            Some(owner) => Self::Foreign(owner),
            None if nodes.is_empty() => Self::Nothing,
            None => Self::Ours(nodes),
        }
    }
}

/// That a cluster is somebody else's.
pub(super) fn foreign(owner: String) -> Error {
    Error::new(ErrorKind::AlreadyExists, owner)
        .help("choose another platform name, or delete that cluster with `kind delete cluster --name`")
}

/// How far the creation of a cluster that is ours came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completeness {
    /// kind did all that it does, once.
    Complete,
    /// The same, but nobody remembered it: whoever made it was killed before.
    Unsaid,
    /// It was interrupted.
    Half,
}

impl Inner {
    pub(super) async fn find(
        &self,
        tools: &Tools,
        platform: &PlatformName,
        name: &ClusterName,
    ) -> Result<Found> {
        Ok(Found::of(tools.containers.nodes(Some(name)).await?, platform))
    }

    pub(super) async fn plan(&self, spec: &ClusterSpec) -> Result<ClusterChange> {
        let shape = Shape::new(&self.configuration, spec)?;
        let tools = self.tools().await?;
        let nodes = match self.find(tools, &spec.platform, &spec.name).await? {
            Found::Nothing => return Ok(ClusterChange::Create),
            Found::Foreign(owner) => return Err(foreign(owner)),
            Found::Ours(nodes) => nodes,
        };
        if self.completeness(tools, &spec.name, &nodes, Duration::ZERO).await? == Completeness::Half {
            return Ok(ClusterChange::Create);
        }
        let differences = differences(&nodes, &shape);
        if !differences.is_empty() {
            return Ok(ClusterChange::Recreate { differences });
        }
        let mut differences = Vec::new();
        for node in nodes.iter().filter(|node| !node.is_running()) {
            differences.push(format!("node {}: {} -> running", node.name, node.state));
        }
        if differences.is_empty() {
            let missing = images::missing(tools, &nodes, &self.images(spec)).await?;
            differences
                .extend(missing.images.iter().map(|image| format!("image {}: absent -> loaded", image.name)));
        }
        Ok(if differences.is_empty() {
            ClusterChange::Unchanged
        } else {
            ClusterChange::Update { differences }
        })
    }

    pub(super) async fn create(&self, spec: &ClusterSpec, progress: &Progress) -> Result<ClusterStatus> {
        let shape = Shape::new(&self.configuration, spec)?;
        let tools = self.tools().await?;
        if let Found::Foreign(owner) = self.find(tools, &spec.platform, &spec.name).await? {
            return Err(foreign(owner));
        }
        // Nothing is begun that is known not to end well.
        for image in self.images(spec) {
            tools.containers.image(image).await?;
        }
        let wait = self.configuration.create_timeout;
        let lock =
            ClusterLock::acquire(&self.locks, &spec.name, ClusterPhase::Creating, wait, progress).await?;
        let nodes = self.make(tools, spec, &shape, &lock, progress).await?;
        let access = self.read_access(tools, &spec.name).await?;
        let version = Watcher::new(&access)?
            .wait(shape.config.nodes.len(), shape.default_cni, self.configuration.ready_timeout, progress)
            .await?;
        let missing = images::missing(tools, &nodes, &self.images(spec)).await?;
        images::load(tools, &spec.name, &missing, progress).await?;
        lock.release();
        let mut status = ClusterStatus::new(spec.name.clone(), spec.platform.clone(), ClusterPhase::Running);
        status.kubernetes_version = Some(version);
        status.nodes = workload_nodes(&nodes);
        status.server = Some(access.server);
        Ok(status)
    }

    /// Sees to it that there is a cluster on which kind did all that it does, and that its nodes run.
    async fn make(
        &self,
        tools: &Tools,
        spec: &ClusterSpec,
        shape: &Shape,
        lock: &ClusterLock,
        progress: &Progress,
    ) -> Result<Vec<Node>> {
        let mut failure = None;
        for _ in 0..ATTEMPTS {
            match self.find(tools, &spec.platform, &spec.name).await? {
                Found::Foreign(owner) => return Err(foreign(owner)),
                Found::Ours(mut nodes) => {
                    // One that never started is half-made, whatever else there is.
                    if nodes.iter().any(|node| !node.is_running() && node.state != "created") {
                        nodes = self.start(tools, spec, &nodes, progress).await?;
                    }
                    let completeness = self.completeness(tools, &spec.name, &nodes, BOOT).await?;
                    if completeness == Completeness::Unsaid {
                        set_complete(tools, &nodes).await?;
                    }
                    if completeness != Completeness::Half {
                        let differences = differences(&nodes, shape);
                        if !differences.is_empty() {
                            return Err(Error::new(
                                ErrorKind::Unsupported,
                                format!("a cluster of kind cannot be changed: {}", differences.join(", ")),
                            )
                            .help("delete it, then create it anew"));
                        }
                        return Ok(nodes);
                    }
                    progress.report("removing what an interrupted creation left");
                    remove(tools, &spec.name).await?;
                }
                Found::Nothing => match self.run_kind(tools, spec, shape, lock, progress).await? {
                    None => {}
                    Some(error) => failure = Some(error),
                },
            }
        }
        Err(failure.unwrap_or_else(|| {
            Error::new(ErrorKind::Failed, format!("it was not complete after {ATTEMPTS} attempts"))
        }))
    }

    /// Lets kind make the cluster. Answers with an error after which it is worth to look again.
    async fn run_kind(
        &self,
        tools: &Tools,
        spec: &ClusterSpec,
        shape: &Shape,
        lock: &ClusterLock,
        progress: &Progress,
    ) -> Result<Option<Error>> {
        let directory = super::temporary_directory()?;
        let config = directory.path().join("config.yaml");
        let json = serde_json::to_vec_pretty(&shape.config)
            .map_err(|e| Error::internal("the configuration cannot be written down").source(e))?;
        fs::write(&config, json).map_err(|e| super::storage("the configuration cannot be written", e))?;
        let kubeconfig = directory.path().join("kubeconfig");
        let mut arguments: Vec<OsString> =
            ["create", "cluster", "--retain", "--name", spec.name.as_str()].map(Into::into).to_vec();
        arguments.extend(["--config".into(), config.into(), "--kubeconfig".into(), kubeconfig.into()]);
        let mut said = Vec::new();
        let tell = |line: &str| {
            tracing::debug!(cluster = %spec.name, message = line, "kind");
            if let Some(step) = failure::progress(line) {
                progress.report(step);
            }
            said.push(line.to_owned());
        };
        let run = tools.kind.run(arguments).deadline(self.configuration.create_timeout).input(lock.share()?);
        let error = run.output_with(tell).await.err();
        let nodes = match self.find(tools, &spec.platform, &spec.name).await? {
            Found::Foreign(owner) => return Err(foreign(owner)),
            Found::Nothing => Vec::new(),
            Found::Ours(nodes) => nodes,
        };
        let Some(error) = error else {
            set_complete(tools, &nodes).await?;
            return Ok(None);
        };
        // All may be there but for what comes last: the kubeconfig.
        if !nodes.is_empty()
            && self.completeness(tools, &spec.name, &nodes, Duration::ZERO).await? != Completeness::Half
        {
            return Ok(None);
        }
        let result = match Failure::of(&error, shape.fixed_ports()) {
            Failure::Again(reason) => Ok(Some(reason.error(None))),
            Failure::Final(reason) => {
                progress.report("kind failed; keeping its logs and removing what it made");
                let (reason, more) = match self.export_logs(tools, &spec.name, !nodes.is_empty(), &said).await
                {
                    Ok(logs) => {
                        let more = format!("logs are in {}", logs.display());
                        (if lacks_inotify(&logs) { reason.without_inotify() } else { reason }, more)
                    }
                    Err(lost) => (reason, format!("its logs are lost: {lost}")),
                };
                Err(reason.error(Some(&more)))
            }
        };
        if !nodes.is_empty() {
            remove(tools, &spec.name).await?;
        }
        result
    }

    /// Starts the nodes that are stopped, as after a restart of the machine.
    async fn start(
        &self,
        tools: &Tools,
        spec: &ClusterSpec,
        nodes: &[Node],
        progress: &Progress,
    ) -> Result<Vec<Node>> {
        let stopped: Vec<&str> =
            nodes.iter().filter(|node| !node.is_running()).map(|node| node.name.as_str()).collect();
        progress.report(format!("starting {}", stopped.join(", ")));
        tools.containers.start(stopped).await?;
        match self.find(tools, &spec.platform, &spec.name).await? {
            Found::Ours(nodes) if nodes.iter().all(Node::is_running) => Ok(nodes),
            _ => Err(Error::new(ErrorKind::Failed, "its nodes stop as soon as they are started")
                .help("look at `docker logs` of its nodes; delete the cluster and create it anew")),
        }
    }

    /// How far a creation came. A cluster whose API server is not to be reached yet is asked for at most `patience`.
    pub(super) async fn completeness(
        &self,
        tools: &Tools,
        name: &ClusterName,
        nodes: &[Node],
        patience: Duration,
    ) -> Result<Completeness> {
        let Some(node) = control_plane(nodes) else { return Ok(Completeness::Half) };
        match tools.containers.has_file(node, mark::COMPLETE).await {
            Some(true) => return Ok(Completeness::Complete),
            // Better to leave a half-made cluster than to remove one that somebody uses.
            None if nodes.iter().all(|node| node.state != "created") => return Ok(Completeness::Complete),
            _ if !nodes.iter().all(Node::is_running) => return Ok(Completeness::Half),
            _ => {}
        }
        let wanted = node.mark.as_ref().and_then(|mark| mark.settings.as_ref()).and_then(containers);
        let Ok(access) = self.read_access(tools, name).await else { return Ok(Completeness::Half) };
        let watcher = Watcher::new(&access)?;
        let until = Instant::now() + patience;
        loop {
            match watcher.is_finished(wanted.unwrap_or(nodes.len())).await {
                Ok(true) => return Ok(Completeness::Unsaid),
                Ok(false) => return Ok(Completeness::Half),
                Err(_) if Instant::now() >= until => return Ok(Completeness::Half),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Keeps what kind said and the logs of the nodes in a directory of their own, which only this user may read.
    async fn export_logs(
        &self,
        tools: &Tools,
        name: &ClusterName,
        nodes: bool,
        said: &[String],
    ) -> Result<PathBuf> {
        let parent = self.configuration.logs.clone().unwrap_or_else(std::env::temp_dir);
        let directory = tempfile::Builder::new()
            .prefix(&format!("{name}-logs-"))
            .tempdir_in(&parent)
            .map_err(|e| super::storage(&format!("no directory can be made in {}", parent.display()), e))?
            .keep();
        fs::write(directory.join("kind.log"), said.join("\n"))
            .map_err(|e| super::storage("what kind said cannot be written", e))?;
        if nodes {
            let arguments: [&OsStr; 5] = [
                "export".as_ref(),
                "logs".as_ref(),
                directory.as_ref(),
                "--name".as_ref(),
                name.as_str().as_ref(),
            ];
            // A node that never started has none.
            if let Err(error) = tools.kind.run(arguments).deadline(EXPORT).output().await {
                tracing::debug!(cluster = %name, %error, "Not all logs of the nodes could be exported");
            }
        }
        Ok(directory)
    }
}

/// Whether a node ended at once because its init got no more of inotify, which only its own log says.
fn lacks_inotify(logs: &Path) -> bool {
    let Ok(entries) = fs::read_dir(logs) else { return false };
    entries.filter_map(Result::ok).any(|entry| {
        fs::read(entry.path().join("serial.log"))
            .is_ok_and(|log| String::from_utf8_lossy(&log).contains("Too many open files"))
    })
}

/// Remembers that kind did all that it does.
async fn set_complete(tools: &Tools, nodes: &[Node]) -> Result<()> {
    let Some(node) = control_plane(nodes) else {
        return Err(Error::new(ErrorKind::Conflict, "it was deleted while it was created"));
    };
    tools.containers.exec(&node.name, ["touch", mark::COMPLETE]).await.map(drop).map_err(Error::from)
}

/// What stands between a complete cluster and its shape.
fn differences(nodes: &[Node], shape: &Shape) -> Vec<String> {
    let settings = control_plane(nodes).and_then(|node| node.mark.as_ref()?.settings.as_ref());
    let Some(settings) = settings else {
        return vec!["its settings were written by another version of this program".to_owned()];
    };
    let mut differences = settings.differences(&shape.settings);
    let (are, wanted) = (nodes.len(), shape.config.nodes.len());
    if differences.is_empty() && are != wanted {
        differences.push(format!("nodes: {are} containers -> {wanted}"));
    }
    differences
}

fn control_plane(nodes: &[Node]) -> Option<&Node> {
    nodes.iter().find(|node| node.control_plane)
}

/// How many containers a cluster of these settings has.
fn containers(settings: &mark::Settings) -> Option<usize> {
    let nodes: usize = settings.0.get("nodes")?.parse().ok()?;
    Some(if nodes > 1 { nodes + 1 } else { nodes })
}

/// How many nodes run workloads.
pub(super) fn workload_nodes(nodes: &[Node]) -> u32 {
    let workers = nodes.iter().filter(|node| !node.control_plane).count();
    workers.max(usize::from(!nodes.is_empty())) as u32
}

/// Deletes a cluster that is known to be ours, until nothing is left of it.
pub(super) async fn remove(tools: &Tools, name: &ClusterName) -> Result<()> {
    let directory = super::temporary_directory()?;
    let kubeconfig = directory.path().join("kubeconfig");
    let mut attempt = 0;
    loop {
        attempt += 1;
        let arguments: [&OsStr; 6] = [
            "delete".as_ref(),
            "cluster".as_ref(),
            "--name".as_ref(),
            name.as_str().as_ref(),
            "--kubeconfig".as_ref(),
            kubeconfig.as_ref(),
        ];
        let deleted = tools.kind.run(arguments).deadline(DELETE).output().await;
        // A container that the engine was still making when its creation was interrupted comes late.
        match deleted {
            Ok(_) if tools.containers.nodes(Some(name)).await?.is_empty() => return Ok(()),
            Ok(_) if attempt < DELETIONS => {}
            Err(error) if attempt < DELETIONS => {
                tracing::debug!(cluster = %name, %error, "kind could not delete a cluster and is run again");
            }
            Ok(_) => {
                return Err(Error::new(ErrorKind::Failed, "nodes of it come back after their deletion"));
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{engine::Node, mark::Mark};

    fn node(control_plane: bool, mark: Option<&str>) -> Node {
        Node {
            name: "shop-testing-control-plane".into(),
            cluster: "shop-testing".into(),
            control_plane,
            state: "running".into(),
            mark: mark.map(|platform| Mark { platform: platform.into(), settings: None }),
        }
    }

    #[test]
    fn a_cluster_is_ours_if_every_node_is() {
        let shop = PlatformName::new("shop").unwrap();
        let found = |nodes: Vec<Node>| Found::of(nodes, &shop);
        assert!(matches!(found(vec![]), Found::Nothing));
        assert!(matches!(found(vec![node(true, Some("shop")), node(false, Some("shop"))]), Found::Ours(_)));
        for (nodes, says) in [
            (vec![node(true, Some("shop")), node(false, None)], "not made by a platform"),
            (vec![node(true, Some("store"))], "belongs to platform store"),
        ] {
            let Found::Foreign(owner) = found(nodes) else { panic!("it is taken for ours") };
            assert!(owner.contains(says), "{owner}");
        }
    }

    #[test]
    fn the_log_of_a_node_tells_of_inotify() {
        let logs = tempfile::tempdir().unwrap();
        let node = logs.path().join("shop-testing-control-plane");
        fs::create_dir(&node).unwrap();
        fs::write(node.join("serial.log"), "Failed to create bus connection: Host is down").unwrap();
        assert!(!lacks_inotify(logs.path()));
        let said = "Failed to create control group inotify object: Too many open files";
        fs::write(node.join("serial.log"), said).unwrap();
        assert!(lacks_inotify(logs.path()));
    }

    #[test]
    fn a_control_plane_runs_workloads_only_if_it_is_alone() {
        assert_eq!(workload_nodes(&[node(true, None)]), 1);
        assert_eq!(workload_nodes(&[node(true, None), node(false, None), node(false, None)]), 2);
        let settings = |nodes: &str| mark::Settings([("nodes".to_owned(), nodes.to_owned())].into());
        assert_eq!((containers(&settings("1")), containers(&settings("3"))), (Some(1), Some(4)));
    }
}

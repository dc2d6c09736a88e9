//! The container engine under kind: what kind does not tell of a node, and what it does not do.

use super::{
    mark::{self, Mark},
    process::{Program, RunError},
};
use platform_core::{Error, ErrorKind, Result, name::ClusterName};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// The label of a node's container: its cluster.
const CLUSTER_LABEL: &str = "io.x-k8s.kind.cluster";
/// The label of a node's container: its role.
const ROLE_LABEL: &str = "io.x-k8s.kind.role";
/// A container is listed a moment before it can be inspected, and a moment after it is gone: how often it is read again.
const READS: u32 = 25;
const READ_AGAIN: Duration = Duration::from_millis(200);
/// Saving and starting move hundreds of megabytes on a slow disk.
const LONG: Duration = Duration::from_secs(300);

/// A program that runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// nerdctl, with containerd.
    Nerdctl,
}

impl Engine {
    /// All of them, in the order in which they are looked for.
    pub(super) const ALL: [Self; 3] = [Self::Docker, Self::Podman, Self::Nerdctl];

    /// The name of its program, which is what `KIND_EXPERIMENTAL_PROVIDER` says as well.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Nerdctl => "nerdctl",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.as_str() == name)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A container engine, spoken to by its program.
#[derive(Debug, Clone)]
pub(super) struct Containers {
    pub(super) engine: Engine,
    program: Program,
}

/// A container that is a node of a cluster of kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) control_plane: bool,
    /// `running`, `exited`, `created`.
    pub(super) state: String,
    pub(super) mark: Option<Mark>,
}

impl Node {
    pub(super) fn is_running(&self) -> bool {
        self.state == "running"
    }
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalImage {
    pub(super) name: String,
    /// Without `sha256:`.
    pub(super) id: String,
    /// `linux/amd64`.
    pub(super) platform: String,
}

/// What an engine says about itself and its machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Info {
    /// `1` or `2`.
    pub(super) cgroup_version: Option<String>,
    pub(super) rootless: bool,
    /// Cgroup controllers that containers cannot be limited by.
    pub(super) missing_controllers: Vec<&'static str>,
    /// Bytes.
    pub(super) memory: Option<u64>,
    pub(super) kernel: Option<String>,
    pub(super) directory: Option<PathBuf>,
    /// Images are kept by containerd, with what there is of their platforms.
    pub(super) containerd_store: bool,
}

impl Containers {
    pub(super) fn new(engine: Engine, program: Option<&Path>) -> Self {
        Self { engine, program: Program::new(program.unwrap_or_else(|| Path::new(engine.as_str()))) }
    }

    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    /// The nodes of a cluster, or of all, whoever made them; by name.
    pub(super) async fn nodes(&self, cluster: Option<&ClusterName>) -> Result<Vec<Node>> {
        let filter = match cluster {
            Some(name) => format!("label={CLUSTER_LABEL}={name}"),
            None => format!("label={CLUSTER_LABEL}"),
        };
        let mut read = 0;
        loop {
            read += 1;
            let ids = self.text(["ps", "--all", "--no-trunc", "--quiet", "--filter", &filter]).await?;
            let ids: Vec<&str> = ids.split_whitespace().collect();
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let arguments = ["inspect", "--type", "container"].into_iter().chain(ids);
            match self.program.run(arguments).output().await {
                Ok(output) => {
                    let containers: Vec<Container> = parse(&self.program, "inspect", &output)?;
                    let mut nodes: Vec<Node> = containers.into_iter().filter_map(Container::node).collect();
                    nodes.sort_by(|a, b| a.name.cmp(&b.name));
                    return Ok(nodes);
                }
                Err(error) if read < READS && error.says(&["no such", "not found"]) => {
                    tokio::time::sleep(READ_AGAIN).await;
                }
                Err(error) => return Err(self.error(error)),
            }
        }
    }

    /// Runs a command in a node and answers with what it printed.
    pub(super) async fn exec<'a>(
        &self,
        node: &'a str,
        command: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<u8>, RunError> {
        self.program.run(["exec", node].into_iter().chain(command)).output().await
    }

    /// Starts containers that are stopped.
    pub(super) async fn start(&self, nodes: impl IntoIterator<Item = &str>) -> Result<()> {
        let run = self.program.run(std::iter::once("start").chain(nodes)).deadline(LONG);
        run.output().await.map(drop).map_err(|e| self.error(e))
    }

    /// Whether a node that may be stopped has a file; `None` where the engine cannot tell.
    pub(super) async fn has_file(&self, node: &Node, path: &str) -> Option<bool> {
        if node.is_running() {
            return match self.exec(&node.name, ["test", "-e", path]).await {
                Ok(_) => Some(true),
                Err(RunError::Failed { status, .. }) if status.code() == Some(1) => Some(false),
                Err(_) => None,
            };
        }
        match self.program.run(["cp", &format!("{}:{path}", node.name), "-"]).output().await {
            Ok(_) => Some(true),
            Err(error) if error.says(&["could not find the file", "no such file", "does not exist"]) => {
                Some(false)
            }
            Err(_) => None,
        }
    }

    /// An image that the engine has; [`NotFound`](ErrorKind::NotFound) where it has not.
    pub(super) async fn image(&self, name: &str) -> Result<LocalImage> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Inspected {
            id: String,
            os: String,
            architecture: String,
        }
        let output = match self.program.run(["image", "inspect", name]).output().await {
            Ok(output) => output,
            Err(error) if error.says(&["no such image", "not known", "no such object", "not found"]) => {
                return Err(Error::not_found(format!("{} has no such image", self.engine))
                    .subject(format!("image {name}"))
                    .help(format!("build it, or get it with `{} pull {name}`", self.engine)));
            }
            Err(error) => return Err(self.error(error)),
        };
        let mut images: Vec<Inspected> = parse(&self.program, "image inspect", &output)?;
        let Some(image) = images.pop() else {
            return Err(Error::not_found("there is no such image").subject(format!("image {name}")));
        };
        Ok(LocalImage {
            name: name.to_owned(),
            id: image.id.trim_start_matches("sha256:").to_owned(),
            platform: format!("{}/{}", image.os, image.architecture),
        })
    }

    /// Writes images of one platform to an archive.
    pub(super) async fn save(&self, images: &[&LocalImage], single: bool, archive: &Path) -> Result<()> {
        let mut arguments: Vec<OsString> = vec!["save".into(), "--output".into(), archive.into()];
        match (self.engine, images.first()) {
            (Engine::Podman, _) => arguments.push("--multi-image-archive".into()),
            // What containerd keeps may name platforms of which it has no content.
            (_, Some(image)) if single => {
                arguments.extend(["--platform".into(), image.platform.clone().into()]);
            }
            _ => {}
        }
        arguments.extend(images.iter().map(|image| image.name.clone().into()));
        self.program.run(arguments).deadline(LONG).output().await.map(drop).map_err(|e| self.error(e))
    }

    /// What the engine says about itself.
    pub(super) async fn info(&self) -> Result<Info> {
        let format = if self.engine == Engine::Podman { "json" } else { "{{json .}}" };
        let output =
            self.program.run(["info", "--format", format]).output().await.map_err(|e| self.error(e))?;
        let info: Value = parse(&self.program, "info", &output)?;
        Ok(if self.engine == Engine::Podman { podman_info(&info) } else { docker_info(&info) })
    }

    /// Whether it answers at all.
    pub(super) async fn answers(&self) -> bool {
        let run = self.program.run(["ps", "--quiet"]).deadline(Duration::from_secs(10));
        run.output().await.is_ok()
    }

    async fn text<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        self.program.run(arguments).text().await.map_err(|e| self.error(e))
    }

    /// A failure of the engine's program, in words that say what to do.
    pub(super) fn error(&self, error: RunError) -> Error {
        let engine = self.engine;
        match &error {
            RunError::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Error::not_found(format!("the program {} is not there", self.program.path().display()))
                    .help(format!("install {engine}, or choose another engine"))
            }
            _ if error.says(&["permission denied", "access is denied"]) => {
                Error::new(ErrorKind::Denied, format!("{engine} may not be used: {error}")).help(
                    "join the group that may use its socket (`sudo usermod -aG docker $USER`, then log in again), or use it rootless",
                )
            }
            _ if error.says(&[
                "cannot connect to",
                "daemon running",
                "connection refused",
                "unable to connect",
                "cannot access containerd socket",
                "failed to dial",
                "error during connect",
            ]) =>
            {
                Error::new(ErrorKind::Unavailable, format!("{engine} does not answer: {error}"))
                    .help(format!("start it: `sudo systemctl start {}`", self.service()))
            }
            _ => error.into(),
        }
    }

    const fn service(&self) -> &'static str {
        match self.engine {
            Engine::Docker => "docker",
            Engine::Podman => "podman.socket",
            Engine::Nerdctl => "containerd",
        }
    }
}

/// The environment by which kind uses the same engine, and finds its program where it is not in the `PATH`.
pub(super) fn kind_program(kind: &Path, containers: &Containers, search: Option<&OsStr>) -> Program {
    let program = Program::new(kind).with("KIND_EXPERIMENTAL_PROVIDER", containers.engine.as_str());
    let folder = containers.program.path().parent().filter(|folder| !folder.as_os_str().is_empty());
    let folders =
        folder.map(Path::to_owned).into_iter().chain(search.into_iter().flat_map(std::env::split_paths));
    match (folder, std::env::join_paths(folders)) {
        (Some(_), Ok(path)) => program.with("PATH", path),
        _ => program,
    }
}

fn parse<T: DeserializeOwned>(program: &Program, command: &str, output: &[u8]) -> Result<T> {
    serde_json::from_slice(output).map_err(|source| {
        let command = format!("{} {command}", program.path().display());
        RunError::Output { command, source: source.into() }.into()
    })
}

/// A container as all three engines show it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    name: String,
    state: State,
    #[serde(default)]
    mounts: Vec<Mounted>,
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mounted {
    #[serde(default)]
    destination: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<BTreeMap<String, String>>,
}

impl Container {
    fn node(self) -> Option<Node> {
        let labels = self.config.labels.unwrap_or_default();
        let role = labels.get(ROLE_LABEL).map(String::as_str).unwrap_or_default();
        Some(Node {
            name: self.name.trim_start_matches('/').to_owned(),
            cluster: labels.get(CLUSTER_LABEL)?.clone(),
            control_plane: role == "control-plane",
            state: self.state.status,
            mark: self.mounts.iter().find_map(|mount| mark::decode(&mount.destination)),
        })
    }
}

fn docker_info(info: &Value) -> Info {
    let text = |key: &str| info.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    let lacks = |key: &str| info.get(key) == Some(&Value::Bool(false));
    let options = info.get("SecurityOptions").and_then(Value::as_array).cloned().unwrap_or_default();
    let missing = [("MemoryLimit", "memory"), ("CpuCfsQuota", "cpu"), ("PidsLimit", "pids")];
    let store = info.get("DriverStatus").map(Value::to_string).unwrap_or_default();
    Info {
        cgroup_version: text("CgroupVersion"),
        rootless: options.iter().any(|o| o.as_str().is_some_and(|o| o.contains("name=rootless"))),
        missing_controllers: missing.iter().filter(|(key, _)| lacks(key)).map(|(_, name)| *name).collect(),
        memory: info.get("MemTotal").and_then(Value::as_u64).filter(|bytes| *bytes > 0),
        kernel: text("KernelVersion"),
        directory: text("DockerRootDir").map(PathBuf::from),
        containerd_store: store.contains("io.containerd.snapshotter"),
    }
}

fn podman_info(info: &Value) -> Info {
    let text = |pointer: &str| info.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let controllers = info.pointer("/host/cgroupControllers").and_then(Value::as_array);
    let lacks = |name: &str| controllers.is_some_and(|all| !all.iter().any(|c| c.as_str() == Some(name)));
    Info {
        cgroup_version: text("/host/cgroupVersion").map(|v| v.trim_start_matches('v').to_owned()),
        rootless: info.pointer("/host/security/rootless") == Some(&Value::Bool(true)),
        missing_controllers: ["memory", "cpu", "pids"].into_iter().filter(|name| lacks(name)).collect(),
        memory: info.pointer("/host/memTotal").and_then(Value::as_u64),
        kernel: text("/host/kernel"),
        directory: text("/store/graphRoot").map(PathBuf::from),
        containerd_store: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_of_kind_is_a_node_and_its_mark_is_read() {
        let container = |labels: Value| -> Container {
            serde_json::from_value(json!({
                "Name": "/shop-testing-control-plane",
                "State": {"Status": "exited", "Running": false},
                "Mounts": [
                    {"Type": "volume", "Destination": "/var"},
                    {"Type": "bind", "Source": "/dev/null", "Destination": "/platform.dev/platform/shop/v1/e30"},
                ],
                "Config": {"Labels": labels, "Image": "kindest/node:v1.34.4"},
            }))
            .unwrap()
        };
        let node =
            container(json!({CLUSTER_LABEL: "shop-testing", ROLE_LABEL: "control-plane"})).node().unwrap();
        assert!(node.control_plane && !node.is_running());
        assert_eq!(
            (node.name.as_str(), node.cluster.as_str()),
            ("shop-testing-control-plane", "shop-testing")
        );
        let mark = node.mark.unwrap();
        assert_eq!((mark.platform.as_str(), mark.settings), ("shop", Some(mark::Settings::default())));
        assert_eq!(container(Value::Null).node(), None);
    }

    #[test]
    fn engines_tell_the_same_in_their_own_words() {
        let docker = docker_info(&json!({
            "CgroupVersion": "2", "MemoryLimit": true, "CpuCfsQuota": true, "PidsLimit": false,
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"], "MemTotal": 1024, "KernelVersion": "6.1",
            "DockerRootDir": "/var/lib/docker", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
        }));
        let podman = podman_info(&json!({
            "host": {
                "cgroupVersion": "v2", "cgroupControllers": ["cpu", "memory"], "security": {"rootless": true},
                "memTotal": 1024, "kernel": "6.1",
            },
            "store": {"graphRoot": "/var/lib/docker"},
        }));
        assert_eq!(docker, Info { containerd_store: true, ..podman });
        assert_eq!(docker.missing_controllers, ["pids"]);
    }
}

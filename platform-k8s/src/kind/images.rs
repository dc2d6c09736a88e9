//! Images from the engine to the nodes, where they are not there yet.
//!
//! `kind load docker-image` fails where the engine keeps images in containerd, which may know platforms of an image of which it has no
//! content ([kind#3795](https://github.com/kubernetes-sigs/kind/issues/3795)). So an archive of one platform is made and loaded.

use super::{
    Tools,
    engine::{LocalImage, Node},
};
use futures::future::try_join_all;
use platform_core::{Error, ErrorKind, Result, event::Progress, name::ClusterName};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// Five images of 195 MB take 10 s to two nodes.
const LOAD: Duration = Duration::from_secs(600);
/// Prints what the node knows of each image that it is asked for, and `null` for what it does not have.
const LOOK: &str = r#"for image; do crictl inspecti "$image" 2>/dev/null || echo null; done"#;

/// What the nodes of a cluster lack.
#[derive(Debug, Default)]
pub(super) struct Missing {
    pub(super) images: Vec<LocalImage>,
    nodes: Vec<String>,
}

/// Finds out what of `images` the nodes lack, or have in another version.
pub(super) async fn missing(tools: &Tools, nodes: &[Node], images: &[&str]) -> Result<Missing> {
    if images.is_empty() {
        return Ok(Missing::default());
    }
    let wanted = try_join_all(images.iter().map(|name| tools.containers.image(name))).await?;
    let mut missing = Missing::default();
    let names: Vec<String> = images.iter().map(|name| qualified(name)).collect();
    let present = try_join_all(nodes.iter().map(|node| present(tools, node, &names))).await?;
    for (node, ids) in nodes.iter().zip(&present) {
        let lacks: Vec<&LocalImage> = wanted
            .iter()
            .zip(ids)
            .filter(|(image, id)| id.as_ref() != Some(&image.id))
            .map(|(i, _)| i)
            .collect();
        if !lacks.is_empty() {
            missing.nodes.push(node.name.clone());
        }
        for image in lacks {
            if !missing.images.contains(image) {
                missing.images.push(image.clone());
            }
        }
    }
    Ok(missing)
}

/// Brings to the nodes what they lack.
pub(super) async fn load(
    tools: &Tools,
    cluster: &ClusterName,
    missing: &Missing,
    progress: &Progress,
) -> Result<()> {
    if missing.images.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.images.iter().map(|image| image.name.as_str()).collect();
    progress.report(format!("loading {} into {} nodes", names.join(", "), missing.nodes.len()));
    let context = |e: Error| e.operation("load").subject(format!("images {}", names.join(", ")));
    let single = tools.containers.info().await?.containerd_store;
    let directory = super::temporary_directory()?;
    let mut platforms: BTreeMap<&str, Vec<&LocalImage>> = BTreeMap::new();
    for image in &missing.images {
        platforms.entry(&image.platform).or_default().push(image);
    }
    for images in platforms.values() {
        let archive = directory.path().join("images.tar");
        tools.containers.save(images, single, &archive).await.map_err(context)?;
        let mut run: Vec<std::ffi::OsString> = ["load", "image-archive"].map(Into::into).to_vec();
        run.push(archive.into());
        run.extend(["--name", cluster.as_str(), "--nodes", &missing.nodes.join(",")].map(Into::into));
        tools.kind.run(run).deadline(LOAD).output().await.map_err(|e| context(e.into()))?;
    }
    Ok(())
}

/// The ids of images in a node, in their order.
async fn present(tools: &Tools, node: &Node, images: &[String]) -> Result<Vec<Option<String>>> {
    let command = ["sh", "-c", LOOK, "sh"].into_iter().chain(images.iter().map(String::as_str));
    let output = tools.containers.exec(&node.name, command).await.map_err(Error::from)?;
    let answers: Vec<Value> =
        serde_json::Deserializer::from_slice(&output).into_iter().collect::<Result<_, _>>().map_err(|e| {
            Error::new(ErrorKind::Corrupt, format!("what node {} says of its images is not JSON", node.name))
                .source(e)
        })?;
    Ok(ids(&answers, images.len()))
}

fn ids(answers: &[Value], wanted: usize) -> Vec<Option<String>> {
    let id = |answer: &Value| {
        let id = answer.pointer("/status/id").and_then(Value::as_str)?;
        Some(id.trim_start_matches("sha256:").to_owned())
    };
    let mut ids: Vec<Option<String>> = answers.iter().map(id).collect();
    ids.resize(wanted, None);
    ids
}

/// The name of an image in full, as the nodes know it: `docker.io/library/nginx:latest` for `nginx`.
pub(super) fn qualified(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let mut full = match first {
        "" => format!("docker.io/library/{rest}"),
        host if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        _ => format!("docker.io/{name}"),
    };
    if !rest.rsplit('/').next().unwrap_or_default().contains(':') {
        full.push_str(":latest");
    }
    full
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_given_in_full() {
        for (name, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.29", "docker.io/library/nginx:1.29"),
            ("prom/prometheus:v3", "docker.io/prom/prometheus:v3"),
            ("localhost/a:1", "localhost/a:1"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        ] {
            assert_eq!(qualified(name), full);
        }
    }

    #[test]
    fn what_a_node_does_not_have_has_no_id() {
        let answers = [json!({"status": {"id": "sha256:ab"}}), Value::Null];
        assert_eq!(ids(&answers, 3), [Some("ab".to_owned()), None, None]);
    }
}

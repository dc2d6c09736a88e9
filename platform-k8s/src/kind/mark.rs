//! How a cluster is known as a platform's: the mark that every node bears from the moment its container exists.
//!
//! kind puts no labels of ours on containers, labels of Kubernetes nodes need an API server that answers, and a file in a
//! node comes too late for a creation that is interrupted. What kind does hand to the container engine is a node's mounts.
//! So each node has one more, of `/dev/null`, whose path in the node is the mark:
//!
//! ```text
//! /platform.dev/platform/shop/v1/eyJub2RlcyI6IjIiLC…
//!                        |    |  the settings that the cluster was made with: JSON in base64url, in parts of 120 characters
//!                        |    the format of what follows
//!                        the platform
//! ```
//!
//! `docker inspect` shows it whether the node runs or not, and nobody can lose it without losing the node.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use platform_core::{Error, Result, name::PlatformName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Before the platform's name.
const ROOT: &str = "/platform.dev/platform/";
/// The format of the settings.
const FORMAT: &str = "v1";
/// The longest part of the path; a file name holds 255 characters.
const PART: usize = 120;
/// How long the path may be; a path holds 4,096 characters with those before it.
const LIMIT: usize = 3500;

/// The file in the first node by which a creation is known as finished.
pub(super) const COMPLETE: &str = "/platform.dev/complete";
/// What is mounted there.
pub(super) const SOURCE: &str = "/dev/null";

/// What a cluster was made with, by the names of the settings. What is not set is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Settings(pub(super) BTreeMap<String, String>);

/// The mark of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The platform, as it is written there.
    pub(super) platform: String,
    /// The settings; `None` where they are in another format.
    pub(super) settings: Option<Settings>,
}

impl Settings {
    /// What differs from `wanted`, one sentence each.
    pub(super) fn differences(&self, wanted: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> = self.0.keys().chain(wanted.0.keys()).collect();
        let value =
            |of: &Self, name: &String| of.0.get(name).cloned().unwrap_or_else(|| "default".to_owned());
        names
            .into_iter()
            .filter(|name| self.0.get(*name) != wanted.0.get(*name))
            .map(|name| format!("{name}: {} -> {}", value(self, name), value(wanted, name)))
            .collect()
    }
}

/// The path that marks the nodes of a cluster.
pub(super) fn encode(platform: &PlatformName, settings: &Settings) -> Result<String> {
    let json = serde_json::to_vec(settings)
        .map_err(|e| Error::internal("the settings cannot be written down").source(e))?;
    let text = BASE64_URL_SAFE_NO_PAD.encode(json);
    let mut path = format!("{ROOT}{platform}/{FORMAT}");
    for part in text.as_bytes().chunks(PART) {
        path.push('/');
        path.push_str(&String::from_utf8_lossy(part));
    }
    if path.len() > LIMIT {
        return Err(Error::invalid(format!(
            "its settings take {} characters to be remembered, at most {LIMIT} are possible",
            path.len()
        ))
        .help("use fewer port mappings, mounts and labels"));
    }
    Ok(path)
}

/// The mark that a path of a node is, if it is one.
pub(super) fn decode(path: &str) -> Option<Mark> {
    let (platform, rest) = path.strip_prefix(ROOT)?.split_once('/')?;
    let settings = rest.strip_prefix(FORMAT).and_then(|rest| rest.strip_prefix('/')).and_then(|rest| {
        let json = BASE64_URL_SAFE_NO_PAD.decode(rest.replace('/', "")).ok()?;
        serde_json::from_slice(&json).ok()
    });
    Some(Mark { platform: platform.to_owned(), settings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn platform() -> PlatformName {
        PlatformName::new("shop").unwrap()
    }

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn other_paths_are_no_marks_and_other_formats_are_of_unknown_settings() {
        assert_eq!(decode("/var"), None);
        assert_eq!(decode("/platform.dev/platform/shop"), None);
        let newer = decode("/platform.dev/platform/shop/v2/abc").unwrap();
        assert_eq!((newer.platform.as_str(), newer.settings), ("shop", None));
        assert_eq!(decode("/platform.dev/platform/shop/v1/%%%").unwrap().settings, None);
    }

    #[test]
    fn differences_name_what_is_not_set() {
        let before = settings(&[("nodes", "1"), ("pod subnet", "10.0.0.0/16")]);
        let after = settings(&[("image", "kindest/node:v1.34.4"), ("nodes", "3")]);
        assert_eq!(
            before.differences(&after),
            ["image: default -> kindest/node:v1.34.4", "nodes: 1 -> 3", "pod subnet: 10.0.0.0/16 -> default"]
        );
        assert!(before.differences(&before).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(map in proptest::collection::btree_map(".{0,20}", ".{0,60}", 0..8)) {
            let settings = Settings(map);
            let path = encode(&platform(), &settings);
            if let Ok(path) = path {
                prop_assert!(path.len() <= LIMIT && path.split('/').all(|part| part.len() <= 255));
                prop_assert!(path.bytes().all(|b| b.is_ascii_graphic() && b != b':'));
                prop_assert_eq!(decode(&path), Some(Mark { platform: "shop".into(), settings: Some(settings) }));
            }
        }
    }

    #[test]
    fn too_many_settings_are_refused() {
        let long = settings(&[("mounts", &"x".repeat(4000))]);
        assert!(encode(&platform(), &long).unwrap_err().to_string().contains("to be remembered"));
    }
}

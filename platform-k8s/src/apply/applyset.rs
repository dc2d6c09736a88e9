//! The parent object of an ApplySet: what names its members.

use super::review;
use crate::{
    connection::{
        api::{Api, Mode},
        resource::{Discovery, Resource, group_kind},
    },
    labels,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use platform_core::{Error, ErrorKind, Result, cluster::SetOwner, manifest::ObjectRef};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// How this program signs the sets it manages: its name and version.
const TOOLING: &str = concat!("platform/v", env!("CARGO_PKG_VERSION"));

/// How often the parent is written while others write it too.
const MOST_WRITES: u32 = 10;

/// The set of a name: a ConfigMap in the system namespace, read once.
#[derive(Debug)]
pub(crate) struct ApplySet {
    name: String,
    owner: SetOwner,
    id: String,
    /// The live parent, if there is one.
    parent: Option<Value>,
}

/// Where the members of a set may be: kinds and namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hints {
    pub(crate) group_kinds: BTreeSet<String>,
    pub(crate) namespaces: BTreeSet<String>,
}

impl Hints {
    pub(crate) fn of<'a>(objects: impl IntoIterator<Item = &'a ObjectRef>) -> Self {
        let mut hints = Self::default();
        for object in objects {
            hints.group_kinds.insert(group_kind(object.group(), &object.kind));
            hints.namespaces.extend(object.namespace.clone().filter(|n| n != labels::SETS_NAMESPACE));
        }
        hints
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        Self {
            group_kinds: self.group_kinds.union(&other.group_kinds).cloned().collect(),
            namespaces: self.namespaces.union(&other.namespaces).cloned().collect(),
        }
    }

    fn without(&self, other: &Self) -> Self {
        Self {
            group_kinds: self.group_kinds.difference(&other.group_kinds).cloned().collect(),
            namespaces: self.namespaces.difference(&other.namespaces).cloned().collect(),
        }
    }
}

impl ApplySet {
    /// Reads the parent. One that is another platform's is refused.
    pub(crate) async fn read(api: &Api, name: &str, owner: &SetOwner) -> Result<Self> {
        let parent_name = format!("{}{name}", labels::SET_PREFIX);
        let parent = api.get(&config_maps(), Some(labels::SETS_NAMESPACE), &parent_name).await?;
        Self::of(name, owner, parent)
    }

    /// Reads the parents of several sets at once.
    pub(crate) async fn read_all(api: &Api, names: &[&str], owner: &SetOwner) -> Result<Vec<Self>> {
        let parents =
            api.list(&config_maps(), Some(labels::SETS_NAMESPACE), Some(labels::APPLYSET_ID)).await?;
        let mut parents: HashMap<String, Value> =
            parents.into_iter().filter_map(|parent| Some((set_name(&parent)?, parent))).collect();
        names.iter().map(|name| Self::of(name, owner, parents.remove(*name))).collect()
    }

    fn of(name: &str, owner: &SetOwner, parent: Option<Value>) -> Result<Self> {
        let parent_name = format!("{}{name}", labels::SET_PREFIX);
        if let Some(parent) = &parent
            && labels::label(parent, labels::PLATFORM) != Some(owner.platform.as_str())
        {
            let whose = super::difference::whose(parent);
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("there is a set of this name already, and {whose}"),
            )
            .subject(format!("set {name}"))
            .help("choose another name for the platform or the set"));
        }
        Ok(Self { name: name.to_owned(), owner: owner.clone(), id: id(&parent_name), parent })
    }

    /// What the members' `part-of` label says.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether there is a parent.
    pub(crate) fn exists(&self) -> bool {
        self.parent.is_some()
    }

    /// The labels of every member.
    pub(crate) fn member_labels(&self) -> [(&str, &str); 3] {
        let [manager, platform] = labels::ownership(&self.owner);
        [manager, platform, (labels::APPLYSET_PART_OF, &self.id)]
    }

    /// What the parent says about where members are.
    pub(crate) fn hints(&self) -> Hints {
        let annotation = |key: &str| -> BTreeSet<String> {
            let annotations = self.parent.as_ref().and_then(|p| p.pointer("/metadata/annotations"));
            let text = annotations.and_then(|a| a.get(key)).and_then(Value::as_str).unwrap_or_default();
            text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        Hints {
            group_kinds: annotation(labels::APPLYSET_GROUP_KINDS),
            namespaces: annotation(labels::APPLYSET_NAMESPACES),
        }
    }

    /// Makes the parent say at least `hints`, whatever others make it say at the same time. Nothing is written if it does.
    pub(crate) async fn widen(&mut self, api: &Api, hints: &Hints) -> Result<()> {
        self.write_until_it_stands(api, |live| live.union(hints)).await
    }

    /// Makes the parent say `hints` and where else members are, which another program may have written meanwhile; `wrote` says
    /// whether there was time for that. Nothing is written if it does.
    pub(crate) async fn narrow(
        &mut self,
        api: &Api,
        discovery: &Discovery,
        hints: &Hints,
        wrote: bool,
    ) -> Result<()> {
        if wrote {
            self.read_again(api).await?;
        }
        if self.says(hints) {
            return Ok(());
        }
        let seen = self.hints();
        let needed = hints.union(&self.members(api, discovery, &seen.union(hints)).await?);
        // What the parent says by now and did not say before the look is another program's, which is about to write there.
        self.write_until_it_stands(api, |live| needed.union(&live.without(&seen))).await?;
        if needed == seen {
            return Ok(());
        }
        // Another program may have written between the look and the parent, and found the parent as it was: it is looked once more.
        let late = self.members(api, discovery, &seen).await?;
        self.write_until_it_stands(api, |live| live.union(&late)).await
    }

    /// Where among `hints` our members are.
    async fn members(&self, api: &Api, discovery: &Discovery, hints: &Hints) -> Result<Hints> {
        let there = review::live_members(api, discovery, self, hints, &[]).await?;
        let ours = there.values().filter(|(_, object)| {
            labels::label(object, labels::PLATFORM) == Some(self.owner.platform.as_str())
        });
        let there: Vec<ObjectRef> = ours.map(|(resource, object)| resource.reference(object)).collect();
        Ok(Hints::of(&there))
    }

    /// Writes what `wanted` makes of the hints that are there, on condition that nobody wrote others meanwhile.
    async fn write_until_it_stands(&mut self, api: &Api, wanted: impl Fn(&Hints) -> Hints) -> Result<()> {
        for _ in 0..MOST_WRITES {
            let hints = wanted(&self.hints());
            if self.says(&hints) {
                return Ok(());
            }
            if self.parent.is_none() {
                self.ensure_namespace(api).await?;
            }
            let mut object = self.wanted(&hints);
            if let Some(version) = self.parent.as_ref().and_then(|p| p.pointer("/metadata/resourceVersion")) {
                object["metadata"]["resourceVersion"] = version.clone();
            }
            // It is ours by its label, so that its annotations are too.
            match api.apply(&config_maps(), &object, Mode::Write, true).await {
                Ok((parent, _)) => {
                    self.parent = Some(parent);
                    return Ok(());
                }
                // Written or deleted meanwhile.
                Err(error) if matches!(error.code(), Some(404 | 409)) => self.read_again(api).await?,
                Err(error) => {
                    return Err(Error::from(error).operation("record").subject(format!("set {}", self.name)));
                }
            }
        }
        Err(Error::new(ErrorKind::Conflict, "others keep writing its parent")
            .operation("record")
            .subject(format!("set {}", self.name))
            .retryable(true))
    }

    async fn read_again(&mut self, api: &Api) -> Result<()> {
        *self = Self::read(api, &self.name, &self.owner).await?;
        Ok(())
    }

    /// Deletes the parent.
    pub(crate) async fn forget(&self, api: &Api) -> Result<()> {
        let Some(uid) = self.parent.as_ref().and_then(|p| p.pointer("/metadata/uid")).and_then(Value::as_str)
        else {
            return Ok(());
        };
        let name = format!("{}{}", labels::SET_PREFIX, self.name);
        let reference = ObjectRef::new("v1", "ConfigMap", name).in_namespace(labels::SETS_NAMESPACE);
        api.delete(&config_maps(), &reference, uid, "Background").await?;
        Ok(())
    }

    fn wanted(&self, hints: &Hints) -> Value {
        let join = |parts: &BTreeSet<String>| parts.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let [manager, platform] = labels::ownership(&self.owner);
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": format!("{}{}", labels::SET_PREFIX, self.name),
                "namespace": labels::SETS_NAMESPACE,
                "labels": {
                    manager.0: manager.1,
                    platform.0: platform.1,
                    labels::APPLYSET_ID: self.id,
                },
                "annotations": {
                    labels::APPLYSET_TOOLING: TOOLING,
                    labels::APPLYSET_GROUP_KINDS: join(&hints.group_kinds),
                    labels::APPLYSET_NAMESPACES: join(&hints.namespaces),
                },
            },
        })
    }

    fn says(&self, hints: &Hints) -> bool {
        let Some(parent) = &self.parent else { return false };
        let wanted = self.wanted(hints);
        ["labels", "annotations"].iter().all(|part| {
            let path = format!("/metadata/{part}");
            let live = parent.pointer(&path);
            wanted.pointer(&path).and_then(Value::as_object).is_some_and(|wanted| {
                wanted.iter().all(|(key, value)| live.and_then(|live| live.get(key)) == Some(value))
            })
        })
    }

    async fn ensure_namespace(&self, api: &Api) -> Result<()> {
        let namespaces = Resource::known("v1", "Namespace", "namespaces", false);
        if api.get(&namespaces, None, labels::SETS_NAMESPACE).await?.is_some() {
            return Ok(());
        }
        let [manager, platform] = labels::ownership(&self.owner);
        let namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": labels::SETS_NAMESPACE, "labels": {manager.0: manager.1, platform.0: platform.1}},
        });
        api.apply(&namespaces, &namespace, Mode::Write, false).await?;
        Ok(())
    }
}

/// The names of the sets of `owner`, sorted.
pub(crate) async fn list_sets(api: &Api, owner: &SetOwner) -> Result<Vec<String>> {
    let selector = format!("{}={},{}", labels::PLATFORM, owner.platform, labels::APPLYSET_ID);
    let parents = api.list(&config_maps(), Some(labels::SETS_NAMESPACE), Some(&selector)).await?;
    let mut names: Vec<String> = parents.iter().filter_map(set_name).collect();
    names.sort();
    Ok(names)
}

/// The name of the set with this id, for messages.
pub(crate) async fn name_of(api: &Api, id: &str) -> Option<String> {
    let selector = format!("{}={id}", labels::APPLYSET_ID);
    let parents = api.list(&config_maps(), Some(labels::SETS_NAMESPACE), Some(&selector)).await.ok()?;
    parents.first().and_then(set_name)
}

fn set_name(parent: &Value) -> Option<String> {
    let name = parent.pointer("/metadata/name")?.as_str()?;
    Some(name.strip_prefix(labels::SET_PREFIX)?.to_owned())
}

fn config_maps() -> Resource {
    Resource::known("v1", "ConfigMap", "configmaps", true)
}

/// The id of the set whose parent is the ConfigMap `parent_name` in the system namespace:
/// `applyset-<base64(sha256(<name>.<namespace>.<kind>.<group>))>-v1`, base64 being that of URLs without padding.
fn id(parent_name: &str) -> String {
    let text = format!("{parent_name}.{}.ConfigMap.", labels::SETS_NAMESPACE);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    format!("applyset-{}-v1", BASE64_URL_SAFE_NO_PAD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_label_value_and_depends_on_the_name() {
        // Checked against: printf applyset.a.platform-system.ConfigMap. | openssl dgst -sha256 -binary | basenc --base64url
        assert_eq!(id("applyset.a"), ID_OF_A);
        assert_ne!(id("applyset.a"), id("applyset.b"));
        assert!(id(&"a".repeat(200)).len() <= 63);
    }

    const ID_OF_A: &str = "applyset-AoVulnXEbOvxTu1HG5T4JE4_JnpiNkD8ruZx_89moQQ-v1";

    #[test]
    fn hints_name_kinds_and_other_namespaces() {
        let objects = [
            ObjectRef::new("apps/v1", "Deployment", "web").in_namespace("a"),
            ObjectRef::new("v1", "Service", "web").in_namespace(labels::SETS_NAMESPACE),
            ObjectRef::new("v1", "Namespace", "a"),
        ];
        let hints = Hints::of(&objects);
        assert_eq!(
            hints.group_kinds.iter().map(String::as_str).collect::<Vec<_>>(),
            ["Deployment.apps", "Namespace", "Service"]
        );
        assert_eq!(hints.namespaces.iter().map(String::as_str).collect::<Vec<_>>(), ["a"]);
    }
}

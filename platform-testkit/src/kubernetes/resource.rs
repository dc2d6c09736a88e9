//! Which resources the cluster serves: the built-in ones and those that CRDs add.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::builtin;
use super::semantics::schema::Schema;

/// Group and plural: one collection of objects, whichever version it is read in.
///
/// Displays as kube-apiserver writes it in messages: `deployments.apps`, `pods`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    group: Cow<'static, str>,
    plural: Cow<'static, str>,
}

impl GroupResource {
    /// Of a built-in resource; the core group is the empty string.
    pub const fn new(group: &'static str, plural: &'static str) -> Self {
        Self { group: Cow::Borrowed(group), plural: Cow::Borrowed(plural) }
    }

    /// Of a resource known at run time.
    pub fn owned(group: impl Into<String>, plural: impl Into<String>) -> Self {
        Self { group: Cow::Owned(group.into()), plural: Cow::Owned(plural.into()) }
    }

    /// API group; empty for the core group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Plural name as in paths.
    pub fn plural(&self) -> &str {
        &self.plural
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

/// One resource in one version.
#[derive(Debug, Clone)]
pub struct Resource {
    /// The collection that it reads and writes.
    pub id: GroupResource,
    /// API group; empty for the core group.
    pub group: String,
    /// API version such as `v1`.
    pub version: String,
    /// Kind of one object.
    pub kind: String,
    /// Kind of a list.
    pub list_kind: String,
    /// Singular name.
    pub singular: String,
    /// Short names that kubectl knows.
    pub short_names: Vec<String>,
    /// Categories such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Names of the subresources served.
    pub subresources: Vec<String>,
    /// Whether `metadata.generation` counts changes of the specification.
    pub generation: bool,
    /// How the paths of its objects merge.
    pub schema: Schema,
    /// What a CRD adds; `None` for built-in resources.
    pub custom: Option<Arc<Custom>>,
}

/// The part of a resource that only its `CustomResourceDefinition` knows.
#[derive(Debug, Clone)]
pub struct Custom {
    /// `openAPIV3Schema` of this version.
    pub schema: Value,
    /// `additionalPrinterColumns` of this version.
    pub columns: Vec<Value>,
    /// `subresources.scale` of this version.
    pub scale: Option<Value>,
    /// Paths of the `selectableFields` of this version, such as `spec.color`.
    pub selectable: Vec<String>,
}

impl Resource {
    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether it shows the objects of another resource.
    pub(super) fn is_view(&self) -> bool {
        self.group != self.id.group()
    }

    /// Whether the subresource is served.
    pub fn serves(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|one| one == subresource)
    }

    /// Verbs of the main resource.
    pub fn verbs(&self) -> &'static [&'static str] {
        const ALL: [&str; 8] =
            ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        const WITHOUT_COLLECTION: [&str; 7] = ["create", "delete", "get", "list", "patch", "update", "watch"];
        if self.group.is_empty() && self.id.plural() == "namespaces" { &WITHOUT_COLLECTION } else { &ALL }
    }
}

/// All resources served now. CRDs add to it and take from it while the cluster runs.
#[derive(Debug)]
pub struct Registry {
    catalog: RwLock<Arc<Catalog>>,
}

/// What a [`Registry`] held at one moment.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    resources: Vec<Arc<Resource>>,
    by_path: HashMap<(String, String, String), usize>,
    by_kind: HashMap<(String, String, String), usize>,
}

impl Registry {
    /// The built-in resources.
    pub fn builtin() -> Self {
        Self { catalog: RwLock::new(Arc::new(Catalog::of(builtin::resources()))) }
    }

    /// What is served at this moment.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The resource at `/apis/{group}/{version}/{plural}`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.catalog().find(group, version, plural)
    }

    /// The first (preferred) version of a collection.
    pub fn preferred(&self, id: &GroupResource) -> Option<Arc<Resource>> {
        self.catalog().resources.iter().find(|resource| resource.id == *id).cloned()
    }

    /// Serves what this `CustomResourceDefinition` defines, in place of what it defined before.
    pub(super) fn install(&self, definition: &Value) {
        let added = custom_resources(definition);
        self.replace(definition, added);
    }

    /// Stops serving what this `CustomResourceDefinition` defines.
    pub(super) fn uninstall(&self, definition: &Value) {
        self.replace(definition, Vec::new());
    }

    fn replace(&self, definition: &Value, added: Vec<Resource>) {
        let id = defined_collection(definition);
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        let kept = catalog.resources.iter().filter(|resource| resource.id != id || resource.custom.is_none());
        let resources = kept.cloned().chain(added.into_iter().map(Arc::new)).collect();
        *catalog = Arc::new(Catalog::of(resources));
    }
}

impl Catalog {
    fn of(resources: Vec<Arc<Resource>>) -> Self {
        let mut catalog = Self::default();
        for (index, resource) in resources.iter().enumerate() {
            let group = || (resource.group.clone(), resource.version.clone());
            let ((g1, v1), (g2, v2)) = (group(), group());
            catalog.by_path.entry((g1, v1, resource.id.plural().to_owned())).or_insert(index);
            catalog.by_kind.entry((g2, v2, resource.kind.clone())).or_insert(index);
        }
        catalog.resources = resources;
        catalog
    }

    /// All resources, built-in ones first.
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// By the parts of a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let index = self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))?;
        self.resources.get(*index).cloned()
    }

    /// By what an object says of itself.
    pub fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        let index = self.by_kind.get(&(group.to_owned(), version.to_owned(), kind.to_owned()))?;
        self.resources.get(*index).cloned()
    }

    /// Groups and their versions, the preferred version first; the core group is the empty string.
    pub fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for resource in &self.resources {
            match groups.iter_mut().find(|(group, _)| *group == resource.group) {
                Some((_, versions)) if versions.contains(&resource.version.as_str()) => {}
                Some((_, versions)) => versions.push(&resource.version),
                None => groups.push((&resource.group, vec![&resource.version])),
            }
        }
        groups
    }
}

/// The collection that a `CustomResourceDefinition` defines.
pub(super) fn defined_collection(definition: &Value) -> GroupResource {
    let spec = &definition["spec"];
    GroupResource::owned(text(&spec["group"]), text(&spec["names"]["plural"]))
}

fn custom_resources(definition: &Value) -> Vec<Resource> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let served = |version: &&Value| version["served"] == true;
    let mut versions: Vec<&Value> =
        spec["versions"].as_array().into_iter().flatten().filter(served).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version_priority(&text(&version["name"]))));
    let resource = |version: &Value| {
        let schema = version["schema"]["openAPIV3Schema"].clone();
        let subresources = &version["subresources"];
        let present = ["status", "scale"].into_iter().filter(|name| subresources[*name].is_object());
        Resource {
            id: defined_collection(definition),
            group: text(&spec["group"]),
            version: text(&version["name"]),
            kind: text(&names["kind"]),
            list_kind: names["listKind"]
                .as_str()
                .map_or_else(|| format!("{}List", text(&names["kind"])), str::to_owned),
            singular: text(&names["singular"]),
            short_names: texts(&names["shortNames"]),
            categories: texts(&names["categories"]),
            namespaced: spec["scope"] == "Namespaced",
            subresources: present.map(str::to_owned).collect(),
            generation: true,
            schema: Schema::structural(&schema),
            custom: Some(Arc::new(Custom {
                columns: version["additionalPrinterColumns"].as_array().cloned().unwrap_or_default(),
                scale: subresources.get("scale").cloned(),
                selectable: version["selectableFields"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|field| text(&field["jsonPath"]).trim_start_matches('.').to_owned())
                    .collect(),
                schema,
            })),
        }
    };
    versions.into_iter().map(resource).collect()
}

/// Orders `v2` before `v1` before `v1beta2` before `v1alpha1` before anything else, as discovery does.
fn version_priority(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (major, suffix) = rest.split_at(digits);
    let Ok(major) = major.parse() else { return (0, 0, 0) };
    let minor = |name: &str| suffix.strip_prefix(name).and_then(|number| number.parse().ok());
    if suffix.is_empty() {
        (3, major, 0)
    } else if let Some(minor) = minor("beta") {
        (2, major, minor)
    } else if let Some(minor) = minor("alpha") {
        (1, major, minor)
    } else {
        (0, 0, 0)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition() -> Value {
        let version = |name: &str| json!({"name": name, "served": true, "schema": {"openAPIV3Schema": {"type": "object"}}});
        json!({"spec": {
            "group": "example.io", "scope": "Namespaced", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [version("v1alpha1"), version("v2"), version("v1"), version("v1beta1")],
        }})
    }

    #[test]
    fn a_definition_serves_its_versions_by_priority_until_it_goes() {
        let registry = Registry::builtin();
        registry.install(&definition());
        let catalog = registry.catalog();
        let versions = catalog.groups().into_iter().find(|(group, _)| *group == "example.io");
        assert_eq!(versions, Some(("example.io", vec!["v2", "v1", "v1beta1", "v1alpha1"])));
        registry.uninstall(&definition());
        assert!(registry.find("example.io", "v2", "widgets").is_none());
        assert!(registry.find("apps", "v1", "deployments").is_some());
    }
}

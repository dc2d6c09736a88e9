//! Which resources there are: legacy discovery and the aggregated documents of KEP-3352.

use serde_json::{Value, json};

use crate::kubernetes::resource::{Catalog, Resource};

/// The media type of aggregated discovery.
pub(super) const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Resources that only take a POST and store nothing: group, version, kind, plural, namespaced.
pub(super) const REVIEWS: [(&str, &str, &str, &str, bool); 6] = [
    ("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", false),
    ("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", false),
    ("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", true),
    ("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", false),
    ("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", false),
    ("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", false),
];

/// `/apis`.
pub(super) fn groups(catalog: &Catalog) -> Value {
    let groups: Vec<Value> =
        all_groups(catalog).iter().map(|(name, versions)| group_entry(name, versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/{group}`; `None` when there is no such group.
pub(super) fn group(catalog: &Catalog, name: &str) -> Option<Value> {
    let groups = all_groups(catalog);
    let (name, versions) = groups.iter().find(|(group, _)| *group == name)?;
    let mut entry = group_entry(name, versions);
    entry["kind"] = json!("APIGroup");
    entry["apiVersion"] = json!("v1");
    Some(entry)
}

/// `/api`.
pub(super) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/api/v1` and `/apis/{group}/{version}`; `None` when there is no such version.
pub(super) fn resources(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let mut entries = Vec::new();
    for resource in catalog.resources().iter().filter(|one| one.group == group && one.version == version) {
        entries.push(json!({
            "name": resource.id.plural(),
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": resource.verbs(),
            "shortNames": resource.short_names,
            "categories": resource.categories,
        }));
        for subresource in &resource.subresources {
            let (kind, verbs) = subresource_of(resource, subresource);
            let mut entry = json!({
                "name": format!("{}/{subresource}", resource.id.plural()),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind.2,
                "verbs": verbs,
            });
            if matches!(subresource.as_str(), "scale" | "eviction" | "token") {
                entry["group"] = json!(kind.0);
                entry["version"] = json!(kind.1);
            }
            entries.push(entry);
        }
    }
    for (_, _, kind, plural, namespaced) in REVIEWS.iter().filter(|one| one.0 == group && one.1 == version) {
        let singular = kind.to_lowercase();
        entries.push(json!({
            "name": plural, "singularName": singular, "namespaced": namespaced, "kind": kind, "verbs": ["create"],
        }));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries,
    });
    (!entries.is_empty()).then_some(list)
}

/// `/api` (the core group) or `/apis` (all others) as one document.
pub(super) fn aggregated(catalog: &Catalog, core: bool) -> Value {
    let groups = all_groups(catalog).into_iter().chain(core.then(|| ("", vec!["v1"])));
    let items: Vec<Value> = groups
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> =
                versions.iter().map(|version| aggregated_version(catalog, group, version)).collect();
            let metadata = if core { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_version(catalog: &Catalog, group: &str, version: &str) -> Value {
    let of_version = catalog.resources().iter().filter(|one| one.group == group && one.version == version);
    let kind_of = |(group, version, kind): (&str, &str, &str)| json!({"group": group, "version": version, "kind": kind});
    let mut resources: Vec<Value> = of_version
        .map(|resource| {
            let subresources: Vec<Value> = resource
                .subresources
                .iter()
                .map(|subresource| {
                    let (kind, verbs) = subresource_of(resource, subresource);
                    json!({"subresource": subresource, "responseKind": kind_of(kind), "verbs": verbs})
                })
                .collect();
            json!({
                "resource": resource.id.plural(),
                "responseKind": kind_of((&resource.group, &resource.version, &resource.kind)),
                "scope": scope(resource.namespaced),
                "singularResource": resource.singular,
                "verbs": resource.verbs(),
                "shortNames": resource.short_names,
                "categories": resource.categories,
                "subresources": subresources,
            })
        })
        .collect();
    for (_, _, kind, plural, namespaced) in REVIEWS.iter().filter(|one| one.0 == group && one.1 == version) {
        resources.push(json!({
            "resource": plural,
            "responseKind": kind_of((group, version, kind)),
            "scope": scope(*namespaced),
            "singularResource": kind.to_lowercase(),
            "verbs": ["create"],
        }));
    }
    json!({"version": version, "freshness": "Current", "resources": resources})
}

fn scope(namespaced: bool) -> &'static str {
    if namespaced { "Namespaced" } else { "Cluster" }
}

type Kind<'a> = (&'a str, &'a str, &'a str);

fn subresource_of<'a>(resource: &'a Resource, subresource: &str) -> (Kind<'a>, &'static [&'static str]) {
    let own = (resource.group.as_str(), resource.version.as_str(), resource.kind.as_str());
    match subresource {
        "scale" => (("autoscaling", "v1", "Scale"), &["get", "patch", "update"]),
        "log" => (own, &["get"]),
        "token" => (("authentication.k8s.io", "v1", "TokenRequest"), &["create"]),
        "eviction" => (("policy", "v1", "Eviction"), &["create"]),
        "exec" => (("", "v1", "PodExecOptions"), &["create", "get"]),
        "attach" => (("", "v1", "PodAttachOptions"), &["create", "get"]),
        "portforward" => (("", "v1", "PodPortForwardOptions"), &["create", "get"]),
        "finalize" => (own, &["update"]),
        _ => (own, &["get", "patch", "update"]),
    }
}

/// All groups but the core group, those that only review included.
fn all_groups(catalog: &Catalog) -> Vec<(&str, Vec<&str>)> {
    let mut groups = catalog.groups();
    groups.retain(|(group, _)| !group.is_empty());
    for (group, version, ..) in REVIEWS {
        if !groups.iter().any(|(name, _)| *name == group) {
            groups.push((group, vec![version]));
        }
    }
    groups
}

fn group_entry(name: &str, versions: &[&str]) -> Value {
    let entry = |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let versions: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

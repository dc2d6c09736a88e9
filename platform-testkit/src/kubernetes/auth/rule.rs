//! One rule of a role: what it allows, and which rights it leaves uncovered.

use std::fmt;

use serde_json::Value;

use super::{Access, ResourceAccess};

/// Stands for every verb, group, resource and path.
const ALL: &str = "*";

/// Whether a `PolicyRule` allows this.
pub(super) fn allows(rule: &Value, access: &Access) -> bool {
    match access {
        Access::Path { verb, path } => {
            any(&rule["verbs"], |one| one == ALL || one == verb)
                && any(&rule["nonResourceURLs"], |one| covers_path(one, path))
        }
        Access::Resource(access) => {
            any(&rule["verbs"], |one| one == ALL || one == access.verb)
                && any(&rule["apiGroups"], |one| one == ALL || one == access.group)
                && any(&rule["resources"], |one| names_resource(one, access))
                && (texts(&rule["resourceNames"]).next().is_none()
                    || any(&rule["resourceNames"], |one| one == access.name))
        }
    }
}

fn names_resource(pattern: &str, access: &ResourceAccess) -> bool {
    let subresource = access.subresource.as_str();
    match pattern.split_once('/') {
        _ if pattern == ALL => true,
        None => subresource.is_empty() && pattern == access.resource,
        Some((resource, sub)) => {
            !subresource.is_empty() && sub == subresource && (resource == ALL || resource == access.resource)
        }
    }
}

/// Paths that end in `*` stand for everything that begins like them.
fn covers_path(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.ends_with('*') && path.starts_with(pattern.trim_end_matches('*'))
}

fn any(list: &Value, fits: impl FnMut(&str) -> bool) -> bool {
    texts(list).any(fits)
}

pub(super) fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// A `PolicyRule` to reckon with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    non_resource_urls: Vec<String>,
    resource_names: Vec<String>,
    verbs: Vec<String>,
}

impl From<&Value> for Rule {
    fn from(rule: &Value) -> Self {
        let list = |field: &str| texts(&rule[field]).map(str::to_owned).collect();
        Self {
            api_groups: list("apiGroups"),
            resources: list("resources"),
            non_resource_urls: list("nonResourceURLs"),
            resource_names: list("resourceNames"),
            verbs: list("verbs"),
        }
    }
}

impl Rule {
    /// Everything: what whoever gathers the rules of others must hold.
    pub(super) fn everything() -> [Self; 2] {
        let all = || vec![ALL.to_owned()];
        [
            Self { api_groups: all(), resources: all(), verbs: all(), ..Self::default() },
            Self { non_resource_urls: all(), verbs: all(), ..Self::default() },
        ]
    }

    /// The rule as rules of one verb, one group and resource or one path, and at most one name.
    fn parts(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut parts = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let part = Self {
                        api_groups: one(group),
                        resources: one(resource),
                        verbs: one(verb),
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        parts.push(part);
                    } else {
                        parts.extend(
                            self.resource_names
                                .iter()
                                .map(|name| Self { resource_names: one(name), ..part.clone() }),
                        );
                    }
                }
            }
        }
        for url in &self.non_resource_urls {
            for verb in &self.verbs {
                parts.push(Self { non_resource_urls: one(url), verbs: one(verb), ..Self::default() });
            }
        }
        parts
    }

    /// Whether this rule gives all that `part` gives.
    fn covers(&self, part: &Self) -> bool {
        let all = |own: &[String], others: &[String]| {
            own.iter().any(|one| one == ALL) || others.iter().all(|other| own.contains(other))
        };
        let resource = |wanted: &String| {
            self.resources.iter().any(|own| own == ALL || own == wanted)
                || wanted
                    .split_once('/')
                    .is_some_and(|(_, sub)| self.resources.iter().any(|own| *own == format!("*/{sub}")))
        };
        let path = |wanted: &String| {
            self.non_resource_urls.iter().any(|own| own == wanted || covers_path(own, wanted))
        };
        // A rule for some names gives nothing to whoever asks for all.
        let names = self.resource_names.is_empty()
            || !part.resource_names.is_empty()
                && part.resource_names.iter().all(|name| self.resource_names.contains(name));
        all(&self.verbs, &part.verbs)
            && all(&self.api_groups, &part.api_groups)
            && part.resources.iter().all(resource)
            && part.non_resource_urls.iter().all(path)
            && names
    }
}

/// What `wanted` gives and `held` does not, as kube-apiserver lists it; empty when nothing is missing.
pub(super) fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<String> {
    let mut lacking: Vec<Rule> = Vec::new();
    for part in wanted.iter().flat_map(Rule::parts) {
        if held.iter().any(|rule| rule.covers(&part)) {
            continue;
        }
        let simple = part.resource_names.is_empty() && part.non_resource_urls.is_empty();
        let same = lacking.iter_mut().find(|one| {
            simple
                && one.resource_names.is_empty()
                && one.api_groups == part.api_groups
                && one.resources == part.resources
        });
        match same {
            Some(one) => one.verbs.extend(part.verbs),
            None => lacking.push(part),
        }
    }
    let mut described: Vec<String> = lacking.iter().map(Rule::to_string).collect();
    described.sort();
    described.dedup();
    described
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown = parts.into_iter().filter(|(_, list)| !list.is_empty());
        let shown: Vec<String> = shown.map(|(name, list)| format!("{name}:{}", quoted(list))).collect();
        write!(f, "{{{}}}", shown.join(", "))
    }
}

/// A list as Go prints it with `%q`.
pub(super) fn quoted(list: &[String]) -> String {
    let texts: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn on(verb: &str, group: &str, resource: &str) -> ResourceAccess {
        ResourceAccess::new(verb, group, resource)
    }

    #[test]
    fn a_rule_allows_what_it_names() {
        let rule = json!({"apiGroups": [""], "resources": ["pods", "*/scale"], "verbs": ["get", "list"]});
        let allowed = |access: ResourceAccess| allows(&rule, &access.into());
        assert!(allowed(on("get", "", "pods").named("any")));
        assert!(allowed(on("get", "", "replicationcontrollers").subresource("scale")));
        assert!(!allowed(on("get", "", "pods").subresource("log")));
        assert!(!allowed(on("get", "apps", "pods")));
        assert!(!allowed(on("delete", "", "pods")));
        assert!(!allows(&rule, &Access::Path { verb: "get".to_owned(), path: "/pods".to_owned() }));
    }

    #[test]
    fn names_restrict_a_rule_to_requests_that_name_one_of_them() {
        let rule = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "resourceNames": ["one"]});
        assert!(allows(&rule, &on("patch", "apps", "deployments").subresource("scale").named("one").into()));
        assert!(!allows(&rule, &on("get", "", "pods").named("two").into()));
        assert!(!allows(&rule, &on("list", "", "pods").into()));
    }

    #[test]
    fn paths_may_end_in_a_star() {
        let rule = json!({"nonResourceURLs": ["/healthz", "/apis/*"], "verbs": ["get"]});
        let allowed =
            |path: &str| allows(&rule, &Access::Path { verb: "get".to_owned(), path: path.to_owned() });
        assert!(allowed("/healthz") && allowed("/apis/apps/v1"));
        assert!(!allowed("/healthz/etcd") && !allowed("/apis") && !allowed("/metrics"));
    }

    #[test]
    fn what_is_missing_is_listed_by_resource() {
        let rules = |value: Value| value.as_array().into_iter().flatten().map(Rule::from).collect::<Vec<_>>();
        let held = rules(json!([
            {"apiGroups": [""], "resources": ["pods", "*/log"], "verbs": ["get"]},
            {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"], "resourceNames": ["x"]},
            {"nonResourceURLs": ["/api/*"], "verbs": ["*"]},
        ]));
        let wanted = rules(json!([
            {"apiGroups": [""], "resources": ["pods", "secrets", "pods/log"], "verbs": ["get", "list"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"], "resourceNames": ["x", "y"]},
            {"nonResourceURLs": ["/api/v1", "/metrics"], "verbs": ["get"]},
        ]));
        assert_eq!(
            missing(&held, &wanted),
            [
                "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}",
                "{APIGroups:[\"\"], Resources:[\"pods/log\"], Verbs:[\"list\"]}",
                "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}",
                "{APIGroups:[\"apps\"], Resources:[\"deployments\"], ResourceNames:[\"y\"], Verbs:[\"get\"]}",
                "{NonResourceURLs:[\"/metrics\"], Verbs:[\"get\"]}",
            ]
        );
        assert!(missing(&Rule::everything(), &wanted).is_empty());
        assert!(missing(&held, &held).is_empty());
    }
}

//! Access, disruption, scaling, admission and custom resource definitions.

use serde_json::Value;

use super::super::{Report, names};
use super::{Field, label_selector, unique};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn role(object: &Field<'_>, cluster: bool, report: &mut Report) {
    for rule in object.child("rules").items() {
        if rule.child("verbs").is_empty_list() {
            report.required(rule.path_of("verbs"), "verbs must contain at least one value");
        }
        let urls = rule.child("nonResourceURLs");
        if !urls.is_empty_list() {
            if !cluster {
                report.invalid(&urls.path, urls.value, "namespaced rules cannot apply to non-resource URLs");
            } else if !rule.child("resources").is_empty_list() {
                report.invalid(
                    &urls.path,
                    urls.value,
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            continue;
        }
        for field in ["apiGroups", "resources"] {
            if rule.child(field).is_empty_list() {
                report.required(
                    rule.path_of(field),
                    &format!("resource rules must supply at least one of {field}"),
                );
            }
        }
    }
}

pub(super) fn role_binding(object: &Field<'_>, namespaced: bool, report: &mut Report) {
    let role = object.child("roleRef");
    role.child("apiGroup").one_of(&[RBAC], report);
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    let kind = role.child("kind");
    if !kinds.contains(&kind.text()) {
        report.unsupported(&kind.path, &Value::from(kind.text()), kinds);
    }
    role.child("name").require(report);
    for subject in object.child("subjects").items() {
        subject.child("name").require(report);
        subject.child("kind").one_of(&["ServiceAccount", "User", "Group"], report);
        let group = subject.child("apiGroup");
        match subject.child("kind").text() {
            "ServiceAccount" => {
                if !group.text().is_empty() {
                    report.unsupported(&group.path, group.value, &[""]);
                }
                if !namespaced {
                    subject.child("namespace").require(report);
                }
            }
            "User" | "Group" => group.one_of(&[RBAC], report),
            _ => {}
        }
    }
}

pub(super) fn autoscaler(spec: &Field<'_>, report: &mut Report) {
    let (min, max) = (spec.child("minReplicas"), spec.child("maxReplicas"));
    if min.integer().is_some_and(|min| min < 1) {
        report.invalid(&min.path, min.value, "must be greater than or equal to 1");
    }
    if max.integer().is_none_or(|max| max < 1) {
        report.invalid(&max.path, max.value, "must be greater than 0");
    }
    if min.integer() > max.integer() {
        report.invalid(&max.path, max.value, "must be greater than or equal to `minReplicas`");
    }
    for field in ["kind", "name"] {
        spec.child("scaleTargetRef").child(field).require(report);
    }
}

pub(super) fn disruption_budget(spec: &Field<'_>, report: &mut Report) {
    label_selector(&spec.child("selector"), report);
    if spec.child("minAvailable").is_set() && spec.child("maxUnavailable").is_set() {
        report.invalid(&spec.path, spec.value, "minAvailable and maxUnavailable cannot be both set");
    }
    for field in ["minAvailable", "maxUnavailable"] {
        spec.child(field).not_negative(report);
    }
}

pub(super) fn admission_policy(spec: &Field<'_>, report: &mut Report) {
    spec.child("failurePolicy").one_of(&["Fail", "Ignore"], report);
    let parameters = spec.child("paramKind");
    if parameters.is_set() {
        for field in ["apiVersion", "kind"] {
            parameters.child(field).require(report);
        }
    }
    let constraints = spec.child("matchConstraints");
    if !constraints.is_set() {
        report.required(&constraints.path, "");
    } else if constraints.child("resourceRules").is_empty_list() {
        report.required(constraints.path_of("resourceRules"), "");
    }
    match_resources(&constraints, report);
    for condition in spec.child("matchConditions").items() {
        expression(&condition, report);
        condition.child("name").named(names::qualified_name, report);
    }
    unique(spec.child("matchConditions").items().map(|condition| condition.child("name")), report);
    let (validations, annotations) = (spec.child("validations"), spec.child("auditAnnotations"));
    if validations.is_empty_list() && annotations.is_empty_list() {
        for field in [&validations, &annotations] {
            let why = "validations or auditAnnotations must contain at least one item";
            report.required(&field.path, why);
        }
    }
    for validation in validations.items() {
        expression(&validation, report);
        let message = validation.child("message");
        if message.text().contains('\n') {
            report.invalid(&message.path, message.value, "must not contain line breaks");
        }
        validation.child("reason").one_of(&["Forbidden", "Invalid", "RequestEntityTooLarge"], report);
    }
    for variable in spec.child("variables").items() {
        let name = variable.child("name");
        if name.require(report) && !is_identifier(name.text()) {
            report.invalid(&name.path, name.value, "must be a valid CEL identifier");
        }
        expression(&variable, report);
    }
    unique(spec.child("variables").items().map(|variable| variable.child("name")), report);
}

fn expression(of: &Field<'_>, report: &mut Report) {
    let expression = of.child("expression");
    if expression.text().trim().is_empty() {
        report.required(&expression.path, "expression is not specified");
    }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_')
}

/// The rules and selectors of a policy or of a binding.
fn match_resources(resources: &Field<'_>, report: &mut Report) {
    resources.child("matchPolicy").one_of(&["Equivalent", "Exact"], report);
    for selector in ["namespaceSelector", "objectSelector"] {
        label_selector(&resources.child(selector), report);
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in resources.child(list).items() {
            for field in ["operations", "apiGroups", "apiVersions", "resources"] {
                if rule.child(field).is_empty_list() {
                    report.required(rule.path_of(field), "");
                }
            }
            for operation in rule.child("operations").items() {
                operation.one_of(&["*", "CONNECT", "CREATE", "DELETE", "UPDATE"], report);
            }
            let all = rule.child("resources");
            let texts: Vec<&str> =
                all.value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if texts.contains(&"*/*") && texts.len() > 1 {
                let why = "if '*/*' is present, must not specify other resources";
                report.invalid(&all.path, all.value, why);
            }
            rule.child("scope").one_of(&["*", "Cluster", "Namespaced"], report);
        }
    }
}

pub(super) fn admission_binding(spec: &Field<'_>, report: &mut Report) {
    spec.child("policyName").named(names::dns_subdomain, report);
    let parameter = spec.child("paramRef");
    if parameter.is_set() {
        parameter_reference(&parameter, report);
    }
    match_resources(&spec.child("matchResources"), report);
    let actions = spec.child("validationActions");
    if actions.is_empty_list() {
        report.required(&actions.path, "at least one validation action is required");
    }
    for action in actions.items() {
        action.one_of(&["Audit", "Deny", "Warn"], report);
    }
    unique(actions.items(), report);
    let has = |name: &str| actions.items().any(|action| action.text() == name);
    if has("Deny") && has("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        report.invalid(&actions.path, actions.value, why);
    }
}

fn parameter_reference(reference: &Field<'_>, report: &mut Report) {
    let (name, selector) = (reference.child("name"), reference.child("selector"));
    match (name.text().is_empty(), selector.is_set()) {
        (false, true) => {
            for field in [&name, &selector] {
                report.forbidden(&field.path, "name and selector are mutually exclusive");
            }
        }
        (true, false) => report.required(&reference.path, "one of name or selector must be specified"),
        _ => label_selector(&selector, report),
    }
    let action = reference.child("parameterNotFoundAction");
    if action.require(report) {
        action.one_of(&["Allow", "Deny"], report);
    }
}

pub(super) fn definition(object: &Field<'_>, report: &mut Report) {
    let spec = object.child("spec");
    spec.child("group").named(names::dns_subdomain, report);
    let (scope, kind) = (spec.child("scope"), spec.child("names").child("kind"));
    scope.require(report);
    scope.one_of(&["Cluster", "Namespaced"], report);
    kind.require(report);
    let plural = spec.child("names").child("plural");
    plural.named(names::dns_label, report);
    let name = object.child("metadata").child("name");
    let expected = format!("{}.{}", plural.text(), spec.child("group").text());
    if name.text() != expected {
        let why = format!("must be spec.names.plural+\".\"+spec.group, expected {expected:?}");
        report.invalid(&name.path, name.value, &why);
    }
    let versions = spec.child("versions");
    for version in versions.items() {
        version.child("name").named(names::dns_label, report);
        let schema = version.child("schema").child("openAPIV3Schema");
        if !schema.is_set() {
            report.required(&schema.path, "schemas are required");
        } else if schema.child("type").text() != "object" {
            let kind = schema.child("type");
            report.invalid(&kind.path, kind.value, "must be object");
        }
    }
    let stored =
        versions.items().filter(|version| version.child("storage").value == &Value::Bool(true)).count();
    if stored != 1 {
        let message = "must have exactly one version marked as storage version";
        report.invalid(&versions.path, versions.value, message);
    }
    unique(versions.items().map(|version| version.child("name")), report);
}

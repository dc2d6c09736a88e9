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
    let constraints = spec.child("matchConstraints");
    if !constraints.is_set() {
        report.required(&constraints.path, "");
    } else if constraints.child("resourceRules").is_empty_list() {
        report.required(constraints.path_of("resourceRules"), "");
    }
    let validations = spec.child("validations");
    if validations.is_empty_list() && spec.child("auditAnnotations").is_empty_list() {
        report.required(&validations.path, "validations or auditAnnotations must be specified");
    }
    for validation in validations.items() {
        validation.child("expression").require(report);
    }
    for variable in spec.child("variables").items() {
        variable.child("name").require(report);
        variable.child("expression").require(report);
    }
    unique(spec.child("variables").items().map(|variable| variable.child("name")), report);
}

pub(super) fn admission_binding(spec: &Field<'_>, report: &mut Report) {
    spec.child("policyName").named(names::dns_subdomain, report);
    let actions = spec.child("validationActions");
    if actions.is_empty_list() {
        report.required(&actions.path, "");
    }
    for action in actions.items() {
        action.one_of(&["Audit", "Deny", "Warn"], report);
    }
    unique(actions.items(), report);
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

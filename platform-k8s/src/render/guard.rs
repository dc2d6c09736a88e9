//! The deletion guard of a protected environment: an admission policy that everybody meets, administrators too.
//!
//! It refuses to delete a namespace of the environment, and to take its protection away, unless the namespace bears the
//! annotation `platform.dev/confirm-deletion` with its own name. So a deletion takes two acts, of which the first names what will be lost. The platform itself
//! takes the same way: where an environment is no longer protected, its namespaces are applied with the confirmation and without the protection, in
//! one write. Who is of the break-glass group may do everything.
//!
//! A policy is never asked about policies: who may change `validatingadmissionpolicies` or their bindings can remove the guard. That is for RBAC
//! to keep; an environment's `deployer` cannot. What is inside of a namespace is RBAC's part too.

use crate::{isolation::guard, labels};
use platform_core::orchestrator::IsolationScope;
use serde_json::{Value, json};

/// Who deletes and finalizes what is already on its way out.
const CONTROLLERS: [&str; 2] = [
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:generic-garbage-collector",
];

/// The policy and its binding.
pub(super) fn guard(scope: &IsolationScope, break_glass_group: &str) -> [Value; 2] {
    let name = guard::name(&scope.platform, &scope.environment.name);
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": {labels::PLATFORM: scope.platform.as_str()}},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                // Looks at a namespace as it was and as it will be: one that loses the label still matches.
                "objectSelector": {"matchLabels": {
                    labels::ENVIRONMENT: scope.environment.name.as_str(),
                    labels::PLATFORM: scope.platform.as_str(),
                    labels::PROTECTED: "true",
                }},
                "resourceRules": [{
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["UPDATE", "DELETE"],
                    "resources": ["namespaces"],
                    "scope": "*",
                }],
            },
            "matchConditions": [
                {
                    "name": "not-a-controller-of-kubernetes",
                    "expression": format!("!(request.userInfo.username in {})", json!(CONTROLLERS)),
                },
                {
                    "name": "not-breaking-the-glass",
                    // Text as JSON writes it is text in an expression.
                    "expression": format!(
                        "!has(request.userInfo.groups) || !({} in request.userInfo.groups)",
                        json!(break_glass_group)
                    ),
                },
            ],
            "variables": [
                {"name": "confirmed", "expression": confirmed("oldObject")},
                {"name": "confirming", "expression": format!("object != null && {}", confirmed("object"))},
            ],
            "validations": [
                {
                    "expression": "request.operation != 'DELETE' || variables.confirmed",
                    "message": "the namespace is protected",
                    "messageExpression": refusal("its deletion", "delete it again"),
                    "reason": "Forbidden",
                },
                {
                    "expression": format!(
                        "request.operation != 'UPDATE' || variables.confirmed || variables.confirming || ({})",
                        [labels::ENVIRONMENT, labels::PLATFORM, labels::PROTECTED].map(keeps).join(" && ")
                    ),
                    "message": "the namespace is protected",
                    "messageExpression": refusal("that it may be deleted", "change its labels again"),
                    "reason": "Forbidden",
                },
            ],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": {labels::PLATFORM: scope.platform.as_str()}},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    [policy, binding]
}

/// Whether a namespace bears the confirmation of its deletion.
fn confirmed(object: &str) -> String {
    let key = labels::CONFIRM_DELETION;
    format!(
        "has({object}.metadata.annotations) && {key:?} in {object}.metadata.annotations && \
         {object}.metadata.annotations[{key:?}] == {object}.metadata.name"
    )
}

/// Whether a label that the former object had is still the same.
fn keeps(label: &str) -> String {
    format!(
        "(!has(oldObject.metadata.labels) || !({label:?} in oldObject.metadata.labels) || (has(object.metadata.labels) && \
         {label:?} in object.metadata.labels && object.metadata.labels[{label:?}] == oldObject.metadata.labels[{label:?}]))"
    )
}

/// The sentence that a person reads.
fn refusal(what: &str, then: &str) -> String {
    let key = labels::CONFIRM_DELETION;
    format!(
        "'namespace ' + oldObject.metadata.name + ' is protected: confirm {what} with `kubectl annotate namespace ' + \
         oldObject.metadata.name + ' {key}=' + oldObject.metadata.name + '`, then {then}'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::{
        Environment, Isolation,
        name::{ClusterName, PlatformName},
    };

    #[test]
    fn it_is_named_after_platform_and_environment_without_doubt() {
        let of = |platform: &str, environment: &str| {
            let scope = IsolationScope::new(
                PlatformName::new(platform).unwrap(),
                Environment::new(environment).unwrap().protected(true),
                Isolation::NamespacePerEnvironment,
                ClusterName::new("c").unwrap(),
                Vec::new(),
            );
            let [policy, binding] = guard(&scope, "platform:break-glass");
            assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
            policy["metadata"]["name"].as_str().unwrap().to_owned()
        };
        assert_eq!(of("shop", "production"), "deletion-guard.shop.production");
        assert_ne!(of("a-b", "c"), of("a", "b-c"));
    }

    #[test]
    fn what_is_written_into_expressions_is_escaped() {
        let scope = IsolationScope::new(
            PlatformName::new("shop").unwrap(),
            Environment::new("production").unwrap(),
            Isolation::NamespacePerEnvironment,
            ClusterName::new("c").unwrap(),
            Vec::new(),
        );
        let [policy, _] = guard(&scope, "a\" in [] || \"b");
        let expression = policy["spec"]["matchConditions"][1]["expression"].as_str().unwrap();
        assert!(expression.contains(r#"("a\" in [] || \"b" in request.userInfo.groups)"#), "{expression}");
    }
}

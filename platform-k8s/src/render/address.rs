//! Whose traffic a Service may take.
//!
//! Who may create a Service may claim any address by its `externalIPs`, the address of another environment's Service too, and every node then sends that
//! traffic to its own pods (CVE-2020-8554). Neither RBAC nor network policies see it. So an admission policy refuses the field in the environment's
//! namespaces, to everybody.

use crate::labels;
use platform_core::orchestrator::IsolationScope;
use serde_json::{Value, json};

/// The policy and its binding.
pub(super) fn policy(scope: &IsolationScope) -> [Value; 2] {
    let name = format!("own-addresses.{}.{}", scope.platform, scope.environment.name);
    let metadata = json!({"name": name});
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {
                    labels::ENVIRONMENT: scope.environment.name.as_str(),
                    labels::PLATFORM: scope.platform.as_str(),
                }},
                "resourceRules": [{
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["services"],
                    "scope": "*",
                }],
            },
            "validations": [{
                "expression": "!has(object.spec.externalIPs) || size(object.spec.externalIPs) == 0",
                "message": "a Service of an environment may not claim addresses by externalIPs: give it a route",
                "reason": "Forbidden",
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    [policy, binding]
}

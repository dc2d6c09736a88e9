//! The rules of built-in kinds, after `k8s.io/kubernetes/pkg/apis/*/validation`: those that a wrong manifest is
//! likely to break.

mod configuration;
mod network;
mod pod;
mod policy;
mod workload;

use serde_json::Value;

use super::{Finding, Report, quantity};

/// Checks an object of a built-in kind that has its defaults.
pub(super) fn check(group: &str, kind: &str, object: &Value) -> Vec<Finding> {
    let mut report = Report::default();
    let spec = Field::root(object).child("spec");
    let report_to = &mut report;
    match (group, kind) {
        ("", "Pod") => pod::check(&spec, report_to),
        ("", "PodTemplate") => pod::check_template(&Field::root(object), report_to),
        ("", "ReplicationController") => workload::replication_controller(&spec, report_to),
        ("apps", "Deployment") => workload::deployment(&spec, report_to),
        ("apps", "ReplicaSet") => workload::replica_set(&spec, report_to),
        ("apps", "StatefulSet") => workload::stateful_set(&spec, report_to),
        ("apps", "DaemonSet") => workload::daemon_set(&spec, report_to),
        ("batch", "Job") => workload::job(&spec, report_to),
        ("batch", "CronJob") => workload::cron_job(&spec, report_to),
        ("", "Service") => network::service(&spec, report_to),
        ("networking.k8s.io", "Ingress") => network::ingress(&spec, report_to),
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy(&spec, report_to),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(&Field::root(object), report_to),
        ("", "ConfigMap") => configuration::config_map(&Field::root(object), report_to),
        ("", "Secret") => configuration::secret(&Field::root(object), report_to),
        ("", "PersistentVolumeClaim") => configuration::claim(&spec, report_to),
        ("", "PersistentVolume") => configuration::volume(&spec, report_to),
        ("", "ResourceQuota") => configuration::resource_quota(&spec, report_to),
        ("", "Event") => configuration::event(&Field::root(object), report_to),
        ("", "LimitRange") => configuration::limit_range(&spec, report_to),
        ("storage.k8s.io", "StorageClass") => configuration::storage_class(&Field::root(object), report_to),
        ("autoscaling", "HorizontalPodAutoscaler") => policy::autoscaler(&spec, report_to),
        ("policy", "PodDisruptionBudget") => policy::disruption_budget(&spec, report_to),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            policy::role(&Field::root(object), kind == "ClusterRole", report_to);
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            policy::role_binding(&Field::root(object), kind == "RoleBinding", report_to);
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            policy::admission_policy(&spec, report_to);
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            policy::admission_binding(&spec, report_to);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            policy::definition(&Field::root(object), report_to);
        }
        _ => {}
    }
    report.0
}

/// A value and where it is. What is absent is `null`.
#[derive(Clone, Debug)]
struct Field<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    fn root(object: &'a Value) -> Self {
        Self { path: String::new(), value: object }
    }

    fn child(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { path, value: self.value.get(name).unwrap_or(&Value::Null) }
    }

    fn path_of(&self, name: &str) -> String {
        self.child(name).path
    }

    fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    fn integer(&self) -> Option<i64> {
        self.value.as_i64()
    }

    fn items(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let path = self.path.clone();
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().enumerate().map(move |(index, value)| Field { path: format!("{path}[{index}]"), value })
    }

    fn entries(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> + use<'a> {
        let path = self.path.clone();
        let fields = self.value.as_object().into_iter().flatten();
        fields.map(move |(name, value)| (name.as_str(), Field { path: format!("{path}[{name}]"), value }))
    }

    fn is_empty_list(&self) -> bool {
        self.value.as_array().is_none_or(Vec::is_empty)
    }

    /// Reports it when it is absent or empty text; says whether there is something.
    fn require(&self, report: &mut Report) -> bool {
        let there = self.is_set() && self.value.as_str() != Some("");
        if !there {
            report.required(&self.path, "");
        }
        there
    }

    /// Reports text that breaks a rule of [`super::names`]; absent text is missing.
    fn named(&self, rule: fn(&str) -> Option<String>, report: &mut Report) {
        if self.require(report)
            && let Some(why) = rule(self.text())
        {
            report.invalid(&self.path, self.value, &why);
        }
    }

    fn one_of(&self, supported: &[&str], report: &mut Report) {
        if self.is_set() && !supported.contains(&self.text()) {
            report.unsupported(&self.path, self.value, supported);
        }
    }

    fn not_negative(&self, report: &mut Report) {
        if self.integer().is_some_and(|number| number < 0) {
            report.invalid(&self.path, self.value, "must be greater than or equal to 0");
        }
    }

    fn port_number(&self, report: &mut Report) {
        if !self.is_set() {
            report.required(&self.path, "");
        } else if !self.integer().is_some_and(|port| (1..=65535).contains(&port)) {
            report.invalid(&self.path, self.value, "must be between 1 and 65535, inclusive");
        }
    }

    fn port_number_or_name(&self, report: &mut Report) {
        if self.value.is_string() {
            self.named(super::names::port_name, report);
        } else {
            self.port_number(report);
        }
    }
}

/// Reports values that an earlier item has already.
fn unique<'a>(fields: impl Iterator<Item = Field<'a>>, report: &mut Report) {
    let mut seen: Vec<&Value> = Vec::new();
    for field in fields {
        if !field.is_set() {
            continue;
        }
        if seen.contains(&field.value) {
            report.duplicate(&field.path, field.value);
        }
        seen.push(field.value);
    }
}

/// Reports entries of a map that are no quantities, or negative ones.
fn quantities(map: &Field<'_>, report: &mut Report) {
    for (_, entry) in map.entries() {
        match quantity::nanos(entry.text()) {
            Some(amount) if amount >= 0 => {}
            Some(_) => report.invalid(&entry.path, entry.value, "must be greater than or equal to 0"),
            None => report.invalid(&entry.path, entry.value, quantity::MUST_MATCH),
        }
    }
}

/// Reports a label selector that cannot be read.
fn label_selector(selector: &Field<'_>, report: &mut Report) {
    if let Err(why) = super::super::selector::LabelSelector::from_json(selector.value) {
        report.invalid(&selector.path, selector.value, &why);
    }
}

#[cfg(test)]
mod tests;

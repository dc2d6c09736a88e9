//! The same as questions to IAM's simulation, before a creation begins.

use super::{IamPolicy, PermissionScope, Phase, actions};
use std::collections::BTreeMap;

/// Whether some actions are allowed on a resource in a context. IAM answers for what it is asked: without resource and context it denies what a
/// policy allows on clusters of a name, or through CloudFormation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PermissionCheck {
    /// The actions.
    pub actions: Vec<&'static str>,
    /// A resource like those that they are done to.
    pub resource: String,
    /// The keys of conditions that hold when they are done, each with a value.
    pub context: BTreeMap<String, String>,
}

impl PermissionCheck {
    /// Whether these actions are allowed on a resource like this, `*` for any, whatever the context.
    pub fn new(actions: impl IntoIterator<Item = &'static str>, resource: impl Into<String>) -> Self {
        Self { actions: actions.into_iter().collect(), resource: resource.into(), context: BTreeMap::new() }
    }

    /// In a context in which a key of conditions has this value.
    #[must_use]
    pub fn context(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.context.insert(key.into(), value.into());
        self
    }
}

impl PermissionScope<'_> {
    /// What is to be asked before the clusters are made: whatever is done in one of these phases.
    pub fn checks(&self, phases: &[Phase]) -> Vec<PermissionCheck> {
        let asked = |name: &str| {
            actions()
                .iter()
                .any(|action| action.name == name && action.phases.iter().any(|phase| phases.contains(phase)))
        };
        let statements = IamPolicy::new(self).statements.into_iter();
        statements
            .filter_map(|statement| {
                let actions: Vec<_> = statement.action.into_iter().filter(|action| asked(action)).collect();
                let context = statement.condition.into_values().flatten();
                let context = context.filter_map(|(key, values)| Some((key, values.into_iter().next()?)));
                Some(PermissionCheck {
                    resource: example(statement.resource.first().filter(|_| !actions.is_empty())?),
                    context: context.map(|(key, value)| (key, example(&value))).collect(),
                    actions,
                })
            })
            .collect()
    }
}

/// Something that a pattern matches.
fn example(pattern: &str) -> String {
    if pattern == "*" { pattern.to_owned() } else { pattern.replace('*', "check") }
}

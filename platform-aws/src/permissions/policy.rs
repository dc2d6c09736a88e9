//! Statements of IAM, and policies that are small enough to be attached.

use super::{
    PermissionScope,
    scope::Limit,
    table::{Group, actions},
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::{collections::BTreeMap, fmt};

/// How many characters a managed policy may have, white space aside.
pub(super) const LIMIT: usize = 6144;

/// A policy of IAM. It serialises, and prints, as the JSON that IAM takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IamPolicy {
    /// What is allowed.
    pub statements: Vec<Statement>,
}

/// Actions that are allowed on some resources under one condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Statement {
    /// Its name, unique in the policy.
    pub sid: String,
    /// `Allow`.
    pub effect: &'static str,
    /// The actions.
    pub action: Vec<&'static str>,
    /// The ARNs that they are allowed on, with `*` for what is not known yet.
    pub resource: Vec<String>,
    /// Operator, key and values of the condition.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub condition: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl IamPolicy {
    /// Everything that a caller needs to plan, make, change and delete these clusters, and no more.
    ///
    /// For some clusters it is larger than a managed policy may be: [`parts`](Self::parts) are attached then.
    pub fn new(scope: &PermissionScope<'_>) -> Self {
        let mut by_group: BTreeMap<Group, Vec<&'static str>> = BTreeMap::new();
        for action in actions() {
            by_group.entry(action.group).or_default().push(action.name);
        }
        let mut statements = Vec::new();
        for (group, actions) in by_group {
            for (index, limit) in scope.limits(group).into_iter().enumerate() {
                // Every character counts.
                let sid = if index == 0 { format!("{group:?}") } else { format!("{group:?}{index}") };
                statements.extend(statement(&sid, &actions, limit));
            }
        }
        Self { statements }
    }

    /// Policies as one, without what is in it twice.
    pub fn joined(policies: impl IntoIterator<Item = Self>) -> Self {
        let mut statements: Vec<Statement> = Vec::new();
        for mut statement in policies.into_iter().flat_map(|policy| policy.statements) {
            let is_same = |other: &Statement| {
                (&other.action, &other.resource, &other.condition)
                    == (&statement.action, &statement.resource, &statement.condition)
            };
            if statements.iter().any(is_same) {
                continue;
            }
            if statements.iter().any(|other| other.sid == statement.sid) {
                statement.sid = format!("{}x{}", statement.sid, statements.len());
            }
            statements.push(statement);
        }
        Self { statements }
    }

    /// How many characters IAM counts.
    pub fn size(&self) -> usize {
        self.to_string().len()
    }

    /// Policies that together allow the same, each small enough to be attached. A role has room for ten.
    pub fn parts(self) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        for statement in self.statements {
            let fitting = parts.iter_mut().find(|part| {
                let mut grown = (*part).clone();
                grown.statements.push(statement.clone());
                grown.size() <= LIMIT
            });
            match fitting {
                Some(part) => part.statements.push(statement),
                None => parts.push(Self { statements: vec![statement] }),
            }
        }
        parts
    }
}

/// A statement of the actions that are meant, on the resources of their services.
fn statement(sid: &str, actions: &[&'static str], limit: Limit) -> Option<Statement> {
    let action: Vec<_> =
        actions.iter().copied().filter(|action| limit.only.is_none_or(|only| only == *action)).collect();
    let is_used = |arn: &String| {
        let service = arn.split(':').nth(2);
        service.is_none_or(|service| action.iter().any(|action| action.split(':').next() == Some(service)))
    };
    let resource: Vec<String> = limit.resources.into_iter().filter(is_used).collect();
    let is_empty = action.is_empty() || resource.is_empty();
    (!is_empty).then(|| Statement {
        sid: sid.to_owned(),
        effect: "Allow",
        action,
        resource,
        condition: limit.condition,
    })
}

impl Serialize for IamPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut policy = serializer.serialize_struct("IamPolicy", 2)?;
        policy.serialize_field("Version", "2012-10-17")?;
        policy.serialize_field("Statement", &self.statements)?;
        policy.end()
    }
}

impl fmt::Display for IamPolicy {
    /// Compact JSON; with `{:#}`, indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text =
            if f.alternate() { serde_json::to_string_pretty(self) } else { serde_json::to_string(self) };
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests;

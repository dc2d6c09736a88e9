//! What others made of objects that were applied.

use crate::{clock::Timestamp, manifest::ObjectRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A field that is not as it was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FieldDrift {
    /// Where, as the API server writes it: `.spec.replicas`.
    pub path: String,
    /// What was applied; `None`: nothing. Values of Secrets are redacted.
    pub applied: Option<Value>,
    /// What is there; `None`: nothing.
    pub live: Option<Value>,
    /// The field manager that owns it now: `kubectl-edit`; `None` for a field that was removed, for nobody owns that, or that the
    /// manifest has and that has never been applied.
    pub manager: Option<String>,
    /// When that manager wrote to the object last.
    pub at: Option<Timestamp>,
}

impl FieldDrift {
    /// A field that nobody owns.
    pub fn new(path: impl Into<String>, applied: Option<Value>, live: Option<Value>) -> Self {
        Self { path: path.into(), applied, live, manager: None, at: None }
    }

    /// Says who owns it now, and since when.
    #[must_use]
    pub fn by(mut self, manager: impl Into<String>, at: Option<Timestamp>) -> Self {
        self.manager = Some(manager.into());
        self.at = at;
        self
    }
}

/// `.spec.replicas: applied 2, is 5 (kubectl-edit, 2026-11-23T20:36:28.000Z)`.
impl fmt::Display for FieldDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
        write!(f, "{}: applied {}, is {}", self.path, text(&self.applied), text(&self.live))?;
        match (&self.manager, self.at) {
            (Some(manager), Some(at)) => write!(f, " ({manager}, {at})"),
            (Some(manager), None) => write!(f, " ({manager})"),
            (None, _) => Ok(()),
        }
    }
}

/// How an object is not as it was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "drift")]
#[non_exhaustive]
pub enum Drift {
    /// It does not exist: it was deleted, or has never been applied.
    Missing,
    /// Somebody changed or removed these fields.
    Changed {
        /// The fields, in order of their paths.
        fields: Vec<FieldDrift>,
    },
    /// Another object has its name.
    Replaced {
        /// Whose it is, or what the server says against making it ours.
        reason: String,
    },
}

/// An object and how it is not as it was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectDrift {
    /// The object.
    pub object: ObjectRef,
    /// What became of it.
    #[serde(flatten)]
    pub drift: Drift,
}

/// A line for the object and one for each field.
impl fmt::Display for ObjectDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.drift {
            Drift::Missing => write!(f, "- {} is missing", self.object),
            Drift::Replaced { reason } => write!(f, "! {} was replaced: {reason}", self.object),
            Drift::Changed { fields } => {
                write!(f, "~ {}", self.object)?;
                fields.iter().try_for_each(|field| write!(f, "\n    {field}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn drift_says_what_was_applied_what_is_there_and_who_did_it() {
        let scaled = FieldDrift::new(".spec.replicas", Some(json!(2)), Some(json!(5)))
            .by("kubectl-edit", Some(Timestamp::from_millis(0)));
        let removed = FieldDrift::new(".metadata.labels.team", Some(json!("a")), None);
        let drift = ObjectDrift {
            object: ObjectRef::new("apps/v1", "Deployment", "web").in_namespace("a"),
            drift: Drift::Changed { fields: vec![scaled, removed] },
        };
        assert_eq!(
            drift.to_string(),
            "~ Deployment a/web\n    .spec.replicas: applied 2, is 5 (kubectl-edit, 1970-01-01T00:00:00.000Z)\
             \n    .metadata.labels.team: applied \"a\", is nothing"
        );
    }
}
